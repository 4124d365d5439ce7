//! Attributes and their keys (MPI 5.0, 7.7).

use std::ffi::{c_int, c_void};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use cohost::mpi::attributes::{Attributes, Holder, Keyval};
use cohost::mpi::comm::TAG_UB;
use cohost::mpi::failure::{Class, Outcome, fail};

use crate::args::Handle;
use crate::callbacks::{CopyFunction, DeleteFunction, Extra};
use crate::constants::{
    MPI_APPNUM, MPI_HOST, MPI_IO, MPI_KEYVAL_INVALID, MPI_LASTUSEDCODE, MPI_PROC_NULL, MPI_SUCCESS,
    MPI_TAG_UB, MPI_UNIVERSE_SIZE, MPI_WTIME_IS_GLOBAL,
};
use crate::handles::{Shared, Table};
use crate::runtime::{comm, datatype, process};

static KEYVALS: Shared<Keyval> = Table::new(Class::Keyval, "attribute key");

/// Copy functions that are constants: copy nothing, copy the value.
const NULL_COPY: usize = 0;
const DUP: usize = 1;

fn create(
    holder: Holder,
    copy_fn: CopyFunction,
    delete_fn: DeleteFunction,
    extra: *mut c_void,
) -> Outcome<c_int> {
    let extra = Extra::new(extra);
    let copy = move |object: usize, key: i32, value: usize| match copy_fn.map_or(0, |f| f as usize)
    {
        NULL_COPY => Ok(None),
        DUP => Ok(Some(value)),
        _ => {
            let (mut copied, mut flag) = (std::ptr::null_mut::<c_void>(), 0);
            let out: *mut c_void = (&raw mut copied).cast();
            let value = value as *mut c_void;
            let code = copy_fn.map_or(MPI_SUCCESS, |f| {
                // SAFETY: the application's function, called as the standard says.
                unsafe { f(Handle(object), key, extra.get(), value, out, &raw mut flag) }
            });
            if code != MPI_SUCCESS {
                return Err(code);
            }
            Ok((flag != 0).then_some(copied as usize))
        }
    };
    let delete = move |object: usize, key: i32, value: usize| match delete_fn {
        None => Ok(()),
        Some(f) => {
            // SAFETY: as above.
            match unsafe { f(Handle(object), key, value as *mut c_void, extra.get()) } {
                MPI_SUCCESS => Ok(()),
                code => Err(code),
            }
        }
    };
    // The number of a key is its handle, so the key learns it afterwards.
    let keyval = |id| Keyval { id, holder, copy: Box::new(copy), delete: Box::new(delete) };
    let handle = KEYVALS.insert_with(|handle| Arc::new(keyval(number(handle))))?;
    Ok(number(handle))
}

/// Handles fit in 31 bits.
#[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "see handles.rs")]
fn number(handle: Handle) -> c_int {
    handle.0 as c_int
}

fn keyval(key: c_int, holder: Holder) -> Outcome<Arc<Keyval>> {
    if predefined(key) {
        return fail(Class::Keyval, "predefined attributes cannot be changed");
    }
    let keyval = KEYVALS.get(Handle(usize::try_from(key).unwrap_or(0)))?;
    if keyval.holder != holder {
        return fail(Class::Keyval, format!("the attribute key is for a {:?}", keyval.holder));
    }
    Ok(keyval)
}

/// Frees a key.
///
/// # Safety
/// The address is one that the call may read and write.
unsafe fn free(key: *mut c_int, holder: Holder) -> Outcome<()> {
    // SAFETY: the caller's promise.
    let number = unsafe { *key };
    keyval(number, holder)?;
    KEYVALS.remove(Handle(usize::try_from(number).unwrap_or(0)))?;
    // SAFETY: as above.
    unsafe { *key = MPI_KEYVAL_INVALID };
    Ok(())
}

fn predefined(key: c_int) -> bool {
    (MPI_TAG_UB..=MPI_UNIVERSE_SIZE).contains(&key)
}

/// Writes the value of an attribute, if there is one.
///
/// # Safety
/// The addresses are those that the call was given.
unsafe fn get(
    attributes: &Attributes,
    key: c_int,
    value: *mut c_void,
    flag: *mut c_int,
) -> Outcome<()> {
    let found = attributes.get(key);
    // SAFETY: the caller's promise.
    unsafe { *flag = found.is_some().into() };
    if let Some(found) = found {
        // SAFETY: as above.
        unsafe { *value.cast::<usize>() = found };
    }
    Ok(())
}

/// The address of a predefined attribute's value. They live for ever, as the standard wants.
fn predefined_value(key: c_int) -> Outcome<Option<*const c_int>> {
    use std::sync::OnceLock;
    static TAG_MAX: c_int = TAG_UB;
    static NOBODY: c_int = MPI_PROC_NULL;
    static ANYBODY: c_int = crate::constants::MPI_ANY_SOURCE;
    static NO: c_int = 0;
    static SIZE: OnceLock<c_int> = OnceLock::new();
    Ok(match key {
        MPI_TAG_UB => Some(&raw const TAG_MAX),
        MPI_HOST => Some(&raw const NOBODY),
        MPI_IO => Some(&raw const ANYBODY),
        MPI_WTIME_IS_GLOBAL => Some(&raw const NO),
        MPI_LASTUSEDCODE => Some(super::last_used_code()),
        MPI_UNIVERSE_SIZE => {
            let size = process()?.size().cast_signed();
            Some(std::ptr::from_ref(SIZE.get_or_init(|| size)))
        }
        MPI_APPNUM => None,
        _ => None,
    })
}

macro_rules! keyvals {
    ($($holder:ident: entry fn $create:ident, entry fn $free:ident;)*) => {$(
        pub(crate) unsafe fn $create(
            copy_fn: CopyFunction,
            delete_fn: DeleteFunction,
            keyval: *mut c_int,
            extra_state: *mut c_void,
        ) -> Outcome<()> {
            let created = create(Holder::$holder, copy_fn, delete_fn, extra_state)?;
            // SAFETY: the application gives an address to write to.
            unsafe { *keyval = created };
            Ok(())
        }

        pub(crate) unsafe fn $free(keyval: *mut c_int) -> Outcome<()> {
            // SAFETY: the application gives an address to read and write.
            unsafe { free(keyval, Holder::$holder) }
        }
    )*};
}

keyvals! {
    Comm: entry fn comm_create_keyval, entry fn comm_free_keyval;
    Type: entry fn type_create_keyval, entry fn type_free_keyval;
    Win: entry fn win_create_keyval, entry fn win_free_keyval;
    Comm: entry fn keyval_create, entry fn keyval_free;
}

pub(crate) unsafe fn comm_get_attr(
    comm: Handle,
    key: c_int,
    value: *mut c_void,
    flag: *mut c_int,
) -> Outcome<()> {
    let comm = self::comm(comm)?;
    if predefined(key) {
        let found = predefined_value(key)?;
        // SAFETY: the application gives an address to write to.
        unsafe { *flag = found.is_some().into() };
        if let Some(found) = found {
            // SAFETY: as above.
            unsafe { *value.cast::<*const c_int>() = found };
        }
        return Ok(());
    }
    keyval(key, Holder::Comm)?;
    // SAFETY: as above.
    unsafe { get(&comm.attributes, key, value, flag) }
}

pub(crate) unsafe fn comm_set_attr(comm: Handle, key: c_int, value: *mut c_void) -> Outcome<()> {
    let (found, keyval) = (self::comm(comm)?, keyval(key, Holder::Comm)?);
    found.attributes.set(comm.0, &keyval, value as usize)
}

pub(crate) unsafe fn comm_delete_attr(comm: Handle, key: c_int) -> Outcome<()> {
    let found = self::comm(comm)?;
    keyval(key, Holder::Comm)?;
    found.attributes.delete(comm.0, key)
}

pub(crate) unsafe fn type_get_attr(
    datatype: Handle,
    key: c_int,
    value: *mut c_void,
    flag: *mut c_int,
) -> Outcome<()> {
    let datatype = self::datatype(datatype)?;
    keyval(key, Holder::Type)?;
    // SAFETY: the application gives addresses to write to.
    unsafe { get(datatype.attributes(), key, value, flag) }
}

pub(crate) unsafe fn type_set_attr(
    datatype: Handle,
    key: c_int,
    value: *mut c_void,
) -> Outcome<()> {
    let (found, keyval) = (self::datatype(datatype)?, keyval(key, Holder::Type)?);
    found.attributes().set(datatype.0, &keyval, value as usize)
}

pub(crate) unsafe fn type_delete_attr(datatype: Handle, key: c_int) -> Outcome<()> {
    let found = self::datatype(datatype)?;
    keyval(key, Holder::Type)?;
    found.attributes().delete(datatype.0, key)
}

pub(crate) unsafe fn attr_get(
    comm: Handle,
    key: c_int,
    value: *mut c_void,
    flag: *mut c_int,
) -> Outcome<()> {
    // SAFETY: the promise is the same.
    unsafe { comm_get_attr(comm, key, value, flag) }
}

pub(crate) unsafe fn attr_put(comm: Handle, key: c_int, value: *mut c_void) -> Outcome<()> {
    // SAFETY: the promise is the same.
    unsafe { comm_set_attr(comm, key, value) }
}

pub(crate) unsafe fn attr_delete(comm: Handle, key: c_int) -> Outcome<()> {
    // SAFETY: the promise is the same.
    unsafe { comm_delete_attr(comm, key) }
}

/// Deletes what hangs on a communicator that goes.
///
/// # Errors
/// What the first delete function that failed returned.
pub(crate) fn delete_attributes(comm: &cohost::mpi::comm::Comm) -> Outcome<()> {
    comm.attributes.delete_all(comm.handle.load(Ordering::Relaxed))
}
