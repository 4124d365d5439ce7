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
                let mut config = Config { path: policy, host: Some(host(start.rank)), ..Config::default() };
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
    (0..len as u32).map(|i| (i.wrapping_mul(2_654_435_761).wrapping_add(seed * 97) >> 13) as u8).collect()
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
    run(2, PathPolicy::Ring, |_| 0, |world| {
        pingpong(world)?;
        let paths = world.peer_paths();
        assert!(paths.iter().any(|info| info.path.as_str() == "ring"), "{paths:?}");
        Ok(())
    });
}

#[test]
fn messages_of_all_sizes_cross_tcp() {
    run(2, PathPolicy::Auto, |rank| rank, |world| {
        pingpong(world)?;
        let paths = world.peer_paths();
        assert!(paths.iter().any(|info| info.path.as_str() == "tcp"), "{paths:?}");
        Ok(())
    });
}
