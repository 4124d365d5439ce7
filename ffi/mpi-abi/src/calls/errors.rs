//! Errors: handlers, classes, codes and texts (MPI 5.0, 9.3 to 9.5).

use std::collections::BTreeMap;
use std::ffi::{c_char, c_int};
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cohost::mpi::errhandler::{Attached, Errhandler, UserHandler};
use cohost::mpi::failure::{Class, Outcome, fail};

use crate::args::Handle;
use crate::callbacks::ErrhandlerFunction;
use crate::constants::{
    MPI_ERR_LASTCODE, MPI_ERRHANDLER_NULL, MPI_ERRORS_ABORT, MPI_ERRORS_ARE_FATAL,
    MPI_ERRORS_RETURN, MPI_MAX_ERROR_STRING, MPI_SUCCESS,
};
use crate::enter::Scope;
use crate::handles::{Shared, Table};
use crate::{hooks, runtime, text};

static HANDLERS: Shared<UserHandler> = Table::new(Class::Errhandler, "error handler");

/// Gives a handler of the application a handle.
pub(crate) fn create_handler(function: ErrhandlerFunction, attached: Attached) -> Outcome<Handle> {
    let Some(function) = function else {
        return fail(Class::Arg, "the error handler's function is a null pointer");
    };
    let call = move |object: usize, code: i32| {
        let (mut object, mut code) = (Handle(object), code);
        // SAFETY: the application's function, called as the standard says.
        unsafe { function(&raw mut object, &raw mut code) };
    };
    HANDLERS.insert_with(|handle| {
        let (handle, references) = (AtomicUsize::new(handle.0), AtomicUsize::new(1));
        Arc::new(UserHandler { handle, references, attached, function: Box::new(call) })
    })
}

/// The handler of a handle, to be set on an object of this kind.
pub(crate) fn handler(handle: Handle, attached: Attached) -> Outcome<Errhandler> {
    match handle {
        MPI_ERRORS_ARE_FATAL => Ok(Errhandler::Fatal),
        MPI_ERRORS_RETURN => Ok(Errhandler::Return),
        MPI_ERRORS_ABORT => Ok(Errhandler::Abort),
        MPI_ERRHANDLER_NULL => HANDLERS.null(),
        _ => {
            let user = HANDLERS.get(handle)?;
            if user.attached != attached {
                let why = format!("the error handler is for a {:?}", user.attached);
                return fail(Class::Errhandler, why);
            }
            Ok(Errhandler::User(user))
        }
    }
}

/// A handle of a handler, to be freed by the application.
pub(crate) fn handle_of(handler: Errhandler) -> Outcome<Handle> {
    match handler {
        Errhandler::Fatal => Ok(MPI_ERRORS_ARE_FATAL),
        Errhandler::Return => Ok(MPI_ERRORS_RETURN),
        Errhandler::Abort => Ok(MPI_ERRORS_ABORT),
        // The same handler under another handle: each is freed by itself.
        Errhandler::User(user) => {
            let known = Handle(user.handle.load(Ordering::Relaxed));
            if HANDLERS.get(known).is_ok_and(|it| Arc::ptr_eq(&it, &user)) {
                user.references.fetch_add(1, Ordering::Relaxed);
                return Ok(known);
            }
            HANDLERS.insert_with(|handle| {
                user.handle.store(handle.0, Ordering::Relaxed);
                user.references.store(1, Ordering::Relaxed);
                user
            })
        }
    }
}

pub(crate) unsafe fn comm_create_errhandler(
    function: ErrhandlerFunction,
    errhandler: *mut Handle,
) -> Outcome<()> {
    let handle = create_handler(function, Attached::Comm)?;
    // SAFETY: the application gives an address to write to.
    unsafe { *errhandler = handle };
    Ok(())
}

pub(crate) unsafe fn comm_set_errhandler(comm: Handle, errhandler: Handle) -> Outcome<()> {
    runtime::comm(comm)?.set_errhandler(handler(errhandler, Attached::Comm)?);
    Ok(())
}

pub(crate) unsafe fn comm_get_errhandler(comm: Handle, errhandler: *mut Handle) -> Outcome<()> {
    let handle = handle_of(runtime::comm(comm)?.errhandler())?;
    // SAFETY: the application gives an address to write to.
    unsafe { *errhandler = handle };
    Ok(())
}

pub(crate) unsafe fn comm_call_errhandler(comm: Handle, errorcode: c_int) -> Outcome<()> {
    runtime::comm(comm)?;
    let failure = cohost::mpi::failure::Failure::of_callback(errorcode);
    hooks::raise("MPI_Comm_call_errhandler", Scope::Comm(comm), &failure);
    Ok(())
}

pub(crate) unsafe fn win_create_errhandler(
    function: ErrhandlerFunction,
    errhandler: *mut Handle,
) -> Outcome<()> {
    let handle = create_handler(function, Attached::Win)?;
    // SAFETY: the application gives an address to write to.
    unsafe { *errhandler = handle };
    Ok(())
}

pub(crate) unsafe fn file_create_errhandler(
    function: ErrhandlerFunction,
    errhandler: *mut Handle,
) -> Outcome<()> {
    let handle = create_handler(function, Attached::File)?;
    // SAFETY: the application gives an address to write to.
    unsafe { *errhandler = handle };
    Ok(())
}

pub(crate) unsafe fn session_create_errhandler(
    function: ErrhandlerFunction,
    errhandler: *mut Handle,
) -> Outcome<()> {
    let handle = create_handler(function, Attached::Session)?;
    // SAFETY: the application gives an address to write to.
    unsafe { *errhandler = handle };
    Ok(())
}

pub(crate) unsafe fn errhandler_free(errhandler: *mut Handle) -> Outcome<()> {
    // SAFETY: the application gives the address of a handler.
    let given = unsafe { *errhandler };
    let predefined = [MPI_ERRORS_ARE_FATAL, MPI_ERRORS_RETURN, MPI_ERRORS_ABORT];
    if given == MPI_ERRHANDLER_NULL {
        return HANDLERS.null();
    }
    if !predefined.contains(&given) {
        let user = HANDLERS.get(given)?;
        if user.references.fetch_sub(1, Ordering::Relaxed) == 1 {
            HANDLERS.remove(given)?;
        }
    }
    // SAFETY: as above.
    unsafe { *errhandler = MPI_ERRHANDLER_NULL };
    Ok(())
}

/// Classes and codes of the application, after those of the standard.
#[derive(Default)]
struct Added {
    /// Class of each code; a class is a code of its own.
    classes: BTreeMap<c_int, c_int>,
    texts: BTreeMap<c_int, String>,
}

static ADDED: Mutex<Option<Added>> = Mutex::new(None);
static LAST_USED: AtomicI32 = AtomicI32::new(MPI_ERR_LASTCODE);

/// Where the value of `MPI_LASTUSEDCODE` is.
pub(crate) fn last_used_code() -> *const c_int {
    LAST_USED.as_ptr()
}

fn added() -> MutexGuard<'static, Option<Added>> {
    ADDED.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Added {
    fn add(&mut self, class: Option<c_int>) -> c_int {
        let number = LAST_USED.fetch_add(1, Ordering::Relaxed) + 1;
        self.classes.insert(number, class.unwrap_or(number));
        number
    }

    /// A text is removed before what it is the text of.
    fn require_no_text(&self, code: c_int) -> Outcome<()> {
        if self.texts.contains_key(&code) {
            return fail(Class::Arg, format!("error code {code} still has a text"));
        }
        Ok(())
    }
}

fn is_class_of_standard(code: c_int) -> bool {
    code == MPI_SUCCESS || Class::of_code(code).is_some() || code == MPI_ERR_LASTCODE
}

#[cold]
fn unknown<T>(code: c_int) -> Outcome<T> {
    fail(Class::Arg, format!("{code} is not an error code"))
}

pub(crate) unsafe fn add_error_class(errorclass: *mut c_int) -> Outcome<()> {
    let number = added().get_or_insert_default().add(None);
    // SAFETY: the application gives an address to write to.
    unsafe { *errorclass = number };
    Ok(())
}

pub(crate) unsafe fn add_error_code(errorclass: c_int, errorcode: *mut c_int) -> Outcome<()> {
    let mut added = added();
    let added = added.get_or_insert_default();
    let own = added.classes.get(&errorclass) == Some(&errorclass);
    if !own && !is_class_of_standard(errorclass) {
        return fail(Class::Arg, format!("{errorclass} is not an error class"));
    }
    let number = added.add(Some(errorclass));
    // SAFETY: the application gives an address to write to.
    unsafe { *errorcode = number };
    Ok(())
}

pub(crate) unsafe fn add_error_string(errorcode: c_int, string: *const c_char) -> Outcome<()> {
    // SAFETY: the application gives a string.
    let text = unsafe { text::read(string, MPI_MAX_ERROR_STRING, Class::Arg) }?;
    let mut added = added();
    let added = added.get_or_insert_default();
    if !added.classes.contains_key(&errorcode) {
        return fail(Class::Arg, format!("{errorcode} is not an error code of the application"));
    }
    added.texts.insert(errorcode, text);
    Ok(())
}

pub(crate) unsafe fn remove_error_class(errorclass: c_int) -> Outcome<()> {
    let mut added = added();
    let added = added.get_or_insert_default();
    if added.classes.get(&errorclass) != Some(&errorclass) {
        let why = format!("{errorclass} is not an error class of the application");
        return fail(Class::Arg, why);
    }
    if added.classes.iter().any(|(code, class)| *class == errorclass && *code != errorclass) {
        return fail(Class::Arg, format!("error class {errorclass} still has codes"));
    }
    added.require_no_text(errorclass)?;
    added.classes.remove(&errorclass);
    Ok(())
}

pub(crate) unsafe fn remove_error_code(errorcode: c_int) -> Outcome<()> {
    let mut added = added();
    let added = added.get_or_insert_default();
    match added.classes.get(&errorcode) {
        Some(class) if *class != errorcode => {
            added.require_no_text(errorcode)?;
            added.classes.remove(&errorcode);
            Ok(())
        }
        _ => fail(Class::Arg, format!("{errorcode} is not an error code of the application")),
    }
}

pub(crate) unsafe fn remove_error_string(errorcode: c_int) -> Outcome<()> {
    let removed = added().get_or_insert_default().texts.remove(&errorcode);
    match removed {
        Some(_) => Ok(()),
        None => fail(Class::Arg, format!("error code {errorcode} has no text")),
    }
}

pub(crate) unsafe fn error_class(errorcode: c_int, errorclass: *mut c_int) -> Outcome<()> {
    let class = if is_class_of_standard(errorcode) {
        errorcode
    } else {
        match added().get_or_insert_default().classes.get(&errorcode) {
            Some(class) => *class,
            None => return unknown(errorcode),
        }
    };
    // SAFETY: the application gives an address to write to.
    unsafe { *errorclass = class };
    Ok(())
}

pub(crate) unsafe fn error_string(
    errorcode: c_int,
    string: *mut c_char,
    resultlen: *mut c_int,
) -> Outcome<()> {
    let text = if errorcode == MPI_SUCCESS {
        "MPI_SUCCESS: no error".to_owned()
    } else if let Some(class) = Class::of_code(errorcode) {
        format!("{}: {}", class.name(), class.text())
    } else {
        let mut added = added();
        let added = added.get_or_insert_default();
        if !added.classes.contains_key(&errorcode) && errorcode != MPI_ERR_LASTCODE {
            return unknown(errorcode);
        }
        added.texts.get(&errorcode).cloned().unwrap_or_default()
    };
    // SAFETY: the application gives room for MPI_MAX_ERROR_STRING characters.
    let len = unsafe { text::write(string, MPI_MAX_ERROR_STRING, &text) };
    // SAFETY: the application gives an address to write to.
    unsafe { *resultlen = len };
    Ok(())
}
