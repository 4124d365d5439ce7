//! The protocol between endpoints, as a state machine without I/O and without a clock.
//!
//! An [`Endpoint`] is given sends, receives and the frames that arrive, and offers frames to its
//! [`Paths`]. It matches messages, chooses eager or rendezvous, numbers frames, keeps what is not
//! acknowledged, and limits what waits unexpected. It may use [`crate::frame`] and counters, and nothing else;
//! sockets, shared memory and time must never reach it, so that two or many endpoints run in
//! simulated time in a test, and every run of it is a seed.
//!
//! A message travels in one of two ways:
//!
//! * *Eager*: the sender copies it and is done. One frame, or a few so that both sides copy at
//!   once.
//! * *Rendezvous*: an `Rts` with the first bytes (the *head*); the receiver asks for the rest with
//!   `Cts` once a receive matches, the rest comes as `Data` straight into the user's buffer, and
//!   `Fin` tells the sender that its buffer is free. When the head is the whole message there is
//!   nothing to ask for. Synchronous sends always go this way, since `Fin` proves the match.
//!
//! A long message out of memory that the peer can read may be lent instead ([`Loan`]): `Lend` says
//! where it is, the receiver copies it by itself and says `Fin`; or it asks with `Cts`, and the
//! message goes as any other. A loan is numbers here; whoever drives the endpoint reads the memory.

#![forbid(unsafe_code)]

mod endpoint;
mod loan;
pub mod matching;
mod receiving;
mod sending;
mod slots;
mod stream;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use endpoint::{Endpoint, Paths};
pub use loan::{Due, Loan};
pub use matching::{Envelope, Pattern};
pub use slots::{Key, Slots};

use crate::frame::{Header, Payload};

/// Bounds on what an endpoint keeps for others.
#[derive(Clone, Debug)]
pub struct Config {
    /// Unexpected bytes of one peer beyond which it is asked to send headers only.
    pub unexpected_soft: usize,
    /// Unexpected bytes of one peer beyond which nothing more is taken from it.
    pub unexpected_hard: usize,
    /// Unexpected messages of one peer beyond which nothing more is taken from it.
    pub unexpected_count_max: usize,
    /// Unacknowledged frames to one peer.
    pub kept_frames_max: usize,
    /// Unacknowledged bytes to one peer that had to be copied.
    pub kept_bytes_max: usize,
    /// Early frames of one peer put aside.
    pub held_frames_max: usize,
    /// Bytes of early frames of one peer put aside.
    pub held_bytes_max: usize,
    /// Longest message that a peer may send without asking, in bytes.
    pub unasked_max: usize,
    /// Longest message to oneself that is copied at once, in bytes.
    pub own_copy_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            unexpected_soft: 4 << 20,
            unexpected_hard: 16 << 20,
            unexpected_count_max: 1 << 20,
            kept_frames_max: 4096,
            kept_bytes_max: 1 << 20,
            held_frames_max: 4096,
            held_bytes_max: 8 << 20,
            unasked_max: 1 << 20,
            own_copy_max: 64 << 10,
        }
    }
}

/// How a path wants messages cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest eager message, in bytes.
    pub eager_max: usize,
    /// Bytes of a longer message that are sent without being asked for.
    pub head_max: usize,
    /// Least and greatest payload of one frame, where the message has as much. In between it is
    /// a quarter of the message, so that both sides copy at once.
    pub piece: (usize, usize),
    /// Shortest message that is lent, in bytes, if its bytes can be.
    pub loan_min: usize,
}

impl Limits {
    /// The same for a path whose frames carry at most this many bytes.
    #[must_use]
    pub fn within(self, payload_max: usize) -> Self {
        let (least, greatest) = self.piece;
        Self { piece: (least.min(payload_max), greatest.min(payload_max)), ..self }
    }

    #[inline]
    fn piece(&self, total: usize) -> usize {
        (total / 4).next_multiple_of(64).clamp(self.piece.0, self.piece.1)
    }
}

/// What a path did with a frame that was offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    /// It is on its way. The path may forget its payload.
    Taken,
    /// It is on its way, and the path can give its payload back until it is acknowledged.
    Kept,
    /// Not now, or not all of it. The same frame must be offered again before any other.
    Later,
}

/// Bytes that a send was given.
pub trait SendBuffer {
    /// Length in bytes.
    fn len(&self) -> usize;
    /// Whether there are no bytes.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Longest slice that should be asked for where there is a choice.
    fn slice_max(&self) -> usize {
        usize::MAX
    }
    /// Where the peer of this send can read all of it, if it can.
    fn loan(&self) -> Option<Loan> {
        None
    }
    /// `len` bytes from `offset` on; the range lies within the buffer. Exclusive, since the bytes
    /// may have to be gathered first.
    fn slice(&mut self, offset: usize, len: usize) -> &[u8];
}

/// Room that a receive was given.
pub trait ReceiveBuffer {
    /// Length in bytes.
    fn len(&self) -> usize;
    /// Whether there is no room.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Copies `len` bytes of a payload, from its byte `from` on, to `at`; the range lies within
    /// the buffer.
    fn fill<P: Payload>(&mut self, at: usize, payload: &P, from: usize, len: usize);
}

/// How a send wants to be completed (MPI 5.0, 3.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Mode {
    /// When the buffer can be used again.
    #[default]
    Standard,
    /// When, besides, a receive has matched.
    Synchronous,
}

/// What a receive got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// The message's envelope.
    pub envelope: Envelope,
    /// Its length in bytes.
    pub len: usize,
}

/// A message that was taken out of matching and waits to be received.
#[derive(Debug)]
#[must_use = "nobody else can receive it"]
pub struct Taken {
    envelope: Envelope,
    waiting: Key,
}

/// Why a send or receive did not succeed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The message is longer than the receive (MPI 5.0, 3.2.4: `MPI_ERR_TRUNCATE`). The buffer
    /// holds its beginning.
    #[error("message truncated: {} bytes from rank {} with tag {} do not fit the receive's {room}", .received.len, .received.envelope.source, .received.envelope.tag)]
    Truncated {
        /// What arrived.
        received: Received,
        /// Bytes the receive had room for.
        room: usize,
    },
    /// It was cancelled (MPI 5.0, 3.8.4).
    #[error("the operation was cancelled")]
    Cancelled,
    /// The peer is gone.
    #[error("rank {peer} cannot be reached any more: {why}")]
    PeerLost {
        /// Its rank in the world.
        peer: u32,
        /// What happened.
        why: Arc<str>,
    },
    /// There is no such rank.
    #[error("rank {peer} does not exist: ranks are 0 to {}", size - 1)]
    NoSuchRank {
        /// The rank asked for.
        peer: u32,
        /// Number of ranks.
        size: u32,
    },
}

/// A peer broke the protocol. Sticky: nothing more is taken from that path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It acknowledged frames that were never sent.
    #[error("it acknowledged frames that were never sent")]
    Acknowledged,
    /// Too much arrived out of order.
    #[error("a frame came {0} too early, and too many are waiting already")]
    TooEarly(u32),
    /// A message is longer than may be sent without asking, or than it said.
    #[error("it sent {0} bytes unasked")]
    TooLong(u64),
    /// A message was continued that was never begun, or begun inside another.
    #[error("a {0:?} frame came out of turn")]
    OutOfTurn(crate::frame::Kind),
    /// It named a send or receive that does not exist or is not its own.
    #[error("a {kind:?} frame names operation {id:#x}, which is not one of this peer's")]
    Unknown {
        /// Kind of the frame.
        kind: crate::frame::Kind,
        /// The id in it.
        id: u64,
    },
    /// What it says of a loan means nothing.
    #[error("it lent a message and did not say where that is")]
    Loan,
    /// A piece does not go on where the last one ended.
    #[error("a piece for offset {offset} came where {expected} was expected")]
    Offset {
        /// Offset in the frame.
        offset: u64,
        /// Offset that was due.
        expected: u64,
    },
}

/// A frame without payload.
fn control(kind: crate::frame::Kind, id: u64, total: u64, head: u32) -> Header {
    Header { kind, id, total, head, ..Header::default() }
}
