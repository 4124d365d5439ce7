//! Broadcast. The one buffer is `Buf::Recv` at every rank, the root too.

use super::blocks::{Elements, power_of_two_within};
use super::{Buf, Schedule, Shape, Slice, choose, group::Group};

/// Ways to broadcast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BcastAlgorithm {
    /// The root sends to everyone: every rank is woken once.
    Linear,
    /// Binomial tree: `log2 n` rounds of the whole message.
    Binomial,
    /// Binomial scatter, then ring allgather: twice the volume of the message, whatever `n`.
    /// van de Geijn; Thakur, Rabenseifner, Gropp 2005, section 5.
    ScatterAllgather,
    /// Segments of this many bytes move along a chain through host after host.
    Chain {
        /// Length of a segment in bytes, at least 1.
        segment: usize,
    },
    /// Among one rank of each host, then inside the hosts.
    TwoLevel,
}

/// Appends the broadcast of `bytes` bytes from `root` that fits.
pub fn bcast(shape: &Shape, bytes: usize, root: u32, schedule: &mut Schedule) {
    bcast_with(choose::bcast(shape, bytes), shape, bytes, root, schedule);
}

/// Appends a broadcast by the algorithm named.
pub fn bcast_with(
    algorithm: BcastAlgorithm,
    shape: &Shape,
    bytes: usize,
    root: u32,
    schedule: &mut Schedule,
) {
    let data = Slice::new(Buf::Recv, 0, bytes);
    let group = Group::all(shape);
    match algorithm {
        BcastAlgorithm::Linear => linear(&group, root as usize, data, schedule),
        BcastAlgorithm::Binomial => binomial(&group, root as usize, data, schedule),
        BcastAlgorithm::ScatterAllgather => {
            scatter_allgather(&group, root as usize, data, schedule);
        }
        BcastAlgorithm::Chain { segment } => {
            chain(&Group::by_host_from(shape, root), data, segment, schedule);
        }
        BcastAlgorithm::TwoLevel => two_level(shape, root, data, schedule),
    }
}

fn linear(group: &Group, root: usize, data: Slice, schedule: &mut Schedule) {
    if group.me == root {
        (1..group.size).for_each(|i| schedule.send(group.rank(root + i), data));
    } else {
        schedule.recv(group.rank(root), data);
    }
    schedule.wait();
}

/// Binomial tree over the indices relative to `root`: the parent of `v` is `v` without its lowest bit.
fn binomial(group: &Group, root: usize, data: Slice, schedule: &mut Schedule) {
    let relative = (group.me + group.size - root) % group.size;
    if relative != 0 {
        schedule.recv(group.rank(root + (relative & (relative - 1))), data);
        schedule.wait();
    }
    // The largest subtree first: it has the longest way to go.
    let mut bit = first_bit(relative, group.size);
    while bit > 0 {
        if relative + bit < group.size {
            schedule.send(group.rank(root + relative + bit), data);
        }
        bit >>= 1;
    }
    schedule.wait();
}

/// The largest distance to a child in a binomial tree.
pub(super) fn first_bit(relative: usize, size: usize) -> usize {
    match relative {
        0 => power_of_two_within(size),
        v => (1 << v.trailing_zeros()) >> 1,
    }
}

/// Part `v` of the message belongs to relative index `v`; a subtree's parts lie next to each other.
fn scatter_allgather(group: &Group, root: usize, data: Slice, schedule: &mut Schedule) {
    let size = group.size;
    let relative = (group.me + size - root) % size;
    let bytes = Elements::new(data.len, 1);
    let parts = |from: usize, to: usize| {
        let range = bytes.range(from..to.min(size), size);
        data.part(range.start, range.len())
    };
    if relative != 0 {
        let subtree = 1 << relative.trailing_zeros();
        let parent = relative & (relative - 1);
        schedule.recv(group.rank(root + parent), parts(relative, relative + subtree));
        schedule.wait();
    }
    let mut bit = first_bit(relative, size);
    while bit > 0 {
        let child = relative + bit;
        if child < size {
            schedule.send(group.rank(root + child), parts(child, child + bit));
        }
        bit >>= 1;
    }
    // What a subtree received beyond its own part it would receive again below: those bytes are the same,
    // but not to be overwritten while they are being sent.
    schedule.wait();
    let held = if relative == 0 { size } else { 1 << relative.trailing_zeros() };
    let holds = |part: usize| part >= relative && part < relative + held;
    // A rank that holds a part already needs no copy of it; both ends of a ring edge can tell.
    let left = (relative + size - 1) % size;
    let right = (relative + 1) % size;
    let right_held = if right == 0 { size } else { 1usize << right.trailing_zeros() };
    for step in 0..size - 1 {
        let outgoing = (relative + size - step) % size;
        let incoming = (left + size - step) % size;
        if !(outgoing >= right && outgoing < right + right_held) {
            schedule.send(group.rank(root + right), parts(outgoing, outgoing + 1));
        }
        if !holds(incoming) {
            schedule.recv(group.rank(root + left), parts(incoming, incoming + 1));
        }
        schedule.wait();
    }
}

/// The group starts at the root.
fn chain(group: &Group, data: Slice, segment: usize, schedule: &mut Schedule) {
    let (first, last) = (group.me == 0, group.me + 1 == group.size);
    let mut arrived: Option<Slice> = None;
    let mut offset = 0;
    while offset < data.len {
        let part = data.part(offset, segment.max(1).min(data.len - offset));
        offset += part.len;
        if first {
            // The root has everything: it only keeps the number of its posts bounded.
            if !last {
                schedule.send(group.rank(1), part);
            }
        } else {
            schedule.recv(group.rank(group.me - 1), part);
            if let (Some(before), false) = (arrived, last) {
                schedule.send(group.rank(group.me + 1), before);
            }
            arrived = Some(part);
        }
        schedule.wait();
    }
    if let (Some(before), false) = (arrived, last) {
        schedule.send(group.rank(group.me + 1), before);
        schedule.wait();
    }
}

fn two_level(shape: &Shape, root: u32, data: Slice, schedule: &mut Schedule) {
    let leaders = Group::leaders(shape, Some(root));
    if leaders.contains_me() {
        binomial(&leaders, shape.host_of(root) as usize, data, schedule);
    }
    let host = shape.host_of(shape.rank()) as usize;
    let local = Group::local(shape);
    let leader = local.index_of(leaders.rank(host)).unwrap_or(0);
    within_host(shape, &local, leader, data, schedule);
}

/// Broadcast among the ranks of one host, as the last of two levels.
pub(super) fn within_host(
    shape: &Shape,
    local: &Group,
    root: usize,
    data: Slice,
    schedule: &mut Schedule,
) {
    if choose::flat_tree(shape, local.size, data.len) {
        linear(local, root, data, schedule);
    } else {
        binomial(local, root, data, schedule);
    }
}
