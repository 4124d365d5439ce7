//! Collectives of intercommunicators (MPI 5.0, 6.2.2): what the ranks of one group contribute goes to the
//! ranks of the other. Peers below the size of the local group are its ranks; the remote group's follow.
//!
//! Every exchange between the groups is direct, or from rank 0 of one to rank 0 of the other with the
//! algorithms of one group before and after it.

use super::accumulate::{Accumulator, Operands};
use super::reduce::binomial;
use super::{Blocks, Buf, Counts, Schedule, Shape, Slice, choose, group::Group};

/// An intercommunicator as one of its ranks sees it.
#[derive(Clone, Copy, Debug)]
pub struct Inter<'a> {
    /// The local group.
    pub local: &'a Shape,
    /// Ranks of the remote group.
    pub remote_size: u32,
}

/// The root of a rooted collective, as one rank names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Root {
    /// This rank (`MPI_ROOT`).
    Me,
    /// Another rank of this group (`MPI_PROC_NULL`): nothing to do here.
    Nobody,
    /// This rank of the remote group.
    Remote(u32),
}

impl Inter<'_> {
    /// The peer that is this rank of the remote group.
    fn remote(&self, rank: u32) -> u32 {
        self.local.size() + rank
    }

    fn leads(&self) -> bool {
        self.local.rank() == 0
    }

    /// The remote rank met in each of the rounds in which everybody meets everybody: ranks meet when
    /// their numbers add up to that of the round, so both groups see the same rounds.
    fn meetings(&self) -> impl Iterator<Item = (usize, u32)> {
        let (me, remote) = (self.local.rank() as usize, self.remote_size);
        let rounds = (self.local.size().max(remote)) as usize;
        (0..rounds).filter_map(move |round| {
            let rank = ((round + rounds - me) % rounds) as u32;
            (rank < remote).then_some((round, rank))
        })
    }

    /// Exchanges with every remote rank what the functions say, in bounded batches.
    fn exchange(
        &self,
        give: impl Fn(u32) -> Slice,
        take: impl Fn(u32) -> Slice,
        schedule: &mut Schedule,
    ) {
        let mut batch = 0;
        for (round, rank) in self.meetings() {
            if round / choose::POSTS_IN_FLIGHT != batch {
                batch = round / choose::POSTS_IN_FLIGHT;
                schedule.wait();
            }
            schedule.recv(self.remote(rank), take(rank));
            schedule.send(self.remote(rank), give(rank));
        }
        schedule.wait();
    }
}

/// Appends the barrier: nobody leaves before all of both groups came.
pub fn barrier(inter: &Inter<'_>, schedule: &mut Schedule) {
    super::barrier(inter.local, schedule);
    if inter.leads() {
        schedule.signal(inter.remote(0));
        schedule.await_signal(inter.remote(0));
        schedule.wait();
    }
    super::barrier(inter.local, schedule);
}

/// Appends the broadcast from the root to all of the other group. The one buffer is `Buf::Recv`.
pub fn bcast(inter: &Inter<'_>, bytes: usize, root: Root, schedule: &mut Schedule) {
    let data = Slice::new(Buf::Recv, 0, bytes);
    match root {
        Root::Nobody => {}
        Root::Me => {
            schedule.send(inter.remote(0), data);
            schedule.wait();
        }
        Root::Remote(root) => {
            if inter.leads() {
                schedule.recv(inter.remote(root), data);
                schedule.wait();
            }
            super::bcast(inter.local, bytes, 0, schedule);
        }
    }
}

/// Appends the gatherv: this rank sends `bytes` bytes, or, as the root, receives `blocks`.
pub fn gatherv(
    inter: &Inter<'_>,
    bytes: usize,
    blocks: Blocks<'_>,
    root: Root,
    schedule: &mut Schedule,
) {
    match root {
        Root::Nobody => {}
        Root::Me => {
            for rank in 0..inter.remote_size {
                schedule.recv(inter.remote(rank), blocks.slice(Buf::Recv, rank));
            }
        }
        Root::Remote(root) => schedule.send(inter.remote(root), Slice::new(Buf::Send, 0, bytes)),
    }
    schedule.wait();
}

/// Appends the scatterv: this rank receives `bytes` bytes, or, as the root, sends `blocks`.
pub fn scatterv(
    inter: &Inter<'_>,
    bytes: usize,
    blocks: Blocks<'_>,
    root: Root,
    schedule: &mut Schedule,
) {
    match root {
        Root::Nobody => {}
        Root::Me => {
            for rank in 0..inter.remote_size {
                schedule.send(inter.remote(rank), blocks.slice(Buf::Send, rank));
            }
        }
        Root::Remote(root) => schedule.recv(inter.remote(root), Slice::new(Buf::Recv, 0, bytes)),
    }
    schedule.wait();
}

/// Appends the allgatherv: this rank's `bytes` bytes go to every remote rank, theirs to `blocks`.
pub fn allgatherv(inter: &Inter<'_>, bytes: usize, blocks: Blocks<'_>, schedule: &mut Schedule) {
    let own = Slice::new(Buf::Send, 0, bytes);
    inter.exchange(|_| own, |rank| blocks.slice(Buf::Recv, rank), schedule);
}

/// Appends the alltoallv, and alltoallw, whose blocks in bytes are no different.
pub fn alltoallv(inter: &Inter<'_>, from: Blocks<'_>, into: Blocks<'_>, schedule: &mut Schedule) {
    let give = |rank| from.slice(Buf::Send, rank);
    inter.exchange(give, |rank| into.slice(Buf::Recv, rank), schedule);
}

/// Reduces the vectors of the local group in the scratch buffer of its rank 0.
fn reduce_locally(inter: &Inter<'_>, operands: Operands, schedule: &mut Schedule) -> Slice {
    let mut value = Accumulator::new(Slice::new(Buf::Send, 0, operands.bytes), None);
    binomial(&Group::all(inter.local), 0, operands.commutative, &mut value, schedule);
    value.value()
}

/// Appends the reduction of the vectors of one group at the root, which is in the other.
pub fn reduce(inter: &Inter<'_>, operands: Operands, root: Root, schedule: &mut Schedule) {
    match root {
        Root::Nobody => {}
        Root::Me => schedule.recv(inter.remote(0), Slice::new(Buf::Recv, 0, operands.bytes)),
        Root::Remote(root) => {
            let value = reduce_locally(inter, operands, schedule);
            if inter.leads() {
                schedule.send(inter.remote(root), value);
            }
        }
    }
    schedule.wait();
}

/// Appends the allreduce: each group gets the other's vectors combined.
pub fn allreduce(inter: &Inter<'_>, operands: Operands, schedule: &mut Schedule) {
    let value = reduce_locally(inter, operands, schedule);
    if inter.leads() {
        schedule.recv(inter.remote(0), Slice::new(Buf::Recv, 0, operands.bytes));
        schedule.send(inter.remote(0), value);
        schedule.wait();
    }
    super::bcast(inter.local, operands.bytes, 0, schedule);
}

/// Appends the reduce-scatter: each group gets the other's vectors combined, cut by its own `counts`.
pub fn reduce_scatter(
    inter: &Inter<'_>,
    operands: Operands,
    counts: Counts<'_>,
    schedule: &mut Schedule,
) {
    let value = reduce_locally(inter, operands, schedule);
    let me = inter.local.rank() as usize;
    let own = Slice::new(Buf::Recv, 0, counts.bytes(me..me + 1).len());
    if !inter.leads() {
        schedule.recv(0, own);
        schedule.wait();
        return;
    }
    let arrived = schedule.scratch(operands.bytes);
    schedule.recv(inter.remote(0), arrived);
    schedule.send(inter.remote(0), value);
    schedule.wait();
    for rank in 1..inter.local.size() {
        let block = counts.bytes(rank as usize..rank as usize + 1);
        schedule.send(rank, arrived.part(block.start, block.len()));
    }
    schedule.copy(arrived.part(0, own.len), own);
    schedule.wait();
}
