//! The one engine: it polls the paths within a budget, drives the endpoint, and waits.
//!
//! Everything meets here and nowhere else: [`crate::proto`] decides, [`crate::link`] moves, this
//! module carries between them. It knows no communicators and no datatypes.

mod buffers;
mod inbox;
mod loans;
mod operations;
mod pace;
mod sleep;
mod vanishing;
pub mod wait;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use buffers::{Incoming, Layout, Outgoing};
use inbox::Inbox;
use pace::Looks;
use wait::{Idle, NAP, Step, Waiter};

use crate::doorbell::Kick;
use crate::frame::Header;
use crate::link::{Links, Sent, Then, Way};
use crate::net::Net;
use crate::proto::{self, Endpoint, Limits, Offer, Paths};
use crate::tally::Tally;

/// Frames taken from one ring before others get their turn.
const RING_BUDGET: u32 = 64;
/// Looks at all rings in one pass while there is nothing else to do.
const RING_LOOKS: u32 = 8;
/// Frames kept between two looks at how far a peer has read our ring.
const COLLECT_EVERY: usize = 64;
/// Passes that one yield counts for.
const YIELD_PASSES: u32 = 64;
/// Looks at busy sockets without asking the kernel which are ready, before it is asked.
const NET_HOT_PASSES: u32 = 16;
/// Looks at the sockets without anything there, after which they count as quiet.
const NET_COOL: u32 = 4096;

/// Shortest message that is lent, in bytes: an eager one is done before its receiver comes.
const LOAN_MIN: usize = (64 << 10) + 1;

/// How messages are cut for rings: eager as long as asking first would cost more than it saves;
/// pieces so long that their flags, each a cache line that crosses between cores, do not count.
const RING_LIMITS: Limits = Limits {
    eager_max: 64 << 10,
    head_max: 32 << 10,
    piece: (8 << 10, 32 << 10),
    loan_min: LOAN_MIN,
};

/// The same for rings in memory that may vanish, where what was sent eagerly is copied once more, to be
/// kept: a longer message waits for its receiver instead, and stays in the sender's buffer.
const FAR_LIMITS: Limits = Limits { eager_max: 16 << 10, ..RING_LIMITS };

/// How messages are cut for TCP: a longer head, since asking takes a round trip of the network.
const TCP_LIMITS: Limits = Limits {
    eager_max: 128 << 10,
    head_max: 256 << 10,
    piece: (64 << 10, 256 << 10),
    loan_min: usize::MAX,
};

/// Longest messages that are sent without asking, through rings and over TCP, in bytes.
#[must_use]
pub const fn eager_max() -> (usize, usize) {
    (RING_LIMITS.eager_max, TCP_LIMITS.eager_max)
}

/// The engine of one rank.
pub struct Engine {
    me: u32,
    endpoint: Endpoint<Outgoing, Incoming>,
    links: Links,
    net: Net,
    waiter: Waiter,
    /// What ends a sleep on a futex, when other threads may want the engine.
    kick: Option<Arc<Kick>>,
    /// Peers for whom there is something to offer.
    pending: Vec<u32>,
    /// What the paths reported and is not handled yet.
    then: VecDeque<(u32, Then)>,
    /// Peers that a receive waits for and that we never spoke to.
    strangers: Vec<u32>,
    /// When the sockets are looked at while they are quiet.
    net_due: Looks,
    /// Looks at the sockets in a row that found nothing.
    net_cool: u32,
}

/// How a rest went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rested {
    /// It took no time.
    Spun,
    /// The processor is to be given away.
    Yield,
    /// It slept.
    Slept,
}

/// What happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Times this rank went to sleep.
    pub sleeps: u64,
    /// Times it gave the processor away.
    pub yields: u64,
}

/// The paths, as the endpoint sees them.
struct Ways<'a> {
    links: &'a mut Links,
    net: &'a mut Net,
    then: &'a mut VecDeque<(u32, Then)>,
}

impl Paths for Ways<'_> {
    #[inline]
    fn limits(&self, peer: u32) -> Limits {
        // An undecided path may become a ring, which takes only short pieces.
        match self.links.way(peer).0 {
            Way::Tcp => TCP_LIMITS,
            _ if self.links.keeps(peer) => RING_LIMITS.within(self.links.ring_payload_max(peer)),
            _ => FAR_LIMITS.within(self.links.ring_payload_max(peer)),
        }
    }

    #[inline]
    fn offer(&mut self, peer: u32, header: &Header, payload: &[u8]) -> Offer {
        match self.links.send(peer, header, payload, self.net) {
            Sent::Done => {
                self.count(peer, header);
                Offer::Taken
            }
            Sent::Kept => {
                self.count(peer, header);
                Offer::Kept
            }
            Sent::Later => Offer::Later,
            Sent::Fault => {
                let why = "the peer's read position in our ring is impossible".to_owned();
                self.then.push_back((peer, Then::FallBack(why)));
                Offer::Later
            }
        }
    }
}

impl Ways<'_> {
    #[inline]
    fn count(&self, peer: u32, header: &Header) {
        let tally = &self.links.tally;
        let path = if self.links.is_ring(peer) { &tally.ring } else { &tally.tcp };
        path.sent.frame(header.begins(), header.len as usize);
    }
}

macro_rules! ways {
    ($engine:ident) => {
        &mut Ways { links: &mut $engine.links, net: &mut $engine.net, then: &mut $engine.then }
    };
}
use ways;

impl Engine {
    /// The engine of rank `me` with these paths.
    #[must_use]
    pub fn new(
        me: u32,
        size: u32,
        config: proto::Config,
        mut links: Links,
        net: Net,
        waiter: Waiter,
    ) -> Self {
        let endpoint = Endpoint::new(me, size, config);
        links.tally = Arc::clone(endpoint.tally());
        Self {
            me,
            endpoint,
            links,
            net,
            waiter,
            kick: None,
            pending: Vec::new(),
            then: VecDeque::new(),
            strangers: Vec::new(),
            net_due: Looks::default(),
            net_cool: 0,
        }
    }

    /// Number of ranks.
    #[must_use]
    pub fn size(&self) -> u32 {
        self.endpoint.size()
    }

    /// All ranks but this one.
    fn others(&self) -> impl Iterator<Item = u32> + use<> {
        let me = self.me;
        (0..self.size()).filter(move |&peer| peer != me)
    }

    /// The paths.
    #[must_use]
    pub fn links(&self) -> &Links {
        &self.links
    }

    /// How this rank waits.
    #[must_use]
    pub fn waiter(&self) -> &Waiter {
        &self.waiter
    }

    /// What happened so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let tally = self.tally();
        Stats { sleeps: tally.sleeps.get(), yields: tally.yields.get() }
    }

    /// What is counted; readable at any time and from anywhere.
    #[must_use]
    pub fn tally(&self) -> &Arc<Tally> {
        &self.links.tally
    }

    /// Makes progress until `done` has something.
    #[inline]
    pub fn wait_until<T>(&mut self, mut done: impl FnMut(&mut Self) -> Option<T>) -> T {
        let mut idle = Idle::default();
        let guard = AbortOnUnwind;
        loop {
            if let Some(outcome) = done(self) {
                std::mem::forget(guard);
                return outcome;
            }
            if self.progress() {
                idle = Idle::default();
                continue;
            }
            self.rest(&mut idle, NAP);
        }
    }

    /// After a pass without progress: spins, yields or sleeps, as is due in this wait.
    #[inline]
    pub fn rest(&mut self, idle: &mut Idle, longest_nap: Duration) {
        if self.rest_but_yield(idle, longest_nap) == Rested::Yield {
            std::thread::yield_now();
        }
    }

    /// The same for a caller that yields by itself, after it let go of what others need.
    #[inline]
    pub fn rest_but_yield(&mut self, idle: &mut Idle, longest_nap: Duration) -> Rested {
        match self.waiter.next(idle) {
            Step::Spin => {
                std::hint::spin_loop();
                Rested::Spun
            }
            Step::Yield => {
                self.links.tally.yields.add(1);
                self.net_due.sooner(YIELD_PASSES);
                Rested::Yield
            }
            Step::Sleep(longest) => {
                if self.sleep(longest.min(longest_nap)) {
                    *idle = Idle::default();
                    // What came is answered now: it may be what the caller waits for, and that
                    // may not come back soon.
                    if !self.pending.is_empty() {
                        self.push_pending();
                    }
                }
                Rested::Slept
            }
        }
    }

    /// What ends a sleep, at the sockets or on a futex, from another thread; for threads that want
    /// the engine. Without it, such a thread waits for the end of the nap.
    #[must_use]
    pub fn kick(&mut self) -> Option<Box<dyn Fn() + Send + Sync>> {
        let waker = self.net.waker().ok()?;
        let futex = Arc::clone(self.kick.get_or_insert_default());
        Some(Box::new(move || {
            futex.kick();
            // When it fails, the nap ends by itself.
            drop(waker.wake());
        }))
    }

    /// One pass over all paths. True when anything moved.
    #[inline]
    pub fn progress(&mut self) -> bool {
        let mut moved = self.read_rings();
        if self.net_due.pass() {
            moved |= self.look_at_net();
        }
        if self.endpoint.any_due() {
            moved |= self.take_loans();
        }
        if !self.pending.is_empty() {
            moved |= self.push_pending();
        }
        if self.links.wants_flush() {
            self.links.flush(&mut self.net);
        }
        moved
    }

    #[inline]
    fn read_rings(&mut self) -> bool {
        if !self.look_at_rings() {
            for input in &mut self.links.inputs {
                input.consumer.publish();
            }
            return false;
        }
        let mut moved = false;
        let mut at = 0;
        while at < self.links.inputs.len() {
            if self.links.inputs[at].consumer.ready() {
                moved |= self.read_ring(at);
            }
            at += 1;
        }
        moved
    }

    /// Whether any ring has something. While nothing else is to be done the look is repeated: what
    /// arrives in the middle of a pass is found sooner.
    #[inline]
    fn look_at_rings(&self) -> bool {
        let alone = self.pending.is_empty() && !self.net_due.now() && !self.waiter.crowded();
        let looks = if alone { RING_LOOKS } else { 1 };
        let inputs = &self.links.inputs[..];
        (0..looks).any(|_| inputs.iter().any(|input| input.consumer.ready()))
    }

    /// Takes what is in one ring, within a budget.
    #[inline]
    fn read_ring(&mut self, at: usize) -> bool {
        let input = &mut self.links.inputs[at];
        let peer = input.peer;
        let mut taken = 0;
        let mut fault = None;
        let mut published = false;
        while taken < RING_BUDGET && self.endpoint.accepting(peer) {
            let incoming = match input.consumer.peek() {
                Ok(Some(incoming)) => incoming,
                Ok(None) => break,
                Err(why) => {
                    fault = Some(why.to_string());
                    break;
                }
            };
            let outcome = if input.consumer.can_vanish() {
                vanishing::arrive(&mut self.endpoint, &input.consumer, peer, &incoming)
            } else {
                let payload = input.consumer.payload(&incoming);
                let arrived = self.endpoint.arrive(peer, &incoming.header, &payload);
                arrived.map_err(|why| why.to_string())
            };
            if let Err(why) = outcome {
                fault = Some(why);
                break;
            }
            let (begins, len) = (incoming.header.begins(), incoming.header.len as usize);
            self.links.tally.ring.received.frame(begins, len);
            published |= input.consumer.release(incoming);
            taken += 1;
        }
        if taken > 0 {
            self.links.received(peer, self.endpoint.expected(peer), None);
            if published {
                self.links.ring(peer);
            }
            if self.endpoint.has_work(peer) {
                self.push(peer);
            }
        }
        if let Some(why) = fault {
            self.then
                .push_back((peer, Then::FallBack(format!("rank {peer}'s ring is broken: {why}"))));
            self.handle_all();
        }
        taken > 0
    }

    /// Looks at the sockets: often while they are busy, seldom while they are not.
    fn look_at_net(&mut self) -> bool {
        let busy = self.links.tcp_peers() > 0 || self.links.unsettled();
        let hot = self.net_cool < NET_COOL;
        let ask = !busy || !hot || self.net_cool.is_multiple_of(NET_HOT_PASSES);
        let moved = if ask { self.ask_net() } else { self.poll_hot() };
        self.net_cool = if moved { 1 } else { self.net_cool.saturating_add(1) };
        if busy && self.net_cool < NET_COOL {
            self.net_due.soon();
        } else {
            self.net_due.later();
        }
        moved
    }

    /// Asks the kernel what the sockets have, and takes the time of some of the looks that find
    /// nothing.
    fn ask_net(&mut self) -> bool {
        let now = Instant::now();
        self.net_due.looked(now);
        let moved = self.poll_net(Duration::ZERO, now);
        if !moved && self.net_due.wants_cost() {
            self.net_due.cost(now.elapsed());
        }
        moved
    }

    fn poll_hot(&mut self) -> bool {
        let mut inbox = Inbox {
            endpoint: &mut self.endpoint,
            links: &mut self.links,
            then: &mut self.then,
            pending: &mut self.pending,
        };
        let moved = self.net.poll_hot(&mut inbox).unwrap_or(false);
        self.handle_all();
        moved
    }

    fn poll_net(&mut self, timeout: Duration, now: Instant) -> bool {
        let mut inbox = Inbox {
            endpoint: &mut self.endpoint,
            links: &mut self.links,
            then: &mut self.then,
            pending: &mut self.pending,
        };
        let polled = self.net.poll(Some(timeout), now, &mut inbox);
        if self.links.unsettled() {
            self.links.advance(now, &mut self.then);
        }
        if self.net.take_woken() {
            self.links.share().rung();
        }
        self.links.look(now, &mut self.then);
        self.links.say_returned();
        self.handle_all();
        match polled {
            Ok(moved) => moved,
            Err(error) => {
                // Without its event queue this rank hears nobody any more.
                for peer in self.others() {
                    self.lose(peer, &error.to_string(), false);
                }
                true
            }
        }
    }

    /// Carries out what the paths asked for, in the order in which they did.
    #[inline]
    fn handle_all(&mut self) {
        while let Some((peer, then)) = self.then.pop_front() {
            self.handle(peer, then);
        }
    }

    #[cold]
    fn handle(&mut self, peer: u32, then: Then) {
        match then {
            Then::Nothing => {}
            Then::Go { resume } => {
                if let Some(next) = resume
                    && let Err(fault) = self.endpoint.resume(peer, next)
                {
                    return self.lose(peer, &fault.to_string(), false);
                }
                self.links.set_base(peer, self.endpoint.next_unsent(peer));
                self.push(peer);
            }
            Then::FallBack(why) => {
                self.reclaim(peer);
                if let Err(why) = self.links.fall_back(peer, &why) {
                    self.lose(peer, &why, false);
                }
            }
            Then::FollowBack { expected, reason } => {
                self.reclaim(peer);
                match self.links.follow_back(peer, &reason) {
                    Ok(()) => self.handle(peer, Then::Go { resume: Some(expected) }),
                    Err(why) => self.lose(peer, &why, false),
                }
            }
            Then::Fault(why) => {
                self.drain_ring(peer);
                self.lose(peer, &why, false);
            }
            Then::Gone { why, orderly } => {
                self.drain_ring(peer);
                self.lose(peer, &why, orderly);
            }
        }
    }

    /// Takes back what our ring to a peer keeps, before the ring is given up.
    fn reclaim(&mut self, peer: u32) {
        let links = &self.links;
        self.endpoint.reclaim(peer, |seq, into| links.recall(peer, seq, into));
    }

    /// Takes everything a peer had put into its ring before it went.
    fn drain_ring(&mut self, peer: u32) {
        while let Some(at) = self.links.inputs.iter().position(|input| input.peer == peer) {
            if !self.read_ring(at) {
                return;
            }
        }
    }

    /// Gives a peer up.
    fn lose(&mut self, peer: u32, why: &str, orderly: bool) {
        if self.links.way(peer).0 == Way::Lost {
            return;
        }
        self.links.lose(peer, why);
        self.endpoint.lose(peer, why, orderly);
        self.net.close(peer, false);
        self.pending.retain(|&other| other != peer);
    }

    /// Offers a peer what there is for it, making contact first. True when its path took any.
    fn push(&mut self, peer: u32) -> bool {
        if let Err(why) = self.links.contact(peer, &mut self.net) {
            self.lose(peer, &why, false);
            return true;
        }
        let moved = self.endpoint.pump(peer, ways!(self));
        if self.endpoint.has_work(peer) {
            self.push_later(peer);
        }
        moved
    }

    #[cold]
    fn push_later(&mut self, peer: u32) {
        if !self.pending.contains(&peer) {
            self.pending.push(peer);
        }
        // Somebody we never spoke to is reached through the sockets.
        self.net_due.soon();
    }

    fn push_pending(&mut self) -> bool {
        let mut moved = false;
        for at in (0..self.pending.len()).rev() {
            // Losing a peer may shorten the list.
            let Some(&peer) = self.pending.get(at) else {
                continue;
            };
            self.collect(peer);
            moved |= self.push(peer);
            if !self.endpoint.has_work(peer) {
                self.pending.retain(|&other| other != peer);
            }
        }
        self.handle_all();
        moved
    }

    /// After something that may have produced answers to anybody.
    fn push_answers(&mut self) {
        for peer in 0..self.size() {
            if peer != self.me && self.endpoint.has_work(peer) {
                self.push(peer);
            }
        }
    }

    /// Lets go of what a peer has read out of our ring.
    fn collect(&mut self, peer: u32) {
        let outcome = match self.links.taken(peer) {
            Ok(None) => return,
            Ok(Some(next)) => self.endpoint.acknowledged(peer, next).map_err(|f| f.to_string()),
            Err(fault) => Err(fault.to_string()),
        };
        if let Err(why) = outcome {
            self.then.push_back((peer, Then::FallBack(why)));
        }
    }

    /// Waits until all that was sent has arrived.
    pub fn drain(&mut self) {
        self.wait_until(|engine| {
            engine.links.acknowledge_all();
            let mut quiet = true;
            for peer in engine.others() {
                if !engine.endpoint.is_quiet(peer) {
                    engine.collect(peer);
                    quiet &= engine.endpoint.is_quiet(peer);
                }
            }
            quiet.then_some(())
        });
    }

    /// Says goodbye to all peers and waits, within a bound, until they have it.
    pub fn leave(&mut self) {
        self.links.acknowledge_all();
        self.links.flush(&mut self.net);
        for peer in self.others() {
            self.net.close(peer, true);
        }
        let deadline = Instant::now() + LEAVE_MAX;
        while self.net.lingering() > 0 && Instant::now() < deadline {
            self.poll_net(NAP, Instant::now());
        }
    }
}

/// The caller's buffers are in use while it waits. Unwinding would free them under the engine, so
/// a defect that panics here ends the process instead.
struct AbortOnUnwind;

impl Drop for AbortOnUnwind {
    fn drop(&mut self) {
        eprintln!("cohost: a defect in the library while messages were under way; aborting");
        std::process::abort();
    }
}

/// How long goodbyes may take.
const LEAVE_MAX: Duration = Duration::from_secs(5);
