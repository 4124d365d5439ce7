//! Buffers that are no range give and take the same stream as ranges, whatever pieces are asked
//! for, and whether the payload can be lent or only copied.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::proto::{Config, Endpoint, Mode, Pattern};

/// Every other byte, from the first on.
#[derive(Debug, Default)]
struct EveryOther {
    packed: AtomicUsize,
}

impl Layout for EveryOther {
    unsafe fn pack(&self, base: *const u8, count: usize, from: usize, out: &mut [u8]) {
        assert!(from + out.len() <= count);
        self.packed.fetch_add(out.len(), Ordering::Relaxed);
        for (at, byte) in out.iter_mut().enumerate() {
            // SAFETY: byte 2 * n is readable for every n below the count.
            *byte = unsafe { *base.wrapping_add(2 * (from + at)) };
        }
    }

    unsafe fn unpack(&self, base: *mut u8, count: usize, at: usize, bytes: &[u8]) {
        assert!(at + bytes.len() <= count);
        for (index, byte) in bytes.iter().enumerate() {
            // SAFETY: byte 2 * n is writable for every n below the count.
            unsafe { *base.wrapping_add(2 * (at + index)) = *byte };
        }
    }
}

/// A payload that cannot be lent, as those in rings.
struct CopyOnly(Vec<u8>);

impl Payload for CopyOnly {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn copy_to(&self, offset: usize, into: &mut [u8]) {
        into.copy_from_slice(&self.0[offset..offset + into.len()]);
    }
}

const COUNT: usize = 3 * STAGE + 5;

fn noise(at: usize) -> u8 {
    (at.wrapping_mul(0x9e37_79b9) >> 9) as u8
}

#[test]
fn a_typed_send_gives_any_piece_of_its_stream() {
    let memory: Vec<u8> = (0..2 * COUNT).map(noise).collect();
    let stream: Vec<u8> = memory.iter().step_by(2).copied().collect();
    let layout = Arc::<EveryOther>::default();
    // SAFETY: the memory outlives the buffer and is as long as the layout says.
    let mut send = unsafe { Outgoing::typed(memory.as_ptr(), COUNT, COUNT, layout) };
    assert_eq!(send.len(), COUNT);
    for (at, len) in [(0, COUNT), (7, 100), (7, 100), (7, 99), (COUNT - 1, 1), (COUNT, 0), (0, 0)] {
        assert_eq!(send.slice(at, len), &stream[at..at + len]);
    }
}

#[test]
fn a_frame_that_is_offered_again_is_not_packed_again() {
    let memory: Vec<u8> = (0..2 * COUNT).map(noise).collect();
    let layout = Arc::<EveryOther>::default();
    // SAFETY: the memory outlives the buffer and is as long as the layout says.
    let mut send = unsafe { Outgoing::typed(memory.as_ptr(), COUNT, COUNT, layout.clone()) };
    for _ in 0..3 {
        assert_eq!(send.slice(64, 128).len(), 128);
    }
    assert_eq!(layout.packed.load(Ordering::Relaxed), 128);
}

#[test]
fn a_typed_receive_puts_every_piece_to_its_place() {
    let stream: Vec<u8> = (0..COUNT).map(|at| noise(at) | 1).collect();
    for lent in [true, false] {
        let mut memory = vec![0; 2 * COUNT];
        let layout = Arc::<EveryOther>::default();
        // SAFETY: the memory outlives the buffer and is as long as the layout says.
        let mut room = unsafe { Incoming::typed(memory.as_mut_ptr(), COUNT, COUNT, layout) };
        for (from, to) in [(2 * STAGE + 1, COUNT), (3, 2 * STAGE + 1), (0, 3), (9, 9)] {
            // Some bytes of the payload before the piece are not for this receive.
            let bytes = [&[0xee; 4], &stream[from..to]].concat();
            if lent {
                room.fill(from, &&bytes[..], 4, to - from);
            } else {
                room.fill(from, &CopyOnly(bytes), 4, to - from);
            }
        }
        assert!(!room.is_range());
        assert_eq!(room.tail(0), [0_u8; 0], "there is no range to lend");
        assert!(memory.iter().step_by(2).eq(&stream), "lent: {lent}");
        assert!(memory.iter().skip(1).step_by(2).all(|byte| *byte == 0));
    }
}

#[test]
fn ranges_stay_small() {
    assert!(size_of::<Outgoing>() <= 24 && size_of::<Incoming>() <= 24);
}

#[test]
fn a_typed_message_to_oneself_longer_than_a_piece_arrives_whole() {
    let (count, layout) = (2 * PIECE + 17, Arc::<EveryOther>::default());
    let memory: Vec<u8> = (0..2 * count).map(|at| noise(at) | 1).collect();
    let mut into = vec![0; 2 * count];
    let mut endpoint = Endpoint::<Outgoing, Incoming>::new(0, 1, Config::default());
    let pattern = Pattern { context: 0, source: Some(0), tag: Some(7) };
    // SAFETY: the memory outlives the operation and is as long as the layout says.
    let room = unsafe { Incoming::typed(into.as_mut_ptr(), count, count, layout.clone()) };
    let received = endpoint.receive(pattern, room).unwrap();
    // SAFETY: as above.
    let send = unsafe { Outgoing::typed(memory.as_ptr(), count, count, layout) };
    let sent = endpoint.send(0, 0, 7, Mode::Standard, send).unwrap();
    assert_eq!(endpoint.test_send(sent), Some(Ok(())));
    assert_eq!(endpoint.test_receive(received).unwrap().unwrap().len, count);
    assert!(into.iter().step_by(2).eq(memory.iter().step_by(2)));
    assert!(into.iter().skip(1).step_by(2).all(|byte| *byte == 0));
}
