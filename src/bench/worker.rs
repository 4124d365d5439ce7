//! The half of a benchmark that runs in the ranks. Every rank walks the same list of benchmarks and sizes; after
//! each one rank 0 knows the times of all and hands out a [`Sample`]. Under the parent a sample is a line of JSON
//! on rank 0's standard output.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::clocks::{Clocks, Drift};
use super::kernels::{Kernel, Loop};
use super::name::{Benchmark, Columns};
use super::sizes;
use super::usage::{self, Usage, boot_hash};
use crate::mpi::{self, Communicator, Op, Path};
use crate::report::schema::CpuTime;

/// What the ranks are to measure.
#[derive(Debug, Clone, PartialEq)]
pub struct Work {
    /// Benchmarks, in order.
    pub benchmarks: Vec<Benchmark>,
    /// Message sizes in bytes; each benchmark takes those that make sense for it.
    pub sizes: Vec<u64>,
    /// Check every byte, and count the wrong ones.
    pub check: bool,
    /// Cycle through a large buffer, so that data comes from memory.
    pub off_cache: bool,
    /// Longest time spent on one size, in seconds: repetitions are reduced to keep to it, as IMB does.
    pub sample_seconds_max: f64,
}

/// IMB's limit on the time spent on one size, in seconds.
pub const SAMPLE_SECONDS_MAX: f64 = 10.0;

/// What one launch found for one benchmark at one size.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Name of the benchmark.
    pub benchmark: String,
    /// Ranks in the job.
    pub ranks: u32,
    /// Path of the messages: `self`, `ring`, `tcp`, or several joined by `+`.
    pub path: String,
    /// Message size.
    pub bytes: u64,
    /// Repetitions timed.
    pub repetitions: u64,
    /// Fastest rank, microseconds for one operation.
    pub t_min_us: f64,
    /// Slowest rank.
    pub t_max_us: f64,
    /// Mean over ranks.
    pub t_avg_us: f64,
    /// Processor time of one repetition, over all ranks.
    pub cpu_us: CpuTime,
    /// Wrong bytes found in all repetitions and ranks, when checking.
    pub defects: Option<u64>,
    /// The clock that strayed most in this launch; known when the launch has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<Drift>,
}

/// Why a benchmark could not be run.
#[derive(Debug, Error)]
pub enum WorkError {
    /// The library reported an error.
    #[error("{benchmark} with messages of {bytes} bytes failed on rank {rank}: {source}")]
    Operation {
        /// Which benchmark.
        benchmark: Benchmark,
        /// At which size.
        bytes: u64,
        /// On which rank.
        rank: u32,
        /// What the library said.
        source: mpi::Error,
    },
    /// The ranks' clocks could not be compared.
    #[error("comparing the clocks of the ranks failed on rank {rank}: {source}")]
    Clocks {
        /// On which rank.
        rank: u32,
        /// What the library said.
        source: mpi::Error,
    },
    /// A sample could not be handed on.
    #[error("cannot write a result to standard output: {0}")]
    Output(#[from] std::io::Error),
}

/// Runs all of `work`; every rank of `comm` calls it alike. Rank 0 hands each sample to `emit`, and of several
/// ranks knows in the end whose clock strayed most meanwhile.
///
/// # Errors
/// [`WorkError`] with benchmark, size and rank.
pub fn run(
    comm: &Communicator,
    work: &Work,
    emit: &mut dyn FnMut(Sample) -> std::io::Result<()>,
) -> Result<Option<Drift>, WorkError> {
    let rank = comm.rank();
    let clocks_failed = |source| WorkError::Clocks { rank, source };
    let clocks = Clocks::begin(comm).map_err(clocks_failed)?;
    for &benchmark in &work.benchmarks {
        for bytes in sizes::for_benchmark(benchmark, &work.sizes) {
            let sample = measure(comm, work, benchmark, bytes).map_err(|source| {
                WorkError::Operation { benchmark, bytes, rank: comm.rank(), source }
            })?;
            if let Some(sample) = sample {
                emit(sample)?;
            }
        }
    }
    clocks.end(comm).map_err(clocks_failed)
}

/// One benchmark at one size; the sample is there on rank 0 only.
fn measure(
    comm: &Communicator,
    work: &Work,
    benchmark: Benchmark,
    bytes: u64,
) -> Result<Option<Sample>, mpi::Error> {
    // Sizes are at most 1 GiB.
    let length = usize::try_from(bytes).unwrap_or(usize::MAX);
    let mut kernel = Kernel::new(comm, benchmark, length, work.check, work.off_cache);
    let repetitions = agree_on_repetitions(comm, work, &mut kernel, bytes)?;
    let stolen_before_us = usage::steal_us();
    comm.barrier()?;
    comm.barrier()?;
    let timed = stage(comm, &mut kernel, repetitions)?;
    let report = Report {
        time_us: timed.mine.time.as_secs_f64() * 1e6 / repetitions as f64 / kernel.parts(),
        used: timed.used,
        // Some hypervisors let the counter run backwards across a migration.
        stolen_us: (usage::steal_us() - stolen_before_us).max(0.0),
        boot: boot_hash(),
        paths: paths_of(comm, &kernel, benchmark),
        defects: timed.mine.defects,
    };
    let all = gather(comm, &report)?;
    Ok((comm.rank() == 0).then(|| sample(benchmark, bytes, repetitions, work.check, &all)))
}

/// Warms up and finds how many repetitions fit into the time; the same number on every rank.
fn agree_on_repetitions(
    comm: &Communicator,
    work: &Work,
    kernel: &mut Kernel<'_>,
    bytes: u64,
) -> Result<u64, mpi::Error> {
    const FIRST: u64 = 2;
    let wanted = sizes::repetitions(bytes);
    let first = stage(comm, kernel, FIRST)?;
    // A first contact is slow; it must not decide alone, but it bounds the warm-up.
    let rest = fitting(
        sizes::warm_up(wanted),
        first.slowest_s / FIRST as f64,
        work.sample_seconds_max / 10.0,
    );
    let warm = stage(comm, kernel, rest)?;
    Ok(fitting(wanted, warm.slowest_s / rest as f64, work.sample_seconds_max))
}

/// The largest number up to `wanted` whose repetitions of `each_s` seconds fit into `limit_s`, at least 1.
fn fitting(wanted: u64, each_s: f64, limit_s: f64) -> u64 {
    let fit = limit_s / each_s;
    // Not a number and infinity, of an operation that took no time, are no reason to do fewer.
    if fit < wanted as f64 { (fit as u64).max(1) } else { wanted }
}

struct Stage {
    mine: Loop,
    /// Processor time of the loop; of a rank that only waits, that of its waiting.
    used: Usage,
    /// Seconds of the slowest rank.
    slowest_s: f64,
}

/// One loop on the active ranks. The maximum at the end is also where the others wait.
fn stage(
    comm: &Communicator,
    kernel: &mut Kernel<'_>,
    repetitions: u64,
) -> Result<Stage, mpi::Error> {
    let before = Usage::now();
    let active = kernel.is_active();
    let mine = if active { kernel.run(repetitions)? } else { Loop::default() };
    let looped = Usage::now();
    let mut slowest = [0.0];
    comm.allreduce(&[mine.time.as_secs_f64()], &mut slowest, Op::Max)?;
    let end = if active { looped } else { Usage::now() };
    Ok(Stage { mine, used: end.since(before), slowest_s: slowest[0] })
}

/// What each rank tells rank 0.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Report {
    time_us: f64,
    used: Usage,
    stolen_us: f64,
    boot: u64,
    paths: u64,
    defects: u64,
}

impl Report {
    const BYTES: usize = 56;

    fn to_bytes(self) -> [u8; Report::BYTES] {
        let words = [
            self.time_us.to_bits(),
            self.used.user_us.to_bits(),
            self.used.system_us.to_bits(),
            self.stolen_us.to_bits(),
            self.boot,
            self.paths,
            self.defects,
        ];
        let mut bytes = [0; Report::BYTES];
        for (chunk, word) in bytes.chunks_exact_mut(8).zip(words) {
            chunk.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Report {
        let word = |i: usize| {
            let chunk = bytes.get(8 * i..8 * i + 8).and_then(|c| c.try_into().ok());
            u64::from_le_bytes(chunk.unwrap_or_default())
        };
        let number = |i: usize| f64::from_bits(word(i));
        Report {
            time_us: number(0),
            used: Usage { user_us: number(1), system_us: number(2) },
            stolen_us: number(3),
            boot: word(4),
            paths: word(5),
            defects: word(6),
        }
    }
}

fn gather(comm: &Communicator, report: &Report) -> Result<Vec<Report>, mpi::Error> {
    let receivers = if comm.rank() == 0 { comm.size() as usize } else { 0 };
    let mut all = vec![0; receivers * Report::BYTES];
    comm.gather(&report.to_bytes(), &mut all, 0)?;
    Ok(all.chunks_exact(Report::BYTES).map(Report::from_bytes).collect())
}

const PATHS: [Path; 3] = [Path::Loopback, Path::Ring, Path::Tcp];

/// The paths this rank's messages take in this benchmark, one bit each.
fn paths_of(comm: &Communicator, kernel: &Kernel<'_>, benchmark: Benchmark) -> u64 {
    if !kernel.is_active() {
        return 0;
    }
    let active = benchmark.active_ranks(comm.size());
    if active == 1 {
        return path_bit(Path::Loopback);
    }
    let me = comm.rank();
    let peers = comm.peer_paths().into_iter().filter(|p| p.peer != me && p.peer < active);
    peers.fold(0, |bits, p| bits | path_bit(p.path))
}

fn path_bit(path: Path) -> u64 {
    PATHS.iter().position(|p| *p == path).map_or(0, |at| 1 << at)
}

fn path_text(bits: u64) -> String {
    let names: Vec<_> =
        PATHS.iter().filter(|p| bits & path_bit(**p) != 0).map(|p| p.as_str()).collect();
    if names.is_empty() { "unknown".to_owned() } else { names.join("+") }
}

/// Puts together what the ranks said.
fn sample(
    benchmark: Benchmark,
    bytes: u64,
    repetitions: u64,
    check: bool,
    all: &[Report],
) -> Sample {
    let ranks = u32::try_from(all.len()).unwrap_or(u32::MAX);
    let active = &all[..benchmark.active_ranks(ranks) as usize];
    let times = active.iter().map(|r| r.time_us);
    let per_repetition = |total: f64| total / repetitions as f64;
    Sample {
        benchmark: benchmark.name().to_owned(),
        ranks,
        path: path_text(active.iter().fold(0, |bits, r| bits | r.paths)),
        bytes,
        repetitions,
        t_min_us: times.clone().fold(f64::INFINITY, f64::min),
        t_max_us: times.clone().fold(0.0, f64::max),
        t_avg_us: times.sum::<f64>() / active.len().max(1) as f64,
        cpu_us: CpuTime {
            user: per_repetition(all.iter().map(|r| r.used.user_us).sum()),
            system: per_repetition(all.iter().map(|r| r.used.system_us).sum()),
            steal: per_repetition(steal_of_machines(all)),
        },
        // A barrier carries no data that could be wrong.
        defects: (check && benchmark.columns() != Columns::Sync)
            .then(|| all.iter().map(|r| r.defects).sum()),
        clock: None,
    }
}

/// Stolen time is a machine's, not a rank's: the largest of its ranks' readings, once for each machine.
fn steal_of_machines(all: &[Report]) -> f64 {
    let mut machines = std::collections::BTreeMap::<u64, f64>::new();
    for report in all {
        let known = machines.entry(report.boot).or_default();
        *known = known.max(report.stolen_us);
    }
    machines.values().sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(time_us: f64, boot: u64, paths: u64) -> Report {
        let used = Usage { user_us: 100.0, system_us: 10.0 };
        Report { time_us, used, stolen_us: 5.0, boot, paths, defects: 1 }
    }

    #[test]
    fn reports_survive_the_wire() {
        let sent = report(1.25, u64::MAX, 3);
        assert_eq!(Report::from_bytes(&sent.to_bytes()), sent);
        assert_eq!(Report::from_bytes(&[]).time_us, 0.0);
    }

    #[test]
    fn times_are_those_of_the_ranks_that_played_and_cpu_that_of_all() {
        let all = [report(1.0, 1, 2), report(3.0, 1, 2), report(0.0, 2, 0), report(0.0, 2, 0)];
        let s = sample(Benchmark::PingPong, 8, 10, true, &all);
        assert_eq!((s.t_min_us, s.t_max_us, s.t_avg_us), (1.0, 3.0, 2.0));
        assert_eq!((s.cpu_us.user, s.cpu_us.system), (40.0, 4.0));
        assert_eq!(s.cpu_us.steal, 1.0, "two machines, five microseconds each, ten repetitions");
        assert_eq!((s.ranks, s.path.as_str(), s.defects), (4, "ring", Some(4)));
        assert_eq!(sample(Benchmark::Barrier, 0, 10, true, &all).defects, None);
    }

    #[test]
    fn a_job_over_both_paths_says_both() {
        assert_eq!(path_text(path_bit(Path::Ring) | path_bit(Path::Tcp)), "ring+tcp");
        assert_eq!(path_text(path_bit(Path::Loopback)), "self");
        assert_eq!(path_text(0), "unknown");
    }

    #[test]
    fn repetitions_are_reduced_to_fit_the_time_but_never_to_none() {
        assert_eq!(fitting(1000, 1e-6, 10.0), 1000);
        assert_eq!(fitting(1000, 0.1, 10.0), 100);
        assert_eq!(fitting(1000, 60.0, 10.0), 1);
        assert_eq!(fitting(1000, 0.0, 10.0), 1000);
        assert_eq!(fitting(10, f64::NAN, 10.0), 10);
    }
}
