//! Eight threads of each rank at once (MPI 5.0, 11.6), in C.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use support::programs::Program;

#[test]
fn eight_threads_of_two_ranks_get_every_byte_of_theirs_through_shared_memory() {
    Program::new("hammer").holds(2, &[]);
}

#[test]
fn eight_threads_of_two_ranks_get_every_byte_of_theirs_over_tcp() {
    Program::new("hammer").holds(2, &[("COHOST_PATH", "tcp")]);
}
