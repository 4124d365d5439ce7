//! A chunk of a peer's, as its reader has it.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use memmap2::{MmapOptions, MmapRaw};

use crate::region::access::{Mapping, Remote};
use crate::region::{RegionError, file, sys};

/// Longest chunk that is mapped, in bytes: a peer must not use up our addresses.
const LEN_MAX: u64 = 1 << 36;
/// What is faulted in at a time, in bytes.
const BLOCK: usize = 64 << 10;
const PLACE: &str = "the chunk lent by a peer";

/// A peer's chunk: it can only be read.
#[derive(Debug)]
pub struct Borrowed {
    mapping: Arc<Mapping>,
    whole: Remote,
    /// A bit for each block that was faulted in: with those seals it stays.
    present: Vec<u64>,
}

impl Borrowed {
    /// Maps a descriptor that a peer has passed.
    ///
    /// # Errors
    /// When it is no memfd, or its owner can still shrink it, punch holes into it, or hand out a
    /// writable mapping; or when it is longer than 64 GiB.
    pub fn adopt(fd: OwnedFd) -> Result<Self, RegionError> {
        let not_a_chunk = |found: &str| RegionError::NotARegion {
            place: PLACE.to_owned(),
            found: found.to_owned(),
            expected: "a memfd sealed against shrinking and writing",
        };
        let file = File::from(fd);
        let metadata = file.metadata().map_err(RegionError::system("fstat", PLACE))?;
        let kind = metadata.file_type();
        if !kind.is_file() {
            return Err(not_a_chunk(file::kind_name(kind)));
        }
        let seals = sys::seals(file.as_fd()).map_err(|_| not_a_chunk("a file without seals"))?;
        let writing = libc::F_SEAL_FUTURE_WRITE | libc::F_SEAL_WRITE;
        if seals & libc::F_SEAL_SHRINK == 0 || seals & writing == 0 {
            return Err(not_a_chunk("memory that its owner can still take away"));
        }
        // The length is the kernel's word, and sealed.
        let len = metadata.len();
        if len == 0 || len > LEN_MAX {
            return Err(RegionError::WrongSize {
                place: PLACE.to_owned(),
                found: len,
                expected: LEN_MAX,
            });
        }
        let map: MmapRaw = MmapOptions::new()
            .len(len as usize)
            .map_raw_read_only(&file)
            .map_err(RegionError::system("mmap", PLACE))?;
        let mapping = Arc::new(Mapping::from(map));
        let blocks = (len as usize).div_ceil(BLOCK);
        let whole = Remote::new(Arc::clone(&mapping));
        Ok(Self { mapping, whole, present: vec![0; blocks.div_ceil(64)] })
    }

    /// Length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.whole.len()
    }

    /// Never: a chunk without bytes is not adopted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.whole.is_empty()
    }

    /// The bytes from `offset` on, with memory behind them. `None` when they are not all within the
    /// chunk, or the system has no memory for them. Total over all values.
    pub fn part(&mut self, offset_untrusted: u64, len_untrusted: usize) -> Option<Remote> {
        let offset = usize::try_from(offset_untrusted).ok()?;
        let end = offset.checked_add(len_untrusted)?;
        if end > self.whole.len() {
            return None;
        }
        self.fault_in(offset, end)?;
        Some(self.whole.sub(offset, len_untrusted))
    }

    fn fault_in(&mut self, from: usize, end: usize) -> Option<()> {
        let blocks = from / BLOCK..end.div_ceil(BLOCK);
        let is_there = |block: usize| self.present[block / 64] >> (block % 64) & 1 == 1;
        if blocks.clone().all(is_there) {
            return Some(());
        }
        let start = blocks.start * BLOCK;
        let len = (blocks.end * BLOCK).min(self.whole.len()) - start;
        self.mapping.fault_in(start, len).ok()?;
        for block in blocks {
            self.present[block / 64] |= 1 << (block % 64);
        }
        Some(())
    }
}
