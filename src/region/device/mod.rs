//! A *device region*: one range of memory that several machines map read-write, divided into a
//! slot for each rank that uses it, of whatever job.
//!
//! | part | who writes it |
//! |---|---|
//! | header page: the claim, the region's id, a pulse (`claim.rs`) | everybody, by compare-and-swap or addition only |
//! | table of leases, a line for each slot (`lease.rs`) | everybody by compare-and-swap, else its owner |
//! | one section for each slot ([`crate::region::layout`]) | the slot's owner |
//!
//! The kinds of devices differ only in how their memory is found and mapped: [`super::ivshmem`],
//! [`super::uml`], [`super::dax`]. A section here is like any other, except that its members are
//! the device's slots: a rank's member index is its slot, and differs from its place in the job.
//!
//! Nothing in a device is believed. What a former user left there is cleared by whoever takes the
//! slot, before it is published; sizes come from the device's length and our own configuration.

mod claim;
mod layout;
mod lease;
pub(super) mod measure;
mod patience;

use std::sync::Arc;

use super::access::{Local, Mapping, Remote};
use super::layout::{MAGIC_OFFSET, PAGE};
use super::planner::PlanError;
use super::section::{Backing, OwnSection, PeerSection, Protection};
use super::{Identity, RegionError, SectionLayout};
use claim::{Attached, attach};
use lease::{Guard, Table};

pub use layout::{DeviceLayout, LeaseTime, SLOTS_MAX, Wanted};
pub(super) use lease::Lease;
pub use measure::Speed;

/// Why a device cannot be used, or not now. TCP carries the pair then.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// Finding, opening or mapping it.
    #[error(transparent)]
    Region(#[from] RegionError),
    /// It is too small for the slots that are wanted.
    #[error("{place} is too small: {source}")]
    TooSmall {
        /// The device.
        place: String,
        /// How many bytes there are, and how many are needed.
        source: PlanError,
    },
    /// Living members of another configuration or version use it.
    #[error(
        "{place} is in use by members with another {field}, {found}; ours is {expected}: run the \
         same version of cohost with the same settings on all machines that share it"
    )]
    OtherConfiguration {
        /// The device.
        place: String,
        /// What differs.
        field: &'static str,
        /// Theirs.
        found: u64,
        /// Ours.
        expected: u64,
    },
    /// Something that is not cohost writes into it.
    #[error(
        "{place} is in use by something that is not cohost: give cohost a region of its own, or \
         name another with COHOST_REGION"
    )]
    OtherProgram {
        /// The device.
        place: String,
    },
    /// Its header changes faster than anybody can claim it.
    #[error("the header of {place} keeps changing: one of the machines that share it is broken")]
    Restless {
        /// The device.
        place: String,
    },
    /// All slots are taken by living members.
    #[error(
        "all {slots} slots of {place} are in use: enlarge it, give jobs regions of their own, or \
         start fewer ranks"
    )]
    Full {
        /// The device.
        place: String,
        /// How many slots it has.
        slots: u32,
    },
    /// The permission or a part of the system that would make it usable is missing.
    #[error("{place}: {why}")]
    Unusable {
        /// The device.
        place: String,
        /// Why, with the remedy.
        why: String,
    },
    /// The system has no random numbers.
    #[error("the system gave no random numbers: {0}")]
    Random(getrandom::Error),
}

/// The memory of a device, mapped by one of the kinds.
#[derive(Debug)]
pub struct Memory {
    /// What kind of device: `ivshmem`, `uml`, `dax`, `file`, `heap`.
    pub(super) kind: &'static str,
    /// Where it is, for people.
    pub(super) place: String,
    /// All of it, writable.
    pub(super) writable: Arc<Mapping>,
    /// All of it once more, read-only, where the kind can.
    pub(super) readable: Option<Arc<Mapping>>,
}

impl Memory {
    /// Memory of this process, for tests and benchmarks. Its first bytes may be anything.
    #[must_use]
    pub fn heap(bytes: usize) -> Self {
        Self {
            kind: "heap",
            place: "the heap".to_owned(),
            writable: Arc::new(Mapping::heap(bytes)),
            readable: None,
        }
    }

    /// What kind of device it is of.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        self.kind
    }

    /// Where it is, for people.
    #[must_use]
    pub fn place(&self) -> &str {
        &self.place
    }

    /// How fast it is read; takes about 2 ms, or 50 ms when it is uncached.
    #[must_use]
    pub fn speed(&self) -> Speed {
        let mapping = self.readable.as_ref().unwrap_or(&self.writable);
        measure::measure(&Remote::new(Arc::clone(mapping)))
    }
}

/// A device that is attached: its header agrees with us. Clones share the mapping.
#[derive(Clone, Debug)]
pub struct Device {
    kind: &'static str,
    place: String,
    layout: DeviceLayout,
    wanted: Wanted,
    device: Local,
    seen: Remote,
    attached: Attached,
    speed: Speed,
}

impl Device {
    /// Attaches to a device, or claims one that nobody uses. Takes a moment at most, unless what is
    /// in the device is not of our configuration: then it is watched for the lease time, and
    /// claimed if nothing in its header moves.
    ///
    /// # Errors
    /// When it is too small (with the exact number of bytes needed), or in use by others.
    pub fn open(memory: Memory, wanted: &Wanted) -> Result<Self, DeviceError> {
        let Memory { kind, place, writable, readable } = memory;
        let layout = DeviceLayout::plan(writable.len() as u64, wanted)
            .map_err(|source| DeviceError::TooSmall { place: place.clone(), source })?;
        let device = Local::new(writable);
        let seen = match readable {
            Some(mapping) if mapping.len() == device.len() => Remote::new(mapping),
            _ => device.as_remote(),
        };
        let attached = attach(&device.sub(0, PAGE), &layout, wanted.lease, &place)?;
        let speed = measure::measure(&seen);
        Ok(Self { kind, place, layout, wanted: *wanted, device, seen, attached, speed })
    }

    /// What kind of device it is.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        self.kind
    }

    /// Where it is, for people.
    #[must_use]
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Where everything lies.
    #[must_use]
    pub fn layout(&self) -> &DeviceLayout {
        &self.layout
    }

    /// The layout of each slot's section.
    #[must_use]
    pub fn section_layout(&self) -> SectionLayout {
        self.layout.section()
    }

    /// The random id that its first member gave to the region: evidence of whom to try, no proof.
    /// It changes when the region is claimed anew.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.attached.id
    }

    /// How fast the mapping is.
    #[must_use]
    pub fn speed(&self) -> Speed {
        self.speed
    }

    /// What should be said about the device, with the remedy, if it is much slower than it could be.
    #[must_use]
    pub fn notice(&self) -> Option<String> {
        self.speed.is_uncached().then(|| {
            format!(
                "{} is mapped uncached ({}): messages through it are correct and slow. Share the \
                 memory as virtio-pmem or nvdimm in devdax mode and name /dev/daxX.Y with \
                 COHOST_REGION, or use a host whose processor lets guests' PCI memory be cached \
                 (Intel with EPT)",
                self.place, self.speed
            )
        })
    }

    /// Takes a slot and makes a section in it. The slot is ours until the section and all windows
    /// onto it are dropped; a thread keeps saying that we live. Where all slots are held, it may
    /// take the lease time to find one whose owner is gone.
    ///
    /// # Errors
    /// [`DeviceError::Full`] when all are held by living members.
    pub fn claim(&self) -> Result<OwnSection, DeviceError> {
        let epoch = getrandom::u64().map_err(DeviceError::Random)?.max(1);
        let page = self.device.sub(0, PAGE);
        if page.load_u64(layout::CLAIM_OFFSET) != self.attached.word {
            return Err(DeviceError::Restless { place: self.place.clone() });
        }
        let table = Table::new(&self.device, &self.layout);
        let slot = table.take(epoch, self.wanted.lease, &self.place)?;
        let line = table.line(slot)?;
        let section = self.section(slot)?;
        let words = (self.attached.word, epoch);
        let guard = Guard::start(page, line, section.clone(), words, self.wanted.lease)
            .map_err(RegionError::system("starting a thread", &self.place))?;
        // The magic number first, so that nobody takes a half-cleared header for one.
        section.store_u64(MAGIC_OFFSET, 0);
        section.clear(0, self.section_layout().header_bytes());
        let identity = Identity { layout: self.section_layout(), index: slot, epoch };
        let backing = Backing::Device(Some(guard.lease()));
        let mapping = Mapping::part(&section, Box::new(guard));
        Ok(OwnSection::new(identity, mapping, backing, Protection::Device))
    }

    /// The section of another slot, as its owner described it (the member index is the slot), seen
    /// from slot `me`.
    ///
    /// # Errors
    /// When there is no such slot, or its header says anything else.
    pub fn peer(&self, expected: &Identity, me: u32) -> Result<PeerSection, RegionError> {
        let ours = self.section_layout();
        if expected.layout.total_bytes() != ours.total_bytes() {
            return Err(RegionError::WrongSize {
                place: self.place.clone(),
                found: ours.total_bytes() as u64,
                expected: expected.layout.total_bytes() as u64,
            });
        }
        let start = self.layout.section_offset(expected.index)?;
        let whole = self.seen.sub(start, ours.total_bytes());
        // Another layout of the same length differs in a field of the header.
        let place = format!("slot {} of {}", expected.index, self.place);
        PeerSection::within(whole, expected, me, Protection::Device, &place)
    }

    fn section(&self, slot: u32) -> Result<Local, RegionError> {
        let start = self.layout.section_offset(slot)?;
        Ok(self.device.sub(start, self.section_layout().total_bytes()))
    }

    /// Says how the owner of `own`, a slot of this device, is reached by an interrupt of the device
    /// (see [`crate::doorbell`]); 0 for not at all.
    pub fn set_bell(&self, own: &OwnSection, bell: u64) {
        let table = Table::new(&self.device, &self.layout);
        if let Ok(line) = table.line(own.identity().index)
            && !own.is_lost()
        {
            line.store_u64(layout::BELL, bell);
        }
    }

    /// What the owner of `slot` said with [`Self::set_bell`]: a hint that nothing depends on.
    #[must_use]
    pub fn bell(&self, slot: u32) -> u64 {
        let offset = self.layout.lease_offset(slot);
        offset.map_or(0, |offset| self.seen.load_u64(offset + layout::BELL))
    }

    /// A window onto the raw bytes, for tests that play a broken machine.
    #[doc(hidden)]
    #[must_use]
    pub fn raw(&self) -> &Local {
        &self.device
    }
}
