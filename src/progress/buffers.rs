//! The user's buffers, as the engine holds them while an operation is under way.
//!
//! A raw range of memory, because the borrow that proves it valid lives with the caller: every
//! operation that is begun is waited for before that borrow ends ([`crate::mpi`] sees to it).

use crate::frame::Payload;
use crate::proto::{ReceiveBuffer, SendBuffer};

/// Where the bytes of a message lie in memory when they are not one run. The message is a packed
/// stream; any part of it can be asked for.
pub trait Layout: Send + Sync {
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
#[derive(Clone, Copy, Debug)]
pub struct Outgoing {
    base: *const u8,
    len: usize,
}

/// Room to receive into.
#[derive(Clone, Copy, Debug)]
pub struct Incoming {
    base: *mut u8,
    len: usize,
}

// SAFETY: the ranges are used only by the engine that was given them, whichever thread runs it;
// the contract of `new` holds on every thread.
unsafe impl Send for Outgoing {}
// SAFETY: as above.
unsafe impl Send for Incoming {}

impl Outgoing {
    /// A range to send from.
    ///
    /// # Safety
    /// `len` bytes from `base` on stay readable and unchanged until the operation is complete.
    #[must_use]
    pub unsafe fn new(base: *const u8, len: usize) -> Self {
        Self { base, len }
    }
}

impl Incoming {
    /// A range to receive into.
    ///
    /// # Safety
    /// `len` bytes from `base` on stay writable, and are used by nobody else, until the operation
    /// is complete.
    #[must_use]
    pub unsafe fn new(base: *mut u8, len: usize) -> Self {
        Self { base, len }
    }

    /// The part of the room from `at` on.
    pub(super) fn tail(&mut self, at: usize) -> &mut [u8] {
        let at = at.min(self.len);
        // SAFETY: at <= len, and the range is one allocation by the contract of `new`.
        let from = unsafe { self.base.add(at) };
        // SAFETY: writable and exclusive by the contract of `new`.
        unsafe { std::slice::from_raw_parts_mut(from, self.len - at) }
    }
}

impl SendBuffer for Outgoing {
    fn len(&self) -> usize {
        self.len
    }

    #[inline]
    fn slice(&self, offset: usize, len: usize) -> &[u8] {
        assert!(offset <= self.len && len <= self.len - offset, "a piece outside its message");
        if len == 0 {
            return &[];
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
        payload.copy_to(from, &mut self.tail(at)[..len]);
    }
}
