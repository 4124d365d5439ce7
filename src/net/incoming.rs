//! Callers: who they are is found out before anything is spent on them.

use super::connection::Connection;
use super::engine::{Net, Slot};
use super::handshake::{Garbage, Kind, Mail, Mailbox, Message, Reason, is_proved, post};
use super::listener::Caller;
use super::slots::Key;
use super::{Down, PeerCard, Sink};
use mio::net::TcpStream;
use std::net::Shutdown;
use std::time::{Duration, Instant};

/// Callers accepted per poll.
const ACCEPTS_PER_POLL: usize = 64;
/// How long to wait for room when there are no file descriptors left.
const NO_ROOM_PAUSE: Duration = Duration::from_millis(20);

/// A caller that no connection was made of yet.
pub(super) struct Incoming {
    pub(super) stream: TcpStream,
    mailbox: Mailbox,
    /// When a stranger is shown out; a caller that has proved itself may take its time, since it
    /// may be computing.
    deadline: Option<Instant>,
    /// The `Hello` that was answered.
    hello: Option<Message>,
}

impl Net {
    /// Takes callers from the kernel, within a budget.
    pub(super) fn accept_callers<S: Sink>(&mut self, now: Instant, sink: &mut S) -> bool {
        if self.accept_at.is_none_or(|at| at > now) {
            return false;
        }
        let mut moved = false;
        for _ in 0..ACCEPTS_PER_POLL {
            match self.listeners.accept() {
                Caller::Here(stream) => moved |= self.take_in(stream, now, sink),
                Caller::Lost => {}
                Caller::Nobody => {
                    self.accept_at = None;
                    return moved;
                }
                Caller::NoRoom => {
                    // The caller stays in the kernel's queue, and no event will come for it again.
                    self.accept_at = Some(now + NO_ROOM_PAUSE);
                    return moved;
                }
            }
        }
        moved
    }

    fn take_in<S: Sink>(&mut self, stream: TcpStream, now: Instant, sink: &mut S) -> bool {
        if self.incoming.len() >= self.incoming_max() {
            self.show_out_oldest();
        }
        let _ = stream.set_nodelay(true);
        let deadline = Some(now + self.config.handshake_timeout);
        let adopted = self.adopt(stream, |stream| {
            Slot::Incoming(Incoming { stream, mailbox: Mailbox::new(), deadline, hello: None })
        });
        let Ok(key) = adopted else { return false };
        self.incoming.push_back(key);
        self.advance_incoming(key, sink)
    }

    /// Callers kept at most: each peer may try several of our addresses at once.
    fn incoming_max(&self) -> usize {
        (64 + 4 * self.size as usize).min(1024)
    }

    /// Room for a new caller: the oldest stranger goes, or when all have proved themselves the
    /// oldest of those, which will call again.
    fn show_out_oldest(&mut self) {
        let slots = &self.slots;
        let stranger = self.incoming.iter().position(
            |&key| matches!(slots.get(key), Some(Slot::Incoming(caller)) if caller.hello.is_none()),
        );
        if let Some(key) = self.incoming.remove(stranger.unwrap_or(0)) {
            self.discard(key);
        }
    }

    fn drop_incoming(&mut self, key: Key) {
        self.incoming.retain(|&other| other != key);
        self.discard(key);
    }

    pub(super) fn drop_silent_callers(&mut self, now: Instant) {
        for index in (0..self.incoming.len()).rev() {
            let key = self.incoming[index];
            let late = match self.slots.get(key) {
                Some(Slot::Incoming(caller)) => caller.deadline.is_some_and(|at| at <= now),
                _ => true,
            };
            if late {
                self.drop_incoming(key);
            }
        }
    }

    pub(super) fn next_caller_deadline(&self) -> Option<Instant> {
        let deadlines = self.incoming.iter().filter_map(|&key| match self.slots.get(key) {
            Some(Slot::Incoming(caller)) => caller.deadline,
            _ => None,
        });
        deadlines.min()
    }

    /// Reads what the caller says: a `Hello`, then a `Go`.
    pub(super) fn advance_incoming<S: Sink>(&mut self, key: Key, sink: &mut S) -> bool {
        for _ in 0..2 {
            let Some(Slot::Incoming(caller)) = self.slots.get_mut(key) else {
                return false;
            };
            let bytes = match caller.mailbox.read(&caller.stream) {
                Mail::Pending => return false,
                Mail::Message(bytes) => bytes,
                Mail::Gone(_) | Mail::Bad(_) => {
                    self.drop_incoming(key);
                    return false;
                }
            };
            let (message, proved) = match Message::decode(&bytes) {
                Ok(message) => (message, is_proved(&bytes, &self.identity.secret)),
                Err(Garbage::Version(_)) => {
                    self.refuse(key, &self.plain(Kind::Refused), Reason::Version);
                    return false;
                }
                Err(Garbage::Foreign) => {
                    self.drop_incoming(key);
                    return false;
                }
            };
            match (caller_stage(self.slots.get(key)), message.kind) {
                (Stage::Expecting, Kind::Hello) => self.hear_hello(key, message, proved, sink),
                (Stage::Answered(hello), Kind::Go)
                    if proved && message == (Message { kind: Kind::Go, ..hello }) =>
                {
                    return self.hear_go(key, &message, sink);
                }
                _ => {
                    self.drop_incoming(key);
                    return false;
                }
            }
        }
        false
    }

    fn hear_hello<S: Sink>(&mut self, key: Key, hello: Message, proved: bool, sink: &mut S) {
        if let Err(reason) = self.judge(&hello, proved, sink) {
            self.refuse(key, &hello, reason);
            return;
        }
        let ack = self.answer(&hello, Kind::Ack).encode(&self.identity.secret);
        let Some(Slot::Incoming(caller)) = self.slots.get_mut(key) else {
            return;
        };
        if post(&caller.stream, &ack).is_err() {
            self.drop_incoming(key);
            return;
        }
        caller.hello = Some(hello);
        caller.deadline = None;
    }

    /// Does this caller mean us, and is it who it says it is?
    fn judge<S: Sink>(
        &mut self,
        hello: &Message,
        proved: bool,
        sink: &mut S,
    ) -> Result<(), Reason> {
        let me = &self.identity;
        if hello.job != me.job {
            return Err(Reason::WrongJob);
        }
        if hello.to != me.rank || hello.from == me.rank || hello.from >= self.size {
            return Err(Reason::WrongRank);
        }
        if hello.to_epoch != me.epoch {
            return Err(Reason::WrongEpoch);
        }
        if !proved {
            return Err(Reason::BadProof);
        }
        let peer = hello.from;
        if self.epochs.get(&peer) == Some(&hello.from_epoch) {
            return Ok(());
        }
        // Unknown, or known from an earlier life: the sink may know better by now.
        if let Some(PeerCard { epoch, .. }) = sink.card_of(peer) {
            self.epochs.insert(peer, epoch);
        }
        match self.epochs.get(&peer) {
            Some(epoch) if *epoch != hello.from_epoch => Err(Reason::StaleCaller),
            _ => Ok(()),
        }
    }

    /// The caller wants this connection to be the one. Commit, or say why not.
    fn hear_go<S: Sink>(&mut self, key: Key, go: &Message, sink: &mut S) -> bool {
        let peer = go.from;
        if let Some(standing) = self.connection_to(peer) {
            if go.from_epoch == standing.epoch && go.counter <= standing.peer_counter {
                // Said before the connection stood, overtaken by it.
                self.refuse(key, go, Reason::Busy);
                return false;
            }
        } else if self.identity.rank < peer && self.has_said_go(peer) {
            // Both called: the connection begun by the lower rank stays, and that is ours.
            self.refuse(key, go, Reason::Busy);
            return false;
        }
        let mut welcome = self.answer(go, Kind::Welcome);
        welcome.counter = self.counter;
        let welcome = welcome.encode(&self.identity.secret);
        let Some(Slot::Incoming(caller)) = self.slots.get_mut(key) else {
            return false;
        };
        if post(&caller.stream, &welcome).is_err() {
            self.drop_incoming(key);
            return false;
        }
        self.incoming.retain(|&other| other != key);
        if let Some(old) = self.peers[peer as usize] {
            // It would not call again unless it had lost the old one.
            self.end(old, Down::Reset, sink);
        }
        self.establish(key, peer, go.from_epoch, go.counter, sink);
        true
    }

    fn connection_to(&self, peer: u32) -> Option<&Connection> {
        let key = self.peers.get(peer as usize).copied().flatten()?;
        match self.slots.get(key) {
            Some(Slot::Up(connection)) => Some(connection),
            _ => None,
        }
    }

    fn refuse(&mut self, key: Key, asked: &Message, reason: Reason) {
        let refusal = self.answer(asked, Kind::Refused).refuse(reason);
        let bytes = refusal.encode(&self.identity.secret);
        if let Some(Slot::Incoming(caller)) = self.slots.get(key) {
            // Whether it hears the reason is its own concern.
            let _ = post(&caller.stream, &bytes);
            let _ = caller.stream.shutdown(Shutdown::Write);
        }
        self.drop_incoming(key);
    }

    /// An answer to `asked` from who we are.
    fn answer(&self, asked: &Message, kind: Kind) -> Message {
        Message {
            to: asked.from,
            to_epoch: asked.from_epoch,
            counter: asked.counter,
            nonce: asked.nonce,
            ..self.plain(kind)
        }
    }

    /// A message from us to nobody yet.
    pub(super) fn plain(&self, kind: Kind) -> Message {
        Message {
            kind,
            reason: 0,
            job: self.identity.job,
            from: self.identity.rank,
            to: 0,
            from_epoch: self.identity.epoch,
            to_epoch: 0,
            counter: 0,
            nonce: [0; 16],
        }
    }
}

enum Stage {
    Expecting,
    Answered(Message),
    Other,
}

fn caller_stage(slot: Option<&Slot>) -> Stage {
    match slot {
        Some(Slot::Incoming(Incoming { hello: None, .. })) => Stage::Expecting,
        Some(Slot::Incoming(Incoming { hello: Some(hello), .. })) => Stage::Answered(hello.clone()),
        _ => Stage::Other,
    }
}
