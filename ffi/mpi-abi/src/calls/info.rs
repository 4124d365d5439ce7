//! Info objects (MPI 5.0, 10).

use std::ffi::{c_char, c_int};
use std::sync::Arc;

use cohost::mpi::failure::{Class, Outcome, fail};
use cohost::mpi::info::Info;

use crate::args::Handle;
use crate::constants::{MPI_INFO_ENV, MPI_INFO_NULL, MPI_MAX_INFO_KEY, MPI_MAX_INFO_VAL};
use crate::handles::{Shared, Table};
use crate::text;

static INFOS: Shared<Info> = Table::new(Class::Info, "info");

/// An info.
///
/// # Errors
/// `MPI_ERR_INFO` when there is none.
pub(crate) fn info(handle: Handle) -> Outcome<Arc<Info>> {
    match handle {
        MPI_INFO_NULL => INFOS.null(),
        MPI_INFO_ENV => Ok(Arc::new(Info::new(environment()))),
        _ => INFOS.get(handle),
    }
}

/// The entries of an info that may be `MPI_INFO_NULL`.
///
/// # Errors
/// `MPI_ERR_INFO` when there is none.
pub(crate) fn entries(handle: Handle) -> Outcome<Vec<(String, String)>> {
    if handle == MPI_INFO_NULL {
        return Ok(Vec::new());
    }
    info(handle).map(|info| info.entries())
}

/// Gives an info a handle.
///
/// # Errors
/// `MPI_ERR_NO_MEM` when there are too many.
pub(crate) fn new_info(entries: Vec<(String, String)>) -> Outcome<Handle> {
    INFOS.insert(Arc::new(Info::new(entries)))
}

/// What `MPI_INFO_ENV` says of how this process was started (MPI 5.0, 10): what is known of it.
fn environment() -> Vec<(String, String)> {
    let mut entries = Vec::new();
    let mut add = |key: &str, value: Option<String>| {
        entries.extend(value.map(|value| (key.to_owned(), value)));
    };
    let path = |path: std::io::Result<std::path::PathBuf>| {
        path.ok().map(|path| path.to_string_lossy().into_owned())
    };
    add("command", path(std::env::current_exe()));
    let arguments: Vec<String> =
        std::env::args_os().skip(1).map(|it| it.to_string_lossy().into_owned()).collect();
    add("argv", Some(arguments.join(" ")).filter(|all| !all.is_empty()));
    add("maxprocs", crate::runtime::joined().map(|process| process.size().to_string()));
    add("host", Some(super::processor_name()));
    add("arch", Some(std::env::consts::ARCH.to_owned()));
    add("wdir", path(std::env::current_dir()));
    add("thread_level", Some(super::level_name().to_owned()));
    entries
}

/// A key of the application.
///
/// # Safety
/// The address is null or that of a string.
unsafe fn key(at: *const c_char) -> Outcome<String> {
    // SAFETY: the caller's promise.
    let key = unsafe { text::read(at, MPI_MAX_INFO_KEY, Class::InfoKey) }?;
    if key.trim().is_empty() {
        return fail(Class::InfoKey, "the key is empty");
    }
    Ok(key.trim().to_owned())
}

pub(crate) unsafe fn info_create(out: *mut Handle) -> Outcome<()> {
    let handle = new_info(Vec::new())?;
    // SAFETY: the application gives an address to write to.
    unsafe { *out = handle };
    Ok(())
}

pub(crate) unsafe fn info_create_env(
    _argc: c_int,
    _argv: *mut *mut c_char,
    out: *mut Handle,
) -> Outcome<()> {
    let handle = new_info(environment())?;
    // SAFETY: the application gives an address to write to.
    unsafe { *out = handle };
    Ok(())
}

pub(crate) unsafe fn info_dup(handle: Handle, out: *mut Handle) -> Outcome<()> {
    let copy = new_info(info(handle)?.entries())?;
    // SAFETY: the application gives an address to write to.
    unsafe { *out = copy };
    Ok(())
}

pub(crate) unsafe fn info_free(handle: *mut Handle) -> Outcome<()> {
    // SAFETY: the application gives the address of an info.
    let given = unsafe { *handle };
    if given == MPI_INFO_NULL || given == MPI_INFO_ENV {
        return fail(Class::Info, "a predefined info cannot be freed");
    }
    INFOS.remove(given)?;
    // SAFETY: as above.
    unsafe { *handle = MPI_INFO_NULL };
    Ok(())
}

pub(crate) unsafe fn info_set(
    handle: Handle,
    at: *const c_char,
    value: *const c_char,
) -> Outcome<()> {
    let info = info(handle)?;
    if handle == MPI_INFO_ENV {
        return fail(Class::Info, "MPI_INFO_ENV cannot be changed");
    }
    // SAFETY: the application gives strings.
    let key = unsafe { key(at) }?;
    // SAFETY: as above.
    let value = unsafe { text::read(value, MPI_MAX_INFO_VAL, Class::InfoValue) }?;
    info.set(&key, value.trim());
    Ok(())
}

pub(crate) unsafe fn info_delete(handle: Handle, at: *const c_char) -> Outcome<()> {
    let info = info(handle)?;
    // SAFETY: the application gives a string.
    let key = unsafe { key(at) }?;
    if info.delete(&key) {
        return Ok(());
    }
    fail(Class::InfoNokey, format!("the info has no key '{key}'"))
}

pub(crate) unsafe fn info_get_nkeys(handle: Handle, nkeys: *mut c_int) -> Outcome<()> {
    let len = info(handle)?.len();
    // SAFETY: the application gives an address to write to.
    unsafe { *nkeys = c_int::try_from(len).unwrap_or(c_int::MAX) };
    Ok(())
}

pub(crate) unsafe fn info_get_nthkey(handle: Handle, n: c_int, out: *mut c_char) -> Outcome<()> {
    let info = info(handle)?;
    let Some(key) = usize::try_from(n).ok().and_then(|n| info.nth_key(n)) else {
        let why = format!("the info has no key {n}: it has {} from 0 on", info.len());
        return fail(Class::Arg, why);
    };
    // SAFETY: the application gives room for MPI_MAX_INFO_KEY characters.
    unsafe { text::write(out, MPI_MAX_INFO_KEY, &key) };
    Ok(())
}

pub(crate) unsafe fn info_get(
    handle: Handle,
    at: *const c_char,
    valuelen: c_int,
    value: *mut c_char,
    flag: *mut c_int,
) -> Outcome<()> {
    // SAFETY: the application gives a string.
    let found = info(handle)?.get(&unsafe { key(at) }?);
    // SAFETY: the application gives an address to write to.
    unsafe { *flag = found.is_some().into() };
    if let Some(found) = found {
        // SAFETY: the room does not count the zero (MPI 5.0, 16).
        unsafe { text::write(value, valuelen.saturating_add(1), &found) };
    }
    Ok(())
}

pub(crate) unsafe fn info_get_valuelen(
    handle: Handle,
    at: *const c_char,
    valuelen: *mut c_int,
    flag: *mut c_int,
) -> Outcome<()> {
    // SAFETY: the application gives a string.
    let found = info(handle)?.get(&unsafe { key(at) }?);
    // SAFETY: the application gives an address to write to.
    unsafe { *flag = found.is_some().into() };
    if let Some(found) = found {
        // SAFETY: as above.
        unsafe { *valuelen = c_int::try_from(found.len()).unwrap_or(c_int::MAX) };
    }
    Ok(())
}

pub(crate) unsafe fn info_get_string(
    handle: Handle,
    at: *const c_char,
    buflen: *mut c_int,
    value: *mut c_char,
    flag: *mut c_int,
) -> Outcome<()> {
    // SAFETY: the application gives a string.
    let found = info(handle)?.get(&unsafe { key(at) }?);
    // SAFETY: the application gives an address to write to.
    unsafe { *flag = found.is_some().into() };
    if let Some(found) = found {
        // SAFETY: as above; it says how much room there is, with the zero.
        let room = unsafe { *buflen };
        if room > 0 {
            // SAFETY: as above.
            unsafe { text::write(value, room, &found) };
        }
        // SAFETY: as above.
        unsafe { *buflen = c_int::try_from(found.len() + 1).unwrap_or(c_int::MAX) };
    }
    Ok(())
}
