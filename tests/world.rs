//! Whole jobs as threads of one process: messages and collectives over rings, TCP and both.

use cohost::config::Config;
use cohost::launch::in_process;
use cohost::link::select::PathPolicy;
use cohost::{Communicator, Error, Job};

/// Runs `body` in `n` ranks; `host(rank)` puts ranks on hosts of a layout.
fn run(
    n: u32,
    policy: PathPolicy,
    host: impl Fn(u32) -> u32 + Sync,
    body: impl Fn(&Communicator) -> Result<(), Error> + Sync,
) {
    std::thread::scope(|threads| {
        for start in in_process(n) {
            let (host, body) = (&host, &body);
            threads.spawn(move || {
                let mut config =
                    Config { path: policy, host: Some(host(start.rank)), ..Config::default() };
                config.net.bind = cohost::net::BindPolicy::LoopbackOnly;
                let rank = start.rank;
                let outcome = Job::connect(start, config).and_then(|job| {
                    body(job.world())?;
                    job.finalize()
                });
                outcome.unwrap_or_else(|error| panic!("rank {rank}: {error}"));
            });
        }
    });
}

fn pattern(len: usize, seed: u32) -> Vec<u8> {
    (0..len as u32)
        .map(|i| (i.wrapping_mul(2_654_435_761).wrapping_add(seed * 97) >> 13) as u8)
        .collect()
}

const SIZES: [usize; 14] =
    [0, 1, 8, 47, 48, 49, 1000, 2048, 2049, 8192, 8193, 65536, 300_001, 4 << 20];

fn pingpong(world: &Communicator) -> Result<(), Error> {
    for (round, len) in SIZES.into_iter().enumerate() {
        let mut got = vec![0; len];
        let (there, back) = (pattern(len, round as u32), pattern(len, 1000 + round as u32));
        for _ in 0..3 {
            if world.rank() == 0 {
                world.send(&there, 1, 7)?;
                world.recv(&mut got, 1, 7)?;
                assert!(got == back, "{len} bytes came back wrong");
            } else {
                let status = world.recv(&mut got, 0, 7)?;
                assert_eq!(status.len, len);
                assert!(got == there, "{len} bytes arrived wrong");
                world.send(&back, 0, 7)?;
            }
        }
    }
    Ok(())
}

#[test]
fn messages_of_all_sizes_cross_a_ring() {
    run(
        2,
        PathPolicy::Ring,
        |_| 0,
        |world| {
            pingpong(world)?;
            let paths = world.peer_paths();
            assert!(paths.iter().any(|info| info.path.as_str() == "ring"), "{paths:?}");
            Ok(())
        },
    );
}

#[test]
fn messages_of_all_sizes_cross_tcp() {
    run(
        2,
        PathPolicy::Auto,
        |rank| rank,
        |world| {
            pingpong(world)?;
            let paths = world.peer_paths();
            assert!(paths.iter().any(|info| info.path.as_str() == "tcp"), "{paths:?}");
            Ok(())
        },
    );
}

/// Everybody talks to everybody, with every collective, and checks every byte.
fn everything(world: &Communicator) -> Result<(), Error> {
    let (me, size) = (world.rank() as usize, world.size() as usize);
    for block in [0, 1, 8, 100, 5000, 70_000] {
        let part = |from: usize, to: usize| pattern(block, (from * 64 + to) as u32);
        let send: Vec<u8> = (0..size).flat_map(|to| part(me, to)).collect();
        let mut recv = vec![0; send.len()];
        world.alltoall(&send, &mut recv)?;
        let expected: Vec<u8> = (0..size).flat_map(|from| part(from, me)).collect();
        assert!(recv == expected, "alltoall of {block} bytes");

        world.allgather(&part(me, 0), &mut recv)?;
        let expected: Vec<u8> = (0..size).flat_map(|from| part(from, 0)).collect();
        assert!(recv == expected, "allgather of {block} bytes");

        for root in 0..size as u32 {
            let mut buf =
                if me == root as usize { part(99, root as usize) } else { vec![0; block] };
            world.bcast(&mut buf, root)?;
            assert!(buf == part(99, root as usize), "bcast of {block} bytes");
        }
        let values: Vec<f64> = (0..block).map(|i| (i + me) as f64).collect();
        let mut sum = vec![0.0; block];
        world.allreduce(&values, &mut sum, cohost::mpi::Op::Sum)?;
        let ranks: usize = (0..size).sum();
        let right = sum.iter().enumerate().all(|(i, s)| *s == (i * size + ranks) as f64);
        assert!(right, "allreduce of {block} elements");
        world.barrier()?;
    }
    Ok(())
}

#[test]
fn collectives_are_right_over_rings() {
    for n in [1, 2, 3, 5] {
        run(n, PathPolicy::Ring, |_| 0, everything);
    }
}

#[test]
fn collectives_are_right_over_tcp() {
    run(4, PathPolicy::Tcp, |_| 0, everything);
}

#[test]
fn collectives_are_right_over_both_with_uneven_hosts() {
    run(5, PathPolicy::Auto, |rank| u32::from(rank > 2), everything);
}

#[test]
fn a_receive_from_anyone_takes_from_ring_and_tcp() {
    run(
        4,
        PathPolicy::Auto,
        |rank| rank / 2,
        |world| {
            const EACH: u32 = 200;
            if world.rank() != 0 {
                for i in 0..EACH {
                    world.send(&[world.rank(), i].map(|v| v as u8), 0, 3)?;
                }
                return Ok(());
            }
            let mut next = [0_u8; 4];
            for _ in 0..3 * EACH {
                let mut got = [0; 2];
                let status =
                    world.recv(&mut got, cohost::mpi::Source::Any, cohost::mpi::Tag::Any)?;
                assert_eq!(u32::from(got[0]), status.source);
                assert_eq!(got[1], next[status.source as usize], "overtaken");
                next[status.source as usize] += 1;
            }
            Ok(())
        },
    );
}

/// An acknowledgement that waited behind a frame sent in part kept that frame from going on, and
/// the frame kept the acknowledgement from being sent: the pair stood still for ever.
#[test]
fn a_frame_sent_in_part_goes_on_although_an_acknowledgement_waits_behind_it() {
    const MESSAGES: u32 = 64;
    const LEN: usize = 256 << 10;
    let job = || {
        let begun = std::sync::Barrier::new(2);
        let body = |world: &Communicator| {
            // The connection is there before it is filled.
            world.barrier()?;
            if world.rank() == 0 {
                let sent: Vec<_> = (0..MESSAGES).map(|i| pattern(LEN, i)).collect();
                return world.scope(|scope| {
                    // More than the sockets take while nobody reads.
                    for message in &sent {
                        let _ = scope.isend(message, 1, 1)?;
                    }
                    begun.wait();
                    // What arrives now is to be acknowledged before this rank sleeps.
                    let mut word = [0];
                    world.recv(&mut word, 1, 2)?;
                    world.recv(&mut word, 1, 3)?;
                    Ok(())
                });
            }
            begun.wait();
            world.send(&[7], 0, 2)?;
            // Long enough for the other to fall asleep.
            std::thread::sleep(std::time::Duration::from_millis(100));
            for i in 0..MESSAGES {
                let mut got = vec![0; LEN];
                world.recv(&mut got, 0, 1)?;
                assert!(got == pattern(LEN, i), "message {i}");
            }
            world.send(&[8], 0, 3)
        };
        run(2, PathPolicy::Tcp, |_| 0, body);
    };
    let (done, ended) = std::sync::mpsc::channel();
    let job = std::thread::spawn(move || {
        job();
        let _ = done.send(());
    });
    let limit = std::time::Duration::from_secs(60);
    let in_time = ended.recv_timeout(limit) != Err(std::sync::mpsc::RecvTimeoutError::Timeout);
    assert!(in_time, "the pair stands still");
    job.join().unwrap();
}
