//! First contacts: everybody with everybody at once, and with those who are busy elsewhere.

use std::time::Duration;

use cohost::Communicator;
use cohost::launch::in_process;
use cohost::link::select::PathPolicy;
use cohost::mpi::Source;

use super::support::*;

/// Everybody sends to everybody else before it receives anything; messages of
/// one round carry its number as tag.
fn all_at_once(world: &Communicator, salt: u32) {
    let (me, size) = (world.rank(), world.size());
    let others = || (0..size).filter(move |&rank| rank != me);
    let part =
        |from: u32, to: u32| pattern(if to % 2 == 0 { 8 } else { 70_000 }, from * 99 + to + salt);
    let messages: Vec<(u32, Vec<u8>)> = others().map(|to| (to, part(me, to))).collect();
    world
        .scope(|scope| {
            for (to, message) in &messages {
                let _ = scope.isend(message, *to, salt.cast_signed())?;
            }
            let mut from_whom = Vec::new();
            for _ in others() {
                let mut got = vec![0; 70_000];
                let status = world.recv(&mut got, Source::Any, salt.cast_signed())?;
                assert!(got[..status.len] == part(status.source, me), "from {}", status.source);
                from_whom.push(status.source);
            }
            from_whom.sort_unstable();
            assert!(from_whom.iter().copied().eq(others()), "{from_whom:?}");
            Ok(())
        })
        .unwrap();
}

#[test]
fn eight_ranks_that_all_begin_at_once_all_meet() {
    let mut random = Random::new("eight_ranks_that_all_begin_at_once_all_meet");
    for round in 0..20 {
        let hosts: Vec<u32> = (0..8).map(|_| random.below(3) as u32).collect();
        let path = if random.below(4) == 0 { PathPolicy::Tcp } else { PathPolicy::Auto };
        println!("round {round}: {path:?}, hosts {hosts:?}");
        let of_rank = hosts.clone();
        threads(
            8,
            |rank| config(path, hosts[rank as usize]),
            move |job| {
                let world = job.world();
                all_at_once(world, round);
                for peer in (0..8).filter(|&peer| peer != world.rank()) {
                    let same = of_rank[peer as usize] == of_rank[world.rank() as usize];
                    let expected = if same && path == PathPolicy::Auto { "ring" } else { "tcp" };
                    // Who only sent may not have settled yet; the barrier of finalize comes later.
                    let (found, why) = path_to(world, peer);
                    assert!(found == expected || found == "none", "{found} to {peer}: {why}");
                }
                job.finalize().unwrap();
            },
        );
    }
}

#[test]
fn a_rank_that_is_busy_elsewhere_for_a_while_misses_nothing() {
    for (path, host) in [(PathPolicy::Ring, 0), (PathPolicy::Tcp, 0), (PathPolicy::Auto, 1)] {
        threads(
            4,
            move |rank| config(path, rank * host),
            |job| {
                let world = job.world();
                const EACH: u32 = 100;
                if world.rank() > 0 {
                    for i in 0..EACH {
                        world.send(&pattern(1000, world.rank() * EACH + i), 0, 2).unwrap();
                    }
                } else {
                    std::thread::sleep(Duration::from_secs(1));
                    for from in 1..4 {
                        for i in 0..EACH {
                            let mut got = vec![0; 1000];
                            world.recv(&mut got, from, 2).unwrap();
                            assert!(got == pattern(1000, from * EACH + i), "message {i} of {from}");
                        }
                    }
                }
                job.finalize().unwrap();
            },
        );
    }
}

#[test]
fn two_jobs_of_the_same_name_at_once_do_not_meet() {
    let jobs: Vec<_> = (0..2)
        .map(|salt| {
            std::thread::spawn(move || {
                let mut starts = in_process(3);
                starts.iter_mut().for_each(|start| start.job = "kvs_1_0".to_owned());
                threads_of(
                    starts,
                    |_| config(PathPolicy::Ring, 0),
                    move |job| {
                        for round in 0..10 {
                            all_at_once(job.world(), 1000 * salt + round);
                        }
                        job.finalize().unwrap();
                    },
                );
            })
        })
        .collect();
    jobs.into_iter().for_each(|job| job.join().unwrap());
}
