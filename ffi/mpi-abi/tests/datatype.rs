//! Datatypes in C: what the calls say, and messages of derived types byte for byte.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use support::programs::Program;

#[test]
fn types_pick_what_their_constructors_say_and_give_their_arguments_back() {
    Program::new("types").holds(1, &[]);
}

#[test]
fn typed_messages_arrive_byte_for_byte_through_shared_memory() {
    Program::new("typed_messages").holds(2, &[]);
}

#[test]
fn typed_messages_arrive_byte_for_byte_over_tcp() {
    Program::new("typed_messages").holds(2, &[("COHOST_PATH", "tcp")]);
}
