//! The small words of the interface: where from, which tag, what arrived.

use std::time::Duration;

/// Which rank a receive or probe accepts (MPI 5.0, 3.2.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// Any rank of the communicator (`MPI_ANY_SOURCE`).
    Any,
    /// This rank only.
    Rank(u32),
}

impl From<u32> for Source {
    fn from(rank: u32) -> Self {
        Self::Rank(rank)
    }
}

/// Which tag a receive or probe accepts (MPI 5.0, 3.2.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tag {
    /// Any tag (`MPI_ANY_TAG`).
    Any,
    /// This tag only.
    Is(i32),
}

impl From<i32> for Tag {
    fn from(tag: i32) -> Self {
        Self::Is(tag)
    }
}

/// What a receive or probe found (MPI 5.0, 3.2.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Status {
    /// Rank of the sender in the communicator.
    pub source: u32,
    /// Tag of the message.
    pub tag: i32,
    /// Bytes of the message.
    pub len: usize,
}

/// Predefined reductions (MPI 5.0, 6.9.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// Sum; integers wrap.
    Sum,
    /// Product; integers wrap.
    Prod,
    /// Minimum.
    Min,
    /// Maximum.
    Max,
}

/// How two ranks talk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Path {
    /// A rank with itself.
    Loopback,
    /// Rings in shared memory.
    Ring,
    /// TCP.
    Tcp,
}

impl Path {
    /// The word used in result files and on the terminal: `self`, `ring`, `tcp`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Loopback => "self",
            Self::Ring => "ring",
            Self::Tcp => "tcp",
        }
    }
}

/// Something that happened to this rank's paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathEvent {
    /// When, since this rank joined the job.
    pub at: Duration,
    /// What, in words for people.
    pub what: String,
}

/// The path to one peer, and why it was chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathInfo {
    /// Rank of the peer in the world.
    pub peer: u32,
    /// How messages travel there.
    pub path: Path,
    /// Why, in words for people.
    pub reason: String,
}
