//! The half of a benchmark that runs outside the ranks: one fresh job for each layout and run, their samples put
//! together into tables as soon as a layout is complete, and in the end the comparison and the result file.
//! A launch that fails is said and left out; the others still count, and the exit code tells.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;

use thiserror::Error;

use super::clocks::Drift;
use super::in_job::LastLine;
use super::kernels::memory_bytes;
use super::limits::LimitsError;
use super::name::Benchmark;
use super::provenance;
use super::text::{self, Series};
use super::worker::{Sample, Work};
use crate::launch::{LaunchError, Layout, MAX_RANKS, Outcome, PathPolicy, RunOptions};
use crate::report::limit::best_of;
use crate::report::schema::{
    BenchResult, CpuTime, Document, Limits, Provenance, SCHEMA, SchemaError, TimeStats,
    check_writable,
};

/// Layouts measured when none is named: those of the paper's Table 1.
pub const LAYOUTS: [&str; 6] = ["1x1", "1x2", "1x4", "2x1", "2x2", "2x4"];
/// Most fresh launches of one layout.
pub const RUNS_MAX: u32 = 10_000;

/// What to measure, where, and how often.
#[derive(Debug, Clone)]
pub struct Campaign {
    /// What the ranks do.
    pub work: Work,
    /// Layouts, in order.
    pub layouts: Vec<Layout>,
    /// Paths the ranks may use; `None` leaves the choice to them.
    pub path: Option<PathPolicy>,
    /// Fresh launches of each layout, at least 1.
    pub runs: u32,
    /// Ranks in each virtual machine, at least 1.
    pub ranks_per_vm: u32,
    /// Put each host into a network namespace behind a 1 Gbit/s link.
    pub netns: bool,
    /// Where to write the result file.
    pub json: Option<PathBuf>,
    /// The program that holds the ranks' half: this one.
    pub program: OsString,
}

/// Why a campaign could not be carried out.
#[derive(Debug, Error)]
pub enum CampaignError {
    /// A layout that cannot be measured.
    #[error("layout {layout}: {reason}")]
    Layout {
        /// Which one.
        layout: Layout,
        /// Why not, with the remedy.
        reason: String,
    },
    /// A job could not be started.
    #[error("cannot start layout {layout}: {source}")]
    Launch {
        /// Which one.
        layout: Layout,
        /// What the launcher said.
        source: LaunchError,
    },
    /// Where a layout was to be measured could not be made ready.
    #[error("cannot measure layout {layout}: {reason}")]
    Venue {
        /// Which one.
        layout: Layout,
        /// Why not, with the remedy.
        reason: String,
    },
    /// The limits could not be measured.
    #[error(transparent)]
    Limits(#[from] LimitsError),
    /// The result file cannot be written.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// Standard output cannot be written.
    #[error("cannot write to standard output: {0}")]
    Output(#[from] io::Error),
}

impl CampaignError {
    /// Whether the options were wrong, and nothing was measured.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        match self {
            CampaignError::Layout { .. } => true,
            CampaignError::Launch { source, .. } => source.is_usage(),
            _ => false,
        }
    }
}

/// What came of a campaign.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verdict {
    /// Launches that failed and were left out.
    pub failed: u32,
    /// Wrong bytes found by `--check`.
    pub defects: u64,
    /// Stopped by a signal before everything was measured.
    pub interrupted: bool,
}

impl Verdict {
    /// Whether everything was measured and all data were right.
    #[must_use]
    pub fn is_good(&self) -> bool {
        *self == Verdict::default()
    }
}

/// Where the campaign speaks and how it starts jobs: tests put something else in each place.
pub struct Stage<'a> {
    /// Makes the place ready where a layout is measured, before its limits are; tells what is there when that
    /// is not this machine.
    pub open: &'a mut dyn FnMut(Layout) -> Result<Option<Provenance>, String>,
    /// Starts one job and waits for its end.
    pub launch: &'a mut dyn FnMut(&RunOptions) -> Result<Outcome, LaunchError>,
    /// Measures the machine's limits.
    pub limits: &'a mut dyn FnMut() -> Result<Limits, LimitsError>,
    /// Takes the tables.
    pub print: &'a mut dyn FnMut(&str) -> io::Result<()>,
    /// Takes complaints.
    pub complain: &'a mut dyn FnMut(&str),
    /// Told before each launch: how many are done, how many there are, and what comes.
    pub progress: &'a mut dyn FnMut(u64, u64, &str),
}

impl Campaign {
    /// Refuses what cannot be measured, before anything is.
    ///
    /// # Errors
    /// [`CampaignError::Layout`] with the reason, [`CampaignError::Schema`] when the file cannot be written.
    pub fn check(&self) -> Result<(), CampaignError> {
        for &layout in &self.layouts {
            let refuse = |reason: String| Err(CampaignError::Layout { layout, reason });
            let ranks = layout.ranks(self.ranks_per_vm);
            if ranks == 0 || ranks > u64::from(MAX_RANKS) {
                return refuse(format!(
                    "it has {ranks} ranks, where 1 to {MAX_RANKS} can be started"
                ));
            }
            if self.path == Some(PathPolicy::Ring) && layout.hosts > 1 {
                return refuse(
                    "rings cannot join two hosts: use --path auto or tcp, or a layout of one host"
                        .to_owned(),
                );
            }
        }
        self.check_memory(available_memory())?;
        if let Some(path) = &self.json {
            check_writable(path)?;
        }
        Ok(())
    }

    /// Refuses buffers that the machine cannot hold: the kernel would end a rank instead, in the middle.
    fn check_memory(&self, available_bytes: Option<u64>) -> Result<(), CampaignError> {
        let Some(available) = available_bytes else {
            return Ok(());
        };
        for &layout in &self.layouts {
            let ranks = u32::try_from(layout.ranks(self.ranks_per_vm)).unwrap_or(u32::MAX);
            for &benchmark in &self.work.benchmarks {
                let largest = self.work.sizes.iter().max().copied().unwrap_or(0);
                let needed = memory_bytes(benchmark, ranks, largest, self.work.off_cache);
                if needed > available {
                    let reason = format!(
                        "{benchmark} with messages of {largest} bytes needs {needed} bytes for its \
                         buffers, but {available} are available: use --max-size or fewer ranks"
                    );
                    return Err(CampaignError::Layout { layout, reason });
                }
            }
        }
        Ok(())
    }

    /// Memory that the buffers of all ranks of a layout take at most, in bytes.
    #[must_use]
    pub fn buffer_bytes(&self, layout: Layout) -> u64 {
        let ranks = u32::try_from(layout.ranks(self.ranks_per_vm)).unwrap_or(u32::MAX);
        let largest = self.work.sizes.iter().max().copied().unwrap_or(0);
        let needs = self.work.benchmarks.iter();
        let needs = needs.map(|b| memory_bytes(*b, ranks, largest, self.work.off_cache));
        needs.max().unwrap_or(0)
    }

    /// Carries everything out. What was measured before an error or interruption is in the tables and the file.
    ///
    /// # Errors
    /// [`CampaignError`].
    pub fn run(&self, stage: &mut Stage<'_>) -> Result<Verdict, CampaignError> {
        self.check()?;
        let there = match self.layouts.first() {
            Some(first) => self.open(*first, 0, stage)?,
            None => None,
        };
        let gathered = provenance::gather();
        let place = there.as_ref().unwrap_or(gathered.provenance());
        (stage.print)(&text::opening(place, &self.work.benchmarks))?;
        (stage.progress)(0, self.launches(), "limits of this machine");
        let mut limits = (stage.limits)()?;
        let mut best = limits.clone();
        (stage.print)(&text::limits(&limits))?;
        if self.netns {
            (stage.print)(
                "# hosts are network namespaces joined by a 1 Gbit/s link, which carries 125 MB/s; \
                 the TCP limits are those of plain loopback\n",
            )?;
        }
        let mut verdict = Verdict::default();
        let mut all = Vec::new();
        let mut before = Vec::new();
        let mut outcome = Ok(());
        for (index, &layout) in self.layouts.iter().enumerate() {
            let done = index as u64 * u64::from(self.runs);
            if index > 0 {
                // The cores a hypervisor gives us change within minutes, and the distance between them with it:
                // a table is compared with what the machine allowed just before.
                if let Err(error) = self.open(layout, done, stage) {
                    outcome = Err(error);
                    break;
                }
                (stage.progress)(done, self.launches(), "limits of this machine");
                limits = (stage.limits)()?;
                best = best_of(best, &limits);
            }
            before.push((layout.to_string(), limits.clone()));
            let series = match self.measure_layout(layout, done, stage, &mut verdict) {
                Ok(series) => series,
                Err(error) => {
                    outcome = Err(error);
                    break;
                }
            };
            for one in &series {
                (stage.print)(&text::series(one, &limits, self.work.check))?;
            }
            all.extend(series);
            if verdict.interrupted {
                break;
            }
        }
        if let Some(comparison) = text::comparison(&all, |layout| {
            before.iter().find(|(of, _)| of == layout).map(|(_, limits)| limits)
        }) {
            (stage.print)(&comparison)?;
        }
        let provenance = match there {
            Some(there) => Provenance { steal_us: stolen_us(&all), ..there },
            None => gathered.finish(),
        };
        self.write(provenance, best, &all)?;
        outcome.map(|()| verdict)
    }

    fn open(
        &self,
        layout: Layout,
        done: u64,
        stage: &mut Stage<'_>,
    ) -> Result<Option<Provenance>, CampaignError> {
        (stage.progress)(done, self.launches(), &format!("layout {layout}"));
        (stage.open)(layout).map_err(|reason| CampaignError::Venue { layout, reason })
    }

    fn launches(&self) -> u64 {
        self.layouts.len() as u64 * u64::from(self.runs)
    }

    /// All launches of one layout; those that fail are left out.
    fn measure_layout(
        &self,
        layout: Layout,
        done: u64,
        stage: &mut Stage<'_>,
        verdict: &mut Verdict,
    ) -> Result<Vec<Series>, CampaignError> {
        let options = self.options(layout);
        let mut runs = Vec::new();
        for run in 0..self.runs {
            let what = format!("layout {layout}, launch {} of {}", run + 1, self.runs);
            (stage.progress)(done + u64::from(run), self.launches(), &what);
            let outcome = (stage.launch)(&options)
                .map_err(|source| CampaignError::Launch { layout, source })?;
            if is_interrupted(&outcome) {
                verdict.interrupted = true;
                (stage.complain)(
                    "interrupted: only launches that were complete are in the figures",
                );
                break;
            }
            match samples_of(&outcome) {
                Ok(samples) => runs.push(samples),
                Err(reason) => {
                    verdict.failed += 1;
                    (stage.complain)(&format!("{what} failed and is left out: {reason}"));
                }
            }
        }
        let series = collect(&layout.to_string(), runs.into_iter().flatten());
        verdict.defects += series.iter().map(defects).sum::<u64>();
        Ok(series)
    }

    pub(super) fn options(&self, layout: Layout) -> RunOptions {
        RunOptions {
            // `check` has refused layouts of more ranks than fit.
            ranks: u32::try_from(layout.ranks(self.ranks_per_vm)).unwrap_or(u32::MAX),
            layout: Some(layout),
            ranks_per_vm: self.ranks_per_vm,
            program: self.program.clone(),
            args: worker_arguments(&self.work),
            path: self.path,
            capture_rank0: true,
            netns: self.netns,
            ..RunOptions::default()
        }
    }

    fn write(
        &self,
        provenance: Provenance,
        limits: Limits,
        all: &[Series],
    ) -> Result<(), CampaignError> {
        let Some(path) = &self.json else {
            return Ok(());
        };
        let provenance = Provenance {
            off_cache: self.work.off_cache,
            runs: self.runs,
            netns: self.netns,
            ..provenance
        };
        Ok(document(provenance, limits, all).write(path)?)
    }
}

/// Memory that can be had without swapping, in bytes; `None` when the kernel does not tell.
fn available_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
}

/// The command line of a rank.
pub(super) fn worker_arguments(work: &Work) -> Vec<OsString> {
    let sizes: Vec<_> = work.sizes.iter().map(u64::to_string).collect();
    let mut arguments = vec![
        "bench".to_owned(),
        "--worker".to_owned(),
        "--sizes".to_owned(),
        sizes.join(","),
        "--time".to_owned(),
        work.sample_seconds_max.to_string(),
    ];
    arguments.extend(work.check.then(|| "--check".to_owned()));
    arguments.extend(work.off_cache.then(|| "--off-cache".to_owned()));
    arguments.extend(work.benchmarks.iter().map(|b| b.name().to_owned()));
    arguments.into_iter().map(OsString::from).collect()
}

/// The samples that rank 0 printed, or why the launch does not count.
pub(super) fn samples_of(outcome: &Outcome) -> Result<Vec<Sample>, String> {
    if let Some(failure) = &outcome.failed {
        return Err(format!("rank {} {}", failure.rank, failure.cause));
    }
    if outcome.exit_code != 0 {
        return Err(format!("it ended with exit code {}", outcome.exit_code));
    }
    let output = String::from_utf8_lossy(&outcome.captured);
    let mut lines: Vec<_> = output.lines().filter(|line| !line.trim().is_empty()).collect();
    // One rank alone has no other's clock to compare with.
    let last = lines.last().and_then(|line| serde_json::from_str::<LastLine>(line).ok());
    if last.is_some() {
        lines.pop();
    }
    let clock = last.map(|last| last.clock);
    let samples = lines.into_iter().map(|line| {
        let sample = serde_json::from_str::<Sample>(line);
        sample.map(|sample| Sample { clock, ..sample }).map_err(|e| {
            let start: String = line.chars().take(80).collect();
            format!("rank 0 printed {start:?}, which is no sample ({e})")
        })
    });
    let samples = samples.collect::<Result<Vec<_>, _>>()?;
    if samples.is_empty() { Err("rank 0 printed no sample".to_owned()) } else { Ok(samples) }
}

pub(super) fn is_interrupted(outcome: &Outcome) -> bool {
    let signals = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT];
    outcome.failed.is_none() && signals.iter().any(|s| outcome.exit_code == 128 + s)
}

/// Time stolen from the ranks' machines in all samples, in microseconds.
fn stolen_us(all: &[Series]) -> f64 {
    let samples = all.iter().flat_map(|series| series.samples.values()).flatten();
    samples.map(|s| s.cpu_us.steal * s.repetitions as f64).sum()
}

/// Sorts the samples of one layout into one series for each benchmark, in the order in which they came.
pub(crate) fn collect(layout: &str, samples: impl IntoIterator<Item = Sample>) -> Vec<Series> {
    let mut all: Vec<Series> = Vec::new();
    for sample in samples {
        let Ok(benchmark) = sample.benchmark.parse::<Benchmark>() else {
            continue;
        };
        let at = all.iter().position(|s| s.benchmark == benchmark).unwrap_or_else(|| {
            let (layout, ranks) = (layout.to_owned(), sample.ranks);
            all.push(Series { benchmark, layout, ranks, samples: BTreeMap::new() });
            all.len() - 1
        });
        all[at].samples.entry(sample.bytes).or_default().push(sample);
    }
    all
}

/// Wrong bytes in all samples of a series.
pub(crate) fn defects(series: &Series) -> u64 {
    series.samples.values().flatten().filter_map(|s| s.defects).sum()
}

/// The result file of these series.
pub(crate) fn document(provenance: Provenance, limits: Limits, all: &[Series]) -> Document {
    let results = all.iter().flat_map(results_of).collect();
    Document {
        schema: SCHEMA.to_owned(),
        provenance,
        limits,
        results,
        stated: Vec::new(),
        also: Vec::new(),
    }
}

fn results_of(series: &Series) -> Vec<BenchResult> {
    let one = |(bytes, samples): (&u64, &Vec<Sample>)| -> Option<BenchResult> {
        let summary = series.summary(*bytes)?;
        let clock = samples.iter().filter_map(|s| s.clock).reduce(Drift::worse);
        let active = series.benchmark.active_ranks(series.ranks);
        let mean = |value: fn(&CpuTime) -> f64| {
            samples.iter().map(|s| value(&s.cpu_us)).sum::<f64>() / samples.len().max(1) as f64
        };
        Some(BenchResult {
            benchmark: series.benchmark.name().to_owned(),
            layout: series.layout.clone(),
            path: samples.first()?.path.clone(),
            ranks: series.ranks,
            bytes: *bytes,
            repetitions: samples.iter().map(|s| s.repetitions).min()?,
            t_us: TimeStats {
                mean: summary.mean,
                median: summary.median,
                min: summary.min,
                max: summary.max,
                ci95: summary.mean_interval.ends(),
            },
            mbytes_per_s: series.benchmark.mbytes_per_s(active, *bytes, summary.mean),
            cpu_us: CpuTime {
                user: mean(|c| c.user),
                system: mean(|c| c.system),
                steal: mean(|c| c.steal),
            },
            samples_us: samples.iter().map(|s| s.t_max_us).collect(),
            clock_drift_ppm: clock.map(|c| c.ppm),
            clock_uncertainty_ppm: clock.map(|c| c.uncertainty_ppm),
        })
    };
    series.samples.iter().filter_map(one).collect()
}

/// Writes `text` and flushes it, so that a table is seen when it is ready.
///
/// # Errors
/// The system's, e.g. a pipe nobody reads any more.
pub fn print_to_stdout(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

#[cfg(test)]
#[path = "campaign_tests.rs"]
mod tests;
