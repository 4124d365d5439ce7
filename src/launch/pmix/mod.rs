//! A rank's side of PMIx, through the library of the launcher's installation.
//!
//! PMIx has no space of its own for a job's keys: each belongs to a rank. So each rank publishes all
//! it has put since the last barrier as one value, `cohost.N` for the N-th barrier, and whoever
//! looks for a key reads those of all ranks. The value is always there, so that no reader ever waits
//! for one that is not coming. Here nothing is unsafe; `library.rs` holds what is.

mod library;
mod structs;

use std::collections::HashMap;

use super::{Bootstrap, Kvs, LaunchError, LauncherKind, check_entry};
use library::{Call, Library, Member};

/// Begins each value, so that an empty one is a value too.
const HEAD: &str = "c1";

/// Joins the job whose launcher set `PMIX_RANK`.
pub(super) fn join() -> Result<Bootstrap, LaunchError> {
    let library = Library::load().map_err(|reason| LaunchError::Pmix { reason })?;
    let me = library.init().map_err(|call| failed(&library, &call))?;
    let size = library.job_size(&me).map_err(|call| failed(&library, &call))?;
    let rank = me.rank();
    if rank >= size {
        let reason = format!("the launcher gave rank {rank} of size {size}");
        return Err(LaunchError::Environment { reason });
    }
    let peers = library.local_peers(&me).ok().and_then(|text| ranks(&text, size));
    let job = me.namespace();
    let kvs = Pmix {
        library,
        me,
        size,
        put: Vec::new(),
        barriers: 0,
        unread: Vec::new(),
        entries: HashMap::new(),
    };
    let kind = LauncherKind::Pmix;
    Ok(Bootstrap { rank, size, job, kind, local_peers: peers, kvs: Box::new(kvs) })
}

/// The ranks of a list such as `0,1,5`; `None` when it is none of a job of this size.
fn ranks(text: &str, size: u32) -> Option<Vec<u32>> {
    text.split(',').map(|rank| rank.trim().parse().ok().filter(|rank| *rank < size)).collect()
}

fn failed(library: &Library, call: &Call) -> LaunchError {
    let reason = format!(
        "{} failed: {} ({}); the library is {} {}",
        call.name,
        library.explain(call.status),
        call.status,
        library.path(),
        library.version()
    );
    LaunchError::Pmix { reason }
}

struct Pmix {
    library: Library,
    me: Member,
    size: u32,
    /// Put since the last barrier.
    put: Vec<(String, String)>,
    barriers: u64,
    /// Barriers before which others may have put what was not read yet, in order.
    unread: Vec<u64>,
    entries: HashMap<String, String>,
}

impl Pmix {
    fn check<T>(&self, done: Result<T, Call>) -> Result<T, LaunchError> {
        done.map_err(|call| failed(&self.library, &call))
    }

    /// Reads what all ranks have put before the barriers up to now.
    fn read_all(&mut self) -> Result<(), LaunchError> {
        for barrier in std::mem::take(&mut self.unread) {
            for rank in 0..self.size {
                let got = self.library.get_string(&self.me.peer(rank), &key(barrier));
                let text = self.check(got)?;
                let entries = read(&text).ok_or_else(|| LaunchError::Pmix {
                    reason: format!("rank {rank} published something else than a table of keys"),
                })?;
                self.entries.extend(entries);
            }
        }
        Ok(())
    }
}

impl Kvs for Pmix {
    fn put(&mut self, key: &str, value: &str) -> Result<(), LaunchError> {
        check_entry(key, value)?;
        self.put.push((key.to_owned(), value.to_owned()));
        Ok(())
    }

    fn get(&mut self, key: &str) -> Result<Option<String>, LaunchError> {
        self.read_all()?;
        Ok(self.entries.get(key).cloned())
    }

    fn barrier(&mut self) -> Result<(), LaunchError> {
        let text = write(&std::mem::take(&mut self.put));
        let done = self.library.put_string(&key(self.barriers), &text);
        self.check(done)?;
        self.check(self.library.commit())?;
        self.check(self.library.fence())?;
        self.unread.push(self.barriers);
        self.barriers += 1;
        Ok(())
    }

    fn abort(&mut self, code: i32, message: &str) {
        // The caller exits next; a launcher that is gone already needs no notice.
        let _ = self.library.abort(code, message);
    }

    fn finalize(&mut self) -> Result<(), LaunchError> {
        self.check(self.library.finalize())
    }
}

/// The key of what a rank has put before this barrier.
fn key(barrier: u64) -> String {
    format!("cohost.{barrier}")
}

/// Entries as one text: a line each, after the head.
fn write(entries: &[(String, String)]) -> String {
    let lines = entries.iter().map(|(key, value)| format!("\n{key}={value}"));
    std::iter::once(HEAD.to_owned()).chain(lines).collect()
}

/// Reads back what [`write`] wrote.
fn read(text: &str) -> Option<Vec<(String, String)>> {
    let lines = text.strip_prefix(HEAD)?;
    let mut lines = lines.split('\n');
    if lines.next() != Some("") {
        return None;
    }
    let entry = |line: &str| {
        let (key, value) = line.split_once('=')?;
        Some((key.to_owned(), value.to_owned()))
    };
    lines.map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_list_of_peers_that_makes_no_sense_is_no_hint() {
        assert_eq!(ranks("0,1,3", 4), Some(vec![0, 1, 3]));
        assert_eq!(ranks("0", 1), Some(vec![0]));
        for bad in ["", "0,4", "0,,1", "0-3", "a"] {
            assert_eq!(ranks(bad, 4), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_a_rank_puts_reads_back(
            entries in proptest::collection::vec(("[!-:<>-}]{1,20}", "[!-~]{1,40}"), 0..8))
        {
            prop_assert_eq!(read(&write(&entries)), Some(entries));
        }

        #[test]
        fn any_text_gives_entries_or_nothing(text in any::<String>(), headed in any::<bool>()) {
            let text = if headed { format!("{HEAD}\n{text}") } else { text };
            let _ = (read(&text), ranks(&text, 3));
        }
    }
}
