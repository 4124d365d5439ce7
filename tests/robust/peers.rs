//! Peers that send too much, die, leave, or whose ring breaks: each is an error of one call or a
//! change of path, never a hang and never a lost message.

use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cohost::link::select::PathPolicy;
use cohost::mpi::{Source, Tag};
use cohost::proto;
use cohost::region::SectionLayout;
use cohost::{Communicator, Error};

use super::jobs::shared_files;
use super::support::*;

/// A path policy, and the host that each rank is put on.
type Way = (PathPolicy, fn(u32) -> u32);

/// A ring, TCP by policy, and TCP between hosts.
fn ways() -> [Way; 3] {
    [(PathPolicy::Ring, |_| 0), (PathPolicy::Tcp, |_| 0), (PathPolicy::Auto, |rank| rank)]
}

#[test]
fn a_message_longer_than_the_receive_is_an_error_and_the_world_goes_on() {
    for (path, host) in ways() {
        for len in [9, 100, 5000, 100_000, 3 << 20] {
            threads(
                2,
                |rank| config(path, host(rank)),
                move |job| {
                    let world = job.world();
                    if world.rank() == 0 {
                        world.send(&pattern(len, 1), 1, 5).unwrap();
                        world.send(b"after", 1, 6).unwrap();
                    } else {
                        let mut short = [0; 8];
                        match world.recv(&mut short, 0, 5) {
                            Err(Error::Message(proto::Error::Truncated { received, room })) => {
                                assert_eq!((received.len, room), (len, 8));
                            }
                            other => panic!("{len} bytes into 8: {other:?}"),
                        }
                        assert_eq!(short, pattern(8, 1)[..], "the beginning is there");
                        let mut after = [0; 16];
                        assert_eq!(world.recv(&mut after, 0, 6).unwrap().len, 5);
                    }
                    world.barrier().unwrap();
                    job.finalize().unwrap();
                },
            );
        }
    }
}

/// Both ranks of each pair have spoken.
fn get_to_know(world: &Communicator) {
    let mut all = vec![0; world.size() as usize];
    world.alltoall(&vec![1; world.size() as usize], &mut all).unwrap();
}

#[track_caller]
fn expect_lost<T: std::fmt::Debug>(outcome: Result<T, Error>, rank: u32) {
    match outcome {
        Err(Error::Message(proto::Error::PeerLost { peer, why })) => {
            assert_eq!(peer, rank, "{why}");
            assert!(!why.is_empty());
        }
        other => panic!("rank {rank} is gone, and yet: {other:?}"),
    }
}

/// Runs three ranks, where rank 2 goes without a word once all know each other.
fn rank_2_goes(what: impl Fn(&Communicator) + Send + Sync + Copy + 'static) {
    for (path, host) in ways() {
        threads(
            3,
            |rank| config(path, host(rank)),
            move |job| {
                get_to_know(job.world());
                if job.world().rank() != 2 {
                    what(job.world());
                }
            },
        );
    }
}

#[test]
fn a_receive_from_a_rank_that_dies_ends_with_an_error() {
    rank_2_goes(|world| expect_lost(world.recv(&mut [0], 2, 0), 2));
}

#[test]
fn a_receive_from_anyone_ends_with_an_error_when_somebody_dies() {
    rank_2_goes(|world| {
        // Rank 0 may see rank 1 go after it saw rank 2, not before.
        if world.rank() == 0 {
            expect_lost(world.recv(&mut [0], Source::Any, Tag::Any), 2);
            world.send(&[1], 1, 0).unwrap();
        } else {
            world.recv(&mut [0], 0, 0).unwrap();
        }
    });
}

#[test]
fn a_probe_of_a_rank_that_dies_ends_with_an_error() {
    rank_2_goes(|world| expect_lost(world.probe(2, Tag::Any), 2));
}

#[test]
fn a_send_to_a_rank_that_died_ends_with_an_error() {
    rank_2_goes(|world| {
        // Longer than all that may be on its way without being taken.
        expect_lost(world.send(&vec![0; 64 << 20], 2, 0), 2);
    });
}

#[test]
fn a_collective_with_a_rank_that_dies_ends_with_an_error_at_every_rank() {
    rank_2_goes(|world| {
        let mut failed = None;
        for _ in 0..2 {
            // One that needs only some of the others may still succeed.
            failed = failed.or(world.allgather(&[1], &mut [0; 3]).err());
        }
        assert!(failed.is_some());
    });
}

#[test]
fn what_a_rank_sent_before_it_died_is_received() {
    for (path, host) in ways() {
        threads(
            2,
            |rank| config(path, host(rank)),
            |job| {
                let world = job.world();
                get_to_know(world);
                if world.rank() == 1 {
                    (0..100).for_each(|i| world.send(&[i], 0, 0).unwrap());
                    return;
                }
                for i in 0..100 {
                    let mut got = [0];
                    world.recv(&mut got, 1, 0).unwrap();
                    assert_eq!(got[0], i);
                }
                expect_lost(world.recv(&mut [0], 1, 0), 1);
            },
        );
    }
}

/// The other never spoke to us, and never will: only its port can tell that.
#[test]
fn a_receive_from_a_rank_that_dies_before_any_contact_ends_with_an_error() {
    for (path, host) in ways() {
        threads(
            2,
            |rank| config(path, host(rank)),
            |job| {
                if job.world().rank() == 0 {
                    expect_lost(job.world().recv(&mut [0], 1, 0), 1);
                }
            },
        );
    }
}

#[test]
fn a_rank_that_panics_is_an_error_for_the_others() {
    threads(
        2,
        |_| config(PathPolicy::Auto, 0),
        |job| {
            get_to_know(job.world());
            if job.world().rank() == 1 {
                let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
                    let _dies_with_it = job;
                    std::panic::resume_unwind(Box::new("a defect of the program"));
                }));
                assert!(panicked.is_err());
            } else {
                expect_lost(job.world().recv(&mut [0], 1, 0), 1);
            }
        },
    );
}

#[test]
fn after_a_death_the_others_still_talk() {
    rank_2_goes(|world| {
        expect_lost(world.recv(&mut [0], 2, 0), 2);
        let peer = 1 - world.rank();
        let mut got = vec![0; 100_000];
        let mine = pattern(100_000, world.rank());
        world.sendrecv(&mine, peer, 0, &mut got, peer, 0).unwrap();
        assert!(got == pattern(100_000, peer));
    });
}

/// Writes nonsense over what the two ranks say in their shared files, again and again: into the
/// part of each block given by `from` and `len`.
fn sabotage(directory: &std::path::Path, layout: SectionLayout, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        for name in shared_files(directory) {
            // Made a moment ago or removed in between: then the next time.
            let open = std::fs::OpenOptions::new().write(true).open(directory.join(name));
            let Ok(file) = open else { continue };
            let whole = file.metadata().map(|m| m.len()).ok() == Some(layout.total_bytes() as u64);
            if whole {
                // Both members keep their position for the other at the same place.
                let at = layout.block(0, 1).unwrap().control.start as u64;
                let _ = file.write_all_at(&[0xff; 8], at);
            }
        }
        std::thread::yield_now();
    }
}

/// Each rank sends numbered messages of all lengths until both have changed to TCP, and some more.
fn chatter(world: &Communicator, started: &AtomicBool) -> (String, String) {
    let peer = 1 - world.rank();
    let lengths = [0, 8, 48, 49, 3000, 30_000, 300_000];
    let length = |i: u32| lengths[i as usize % lengths.len()];
    let mut after_change = 0;
    let mut i = 0;
    while after_change < 50 {
        if i == 104 {
            assert_eq!(path_to(world, peer).0, "ring");
            started.store(true, Ordering::Relaxed);
        }
        // A burst in both directions, so that frames are on their way when it happens.
        let outcome = world.scope(|scope| {
            for k in 0..8 {
                let _ = scope.isend(
                    pattern(length(i + k), world.rank() + 2 * (i + k)).leak(),
                    peer,
                    3,
                )?;
            }
            for k in 0..8 {
                let mut got = vec![0; length(i + k)];
                let status = world.recv(&mut got, peer, 3)?;
                assert_eq!(status.len, got.len(), "message {}", i + k);
                assert!(got == pattern(got.len(), peer + 2 * (i + k)), "message {}", i + k);
            }
            Ok(())
        });
        outcome.unwrap();
        i += 8;
        let mut over = [u8::from(path_to(world, peer).0 == "tcp")];
        let mut theirs = [0];
        world.sendrecv(&over, peer, 4, &mut theirs, peer, 4).unwrap();
        over[0] &= theirs[0];
        after_change += u32::from(over[0]);
    }
    path_to(world, peer)
}

#[test]
fn a_ring_that_breaks_in_the_middle_is_given_up_and_every_message_arrives_once() {
    let folder = tempfile::tempdir().unwrap();
    let shm = folder.path().to_owned();
    let mut settings = config(PathPolicy::Auto, 0);
    settings.shm_dir = Some(shm.clone());
    let layout = SectionLayout::new(2, settings.geometry).unwrap();
    let (started, stop) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let saboteur = {
        let (started, stop) = (Arc::clone(&started), Arc::clone(&stop));
        std::thread::spawn(move || {
            while !started.load(Ordering::Relaxed) {
                std::thread::yield_now();
            }
            sabotage(&shm, layout, &stop);
        })
    };
    let paths = threads(
        2,
        |_| settings.clone(),
        move |job| {
            let path = chatter(job.world(), &started);
            job.finalize().unwrap();
            path
        },
    );
    stop.store(true, Ordering::Relaxed);
    saboteur.join().unwrap();
    println!("{paths:?}");
    for (path, why) in paths {
        assert_eq!(path, "tcp");
        assert!(why.contains("no ring") && why.contains("position"), "{why}");
    }
}
