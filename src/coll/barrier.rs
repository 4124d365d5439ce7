//! Barrier: nobody leaves before everybody came.

use super::{Schedule, Shape, choose, group::Group};

/// Ways to do a barrier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BarrierAlgorithm {
    /// Everyone signals everyone: one round, `n - 1` messages each.
    Linear,
    /// In round `k` signal the rank `2^k` further: `log2 n` rounds. Hensgen, Finkel, Manber 1988.
    Dissemination,
    /// Gather at one rank of each host, dissemination among these, release.
    TwoLevel,
}

/// Appends the barrier that fits the shape.
pub fn barrier(shape: &Shape, schedule: &mut Schedule) {
    barrier_with(choose::barrier(shape), shape, schedule);
}

/// Appends a barrier by the algorithm named.
pub fn barrier_with(algorithm: BarrierAlgorithm, shape: &Shape, schedule: &mut Schedule) {
    match algorithm {
        BarrierAlgorithm::Linear => linear(&Group::all(shape), schedule),
        BarrierAlgorithm::Dissemination => dissemination(&Group::all(shape), schedule),
        BarrierAlgorithm::TwoLevel => two_level(shape, schedule),
    }
}

fn linear(group: &Group, schedule: &mut Schedule) {
    for i in 1..group.size {
        schedule.signal(group.rank(group.after(i)));
        schedule.await_signal(group.rank(group.before(i)));
    }
    schedule.wait();
}

fn dissemination(group: &Group, schedule: &mut Schedule) {
    let mut distance = 1;
    while distance < group.size {
        schedule.signal(group.rank(group.after(distance)));
        schedule.await_signal(group.rank(group.before(distance)));
        schedule.wait();
        distance *= 2;
    }
}

fn two_level(shape: &Shape, schedule: &mut Schedule) {
    let local = Group::local(shape);
    if local.me != 0 {
        schedule.signal(local.rank(0));
        schedule.await_signal(local.rank(0));
        schedule.wait();
        return;
    }
    (1..local.size).for_each(|i| schedule.await_signal(local.rank(i)));
    schedule.wait();
    dissemination(&Group::leaders(shape, None), schedule);
    (1..local.size).for_each(|i| schedule.signal(local.rank(i)));
    schedule.wait();
}
