//! Strings on their way in and out.

use std::ffi::{CStr, c_char, c_int};

use cohost::mpi::failure::{Class, Outcome, fail};

/// A string of the application.
///
/// # Errors
/// With this class, when it is null, not UTF-8, empty, or has more than `most` bytes.
///
/// # Safety
/// The address is null or that of a string that ends with a zero.
pub(crate) unsafe fn read(at: *const c_char, most: c_int, class: Class) -> Outcome<String> {
    if at.is_null() {
        return fail(class, "the string is a null pointer");
    }
    // SAFETY: the caller's promise.
    let Ok(text) = unsafe { CStr::from_ptr(at) }.to_str() else {
        return fail(class, "the string is not UTF-8");
    };
    let longest = usize::try_from(most).unwrap_or(0).saturating_sub(1);
    if text.len() > longest {
        return fail(class, format!("the string has more than {longest} bytes"));
    }
    Ok(text.to_owned())
}

/// Writes a string and a zero, cut to `room` bytes with the zero; the bytes written without it.
///
/// # Safety
/// There are `room` bytes at the address.
pub(crate) unsafe fn write(at: *mut c_char, room: c_int, text: &str) -> c_int {
    let Some(most) = usize::try_from(room).ok().and_then(|room| room.checked_sub(1)) else {
        return 0;
    };
    let whole = |&len: &usize| text.is_char_boundary(len);
    let len = (0..=most.min(text.len())).rev().find(whole).unwrap_or(0);
    // SAFETY: the caller's promise.
    unsafe { std::ptr::copy_nonoverlapping(text.as_ptr(), at.cast(), len) };
    // SAFETY: as above.
    unsafe { *at.wrapping_add(len) = 0 };
    c_int::try_from(len).unwrap_or(0)
}
