//! Key-value spaces without a launcher: for a job of one, and for ranks that are threads.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::{Bootstrap, Kvs, LaunchError, LauncherKind, check_entry, fresh_job_name};

/// A job of `n` ranks inside this process, one [`Bootstrap`] for each of its threads, by rank.
///
/// A bootstrap that is dropped counts as a rank that left: the others' barriers then fail instead of
/// waiting for ever.
pub fn in_process(n: u32) -> Vec<Bootstrap> {
    members(n, LauncherKind::InProcess)
}

/// The job of a process that no launcher started.
pub(super) fn singleton() -> Bootstrap {
    let job = fresh_job_name();
    let kvs = Box::new(Member { rank: 0, shared: Arc::new(Shared::new(1)) });
    Bootstrap { rank: 0, size: 1, job, kind: LauncherKind::Singleton, local_peers: None, kvs }
}

fn members(n: u32, kind: LauncherKind) -> Vec<Bootstrap> {
    let job = fresh_job_name();
    let shared = Arc::new(Shared::new(n));
    let member = |rank| {
        let kvs = Box::new(Member { rank, shared: Arc::clone(&shared) });
        Bootstrap { rank, size: n, job: job.clone(), kind, local_peers: None, kvs }
    };
    (0..n).map(member).collect()
}

/// What the members of one job share.
struct Shared {
    size: u32,
    space: Mutex<Space>,
    changed: Condvar,
}

#[derive(Default)]
struct Space {
    entries: HashMap<String, String>,
    /// Ranks waiting in the barrier of this round.
    waiting: u32,
    /// Barriers completed.
    round: u64,
    /// The first rank that left.
    left: Option<u32>,
    aborted: Option<(u32, i32, String)>,
}

impl Space {
    /// Why no further barrier can complete, if so.
    fn broken(&self) -> Option<LaunchError> {
        if let Some((rank, code, message)) = self.aborted.clone() {
            return Some(LaunchError::Aborted { rank, code, message });
        }
        self.left.map(|rank| LaunchError::PeerLeft { rank })
    }
}

impl Shared {
    fn new(size: u32) -> Self {
        Self { size, space: Mutex::default(), changed: Condvar::new() }
    }

    /// A thread that panicked while holding the lock left plain values behind: go on with them.
    fn lock(&self) -> MutexGuard<'_, Space> {
        self.space.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One rank's handle.
struct Member {
    rank: u32,
    shared: Arc<Shared>,
}

impl Member {
    fn leave(&self) {
        self.shared.lock().left.get_or_insert(self.rank);
        self.shared.changed.notify_all();
    }
}

impl Kvs for Member {
    fn put(&mut self, key: &str, value: &str) -> Result<(), LaunchError> {
        check_entry(key, value)?;
        self.shared.lock().entries.insert(key.to_owned(), value.to_owned());
        Ok(())
    }

    fn get(&mut self, key: &str) -> Result<Option<String>, LaunchError> {
        Ok(self.shared.lock().entries.get(key).cloned())
    }

    fn barrier(&mut self) -> Result<(), LaunchError> {
        let mut space = self.shared.lock();
        if let Some(error) = space.broken() {
            return Err(error);
        }
        let round = space.round;
        space.waiting += 1;
        if space.waiting == self.shared.size {
            space.waiting = 0;
            space.round += 1;
            self.shared.changed.notify_all();
        }
        while space.round == round {
            if let Some(error) = space.broken() {
                space.waiting -= 1;
                return Err(error);
            }
            space = self.shared.changed.wait(space).unwrap_or_else(PoisonError::into_inner);
        }
        Ok(())
    }

    fn abort(&mut self, code: i32, message: &str) {
        let rank = self.rank;
        self.shared.lock().aborted.get_or_insert((rank, code, message.to_owned()));
        self.shared.changed.notify_all();
    }

    fn finalize(&mut self) -> Result<(), LaunchError> {
        self.leave();
        Ok(())
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_every_thread_put_is_there_after_the_barrier() {
        let threads: Vec<_> = in_process(6)
            .into_iter()
            .map(|mut b| {
                std::thread::spawn(move || {
                    for round in 0..50 {
                        b.kvs.put(&format!("r{round}-{}", b.rank), &format!("{}", b.rank)).unwrap();
                        b.kvs.barrier().unwrap();
                        for peer in 0..b.size {
                            let value = b.kvs.get(&format!("r{round}-{peer}")).unwrap();
                            assert_eq!(value, Some(peer.to_string()));
                        }
                    }
                    b.kvs.barrier().unwrap();
                    b.kvs.finalize().unwrap();
                    b.job.clone()
                })
            })
            .collect();
        let jobs: Vec<String> = threads.into_iter().map(|t| t.join().unwrap()).collect();
        assert!(jobs.windows(2).all(|pair| pair[0] == pair[1]));
        assert_ne!(jobs[0], in_process(1)[0].job);
    }

    #[test]
    fn a_rank_that_is_dropped_ends_the_barrier_of_the_others() {
        let mut ranks = in_process(3);
        drop(ranks.remove(1));
        for rank in &mut ranks {
            assert!(matches!(rank.kvs.barrier(), Err(LaunchError::PeerLeft { rank: 1 })));
        }
    }

    #[test]
    fn an_abort_reaches_ranks_that_wait() {
        let mut ranks = in_process(2);
        let mut second = ranks.remove(1);
        let waiter = std::thread::spawn(move || second.kvs.barrier());
        ranks[0].kvs.abort(3, "enough");
        let error = waiter.join().unwrap().unwrap_err();
        assert!(matches!(error, LaunchError::Aborted { rank: 0, code: 3, .. }), "{error}");
    }

    #[test]
    fn entries_that_no_launcher_could_carry_are_refused_everywhere() {
        let mut alone = singleton();
        let long = "v".repeat(1025);
        for (key, value) in [
            ("", "v"),
            ("k", ""),
            ("a b", "v"),
            ("k", "a b"),
            ("k=", "v"),
            ("k;", "v"),
            ("k", "é"),
            ("k", &long),
        ] {
            let error = alone.kvs.put(key, value).unwrap_err();
            assert!(matches!(error, LaunchError::BadEntry { .. }), "{key} {value}");
        }
        alone.kvs.put("k", &"v".repeat(1024)).unwrap();
        alone.kvs.barrier().unwrap();
        assert_eq!(alone.kvs.get("k").unwrap().unwrap().len(), 1024);
    }
}
