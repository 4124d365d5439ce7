//! PingPong of the library against the machine's own limits, in turn: limit, library, limit, ...
//! Cores of a virtual machine are moved about within minutes, so only neighbours in time are
//! compared; the figures are medians of ratios with order-statistic intervals.
//!
//! `cargo bench --bench ratios [-- ring|tcp [ROUNDS [BYTES]]]`

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Instant;

use cohost::bench::limits::{CorePair, Meter, core_pair, pin_to};
use cohost::config::Config;
use cohost::launch::{Bootstrap, in_process};
use cohost::link::select::PathPolicy;
use cohost::report::stats;
use cohost::{Communicator, Error, Job};

const RING_SIZES: [usize; 9] = [0, 8, 48, 1024, 4096, 8192, 65_536, 1 << 20, 4 << 20];
const TCP_SIZES: [usize; 3] = [8, 65_536, 1 << 20];
/// Bytes that one batch moves in each direction, within 4 to 5000 messages.
const BATCH_BYTES: usize = 8 << 20;
const BATCHES: usize = 8;

/// What a rank is told to do: play ping-pong with this many bytes, or leave.
type Order = Option<usize>;

fn batch(size: usize) -> usize {
    (BATCH_BYTES / size.max(1)).clamp(4, 5000)
}

fn play(world: &Communicator, size: usize) -> Result<f64, Error> {
    let (sent, mut got) = (vec![1; size], vec![0; size]);
    let peer = 1 - world.rank();
    let mut best = f64::INFINITY;
    for turn in 0..=BATCHES {
        let begun = Instant::now();
        for _ in 0..batch(size) {
            if world.rank() == 0 {
                world.send(&sent, peer, 1)?;
                world.recv(&mut got, peer, 1)?;
            } else {
                world.recv(&mut got, peer, 1)?;
                world.send(&sent, peer, 1)?;
            }
        }
        let took = begun.elapsed().as_secs_f64() * 1e6 / (2 * batch(size)) as f64;
        best = if turn == 0 { best } else { best.min(took) };
    }
    Ok(best)
}

/// A rank on a core of its own that waits for orders outside of the library.
fn rank(
    start: Bootstrap,
    core: usize,
    path: PathPolicy,
    orders: &Receiver<Order>,
    results: &Sender<f64>,
) -> Result<(), Error> {
    pin_to(core);
    let mut config = Config { path, ..Config::default() };
    config.net.bind = cohost::net::BindPolicy::LoopbackOnly;
    let job = Job::connect(start, config)?;
    while let Ok(Some(size)) = orders.recv() {
        let time = play(job.world(), size)?;
        if job.world().rank() == 0 {
            let _ = results.send(time);
        }
    }
    job.finalize()
}

fn measure(pair: CorePair, path: PathPolicy, rounds: usize, only: Option<usize>) {
    let all: &[usize] = if path == PathPolicy::Ring { &RING_SIZES } else { &TCP_SIZES };
    let sizes = all.iter().copied().filter(|size| only.is_none_or(|only| only == *size));
    std::thread::scope(|threads| {
        let (results, found) = channel();
        let mut orders = Vec::new();
        for (start, core) in in_process(2).into_iter().zip([pair.first, pair.second]) {
            let (order, from) = channel();
            orders.push(order);
            let results = results.clone();
            threads.spawn(move || rank(start, core, path, &from, &results).expect("a working job"));
        }
        for size in sizes {
            let meter = meter(pair, path, size);
            let mut limits = Vec::new();
            let mut times = Vec::new();
            for _ in 0..rounds {
                limits.push(meter.half_round_trip_us(pair).expect("a limit"));
                for order in &orders {
                    let _ = order.send(Some(size));
                }
                times.push(found.recv().expect("a time"));
            }
            print_row(size, &limits, &times);
        }
        for order in &orders {
            let _ = order.send(None);
        }
    });
}

fn meter(pair: CorePair, path: PathPolicy, size: usize) -> Meter {
    match (path, size) {
        (PathPolicy::Tcp, _) => Meter::Tcp(size),
        (_, 0..=48) => Meter::Cell,
        _ => Meter::two_copy(pair, size).expect("a limit"),
    }
}

fn print_row(size: usize, limits: &[f64], times: &[f64]) {
    let ratios: Vec<f64> = times.iter().zip(limits).map(|(time, limit)| time / limit).collect();
    let median = |values: &[f64]| stats::summarise(values).map_or(f64::NAN, |s| s.median);
    let interval = match stats::summarise(&ratios).map(|s| s.median_interval) {
        Ok(stats::Interval::Known { low, high, .. }) => format!("{low:.2} to {high:.2}"),
        _ => "-".to_owned(),
    };
    println!(
        "{size:>9} {:>12.3} {:>12.3} {:>8.2}   {interval}",
        median(limits),
        median(times),
        median(&ratios)
    );
}

fn main() {
    let words: Vec<String> =
        std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let Some(pair) = core_pair() else {
        println!("SKIPPED ratios: only one core; allow a second one (taskset, cpuset)");
        return;
    };
    let rounds = words.get(1).and_then(|word| word.parse().ok()).unwrap_or(15);
    for (name, path) in [("ring", PathPolicy::Ring), ("tcp", PathPolicy::Tcp)] {
        if words.first().is_none_or(|word| word == name) {
            println!(
                "PingPong over {name}, half round trip: {rounds} rounds, medians, 95 % interval of the ratio"
            );
            println!("{:>9} {:>12} {:>12} {:>8}", "#bytes", "limit[usec]", "cohost[usec]", "ratio");
            measure(pair, path, rounds, words.get(2).and_then(|word| word.parse().ok()));
        }
    }
}
