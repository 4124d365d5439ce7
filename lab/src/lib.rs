//! The lab: boots real virtual machines on this machine and runs programs inside them.

pub mod agent;
mod error;
pub mod image;
pub mod remote;
pub(crate) mod tools;

pub use error::LabError;
