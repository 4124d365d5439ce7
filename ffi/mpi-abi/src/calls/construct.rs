//! The constructors of datatypes (MPI 5.0, 5.1 and 19.1.9).

use std::ffi::c_int;

use cohost::mpi::datatype::{Darray, Datatype, Form, Order, TypeClass};
use cohost::mpi::failure::{Class, Outcome, fail};

use crate::args::{Handle, Numbers};
use crate::constants::MPI_DATATYPE_NULL;
use crate::runtime::{datatype, new_type, predefined_type};

/// Gives a new type its handle and writes that.
///
/// # Safety
/// The address is one that the call may write to.
unsafe fn put(newtype: *mut Handle, made: Datatype) -> Outcome<()> {
    let handle = new_type(made)?;
    // SAFETY: the caller's promise.
    unsafe { *newtype = handle };
    Ok(())
}

/// Writes the handle of a type that was there before.
///
/// # Safety
/// As for [`put`].
unsafe fn put_predefined(newtype: *mut Handle, found: &Datatype) -> Outcome<()> {
    let handle = predefined_type(found)?;
    // SAFETY: the caller's promise.
    unsafe { *newtype = handle };
    Ok(())
}

/// The length of arrays.
pub(super) fn len(count: i64) -> Outcome<usize> {
    match usize::try_from(count) {
        Ok(len) => Ok(len),
        Err(_) => fail(Class::Count, format!("the count {count} is negative")),
    }
}

fn given(missing: bool, len: usize) -> Outcome<()> {
    if missing && len > 0 {
        return fail(Class::Arg, format!("a null pointer for an array of {len}"));
    }
    Ok(())
}

/// The numbers of an array.
///
/// # Safety
/// The array is null or has at least `len`.
unsafe fn numbers(array: Numbers, len: usize) -> Outcome<Vec<i64>> {
    given(array.is_null(), len)?;
    // SAFETY: the caller's promise.
    Ok(unsafe { array.to_vec(len) })
}

/// An array as it is.
///
/// # Safety
/// The array is null or has at least `len`, for as long as the slice is used.
unsafe fn slice<'a, T>(array: *const T, len: usize) -> Outcome<&'a [T]> {
    given(array.is_null(), len)?;
    if len == 0 {
        return Ok(&[]);
    }
    // SAFETY: the caller's promise.
    Ok(unsafe { std::slice::from_raw_parts(array, len) })
}

pub(crate) unsafe fn type_contiguous(
    form: Form,
    count: i64,
    oldtype: Handle,
    newtype: *mut Handle,
) -> Outcome<()> {
    let made = Datatype::contiguous(count, &*datatype(oldtype)?, form)?;
    // SAFETY: the application gives an address to write to.
    unsafe { put(newtype, made) }
}

pub(crate) unsafe fn type_vector(
    form: Form,
    count: i64,
    blocklength: i64,
    stride: i64,
    oldtype: Handle,
    newtype: *mut Handle,
) -> Outcome<()> {
    let made = Datatype::vector(count, blocklength, stride, &*datatype(oldtype)?, form)?;
    // SAFETY: the application gives an address to write to.
    unsafe { put(newtype, made) }
}

pub(crate) unsafe fn type_create_hvector(
    form: Form,
    count: i64,
    blocklength: i64,
    stride: i64,
    oldtype: Handle,
    newtype: *mut Handle,
) -> Outcome<()> {
    let made = Datatype::hvector(count, blocklength, stride, &*datatype(oldtype)?, form)?;
    // SAFETY: the application gives an address to write to.
    unsafe { put(newtype, made) }
}

macro_rules! blocks {
    ($(entry fn $any:ident, entry fn $same:ident: $make_any:ident, $make_same:ident;)*) => {$(
        pub(crate) unsafe fn $any(
            form: Form,
            count: i64,
            blocklengths: Numbers,
            displacements: Numbers,
            oldtype: Handle,
            newtype: *mut Handle,
        ) -> Outcome<()> {
            let (old, len) = (datatype(oldtype)?, len(count)?);
            // SAFETY: the application gives arrays of `count`.
            let lengths = unsafe { numbers(blocklengths, len) }?;
            // SAFETY: as above.
            let places = unsafe { numbers(displacements, len) }?;
            let made = Datatype::$make_any(&lengths, &places, &old, form)?;
            // SAFETY: the application gives an address to write to.
            unsafe { put(newtype, made) }
        }

        pub(crate) unsafe fn $same(
            form: Form,
            count: i64,
            blocklength: i64,
            displacements: Numbers,
            oldtype: Handle,
            newtype: *mut Handle,
        ) -> Outcome<()> {
            let old = datatype(oldtype)?;
            // SAFETY: the application gives an array of `count`.
            let places = unsafe { numbers(displacements, len(count)?) }?;
            let made = Datatype::$make_same(blocklength, &places, &old, form)?;
            // SAFETY: the application gives an address to write to.
            unsafe { put(newtype, made) }
        }
    )*};
}

blocks! {
    entry fn type_indexed, entry fn type_create_indexed_block: indexed, indexed_block;
    entry fn type_create_hindexed, entry fn type_create_hindexed_block: hindexed, hindexed_block;
}

pub(crate) unsafe fn type_create_struct(
    form: Form,
    count: i64,
    blocklengths: Numbers,
    displacements: Numbers,
    types: *const Handle,
    newtype: *mut Handle,
) -> Outcome<()> {
    let len = len(count)?;
    // SAFETY: the application gives arrays of `count`.
    let lengths = unsafe { numbers(blocklengths, len) }?;
    // SAFETY: as above.
    let places = unsafe { numbers(displacements, len) }?;
    // SAFETY: as above.
    let types = unsafe { slice(types, len) }?;
    let old = types.iter().map(|&handle| datatype(handle).map(|it| it.clone()));
    let old = old.collect::<Outcome<Vec<Datatype>>>()?;
    let made = Datatype::structure(&lengths, &places, &old, form)?;
    // SAFETY: the application gives an address to write to.
    unsafe { put(newtype, made) }
}

/// The number of dimensions, as the length of arrays.
fn dimensions(ndims: c_int) -> Outcome<usize> {
    match usize::try_from(ndims) {
        Ok(len) if len > 0 => Ok(len),
        _ => fail(Class::Arg, format!("an array of {ndims} dimensions")),
    }
}

pub(crate) unsafe fn type_create_subarray(
    form: Form,
    ndims: c_int,
    sizes: Numbers,
    subsizes: Numbers,
    starts: Numbers,
    order: c_int,
    oldtype: Handle,
    newtype: *mut Handle,
) -> Outcome<()> {
    let (old, len, order) = (datatype(oldtype)?, dimensions(ndims)?, Order::of(order)?);
    // SAFETY: the application gives arrays of `ndims`.
    let sizes = unsafe { numbers(sizes, len) }?;
    // SAFETY: as above.
    let subsizes = unsafe { numbers(subsizes, len) }?;
    // SAFETY: as above.
    let starts = unsafe { numbers(starts, len) }?;
    let made = Datatype::subarray(&sizes, &subsizes, &starts, order, &old, form)?;
    // SAFETY: the application gives an address to write to.
    unsafe { put(newtype, made) }
}

pub(crate) unsafe fn type_create_darray(
    form: Form,
    size: c_int,
    rank: c_int,
    ndims: c_int,
    gsizes: Numbers,
    distribs: *const c_int,
    dargs: *const c_int,
    psizes: *const c_int,
    order: c_int,
    oldtype: Handle,
    newtype: *mut Handle,
) -> Outcome<()> {
    let (old, len, order) = (datatype(oldtype)?, dimensions(ndims)?, Order::of(order)?);
    // SAFETY: the application gives arrays of `ndims`.
    let gsizes = &unsafe { numbers(gsizes, len) }?;
    // SAFETY: as above.
    let distribs = unsafe { slice(distribs, len) }?;
    // SAFETY: as above.
    let dargs = unsafe { slice(dargs, len) }?;
    // SAFETY: as above.
    let psizes = unsafe { slice(psizes, len) }?;
    let part = Darray { size, rank, gsizes, distribs, dargs, psizes, order };
    let made = Datatype::darray(&part, &old, form)?;
    // SAFETY: the application gives an address to write to.
    unsafe { put(newtype, made) }
}

pub(crate) unsafe fn type_create_resized(
    form: Form,
    oldtype: Handle,
    lb: i64,
    extent: i64,
    newtype: *mut Handle,
) -> Outcome<()> {
    let made = Datatype::resized(&*datatype(oldtype)?, lb, extent, form)?;
    // SAFETY: the application gives an address to write to.
    unsafe { put(newtype, made) }
}

pub(crate) unsafe fn type_dup(oldtype: Handle, newtype: *mut Handle) -> Outcome<()> {
    let old = datatype(oldtype)?;
    let attributes = old.attributes().copy(oldtype.0)?;
    // SAFETY: the application gives an address to write to.
    unsafe { put(newtype, old.dup_with(attributes)) }
}

pub(crate) unsafe fn type_create_f90_integer(r: c_int, newtype: *mut Handle) -> Outcome<()> {
    // SAFETY: the application gives an address to write to.
    unsafe { put_predefined(newtype, &Datatype::f90_integer(r)?) }
}

pub(crate) unsafe fn type_create_f90_real(p: c_int, r: c_int, newtype: *mut Handle) -> Outcome<()> {
    // SAFETY: the application gives an address to write to.
    unsafe { put_predefined(newtype, &Datatype::f90_real(p, r)?) }
}

pub(crate) unsafe fn type_create_f90_complex(
    p: c_int,
    r: c_int,
    newtype: *mut Handle,
) -> Outcome<()> {
    // SAFETY: the application gives an address to write to.
    unsafe { put_predefined(newtype, &Datatype::f90_complex(p, r)?) }
}

pub(crate) unsafe fn type_match_size(
    typeclass: c_int,
    size: c_int,
    found: *mut Handle,
) -> Outcome<()> {
    let matching = Datatype::match_size(TypeClass::of(typeclass)?, size.into())?;
    // SAFETY: the application gives an address to write to.
    unsafe { put_predefined(found, matching) }
}

pub(crate) unsafe fn type_get_value_index(
    value_type: Handle,
    index_type: Handle,
    pair_type: *mut Handle,
) -> Outcome<()> {
    let (value, index) = (datatype(value_type)?, datatype(index_type)?);
    match Datatype::value_index(&value, &index)? {
        // SAFETY: the application gives an address to write to.
        Some(pair) => unsafe { put_predefined(pair_type, &pair) },
        None => {
            // SAFETY: as above.
            unsafe { *pair_type = MPI_DATATYPE_NULL };
            Ok(())
        }
    }
}
