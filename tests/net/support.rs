//! Ranks to test with: a net, and a sink that remembers everything.

use cohost::net::{
    BindPolicy, Down, HEADER_LEN, Identity, Net, NetConfig, PeerCard, Placement, SendState, Sink,
};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Far more than anything here takes; only a hang reaches it.
pub const DEADLINE: Duration = Duration::from_secs(60);

pub const JOB: u64 = 77;
/// The kind of frames that go straight to the user's buffer.
pub const DIRECT: u8 = 2;
/// The kind of frames that are staged.
pub const STAGED: u8 = 1;
/// The kind that the sink calls a fault.
pub const POISON: u8 = 3;

#[derive(Debug, PartialEq, Eq, Clone)]
pub enum Event {
    Up(u32),
    Down(u32, Down),
    Frame { peer: u32, number: u64, direct: bool, payload: Vec<u8> },
}

/// Remembers what it is told.
pub struct Memory {
    pub events: Vec<Event>,
    pub writable: BTreeSet<u32>,
    pub closed_to: BTreeSet<u32>,
    pub remotes: BTreeMap<u32, SocketAddr>,
    pub cards: BTreeMap<u32, PeerCard>,
    /// Every frame is followed by back-pressure.
    pub one_at_a_time: bool,
    /// At most so many bytes of room at once for a direct payload.
    pub segment: usize,
    landing: BTreeMap<u32, Vec<u8>>,
}

impl Memory {
    pub fn ups(&self, peer: u32) -> usize {
        self.events.iter().filter(|event| **event == Event::Up(peer)).count()
    }

    pub fn down(&self, peer: u32) -> Option<Down> {
        self.events.iter().find_map(|event| match event {
            Event::Down(who, why) if *who == peer => Some(why.clone()),
            _ => None,
        })
    }

    pub fn numbers_from(&self, from: u32) -> Vec<u64> {
        let numbers = self.events.iter().filter_map(|event| match event {
            Event::Frame { peer, number, .. } if *peer == from => Some(*number),
            _ => None,
        });
        numbers.collect()
    }

    pub fn frames(&self) -> usize {
        self.events.iter().filter(|event| matches!(event, Event::Frame { .. })).count()
    }
}

impl Sink for Memory {
    fn up(&mut self, peer: u32, _local: SocketAddr, remote: SocketAddr) {
        self.remotes.insert(peer, remote);
        self.events.push(Event::Up(peer));
    }

    fn down(&mut self, peer: u32, why: Down) {
        self.landing.remove(&peer);
        self.events.push(Event::Down(peer, why));
    }

    fn writable(&mut self, peer: u32) {
        self.writable.insert(peer);
    }

    fn place(&mut self, peer: u32, header: &[u8; HEADER_LEN]) -> Result<Placement, String> {
        match header[0] {
            STAGED => Ok(Placement::Staged),
            DIRECT => {
                let length = u32::from_le_bytes(header[4..8].try_into().unwrap());
                self.landing.insert(peer, vec![0; length as usize]);
                Ok(Placement::Direct)
            }
            POISON => Err("poison".to_owned()),
            kind => Err(format!("unknown kind {kind}")),
        }
    }

    fn frame(
        &mut self,
        peer: u32,
        header: &[u8; HEADER_LEN],
        payload: &[u8],
    ) -> Result<(), String> {
        assert!(!self.closed_to.contains(&peer), "a frame came in spite of back-pressure");
        if self.one_at_a_time {
            self.closed_to.insert(peer);
        }
        let payload = payload.to_vec();
        self.events.push(Event::Frame { peer, number: number_of(header), direct: false, payload });
        Ok(())
    }

    fn direct_buffer(&mut self, peer: u32, offset: usize) -> &mut [u8] {
        let landing = self.landing.get_mut(&peer).unwrap();
        let end = (offset + self.segment).min(landing.len());
        &mut landing[offset..end]
    }

    fn direct_done(&mut self, peer: u32, header: &[u8; HEADER_LEN]) -> Result<(), String> {
        let payload = self.landing.remove(&peer).unwrap();
        self.events.push(Event::Frame { peer, number: number_of(header), direct: true, payload });
        Ok(())
    }

    fn accepting(&self, peer: u32) -> bool {
        !self.closed_to.contains(&peer)
    }

    fn card_of(&mut self, peer: u32) -> Option<PeerCard> {
        self.cards.get(&peer).cloned()
    }
}

pub struct Rank {
    pub net: Net,
    pub memory: Memory,
    pub identity: Identity,
}

pub fn identity(rank: u32) -> Identity {
    Identity { job: JOB, rank, epoch: 1000 + u64::from(rank), secret: [rank as u8 + 1; 16] }
}

pub fn config() -> NetConfig {
    NetConfig {
        bind: BindPolicy::LoopbackOnly,
        connect_timeout: Duration::from_secs(20),
        handshake_timeout: Duration::from_secs(20),
        ..NetConfig::default()
    }
}

pub fn header(kind: u8, number: u64, length: usize) -> [u8; HEADER_LEN] {
    let mut header = [0; HEADER_LEN];
    header[0] = kind;
    header[4..8].copy_from_slice(&u32::try_from(length).unwrap().to_le_bytes());
    header[8..16].copy_from_slice(&number.to_le_bytes());
    header
}

fn number_of(header: &[u8; HEADER_LEN]) -> u64 {
    u64::from_le_bytes(header[8..16].try_into().unwrap())
}

/// A payload that is nowhere like another one, nor like itself shifted.
pub fn payload(number: u64, length: usize) -> Vec<u8> {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let step = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    std::iter::repeat_with(step).take(length).collect()
}

impl Rank {
    pub fn new(rank: u32, size: u32, config: NetConfig) -> Rank {
        Rank::with(identity(rank), size, config)
    }

    pub fn with(identity: Identity, size: u32, config: NetConfig) -> Rank {
        let net = Net::bind(identity.clone(), size, config).unwrap();
        let memory = Memory {
            events: Vec::new(),
            writable: BTreeSet::new(),
            closed_to: BTreeSet::new(),
            remotes: BTreeMap::new(),
            cards: BTreeMap::new(),
            one_at_a_time: false,
            segment: usize::MAX / 2,
            landing: BTreeMap::new(),
        };
        Rank { net, memory, identity }
    }

    pub fn card(&self) -> PeerCard {
        PeerCard {
            rank: self.identity.rank,
            epoch: self.identity.epoch,
            secret: self.identity.secret,
            addresses: self.net.addresses().to_vec(),
        }
    }

    pub fn connect(&mut self, card: PeerCard) {
        self.net.connect(card, Instant::now()).unwrap();
    }

    pub fn poll(&mut self) -> bool {
        let wait = Some(Duration::from_millis(1));
        self.net.poll(wait, Instant::now(), &mut self.memory).unwrap()
    }

    /// One attempt with no waiting.
    pub fn try_send(
        &mut self,
        peer: u32,
        header: &[u8; HEADER_LEN],
        payload: &[u8],
        progress: &mut usize,
    ) -> SendState {
        self.net.send(peer, header, payload, progress).unwrap()
    }
}

/// Polls the ranks in turn until `done`, or panics with what happened so far.
pub fn run(ranks: &mut [&mut Rank], mut done: impl FnMut(&mut [&mut Rank]) -> bool) {
    let limit = Instant::now() + DEADLINE;
    while !done(ranks) {
        if Instant::now() > limit {
            let seen: Vec<_> =
                ranks.iter().map(|rank| format!("{:.300?}", rank.memory.events)).collect();
            panic!("nothing came of it: {seen:#?}");
        }
        for rank in ranks.iter_mut() {
            rank.poll();
        }
    }
}

/// Two connected ranks, 0 having called 1.
pub fn pair(first: NetConfig, second: NetConfig) -> (Rank, Rank) {
    let mut a = Rank::new(0, 2, first);
    let mut b = Rank::new(1, 2, second);
    a.connect(b.card());
    run(&mut [&mut a, &mut b], |r| r[0].net.is_up(1) && r[1].net.is_up(0));
    (a, b)
}

/// Sends one frame from `ranks[0]` to rank `peer`, polling all meanwhile.
pub fn deliver(ranks: &mut [&mut Rank], peer: u32, header: &[u8; HEADER_LEN], payload: &[u8]) {
    let mut progress = 0;
    run(ranks, |r| r[0].try_send(peer, header, payload, &mut progress) == SendState::Done);
}
