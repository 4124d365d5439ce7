//! Device calls (`ioctl`) that pass one structure; each caller documents its own.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// The number of a call without direction bits: what Xen's devices and VFIO use (`_IOC_NONE`,
/// zero on the architectures they exist on). `bytes` is the size of its structure.
pub(crate) const fn number(group: u8, number: u8, bytes: usize) -> libc::Ioctl {
    ((bytes as u32) << 16 | (group as u32) << 8 | number as u32) as libc::Ioctl
}

/// Interrupted calls are repeated this often.
const INTERRUPTED_MAX: u32 = 1000;

/// Calls `request` with a pointer to `argument`.
///
/// # Safety
/// The call must read and write no more than `argument`, and must not keep the pointer.
pub(crate) unsafe fn call<T: ?Sized>(
    fd: BorrowedFd<'_>,
    request: libc::Ioctl,
    argument: &mut T,
) -> io::Result<libc::c_int> {
    let pointer = std::ptr::from_mut(argument).cast::<libc::c_void>();
    for _ in 0..INTERRUPTED_MAX {
        // SAFETY: the descriptor is open for the call; the rest is the caller's promise.
        let result = unsafe { libc::ioctl(fd.as_raw_fd(), request, pointer) };
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

/// Calls `request` with a plain number.
///
/// # Safety
/// The call must take its argument as a number.
pub(crate) unsafe fn call_number(
    fd: BorrowedFd<'_>,
    request: libc::Ioctl,
    argument: libc::c_ulong,
) -> io::Result<libc::c_int> {
    // SAFETY: the descriptor is open for the call; the rest is the caller's promise.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), request, argument) };
    if result >= 0 { Ok(result) } else { Err(io::Error::last_os_error()) }
}
