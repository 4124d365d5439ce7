//! Operations of reductions (MPI 5.0, 6.9).

use std::ffi::{c_int, c_void};

use cohost::mpi::datatype::Datatype;
use cohost::mpi::failure::{Class, Outcome, fail};
use cohost::mpi::op::{BasicOp, Op};

use crate::args::Handle;
use crate::callbacks::EitherUserFunction;
use crate::constants::{MPI_DATATYPE_NULL, MPI_OP_NULL};
use crate::handles::Table;
use crate::pins::Pinned;
use crate::runtime;

static OPS: Table<Op> = Table::new(Class::Op, "operation");

/// An operation.
///
/// # Errors
/// `MPI_ERR_OP` when there is none.
#[inline]
pub(crate) fn operation(handle: Handle) -> Outcome<Op> {
    match BasicOp::from_handle(handle.0) {
        Some(basic) => Ok(Op::Basic(basic)),
        None if handle == MPI_OP_NULL => OPS.null(),
        None => OPS.get(handle),
    }
}

/// Calls the application's function, in whichever form it is.
///
/// # Safety
/// There are `count` items at both addresses, as the type says, and they do not overlap.
unsafe fn call(
    function: EitherUserFunction,
    from: *const u8,
    into: *mut u8,
    count: i64,
    datatype: &Datatype,
) {
    // Without a handle left, the null handle is all that there is to give.
    let pinned = Pinned::new(datatype).ok();
    let mut handle = pinned.as_ref().map_or(MPI_DATATYPE_NULL, Pinned::handle);
    let (from, into) = (from.cast_mut().cast::<c_void>(), into.cast::<c_void>());
    match function {
        EitherUserFunction::Large(Some(function)) => {
            let mut count = count;
            // SAFETY: the application's function, called as the standard says.
            unsafe { function(from, into, &raw mut count, &raw mut handle) };
        }
        EitherUserFunction::Small(Some(function)) => {
            let extent = datatype.extent();
            let (mut done, most) = (0, i64::from(c_int::MAX));
            while done < count {
                let some = (count - done).min(most);
                let mut some_int = c_int::try_from(some).unwrap_or(c_int::MAX);
                let away = usize::try_from(done * extent).unwrap_or(0);
                let (from, into) = (from.wrapping_byte_add(away), into.wrapping_byte_add(away));
                // SAFETY: as above.
                unsafe { function(from, into, &raw mut some_int, &raw mut handle) };
                done += some;
            }
        }
        EitherUserFunction::Small(None) | EitherUserFunction::Large(None) => {}
    }
}

pub(crate) unsafe fn op_create(
    user_fn: EitherUserFunction,
    commute: bool,
    op: *mut Handle,
) -> Outcome<()> {
    if matches!(user_fn, EitherUserFunction::Small(None) | EitherUserFunction::Large(None)) {
        return fail(Class::Arg, "the operation's function is a null pointer");
    }
    let function = move |from: *const u8, into: *mut u8, count: i64, datatype: &Datatype| {
        // SAFETY: the library gives vectors of this many items.
        unsafe { call(user_fn, from, into, count, datatype) };
    };
    let handle = OPS.insert(Op::user(commute, Box::new(function)))?;
    // SAFETY: the application gives an address to write to.
    unsafe { *op = handle };
    Ok(())
}

pub(crate) unsafe fn op_free(op: *mut Handle) -> Outcome<()> {
    // SAFETY: the application gives the address of an operation.
    let given = unsafe { *op };
    if BasicOp::from_handle(given.0).is_some() {
        return fail(Class::Op, "a predefined operation cannot be freed");
    }
    if given == MPI_OP_NULL {
        return OPS.null();
    }
    OPS.remove(given)?;
    // SAFETY: as above.
    unsafe { *op = MPI_OP_NULL };
    Ok(())
}

pub(crate) unsafe fn op_commutative(op: Handle, commute: *mut c_int) -> Outcome<()> {
    let commutes = operation(op)?.commutes();
    // SAFETY: the application gives an address to write to.
    unsafe { *commute = commutes.into() };
    Ok(())
}

pub(crate) unsafe fn reduce_local(
    inbuf: *const c_void,
    inoutbuf: *mut c_void,
    count: i64,
    datatype: Handle,
    op: Handle,
) -> Outcome<()> {
    let (datatype, op) = (runtime::datatype(datatype)?, operation(op)?);
    // SAFETY: the application gives vectors of this many items that do not overlap.
    unsafe { op.local(inbuf.cast(), inoutbuf.cast(), count, &datatype) }
}
