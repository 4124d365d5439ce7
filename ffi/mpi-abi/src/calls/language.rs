//! Handles as integers (MPI 5.0, 20). The numbers of handles stay below 2^31,
//! so that an integer is the handle itself.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "handles stay below 2^31"
)]

use std::ffi::c_int;

use crate::args::Handle;

fn to_int(handle: Handle) -> c_int {
    handle.0 as c_int
}

fn from_int(number: c_int) -> Handle {
    Handle(number as usize)
}

pub(crate) unsafe fn comm_toint(comm: Handle) -> c_int {
    to_int(comm)
}

pub(crate) unsafe fn comm_fromint(comm: c_int) -> Handle {
    from_int(comm)
}

pub(crate) unsafe fn errhandler_toint(errhandler: Handle) -> c_int {
    to_int(errhandler)
}

pub(crate) unsafe fn errhandler_fromint(errhandler: c_int) -> Handle {
    from_int(errhandler)
}

pub(crate) unsafe fn file_toint(file: Handle) -> c_int {
    to_int(file)
}

pub(crate) unsafe fn file_fromint(file: c_int) -> Handle {
    from_int(file)
}

pub(crate) unsafe fn group_toint(group: Handle) -> c_int {
    to_int(group)
}

pub(crate) unsafe fn group_fromint(group: c_int) -> Handle {
    from_int(group)
}

pub(crate) unsafe fn info_toint(info: Handle) -> c_int {
    to_int(info)
}

pub(crate) unsafe fn info_fromint(info: c_int) -> Handle {
    from_int(info)
}

pub(crate) unsafe fn message_toint(message: Handle) -> c_int {
    to_int(message)
}

pub(crate) unsafe fn message_fromint(message: c_int) -> Handle {
    from_int(message)
}

pub(crate) unsafe fn op_toint(op: Handle) -> c_int {
    to_int(op)
}

pub(crate) unsafe fn op_fromint(op: c_int) -> Handle {
    from_int(op)
}

pub(crate) unsafe fn request_toint(request: Handle) -> c_int {
    to_int(request)
}

pub(crate) unsafe fn request_fromint(request: c_int) -> Handle {
    from_int(request)
}

pub(crate) unsafe fn session_toint(session: Handle) -> c_int {
    to_int(session)
}

pub(crate) unsafe fn session_fromint(session: c_int) -> Handle {
    from_int(session)
}

pub(crate) unsafe fn type_toint(datatype: Handle) -> c_int {
    to_int(datatype)
}

pub(crate) unsafe fn type_fromint(datatype: c_int) -> Handle {
    from_int(datatype)
}

pub(crate) unsafe fn win_toint(win: Handle) -> c_int {
    to_int(win)
}

pub(crate) unsafe fn win_fromint(win: c_int) -> Handle {
    from_int(win)
}
