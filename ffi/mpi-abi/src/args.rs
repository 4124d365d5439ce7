//! What arguments are on their way in and out.

use std::ffi::{c_int, c_void};

use cohost::mpi::failure::{Class, Outcome, fail};

use crate::constants::MPI_UNDEFINED;

#[cfg(not(target_pointer_width = "64"))]
compile_error!("MPI_Aint, MPI_Count and MPI_Offset are taken for one type, of 64 bits");

/// An opaque handle. Predefined ones are small numbers, see [`crate::constants`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Handle(pub usize);

/// `MPI_Status`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[allow(missing_docs, reason = "they are the standard's")]
pub struct Status {
    pub source: c_int,
    pub tag: c_int,
    pub error: c_int,
    pub internal: [c_int; 5],
}

impl Status {
    /// Bytes of the message; the sign bit is free.
    #[must_use]
    pub fn count(&self) -> i64 {
        let [low, high, ..] = self.internal;
        i64::from(high) << 32 | i64::from(low.cast_unsigned())
    }

    /// Sets the bytes of the message.
    #[inline]
    pub fn set_count(&mut self, count: i64) {
        self.internal[0] = count as c_int;
        self.internal[1] = (count >> 32) as c_int;
    }

    /// Whether the operation was cancelled.
    #[must_use]
    pub fn cancelled(&self) -> bool {
        self.internal[2] != 0
    }

    /// Sets whether it was cancelled.
    #[inline]
    pub fn set_cancelled(&mut self, cancelled: bool) {
        self.internal[2] = cancelled.into();
    }
}

/// Numbers of an array that is of `int` in one form of the call and of 64 bits in the other.
#[derive(Clone, Copy, Debug)]
pub struct Numbers {
    at: *const c_void,
    wide: bool,
}

impl Numbers {
    /// An array of `int`.
    #[must_use]
    pub fn ints(at: *const c_int) -> Self {
        Self { at: at.cast(), wide: false }
    }

    /// An array of `MPI_Count`, `MPI_Aint` or `MPI_Offset`.
    #[must_use]
    pub fn wide(at: *const i64) -> Self {
        Self { at: at.cast(), wide: true }
    }

    /// Whether no array was given.
    #[must_use]
    pub fn is_null(self) -> bool {
        self.at.is_null()
    }

    /// One of them.
    ///
    /// # Safety
    /// The array is there and longer than `index`.
    #[must_use]
    pub unsafe fn get(self, index: usize) -> i64 {
        if self.wide {
            // SAFETY: the caller's promise.
            unsafe { *self.at.cast::<i64>().wrapping_add(index) }
        } else {
            // SAFETY: the caller's promise.
            unsafe { *self.at.cast::<c_int>().wrapping_add(index) }.into()
        }
    }

    /// The first `len`; none of an array that was not given.
    ///
    /// # Safety
    /// An array that is there has at least `len`.
    #[must_use]
    pub unsafe fn to_vec(self, len: usize) -> Vec<i64> {
        if self.is_null() {
            return Vec::new();
        }
        // SAFETY: the caller's promise.
        (0..len).map(|index| unsafe { self.get(index) }).collect()
    }
}

/// Where a number goes that is an `int` in one form of the call and of 64 bits in the other.
#[derive(Clone, Copy, Debug)]
pub struct OutNumber {
    at: *mut c_void,
    wide: bool,
    undefined: bool,
}

impl OutNumber {
    /// An `int`.
    #[must_use]
    pub fn ints(at: *mut c_int) -> Self {
        Self { at: at.cast(), wide: false, undefined: false }
    }

    /// An `MPI_Count`, `MPI_Aint` or `MPI_Offset`.
    #[must_use]
    pub fn wide(at: *mut i64) -> Self {
        Self { at: at.cast(), wide: true, undefined: false }
    }

    /// The call has no such argument in this form; what is put there is lost.
    #[must_use]
    pub fn none() -> Self {
        Self::ints(std::ptr::null_mut())
    }

    /// What an `int` cannot hold becomes `MPI_UNDEFINED` there and no error.
    #[must_use]
    pub fn or_undefined(self) -> Self {
        Self { undefined: true, ..self }
    }

    /// Whether there is nothing to write to.
    #[must_use]
    pub fn is_none(self) -> bool {
        self.at.is_null()
    }

    /// Whether it is of 64 bits.
    #[must_use]
    pub fn is_wide(self) -> bool {
        self.wide
    }

    /// Writes the number, if there is a place for it.
    ///
    /// # Safety
    /// The address is null or one that the call may write to.
    ///
    /// # Errors
    /// [`Class::ValueTooLarge`] when an `int` cannot hold it, unless the standard wants
    /// `MPI_UNDEFINED` there.
    pub unsafe fn put(self, value: i64) -> Outcome<()> {
        if self.is_none() {
            return Ok(());
        }
        if self.wide {
            // SAFETY: the caller's promise.
            unsafe { *self.at.cast::<i64>() = value };
            return Ok(());
        }
        let narrow = narrow(value, self.undefined)?;
        // SAFETY: the caller's promise.
        unsafe { *self.at.cast::<c_int>() = narrow };
        Ok(())
    }

    /// The number that is there: for arguments that are read and written.
    ///
    /// # Safety
    /// The address is one that the call may read.
    #[must_use]
    pub unsafe fn get(self) -> i64 {
        let numbers = Numbers { at: self.at, wide: self.wide };
        // SAFETY: the caller's promise.
        unsafe { numbers.get(0) }
    }
}

/// Where an array of such numbers goes.
#[derive(Clone, Copy, Debug)]
pub struct OutNumbers {
    at: *mut c_void,
    wide: bool,
}

impl OutNumbers {
    /// An array of `int`.
    #[must_use]
    pub fn ints(at: *mut c_int) -> Self {
        Self { at: at.cast(), wide: false }
    }

    /// An array of `MPI_Count`, `MPI_Aint` or `MPI_Offset`.
    #[must_use]
    pub fn wide(at: *mut i64) -> Self {
        Self { at: at.cast(), wide: true }
    }

    /// The call has no such argument in this form.
    #[must_use]
    pub fn none() -> Self {
        Self::ints(std::ptr::null_mut())
    }

    /// Whether there is nothing to write to.
    #[must_use]
    pub fn is_none(self) -> bool {
        self.at.is_null()
    }

    /// Writes one of them, if there is a place for it.
    ///
    /// # Safety
    /// The array is null, or the call may write to it, and it is longer than `index`.
    ///
    /// # Errors
    /// [`Class::ValueTooLarge`] when an `int` cannot hold the value.
    pub unsafe fn put(self, index: usize, value: i64) -> Outcome<()> {
        if self.is_none() {
            return Ok(());
        }
        let size = if self.wide { size_of::<i64>() } else { size_of::<c_int>() };
        // SAFETY: the caller's promise.
        let at = unsafe { self.at.byte_add(index * size) };
        let one = OutNumber { at, wide: self.wide, undefined: false };
        // SAFETY: the caller's promise.
        unsafe { one.put(value) }
    }
}

fn narrow(value: i64, undefined: bool) -> Outcome<c_int> {
    match c_int::try_from(value) {
        Ok(narrow) => Ok(narrow),
        Err(_) if undefined => Ok(MPI_UNDEFINED),
        Err(_) => fail(
            Class::ValueTooLarge,
            format!("an int cannot hold {value}: use the form of the call that ends in _c"),
        ),
    }
}

#[cfg(test)]
#[path = "args_tests.rs"]
mod tests;
