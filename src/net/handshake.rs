//! The messages that two ends exchange before the first frame: one fixed layout for all kinds,
//! parsed by total functions, proved by a keyed hash.
//!
//! | bytes | field |
//! |---|---|
//! | 0 | kind, `0xF0` to `0xF4` |
//! | 1 | version |
//! | 2 | reason of a refusal, else 0 |
//! | 3 | 0 |
//! | 4..8 | 48: what follows the first [`HEADER_LEN`] bytes, as in any frame |
//! | 8..16 | magic |
//! | 16..24 | job |
//! | 24..28, 28..32 | from rank, to rank |
//! | 32..40, 40..48 | from epoch, to epoch |
//! | 48..56 | number of the call; in a `Welcome` the last number used by the acceptor itself |
//! | 56..72 | nonce of the call |
//! | 72..80 | 0 |
//! | 80..96 | tag of bytes 0..80 under the acceptor's secret (not checked in a refusal) |

use super::HEADER_LEN;
use super::siphash::tag;
use std::io::{self, Read, Write};

/// Bytes of every handshake message.
pub(super) const MESSAGE_LEN: usize = 96;
/// The kind of the frame (a header without payload) that says: nothing follows.
pub(super) const FAREWELL: u8 = 0xF5;
/// Kinds from here on belong to net.
pub(super) const FIRST_RESERVED_KIND: u8 = 0xF0;

const VERSION: u8 = 1;
const MAGIC: [u8; 8] = *b"cohost\r\n";
const PROVED: usize = 80;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Hello,
    Ack,
    Go,
    Welcome,
    Refused,
}

impl Kind {
    fn byte(self) -> u8 {
        match self {
            Kind::Hello => 0xF0,
            Kind::Ack => 0xF1,
            Kind::Go => 0xF2,
            Kind::Welcome => 0xF3,
            Kind::Refused => 0xF4,
        }
    }

    fn of(byte: u8) -> Option<Kind> {
        [Kind::Hello, Kind::Ack, Kind::Go, Kind::Welcome, Kind::Refused]
            .into_iter()
            .find(|kind| kind.byte() == byte)
    }
}

/// Why a caller is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    Version,
    WrongJob,
    WrongRank,
    WrongEpoch,
    BadProof,
    StaleCaller,
    Busy,
    Other,
}

impl Reason {
    fn byte(self) -> u8 {
        match self {
            Reason::Version => 1,
            Reason::WrongJob => 2,
            Reason::WrongRank => 3,
            Reason::WrongEpoch => 4,
            Reason::BadProof => 5,
            Reason::StaleCaller => 6,
            Reason::Busy => 7,
            Reason::Other => 255,
        }
    }

    fn of(byte: u8) -> Reason {
        [
            Reason::Version,
            Reason::WrongJob,
            Reason::WrongRank,
            Reason::WrongEpoch,
            Reason::BadProof,
            Reason::StaleCaller,
            Reason::Busy,
        ]
        .into_iter()
        .find(|reason| reason.byte() == byte)
        .unwrap_or(Reason::Other)
    }

    pub(super) fn text(self) -> &'static str {
        match self {
            Reason::Version => "it speaks another version: use one version of cohost in a job",
            Reason::WrongJob => "it belongs to another job",
            Reason::WrongRank => "it is another rank",
            Reason::WrongEpoch => "it was restarted since the address was published",
            Reason::BadProof => "it does not take our proof: its secret is another",
            Reason::StaleCaller => "it knows a newer life of this rank",
            Reason::Busy => "it is connecting to us, or connected, already",
            Reason::Other => "it gave no reason",
        }
    }
}

/// One message, parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) kind: Kind,
    pub(super) reason: u8,
    pub(super) job: u64,
    pub(super) from: u32,
    pub(super) to: u32,
    pub(super) from_epoch: u64,
    pub(super) to_epoch: u64,
    pub(super) counter: u64,
    pub(super) nonce: [u8; 16],
}

/// Why bytes are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Garbage {
    #[error("it does not speak cohost's protocol")]
    Foreign,
    #[error("it speaks version {0} of the protocol, this is version {VERSION}")]
    Version(u8),
}

impl Message {
    pub(super) fn encode(&self, secret: &[u8; 16]) -> [u8; MESSAGE_LEN] {
        let mut out = [0; MESSAGE_LEN];
        out[0] = self.kind.byte();
        out[1] = VERSION;
        out[2] = self.reason;
        out[4..8].copy_from_slice(&fixed_length());
        out[8..16].copy_from_slice(&MAGIC);
        out[16..24].copy_from_slice(&self.job.to_le_bytes());
        out[24..28].copy_from_slice(&self.from.to_le_bytes());
        out[28..32].copy_from_slice(&self.to.to_le_bytes());
        out[32..40].copy_from_slice(&self.from_epoch.to_le_bytes());
        out[40..48].copy_from_slice(&self.to_epoch.to_le_bytes());
        out[48..56].copy_from_slice(&self.counter.to_le_bytes());
        out[56..72].copy_from_slice(&self.nonce);
        let proof = tag(secret, &out[..PROVED]);
        out[PROVED..].copy_from_slice(&proof);
        out
    }

    pub(super) fn decode(bytes: &[u8; MESSAGE_LEN]) -> Result<Message, Garbage> {
        check_prefix(bytes)?;
        if bytes[1] != VERSION {
            return Err(Garbage::Version(bytes[1]));
        }
        let kind = Kind::of(bytes[0]).ok_or(Garbage::Foreign)?;
        Ok(Message {
            kind,
            reason: bytes[2],
            job: u64::from_le_bytes(field(bytes, 16)),
            from: u32::from_le_bytes(field(bytes, 24)),
            to: u32::from_le_bytes(field(bytes, 28)),
            from_epoch: u64::from_le_bytes(field(bytes, 32)),
            to_epoch: u64::from_le_bytes(field(bytes, 40)),
            counter: u64::from_le_bytes(field(bytes, 48)),
            nonce: field(bytes, 56),
        })
    }

    pub(super) fn refuse(mut self, reason: Reason) -> Message {
        self.kind = Kind::Refused;
        self.reason = reason.byte();
        self
    }

    pub(super) fn refusal(&self) -> Reason {
        Reason::of(self.reason)
    }
}

/// Does whoever made these bytes know the acceptor's secret?
pub(super) fn is_proved(bytes: &[u8; MESSAGE_LEN], secret: &[u8; 16]) -> bool {
    tag(secret, &bytes[..PROVED]) == bytes[PROVED..]
}

/// Is this the beginning of a message? Answers at the first byte that cannot be.
pub(super) fn check_prefix(bytes: &[u8]) -> Result<(), Garbage> {
    if bytes.first().is_some_and(|&kind| Kind::of(kind).is_none()) {
        return Err(Garbage::Foreign);
    }
    if bytes.first() != Some(&Kind::Refused.byte()) && bytes.get(2).is_some_and(|&why| why != 0) {
        return Err(Garbage::Foreign);
    }
    let mut fixed = [0; 13];
    fixed[1..5].copy_from_slice(&fixed_length());
    fixed[5..].copy_from_slice(&MAGIC);
    let seen = bytes.get(3..).unwrap_or_default();
    if seen.iter().zip(&fixed).any(|(seen, fixed)| seen != fixed) {
        return Err(Garbage::Foreign);
    }
    Ok(())
}

fn fixed_length() -> [u8; 4] {
    [(MESSAGE_LEN - HEADER_LEN) as u8, 0, 0, 0]
}

fn field<const N: usize>(bytes: &[u8; MESSAGE_LEN], at: usize) -> [u8; N] {
    let mut out = [0; N];
    if let Some(from) = bytes.get(at..at + N) {
        out.copy_from_slice(from);
    }
    out
}

/// Gathers one message from a socket, and not one byte more: what follows is frames.
pub(super) struct Mailbox {
    bytes: [u8; MESSAGE_LEN],
    filled: usize,
}

/// What [`Mailbox::read`] found.
pub(super) enum Mail {
    /// Not all of it has arrived.
    Pending,
    /// A message, shaped rightly but not checked further.
    Message([u8; MESSAGE_LEN]),
    /// The other end closed the connection, or it broke.
    Gone(String),
    /// These are no messages.
    Bad(Garbage),
}

impl Mailbox {
    pub(super) fn new() -> Self {
        Mailbox { bytes: [0; MESSAGE_LEN], filled: 0 }
    }

    pub(super) fn read(&mut self, mut from: impl Read) -> Mail {
        // Each turn adds a byte or leaves, so the message's length bounds the loop.
        for _ in 0..=MESSAGE_LEN {
            match from.read(&mut self.bytes[self.filled..]) {
                Ok(0) => return Mail::Gone("it closed the connection".to_owned()),
                Ok(count) => self.filled = (self.filled + count).min(MESSAGE_LEN),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Mail::Pending,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Mail::Gone(error.to_string()),
            }
            if let Err(garbage) = check_prefix(&self.bytes[..self.filled]) {
                return Mail::Bad(garbage);
            }
            if self.filled == MESSAGE_LEN {
                self.filled = 0;
                return Mail::Message(self.bytes);
            }
        }
        Mail::Pending
    }
}

/// Writes a whole message. A fresh socket always has room for the few that a handshake has, so
/// a short write means a broken connection.
pub(super) fn post(mut to: impl Write, bytes: &[u8; MESSAGE_LEN]) -> io::Result<()> {
    match to.write(bytes)? {
        MESSAGE_LEN => Ok(()),
        _ => Err(io::Error::from(io::ErrorKind::WriteZero)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECRET: [u8; 16] = [3; 16];

    fn message() -> Message {
        Message {
            kind: Kind::Go,
            reason: 0,
            job: 1,
            from: 2,
            to: 3,
            from_epoch: 4,
            to_epoch: 5,
            counter: 6,
            nonce: [7; 16],
        }
    }

    #[test]
    fn a_message_survives_the_wire_and_is_proved() {
        let bytes = message().encode(&SECRET);
        assert_eq!(Message::decode(&bytes), Ok(message()));
        assert!(is_proved(&bytes, &SECRET));
        assert!(!is_proved(&bytes, &[4; 16]));
    }

    #[test]
    fn no_changed_bit_stays_proved() {
        let bytes = message().encode(&SECRET);
        for bit in 0..MESSAGE_LEN * 8 {
            let mut changed = bytes;
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(!is_proved(&changed, &SECRET), "bit {bit}");
        }
    }

    #[test]
    fn every_prefix_of_a_message_is_a_prefix_and_a_foreign_byte_is_seen_at_once() {
        let bytes = message().encode(&SECRET);
        for length in 0..=MESSAGE_LEN {
            assert_eq!(check_prefix(&bytes[..length]), Ok(()));
        }
        assert_eq!(check_prefix(b"G"), Err(Garbage::Foreign));
        assert_eq!(check_prefix(&bytes[..9].iter().map(|b| b ^ 1).collect::<Vec<_>>()), {
            Err(Garbage::Foreign)
        });
    }

    #[test]
    fn another_version_is_named() {
        let mut bytes = message().encode(&SECRET);
        bytes[1] = 9;
        assert_eq!(Message::decode(&bytes), Err(Garbage::Version(9)));
    }

    #[test]
    fn a_mailbox_takes_one_message_and_leaves_what_follows() {
        let mut stream = message().encode(&SECRET).to_vec();
        stream.extend_from_slice(b"frames");
        let mut rest = stream.as_slice();
        let mut mailbox = Mailbox::new();
        assert!(matches!(mailbox.read(&mut rest), Mail::Message(_)));
        assert_eq!(rest, b"frames");
        assert!(matches!(mailbox.read(&mut rest), Mail::Bad(Garbage::Foreign)));
        assert!(matches!(Mailbox::new().read(&[][..]), Mail::Gone(_)));
    }

    proptest! {
        #[test]
        fn decoding_is_total(bytes in prop::collection::vec(any::<u8>(), MESSAGE_LEN),
                             keep in 0..20_usize) {
            let mut mixed = message().encode(&SECRET);
            mixed[keep.min(MESSAGE_LEN)..].copy_from_slice(&bytes[keep.min(MESSAGE_LEN)..]);
            let _ = Message::decode(&mixed);
        }
    }
}
