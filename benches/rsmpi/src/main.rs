//! `PingPong` and `Alltoall` as a program of rsmpi writes them, with any MPI under it.
//!
//! `mpiexec -n N rsmpi-bench [LARGEST [SECONDS]]`: message sizes double up to LARGEST bytes (4194304
//! without it), each measured for about SECONDS (0.2). The table has one line for a size: half a
//! round trip between ranks 0 and 1, and one Alltoall of all ranks as its slowest rank saw it. Every
//! byte received is compared once for each size.

use std::process::ExitCode;
use std::time::Instant;

use mpi::collective::SystemOperation;
use mpi::topology::SimpleCommunicator;
use mpi::traits::*;

const USAGE: &str = "usage: rsmpi-bench [LARGEST [SECONDS]]: bytes, and time for each size";

struct Settings {
    largest: usize,
    seconds: f64,
}

impl Settings {
    fn of(mut arguments: impl Iterator<Item = String>) -> Option<Self> {
        let largest = arguments.next().map_or(Some(4 << 20), |it| it.parse().ok())?;
        let seconds = arguments.next().map_or(Some(0.2), |it| it.parse().ok())?;
        (largest > 0 && seconds >= 0.0 && arguments.next().is_none())
            .then_some(Self { largest, seconds })
    }
}

/// The byte at this place of a message between two ranks.
fn byte(place: usize, from: i32, to: i32) -> u8 {
    (place.wrapping_mul(31) ^ (place >> 8) ^ (from as usize * 7 + to as usize * 13)) as u8
}

/// Repetitions that take about the time wanted, the same number on every rank.
fn repetitions(world: &SimpleCommunicator, seconds: f64, mut once: impl FnMut()) -> usize {
    const TRIAL: usize = 4;
    world.barrier();
    let start = Instant::now();
    for _ in 0..TRIAL {
        once();
    }
    let mine = start.elapsed().as_secs_f64() / TRIAL as f64;
    let mut slowest = 0.0;
    world.all_reduce_into(&mine, &mut slowest, SystemOperation::max());
    ((seconds / f64::max(slowest, 1e-9)) as usize).clamp(1, 1_000_000)
}

/// Microseconds of one `once`, as the slowest rank saw the mean.
fn measure(world: &SimpleCommunicator, seconds: f64, mut once: impl FnMut()) -> f64 {
    let times = repetitions(world, seconds, &mut once);
    world.barrier();
    let start = Instant::now();
    for _ in 0..times {
        once();
    }
    let mine = start.elapsed().as_secs_f64() / times as f64;
    let mut slowest = 0.0;
    world.all_reduce_into(&mine, &mut slowest, SystemOperation::max());
    slowest * 1e6
}

/// Half a round trip between ranks 0 and 1; the others stand by.
fn ping_pong(world: &SimpleCommunicator, size: usize, seconds: f64) -> f64 {
    let rank = world.rank();
    let sent: Vec<u8> = (0..size).map(|at| byte(at, rank, 1 - rank.min(1))).collect();
    let mut got = vec![0; size];
    let round = measure(world, seconds, || match rank {
        0 => {
            world.process_at_rank(1).send(&sent[..]);
            world.process_at_rank(1).receive_into(&mut got[..]);
        }
        1 => {
            world.process_at_rank(0).receive_into(&mut got[..]);
            world.process_at_rank(0).send(&sent[..]);
        }
        _ => {}
    });
    if rank < 2 {
        let right = got.iter().enumerate().all(|(at, it)| *it == byte(at, 1 - rank, rank));
        assert!(right, "PingPong of {size} bytes: rank {rank} received something else");
    }
    round / 2.0
}

fn all_to_all(world: &SimpleCommunicator, size: usize, seconds: f64) -> f64 {
    let (rank, ranks) = (world.rank(), world.size());
    let fill = |from: &dyn Fn(i32) -> (i32, i32)| -> Vec<u8> {
        (0..ranks)
            .flat_map(|peer| {
                let (from, to) = from(peer);
                (0..size).map(move |at| byte(at, from, to))
            })
            .collect()
    };
    let sent = fill(&|peer| (rank, peer));
    let mut got = vec![0; sent.len()];
    let time = measure(world, seconds, || world.all_to_all_into(&sent[..], &mut got[..]));
    let right = got == fill(&|peer| (peer, rank));
    assert!(right, "Alltoall of {size} bytes: rank {rank} received something else");
    time
}

fn main() -> ExitCode {
    let Some(settings) = Settings::of(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let Some(universe) = mpi::initialize() else {
        eprintln!("MPI was already started in this process");
        return ExitCode::FAILURE;
    };
    let world = universe.world();
    if world.size() < 2 {
        eprintln!("PingPong needs two ranks: mpiexec -n 2 rsmpi-bench");
        return ExitCode::FAILURE;
    }
    let library = mpi::environment::library_version().unwrap_or_default();
    if world.rank() == 0 {
        println!("# {}", library.lines().next().unwrap_or_default());
        println!("# {} ranks", world.size());
        println!("#    bytes  PingPong[us]  Alltoall[us]");
    }
    let sizes = std::iter::successors(Some(1), |size| Some(size * 2));
    for size in sizes.take_while(|size| *size <= settings.largest) {
        let pair = ping_pong(&world, size, settings.seconds);
        let all = all_to_all(&world, size, settings.seconds);
        if world.rank() == 0 {
            println!("{size:>10} {pair:>13.2} {all:>13.2}");
        }
    }
    ExitCode::SUCCESS
}
