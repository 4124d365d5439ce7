//! What can go wrong in a call, with the remedy where there is one.

use crate::config::ConfigError;
use crate::launch::LaunchError;
use crate::link::card::CardError;
use crate::net::NetError;
use crate::proto;

/// Why a call did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The message, or the peer.
    #[error(transparent)]
    Message(#[from] proto::Error),
    /// The launcher.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// The environment.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The network.
    #[error(transparent)]
    Net(#[from] NetError),
    /// What another rank published.
    #[error(transparent)]
    Card(#[from] CardError),
    /// A rank published nothing.
    #[error("rank {0} published no address: it ended before all had started")]
    NoCard(u32),
    /// No randomness.
    #[error("the system gave no random numbers: {0}")]
    Random(getrandom::Error),
    /// No memory to take (`MPI_ERR_NO_MEM`).
    #[error("the system gave no {0} bytes of memory")]
    NoMemory(usize),
    /// A rank that the communicator does not have (`MPI_ERR_RANK`).
    #[error("rank {rank} does not exist in a communicator of {size}: ranks are 0 to {}", size - 1)]
    Rank {
        /// The rank given.
        rank: u32,
        /// Size of the communicator.
        size: u32,
    },
    /// A tag that cannot be sent (`MPI_ERR_TAG`).
    #[error("tag {0} is negative: tags are 0 to 2147483647")]
    Tag(i32),
    /// A buffer of the wrong length (`MPI_ERR_COUNT`, `MPI_ERR_BUFFER`).
    #[error("{what} has {found}, and {needed} are needed")]
    Length {
        /// Which buffer or list.
        what: &'static str,
        /// What was given.
        found: usize,
        /// What is needed.
        needed: String,
    },
    /// A range outside its buffer.
    #[error(
        "block {rank} of {what} ({count} bytes from {displacement}) lies outside of its buffer of {len}"
    )]
    Block {
        /// Which buffer.
        what: &'static str,
        /// The rank whose block it is.
        rank: usize,
        /// Its length.
        count: usize,
        /// Its start.
        displacement: usize,
        /// Length of the buffer.
        len: usize,
    },
    /// A part of a collective had another length than agreed: the ranks did not make the same call.
    #[error(
        "rank {rank} sent {found} bytes where {needed} were due: all ranks must make the same call with matching counts"
    )]
    Mismatch {
        /// Who sent it.
        rank: u32,
        /// Bytes that came.
        found: usize,
        /// Bytes that were due.
        needed: usize,
    },
}
