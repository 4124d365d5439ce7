//! The C interface of MPI 5.0 with the standard ABI: `libmpi_abi.so.1`.
//!
//! Entry points convert their arguments and call; what MPI does is in [`cohost::mpi`]. `build.rs`
//! writes all entry points (each as `MPI_` and as `PMPI_`, with `int` and with `MPI_Count`) from
//! the standard's tables in `standard/`.
//!
//! # How a call is added
//! Write one function in `src/calls/CHAPTER.rs`, with the name of the procedure in lower case and
//! without `mpi_`:
//!
//! ```text
//! pub(crate) unsafe fn comm_size(comm: Handle, size: *mut c_int) -> Outcome<()> { … }
//! ```
//!
//! The build finds `pub(crate) unsafe fn NAME(` in `src/calls` and calls it from `MPI_Comm_size`
//! and, where there is one, from the `_c` form. A procedure without such a function fails with
//! `MPI_ERR_UNSUPPORTED_OPERATION`. So functions that help others must not be
//! `pub(crate) unsafe fn` there, and a new file needs two lines in `src/calls/mod.rs`.
//!
//! `cargo run -p mpi-abi --example generate -- signatures [WORD...]` prints the heads to fill in;
//! `... --example generate` writes the header and the table of coverage anew (tests tell when).
//!
//! # What the arguments become
//! | C | Rust |
//! |---|---|
//! | `int` that is no count | `c_int`, `*mut c_int`, `*const c_int` |
//! | count, displacement, size, offset (`int` or wider, in either form) | `i64` |
//! | array of those | [`Numbers`](args::Numbers) |
//! | address to write one to | [`OutNumber`](args::OutNumber) |
//! | address to write an array of them to | [`OutNumbers`](args::OutNumbers) |
//! | logical | `bool`; written: `*mut c_int` |
//! | handle | [`Handle`](args::Handle), `*mut Handle`, `*const Handle` |
//! | status | `*mut Status` (null is `MPI_STATUS_IGNORE`) |
//! | buffer, attribute, extra state | `*mut c_void`, `*const c_void` |
//! | function | a type of [`callbacks`]; `Either…` where the two forms differ |
//!
//! What only the large form has (`MPI_Type_get_envelope`) is 0 or `none()` in the other.
//! Constructors of datatypes are told first in which form they were called, since
//! `MPI_Type_get_contents` gives their arguments back in that.
//!
//! Errors are returned: `enter.rs` catches panics, asks whether MPI runs, and calls the error
//! handler of the call's first communicator, window, file or session.

#![deny(unsafe_op_in_unsafe_fn)]

pub mod args;
pub mod callbacks;
mod calls;
pub mod constants;
mod enter;
mod entries;
mod fortran;
mod handles;
mod hooks;
mod memory;
mod pins;
mod runtime;
mod text;

/// Whether a procedure of the standard is there.
#[derive(Clone, Copy, Debug)]
pub struct Coverage {
    /// `MPI_Send`.
    pub name: &'static str,
    /// File in `src/calls` it belongs to.
    pub chapter: &'static str,
    /// Otherwise it fails with `MPI_ERR_UNSUPPORTED_OPERATION`.
    pub implemented: bool,
}

include!(concat!(env!("OUT_DIR"), "/coverage.rs"));
