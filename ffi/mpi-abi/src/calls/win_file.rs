//! What can be asked of windows and files while there are none: their handles are null or wrong.
//! The handler on `MPI_FILE_NULL` is that of all calls that have no open file (MPI 5.0, 14.7).

use std::ffi::{c_int, c_void};
use std::sync::{Mutex, PoisonError};

use cohost::mpi::errhandler::{Attached, Errhandler};
use cohost::mpi::failure::{Class, Failure, Outcome, fail};

use super::errors::{handle_of, handler};
use crate::args::Handle;
use crate::constants::{MPI_FILE_NULL, MPI_WIN_NULL};
use crate::enter::Scope;
use crate::hooks;

static FILE_HANDLER: Mutex<Errhandler> = Mutex::new(Errhandler::Return);

/// The error handler of calls about files that are not open.
pub(crate) fn file_handler() -> Errhandler {
    FILE_HANDLER.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

#[cold]
fn no_window<T>(win: Handle) -> Outcome<T> {
    if win == MPI_WIN_NULL {
        return fail(Class::Win, "the window is null");
    }
    fail(Class::Win, format!("no window has the handle {:#x}", win.0))
}

/// Fails unless it is `MPI_FILE_NULL`.
fn null_file(file: Handle) -> Outcome<()> {
    if file == MPI_FILE_NULL {
        return Ok(());
    }
    fail(Class::File, format!("no file has the handle {:#x}", file.0))
}

pub(crate) unsafe fn file_set_errhandler(file: Handle, errhandler: Handle) -> Outcome<()> {
    null_file(file)?;
    let handler = handler(errhandler, Attached::File)?;
    *FILE_HANDLER.lock().unwrap_or_else(PoisonError::into_inner) = handler;
    Ok(())
}

pub(crate) unsafe fn file_get_errhandler(file: Handle, errhandler: *mut Handle) -> Outcome<()> {
    null_file(file)?;
    let handle = handle_of(file_handler())?;
    // SAFETY: the application gives an address to write to.
    unsafe { *errhandler = handle };
    Ok(())
}

pub(crate) unsafe fn file_call_errhandler(fh: Handle, errorcode: c_int) -> Outcome<()> {
    null_file(fh)?;
    let failure = Failure::of_callback(errorcode);
    hooks::raise("MPI_File_call_errhandler", Scope::File(fh), &failure);
    Ok(())
}

pub(crate) unsafe fn win_set_errhandler(win: Handle, _errhandler: Handle) -> Outcome<()> {
    no_window(win)
}

pub(crate) unsafe fn win_get_errhandler(win: Handle, _errhandler: *mut Handle) -> Outcome<()> {
    no_window(win)
}

pub(crate) unsafe fn win_call_errhandler(win: Handle, _errorcode: c_int) -> Outcome<()> {
    no_window(win)
}

pub(crate) unsafe fn win_get_attr(
    win: Handle,
    _win_keyval: c_int,
    _attribute_val: *mut c_void,
    _flag: *mut c_int,
) -> Outcome<()> {
    no_window(win)
}

pub(crate) unsafe fn win_set_attr(
    win: Handle,
    _win_keyval: c_int,
    _attribute_val: *mut c_void,
) -> Outcome<()> {
    no_window(win)
}

pub(crate) unsafe fn win_delete_attr(win: Handle, _win_keyval: c_int) -> Outcome<()> {
    no_window(win)
}
