//! The unsafe floor of the limits meter: a shared mapping of a memfd, and the affinity of threads. Both threads
//! of a measurement are ours, offsets are our own and checked, and no reference to the shared bytes is made
//! except to atomics.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::AtomicU64;

use memmap2::{MmapOptions, MmapRaw};

use super::LimitsError;

/// Shared memory of one measurement.
pub(super) struct Shared {
    map: MmapRaw,
}

impl Shared {
    /// `bytes` of zeroed shared memory, all of it allocated: a full machine is an error here, not SIGBUS later.
    pub(super) fn new(bytes: usize) -> Result<Shared, LimitsError> {
        let map = || -> io::Result<MmapRaw> {
            let file = memfd(bytes)?;
            MmapOptions::new().len(bytes).populate().map_raw(&file)
        };
        let map = map().map_err(|source| LimitsError::Memory { bytes, source })?;
        Ok(Shared { map })
    }

    /// The atomic word at `offset`, which must be a multiple of 8 inside the mapping.
    #[inline]
    pub(super) fn word(&self, offset: usize) -> &AtomicU64 {
        self.check(offset, 8);
        assert!(offset.is_multiple_of(8), "word at {offset} is not aligned");
        let at = self.map.as_mut_ptr().wrapping_add(offset).cast::<u64>();
        // SAFETY: `at` lies inside the mapping (checked), which lives as long as `self` and starts on a page, so
        // it is aligned (checked). The word is only ever accessed through atomics: callers keep words and bytes
        // in disjoint cache lines, or write bytes beside the word.
        unsafe { AtomicU64::from_ptr(at) }
    }

    /// Copies `from` to `offset`. The caller has agreed with the other thread, through a word, that these bytes
    /// are its own for now.
    #[inline]
    pub(super) fn write(&self, offset: usize, from: &[u8]) {
        self.check(offset, from.len());
        let to = self.map.as_mut_ptr().wrapping_add(offset);
        // SAFETY: both ranges are inside their allocations (checked) and cannot overlap, as no slice of the
        // mapping exists. The other thread does not touch these bytes until a release store hands them over.
        unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), to, from.len()) }
    }

    /// Copies from `offset` into `to`, under the same agreement as [`Shared::write`].
    #[inline]
    pub(super) fn read(&self, offset: usize, to: &mut [u8]) {
        self.check(offset, to.len());
        let from = self.map.as_ptr().wrapping_add(offset);
        // SAFETY: as in `write`, with the acquire load that received these bytes before.
        unsafe { std::ptr::copy_nonoverlapping(from, to.as_mut_ptr(), to.len()) }
    }

    #[inline]
    fn check(&self, offset: usize, len: usize) {
        let end = offset.checked_add(len);
        assert!(end.is_some_and(|e| e <= self.map.len()), "{offset}+{len} is outside the mapping");
    }
}

fn memfd(bytes: usize) -> io::Result<File> {
    // SAFETY: the name is a NUL-terminated literal and the flags are the kernel's own.
    let fd = unsafe { libc::memfd_create(c"cohost-limits".as_ptr(), libc::MFD_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call above returned this descriptor, and nothing else owns it.
    let file = File::from(unsafe { OwnedFd::from_raw_fd(fd) });
    let length = libc::off_t::try_from(bytes).map_err(io::Error::other)?;
    // SAFETY: the descriptor is open for the length of this call, and no memory is passed.
    match unsafe { libc::posix_fallocate(file.as_raw_fd(), 0, length) } {
        0 => Ok(file),
        code => Err(io::Error::from_raw_os_error(code)),
    }
}

/// The cores this thread may run on, in ascending order; empty when the kernel does not say.
pub(super) fn allowed_cores() -> Vec<usize> {
    // SAFETY: a `cpu_set_t` is an array of integers, for which all zeros is a value.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    let size = size_of::<libc::cpu_set_t>();
    // SAFETY: `set` is as large as the size passed and lives through the call.
    if unsafe { libc::sched_getaffinity(0, size, &raw mut set) } != 0 {
        return Vec::new();
    }
    let limit = usize::try_from(libc::CPU_SETSIZE).unwrap_or(0);
    // SAFETY: the core number is below CPU_SETSIZE, the number of bits of the set.
    (0..limit).filter(|core| unsafe { libc::CPU_ISSET(*core, &set) }).collect()
}

/// Keeps this thread on `core`. Failure leaves it where it is: the figure is then merely less good.
pub(super) fn pin_to(core: usize) {
    if core >= usize::try_from(libc::CPU_SETSIZE).unwrap_or(0) {
        return;
    }
    // SAFETY: a `cpu_set_t` is an array of integers, for which all zeros is a value.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the core number is below CPU_SETSIZE, checked above.
    unsafe { libc::CPU_SET(core, &mut set) };
    // SAFETY: `set` is as large as the size passed and lives through the call.
    unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set) };
}
