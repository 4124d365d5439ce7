//! What came of a job: its exit code, and the rank that ended it.

use std::fmt;

use super::sys;

/// `MPI_ERR_PROC_ABORTED`, the code of a rank that cannot go on without another one.
const PROC_ABORTED: i32 = 58;

/// What came of a job that was started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// 0 to 255: that of the rank that ended the job, otherwise the greatest of all ranks; a death by
    /// signal counts as 128 + signal, as does the end of the launcher by Ctrl-C and the like.
    pub exit_code: i32,
    /// The rank that ended the job, if one did.
    pub failed: Option<RankFailure>,
    /// Rank 0's standard output, when asked for.
    pub captured: Vec<u8>,
}

/// A rank that ended its job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RankFailure {
    /// The rank.
    pub rank: u32,
    /// Where it ran, such as `guest uml h0v1`; empty for this machine.
    pub place: String,
    /// What it did.
    pub cause: FailureCause,
    /// The last lines it wrote to standard error, at most ten.
    pub last_words: String,
}

impl RankFailure {
    /// What is said about it; the job had `ranks` ranks.
    pub(super) fn obituary(&self, ranks: usize) -> String {
        let RankFailure { rank, place, cause, last_words } = self;
        let place = match place.as_str() {
            "" => String::new(),
            place => format!(" in {place}"),
        };
        let others = match ranks - 1 {
            0 => String::new(),
            1 => "; the other rank was stopped".to_owned(),
            n => format!("; the other {n} ranks were stopped"),
        };
        let mut text = format!("cohost: rank {rank}{place} {cause}{others}\n");
        if !last_words.is_empty() {
            text.push_str(&format!("cohost: last words of rank {rank}:\n"));
            last_words.lines().for_each(|line| text.push_str(&format!("    {line}\n")));
        }
        text
    }
}

/// How a rank ended its job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FailureCause {
    /// Killed by this signal.
    Signal(i32),
    /// Exited with this code, not 0, before it had finalized.
    Exit(i32),
    /// Exited with 0 between init and finalize.
    NotFinalized,
    /// Exited while this many others waited for it at a barrier.
    MissedBarrier(usize),
    /// Asked for the end of the job.
    Abort {
        /// The exit code it asked for.
        code: i32,
        /// Its reason; may be empty.
        message: String,
    },
    /// Its machine, or the connection to it, is gone: the reason.
    Lost(String),
    /// Sent something else than PMI-1 over `PMI_FD`.
    Nonsense(String),
}

impl FailureCause {
    /// The job's exit code, 1 to 255.
    pub fn exit_code(&self) -> i32 {
        match self {
            Self::Signal(signal) => 128 + signal,
            Self::Exit(code) | Self::Abort { code, .. } => match code & 0xff {
                0 => 1,
                code => code,
            },
            Self::NotFinalized | Self::MissedBarrier(_) | Self::Nonsense(_) | Self::Lost(_) => 1,
        }
    }

    /// Of several ranks that die at the same moment, the one with the greatest weight is named: a
    /// crash explains the errors of the others, not the other way round.
    pub(super) fn weight(&self) -> u32 {
        match self {
            // It gives up because another one ended: that one is to be named.
            Self::Abort { code: PROC_ABORTED, .. } | Self::Exit(PROC_ABORTED) => 0,
            Self::Lost(_) => 5,
            Self::Signal(libc::SIGTERM | libc::SIGINT | libc::SIGHUP | libc::SIGPIPE) => 1,
            Self::Signal(_) => 4,
            Self::Abort { .. } | Self::Nonsense(_) => 3,
            Self::Exit(_) => 2,
            Self::NotFinalized | Self::MissedBarrier(_) => 1,
        }
    }
}

impl fmt::Display for FailureCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signal(signal) => {
                write!(f, "was killed by signal {signal} ({})", sys::signal_name(*signal))
            }
            Self::Exit(code) => write!(f, "exited with code {code}"),
            Self::NotFinalized => write!(f, "exited without finalizing"),
            Self::MissedBarrier(n) => write!(f, "exited while {n} other(s) waited at a barrier"),
            Self::Abort { code, message } if message.is_empty() => {
                write!(f, "aborted the job with code {code}")
            }
            Self::Abort { code, message } => {
                write!(f, "aborted the job with code {code}: {message}")
            }
            Self::Lost(reason) => write!(f, "was lost: {reason}"),
            Self::Nonsense(what) => write!(f, "broke the launcher's protocol: {what}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_gives_up_because_another_is_gone_is_not_the_one_to_blame() {
        let message = "rank 1 cannot be reached".to_owned();
        let gives_up = [FailureCause::Abort { code: 58, message }, FailureCause::Exit(58)];
        for first in [
            FailureCause::Exit(9),
            FailureCause::NotFinalized,
            FailureCause::Abort { code: 1, message: String::new() },
        ] {
            assert!(gives_up.iter().all(|it| first.weight() > it.weight()));
        }
    }

    #[test]
    fn a_crash_outweighs_the_errors_it_causes_in_others() {
        let crash = FailureCause::Signal(libc::SIGSEGV);
        for other in [
            FailureCause::Exit(1),
            FailureCause::NotFinalized,
            FailureCause::Signal(libc::SIGPIPE),
            FailureCause::Abort { code: 1, message: String::new() },
        ] {
            assert!(crash.weight() > other.weight());
            assert!((1..256).contains(&other.exit_code()));
        }
    }
}
