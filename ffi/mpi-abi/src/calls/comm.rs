//! Communicators (MPI 5.0, 7).

use std::ffi::c_int;

use cohost::mpi::failure::Outcome;

use crate::args::Handle;
use crate::runtime;

pub(crate) unsafe fn comm_rank(comm: Handle, rank: *mut c_int) -> Outcome<()> {
    // SAFETY: the application gives an address to write to.
    unsafe { *rank = runtime::comm(comm)?.rank().cast_signed() };
    Ok(())
}

pub(crate) unsafe fn comm_size(comm: Handle, size: *mut c_int) -> Outcome<()> {
    // SAFETY: the application gives an address to write to.
    unsafe { *size = runtime::comm(comm)?.size().cast_signed() };
    Ok(())
}
