//! The only door to shared bytes.
//!
//! Two laws hold here and are relied on everywhere else:
//!
//! 1. No reference or slice to shared memory ever exists. Control words are read and written with
//!    atomics, bulk bytes with one raw copy into or out of private memory.
//! 2. Every access is checked against the length of its window. Offsets are computed by us from
//!    our own configuration, so a violation is a bug of ours and panics; nothing a peer writes can
//!    reach an offset without passing a total function first (see [`crate::ring::cursor`]).
//!
//! One writer per section is the rule, with one exception: the header and the lease words of a
//! device that several machines share ([`super::device`]) have many writers. Those words, and no
//! others, are changed with `Local::exchange_u64` and `Local::add_u64`; nobody ever waits for
//! such a word to take a certain value, so whoever dies between two of them holds up nobody.
//!
//! A peer may change bytes while they are copied. The copy then holds a mixture, which the layers
//! above treat like any other untrusted input; it is never looked at in place.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use memmap2::MmapRaw;

use super::{copy, vanish};

/// Bytes in a cache line of every processor this runs on; sections are laid out in these.
pub const LINE: usize = 64;

/// Memory that stays mapped for as long as any window onto it lives.
#[derive(Debug)]
pub struct Mapping {
    base: *mut u8,
    len: usize,
    keep: Keep,
}

#[derive(Debug)]
enum Keep {
    Map(MmapRaw),
    Heap(Layout),
    /// The fields are dropped in this order: the watch must end before the memory is unmapped.
    Watched(
        #[allow(dead_code, reason = "held for what its drop does")] Option<vanish::Watch>,
        MmapRaw,
    ),
    /// The fields are dropped in this order: memory first, then what it came from.
    Held(
        #[allow(dead_code, reason = "held so that the memory stays mapped")] Memory,
        #[allow(dead_code, reason = "held for what its drop does")] Box<dyn Held>,
    ),
}

#[derive(Debug)]
enum Memory {
    Map(#[allow(dead_code, reason = "held so that the memory stays mapped")] MmapRaw),
    Part(#[allow(dead_code, reason = "held so that the memory stays mapped")] Arc<Mapping>),
}

/// What must outlive every window onto some memory, and is dropped right after the last: a lease
/// to give back, grants to revoke.
pub(super) trait Held: std::fmt::Debug + Send + Sync {}

// SAFETY: the mapping hands out no references; every access goes through atomics or raw copies,
// for which concurrent use from several threads or processes is part of the contract.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl From<MmapRaw> for Mapping {
    fn from(map: MmapRaw) -> Self {
        Self { base: map.as_mut_ptr(), len: map.len(), keep: Keep::Map(map) }
    }
}

impl Mapping {
    /// Zeroed private memory with the alignment of a page, for tests and benchmarks.
    #[must_use]
    pub fn heap(len: usize) -> Self {
        let layout = Layout::from_size_align(len.max(LINE), 4096).expect("a sane size");
        // SAFETY: the layout has a non-zero size.
        let base = unsafe { alloc_zeroed(layout) };
        if base.is_null() {
            handle_alloc_error(layout);
        }
        Self { base, len, keep: Keep::Heap(layout) }
    }

    /// A mapping of something that may disappear: it holds zeros then (see [`super::vanish`]).
    pub(super) fn watched(map: MmapRaw) -> Self {
        let (base, len) = (map.as_mut_ptr(), map.len());
        Self { base, len, keep: Keep::Watched(vanish::watch(base, len), map) }
    }

    /// A mapping whose `guard` is dropped once it is unmapped.
    pub(super) fn held(map: MmapRaw, guard: Box<dyn Held>) -> Self {
        Self { base: map.as_mut_ptr(), len: map.len(), keep: Keep::Held(Memory::Map(map), guard) }
    }

    /// The memory of `window` as a mapping of its own, whose `guard` is dropped with the last
    /// window onto it.
    pub(super) fn part(window: &Local, guard: Box<dyn Held>) -> Self {
        let Window { base, len, mapping } = &window.0;
        Self { base: *base, len: *len, keep: Keep::Held(Memory::Part(Arc::clone(mapping)), guard) }
    }

    /// Length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Has the system put memory behind `len` bytes from `offset` on for reading, where it would
    /// otherwise do so one page at a time, and end the process when it cannot. Linux 5.14 and
    /// later; before that, and for memory that is no file's, without effect.
    ///
    /// # Errors
    /// The system's answer when there is none.
    pub(super) fn fault_in(&self, offset: usize, len: usize) -> std::io::Result<()> {
        let (Keep::Map(map) | Keep::Watched(_, map)) = &self.keep else { return Ok(()) };
        match map.advise_range(memmap2::Advice::PopulateRead, offset, len) {
            Err(error) if error.raw_os_error() != Some(libc::EINVAL) => Err(error),
            _ => Ok(()),
        }
    }

    /// Whether the mapping has no bytes at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        if let Keep::Heap(layout) = self.keep {
            // SAFETY: allocated in `heap` with this very layout and never freed elsewhere.
            unsafe { dealloc(self.base, layout) };
        }
    }
}

/// A checked range of a mapping; the common part of [`Local`] and [`Remote`].
#[derive(Clone, Debug)]
struct Window {
    base: *mut u8,
    len: usize,
    mapping: Arc<Mapping>,
}

// SAFETY: see `Mapping`; a window is a range of one.
unsafe impl Send for Window {}
// SAFETY: see `Mapping`.
unsafe impl Sync for Window {}

impl Window {
    fn new(mapping: Arc<Mapping>) -> Self {
        Self { base: mapping.base, len: mapping.len, mapping }
    }

    fn sub(&self, offset: usize, len: usize) -> Self {
        Self { base: self.at(offset, len, 1), len, mapping: Arc::clone(&self.mapping) }
    }

    /// The address of `len` bytes at `offset`, after checking range and alignment.
    #[inline(always)]
    fn at(&self, offset: usize, len: usize, align: usize) -> *mut u8 {
        let fits = offset <= self.len && len <= self.len - offset;
        assert!(fits && offset.is_multiple_of(align), "access outside a shared window");
        // SAFETY: offset <= len, and the window lies inside one live allocation.
        unsafe { self.base.add(offset) }
    }

    #[inline(always)]
    fn word(&self, offset: usize) -> &AtomicU64 {
        let address = self.at(offset, 8, 8).cast::<u64>();
        // SAFETY: in range, aligned (windows start at multiples of 8, offset checked), alive as
        // long as self, and only ever accessed through atomics of this width.
        unsafe { AtomicU64::from_ptr(address) }
    }

    #[inline(always)]
    fn half(&self, offset: usize) -> &AtomicU32 {
        let address = self.at(offset, 4, 4).cast::<u32>();
        // SAFETY: as in `word`.
        unsafe { AtomicU32::from_ptr(address) }
    }

    #[inline(always)]
    fn copy_out(&self, offset: usize, into: &mut [u8]) {
        let from = self.at(offset, into.len(), 1);
        // SAFETY: `from` is in range; `into` is private memory, so they cannot overlap. A peer may
        // write meanwhile; the bytes are then arbitrary, and treated so by every caller.
        unsafe { copy::copy(from, into.as_mut_ptr(), into.len()) };
    }

    #[inline(always)]
    fn words<const N: usize>(&self, offset: usize) -> [u64; N] {
        let first = self.at(offset, N * 8, 8).cast::<u64>();
        std::array::from_fn(|i| {
            // SAFETY: i < N, and N words at `first` were checked to be in range.
            let word = unsafe { first.add(i) };
            // SAFETY: in range and aligned; only atomics of this width touch these words.
            unsafe { AtomicU64::from_ptr(word) }.load(Ordering::Relaxed)
        })
    }
}

/// A window onto a peer's section: it can only be read.
#[derive(Clone, Debug)]
pub struct Remote(Window);

/// A window onto our own section: we are its one writer.
#[derive(Clone, Debug)]
pub struct Local(Window);

macro_rules! readable {
    ($name:ident) => {
        impl $name {
            /// A window onto the whole mapping.
            #[must_use]
            pub fn new(mapping: Arc<Mapping>) -> Self {
                Self(Window::new(mapping))
            }

            /// A narrower window: `len` bytes from `offset`.
            ///
            /// # Panics
            /// When the range does not lie inside this window.
            #[must_use]
            pub fn sub(&self, offset: usize, len: usize) -> Self {
                Self(self.0.sub(offset, len))
            }

            /// Length in bytes.
            #[must_use]
            pub fn len(&self) -> usize {
                self.0.len
            }

            /// Whether the window has no bytes.
            #[must_use]
            pub fn is_empty(&self) -> bool {
                self.0.len == 0
            }

            /// The 64-bit word at `offset`, with acquire ordering.
            #[inline(always)]
            #[must_use]
            pub fn load_u64(&self, offset: usize) -> u64 {
                self.0.word(offset).load(Ordering::Acquire)
            }

            /// The 32-bit word at `offset`, with acquire ordering.
            #[inline(always)]
            #[must_use]
            pub fn load_u32(&self, offset: usize) -> u32 {
                self.0.half(offset).load(Ordering::Acquire)
            }

            /// `N` consecutive 64-bit words from `offset`, each read once, unordered among
            /// themselves; an acquire load of a flag must come before.
            #[inline(always)]
            #[must_use]
            pub fn load_words<const N: usize>(&self, offset: usize) -> [u64; N] {
                self.0.words(offset)
            }

            /// Copies bytes from `offset` out into private memory.
            #[inline(always)]
            pub fn copy_out(&self, offset: usize, into: &mut [u8]) {
                self.0.copy_out(offset, into);
            }

            /// The address of the 32-bit word at `offset`, for the futex system call only.
            #[must_use]
            pub fn futex_word(&self, offset: usize) -> *const u32 {
                self.0.at(offset, 4, 4).cast()
            }

            /// Asks the processor to fetch the line at `offset` before it is needed.
            #[inline(always)]
            pub fn prefetch(&self, offset: usize) {
                let address = self.0.at(offset, 1, 1);
                #[cfg(target_arch = "x86_64")]
                // SAFETY: a prefetch has no effect that a program can observe.
                unsafe {
                    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
                    _mm_prefetch::<_MM_HINT_T0>(address.cast());
                }
                #[cfg(not(target_arch = "x86_64"))]
                let _ = address;
            }
        }
    };
}

readable!(Remote);
readable!(Local);

impl Local {
    /// A read-only window onto the same bytes, as a peer would have; for heap regions in tests.
    #[must_use]
    pub fn as_remote(&self) -> Remote {
        Remote(self.0.clone())
    }

    /// Writes the 64-bit word at `offset`, with release ordering.
    #[inline(always)]
    pub fn store_u64(&self, offset: usize, value: u64) {
        self.0.word(offset).store(value, Ordering::Release);
    }

    /// Puts `new` in place of `old` at `offset`, if that is what is there; otherwise says what is.
    /// For the shared header and lease words of a device only.
    ///
    /// # Errors
    /// With the word found.
    pub(super) fn exchange_u64(&self, offset: usize, old: u64, new: u64) -> Result<(), u64> {
        self.0
            .word(offset)
            .compare_exchange(old, new, Ordering::AcqRel, Ordering::Acquire)
            .map(drop)
    }

    /// Adds to the word at `offset`, wrapping, so that it differs from what it was whoever else
    /// writes it. For the shared header and lease words of a device only.
    pub(super) fn add_u64(&self, offset: usize, by: u64) {
        self.0.word(offset).fetch_add(by, Ordering::AcqRel);
    }

    /// Writes the 32-bit word at `offset`, with release ordering.
    #[inline(always)]
    pub fn store_u32(&self, offset: usize, value: u32) {
        self.0.half(offset).store(value, Ordering::Release);
    }

    /// Writes `flag` at `offset` and `rest` into the words after it, so that whoever sees the
    /// flag (acquire) also sees the rest: the flag is stored last, with release ordering.
    #[inline(always)]
    pub fn publish_words<const N: usize>(&self, offset: usize, flag: u64, rest: &[u64; N]) {
        let first = self.0.at(offset, (N + 1) * 8, 8).cast::<u64>();
        for (i, value) in rest.iter().enumerate() {
            // SAFETY: i < N, and N + 1 words at `first` were checked to be in range.
            let word = unsafe { first.add(i + 1) };
            // SAFETY: in range and aligned; only atomics of this width touch these words.
            unsafe { AtomicU64::from_ptr(word) }.store(*value, Ordering::Relaxed);
        }
        // SYNC POINT: pairs with the acquire load of the flag in `ring::Consumer::peek`.
        self.store_u64(offset, flag);
    }

    /// Copies private bytes in at `offset`. A release store of a flag must follow.
    #[inline(always)]
    pub fn copy_in(&self, offset: usize, from: &[u8]) {
        let into = self.0.at(offset, from.len(), 1);
        // SAFETY: `into` is in range and ours to write; `from` is private memory, so they cannot
        // overlap. Peers read these bytes only after a flag that is stored later.
        unsafe { copy::copy(from.as_ptr(), into, from.len()) };
    }

    /// Fills `len` bytes at `offset` with zeros.
    pub fn clear(&self, offset: usize, len: usize) {
        let into = self.0.at(offset, len, 1);
        // SAFETY: in range and ours to write.
        unsafe { std::ptr::write_bytes(into, 0, len) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(len: usize) -> Local {
        Local::new(Arc::new(Mapping::heap(len)))
    }

    #[test]
    fn what_is_copied_in_comes_out() {
        let own = window(256);
        own.copy_in(3, b"across the wall");
        let mut out = [0; 15];
        own.as_remote().copy_out(3, &mut out);
        assert_eq!(&out, b"across the wall");
    }

    #[test]
    fn a_flag_and_its_words_are_read_back() {
        let own = window(128);
        own.publish_words(64, 7, &[1, 2, 3]);
        assert_eq!(own.as_remote().load_u64(64), 7);
        assert_eq!(own.as_remote().load_words::<3>(72), [1, 2, 3]);
    }

    #[test]
    #[should_panic(expected = "outside a shared window")]
    fn an_offset_beyond_the_window_is_refused() {
        let _ = window(128).sub(64, 64).load_u64(64);
    }

    #[test]
    #[should_panic(expected = "outside a shared window")]
    fn a_length_that_overflows_is_refused() {
        let _ = window(128).sub(8, usize::MAX);
    }

    #[test]
    #[should_panic(expected = "outside a shared window")]
    fn an_unaligned_word_is_refused() {
        let _ = window(128).load_u64(4);
    }
}
