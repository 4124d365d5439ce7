//! Allreduce: every rank gets the same bits, since each element is combined in one order for all.

use super::accumulate::{Accumulator, Operands};
use super::bcast;
use super::blocks::{Elements, power_of_two_within};
use super::{Buf, SCRATCH_ALIGN, Schedule, Shape, Slice, choose, group::Group, reduce};
use std::ops::Range;

/// Ways to do an allreduce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AllreduceAlgorithm {
    /// Everyone sends its vector to everyone and combines all: one round.
    Linear,
    /// Exchange of the whole vector at distances 1, 2, 4: `log2 n` rounds.
    RecursiveDoubling,
    /// Reduce-scatter by recursive halving, allgather by recursive doubling.
    /// Rabenseifner 2004; Thakur, Rabenseifner, Gropp 2005, section 8.
    Rabenseifner,
    /// Reduce-scatter and allgather along a ring through host after host. Patarasuk, Yuan 2009.
    Ring,
    /// Reduction inside each host, recursive doubling among one rank of each, broadcast.
    TwoLevel,
}

impl AllreduceAlgorithm {
    /// Whether the result is right for this operation and placement of ranks.
    pub fn suits(self, shape: &Shape, operands: &Operands) -> bool {
        match self {
            AllreduceAlgorithm::Ring => operands.commutative,
            AllreduceAlgorithm::TwoLevel => operands.commutative || shape.contiguous(),
            _ => true,
        }
    }
}

/// Appends the allreduce that fits. Nothing is no message: it is as long everywhere, and an allreduce need
/// not wait for anybody.
pub fn allreduce(shape: &Shape, operands: Operands, schedule: &mut Schedule) {
    if operands.bytes == 0 {
        return;
    }
    allreduce_with(choose::allreduce(shape, &operands), shape, operands, schedule);
}

/// Appends an allreduce by the algorithm named, which must suit.
pub fn allreduce_with(
    algorithm: AllreduceAlgorithm,
    shape: &Shape,
    operands: Operands,
    schedule: &mut Schedule,
) {
    debug_assert!(algorithm.suits(shape, &operands));
    let operand = if operands.in_place { Buf::Recv } else { Buf::Send };
    let home = Slice::new(Buf::Recv, 0, operands.bytes);
    let mut value = Accumulator::new(Slice::new(operand, 0, operands.bytes), Some(home));
    let group = Group::all(shape);
    match algorithm {
        AllreduceAlgorithm::Linear => linear(&group, &mut value, schedule),
        AllreduceAlgorithm::RecursiveDoubling => recursive_doubling(&group, &mut value, schedule),
        AllreduceAlgorithm::Rabenseifner => rabenseifner(&group, operands, &mut value, schedule),
        AllreduceAlgorithm::Ring => {
            ring(&Group::by_host_from(shape, 0), operands, &mut value, schedule);
        }
        AllreduceAlgorithm::TwoLevel => two_level(shape, operands, &mut value, schedule),
    }
    value.settle(schedule);
}

/// Combines strictly from the left, so that all ranks agree to the last bit.
fn linear(group: &Group, value: &mut Accumulator, schedule: &mut Schedule) {
    if group.size == 1 {
        return;
    }
    let len = value.len();
    let stride = len.next_multiple_of(SCRATCH_ALIGN);
    let arrived = schedule.scratch(stride * group.size);
    let home = value.home(schedule);
    let mut own = value.value();
    if own == home && group.me != 0 {
        // In place: the result starts from rank 0's vector, so ours has to step aside.
        own = arrived.part(stride * group.me, len);
        schedule.copy(home, own);
    }
    let operand = |i: usize| match i {
        i if i == group.me => own,
        0 => home,
        i => arrived.part(stride * i, len),
    };
    for i in 1..group.size {
        schedule.send(group.rank(group.after(i)), own);
        schedule.recv(group.rank(group.before(i)), operand(group.before(i)));
    }
    schedule.wait();
    schedule.copy(operand(0), home);
    (1..group.size).for_each(|i| schedule.reduce(operand(i), home, false));
    value.settled(home);
}

/// Brings the number of ranks down to a power of two: of the first `2 * rest` indices each even one hands
/// its vector to its right neighbour and sits out. Neighbours stay neighbours, so the order is kept.
/// Returns this rank's number among the remaining ones.
pub(super) fn fold(
    group: &Group,
    value: &mut Accumulator,
    schedule: &mut Schedule,
) -> Option<usize> {
    let rest = group.size - power_of_two_within(group.size);
    if group.me >= 2 * rest {
        return Some(group.me - rest);
    }
    if group.me.is_multiple_of(2) {
        schedule.send(group.rank(group.me + 1), value.value());
        schedule.wait();
        return None;
    }
    value.absorb(schedule, group.rank(group.me - 1), true);
    Some(group.me / 2)
}

/// Hands the result to those that sat out.
fn unfold(group: &Group, value: &mut Accumulator, schedule: &mut Schedule) {
    let rest = group.size - power_of_two_within(group.size);
    if group.me >= 2 * rest {
        return;
    }
    if group.me.is_multiple_of(2) {
        value.replace(schedule, group.rank(group.me + 1));
    } else {
        schedule.send(group.rank(group.me - 1), value.value());
        schedule.wait();
    }
}

/// The index of the rank with this number after folding.
fn unfolded(group: &Group, number: usize) -> usize {
    let rest = group.size - power_of_two_within(group.size);
    if number < rest { 2 * number + 1 } else { number + rest }
}

fn recursive_doubling(group: &Group, value: &mut Accumulator, schedule: &mut Schedule) {
    if let Some(number) = fold(group, value, schedule) {
        let whole = 0..value.len();
        let mut bit = 1;
        while bit < power_of_two_within(group.size) {
            let partner = number ^ bit;
            let peer = group.rank(unfolded(group, partner));
            value.exchange(schedule, peer, whole.clone(), whole.clone(), partner < number);
            bit *= 2;
        }
    }
    unfold(group, value, schedule);
}

fn rabenseifner(
    group: &Group,
    operands: Operands,
    value: &mut Accumulator,
    schedule: &mut Schedule,
) {
    if let Some(number) = fold(group, value, schedule) {
        let halving = Halving::new(group, operands);
        halving.reduce_scatter(group, number, value, schedule);
        halving.allgather(group, number, value, schedule);
    }
    unfold(group, value, schedule);
}

/// Recursive halving of the vector while the distance doubles, so that neighbours combine first and the
/// order of ranks is kept; and the ways back.
pub(super) struct Halving {
    elements: Elements,
    /// Parts of the vector, and ranks taking part: a power of two.
    parts: usize,
    rest: usize,
}

impl Halving {
    pub(super) fn new(group: &Group, operands: Operands) -> Halving {
        let parts = power_of_two_within(group.size);
        let elements = Elements::new(operands.bytes, operands.element_size);
        Halving { elements, parts, rest: group.size - parts }
    }

    /// Who takes part for this index: its own index or its neighbour's, and the number after folding.
    pub(super) fn stand_in(&self, index: usize) -> (usize, usize) {
        match index {
            i if i >= 2 * self.rest => (i, i - self.rest),
            i => (i | 1, i / 2),
        }
    }

    /// The parts that rank `number` holds when pairs at distance `bit` and above have not yet exchanged.
    fn held(&self, number: usize, bit: usize) -> Range<usize> {
        let (mut start, mut len) = (0, self.parts);
        let mut b = 1;
        while b < bit {
            len /= 2;
            if number & b != 0 {
                start += len;
            }
            b *= 2;
        }
        start..start + len
    }

    fn bytes(&self, number: usize, bit: usize) -> Range<usize> {
        self.elements.range(self.held(number, bit), self.parts)
    }

    pub(super) fn reduce_scatter(
        &self,
        group: &Group,
        number: usize,
        value: &mut Accumulator,
        schedule: &mut Schedule,
    ) {
        let mut bit = 1;
        while bit < self.parts {
            let partner = number ^ bit;
            let give = self.bytes(partner, bit * 2);
            let keep = self.bytes(number, bit * 2);
            let peer = group.rank(unfolded(group, partner));
            value.exchange(schedule, peer, give, keep, partner < number);
            bit *= 2;
        }
    }

    fn allgather(
        &self,
        group: &Group,
        number: usize,
        value: &mut Accumulator,
        schedule: &mut Schedule,
    ) {
        let home = value.home(schedule);
        let mut bit = self.parts / 2;
        while bit > 0 {
            let partner = number ^ bit;
            let (have, lack) = (self.bytes(number, bit * 2), self.bytes(partner, bit * 2));
            let peer = group.rank(unfolded(group, partner));
            schedule.send(peer, home.part(have.start, have.len()));
            schedule.recv(peer, home.part(lack.start, lack.len()));
            schedule.wait();
            bit /= 2;
        }
    }

    /// Collects all parts at `top`, from the pairs at the largest distance down.
    pub(super) fn gather(
        &self,
        group: &Group,
        number: usize,
        top: usize,
        value: &mut Accumulator,
        schedule: &mut Schedule,
    ) {
        if self.parts == 1 {
            return;
        }
        let home = value.home(schedule);
        let mut bit = self.parts / 2;
        while bit > 0 {
            let partner = number ^ bit;
            let peer = group.rank(unfolded(group, partner));
            if (number ^ top) & bit != 0 {
                let have = self.bytes(number, bit * 2);
                schedule.send(peer, home.part(have.start, have.len()));
                schedule.wait();
                return;
            }
            let lack = self.bytes(partner, bit * 2);
            schedule.recv(peer, home.part(lack.start, lack.len()));
            schedule.wait();
            bit /= 2;
        }
    }
}

fn ring(group: &Group, operands: Operands, value: &mut Accumulator, schedule: &mut Schedule) {
    let size = group.size;
    if size == 1 {
        return;
    }
    let elements = Elements::new(operands.bytes, operands.element_size);
    let part = |index: usize| elements.range(index..index + 1, size);
    let (left, right) = (group.rank(group.before(1)), group.rank(group.after(1)));
    let home = value.home(schedule);
    let mut carried = value.value();
    for step in 0..size - 1 {
        let give = part(group.before(step));
        let give = carried.part(give.start, give.len());
        value.shift(schedule, (right, give), (left, part(group.before(step + 1))), true);
        carried = home;
    }
    for step in 0..size - 1 {
        let (have, lack) = (part(group.before(step + size - 1)), part(group.before(step)));
        schedule.send(right, home.part(have.start, have.len()));
        schedule.recv(left, home.part(lack.start, lack.len()));
        schedule.wait();
    }
    value.settled(home);
}

fn two_level(shape: &Shape, operands: Operands, value: &mut Accumulator, schedule: &mut Schedule) {
    let local = Group::local(shape);
    reduce::within_host(shape, &local, 0, operands.commutative, value, schedule);
    let leaders = Group::leaders(shape, None);
    if leaders.contains_me() {
        recursive_doubling(&leaders, value, schedule);
        value.settle(schedule);
    }
    let home = value.home(schedule);
    bcast::within_host(shape, &local, 0, home, schedule);
    value.settled(home);
}
