//! What calls read from addresses of the application, and write to them.

use std::ffi::c_int;

use cohost::mpi::failure::{Class, Outcome, fail};

/// Writes one value.
///
/// # Safety
/// The address is one that the call may write to.
#[inline]
pub(crate) unsafe fn put<T>(at: *mut T, value: T) {
    // SAFETY: the caller's promise.
    unsafe { at.write(value) };
}

/// Writes the first `most` values of a list.
///
/// # Safety
/// There is room for as many at the address.
pub(crate) unsafe fn put_list<T: Copy>(at: *mut T, values: &[T], most: usize) {
    for (place, value) in values.iter().take(most).enumerate() {
        // SAFETY: the caller's promise.
        unsafe { put(at.wrapping_add(place), *value) };
    }
}

/// Reads a list.
///
/// # Errors
/// `MPI_ERR_ARG` when the length is negative, or the address of a list that is not empty is null.
///
/// # Safety
/// There are as many values at the address.
pub(crate) unsafe fn list<T: Copy>(at: *const T, len: c_int) -> Outcome<Vec<T>> {
    match usize::try_from(len) {
        Ok(0) => Ok(Vec::new()),
        Ok(_) if at.is_null() => fail(Class::Arg, "the array is a null pointer"),
        // SAFETY: the caller's promise.
        Ok(len) => Ok(unsafe { std::slice::from_raw_parts(at, len) }.to_vec()),
        Err(_) => fail(Class::Arg, format!("an array of {len} elements")),
    }
}
