//! Collective algorithms as pure schedules: each builder looks at the shape of the communicator and the
//! sizes of the call, and appends to a [`Schedule`] what one rank has to send, receive, wait for, copy and
//! reduce. An executor in `mpi` runs it, now or later, once or often. Nothing here does I/O, knows a clock,
//! a link or a datatype; no buffer of the user ever reaches this folder, only its sizes.
//!
//! Start reading in `schedule.rs` (the contract), then `choose.rs` (which algorithm when), then any family.

pub mod schedule;
pub mod shape;

pub use schedule::{Buf, SCRATCH_ALIGN, Schedule, Slice, Step};
pub use shape::Shape;
