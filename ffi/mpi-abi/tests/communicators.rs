//! Groups, communicators, topologies and sessions, as C programs use them. What each program
//! claims is in `programs`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use support::programs::Program;

#[test]
fn groups_are_made_of_each_other_and_wrong_ranks_are_refused() {
    Program::new("groups").holds(4, &[]);
}

#[test]
fn communicators_are_duplicated_split_created_and_freed_while_messages_are_under_way() {
    Program::new("communicators").holds(4, &[]);
}

#[test]
fn two_groups_talk_to_each_other_and_merge() {
    Program::new("intercommunicators").holds(5, &[]);
}

#[test]
fn two_groups_talk_to_each_other_and_merge_over_tcp() {
    Program::new("intercommunicators").holds(5, &[("COHOST_PATH", "tcp")]);
}

#[test]
fn grids_and_graphs_know_their_neighbors() {
    Program::new("topologies").holds(4, &[]);
}

#[test]
fn eight_threads_make_communicators_at_once() {
    Program::new("threads").holds(4, &[]);
}

#[test]
fn sessions_work_without_the_world_and_the_job_is_left_at_exit() {
    Program::new("sessions").holds(4, &[("WITHOUT_WORLD", "1")]);
}

#[test]
fn a_session_that_is_open_at_the_end_of_the_world_works_until_it_is_finalized() {
    Program::new("sessions").holds(4, &[]);
}

#[test]
fn a_collective_sees_nothing_of_the_one_before() {
    Program::new("repeated").holds(2, &[]);
    Program::new("repeated").holds(3, &[("COHOST_PATH", "tcp")]);
}

#[test]
fn a_rank_opens_sessions_while_another_never_uses_mpi() {
    Program::new("local_sessions").holds(2, &[]);
}

#[test]
fn threads_that_need_the_job_at_once_join_it_once_and_a_forked_child_does_not_leave_it() {
    let output = Program::new("local_sessions").run_with(3, &["together"], &[]);
    let said = String::from_utf8_lossy(&output.stdout);
    let why = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("all claims hold"), "{said}{why}");
}
