//! Groups: ordered sets of ranks (MPI 5.0, 7.3).

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use super::failure::{Class, Outcome, fail};
use super::process::Attachment;

mod sets;

/// A group of ranks of the world.
#[derive(Debug)]
pub struct Group {
    /// Whatever the outside knows it by.
    pub handle: AtomicUsize,
    members: Arc<[u32]>,
    rank: Option<u32>,
    /// The buffer for buffered sends of the session that it comes from, if it comes from one.
    buffer: Option<Arc<Attachment>>,
}

/// How two groups or communicators compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Comparison {
    /// The very same, or the same members in the same order (for groups).
    Identical,
    /// The same members in the same order, in another context.
    Congruent,
    /// The same members in another order.
    Similar,
    /// Different.
    Unequal,
}

impl Group {
    /// A group of these ranks of the world, as seen by `me`, also a rank of the world.
    #[must_use]
    pub fn new(members: Arc<[u32]>, me: u32) -> Self {
        let rank = members.iter().position(|&world| world == me).map(|rank| rank as u32);
        Self { handle: AtomicUsize::new(0), members, rank, buffer: None }
    }

    /// Another group of the session that this one comes from.
    #[must_use]
    pub fn related(&self, members: Arc<[u32]>, me: u32) -> Self {
        Self { buffer: self.buffer.clone(), ..Self::new(members, me) }
    }

    /// The same, of the session with this buffer.
    #[must_use]
    pub fn of_session(self, buffer: &Arc<Attachment>) -> Self {
        Self { buffer: Some(Arc::clone(buffer)), ..self }
    }

    /// The buffer for buffered sends of its session.
    #[must_use]
    pub fn buffer(&self) -> Option<&Arc<Attachment>> {
        self.buffer.as_ref()
    }

    /// Ranks of the world by rank here.
    #[must_use]
    pub fn members(&self) -> &Arc<[u32]> {
        &self.members
    }

    /// Number of members.
    #[must_use]
    pub fn size(&self) -> u32 {
        self.members.len() as u32
    }

    /// This process's rank here, if it is a member.
    #[must_use]
    pub fn rank(&self) -> Option<u32> {
        self.rank
    }

    /// The rank of the world that is `rank` here.
    ///
    /// # Errors
    /// `MPI_ERR_RANK` when there is none.
    #[inline]
    pub fn world_rank(&self, rank: i32) -> Outcome<u32> {
        match usize::try_from(rank).ok().and_then(|rank| self.members.get(rank)) {
            Some(&world) => Ok(world),
            None => self.no_such_rank(rank),
        }
    }

    #[cold]
    fn no_such_rank(&self, rank: i32) -> Outcome<u32> {
        let last = i64::from(self.size()) - 1;
        fail(Class::Rank, format!("rank {rank} is not one of 0 to {last}"))
    }

    /// The rank here of a rank of the world.
    #[inline]
    #[must_use]
    pub fn rank_of(&self, world: u32) -> Option<u32> {
        if self.members.get(world as usize) == Some(&world) {
            return Some(world);
        }
        self.members.iter().position(|&member| member == world).map(|rank| rank as u32)
    }
}
