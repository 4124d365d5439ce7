//! Our side of shared memory: the one section that we write, and what peers hand us.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use super::card::{Card, Sharing};
use super::control::Offer;
use crate::doorbell::{Policy, Ringer, Sleeper};
use crate::region::pass::{Address, Mailbox, PassError, Sent, send_fd};
use crate::region::planner::{PlanError, plan};
use crate::region::{
    Geometry, Identity, OwnSection, PeerSection, RegionError, SectionLayout, file, posix,
};
use crate::ring::{CONTROL_LEN, Consumer, Producer, Size};

/// Why memory cannot be shared with a peer. Never fatal: TCP carries the pair.
#[derive(Debug, thiserror::Error)]
pub enum ShareError {
    /// The memory itself.
    #[error(transparent)]
    Region(#[from] RegionError),
    /// Not even the smallest rings fit.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The descriptor could not be handed over.
    #[error(transparent)]
    Pass(#[from] PassError),
    /// The peer laid its section out in another way.
    #[error("rank {rank} describes its section as {offer:?}, and that is not what was agreed")]
    Disagree {
        /// Who.
        rank: u32,
        /// What it said.
        offer: Offer,
    },
    /// The peer is not one of our host's members.
    #[error("rank {0} is not a member of this host")]
    Stranger(u32),
    /// No randomness for a challenge.
    #[error("the system gave no random numbers: {0}")]
    Random(getrandom::Error),
}

/// What a rank brings to share memory with, made before the others are known.
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
}

/// Shared memory with the members of this host.
#[derive(Debug)]
pub struct Share {
    means: Means,
    layout: SectionLayout,
    /// Ranks by member index.
    members: Vec<u32>,
    me: u32,
    section: Option<OwnSection>,
    sleeper: Option<Sleeper>,
    /// Descriptors that came before their offers.
    arrived: HashMap<u32, (u64, OwnedFd)>,
}

impl Share {
    /// Plans sections for all ranks that may share this host, by their cards. Nothing is allocated
    /// yet. `Ok(None)` when there is no such peer.
    ///
    /// # Errors
    /// When not even the smallest rings fit.
    pub fn plan(
        means: Means,
        cards: &[Card],
        wanted: Geometry,
    ) -> Result<Option<Self>, ShareError> {
        let mine = &cards[means.rank as usize];
        let is_member =
            |card: &Card| super::select::same_host(mine, card) && card.sharing == mine.sharing;
        let members: Vec<u32> =
            (0..).zip(cards).filter(|(_, card)| is_member(card)).map(|(rank, _)| rank).collect();
        let count = members.len() as u32;
        let Some(me) = (0..).zip(&members).find(|(_, rank)| **rank == means.rank).map(|(i, _)| i)
        else {
            return Ok(None);
        };
        if count < 2 || mine.sharing == Sharing::Nothing {
            return Ok(None);
        }
        let room = members.iter().filter_map(|&rank| cards[rank as usize].room).min();
        let geometry = plan(room, count, wanted)?;
        let layout = SectionLayout::new(count, geometry).map_err(RegionError::from)?;
        let arrived = HashMap::new();
        Ok(Some(Self { means, layout, members, me, section: None, sleeper: None, arrived }))
    }

    fn member(&self, rank: u32) -> Result<u32, ShareError> {
        let index = self.members.binary_search(&rank).map_err(|_| ShareError::Stranger(rank))?;
        Ok(index as u32)
    }

    /// The kind of mapping, for people: `memfd` or `file`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        if self.means.directory.is_some() { "file" } else { "memfd" }
    }

    /// The longest payload of one frame, in bytes; the same for all rings of this host.
    #[must_use]
    pub fn payload_max(&self) -> usize {
        let Geometry { cells, bulk } = self.layout.geometry();
        Size { cells, bulk }.payload_max()
    }

    fn own(&mut self) -> Result<&mut OwnSection, ShareError> {
        if self.section.is_none() {
            let means = &self.means;
            let section = match &means.directory {
                Some(directory) => {
                    file::create(directory, &means.job, means.rank, self.layout, self.me)?
                }
                None => posix::create_memfd(self.layout, self.me)?,
            };
            self.sleeper = Some(Sleeper::new(&section, Policy::None));
            self.section = Some(section);
        }
        self.section.as_mut().ok_or(ShareError::Stranger(self.means.rank))
    }

    /// Makes our block for a peer ready, leaves a fresh challenge in it, and describes it.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub fn offer(&mut self, rank: u32) -> Result<(Offer, [u8; 16]), ShareError> {
        let member = self.member(rank)?;
        let mut challenge = [0; 16];
        getrandom::fill(&mut challenge).map_err(ShareError::Random)?;
        let own = self.own()?;
        own.activate(member)?;
        own.set_challenge(member, &challenge).map_err(RegionError::from)?;
        let identity = *own.identity();
        let Geometry { cells, bulk } = identity.layout.geometry();
        let members = identity.layout.members();
        Ok((
            Offer { epoch: identity.epoch, members, index: identity.index, cells, bulk },
            challenge,
        ))
    }

    /// Hands our descriptor to a peer, where that is how memory is shared. False: try again.
    ///
    /// # Errors
    /// When the peer has no mailbox here.
    pub fn hand_over(&mut self, rank: u32, card: &Card) -> Result<bool, ShareError> {
        let (me, job) = (self.means.rank, self.means.job.clone());
        let own = self.own()?;
        let (Some(fd), None) = (own.fd(), own.path()) else {
            return Ok(true);
        };
        let to = Address { job: &job, rank, epoch: card.epoch, secret: card.mailbox };
        Ok(send_fd(&to, me, own.identity().epoch, fd)? == Sent::Delivered)
    }

    /// Takes letters out of the mailbox.
    ///
    /// # Errors
    /// When the mailbox fails.
    pub fn collect(&mut self) -> Result<(), ShareError> {
        let Some(mailbox) = &self.means.mailbox else {
            return Ok(());
        };
        while let Some(letter) = mailbox.receive()? {
            if self.members.binary_search(&letter.from_rank).is_ok() {
                self.arrived.insert(letter.from_rank, (letter.from_epoch, letter.fd));
            }
        }
        Ok(())
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
        let index = self.member(rank)?;
        let Geometry { cells, bulk } = self.layout.geometry();
        let members = self.layout.members();
        let expected = Identity { layout: self.layout, index, epoch: offer.epoch };
        if *offer != (Offer { epoch: offer.epoch, members, index, cells, bulk }) {
            return Err(ShareError::Disagree { rank, offer: *offer });
        }
        let section = match &self.means.directory {
            Some(directory) => file::open(directory, &self.means.job, rank, &expected, self.me)?,
            None => {
                let Some((epoch, fd)) = self.arrived.remove(&rank) else {
                    return Ok(None);
                };
                if epoch != offer.epoch {
                    return Ok(None);
                }
                posix::adopt(fd, &expected, self.me)?
            }
        };
        let challenge = section.challenge();
        Ok(Some((section, challenge)))
    }

    /// The rings to and from a peer whose section was adopted.
    ///
    /// # Errors
    /// When the peer's block is not there.
    pub fn rings(&mut self, rank: u32, section: &PeerSection) -> Result<Rings, ShareError> {
        let member = self.member(rank)?;
        let Geometry { cells, bulk } = self.layout.geometry();
        let size = Size { cells, bulk };
        let own = self.own()?;
        let (ours, theirs) = (own.pair(member)?, section.pair()?);
        let ringer = Ringer::new(own, section).map_err(RegionError::from)?;
        let their_control = theirs.control.sub(0, CONTROL_LEN);
        let our_control = ours.control.sub(0, CONTROL_LEN);
        Ok(Rings {
            producer: Producer::new(ours.cells, ours.bulk, their_control, size),
            consumer: Consumer::new(theirs.cells, theirs.bulk, our_control, size),
            ringer,
        })
    }

    /// Takes our own doorbell out for a sleep, once there is a section.
    pub fn take_sleeper(&mut self) -> Option<Sleeper> {
        self.sleeper.take()
    }

    /// Puts the doorbell back after a sleep.
    pub fn put_back(&mut self, sleeper: Sleeper) {
        self.sleeper = Some(sleeper);
    }

    /// Listens to a peer's bell from now on.
    pub fn listen(&mut self, section: &PeerSection) {
        if let Some(sleeper) = &mut self.sleeper {
            // With the policy none, which is the one outside of a sleep, adding cannot fail.
            let _ = sleeper.add(section);
        }
    }

    /// Listens no more to a peer's bell.
    pub fn deafen(&mut self, rank: u32) {
        if let (Ok(member), Some(sleeper)) = (self.member(rank), &mut self.sleeper) {
            sleeper.remove(member);
        }
    }
}
