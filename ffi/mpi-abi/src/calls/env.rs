//! The environment: versions and clocks (MPI 5.0, 9).

use std::ffi::{c_char, c_int, c_void};

use cohost::mpi::failure::{Class, Outcome, fail};

use super::info::entries;
use crate::args::Handle;
use crate::constants::{MPI_MAX_PROCESSOR_NAME, MPI_SUBVERSION, MPI_VERSION};
use crate::runtime::process;

/// What `MPI_Get_library_version` says.
const LIBRARY: &str = concat!("cohost ", env!("CARGO_PKG_VERSION"), ", standard ABI 1.0");

pub(crate) unsafe fn get_version(version: *mut c_int, subversion: *mut c_int) -> Outcome<()> {
    // SAFETY: the application gives addresses to write to.
    unsafe { *version = MPI_VERSION };
    // SAFETY: as above.
    unsafe { *subversion = MPI_SUBVERSION };
    Ok(())
}

pub(crate) unsafe fn get_library_version(
    version: *mut c_char,
    resultlen: *mut c_int,
) -> Outcome<()> {
    let bytes = LIBRARY.as_bytes();
    // SAFETY: the application gives room for MPI_MAX_LIBRARY_VERSION_STRING characters.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), version.cast(), bytes.len()) };
    // SAFETY: as above.
    unsafe { *version.wrapping_add(bytes.len()) = 0 };
    // SAFETY: the application gives an address to write to.
    unsafe { *resultlen = c_int::try_from(bytes.len()).unwrap_or(0) };
    Ok(())
}

/// Levels of profiling are for tools that come between.
pub(crate) unsafe fn pcontrol(_level: c_int) -> Outcome<()> {
    Ok(())
}

/// Seconds of the clock that only goes forward.
pub(crate) unsafe fn wtime() -> f64 {
    seconds(|clock, at| {
        // SAFETY: `at` is a timespec to write to.
        unsafe { libc::clock_gettime(clock, at) }
    })
}

pub(crate) unsafe fn wtick() -> f64 {
    seconds(|clock, at| {
        // SAFETY: `at` is a timespec to write to.
        unsafe { libc::clock_getres(clock, at) }
    })
}

#[allow(clippy::cast_precision_loss, reason = "54 bits of nanoseconds are half a year")]
fn seconds(ask: impl FnOnce(libc::clockid_t, &mut libc::timespec) -> c_int) -> f64 {
    let mut at = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    ask(libc::CLOCK_MONOTONIC, &mut at);
    at.tv_sec as f64 + at.tv_nsec as f64 * 1e-9
}

/// The name of this machine.
pub(crate) fn processor_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "localhost".to_owned() } else { name.to_owned() }
}

pub(crate) unsafe fn get_processor_name(name: *mut c_char, resultlen: *mut c_int) -> Outcome<()> {
    // SAFETY: the application gives room for MPI_MAX_PROCESSOR_NAME characters.
    let len = unsafe { crate::text::write(name, MPI_MAX_PROCESSOR_NAME, &processor_name()) };
    // SAFETY: the application gives an address to write to.
    unsafe { *resultlen = len };
    Ok(())
}

/// Key of an info: the least alignment of memory, in bytes (MPI 5.0, 9.2).
const ALIGNMENT: &str = "mpi_minimum_memory_alignment";

/// The alignment asked for, at least 1. What is no alignment is no hint.
fn alignment(hints: &[(String, String)]) -> usize {
    let asked = hints.iter().rev().find(|(key, _)| key == ALIGNMENT);
    let bytes = asked.and_then(|(_, value)| value.trim().parse::<usize>().ok());
    bytes.filter(|bytes| bytes.is_power_of_two()).unwrap_or(1)
}

pub(crate) unsafe fn alloc_mem(size: i64, info: Handle, baseptr: *mut c_void) -> Outcome<()> {
    let Ok(size) = usize::try_from(size) else {
        return fail(Class::Arg, format!("{size} bytes of memory"));
    };
    let address = process()?.memory().take(size, alignment(&entries(info)?))?;
    // SAFETY: the application gives an address to write to.
    unsafe { *baseptr.cast::<*mut c_void>() = address.as_ptr().cast() };
    Ok(())
}

pub(crate) unsafe fn free_mem(base: *mut c_void) -> Outcome<()> {
    if base.is_null() {
        return Ok(());
    }
    let memory = process()?.memory();
    // SAFETY: the application is done with what it gives back.
    unsafe { memory.give_back(base.cast()) }
}
