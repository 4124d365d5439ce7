//! Runs the schedules of all ranks against each other in one thread, in a random order drawn from a seed, and
//! reports every breach of the contract in `schedule.rs`: deadlock, messages that do not match, bytes used
//! while a post still uses them, ranges outside a buffer, elements cut in two, posts never waited for.

use super::{Buf, Schedule, Slice, Step};
use std::collections::{BTreeMap, VecDeque};

/// A small generator (splitmix64), so that a seed means the same everywhere.
#[derive(Clone)]
pub(crate) struct Rng(pub u64);

impl Rng {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    pub(crate) fn coin(&mut self) -> bool {
        self.below(2) == 0
    }

    pub(crate) fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }
}

/// When a send is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// At once: the bytes are taken when it is posted.
    Eager,
    /// When the message was received: the bytes are taken then.
    Rendezvous,
    /// Either, by message.
    Mixed,
}

pub(crate) const MODES: [Mode; 3] = [Mode::Eager, Mode::Rendezvous, Mode::Mixed];

/// Combines two elements of at most 8 bytes, the left operand first.
pub(crate) type Combine = fn(&[u8], &[u8]) -> [u8; 8];

/// For schedules that combine nothing.
pub(crate) const NO_OPERATION: (usize, Combine) = (1, |_, _| [0; 8]);

/// One rank of the simulation: its schedule and the user's buffers.
pub(crate) struct Rank {
    pub schedule: Schedule,
    pub send: Vec<u8>,
    pub recv: Vec<u8>,
}

/// What came out of it.
pub(crate) struct Outcome {
    /// The receive buffers.
    pub recv: Vec<Vec<u8>>,
    /// When each rank made its first step, and when it had made its last.
    pub times: Vec<(usize, usize)>,
}

struct Post {
    slice: Slice,
    is_send: bool,
    done: bool,
}

struct Process {
    steps: Vec<Step>,
    /// Send, receive and scratch buffer.
    buffers: [Vec<u8>; 3],
    next: usize,
    posts: Vec<Post>,
    times: (usize, usize),
}

/// A message on its way: its bytes, or the sender's post where they still are.
enum Message {
    Bytes(Vec<u8>),
    Post(usize),
}

#[derive(Default)]
struct Channel {
    sent: VecDeque<Message>,
    wanted: VecDeque<usize>,
}

struct World {
    ranks: Vec<Process>,
    /// By sender and receiver.
    channels: BTreeMap<(usize, usize), Channel>,
    element: usize,
    combine: Combine,
    mode: Mode,
    rng: Rng,
}

/// Runs all schedules to their end, or says what is wrong with them.
pub(crate) fn run(
    ranks: Vec<Rank>,
    (element, combine): (usize, Combine),
    mode: Mode,
    seed: u64,
) -> Result<Outcome, String> {
    let mut rng = Rng(seed);
    // Half of the runs prefer some ranks over others all the time, to get far-apart ranks.
    let skewed = rng.coin();
    let weight: Vec<u64> = ranks.iter().map(|_| rng.next()).collect();
    let processes = ranks.into_iter().map(|rank| Process {
        buffers: [rank.send, rank.recv, rng.bytes(rank.schedule.scratch_len)],
        steps: rank.schedule.steps,
        next: 0,
        posts: Vec::new(),
        times: (usize::MAX, 0),
    });
    let ranks = processes.collect();
    let mut world = World { ranks, channels: BTreeMap::new(), element, combine, mode, rng };
    for time in 0.. {
        let runnable = (0..world.ranks.len()).filter(|&r| world.ranks[r].can_step());
        let steps = runnable.map(|r| (r, None));
        let ready = world.channels.iter().filter(|(_, c)| c.ready());
        let deliveries = ready.map(|(&(from, to), _)| (to, Some(from)));
        let actions: Vec<_> = steps.chain(deliveries).collect();
        let action = match skewed {
            true => actions.iter().copied().min_by_key(|&(r, from)| (weight[r], from)),
            false if actions.is_empty() => None,
            false => Some(actions[world.rng.below(actions.len())]),
        };
        match action {
            None => break,
            Some((to, Some(from))) => world.deliver(from, to)?,
            Some((rank, None)) => world.step(rank, time)?,
        }
    }
    world.finish()
}

impl Process {
    fn can_step(&self) -> bool {
        match self.steps.get(self.next) {
            None => false,
            Some(Step::Wait) => self.posts.iter().all(|post| post.done),
            Some(_) => true,
        }
    }

    fn bytes(&mut self, slice: Slice) -> &mut [u8] {
        &mut self.buffers[slice.buf as usize][slice.offset..slice.offset + slice.len]
    }

    /// Whether a step may read, or write, these bytes now.
    fn check(&self, slice: Slice, write: bool) -> Result<(), String> {
        let len = self.buffers[slice.buf as usize].len();
        if slice.offset.checked_add(slice.len).is_none_or(|end| end > len) {
            return Err(format!("{slice:?} is outside of {len} bytes"));
        }
        if write && slice.buf == Buf::Send && slice.len > 0 {
            return Err(format!("{slice:?} is written"));
        }
        let clash = |post: &&Post| post.slice.overlaps(slice) && (write || !post.is_send);
        match self.posts.iter().find(clash) {
            Some(post) => Err(format!("{slice:?} is in use by a post of {:?}", post.slice)),
            None => Ok(()),
        }
    }
}

impl Channel {
    fn ready(&self) -> bool {
        !self.sent.is_empty() && !self.wanted.is_empty()
    }
}

impl World {
    fn step(&mut self, r: usize, time: usize) -> Result<(), String> {
        let step = self.ranks[r].steps[self.ranks[r].next];
        self.apply(r, step).map_err(|e| format!("rank {r}, {step:?}: {e}"))?;
        let rank = &mut self.ranks[r];
        rank.next += 1;
        rank.times = (rank.times.0.min(time), time);
        Ok(())
    }

    fn apply(&mut self, r: usize, step: Step) -> Result<(), String> {
        let n = self.ranks.len();
        match step {
            Step::Send { peer, .. } | Step::Recv { peer, .. } if peer as usize >= n => {
                return Err("no such rank".into());
            }
            Step::Send { peer, .. } | Step::Recv { peer, .. } if peer as usize == r => {
                return Err("message to itself".into());
            }
            Step::Send { peer, from } => {
                self.ranks[r].check(from, false)?;
                let eager = match self.mode {
                    Mode::Eager => true,
                    Mode::Rendezvous => false,
                    Mode::Mixed => self.rng.coin(),
                };
                let rank = &mut self.ranks[r];
                let message = match eager {
                    true => Message::Bytes(rank.bytes(from).to_vec()),
                    false => Message::Post(rank.posts.len()),
                };
                rank.posts.push(Post { slice: from, is_send: true, done: eager });
                self.channels.entry((r, peer as usize)).or_default().sent.push_back(message);
            }
            Step::Recv { peer, into } => {
                let rank = &mut self.ranks[r];
                rank.check(into, true)?;
                let channel = self.channels.entry((peer as usize, r)).or_default();
                channel.wanted.push_back(rank.posts.len());
                rank.posts.push(Post { slice: into, is_send: false, done: false });
            }
            Step::Wait => self.ranks[r].posts.clear(),
            Step::Copy { from, into } => {
                self.operands(r, from, into)?;
                let bytes = self.ranks[r].bytes(from).to_vec();
                self.ranks[r].bytes(into).copy_from_slice(&bytes);
            }
            Step::Reduce { from, into, from_left } => {
                self.operands(r, from, into)?;
                let cut = |n: usize| !n.is_multiple_of(self.element);
                if cut(from.len) || cut(from.offset) || cut(into.offset) {
                    return Err("an element is cut or misplaced".into());
                }
                let (element, combine) = (self.element, self.combine);
                let bytes = self.ranks[r].bytes(from).to_vec();
                let target = self.ranks[r].bytes(into).chunks_mut(element);
                for (f, t) in bytes.chunks(element).zip(target) {
                    let result = if from_left { combine(f, t) } else { combine(t, f) };
                    t.copy_from_slice(&result[..t.len()]);
                }
            }
        }
        Ok(())
    }

    fn operands(&self, r: usize, from: Slice, into: Slice) -> Result<(), String> {
        if from.len != into.len || from.overlaps(into) {
            return Err("operands differ in length or overlap".into());
        }
        self.ranks[r].check(from, false)?;
        self.ranks[r].check(into, true)
    }

    fn deliver(&mut self, from: usize, to: usize) -> Result<(), String> {
        let channel = self.channels.entry((from, to)).or_default();
        let (Some(message), Some(wanted)) = (channel.sent.pop_front(), channel.wanted.pop_front())
        else {
            return Err("nothing to deliver".into());
        };
        let bytes = match message {
            Message::Bytes(bytes) => bytes,
            Message::Post(post) => {
                self.ranks[from].posts[post].done = true;
                let slice = self.ranks[from].posts[post].slice;
                self.ranks[from].bytes(slice).to_vec()
            }
        };
        let post = &mut self.ranks[to].posts[wanted];
        post.done = true;
        let into = post.slice;
        if bytes.len() != into.len {
            return Err(format!("{from} to {to}: {} bytes sent, {into:?} wanted", bytes.len()));
        }
        self.ranks[to].bytes(into).copy_from_slice(&bytes);
        Ok(())
    }

    fn finish(self) -> Result<Outcome, String> {
        for (r, rank) in self.ranks.iter().enumerate() {
            if let Some(step) = rank.steps.get(rank.next) {
                return Err(format!("rank {r} never gets beyond step {}, {step:?}", rank.next));
            }
            if !rank.posts.is_empty() {
                return Err(format!("rank {r} ends with posts outstanding"));
            }
        }
        if let Some((pair, _)) = self.channels.iter().find(|(_, c)| !c.sent.is_empty()) {
            return Err(format!("a message of {pair:?} is never received"));
        }
        let times = self.ranks.iter().map(|rank| rank.times).collect();
        let recv = self.ranks.into_iter().map(|rank| rank.buffers).map(|[_, recv, _]| recv);
        Ok(Outcome { recv: recv.collect(), times })
    }
}

/// The simulator itself: each claim shows that it would notice.
#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(mode: Mode, steps: [Vec<Step>; 2]) -> Result<Outcome, String> {
        let rank = |steps: Vec<Step>| {
            let mut schedule = Schedule::new();
            schedule.steps = steps;
            Rank { schedule, send: vec![1; 8], recv: vec![2; 8] }
        };
        run(steps.map(rank).into(), NO_OPERATION, mode, 1)
    }

    fn send(peer: u32, len: usize) -> Step {
        Step::Send { peer, from: Slice::new(Buf::Send, 0, len) }
    }

    fn recv(peer: u32, len: usize) -> Step {
        Step::Recv { peer, into: Slice::new(Buf::Recv, 0, len) }
    }

    #[test]
    fn two_ranks_that_send_before_they_receive_deadlock_in_rendezvous_only() {
        let steps = |peer| vec![send(peer, 8), Step::Wait, recv(peer, 8), Step::Wait];
        assert!(outcome(Mode::Eager, [steps(1), steps(0)]).is_ok());
        let error = outcome(Mode::Rendezvous, [steps(1), steps(0)]).err().unwrap();
        assert!(error.contains("never gets beyond step 1"), "{error}");
    }

    #[test]
    fn breaches_of_the_contract_are_noticed() {
        let copy =
            Step::Copy { from: Slice::new(Buf::Recv, 0, 4), into: Slice::new(Buf::Recv, 4, 4) };
        let w = Step::Wait;
        let cases: [([Vec<Step>; 2], &str); 7] = [
            ([vec![send(1, 8), w], vec![recv(0, 4), w]], "8 bytes sent"),
            ([vec![send(1, 8), w], vec![]], "never received"),
            ([vec![send(1, 8)], vec![recv(0, 8), w]], "outstanding"),
            ([vec![send(1, 8), w], vec![recv(0, 8), copy, w]], "in use"),
            ([vec![send(0, 8), w], vec![]], "itself"),
            ([vec![send(2, 8), w], vec![]], "no such rank"),
            ([vec![send(1, 9), w], vec![recv(0, 9), w]], "outside"),
        ];
        for (steps, expected) in cases {
            let error = outcome(Mode::Eager, steps).err().unwrap();
            assert!(error.contains(expected), "{error}");
        }
    }
}
