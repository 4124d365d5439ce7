//! Reaching a peer: its candidate addresses in a staggered race. The first that proves to be the
//! peer wins; only when none can is the peer unreachable.

use super::engine::{Net, Slot};
use super::handshake::{Kind, Mail, Mailbox, Message, Reason, is_proved, post};
use super::listener::is_out_of_room;
use super::slots::Key;
use super::{Down, MAX_CANDIDATES, NetError, PeerCard, Sink};
use mio::net::TcpStream;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// A candidate's head start before the next one is tried as well (RFC 8305 has 250 ms; here the
/// peers are near).
const STAGGER: Duration = Duration::from_millis(50);
/// The first pause before candidates that may yet answer are tried again; doubles.
const RETRY_PAUSE: Duration = Duration::from_millis(10);
const RETRY_PAUSE_MAX: Duration = Duration::from_millis(500);

/// A peer being called.
pub(super) struct Dial {
    card: PeerCard,
    /// The candidate to try next, and not before when.
    next: usize,
    next_at: Instant,
    /// Nothing is tried before this.
    resume_at: Instant,
    running: Vec<Key>,
    failures: Vec<(SocketAddr, String)>,
    /// A candidate failed in a way that may pass.
    passing: bool,
    /// The candidate that proved itself and was told to go.
    chosen: Option<Key>,
    pause: Duration,
    /// Until when passing failures are tried again.
    retry_until: Instant,
    give_up: Instant,
}

/// One candidate being tried.
pub(super) struct Attempt {
    pub(super) stream: TcpStream,
    peer: u32,
    address: SocketAddr,
    stage: Stage,
    mailbox: Mailbox,
    hello: Message,
    /// When it has failed; none once it has proved itself, since the peer may be computing.
    deadline: Option<Instant>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Connecting,
    Asked,
    Chosen,
}

/// Why a candidate is out.
struct Failure {
    why: String,
    /// It may answer another time.
    passing: bool,
}

impl Net {
    /// Starts to connect to a peer; [`Sink::up`] or [`Sink::down`] tells the outcome. Does nothing
    /// when it is connected or being connected already.
    ///
    /// # Errors
    /// [`NetError::NoSuchPeer`], [`NetError::NoAddress`], [`NetError::Random`].
    pub fn connect(&mut self, card: PeerCard, now: Instant) -> Result<(), NetError> {
        let (own, size) = (self.identity.rank, self.size);
        if card.rank >= size || card.rank == own {
            return Err(NetError::NoSuchPeer { rank: card.rank, own, size });
        }
        self.accept_from(&card);
        let stale = |dial: &Dial| dial.card.epoch != card.epoch;
        if self.dials.get(&card.rank).is_some_and(stale) {
            // The one being called is an earlier life of this peer.
            self.cancel_dial(card.rank);
        }
        if self.is_up(card.rank) || self.dials.contains_key(&card.rank) {
            return Ok(());
        }
        if card.addresses.is_empty() {
            return Err(NetError::NoAddress { rank: card.rank });
        }
        let mut card = card;
        card.addresses.truncate(MAX_CANDIDATES);
        let peer = card.rank;
        let dial = Dial {
            card,
            next: 0,
            next_at: now,
            resume_at: now,
            running: Vec::new(),
            failures: Vec::new(),
            passing: false,
            chosen: None,
            pause: RETRY_PAUSE,
            retry_until: now + self.config.connect_timeout,
            give_up: now + self.config.answer_timeout.max(self.config.connect_timeout),
        };
        self.dials.insert(peer, dial);
        // The first call goes out at once; the sink hears of it at the next poll.
        self.start_due(peer, now)
    }

    /// Stops calling `peer`.
    pub(super) fn cancel_dial(&mut self, peer: u32) {
        let Some(dial) = self.dials.remove(&peer) else {
            return;
        };
        for key in dial.running {
            // The one that became the connection keeps its place.
            if matches!(self.slots.get(key), Some(Slot::Attempt(_))) {
                self.discard(key);
            }
        }
    }

    pub(super) fn has_said_go(&self, peer: u32) -> bool {
        self.dials.get(&peer).is_some_and(|dial| dial.chosen.is_some())
    }

    pub(super) fn next_dial_time(&self) -> Option<Instant> {
        let times = self.dials.values().flat_map(|dial| {
            let more = dial.chosen.is_none() && dial.next < dial.card.addresses.len();
            let idle = dial.running.is_empty();
            let next = (more || idle)
                .then(|| if idle { dial.resume_at } else { dial.next_at.max(dial.resume_at) });
            let deadlines = dial.running.iter().filter_map(|&key| self.attempt(key)?.deadline);
            deadlines.chain(next).collect::<Vec<_>>()
        });
        times.min()
    }

    fn attempt(&self, key: Key) -> Option<&Attempt> {
        match self.slots.get(key) {
            Some(Slot::Attempt(attempt)) => Some(attempt),
            _ => None,
        }
    }

    /// Deadlines, candidates whose turn it is, and verdicts.
    pub(super) fn step_dials<S: Sink>(&mut self, now: Instant, sink: &mut S) -> bool {
        let mut moved = false;
        let peers: Vec<u32> = self.dials.keys().copied().collect();
        for peer in peers {
            let running = self.dials.get(&peer).map(|dial| dial.running.clone());
            for key in running.unwrap_or_default() {
                let Some(attempt) = self.attempt(key) else {
                    continue;
                };
                if attempt.deadline.is_some_and(|at| at <= now) {
                    let why = match attempt.stage {
                        Stage::Connecting => "no connection within connect_timeout",
                        _ => "connected, but silent for answer_timeout",
                    };
                    self.fail(key, Failure { why: why.to_owned(), passing: false }, now);
                }
            }
            moved |= self.step_dial(peer, now, sink);
        }
        moved
    }

    fn step_dial<S: Sink>(&mut self, peer: u32, now: Instant, sink: &mut S) -> bool {
        if let Err(error) = self.start_due(peer, now) {
            self.cancel_dial(peer);
            sink.down(peer, Down::Unreachable(error.to_string()));
            return true;
        }
        let Some(dial) = self.dials.get_mut(&peer) else {
            return false;
        };
        if !dial.running.is_empty() || dial.next < dial.card.addresses.len() {
            return false;
        }
        if dial.passing && now < dial.retry_until && now < dial.give_up {
            dial.next = 0;
            dial.passing = false;
            dial.failures.clear();
            dial.resume_at = now + dial.pause;
            dial.pause = (dial.pause * 2).min(RETRY_PAUSE_MAX);
            return false;
        }
        let why = unreachable(peer, &dial.failures);
        self.cancel_dial(peer);
        sink.down(peer, Down::Unreachable(why));
        true
    }

    /// Starts the candidates whose turn it is. Each turn tries another one, so it ends.
    fn start_due(&mut self, peer: u32, now: Instant) -> Result<(), NetError> {
        for _ in 0..MAX_CANDIDATES {
            let Some(dial) = self.dials.get_mut(&peer) else {
                return Ok(());
            };
            let early = now < dial.next_at && !dial.running.is_empty();
            if dial.chosen.is_some() || now < dial.resume_at || early {
                return Ok(());
            }
            let Some(&address) = dial.card.addresses.get(dial.next) else {
                return Ok(());
            };
            dial.next += 1;
            dial.next_at = now + STAGGER;
            self.call(peer, address, now)?;
        }
        Ok(())
    }

    /// Begins to connect to one candidate.
    fn call(&mut self, peer: u32, address: SocketAddr, now: Instant) -> Result<(), NetError> {
        let Some(dial) = self.dials.get(&peer) else {
            return Ok(());
        };
        let mut nonce = [0; 16];
        getrandom::fill(&mut nonce).map_err(|error| NetError::Random(error.to_string()))?;
        self.counter += 1;
        let hello = Message {
            to: peer,
            to_epoch: dial.card.epoch,
            counter: self.counter,
            nonce,
            ..self.plain(Kind::Hello)
        };
        let deadline = Some(now + self.config.connect_timeout);
        let buffer = self.config.socket_buffer;
        let adopted = open(address, buffer).and_then(|stream| {
            self.adopt(stream, |stream| {
                let (stage, mailbox) = (Stage::Connecting, Mailbox::new());
                Slot::Attempt(Attempt { stream, peer, address, stage, mailbox, hello, deadline })
            })
        });
        let Some(dial) = self.dials.get_mut(&peer) else {
            return Ok(());
        };
        match adopted {
            Ok(key) => dial.running.push(key),
            Err(error) => {
                dial.passing |= is_out_of_room(&error);
                dial.failures.push((address, error.to_string()));
            }
        }
        Ok(())
    }

    /// An event for a candidate.
    pub(super) fn advance_attempt<S: Sink>(
        &mut self,
        key: Key,
        now: Instant,
        sink: &mut S,
    ) -> bool {
        let Some(Slot::Attempt(attempt)) = self.slots.get(key) else {
            return false;
        };
        let peer = attempt.peer;
        // Connected, acknowledged, welcomed: three steps at most.
        for _ in 0..3 {
            match self.step_attempt(key, now, sink) {
                Ok(true) => {}
                Ok(false) => break,
                Err(failure) => {
                    self.fail(key, failure, now);
                    return self.step_dial(peer, now, sink);
                }
            }
        }
        self.is_up(peer)
    }

    /// One step of a candidate; true when there may be another at once.
    fn step_attempt<S: Sink>(
        &mut self,
        key: Key,
        now: Instant,
        sink: &mut S,
    ) -> Result<bool, Failure> {
        let Some(Slot::Attempt(attempt)) = self.slots.get_mut(key) else {
            return Ok(false);
        };
        let Some(dial) = self.dials.get_mut(&attempt.peer) else {
            return Ok(false);
        };
        if attempt.stage == Stage::Connecting {
            if !is_connected(&attempt.stream).map_err(|error| Failure::of(&error))? {
                return Ok(false);
            }
            let hello = attempt.hello.encode(&dial.card.secret);
            post(&attempt.stream, &hello).map_err(|error| Failure::of(&error))?;
            attempt.stage = Stage::Asked;
            attempt.deadline = Some(now + self.config.answer_timeout);
            return Ok(true);
        }
        let bytes = match attempt.mailbox.read(&attempt.stream) {
            Mail::Pending => return Ok(false),
            Mail::Gone(why) => return Err(Failure { why, passing: true }),
            Mail::Bad(garbage) => return Err(Failure::lasting(garbage.to_string())),
            Mail::Message(bytes) => bytes,
        };
        let answer =
            Message::decode(&bytes).map_err(|garbage| Failure::lasting(garbage.to_string()))?;
        let expected = if attempt.stage == Stage::Asked { Kind::Ack } else { Kind::Welcome };
        check_answer(&answer, &attempt.hello, expected)?;
        if !is_proved(&bytes, &dial.card.secret) {
            return Err(Failure::lasting("it cannot prove to be the rank it claims".to_owned()));
        }
        if answer.kind == Kind::Welcome {
            let (peer, epoch) = (attempt.peer, dial.card.epoch);
            self.establish(key, peer, epoch, answer.counter, sink);
            return Ok(false);
        }
        let go = Message { kind: Kind::Go, ..attempt.hello.clone() }.encode(&dial.card.secret);
        post(&attempt.stream, &go).map_err(|error| Failure::of(&error))?;
        attempt.stage = Stage::Chosen;
        attempt.deadline = None;
        dial.chosen = Some(key);
        for other in std::mem::replace(&mut dial.running, vec![key]) {
            if other != key {
                self.discard(other);
            }
        }
        Ok(true)
    }

    /// A candidate is out.
    fn fail(&mut self, key: Key, failure: Failure, now: Instant) {
        let Some(Slot::Attempt(attempt)) = self.slots.remove(key) else {
            return;
        };
        let Some(dial) = self.dials.get_mut(&attempt.peer) else {
            return;
        };
        dial.running.retain(|&other| other != key);
        dial.passing |= failure.passing;
        dial.failures.push((attempt.address, failure.why));
        if dial.chosen == Some(key) {
            // The peer is there for certain: begin again with all candidates.
            dial.chosen = None;
            dial.passing = true;
            dial.next = dial.card.addresses.len();
            dial.retry_until = now + self.config.connect_timeout;
        }
    }
}

impl Failure {
    fn lasting(why: String) -> Self {
        Failure { why, passing: false }
    }

    fn of(error: &io::Error) -> Self {
        // Reset: it was there, and had no room for us. Refused: nobody is.
        let passing = error.kind() == io::ErrorKind::ConnectionReset || is_out_of_room(error);
        Failure { why: error.to_string(), passing }
    }
}

/// Is this the answer to our call, from the one who was called?
fn check_answer(answer: &Message, hello: &Message, expected: Kind) -> Result<(), Failure> {
    if answer.kind == Kind::Refused {
        let reason = answer.refusal();
        let mut why = format!("refused: {}", reason.text());
        if reason == Reason::WrongRank {
            why = format!("{why} (rank {})", answer.from);
        }
        return Err(Failure { why, passing: reason == Reason::Busy });
    }
    let problem = if answer.kind != expected {
        "it answered out of turn".to_owned()
    } else if answer.job != hello.job {
        "it belongs to another job".to_owned()
    } else if answer.from != hello.to {
        format!("rank {} answered there", answer.from)
    } else if answer.from_epoch != hello.to_epoch {
        "an earlier or later life of that rank answered there".to_owned()
    } else if answer.to != hello.from
        || answer.to_epoch != hello.from_epoch
        || answer.nonce != hello.nonce
        || (answer.kind == Kind::Ack && answer.counter != hello.counter)
    {
        "it answered somebody else's call".to_owned()
    } else {
        return Ok(());
    };
    Err(Failure::lasting(problem))
}

fn open(address: SocketAddr, buffer: Option<usize>) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    if let Some(bytes) = buffer {
        socket.set_recv_buffer_size(bytes)?;
        socket.set_send_buffer_size(bytes)?;
    }
    match socket.connect(&address.into()) {
        Ok(()) => {}
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {}
        Err(error) => return Err(error),
    }
    Ok(TcpStream::from_std(socket.into()))
}

/// Connected by now? An error when it has failed.
fn is_connected(stream: &TcpStream) -> io::Result<bool> {
    if let Some(error) = stream.take_error()? {
        return Err(error);
    }
    match stream.peer_addr() {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
        Err(error) => Err(error),
    }
}

fn unreachable(peer: u32, failures: &[(SocketAddr, String)]) -> String {
    let list: Vec<String> = failures.iter().map(|(at, why)| format!("{at}: {why}")).collect();
    format!("rank {peer} answers at none of its addresses: {}", list.join("; "))
}
