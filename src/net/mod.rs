//! TCP between ranks: who is at the other end, one connection per pair, frames in and out.
//!
//! This folder owns every socket of the library. It finds the addresses worth publishing, proves
//! that a peer is the rank it is taken for, keeps at most one connection per pair, and moves frames
//! (a header of [`HEADER_LEN`] bytes and a payload) without copying large payloads on the way out.
//! It may use mio, socket2 and the standard library. Ranks' meaning, tags, matching, retention and
//! the choice between paths must never reach it: the header is opaque but for its first byte (the
//! kind; `0xF0..=0xFF` are net's own) and bytes 4 to 8 (the payload's length, little endian).
//! It reads no clock either: the time is an argument.
//!
//! | file | concern |
//! |---|---|
//! | `engine.rs`, `hot.rs` | [`Net`]: the event loop, sending, which connection to look at first |
//! | `farewell.rs` | closing |
//! | `dial.rs` | reaching a peer: candidates in a staggered race, the first that proves itself wins |
//! | `incoming.rs` | callers: strangers are shown out, peers are answered, ties are broken |
//! | `handshake.rs` | the messages both exchange before the first frame, and their proof |
//! | `connection.rs`, `framing.rs` | an established connection; bytes into frames |
//! | `silence.rs` | peers whose machines vanish without a word |
//! | `listener.rs`, `interfaces.rs` | listening sockets; which addresses this machine has |
//! | `slots.rs`, `siphash.rs`, `error.rs` | a table with generations; the keyed hash; errors |
//!
//! # How two ranks become connected
//! The connector sends `Hello` to each candidate, staggered by 50 ms. Whoever is there answers
//! `Ack`, with a proof made from the secret that the sought rank published and a nonce just drawn,
//! or `Refused` with a reason. On the first candidate that proves itself the connector sends `Go`,
//! and drops the others. The acceptor commits by `Welcome`: it is up when it has sent that, the
//! connector when it has read it. When both called each other, the one with the lower rank refuses
//! the other's `Go` while its own is outstanding, and the higher one yields: one connection stays,
//! each side sees one [`Sink::up`]. Calls are numbered, and `Welcome` says which of the acceptor's
//! own are void by it; so a `Go` that was overtaken is told from a peer that lost its connection
//! and calls again.
//!
//! # What the proof is worth
//! It guards against accidents and strangers: a stale address, another job, a bridge address that
//! exists on every machine, a port scanner. It is a keyed hash over a random secret that does not
//! cross the wire; the frames after it are neither encrypted nor authenticated.

mod connection;
mod dial;
mod engine;
mod error;
mod farewell;
mod framing;
mod handshake;
mod hot;
mod incoming;
mod interfaces;
mod listener;
mod silence;
mod siphash;
mod slots;

use std::net::SocketAddr;
use std::time::Duration;

pub use engine::Net;
pub use error::NetError;
pub use interfaces::usable_addresses;

/// Bytes of a frame's header. Opaque to net, except: byte 0 is the kind (net keeps `0xF0..=0xFF`
/// for itself), bytes 4 to 8 are the length of the payload in bytes, little endian.
pub const HEADER_LEN: usize = 48;

/// The most candidate addresses of one peer that are tried, and that [`Net::addresses`] offers.
pub const MAX_CANDIDATES: usize = 16;

/// Who this rank is.
#[derive(Clone)]
pub struct Identity {
    /// The job both ends must belong to.
    pub job: u64,
    /// This rank.
    pub rank: u32,
    /// Random, not zero: tells this life of the rank from an earlier one.
    pub epoch: u64,
    /// Random; published to the job's ranks only, never sent over a connection.
    pub secret: [u8; 16],
}

/// What a peer published about itself.
#[derive(Clone)]
pub struct PeerCard {
    /// Its rank.
    pub rank: u32,
    /// Its epoch.
    pub epoch: u64,
    /// Its secret.
    pub secret: [u8; 16],
    /// Where it may be reached, best first. At most [`MAX_CANDIDATES`] are tried.
    pub addresses: Vec<SocketAddr>,
}

/// Where to listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BindPolicy {
    /// On all addresses, at ports that the kernel chooses.
    All,
    /// On `127.0.0.1` and `::1` only, at ports that the kernel chooses.
    LoopbackOnly,
    /// On all addresses, at this port.
    Port(u16),
}

/// How connections are made and how much they hold.
#[derive(Clone, Debug)]
pub struct NetConfig {
    /// The longest payload accepted or sent, in bytes. A longer one announced by a peer is a fault.
    pub max_payload: u32,
    /// How long a candidate may take until TCP is connected, and for how long candidates that
    /// hang up before they prove anything are tried again.
    pub connect_timeout: Duration,
    /// How long a caller may take to say a whole `Hello`, and how long a closed connection lingers
    /// until the peer has taken the last bytes.
    pub handshake_timeout: Duration,
    /// How long a candidate to which TCP is connected may stay silent. A rank answers only when it
    /// next enters the library, so this must exceed the longest computation between two calls.
    pub answer_timeout: Duration,
    /// How long a peer's machine may not be heard, though it is asked, until its connection ends;
    /// `None`: as long as the kernel likes, which is for ever while nothing is sent. A rank that
    /// computes is not silent: its kernel answers.
    pub silence: Option<Duration>,
    /// Where to listen.
    pub bind: BindPolicy,
    /// `SO_SNDBUF` and `SO_RCVBUF` in bytes; `None` leaves them to the kernel's own tuning.
    pub socket_buffer: Option<usize>,
    /// Bytes of the receive buffer of one connection, and so the longest staged payload.
    pub receive_buffer: usize,
}

impl Default for NetConfig {
    fn default() -> Self {
        NetConfig {
            max_payload: u32::MAX,
            connect_timeout: Duration::from_secs(10),
            handshake_timeout: Duration::from_secs(5),
            answer_timeout: Duration::from_secs(3600),
            silence: Some(Duration::from_secs(300)),
            bind: BindPolicy::All,
            socket_buffer: None,
            receive_buffer: 256 * 1024,
        }
    }
}

/// What became of one attempt to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendState {
    /// The whole frame is with the kernel.
    Done,
    /// The socket is full: come back with the same frame after [`Sink::writable`].
    Blocked,
}

/// Where the payload of an arriving frame goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// Gathered in the receive buffer, then given whole to [`Sink::frame`]. The payload must not
    /// be longer than [`NetConfig::receive_buffer`].
    Staged,
    /// Read to where [`Sink::direct_buffer`] says, then [`Sink::direct_done`].
    Direct,
}

/// Why a peer is not connected any more, or could not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Down {
    /// It said farewell after its last frame.
    Closed,
    /// The connection ended without a farewell: it closed, died, or was cut off.
    Reset,
    /// It broke the protocol, or the sink found a fault in what it sent.
    Fault(String),
    /// No candidate address proved to be the peer; each is listed with its reason.
    Unreachable(String),
}

/// Who takes what arrives. Called from within [`Net::poll`] and [`Net::poll_hot`] only.
pub trait Sink {
    /// A connection to `peer` is established: frames may be sent.
    fn up(&mut self, peer: u32, local: SocketAddr, remote: SocketAddr);

    /// The connection to `peer` ended, or could not be made. All frames that it carried here have
    /// been delivered. A frame sent in part is void.
    fn down(&mut self, peer: u32, why: Down);

    /// There is room again after a [`SendState::Blocked`].
    fn writable(&mut self, peer: u32);

    /// A header arrived: where shall its payload go? An error is a fault and closes the connection.
    ///
    /// # Errors
    /// Whatever the header makes invalid; the text is found again in [`Down::Fault`].
    fn place(&mut self, peer: u32, header: &[u8; HEADER_LEN]) -> Result<Placement, String>;

    /// A staged frame is complete.
    ///
    /// # Errors
    /// As for [`Sink::place`].
    fn frame(&mut self, peer: u32, header: &[u8; HEADER_LEN], payload: &[u8])
    -> Result<(), String>;

    /// Where payload byte `offset` of the current direct frame and those after it go. It may be
    /// shorter than what is left of the payload (net asks again), but not empty; what is longer is
    /// cut. Not every byte of it need be written before the next call.
    fn direct_buffer(&mut self, peer: u32, offset: usize) -> &mut [u8];

    /// A direct frame is complete.
    ///
    /// # Errors
    /// As for [`Sink::place`].
    fn direct_done(&mut self, peer: u32, header: &[u8; HEADER_LEN]) -> Result<(), String>;

    /// Back-pressure: while this is false nothing is read from `peer` and no frame of it is
    /// delivered. Net asks again at each poll.
    fn accepting(&self, peer: u32) -> bool;

    /// The card of a caller whose epoch is not known yet ([`Net::accept_from`]). `None`: unknown,
    /// then its knowledge of this rank's secret is proof enough that it belongs to the job.
    fn card_of(&mut self, peer: u32) -> Option<PeerCard> {
        let _ = peer;
        None
    }
}
