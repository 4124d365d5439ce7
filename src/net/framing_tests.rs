//! Framing against streams that come in any pieces, and against any bytes.

use super::super::Down;
use super::*;
use proptest::prelude::*;
use std::collections::VecDeque;
use std::net::SocketAddr;

const STAGED: u8 = 1;
const DIRECT: u8 = 2;

/// A socket that gives its bytes in pieces of given lengths; 0 is "nothing now".
struct Pieces {
    bytes: VecDeque<u8>,
    lengths: Vec<usize>,
    turn: usize,
    /// Bytes read past the buffer.
    straight: usize,
}

impl Pieces {
    fn new(bytes: Vec<u8>, lengths: Vec<usize>) -> Self {
        Pieces { bytes: bytes.into(), lengths, turn: 0, straight: 0 }
    }

    fn next_length(&mut self) -> io::Result<usize> {
        self.turn += 1;
        match self.lengths.get(self.turn % self.lengths.len().max(1)) {
            Some(0) => Err(io::ErrorKind::WouldBlock.into()),
            Some(&length) => Ok(length),
            None => Ok(usize::MAX),
        }
    }

    fn take(&mut self, into: &mut [u8], most: usize) -> usize {
        let count = into.len().min(most).min(self.bytes.len());
        for (place, byte) in into.iter_mut().zip(self.bytes.drain(..count)) {
            *place = byte;
        }
        count
    }
}

impl Read for Pieces {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        assert!(!into.is_empty(), "a read of nothing would look like the end");
        let most = self.next_length()?;
        Ok(self.take(into, most))
    }

    fn read_vectored(&mut self, parts: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let mut left = self.next_length()?;
        let mut count = 0;
        for (index, part) in parts.iter_mut().enumerate() {
            let taken = self.take(part, left);
            self.straight += if index == 0 { taken } else { 0 };
            left -= taken;
            count += taken;
        }
        Ok(count)
    }
}

#[derive(Default)]
struct Log {
    frames: Vec<(u8, Vec<u8>)>,
    landing: Vec<u8>,
    segment: usize,
    closed: bool,
}

impl Sink for Log {
    fn up(&mut self, _: u32, _: SocketAddr, _: SocketAddr) {}
    fn down(&mut self, _: u32, _: Down) {}
    fn writable(&mut self, _: u32) {}
    fn place(&mut self, _: u32, header: &[u8; HEADER_LEN]) -> Result<Placement, String> {
        assert!(!self.closed);
        match header[0] {
            STAGED => Ok(Placement::Staged),
            DIRECT => {
                self.landing = vec![0; payload_length(header)];
                Ok(Placement::Direct)
            }
            _ => Err("unknown".to_owned()),
        }
    }
    fn frame(&mut self, _: u32, header: &[u8; HEADER_LEN], payload: &[u8]) -> Result<(), String> {
        self.frames.push((header[0], payload.to_vec()));
        Ok(())
    }
    fn direct_buffer(&mut self, _: u32, offset: usize) -> &mut [u8] {
        let end = (offset + self.segment).min(self.landing.len());
        &mut self.landing[offset..end]
    }
    fn direct_done(&mut self, _: u32, header: &[u8; HEADER_LEN]) -> Result<(), String> {
        self.frames.push((header[0], std::mem::take(&mut self.landing)));
        Ok(())
    }
    fn accepting(&self, _: u32) -> bool {
        !self.closed
    }
}

fn header(kind: u8, length: usize) -> [u8; HEADER_LEN] {
    let mut header = [0; HEADER_LEN];
    header[0] = kind;
    header[4..8].copy_from_slice(&u32::try_from(length).unwrap().to_le_bytes());
    header
}

fn stream_of(frames: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (kind, payload) in frames {
        bytes.extend_from_slice(&header(*kind, payload.len()));
        bytes.extend_from_slice(payload);
    }
    bytes
}

/// Reads until the stream ends or something else than hunger comes of it.
fn read_all(inbox: &mut Inbox, from: &mut Pieces, log: &mut Log, closed: &[bool]) -> Drained {
    for turn in 0..1_000_000 {
        log.closed = closed.get(turn % closed.len().max(1)).copied().unwrap_or(false);
        match inbox.drain(0, log) {
            Drained::Hungry => {}
            Drained::Paused => continue,
            other => return other,
        }
        match inbox.fill(&mut *from, 0, log) {
            Filled::End => return Drained::Hungry,
            Filled::Fault(fault) => return Drained::Fault(fault),
            Filled::Broken => panic!("broken"),
            Filled::Some { .. } | Filled::Nothing => {}
        }
    }
    panic!("no end");
}

fn frames() -> impl Strategy<Value = Vec<(u8, Vec<u8>)>> {
    let bytes = |most| prop::collection::vec(any::<u8>(), 0..=most);
    let staged = bytes(1024).prop_map(|payload| (STAGED, payload));
    let direct = bytes(5000).prop_map(|payload| (DIRECT, payload));
    prop::collection::vec(prop_oneof![staged, direct], 0..12)
}

proptest! {
    #[test]
    fn frames_come_out_as_they_went_in_whatever_the_pieces(
        frames in frames(),
        mut lengths in prop::collection::vec(0..2000_usize, 0..20),
        mut closed in prop::collection::vec(any::<bool>(), 0..7),
        segment in 1..6000_usize,
    ) {
        lengths.push(1);
        closed.push(false);
        let mut from = Pieces::new(stream_of(&frames), lengths);
        let mut log = Log { segment, ..Log::default() };
        let mut inbox = Inbox::new(1024, 5000);
        prop_assert_eq!(read_all(&mut inbox, &mut from, &mut log, &closed), Drained::Hungry);
        prop_assert!(log.frames == frames);
    }

    #[test]
    fn any_bytes_are_frames_or_a_fault(bytes in prop::collection::vec(0..4_u8, 0..3000),
                                       lengths in prop::collection::vec(1..200_usize, 1..9)) {
        let mut log = Log { segment: 100, ..Log::default() };
        let mut inbox = Inbox::new(1024, 70_000);
        let _ = read_all(&mut inbox, &mut Pieces::new(bytes, lengths), &mut log, &[]);
    }
}

#[test]
fn of_large_direct_payloads_nearly_all_goes_straight_to_its_place() {
    let frames = vec![(DIRECT, vec![7; 1 << 20]); 10];
    let mut from = Pieces::new(stream_of(&frames), Vec::new());
    let mut log = Log { segment: usize::MAX / 2, ..Log::default() };
    let mut inbox = Inbox::new(256 * 1024, 1 << 20);
    assert_eq!(read_all(&mut inbox, &mut from, &mut log, &[]), Drained::Hungry);
    assert_eq!(log.frames.len(), 10);
    assert!((10 << 20) - from.straight <= READ_SHORT + 10 * READ_HEADER);
}

#[test]
fn a_sink_without_room_for_a_direct_payload_is_a_fault_and_not_a_spin() {
    let mut from = Pieces::new(stream_of(&[(DIRECT, vec![7; 100])]), Vec::new());
    let mut log = Log { segment: 0, ..Log::default() };
    let mut inbox = Inbox::new(1024, 1024);
    let end = read_all(&mut inbox, &mut from, &mut log, &[]);
    assert!(matches!(end, Drained::Fault(text) if text.contains("no room")));
}

#[test]
fn nothing_after_a_farewell_is_delivered() {
    let mut bytes = stream_of(&[(STAGED, vec![1])]);
    bytes.extend_from_slice(&header(FAREWELL, 0));
    bytes.extend_from_slice(&stream_of(&[(STAGED, vec![2])]));
    let mut log = Log::default();
    let mut inbox = Inbox::new(1024, 1024);
    let end = read_all(&mut inbox, &mut Pieces::new(bytes, Vec::new()), &mut log, &[]);
    assert_eq!(end, Drained::Farewell);
    assert_eq!(log.frames, [(STAGED, vec![1])]);
}
