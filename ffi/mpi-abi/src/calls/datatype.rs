//! Datatypes and addresses (MPI 5.0, 5).

#![allow(clippy::cast_possible_truncation, reason = "MPI_Aint is of 64 bits, see args.rs")]

/// Addresses wrap around as pointers do.
pub(crate) unsafe fn aint_add(base: i64, disp: i64) -> isize {
    base.wrapping_add(disp) as isize
}

pub(crate) unsafe fn aint_diff(addr1: i64, addr2: i64) -> isize {
    addr1.wrapping_sub(addr2) as isize
}
