//! Collective algorithms as pure schedules: each builder looks at the shape of the communicator and the
//! sizes of the call, and appends to a [`Schedule`] what one rank has to send, receive, wait for, copy and
//! reduce. An executor in `mpi` runs it, now or later, once or often. Nothing here does I/O, knows a clock,
//! a link or a datatype; no buffer of the user ever reaches this folder, only its sizes.
//!
//! Start reading in `schedule.rs` (the contract), then `choose.rs` (which algorithm when), then any family.

mod accumulate;
pub mod allgather;
pub mod allreduce;
pub mod alltoall;
pub mod barrier;
pub mod bcast;
mod blocks;
pub mod choose;
pub mod gather;
mod group;
pub mod inter;
pub mod neighbor;
pub mod reduce;
pub mod reduce_scatter;
pub mod scan;
pub mod scatter;
pub mod schedule;
pub mod shape;
#[cfg(test)]
mod sim;
#[cfg(test)]
mod tests;

pub use accumulate::Operands;
pub use allgather::{allgather, allgatherv};
pub use allreduce::allreduce;
pub use alltoall::{alltoall, alltoallv};
pub use barrier::barrier;
pub use bcast::bcast;
pub use blocks::Blocks;
pub use gather::{gather, gatherv};
pub use inter::{Inter, Root};
pub use neighbor::Neighbors;
pub use reduce::reduce;
pub use reduce_scatter::{Counts, reduce_scatter};
pub use scan::{exscan, scan};
pub use scatter::{scatter, scatterv};
pub use schedule::{Buf, SCRATCH_ALIGN, Schedule, Slice, Step};
pub use shape::Shape;
