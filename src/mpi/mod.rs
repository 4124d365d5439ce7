//! The interface of the library: jobs, communicators, messages and collectives.
//!
//! It turns calls into operations of the engine ([`crate::progress`]) and schedules
//! ([`crate::coll`]), checks arguments, and sees to it that no operation outlives the buffers it
//! was given: every blocking call waits before it returns, nonblocking ones live in a [`Scope`].
//! No sockets, rings or frames here.

pub mod attributes;
pub mod collective;
pub mod comm;
mod communicator;
pub mod datatype;
pub mod errhandler;
mod error;
pub mod failure;
pub mod group;
pub mod info;
mod job;
pub mod lock;
pub mod memory;
pub mod op;
pub mod process;
mod reduce;
pub mod request;
pub mod running;
mod scope;
pub mod session;
pub mod tools;
pub mod topology;
mod types;

pub use communicator::Communicator;
pub use error::Error;
pub use job::{Job, init};
pub use reduce::Reducible;
pub use scope::{Request, Scope};
pub use types::{Op, Path, PathEvent, PathInfo, Source, Status, Tag};
