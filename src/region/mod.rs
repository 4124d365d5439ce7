//! Shared memory that several members of a host can map, divided into sections with one writer
//! each.
//!
//! Every member owns one section, the only one it writes; its peers map it read-only. A section is a header and one block per peer ([`layout`]); a block takes memory only once its
//! pair is active. [`planner`] says how large blocks may be, and there is a file per way of coming
//! by shared memory: [`posix`] (a sealed memfd, handed over by [`pass`]), [`mod@file`] (a file on a
//! mount that members share), [`heap`] (one process, for tests and benchmarks), and between virtual
//! machines the devices ([`mod@device`]): [`ivshmem`] (also by [`vfio`]), [`uml`], [`dax`]; and between domains of
//! Xen, pair by pair, [`xen`]. [`lending`] is memory for an application whose bytes peers may read. [`ivshmem_v2`] has sections that the
//! hypervisor protects. [`discover`] lists what is within reach.
//!
//! What belongs here: mapping, identity, allocation. What may be used: the system, and nothing of
//! this crate. What must never reach this module: messages, ranks' states, and any size, offset or
//! path that a peer has written: those are computed here and compared. All access to shared bytes
//! goes through [`access`]; all system calls through `sys`.

pub mod access;
mod cmsg;
mod copy;
pub mod dax;
pub mod device;
pub mod discover;
pub mod file;
pub mod heap;
pub mod identity;
pub(crate) mod ioctl;
pub mod ivshmem;
pub mod ivshmem_v2;
pub mod layout;
pub mod lending;
pub mod pass;
pub mod planner;
pub mod posix;
pub mod section;
mod sys;
pub mod uml;
mod vanish;
pub mod vfio;
pub mod xen;

pub use copy::choose as choose_copy;
pub use identity::Identity;
pub use layout::{Block, Geometry, LayoutError, SectionLayout};
pub use section::{Life, LocalPair, OwnSection, PeerSection, Protection, RemotePair};

use std::path::PathBuf;

/// What can go wrong with shared memory. None of these ends a rank: without a region it uses TCP.
#[derive(Debug, thiserror::Error)]
pub enum RegionError {
    /// A system call failed for a reason without a name of its own.
    #[error("{what} failed for shared memory in {place}: {source}")]
    System {
        /// The call.
        what: &'static str,
        /// Where: a file, a directory, or "memfd".
        place: String,
        /// The system's answer.
        source: std::io::Error,
    },
    /// There is not enough memory behind the section.
    #[error(
        "no space for shared memory in {place}: {needed} bytes are needed{}; enlarge it, choose \
         another directory with COHOST_SHM_DIR, or start fewer ranks per host",
        available.map(|bytes| format!(", {bytes} are free")).unwrap_or_default()
    )]
    NoSpace {
        /// Bytes that this step asked for.
        needed: u64,
        /// Bytes that were free just after the refusal, where the store can tell.
        available: Option<u64>,
        /// The store that is full.
        place: String,
    },
    /// The store cannot reserve memory in advance, so that a full one would kill a rank later.
    #[error("{place} cannot reserve memory (fallocate): use a tmpfs, ext4 or xfs directory")]
    CannotReserve {
        /// The store.
        place: String,
    },
    /// The limit on file sizes would end the process.
    #[error("{needed} bytes exceed the limit on file sizes, {limit} (ulimit -f): raise it")]
    FileLimit {
        /// Bytes of a section.
        needed: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// What was handed over or opened is no region at all.
    #[error("{place} is not a region: it is {found}, and {expected} was expected")]
    NotARegion {
        /// Where it came from.
        place: String,
        /// What it is.
        found: String,
        /// What it should have been.
        expected: &'static str,
    },
    /// A length other than the one computed here.
    #[error(
        "{place} has {found} bytes and {expected} were expected: it is of another job or \
         configuration, or was truncated"
    )]
    WrongSize {
        /// Where it came from.
        place: String,
        /// Bytes it has.
        found: u64,
        /// Bytes it should have.
        expected: u64,
    },
    /// A field of the header differs from what was agreed.
    #[error(
        "the header of {place} says {field} {found:#x}, and {expected:#x} was expected: it is \
         stale, of another job, or of another version of cohost"
    )]
    WrongHeader {
        /// Where it came from.
        place: String,
        /// Name of the field.
        field: &'static str,
        /// What it says.
        found: u64,
        /// What was agreed.
        expected: u64,
    },
    /// The pair has not been activated by the owner of the section.
    #[error("the block for member {peer} in the section of member {owner} is not active")]
    NotActive {
        /// The section's owner.
        owner: u32,
        /// The member that the block is for.
        peer: u32,
    },
    /// The owner says the block is there, and reading it would end the process.
    #[error("{place} is not backed by memory at the {bytes} bytes from {offset}: it was truncated")]
    Unbacked {
        /// Where it came from.
        place: String,
        /// First byte.
        offset: u64,
        /// How many bytes.
        bytes: u64,
    },
    /// The directory for shared files cannot be used.
    #[error("{path} cannot hold shared files: {source}; set COHOST_SHM_DIR to one that can")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// An index or geometry that is none.
    #[error(transparent)]
    Layout(#[from] LayoutError),
}

impl RegionError {
    fn system(what: &'static str, place: &str) -> impl FnOnce(std::io::Error) -> Self {
        let place = place.to_owned();
        move |source| Self::System { what, place, source }
    }
}
