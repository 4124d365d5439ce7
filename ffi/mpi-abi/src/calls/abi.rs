//! The ABI, and what Fortran's side of it says of its compiler (MPI 5.0, 20).

use std::ffi::{c_int, c_void};
use std::sync::{Mutex, MutexGuard, PoisonError};

use cohost::mpi::failure::{Class, Outcome, fail};

use crate::args::Handle;
use crate::constants::{MPI_ABI_SUBVERSION, MPI_ABI_VERSION, MPI_INFO_NULL};

/// Sizes of Fortran's types that this library has.
const SIZES: &[(&str, usize)] = &[
    ("mpi_logical_size", 4),
    ("mpi_integer_size", 4),
    ("mpi_real_size", 4),
    ("mpi_double_precision_size", 8),
];

#[derive(Debug, Default)]
struct Fortran {
    info: Option<Vec<(String, String)>>,
    /// Sizes of logicals whose values were told.
    booleans: Vec<c_int>,
}

static FORTRAN: Mutex<Fortran> = Mutex::new(Fortran { info: None, booleans: Vec::new() });

fn fortran() -> MutexGuard<'static, Fortran> {
    FORTRAN.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) unsafe fn abi_get_version(abi_major: *mut c_int, abi_minor: *mut c_int) -> Outcome<()> {
    // SAFETY: the application gives addresses to write to.
    unsafe { *abi_major = MPI_ABI_VERSION };
    // SAFETY: as above.
    unsafe { *abi_minor = MPI_ABI_SUBVERSION };
    Ok(())
}

pub(crate) unsafe fn abi_get_info(info: *mut Handle) -> Outcome<()> {
    let sizes = ["mpi_aint_size", "mpi_count_size", "mpi_offset_size"];
    let entries = sizes.map(|key| (key.to_owned(), size_of::<i64>().to_string()));
    let made = super::new_info(entries.to_vec())?;
    // SAFETY: the application gives an address to write to.
    unsafe { *info = made };
    Ok(())
}

/// Whether the library can do with what the info says of Fortran.
fn check(entries: &[(String, String)]) -> Outcome<()> {
    for (key, value) in entries {
        let wanted = SIZES.iter().find(|(name, _)| name == key).map(|(_, size)| *size);
        if let Some(size) = wanted
            && value.trim().parse() != Ok(size)
        {
            let why = format!("{key} is '{value}', and this library has {size} only");
            return fail(Class::Abi, why);
        }
    }
    Ok(())
}

pub(crate) unsafe fn abi_set_fortran_info(info: Handle) -> Outcome<()> {
    let entries = super::info(info)?.entries();
    check(&entries)?;
    let mut fortran = fortran();
    if fortran.info.is_some() {
        return fail(Class::Abi, "Fortran's sizes were set before");
    }
    fortran.info = Some(entries);
    Ok(())
}

pub(crate) unsafe fn abi_get_fortran_info(info: *mut Handle) -> Outcome<()> {
    let entries = fortran().info.clone();
    let made = entries.map_or(Ok(MPI_INFO_NULL), super::new_info)?;
    // SAFETY: the application gives an address to write to.
    unsafe { *info = made };
    Ok(())
}

/// Bytes of a logical of this size.
///
/// # Errors
/// When there is no such logical.
fn logical(size: c_int) -> Outcome<usize> {
    match size {
        1 | 2 | 4 | 8 | 16 => Ok(size.unsigned_abs() as usize),
        _ => fail(Class::Arg, format!("no logical of Fortran has {size} bytes")),
    }
}

/// The values that the operations of this library give.
fn value_of(truth: bool, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    let lowest = if cfg!(target_endian = "little") { 0 } else { len - 1 };
    bytes[lowest] = truth.into();
    bytes
}

pub(crate) unsafe fn abi_set_fortran_booleans(
    logical_size: c_int,
    logical_true: *mut c_void,
    logical_false: *mut c_void,
) -> Outcome<()> {
    let len = logical(logical_size)?;
    for (at, truth) in [(logical_true, true), (logical_false, false)] {
        if at.is_null() {
            return fail(Class::Arg, "the address of a logical is null");
        }
        // SAFETY: the application gives logicals of that size.
        let given = unsafe { std::slice::from_raw_parts(at.cast::<u8>(), len) };
        if given != value_of(truth, len) {
            let why = "this library has .true. as 1 and .false. as 0 only";
            return fail(Class::Abi, why);
        }
    }
    let mut fortran = fortran();
    if fortran.booleans.contains(&logical_size) {
        return fail(Class::Abi, "Fortran's logicals of this size were set before");
    }
    fortran.booleans.push(logical_size);
    Ok(())
}

pub(crate) unsafe fn abi_get_fortran_booleans(
    logical_size: c_int,
    logical_true: *mut c_void,
    logical_false: *mut c_void,
    is_set: *mut c_int,
) -> Outcome<()> {
    let len = logical(logical_size)?;
    let known = fortran().booleans.contains(&logical_size);
    // SAFETY: the application gives an address to write to.
    unsafe { *is_set = known.into() };
    for (at, truth) in [(logical_true, true), (logical_false, false)] {
        if known && !at.is_null() {
            let value = value_of(truth, len);
            // SAFETY: the application gives room for a logical of that size.
            unsafe { std::ptr::copy_nonoverlapping(value.as_ptr(), at.cast(), len) };
        }
    }
    Ok(())
}
