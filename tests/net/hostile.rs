//! Strangers, and peers that misbehave.

use crate::support::*;
use cohost::net::{Down, HEADER_LEN, NetConfig, NetError, PeerCard};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

fn call(rank: &Rank) -> TcpStream {
    let stream = TcpStream::connect(rank.net.addresses()[0]).unwrap();
    stream.set_nonblocking(true).unwrap();
    stream
}

/// Has the other end closed this?
fn is_closed(stream: &mut TcpStream) -> bool {
    let mut byte = [0; 256];
    match stream.read(&mut byte) {
        Ok(count) => count == 0,
        Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
    }
}

/// A program in the middle of rank 0 and rank 1 that can do to the bytes what it likes: the
/// handshake is real, the rest is ours. Returns both ends.
fn intercepted(config: NetConfig) -> (Rank, Rank, TcpStream, TcpStream) {
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut a = Rank::new(0, 2, config.clone());
    let mut b = Rank::new(1, 2, config);
    a.connect(PeerCard { addresses: vec![proxy.local_addr().unwrap()], ..b.card() });
    let mut to_a = proxy.accept().unwrap().0;
    let mut to_b = call(&b);
    to_a.set_nonblocking(true).unwrap();
    run(&mut [&mut a, &mut b], |r| {
        relay(&mut to_a, &mut to_b);
        relay(&mut to_b, &mut to_a);
        r[0].net.is_up(1) && r[1].net.is_up(0)
    });
    (a, b, to_a, to_b)
}

fn relay(from: &mut TcpStream, to: &mut TcpStream) {
    let mut bytes = [0; 1024];
    if let Ok(count) = from.read(&mut bytes) {
        to.write_all(&bytes[..count]).unwrap();
    }
}

#[test]
fn strangers_who_say_nonsense_are_dropped_at_once_and_disturb_nobody() {
    let (mut a, mut b) = pair(config(), config());
    for nonsense in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0; 500], &[0xF0, 1, 9], &[0xF3; 96]] {
        let mut stranger = call(&b);
        stranger.write_all(nonsense).unwrap();
        run(&mut [&mut a, &mut b], |_| is_closed(&mut stranger));
    }
    deliver(&mut [&mut a, &mut b], 1, &header(STAGED, 1, 0), &[]);
    run(&mut [&mut a, &mut b], |r| r[1].memory.frames() == 1);
    assert_eq!(b.memory.down(0), None);
}

#[test]
fn half_a_hello_and_silence_are_dropped_after_the_timeout_and_not_before() {
    let mut b = Rank::new(1, 2, config());
    let mut silent = call(&b);
    let mut half = call(&b);
    half.write_all(&[0xF0, 1, 0, 0, 48, 0, 0, 0]).unwrap();
    for _ in 0..10 {
        b.poll();
    }
    assert!(!is_closed(&mut silent) && !is_closed(&mut half));
    let later = Instant::now() + config().handshake_timeout + Duration::from_secs(1);
    b.net.poll(Some(Duration::ZERO), later, &mut b.memory).unwrap();
    let limit = Instant::now() + DEADLINE;
    while !is_closed(&mut silent) || !is_closed(&mut half) {
        assert!(Instant::now() < limit);
    }
}

#[test]
fn a_crowd_of_silent_strangers_does_not_keep_a_peer_out() {
    let mut a = Rank::new(0, 2, config());
    let mut b = Rank::new(1, 2, config());
    let mut crowd: Vec<TcpStream> = (0..200).map(|_| call(&b)).collect();
    a.connect(b.card());
    run(&mut [&mut a, &mut b], |r| r[0].net.is_up(1) && r[1].net.is_up(0));
    let mut shown_out = 0;
    run(&mut [&mut a, &mut b], |_| {
        shown_out = crowd.iter_mut().map(is_closed).filter(|&closed| closed).count();
        shown_out >= 100
    });
    assert!(shown_out < 200, "the newest may stay until their time is up");
}

#[test]
fn a_candidate_that_hangs_up_is_tried_again_until_the_timeout_and_then_listed() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let patience = Duration::from_millis(200);
    let mut a = Rank::new(0, 2, NetConfig { connect_timeout: patience, ..config() });
    let addresses = vec![listener.local_addr().unwrap()];
    a.connect(PeerCard { rank: 1, epoch: 1, secret: [0; 16], addresses });
    let mut calls = 0;
    run(&mut [&mut a], |r| {
        calls += usize::from(listener.accept().is_ok());
        r[0].memory.down(1).is_some()
    });
    assert!(calls > 1);
    assert!(matches!(a.memory.down(1), Some(Down::Unreachable(_))));
}

#[test]
fn an_acceptor_that_repeats_our_own_bytes_proves_nothing() {
    let mirror = TcpListener::bind("127.0.0.1:0").unwrap();
    let address: SocketAddr = mirror.local_addr().unwrap();
    let mut a = Rank::new(0, 2, config());
    a.connect(PeerCard { rank: 1, epoch: 1, secret: [0; 16], addresses: vec![address] });
    let mut stream = mirror.accept().unwrap().0;
    stream.set_nonblocking(true).unwrap();
    run(&mut [&mut a], |r| {
        let mut bytes = [0; 96];
        if let Ok(count) = stream.read(&mut bytes) {
            bytes[0] = 0xF1;
            let _ = stream.write_all(&bytes[..count]);
        }
        r[0].memory.down(1).is_some()
    });
    assert!(matches!(a.memory.down(1), Some(Down::Unreachable(_))));
}

#[test]
fn frames_that_break_the_protocol_are_faults() {
    let limited = NetConfig { max_payload: 1 << 20, ..config() };
    let too_long = header(DIRECT, 0, (1 << 20) + 1);
    let not_stageable = header(STAGED, 0, 300_000);
    let cases = [
        (header(0xF0, 0, 0), "reserved"),
        (header(0xF5, 0, 1), "reserved"),
        (header(POISON, 0, 10), "poison"),
        (header(99, 0, 0), "unknown kind 99"),
        (too_long, "announced"),
        (not_stageable, "staged"),
    ];
    for (bytes, wanted) in cases {
        let (mut a, mut b, _to_a, mut to_b) = intercepted(limited.clone());
        to_b.write_all(&header(STAGED, 1, 0)).unwrap();
        to_b.write_all(&bytes).unwrap();
        to_b.write_all(&[0; 1000]).unwrap();
        run(&mut [&mut b], |r| r[0].memory.down(0).is_some());
        match b.memory.down(0) {
            Some(Down::Fault(text)) => assert!(text.contains(wanted), "{text}"),
            other => panic!("{other:?}"),
        }
        // What was right before it is delivered, and nothing after it.
        assert_eq!(b.memory.numbers_from(0), [1]);
        a.poll();
    }
}

#[test]
fn a_connection_cut_in_the_middle_of_a_frame_is_a_reset() {
    for (kind, length, part) in [(STAGED, 1000, 500), (DIRECT, 100_000, 60_000), (STAGED, 10, 0)] {
        let (_a, mut b, _to_a, mut to_b) = intercepted(config());
        to_b.set_nonblocking(false).unwrap();
        to_b.write_all(&header(STAGED, 1, 0)).unwrap();
        to_b.write_all(&header(kind, 2, length)).unwrap();
        to_b.write_all(&vec![0; part]).unwrap();
        to_b.shutdown(Shutdown::Both).unwrap();
        run(&mut [&mut b], |r| r[0].memory.down(0).is_some());
        assert_eq!(b.memory.down(0), Some(Down::Reset));
        assert_eq!(b.memory.numbers_from(0), [1]);
    }
}

#[test]
fn a_header_may_come_byte_by_byte() {
    let (_a, mut b, _to_a, mut to_b) = intercepted(config());
    let mut bytes = header(STAGED, 1, 3).to_vec();
    bytes.extend_from_slice(b"abc");
    bytes.extend_from_slice(&header(DIRECT, 2, 3));
    bytes.extend_from_slice(b"def");
    assert_eq!(bytes.len(), 2 * (HEADER_LEN + 3));
    for byte in bytes {
        to_b.write_all(&[byte]).unwrap();
        b.poll();
    }
    run(&mut [&mut b], |r| r[0].memory.frames() == 2);
    assert_eq!(b.memory.numbers_from(0), [1, 2]);
}

#[test]
fn sending_to_a_dead_peer_is_an_error_and_its_last_words_are_heard_first() {
    let (mut a, mut b, to_a, mut to_b) = intercepted(config());
    to_b.write_all(&header(STAGED, 1, 0)).unwrap();
    drop(to_b);
    drop(to_a);
    // The first send is answered by a reset, a later one fails. No signal kills this process.
    let limit = Instant::now() + DEADLINE;
    loop {
        match b.net.send(0, &header(STAGED, 0, 0), &[], &mut 0) {
            Ok(_) => {}
            Err(NetError::Lost { peer: 0, .. }) => break,
            Err(other) => panic!("{other}"),
        }
        assert!(Instant::now() < limit);
    }
    run(&mut [&mut b], |r| r[0].memory.down(0).is_some());
    assert_eq!(b.memory.events.last(), Some(&Event::Down(0, Down::Reset)));
    run(&mut [&mut a], |r| r[0].memory.down(1).is_some());
}

#[test]
fn a_peer_that_lost_its_connection_is_believed_although_this_side_saw_no_end() {
    for (gone, other) in [(0, 1), (1, 0)] {
        // What is between them swallows the end of the first connection.
        let (a, b, _to_a, _to_b) = intercepted(config());
        let mut ranks = [a, b];
        let card = ranks[other].card();
        ranks[gone].net.close(other as u32, false);
        ranks[gone].connect(card);
        let [a, b] = &mut ranks;
        run(&mut [a, b], |r| {
            r[other].memory.ups(gone as u32) == 2 && r[gone].net.is_up(other as u32)
        });
        assert_eq!(ranks[other].memory.down(gone as u32), Some(Down::Reset));
        assert_eq!(ranks[gone].memory.down(other as u32), None);
    }
}

#[test]
fn a_call_that_was_overtaken_does_not_end_the_connection_that_stands() {
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut a = Rank::new(0, 2, config());
    let mut b = Rank::new(1, 2, config());
    b.connect(PeerCard { addresses: vec![proxy.local_addr().unwrap()], ..a.card() });
    let mut to_b = proxy.accept().unwrap().0;
    to_b.set_nonblocking(true).unwrap();
    let mut to_a = call(&a);
    // The Hello and its answer pass; the Go is held back.
    let mut held = Vec::new();
    let mut passed = 0;
    run(&mut [&mut a, &mut b], |_| {
        relay(&mut to_a, &mut to_b);
        let mut bytes = [0; 96];
        let count = to_b.read(&mut bytes).unwrap_or(0);
        if passed < 96 {
            to_a.write_all(&bytes[..count]).unwrap();
            passed += count;
        } else {
            held.extend_from_slice(&bytes[..count]);
        }
        held.len() == 96
    });
    a.connect(b.card());
    run(&mut [&mut a, &mut b], |r| r[0].net.is_up(1) && r[1].net.is_up(0));
    to_a.write_all(&held).unwrap();
    run(&mut [&mut a, &mut b], |_| is_closed(&mut to_a));
    for _ in 0..5 {
        a.poll();
        b.poll();
    }
    assert_eq!(
        (&a.memory.events[..], &b.memory.events[..]),
        (&[Event::Up(1)][..], &[Event::Up(0)][..])
    );
}
