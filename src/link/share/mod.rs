//! Our side of shared memory: the sections that we write, and what peers hand us.
//!
//! There is a file for each way: `memory.rs` within a machine, `device.rs` and `xen.rs` between the
//! machines of a host. Which one serves a peer is decided here, once, by the cards; from there on
//! a section is a section. This folder may use regions, doorbells and rings; what must never reach
//! it is a message, or a belief that memory is shared before the proof.

mod away;
mod bells;
mod device;
mod lending;
mod memory;
mod xen;

use std::collections::HashMap;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use super::card::{Card, Sharing};
use super::control::{Control, Offer};
use super::reach::Reach;
use super::select::{self, Candidate, PathPolicy};
use crate::doorbell::{Bell, Far, Interrupt, Policy, Ringer, Sleeper};
use crate::region::access::Remote;
use crate::region::device::DeviceError;
use crate::region::lending::Store;
use crate::region::pass::{Mailbox, PassError};
use crate::region::planner::PlanError;
use crate::region::xen::InvitationError;
use crate::region::{Geometry, Identity, OwnSection, PeerSection, Protection, RegionError};
use crate::ring::{CONTROL_LEN, Consumer, Producer, Size};
use away::Away;
use bells::{Bells, From};
use device::Room;
use lending::Lending;
pub use lending::{Lent, Wanted};
use memory::Machine;
use xen::Pairs;

/// Why memory cannot be shared with a peer. Never fatal: TCP carries the pair.
#[derive(Debug, thiserror::Error)]
pub enum ShareError {
    /// The memory itself.
    #[error(transparent)]
    Region(#[from] RegionError),
    /// The device.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// Not even the smallest rings fit.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The descriptor could not be handed over.
    #[error(transparent)]
    Pass(#[from] PassError),
    /// The grants cannot be read.
    #[error(transparent)]
    Invitation(#[from] InvitationError),
    /// The peer laid its section out in another way.
    #[error("rank {rank} describes its section as {offer:?}, and that is not what was agreed")]
    Disagree {
        /// Who.
        rank: u32,
        /// What it said.
        offer: Offer,
    },
    /// Both have the same slot, which nobody can have in the same memory.
    #[error(
        "rank {rank} has slot {slot} of {place}, as we do: its memory is another with the same id \
         (a copy, or a clone's)"
    )]
    SameSlot {
        /// Who.
        rank: u32,
        /// Which slot.
        slot: u32,
        /// Of which device.
        place: String,
    },
    /// What a peer has just written is not in our memory.
    #[error(
        "what rank {rank} wrote is not in {place}: its memory is another with the same id (a \
         copy, or a clone's): {source}"
    )]
    OtherMemory {
        /// Who.
        rank: u32,
        /// Where we looked.
        place: String,
        /// What we found.
        source: RegionError,
    },
    /// No memory is shared with this peer.
    #[error("rank {0} is not a member of this host")]
    Stranger(u32),
    /// It was tried before.
    #[error("{0}")]
    Unavailable(String),
}

/// What a rank brings to share memory with processes of its machine, made before the others are
/// known.
#[derive(Debug)]
pub struct Means {
    /// Job the rank belongs to.
    pub job: String,
    /// The rank.
    pub rank: u32,
    /// Its epoch.
    pub epoch: u64,
    /// Where letters with descriptors arrive.
    pub mailbox: Option<Mailbox>,
    /// Directory of shared files, if those are to be used.
    pub directory: Option<PathBuf>,
    /// Bytes free for sharing, where there is a limit other than memory itself.
    pub room: Option<u64>,
}

impl Means {
    /// The kind of memory.
    #[must_use]
    pub fn sharing(&self) -> Sharing {
        if self.directory.is_some() { Sharing::File } else { Sharing::Memfd }
    }
}

/// Rings to and from one peer.
#[derive(Debug)]
pub struct Rings {
    /// Ours to write.
    pub producer: Producer,
    /// Ours to read.
    pub consumer: Consumer,
    /// Wakes the peer.
    pub ringer: Ringer,
    /// Whether our memory cannot vanish, so that what was written there can be read back.
    pub keeps: bool,
}

/// How memory is shared with a peer.
#[derive(Clone, Copy, Debug)]
enum Via {
    Nothing,
    Memory,
    /// The region's id.
    Device(u64),
    /// The peer's domain.
    Xen(u16),
}

/// A peer that we share memory with, after the proof.
#[derive(Debug)]
struct Heard {
    bell: Bell,
    /// Its section, where it can vanish.
    far: Option<PeerSection>,
}

/// Shared memory with the members of this host.
#[derive(Debug)]
pub struct Share {
    /// How, for each rank.
    via: Vec<Via>,
    machine: Result<Option<Machine>, String>,
    rooms: Vec<Room>,
    pairs: Option<Pairs>,
    /// What wakes us from other machines.
    bells: Bells,
    /// Memory that went, and may come back.
    away: Away,
    /// What is within reach of this machine, for people.
    reach: String,
    heard: HashMap<u32, Heard>,
    sleeper: Option<Sleeper>,
    /// Whether the sleeper must learn of new sections and bells.
    stale: bool,
}

impl Share {
    /// Plans for all ranks that may share this host, by their cards, and takes a slot in each
    /// device that is needed, which may take a lease time. What fails is a reason for later.
    #[must_use]
    pub fn plan(
        rank: u32,
        means: Result<Means, String>,
        reach: Reach,
        cards: &[Card],
        policy: PathPolicy,
        wanted: Geometry,
    ) -> Self {
        let mine = &cards[rank as usize];
        let via: Vec<Via> =
            (0..).zip(cards).map(|(peer, card)| via(rank, mine, peer, card, policy)).collect();
        let described = reach.describe();
        let away = Away::new(reach.choice);
        // A device that nobody needs stays as it is.
        let needed =
            |id: u64| via.iter().any(|via| matches!(via, Via::Device(other) if *other == id));
        let devices = reach.devices.into_iter().filter(|found| needed(found.device.id()));
        let mut bells = Bells::default();
        let rooms = devices.map(|found| Room::enter(found, &mut bells)).collect();
        let pairs = reach.domain.map(|domain| Pairs::new(rank, domain, wanted));
        let machine = means.and_then(|means| {
            Machine::plan(means, cards, wanted).map_err(|error| error.to_string())
        });
        Self {
            via,
            machine,
            rooms,
            pairs,
            bells,
            away,
            reach: described,
            heard: HashMap::new(),
            sleeper: None,
            stale: true,
        }
    }

    /// Why nothing can be shared within this machine; empty when it can.
    #[must_use]
    pub fn obstacle(&self) -> &str {
        self.machine.as_ref().err().map_or("", String::as_str)
    }

    /// What is within reach of this machine, for people; empty when there is nothing.
    #[must_use]
    pub fn reach(&self) -> &str {
        &self.reach
    }

    fn machine(&mut self) -> Result<&mut Machine, ShareError> {
        match &mut self.machine {
            Ok(Some(machine)) => Ok(machine),
            Ok(None) => Err(ShareError::Unavailable("nobody to share memory with".to_owned())),
            Err(why) => Err(ShareError::Unavailable(why.clone())),
        }
    }

    fn room(&mut self, id: u64) -> Result<&mut Room, ShareError> {
        let gone = || ShareError::Unavailable("the region is not within reach any more".to_owned());
        self.rooms.iter_mut().find(|room| room.device.id() == id).ok_or_else(gone)
    }

    fn pairs(&mut self) -> Result<&mut Pairs, ShareError> {
        let none = || ShareError::Unavailable("pages cannot be granted here".to_owned());
        self.pairs.as_mut().ok_or_else(none)
    }

    fn via(&self, rank: u32) -> Via {
        self.via.get(rank as usize).copied().unwrap_or(Via::Nothing)
    }

    fn own(&mut self, rank: u32) -> Result<&mut OwnSection, ShareError> {
        match self.via(rank) {
            Via::Nothing => Err(ShareError::Stranger(rank)),
            Via::Memory => self.machine()?.own(),
            Via::Device(id) => self.room(id)?.own(),
            Via::Xen(_) => self.pairs()?.own(rank),
        }
    }

    /// Most bytes of one frame in a ring with this peer; without limit where there will be none.
    #[must_use]
    pub fn payload_max(&self, rank: u32) -> usize {
        let room = |id| self.rooms.iter().find(|room| room.device.id() == id);
        let geometry = match self.via(rank) {
            Via::Nothing => None,
            Via::Memory => self.machine.as_ref().ok().and_then(|m| Some(m.as_ref()?.geometry())),
            Via::Device(id) => room(id).map(|room| room.device.section_layout().geometry()),
            Via::Xen(_) => self.pairs.as_ref().map(Pairs::geometry),
        };
        geometry.map_or(usize::MAX, |Geometry { cells, bulk }| Size { cells, bulk }.payload_max())
    }

    /// Begins to share memory with a peer: what to tell it first. The challenge was never used
    /// before.
    ///
    /// # Errors
    /// When there is no memory.
    pub fn begin(&mut self, rank: u32, challenge: &[u8; 16]) -> Result<Control, ShareError> {
        self.stale = true;
        match self.via(rank) {
            Via::Nothing => Err(ShareError::Stranger(rank)),
            Via::Memory => self.machine()?.offer(rank, challenge).map(Control::Offer),
            Via::Device(id) => self.room(id)?.slot().map(Control::Slot),
            Via::Xen(domain) => {
                let offer = self.pairs()?.offer(rank, domain, challenge)?;
                Ok(Control::Offer(offer))
            }
        }
    }

    /// Answers a peer that told its slot in the device that we share.
    ///
    /// # Errors
    /// When there is none, or the slot cannot be in the same memory.
    pub fn meet(
        &mut self,
        rank: u32,
        slot_untrusted: u32,
        challenge: &[u8; 16],
    ) -> Result<Offer, ShareError> {
        match self.via(rank) {
            Via::Device(id) => self.room(id)?.meet(rank, slot_untrusted, challenge),
            _ => Err(ShareError::Stranger(rank)),
        }
    }

    /// Hands our descriptor to a peer, where that is how memory is shared. False: try again.
    ///
    /// # Errors
    /// When the peer has no mailbox here.
    pub fn hand_over(&mut self, rank: u32, card: &Card) -> Result<bool, ShareError> {
        match self.via(rank) {
            Via::Memory => self.machine()?.hand_over(rank, card),
            _ => Ok(true),
        }
    }

    /// Takes letters out of the mailbox.
    ///
    /// # Errors
    /// When the mailbox fails.
    pub fn collect(&mut self) -> Result<(), ShareError> {
        match &mut self.machine {
            Ok(Some(machine)) => machine.collect(),
            _ => Ok(()),
        }
    }

    /// Opens the section that a peer offers, if it is here already, and reads the challenge in it.
    ///
    /// # Errors
    /// When the section is not what was agreed.
    pub fn adopt(
        &mut self,
        rank: u32,
        offer: &Offer,
    ) -> Result<Option<(PeerSection, [u8; 16])>, ShareError> {
        let section = match self.via(rank) {
            Via::Nothing => return Err(ShareError::Stranger(rank)),
            Via::Memory => match self.machine()?.adopt(rank, offer)? {
                Some(section) => section,
                None => return Ok(None),
            },
            Via::Device(id) => self.room(id)?.adopt(rank, offer)?,
            Via::Xen(domain) => self.pairs()?.adopt(rank, domain, offer)?,
        };
        let challenge = section.challenge();
        Ok(Some((section, challenge)))
    }

    /// The rings to and from a peer whose section was adopted, and proved to be the same memory.
    /// Its bell is listened to from now on.
    ///
    /// # Errors
    /// When the peer's block is not there.
    pub fn rings(&mut self, rank: u32, section: PeerSection) -> Result<Rings, ShareError> {
        let keeps = !can_vanish(&section);
        let peer = section.identity().index;
        let Geometry { cells, bulk } = section.identity().layout.geometry();
        let size = Size { cells, bulk };
        let own = self.own(rank)?;
        let (ours, theirs) = (own.pair(peer)?, section.pair()?);
        let mut ringer = Ringer::new(own, &section).map_err(RegionError::from)?;
        if !keeps {
            ringer = ringer.over(self.far(rank, peer));
            ringer.greet();
        }
        let their_control = theirs.control.sub(0, CONTROL_LEN);
        let our_control = ours.control.sub(0, CONTROL_LEN);
        let bell = Bell::of(&section).map_err(RegionError::from)?;
        let mut consumer = Consumer::new(theirs.cells, theirs.bulk, our_control, size);
        // What a domain of Xen has granted stays for as long as it is mapped.
        if section.protection() == Protection::Device {
            consumer = consumer.within(section.life());
        }
        self.heard.insert(rank, Heard { bell, far: (!keeps).then_some(section) });
        self.stale = true;
        Ok(Rings {
            producer: Producer::new(ours.cells, ours.bulk, their_control, size),
            consumer,
            ringer,
            keeps,
        })
    }

    /// How a peer on another machine, member `peer` of what we share, is rung.
    fn far(&mut self, rank: u32, peer: u32) -> Far {
        match self.via(rank) {
            Via::Device(id) => self.room(id).map_or(Far::Byte, |room| room.far(peer)),
            Via::Xen(_) => {
                let channel = self.pairs.as_ref().and_then(|pairs| pairs.channel(rank));
                let Some(channel) = channel else { return Far::Byte };
                self.bells.add(From::Peer(rank), Interrupt::Channel(Arc::clone(&channel)));
                Far::Channel(channel)
            }
            Via::Nothing | Via::Memory => Far::Byte,
        }
    }

    /// Shows what wakes us to who will wait for it, each once.
    pub fn watch_by(&mut self, watch: impl FnMut(BorrowedFd<'_>) -> bool) {
        self.bells.watch_by(watch);
    }

    /// Something of that has become readable.
    pub fn rung(&mut self) {
        self.bells.rung();
    }

    /// How often that has happened.
    #[must_use]
    pub fn times_rung(&self) -> u64 {
        self.bells.times_rung()
    }

    /// Nothing of it did, in a sleep that it should have ended.
    pub fn slept_through(&mut self) {
        self.bells.slept_through();
    }

    /// Whether to be woken by it.
    #[must_use]
    pub fn bells_work(&self) -> bool {
        self.bells.work()
    }

    /// What wakes us from other machines, for people; empty without such a thing.
    #[must_use]
    pub fn bells(&self) -> String {
        self.bells.describe()
    }

    /// How memory is shared with a peer, for people.
    #[must_use]
    pub fn describe(&self, rank: u32) -> String {
        let room = |id| self.rooms.iter().find(|room| room.device.id() == id);
        match self.via(rank) {
            Via::Nothing => "nothing shared".to_owned(),
            Via::Memory => match &self.machine {
                Ok(Some(machine)) => machine.describe(),
                _ => "one machine".to_owned(),
            },
            Via::Device(id) => room(id).map_or("one host".to_owned(), Room::describe),
            Via::Xen(domain) => format!("one host, pages granted by Xen, domain {domain}"),
        }
    }

    /// What should be said of the memory shared with a peer, when it is slower than it could be.
    #[must_use]
    pub fn notice(&self, rank: u32) -> Option<String> {
        let Via::Device(id) = self.via(rank) else {
            return None;
        };
        self.rooms.iter().find(|room| room.device.id() == id)?.device.notice()
    }

    /// Peers whose shared memory is gone, ours or theirs, and how. A look at a word for each peer
    /// on another machine: for now and then.
    pub fn vanished(&mut self) -> Vec<(u32, String)> {
        let mut gone = Vec::new();
        for room in &mut self.rooms {
            if room.is_lost() {
                self.stale = true;
                self.bells.remove(From::Device(room.device.id()));
                self.away.went(Instant::now());
            }
        }
        for (&rank, heard) in &self.heard {
            let Some(far) = &heard.far else { continue };
            let ours = match self.via(rank) {
                Via::Device(id) => self.rooms.iter().find(|room| room.device.id() == id),
                _ => None,
            };
            if let Some(Err(why)) = ours.map(Room::section) {
                gone.push((rank, why.to_owned()));
            } else if let Err(error) = far.check_header() {
                gone.push((rank, format!("rank {rank}'s memory is gone: {error}")));
            }
        }
        gone
    }

    /// Memory that went and is there again, for people.
    pub fn came_back(&mut self, now: Instant) -> Option<String> {
        self.away.came_back(now)
    }

    /// Whether any memory in use can vanish, or come back.
    #[must_use]
    pub fn can_change(&self) -> bool {
        self.away.is_searching() || self.heard.values().any(|heard| heard.far.is_some())
    }

    /// Takes our own doorbell out for a sleep, once there is a section.
    pub fn take_sleeper(&mut self) -> Option<Sleeper> {
        if std::mem::take(&mut self.stale) {
            let machine = self.machine.as_ref().ok().and_then(Option::as_ref);
            let own = machine.and_then(Machine::section).into_iter();
            let own = own.chain(self.rooms.iter().filter_map(|room| room.section().ok()));
            let mut own = own.chain(self.pairs.iter().flat_map(Pairs::sections)).peekable();
            if self.sleeper.is_none() {
                self.sleeper = own.peek().map(|first| Sleeper::new(first, Policy::None));
            }
            if let Some(sleeper) = &mut self.sleeper {
                sleeper.renew(own, self.heard.values().map(|heard| &heard.bell));
            }
        }
        self.sleeper.take()
    }

    /// Puts the doorbell back after a sleep.
    pub fn put_back(&mut self, sleeper: Sleeper) {
        self.sleeper = Some(sleeper);
    }

    fn lending(&mut self) -> Option<&mut Lending> {
        self.machine.as_mut().ok()?.as_mut()?.lending.as_mut()
    }

    /// Where to take memory from that peers on this machine can read; `None` when none can.
    pub fn store(&mut self) -> Option<Arc<Store>> {
        self.lending().map(|lending| Arc::clone(lending.store()))
    }

    /// Lends bytes to a peer, if they are of that memory and the peer can have it.
    pub fn lend(&mut self, rank: u32, card: &Card, bytes: (*const u8, usize)) -> Option<Lent> {
        match (self.via(rank), &mut self.machine) {
            (Via::Memory, Ok(Some(machine))) => machine.lend(rank, card, bytes),
            _ => None,
        }
    }

    /// The bytes that a peer lends, if they are here and as long as it says.
    pub fn borrow(&mut self, rank: u32, wanted: &Wanted) -> Option<Remote> {
        if !self.lending()?.knows(rank, wanted.name) {
            // The letter was sent before what speaks of it.
            self.collect().ok()?;
        }
        self.lending()?.borrow(rank, wanted)
    }

    /// A peer takes back what it has lent under this name.
    pub fn take_back(&mut self, rank: u32, name: u64) {
        if let Some(lending) = self.lending() {
            lending.take_back(rank, name);
        }
    }

    /// Memory of ours that is gone: who has it, under which name.
    pub fn returned(&mut self) -> Vec<(u32, u64)> {
        self.lending().map(Lending::returned).unwrap_or_default()
    }

    /// Shares nothing with a peer any more.
    pub fn part(&mut self, rank: u32) {
        if let Some(lending) = self.lending() {
            lending.forget(rank);
        }
        if self.heard.remove(&rank).is_some() {
            self.stale = true;
        }
        self.bells.remove(From::Peer(rank));
        if let Some(pairs) = &mut self.pairs {
            pairs.forget(rank);
        }
    }
}

/// How memory is shared with a peer, by the cards alone.
fn via(rank: u32, mine: &Card, peer: u32, theirs: &Card, policy: PathPolicy) -> Via {
    if peer == rank {
        return Via::Nothing;
    }
    let (candidate, _) = select::candidate(mine, theirs, policy);
    match candidate {
        Candidate::Ring(Sharing::Memfd | Sharing::File) => Via::Memory,
        Candidate::Ring(Sharing::Device) => {
            select::common_region(mine, theirs).map_or(Via::Nothing, Via::Device)
        }
        Candidate::Ring(Sharing::Xen) => theirs.domain.map_or(Via::Nothing, Via::Xen),
        Candidate::Ring(Sharing::Nothing) | Candidate::Tcp => Via::Nothing,
    }
}

/// Whether memory may go away while it is in use, and no futex can wait for it.
fn can_vanish(section: &PeerSection) -> bool {
    matches!(section.protection(), Protection::Device | Protection::Hypervisor)
}

/// Makes our block for a member ready, with a challenge in it, and describes the section.
fn ready(own: &mut OwnSection, member: u32, challenge: &[u8; 16]) -> Result<Offer, ShareError> {
    own.set_challenge(member, challenge).map_err(RegionError::from)?;
    own.activate(member)?;
    let Identity { layout, index, epoch } = *own.identity();
    let Geometry { cells, bulk } = layout.geometry();
    Ok(Offer { epoch, members: layout.members(), index, cells, bulk, grants: Vec::new() })
}

/// Whether a peer's section is the one that we computed.
fn compare(rank: u32, offer: &Offer, expected: &Identity) -> Result<(), ShareError> {
    let Geometry { cells, bulk } = expected.layout.geometry();
    let (members, index, epoch) = (expected.layout.members(), expected.index, expected.epoch);
    let right = Offer { epoch, members, index, cells, bulk, grants: offer.grants.clone() };
    if *offer == right {
        return Ok(());
    }
    Err(ShareError::Disagree { rank, offer: Offer { grants: Vec::new(), ..offer.clone() } })
}
