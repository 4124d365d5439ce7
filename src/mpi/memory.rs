//! Memory for messages (MPI 5.0, 9.2): taken where peers on the same machine can read it, so that long
//! messages out of it need one copy; ordinary memory when there is none such.

use std::alloc::{Layout, alloc, dealloc};
use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::failure::{Class, Outcome, fail};
use crate::region::lending::Store;

/// Least alignment, in bytes: that of a cache line.
const ALIGN: usize = 64;

/// Where a piece is from.
#[derive(Clone, Copy, Debug)]
enum Origin {
    Store,
    Ordinary(Layout),
}

/// All memory that an application has taken, so that what it gives back is known to be that.
#[derive(Debug)]
pub struct Memory {
    store: Option<Arc<Store>>,
    /// By address.
    taken: Mutex<BTreeMap<usize, Origin>>,
}

impl Memory {
    /// Out of this store, where there is one.
    #[must_use]
    pub fn new(store: Option<Arc<Store>>) -> Self {
        Self { store, taken: Mutex::default() }
    }

    fn taken(&self) -> MutexGuard<'_, BTreeMap<usize, Origin>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes `len` bytes (`MPI_Alloc_mem`); what they hold is arbitrary. `align`: what the address
    /// must be a multiple of; it is always one of 64.
    ///
    /// # Errors
    /// `MPI_ERR_NO_MEM` when there is not as much, `MPI_ERR_ARG` when the alignment is no power of
    /// two.
    pub fn take(&self, len: usize, align: usize) -> Outcome<NonNull<u8>> {
        if !align.is_power_of_two() {
            return fail(Class::Arg, format!("an alignment of {align} bytes"));
        }
        let align = align.max(ALIGN);
        let lendable = self.store.as_ref().and_then(|store| store.take(len, align));
        let (at, origin) = match lendable {
            Some(at) => (at, Origin::Store),
            None => ordinary(len, align)?,
        };
        self.taken().insert(at.addr().get(), origin);
        Ok(at)
    }

    /// Gives back what [`Memory::take`] gave (`MPI_Free_mem`).
    ///
    /// # Errors
    /// `MPI_ERR_BASE` when it is nothing that was taken and not given back.
    ///
    /// # Safety
    /// Nobody uses the bytes any more.
    pub unsafe fn give_back(&self, at: *mut u8) -> Outcome<()> {
        let Some(origin) = self.taken().remove(&at.addr()) else {
            let what = format!("{at:p} is not what MPI_Alloc_mem gave, or was given back before");
            return fail(Class::Base, what);
        };
        match (origin, &self.store) {
            (Origin::Ordinary(layout), _) => {
                // SAFETY: allocated with this layout, no longer in the table, and not in use.
                unsafe { dealloc(at, layout) };
            }
            (Origin::Store, Some(store)) => {
                // SAFETY: the contract is the same.
                unsafe { store.give_back(at) };
            }
            (Origin::Store, None) => {}
        }
        Ok(())
    }
}

fn ordinary(len: usize, align: usize) -> Outcome<(NonNull<u8>, Origin)> {
    let layout = Layout::from_size_align(len.max(1), align).ok();
    // SAFETY: the layout has bytes.
    let at = layout.map(|layout| (unsafe { alloc(layout) }, layout));
    match at.and_then(|(at, layout)| Some((NonNull::new(at)?, layout))) {
        Some((at, layout)) => Ok((at, Origin::Ordinary(layout))),
        None => fail(Class::NoMem, format!("the system gave no {len} bytes")),
    }
}

/// Bytes out of such memory, as [`Job::alloc`](super::Job::alloc) gives them.
#[derive(Debug)]
pub struct Bytes {
    memory: Arc<Memory>,
    at: NonNull<u8>,
    len: usize,
}

// SAFETY: the bytes are of this value alone, whichever thread has it; peers only read them.
unsafe impl Send for Bytes {}
// SAFETY: as above; shared references only read.
unsafe impl Sync for Bytes {}

impl Bytes {
    pub(super) fn zeroed(memory: &Arc<Memory>, len: usize) -> Outcome<Self> {
        let at = memory.take(len, ALIGN)?;
        // SAFETY: just taken, and of that length.
        unsafe { at.as_ptr().write_bytes(0, len) };
        Ok(Self { memory: Arc::clone(memory), at, len })
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: taken with this length, written since, and given back only when this is dropped.
        unsafe { std::slice::from_raw_parts(self.at.as_ptr(), self.len) }
    }
}

impl DerefMut for Bytes {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above; nobody else writes there.
        unsafe { std::slice::from_raw_parts_mut(self.at.as_ptr(), self.len) }
    }
}

impl Drop for Bytes {
    fn drop(&mut self) {
        // SAFETY: the bytes are of this value alone. They were taken, so they can be given back.
        let _ = unsafe { self.memory.give_back(self.at.as_ptr()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both() -> [Memory; 2] {
        [Memory::new(None), Memory::new(Some(Arc::new(Store::new(8 << 20))))]
    }

    fn give_back(memory: &Memory, at: *mut u8) -> Outcome<()> {
        // SAFETY: these tests do not touch what they gave back.
        unsafe { memory.give_back(at) }
    }

    #[test]
    fn what_was_not_taken_or_given_back_before_is_refused() {
        for memory in both() {
            let at = memory.take(100, 1).unwrap().as_ptr();
            let class = |at| give_back(&memory, at).unwrap_err().class;
            assert_eq!(class(std::ptr::dangling_mut()), Class::Base);
            assert_eq!(class(at.wrapping_add(1)), Class::Base);
            give_back(&memory, at).unwrap();
            assert_eq!(class(at), Class::Base);
        }
    }

    #[test]
    fn when_lendable_memory_is_used_up_there_is_ordinary_memory() {
        let [_, memory] = both();
        let all: Vec<_> = (0..20).map(|_| memory.take(1 << 20, 4096).unwrap()).collect();
        let ordinary =
            |at: &&NonNull<u8>| matches!(memory.taken()[&at.addr().get()], Origin::Ordinary(_));
        assert_eq!(all.iter().filter(ordinary).count(), 12);
        assert!(all.iter().all(|at| at.addr().get().is_multiple_of(4096)));
        all.iter().for_each(|at| give_back(&memory, at.as_ptr()).unwrap());
    }

    #[test]
    fn only_without_any_memory_there_is_an_error() {
        for memory in both() {
            assert_eq!(memory.take(usize::MAX / 2, 64).unwrap_err().class, Class::NoMem);
            assert_eq!(memory.take(usize::MAX, 64).unwrap_err().class, Class::NoMem);
            assert_eq!(memory.take(1, 3).unwrap_err().class, Class::Arg);
        }
    }

    #[test]
    fn bytes_are_zeros_and_go_back_when_dropped() {
        for memory in both().map(Arc::new) {
            let mut bytes = Bytes::zeroed(&memory, 1000).unwrap();
            bytes.fill(7);
            drop(bytes);
            assert!(memory.taken().is_empty());
            assert_eq!(Bytes::zeroed(&memory, 1000).unwrap()[..], [0; 1000]);
            assert!(Bytes::zeroed(&memory, 0).unwrap().is_empty());
        }
    }
}
