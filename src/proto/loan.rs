//! Messages that the receiver copies out of the sender's memory by itself.

use std::collections::VecDeque;

use super::receiving::{Arriving, ReceiveState};
use super::stream::Kept;
use super::{Endpoint, Fault, Key, ReceiveBuffer, SendBuffer, control};
use crate::frame::{Header, Kind, Payload};

/// Where the bytes of a message are, as the sender says: numbers, which whoever reads the memory
/// must check against what it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loan {
    /// Name of a piece of the sender's memory, agreed between the two.
    pub name: u64,
    /// Offset of the first byte in it.
    pub offset: u64,
}

/// A part of a lent message that a receive is to be filled with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// The receive.
    pub key: Key,
    /// Who lends.
    pub peer: u32,
    /// Where the message is.
    pub loan: Loan,
    /// Length of the message in bytes.
    pub total: usize,
    /// Bytes of it that are here already.
    pub at: usize,
    /// Bytes of it that are still wanted: what the receive has room for. Never 0.
    pub wanted: usize,
}

const LOAN_BYTES: usize = 16;

impl Loan {
    /// Bytes of the payload.
    pub(super) const BYTES: u32 = LOAN_BYTES as u32;

    /// As the payload of a frame.
    pub(super) fn to_bytes(self) -> [u8; LOAN_BYTES] {
        let mut bytes = [0; LOAN_BYTES];
        bytes[..8].copy_from_slice(&self.name.to_le_bytes());
        bytes[8..].copy_from_slice(&self.offset.to_le_bytes());
        bytes
    }

    /// Reads the payload of a frame; `None` when it is no loan. Total over all payloads.
    pub(super) fn read<P: Payload>(payload: &P) -> Option<Self> {
        if payload.len() != LOAN_BYTES {
            return None;
        }
        let mut words = [[0; 8]; 2];
        payload.copy_to(0, words.as_flattened_mut());
        let [name, offset] = words.map(u64::from_le_bytes);
        Some(Self { name, offset })
    }
}

/// Receives that have met a lent message, in the order in which they did. Some may have ended.
pub(super) type Lent = VecDeque<Key>;

impl<S: SendBuffer, R: ReceiveBuffer> Endpoint<S, R> {
    /// Whether [`Endpoint::due`] may have something.
    #[inline]
    #[must_use]
    pub fn any_due(&self) -> bool {
        !self.lent.is_empty()
    }

    /// The receive that is to be filled next out of its sender's memory: copy some or all of what
    /// is wanted with [`Endpoint::borrowed`], or say that it cannot be with [`Endpoint::decline`].
    pub fn due(&mut self) -> Option<Due> {
        while let Some(&key) = self.lent.front() {
            if let Some(receive) = self.receives.get(key)
                && let ReceiveState::Arriving(arriving) = &receive.state
                && let Some(loan) = arriving.loan
            {
                let (total, at) = (arriving.total, arriving.got);
                let wanted = total.min(receive.buffer.len()) - at;
                let peer = arriving.envelope.source;
                return Some(Due { key, peer, loan, total, at, wanted });
            }
            self.lent.pop_front();
        }
        None
    }

    /// Fills the receive of [`Endpoint::due`] with the bytes that come next, no more than were
    /// wanted. With the last of them it is complete.
    pub fn borrowed<P: Payload>(&mut self, key: Key, payload: &P) {
        let Some(receive) = self.receives.get_mut(key) else { return };
        let room = receive.buffer.len();
        let ReceiveState::Arriving(arriving) = &mut receive.state else { return };
        let (at, wanted) = (arriving.got, arriving.total.min(room));
        let len = payload.len().min(wanted - at);
        arriving.got += len;
        let (peer, total, complete) =
            (arriving.envelope.source, arriving.total, arriving.got == wanted);
        if len > 0 {
            receive.buffer.fill(at, payload, 0, len);
        }
        if complete {
            self.lent.retain(|&other| other != key);
            self.tally.loans.received.frame(true, total);
            self.complete(key, peer);
        }
    }

    /// The memory of [`Endpoint::due`] cannot be read: the message is asked for, from its beginning.
    pub fn decline(&mut self, key: Key) {
        self.lent.retain(|&other| other != key);
        let Some(receive) = self.receives.get_mut(key) else { return };
        let ReceiveState::Arriving(arriving) = &mut receive.state else { return };
        if arriving.loan.take().is_none() {
            return;
        }
        arriving.got = 0;
        let (peer, send) = (arriving.envelope.source, arriving.send.unwrap_or(0));
        self.tally.loans_declined.add(1);
        let header = control(Kind::Cts, send, key.0, 0);
        self.peers[peer as usize].sending.push(header, Kept::Empty);
    }

    /// A message begins that is lent.
    pub(super) fn on_lend<P: Payload>(
        &mut self,
        peer: u32,
        header: &Header,
        payload: &P,
    ) -> Result<(), Fault> {
        let loan = Loan::read(payload).ok_or(Fault::Loan)?;
        // Nothing comes unasked.
        let header = Header { len: 0, head: 0, ..*header };
        self.start(peer, &header, &&[][..], Some(loan))
    }

    /// A receive has met a lent message; `arriving` is its state.
    pub(super) fn meet_loan(&mut self, key: Key, peer: u32, arriving: &Arriving) {
        let room = self.receives.get(key).map_or(0, |receive| receive.buffer.len());
        if arriving.total.min(room) == 0 {
            self.tally.loans.received.frame(true, arriving.total);
            self.complete(key, peer);
        } else {
            self.lent.push_back(key);
        }
    }
}
