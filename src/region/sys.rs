//! The system calls of this folder that the standard library does not offer: one small function
//! each, without policy.

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Calls interrupted by a signal are repeated this often; a timer that fires faster than a call
/// can finish would otherwise keep us here for ever.
const INTERRUPTED_MAX: u32 = 1000;

/// Repeats `call` while it is interrupted, and turns -1 into the system's error.
fn retried(mut call: impl FnMut() -> libc::c_int) -> io::Result<libc::c_int> {
    for _ in 0..INTERRUPTED_MAX {
        let result = call();
        if result >= 0 {
            return Ok(result);
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    Err(io::ErrorKind::Interrupted.into())
}

/// A memfd that can be sealed and is closed on exec; also not executable where the kernel
/// (6.3 and later) lets us say so, since some are set up to refuse any other.
pub(super) fn memfd_create(name: &CStr) -> io::Result<OwnedFd> {
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    let raw = memfd_raw(name, flags | libc::MFD_NOEXEC_SEAL).or_else(|error| {
        match error.raw_os_error() {
            Some(libc::EINVAL) => memfd_raw(name, flags),
            _ => Err(error),
        }
    })?;
    // SAFETY: the call has just returned this descriptor, and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}

fn memfd_raw(name: &CStr, flags: libc::c_uint) -> io::Result<libc::c_int> {
    // SAFETY: `name` is a C string that outlives the call.
    retried(|| unsafe { libc::memfd_create(name.as_ptr(), flags) })
}

/// Adds seals to a memfd; once added they stay.
pub(super) fn add_seals(fd: BorrowedFd<'_>, seals: libc::c_int) -> io::Result<()> {
    // SAFETY: plain integers to a descriptor that is open for the call.
    retried(|| unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_ADD_SEALS, seals) }).map(drop)
}

/// The seals of a memfd; an error (`EINVAL`) for anything that cannot be sealed.
pub(super) fn seals(fd: BorrowedFd<'_>) -> io::Result<libc::c_int> {
    // SAFETY: a query on a descriptor that is open for the call.
    retried(|| unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GET_SEALS) })
}

/// Reserves memory for `len` bytes at `offset` without changing the file's length.
pub(super) fn reserve(file: &File, offset: u64, len: u64) -> io::Result<()> {
    let too_far = |_| io::Error::from_raw_os_error(libc::EFBIG);
    let offset = libc::off_t::try_from(offset).map_err(too_far)?;
    let len = libc::off_t::try_from(len).map_err(too_far)?;
    let mode = libc::FALLOC_FL_KEEP_SIZE;
    // SAFETY: plain integers to a descriptor that is open for the call.
    retried(|| unsafe { libc::fallocate(file.as_raw_fd(), mode, offset, len) }).map(drop)
}

/// Takes the exclusive lock of an open file without waiting; whether it was to be had. The lock
/// goes when the last duplicate of the descriptor is closed, however the process ends.
pub(super) fn try_lock(file: &File) -> io::Result<bool> {
    // SAFETY: plain integers to a descriptor that is open for the call.
    let locked =
        retried(|| unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) });
    match locked {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error),
    }
}

/// Bytes that a user may still take from the file system of `path`; `None` where it is not
/// limited (a tmpfs without a size).
pub(super) fn free_bytes(path: &Path) -> io::Result<Option<u64>> {
    let mut name = path.as_os_str().as_bytes().to_vec();
    name.push(0);
    let name = CStr::from_bytes_with_nul(&name).map_err(io::Error::other)?;
    let mut found = std::mem::MaybeUninit::<libc::statvfs>::uninit();
    // SAFETY: both pointers are valid for the call, which fills `found` when it succeeds.
    retried(|| unsafe { libc::statvfs(name.as_ptr(), found.as_mut_ptr()) })?;
    // SAFETY: the call has succeeded.
    let found = unsafe { found.assume_init() };
    Ok((found.f_blocks > 0).then(|| found.f_bavail.saturating_mul(found.f_frsize)))
}

/// The largest file this process may make; exceeding it would send a deadly signal.
pub(super) fn file_size_limit() -> Option<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is valid for the call.
    let found = unsafe { libc::getrlimit(libc::RLIMIT_FSIZE, &raw mut limit) };
    (found == 0 && limit.rlim_cur != libc::RLIM_INFINITY).then_some(limit.rlim_cur)
}

/// The real user id of this process.
pub(super) fn uid() -> u32 {
    // SAFETY: cannot fail, touches no memory.
    unsafe { libc::getuid() }
}

/// The effective user id of this process, which new files belong to.
pub(super) fn effective_uid() -> u32 {
    // SAFETY: cannot fail, touches no memory.
    unsafe { libc::geteuid() }
}

/// Whether this process may open `path` for reading and writing, without opening it: some devices
/// act on being opened.
pub(super) fn may_read_and_write(path: &Path) -> io::Result<()> {
    let mut name = path.as_os_str().as_bytes().to_vec();
    name.push(0);
    let name = CStr::from_bytes_with_nul(&name).map_err(io::Error::other)?;
    // SAFETY: `name` is a C string that outlives the call.
    retried(|| unsafe { libc::access(name.as_ptr(), libc::R_OK | libc::W_OK) }).map(drop)
}
