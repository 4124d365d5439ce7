//! Gather and gatherv: every rank's block to one rank.

use super::bcast::first_bit;
use super::blocks::Blocks;
use super::{Buf, Schedule, Shape, Slice, choose, group::Group};

/// Ways to gather.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GatherAlgorithm {
    /// Everyone sends to the root.
    Linear,
    /// Binomial tree of growing messages: `log2 n` rounds.
    Binomial,
    /// One message from each other host.
    TwoLevel,
}

/// Appends the gather of `block` bytes from each rank that fits. In place (the root's own block is where it
/// belongs already) is meant of the root alone.
pub fn gather(shape: &Shape, block: usize, root: u32, in_place: bool, schedule: &mut Schedule) {
    gather_with(choose::gather(shape, block), shape, block, root, in_place, schedule);
}

/// Appends a gather by the algorithm named.
pub fn gather_with(
    algorithm: GatherAlgorithm,
    shape: &Shape,
    block: usize,
    root: u32,
    in_place: bool,
    schedule: &mut Schedule,
) {
    match algorithm {
        GatherAlgorithm::Linear => {
            gatherv(shape, block, Blocks::Equal(block), root, in_place, schedule);
        }
        GatherAlgorithm::Binomial => binomial(shape, block, root, in_place, schedule),
        GatherAlgorithm::TwoLevel => two_level(shape, block, root, in_place, schedule),
    }
}

/// Appends a gatherv: this rank sends `bytes` bytes; `blocks` says where the root puts what comes, and is
/// looked at there only. Linear, since only the root knows all the lengths.
pub fn gatherv(
    shape: &Shape,
    bytes: usize,
    blocks: Blocks<'_>,
    root: u32,
    in_place: bool,
    schedule: &mut Schedule,
) {
    if shape.rank() != root {
        schedule.send(root, Slice::new(Buf::Send, 0, bytes));
        schedule.wait();
        return;
    }
    for rank in (0..shape.size()).filter(|&rank| rank != root) {
        schedule.recv(rank, blocks.slice(Buf::Recv, rank));
    }
    keep_own(bytes, blocks, root, in_place, schedule);
    schedule.wait();
}

fn keep_own(bytes: usize, blocks: Blocks<'_>, me: u32, in_place: bool, schedule: &mut Schedule) {
    if !in_place {
        let own = blocks.slice(Buf::Recv, me);
        let len = own.len.min(bytes);
        schedule.copy(Slice::new(Buf::Send, 0, len), own.part(0, len));
    }
}

/// Over the indices relative to the root; a rank sends its subtree's blocks in that order.
fn binomial(shape: &Shape, block: usize, root: u32, in_place: bool, schedule: &mut Schedule) {
    let group = Group::all(shape);
    let (size, root) = (group.size, root as usize);
    let relative = (group.me + size - root) % size;
    let own = Slice::new(Buf::Send, 0, block);
    let parent = group.rank(root + (relative & relative.wrapping_sub(1)));
    let subtree = if relative == 0 { size } else { 1 << relative.trailing_zeros() };
    let subtree = subtree.min(size - relative);
    if relative != 0 && subtree == 1 {
        schedule.send(parent, own);
        schedule.wait();
        return;
    }
    // At the root, blocks that do not wrap around the last rank go straight to their place.
    let straight = |child: usize, count: usize| {
        (relative == 0 && (root + child) % size + count <= size)
            .then(|| Slice::new(Buf::Recv, (root + child) % size * block, count * block))
    };
    let mut packed = None;
    let mut wrapped = None;
    let mut bit = first_bit(relative, size);
    while bit > 0 {
        let child = relative + bit;
        if child < size {
            let count = bit.min(size - child);
            let into = straight(child, count).unwrap_or_else(|| {
                let all = *packed.get_or_insert_with(|| schedule.scratch(subtree * block));
                if relative == 0 {
                    wrapped = Some((child, count));
                }
                all.part((child - relative) * block, count * block)
            });
            schedule.recv(group.rank(root + child), into);
        }
        bit >>= 1;
    }
    if relative == 0 {
        keep_own(block, Blocks::Equal(block), shape.rank(), in_place, schedule);
        schedule.wait();
        if let (Some(packed), Some((child, count))) = (packed, wrapped) {
            let until_end = size - (root + child) % size;
            let (first, second) = (until_end * block, (count - until_end) * block);
            let from = packed.part(child * block, count * block);
            let end = Slice::new(Buf::Recv, (root + child) % size * block, first);
            schedule.copy(from.part(0, first), end);
            schedule.copy(from.part(first, second), Slice::new(Buf::Recv, 0, second));
        }
    } else if let Some(packed) = packed {
        schedule.copy(own, packed.part(0, block));
        schedule.wait();
        schedule.send(parent, packed);
        schedule.wait();
    }
}

fn two_level(shape: &Shape, block: usize, root: u32, in_place: bool, schedule: &mut Schedule) {
    let leaders = Group::leaders(shape, Some(root));
    let blocks = Blocks::Equal(block);
    let me = shape.rank();
    let own = Slice::new(Buf::Send, 0, block);
    let my_host = shape.host_of(me);
    if !leaders.contains_me() {
        schedule.send(leaders.rank(my_host as usize), own);
        schedule.wait();
        return;
    }
    if me != root {
        let members = shape.members(my_host);
        let packed = schedule.scratch(members.len() * block);
        for (i, &member) in members.iter().enumerate() {
            let place = packed.part(i * block, block);
            if member == me {
                schedule.copy(own, place);
            } else {
                schedule.recv(member, place);
            }
        }
        schedule.wait();
        schedule.send(root, packed);
        schedule.wait();
        return;
    }
    keep_own(block, blocks, me, in_place, schedule);
    for &member in shape.members(my_host).iter().filter(|&&member| member != me) {
        schedule.recv(member, blocks.slice(Buf::Recv, member));
    }
    // Blocks of a host whose ranks are scattered arrive packed: all hosts in one scratch buffer.
    let all = schedule.scratch(if shape.contiguous() { 0 } else { shape.size() as usize * block });
    let hosts = || (0..shape.host_count()).filter(|&host| host != my_host);
    let packed = |host: u32| {
        let positions = shape.positions(host);
        blocks
            .run(Buf::Recv, shape.members(host))
            .unwrap_or_else(|| all.part(positions.start * block, positions.len() * block))
    };
    hosts().for_each(|host| schedule.recv(leaders.rank(host as usize), packed(host)));
    schedule.wait();
    for host in hosts().filter(|&host| packed(host).buf == Buf::Scratch) {
        for (i, &member) in shape.members(host).iter().enumerate() {
            let from = packed(host).part(i * block, block);
            schedule.copy(from, blocks.slice(Buf::Recv, member));
        }
    }
}
