//! The user's buffers, as the engine holds them while an operation is under way.
//!
//! A raw range of memory, because the borrow that proves it valid lives with the caller: every
//! operation that is begun is waited for before that borrow ends ([`crate::mpi`] sees to it).

use crate::frame::Payload;
use crate::proto::{ReceiveBuffer, SendBuffer};

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
