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
    run_jobs(n, policy, host, |job| body(job.world()));
}

fn run_jobs(
    n: u32,
    policy: PathPolicy,
    host: impl Fn(u32) -> u32 + Sync,
    body: impl Fn(&Job) -> Result<(), Error> + Sync,
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
                    body(&job)?;
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

/// An acknowledgement queued while a frame was sent in part waited for the frame, and the frame for it: ranks on slow
/// networks, where a rank sleeps in the middle of a frame, hung for ever.
#[test]
fn a_frame_sent_in_part_goes_on_while_an_acknowledgement_waits_behind_it() {
    let (done, ended) = std::sync::mpsc::channel();
    // Not scoped: a job that hangs must fail the test, not keep it.
    for start in in_process(2) {
        let done = done.clone();
        std::thread::spawn(move || {
            let mut config = Config { path: PathPolicy::Tcp, ..Config::default() };
            config.net.bind = cohost::net::BindPolicy::LoopbackOnly;
            config.net.socket_buffer = Some(8 << 10);
            let outcome = Job::connect(start, config).and_then(|job| {
                let world = job.world();
                let long = pattern(100_000, 5);
                let mut got = vec![0; long.len()];
                for _ in 0..3 {
                    if world.rank() == 0 {
                        // Taking this one leaves an acknowledgement to be sent.
                        world.recv(&mut got[..8], 1, 1)?;
                        world.send(&long, 1, 2)?;
                    } else {
                        world.send(&long[..8], 0, 1)?;
                        // Meanwhile rank 0 has filled its socket and gone to sleep.
                        std::thread::sleep(std::time::Duration::from_millis(100));
                        world.recv(&mut got, 0, 2)?;
                        assert!(got == long, "bytes arrived wrong");
                    }
                }
                job.finalize()
            });
            done.send(outcome.map_err(|error| error.to_string())).unwrap();
        });
    }
    for _ in 0..2 {
        let outcome = ended.recv_timeout(std::time::Duration::from_secs(60));
        outcome.expect("both ranks end: neither waits for ever").expect("no rank fails");
    }
}

#[test]
fn messages_out_of_memory_of_the_job_arrive_on_every_path_and_the_memory_comes_and_goes() {
    for policy in [PathPolicy::Ring, PathPolicy::Tcp, PathPolicy::Auto] {
        run_jobs(
            3,
            policy,
            |_| 0,
            |job| {
                let world = job.world();
                let (rank, size) = (world.rank(), world.size());
                for (round, len) in [100_000, 5 << 20, 40 << 20, 100_000].into_iter().enumerate() {
                    let mut from = job.alloc(len)?;
                    let mut into = job.alloc(len)?;
                    assert!(from[..] == vec![0; len][..]);
                    from.fill(rank as u8 + round as u8 * 16);
                    let before = (rank + size - 1) % size;
                    world.scope(|scope| {
                        let received = scope.irecv(&mut into, before, 3)?;
                        let sent = scope.isend(&from, (rank + 1) % size, 3)?;
                        scope.wait(received)?;
                        scope.wait(sent).map(drop)
                    })?;
                    assert!(into[..] == vec![before as u8 + round as u8 * 16; len][..]);
                }
                Ok(())
            },
        );
    }
}
