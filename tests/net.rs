//! The TCP layer between ranks, over loopback sockets of this process.

#[path = "net/support.rs"]
mod support;

mod net {
    mod flow;
    mod hostile;
    mod meeting;
    mod speed;
}
