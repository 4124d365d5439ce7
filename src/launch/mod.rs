//! How ranks are started and how they find each other.
//!
//! A rank calls [`bootstrap`], which tells it who it is and gives it a small key-value space shared
//! with the others: by PMI-1 or PMI-2 from `cohost run`, MPICH's `mpiexec.hydra` or Slurm, by PMIx
//! from PRRTE (Open MPI) or Slurm, alone without any of them. [`in_process`] does the same for
//! threads of one process. [`run`] is the other side: it starts a job on this machine, serves PMI-1
//! and PMI-2, and leaves nothing behind.
//!
//! It may use the operating system only. It knows no transport: what the ranks publish for each other
//! is opaque text here. Nothing a rank sends may panic, block or outgrow the launcher.
//!
//! | file | holds |
//! |---|---|
//! | `layout.rs` | `HxV` and the place of a rank in it |
//! | `wire.rs`, `wire2.rs` | PMI-1 lines and PMI-2 frames, parsed totally |
//! | `identity.rs`, `client.rs` | which launcher started this rank, and how to speak to it |
//! | `pmi1.rs`, `pmi2.rs`, `pmix/`, `local.rs` | the kinds of [`Kvs`]; `connection.rs` for two of them |
//! | `server.rs`, `server2.rs` | the PMI service, without any I/O |
//! | `run.rs`, `program.rs`, `checks.rs`, `outcome.rs` | options, what is checked first, what came of it |
//! | `keeper.rs` | the process between launcher and ranks that outlives neither |
//! | `supervise/`, `output.rs` | the launcher's one loop, and output line by line |
//! | `remote.rs` | ranks on other machines, started by somebody else |
//! | `netns.rs` | a network namespace for each host |
//! | `sys.rs` | every system call, and all that is unsafe but `pmix/library.rs` |

mod checks;
mod client;
mod connection;
mod error;
mod identity;
mod keeper;
mod layout;
mod local;
mod netns;
mod outcome;
mod output;
mod pmi1;
mod pmi2;
mod pmix;
mod program;
mod remote;
mod run;
mod server;
mod server2;
mod supervise;
mod sys;
mod wire;
mod wire2;

pub use checks::MAX_RANKS;
pub use client::{announced_rank, bootstrap, launched};
pub use error::LaunchError;
pub use layout::{Layout, Place};
pub use local::in_process;
pub use outcome::{FailureCause, Outcome, RankFailure};
pub use program::{Inherit, Segment};
pub use remote::{RemoteEnd, RemoteProcess, RemoteRank, RemoteStart, run_remote};
pub use run::{PathPolicy, RunOptions, run};
pub use wire::WireError;

/// The key-value space of a job, one handle per rank.
pub trait Kvs: Send {
    /// Publishes `value` (1 to 1024 bytes) under `key` (1 to 56 bytes); both printable ASCII without
    /// blanks, the key without `=`, `;` and `~`.
    ///
    /// # Errors
    /// [`LaunchError::BadEntry`] when the entry breaks these rules, otherwise what the service says.
    fn put(&mut self, key: &str, value: &str) -> Result<(), LaunchError>;

    /// The value under `key`; `None` when nobody has published one before the last barrier.
    ///
    /// # Errors
    /// When the service is gone or answers nonsense.
    fn get(&mut self, key: &str) -> Result<Option<String>, LaunchError>;

    /// Waits until every rank of the job is here; what was put before is visible after it.
    ///
    /// # Errors
    /// When the service is gone, or a rank has left and the barrier can never complete.
    fn barrier(&mut self) -> Result<(), LaunchError>;

    /// Asks for the end of the whole job with exit code `code`; the caller should exit soon after.
    fn abort(&mut self, code: i32, message: &str);

    /// Says goodbye: leaving the job from now on is no failure.
    ///
    /// # Errors
    /// When the service is gone or answers nonsense.
    fn finalize(&mut self) -> Result<(), LaunchError>;
}

/// Who started this rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LauncherKind {
    /// `cohost run`.
    Cohost,
    /// Another launcher, over PMI-1 (MPICH's Hydra, Slurm).
    Pmi1,
    /// Another launcher, over PMI-2 (Slurm, MPICH's Hydra).
    Pmi2,
    /// Another launcher, over PMIx (PRRTE of Open MPI, Slurm).
    Pmix,
    /// Nobody: a job of one.
    Singleton,
    /// [`in_process`]: a thread of this process.
    InProcess,
}

/// What a rank knows at its start.
pub struct Bootstrap {
    /// This rank, from 0.
    pub rank: u32,
    /// Number of ranks in the job, at least 1.
    pub size: u32,
    /// Name of the job (PMI's name of the key-value space); the same on all its ranks, different
    /// from that of any other job running on the same machine.
    pub job: String,
    /// Who started this rank.
    pub kind: LauncherKind,
    /// The ranks on this machine, this one among them, as far as the launcher says so: a hint, never
    /// proof.
    pub local_peers: Option<Vec<u32>>,
    /// The key-value space.
    pub kvs: Box<dyn Kvs>,
}

impl std::fmt::Debug for Bootstrap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bootstrap")
            .field("rank", &self.rank)
            .field("size", &self.size)
            .field("job", &self.job)
            .field("kind", &self.kind)
            .field("local_peers", &self.local_peers)
            .finish_non_exhaustive()
    }
}

/// Longest key a user of [`Kvs`] may choose: [`wire::MAX_KEY`] less the suffix of a part.
const MAX_USER_KEY: usize = wire::MAX_KEY - 8;

/// Checks the rules of [`Kvs::put`], the same for every kind of key-value space.
fn check_entry(key: &str, value: &str) -> Result<(), LaunchError> {
    let printable = |text: &str| text.bytes().all(|b| b.is_ascii_graphic());
    let reason = if key.is_empty() || key.len() > MAX_USER_KEY {
        format!("a key has 1 to {} bytes, not {}", MAX_USER_KEY, key.len())
    } else if !printable(key) || key.contains(['=', ';', '~']) {
        "a key is printable ASCII without blanks, `=`, `;` and `~`".to_owned()
    } else if value.is_empty() || value.len() > wire::MAX_VALUE {
        format!("a value has 1 to {} bytes, not {}", wire::MAX_VALUE, value.len())
    } else if !printable(value) {
        "a value is printable ASCII without blanks".to_owned()
    } else {
        return Ok(());
    };
    Err(LaunchError::BadEntry { key: wire::shorten(key), reason })
}

/// A name for a job that no other job on this machine has.
fn fresh_job_name() -> String {
    let mut random = [0u8; 8];
    // Without a source of randomness the process id and the time still tell jobs apart.
    let _ = getrandom::fill(&mut random);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let nanos = now.map_or(0, |since| since.subsec_nanos());
    format!("cohost-{}-{:016x}", std::process::id(), u64::from_ne_bytes(random) ^ u64::from(nanos))
}
