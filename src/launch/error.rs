//! What can go wrong in finding or starting the ranks of a job.

use std::io;

use super::Layout;
use super::wire::WireError;

/// An error of the launcher or of the launch service, with its remedy.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// Text that is no layout.
    #[error("`{text}` is not a layout: write HOSTSxVMS, both at least 1, such as 2x4")]
    BadLayout {
        /// The text given.
        text: String,
    },
    /// Text that is no path policy.
    #[error("`{text}` is not a path: one of auto, ring, tcp")]
    BadPath {
        /// The text given.
        text: String,
    },
    /// A number of ranks that cannot be started.
    #[error("{asked} ranks: {why}")]
    RankCount {
        /// Ranks asked for.
        asked: u64,
        /// The limit that was passed and what to do.
        why: String,
    },
    /// The layout and the number of ranks contradict each other.
    #[error(
        "layout {layout} with {ranks_per_vm} rank(s) per VM has {expected} ranks, but {asked} were \
         asked for: use -n {expected}, or leave -n out"
    )]
    LayoutMismatch {
        /// The layout given.
        layout: Layout,
        /// Ranks in each virtual machine.
        ranks_per_vm: u32,
        /// Ranks of the layout.
        expected: u64,
        /// Ranks asked for.
        asked: u32,
    },
    /// Without a layout, the ranks do not fill virtual machines of the given size.
    #[error(
        "{ranks} ranks do not fill machines of {ranks_per_vm}: give a multiple of {ranks_per_vm}, \
         or --ranks-per-vm 1"
    )]
    Uneven {
        /// Ranks asked for.
        ranks: u32,
        /// Ranks in each virtual machine.
        ranks_per_vm: u32,
    },
    /// No such program.
    #[error("program `{program}` was not found ({searched}); nothing was started")]
    ProgramNotFound {
        /// The program as given.
        program: String,
        /// Where it was looked for.
        searched: String,
    },
    /// The program exists but cannot be run.
    #[error("program `{program}` cannot be run: {reason}; nothing was left running")]
    NotExecutable {
        /// The program as given.
        program: String,
        /// Why not.
        reason: String,
    },
    /// The directory that ranks are to run in is not there.
    #[error("the working directory `{directory}` is no directory; nothing was started")]
    NoDirectory {
        /// The directory as given.
        directory: String,
    },
    /// A rank on another machine could not be started.
    #[error("rank {rank} cannot be started: {reason}; nothing was left running")]
    NotStarted {
        /// The rank.
        rank: u32,
        /// The machine and its reason.
        reason: String,
    },
    /// A program name, argument or variable with a NUL byte inside.
    #[error("{what} contains a NUL byte, which no program can be given")]
    NulByte {
        /// What contains it.
        what: String,
    },
    /// Network namespaces cannot be made.
    #[error("--netns: {reason}")]
    Netns {
        /// What failed and the remedy.
        reason: String,
    },
    /// A system call failed.
    #[error("{what}: {source}")]
    System {
        /// What was being done.
        what: String,
        /// The system's reason.
        source: io::Error,
    },
    /// The variables a launcher sets are incomplete or contradict each other.
    #[error("the environment of this rank is unusable: {reason}")]
    Environment {
        /// The variable, its value, and the remedy.
        reason: String,
    },
    /// The launcher (or a rank) sent something that is neither PMI-1 nor PMI-2.
    #[error("PMI: {0}")]
    Wire(#[from] WireError),
    /// The launcher refused a request.
    #[error("the launcher refused `{request}`: {reason}")]
    Refused {
        /// The PMI command.
        request: String,
        /// Its reason.
        reason: String,
    },
    /// The launcher is gone.
    #[error("the launcher closed the connection during `{request}`; the job is over")]
    Gone {
        /// The PMI command.
        request: String,
    },
    /// PMIx cannot be used, or one of its calls failed.
    #[error("PMIx: {reason}")]
    Pmix {
        /// The call, the library's reason, and the remedy.
        reason: String,
    },
    /// A key or value that the key-value space cannot carry.
    #[error("cannot publish `{key}`: {reason}")]
    BadEntry {
        /// The key.
        key: String,
        /// The rule that was broken, with the numbers.
        reason: String,
    },
    /// Another rank left before a barrier was complete.
    #[error("rank {rank} left the job before the barrier")]
    PeerLeft {
        /// The rank that left.
        rank: u32,
    },
    /// A rank aborted the job.
    #[error("rank {rank} aborted the job with code {code}: {message}")]
    Aborted {
        /// The rank that aborted.
        rank: u32,
        /// Its exit code.
        code: i32,
        /// Its reason.
        message: String,
    },
}

impl LaunchError {
    /// Wraps a failed system call, naming what was being done.
    pub(super) fn system(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::System { what, source }
    }

    /// Whether the caller's arguments are at fault (exit code 2 instead of 1).
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::BadLayout { .. }
                | Self::BadPath { .. }
                | Self::RankCount { .. }
                | Self::LayoutMismatch { .. }
                | Self::Uneven { .. }
                | Self::ProgramNotFound { .. }
                | Self::NotExecutable { .. }
                | Self::NoDirectory { .. }
                | Self::NulByte { .. }
        )
    }
}
