//! Neighborhood collectives (MPI 5.0, 8.6): each rank sends to its destinations and receives from its
//! sources. All is posted at once, since nothing is known of the graph beyond this rank.

use super::{Blocks, Buf, Schedule, Slice};

/// The neighbors of one rank in a virtual topology.
#[derive(Clone, Copy, Debug)]
pub struct Neighbors<'a> {
    /// This rank.
    pub rank: u32,
    /// Who sends to it, in the order of the receive blocks; none beyond the border of a grid. A rank may
    /// appear several times, and may be this one.
    pub sources: &'a [Option<u32>],
    /// Whom it sends to, in the order of the send blocks.
    pub destinations: &'a [Option<u32>],
    /// Whether these are the two of each dimension of a grid. What is sent towards lower coordinates then
    /// comes from higher ones at the receiver, even if both are the same rank.
    pub grid: bool,
}

impl Neighbors<'_> {
    /// Messages of a pair of ranks match in their order. In a grid the second neighbor of a dimension is
    /// therefore received from first.
    fn receives(&self) -> impl Iterator<Item = (usize, u32)> {
        let turn = usize::from(self.grid);
        (0..self.sources.len()).map(move |i| i ^ turn).filter_map(|i| {
            let source = self.sources.get(i).copied().flatten();
            source.map(|source| (i, source))
        })
    }

    fn sends(&self) -> impl Iterator<Item = (usize, u32)> {
        self.destinations.iter().enumerate().filter_map(|(i, rank)| rank.map(|rank| (i, rank)))
    }

    fn exchange(
        &self,
        give: impl Fn(u32) -> Slice,
        take: impl Fn(u32) -> Slice,
        schedule: &mut Schedule,
    ) {
        for (i, source) in self.receives().filter(|(_, source)| *source != self.rank) {
            schedule.recv(source, take(i as u32));
        }
        for (i, destination) in self.sends().filter(|(_, rank)| *rank != self.rank) {
            schedule.send(destination, give(i as u32));
        }
        let to_me = self.sends().filter(|(_, rank)| *rank == self.rank);
        let from_me = self.receives().filter(|(_, rank)| *rank == self.rank);
        for ((out, _), (into, _)) in to_me.zip(from_me) {
            let (from, into) = (give(out as u32), take(into as u32));
            let len = from.len.min(into.len);
            schedule.copy(from.part(0, len), into.part(0, len));
        }
        schedule.wait();
    }
}

/// Appends the allgatherv: this rank's `bytes` bytes go to all destinations. Blocks are numbered by source.
pub fn allgatherv(
    neighbors: &Neighbors<'_>,
    bytes: usize,
    blocks: Blocks<'_>,
    schedule: &mut Schedule,
) {
    let own = Slice::new(Buf::Send, 0, bytes);
    neighbors.exchange(|_| own, |source| blocks.slice(Buf::Recv, source), schedule);
}

/// Appends the alltoallv, and alltoallw: blocks are numbered by destination and by source.
pub fn alltoallv(
    neighbors: &Neighbors<'_>,
    from: Blocks<'_>,
    into: Blocks<'_>,
    schedule: &mut Schedule,
) {
    let give = |destination| from.slice(Buf::Send, destination);
    neighbors.exchange(give, |source| into.slice(Buf::Recv, source), schedule);
}
