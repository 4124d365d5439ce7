//! A benchmark inside a job: as a rank of a campaign, which prints samples, or under another launcher, where
//! rank 0 prints the tables itself.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::campaign::{collect, defects, document, print_to_stdout};
use super::clocks::Drift;
use super::limits::{self, LimitsError};
use super::provenance;
use super::text::{self, Series};
use super::worker::{self, Sample, Work, WorkError};
use crate::mpi;
use crate::report::schema::{Limits, Provenance, SchemaError, check_writable};

/// Layout of a job whose launcher does not tell it.
const NO_LAYOUT: &str = "-";

/// Why a rank had to give up.
#[derive(Debug, Error)]
pub enum InJobError {
    /// The job could not be joined or left.
    #[error("cannot {action} the job: {source}")]
    Job {
        /// `join` or `leave`.
        action: &'static str,
        /// What the library said.
        source: mpi::Error,
    },
    /// A benchmark failed.
    #[error(transparent)]
    Work(#[from] WorkError),
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

/// A rank of a campaign: rank 0 prints each sample as a line of JSON.
///
/// # Errors
/// [`InJobError`].
pub fn worker(work: &Work) -> Result<(), InJobError> {
    let job = crate::init().map_err(|source| InJobError::Job { action: "join", source })?;
    let clock = worker::run(job.world(), work, &mut print_line)?;
    if let Some(clock) = clock {
        print_line(LastLine { clock })?;
    }
    job.finalize().map_err(|source| InJobError::Job { action: "leave", source })
}

/// What rank 0 of a campaign prints after its samples.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct LastLine {
    /// The clock that strayed most.
    pub(crate) clock: Drift,
}

fn print_line(value: impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_string(&value)?;
    line.push('\n');
    print_to_stdout(&line)
}

/// What this machine is and allows, as a result file without results on standard output: for a parent that runs
/// its ranks here, but itself elsewhere.
///
/// # Errors
/// [`InJobError`].
pub fn place() -> Result<(), InJobError> {
    let gathered = provenance::gather();
    let limits = limits::measure()?;
    let text = document(gathered.finish(), limits, &[]).to_text();
    Ok(print_to_stdout(&text.map_err(io::Error::from)?)?)
}

/// A rank under another launcher: rank 0 prints IMB's tables, and the result file if asked.
/// Returns whether all data that were checked were right.
///
/// # Errors
/// [`InJobError`].
pub fn tables(work: &Work, json: Option<&Path>) -> Result<bool, InJobError> {
    // Before joining, since the others then sleep in the launcher's barrier instead of polling.
    let promised = crate::launch::announced_rank() == Some(0);
    let front = if promised { Some(Front::open(work, json)?) } else { None };
    let job = crate::init().map_err(|source| InJobError::Job { action: "join", source })?;
    let front = match (job.world().rank(), front) {
        (0, None) => Some(Front::open(work, json)?),
        (0, front) => front,
        _ => None,
    };
    let good = match front {
        Some(mut front) => {
            let clock = worker::run(job.world(), work, &mut |sample| front.take(sample))?;
            front.close(clock, json)?
        }
        None => {
            worker::run(job.world(), work, &mut |_| Ok(()))?;
            true
        }
    };
    job.finalize().map_err(|source| InJobError::Job { action: "leave", source })?;
    Ok(good)
}

/// What rank 0 keeps beside its own measuring.
struct Front {
    checked: bool,
    layout: String,
    limits: Limits,
    gathered: provenance::Gathered,
    off_cache: bool,
    /// Samples of the benchmark that is running.
    open: Vec<Sample>,
    done: Vec<Series>,
}

impl Front {
    fn open(work: &Work, json: Option<&Path>) -> Result<Front, InJobError> {
        if let Some(path) = json {
            check_writable(path)?;
        }
        let gathered = provenance::gather();
        let limits = limits::measure()?;
        print_to_stdout(&text::opening(gathered.provenance(), &work.benchmarks))?;
        print_to_stdout(&text::limits(&limits))?;
        Ok(Front {
            checked: work.check,
            layout: std::env::var("COHOST_LAYOUT").unwrap_or_else(|_| NO_LAYOUT.to_owned()),
            limits,
            off_cache: work.off_cache,
            gathered,
            open: Vec::new(),
            done: Vec::new(),
        })
    }

    /// Keeps a sample; prints the table of a benchmark when the next one begins.
    fn take(&mut self, sample: Sample) -> io::Result<()> {
        let same = |open: &Sample| open.benchmark == sample.benchmark;
        let first_of_next = !self.open.last().is_none_or(same);
        if first_of_next {
            self.print_open()?;
        }
        self.open.push(sample);
        Ok(())
    }

    fn print_open(&mut self) -> io::Result<()> {
        for series in collect(&self.layout, self.open.drain(..)) {
            print_to_stdout(&text::series(&series, &self.limits, self.checked))?;
            self.done.push(series);
        }
        Ok(())
    }

    fn close(mut self, clock: Option<Drift>, json: Option<&Path>) -> Result<bool, InJobError> {
        self.print_open()?;
        if let Some(clock) = clock {
            print_to_stdout(&text::clock(clock))?;
        }
        let samples = self.done.iter_mut().flat_map(|series| series.samples.values_mut());
        samples.flatten().for_each(|sample| sample.clock = clock);
        print_to_stdout("\n\n# All processes entering MPI_Finalize\n\n")?;
        let wrong: u64 = self.done.iter().map(defects).sum();
        if let Some(path) = json {
            let provenance =
                Provenance { off_cache: self.off_cache, runs: 1, ..self.gathered.finish() };
            document(provenance, self.limits, &self.done).write(path)?;
        }
        if wrong > 0 {
            eprintln!("cohost bench: {wrong} bytes arrived wrong");
        }
        Ok(wrong == 0)
    }
}
