//! What two links say to each other on their TCP connection, beside the frames: not numbered, not
//! kept, each meaningful by itself. They use frame headers with kinds from 0x80 on.

use crate::frame::{Header, WIRE_LEN};

/// First kind that is not a frame.
pub const FIRST: u8 = 0x80;

/// Longest reason carried, in bytes.
pub const REASON_MAX: usize = 512;

/// Longest list of grants carried, in bytes: for sections of 64 MiB.
pub const GRANTS_MAX: usize = 64 << 10;

const DOORBELL: u8 = 0x80;
const ACKNOWLEDGE: u8 = 0x81;
const OFFER: u8 = 0x82;
const ECHO: u8 = 0x83;
const READY: u8 = 0x84;
const FALL_BACK: u8 = 0x85;
const SLOT: u8 = 0x86;
const RETURN: u8 = 0x87;

/// A section as its owner describes it, to be compared with what the reader computed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Epoch of the section.
    pub epoch: u64,
    /// Members it was laid out for, and the owner's index among them.
    pub members: u32,
    /// See `members`.
    pub index: u32,
    /// Cells of a ring.
    pub cells: u32,
    /// Bulk bytes of a ring.
    pub bulk: u32,
    /// For pages granted by a domain of Xen, the invitation to map them
    /// ([`crate::region::xen::Invitation`]); otherwise empty.
    pub grants: Vec<u8>,
}

/// A control message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control {
    /// Wakes a peer that sleeps in its poll.
    Doorbell,
    /// Carries nothing but the acknowledgement that every header carries.
    Acknowledge,
    /// The sender's slot in the device that the two may share. The challenge for a peer lies at the
    /// place of that peer's slot, so this comes before the offer.
    Slot(u32),
    /// The sender's section is ready to be read, and holds a challenge.
    Offer(Offer),
    /// The challenge found in the reader's view of the sender's section.
    Echo([u8; 16]),
    /// The sender reads from the ring from now on.
    Ready,
    /// The memory that the sender has lent under this name is gone.
    Return(u64),
    /// The ring is not used (any more): go on over TCP from this frame number.
    FallBack {
        /// Number of the next frame that the sender expects.
        expected: u32,
        /// Why, for people.
        reason: String,
    },
}

impl Control {
    /// The message as header and payload; `ack` as in [`Header::to_wire`].
    #[must_use]
    pub fn encode(&self, ack: u32) -> ([u8; WIRE_LEN], Vec<u8>) {
        let mut header = Header::default();
        let mut payload = Vec::new();
        let kind = match self {
            Self::Doorbell => DOORBELL,
            Self::Acknowledge => ACKNOWLEDGE,
            Self::Offer(offer) => {
                header.id = offer.epoch;
                header.context = offer.members;
                header.head = offer.index;
                header.total = u64::from(offer.cells) | u64::from(offer.bulk) << 32;
                payload = offer.grants.iter().copied().take(GRANTS_MAX).collect();
                OFFER
            }
            Self::Echo(nonce) => {
                let (low, high) = halves(nonce);
                header.total = low;
                header.id = high;
                ECHO
            }
            Self::Slot(slot) => {
                header.head = *slot;
                SLOT
            }
            Self::Ready => READY,
            Self::Return(name) => {
                header.id = *name;
                RETURN
            }
            Self::FallBack { expected, reason } => {
                header.head = *expected;
                payload = reason.bytes().take(REASON_MAX).collect();
                FALL_BACK
            }
        };
        header.len = payload.len() as u32;
        let mut wire = header.to_wire(ack);
        wire[0] = kind;
        (wire, payload)
    }

    /// Reads a message; `None` when it is none. Total over all bytes.
    #[must_use]
    pub fn decode(wire: &[u8; WIRE_LEN], payload: &[u8]) -> Option<(Self, u32)> {
        // A control message is laid out like a frame; only its kind is not one.
        let mut as_frame = *wire;
        as_frame[0] = 1;
        let (header, ack) = Header::from_wire(&as_frame)?;
        let control = match wire[0] {
            DOORBELL => Self::Doorbell,
            ACKNOWLEDGE => Self::Acknowledge,
            OFFER => Self::Offer(Offer {
                epoch: header.id,
                members: header.context,
                index: header.head,
                cells: header.total as u32,
                bulk: (header.total >> 32) as u32,
                grants: payload[..payload.len().min(GRANTS_MAX)].to_vec(),
            }),
            SLOT => Self::Slot(header.head),
            ECHO => {
                let mut nonce = [0; 16];
                nonce[..8].copy_from_slice(&header.total.to_le_bytes());
                nonce[8..].copy_from_slice(&header.id.to_le_bytes());
                Self::Echo(nonce)
            }
            READY => Self::Ready,
            RETURN => Self::Return(header.id),
            FALL_BACK => Self::FallBack { expected: header.head, reason: printable(payload) },
            _ => return None,
        };
        let empty = !matches!(control, Self::FallBack { .. } | Self::Offer(_));
        (!empty || payload.is_empty()).then_some((control, ack))
    }
}

fn halves(nonce: &[u8; 16]) -> (u64, u64) {
    let both = u128::from_le_bytes(*nonce);
    (both as u64, (both >> 64) as u64)
}

/// A peer's text, made harmless for a terminal.
fn printable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(REASON_MAX)]);
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_message_survives_the_wire() {
        let offer =
            Offer { epoch: u64::MAX, members: 1, index: 2, cells: 3, bulk: 4, grants: vec![] };
        let granted = Offer { grants: vec![1; 300], ..offer.clone() };
        for control in [
            Control::Doorbell,
            Control::Acknowledge,
            Control::Slot(u32::MAX),
            Control::Offer(offer),
            Control::Offer(granted),
            Control::Echo([9; 16]),
            Control::Ready,
            Control::Return(u64::MAX - 1),
            Control::FallBack { expected: 77, reason: "no answer".to_owned() },
        ] {
            let (wire, payload) = control.encode(5);
            assert_eq!(Control::decode(&wire, &payload), Some((control, 5)));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_message_or_none(wire in proptest::collection::vec(any::<u8>(), 48), payload in proptest::collection::vec(any::<u8>(), 0..600)) {
            let wire: [u8; 48] = wire.try_into().unwrap();
            if let Some((Control::FallBack { reason, .. }, _)) = Control::decode(&wire, &payload) {
                prop_assert!(reason.chars().all(|c| !c.is_control()));
            }
        }
    }
}
