//! A section as its owner has it and as a peer has it, whatever memory it is made of.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

use memmap2::{Advice, MmapOptions, MmapRaw};

use super::access::{Local, Mapping, Remote};
use super::device::Lease;
use super::layout::{CHALLENGE_BYTES, EPOCH_OFFSET, PAGE, SectionLayout};
use super::{Identity, LayoutError, RegionError, file, sys};

/// Who can write into a section, besides its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protection {
    /// The kernel lets nobody else map it writable, or punch holes into it.
    Sealed,
    /// Its length is sealed, but the kernel (before 5.1) knows no seal against writing: peers map
    /// it read-only because they are polite.
    LengthOnly,
    /// Whoever has the same user id can open it for writing, or truncate it.
    FileMode,
    /// The hypervisor lets peers read, and nobody but us write.
    Hypervisor,
    /// Every machine that has the device can write into all of it, and so can every process there
    /// that may open it: members map what is not theirs read-only because they are polite.
    Device,
    /// The memory is this process's own.
    Private,
}

/// Where a section's bytes come from.
#[derive(Debug)]
pub(super) enum Backing {
    /// A memfd or a file; `name` when it has one in a directory.
    Store { file: File, place: String, name: Option<file::Name> },
    /// Memory that is zero and all there: of this process, or fresh from the hypervisor.
    Heap,
    /// Memory of a device, which may hold what others have left there; with the lease on it,
    /// where it takes one.
    Device(Option<Arc<Lease>>),
}

/// Our own block for one peer.
#[derive(Clone, Debug)]
pub struct LocalPair {
    /// Control lines.
    pub control: Local,
    /// Cells.
    pub cells: Local,
    /// Bulk bytes.
    pub bulk: Local,
}

/// A peer's block for us.
#[derive(Clone, Debug)]
pub struct RemotePair {
    /// Control lines.
    pub control: Remote,
    /// Cells.
    pub cells: Remote,
    /// Bulk bytes.
    pub bulk: Remote,
}

/// The section that this member owns and alone writes.
#[derive(Debug)]
pub struct OwnSection {
    identity: Identity,
    window: Local,
    backing: Backing,
    protection: Protection,
    active: Vec<bool>,
}

impl OwnSection {
    /// Takes a zeroed mapping whose header is backed by memory, and writes that header.
    pub(super) fn new(
        identity: Identity,
        mapping: Mapping,
        backing: Backing,
        protection: Protection,
    ) -> Self {
        let window = Local::new(Arc::new(mapping));
        identity.write(&window);
        let active = vec![false; identity.layout.members() as usize];
        Self { identity, window, backing, protection, active }
    }

    /// What this section says of itself.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The whole section. Blocks that are not active must not be touched: see [`Self::pair`].
    #[must_use]
    pub fn window(&self) -> &Local {
        &self.window
    }

    /// Who else could write here.
    #[must_use]
    pub fn protection(&self) -> Protection {
        self.protection
    }

    /// The descriptor to hand to peers; `None` for heap memory.
    #[must_use]
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        match &self.backing {
            Backing::Store { file, .. } => Some(file.as_fd()),
            Backing::Heap | Backing::Device(_) => None,
        }
    }

    /// Whether somebody else has taken this section's memory, because its owner had seemed dead
    /// for long enough (a machine that was suspended). Sticky, and never so for memory without
    /// leases. Write nothing more then, and drop the section: peers find another epoch in it.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        match &self.backing {
            Backing::Device(Some(lease)) => lease.is_lost(),
            _ => false,
        }
    }

    /// The file's path, when the section is a named file.
    #[must_use]
    pub fn path(&self) -> Option<&std::path::Path> {
        match &self.backing {
            Backing::Store { name, .. } => name.as_ref().map(file::Name::path),
            Backing::Heap | Backing::Device(_) => None,
        }
    }

    /// Removes the file's name, once all peers have opened it: what has no name cannot be left
    /// behind. Without effect for other kinds, or the second time.
    pub fn unlink(&mut self) {
        if let Backing::Store { name, .. } = &mut self.backing {
            *name = None;
        }
    }

    /// Puts memory behind the block for `peer` and tells that peer so. Until then the block takes
    /// none. Again without effect when it is active already.
    ///
    /// # Errors
    /// [`RegionError::NoSpace`] with the exact number of bytes when the store is full; nothing is
    /// published then and it may be tried again.
    pub fn activate(&mut self, peer: u32) -> Result<(), RegionError> {
        let layout = self.identity.layout;
        let block = layout.block(self.identity.index, peer)?.whole;
        if self.active[peer as usize] {
            return Ok(());
        }
        if let Backing::Store { file, place, name } = &self.backing {
            // A file can be truncated by others of the same user: look again before touching it.
            check_length(file, layout.total_bytes() as u64, place)?;
            let directory = name.as_ref().map(file::Name::directory);
            reserve(file, block.start as u64, block.len() as u64, place, directory)?;
        }
        if let Backing::Device(_) = self.backing {
            // Rings begin with zeros; what a former owner has left there is not read by anybody.
            self.window.clear(block.start, block.len());
        } else {
            for page in block.step_by(PAGE) {
                // Faults the page in now rather than under the first message.
                self.window.store_u64(page, 0);
            }
        }
        self.active[peer as usize] = true;
        // SYNC POINT: pairs with the load in `PeerSection::is_active`.
        self.window.store_u32(layout.active_offset(peer)?, 1);
        Ok(())
    }

    /// Our block for `peer`.
    ///
    /// # Errors
    /// When the pair has not been activated, or there is no such peer.
    pub fn pair(&self, peer: u32) -> Result<LocalPair, RegionError> {
        let owner = self.identity.index;
        let block = self.identity.layout.block(owner, peer)?;
        if !self.active[peer as usize] {
            return Err(RegionError::NotActive { owner, peer });
        }
        let part = |range: std::ops::Range<usize>| self.window.sub(range.start, range.len());
        Ok(LocalPair {
            control: part(block.control),
            cells: part(block.cells),
            bulk: part(block.bulk),
        })
    }

    /// Leaves a challenge for `peer` to read.
    ///
    /// # Errors
    /// When there is no such peer.
    pub fn set_challenge(
        &self,
        peer: u32,
        challenge: &[u8; CHALLENGE_BYTES],
    ) -> Result<(), LayoutError> {
        let offset = self.identity.layout.challenge_offset(peer)?;
        self.window.copy_in(offset, challenge);
        Ok(())
    }

    /// The same section as member `me` sees it, within this process; for heap memory only.
    pub(super) fn seen_by(&self, me: u32) -> Result<PeerSection, RegionError> {
        PeerSection::within(
            self.window.as_remote(),
            &self.identity,
            me,
            Protection::Private,
            "the heap",
        )
    }
}

#[derive(Debug)]
enum Source {
    File(File),
    /// All of it is mapped already.
    Whole(Remote),
}

/// A peer's section: there is no way to write to it. Of a file only the header is mapped at first,
/// and then the one block that is meant for us.
#[derive(Debug)]
pub struct PeerSection {
    identity: Identity,
    me: u32,
    header: Remote,
    source: Source,
    protection: Protection,
    place: String,
}

impl PeerSection {
    /// Maps and checks the header of a file whose kind and owner are known to be right.
    pub(super) fn open(
        file: File,
        expected: &Identity,
        me: u32,
        protection: Protection,
        place: &str,
    ) -> Result<Self, RegionError> {
        check_length(&file, expected.layout.total_bytes() as u64, place)?;
        let header = map_read_only(&file, 0, expected.layout.header_bytes(), place)?;
        Self::new(*expected, me, header, Source::File(file), protection, place)
    }

    /// Checks a section that is mapped already; `whole` has the length that its layout says.
    pub(super) fn within(
        whole: Remote,
        expected: &Identity,
        me: u32,
        protection: Protection,
        place: &str,
    ) -> Result<Self, RegionError> {
        let header = whole.sub(0, expected.layout.header_bytes());
        let source = Source::Whole(whole);
        Self::new(*expected, me, header, source, protection, place)
    }

    fn new(
        identity: Identity,
        me: u32,
        header: Remote,
        source: Source,
        protection: Protection,
        place: &str,
    ) -> Result<Self, RegionError> {
        identity.layout.block(identity.index, me)?;
        identity.check(&header, place)?;
        Ok(Self { identity, me, header, source, protection, place: place.to_owned() })
    }

    /// What was expected of the section, and found.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The section's header.
    #[must_use]
    pub fn header(&self) -> &Remote {
        &self.header
    }

    /// Our own member index.
    #[must_use]
    pub fn me(&self) -> u32 {
        self.me
    }

    /// Who could write into this section.
    #[must_use]
    pub fn protection(&self) -> Protection {
        self.protection
    }

    /// Whether the owner runs on the same kernel as this process.
    #[must_use]
    pub fn is_on_this_kernel(&self) -> bool {
        use Protection::{FileMode, LengthOnly, Private, Sealed};
        matches!(self.protection, Sealed | LengthOnly | FileMode | Private)
    }

    /// The challenge that the owner has left for us. A challenge read while it is being written
    /// is a mixture, which fails its check like any wrong one.
    #[must_use]
    pub fn challenge(&self) -> [u8; CHALLENGE_BYTES] {
        let mut challenge = [0; CHALLENGE_BYTES];
        if let Ok(offset) = self.identity.layout.challenge_offset(self.me) {
            self.header.copy_out(offset, &mut challenge);
        }
        challenge
    }

    /// Whether the header still says what it said: a restarted owner has another epoch.
    ///
    /// # Errors
    /// [`RegionError::WrongHeader`] with the first field that differs.
    pub fn check_header(&self) -> Result<(), RegionError> {
        self.identity.check(&self.header, &self.place)
    }

    /// Whether the memory is still the owner's, for those who copy out of memory that may vanish.
    #[must_use]
    pub fn life(&self) -> Life {
        Life { header: self.header.clone(), epoch: self.identity.epoch }
    }

    /// Whether the owner says that the block for us is backed by memory.
    #[must_use]
    pub fn is_active(&self) -> bool {
        // SYNC POINT: pairs with the store at the end of `OwnSection::activate`.
        let offset = self.identity.layout.active_offset(self.me);
        offset.is_ok_and(|offset| self.header.load_u32(offset) == 1)
    }

    /// Maps the block meant for us. Its memory is faulted in here, so that a lie of the owner's
    /// about it is an error now and not a deadly signal later (Linux 5.14 and later; before that,
    /// the owner's word is taken).
    ///
    /// # Errors
    /// When the owner has not activated it, or the memory is not there.
    pub fn pair(&self) -> Result<RemotePair, RegionError> {
        let owner = self.identity.index;
        let block = self.identity.layout.block(owner, self.me)?;
        if !self.is_active() {
            return Err(RegionError::NotActive { owner, peer: self.me });
        }
        let start = block.whole.start;
        let whole = match &self.source {
            Source::File(file) => {
                check_length(file, self.identity.layout.total_bytes() as u64, &self.place)?;
                map_read_only(file, start, block.whole.len(), &self.place)?
            }
            Source::Whole(all) => all.sub(start, block.whole.len()),
        };
        let part = |range: std::ops::Range<usize>| whole.sub(range.start - start, range.len());
        Ok(RemotePair {
            control: part(block.control),
            cells: part(block.cells),
            bulk: part(block.bulk),
        })
    }
}

/// Tells whether memory that can vanish was there: what is read of it after it went is zeros.
#[derive(Clone, Debug)]
pub struct Life {
    header: Remote,
    epoch: u64,
}

impl Life {
    /// Whether all that this thread has read of the section until now was the owner's. One load, of
    /// a line that nobody writes: memory goes as a whole, and who takes a slot clears its header
    /// before anything else.
    #[inline]
    #[must_use]
    pub fn lasts(&self) -> bool {
        // SYNC POINT: what was read before stays before the look at the epoch.
        fence(Ordering::Acquire);
        self.header.load_u64(EPOCH_OFFSET) == self.epoch
    }
}

/// Maps `len` bytes at `offset` read-only and faults them in.
fn map_read_only(
    file: &File,
    offset: usize,
    len: usize,
    place: &str,
) -> Result<Remote, RegionError> {
    let map: MmapRaw = MmapOptions::new()
        .offset(offset as u64)
        .len(len)
        .map_raw_read_only(file)
        .map_err(RegionError::system("mmap", place))?;
    match map.advise_range(Advice::PopulateRead, 0, len) {
        Err(error) if error.raw_os_error() == Some(libc::EFAULT) => Err(RegionError::Unbacked {
            place: place.to_owned(),
            offset: offset as u64,
            bytes: len as u64,
        }),
        // Any other refusal is of the advice, not of the memory: an older kernel knows it not.
        _ => Ok(Remote::new(Arc::new(Mapping::from(map)))),
    }
}

/// Compares a file's length with the one we computed.
pub(super) fn check_length(file: &File, expected: u64, place: &str) -> Result<(), RegionError> {
    let found = file.metadata().map_err(RegionError::system("fstat", place))?.len();
    if found == expected {
        Ok(())
    } else {
        Err(RegionError::WrongSize { place: place.to_owned(), found, expected })
    }
}

/// Gives a new file its length, and memory for its header only; then maps all of it writable.
pub(super) fn prepare(
    file: &File,
    layout: &SectionLayout,
    place: &str,
    directory: Option<&std::path::Path>,
) -> Result<Mapping, RegionError> {
    let total = layout.total_bytes() as u64;
    if let Some(limit) = sys::file_size_limit().filter(|&limit| limit < total) {
        return Err(RegionError::FileLimit { needed: total, limit });
    }
    file.set_len(total).map_err(RegionError::system("ftruncate", place))?;
    reserve(file, 0, layout.header_bytes() as u64, place, directory)?;
    let map = MmapOptions::new()
        .len(layout.total_bytes())
        .map_raw(file)
        .map_err(RegionError::system("mmap", place))?;
    Ok(Mapping::from(map))
}

/// Reserves memory, or says exactly how much was missing. `directory` is where to look for how
/// much is free.
fn reserve(
    file: &File,
    offset: u64,
    needed: u64,
    place: &str,
    directory: Option<&std::path::Path>,
) -> Result<(), RegionError> {
    let Err(error) = sys::reserve(file, offset, needed) else {
        return Ok(());
    };
    let place = place.to_owned();
    Err(match error.raw_os_error() {
        Some(libc::ENOSPC | libc::EDQUOT | libc::EFBIG | libc::ENOMEM) => {
            let available = directory.and_then(|path| sys::free_bytes(path).ok().flatten());
            RegionError::NoSpace { needed, available, place }
        }
        Some(libc::EOPNOTSUPP | libc::ENOSYS | libc::ENODEV) => {
            RegionError::CannotReserve { place }
        }
        _ => RegionError::System { what: "fallocate", place, source: error },
    })
}
