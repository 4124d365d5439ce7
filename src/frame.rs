//! The header that every frame carries, whatever path it takes.
//!
//! A frame is the unit that paths move: one cell of a ring (with bytes beside it), or one header
//! and payload on a TCP stream. Frames of a pair are numbered, so that they arrive exactly once
//! and in order across a change of path. This module knows nothing of rings, sockets or matching.

/// What a frame says. The numbers are part of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum Kind {
    /// Starts a message whose sender is already done with it. `total`: bytes of the message.
    #[default]
    Eager = 1,
    /// Starts a message whose sender waits for [`Kind::Fin`]. `total`: bytes of the message;
    /// `id`: the send; `head`: bytes that follow without being asked for.
    Rts = 2,
    /// Goes on with the message started last on this pair.
    More = 3,
    /// Asks for the rest of a message. `total`: the receive's id; `id`: the send.
    Cts = 4,
    /// A piece of the rest. `total`: its offset in the message; `id`: the receive.
    Data = 5,
    /// The receive of send `id` is complete.
    Fin = 6,
    /// Asks to withdraw send `id` if it was not matched yet.
    Cancel = 7,
    /// Answers [`Kind::Cancel`]. `head`: 1 withdrawn, 0 too late.
    Cancelled = 8,
    /// `head`: 1 asks for headers only from now on (too many unexpected bytes), 0 lifts that.
    Throttle = 9,
    /// Starts a message whose bytes the receiver may copy out of the sender's memory by itself;
    /// the sender waits for [`Kind::Fin`], or for [`Kind::Cts`] when the receiver cannot. `total`:
    /// bytes of the message; `id`: the send. The payload says where the bytes are.
    Lend = 10,
}

impl Kind {
    /// The kind with this number, if there is one. Total over all values.
    #[inline]
    #[must_use]
    pub fn from_u8(value: u8) -> Option<Self> {
        Some(match value {
            1 => Self::Eager,
            2 => Self::Rts,
            3 => Self::More,
            4 => Self::Cts,
            5 => Self::Data,
            6 => Self::Fin,
            7 => Self::Cancel,
            8 => Self::Cancelled,
            9 => Self::Throttle,
            10 => Self::Lend,
            _ => return None,
        })
    }
}

/// Header of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Header {
    /// What the frame says.
    pub kind: Kind,
    /// Communicator and purpose: messages match only within a context.
    pub context: u32,
    /// Message tag, for frames that start a message.
    pub tag: i32,
    /// Number of this frame in its pair and direction, modulo 2^32.
    pub seq: u32,
    /// Payload bytes in this frame.
    pub len: u32,
    /// See [`Kind`].
    pub head: u32,
    /// See [`Kind`].
    pub total: u64,
    /// See [`Kind`].
    pub id: u64,
}

/// Payload of a frame that has arrived. It may still lie in shared memory, so it can be copied
/// out and nothing else.
pub trait Payload {
    /// Length in bytes.
    fn len(&self) -> usize;
    /// Whether there are no bytes.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Copies `into.len()` bytes from `offset` on. Both lie within [`Payload::len`].
    fn copy_to(&self, offset: usize, into: &mut [u8]);
    /// All of it, if it is in memory that can be lent.
    fn bytes(&self) -> Option<&[u8]> {
        None
    }
}

impl Payload for &[u8] {
    #[inline]
    fn len(&self) -> usize {
        <[u8]>::len(self)
    }

    #[inline]
    fn copy_to(&self, offset: usize, into: &mut [u8]) {
        into.copy_from_slice(&self[offset..offset + into.len()]);
    }

    #[inline]
    fn bytes(&self) -> Option<&[u8]> {
        Some(self)
    }
}

/// Bytes of a header on a stream.
pub const WIRE_LEN: usize = 48;

impl Header {
    /// Whether a message begins with this frame.
    #[inline]
    #[must_use]
    pub fn begins(&self) -> bool {
        matches!(self.kind, Kind::Eager | Kind::Rts | Kind::Lend)
    }

    /// The header as it stands on a stream; `ack` is the number of the next frame the sender of
    /// this one expects.
    #[must_use]
    pub fn to_wire(&self, ack: u32) -> [u8; WIRE_LEN] {
        let mut out = [0; WIRE_LEN];
        out[0] = self.kind as u8;
        out[4..8].copy_from_slice(&self.len.to_le_bytes());
        out[8..12].copy_from_slice(&self.context.to_le_bytes());
        out[12..16].copy_from_slice(&self.tag.to_le_bytes());
        out[16..20].copy_from_slice(&self.seq.to_le_bytes());
        out[20..24].copy_from_slice(&ack.to_le_bytes());
        out[24..32].copy_from_slice(&self.total.to_le_bytes());
        out[32..40].copy_from_slice(&self.id.to_le_bytes());
        out[40..44].copy_from_slice(&self.head.to_le_bytes());
        out
    }

    /// Reads what [`Header::to_wire`] wrote, with the acknowledgement; `None` when the kind is
    /// unknown. Lengths and ids are the peer's word only, and are checked where they are used.
    #[must_use]
    pub fn from_wire(wire: &[u8; WIRE_LEN]) -> Option<(Self, u32)> {
        let word =
            |at: usize| u32::from_le_bytes([wire[at], wire[at + 1], wire[at + 2], wire[at + 3]]);
        let long = |at: usize| u64::from(word(at)) | (u64::from(word(at + 4)) << 32);
        let header = Self {
            kind: Kind::from_u8(wire[0])?,
            context: word(8),
            tag: word(12).cast_signed(),
            seq: word(16),
            len: word(4),
            head: word(40),
            total: long(24),
            id: long(32),
        };
        Some((header, word(20)))
    }
}

/// Brings the acknowledgement in a header on a stream up to date.
pub fn set_ack(wire: &mut [u8; WIRE_LEN], ack: u32) {
    wire[20..24].copy_from_slice(&ack.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_survives_the_wire() {
        let header = Header {
            kind: Kind::Rts,
            context: 0xdead_beef,
            tag: -7,
            seq: u32::MAX,
            len: 48,
            head: 3,
            total: u64::MAX - 1,
            id: 1 << 40,
        };
        assert_eq!(Header::from_wire(&header.to_wire(99)), Some((header, 99)));
    }

    #[test]
    fn an_unknown_kind_is_refused() {
        for kind in (0..=255).filter(|&k| Kind::from_u8(k).is_none()) {
            let mut wire = Header::default().to_wire(0);
            wire[0] = kind;
            assert_eq!(Header::from_wire(&wire), None);
        }
    }
}
