//! Intercommunicators: two groups that talk to each other (MPI 5.0, 7.6). Their leaders, the first
//! of each group, tell each other what all of the other group must know.

use std::sync::Arc;

use super::Process;
use super::communicators::{Grant, intra};
use crate::mpi::comm::{COLLECTIVE, Comm, FOUNDING, Traits};
use crate::mpi::errhandler::Errhandler;
use crate::mpi::failure::{Class, Outcome, fail};
use crate::mpi::group::Group;

/// What the leader of a local group knows of the other leader: a communicator, the rank in it, and
/// the tag of their messages.
#[derive(Debug)]
pub struct Peer {
    /// With both leaders.
    pub comm: Arc<Comm>,
    /// Rank of the other.
    pub rank: i32,
    /// Tag of the messages of both.
    pub tag: i32,
}

fn to_bytes(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|it| it.to_ne_bytes()).collect()
}

fn to_words(bytes: &[u8]) -> Vec<u32> {
    bytes.chunks_exact(4).map(|it| it.try_into().map_or(0, u32::from_ne_bytes)).collect()
}

/// # Errors
/// `MPI_ERR_COMM` when the groups overlap.
fn disjoint(local: &Group, remote: &Group) -> Outcome<()> {
    if local.overlaps(remote) {
        return fail(Class::Comm, "the two groups of an intercommunicator have members in common");
    }
    Ok(())
}

impl Process {
    /// Gives the other group of an intercommunicator what all of this one have, and gets theirs.
    pub(super) fn swap_with_remote(&self, comm: &Comm, mine: &[u8]) -> Outcome<Vec<u8>> {
        let tag = comm.next_call();
        let found = (comm.rank() == 0).then(|| {
            let peer = comm.peers().world_rank(0)?;
            self.swap_bytes(peer, comm.context() + COLLECTIVE, tag, mine)
        });
        self.spread(comm, 0, found)
    }

    /// Joins the group of `local` with that of another leader (`MPI_Intercomm_create`). Only the
    /// leader knows the other.
    ///
    /// # Errors
    /// `MPI_ERR_COMM` when `local` is an intercommunicator or the groups overlap; `MPI_ERR_RANK`,
    /// `MPI_ERR_TAG`; at all ranks what failed at the leader.
    pub fn intercomm_create(
        &self,
        local: &Comm,
        leader: i32,
        peer: impl FnOnce() -> Outcome<Peer>,
    ) -> Outcome<Arc<Comm>> {
        intra(local)?;
        local.local().world_rank(leader)?;
        let leader = leader.cast_unsigned();
        let found =
            (local.rank() == leader).then(|| peer().and_then(|peer| self.introduce(local, &peer)));
        let bytes = self.spread(local, leader, found)?;
        let (grants, members) = bytes.split_at(2 * 8);
        let remote = Arc::new(Group::new(to_words(members).into(), self.rank()));
        disjoint(local.local(), &remote)?;
        // Both leaders gave: what counts is whose group begins with the lower rank of the world.
        let first = local.local().members().first() < remote.members().first();
        let grant = Grant::of_bytes(if first { &grants[..8] } else { &grants[8..] })?;
        let traits = Traits::plain(local.errhandler());
        self.found(grant, Arc::clone(local.local()), Some(remote), traits)
    }

    /// What leaders tell each other: contexts and group. Gives both contexts and the other group.
    fn introduce(&self, local: &Comm, peer: &Peer) -> Outcome<Vec<u8>> {
        let Some(world) = peer.comm.destination(peer.rank, peer.tag)? else {
            return fail(Class::Rank, "the remote leader is MPI_PROC_NULL");
        };
        let mine = self.give(true).to_bytes();
        let message = [&mine[..], &to_bytes(local.local().members())].concat();
        let context = peer.comm.context() + FOUNDING;
        let theirs = self.swap_bytes(world, context, peer.tag, &message)?;
        Ok([&mine[..], &theirs].concat())
    }

    /// Joins two groups that have only a name in common (`MPI_Intercomm_create_from_groups`).
    ///
    /// # Errors
    /// `MPI_ERR_COMM` when they overlap, `MPI_ERR_GROUP` when this process is not in the local one.
    pub fn intercomm_from_groups(
        &self,
        local: &Group,
        remote: &Group,
        name: &[u8],
        errhandler: Errhandler,
    ) -> Outcome<Arc<Comm>> {
        disjoint(local, remote)?;
        if local.size() == 0 || remote.size() == 0 {
            return fail(Class::Group, "a group of an intercommunicator is empty");
        }
        let (mine, theirs) = (local.members(), remote.members());
        let (first, then) = if mine[0] < theirs[0] { (mine, theirs) } else { (theirs, mine) };
        let all: Arc<[u32]> = first.iter().chain(&then[..]).copied().collect();
        let grant = self.grant(self.named(&all, name)?, true)?;
        let group =
            |members: &Arc<[u32]>| Arc::new(local.related(Arc::clone(members), self.rank()));
        self.found(grant, group(mine), Some(group(theirs)), Traits::plain(errhandler))
    }

    /// One communicator of both groups, those that say `high` last (`MPI_Intercomm_merge`).
    ///
    /// # Errors
    /// `MPI_ERR_COMM` when it is no intercommunicator, or when a peer is gone.
    pub fn merge(&self, comm: &Comm, high: bool) -> Outcome<Arc<Comm>> {
        let Some(remote) = comm.remote() else {
            return fail(Class::Comm, "only an intercommunicator can be merged");
        };
        let theirs = self.swap_with_remote(comm, &[high.into()])? == [1];
        let (mine, others) = (comm.local().members(), remote.members());
        let first = if high == theirs { mine.first() < others.first() } else { theirs };
        let (first, then) = if first { (mine, others) } else { (others, mine) };
        let members: Arc<[u32]> = first.iter().chain(&then[..]).copied().collect();
        let grant = self.grant(self.some_of(comm, &members)?, false)?;
        let group = Arc::new(comm.local().related(members, self.rank()));
        self.found(grant, group, None, Traits::plain(comm.errhandler()))
    }

    /// The parts of both groups that are named on their sides; none when this rank is not in its
    /// part, or one of them is empty.
    pub(super) fn create_inter(&self, comm: &Comm, group: &Group) -> Outcome<Option<Arc<Comm>>> {
        let theirs = self.swap_with_remote(comm, &to_bytes(group.members()))?;
        self.inter_part(comm, group.members(), &to_words(&theirs).into())
    }

    /// An intercommunicator of parts of both groups.
    pub(super) fn inter_part(
        &self,
        comm: &Comm,
        mine: &Arc<[u32]>,
        theirs: &Arc<[u32]>,
    ) -> Outcome<Option<Arc<Comm>>> {
        let group =
            |members: &Arc<[u32]>| Arc::new(comm.local().related(Arc::clone(members), self.rank()));
        let (local, remote) = (group(mine), group(theirs));
        if local.rank().is_none() || remote.size() == 0 {
            comm.next_call();
            return Ok(None);
        }
        let (first, then) = if mine[0] < theirs[0] { (mine, theirs) } else { (theirs, mine) };
        let all: Arc<[u32]> = first.iter().chain(&then[..]).copied().collect();
        let grant = self.grant(self.some_of(comm, &all)?, true)?;
        let traits = Traits::plain(comm.errhandler());
        self.found(grant, local, Some(remote), traits).map(Some)
    }
}
