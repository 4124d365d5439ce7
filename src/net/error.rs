//! What can go wrong here, each with its remedy.

use std::io;
use std::net::SocketAddr;

/// An error of the TCP layer. What a peer does wrong is not here but in [`super::Down`].
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// The port that was asked for is in use.
    #[error(
        "port {port} is taken ({source}): end the program that listens there (`ss -tlnp` names \
         it), choose another port, or let the kernel choose one"
    )]
    PortTaken {
        /// The port.
        port: u16,
        /// What the kernel said.
        source: io::Error,
    },
    /// Listening failed for another reason.
    #[error(
        "cannot listen on {address}: {source}; ports below 1024 need privileges, and the limit of \
         open files (`ulimit -n`) must leave room"
    )]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the kernel said.
        source: io::Error,
    },
    /// A setting makes no sense.
    #[error("network setting {name}: {problem}")]
    Setting {
        /// Its name.
        name: &'static str,
        /// What is wrong with it, and what would be right.
        problem: String,
    },
    /// The event queue failed.
    #[error("the event queue (epoll) failed: {source}; is the limit of open files reached?")]
    Queue {
        /// What the kernel said.
        source: io::Error,
    },
    /// No randomness for a nonce.
    #[error("no random bytes from the kernel: {0}")]
    Random(String),
    /// There is no such peer.
    #[error("rank {rank} is no peer of rank {own} in a job of {size}")]
    NoSuchPeer {
        /// The rank asked for.
        rank: u32,
        /// This rank.
        own: u32,
        /// Ranks in the job.
        size: u32,
    },
    /// A card without an address.
    #[error("rank {rank} published no address: has it an interface that is up?")]
    NoAddress {
        /// The rank.
        rank: u32,
    },
    /// Sending to a peer without a connection.
    #[error("rank {peer} is not connected: connect and wait for up first")]
    NotConnected {
        /// The rank.
        peer: u32,
    },
    /// The connection broke under a send; the next poll reports it down.
    #[error("the connection to rank {peer} broke: {reason}")]
    Lost {
        /// The rank.
        peer: u32,
        /// What the kernel said.
        reason: String,
    },
    /// Another frame was given while one was partly sent.
    #[error(
        "rank {peer}: {expected} bytes of a frame are sent, the caller continues at {given}: \
         finish the frame that was begun first"
    )]
    OutOfStep {
        /// The rank.
        peer: u32,
        /// Bytes of the frame already sent.
        expected: usize,
        /// The caller's idea of it.
        given: usize,
    },
    /// A frame whose header contradicts it.
    #[error("a frame to rank {peer} is malformed: {problem}")]
    BadFrame {
        /// The rank.
        peer: u32,
        /// What is wrong.
        problem: String,
    },
}
