//! One established connection: both directions, without a word about how it came to be.

use super::framing::{Drained, Filled, Inbox, payload_length};
use super::handshake::{FAREWELL, FIRST_RESERVED_KIND};
use super::{Down, HEADER_LEN, NetConfig, NetError, SendState, Sink};
use mio::net::TcpStream;
use socket2::SockRef;
use std::io::{self, IoSlice};
use std::net::Shutdown;

/// Frames up to this many bytes in all are gathered on the stack: one plain send is cheaper than
/// one with a vector.
const GATHER_MAX: usize = 1024;

/// Writing to a connection that the peer closed must not raise a signal: this library also lives
/// in programs that are not Rust, where SIGPIPE still kills.
const SEND_FLAGS: i32 = libc::MSG_NOSIGNAL;

/// How a turn of reading ended.
#[derive(Debug)]
pub(super) enum Served {
    /// The socket is empty; an event will tell of more.
    Idle,
    /// The budget is spent, there may be more.
    More,
    /// The sink does not accept.
    Paused,
    /// It is over.
    Ended(Down),
}

/// An established connection.
pub(super) struct Connection {
    pub(super) stream: TcpStream,
    pub(super) peer: u32,
    pub(super) epoch: u64,
    /// Calls of the peer numbered up to this are void: it made them before this connection stood.
    pub(super) peer_counter: u64,
    /// Waiting in the engine's list of connections to serve, or of paused ones.
    pub(super) queued: bool,
    /// A send found the socket full and nobody was told of room since.
    pub(super) blocked: bool,
    /// The kernel said that the stream ends: read on to the end, no event will come again.
    pub(super) ending: bool,
    /// The last look found the peer's machine silent for too long.
    pub(super) silent: bool,
    inbox: Inbox,
    /// Bytes of a frame of which the rest is still to be sent.
    sent: usize,
    broken: Option<io::ErrorKind>,
}

impl Connection {
    pub(super) fn new(
        stream: TcpStream,
        peer: u32,
        epoch: u64,
        peer_counter: u64,
        config: &NetConfig,
    ) -> Self {
        Connection {
            stream,
            peer,
            epoch,
            peer_counter,
            queued: false,
            blocked: false,
            ending: false,
            silent: false,
            inbox: Inbox::new(config.receive_buffer, config.max_payload as usize),
            sent: 0,
            broken: None,
        }
    }

    /// One attempt to send `header` and `payload` from byte `progress` on.
    pub(super) fn send(
        &mut self,
        header: &[u8; HEADER_LEN],
        payload: &[u8],
        progress: &mut usize,
        max_payload: u32,
    ) -> Result<SendState, NetError> {
        let peer = self.peer;
        if let Some(kind) = self.broken {
            return Err(NetError::Lost { peer, reason: kind.to_string() });
        }
        if *progress != self.sent {
            return Err(NetError::OutOfStep { peer, expected: self.sent, given: *progress });
        }
        check_frame(peer, header, payload, max_payload)?;
        let total = HEADER_LEN + payload.len();
        match self.write_from(header, payload, *progress) {
            Ok(count) => *progress = (*progress + count).min(total),
            Err(error) if is_passing(&error) => {}
            Err(error) => {
                self.broken = Some(error.kind());
                return Err(NetError::Lost { peer, reason: error.to_string() });
            }
        }
        if *progress == total {
            self.sent = 0;
            return Ok(SendState::Done);
        }
        self.sent = *progress;
        self.blocked = true;
        Ok(SendState::Blocked)
    }

    fn write_from(
        &self,
        header: &[u8; HEADER_LEN],
        payload: &[u8],
        from: usize,
    ) -> io::Result<usize> {
        let socket = SockRef::from(&self.stream);
        let Some(head) = header.get(from..) else {
            return socket.send_with_flags(&payload[from - HEADER_LEN..], SEND_FLAGS);
        };
        let total = head.len() + payload.len();
        if total <= GATHER_MAX {
            let mut whole = [0; GATHER_MAX];
            whole[..head.len()].copy_from_slice(head);
            whole[head.len()..total].copy_from_slice(payload);
            return socket.send_with_flags(&whole[..total], SEND_FLAGS);
        }
        let parts = [IoSlice::new(head), IoSlice::new(payload)];
        socket.send_vectored_with_flags(&parts, SEND_FLAGS)
    }

    /// A whole frame or nothing is under way?
    pub(super) fn is_between_frames(&self) -> bool {
        self.sent == 0 && self.broken.is_none()
    }

    /// Is the sending direction known to be dead?
    pub(super) fn is_broken(&self) -> bool {
        self.broken.is_some()
    }

    /// Delivers what is there, with at most `reads` reads. `moved` is set when a byte moved.
    pub(super) fn serve<S: Sink>(&mut self, sink: &mut S, reads: u32, moved: &mut bool) -> Served {
        if let Some(end) = self.deliver(sink) {
            return end;
        }
        for _ in 0..reads {
            if !sink.accepting(self.peer) {
                return Served::Paused;
            }
            let filled = self.inbox.fill(&self.stream, self.peer, sink);
            let short = match filled {
                Filled::Some { short } => short,
                Filled::Nothing => return self.nothing_there(),
                Filled::End => return Served::Ended(Down::Reset),
                Filled::Broken => return Served::Ended(Down::Reset),
                Filled::Fault(fault) => return Served::Ended(Down::Fault(fault)),
            };
            *moved = true;
            if let Some(end) = self.deliver(sink) {
                return end;
            }
            if short && !self.ending && self.broken.is_none() {
                return Served::Idle;
            }
        }
        Served::More
    }

    fn deliver<S: Sink>(&mut self, sink: &mut S) -> Option<Served> {
        match self.inbox.drain(self.peer, sink) {
            Drained::Hungry => None,
            Drained::Paused => Some(Served::Paused),
            Drained::Farewell => Some(Served::Ended(Down::Closed)),
            Drained::Fault(fault) => Some(Served::Ended(Down::Fault(fault))),
        }
    }

    fn nothing_there(&self) -> Served {
        // All that arrived before the break is delivered; now it may be reported.
        if self.broken.is_some() { Served::Ended(Down::Reset) } else { Served::Idle }
    }
}

/// The header that says farewell.
pub(super) fn farewell() -> [u8; HEADER_LEN] {
    let mut header = [0; HEADER_LEN];
    header[0] = FAREWELL;
    header
}

/// Says the rest of `bytes`; true when all is said and the sending direction is closed.
pub(super) fn say_rest(stream: &TcpStream, bytes: &[u8], said: &mut usize) -> io::Result<bool> {
    let rest = bytes.get(*said..).unwrap_or_default();
    if !rest.is_empty() {
        match SockRef::from(stream).send_with_flags(rest, SEND_FLAGS) {
            Ok(count) => *said += count,
            Err(error) if is_passing(&error) => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    if *said < bytes.len() {
        return Ok(false);
    }
    stream.shutdown(Shutdown::Write)?;
    Ok(true)
}

/// Errors after which the same call may be made again.
pub(super) fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

fn check_frame(
    peer: u32,
    header: &[u8; HEADER_LEN],
    payload: &[u8],
    max_payload: u32,
) -> Result<(), NetError> {
    let announced = payload_length(header);
    let problem = if announced != payload.len() {
        format!("its header announces {announced} bytes, the payload has {}", payload.len())
    } else if announced > max_payload as usize {
        format!("{announced} bytes are more than max_payload, {max_payload}: send it in parts")
    } else if header[0] >= FIRST_RESERVED_KIND {
        format!("kind {:#04x} is reserved", header[0])
    } else {
        return Ok(());
    };
    Err(NetError::BadFrame { peer, problem })
}
