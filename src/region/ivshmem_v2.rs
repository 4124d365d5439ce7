//! ivshmem of the second version (Jailhouse; PCI 110a:4106), through the driver `uio_ivshmem`.
//! Source: `Documentation/ivshmem-v2-specification.md` of Jailhouse.
//!
//! The hypervisor itself gives every peer an *output section* that only this peer can write, and
//! everybody read; and a *state table* in which each peer's state register shows, zero once the
//! peer is reset. That is what leases and politeness do for other devices: a member's index is its
//! number among the peers, its section is its output section, and its state says whether it lives.
//!
//! A machine has one output section, so one process of it can be a member (it locks the device).
//! Not tried on Jailhouse, of which none was at hand: the layout and the registers are tested as
//! the specification has them. Its interrupts are not used yet; peers are woken by the TCP byte.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use memmap2::MmapOptions;

use super::access::{Held, Local, Mapping, Remote};
use super::device::DeviceError;
use super::ivshmem::devices;
use super::layout::{MAGIC_OFFSET, PAGE};
use super::planner::plan;
use super::section::{Backing, OwnSection, PeerSection, Protection};
use super::{Geometry, Identity, RegionError, SectionLayout, sys};

const VENDOR: u32 = 0x110a;
const DEVICE: u32 = 0x4106;

/// Registers, 32 bits each.
const ID: usize = 0x00;
const PEERS: usize = 0x04;
const STATE: usize = 0x10;
/// Fewest and most peers that the specification allows.
const PEERS_RANGE: std::ops::RangeInclusive<u32> = 2..=65_536;

/// A device that was found, and not touched yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its PCI address.
    pub address: String,
    /// The driver's device, `/dev/uioN`; without it nothing can be mapped.
    pub uio: Option<PathBuf>,
    directory: PathBuf,
}

/// A range that the driver offers: which of them, and how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    number: usize,
    bytes: usize,
}

/// All devices, by address. `root` is `/`, or a copy of its `sys` and `dev`.
#[must_use]
pub fn find(root: &Path) -> Vec<Found> {
    let found = devices(root, VENDOR, DEVICE);
    found
        .into_iter()
        .map(|device| {
            let name = std::fs::read_dir(device.directory.join("uio"))
                .ok()
                .and_then(|mut entries| Some(entries.next()?.ok()?.file_name()));
            Found {
                address: device.address,
                uio: name.as_ref().map(|name| root.join("dev").join(name)),
                directory: name.map_or(device.directory.clone(), |name| {
                    device.directory.join("uio").join(name)
                }),
            }
        })
        .collect()
}

impl Found {
    /// Why this process cannot use the device now, with the remedy.
    #[must_use]
    pub fn obstacle(&self) -> Option<String> {
        let Some(uio) = &self.uio else {
            return Some(
                "no driver has it: load uio_ivshmem of Jailhouse's kernel ('modprobe uio_ivshmem')"
                    .to_owned(),
            );
        };
        let error = sys::may_read_and_write(uio).err()?;
        Some(format!("{0}: {error}; as root: 'chgrp GROUP {0} && chmod g+rw {0}'", uio.display()))
    }

    /// The range with this name.
    fn range(&self, name: &str) -> Option<Range> {
        (0..5).find_map(|number| {
            let directory = self.directory.join(format!("maps/map{number}"));
            let read = |file: &str| std::fs::read_to_string(directory.join(file)).ok();
            if read("name")?.trim() != name {
                return None;
            }
            let bytes = read("size")?;
            let bytes = usize::from_str_radix(bytes.trim().strip_prefix("0x")?, 16).ok()?;
            Some(Range { number, bytes })
        })
    }

    /// Maps the device, for members with rings of up to `wanted`.
    ///
    /// # Errors
    /// When this process may not, another one has it, or the sections are too small (with the exact
    /// number of bytes needed).
    pub fn open(&self, wanted: Geometry) -> Result<Output, DeviceError> {
        let unusable = |why: String| DeviceError::Unusable {
            place: format!("ivshmem-v2 device {}", self.address),
            why,
        };
        if let Some(why) = self.obstacle() {
            return Err(unusable(why));
        }
        let uio = self.uio.as_deref().unwrap_or(Path::new("/dev/uio0"));
        let place = uio.display().to_string();
        let file = File::options().read(true).write(true).open(uio);
        let file = file.map_err(RegionError::system("open", &place))?;
        if !sys::try_lock(&file).map_err(RegionError::system("flock", &place))? {
            return Err(unusable(
                "another process of this machine has it, and it has one output section".to_owned(),
            ));
        }
        let map = |name: &'static str, writable: bool| {
            let range = self.range(name).ok_or_else(|| unusable(format!("it has no {name}")))?;
            let mut options = MmapOptions::new();
            options.offset((range.number * PAGE) as u64).len(range.bytes);
            let map =
                if writable { options.map_raw(&file) } else { options.map_raw_read_only(&file) };
            let map = map.map_err(RegionError::system("mmap", &place))?;
            Ok::<_, DeviceError>(Arc::new(Mapping::watched(map)))
        };
        let parts = Parts {
            registers: Local::new(map("registers", true)?),
            states: Remote::new(map("state_table", false)?),
            inputs: Remote::new(map("input_sections", false)?),
            output: Local::new(map("output_section", true)?),
        };
        Output::new(parts, wanted, place, Some(file))
    }
}

/// What is mapped of a device.
#[derive(Debug)]
struct Parts {
    registers: Local,
    states: Remote,
    inputs: Remote,
    output: Local,
}

/// A device in use.
#[derive(Debug)]
pub struct Output {
    parts: Parts,
    id: u32,
    section: SectionLayout,
    place: String,
    /// Holds the lock.
    _file: Option<File>,
}

/// Says by its drop that the owner is gone.
#[derive(Debug)]
struct Present(Local);

impl Held for Present {}

impl Drop for Present {
    fn drop(&mut self) {
        self.0.store_u32(STATE, 0);
    }
}

/// The state of a living owner: never zero, and different for each epoch.
fn state_of(epoch: u64) -> u32 {
    (epoch as u32) | 1
}

impl Output {
    fn new(
        parts: Parts,
        wanted: Geometry,
        place: String,
        file: Option<File>,
    ) -> Result<Self, DeviceError> {
        let word = |offset| {
            let there = parts.registers.len() >= STATE + 4;
            there.then(|| parts.registers.load_u32(offset))
        };
        let broken = |why: &str| DeviceError::Unusable {
            place: place.clone(),
            why: format!("{why}: it is no ivshmem-v2 device of the published specification"),
        };
        let (id, peers) = word(ID).zip(word(PEERS)).ok_or(broken("no registers"))?;
        if !PEERS_RANGE.contains(&peers) || id >= peers {
            return Err(broken(&format!("number {id} of {peers} peers")));
        }
        let each = parts.output.len();
        // Everything that is reached later lies inside what is mapped.
        let all = each.checked_mul(peers as usize);
        if all.is_none_or(|all| parts.inputs.len() < all) || parts.states.len() < peers as usize * 4
        {
            return Err(broken("sections that do not add up"));
        }
        // All sections are as large as ours: what fits into all fits into one.
        let room = (each as u64).saturating_mul(u64::from(peers));
        let geometry = plan(Some(room), peers, wanted)
            .map_err(|source| DeviceError::TooSmall { place: place.clone(), source })?;
        let section = SectionLayout::new(peers, geometry).map_err(RegionError::from)?;
        Ok(Self { parts, id, section, place, _file: file })
    }

    /// The layout of every peer's section.
    #[must_use]
    pub fn section_layout(&self) -> SectionLayout {
        self.section
    }

    /// Makes our section, once.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub fn claim(&self) -> Result<OwnSection, DeviceError> {
        let identity = Identity::fresh(self.section, self.id)?;
        let section = self.parts.output.sub(0, self.section.total_bytes());
        // What a predecessor in this machine has left goes, the magic number first.
        section.store_u64(MAGIC_OFFSET, 0);
        section.clear(0, self.section.header_bytes());
        let present = Present(self.parts.registers.clone());
        let mapping = Mapping::part(&section, Box::new(present));
        let backing = Backing::Device(None);
        let own = OwnSection::new(identity, mapping, backing, Protection::Hypervisor);
        self.parts.registers.store_u32(STATE, state_of(identity.epoch));
        Ok(own)
    }

    /// The section of another peer, as its owner described it.
    ///
    /// # Errors
    /// When there is no such peer, or its header says anything else.
    pub fn peer(&self, expected: &Identity) -> Result<PeerSection, RegionError> {
        if expected.layout != self.section {
            return Err(RegionError::WrongSize {
                place: self.place.clone(),
                found: self.section.total_bytes() as u64,
                expected: expected.layout.total_bytes() as u64,
            });
        }
        // Refuses indices that are none.
        self.section.bell_offset(expected.index)?;
        let start = expected.index as usize * self.parts.output.len();
        let whole = self.parts.inputs.sub(start, self.section.total_bytes());
        let place = format!("output section {} of {}", expected.index, self.place);
        PeerSection::within(whole, expected, self.id, Protection::Hypervisor, &place)
    }

    /// Whether the hypervisor shows the owner of this section as living.
    #[must_use]
    pub fn is_present(&self, owner: &Identity) -> bool {
        owner.index < self.section.members()
            && self.parts.states.load_u32(owner.index as usize * 4) == state_of(owner.epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// Memory as a hypervisor with `peers` would lay it out: a page of registers for each, the
    /// state table, and output sections of `each` bytes.
    struct Hypervisor {
        memory: Local,
        peers: u32,
        each: usize,
    }

    impl Hypervisor {
        fn new(peers: u32, each: usize) -> Self {
            let bytes = PAGE * (peers as usize + 1) + each * peers as usize;
            let memory = Local::new(Arc::new(Mapping::heap(bytes)));
            Self { memory, peers, each }
        }

        fn parts(&self, id: u32) -> Parts {
            let registers = self.memory.sub(PAGE * id as usize, PAGE);
            registers.store_u32(ID, id);
            registers.store_u32(PEERS, self.peers);
            let sections = PAGE * (self.peers as usize + 1);
            Parts {
                registers,
                states: self.memory.sub(PAGE * self.peers as usize, PAGE).as_remote(),
                inputs: self.memory.sub(sections, self.each * self.peers as usize).as_remote(),
                output: self.memory.sub(sections + self.each * id as usize, self.each),
            }
        }

        fn attach(&self, id: u32) -> Result<Output, DeviceError> {
            Output::new(self.parts(id), Geometry::default(), "test".to_owned(), None)
        }

        /// Carries state registers into the table.
        fn propagate(&self) {
            for id in 0..self.peers as usize {
                let state = self.memory.load_u32(PAGE * id + STATE);
                self.memory.store_u32(PAGE * self.peers as usize + 4 * id, state);
            }
        }
    }

    #[test]
    fn peers_read_each_others_output_sections() {
        let hypervisor = Hypervisor::new(3, 1 << 20);
        let (zero, two) = (hypervisor.attach(0).unwrap(), hypervisor.attach(2).unwrap());
        let mut own = two.claim().unwrap();
        own.activate(0).unwrap();
        own.pair(0).unwrap().bulk.copy_in(0, b"output only");
        let seen = zero.peer(own.identity()).unwrap();
        let mut out = [0; 11];
        seen.pair().unwrap().bulk.copy_out(0, &mut out);
        assert_eq!(&out, b"output only");
        assert_eq!(seen.protection(), Protection::Hypervisor);
    }

    #[test]
    fn presence_is_what_the_state_table_says_and_ends_with_the_section() {
        let hypervisor = Hypervisor::new(2, 1 << 20);
        let (zero, one) = (hypervisor.attach(0).unwrap(), hypervisor.attach(1).unwrap());
        let own = one.claim().unwrap();
        let identity = *own.identity();
        assert!(!zero.is_present(&identity));
        hypervisor.propagate();
        assert!(zero.is_present(&identity));
        let former = Identity { epoch: !identity.epoch, ..identity };
        assert!(!zero.is_present(&former));
        drop(own);
        hypervisor.propagate();
        assert!(!zero.is_present(&identity));
    }

    #[test]
    fn what_a_predecessor_left_is_not_read_again() {
        let hypervisor = Hypervisor::new(2, 1 << 20);
        hypervisor.parts(1).output.copy_in(0, &vec![0xff; 1 << 20]);
        let (zero, one) = (hypervisor.attach(0).unwrap(), hypervisor.attach(1).unwrap());
        let mut own = one.claim().unwrap();
        let seen = zero.peer(own.identity()).unwrap();
        assert!(!seen.is_active());
        own.activate(0).unwrap();
        assert_eq!(seen.pair().unwrap().cells.load_u64(0), 0);
    }

    #[test]
    fn a_device_that_contradicts_itself_is_refused() {
        let hypervisor = Hypervisor::new(4, 1 << 20);
        let broken = |change: &dyn Fn(&mut Parts)| {
            let mut parts = hypervisor.parts(1);
            change(&mut parts);
            Output::new(parts, Geometry::default(), "test".to_owned(), None).is_err()
        };
        assert!(!broken(&|_| {}));
        assert!(broken(&|parts| parts.registers.store_u32(ID, 4)));
        for peers in [0, 1, 5, 65_537, u32::MAX] {
            assert!(broken(&|parts| parts.registers.store_u32(PEERS, peers)), "{peers}");
        }
        assert!(broken(&|parts| parts.inputs = parts.inputs.sub(0, 4 << 19)));
        assert!(broken(&|parts| parts.states = parts.states.sub(0, 12)));
        assert!(broken(&|parts| parts.registers = parts.registers.sub(0, 8)));
    }

    #[test]
    fn sections_too_small_are_refused_and_smaller_rings_made_where_they_fit() {
        let small = Hypervisor::new(2, 64 << 10).attach(0).unwrap();
        assert!(small.section_layout().geometry().bulk < Geometry::default().bulk);
        assert!(small.section_layout().total_bytes() <= 64 << 10);
        assert!(matches!(Hypervisor::new(2, 4096).attach(0), Err(DeviceError::TooSmall { .. })));
        let other =
            Identity { layout: SectionLayout::new(2, Geometry::MIN).unwrap(), index: 1, epoch: 1 };
        assert!(small.peer(&other).is_err());
        let absent = Identity { layout: small.section_layout(), index: 2, epoch: 1 };
        assert!(small.peer(&absent).is_err());
    }

    #[test]
    fn the_drivers_ranges_are_found_by_their_names() {
        let root = tempfile::tempdir().unwrap();
        let device = root.path().join("sys/bus/pci/devices/0000:00:0f.0");
        fs::create_dir_all(&device).unwrap();
        fs::write(device.join("vendor"), "0x110a\n").unwrap();
        fs::write(device.join("device"), "0x4106\n").unwrap();
        let without = find(root.path()).remove(0);
        assert!(without.obstacle().unwrap().contains("modprobe uio_ivshmem"));
        assert!(without.open(Geometry::MIN).is_err());
        let maps = device.join("uio/uio3/maps");
        for (number, name, bytes) in [
            (0, "registers", "0x1000"),
            (1, "state_table", "0x1000"),
            (2, "input_sections", "0x200000"),
            (3, "output_section", "0x100000"),
        ] {
            let map = maps.join(format!("map{number}"));
            fs::create_dir_all(&map).unwrap();
            fs::write(map.join("name"), format!("{name}\n")).unwrap();
            fs::write(map.join("size"), format!("{bytes}\n")).unwrap();
        }
        let found = find(root.path()).remove(0);
        assert_eq!(found.uio, Some(root.path().join("dev/uio3")));
        let range = |number, bytes| Some(Range { number, bytes });
        assert_eq!(found.range("input_sections"), range(2, 2 << 20));
        assert_eq!(found.range("output_section"), range(3, 1 << 20));
        assert_eq!(found.range("rw_section"), None);
        assert!(found.obstacle().unwrap().contains("uio3"));
    }
}
