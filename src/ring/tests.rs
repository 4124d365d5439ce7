//! A ring against a plain queue, and against a peer that lies.

use std::collections::VecDeque;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::frame::{Header, Kind, Payload};
use crate::region::access::{Local, Mapping};

const SIZE: Size = Size { cells: 8, bulk: 4096 };

struct Memory {
    cells: Local,
    bulk: Local,
    control: Local,
}

fn ring() -> (Producer, Consumer, Memory) {
    let own = |len| Local::new(Arc::new(Mapping::heap(len)));
    let memory =
        Memory { cells: own(SIZE.cell_bytes()), bulk: own(4096), control: own(CONTROL_LEN) };
    let producer =
        Producer::new(memory.cells.clone(), memory.bulk.clone(), memory.control.as_remote(), SIZE);
    let consumer = Consumer::new(
        memory.cells.as_remote(),
        memory.bulk.as_remote(),
        memory.control.clone(),
        SIZE,
    );
    (producer, consumer, memory)
}

fn frame(seq: u32, len: usize) -> (Header, Vec<u8>) {
    let payload: Vec<u8> =
        (0..len).map(|i| (i as u32).wrapping_mul(31).wrapping_add(seq) as u8).collect();
    let kind = if seq.is_multiple_of(3) { Kind::Data } else { Kind::Eager };
    let header = Header {
        kind,
        seq,
        len: len as u32,
        total: len as u64,
        tag: 5,
        context: 2,
        ..Header::default()
    };
    (header, payload)
}

fn take(consumer: &mut Consumer) -> Option<(Header, Vec<u8>)> {
    let incoming = consumer.peek().unwrap()?;
    let payload = consumer.payload(&incoming);
    let mut bytes = vec![0; payload.len()];
    payload.copy_to(0, &mut bytes);
    let header = incoming.header;
    consumer.release(incoming);
    Some((header, bytes))
}

#[derive(Clone, Debug)]
enum Act {
    Push(usize),
    Take,
    Publish,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        (0_usize..=1024).prop_map(Act::Push),
        (0_usize..=48).prop_map(Act::Push),
        Just(Act::Take),
        Just(Act::Take),
        Just(Act::Publish),
    ];
    proptest::collection::vec(act, 0..400)
}

proptest! {
    #[test]
    fn a_ring_is_a_queue(acts in acts()) {
        let (mut producer, mut consumer, _memory) = ring();
        let mut oracle = VecDeque::new();
        let mut seq = 0;
        for act in acts {
            match act {
                Act::Push(len) => {
                    let (header, payload) = frame(seq, len);
                    if producer.push(&header, &payload).unwrap() == Pushed::Done {
                        oracle.push_back((header, payload));
                        seq += 1;
                    } else {
                        prop_assert!(!oracle.is_empty() || consumer.taken() > producer.taken());
                    }
                }
                Act::Take => prop_assert_eq!(take(&mut consumer), oracle.pop_front()),
                Act::Publish => consumer.publish(),
            }
        }
        while let Some(expected) = oracle.pop_front() {
            prop_assert_eq!(take(&mut consumer), Some(expected));
        }
        prop_assert_eq!(take(&mut consumer), None);
    }

    #[test]
    fn a_consumer_survives_any_cells(words in proptest::collection::vec(any::<u64>(), 64)) {
        let (_, mut consumer, memory) = ring();
        for (i, word) in words.iter().enumerate() {
            // The first cells carry the lap that is expected, so that the rest is looked at.
            let word = if i % 8 == 0 { (word & !0xff_ffff) | 1 | (word & 7) << 16 } else { *word };
            memory.cells.store_u64(i * 8, word);
        }
        for _ in 0..SIZE.cells {
            let Ok(Some(incoming)) = consumer.peek() else { return Ok(()) };
            let mut bytes = vec![0; incoming.header.len as usize];
            consumer.payload(&incoming).copy_to(0, &mut bytes);
            consumer.release(incoming);
        }
    }

    #[test]
    fn a_producer_survives_any_positions(cells: u64, bulk: u64) {
        let (mut producer, _, memory) = ring();
        let (header, payload) = frame(0, 1000);
        prop_assert_eq!(producer.push(&header, &payload), Ok(Pushed::Done));
        memory.control.store_u64(CONTROL_CELLS, cells);
        memory.control.store_u64(CONTROL_BULK, bulk);
        let honest = cells <= 1 && bulk <= 1024;
        prop_assert_eq!(producer.refresh().is_ok(), honest);
    }
}

#[test]
fn a_full_ring_refuses_and_takes_again_after_the_consumer_published() {
    let (mut producer, mut consumer, _memory) = ring();
    let (header, payload) = frame(1, 8);
    for _ in 0..SIZE.cells {
        assert_eq!(producer.push(&header, &payload), Ok(Pushed::Done));
    }
    assert_eq!(producer.push(&header, &payload), Ok(Pushed::Full));
    assert!(take(&mut consumer).is_some());
    consumer.publish();
    assert_eq!(producer.push(&header, &payload), Ok(Pushed::Done));
}

#[test]
fn two_threads_move_every_byte_in_order() {
    const FRAMES: u32 = 20_000;
    let (mut producer, mut consumer, _memory) = ring();
    let length = |seq: u32| (seq as usize * 37) % 1025;
    let writer = std::thread::spawn(move || {
        for seq in 0..FRAMES {
            let (header, payload) = frame(seq, length(seq));
            while producer.push(&header, &payload).unwrap() == Pushed::Full {
                std::thread::yield_now();
            }
        }
    });
    for seq in 0..FRAMES {
        let got = loop {
            match take(&mut consumer) {
                Some(got) => break got,
                None => {
                    consumer.publish();
                    std::thread::yield_now();
                }
            }
        };
        assert_eq!(got, frame(seq, length(seq)));
    }
    writer.join().unwrap();
}

#[test]
fn what_was_not_taken_can_be_recalled() {
    let (mut producer, mut consumer, _memory) = ring();
    for seq in 0..20 {
        let (header, payload) = frame(seq, [5, 48, 700][seq as usize % 3]);
        assert_eq!(producer.push(&header, &payload), Ok(Pushed::Done));
        let mut back = vec![0; payload.len()];
        producer.recall(u64::from(seq), &mut back);
        assert_eq!(back, payload);
        take(&mut consumer);
        consumer.publish();
    }
}

#[test]
fn what_is_read_of_memory_that_has_gone_is_refused() {
    use crate::region::layout::EPOCH_OFFSET;
    use crate::region::{Geometry, SectionLayout, heap};
    let layout = SectionLayout::new(2, Geometry::MIN).unwrap();
    let own = heap::create(layout, 0).unwrap();
    let life = heap::view(&own, 1).unwrap().life();
    let (mut producer, consumer, _memory) = ring();
    let consumer = consumer.within(life);
    let (header, payload) = frame(1, 600);
    producer.push(&header, &payload).unwrap();
    let incoming = consumer.peek().unwrap().unwrap();
    assert_eq!(consumer.check(), Ok(()));
    // Between the look at the cell and the end of the copy.
    own.window().store_u64(EPOCH_OFFSET, 0);
    assert_eq!(consumer.check(), Err(RingFault::Vanished), "{incoming:?}");
    assert_eq!(consumer.peek().unwrap_err(), RingFault::Vanished);
}
