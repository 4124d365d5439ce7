//! The TCP layer between ranks, over loopback sockets of this process.
#![allow(clippy::unwrap_used, reason = "a test helper that fails is a test that fails")]

#[path = "net/support.rs"]
mod support;

mod net {
    mod flow;
    mod hostile;
    mod meeting;
    mod speed;
}
