//! Frames of one pair, numbered in each direction: what was sent and not acknowledged is kept,
//! what arrives too early is held, what arrives twice is dropped. This stands above the paths, so
//! that a change of path loses and doubles nothing.

use std::collections::{BTreeMap, VecDeque};

use super::slots::Key;
use super::{Config, Fault};
use crate::frame::{Header, Payload};

/// Where the payload of a frame is, for as long as it may have to be sent again.
#[derive(Debug)]
pub(super) enum Kept {
    /// There is none.
    Empty,
    /// The path keeps it, in memory of our own, until it is acknowledged.
    Path,
    /// A copy.
    Copy(Vec<u8>),
    /// In the user's buffer of this send, from this offset on, until the peer says it has it.
    User(Key, usize),
    /// In the user's buffer, which must be free again as soon as the frame was offered once.
    Lent(Key, usize),
}

#[derive(Debug)]
pub(super) struct Retained {
    pub(super) header: Header,
    pub(super) kept: Kept,
}

/// The sending direction.
#[derive(Debug, Default)]
pub(super) struct Sending {
    /// Number of the oldest frame kept; all before it are acknowledged.
    acked: u64,
    /// Number of the next frame to hand to the path.
    sent: u64,
    /// All before it were handed to some path once; more than `sent` after a rewind.
    reached: u64,
    frames: VecDeque<Retained>,
    /// Bytes kept in copies.
    copied: usize,
    /// Memory of the last copy that was let go: fresh memory would cost page faults.
    spare: Vec<u8>,
}

impl Sending {
    /// Number the next frame gets.
    #[inline]
    pub(super) fn next(&self) -> u64 {
        self.acked + self.frames.len() as u64
    }

    /// Appends a frame, numbering it.
    #[inline]
    pub(super) fn push(&mut self, mut header: Header, kept: Kept) {
        header.seq = self.next() as u32;
        if let Kept::Copy(bytes) = &kept {
            self.copied += bytes.len();
        }
        self.frames.push_back(Retained { header, kept });
    }

    /// The next frame that the path has not taken.
    #[inline]
    pub(super) fn unsent(&self) -> Option<&Retained> {
        self.frames.get((self.sent - self.acked) as usize)
    }

    /// Copies a payload, to be kept.
    #[inline]
    pub(super) fn copy_of(&mut self, payload: &[u8]) -> Kept {
        if payload.is_empty() {
            return Kept::Empty;
        }
        let mut copy = std::mem::take(&mut self.spare);
        copy.clear();
        copy.extend_from_slice(payload);
        Kept::Copy(copy)
    }

    /// Says where the payload of the frame that is next to be sent is from now on.
    pub(super) fn keep_unsent(&mut self, kept: Kept) {
        if let Kept::Copy(bytes) = &kept {
            self.copied += bytes.len();
        }
        if let Some(frame) = self.frames.get_mut((self.sent - self.acked) as usize) {
            frame.kept = kept;
        }
    }

    /// Copies what the path has kept so far, because it will not keep it any longer.
    pub(super) fn reclaim(&mut self, mut read: impl FnMut(u32, &mut [u8])) {
        for frame in &mut self.frames {
            if matches!(frame.kept, Kept::Path) {
                let mut bytes = vec![0; frame.header.len as usize];
                read(frame.header.seq, &mut bytes);
                self.copied += bytes.len();
                frame.kept = Kept::Copy(bytes);
            }
        }
    }

    #[inline]
    pub(super) fn all_sent(&self) -> bool {
        self.sent == self.next()
    }

    #[inline]
    pub(super) fn mark_sent(&mut self) {
        debug_assert!(self.sent < self.next());
        self.sent += 1;
        self.reached = self.reached.max(self.sent);
    }

    /// The peer has every frame before `next_untrusted` (modulo 2^32).
    #[inline]
    pub(super) fn acknowledge(&mut self, next_untrusted: u32) -> Result<(), Fault> {
        let ahead = u64::from(next_untrusted.wrapping_sub(self.acked as u32));
        if ahead > self.reached - self.acked {
            // An older acknowledgement may be overtaken by a newer one on another path.
            let behind = (self.acked as u32).wrapping_sub(next_untrusted);
            return if behind < 1 << 31 { Ok(()) } else { Err(Fault::Acknowledged) };
        }
        for _ in 0..ahead {
            if let Some(Retained { kept: Kept::Copy(bytes), .. }) = self.frames.pop_front() {
                self.copied -= bytes.len();
                if bytes.capacity() > self.spare.capacity() {
                    self.spare = bytes;
                }
            }
        }
        self.acked += ahead;
        self.sent = self.sent.max(self.acked);
        Ok(())
    }

    /// Everything that is not acknowledged goes out again, on whatever path there is now.
    pub(super) fn rewind(&mut self) -> u64 {
        let again = self.sent - self.acked;
        self.sent = self.acked;
        again
    }

    /// Frames kept, and bytes kept in copies.
    #[inline]
    pub(super) fn kept(&self) -> (usize, usize) {
        (self.frames.len(), self.copied)
    }
}

/// What to do with a frame that has arrived.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// It is the next one.
    Now,
    /// It came before: drop it.
    Again,
    /// It is early and was put aside.
    Held,
}

#[derive(Debug)]
pub(super) struct Held {
    pub(super) header: Header,
    pub(super) payload: Box<[u8]>,
}

/// The receiving direction.
#[derive(Debug, Default)]
pub(super) struct Receiving {
    next: u64,
    held: BTreeMap<u64, Held>,
    held_bytes: usize,
}

impl Receiving {
    /// Number of the next frame expected.
    #[inline]
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Decides what to do with a frame; counts it when it is the next one.
    #[inline]
    pub(super) fn arrive<P: Payload>(
        &mut self,
        header: &Header,
        payload: &P,
        config: &Config,
    ) -> Result<Order, Fault> {
        if header.seq == self.next as u32 {
            self.next += 1;
            return Ok(Order::Now);
        }
        self.out_of_order(header, payload, config)
    }

    #[cold]
    fn out_of_order<P: Payload>(
        &mut self,
        header: &Header,
        payload: &P,
        config: &Config,
    ) -> Result<Order, Fault> {
        let ahead = header.seq.wrapping_sub(self.next as u32);
        if ahead >= 1 << 31 {
            return Ok(Order::Again);
        }
        let number = self.next + u64::from(ahead);
        if self.held.contains_key(&number) {
            return Ok(Order::Again);
        }
        let bytes = self.held_bytes + payload.len();
        if self.held.len() >= config.held_frames_max || bytes > config.held_bytes_max {
            return Err(Fault::TooEarly(ahead));
        }
        let mut copy = vec![0; payload.len()].into_boxed_slice();
        payload.copy_to(0, &mut copy);
        self.held.insert(number, Held { header: *header, payload: copy });
        self.held_bytes = bytes;
        Ok(Order::Held)
    }

    /// A frame put aside whose turn has come.
    #[inline]
    pub(super) fn take_held(&mut self) -> Option<Held> {
        if self.held.is_empty() {
            return None;
        }
        let held = self.held.remove(&self.next)?;
        self.next += 1;
        self.held_bytes -= held.payload.len();
        Some(held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(n: u32) -> Sending {
        let mut sending = Sending::default();
        for _ in 0..n {
            let copy = sending.copy_of(&[1; 100]);
            sending.push(Header::default(), copy);
            sending.mark_sent();
        }
        sending
    }

    #[test]
    fn what_is_acknowledged_is_let_go() {
        let mut sending = frames(5);
        sending.acknowledge(3).unwrap();
        assert_eq!(sending.kept(), (2, 200));
        sending.rewind();
        assert_eq!(sending.unsent().unwrap().header.seq, 3);
    }

    #[test]
    fn an_acknowledgement_of_what_was_never_sent_is_a_fault() {
        assert_eq!(frames(5).acknowledge(6), Err(Fault::Acknowledged));
    }

    #[test]
    fn an_acknowledgement_that_was_overtaken_is_ignored() {
        let mut sending = frames(5);
        sending.acknowledge(4).unwrap();
        sending.acknowledge(2).unwrap();
        assert_eq!(sending.kept().0, 1);
    }

    #[test]
    fn numbers_go_on_past_two_to_the_32nd() {
        let mut sending = {
            let at = u64::from(u32::MAX);
            Sending { acked: at, sent: at, reached: at, ..Sending::default() }
        };
        sending.push(Header::default(), Kept::Empty);
        sending.push(Header::default(), Kept::Empty);
        assert_eq!(sending.unsent().unwrap().header.seq, u32::MAX);
        sending.mark_sent();
        assert_eq!(sending.unsent().unwrap().header.seq, 0);
        sending.mark_sent();
        sending.acknowledge(1).unwrap();
        assert_eq!(sending.kept().0, 0);
    }

    #[test]
    fn an_early_frame_waits_for_its_turn_and_a_late_copy_is_dropped() {
        let (mut receiving, config) = (Receiving::default(), Config::default());
        let at = |seq| Header { seq, ..Header::default() };
        let arrive = |r: &mut Receiving, seq| r.arrive(&at(seq), &&b"x"[..], &config).unwrap();
        assert_eq!(arrive(&mut receiving, 1), Order::Held);
        assert_eq!(arrive(&mut receiving, 1), Order::Again);
        assert!(receiving.take_held().is_none());
        assert_eq!(arrive(&mut receiving, 0), Order::Now);
        assert_eq!(receiving.take_held().unwrap().header.seq, 1);
        assert_eq!(arrive(&mut receiving, 0), Order::Again);
    }

    #[test]
    fn a_flood_of_early_frames_is_a_fault() {
        let mut receiving = Receiving::default();
        let config = Config { held_frames_max: 4, ..Config::default() };
        let flood = (1..10)
            .map(|seq| receiving.arrive(&Header { seq, ..Header::default() }, &&b""[..], &config));
        assert!(flood.collect::<Result<Vec<_>, _>>().is_err());
    }
}
