//! Collectives: plans of typed calls ([`Plan`]), and what runs the schedules of [`crate::coll`] on bytes for
//! the calls of [`super::Communicator`]: posts, waits, copies and reduces.

mod moves;
mod plan;
mod reductions;
mod sides;
#[cfg(test)]
mod tests;

pub use moves::{
    allgather, alltoall, barrier, bcast, empty, gather, gatherv, neighbor_allgather,
    neighbor_alltoall, nothing, scatter, scatterv,
};
pub use plan::{Neighborhood, Place, Plan};
pub use reductions::{
    Vectors, allreduce, exscan, reduce, reduce_scatter, reduce_scatter_block, scan,
};
pub use sides::{Items, Pieces};

use super::Error;
use crate::coll::{Buf, SCRATCH_ALIGN, Schedule, Slice, Step};
use crate::progress::{Engine, Incoming, Outgoing};
use crate::proto::{Key, Mode, Pattern};

/// The three buffers a schedule names, as raw ranges: steps read one part of a buffer while
/// others are received into, which no borrow can express. Each access is checked.
pub(super) struct Buffers {
    send: (*const u8, usize),
    recv: (*mut u8, usize),
    scratch: (*mut u8, usize),
}

/// Scratch memory that is kept from call to call.
#[derive(Debug, Default)]
pub(super) struct Scratch(Vec<ScratchLine>);

#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
struct ScratchLine([u8; SCRATCH_ALIGN]);

impl Scratch {
    fn reserve(&mut self, len: usize) -> (*mut u8, usize) {
        let lines = len.div_ceil(SCRATCH_ALIGN);
        if self.0.len() < lines {
            self.0.resize(lines, ScratchLine([0; SCRATCH_ALIGN]));
        }
        (self.0.as_mut_ptr().cast(), self.0.len() * SCRATCH_ALIGN)
    }
}

impl Buffers {
    /// The buffers of one call. `send` and `recv` are borrowed by the caller for all of it.
    pub(super) fn new(
        send: &[u8],
        recv: &mut [u8],
        scratch: &mut Scratch,
        schedule: &Schedule,
    ) -> Self {
        Self {
            send: (send.as_ptr(), send.len()),
            recv: (recv.as_mut_ptr(), recv.len()),
            scratch: scratch.reserve(schedule.scratch_len),
        }
    }

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
        // SAFETY: the offset is within the buffer, by the check.
        unsafe { base.add(Self::check(slice, len)) }
    }

    fn write(&self, slice: Slice) -> *mut u8 {
        let (base, len) = match slice.buf {
            Buf::Send => panic!("a schedule writes to the send buffer"),
            Buf::Recv => self.recv,
            Buf::Scratch => self.scratch,
        };
        // SAFETY: the offset is within the buffer, by the check.
        unsafe { base.add(Self::check(slice, len)) }
    }
}

/// `into = from op into` over two ranges of this many bytes that do not overlap.
pub(super) type Combine<'a> = &'a dyn Fn(*const u8, *mut u8, usize);

/// No reduction.
pub(super) fn no_combine(_: *const u8, _: *mut u8, _: usize) {}

/// What a schedule runs on.
pub(super) struct Run<'a> {
    pub(super) engine: &'a mut Engine,
    /// World ranks by rank in the communicator.
    pub(super) group: &'a [u32],
    pub(super) context: u32,
    pub(super) tag: i32,
    pub(super) buffers: Buffers,
    pub(super) combine: Combine<'a>,
}

enum Posted {
    Send(Key),
    Receive { key: Key, rank: u32, len: usize },
}

impl Run<'_> {
    /// Runs all steps. When it returns, nothing is outstanding, in success and in failure.
    pub(super) fn run(mut self, schedule: &Schedule) -> Result<(), Error> {
        let mut posted = Vec::with_capacity(schedule.most_outstanding());
        let mut outcome = Ok(());
        for step in &schedule.steps {
            if let Err(error) = self.step(step, &mut posted) {
                outcome = Err(error);
                break;
            }
        }
        if outcome.is_err() {
            self.abandon(&mut posted);
        }
        outcome
    }

    fn step(&mut self, step: &Step, posted: &mut Vec<Posted>) -> Result<(), Error> {
        match *step {
            Step::Send { peer, from } => self.send(peer, from, posted),
            Step::Recv { peer, into } => self.receive(peer, into, posted),
            Step::Wait => self.wait(posted),
            Step::Copy { from, into } => {
                let (from_at, into_at) = (self.buffers.read(from), self.buffers.write(into));
                assert!(
                    from.len == into.len && !from.overlaps(into),
                    "a schedule copies onto itself"
                );
                // SAFETY: both ranges are in their buffers, of one length, and do not overlap.
                unsafe { std::ptr::copy_nonoverlapping(from_at, into_at, from.len) };
                Ok(())
            }
            Step::Reduce { from, into, .. } => {
                assert!(
                    from.len == into.len && !from.overlaps(into),
                    "a schedule reduces onto itself"
                );
                (self.combine)(self.buffers.read(from), self.buffers.write(into), from.len);
                Ok(())
            }
        }
    }

    fn send(&mut self, rank: u32, from: Slice, posted: &mut Vec<Posted>) -> Result<(), Error> {
        let peer = self.group[rank as usize];
        let base = self.buffers.read(from);
        // SAFETY: in range; until the next wait nobody writes there (contract of schedules).
        let bytes = unsafe { std::slice::from_raw_parts(base, from.len) };
        if self.engine.send_now(peer, self.context, self.tag, bytes)? {
            return Ok(());
        }
        // SAFETY: waited for, or withdrawn, before `run` returns; the caller's borrow lasts longer.
        let buffer = unsafe { Outgoing::new(base, from.len) };
        let key = self.engine.send(peer, self.context, self.tag, Mode::Standard, buffer)?;
        posted.push(Posted::Send(key));
        Ok(())
    }

    fn receive(&mut self, rank: u32, into: Slice, posted: &mut Vec<Posted>) -> Result<(), Error> {
        let peer = self.group[rank as usize];
        let base = self.buffers.write(into);
        // SAFETY: as for `send`; nobody else touches the range until the next wait.
        let buffer = unsafe { Incoming::new(base, into.len) };
        let pattern = Pattern { context: self.context, source: Some(peer), tag: Some(self.tag) };
        let key = self.engine.receive(pattern, buffer)?;
        posted.push(Posted::Receive { key, rank, len: into.len });
        Ok(())
    }

    fn wait(&mut self, posted: &mut Vec<Posted>) -> Result<(), Error> {
        let mut outcome = Ok(());
        for one in posted.drain(..) {
            let result = match one {
                Posted::Send(key) => self.engine.wait_send(key).map_err(Error::from),
                Posted::Receive { key, rank, len } => match self.engine.wait_receive(key) {
                    Ok(received) if received.len != len => {
                        Err(Error::Mismatch { rank, found: received.len, needed: len })
                    }
                    Ok(_) => Ok(()),
                    Err(error) => Err(error.into()),
                },
            };
            outcome = outcome.and(result);
        }
        outcome
    }

    /// After a failure: no operation may use the buffers any more.
    fn abandon(&mut self, posted: &mut Vec<Posted>) {
        for one in posted.drain(..) {
            match one {
                Posted::Send(key) => self.engine.abandon_send(key),
                Posted::Receive { key, .. } => self.engine.abandon_receive(key),
            }
        }
    }
}
