//! The journal of a campaign: one line for each finished launch, on the disk before the next one starts. A campaign
//! that is killed at any moment loses at most the launch that was running. The last line may be torn by a crash and
//! is then cut off; anything else that is wrong is refused.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::worker::Sample;
use crate::report::limit::best_of;
use crate::report::schema::{ClockCheck, Limits, Provenance};

/// Name and version of the journal.
pub const JOURNAL: &str = "cohost-campaign/1";

/// Why a journal cannot be used.
#[derive(Debug, Error)]
pub enum JournalError {
    /// The operating system refused.
    #[error("cannot {action} the journal {path}: {source}")]
    Io {
        /// What was attempted.
        action: &'static str,
        /// The journal.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A line that is none, before the last.
    #[error(
        "{path}, line {line}: {reason}; restore the journal, or delete it to measure everything again"
    )]
    Damaged {
        /// The journal.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// It belongs to something else.
    #[error("{path}: {reason}")]
    Other {
        /// The journal.
        path: PathBuf,
        /// What it belongs to, with the remedy.
        reason: String,
    },
}

/// The first line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Always [`JOURNAL`].
    pub journal: String,
    /// Digest of the campaign.
    pub campaign: String,
    /// Seed of the order.
    pub seed: u64,
}

/// Every later line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Entry {
    /// The campaign was begun or taken up again.
    Session {
        /// Where.
        provenance: Box<Provenance>,
        /// What the machine allowed then.
        limits: Limits,
    },
    /// Guests were booted.
    Boot {
        /// The place, in words.
        place: String,
        /// How long it took, until the guests had told what they are, seconds.
        seconds: f64,
        /// What they are.
        provenance: Box<Provenance>,
        /// What they allow.
        limits: Limits,
    },
    /// Guests were taken down; their clock had been held against this machine's.
    Clock {
        /// The place, in words.
        place: String,
        /// What came of it.
        check: ClockCheck,
    },
    /// A launch that finished.
    Launch {
        /// Its number in the plan.
        id: u64,
        /// How long it took, seconds.
        seconds: f64,
        /// Time stolen meanwhile, microseconds.
        steal_us: f64,
        /// What it found.
        samples: Vec<Sample>,
    },
    /// A launch that failed; it is tried again when the campaign is taken up.
    Failed {
        /// Its number in the plan.
        id: u64,
        /// Why.
        reason: String,
    },
}

/// What the journal knows of guests of one place.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Booted {
    /// What those of the first boot were.
    pub provenance: Provenance,
    /// The best limits of all boots.
    pub limits: Limits,
    /// Seconds that all boots took.
    pub seconds: f64,
    /// How many there were.
    pub boots: u32,
    /// The worst of the comparisons of clocks.
    pub clock: Option<ClockCheck>,
}

/// A finished launch.
#[derive(Debug, Clone, PartialEq)]
pub struct Finished {
    /// How long it took, seconds.
    pub seconds: f64,
    /// Time stolen meanwhile, microseconds.
    pub steal_us: f64,
    /// What it found.
    pub samples: Vec<Sample>,
}

/// An open journal; only one process has it.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    /// The first line.
    pub header: Header,
    /// Where the first session ran, and the best limits of all.
    pub sessions: Vec<(Provenance, Limits)>,
    /// Guests by place.
    pub booted: BTreeMap<String, Booted>,
    /// Finished launches by number.
    pub finished: BTreeMap<u64, Finished>,
}

/// The journal of a result file.
#[must_use]
pub fn journal_path(result: &Path) -> PathBuf {
    let mut name = result.as_os_str().to_owned();
    name.push(".journal");
    PathBuf::from(name)
}

impl Journal {
    /// Opens the journal at `path`, or begins it with `fresh`.
    ///
    /// # Errors
    /// [`JournalError`]; also when it belongs to another campaign, or another process has it.
    pub fn open(path: &Path, fresh: Header) -> Result<Journal, JournalError> {
        let io = |action| move |source| JournalError::Io { action, path: path.to_owned(), source };
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = options.open(path).map_err(io("open"))?;
        lock(&file, path)?;
        let mut text = Vec::new();
        file.read_to_end(&mut text).map_err(io("read"))?;
        // A line is only one when its end is there: what follows the last end was torn by a crash.
        let whole = text.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        file.set_len(whole as u64).map_err(io("cut"))?;
        file.seek(SeekFrom::End(0)).map_err(io("write"))?;
        let mut journal = Journal {
            path: path.to_owned(),
            file,
            header: fresh,
            sessions: Vec::new(),
            booted: BTreeMap::new(),
            finished: BTreeMap::new(),
        };
        if whole == 0 {
            let line = serde_json::to_string(&journal.header).map_err(|e| io("write")(e.into()))?;
            journal.append_line(&line)?;
            sync_directory(path).map_err(io("write"))?;
        } else {
            journal.replay(&text[..whole])?;
        }
        Ok(journal)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn replay(&mut self, text: &[u8]) -> Result<(), JournalError> {
        for (index, line) in text.split(|b| *b == b'\n').enumerate() {
            let path = self.path.clone();
            let damaged = |reason: String| JournalError::Damaged {
                path: path.clone(),
                line: index + 1,
                reason,
            };
            if line.is_empty() {
                continue;
            }
            if index == 0 {
                let header: Header = serde_json::from_slice(line)
                    .map_err(|e| damaged(format!("no journal: {e}")))?;
                self.belongs(&header)?;
                self.header = header;
                continue;
            }
            let entry = serde_json::from_slice(line).map_err(|e| damaged(e.to_string()))?;
            let id = self.keep(entry);
            if let Some(id) = id {
                return Err(damaged(format!("launch {id} is there twice")));
            }
        }
        Ok(())
    }

    fn belongs(&self, header: &Header) -> Result<(), JournalError> {
        let reason = if header.journal != JOURNAL {
            format!("it is {:?}, not {JOURNAL:?}: use the cohost that wrote it", header.journal)
        } else if header.campaign != self.header.campaign {
            "it belongs to a campaign that asked for something else: finish that one, name another result file, \
             or delete the journal"
                .to_owned()
        } else {
            return Ok(());
        };
        Err(JournalError::Other { path: self.path.clone(), reason })
    }

    /// Appends an entry; when this returns it is on the disk.
    ///
    /// # Errors
    /// [`JournalError::Io`].
    pub fn append(&mut self, entry: Entry) -> Result<(), JournalError> {
        let line = serde_json::to_string(&entry).map_err(|e| JournalError::Io {
            action: "write",
            path: self.path.clone(),
            source: e.into(),
        })?;
        self.append_line(&line)?;
        self.keep(entry);
        Ok(())
    }

    /// Takes note of an entry; the number of a launch that was there before.
    fn keep(&mut self, entry: Entry) -> Option<u64> {
        match entry {
            Entry::Session { provenance, limits } => self.sessions.push((*provenance, limits)),
            Entry::Boot { place, seconds, provenance, limits } => {
                let booted = self.booted.entry(place).or_default();
                if booted.boots == 0 {
                    booted.provenance = *provenance;
                    booted.limits = limits;
                } else {
                    booted.limits = best_of(std::mem::take(&mut booted.limits), &limits);
                }
                booted.seconds += seconds;
                booted.boots += 1;
            }
            Entry::Clock { place, check } => {
                let booted = self.booted.entry(place).or_default();
                let worse = booted.clock.as_ref().is_none_or(|c| excess(&check) > excess(c));
                booted.clock = if worse { Some(check) } else { booted.clock.take() };
            }
            Entry::Launch { id, seconds, steal_us, samples } => {
                let finished = Finished { seconds, steal_us, samples };
                return self.finished.insert(id, finished).map(|_| id);
            }
            Entry::Failed { .. } => {}
        }
        None
    }

    fn append_line(&mut self, line: &str) -> Result<(), JournalError> {
        let written = self
            .file
            .write_all(format!("{line}\n").as_bytes())
            .and_then(|()| self.file.sync_data());
        written.map_err(|source| JournalError::Io {
            action: "write",
            path: self.path.clone(),
            source,
        })
    }

    /// Deletes the journal: its result is whole and on the disk.
    ///
    /// # Errors
    /// [`JournalError::Io`].
    pub fn close(self) -> Result<(), JournalError> {
        let removed = sync_directory(&self.path).and_then(|()| fs::remove_file(&self.path));
        removed.map_err(|source| JournalError::Io {
            action: "delete",
            path: self.path.clone(),
            source,
        })
    }
}

/// Makes a new or renamed name durable.
fn sync_directory(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}

/// The least share by which a clock was wrong.
fn excess(check: &ClockCheck) -> f64 {
    (check.difference_s.abs() - check.resolution_s) / check.elapsed_s.max(1e-9)
}

fn lock(file: &File, path: &Path) -> Result<(), JournalError> {
    // SAFETY: flock takes a descriptor, which `file` keeps open, and touches no memory.
    let taken = unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) };
    if taken == 0 {
        return Ok(());
    }
    let source = io::Error::last_os_error();
    if source.kind() == io::ErrorKind::WouldBlock {
        return Err(JournalError::Other {
            path: path.to_owned(),
            reason: "another process is carrying out this campaign: wait for it, or stop it"
                .to_owned(),
        });
    }
    Err(JournalError::Io { action: "lock", path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(campaign: &str) -> Header {
        Header { journal: JOURNAL.to_owned(), campaign: campaign.to_owned(), seed: 7 }
    }

    fn launch(id: u64) -> Entry {
        Entry::Launch { id, seconds: 1.0, steal_us: 0.0, samples: vec![] }
    }

    /// A crash leaves any prefix of the file: every one opens, and holds a prefix of the launches.
    #[test]
    fn a_journal_cut_anywhere_opens_with_the_launches_before_the_cut() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("r.json.journal");
        let mut journal = Journal::open(&path, header("c")).unwrap();
        (0..4).for_each(|id| journal.append(launch(id)).unwrap());
        drop(journal);
        let text = fs::read(&path).unwrap();
        for cut in 0..text.len() {
            fs::write(&path, &text[..cut]).unwrap();
            let mut journal = Journal::open(&path, header("c")).unwrap();
            let whole = text[..cut].iter().filter(|b| **b == b'\n').count();
            let expected: Vec<u64> = (0..whole.saturating_sub(1) as u64).collect();
            assert_eq!(journal.finished.keys().copied().collect::<Vec<_>>(), expected);
            journal.append(launch(99)).unwrap();
            drop(journal);
            assert!(Journal::open(&path, header("c")).unwrap().finished.contains_key(&99));
        }
    }

    #[test]
    fn a_damaged_line_a_foreign_journal_and_a_second_owner_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("j");
        let mut journal = Journal::open(&path, header("c")).unwrap();
        journal.append(launch(0)).unwrap();
        let second = Journal::open(&path, header("c")).unwrap_err().to_string();
        assert!(second.contains("another process"), "{second}");
        drop(journal);
        let other = Journal::open(&path, header("d")).unwrap_err().to_string();
        assert!(other.contains("asked for something else"), "{other}");
        let mut text = fs::read_to_string(&path).unwrap();
        text.push_str("nonsense\n");
        fs::write(&path, &text).unwrap();
        let damaged = Journal::open(&path, header("c")).unwrap_err().to_string();
        assert!(damaged.contains("line 3"), "{damaged}");
    }
}
