//! The memory of a collective, kept from call to call: in the steady state no call allocates. It holds no
//! buffer, type or communicator of the call before, so that nothing in it can be out of date.

use std::cell::Cell;
use std::mem::MaybeUninit;

use crate::coll::{SCRATCH_ALIGN, Schedule};
use crate::proto::Key;

/// More than this many bytes are given back when a collective is over.
const KEPT_MAX: usize = 1 << 20;

thread_local! {
    /// That of the collective that ended last on this thread. One is enough for blocking calls; who needs
    /// more at once, as nonblocking ones may, makes more.
    static SPARE: Cell<Option<Work>> = const { Cell::new(None) };
}

/// The memory of one collective: one at a time has it.
#[derive(Default)]
pub struct Work {
    /// The steps of the collective.
    pub schedule: Schedule,
    pub(super) posted: Vec<Posted>,
    scratch: Vec<MaybeUninit<Line>>,
}

/// A message under way.
pub(super) enum Posted {
    Send(Key),
    Receive { key: Key, rank: u32, len: usize },
}

/// Scratch memory comes in lines, for its alignment.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; SCRATCH_ALIGN]);

impl Work {
    /// Memory for a collective that begins on this thread, empty.
    #[must_use]
    #[inline]
    pub fn take() -> Self {
        SPARE.try_with(Cell::take).ok().flatten().unwrap_or_default()
    }

    /// Scratch memory as the schedule wants it, its content undefined.
    #[inline]
    pub(super) fn reserve(&mut self) {
        let lines = self.schedule.scratch_len.div_ceil(SCRATCH_ALIGN);
        self.scratch.resize(lines, MaybeUninit::uninit());
    }

    /// Address and length of the scratch memory.
    pub(super) fn scratch(&mut self) -> (*mut u8, usize) {
        (self.scratch.as_mut_ptr().cast(), self.scratch.len() * SCRATCH_ALIGN)
    }

    /// Never gives the scratch memory back: something may still write to it.
    pub(super) fn leak(&mut self) {
        std::mem::forget(std::mem::take(&mut self.scratch));
    }

    /// Keeps it for the next collective of this thread. Nothing of it is in use any more.
    #[inline]
    pub fn keep(mut self) {
        self.schedule.clear();
        self.posted.clear();
        let bytes = size_of_val(self.scratch.spare_capacity_mut())
            + size_of_val(&self.scratch[..])
            + size_of::<crate::coll::Step>() * self.schedule.steps.capacity();
        if bytes <= KEPT_MAX {
            // A thread that ends keeps nothing.
            let _ = SPARE.try_with(|spare| spare.set(Some(self)));
        }
    }
}
