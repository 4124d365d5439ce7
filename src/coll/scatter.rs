//! Scatter and scatterv: a block for every rank from one rank.

use super::bcast::first_bit;
use super::blocks::Blocks;
use super::{Buf, Schedule, Shape, Slice, choose, group::Group};

/// Ways to scatter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScatterAlgorithm {
    /// The root sends to everyone.
    Linear,
    /// Binomial tree of shrinking messages: `log2 n` rounds.
    Binomial,
    /// One message to each other host.
    TwoLevel,
}

/// Appends the scatter of `block` bytes to each rank that fits. In place (the root keeps its own block where
/// it is, in `Buf::Send`) is meant of the root alone.
pub fn scatter(shape: &Shape, block: usize, root: u32, in_place: bool, schedule: &mut Schedule) {
    scatter_with(choose::scatter(shape, block), shape, block, root, in_place, schedule);
}

/// Appends a scatter by the algorithm named.
pub fn scatter_with(
    algorithm: ScatterAlgorithm,
    shape: &Shape,
    block: usize,
    root: u32,
    in_place: bool,
    schedule: &mut Schedule,
) {
    match algorithm {
        ScatterAlgorithm::Linear => {
            scatterv(shape, block, Blocks::Equal(block), root, in_place, schedule);
        }
        ScatterAlgorithm::Binomial => binomial(shape, block, root, in_place, schedule),
        ScatterAlgorithm::TwoLevel => two_level(shape, block, root, in_place, schedule),
    }
}

/// Appends a scatterv: this rank receives `bytes` bytes; `blocks` says where the root takes what it sends,
/// and is looked at there only. Linear, since only the root knows all the lengths.
pub fn scatterv(
    shape: &Shape,
    bytes: usize,
    blocks: Blocks<'_>,
    root: u32,
    in_place: bool,
    schedule: &mut Schedule,
) {
    if shape.rank() != root {
        schedule.recv(root, Slice::new(Buf::Recv, 0, bytes));
        schedule.wait();
        return;
    }
    for rank in (0..shape.size()).filter(|&rank| rank != root) {
        schedule.send(rank, blocks.slice(Buf::Send, rank));
    }
    keep_own(bytes, blocks, root, in_place, schedule);
    schedule.wait();
}

fn keep_own(bytes: usize, blocks: Blocks<'_>, me: u32, in_place: bool, schedule: &mut Schedule) {
    if !in_place {
        let own = blocks.slice(Buf::Send, me);
        let len = own.len.min(bytes);
        schedule.copy(own.part(0, len), Slice::new(Buf::Recv, 0, len));
    }
}

/// Over the indices relative to the root; a rank receives its subtree's blocks in that order.
fn binomial(shape: &Shape, block: usize, root: u32, in_place: bool, schedule: &mut Schedule) {
    let group = Group::all(shape);
    let (size, root) = (group.size, root as usize);
    let relative = (group.me + size - root) % size;
    let own = Slice::new(Buf::Recv, 0, block);
    let subtree = if relative == 0 { size } else { 1 << relative.trailing_zeros() };
    let subtree = subtree.min(size - relative);
    let mut packed = own;
    if relative != 0 {
        if subtree > 1 {
            packed = schedule.scratch(subtree * block);
        }
        schedule.recv(group.rank(root + (relative & (relative - 1))), packed);
        schedule.wait();
    }
    let mut bit = first_bit(relative, size);
    while bit > 0 {
        let child = relative + bit;
        if child < size {
            let count = bit.min(size - child);
            let from = if relative == 0 {
                contiguous(root + child, count, size, block, schedule)
            } else {
                packed.part(bit * block, count * block)
            };
            schedule.send(group.rank(root + child), from);
        }
        bit >>= 1;
    }
    if relative == 0 {
        keep_own(block, Blocks::Equal(block), shape.rank(), in_place, schedule);
    } else if subtree > 1 {
        schedule.copy(packed.part(0, block), own);
    }
    schedule.wait();
}

/// The blocks of `count` ranks from `first` on, copied together if they wrap around the last rank.
fn contiguous(
    first: usize,
    count: usize,
    size: usize,
    block: usize,
    schedule: &mut Schedule,
) -> Slice {
    let first = first % size;
    let until_end = count.min(size - first) * block;
    let end = Slice::new(Buf::Send, first * block, until_end);
    if until_end == count * block {
        return end;
    }
    let packed = schedule.scratch(count * block);
    let rest = count * block - until_end;
    schedule.copy(end, packed.part(0, until_end));
    schedule.copy(Slice::new(Buf::Send, 0, rest), packed.part(until_end, rest));
    packed
}

fn two_level(shape: &Shape, block: usize, root: u32, in_place: bool, schedule: &mut Schedule) {
    let leaders = Group::leaders(shape, Some(root));
    let blocks = Blocks::Equal(block);
    let me = shape.rank();
    let own = Slice::new(Buf::Recv, 0, block);
    let my_host = shape.host_of(me);
    let members = shape.members(my_host);
    if !leaders.contains_me() {
        schedule.recv(leaders.rank(my_host as usize), own);
    } else if me == root {
        // Other hosts first: their blocks have the longer way to go.
        for host in (0..shape.host_count()).filter(|&host| host != my_host) {
            let members = shape.members(host);
            let run = blocks.run(Buf::Send, members);
            let from = run.unwrap_or_else(|| packed(blocks, members, schedule));
            schedule.send(leaders.rank(host as usize), from);
        }
        for &member in members.iter().filter(|&&member| member != me) {
            schedule.send(member, blocks.slice(Buf::Send, member));
        }
        keep_own(block, blocks, me, in_place, schedule);
    } else {
        let packed = schedule.scratch(members.len() * block);
        schedule.recv(root, packed);
        schedule.wait();
        for (i, &member) in members.iter().enumerate() {
            let from = packed.part(i * block, block);
            if member == me {
                schedule.copy(from, own);
            } else {
                schedule.send(member, from);
            }
        }
    }
    schedule.wait();
}

fn packed(blocks: Blocks<'_>, members: &[u32], schedule: &mut Schedule) -> Slice {
    let packed = schedule.scratch(members.iter().map(|&member| blocks.len(member)).sum());
    let mut offset = 0;
    for &member in members {
        let from = blocks.slice(Buf::Send, member);
        schedule.copy(from, packed.part(offset, from.len));
        offset += from.len;
    }
    packed
}
