//! Wrong use: each call fails with its class where the handler returns, and ends the job by name
//! where it does not; and what real clients once stumbled over.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use support::install::said;
use support::programs::Program;

#[test]
fn every_wrong_use_fails_with_its_class_and_leaves_the_rest_working() {
    Program::new("misuse").holds(2, &[]);
}

#[test]
fn every_wrong_use_fails_with_its_class_and_leaves_the_rest_working_over_tcp() {
    Program::new("misuse").holds(2, &[("COHOST_PATH", "tcp")]);
}

#[test]
fn what_mpi4py_stumbled_over_is_right() {
    Program::new("clients").holds(4, &[]);
}

#[test]
fn some_calls_are_right_before_the_start_and_after_the_end() {
    Program::new("fatal").holds(2, &[("MISUSE", "nothing")]);
}

/// Each wrong use, the job's exit code, and what it says.
const ENDS: &[(&str, i32, &str)] = &[
    ("size-before", 16, "MPI_Comm_size: MPI_ERR_OTHER: MPI is not initialized"),
    ("send-before", 16, "MPI_Send: MPI_ERR_OTHER: MPI is not initialized"),
    ("dup-before", 16, "MPI_Comm_dup: MPI_ERR_OTHER: MPI is not initialized"),
    ("finalize-before", 16, "MPI_Finalize: MPI_ERR_OTHER: MPI is not initialized"),
    ("truncated", 15, "rank 1: MPI_Recv: MPI_ERR_TRUNCATE: message truncated: 8 bytes"),
    ("rank", 6, "rank 1: MPI_Send: MPI_ERR_RANK: rank 7 is not one of 0 to 1"),
    ("null-comm", 5, "rank 1: MPI_Barrier: MPI_ERR_COMM: the communicator is null"),
    ("type", 2, "rank 1: MPI_Type_contiguous: MPI_ERR_COUNT: the count -3 is negative"),
    ("aborting-handler", 8, "rank 1: MPI_Bcast: MPI_ERR_ROOT"),
    ("abort", 42, "rank 1 aborted the job with code 42"),
    ("leave", 1, "rank 1 exited without"),
    ("leave-with-code", 9, "rank 1 exited with code 9"),
    ("leave-suddenly", 1, "rank 1 exited without"),
    ("signal", 139, "rank 1 was killed by signal 11"),
    ("send-after", 16, "MPI_Send: MPI_ERR_OTHER: MPI was finalized before"),
    ("size-after", 16, "MPI_Comm_size: MPI_ERR_OTHER: MPI was finalized before"),
    ("type-after", 16, "MPI_Type_contiguous: MPI_ERR_OTHER: MPI was finalized before"),
    ("init-after", 16, "MPI_Init: MPI_ERR_OTHER: MPI_Init was called before"),
    ("finalize-after", 16, "MPI_Finalize: MPI_ERR_OTHER: MPI was finalized before"),
];

#[test]
fn wrong_use_that_is_fatal_ends_the_job_with_its_code_and_says_what_it_was() {
    let program = Program::new("fatal");
    for (misuse, code, words) in ENDS {
        let output = program.run(2, &[("MISUSE", misuse)]);
        let said = said(&output);
        assert_eq!(output.status.code(), Some(*code), "{misuse}: {said}");
        assert!(said.contains(words), "{misuse}: {said}");
        assert!(!said.contains("went on"), "{misuse}: {said}");
    }
}
