//! Memory that an application takes from us and whose bytes peers on the same kernel may read in
//! place: a message out of it needs one copy, made by the receiver.
//!
//! The owner's side is a [`Store`] of chunks, each a sealed memfd of its own. What is free and what
//! is taken is known to the owner alone, in private memory (`space`). The reader's side is a
//! [`Borrowed`] chunk, mapped read-only. The bytes are the application's: it has plain references to
//! them, which is sound because nobody else can write there. So where the kernel cannot promise that
//! (before 5.1) there is no store.
//!
//! Neither side can end the other in SIGBUS. The seals forbid to shrink a chunk and to punch holes
//! into it; the owner reserves memory before it gives any out; the reader has the kernel fault in
//! what it is about to copy, which fails instead of killing.

mod borrowed;
mod room;
mod space;

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use memmap2::{Advice, MmapOptions, MmapRaw};

pub use borrowed::Borrowed;
use space::Space;

use super::layout::PAGE;
use super::sys;

/// Most chunks of one store: each costs a descriptor here, and a mapping at each reader.
pub const CHUNKS_MAX: usize = 64;
/// Length of the first chunk, in bytes; later ones are longer. Memory is taken only by what is
/// given out.
const FIRST_LEN: usize = 4 << 20;
/// From this length on, in bytes, what is asked for gets a chunk of its own, which goes with it.
const ALONE_MIN: usize = 32 << 20;
/// Longest chunk, in bytes, that is kept though nothing of it is taken: one such, so that taking
/// and giving back in turn costs nothing.
const SPARE_MAX: usize = 64 << 20;

/// A piece of memory that can be lent. It stays mapped for as long as anything refers to it.
#[derive(Debug)]
pub struct Chunk {
    id: u64,
    file: File,
    map: MmapRaw,
}

impl Chunk {
    fn new(id: u64, len: usize) -> Option<Self> {
        if sys::file_size_limit().is_some_and(|limit| limit < len as u64) {
            return None;
        }
        let file = File::from(sys::memfd_create(c"cohost-lending").ok()?);
        file.set_len(len as u64).ok()?;
        // The seal against writing spares mappings that exist already: ours must come first.
        let map = MmapOptions::new().len(len).map_raw(&file).ok()?;
        // Only where the system offers it; anything less is as good as ordinary memory.
        let _ = map.advise(Advice::HugePage);
        let seals =
            libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_FUTURE_WRITE | libc::F_SEAL_SEAL;
        sys::add_seals(file.as_fd(), seals).ok()?;
        Some(Self { id, file, map })
    }

    /// A number that no other chunk of this store ever has.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The descriptor to hand to peers.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    fn base(&self) -> usize {
        self.map.as_mut_ptr().addr()
    }
}

/// A chunk as its owner sees it.
#[derive(Debug)]
struct Owned {
    chunk: Arc<Chunk>,
    space: Space,
    /// Memory is behind all bytes before this offset.
    reserved: usize,
}

impl Owned {
    fn take(&mut self, len: usize, align: usize) -> Option<NonNull<u8>> {
        let at = self.space.take(len, align, self.chunk.base())?;
        // Within the chunk, whose length is a multiple of a page.
        let end = (at + len.max(1)).next_multiple_of(PAGE);
        if end > self.reserved {
            let more = end - self.reserved;
            let has_room = room::free_bytes().is_none_or(|free| more as u64 <= free / 2);
            let file = &self.chunk.file;
            if !has_room || sys::reserve(file, self.reserved as u64, more as u64).is_err() {
                self.space.give_back(at);
                return None;
            }
            self.reserved = end;
        }
        NonNull::new(self.chunk.map.as_mut_ptr().wrapping_add(at))
    }
}

#[derive(Debug, Default)]
struct Chunks {
    /// By address.
    all: BTreeMap<usize, Owned>,
    next_id: u64,
    /// Bytes of all of them.
    len: usize,
    /// Those that are gone and not yet taken from their readers.
    gone: Vec<u64>,
}

impl Chunks {
    /// The chunk that this address lies in.
    fn around(&self, address: usize) -> Option<(usize, &Owned)> {
        let (&base, owned) = self.all.range(..=address).next_back()?;
        (address - base < owned.chunk.map.len()).then_some((base, owned))
    }

    fn add(&mut self, needed: usize, len_max: usize) -> Option<&mut Owned> {
        if self.all.len() >= CHUNKS_MAX {
            return None;
        }
        let alone = needed >= ALONE_MIN && self.all.len() < CHUNKS_MAX / 2;
        // Twice as long with every fourth, so that few are needed however much is asked for.
        let usual = FIRST_LEN << (self.all.len() / 4).min(8);
        let left = len_max - self.len;
        let len = if alone { needed } else { needed.max(usual.min(left)) };
        let len = len.checked_next_multiple_of(PAGE).filter(|&len| len <= left)?;
        let chunk = Arc::new(Chunk::new(self.next_id, len)?);
        self.next_id += 1;
        self.len += len;
        let owned = Owned { space: Space::new(len), reserved: 0, chunk };
        Some(self.all.entry(owned.chunk.base()).or_insert(owned))
    }

    fn drop_chunk(&mut self, base: usize) {
        if let Some(owned) = self.all.remove(&base) {
            self.len -= owned.chunk.map.len();
            self.gone.push(owned.chunk.id);
        }
    }

    /// Lets go of a chunk of which nothing is taken any more, but for one that is kept in reserve.
    fn let_go(&mut self, base: usize) {
        let spare = |(&other, owned): (&usize, &Owned)| other != base && owned.space.is_empty();
        let len = self.all.get(&base).map_or(0, |owned| owned.chunk.map.len());
        if len > SPARE_MAX || self.all.iter().any(spare) {
            self.drop_chunk(base);
        }
    }
}

/// Memory to give out that can be lent; its one writer is this process.
#[derive(Debug)]
pub struct Store {
    chunks: Mutex<Chunks>,
    len_max: usize,
    /// Whether chunks are gone that readers still have.
    any_gone: AtomicBool,
}

impl Store {
    /// An empty store of at most `len_max` bytes.
    #[must_use]
    pub fn new(len_max: usize) -> Self {
        Self { chunks: Mutex::default(), len_max, any_gone: AtomicBool::new(false) }
    }

    /// The share of one of `ranks` processes that all may have such stores: together a quarter of
    /// the machine's memory.
    #[must_use]
    pub fn fair_len(ranks: u32) -> usize {
        room::physical_bytes() / 4 / (ranks.max(1) as usize)
    }

    fn lock(&self) -> MutexGuard<'_, Chunks> {
        self.chunks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes `len` bytes whose address is a multiple of `align`, a power of two. They hold zeros, or
    /// what was left there. `None` when there is no more such memory: take ordinary memory then.
    #[must_use]
    pub fn take(&self, len: usize, align: usize) -> Option<NonNull<u8>> {
        if !align.is_power_of_two() || len > self.len_max {
            return None;
        }
        let mut chunks = self.lock();
        if len < ALONE_MIN
            && let Some(at) = chunks.all.values_mut().find_map(|owned| owned.take(len, align))
        {
            return Some(at);
        }
        // A chunk begins with a page.
        let slack = if align > PAGE { align } else { 0 };
        let needed = len.max(1).checked_add(slack)?;
        let owned = chunks.add(needed, self.len_max)?;
        let (at, base) = (owned.take(len, align), owned.chunk.base());
        if at.is_none() {
            // Never lent to anybody, so there is nobody to tell.
            chunks.drop_chunk(base);
            chunks.gone.pop();
        }
        at
    }

    /// Gives back what [`Store::take`] gave. False when it is nothing of this store's.
    ///
    /// # Safety
    /// Nobody uses the bytes any more, but for peers.
    pub unsafe fn give_back(&self, at: *const u8) -> bool {
        let mut chunks = self.lock();
        let Some((base, _)) = chunks.around(at.addr()) else { return false };
        let Some(owned) = chunks.all.get_mut(&base) else { return false };
        if !owned.space.give_back(at.addr() - base) {
            return false;
        }
        if owned.space.is_empty() {
            chunks.let_go(base);
        }
        self.any_gone.store(!chunks.gone.is_empty(), Ordering::Release);
        true
    }

    /// The chunk in which all these bytes lie, and their offset in it.
    #[must_use]
    pub fn find(&self, at: *const u8, len: usize) -> Option<(Arc<Chunk>, u64)> {
        let chunks = self.lock();
        let (base, owned) = chunks.around(at.addr())?;
        let offset = at.addr() - base;
        (len <= owned.chunk.map.len() - offset).then(|| (Arc::clone(&owned.chunk), offset as u64))
    }

    /// Whether [`Store::take_gone`] has anything to tell.
    #[inline]
    #[must_use]
    pub fn any_gone(&self) -> bool {
        self.any_gone.load(Ordering::Acquire)
    }

    /// The numbers of the chunks that are gone since this was asked last: their readers hold
    /// their memory for as long as they have them mapped.
    #[must_use]
    pub fn take_gone(&self) -> Vec<u64> {
        let mut chunks = self.lock();
        self.any_gone.store(false, Ordering::Release);
        std::mem::take(&mut chunks.gone)
    }
}

#[cfg(test)]
mod tests;
