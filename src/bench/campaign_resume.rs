//! Carries a campaign file out, from wherever it was interrupted: launches that finished are taken from the
//! journal, the others are started in the recorded order, and the result file is written from the journal alone.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Instant;

use thiserror::Error;

use super::campaign::{
    CampaignError, Stage, Verdict, collect, document, is_interrupted, samples_of,
};
use super::campaign_file::{CampaignFile, FileError, Place, Planned, Series};
use super::campaign_guests::{self, Guests};
use super::campaign_journal::{Entry, Header, JOURNAL, Journal, JournalError, journal_path};
use super::{provenance, usage};
use crate::launch::{Layout, Outcome};
use crate::report::limit::best_of;
use crate::report::schema::{Document, Limits, Part, Provenance, check_writable};

/// Why a campaign file could not be carried out.
#[derive(Debug, Error)]
pub enum ResumeError {
    /// The campaign file.
    #[error(transparent)]
    File(#[from] FileError),
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Everything a plain campaign stumbles over.
    #[error(transparent)]
    Campaign(#[from] CampaignError),
    /// No place for the result.
    #[error(
        "the campaign has no result file: write result = \"NAME.json\" into it, or give --json FILE"
    )]
    NoResult,
    /// A file that must not be overwritten.
    #[error(
        "{0} exists and is not the result of this campaign: move it away, or name another with --json"
    )]
    Exists(PathBuf),
    /// The journal was begun elsewhere.
    #[error(
        "the campaign was begun on another machine or with another cohost ({what} was {then:?} and is {now:?}): \
         finish it there, or delete {journal} to measure everything again"
    )]
    Elsewhere {
        /// What differs.
        what: &'static str,
        /// In the journal.
        then: String,
        /// Here.
        now: String,
        /// The journal.
        journal: PathBuf,
    },
    /// No random seed.
    #[error("cannot draw a seed: {0}; write seed = NUMBER into the campaign file")]
    Seed(getrandom::Error),
}

impl ResumeError {
    /// Whether the campaign file or the options were wrong.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        match self {
            ResumeError::File(_) | ResumeError::NoResult | ResumeError::Exists(_) => true,
            ResumeError::Campaign(error) => error.is_usage(),
            _ => false,
        }
    }
}

/// Carries out `file` with the result at `result`, or where the file says; launches of processes through `stage`,
/// those in guests through `guests`.
///
/// # Errors
/// [`ResumeError`]. What finished before it is in the journal, and counts when the campaign is taken up again.
pub fn run(
    file: &CampaignFile,
    result: Option<&Path>,
    program: &OsString,
    stage: &mut Stage<'_>,
    guests: &mut dyn Guests,
) -> Result<Verdict, ResumeError> {
    let result = result.or(file.result.as_deref()).ok_or(ResumeError::NoResult)?;
    for s in &file.series {
        file.campaign(s.layout, s.path, program.clone()).check()?;
        let place = &file.places[s.place];
        if place.has_guests() {
            let refused = |reason| CampaignError::Layout { layout: s.layout, reason };
            guests.check(place, s.layout).map_err(refused)?;
        }
    }
    let journal_file = journal_path(result);
    if !journal_file.exists() && result.exists() {
        return finished_before(file, result, stage);
    }
    check_writable(result).map_err(CampaignError::from)?;
    let fresh = Header {
        journal: JOURNAL.to_owned(),
        campaign: file.digest(),
        seed: match file.spec.seed {
            Some(seed) => seed,
            None => getrandom::u64().map_err(ResumeError::Seed)?,
        },
    };
    let mut journal = Journal::open(&journal_file, fresh)?;
    let here = provenance::gather().finish();
    if let Some((then, _)) = journal.sessions.first() {
        same_place(then, &here, &journal_file)?;
    }
    let mut launches = Launches::new(file, program, &journal);
    let verdict = launches.carry_out(&mut journal, here, stage, guests);
    // However it ended, no guest stays.
    guests.close();
    let verdict = verdict?;
    let complete = journal.finished.len() == launches.plan.len();
    report(file, &launches, &journal, stage)?.write(result).map_err(CampaignError::from)?;
    if complete {
        journal.close()?;
    }
    Ok(verdict)
}

/// The result is there and no journal: everything was measured before, or it is some other file.
fn finished_before(
    file: &CampaignFile,
    result: &Path,
    stage: &mut Stage<'_>,
) -> Result<Verdict, ResumeError> {
    match Document::read(result) {
        Ok(document) if document.provenance.campaign == file.digest() => {
            let text = format!("# {} is complete; nothing to measure\n", result.display());
            (stage.print)(&text).map_err(CampaignError::from)?;
            Ok(Verdict::default())
        }
        _ => Err(ResumeError::Exists(result.to_owned())),
    }
}

fn same_place(then: &Provenance, now: &Provenance, journal: &Path) -> Result<(), ResumeError> {
    let facts = [
        ("the hypervisor", &then.hypervisor, &now.hypervisor),
        ("the processor", &then.machine, &now.machine),
        ("the kernel", &then.kernel, &now.kernel),
        ("the commit", &then.commit, &now.commit),
    ];
    let differing = facts.into_iter().find(|(_, a, b)| a != b);
    match differing {
        None => Ok(()),
        Some((what, a, b)) => Err(ResumeError::Elsewhere {
            what,
            then: a.clone(),
            now: b.clone(),
            journal: journal.to_owned(),
        }),
    }
}

struct Launches<'a> {
    file: &'a CampaignFile,
    program: &'a OsString,
    plan: Vec<Planned>,
    /// Seconds and number of finished launches, for the time remaining.
    spent: BTreeMap<(usize, Layout, String), (f64, u32)>,
    /// Place and layout of the guests that are up.
    up: Option<(usize, Layout)>,
    /// Launches in guests that failed since the last that did not.
    failures: u32,
}

impl<'a> Launches<'a> {
    fn new(file: &'a CampaignFile, program: &'a OsString, journal: &Journal) -> Launches<'a> {
        let plan = file.plan(journal.header.seed);
        let mut all =
            Launches { file, program, plan, spent: BTreeMap::new(), up: None, failures: 0 };
        for planned in all.plan.clone() {
            if let Some(finished) = journal.finished.get(&planned.id) {
                all.note(&planned, finished.seconds);
            }
        }
        all
    }

    fn note(&mut self, planned: &Planned, seconds: f64) {
        let spent = self.spent.entry(key(planned)).or_default();
        *spent = (spent.0 + seconds, spent.1 + 1);
    }

    /// Everything that is not yet in the journal.
    fn carry_out(
        &mut self,
        journal: &mut Journal,
        here: Provenance,
        stage: &mut Stage<'_>,
        guests: &mut dyn Guests,
    ) -> Result<Verdict, ResumeError> {
        let todo: Vec<Planned> =
            self.plan.iter().filter(|p| !journal.finished.contains_key(&p.id)).copied().collect();
        let all = self.plan.len() as u64;
        let mut verdict = Verdict::default();
        if todo.is_empty() {
            return Ok(verdict);
        }
        (stage.progress)(journal.finished.len() as u64, all, "limits of this machine");
        let limits = (stage.limits)().map_err(CampaignError::from)?;
        journal.append(Entry::Session { provenance: Box::new(here), limits })?;
        for (index, planned) in todo.iter().enumerate() {
            let done = journal.finished.len() as u64;
            let left = self.remaining(journal, &todo[index..]);
            let mut progress = |what: &str| (stage.progress)(done, all, &format!("{what}{left}"));
            self.make_ready(planned, journal, guests, &mut progress)?;
            let what = self.words(planned);
            progress(&what);
            let (begun, stolen) = (Instant::now(), usage::steal_us());
            let outcome = self.launch(planned, stage, guests)?;
            if outcome.as_ref().is_ok_and(is_interrupted) {
                verdict.interrupted = true;
                (stage.complain)("interrupted: run the same command again to go on");
                break;
            }
            let seconds = begun.elapsed().as_secs_f64();
            match outcome.and_then(|outcome| samples_of(&outcome)) {
                Ok(samples) => {
                    journal.append(Entry::Launch {
                        id: planned.id,
                        seconds,
                        steal_us: (usage::steal_us() - stolen).max(0.0),
                        samples,
                    })?;
                    self.note(planned, seconds);
                    if self.file.places[planned.series.place].has_guests() {
                        self.failures = 0;
                    }
                }
                Err(reason) => {
                    verdict.failed += 1;
                    (stage.complain)(&format!(
                        "a launch of {what} failed ({reason}); run the same command again to repeat it"
                    ));
                    let id = planned.id;
                    journal.append(Entry::Failed { id, reason: reason.clone() })?;
                    self.after_failure(planned, reason, guests)?;
                }
            }
        }
        self.take_down(journal, guests)?;
        Ok(verdict)
    }

    /// Boots the guests of a launch, unless they are up.
    fn make_ready(
        &mut self,
        planned: &Planned,
        journal: &mut Journal,
        guests: &mut dyn Guests,
        progress: &mut dyn FnMut(&str),
    ) -> Result<(), ResumeError> {
        let (at, layout) = (planned.series.place, planned.series.layout);
        let place = &self.file.places[at];
        if !place.has_guests() || self.up == Some((at, layout)) {
            return Ok(());
        }
        self.take_down(journal, guests)?;
        progress(&format!("booting layout {layout} of {place}"));
        let begun = Instant::now();
        let failed = |reason| CampaignError::Venue { layout, reason };
        let (provenance, limits) = guests.open(place, layout).map_err(failed)?;
        if let Some(booted) = journal.booted.get(&place.to_string()) {
            same_place(&booted.provenance, &provenance, journal.path())?;
        }
        journal.append(Entry::Boot {
            place: place.to_string(),
            seconds: begun.elapsed().as_secs_f64(),
            provenance: Box::new(provenance),
            limits,
        })?;
        self.up = Some((at, layout));
        Ok(())
    }

    fn take_down(
        &mut self,
        journal: &mut Journal,
        guests: &mut dyn Guests,
    ) -> Result<(), ResumeError> {
        let Some((place, _)) = self.up.take() else { return Ok(()) };
        let clock = guests.clock();
        guests.close();
        if let Some(check) = clock {
            let place = self.file.places[place].to_string();
            journal.append(Entry::Clock { place, check })?;
        }
        Ok(())
    }

    /// One job where it belongs. A job of guests that cannot be started is a launch that failed.
    fn launch(
        &self,
        planned: &Planned,
        stage: &mut Stage<'_>,
        guests: &mut dyn Guests,
    ) -> Result<Result<Outcome, String>, ResumeError> {
        let Series { place, layout, path } = planned.series;
        if self.file.places[place].has_guests() {
            let campaign = self.file.campaign(layout, path, campaign_guests::PROGRAM.into());
            return Ok(guests.launch(&campaign.options(layout)).map_err(|e| e.to_string()));
        }
        let campaign = self.file.campaign(layout, path, self.program.clone());
        let outcome = (stage.launch)(&campaign.options(layout));
        Ok(Ok(outcome.map_err(|source| CampaignError::Launch { layout, source })?))
    }

    /// Guests in which a launch failed may be broken: the next launch gets fresh ones, but not for ever.
    fn after_failure(
        &mut self,
        planned: &Planned,
        reason: String,
        guests: &mut dyn Guests,
    ) -> Result<(), ResumeError> {
        if !self.file.places[planned.series.place].has_guests() {
            return Ok(());
        }
        guests.close();
        self.up = None;
        self.failures += 1;
        if self.failures < campaign_guests::FAILURES_MAX {
            return Ok(());
        }
        let reason =
            format!("{} launches in a row failed, the last because {reason}", self.failures);
        Err(CampaignError::Venue { layout: planned.series.layout, reason }.into())
    }

    fn words(&self, planned: &Planned) -> String {
        let Series { place, layout, path } = planned.series;
        match &self.file.places[..] {
            [only] if !only.has_guests() => format!("layout {layout} over {path}"),
            places => format!("layout {layout} over {path}, {}", places[place]),
        }
    }

    /// `, about 3 min left`; nothing before the first launch has finished.
    fn remaining(&self, journal: &Journal, todo: &[Planned]) -> String {
        let (sum, count) = self.spent.values().fold((0.0, 0), |(s, n), v| (s + v.0, n + v.1));
        if count == 0 {
            return String::new();
        }
        let usual = sum / f64::from(count);
        let each = |p: &Planned| self.spent.get(&key(p)).map_or(usual, |(s, n)| s / f64::from(*n));
        let launches: f64 = todo.iter().map(each).sum();
        let places = todo.iter().map(|p| (p.series.place, p.series.layout));
        let mut boots: Vec<_> = places
            .filter(|at| self.file.places[at.0].has_guests() && self.up != Some(*at))
            .collect();
        boots.dedup();
        let (seconds, booted) =
            journal.booted.values().fold((0.0, 0), |(s, n), b| (s + b.seconds, n + b.boots));
        let boot = seconds / f64::from(booted.max(1));
        format!(", about {} left", duration(launches + boot * boots.len() as f64))
    }
}

fn key(planned: &Planned) -> (usize, Layout, String) {
    (planned.series.place, planned.series.layout, planned.series.path.to_string())
}

/// Seconds as a person would say them.
fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 90.0 => format!("{s:.0} s"),
        s if s < 5400.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}

/// The result file, from the journal alone, and its tables on the output.
fn report(
    file: &CampaignFile,
    launches: &Launches<'_>,
    journal: &Journal,
    stage: &mut Stage<'_>,
) -> Result<Document, ResumeError> {
    let mut by_id: Vec<&Planned> = launches.plan.iter().collect();
    by_id.sort_by_key(|p| p.id);
    let mut documents = Vec::new();
    for (at, place) in file.places.iter().enumerate() {
        let Some((provenance, limits)) = conditions(file, journal, place) else { continue };
        let here: Vec<&Planned> = by_id.iter().filter(|p| p.series.place == at).copied().collect();
        let finished = |p: &&&Planned| journal.finished.get(&p.id);
        let steal_us = here.iter().filter_map(|p| finished(&p)).map(|f| f.steal_us).sum();
        let mut all = Vec::new();
        for series in file.series.iter().filter(|s| s.place == at) {
            let mine = here.iter().filter(|p| p.series == *series);
            let samples = mine.filter_map(|p| finished(&p)).flat_map(|f| f.samples.iter().cloned());
            all.extend(collect(&series.layout.to_string(), samples));
        }
        let mut print = |text: &str| (stage.print)(text).map_err(CampaignError::from);
        if file.places.len() > 1 || place.has_guests() {
            print(&super::text::opening(&provenance, &file.work.benchmarks))?;
        }
        for series in &all {
            print(&super::text::series(series, &limits, false))?;
        }
        documents.push(document(Provenance { steal_us, ..provenance }, limits, &all));
    }
    let mut documents = documents.into_iter();
    let mut first =
        documents.next().unwrap_or_else(|| document(Provenance::default(), Limits::default(), &[]));
    first.also = documents
        .map(|d| Part { provenance: d.provenance, limits: d.limits, results: d.results })
        .collect();
    Ok(first)
}

/// Where and how the launches of one place ran; `None` when none did.
fn conditions(
    file: &CampaignFile,
    journal: &Journal,
    place: &Place,
) -> Option<(Provenance, Limits)> {
    let mhz = journal.sessions.iter().filter_map(|(p, _)| p.mhz);
    let mhz = mhz.reduce(|a, b| [a[0].min(b[0]), a[1].max(b[1])]);
    let (provenance, limits) = if place.has_guests() {
        let booted = journal.booted.get(&place.to_string()).filter(|b| b.boots > 0)?;
        let clock = booted.clock.clone();
        (Provenance { clock, ..booted.provenance.clone() }, booted.limits.clone())
    } else {
        let limits = journal.sessions.iter().map(|(_, limits)| limits.clone());
        let first = journal.sessions.first().map(|(p, _)| p.clone()).unwrap_or_default();
        let here = Provenance { target: "processes".to_owned(), mhz, ..first };
        (here, limits.reduce(|best, next| best_of(best, &next)).unwrap_or_default())
    };
    let provenance = Provenance {
        off_cache: file.spec.off_cache,
        runs: file.spec.runs,
        netns: file.spec.netns,
        seed: Some(journal.header.seed),
        campaign: journal.header.campaign.clone(),
        ..provenance
    };
    Some((provenance, limits))
}

#[cfg(test)]
#[path = "campaign_resume_tests.rs"]
mod tests;
