//! Reduce to one rank.

use super::accumulate::{Accumulator, Operands};
use super::allreduce::{self, Halving};
use super::{Buf, Schedule, Shape, Slice, choose, group::Group};

/// Ways to reduce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReduceAlgorithm {
    /// Everyone sends to the root, which combines in the order of ranks.
    Linear,
    /// Binomial tree: `log2 n` rounds of the whole vector.
    Binomial,
    /// Reduce-scatter by recursive halving, then gather along a binomial tree.
    /// Rabenseifner 2004; Thakur, Rabenseifner, Gropp 2005, section 7.
    Rabenseifner,
    /// Inside each host, then among one rank of each.
    TwoLevel,
}

impl ReduceAlgorithm {
    /// Whether the result is right for this operation and placement of ranks.
    pub fn suits(self, shape: &Shape, operands: &Operands) -> bool {
        self != ReduceAlgorithm::TwoLevel || operands.commutative || shape.contiguous()
    }
}

/// Appends the reduction to `root` that fits. In place is meant of the root alone: the others pass their
/// vector in `Buf::Send`, and have no `Buf::Recv`.
pub fn reduce(shape: &Shape, operands: Operands, root: u32, schedule: &mut Schedule) {
    reduce_with(choose::reduce(shape, &operands), shape, operands, root, schedule);
}

/// Appends a reduction by the algorithm named, which must suit.
pub fn reduce_with(
    algorithm: ReduceAlgorithm,
    shape: &Shape,
    operands: Operands,
    root: u32,
    schedule: &mut Schedule,
) {
    debug_assert!(algorithm.suits(shape, &operands));
    let at_root = shape.rank() == root;
    let operand = if at_root && operands.in_place { Buf::Recv } else { Buf::Send };
    let home = at_root.then(|| Slice::new(Buf::Recv, 0, operands.bytes));
    let mut value = Accumulator::new(Slice::new(operand, 0, operands.bytes), home);
    let group = Group::all(shape);
    let commutative = operands.commutative;
    match algorithm {
        ReduceAlgorithm::Linear => linear(&group, root as usize, &mut value, schedule),
        ReduceAlgorithm::Binomial => {
            binomial(&group, root as usize, commutative, &mut value, schedule);
        }
        ReduceAlgorithm::Rabenseifner => {
            rabenseifner(&group, root as usize, operands, &mut value, schedule);
        }
        ReduceAlgorithm::TwoLevel => two_level(shape, root, commutative, &mut value, schedule),
    }
    if at_root {
        value.settle(schedule);
    }
}

/// All vectors meet at the root, which combines its neighbours first, in order to both sides.
pub(super) fn linear(group: &Group, root: usize, value: &mut Accumulator, schedule: &mut Schedule) {
    if group.me != root {
        schedule.send(group.rank(root), value.value());
        schedule.wait();
        return;
    }
    let len = value.len();
    let stride = len.next_multiple_of(super::SCRATCH_ALIGN);
    let arrived = schedule.scratch(stride * group.size);
    let from = |i: usize| arrived.part(stride * i, len);
    for i in (0..group.size).filter(|&i| i != root) {
        schedule.recv(group.rank(i), from(i));
    }
    if group.size > 1 {
        value.settle(schedule);
    }
    schedule.wait();
    (0..root).rev().for_each(|i| schedule.reduce(from(i), value.value(), true));
    (root + 1..group.size).for_each(|i| schedule.reduce(from(i), value.value(), false));
}

/// A tree over the indices relative to the root, or to index 0 if the order matters.
pub(super) fn binomial(
    group: &Group,
    root: usize,
    commutative: bool,
    value: &mut Accumulator,
    schedule: &mut Schedule,
) {
    let top = if commutative { root } else { 0 };
    let relative = (group.me + group.size - top) % group.size;
    let mut bit = 1;
    while bit < group.size {
        if relative & bit != 0 {
            schedule.send(group.rank(top + relative - bit), value.value());
            schedule.wait();
            break;
        }
        if relative + bit < group.size {
            value.absorb(schedule, group.rank(top + relative + bit), false);
        }
        bit *= 2;
    }
    hand_over(group, top, root, value, schedule);
}

/// Moves the result from one index to another.
fn hand_over(
    group: &Group,
    from: usize,
    to: usize,
    value: &mut Accumulator,
    schedule: &mut Schedule,
) {
    if from != to && group.me == from {
        schedule.send(group.rank(to), value.value());
        schedule.wait();
    } else if from != to && group.me == to {
        value.replace(schedule, group.rank(from));
    }
}

/// Gathers the parts at the rank that takes part in the halving for the root.
fn rabenseifner(
    group: &Group,
    root: usize,
    operands: Operands,
    value: &mut Accumulator,
    schedule: &mut Schedule,
) {
    let halving = Halving::new(group, operands);
    // A root that was folded into its neighbour gets the result from it.
    let (top, top_number) = halving.stand_in(root);
    let number = allreduce::fold(group, value, schedule);
    if let Some(number) = number {
        halving.reduce_scatter(group, number, value, schedule);
        halving.gather(group, number, top_number, value, schedule);
    }
    hand_over(group, top, root, value, schedule);
}

fn two_level(
    shape: &Shape,
    root: u32,
    commutative: bool,
    value: &mut Accumulator,
    schedule: &mut Schedule,
) {
    let leaders = Group::leaders(shape, Some(root));
    let host = shape.host_of(shape.rank()) as usize;
    let local = Group::local(shape);
    let leader = local.index_of(leaders.rank(host)).unwrap_or(0);
    within_host(shape, &local, leader, commutative, value, schedule);
    if leaders.contains_me() {
        binomial(&leaders, shape.host_of(root) as usize, commutative, value, schedule);
    }
}

/// Reduction among the ranks of one host, as the first of two levels.
pub(super) fn within_host(
    shape: &Shape,
    local: &Group,
    root: usize,
    commutative: bool,
    value: &mut Accumulator,
    schedule: &mut Schedule,
) {
    if choose::flat_tree(shape, local.size, value.len()) {
        linear(local, root, value, schedule);
    } else {
        binomial(local, root, commutative, value, schedule);
    }
}
