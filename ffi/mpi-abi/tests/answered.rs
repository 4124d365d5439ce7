//! A call answers what came while it slept before it returns.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use support::programs::Program;

fn sender_goes_on(path: &str) {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().to_str().unwrap();
    Program::new("answered").holds(2, &[("ANSWERED_DIR", folder), ("COHOST_PATH", path)]);
}

#[test]
fn a_sender_goes_on_when_its_receiver_makes_no_further_call_over_tcp() {
    sender_goes_on("tcp");
}

#[test]
fn a_sender_goes_on_when_its_receiver_makes_no_further_call_through_shared_memory() {
    sender_goes_on("ring");
}
