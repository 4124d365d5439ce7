//! Reduce-scatter: the vector is reduced, and rank `r` keeps block `r` of the result.

use super::accumulate::{Accumulator, Operands};
use super::blocks::power_of_two_within;
use super::{Buf, SCRATCH_ALIGN, Schedule, Shape, Slice, choose, group::Group};
use std::ops::Range;

/// Ways to do a reduce-scatter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReduceScatterAlgorithm {
    /// Everyone sends each block to its owner, which combines in the order of ranks when all are there.
    Linear,
    /// In round `i`, the block of the rank `i` further: `n - 1` rounds, each block travels once.
    Pairwise,
    /// Halves of what is left go to the partner at half the distance. Thakur, Rabenseifner, Gropp 2005,
    /// section 6.
    RecursiveHalving,
}

impl ReduceScatterAlgorithm {
    /// Whether the result is right for this operation.
    pub fn suits(self, operands: &Operands) -> bool {
        operands.commutative || self == ReduceScatterAlgorithm::Linear
    }
}

/// The blocks of the result: lengths in bytes, one after the other.
#[derive(Clone, Copy, Debug)]
pub enum Counts<'a> {
    /// The same for every rank (`MPI_Reduce_scatter_block`).
    Equal(usize),
    /// One for each rank; a rank without an entry has no bytes.
    Listed(&'a [usize]),
}

impl Counts<'_> {
    /// Where these blocks lie in the whole vector.
    pub(super) fn bytes(&self, blocks: Range<usize>) -> Range<usize> {
        match *self {
            Counts::Equal(len) => blocks.start * len..blocks.end * len,
            Counts::Listed(counts) => {
                let start = counts.iter().take(blocks.start).sum();
                let len: usize = counts.iter().take(blocks.end).skip(blocks.start).sum();
                start..start + len
            }
        }
    }
}

/// Appends the reduce-scatter that fits. `operands.bytes` is the length of the whole vector, the sum of
/// `counts`. In place, the vector is in `Buf::Recv`, the block of the result goes to its start, and the
/// rest stays as it is.
pub fn reduce_scatter(
    shape: &Shape,
    operands: Operands,
    counts: Counts<'_>,
    schedule: &mut Schedule,
) {
    let algorithm = choose::reduce_scatter(shape, &operands);
    reduce_scatter_with(algorithm, shape, operands, counts, schedule);
}

/// Appends a reduce-scatter by the algorithm named, which must suit.
pub fn reduce_scatter_with(
    algorithm: ReduceScatterAlgorithm,
    shape: &Shape,
    operands: Operands,
    counts: Counts<'_>,
    schedule: &mut Schedule,
) {
    debug_assert!(algorithm.suits(&operands));
    let operand = if operands.in_place { Buf::Recv } else { Buf::Send };
    let vector = Slice::new(operand, 0, operands.bytes);
    let me = shape.rank() as usize;
    let result = Slice::new(Buf::Recv, 0, counts.bytes(me..me + 1).len());
    let call = Call { group: Group::all(shape), counts, vector, result };
    match algorithm {
        ReduceScatterAlgorithm::Linear => call.linear(schedule),
        ReduceScatterAlgorithm::Pairwise => call.pairwise(schedule),
        ReduceScatterAlgorithm::RecursiveHalving => call.recursive_halving(schedule),
    }
}

struct Call<'a> {
    group: Group<'a>,
    counts: Counts<'a>,
    vector: Slice,
    result: Slice,
}

impl Call<'_> {
    fn blocks(&self, blocks: Range<usize>) -> Slice {
        let bytes = self.counts.bytes(blocks);
        self.vector.part(bytes.start, bytes.len())
    }

    fn block(&self, index: usize) -> Slice {
        self.blocks(index..index + 1)
    }

    fn in_place(&self) -> bool {
        self.vector.buf == Buf::Recv
    }

    fn linear(&self, schedule: &mut Schedule) {
        let group = &self.group;
        let len = self.result.len;
        let stride = len.next_multiple_of(SCRATCH_ALIGN);
        let arrived = schedule.scratch(stride * group.size);
        let operand = |index: usize| match index {
            index if index == group.me => self.block(index),
            index => arrived.part(stride * index, len),
        };
        for i in 1..group.size {
            let (to, from) = (group.after(i), group.before(i));
            schedule.send(group.rank(to), self.block(to));
            schedule.recv(group.rank(from), operand(from));
            if i % choose::POSTS_IN_FLIGHT == 0 {
                schedule.wait();
            }
        }
        schedule.wait();
        // In place the result may overlap our own block, which therefore steps aside.
        let mut own = self.block(group.me);
        if self.in_place() && group.me != 0 {
            own = arrived.part(stride * group.me, len);
            schedule.copy(self.block(group.me), own);
        }
        schedule.copy(if group.me == 0 { own } else { operand(0) }, self.result);
        for i in 1..group.size {
            let operand = if i == group.me { own } else { operand(i) };
            schedule.reduce(operand, self.result, false);
        }
    }

    fn pairwise(&self, schedule: &mut Schedule) {
        let group = &self.group;
        // In place, the result would overwrite blocks that are still to be sent.
        let home = if self.in_place() { schedule.scratch(self.result.len) } else { self.result };
        let mut value = Accumulator::new(self.block(group.me), Some(home));
        let whole = 0..self.result.len;
        for i in 1..group.size {
            let (to, from) = (group.after(i), group.before(i));
            let give = self.block(to);
            let from = (group.rank(from), whole.clone());
            value.shift(schedule, (group.rank(to), give), from, true);
            value.settled(home);
        }
        schedule.copy(value.value(), self.result);
    }

    /// The first `2 * rest` ranks work in pairs, the odd one for both; a part is what one such pair, or one
    /// of the other ranks, gets in the end, so the blocks of a part lie next to each other.
    fn recursive_halving(&self, schedule: &mut Schedule) {
        let group = &self.group;
        let parts = power_of_two_within(group.size);
        let rest = group.size - parts;
        let first_block = |part: usize| part + part.min(rest);
        let bytes = |parts: Range<usize>| {
            self.counts.bytes(first_block(parts.start)..first_block(parts.end))
        };
        // Not even in place in the vector: what is behind the result is the program's.
        let home = schedule.scratch(self.vector.len);
        let mut value = Accumulator::new(self.vector, Some(home));
        let paired = group.me < 2 * rest;
        if paired && group.me.is_multiple_of(2) {
            schedule.send(group.rank(group.me + 1), self.vector);
            schedule.wait();
            schedule.recv(group.rank(group.me + 1), self.result);
            schedule.wait();
            return;
        }
        if paired {
            value.absorb(schedule, group.rank(group.me - 1), true);
        }
        let number = if paired { group.me / 2 } else { group.me - rest };
        let mut held = 0..parts;
        let mut distance = parts / 2;
        while distance > 0 {
            let partner = number ^ distance;
            let middle = held.start + distance;
            let (lower, upper) = (held.start..middle, middle..held.end);
            let (keep, give) = if number & distance == 0 { (lower, upper) } else { (upper, lower) };
            let index = if partner < rest { 2 * partner + 1 } else { partner + rest };
            let peer = group.rank(index);
            value.exchange(schedule, peer, bytes(give), bytes(keep.clone()), partner < number);
            held = keep;
            distance /= 2;
        }
        self.deliver(value.value(), paired, schedule);
    }

    /// Hands the left neighbour's block over, and puts our own where it belongs.
    fn deliver(&self, value: Slice, paired: bool, schedule: &mut Schedule) {
        let me = self.group.me;
        if paired {
            let theirs = self.counts.bytes(me - 1..me);
            let theirs = value.part(theirs.start, theirs.len());
            schedule.send(self.group.rank(me - 1), theirs);
            schedule.wait();
        }
        let own = self.counts.bytes(me..me + 1);
        let own = value.part(own.start, own.len());
        if own.overlaps(self.result) && own != self.result {
            let aside = schedule.scratch(own.len);
            schedule.copy(own, aside);
            schedule.copy(aside, self.result);
        } else {
            schedule.copy(own, self.result);
        }
    }
}
