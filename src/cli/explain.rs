//! `cohost explain`: the path of every pair of ranks, why it was chosen, and what it measured
//! there. Inside a job each rank takes part; outside it starts one.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use crate::launch::{self, Layout, PathPolicy, RunOptions};
use crate::mpi::PathEvent;
use crate::{Communicator, Error};

/// Arguments of `cohost explain`, those of `cohost run` that say where ranks are.
#[derive(Clone, Debug, clap::Args)]
pub struct ExplainArgs {
    /// Number of ranks; without it, that of the layout, otherwise 2
    #[arg(short = 'n', long = "ranks", value_name = "N")]
    ranks: Option<u32>,

    /// Hosts and virtual machines on each, such as 2x2; without it all are on one host
    #[arg(long, value_name = "HxV")]
    layout: Option<Layout>,

    /// Ranks in each virtual machine
    #[arg(long, value_name = "R", default_value_t = 1)]
    ranks_per_vm: u32,

    /// Paths the ranks may use: auto, ring or tcp
    #[arg(long, value_name = "PATH")]
    path: Option<PathPolicy>,

    /// Put each host into a network namespace behind a 1 Gbit/s link (needs root)
    #[arg(long)]
    netns: bool,

    /// Send messages between all ranks for so long first, and check every byte, so that changes of
    /// paths are seen
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    seconds: u64,
}

/// Bytes of the message that latency is measured with, and repetitions of it.
const SHORT: (usize, u32) = (8, 200);
/// Bytes of the message that bandwidth is measured with, and repetitions of it.
const LONG: (usize, u32) = (1 << 20, 8);
const TAG: i32 = 1;
const REPORT_TAG: i32 = 2;
const EVENTS_TAG: i32 = 3;
/// Bytes that each rank sends to each in a round of [`exchange_for`].
const BLOCK: usize = 20_000;

/// Explains the job this process is in, or starts one to explain.
pub fn run(args: &ExplainArgs) -> ExitCode {
    let outcome = if launch::launched() {
        explain_job(args.seconds).map(|()| ExitCode::SUCCESS)
    } else {
        start(args)
    };
    outcome.unwrap_or_else(|why| {
        eprintln!("cohost explain: {why}");
        ExitCode::FAILURE
    })
}

fn start(args: &ExplainArgs) -> Result<ExitCode, String> {
    let of_layout = args.layout.map(|layout| layout.ranks(args.ranks_per_vm));
    let ranks = match (args.ranks, of_layout) {
        (Some(ranks), _) => ranks,
        (None, Some(ranks)) => u32::try_from(ranks).unwrap_or(u32::MAX),
        (None, None) => 2,
    };
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let options = RunOptions {
        ranks,
        layout: args.layout,
        ranks_per_vm: args.ranks_per_vm,
        program: program.into(),
        args: vec!["explain".into(), format!("--seconds={}", args.seconds).into()],
        path: args.path,
        netns: args.netns,
        ..RunOptions::default()
    };
    match launch::run(&options) {
        Ok(outcome) => Ok(ExitCode::from(u8::try_from(outcome.exit_code).unwrap_or(1))),
        Err(error) if error.is_usage() => {
            eprintln!("cohost explain: {error}");
            Ok(ExitCode::from(2))
        }
        Err(error) => Err(error.to_string()),
    }
}

fn explain_job(seconds: u64) -> Result<(), String> {
    let text = |error: Error| error.to_string();
    let job = crate::init().map_err(text)?;
    if seconds > 0 {
        let rounds = exchange_for(job.world(), Duration::from_secs(seconds))?;
        if job.world().rank() == 0 {
            println!("{rounds} rounds of messages, every byte right");
        }
    }
    explain_pairs(job.world()).map_err(text)?;
    job.finalize().map_err(text)
}

/// Everybody sends to everybody for so long, by the clock of rank 0; the number of rounds.
fn exchange_for(world: &Communicator, span: Duration) -> Result<u32, String> {
    let text = |error: Error| error.to_string();
    let (me, size) = (world.rank() as usize, world.size() as usize);
    let byte = |from: usize, to: usize, round: u32, i: usize| {
        ((from * 31 + to * 7 + round as usize * 13 + i) % 251) as u8
    };
    let start = Instant::now();
    let (mut send, mut recv) = (vec![0; BLOCK * size], vec![0; BLOCK * size]);
    let (mut round, mut go_on) = (0, [1_u8]);
    while go_on[0] == 1 {
        for (at, out) in send.iter_mut().enumerate() {
            *out = byte(me, at / BLOCK, round, at % BLOCK);
        }
        world.alltoall(&send, &mut recv).map_err(text)?;
        let right = |(at, got): (usize, &u8)| *got == byte(at / BLOCK, me, round, at % BLOCK);
        if let Some(at) = recv.iter().enumerate().position(|it| !right(it)) {
            let (rank, at) = (at / BLOCK, at % BLOCK);
            return Err(format!("round {round}: byte {at} of rank {rank} arrived wrong"));
        }
        round += 1;
        go_on[0] = u8::from(start.elapsed() < span);
        world.bcast(&mut go_on, 0).map_err(text)?;
    }
    Ok(round)
}

fn explain_pairs(world: &Communicator) -> Result<(), Error> {
    let mut rows = Vec::new();
    // One pair at a time, so that no measurement disturbs another.
    for low in 0..world.size() {
        for high in low + 1..world.size() {
            if let Some(measured) = measure_pair(world, low, high)? {
                rows.push((low, high, measured));
            }
            world.barrier()?;
        }
    }
    report(world, &rows)
}

/// Half round trip in microseconds and bandwidth in megabytes (10^6) a second, at the lower rank.
fn measure_pair(world: &Communicator, low: u32, high: u32) -> Result<Option<(f64, f64)>, Error> {
    if world.rank() != low && world.rank() != high {
        return Ok(None);
    }
    let peer = if world.rank() == low { high } else { low };
    let mut seconds = [0.0; 2];
    for ((len, repetitions), out) in [SHORT, LONG].into_iter().zip(&mut seconds) {
        let mut buffer = vec![0; len];
        exchange(world, peer, &mut buffer, world.rank() == low, repetitions / 4)?;
        let start = Instant::now();
        exchange(world, peer, &mut buffer, world.rank() == low, repetitions)?;
        *out = start.elapsed().as_secs_f64() / f64::from(repetitions) / 2.0;
    }
    let measured = (seconds[0] * 1e6, LONG.0 as f64 / 1e6 / seconds[1]);
    Ok((world.rank() == low).then_some(measured))
}

fn exchange(
    world: &Communicator,
    peer: u32,
    buffer: &mut [u8],
    first: bool,
    repetitions: u32,
) -> Result<(), Error> {
    for _ in 0..repetitions {
        if first {
            world.send(buffer, peer, TAG)?;
            world.recv(buffer, peer, TAG)?;
        } else {
            world.recv(buffer, peer, TAG)?;
            world.send(buffer, peer, TAG)?;
        }
    }
    Ok(())
}

/// Rank 0 prints what all found, its own part first.
fn report(world: &Communicator, rows: &[(u32, u32, (f64, f64))]) -> Result<(), Error> {
    let paths = world.peer_paths();
    let mut text = String::new();
    for (low, high, (latency, bandwidth)) in rows {
        let info = paths.iter().find(|info| info.peer == *high);
        let (path, reason) = info.map_or(("none", ""), |i| (i.path.as_str(), i.reason.as_str()));
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{low:>5} {high:>5}  {path:<5} {latency:>12.2} {bandwidth:>12.0}   {reason}"
        );
    }
    let events = events(world);
    if world.rank() != 0 {
        world.send(text.as_bytes(), 0, REPORT_TAG)?;
        return world.send(events.as_bytes(), 0, EVENTS_TAG);
    }
    println!(
        "{:>5} {:>5}  {:<5} {:>12} {:>12}   why",
        "rank", "rank", "path", "latency[us]", "Mbytes/sec"
    );
    print!("{text}");
    for rank in 1..world.size() {
        print!("{}", text_of(world, rank, REPORT_TAG)?);
    }
    print!("{events}");
    for rank in 1..world.size() {
        print!("{}", text_of(world, rank, EVENTS_TAG)?);
    }
    println!(
        "latency: half round trip of {} bytes; bandwidth: of {} bytes; MB are 10^6",
        SHORT.0, LONG.0
    );
    println!("waiting: {}", world.waiting_policy());
    Ok(())
}

/// What happened to this rank's paths, a line each.
fn events(world: &Communicator) -> String {
    let line = |event: PathEvent| {
        format!("rank {}, {:.1} s: {}\n", world.rank(), event.at.as_secs_f64(), event.what)
    };
    world.path_events().into_iter().map(line).collect()
}

fn text_of(world: &Communicator, rank: u32, tag: i32) -> Result<String, Error> {
    let status = world.probe(rank, tag)?;
    let mut bytes = vec![0; status.len];
    world.recv(&mut bytes, rank, tag)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
