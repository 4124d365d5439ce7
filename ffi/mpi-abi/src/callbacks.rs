//! Functions that applications write. Attribute functions may also be the constants 0 (do nothing)
//! and 1 (copy): compare the address, and never call those.

#![allow(missing_docs, reason = "they are the standard's, under its names")]

use std::ffi::{c_int, c_void};

use crate::args::{Handle, Status};

pub type UserFunction =
    Option<unsafe extern "C" fn(*mut c_void, *mut c_void, *mut c_int, *mut Handle)>;
pub type UserFunctionC =
    Option<unsafe extern "C" fn(*mut c_void, *mut c_void, *mut i64, *mut Handle)>;

/// The function of an operation, of either form.
#[derive(Clone, Copy, Debug)]
pub enum EitherUserFunction {
    Small(UserFunction),
    Large(UserFunctionC),
}

pub type CommCopyAttrFunction = CopyFunction;
pub type CommDeleteAttrFunction = DeleteFunction;
pub type TypeCopyAttrFunction = CopyFunction;
pub type TypeDeleteAttrFunction = DeleteFunction;
pub type WinCopyAttrFunction = CopyFunction;
pub type WinDeleteAttrFunction = DeleteFunction;
pub type CopyFunction = Option<
    unsafe extern "C" fn(Handle, c_int, *mut c_void, *mut c_void, *mut c_void, *mut c_int) -> c_int,
>;
pub type DeleteFunction =
    Option<unsafe extern "C" fn(Handle, c_int, *mut c_void, *mut c_void) -> c_int>;

pub type CommErrhandlerFunction = ErrhandlerFunction;
pub type FileErrhandlerFunction = ErrhandlerFunction;
pub type SessionErrhandlerFunction = ErrhandlerFunction;
pub type WinErrhandlerFunction = ErrhandlerFunction;
pub type ErrhandlerFunction = Option<unsafe extern "C" fn(*mut Handle, *mut c_int, ...)>;

pub type GrequestQueryFunction = Option<unsafe extern "C" fn(*mut c_void, *mut Status) -> c_int>;
pub type GrequestFreeFunction = Option<unsafe extern "C" fn(*mut c_void) -> c_int>;
pub type GrequestCancelFunction = Option<unsafe extern "C" fn(*mut c_void, c_int) -> c_int>;

pub type DatarepExtentFunction =
    Option<unsafe extern "C" fn(Handle, *mut isize, *mut c_void) -> c_int>;
pub type DatarepConversionFunction = Option<
    unsafe extern "C" fn(*mut c_void, Handle, c_int, *mut c_void, i64, *mut c_void) -> c_int,
>;
pub type DatarepConversionFunctionC =
    Option<unsafe extern "C" fn(*mut c_void, Handle, i64, *mut c_void, i64, *mut c_void) -> c_int>;

/// A conversion of a data representation, of either form.
#[derive(Clone, Copy, Debug)]
pub enum EitherDatarepConversionFunction {
    Small(DatarepConversionFunction),
    Large(DatarepConversionFunctionC),
}

pub type TEventCbFunction = Option<unsafe extern "C" fn(Handle, Handle, c_int, *mut c_void)>;
pub type TEventDroppedCbFunction =
    Option<unsafe extern "C" fn(i64, Handle, c_int, c_int, *mut c_void)>;
pub type TEventFreeCbFunction = Option<unsafe extern "C" fn(Handle, c_int, *mut c_void)>;

/// The address of an application's state, for functions that are called on any thread.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extra(*mut c_void);

// SAFETY: the application says where its functions may be called with it.
unsafe impl Send for Extra {}
// SAFETY: as above.
unsafe impl Sync for Extra {}

impl Extra {
    pub(crate) fn new(state: *mut c_void) -> Self {
        Self(state)
    }

    pub(crate) fn get(self) -> *mut c_void {
        self.0
    }
}
