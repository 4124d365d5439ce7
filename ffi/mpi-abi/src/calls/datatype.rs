//! Datatypes that are there: their life, what can be asked of them, and addresses (MPI 5.0, 5.1).

#![allow(clippy::cast_possible_truncation, reason = "MPI_Aint is of 64 bits, see args.rs")]

use std::ffi::{c_char, c_int, c_void};

use cohost::mpi::datatype::{Combiner, Contents, Datatype};
use cohost::mpi::failure::{Class, Outcome, fail};

use crate::args::{Handle, OutNumber, OutNumbers};
use crate::constants::{MPI_DATATYPE_NULL, MPI_MAX_OBJECT_NAME};
use crate::pins;
use crate::runtime::{datatype, new_type, predefined_type};
use crate::text;

/// Addresses wrap around as pointers do.
pub(crate) unsafe fn aint_add(base: i64, disp: i64) -> isize {
    base.wrapping_add(disp) as isize
}

pub(crate) unsafe fn aint_diff(addr1: i64, addr2: i64) -> isize {
    addr1.wrapping_sub(addr2) as isize
}

pub(crate) unsafe fn get_address(location: *const c_void, address: OutNumber) -> Outcome<()> {
    // SAFETY: the application gives an address to write to.
    unsafe { address.put(location.addr().cast_signed() as i64) }
}

pub(crate) unsafe fn type_commit(datatype: *mut Handle) -> Outcome<()> {
    // SAFETY: the application gives the address of a handle.
    let given = unsafe { *datatype };
    self::datatype(given)?.commit();
    Ok(())
}

/// Operations that are under way have their own reference.
pub(crate) unsafe fn type_free(datatype: *mut Handle) -> Outcome<()> {
    // SAFETY: the application gives the address of a handle.
    let given = unsafe { *datatype };
    let found = self::datatype(given)?;
    if found.is_predefined() {
        return fail(Class::Type, "a predefined datatype cannot be freed");
    }
    found.attributes().delete_all(given.0)?;
    pins::free(given)?;
    // SAFETY: as above.
    unsafe { *datatype = MPI_DATATYPE_NULL };
    Ok(())
}

pub(crate) unsafe fn type_size(datatype: Handle, size: OutNumber) -> Outcome<()> {
    let found = self::datatype(datatype)?.size();
    // SAFETY: the application gives an address to write to.
    unsafe { size.put(found) }
}

pub(crate) unsafe fn type_size_x(datatype: Handle, size: OutNumber) -> Outcome<()> {
    // SAFETY: the promise is the same.
    unsafe { type_size(datatype, size) }
}

macro_rules! bounds {
    ($($lb:ident, $extent:ident: entry fn $plain:ident, entry fn $x:ident;)*) => {$(
        pub(crate) unsafe fn $plain(
            datatype: Handle,
            lb: OutNumber,
            extent: OutNumber,
        ) -> Outcome<()> {
            let found = self::datatype(datatype)?;
            // SAFETY: the application gives addresses to write to.
            unsafe { lb.put(found.$lb()) }?;
            // SAFETY: as above.
            unsafe { extent.put(found.$extent()) }
        }

        pub(crate) unsafe fn $x(
            datatype: Handle,
            lb: OutNumber,
            extent: OutNumber,
        ) -> Outcome<()> {
            // SAFETY: the promise is the same.
            unsafe { $plain(datatype, lb, extent) }
        }
    )*};
}

bounds! {
    lb, extent: entry fn type_get_extent, entry fn type_get_extent_x;
    true_lb, true_extent: entry fn type_get_true_extent, entry fn type_get_true_extent_x;
}

/// What made a type, as the form of the call can tell: the small form has no room for arguments
/// of the large one.
fn contents(datatype: &Datatype, large: bool) -> Outcome<&Contents> {
    let contents = datatype.contents();
    if !large && !contents.large.is_empty() {
        return fail(
            Class::Type,
            "the datatype was made by a call that ends in _c: ask with the form that does",
        );
    }
    Ok(contents)
}

pub(crate) unsafe fn type_get_envelope(
    datatype: Handle,
    num_integers: OutNumber,
    num_addresses: OutNumber,
    num_large_counts: OutNumber,
    num_datatypes: OutNumber,
    combiner: *mut c_int,
) -> Outcome<()> {
    let datatype = self::datatype(datatype)?;
    let found = contents(&datatype, num_integers.is_wide())?;
    let numbers = [
        (num_integers, found.integers.len()),
        (num_addresses, found.addresses.len()),
        (num_large_counts, found.large.len()),
        (num_datatypes, found.datatypes.len()),
    ];
    for (at, number) in numbers {
        // SAFETY: the application gives addresses to write to.
        unsafe { at.put(i64::try_from(number).unwrap_or(i64::MAX)) }?;
    }
    // SAFETY: as above.
    unsafe { *combiner = found.combiner as c_int };
    Ok(())
}

/// Whether there is room for what a type was made of.
fn room(what: &str, room: i64, needed: usize) -> Outcome<()> {
    if usize::try_from(room).is_ok_and(|room| room >= needed) {
        return Ok(());
    }
    fail(Class::Arg, format!("room for {room} {what}, but the datatype was made of {needed}"))
}

/// The handle under which the application gets an inner type: a predefined one is itself, others
/// are for it to free.
fn handed_out(inner: &Datatype) -> Outcome<Handle> {
    if inner.is_predefined() { predefined_type(inner) } else { new_type(inner.again()) }
}

pub(crate) unsafe fn type_get_contents(
    datatype: Handle,
    max_integers: i64,
    max_addresses: i64,
    max_large_counts: i64,
    max_datatypes: i64,
    integers: *mut c_int,
    addresses: OutNumbers,
    large_counts: OutNumbers,
    datatypes: *mut Handle,
) -> Outcome<()> {
    let datatype = self::datatype(datatype)?;
    let found = datatype.contents();
    if found.combiner == Combiner::Named {
        return fail(Class::Type, "a named predefined datatype has no contents");
    }
    // The small form passes no room for large counts.
    room("integers", max_integers, found.integers.len())?;
    room("addresses", max_addresses, found.addresses.len())?;
    room("large counts", max_large_counts, found.large.len())?;
    room("datatypes", max_datatypes, found.datatypes.len())?;
    for (at, &value) in found.integers.iter().enumerate() {
        // SAFETY: the application has room for this many.
        unsafe { *integers.wrapping_add(at) = value };
    }
    for (at, &value) in found.addresses.iter().enumerate() {
        // SAFETY: as above.
        unsafe { addresses.put(at, value) }?;
    }
    for (at, &value) in found.large.iter().enumerate() {
        // SAFETY: as above.
        unsafe { large_counts.put(at, value) }?;
    }
    for (at, inner) in found.datatypes.iter().enumerate() {
        let handle = handed_out(inner)?;
        // SAFETY: as above.
        unsafe { *datatypes.wrapping_add(at) = handle };
    }
    Ok(())
}

pub(crate) unsafe fn type_set_name(datatype: Handle, name: *const c_char) -> Outcome<()> {
    let datatype = self::datatype(datatype)?;
    // SAFETY: the application gives a string that ends with a zero.
    let name = unsafe { text::read(name, MPI_MAX_OBJECT_NAME, Class::Arg) }?;
    datatype.set_name(&name)
}

pub(crate) unsafe fn type_get_name(
    datatype: Handle,
    name: *mut c_char,
    resultlen: *mut c_int,
) -> Outcome<()> {
    let found = match datatype {
        MPI_DATATYPE_NULL => "MPI_DATATYPE_NULL".to_owned(),
        _ => self::datatype(datatype)?.name(),
    };
    // SAFETY: the application gives room for MPI_MAX_OBJECT_NAME characters.
    let len = unsafe { text::write(name, MPI_MAX_OBJECT_NAME, &found) };
    // SAFETY: the application gives an address to write to.
    unsafe { *resultlen = len };
    Ok(())
}
