//! What PMIx passes by memory, as its public headers (`pmix_common.h`) have it since version 3: the
//! part of each structure that all versions share. Version 2 had shorter values and is refused.
//!
//! A structure that we make is longer than any version's; of one that the library made, only the
//! fields below are read, where they are.

use libc::{c_char, c_void};

/// `PMIX_MAX_NSLEN` and the NUL.
const NAMESPACE: usize = 256;
/// `PMIX_MAX_KEYLEN` and the NUL.
const KEY: usize = 512;

pub(super) const BOOL: u16 = 1;
pub(super) const STRING: u16 = 3;
pub(super) const UINT32: u16 = 14;
/// `PMIX_RANK_WILDCARD`: what belongs to the job, not to one rank.
pub(super) const WILDCARD: u32 = u32::MAX - 1;
/// `PMIX_GLOBAL`: a value for all ranks, wherever they are.
pub(super) const GLOBAL: u8 = 3;

/// `pmix_proc_t`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct Proc {
    pub(super) namespace: [c_char; NAMESPACE],
    pub(super) rank: u32,
}

impl Proc {
    pub(super) fn empty() -> Self {
        Self { namespace: [0; NAMESPACE], rank: 0 }
    }
}

/// `pmix_value_t`: a type, and a union of 24 bytes (`pmix_envar_t` is its longest member).
#[repr(C)]
pub(super) struct Value {
    pub(super) kind: u16,
    pub(super) data: Data,
}

/// The members of the union that are used, and more room than any version's.
#[repr(C)]
pub(super) union Data {
    pub(super) flag: bool,
    pub(super) uint32: u32,
    pub(super) string: *const c_char,
    pub(super) room: [u64; 8],
}

impl Value {
    pub(super) fn string(text: &std::ffi::CStr) -> Self {
        let mut value = Self { kind: STRING, data: Data { room: [0; 8] } };
        value.data.string = text.as_ptr();
        value
    }

    pub(super) fn yes() -> Self {
        let mut value = Self { kind: BOOL, data: Data { room: [0; 8] } };
        value.data.flag = true;
        value
    }
}

/// `pmix_info_t`, one of them: an array of several would need the exact length of a value.
#[repr(C)]
pub(super) struct Info {
    key: [c_char; KEY],
    flags: u32,
    value: Value,
}

impl Info {
    /// This key, true. A key too long is cut.
    pub(super) fn yes(name: &std::ffi::CStr) -> Self {
        let mut key = [0; KEY];
        for (to, from) in key.iter_mut().zip(name.to_bytes()).take(KEY - 1) {
            *to = *from as c_char;
        }
        Self { key, flags: 0, value: Value::yes() }
    }
}

/// A status: 0, or a negative number.
pub(super) type Status = libc::c_int;

pub(super) type Init = unsafe extern "C" fn(*mut Proc, *mut Info, usize) -> Status;
pub(super) type Get =
    unsafe extern "C" fn(*const Proc, *const c_char, *const Info, usize, *mut *mut Value) -> Status;
pub(super) type Put = unsafe extern "C" fn(u8, *const c_char, *mut Value) -> Status;
pub(super) type Commit = unsafe extern "C" fn() -> Status;
pub(super) type Fence = unsafe extern "C" fn(*const Proc, usize, *const Info, usize) -> Status;
pub(super) type Abort = unsafe extern "C" fn(Status, *const c_char, *mut Proc, usize) -> Status;
pub(super) type Finalize = unsafe extern "C" fn(*const Info, usize) -> Status;
pub(super) type ErrorString = unsafe extern "C" fn(Status) -> *const c_char;
pub(super) type GetVersion = unsafe extern "C" fn() -> *const c_char;
pub(super) type Symbol = *mut c_void;

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::offset_of;

    #[test]
    fn fields_are_where_the_headers_of_pmix_have_them() {
        assert_eq!((offset_of!(Proc, rank), size_of::<Proc>()), (256, 260));
        assert_eq!(offset_of!(Value, data), 8);
        assert_eq!((offset_of!(Info, flags), offset_of!(Info, value)), (512, 520));
        // 32 and 552 bytes in versions 3 to 6: ours may be longer, never shorter.
        assert!(size_of::<Value>() >= 32 && size_of::<Info>() >= 552);
    }
}
