//! Groups of endpoints in simulated time: every run is a seed, and the seed is in the message of
//! a failed assertion.

mod loans;

use std::collections::{HashMap, VecDeque};

use super::*;
use crate::frame::{Header, Kind, Payload};

impl SendBuffer for Vec<u8> {
    fn len(&self) -> usize {
        Vec::len(self)
    }
    fn slice(&mut self, offset: usize, len: usize) -> &[u8] {
        &self[offset..offset + len]
    }
    /// Every message can be lent; its stamp is its place.
    fn loan(&self) -> Option<Loan> {
        let stamp = self.first_chunk::<4>()?;
        Some(Loan { name: u32::from_le_bytes(*stamp).into(), offset: Vec::len(self) as u64 })
    }
}

#[derive(Clone, Debug, Default)]
struct Room(std::rc::Rc<std::cell::RefCell<Vec<u8>>>);

impl ReceiveBuffer for Room {
    fn len(&self) -> usize {
        self.0.borrow().len()
    }
    fn fill<P: Payload>(&mut self, at: usize, payload: &P, from: usize, len: usize) {
        payload.copy_to(from, &mut self.0.borrow_mut()[at..at + len]);
    }
}

fn room(len: usize) -> Room {
    Room(std::rc::Rc::new(std::cell::RefCell::new(vec![0; len])))
}

struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % n
    }
    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

type Flight = VecDeque<(Header, Vec<u8>)>;

/// Two paths for each direction of each pair; frames on one do not overtake, across the two they
/// do.
struct Sky {
    from: usize,
    flights: HashMap<(usize, usize, usize), Flight>,
    random: Random,
    refuse_percent: usize,
    limits: Limits,
    /// What was taken with the promise to keep it.
    memory: HashMap<(usize, usize, u32), Vec<u8>>,
}

impl Paths for Sky {
    fn limits(&self, _: u32) -> Limits {
        self.limits
    }

    fn offer(&mut self, peer: u32, header: &Header, payload: &[u8]) -> Offer {
        if self.random.chance(self.refuse_percent) {
            return Offer::Later;
        }
        assert_eq!(header.len as usize, payload.len(), "a payload that is not there: {header:?}");
        let path = self.random.below(2);
        let flight = self.flights.entry((self.from, peer as usize, path)).or_default();
        flight.push_back((*header, payload.to_vec()));
        if self.random.chance(50) {
            self.memory.insert((self.from, peer as usize, header.seq), payload.to_vec());
            return Offer::Kept;
        }
        Offer::Taken
    }
}

const LIMITS: Limits =
    Limits { eager_max: 100, head_max: 60, piece: (30, 50), loan_min: usize::MAX };
/// On the path of a moment: messages are lent, or not, or so are those that could be eager.
const LOAN_MIN: [usize; 3] = [200, usize::MAX, 50];

struct World {
    ends: Vec<Endpoint<Vec<u8>, Room>>,
    sky: Sky,
    /// Whether messages are lent now and then.
    lends: bool,
}

impl World {
    fn new(size: u32, seed: u64, config: &Config) -> Self {
        let sky = Sky {
            from: 0,
            flights: HashMap::new(),
            random: Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
            refuse_percent: 10,
            limits: LIMITS,
            memory: HashMap::new(),
        };
        Self {
            ends: (0..size).map(|rank| Endpoint::new(rank, size, config.clone())).collect(),
            sky,
            lends: false,
        }
    }

    fn pump(&mut self, from: usize) {
        self.sky.from = from;
        for peer in 0..self.ends.len() as u32 {
            if peer as usize != from {
                self.ends[from].pump(peer, &mut self.sky);
            }
        }
    }

    fn land(&mut self, from: usize, to: usize, path: usize) -> bool {
        if !self.ends[to].accepting(from as u32) {
            return false;
        }
        let flight = self.sky.flights.entry((from, to, path)).or_default();
        let Some((header, payload)) = flight.pop_front() else {
            return false;
        };
        self.ends[to].arrive(from as u32, &header, &&payload[..]).expect("an honest peer");
        true
    }

    /// A receiver copies lent bytes, in pieces, or cannot. As long as it can, they must be there.
    fn borrow(&mut self, to: usize, all: bool) -> bool {
        let mut moved = false;
        while let Some(due) = self.ends[to].due() {
            if !all && self.sky.random.chance(30) {
                break;
            }
            moved = true;
            if self.sky.random.chance(10) {
                self.ends[to].decline(due.key);
                continue;
            }
            let is_lent = |send: &sending::Send<Vec<u8>>| {
                send.peer as usize == to
                    && send.buffer.loan() == Some(due.loan)
                    && matches!(send.state, sending::SendState::Rendezvous(_))
            };
            let len = 1 + self.sky.random.below(due.wanted);
            let piece = {
                let mut sends = self.ends[due.peer as usize].sends.iter_mut();
                let (_, send) = sends.find(|(_, send)| is_lent(send)).expect("a waiting lender");
                assert_eq!(Vec::len(&send.buffer), due.total);
                send.buffer[due.at..due.at + len].to_vec()
            };
            self.ends[to].borrowed(due.key, &&piece[..]);
        }
        moved
    }

    fn acknowledge(&mut self, from: usize, to: usize) {
        let next = self.ends[to].expected(from as u32);
        self.ends[from].acknowledged(to as u32, next).expect("an honest peer");
    }

    /// The paths between two endpoints vanish with all that is on them; both resume.
    fn lose_paths(&mut self, a: usize, b: usize) {
        for (from, to) in [(a, b), (b, a)] {
            for path in 0..2 {
                self.sky.flights.remove(&(from, to, path));
            }
            let memory = &self.sky.memory;
            self.ends[from].reclaim(to as u32, |seq, into| {
                into.copy_from_slice(&memory[&(from, to, seq)]);
            });
            let next = self.ends[to].expected(from as u32);
            self.ends[from].resume(to as u32, next).expect("an honest peer");
        }
    }

    fn step(&mut self, lossy: bool) {
        let n = self.ends.len();
        let (a, b) = (self.sky.random.below(n), self.sky.random.below(n));
        if a == b {
            return;
        }
        match self.sky.random.below(if lossy { 41 } else { 40 }) {
            0..=9 => {
                if self.lends {
                    self.sky.limits.loan_min = LOAN_MIN[self.sky.random.below(3)];
                }
                self.borrow(a, false);
                self.pump(a);
            }
            10..=37 => {
                let path = self.sky.random.below(2);
                self.land(a, b, path);
            }
            38..=39 => self.acknowledge(a, b),
            _ => self.lose_paths(a, b),
        }
    }

    fn settle(&mut self) {
        for _ in 0..100_000 {
            let mut moved = false;
            for a in 0..self.ends.len() {
                moved |= self.borrow(a, true);
                self.pump(a);
                for b in (0..self.ends.len()).filter(|&b| b != a) {
                    for path in 0..2 {
                        while self.land(a, b, path) {
                            moved = true;
                        }
                    }
                    self.acknowledge(a, b);
                    moved |= self.ends[a].has_work(b as u32);
                }
            }
            if !moved {
                return;
            }
        }
        panic!("it never settles");
    }
}

fn body(source: u32, tag: i32, number: u32, len: usize) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..len).map(|i| (i as u32 + number * 7 + source) as u8).collect();
    let stamp = [source as u8, tag as u8, number as u8, (number >> 8) as u8];
    bytes[..4].copy_from_slice(&stamp);
    bytes
}

#[derive(Default)]
struct Ledger {
    sends: Vec<(usize, Key)>,
    receives: Vec<(usize, Pattern, Key, Room)>,
    counts: HashMap<(u32, usize, i32), u32>,
    lens: HashMap<(u32, usize, i32, u32), usize>,
}

fn begin_send(world: &mut World, ledger: &mut Ledger) {
    let n = world.ends.len();
    let random = &mut world.sky.random;
    let (from, to, tag) = (random.below(n), random.below(n), random.below(3) as i32);
    let class = random.below(3);
    let len = 4 + random.below([60, 150, 700][class]);
    let mode = if random.chance(20) { Mode::Synchronous } else { Mode::Standard };
    let count = ledger.counts.entry((from as u32, to, tag)).or_default();
    let bytes = body(from as u32, tag, *count, len);
    ledger.lens.insert((from as u32, to, tag, *count), len);
    *count += 1;
    world.sky.from = from;
    let end = &mut world.ends[from];
    let now = mode == Mode::Standard
        && end.send_now(to as u32, 1, tag, &bytes, &mut world.sky).expect("a living peer");
    if !now {
        let key = end.send(to as u32, 1, tag, mode, bytes).expect("a living peer");
        ledger.sends.push((from, key));
    }
}

/// Posts a receive for a message that was sent and is not yet asked for.
fn post(world: &mut World, ledger: &mut Ledger, to: usize, source: u32, tag: i32) {
    let random = &mut world.sky.random;
    let wild = random.below(6);
    let pattern = Pattern {
        context: 1,
        source: (wild != 0).then_some(source),
        tag: (wild > 1).then_some(tag),
    };
    let buffer = room(800);
    let key = world.ends[to].receive(pattern, buffer.clone()).expect("a living peer");
    ledger.receives.push((to, pattern, key, buffer));
}

fn check(world: &mut World, ledger: &mut Ledger, seed: u64) {
    for (from, key) in ledger.sends.drain(..) {
        assert_eq!(world.ends[from].test_send(key), Some(Ok(())), "seed {seed}");
    }
    let mut last = HashMap::<(usize, _, _, u32, i32), u32>::new();
    for (to, pattern, key, buffer) in ledger.receives.drain(..) {
        let outcome = world.ends[to].test_receive(key);
        let Some(Ok(Received { envelope, len })) = outcome else {
            panic!("seed {seed}: {outcome:?} for {pattern:?}")
        };
        assert!(pattern.accepts(&envelope), "seed {seed}");
        let bytes = buffer.0.borrow();
        let number = u32::from(bytes[2]) | u32::from(bytes[3]) << 8;
        let (source, tag) = (envelope.source, envelope.tag);
        assert_eq!(ledger.lens.remove(&(source, to, tag, number)), Some(len), "seed {seed}");
        assert_eq!(bytes[..len], body(source, tag, number, len), "seed {seed}");
        let before = last.insert((to, pattern.source, pattern.tag, source, tag), number);
        assert!(before.is_none_or(|before| before < number), "seed {seed}: overtaken");
    }
    assert!(ledger.lens.is_empty(), "seed {seed}: messages lost");
}

fn random_traffic(size: u32, lossy: bool, config: &Config, seed: u64) {
    let (mut world, mut ledger) = (World::new(size, seed, config), Ledger::default());
    world.lends = !seed.is_multiple_of(4);
    let mut wanted: Vec<(usize, u32, i32)> = Vec::new();
    for _ in 0..1500 {
        if ledger.lens.len() < 120 && world.sky.random.chance(20) {
            let before = ledger.counts.clone();
            begin_send(&mut world, &mut ledger);
            wanted.extend(
                ledger
                    .counts
                    .iter()
                    .filter(|(k, v)| before.get(k) != Some(v))
                    .map(|(&(s, to, t), _)| (to, s, t)),
            );
        }
        if !wanted.is_empty() && world.sky.random.chance(15) {
            let at = world.sky.random.below(wanted.len());
            let (to, source, tag) = wanted.swap_remove(at);
            post(&mut world, &mut ledger, to, source, tag);
        }
        world.step(lossy);
    }
    world.settle();
    // A wildcard may have taken another's message: ask for what is left, whoever sent it.
    for (to, ..) in wanted {
        let any = Pattern { context: 1, source: None, tag: None };
        let buffer = room(800);
        let key = world.ends[to].receive(any, buffer.clone()).expect("a living peer");
        ledger.receives.push((to, any, key, buffer));
    }
    world.settle();
    unstick(&mut world, &mut ledger);
    check(&mut world, &mut ledger, seed);
    for (a, end) in world.ends.iter().enumerate() {
        assert!((0..size).all(|b| b as usize == a || end.is_quiet(b)), "seed {seed}: not quiet");
        assert_eq!(end.unexpected_len(), 0, "seed {seed}");
        let loans = &end.tally().loans;
        let lent = loans.sent.messages.get() + loans.received.messages.get();
        assert_eq!(lent > 0, world.lends, "seed {seed}: {lent} loans");
    }
}

/// A wildcard receive may have taken the message that an exact one was posted for. The messages
/// left over then belong to exact receives that wait for nothing: post wildcards, withdraw those.
fn unstick(world: &mut World, ledger: &mut Ledger) {
    let posted = std::mem::take(&mut ledger.receives);
    let (done, stuck): (Vec<_>, Vec<_>) =
        posted.into_iter().partition(|(to, _, key, _)| world.ends[*to].receive_is_done(*key));
    ledger.receives = done;
    for (to, _, key, _) in &stuck {
        world.ends[*to].cancel_receive(*key);
        assert_eq!(world.ends[*to].test_receive(*key), Some(Err(Error::Cancelled)));
    }
    for (to, ..) in stuck {
        let any = Pattern { context: 1, source: None, tag: None };
        let buffer = room(800);
        let key = world.ends[to].receive(any, buffer.clone()).expect("a living peer");
        ledger.receives.push((to, any, key, buffer));
    }
    world.settle();
}

#[test]
fn every_message_arrives_once_and_in_order_across_two_paths() {
    for seed in 0..150 {
        random_traffic(3, false, &Config::default(), seed);
    }
}

#[test]
fn every_message_arrives_once_and_in_order_when_paths_vanish() {
    for seed in 1000..1150 {
        random_traffic(2 + (seed % 3) as u32, true, &Config::default(), seed);
    }
}

#[test]
fn traffic_flows_within_tight_bounds() {
    let config = Config {
        unexpected_soft: 300,
        unexpected_hard: 1 << 20,
        kept_frames_max: 6,
        kept_bytes_max: 200,
        ..Config::default()
    };
    for seed in 2000..2150 {
        random_traffic(3, seed % 2 == 0, &config, seed);
    }
}

fn pair() -> World {
    let mut world = World::new(2, 1, &Config::default());
    world.sky.refuse_percent = 0;
    world
}

fn exact(source: u32, tag: i32) -> Pattern {
    Pattern { context: 1, source: Some(source), tag: Some(tag) }
}

#[test]
fn a_message_longer_than_its_receive_is_an_error_that_keeps_its_beginning() {
    for len in [50, 100, 150, 700] {
        let mut world = pair();
        let buffer = room(20);
        let receive = world.ends[1].receive(exact(0, 0), buffer.clone()).unwrap();
        let message = body(0, 0, 0, len);
        let send = world.ends[0].send(1, 1, 0, Mode::Standard, message.clone()).unwrap();
        world.settle();
        let outcome = world.ends[1].test_receive(receive).unwrap();
        assert!(
            matches!(outcome, Err(Error::Truncated { room: 20, received }) if received.len == len)
        );
        assert_eq!(buffer.0.borrow()[..], message[..20]);
        assert_eq!(world.ends[0].test_send(send), Some(Ok(())));
    }
}

#[test]
fn a_synchronous_send_completes_only_when_matched() {
    let mut world = pair();
    let send = world.ends[0].send(1, 1, 0, Mode::Synchronous, vec![1; 8]).unwrap();
    world.settle();
    assert_eq!(world.ends[0].test_send(send), None);
    let receive = world.ends[1].receive(exact(0, 0), room(8)).unwrap();
    world.settle();
    assert!(world.ends[1].test_receive(receive).unwrap().is_ok());
    assert_eq!(world.ends[0].test_send(send), Some(Ok(())));
}

#[test]
fn a_send_that_no_receive_matched_can_be_withdrawn_and_one_that_was_cannot() {
    let mut world = pair();
    let send = world.ends[0].send(1, 1, 0, Mode::Standard, vec![1; 700]).unwrap();
    world.settle();
    world.ends[0].cancel_send(send);
    world.settle();
    assert_eq!(world.ends[0].test_send(send), Some(Err(Error::Cancelled)));
    assert_eq!(world.ends[1].unexpected_len(), 0);

    let send = world.ends[0].send(1, 1, 0, Mode::Standard, vec![1; 700]).unwrap();
    world.settle();
    let receive = world.ends[1].receive(exact(0, 0), room(700)).unwrap();
    world.ends[0].cancel_send(send);
    world.settle();
    assert_eq!(world.ends[0].test_send(send), Some(Ok(())));
    assert!(world.ends[1].test_receive(receive).unwrap().is_ok());
}

#[test]
fn a_flood_of_eager_messages_is_throttled_and_none_is_lost() {
    let config = Config { unexpected_soft: 2000, ..Config::default() };
    let mut world = World::new(2, 1, &config);
    let mut ledger = Ledger::default();
    for number in 0..500 {
        let bytes = body(0, 0, number, 40);
        ledger.lens.insert((0, 1, 0, number), 40);
        let key = world.ends[0].send(1, 1, 0, Mode::Standard, bytes).unwrap();
        ledger.sends.push((0, key));
        world.settle();
    }
    let waiting = world.ends[1].peers[0].unexpected_bytes;
    assert!(waiting < 4000, "{waiting} bytes wait");
    for _ in 0..500 {
        let buffer = room(40);
        let key = world.ends[1].receive(exact(0, 0), buffer.clone()).unwrap();
        ledger.receives.push((1, exact(0, 0), key, buffer));
        world.settle();
    }
    check(&mut world, &mut ledger, 0);
    assert!(!world.ends[0].peers[1].throttled);
}

#[test]
fn a_probe_sees_what_a_receive_would_take() {
    let mut world = pair();
    for (tag, len) in [(3, 10), (4, 300)] {
        world.ends[0].send(1, 1, tag, Mode::Standard, vec![0; len]).unwrap();
    }
    assert_eq!(world.ends[1].probe(&exact(0, 4)), None);
    world.settle();
    assert_eq!(world.ends[1].probe(&exact(0, 4)).unwrap().len, 300);
    let any = Pattern { context: 1, source: None, tag: None };
    assert_eq!(world.ends[1].probe(&any).unwrap().envelope.tag, 3);
}

#[test]
fn what_depends_on_a_lost_peer_fails_and_the_rest_goes_on() {
    let mut world = World::new(3, 1, &Config::default());
    world.sky.refuse_percent = 0;
    let from_lost = world.ends[0].receive(exact(1, 0), room(8)).unwrap();
    let from_other = world.ends[0].receive(exact(2, 0), room(8)).unwrap();
    let to_lost = world.ends[0].send(1, 1, 0, Mode::Synchronous, vec![0; 8]).unwrap();
    world.ends[0].lose(1, "killed by signal 9", false);
    let lost = |error: &Error| matches!(error, Error::PeerLost { peer: 1, why } if &**why == "killed by signal 9");
    assert!(lost(&world.ends[0].test_receive(from_lost).unwrap().unwrap_err()));
    assert!(lost(&world.ends[0].test_send(to_lost).unwrap().unwrap_err()));
    assert!(lost(&world.ends[0].send(1, 1, 0, Mode::Standard, vec![]).unwrap_err()));
    assert!(lost(&world.ends[0].receive(exact(1, 0), room(8)).unwrap_err()));
    world.ends[2].send(0, 1, 0, Mode::Standard, vec![9; 8]).unwrap();
    world.settle();
    assert!(world.ends[0].test_receive(from_other).unwrap().is_ok());
}

#[test]
fn what_a_lost_peer_had_sent_completely_can_still_be_received() {
    let mut world = pair();
    world.ends[0].send(1, 1, 0, Mode::Standard, vec![7; 90]).unwrap();
    world.ends[0].send(1, 1, 1, Mode::Standard, vec![7; 900]).unwrap();
    world.settle();
    world.ends[1].lose(0, "gone", true);
    let whole = world.ends[1].receive(exact(0, 0), room(90)).unwrap();
    assert!(world.ends[1].test_receive(whole).unwrap().is_ok());
    assert!(world.ends[1].receive(exact(0, 1), room(900)).is_err());
}

#[test]
fn a_message_to_oneself_needs_no_path() {
    let mut world = pair();
    for (mode, len) in [(Mode::Standard, 8), (Mode::Synchronous, 8), (Mode::Standard, 1 << 20)] {
        let send = world.ends[0].send(0, 1, 0, mode, vec![5; len]).unwrap();
        let receive = world.ends[0].receive(exact(0, 0), room(len)).unwrap();
        assert_eq!(world.ends[0].test_send(send), Some(Ok(())));
        assert!(world.ends[0].test_receive(receive).unwrap().is_ok());
    }
    let send = world.ends[0].send(0, 1, 0, Mode::Synchronous, vec![5; 8]).unwrap();
    world.ends[0].cancel_send(send);
    assert_eq!(world.ends[0].test_send(send), Some(Err(Error::Cancelled)));
}

/// A liar sends frames of every kind with numbers from a small set, some of which exist.
#[test]
fn a_peer_that_lies_is_found_out_or_harmless() {
    for seed in 1..400_u64 {
        let mut world = pair();
        world.sky.random = Random(seed * 77);
        let mut keys = Vec::new();
        for tag in 0..2 {
            keys.push(world.ends[0].receive(exact(1, tag), room(64)).unwrap());
        }
        world.ends[0].send(1, 1, 0, Mode::Synchronous, vec![1; 300]).unwrap();
        world.pump(0);
        for seq in 0..60 {
            let random = &mut world.sky.random;
            let ids = [0, 1, u64::MAX, keys[0].0, keys[1].0, 1 << 32, 2 << 32];
            let sizes = [0, 1, 30, 64, 100, 300, u64::MAX];
            let payload = vec![3; if random.chance(20) { 16 } else { random.below(70) }];
            let header = Header {
                kind: Kind::from_u8(1 + random.below(10) as u8).unwrap(),
                context: 1,
                tag: random.below(3) as i32,
                seq,
                len: payload.len() as u32,
                head: sizes[random.below(6)] as u32,
                total: if random.chance(50) {
                    sizes[random.below(7)]
                } else {
                    payload.len() as u64
                },
                id: ids[random.below(7)],
            };
            let _ = world.ends[0]
                .direct(1, &header)
                .map(|(buffer, at)| assert!(at + payload.len() <= buffer.len()));
            let arrived = world.ends[0].arrive(1, &header, &&payload[..]);
            if let Some(due) = world.ends[0].due() {
                assert!(due.wanted > 0 && due.at + due.wanted <= 64);
                if seed % 2 == 0 {
                    world.ends[0].borrowed(due.key, &&payload[..]);
                } else {
                    world.ends[0].decline(due.key);
                }
            }
            if arrived.is_err() {
                world.ends[0].lose(1, "it lied", false);
                break;
            }
        }
    }
}
