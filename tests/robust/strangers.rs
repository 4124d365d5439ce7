//! Ports that are taken, and strangers who talk to ours while a job runs.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use cohost::Job;
use cohost::launch::in_process;
use cohost::link::select::PathPolicy;
use cohost::net::BindPolicy;

use super::support::*;

/// A port that was free a moment ago.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// What a stranger may have to say; the last ones begin as a greeting of ours does.
fn nonsense(which: u64) -> Vec<u8> {
    match which {
        0 => Vec::new(),
        1 => b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        2 => vec![0; 100_000],
        3 => vec![0xff; 47],
        4 => pattern(10_000, 7),
        5 => [&[0xf0, 1, 0, 0, 48, 0, 0, 0][..], &[0; 100]].concat(),
        _ => vec![0xf0],
    }
}

/// Bothers these ports until told to stop; some callers hang up, some stay and say nothing more.
fn bother(ports: &[u16], stop: &AtomicBool, calls: &AtomicU32) {
    let mut staying = Vec::new();
    let mut random = Random::new("strangers");
    while !stop.load(Ordering::Relaxed) {
        let port = ports[random.below(ports.len() as u64) as usize];
        let Ok(mut stranger) = TcpStream::connect(("127.0.0.1", port)) else {
            std::thread::sleep(Duration::from_millis(1));
            continue;
        };
        calls.fetch_add(1, Ordering::Relaxed);
        stranger.set_read_timeout(Some(Duration::from_millis(2))).unwrap();
        let _ = stranger.write_all(&nonsense(random.below(7)));
        let _ = stranger.read(&mut [0; 64]);
        if random.below(2) == 0 && staying.len() < 100 {
            staying.push(stranger);
        }
    }
}

#[test]
fn strangers_who_say_nonsense_do_not_disturb_a_job() {
    let ports: Vec<u16> = (0..3).map(|_| free_port()).collect();
    let (stop, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let stranger = {
        let (ports, stop, calls) = (ports.clone(), Arc::clone(&stop), Arc::clone(&calls));
        std::thread::spawn(move || bother(&ports, &stop, &calls))
    };
    let settings = |rank: u32| {
        // Ranks 0 and 1 share a host: ring and TCP at once.
        let mut config = config(PathPolicy::Auto, rank / 2);
        config.net.bind = BindPolicy::Port(ports[rank as usize]);
        config
    };
    let heard = Arc::clone(&calls);
    threads(3, settings, move |job| {
        let world = job.world();
        let (me, size) = (world.rank(), world.size());
        // Until enough strangers have called; the ranks agree on that.
        let mut round = 0;
        loop {
            round += 1;
            let part = |from: u32, to: u32| pattern(20_000, from * 100 + to + round);
            let send: Vec<u8> = (0..size).flat_map(|to| part(me, to)).collect();
            let mut got = vec![0; send.len()];
            world.alltoall(&send, &mut got).unwrap();
            let expected: Vec<u8> = (0..size).flat_map(|from| part(from, me)).collect();
            assert!(got == expected, "round {round}");
            let mut enough = [u8::from(heard.load(Ordering::Relaxed) >= 200)];
            world.bcast(&mut enough, 0).unwrap();
            if enough[0] == 1 {
                break;
            }
        }
        job.finalize().unwrap();
    });
    stop.store(true, Ordering::Relaxed);
    stranger.join().unwrap();
}

#[test]
fn a_port_that_is_taken_is_named_and_the_other_ranks_do_not_wait() {
    let taken = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let mut starts = in_process(2);
    let (second, first) = (starts.pop().unwrap(), starts.pop().unwrap());
    let mut settings = config(PathPolicy::Auto, 0);
    settings.net.bind = BindPolicy::Port(port);
    let other = std::thread::spawn(|| Job::connect(second, config(PathPolicy::Auto, 0)).err());
    let error = Job::connect(first, settings).err().unwrap().to_string();
    assert!(error.contains(&port.to_string()), "{error}");
    let error = other.join().unwrap().unwrap().to_string();
    assert!(error.contains("rank 0"), "{error}");
}
