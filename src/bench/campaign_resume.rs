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
use super::campaign_file::{CampaignFile, FileError, Planned};
use super::campaign_journal::{Entry, Header, JOURNAL, Journal, JournalError, journal_path};
use super::{provenance, usage};
use crate::launch::Layout;
use crate::report::limit::best_of;
use crate::report::schema::{Document, Limits, Provenance, check_writable};

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

/// Carries out `file` with the result at `result`, or where the file says.
///
/// # Errors
/// [`ResumeError`]. What finished before it is in the journal, and counts when the campaign is taken up again.
pub fn run(
    file: &CampaignFile,
    result: Option<&Path>,
    program: &OsString,
    stage: &mut Stage<'_>,
) -> Result<Verdict, ResumeError> {
    let result = result.or(file.result.as_deref()).ok_or(ResumeError::NoResult)?;
    for &(layout, path) in &file.series {
        file.campaign(layout, path, program.clone()).check()?;
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
    let verdict = launches.carry_out(&mut journal, here, stage)?;
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
    spent: BTreeMap<(Layout, String), (f64, u32)>,
}

impl<'a> Launches<'a> {
    fn new(file: &'a CampaignFile, program: &'a OsString, journal: &Journal) -> Launches<'a> {
        let plan = file.plan(journal.header.seed);
        let mut all = Launches { file, program, plan, spent: BTreeMap::new() };
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
            let what = format!("layout {} over {}", planned.layout, planned.path);
            let remaining = self.remaining(&todo[index..]);
            (stage.progress)(done, all, &format!("{what}{remaining}"));
            let campaign = self.file.campaign(planned.layout, planned.path, self.program.clone());
            let (begun, stolen) = (Instant::now(), usage::steal_us());
            let outcome = (stage.launch)(&campaign.options(planned.layout))
                .map_err(|source| CampaignError::Launch { layout: planned.layout, source })?;
            if is_interrupted(&outcome) {
                verdict.interrupted = true;
                (stage.complain)("interrupted: run the same command again to go on");
                break;
            }
            let seconds = begun.elapsed().as_secs_f64();
            match samples_of(&outcome) {
                Ok(samples) => {
                    journal.append(Entry::Launch {
                        id: planned.id,
                        seconds,
                        steal_us: (usage::steal_us() - stolen).max(0.0),
                        samples,
                    })?;
                    self.note(planned, seconds);
                }
                Err(reason) => {
                    verdict.failed += 1;
                    (stage.complain)(&format!(
                        "a launch of {what} failed ({reason}); run the same command again to repeat it"
                    ));
                    let id = planned.id;
                    journal.append(Entry::Failed { id, reason })?;
                }
            }
        }
        Ok(verdict)
    }

    /// `, about 3 min left`; nothing before the first launch has finished.
    fn remaining(&self, todo: &[Planned]) -> String {
        let (sum, count) = self.spent.values().fold((0.0, 0), |(s, n), v| (s + v.0, n + v.1));
        if count == 0 {
            return String::new();
        }
        let usual = sum / f64::from(count);
        let each = |p: &Planned| self.spent.get(&key(p)).map_or(usual, |(s, n)| s / f64::from(*n));
        format!(", about {} left", duration(todo.iter().map(each).sum()))
    }
}

fn key(planned: &Planned) -> (Layout, String) {
    (planned.layout, planned.path.to_string())
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
    let limits = journal
        .sessions
        .iter()
        .fold(None, |best: Option<Limits>, (_, limits)| {
            Some(best.map_or_else(|| limits.clone(), |best| best_of(best, limits)))
        })
        .unwrap_or_default();
    let mut all = Vec::new();
    for &(layout, path) in &file.series {
        let mine = |p: &&&Planned| p.layout == layout && p.path == path;
        let finished = by_id.iter().filter(mine).filter_map(|p| journal.finished.get(&p.id));
        let samples = finished.flat_map(|f| f.samples.iter().cloned());
        all.extend(collect(&layout.to_string(), samples));
    }
    for series in &all {
        let text = super::text::series(series, &limits, false);
        (stage.print)(&text).map_err(CampaignError::from)?;
    }
    let first = journal.sessions.first().map(|(p, _)| p.clone());
    let mhz = journal.sessions.iter().filter_map(|(p, _)| p.mhz);
    let provenance = Provenance {
        off_cache: file.spec.off_cache,
        runs: file.spec.runs,
        netns: file.spec.netns,
        target: "processes".to_owned(),
        steal_us: journal.finished.values().map(|f| f.steal_us).sum(),
        seed: Some(journal.header.seed),
        campaign: journal.header.campaign.clone(),
        mhz: mhz.reduce(|a, b| [a[0].min(b[0]), a[1].max(b[1])]),
        ..first.unwrap_or_default()
    };
    Ok(document(provenance, limits, &all))
}

#[cfg(test)]
#[path = "campaign_resume_tests.rs"]
mod tests;
