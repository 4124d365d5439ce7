//! `cohost bench`: reads the options and decides which half of a benchmark this process is: the parent that
//! launches jobs, a rank of such a job (`--worker`), or a rank that another launcher started.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::lab_campaign::LabGuests;
use crate::bench::campaign::{
    Campaign, CampaignError, LAYOUTS, RUNS_MAX, Stage, Verdict, print_to_stdout,
};
use crate::bench::campaign_file::{CampaignFile, Place};
use crate::bench::campaign_resume::{self, ResumeError};
use crate::bench::limits::LimitsError;
use crate::bench::name::Benchmark;
use crate::bench::worker::{SAMPLE_SECONDS_MAX, Work};
use crate::bench::{in_job, limits, provenance, sizes, text};
use crate::launch::{self, LaunchError, Layout, Outcome, PathPolicy, RunOptions};
use crate::report::schema::{Document, Limits, Provenance, SCHEMA, check_writable};

/// Longest time for one size when no benchmark is named, in seconds: the whole tour stays within minutes even
/// where something is terribly slow.
const TOUR_SAMPLE_SECONDS: f64 = 1.0;

/// Measure: IMB-MPI1's benchmarks in layouts of hosts and virtual machines, beside the machine's own limits.
#[derive(Debug, Args)]
#[command(after_help = after_help())]
pub struct BenchArgs {
    /// Benchmarks in any case, or `limits` for the machine's own; without: PingPong and Alltoall.
    /// A word such as 2x4 is a layout
    #[arg(value_name = "NAME", value_parser = parse_target)]
    names: Vec<Target>,
    /// Layouts of hosts x VMs, such as 2x4; without: 1x1 1x2 1x4 2x1 2x2 2x4
    #[arg(long, value_name = "HxV", value_delimiter = ',', value_parser = parse_layout)]
    layout: Vec<Layout>,
    /// Paths the ranks may use: auto, ring or tcp
    #[arg(long, value_parser = parse_path)]
    path: Option<PathPolicy>,
    /// Fresh launches of each layout; statistics are over launches
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(RUNS_MAX)))]
    runs: Option<u32>,
    /// Ranks in each virtual machine
    #[arg(long, value_name = "R", value_parser = clap::value_parser!(u32).range(1..=i64::from(launch::MAX_RANKS)))]
    ranks_per_vm: Option<u32>,
    /// Message sizes in bytes, such as 0,8,64K,4M
    #[arg(long, value_name = "LIST", conflicts_with = "max_size", value_parser = parse_sizes)]
    sizes: Option<Sizes>,
    /// Largest message: 0 and the powers of two up to it
    #[arg(long, value_name = "BYTES", value_parser = sizes::parse)]
    max_size: Option<u64>,
    /// Write a result file (cohost-bench/1)
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// As root: each host in a network namespace behind a 1 Gbit/s link
    #[arg(long)]
    netns: bool,
    /// Cycle through large buffers, so that data comes from memory instead of the cache
    #[arg(long)]
    off_cache: bool,
    /// Check every byte of every message; the times are then not to be published
    #[arg(long)]
    check: bool,
    /// Longest time spent on one size, in seconds
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds)]
    time: Option<f64>,
    /// Carry out a campaign file (TOML), or go on with one that was interrupted
    #[arg(long, value_name = "FILE", conflicts_with_all = ["names", "layout", "path", "runs", "ranks_per_vm", "sizes", "max_size", "netns", "off_cache", "check", "time", "worker"])]
    campaign: Option<PathBuf>,
    /// This process is a rank of a campaign: print samples as JSON
    #[arg(long, hide = true)]
    worker: bool,
}

/// A benchmark, the limits, or one more layout, as in `--layout 1x2 2x4`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    Limits,
    Benchmark(Benchmark),
    Layout(Layout),
}

/// A list of sizes; a type of its own, since clap would take a `Vec` for repeated options.
#[derive(Debug, Clone)]
struct Sizes(Vec<u64>);

fn after_help() -> String {
    format!("Benchmarks: {}, limits", crate::bench::name::known_names())
}

fn parse_target(text: &str) -> Result<Target, String> {
    if text.eq_ignore_ascii_case("limits") {
        return Ok(Target::Limits);
    }
    if let Ok(layout) = text.parse() {
        return Ok(Target::Layout(layout));
    }
    let known = Benchmark::from_str(text).map(Target::Benchmark);
    known.map_err(|e| format!("{e}, limits"))
}

fn parse_layout(text: &str) -> Result<Layout, String> {
    let usual = LAYOUTS.join(", ");
    text.parse::<Layout>().map_err(|e| format!("{e} (the usual ones are {usual})"))
}

fn parse_path(text: &str) -> Result<PathPolicy, String> {
    text.to_ascii_lowercase().parse::<PathPolicy>().map_err(|e| e.to_string())
}

fn parse_sizes(text: &str) -> Result<Sizes, sizes::SizesError> {
    sizes::parse_list(text).map(Sizes)
}

fn parse_seconds(text: &str) -> Result<f64, String> {
    let seconds = text.parse::<f64>().ok().filter(|s| *s > 0.0 && *s <= 86_400.0);
    seconds.ok_or_else(|| "give seconds above 0 and up to 86400".to_owned())
}

/// Runs `cohost bench`; the exit code is 0 for success, 1 when the work failed or data were wrong, 2 for wrong use.
#[must_use]
pub fn run(args: &BenchArgs) -> ExitCode {
    let outcome = if args.worker && args.only_limits() {
        in_job::place().map_err(|e| e.to_string()).map(|()| true)
    } else if args.worker {
        in_job::worker(&args.work()).map_err(|e| e.to_string()).map(|()| true)
    } else if launch::launched() {
        run_in_job(args)
    } else if let Some(file) = &args.campaign {
        return run_file(file, args.json.as_deref());
    } else if args.only_limits() {
        only_limits(args.json.as_deref())
    } else {
        return run_campaign(args);
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(reason) => fail(&reason, 1),
    }
}

pub(super) fn fail(reason: &str, code: u8) -> ExitCode {
    eprintln!("cohost bench: {reason}");
    ExitCode::from(code)
}

impl BenchArgs {
    fn only_limits(&self) -> bool {
        !self.names.is_empty() && self.names.iter().all(|n| *n == Target::Limits)
    }

    /// Those of `--layout` and those among the names.
    fn layouts(&self) -> Vec<Layout> {
        let named = self.names.iter().filter_map(|n| match n {
            Target::Layout(layout) => Some(*layout),
            _ => None,
        });
        self.layout.iter().copied().chain(named).collect()
    }

    fn work(&self) -> Work {
        let named: Vec<_> = self
            .names
            .iter()
            .filter_map(|n| match n {
                Target::Benchmark(benchmark) => Some(*benchmark),
                Target::Limits | Target::Layout(_) => None,
            })
            .collect();
        let tour = named.is_empty();
        let usual = if tour { TOUR_SAMPLE_SECONDS } else { SAMPLE_SECONDS_MAX };
        let benchmarks = if tour { vec![Benchmark::PingPong, Benchmark::Alltoall] } else { named };
        let max = self.max_size.unwrap_or(sizes::DEFAULT_MAX_BYTES);
        Work {
            benchmarks,
            sizes: self.sizes.clone().map_or_else(|| sizes::standard(max), |list| list.0),
            check: self.check,
            off_cache: self.off_cache,
            sample_seconds_max: self.time.unwrap_or(usual),
        }
    }

    pub(super) fn campaign(&self) -> io::Result<Campaign> {
        let mut layouts = self.layouts();
        if layouts.is_empty() {
            layouts = LAYOUTS.iter().filter_map(|l| l.parse().ok()).collect();
            // Of the usual layouts, those that the path can serve.
            layouts.retain(|l: &Layout| self.path != Some(PathPolicy::Ring) || l.hosts == 1);
        }
        Ok(Campaign {
            work: self.work(),
            layouts,
            path: self.path,
            runs: self.runs.unwrap_or(1),
            ranks_per_vm: self.ranks_per_vm.unwrap_or(1),
            netns: self.netns,
            json: self.json.clone(),
            program: OsString::from(std::env::current_exe()?),
        })
    }

    /// Options that only the parent of jobs can follow.
    fn parent_only(&self) -> Option<&'static str> {
        let given = [
            ("--layout", !self.layouts().is_empty()),
            ("--path", self.path.is_some()),
            ("--runs", self.runs.is_some()),
            ("--ranks-per-vm", self.ranks_per_vm.is_some()),
            ("--netns", self.netns),
        ];
        given.iter().find(|(_, given)| *given).map(|(name, _)| *name)
    }
}

fn run_campaign(args: &BenchArgs) -> ExitCode {
    let campaign = match args.campaign() {
        Ok(campaign) => campaign,
        Err(e) => return fail(&format!("cannot find its own program file: {e}"), 1),
    };
    let venue =
        Venue { open: &mut |_| Ok(None), launch: &mut launch::run, limits: &mut limits::measure };
    carry_out(&campaign, venue)
}

/// Where jobs run: the three of a [`Stage`] that differ between this machine and a lab.
pub(super) struct Venue<'a> {
    /// [`Stage::open`].
    pub(super) open: &'a mut dyn FnMut(Layout) -> Result<Option<Provenance>, String>,
    /// [`Stage::launch`].
    pub(super) launch: &'a mut dyn FnMut(&RunOptions) -> Result<Outcome, LaunchError>,
    /// [`Stage::limits`].
    pub(super) limits: &'a mut dyn FnMut() -> Result<Limits, LimitsError>,
}

/// Runs a campaign with its tables on standard output; the exit code is that of [`run`].
pub(super) fn carry_out(campaign: &Campaign, venue: Venue<'_>) -> ExitCode {
    let outcome = on_stage(venue, |stage| campaign.run(stage));
    match outcome {
        Ok(verdict) => ExitCode::from(judge(&verdict)),
        // Whoever reads the pipe has seen enough.
        Err(CampaignError::Output(e)) if e.kind() == io::ErrorKind::BrokenPipe => ExitCode::from(1),
        Err(error) => fail(&error.to_string(), if error.is_usage() { 2 } else { 1 }),
    }
}

/// Jobs, limits and the terminal, as they are outside of tests.
fn on_stage<T>(venue: Venue<'_>, act: impl FnOnce(&mut Stage<'_>) -> T) -> T {
    let bar = progress_bar();
    let outcome = act(&mut Stage {
        open: venue.open,
        launch: venue.launch,
        limits: venue.limits,
        print: &mut |text| bar.suspend(|| print_to_stdout(text)),
        complain: &mut |text| bar.suspend(|| eprintln!("cohost bench: {text}")),
        progress: &mut |done, all, what| {
            bar.set_length(all);
            bar.set_position(done);
            bar.set_message(what.to_owned());
        },
    });
    bar.finish_and_clear();
    outcome
}

fn run_file(file: &Path, json: Option<&Path>) -> ExitCode {
    let program = match std::env::current_exe() {
        Ok(program) => OsString::from(program),
        Err(e) => return fail(&format!("cannot find its own program file: {e}"), 1),
    };
    let outcome = CampaignFile::read(file).map_err(ResumeError::from).and_then(|file| {
        let venue = Venue {
            open: &mut |_| Ok(None),
            launch: &mut launch::run,
            limits: &mut limits::measure,
        };
        if file.places.iter().any(Place::has_guests) {
            // Before there are other threads: a signal must find nobody else, and take the guests with it.
            cohost_lab::take_down_on_signals();
        }
        let mut guests = LabGuests::new(&file);
        on_stage(venue, |stage| campaign_resume::run(&file, json, &program, stage, &mut guests))
    });
    match outcome {
        Ok(verdict) => ExitCode::from(judge(&verdict)),
        Err(error) => fail(&error.to_string(), if error.is_usage() { 2 } else { 1 }),
    }
}

/// 0 when all is well; otherwise says on standard error why not.
fn judge(verdict: &Verdict) -> u8 {
    if verdict.defects > 0 {
        eprintln!("cohost bench: {} bytes arrived wrong", verdict.defects);
    }
    if verdict.failed > 0 {
        eprintln!("cohost bench: {} launches failed and are not in the figures", verdict.failed);
    }
    u8::from(!verdict.is_good())
}

/// On a terminal a bar on standard error; in a pipe nothing.
fn progress_bar() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} launches, {elapsed}: {msg}");
    if let Ok(style) = style {
        bar.set_style(style);
    }
    bar
}

fn only_limits(json: Option<&Path>) -> Result<bool, String> {
    if let Some(path) = json {
        check_writable(path).map_err(|e| e.to_string())?;
    }
    let gathered = provenance::gather();
    let limits = limits::measure().map_err(|e| e.to_string())?;
    print_to_stdout(&text::limits(&limits)).map_err(|e| format!("cannot write the limits: {e}"))?;
    if let Some(path) = json {
        let provenance = gathered.finish();
        let document = Document {
            schema: SCHEMA.to_owned(),
            provenance,
            limits,
            results: Vec::new(),
            stated: Vec::new(),
            also: Vec::new(),
        };
        document.write(path).map_err(|e| e.to_string())?;
    }
    Ok(true)
}

fn run_in_job(args: &BenchArgs) -> Result<bool, String> {
    if let Some(option) = args.parent_only() {
        eprintln!(
            "cohost bench: {option} is for starting jobs, but this process is already a rank of one: \
             leave it out, or run `cohost bench` without the other launcher"
        );
        std::process::exit(2);
    }
    in_job::tables(&args.work(), args.json.as_deref()).map_err(|e| e.to_string())
}

#[cfg(test)]
#[path = "bench_tests.rs"]
mod tests;
