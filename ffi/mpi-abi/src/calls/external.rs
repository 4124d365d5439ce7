//! Statuses: reading and writing them (MPI 5.0, 3.2.5, 5.1.11, 12.3).

use std::ffi::c_int;

use cohost::mpi::failure::{Class, Outcome, fail};

use crate::args::{Handle, OutNumber, Status};
use crate::constants::MPI_UNDEFINED;
use crate::runtime::datatype;

pub(crate) unsafe fn get_count(
    status: *const Status,
    datatype: Handle,
    count: OutNumber,
) -> Outcome<()> {
    // SAFETY: the application gives the address of a status.
    let bytes = unsafe { &*status }.count();
    let found = self::datatype(datatype)?.count_in(bytes);
    // SAFETY: the application gives an address to write to.
    unsafe { count.put(found.unwrap_or(MPI_UNDEFINED.into())) }
}

pub(crate) unsafe fn get_elements(
    status: *const Status,
    datatype: Handle,
    count: OutNumber,
) -> Outcome<()> {
    // SAFETY: the application gives the address of a status.
    let bytes = unsafe { &*status }.count();
    let found = self::datatype(datatype)?.elements_in(bytes);
    // SAFETY: the application gives an address to write to.
    unsafe { count.put(found.unwrap_or(MPI_UNDEFINED.into())) }
}

pub(crate) unsafe fn get_elements_x(
    status: *const Status,
    datatype: Handle,
    count: OutNumber,
) -> Outcome<()> {
    // SAFETY: the promise is the same.
    unsafe { get_elements(status, datatype, count) }
}

pub(crate) unsafe fn status_set_elements(
    status: *mut Status,
    datatype: Handle,
    count: i64,
) -> Outcome<()> {
    let datatype = self::datatype(datatype)?;
    if count < 0 && count != i64::from(MPI_UNDEFINED) {
        return fail(Class::Count, format!("count {count} is negative"));
    }
    let Some(bytes) = datatype.bytes_of_elements(count) else {
        return fail(Class::Count, format!("{count} elements cannot be counted in bytes"));
    };
    // SAFETY: the application gives the address of a status.
    unsafe { &mut *status }.set_count(bytes);
    Ok(())
}

pub(crate) unsafe fn status_set_elements_x(
    status: *mut Status,
    datatype: Handle,
    count: i64,
) -> Outcome<()> {
    // SAFETY: the promise is the same.
    unsafe { status_set_elements(status, datatype, count) }
}

pub(crate) unsafe fn status_set_cancelled(status: *mut Status, flag: bool) -> Outcome<()> {
    // SAFETY: the application gives the address of a status.
    unsafe { &mut *status }.set_cancelled(flag);
    Ok(())
}

macro_rules! fields {
    ($($field:ident: entry fn $get:ident, entry fn $set:ident;)*) => {$(
        pub(crate) unsafe fn $get(status: *const Status, value: *mut c_int) -> Outcome<()> {
            // SAFETY: the application gives the address of a status.
            let found = unsafe { &*status }.$field;
            // SAFETY: the application gives an address to write to.
            unsafe { *value = found };
            Ok(())
        }

        pub(crate) unsafe fn $set(status: *mut Status, value: c_int) -> Outcome<()> {
            // SAFETY: the application gives the address of a status.
            unsafe { &mut *status }.$field = value;
            Ok(())
        }
    )*};
}

fields! {
    source: entry fn status_get_source, entry fn status_set_source;
    tag: entry fn status_get_tag, entry fn status_set_tag;
    error: entry fn status_get_error, entry fn status_set_error;
}
