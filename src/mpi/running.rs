//! A collective under way: a schedule of [`crate::coll`] with its buffers, as a state machine that is
//! advanced whenever somebody makes progress. Blocking calls advance it until it is over, nonblocking ones
//! now and then, persistent ones again and again.

mod work;

use std::sync::Arc;

pub use work::Work;

use super::Error;
use super::op::Combine;
use crate::coll::{Buf, Slice, Step};
use crate::progress::{Engine, Incoming, Outgoing};
use crate::proto::{Mode, Pattern};
use work::Posted;

/// Where the messages of one collective go.
#[derive(Clone, Debug)]
pub struct Route {
    /// World ranks, by the numbers that the schedule uses for peers.
    pub group: Arc<[u32]>,
    /// Context of the messages.
    pub context: u32,
    /// Their tag: that of the call.
    pub tag: i32,
}

/// Raw ranges: steps read one part of a buffer while others are received into, which no borrow can
/// express. Each access is checked.
struct Buffers {
    send: (*const u8, usize),
    recv: (*mut u8, usize),
    scratch: (*mut u8, usize),
}

/// A collective under way. The state is all here; the engine is lent for each call.
pub struct Running {
    work: Work,
    route: Route,
    buffers: Buffers,
    combine: Option<Combine>,
    /// The step to make next.
    next: usize,
    /// How many of the posted are known to be complete.
    complete: usize,
    /// The first failure. The rest is done all the same, so that no other rank waits in vain.
    failure: Option<Error>,
}

// SAFETY: the raw ranges may be used by any thread, by the contract of `new`; the rest is `Send`.
unsafe impl Send for Running {}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Running {{ step {} of {} }}", self.next, self.work.schedule.steps.len())
    }
}

impl Buffers {
    fn check(slice: Slice, len: usize) -> usize {
        let fits = slice.offset <= len && slice.len <= len - slice.offset;
        assert!(fits, "a schedule names {slice:?} of a buffer of {len} bytes");
        slice.offset
    }

    fn read(&self, slice: Slice) -> *const u8 {
        let (base, len) = match slice.buf {
            Buf::Send => self.send,
            Buf::Recv => (self.recv.0.cast_const(), self.recv.1),
            Buf::Scratch => (self.scratch.0.cast_const(), self.scratch.1),
        };
        let at = Self::check(slice, len);
        if slice.len == 0 {
            return std::ptr::NonNull::dangling().as_ptr();
        }
        // SAFETY: the offset is within the buffer, by the check.
        unsafe { base.add(at) }
    }

    fn write(&self, slice: Slice) -> *mut u8 {
        let (base, len) = match slice.buf {
            Buf::Send => panic!("a schedule writes to the send buffer"),
            Buf::Recv => self.recv,
            Buf::Scratch => self.scratch,
        };
        let at = Self::check(slice, len);
        if slice.len == 0 {
            return std::ptr::NonNull::dangling().as_ptr();
        }
        // SAFETY: the offset is within the buffer, by the check.
        unsafe { base.add(at) }
    }
}

impl Running {
    /// A collective about to begin.
    ///
    /// # Safety
    /// Until it is over or abandoned, and again in each later run, `send` is readable and unchanged and
    /// `recv` is writable and used by nobody else, on whichever thread it is advanced. They do not overlap.
    #[must_use]
    #[inline]
    pub unsafe fn new(
        mut work: Work,
        route: Route,
        send: (*const u8, usize),
        recv: (*mut u8, usize),
        combine: Option<Combine>,
    ) -> Self {
        debug_assert_eq!(work.schedule.outstanding(), 0, "a schedule must end with a wait");
        work.reserve();
        let buffers = Buffers { send, recv, scratch: work.scratch() };
        Self { work, route, buffers, combine, next: 0, complete: 0, failure: None }
    }

    /// Makes all steps that can be made now; never waits, and leaves progress to the caller. The outcome
    /// when all is done, and from then on success until the next [`Running::restart`].
    ///
    /// # Errors
    /// The first failure of a message.
    #[inline]
    pub fn advance(&mut self, engine: &mut Engine) -> Option<Result<(), Error>> {
        while let Some(&step) = self.work.schedule.steps.get(self.next) {
            match step {
                Step::Send { peer, from } => self.send(engine, peer, from),
                Step::Recv { peer, into } => self.receive(engine, peer, into),
                Step::Wait if !self.settle(engine) => return None,
                Step::Wait => {}
                Step::Copy { from, into } => self.copy(from, into),
                Step::Reduce { from, into, from_left } => self.reduce(from, into, from_left),
            }
            self.next += 1;
        }
        Some(self.failure.take().map_or(Ok(()), Err))
    }

    /// Advances until all is done.
    ///
    /// # Errors
    /// The first failure of a message.
    pub fn wait(&mut self, engine: &mut Engine) -> Result<(), Error> {
        engine.wait_until(|engine| self.advance(engine))
    }

    /// Whether all steps are made.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.next == self.work.schedule.steps.len()
    }

    /// Begins again, with the same buffers and the same tag: messages of one pair keep their order, so
    /// those of the next run cannot be taken for those of this one.
    pub fn restart(&mut self) {
        debug_assert!(self.work.posted.is_empty(), "begun again before it was over");
        self.next = 0;
        self.failure = None;
    }

    /// Gives it up: nothing uses the buffers any more. Other ranks may wait for ever.
    pub fn abandon(&mut self, engine: &mut Engine) {
        for one in self.work.posted.drain(..).skip(self.complete) {
            match one {
                Posted::Send(key) => engine.abandon_send(key),
                Posted::Receive { key, .. } => engine.abandon_receive(key),
            }
        }
        self.complete = 0;
        self.next = self.work.schedule.steps.len();
    }

    fn fail(&mut self, error: impl Into<Error>) {
        self.failure.get_or_insert(error.into());
    }

    fn send(&mut self, engine: &mut Engine, rank: u32, from: Slice) {
        let peer = self.route.group[rank as usize];
        let base = self.buffers.read(from);
        // SAFETY: in range; until the next wait nobody writes there (contract of schedules).
        let bytes = unsafe { std::slice::from_raw_parts(base, from.len) };
        let Route { context, tag, .. } = self.route;
        match engine.send_now(peer, context, tag, bytes) {
            Ok(true) => return,
            Ok(false) => {}
            Err(error) => return self.fail(error),
        }
        // SAFETY: complete or abandoned before the buffers go, by the contract of `new` and by `drop`.
        let buffer = unsafe { Outgoing::new(base, from.len) };
        match engine.send(peer, context, tag, Mode::Standard, buffer) {
            Ok(key) => self.work.posted.push(Posted::Send(key)),
            Err(error) => self.fail(error),
        }
    }

    fn receive(&mut self, engine: &mut Engine, rank: u32, into: Slice) {
        let peer = self.route.group[rank as usize];
        let base = self.buffers.write(into);
        // SAFETY: as for `send`; nobody else touches the range until the next wait.
        let buffer = unsafe { Incoming::new(base, into.len) };
        let Route { context, tag, .. } = self.route;
        match engine.receive(Pattern { context, source: Some(peer), tag: Some(tag) }, buffer) {
            Ok(key) => self.work.posted.push(Posted::Receive { key, rank, len: into.len }),
            Err(error) => self.fail(error),
        }
    }

    /// Whether all that was posted is complete. Looks no further than at the first that is not.
    fn settle(&mut self, engine: &mut Engine) -> bool {
        while let Some(one) = self.work.posted.get(self.complete) {
            let outcome = match *one {
                Posted::Send(key) => engine.test_send(key).map(|sent| sent.map_err(Error::from)),
                Posted::Receive { key, rank, len } => {
                    engine.test_receive(key).map(|received| match received {
                        Ok(got) if got.len == len => Ok(()),
                        Ok(got) => Err(Error::Mismatch { rank, found: got.len, needed: len }),
                        Err(error) => Err(error.into()),
                    })
                }
            };
            match outcome {
                None => return false,
                Some(Ok(())) => {}
                Some(Err(error)) => self.fail(error),
            }
            self.complete += 1;
        }
        self.work.posted.clear();
        self.complete = 0;
        true
    }

    fn copy(&mut self, from: Slice, into: Slice) {
        let apart = from.len == into.len && !from.overlaps(into);
        assert!(apart, "a schedule copies onto itself");
        let (source, target) = (self.buffers.read(from), self.buffers.write(into));
        // SAFETY: both ranges are in their buffers, of one length, and do not overlap.
        unsafe { std::ptr::copy_nonoverlapping(source, target, from.len) };
    }

    fn reduce(&mut self, from: Slice, into: Slice, from_left: bool) {
        let apart = from.len == into.len && !from.overlaps(into);
        assert!(apart, "a schedule reduces onto itself");
        let (source, target) = (self.buffers.read(from), self.buffers.write(into));
        if let Some(combine) = &self.combine {
            combine.run(source, target, from.len, from_left);
        }
    }
}

impl Drop for Running {
    /// Scratch memory that a message may still use is never given back.
    fn drop(&mut self) {
        if !self.work.posted.is_empty() {
            return self.work.leak();
        }
        std::mem::take(&mut self.work).keep();
    }
}

#[cfg(test)]
mod tests;
