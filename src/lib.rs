//! cohost: message passing for clusters of virtual machines. Ranks on one physical host exchange
//! messages through rings in shared memory, all others over TCP.
//!
//! ```
//! use cohost::{Error, Op, Source, Tag};
//!
//! fn main() -> Result<(), Error> {
//!     let job = cohost::init()?; // from the launcher; a job of one without
//!     let world = job.world();
//!     if world.rank() == 0 {
//!         for _ in 1..world.size() {
//!             let mut word = [0; 8];
//!             let status = world.recv(&mut word, Source::Any, Tag::Any)?;
//!             println!("rank {} says {}", status.source, u64::from_le_bytes(word));
//!         }
//!     } else {
//!         world.send(&u64::from(world.rank()).to_le_bytes(), 0, 7)?;
//!     }
//!     let mut sum = [0.0];
//!     world.allreduce(&[f64::from(world.rank())], &mut sum, Op::Sum)?;
//!     assert_eq!(sum[0], f64::from(world.size() * (world.size() - 1) / 2));
//!     job.finalize()
//! }
//! ```
//!
//! # The tour
//! Each room's `mod.rs` says what it is for, what it may use, and what must never reach it. Those
//! above use those below, never the other way; `tests/house.rs` sees to it.
//!
//! | room | holds |
//! |---|---|
//! | [`cli`] | the `cohost` command, a thin skin over what follows |
//! | [`bench`](mod@bench), [`report`] | IMB's benchmarks and the machine's limits; statistics and result files |
//! | [`mpi`] | jobs, communicators, nonblocking scopes: the library's face |
//! | [`coll`] | collective algorithms as pure schedules, and the choice among them |
//! | [`progress`] | the one engine: polls paths within a budget, drives the endpoint, waits |
//! | [`proto`] | matching, eager and rendezvous, exactly once and in order; no I/O, no clock |
//! | [`link`] | the paths to each peer: tried by evidence, used by proof |
//! | [`ring`] | single-producer single-consumer rings that trust nothing in them |
//! | [`net`] | TCP: who is at the other end, one connection per pair, frames |
//! | [`doorbell`] | sleeping, and waking who sleeps |
//! | [`region`] | shared memory of every kind; the only door to shared bytes |
//! | [`tally`] | counters |
//! | [`frame`], [`config`] | the header that every frame carries; settings |
//! | [`launch`] | how ranks are started and find each other (PMI, PMIx) |
//! | [`detect`] | which hypervisor or container this is, with the evidence |
//!
//! Start at [`Communicator::send`] and follow a message down: [`progress`], [`proto`], [`link`],
//! [`ring`]. For ideas rather than calls, start at [`proto`], which knows nothing else, or at
//! [`link::prove`]. `docs/ARCHITECTURE.md` has the picture, and the reasons.

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
pub mod tally;

pub use mpi::{Communicator, Error, Job, Op, Source, Status, Tag, init};

/// The example of the README is tested like any other.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
