//! Which path is used, and that it carries every byte.

use std::sync::Barrier;
use std::time::Duration;

use cohost::config::{Config, RegionChoice};
use cohost::link::select::PathPolicy;
use cohost::region::Geometry;
use cohost::region::layout::PAGE;

use super::support::{BYTES, Shelf, attach, everything, on_machine, pattern, pingpong, run, way};

#[test]
fn messages_of_all_sizes_cross_a_device() {
    let shelf = Shelf::new();
    let device = shelf.device("region", BYTES);
    let only_rings = |rank| Config { path: PathPolicy::Ring, ..on_machine(rank, &device) };
    run(2, only_rings, |world| {
        pingpong(world)?;
        let (path, why) = way(world, 1 - world.rank());
        assert_eq!(path, "ring", "{why}");
        let said = format!("one host, file {}, proved by challenge", device.display());
        assert!(why.starts_with(&said), "{why}");
        Ok(())
    });
}

#[test]
fn collectives_are_right_between_machines_and_within_them() {
    let shelf = Shelf::new();
    for (n, ranks_per_machine) in [(2, 1), (4, 1), (5, 2)] {
        let device = shelf.device("region", BYTES);
        let config = |rank| Config {
            path: PathPolicy::Ring,
            ..on_machine(rank / ranks_per_machine, &device)
        };
        run(n, config, |world| {
            everything(world)?;
            for peer in (0..n).filter(|&peer| peer != world.rank()) {
                let (path, why) = way(world, peer);
                assert_eq!(path, "ring", "{why}");
                let near = peer / ranks_per_machine == world.rank() / ranks_per_machine;
                assert!(why.contains(if near { "memfd" } else { "one host, file" }), "{why}");
            }
            Ok(())
        });
    }
}

#[test]
fn collectives_are_right_over_devices_and_tcp_at_once() {
    let shelf = Shelf::new();
    let devices = ["left", "right"].map(|name| shelf.device(name, BYTES));
    run(
        4,
        |rank| on_machine(rank, &devices[rank as usize / 2]),
        |world| {
            everything(world)?;
            for peer in (0..4).filter(|&peer| peer != world.rank()) {
                let (path, why) = way(world, peer);
                let near = peer / 2 == world.rank() / 2;
                assert_eq!(path, if near { "ring" } else { "tcp" }, "{why}");
                assert!(near || why.contains("without a region in common; within reach"), "{why}");
            }
            Ok(())
        },
    );
}

#[test]
fn a_layout_keeps_hosts_apart_although_they_have_a_region_in_common() {
    let shelf = Shelf::new();
    let device = shelf.device("region", BYTES);
    let apart = |rank| Config { host: Some(rank), ..on_machine(rank, &device) };
    run(2, apart, |world| {
        pingpong(world)?;
        let (path, why) = way(world, 1 - world.rank());
        assert_eq!((path, why.as_str()), ("tcp", "different hosts of the layout"));
        Ok(())
    });
    // Nobody took a slot for that.
    let device = attach(&device);
    assert!((0..8).all(|slot| device.raw().load_u64(PAGE + slot * 64) == 0));
}

#[test]
fn without_a_region_machines_use_tcp() {
    let shelf = Shelf::new();
    let device = shelf.device("region", BYTES);
    let off = |rank| Config { region: RegionChoice::Off, ..on_machine(rank, &device) };
    run(2, off, |world| {
        pingpong(world)?;
        let (path, why) = way(world, 1 - world.rank());
        assert_eq!(path, "tcp");
        assert!(why.ends_with("without a region in common"), "{why}");
        Ok(())
    });
}

#[test]
fn two_jobs_share_one_region_and_leave_it_free() {
    let shelf = Shelf::new();
    let device = shelf.device("region", BYTES);
    let config = |rank| Config { path: PathPolicy::Ring, ..on_machine(rank, &device) };
    let all_joined = Barrier::new(4);
    let job = || {
        run(2, config, |world| {
            world.barrier()?;
            // Both jobs hold their slots at this moment.
            all_joined.wait();
            everything(world)
        });
    };
    std::thread::scope(|threads| {
        let jobs = [threads.spawn(job), threads.spawn(job)];
        for job in jobs {
            job.join().unwrap();
        }
    });
    let device = attach(&device);
    assert!((0..8).all(|slot| device.raw().load_u64(PAGE + slot * 64) == 0));
}

#[test]
fn when_the_slots_are_taken_away_every_message_still_arrives_once() {
    let shelf = Shelf::new();
    let path = shelf.device("region", BYTES);
    let thief = attach(&path);
    run(
        2,
        |rank| on_machine(rank, &path),
        |world| {
            stream(world, || {
                for slot in 0..8 {
                    thief.raw().store_u64(PAGE + slot * 64, 0xdead);
                }
            })?;
            let (path, why) = way(world, 1 - world.rank());
            assert_eq!(path, "tcp", "{why}");
            assert!(why.contains("is gone"), "{why}");
            Ok(())
        },
    );
}

#[test]
fn when_the_device_is_unplugged_every_message_still_arrives_once() {
    let shelf = Shelf::new();
    let path = shelf.device("region", BYTES);
    run(
        2,
        |rank| on_machine(rank, &path),
        |world| {
            stream(world, || {
                let file = std::fs::File::options().write(true).open(&path).unwrap();
                file.set_len(0).unwrap();
            })?;
            let (path, why) = way(world, 1 - world.rank());
            assert_eq!(path, "tcp", "{why}");
            Ok(())
        },
    );
}

/// Messages in both directions, several under way; rank 0 disturbs between two rounds, and they go
/// on until the path has changed.
fn stream(world: &cohost::Communicator, disturb: impl Fn()) -> Result<(), cohost::Error> {
    const BURST: u32 = 20;
    let (me, peer) = (world.rank(), 1 - world.rank());
    let mut done = false;
    let mut round = 0_u32;
    while !done {
        if round == 10 && me == 0 {
            disturb();
        }
        for i in 0..BURST {
            world.send(&pattern(1000, round * 100 + i), peer, 5)?;
        }
        for i in 0..BURST {
            let mut got = vec![0; 1000];
            world.recv(&mut got, peer, 5)?;
            assert!(got == pattern(1000, round * 100 + i), "message {i} of round {round}");
        }
        round += 1;
        let changed = u8::from(way(world, peer).0 == "tcp");
        let mut both = [0];
        world.allreduce(&[changed], &mut both, cohost::mpi::Op::Min)?;
        done = both[0] == 1 && round > 20;
    }
    Ok(())
}

#[test]
fn bytes_that_vanish_while_they_are_copied_are_never_delivered() {
    // Large, so that most of the time is spent copying.
    let geometry = Geometry { cells: 64, bulk: 1 << 20 };
    for trial in 0..30 {
        let shelf = Shelf::new();
        let path = shelf.device("region", 128 << 20);
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        let config = |rank| Config { geometry, ..on_machine(rank, &path) };
        run(2, config, |world| {
            world.barrier()?;
            std::thread::scope(|threads| {
                if world.rank() == 0 {
                    threads.spawn(|| {
                        std::thread::sleep(Duration::from_micros(2000 + trial * 131));
                        file.set_len(0).unwrap();
                    });
                }
                // Of those that stay with their sender, and of those that are kept by copies.
                until_tcp(world, if trial % 2 == 0 { 60_000 } else { 15_000 })
            })
        });
    }
}

/// Messages of `len` bytes from rank 0 to rank 1, received as they come and out of order, until both
/// ranks know that the ring is gone.
fn until_tcp(world: &cohost::Communicator, len: usize) -> Result<(), cohost::Error> {
    const BURST: i32 = 8;
    let peer = 1 - world.rank();
    let mut over = [0_u8];
    let mut got = vec![0; len];
    while over[0] == 0 {
        let text = |tag: i32| pattern(len, tag as u32);
        if world.rank() == 0 {
            let texts: Vec<_> = (0..BURST).map(text).collect();
            world.scope(|scope| {
                let mut sends = texts.iter().zip(0..);
                sends.try_for_each(|(text, tag)| scope.isend(text, peer, tag).map(drop))
            })?;
        } else {
            for tag in [0, 1, 2, 7, 6, 5, 4, 3] {
                world.recv(&mut got, peer, tag)?;
                assert!(got == text(tag), "message {tag} of a burst");
            }
        }
        let gone = u8::from(way(world, peer).0 == "tcp");
        world.allreduce(&[gone], &mut over, cohost::mpi::Op::Min)?;
    }
    Ok(())
}

#[test]
fn a_device_that_goes_and_comes_back_is_told_as_two_events() {
    let shelf = Shelf::new();
    let path = shelf.device("region", BYTES);
    let told = |world: &cohost::Communicator, word: &str| {
        world.path_events().iter().any(|event| event.what.contains(word))
    };
    let until = |world: &cohost::Communicator, word: &str| {
        let mut all = [0_u8];
        while all[0] == 0 {
            world.allreduce(&[u8::from(told(world, word))], &mut all, cohost::mpi::Op::Min)?;
        }
        Ok::<(), cohost::Error>(())
    };
    run(
        2,
        |rank| on_machine(rank, &path),
        |world| {
            pingpong(world)?;
            assert_eq!(world.path_events(), []);
            world.barrier()?;
            if world.rank() == 0 {
                std::fs::File::options().write(true).open(&path).unwrap().set_len(0).unwrap();
                std::fs::remove_file(&path).unwrap();
            }
            until(world, "is given up")?;
            // Longer than between two looks for it.
            let pause = std::time::Instant::now();
            while pause.elapsed() < Duration::from_millis(2500) {
                pingpong(world)?;
                let long = u8::from(pause.elapsed() >= Duration::from_millis(2500));
                let mut all = [0_u8];
                world.allreduce(&[long], &mut all, cohost::mpi::Op::Max)?;
                if all[0] == 1 {
                    break;
                }
            }
            if world.rank() == 0 {
                shelf.device("region", BYTES);
            }
            until(world, "within reach again")?;
            assert_eq!(way(world, 1 - world.rank()).0, "tcp");
            pingpong(world)
        },
    );
}

#[test]
fn when_one_of_two_loses_its_slot_both_go_on_over_tcp() {
    for slot in [0, 1] {
        let shelf = Shelf::new();
        let path = shelf.device("region", BYTES);
        let thief = attach(&path);
        run(
            2,
            |rank| on_machine(rank, &path),
            |world| {
                everything(world)?;
                if world.rank() == 0 {
                    thief.raw().store_u64(PAGE + slot * 64, 0xdead);
                }
                let mut over = [0_u8];
                while over[0] == 0 {
                    everything(world)?;
                    let gone = u8::from(way(world, 1 - world.rank()).0 == "tcp");
                    world.allreduce(&[gone], &mut over, cohost::mpi::Op::Min)?;
                }
                everything(world)
            },
        );
    }
}

#[test]
fn an_acknowledgement_that_is_due_in_the_middle_of_a_frame_holds_nothing_up() {
    const LEN: usize = 2 << 20;
    let config = |rank| {
        let mut config = on_machine(rank, std::path::Path::new("none"));
        config.region = RegionChoice::Off;
        // So small that every long frame is sent in parts.
        config.net.socket_buffer = Some(8 << 10);
        config
    };
    run(2, config, |world| {
        let peer = 1 - world.rank();
        let (there, mut back) = (pattern(LEN, world.rank()), vec![0; LEN]);
        for round in 0..5 {
            // Both send at once, so that each owes acknowledgements while its own frames are begun.
            world.sendrecv(&there, peer, 1, &mut back, peer, 1)?;
            assert!(back == pattern(LEN, peer), "round {round}");
        }
        Ok(())
    });
}
