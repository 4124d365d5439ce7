//! Memory of `MPI_Alloc_mem`: messages out of it are copied once where peers can read it, and arrive
//! all the same where they cannot.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use support::programs::Program;

#[test]
fn long_messages_out_of_such_memory_are_copied_by_their_receivers_alone() {
    let program = Program::new("memory");
    program.holds(2, &[("LOANS", "1")]);
    program.holds(3, &[("LOANS", "1")]);
}

#[test]
fn nothing_is_lent_over_tcp_or_through_files_and_everything_arrives() {
    let program = Program::new("memory");
    program.holds(2, &[("LOANS", "0"), ("COHOST_PATH", "tcp")]);
    let directory = tempfile::tempdir().unwrap();
    let files = directory.path().to_str().unwrap();
    program.holds(2, &[("LOANS", "0"), ("COHOST_SHM_DIR", files)]);
}
