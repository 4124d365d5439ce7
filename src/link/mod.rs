//! The paths to all peers: which there are, how they come about, and what is chosen.
//!
//! A pair has one TCP connection, made on first contact. It carries the frames, or, when the two
//! ranks prove that they share memory ([`prove`]), a ring in each direction carries them and the
//! connection stays as doorbell of last resort and first sign of death. One enum of states per
//! peer, no trait objects: the way of a message is a `match`.
//!
//! Ranks of one machine share a memfd or a file; those of different machines of a host a device
//! region or granted pages ([`reach`] looks for them, [`share`] makes rings of them). Such memory can
//! vanish, so what it carries is kept elsewhere too, and it is looked at now and then.
//!
//! This folder may use rings, net, doorbells, regions and the frame header. It knows nothing of
//! matching; what it needs of the protocol it gets as arguments.

pub mod card;
pub mod control;
pub mod journal;
pub mod lend;
mod meet;
pub mod prove;
pub mod reach;
pub mod select;
pub mod share;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use card::Card;
use control::{Control, Offer};
use journal::Journal;
use prove::Proof;
use select::PathPolicy;
use share::Share;

use crate::doorbell::{Ring, Ringer};
use crate::frame::{Header, WIRE_LEN, set_ack};
use crate::net::{Net, SendState};
use crate::region::PeerSection;
pub use crate::ring::{Consumer, Incoming as RingFrame};
use crate::ring::{Producer, Pushed};
use crate::tally::Tally;

/// A frame of which the socket took only a part, and must take the rest first.
#[derive(Debug)]
struct Partial {
    wire: [u8; WIRE_LEN],
    progress: usize,
}

/// The writing side of a ring in use.
#[derive(Debug)]
pub struct RingOut {
    producer: Producer,
    ringer: Ringer,
    /// Number of the first frame that went this way.
    base: u32,
    /// Whether what was written can be read back for as long as it may have to be sent again.
    keeps: bool,
}

/// The reading side of a ring in use.
#[derive(Debug)]
pub struct RingIn {
    /// Who writes it.
    pub peer: u32,
    /// The ring.
    pub consumer: Consumer,
}

/// A proof under way, and what it needs.
#[derive(Debug)]
struct Proving {
    proof: Proof,
    handed_over: bool,
    offer: Option<Offer>,
    section: Option<PeerSection>,
}

/// How things stand with one peer.
#[derive(Debug, Default)]
enum State {
    /// No contact yet.
    #[default]
    Idle,
    Connecting,
    Proving(Box<Proving>),
    Ring(Box<RingOut>),
    /// We said that the ring is not used; the peer has not answered.
    Falling,
    Tcp,
    /// Gone for good.
    Lost,
}

/// One peer.
#[derive(Debug, Default)]
struct Peer {
    state: State,
    /// Most bytes that a frame may have, in case the path is or becomes a ring.
    payload_max: usize,
    reason: String,
    partial: Option<Partial>,
    controls: VecDeque<([u8; WIRE_LEN], Vec<u8>)>,
    /// Number of the next frame expected of this peer.
    expected: u32,
    /// Frames and bytes received over TCP since we last sent anything there.
    owed: (u32, usize),
    fell_back: bool,
    /// Header of the frame whose payload goes straight to its place.
    arriving: Option<Header>,
}

/// What a path does with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// On its way.
    Done,
    /// On its way, and kept in memory of our own until the peer has taken it.
    Kept,
    /// Not now.
    Later,
    /// The path broke its rules; see [`Links::fall_back`].
    Fault,
}

/// Which path a peer has now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Not decided yet.
    None,
    /// Rings.
    Ring,
    /// TCP.
    Tcp,
    /// The peer is gone.
    Lost,
}

/// What the engine must do after something was heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Then {
    /// Nothing.
    Nothing,
    /// The path is decided: offer the peer its frames. `resume`: number of the frame it expects.
    Go {
        /// Frames from this number on go out again.
        resume: Option<u32>,
    },
    /// The ring is not used; say so with [`Links::fall_back`].
    FallBack(String),
    /// The peer said so: answer with [`Links::follow_back`].
    FollowBack {
        /// Number of the frame that it expects.
        expected: u32,
        /// Its reason.
        reason: String,
    },
    /// The peer broke the rules of the connection.
    Fault(String),
    /// The connection ended.
    Gone {
        /// How, for people.
        why: String,
        /// Whether the peer said goodbye.
        orderly: bool,
    },
}

/// Bytes or frames received over TCP after which an acknowledgement goes out by itself.
const OWED_FRAMES: u32 = 64;
const OWED_BYTES: usize = 128 << 10;
/// Between two looks whether shared memory is still there.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// All peers.
#[derive(Debug)]
pub struct Links {
    me: u32,
    cards: Vec<Card>,
    policy: PathPolicy,
    share: Share,
    journal: Journal,
    /// When to look next whether shared memory is still there.
    look_due: Option<Instant>,
    peers: Vec<Peer>,
    /// Rings to read, those in use.
    pub inputs: Vec<RingIn>,
    /// What is counted.
    pub tally: Arc<Tally>,
    /// Peers with control messages to send.
    dirty: Vec<u32>,
    /// Peers being connected or proved.
    unsettled: Vec<u32>,
    tcp_peers: usize,
    /// Where bytes go whose receive is gone.
    discard: Vec<u8>,
}

impl Links {
    /// Paths to the ranks with these cards, none of them made yet.
    #[must_use]
    pub fn new(me: u32, cards: Vec<Card>, policy: PathPolicy, share: Share) -> Self {
        let peer = |rank| Peer { payload_max: share.payload_max(rank), ..Peer::default() };
        let peers = (0..cards.len() as u32).map(peer).collect();
        Self {
            me,
            cards,
            policy,
            share,
            journal: Journal::new(me),
            look_due: None,
            peers,
            inputs: Vec::new(),
            tally: Arc::default(),
            dirty: Vec::new(),
            unsettled: Vec::new(),
            tcp_peers: 0,
            discard: Vec::new(),
        }
    }

    /// The cards of all ranks.
    #[must_use]
    pub fn cards(&self) -> &[Card] {
        &self.cards
    }

    /// What happened to the paths.
    #[must_use]
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Tells what happens on standard error too.
    pub fn tell_aloud(&mut self) {
        self.journal.aloud = true;
    }

    /// Shared memory of this host.
    pub fn share(&mut self) -> &mut Share {
        &mut self.share
    }

    /// What wakes this rank from other machines, for people; empty without such a thing.
    #[must_use]
    pub fn bells(&self) -> String {
        self.share.bells()
    }

    /// Looks, now and then, whether shared memory that can vanish is still there; pairs whose
    /// memory is gone go on over TCP.
    #[inline]
    pub fn look(&mut self, now: Instant, then: &mut VecDeque<(u32, Then)>) {
        if self.look_due.is_some_and(|due| now >= due) {
            let gone = self.share.vanished().into_iter();
            then.extend(gone.map(|(peer, why)| (peer, Then::FallBack(why))));
            if let Some(what) = self.share.came_back(now) {
                let note = format!(
                    "memory is within reach again: {what}; those who lost it stay with TCP"
                );
                self.journal.note(note);
            }
            self.look_due = self.share.can_change().then_some(now + LOOK_EVERY);
        }
    }

    /// Whether there was no contact with this peer yet.
    #[inline]
    #[must_use]
    pub fn is_stranger(&self, peer: u32) -> bool {
        matches!(self.peers[peer as usize].state, State::Idle)
    }

    /// The path to a peer, and why.
    #[must_use]
    pub fn way(&self, peer: u32) -> (Way, &str) {
        let peer = &self.peers[peer as usize];
        let way = match &peer.state {
            State::Ring(_) => Way::Ring,
            State::Tcp => Way::Tcp,
            State::Lost => Way::Lost,
            _ => Way::None,
        };
        (way, &peer.reason)
    }

    /// Most bytes of a frame in a ring to this peer, whether there is one already or not.
    #[inline]
    #[must_use]
    pub fn ring_payload_max(&self, peer: u32) -> usize {
        self.peers[peer as usize].payload_max
    }

    /// Whether the ring to this peer, if there is one, can give back what it carries, so that nothing
    /// that is sent through it must be copied to be kept.
    #[inline]
    #[must_use]
    pub fn keeps(&self, peer: u32) -> bool {
        match &self.peers[peer as usize].state {
            State::Ring(ring) => ring.keeps,
            _ => true,
        }
    }

    /// Whether frames to this peer go through a ring.
    #[inline]
    #[must_use]
    pub fn is_ring(&self, peer: u32) -> bool {
        matches!(self.peers[peer as usize].state, State::Ring(_))
    }

    /// Peers whose frames go over TCP.
    #[must_use]
    pub fn tcp_peers(&self) -> usize {
        self.tcp_peers
    }

    /// Whether any path is being made.
    #[inline]
    #[must_use]
    pub fn unsettled(&self) -> bool {
        !self.unsettled.is_empty()
    }

    /// Makes contact, if there was none. Cheap to call again.
    ///
    /// # Errors
    /// When the connection cannot even be begun.
    #[inline]
    pub fn contact(&mut self, peer: u32, net: &mut Net) -> Result<(), String> {
        if !matches!(self.peers[peer as usize].state, State::Idle) {
            return Ok(());
        }
        self.connect(peer, net)
    }

    #[cold]
    fn connect(&mut self, peer: u32, net: &mut Net) -> Result<(), String> {
        self.peers[peer as usize].state = State::Connecting;
        self.unsettled.push(peer);
        let card = self.net_card(peer);
        net.connect(card, Instant::now()).map_err(|error| error.to_string())
    }

    /// A peer's card as net needs it. Ranks of one running kernel try loopback first: it is never
    /// wrong, since who answers must prove who it is.
    #[must_use]
    pub fn net_card(&self, peer: u32) -> crate::net::PeerCard {
        let card = &self.cards[peer as usize];
        let mut addresses = card.addresses.clone();
        if card.boot == self.cards[self.me as usize].boot {
            addresses.sort_by_key(|address| !address.ip().is_loopback());
        }
        crate::net::PeerCard { rank: peer, epoch: card.epoch, secret: card.secret, addresses }
    }

    /// Tells a ring in use the number of the first frame that goes through it.
    pub fn set_base(&mut self, peer: u32, number: u32) {
        if let State::Ring(ring) = &mut self.peers[peer as usize].state {
            ring.base = number;
        }
    }

    fn settle(&mut self, peer: u32, state: State) {
        self.unsettled.retain(|&other| other != peer);
        if matches!(self.peers[peer as usize].state, State::Tcp) {
            self.tcp_peers -= 1;
        }
        if matches!(state, State::Tcp) {
            self.tcp_peers += 1;
        }
        self.peers[peer as usize].state = state;
    }

    fn drop_ring(&mut self, peer: u32) {
        self.inputs.retain(|input| input.peer != peer);
        self.share.part(peer);
    }

    /// Gives the ring up and says so. With `--path ring` that is the end of the pair, and the
    /// reason is returned.
    ///
    /// # Errors
    /// When the policy admits no other path.
    pub fn fall_back(&mut self, peer: u32, why: &str) -> Result<(), String> {
        self.drop_ring(peer);
        if self.policy == PathPolicy::Ring {
            return Err(format!("--path ring was asked for, and: {why}"));
        }
        let at = &mut self.peers[peer as usize];
        if matches!(at.state, State::Falling | State::Tcp | State::Lost) {
            return Ok(());
        }
        if matches!(at.state, State::Ring(_)) {
            self.tally.fallbacks.add(1);
            self.journal.note(format!("the ring with rank {peer} is given up: {why}"));
        }
        let at = &mut self.peers[peer as usize];
        at.reason = format!("no ring: {why}");
        at.fell_back = true;
        let expected = at.expected;
        self.settle(peer, State::Falling);
        self.say(peer, &Control::FallBack { expected, reason: why.to_owned() });
        Ok(())
    }

    /// The peer gave the ring up: so do we, and go on over TCP.
    ///
    /// # Errors
    /// When there was no ring to give up, or the policy admits no other path.
    pub fn follow_back(&mut self, peer: u32, reason: &str) -> Result<(), String> {
        match self.peers[peer as usize].state {
            State::Falling => {}
            // Connecting: we are about to say the same.
            State::Connecting | State::Proving(_) | State::Ring(_) => {
                self.fall_back(peer, reason)?;
            }
            _ => return Err("it gave up a ring that was not there".to_owned()),
        }
        self.settle(peer, State::Tcp);
        Ok(())
    }

    /// Copies the payload of a frame back out of our ring. See [`Producer::recall`].
    pub fn recall(&self, peer: u32, seq: u32, into: &mut [u8]) {
        if let State::Ring(ring) = &self.peers[peer as usize].state {
            let position = u64::from(seq.wrapping_sub(ring.base));
            ring.producer.recall(position, into);
        }
    }

    /// The peer is gone, or given up.
    pub fn lose(&mut self, peer: u32, why: &str) {
        self.drop_ring(peer);
        self.settle(peer, State::Lost);
        let at = &mut self.peers[peer as usize];
        at.reason = why.to_owned();
        at.partial = None;
        at.controls.clear();
    }

    /// Queues a control message.
    fn say(&mut self, peer: u32, control: &Control) {
        let at = &mut self.peers[peer as usize];
        at.controls.push_back(control.encode(at.expected));
        if !self.dirty.contains(&peer) {
            self.dirty.push(peer);
        }
    }

    /// Sends what control messages there are and the sockets take.
    pub fn flush(&mut self, net: &mut Net) {
        for at in (0..self.dirty.len()).rev() {
            let peer = self.dirty[at];
            if self.flush_peer(peer, net) {
                self.dirty.swap_remove(at);
            }
        }
    }

    /// True when nothing is left to send. A frame sent in part goes first.
    fn flush_peer(&mut self, peer: u32, net: &mut Net) -> bool {
        let at = &mut self.peers[peer as usize];
        if at.frame_under_way() {
            return false;
        }
        while let Some((wire, payload)) = at.controls.front_mut() {
            if at.partial.is_none() {
                // Sending it settles what is owed, so it must say all that is.
                set_ack(wire, at.expected);
            }
            let mut progress = at.partial.as_ref().map_or(0, |partial| partial.progress);
            match net.send(peer, wire, payload, &mut progress) {
                Ok(SendState::Done) => {
                    if at.partial.take().is_none() {
                        at.owed = (0, 0);
                    }
                    at.controls.pop_front();
                }
                Ok(SendState::Blocked) => {
                    at.partial = (progress > 0).then_some(Partial { wire: *wire, progress });
                    return false;
                }
                // The next poll reports the connection down.
                Err(_) => {
                    at.controls.clear();
                    at.partial = None;
                }
            }
        }
        true
    }

    /// Whether control messages wait.
    #[inline]
    #[must_use]
    pub fn wants_flush(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// Sends one frame.
    #[inline]
    pub fn send(&mut self, peer: u32, header: &Header, payload: &[u8], net: &mut Net) -> Sent {
        match &mut self.peers[peer as usize].state {
            State::Ring(ring) => match ring.producer.push(header, payload) {
                Ok(Pushed::Done) => {
                    let keeps = ring.keeps;
                    match ring.ringer.ring_if_armed() {
                        Ring::Awake | Ring::AlreadyRung => {}
                        Ring::Rung => self.tally.doorbells.add(1),
                        Ring::SendByte => self.ring_by_byte(peer, net),
                    }
                    if keeps { Sent::Kept } else { Sent::Done }
                }
                Ok(Pushed::Full) => Sent::Later,
                Err(_) => Sent::Fault,
            },
            State::Tcp => self.send_tcp(peer, header, payload, net),
            _ => Sent::Later,
        }
    }

    /// At once: the caller may not come back soon.
    #[cold]
    fn ring_by_byte(&mut self, peer: u32, net: &mut Net) {
        self.tally.doorbells.add(1);
        self.say(peer, &Control::Doorbell);
        self.flush_peer(peer, net);
    }

    fn send_tcp(&mut self, peer: u32, header: &Header, payload: &[u8], net: &mut Net) -> Sent {
        if net.wants_write(peer) {
            return Sent::Later;
        }
        let at = &self.peers[peer as usize];
        // A frame sent in part goes on first: what waits behind it must not hold it up.
        if !at.frame_under_way() && !at.controls.is_empty() && !self.flush_peer(peer, net) {
            return Sent::Later;
        }
        let at = &mut self.peers[peer as usize];
        let fresh = at.partial.is_none();
        let Partial { wire, mut progress } = at
            .partial
            .take()
            .unwrap_or_else(|| Partial { wire: header.to_wire(at.expected), progress: 0 });
        match net.send(peer, &wire, payload, &mut progress) {
            Ok(SendState::Done) => {
                if fresh {
                    at.owed = (0, 0);
                }
                Sent::Done
            }
            Ok(SendState::Blocked) => {
                at.partial = (progress > 0).then_some(Partial { wire, progress });
                Sent::Later
            }
            Err(_) => Sent::Later,
        }
    }

    /// Header of the frame from this peer whose payload is on its way to its place.
    #[must_use]
    pub fn arriving(&self, peer: u32) -> Option<Header> {
        self.peers[peer as usize].arriving
    }

    /// Notes such a header, or that its place is gone.
    pub fn set_arriving(&mut self, peer: u32, header: Option<Header>) {
        self.peers[peer as usize].arriving = header;
    }

    /// Room for bytes that nobody wants any more. Never empty.
    pub fn discard(&mut self) -> &mut [u8] {
        self.discard.resize(64 << 10, 0);
        &mut self.discard
    }

    /// Wakes a peer that may wait for room in its ring, after we read some.
    #[inline]
    pub fn ring(&mut self, peer: u32) {
        let State::Ring(ring) = &mut self.peers[peer as usize].state else { return };
        let rung = ring.ringer.ring_if_armed();
        if matches!(rung, Ring::Rung | Ring::SendByte) {
            self.tally.doorbells.add(1);
        }
        if rung == Ring::SendByte {
            self.say(peer, &Control::Doorbell);
        }
    }

    /// Number of the frame up to which the peer has read our ring; `None` without a ring.
    ///
    /// # Errors
    /// When the peer's position is impossible.
    pub fn taken(&mut self, peer: u32) -> Result<Option<u32>, crate::ring::RingFault> {
        let State::Ring(ring) = &mut self.peers[peer as usize].state else {
            return Ok(None);
        };
        ring.producer.refresh()?;
        Ok(Some(ring.base.wrapping_add(ring.producer.taken() as u32)))
    }

    /// Notes what was received, so that it is acknowledged. `tcp_bytes` for frames that came over
    /// TCP, which owe an answer.
    #[inline]
    pub fn received(&mut self, peer: u32, expected: u32, tcp_bytes: Option<usize>) {
        let at = &mut self.peers[peer as usize];
        at.expected = expected;
        let Some(bytes) = tcp_bytes else { return };
        at.owed = (at.owed.0 + 1, at.owed.1 + bytes);
        if at.owed.0 >= OWED_FRAMES || at.owed.1 >= OWED_BYTES {
            at.owed = (0, 0);
            self.say(peer, &Control::Acknowledge);
        }
    }

    /// Acknowledges everything now: before sleeping, and before leaving.
    pub fn acknowledge_all(&mut self) {
        for peer in 0..self.peers.len() as u32 {
            if self.peers[peer as usize].owed.0 > 0 {
                self.peers[peer as usize].owed = (0, 0);
                self.say(peer, &Control::Acknowledge);
            }
        }
        for input in &mut self.inputs {
            input.consumer.publish();
        }
    }
}

impl Peer {
    /// Whether part of a frame, not of a control message, is sent.
    fn frame_under_way(&self) -> bool {
        self.partial.as_ref().is_some_and(|partial| partial.wire[0] < control::FIRST)
    }
}
