//! cohost: message passing for clusters of virtual machines.

pub mod bench;
pub mod cli;
pub mod coll;
pub mod config;
pub mod detect;
pub mod doorbell;
pub mod frame;
pub mod launch;
pub mod link;
pub mod mpi;
pub mod net;
pub mod progress;
pub mod proto;
pub mod region;
pub mod report;
pub mod ring;

pub use mpi::{Communicator, Error, Job, init};
