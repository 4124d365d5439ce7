//! Allgather and allgatherv: every rank's block to every rank.

use super::blocks::Blocks;
use super::{Buf, Schedule, Shape, Slice, bcast, choose, group::Group};

/// Ways to do an allgather.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AllgatherAlgorithm {
    /// Everyone sends to everyone: one round.
    Linear,
    /// Exchange of all that is there at distances 1, 2, 4: `log2 n` rounds, for powers of two.
    RecursiveDoubling,
    /// The same for any number of ranks, with a rotation at the end. Bruck et al. 1997.
    Bruck,
    /// Blocks move along a ring through host after host: `n - 1` rounds, each with one neighbour.
    Ring,
    /// Gather in each host, ring among one rank of each, broadcast.
    TwoLevel,
}

impl AllgatherAlgorithm {
    /// Whether the algorithm is made for these ranks and blocks.
    pub fn suits(self, shape: &Shape, blocks: &Blocks<'_>) -> bool {
        let equal = matches!(blocks, Blocks::Equal(_));
        match self {
            AllgatherAlgorithm::RecursiveDoubling => equal && shape.size().is_power_of_two(),
            AllgatherAlgorithm::Bruck => equal,
            _ => true,
        }
    }
}

/// Appends the allgather of `block` bytes from each rank that fits.
pub fn allgather(shape: &Shape, block: usize, in_place: bool, schedule: &mut Schedule) {
    let total = block.saturating_mul(shape.size() as usize);
    let algorithm = choose::allgather(shape, total);
    allgather_with(algorithm, shape, Blocks::Equal(block), in_place, schedule);
}

/// Appends the allgatherv that fits; all ranks pass the same lengths (displacements may differ). This
/// rank's block is at the start of `Buf::Send`, or, in place, where it belongs in `Buf::Recv`.
pub fn allgatherv(shape: &Shape, blocks: Blocks<'_>, in_place: bool, schedule: &mut Schedule) {
    let total = (0..shape.size()).map(|rank| blocks.len(rank)).sum();
    let algorithm = choose::allgatherv(shape, total);
    allgather_with(algorithm, shape, blocks, in_place, schedule);
}

/// Appends an allgather or allgatherv by the algorithm named, which must suit.
pub fn allgather_with(
    algorithm: AllgatherAlgorithm,
    shape: &Shape,
    blocks: Blocks<'_>,
    in_place: bool,
    schedule: &mut Schedule,
) {
    debug_assert!(algorithm.suits(shape, &blocks));
    let me = shape.rank();
    let place = blocks.slice(Buf::Recv, me);
    let own = if in_place { place } else { Slice::new(Buf::Send, 0, place.len) };
    let group = Group::all(shape);
    match algorithm {
        AllgatherAlgorithm::Linear => linear(&group, blocks, own, schedule),
        AllgatherAlgorithm::RecursiveDoubling => {
            recursive_doubling(&group, blocks.len(me), own, schedule);
        }
        AllgatherAlgorithm::Bruck => bruck(&group, blocks.len(me), own, schedule),
        AllgatherAlgorithm::Ring => {
            schedule.copy(own, place);
            let group = Group::by_host_from(shape, 0);
            ring(&group, |index| blocks.slice(Buf::Recv, group.rank(index)), schedule);
        }
        AllgatherAlgorithm::TwoLevel => two_level(shape, blocks, own, schedule),
    }
}

fn linear(group: &Group, blocks: Blocks<'_>, own: Slice, schedule: &mut Schedule) {
    for i in 1..group.size {
        let from = group.rank(group.before(i));
        schedule.send(group.rank(group.after(i)), own);
        schedule.recv(from, blocks.slice(Buf::Recv, from));
        if i % choose::POSTS_IN_FLIGHT == 0 {
            schedule.wait();
        }
    }
    schedule.copy(own, blocks.slice(Buf::Recv, group.rank(group.me)));
    schedule.wait();
}

fn recursive_doubling(group: &Group, block: usize, own: Slice, schedule: &mut Schedule) {
    schedule.copy(own, Slice::new(Buf::Recv, group.me * block, block));
    let mut held = 1;
    while held < group.size {
        let partner = group.me ^ held;
        let blocks =
            |index: usize| Slice::new(Buf::Recv, index / held * held * block, held * block);
        schedule.send(group.rank(partner), blocks(group.me));
        schedule.recv(group.rank(partner), blocks(partner));
        schedule.wait();
        held *= 2;
    }
}

/// Block `i` of the scratch buffer belongs to the rank `i` after this one.
fn bruck(group: &Group, block: usize, own: Slice, schedule: &mut Schedule) {
    let size = group.size;
    let all = schedule.scratch(size * block);
    schedule.copy(own, all.part(0, block));
    let mut held = 1;
    while held < size {
        let count = held.min(size - held);
        schedule.send(group.rank(group.before(held)), all.part(0, count * block));
        schedule.recv(group.rank(group.after(held)), all.part(held * block, count * block));
        schedule.wait();
        held *= 2;
    }
    let until_end = (size - group.me) * block;
    let end = Slice::new(Buf::Recv, group.me * block, until_end);
    schedule.copy(all.part(0, until_end), end);
    let rest = size * block - until_end;
    schedule.copy(all.part(until_end, rest), Slice::new(Buf::Recv, 0, rest));
}

/// `slot(i)` is where the part of index `i` belongs; this rank's own is there.
fn ring(group: &Group, slot: impl Fn(usize) -> Slice, schedule: &mut Schedule) {
    let (left, right) = (group.rank(group.before(1)), group.rank(group.after(1)));
    for step in 0..group.size - 1 {
        schedule.send(right, slot(group.before(step)));
        schedule.recv(left, slot(group.before(step + 1)));
        schedule.wait();
    }
}

/// Works on all blocks packed host after host: in the receive buffer itself if they lie so there.
fn two_level(shape: &Shape, blocks: Blocks<'_>, own: Slice, schedule: &mut Schedule) {
    let me = shape.rank();
    let ranks = shape.by_host();
    let total = ranks.iter().map(|&rank| blocks.len(rank)).sum();
    let local = Group::local(shape);
    // Displacements may differ from rank to rank, so each decides for itself where it packs.
    let straight = blocks.run(Buf::Recv, ranks);
    let packed = straight.unwrap_or_else(|| schedule.scratch(total));
    let before =
        |position: usize| -> usize { ranks[..position].iter().map(|&rank| blocks.len(rank)).sum() };
    let host_part = |host: usize| {
        let positions = shape.positions(host as u32);
        let start = before(positions.start);
        packed.part(start, before(positions.end) - start)
    };
    if local.me == 0 {
        let mut offset = before(shape.positions(shape.host_of(me)).start);
        for i in 0..local.size {
            let place = packed.part(offset, blocks.len(local.rank(i)));
            offset += place.len;
            if i == 0 {
                schedule.copy(own, place);
            } else {
                schedule.recv(local.rank(i), place);
            }
        }
        schedule.wait();
        ring(&Group::leaders(shape, None), host_part, schedule);
    } else {
        schedule.send(local.rank(0), own);
        schedule.wait();
    }
    bcast::within_host(shape, &local, 0, packed, schedule);
    if straight.is_none() {
        let mut offset = 0;
        for &rank in ranks {
            let place = blocks.slice(Buf::Recv, rank);
            schedule.copy(packed.part(offset, place.len), place);
            offset += place.len;
        }
    }
}
