//! The tool interface in C, and the calls about the ABI and about objects that are not there.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use support::programs::Program;

#[test]
fn tools_see_settings_and_counters_that_grow_with_messages_through_shared_memory() {
    Program::new("tools").holds(2, &[]);
}

#[test]
fn tools_see_settings_and_counters_that_grow_with_messages_over_tcp() {
    Program::new("tools").holds(2, &[("COHOST_PATH", "tcp")]);
}

#[test]
fn the_abi_tells_its_sizes_and_null_windows_and_files_are_refused() {
    Program::new("abi").holds(1, &[]);
}
