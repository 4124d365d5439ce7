//! How near to raw sockets. Ignored by default, since a loaded machine proves nothing:
//! `cargo test --release --test net speed -- --ignored --nocapture`.

use crate::support::*;
use cohost::net::{Down, HEADER_LEN, Net, Placement, SendState, Sink};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// Counts frames and keeps the last payload: as lean as an engine could be.
struct Lean {
    frames: u64,
    direct: bool,
    buffer: Vec<u8>,
}

impl Sink for Lean {
    fn up(&mut self, _: u32, _: SocketAddr, _: SocketAddr) {}
    fn down(&mut self, _: u32, why: Down) {
        // The other one was done first.
        assert_eq!(why, Down::Reset);
    }
    fn writable(&mut self, _: u32) {}
    fn place(&mut self, _: u32, _: &[u8; HEADER_LEN]) -> Result<Placement, String> {
        Ok(if self.direct { Placement::Direct } else { Placement::Staged })
    }
    fn frame(&mut self, _: u32, _: &[u8; HEADER_LEN], payload: &[u8]) -> Result<(), String> {
        self.frames += 1;
        self.buffer[..payload.len()].copy_from_slice(payload);
        Ok(())
    }
    fn direct_buffer(&mut self, _: u32, offset: usize) -> &mut [u8] {
        &mut self.buffer[offset..]
    }
    fn direct_done(&mut self, _: u32, _: &[u8; HEADER_LEN]) -> Result<(), String> {
        self.frames += 1;
        Ok(())
    }
    fn accepting(&self, _: u32) -> bool {
        true
    }
}

fn say(net: &mut Net, peer: u32, data: &[u8], lean: &mut Lean) {
    let head = header(STAGED, 0, data.len());
    let mut progress = 0;
    while net.send(peer, &head, data, &mut progress).unwrap() == SendState::Blocked {
        net.poll(Some(Duration::ZERO), Instant::now(), lean).unwrap();
    }
}

fn hear(net: &mut Net, lean: &mut Lean, number: u64) {
    while lean.frames < number {
        net.poll_hot(lean).unwrap();
    }
}

/// Runs both ends, each given whether it is the first; the first one's half round trip in
/// microseconds.
fn time<E: Send>(ends: (E, E), rounds: u64, turn: impl Fn(&mut E, bool, u64) + Sync) -> f64 {
    let work = |mut end: E, first: bool| {
        let warm = rounds / 10;
        for round in 1..=warm {
            turn(&mut end, first, round);
        }
        let start = Instant::now();
        for round in warm + 1..=warm + rounds {
            turn(&mut end, first, round);
        }
        start.elapsed().as_secs_f64() * 5e5 / rounds as f64
    };
    std::thread::scope(|scope| {
        scope.spawn(|| work(ends.1, false));
        work(ends.0, true)
    })
}

fn over_nets(length: usize, direct: bool, rounds: u64) -> f64 {
    let (a, b) = pair(config(), config());
    let end = |rank: Rank| {
        (rank.net, Lean { frames: 0, direct, buffer: vec![0; length] }, payload(1, length))
    };
    time((end(a), end(b)), rounds, |(net, lean, data), first, round| {
        if first {
            say(net, 1, data, lean);
        }
        hear(net, lean, round);
        if !first {
            say(net, 0, data, lean);
        }
    })
}

/// The same over raw sockets that are polled busily.
fn over_sockets(length: usize, rounds: u64) -> f64 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let a = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let b = listener.accept().unwrap().0;
    for stream in [&a, &b] {
        stream.set_nodelay(true).unwrap();
        stream.set_nonblocking(true).unwrap();
    }
    let end = |stream| (stream, payload(1, length));
    time((end(a), end(b)), rounds, |(stream, data), first, _| {
        for turn in 0..2 {
            let mut done = 0;
            while done < length {
                let result = if first == (turn == 0) {
                    stream.write(&data[done..])
                } else {
                    stream.read(&mut data[done..])
                };
                match result {
                    Ok(count) => done += count,
                    Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
                }
            }
        }
    })
}

#[test]
#[ignore = "measures; wants an idle machine"]
fn ratios_to_raw_sockets() {
    let sizes = [(8, 20_000), (1024, 20_000), (65_536, 3_000), (262_144, 1_000), (1 << 22, 60)];
    for (length, rounds) in sizes {
        // The best of several, in turn: others share the machine.
        let mut best = [f64::MAX; 3];
        for _ in 0..7 {
            best[0] = best[0].min(over_sockets(length, rounds));
            best[1] = best[1].min(over_nets(length, true, rounds));
            if length <= config().receive_buffer {
                best[2] = best[2].min(over_nets(length, false, rounds));
            }
        }
        let [raw, direct, staged] = best;
        print!("{length:8} B  raw {raw:8.2} us; times raw: direct {:5.2}", direct / raw);
        if staged < f64::MAX {
            print!("  staged {:5.2}", staged / raw);
        }
        println!();
    }
}
