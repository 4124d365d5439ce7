//! The lab: boots real virtual machines on this machine and runs programs inside them.
//!
//! Where to start reading: [`Lab::up`] boots a layout of guests ([`lab`]), [`guest`] knows the
//! hypervisors, [`setup()`] fetches what they boot from and [`image`] puts that together, [`agent`]
//! is what runs inside each guest, [`ivshmem`] serves doorbells, and [`remote`] is how a program there is handled from here.
//! All that a run makes has its id in its name and is removed with it (`run`).
//!
//! The crate depends on nothing of cohost: the `cohost` program holds the agent, and tests and
//! benchmarks boot guests with this library.

pub mod agent;
mod error;
pub mod guest;
pub mod image;
pub mod ivshmem;
pub mod lab;
mod network;
pub mod program;
pub mod remote;
mod run;
pub mod setup;
mod signals;
pub(crate) mod tools;

pub use agent::frame::Start;
pub use error::LabError;
pub use guest::{Guest, Hypervisor, Migration, Nic, RegionKind};
pub use lab::{Lab, LabOptions};
pub use remote::{RemoteExit, RemoteOutput, RemoteProcess};
pub use run::{remove_leftovers, take_down_all, take_down_others};
pub use setup::{Depot, setup};
pub use signals::take_down_on_signals;
