//! What can go wrong in the lab, each with the remedy in its text.

use std::io;
use std::path::{Path, PathBuf};

/// Why the lab could not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LabError {
    /// Something the lab needs is not on this machine.
    #[error("{what} is missing (tried: {tried}); run 'cohost lab setup' as root")]
    Missing {
        /// The tool, package or file.
        what: String,
        /// Where it was looked for or how it was asked for.
        tried: String,
    },
    /// Namespaces, taps and bridges need root.
    #[error("the lab makes network namespaces and taps, which needs root; run it as root")]
    NotRoot,
    /// A file or system call failed.
    #[error("{what}: {source}")]
    Io {
        /// What was being done, with the file named.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// An external command failed.
    #[error("'{command}' failed ({status}): {stderr}")]
    Tool {
        /// The command line.
        command: String,
        /// How it ended.
        status: String,
        /// The end of what it said.
        stderr: String,
    },
    /// A file has not the format it should have.
    #[error("{file}: {what}")]
    Format {
        /// The file.
        file: String,
        /// What is wrong with it.
        what: String,
    },
    /// A guest did not come up, or went away.
    #[error("guest {guest}: {reason}\nits boot log is kept as {log}, and ends with:\n{tail}", log = log.display())]
    Boot {
        /// Such as `uml h0v1`.
        guest: String,
        /// What happened instead.
        reason: String,
        /// Where the log is kept.
        log: PathBuf,
        /// The last lines of the log.
        tail: String,
    },
    /// The connection to a guest's agent did not do what it should.
    #[error("agent of {guest}: {reason}")]
    Agent {
        /// The guest's name and address.
        guest: String,
        /// What happened.
        reason: String,
    },
    /// QEMU's monitor refused a command or ended.
    #[error("QEMU's monitor, command {command}: {reason}")]
    Monitor {
        /// The command in QEMU's machine protocol.
        command: String,
        /// What QEMU said.
        reason: String,
    },
    /// Options that cannot be met.
    #[error("{0}")]
    Options(String),
}

impl LabError {
    /// An [`LabError::Io`] that names a path.
    pub(crate) fn at(doing: &str, path: &Path, source: io::Error) -> LabError {
        LabError::Io { what: format!("{doing} {}", path.display()), source }
    }

    /// An [`LabError::Io`] without a path.
    pub(crate) fn io(what: impl Into<String>, source: io::Error) -> LabError {
        LabError::Io { what: what.into(), source }
    }

    /// Whether the remedy is to prepare the machine, so that a test may be skipped.
    pub fn is_missing(&self) -> bool {
        matches!(self, LabError::Missing { .. } | LabError::NotRoot)
    }
}
