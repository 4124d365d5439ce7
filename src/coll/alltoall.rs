//! Alltoall and alltoallv: block `r` of every rank goes to rank `r`.

use super::blocks::Blocks;
use super::{Buf, Schedule, Shape, Slice, choose, group::Group};

/// Ways to do an alltoall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlltoallAlgorithm {
    /// Messages in flight to and from this many ranks at a time, starting with the next rank. All at once,
    /// it is one round; 1 is the pairwise exchange. In place, it needs scratch for that many blocks.
    Spread {
        /// Partners at a time, at least 1.
        window: usize,
    },
    /// `log2 n` rounds of half of all blocks. Bruck et al. 1997.
    Bruck,
    /// One rank of each host collects, exchanges one message with each other host, and distributes.
    TwoLevel,
}

/// Appends the alltoall of `block` bytes to each rank that fits. Nothing is no message: blocks are of one
/// length everywhere, and an alltoall need not wait for anybody.
pub fn alltoall(shape: &Shape, block: usize, in_place: bool, schedule: &mut Schedule) {
    if block == 0 {
        return;
    }
    alltoall_with(choose::alltoall(shape, block), shape, block, in_place, schedule);
}

/// Appends an alltoall by the algorithm named.
pub fn alltoall_with(
    algorithm: AlltoallAlgorithm,
    shape: &Shape,
    block: usize,
    in_place: bool,
    schedule: &mut Schedule,
) {
    let blocks = Blocks::Equal(block);
    match algorithm {
        AlltoallAlgorithm::Spread { window } if in_place => {
            spread_in_place(&Group::all(shape), blocks, window, schedule);
        }
        AlltoallAlgorithm::Spread { window } => {
            spread(&Group::all(shape), blocks, blocks, window, schedule);
        }
        AlltoallAlgorithm::Bruck => bruck(&Group::all(shape), block, in_place, schedule),
        AlltoallAlgorithm::TwoLevel => two_level(shape, block, in_place, schedule),
    }
}

/// Appends an alltoallv. In place, `from` is not looked at: what is sent lies where `into` says, and each
/// pair exchanges equal lengths. A rank knows only its own lengths, so the algorithm depends on the shape
/// alone.
pub fn alltoallv(
    shape: &Shape,
    from: Blocks<'_>,
    into: Blocks<'_>,
    in_place: bool,
    schedule: &mut Schedule,
) {
    let group = Group::all(shape);
    if in_place {
        spread_in_place(&group, into, choose::POSTS_IN_FLIGHT, schedule);
    } else {
        spread(&group, from, into, choose::POSTS_IN_FLIGHT, schedule);
    }
}

/// Every rank starts with another partner, so that nobody is flooded.
fn spread(
    group: &Group,
    from: Blocks<'_>,
    into: Blocks<'_>,
    window: usize,
    schedule: &mut Schedule,
) {
    for i in 1..group.size {
        let (source, dest) = (group.rank(group.before(i)), group.rank(group.after(i)));
        schedule.recv(source, into.slice(Buf::Recv, source));
        schedule.send(dest, from.slice(Buf::Send, dest));
        if i % window.max(1) == 0 && i + 1 < group.size {
            schedule.wait();
        }
    }
    let me = group.rank(group.me);
    let (own, place) = (from.slice(Buf::Send, me), into.slice(Buf::Recv, me));
    let len = own.len.min(place.len);
    schedule.copy(own.part(0, len), place.part(0, len));
    schedule.wait();
}

/// In round `i` ranks whose numbers add up to `i` exchange, so that a block leaves when its replacement
/// comes; a copy of it is sent.
fn spread_in_place(group: &Group, blocks: Blocks<'_>, window: usize, schedule: &mut Schedule) {
    let size = group.size;
    let partner = |round: usize| group.rank((round + size - group.me) % size);
    let me = group.rank(group.me);
    let window = window.max(1);
    let rounds = |start: usize| {
        (start..size.min(start.saturating_add(window))).map(partner).filter(move |&p| p != me)
    };
    let place = |peer: u32| blocks.slice(Buf::Recv, peer);
    let batches = || (0..size).step_by(window);
    let batch_len = |start| rounds(start).map(|peer| place(peer).len).sum::<usize>();
    let aside = schedule.scratch(batches().map(batch_len).max().unwrap_or(0));
    for start in batches() {
        let mut offset = 0;
        for peer in rounds(start) {
            let block = place(peer);
            let copy = aside.part(offset, block.len);
            offset += block.len;
            schedule.copy(block, copy);
            schedule.recv(peer, block);
            schedule.send(peer, copy);
        }
        schedule.wait();
    }
}

/// Block `i` of the scratch buffer is for the rank `i` after this one, then from the rank `i` before.
fn bruck(group: &Group, block: usize, in_place: bool, schedule: &mut Schedule) {
    let size = group.size;
    let input = if in_place { Buf::Recv } else { Buf::Send };
    let all = schedule.scratch(size * block);
    let half = size.div_ceil(2) * block;
    let (outgoing, incoming) = (schedule.scratch(half), schedule.scratch(half));
    let slot = |i: usize| all.part(i * block, block);
    for i in 0..size {
        schedule.copy(Slice::new(input, group.after(i) * block, block), slot(i));
    }
    let mut bit = 1;
    while bit < size {
        let moving = || (0..size).filter(|i| i & bit != 0);
        for (n, i) in moving().enumerate() {
            schedule.copy(slot(i), outgoing.part(n * block, block));
        }
        let len = moving().count() * block;
        schedule.send(group.rank(group.after(bit)), outgoing.part(0, len));
        schedule.recv(group.rank(group.before(bit)), incoming.part(0, len));
        schedule.wait();
        for (n, i) in moving().enumerate() {
            schedule.copy(incoming.part(n * block, block), slot(i));
        }
        bit *= 2;
    }
    for i in 0..size {
        schedule.copy(slot(i), Slice::new(Buf::Recv, group.before(i) * block, block));
    }
}

/// A rank gives all it has to the lowest rank of its host, and gets all its blocks from there.
fn two_level(shape: &Shape, block: usize, in_place: bool, schedule: &mut Schedule) {
    let all = shape.size() as usize * block;
    let me = shape.rank();
    let mine = Slice::new(if in_place { Buf::Recv } else { Buf::Send }, 0, all);
    let result = Slice::new(Buf::Recv, 0, all);
    let host = shape.host_of(me);
    let members = shape.members(host);
    let leader = members[0];
    if me != leader {
        schedule.send(leader, mine);
        if in_place {
            schedule.wait();
        }
        schedule.recv(leader, result);
        schedule.wait();
        return;
    }
    // rows: what each member of this host gives; then, by destination, what each of them gets.
    let rows = schedule.scratch(members.len() * all);
    let row = |rows: Slice, i: usize| rows.part(i * all, all);
    for (i, &member) in members.iter().enumerate().skip(1) {
        schedule.recv(member, row(rows, i));
    }
    schedule.copy(mine, row(rows, 0));
    schedule.wait();
    let results = schedule.scratch(members.len() * all);
    let exchange = Exchange { shape, block, members, rows, results };
    exchange.with_other_hosts(host, schedule);
    for (i, &member) in members.iter().enumerate().skip(1) {
        schedule.send(member, row(results, i));
    }
    schedule.copy(row(results, 0), result);
    schedule.wait();
}

/// The part of a leader in the second level.
struct Exchange<'a> {
    shape: &'a Shape,
    block: usize,
    members: &'a [u32],
    rows: Slice,
    results: Slice,
}

impl Exchange<'_> {
    /// The block of member `i` that is for `rank` (in `rows`) or from `rank` (in `results`).
    fn cell(&self, table: Slice, i: usize, rank: u32) -> Slice {
        let column = i * self.shape.size() as usize + rank as usize;
        table.part(column * self.block, self.block)
    }

    /// A message to a host holds, for each of its ranks, the blocks of each of our ranks.
    fn with_other_hosts(&self, host: u32, schedule: &mut Schedule) {
        let others = self.shape.size() as usize - self.members.len();
        let len = others * self.members.len() * self.block;
        let (outgoing, incoming) = (schedule.scratch(len), schedule.scratch(len));
        let hosts = || (0..self.shape.host_count()).filter(|&other| other != host);
        let mut start = 0;
        for other in hosts() {
            let ranks = self.shape.members(other);
            let len = ranks.len() * self.members.len() * self.block;
            let (out, into) = (outgoing.part(start, len), incoming.part(start, len));
            start += len;
            let mut offset = 0;
            for &rank in ranks {
                for i in 0..self.members.len() {
                    schedule.copy(self.cell(self.rows, i, rank), out.part(offset, self.block));
                    offset += self.block;
                }
            }
            let peer = self.shape.leaders()[other as usize];
            schedule.recv(peer, into);
            schedule.send(peer, out);
        }
        for (i, &from) in self.members.iter().enumerate() {
            for (j, &to) in self.members.iter().enumerate() {
                let block = self.cell(self.rows, i, to);
                schedule.copy(block, self.cell(self.results, j, from));
            }
        }
        schedule.wait();
        let mut offset = 0;
        for other in hosts() {
            for j in 0..self.members.len() {
                for &rank in self.shape.members(other) {
                    let block = incoming.part(offset, self.block);
                    schedule.copy(block, self.cell(self.results, j, rank));
                    offset += self.block;
                }
            }
        }
    }
}
