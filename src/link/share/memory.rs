//! Memory shared with processes of the same machine: one section that all of them map.

use std::collections::HashMap;
use std::os::fd::{BorrowedFd, OwnedFd};

use super::lending::{Lending, Lent};
use super::{Means, ShareError};
use crate::link::card::{Card, Sharing};
use crate::link::control::Offer;
use crate::link::select::same_machine;
use crate::region::pass::{Address, Enclosed, Sent, send_fd};
use crate::region::planner::plan;
use crate::region::{
    Geometry, Identity, OwnSection, PeerSection, RegionError, SectionLayout, file, posix,
};

/// The members of this machine.
#[derive(Debug)]
pub(super) struct Machine {
    means: Means,
    layout: SectionLayout,
    /// Ranks by member index.
    members: Vec<u32>,
    me: u32,
    section: Option<OwnSection>,
    /// Descriptors that came before their offers.
    arrived: HashMap<u32, (u64, OwnedFd)>,
    /// Where descriptors can be handed over.
    pub(super) lending: Option<Lending>,
}

impl Machine {
    /// Plans sections for all ranks of this machine, by their cards. Nothing is allocated yet.
    /// `Ok(None)` when there is no other.
    pub(super) fn plan(
        means: Means,
        cards: &[Card],
        wanted: Geometry,
    ) -> Result<Option<Self>, ShareError> {
        let mine = &cards[means.rank as usize];
        let is_member = |card: &Card| same_machine(mine, card) && card.sharing == mine.sharing;
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
        let lending = means.mailbox.is_some().then(|| Lending::new(count));
        let (section, arrived) = (None, HashMap::new());
        Ok(Some(Self { means, layout, members, me, section, arrived, lending }))
    }

    fn member(&self, rank: u32) -> Result<u32, ShareError> {
        let index = self.members.binary_search(&rank).map_err(|_| ShareError::Stranger(rank))?;
        Ok(index as u32)
    }

    /// For people.
    pub(super) fn describe(&self) -> String {
        let kind = if self.means.directory.is_some() { "file" } else { "memfd" };
        format!("one machine, {kind}")
    }

    pub(super) fn geometry(&self) -> Geometry {
        self.layout.geometry()
    }

    pub(super) fn section(&self) -> Option<&OwnSection> {
        self.section.as_ref()
    }

    pub(super) fn own(&mut self) -> Result<&mut OwnSection, ShareError> {
        if self.section.is_none() {
            let means = &self.means;
            let section = match &means.directory {
                Some(directory) => {
                    file::create(directory, &means.job, means.rank, self.layout, self.me)?
                }
                None => posix::create_memfd(self.layout, self.me)?,
            };
            super::Sleeper::prepare(&section);
            self.section = Some(section);
        }
        self.section.as_mut().ok_or(ShareError::Stranger(self.means.rank))
    }

    pub(super) fn offer(&mut self, rank: u32, challenge: &[u8; 16]) -> Result<Offer, ShareError> {
        let member = self.member(rank)?;
        super::ready(self.own()?, member, challenge)
    }

    /// Hands our descriptor to a peer, where that is how memory is shared. False: try again.
    pub(super) fn hand_over(&mut self, rank: u32, card: &Card) -> Result<bool, ShareError> {
        let (me, job) = (self.means.rank, self.means.job.clone());
        let own = self.own()?;
        let (Some(fd), None) = (own.fd(), own.path()) else {
            return Ok(true);
        };
        let to = Address { job: &job, rank, epoch: card.epoch, secret: card.mailbox };
        Ok(send_fd(&to, me, Enclosed::Section(own.identity().epoch), fd)? == Sent::Delivered)
    }

    /// Lends bytes to a peer, if they are such that can be.
    pub(super) fn lend(
        &mut self,
        rank: u32,
        card: &Card,
        bytes: (*const u8, usize),
    ) -> Option<Lent> {
        let (me, job) = (self.means.rank, &self.means.job);
        let to = Address { job, rank, epoch: card.epoch, secret: card.mailbox };
        let hand_over = |name, fd: BorrowedFd<'_>| send_fd(&to, me, Enclosed::Chunk(name), fd);
        self.lending.as_mut()?.lend(rank, bytes, hand_over)
    }

    /// Takes letters out of the mailbox.
    pub(super) fn collect(&mut self) -> Result<(), ShareError> {
        let Some(mailbox) = &self.means.mailbox else {
            return Ok(());
        };
        while let Some(letter) = mailbox.receive()? {
            let from = letter.from_rank;
            if self.members.binary_search(&from).is_err() {
                continue;
            }
            match (letter.enclosed, &mut self.lending) {
                (Enclosed::Section(epoch), _) => {
                    self.arrived.insert(from, (epoch, letter.fd));
                }
                (Enclosed::Chunk(name), Some(lending)) => lending.arrived(from, name, letter.fd),
                (Enclosed::Chunk(_), None) => {}
            }
        }
        Ok(())
    }

    /// Opens what a peer offers, if it is here already.
    pub(super) fn adopt(
        &mut self,
        rank: u32,
        offer: &Offer,
    ) -> Result<Option<PeerSection>, ShareError> {
        let index = self.member(rank)?;
        let expected = Identity { layout: self.layout, index, epoch: offer.epoch };
        super::compare(rank, offer, &expected)?;
        if let Some(directory) = &self.means.directory {
            let section = file::open(directory, &self.means.job, rank, &expected, self.me)?;
            return Ok(Some(section));
        }
        match self.arrived.remove(&rank) {
            Some((epoch, fd)) if epoch == offer.epoch => {
                Ok(Some(posix::adopt(fd, &expected, self.me)?))
            }
            _ => Ok(None),
        }
    }
}
