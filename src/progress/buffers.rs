//! The user's buffers, as the engine holds them while an operation is under way.
//!
//! A raw range of memory, because the borrow that proves it valid lives with the caller: every
//! operation that is begun is waited for before that borrow ends ([`crate::mpi`] sees to it).

use std::fmt::Debug;
use std::sync::Arc;

use crate::frame::Payload;
use crate::link::lend::Lent;
use crate::proto::{Loan, ReceiveBuffer, SendBuffer};

/// Where the bytes of a message lie in memory when they are not one run. The message is a packed
/// stream; any part of it can be asked for.
pub trait Layout: Debug + Send + Sync {
    /// Copies bytes `from` and those after it, as many as `out` holds, of the packed stream of
    /// `count` items at `base`.
    ///
    /// # Safety
    /// All bytes that the layout describes in `count` items at `base` are readable, none of them is
    /// in `out`, and the part is within the stream.
    unsafe fn pack(&self, base: *const u8, count: usize, from: usize, out: &mut [u8]);

    /// Copies `bytes` to where the packed stream of `count` items at `base` has them from `at` on.
    ///
    /// # Safety
    /// All bytes that the layout describes in `count` items at `base` are writable and used by
    /// nobody else, none of them is in `bytes`, and the part is within the stream.
    unsafe fn unpack(&self, base: *mut u8, count: usize, at: usize, bytes: &[u8]);
}

/// Bytes to send.
#[derive(Debug)]
pub struct Outgoing {
    base: *const u8,
    len: usize,
    rare: Option<Box<Rare>>,
}

/// What few messages have; one that is gathered lies nowhere whole, and so is never lent.
#[derive(Debug)]
enum Rare {
    Typed(Packing),
    /// Where the peer can read all of it.
    Lent(Lent),
}

/// Room to receive into.
#[derive(Debug)]
pub struct Incoming {
    base: *mut u8,
    len: usize,
    typed: Option<Box<Unpacking>>,
}

/// How the bytes to send are gathered: a piece at a time, as they are asked for.
#[derive(Debug)]
struct Packing {
    layout: Arc<dyn Layout>,
    count: usize,
    /// The piece that was asked for last, and where it begins. A path that cannot take a frame is
    /// offered the same again.
    piece: Vec<u8>,
    at: usize,
}

/// How the bytes that arrive are put to their places.
#[derive(Debug)]
struct Unpacking {
    layout: Arc<dyn Layout>,
    count: usize,
    /// For payloads that can only be copied: some bytes of them.
    stage: Vec<u8>,
}

/// Longest piece that a message to oneself is copied in: it stays in the cache.
const PIECE: usize = 64 << 10;
/// Bytes that are copied out of a payload at a time, to be put to their places.
const STAGE: usize = 16 << 10;

// SAFETY: the ranges are used only by the engine that was given them, whichever thread runs it;
// the contracts of `new` and `typed` hold on every thread, and layouts are `Send`.
unsafe impl Send for Outgoing {}
// SAFETY: as above.
unsafe impl Send for Incoming {}

impl Outgoing {
    /// A range to send from.
    ///
    /// # Safety
    /// `len` bytes from `base` on stay readable and unchanged until the operation is complete.
    #[inline]
    #[must_use]
    pub unsafe fn new(base: *const u8, len: usize) -> Self {
        Self { base, len, rare: None }
    }

    /// The range, if it is one and not lent yet.
    pub(super) fn range(&self) -> Option<(*const u8, usize)> {
        self.rare.is_none().then_some((self.base, self.len))
    }

    /// Notes where the peer can read it.
    #[cold]
    pub(super) fn lend(&mut self, lent: Lent) {
        self.rare = Some(Box::new(Rare::Lent(lent)));
    }

    /// The `len` bytes of the packed stream of `count` items at `base`. Nothing is copied before a
    /// path asks for it.
    ///
    /// # Safety
    /// `len` is the length of that stream; all bytes that the layout describes stay readable and
    /// unchanged until the operation is complete.
    #[must_use]
    pub unsafe fn typed(
        base: *const u8,
        count: usize,
        len: usize,
        layout: Arc<dyn Layout>,
    ) -> Self {
        let packing = Packing { layout, count, piece: Vec::new(), at: 0 };
        Self { base, len, rare: Some(Box::new(Rare::Typed(packing))) }
    }
}

impl Packing {
    /// # Safety
    /// The piece is within the stream, and the contract of [`Outgoing::typed`] holds for `base`.
    unsafe fn piece(&mut self, base: *const u8, at: usize, len: usize) -> &[u8] {
        if (self.at, self.piece.len()) != (at, len) {
            self.at = at;
            self.piece.resize(len, 0);
            // SAFETY: readable and within by contract; the piece is memory of our own.
            unsafe { self.layout.pack(base, self.count, at, &mut self.piece) };
        }
        &self.piece
    }
}

impl Incoming {
    /// A range to receive into.
    ///
    /// # Safety
    /// `len` bytes from `base` on stay writable, and are used by nobody else, until the operation
    /// is complete.
    #[inline]
    #[must_use]
    pub unsafe fn new(base: *mut u8, len: usize) -> Self {
        Self { base, len, typed: None }
    }

    /// Room for the packed stream of `count` items at `base`, `len` bytes in all. What arrives is
    /// put to its place at once.
    ///
    /// # Safety
    /// `len` is the length of that stream; all bytes that the layout describes stay writable, and
    /// are used by nobody else, until the operation is complete.
    #[must_use]
    pub unsafe fn typed(base: *mut u8, count: usize, len: usize, layout: Arc<dyn Layout>) -> Self {
        let unpacking = Unpacking { layout, count, stage: Vec::new() };
        Self { base, len, typed: Some(Box::new(unpacking)) }
    }

    /// Whether the room is one range, so that [`Incoming::tail`] gives it.
    pub(super) fn is_range(&self) -> bool {
        self.typed.is_none()
    }

    /// The part of the room from `at` on; nothing of a room that is no range.
    pub(super) fn tail(&mut self, at: usize) -> &mut [u8] {
        if !self.is_range() {
            return &mut [];
        }
        let at = at.min(self.len);
        // SAFETY: at <= len, and the range is one allocation by the contract of `new`.
        let from = unsafe { self.base.add(at) };
        // SAFETY: writable and exclusive by the contract of `new`.
        unsafe { std::slice::from_raw_parts_mut(from, self.len - at) }
    }
}

impl Unpacking {
    /// # Safety
    /// The bytes are within the stream, and the contract of [`Incoming::typed`] holds for `base`.
    #[cold]
    unsafe fn fill<P: Payload>(
        &mut self,
        base: *mut u8,
        at: usize,
        payload: &P,
        from: usize,
        len: usize,
    ) {
        if let Some(bytes) = payload.bytes() {
            // SAFETY: writable and within by contract; a payload is not part of a receive's room.
            unsafe { self.layout.unpack(base, self.count, at, &bytes[from..from + len]) };
            return;
        }
        self.stage.resize(len.min(STAGE).max(self.stage.len()), 0);
        for done in (0..len).step_by(STAGE) {
            let stage = &mut self.stage[..STAGE.min(len - done)];
            payload.copy_to(from + done, stage);
            // SAFETY: writable and within by contract; the stage is memory of our own.
            unsafe { self.layout.unpack(base, self.count, at + done, stage) };
        }
    }
}

impl SendBuffer for Outgoing {
    fn len(&self) -> usize {
        self.len
    }

    fn loan(&self) -> Option<Loan> {
        match self.rare.as_deref()? {
            Rare::Lent(Lent { name, offset, .. }) => Some(Loan { name: *name, offset: *offset }),
            Rare::Typed(_) => None,
        }
    }

    fn slice_max(&self) -> usize {
        if matches!(self.rare.as_deref(), Some(Rare::Typed(_))) { PIECE } else { usize::MAX }
    }

    #[inline]
    fn slice(&mut self, offset: usize, len: usize) -> &[u8] {
        assert!(offset <= self.len && len <= self.len - offset, "a piece outside its message");
        if len == 0 {
            return &[];
        }
        if let Some(Rare::Typed(packing)) = self.rare.as_deref_mut() {
            // SAFETY: within the message by the assertion; the rest by the contract of `typed`.
            return unsafe { packing.piece(self.base, offset, len) };
        }
        // SAFETY: offset <= len of the range, by the assertion.
        let from = unsafe { self.base.add(offset) };
        // SAFETY: in range by the assertion, readable by the contract of `new`.
        unsafe { std::slice::from_raw_parts(from, len) }
    }
}

impl ReceiveBuffer for Incoming {
    fn len(&self) -> usize {
        self.len
    }

    #[inline]
    fn fill<P: Payload>(&mut self, at: usize, payload: &P, from: usize, len: usize) {
        assert!(at <= self.len && len <= self.len - at, "a piece outside its receive");
        if len == 0 {
            return;
        }
        if let Some(unpacking) = &mut self.typed {
            // SAFETY: within the room by the assertion; the rest by the contract of `typed`.
            return unsafe { unpacking.fill(self.base, at, payload, from, len) };
        }
        payload.copy_to(from, &mut self.tail(at)[..len]);
    }
}

#[cfg(test)]
#[path = "buffers_tests.rs"]
mod tests;
