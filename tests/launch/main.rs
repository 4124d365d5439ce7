//! `cohost run` and the launch library against real processes.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on shall panic")]

mod cluster;
mod command;
mod death;
mod mpiexec;
mod netns;
mod pmi;
mod pmix;
mod slurm;
mod support;
