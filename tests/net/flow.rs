//! Frames over an established connection.

use crate::support::*;
use cohost::net::{NetConfig, NetError, SendState};
use std::time::{Duration, Instant};

/// Sends `frames` (kind, length) from 0 to 1 and checks that each arrives once, in order, whole.
fn carry(a: &mut Rank, b: &mut Rank, frames: &[(u8, usize)]) {
    let before = b.memory.events.len();
    for (number, &(kind, length)) in frames.iter().enumerate() {
        let number = number as u64;
        let data = payload(number, length);
        deliver(&mut [&mut *a, &mut *b], 1, &header(kind, number, length), &data);
    }
    run(&mut [a, &mut *b], |r| r[1].memory.events.len() == before + frames.len());
    for (number, (event, &(kind, length))) in
        b.memory.events[before..].iter().zip(frames).enumerate()
    {
        let number = number as u64;
        let Event::Frame { number: seen, direct, payload: got, .. } = event else {
            panic!("{event:?}")
        };
        assert_eq!((*seen, *direct), (number, kind == DIRECT));
        assert!(*got == payload(number, length), "frame {number} of {length} bytes is damaged");
    }
}

#[test]
fn frames_of_all_lengths_arrive_whole_and_in_order() {
    let (mut a, mut b) = pair(config(), config());
    let lengths = [0, 1, 8, 975, 976, 977, 4096, 16_335, 16_336, 16_337, 65_536, 262_144];
    let frames: Vec<_> = lengths.iter().flat_map(|&n| [(STAGED, n), (DIRECT, n)]).collect();
    carry(&mut a, &mut b, &frames);
    carry(&mut a, &mut b, &[(DIRECT, 4 << 20), (STAGED, 3), (DIRECT, 1 << 20), (DIRECT, 0)]);
}

#[test]
fn a_direct_payload_may_land_in_pieces() {
    let (mut a, mut b) = pair(config(), config());
    for segment in [1000, 4096, 70_000] {
        b.memory.segment = segment;
        carry(&mut a, &mut b, &[(DIRECT, 300_000), (STAGED, 100), (DIRECT, 10)]);
    }
}

#[test]
fn tiny_socket_buffers_and_a_tiny_receive_buffer_only_cost_time() {
    let tiny = NetConfig { socket_buffer: Some(1), receive_buffer: 1024, ..config() };
    let (mut a, mut b) = pair(tiny.clone(), tiny);
    let frames = [(STAGED, 1024), (DIRECT, 300_000), (STAGED, 1), (STAGED, 0), (STAGED, 1000)];
    carry(&mut a, &mut b, &frames);
}

#[test]
fn many_small_frames_at_once_come_out_one_by_one() {
    let (mut a, mut b) = pair(config(), config());
    let frames: Vec<_> = (0..20_000).map(|n| (STAGED, n % 61)).collect();
    carry(&mut a, &mut b, &frames);
}

#[test]
fn a_blocked_sender_is_told_when_there_is_room_and_must_finish_its_frame() {
    let small = NetConfig { socket_buffer: Some(4096), ..config() };
    let (mut a, mut b) = pair(small.clone(), small);
    let data = payload(1, 2 << 20);
    let head = header(DIRECT, 1, data.len());
    let mut progress = 0;
    assert_eq!(a.try_send(1, &head, &data, &mut progress), SendState::Blocked);
    assert!(progress > 0 && progress < data.len() && a.net.wants_write(1));
    let other = a.net.send(1, &header(STAGED, 2, 0), &[], &mut 0);
    assert!(matches!(other, Err(NetError::OutOfStep { expected, given: 0, .. }) if expected > 0));
    let mut wakes = 0;
    a.memory.writable.clear();
    run(&mut [&mut a, &mut b], |r| {
        if !r[0].memory.writable.remove(&1) {
            return false;
        }
        wakes += 1;
        // Only when told: as often as it takes until it blocks again.
        loop {
            let before = progress;
            if r[0].try_send(1, &head, &data, &mut progress) == SendState::Done {
                return true;
            }
            if progress == before {
                return false;
            }
        }
    });
    assert!(wakes > 1);
    run(&mut [&mut a, &mut b], |r| r[1].memory.frames() == 1);
}

#[test]
fn a_peer_that_is_not_accepted_waits_and_loses_nothing() {
    let small = NetConfig { socket_buffer: Some(8192), ..config() };
    let (mut a, mut b) = pair(small.clone(), small);
    b.memory.closed_to.insert(0);
    let data = payload(0, 10_000);
    let mut sent = 0;
    let mut progress = 0;
    // The kernel's buffers fill up; nothing is delivered, nor kept here without bound.
    for _ in 0..200 {
        let head = header(STAGED, sent, data.len());
        if a.try_send(1, &head, &data, &mut progress) == SendState::Done {
            sent += 1;
            progress = 0;
        }
        b.poll();
        b.net.poll_hot(&mut b.memory).unwrap();
    }
    assert!(sent < 100, "back-pressure does not reach the sender: {sent} frames");
    assert_eq!(b.memory.frames(), 0);
    b.memory.closed_to.clear();
    run(&mut [&mut a, &mut b], |r| {
        while sent < 100 {
            let head = header(STAGED, sent, data.len());
            if r[0].try_send(1, &head, &data, &mut progress) == SendState::Blocked {
                return false;
            }
            sent += 1;
            progress = 0;
        }
        r[1].memory.frames() == 100
    });
    assert_eq!(b.memory.numbers_from(0), (0..100).collect::<Vec<_>>());
}

#[test]
fn accepting_may_change_between_two_frames_of_one_read() {
    let (mut a, mut b) = pair(config(), config());
    for number in 0..50 {
        deliver(&mut [&mut a], 1, &header(STAGED, number, 100), &payload(number, 100));
    }
    // Each frame closes the door behind it: the others stay where they are until asked for.
    b.memory.one_at_a_time = true;
    let mut turn = 0;
    run(&mut [&mut b], |r| {
        turn += 1;
        let before = r[0].memory.frames();
        if turn % 3 == 0 {
            r[0].memory.closed_to.clear();
        }
        let Rank { net, memory, .. } = &mut *r[0];
        net.poll_hot(memory).unwrap();
        assert!(memory.frames() <= before + 1);
        memory.frames() == 50
    });
    assert_eq!(b.memory.numbers_from(0), (0..50).collect::<Vec<_>>());
}

#[test]
fn hot_polling_alone_carries_a_conversation() {
    let (mut a, mut b) = pair(config(), config());
    let limit = Instant::now() + DEADLINE;
    for number in 0..2000 {
        for (from, to, peer) in [(0, 1, 1), (1, 0, 0)] {
            let ranks = [&mut a, &mut b];
            let mut progress = 0;
            let state =
                ranks[from].net.send(peer, &header(STAGED, number, 8), &[7; 8], &mut progress);
            assert_eq!(state.unwrap(), SendState::Done);
            let Rank { net, memory, .. } = &mut *ranks[to];
            let before = memory.frames();
            while memory.frames() == before {
                net.poll_hot(memory).unwrap();
                assert!(Instant::now() < limit);
            }
            memory.events.clear();
        }
    }
    // What the hot path took must not confuse the other one.
    carry(&mut a, &mut b, &[(STAGED, 10), (DIRECT, 1 << 20), (STAGED, 10)]);
}

#[test]
fn hot_and_plain_polling_may_be_mixed_under_load() {
    let (mut a, mut b) = pair(config(), config());
    let data = payload(3, 200_000);
    let (mut sent, mut progress, mut turn) = (0, 0, 0_u64);
    run(&mut [&mut a, &mut b], |r| {
        for _ in 0..5 {
            turn += 1;
            let Rank { net, memory, .. } = &mut *r[1];
            net.poll_hot(memory).unwrap();
            let kind = if sent % 2 == 0 { DIRECT } else { STAGED };
            let head = header(kind, sent, data.len());
            if sent < 200 && r[0].try_send(1, &head, &data, &mut progress) == SendState::Done {
                sent += 1;
                progress = 0;
            }
        }
        r[1].memory.frames() == 200
    });
    assert_eq!(b.memory.numbers_from(0), (0..200).collect::<Vec<_>>());
    let whole = |event: &Event| !matches!(event, Event::Frame { payload, .. } if *payload != data);
    assert!(b.memory.events.iter().all(whole));
}

#[test]
fn a_frame_that_would_corrupt_the_stream_is_not_sent() {
    let limited = NetConfig { max_payload: 100, ..config() };
    let (mut a, mut b) = pair(limited.clone(), limited);
    let mut send = |head, data: &[u8]| a.net.send(1, &head, data, &mut 0);
    assert!(matches!(send(header(STAGED, 0, 5), b"four"), Err(NetError::BadFrame { .. })));
    assert!(matches!(send(header(STAGED, 0, 101), &[0; 101]), Err(NetError::BadFrame { .. })));
    assert!(matches!(send(header(0xF5, 0, 0), &[]), Err(NetError::BadFrame { .. })));
    carry(&mut a, &mut b, &[(STAGED, 100)]);
}

/// Its kernel answers that there is no room, which is not silence.
#[test]
fn a_rank_that_reads_nothing_for_longer_than_the_longest_silence_keeps_its_connection() {
    let second = Duration::from_secs(1);
    let config = NetConfig { silence: Some(second), socket_buffer: Some(16 * 1024), ..config() };
    let (mut a, mut b) = pair(config.clone(), config);
    let data = payload(0, 1 << 20);
    let header = header(DIRECT, 0, data.len());
    let mut progress = 0;
    let until = Instant::now() + 5 * second;
    while Instant::now() < until {
        assert_eq!(a.try_send(1, &header, &data, &mut progress), SendState::Blocked);
        a.poll();
    }
    assert!(a.net.is_up(1) && a.memory.down(1).is_none());
    deliver_rest(&mut a, &mut b, &header, &data, progress);
    let Some(Event::Frame { payload: got, .. }) = b.memory.events.last() else { panic!() };
    assert!(*got == data);
}

fn deliver_rest(a: &mut Rank, b: &mut Rank, header: &[u8; 48], data: &[u8], mut progress: usize) {
    run(&mut [&mut *a, b], |r| {
        let done = progress == data.len() + header.len()
            || r[0].try_send(1, header, data, &mut progress) == SendState::Done;
        done && r[1].memory.frames() == 1
    });
}

/// Both kernels ask and answer meanwhile.
#[test]
fn an_idle_connection_outlives_the_longest_silence() {
    let config = NetConfig { silence: Some(Duration::from_secs(1)), ..config() };
    let (mut a, mut b) = pair(config.clone(), config);
    let until = Instant::now() + Duration::from_secs(4);
    while Instant::now() < until {
        a.poll();
    }
    carry(&mut a, &mut b, &[(STAGED, 100), (DIRECT, 100_000)]);
}
