//! Single-producer single-consumer rings in shared memory.
//!
//! One ring carries the frames of one rank to one peer. It has two parts, both in the producer's
//! section: *cells* of one cache line, each holding a flag, a header and up to 48 payload bytes;
//! and a *bulk* buffer for payloads that do not fit a cell. The order of frames is the order of
//! cells. The consumer's positions live in the consumer's own section, so that each side can map
//! the other's memory read-only.
//!
//! A cell's first word is written only by the producer and only ever holds a flag, so a stale one
//! is recognised by its lap number alone. Where bulk payloads lie follows from their lengths by a
//! rule both sides compute ([`cursor`]); no offset of a peer's is ever adopted.
//!
//! Safe code only: shared bytes are reached through [`crate::region::access`]. This module must
//! not know of matching, sockets, or how memory came to be shared.

#![forbid(unsafe_code)]

mod cell;
mod consumer;
pub mod cursor;
mod producer;
#[cfg(test)]
mod tests;

pub use cell::INLINE_MAX;
pub use consumer::{Consumer, Incoming, RingPayload};
pub use producer::{Producer, Pushed};

use crate::region::access::LINE;

/// Bytes of one cell.
pub const CELL_LEN: usize = LINE;

/// Bytes of the block in which a consumer publishes its positions.
pub const CONTROL_LEN: usize = LINE;

/// Offset in the control block of the number of cells consumed (u64).
const CONTROL_CELLS: usize = 0;
/// Offset in the control block of the number of bulk bytes consumed (u64).
const CONTROL_BULK: usize = 8;

/// Size of a ring. Both sides take it from their own configuration and compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Number of cells, a power of two.
    pub cells: u32,
    /// Bytes of the bulk buffer, a power of two of at least 4 KiB.
    pub bulk: u32,
}

impl Size {
    /// The longest payload that one frame can carry: a quarter of the bulk buffer, so that a
    /// producer and a consumer can always be busy at once.
    #[must_use]
    pub fn payload_max(self) -> usize {
        self.bulk as usize / 4
    }

    /// Bytes of the cells.
    #[must_use]
    pub fn cell_bytes(self) -> usize {
        self.cells as usize * CELL_LEN
    }
}

/// A peer broke the rules of the ring. Sticky: the ring is not used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RingFault {
    /// The consumer claims to have read what was never written, or to have gone back.
    #[error("the peer's read position {claimed} is outside {low}..={high}")]
    Position {
        /// What the peer wrote.
        claimed: u64,
        /// The lowest value possible.
        low: u64,
        /// The highest value possible.
        high: u64,
    },
    /// The memory is gone, or somebody else's.
    #[error("its memory is gone: the device was unplugged or claimed anew")]
    Vanished,
    /// A cell says something that no producer writes.
    #[error("the peer wrote a cell that means nothing (kind {kind}, length {len})")]
    Cell {
        /// Kind byte found.
        kind: u8,
        /// Payload length found.
        len: u32,
    },
}
