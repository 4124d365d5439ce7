//! The communicator of the full interface: groups, contexts, and what hangs on it (MPI 5.0, 7).

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::attributes::Attributes;
use super::collective::Neighborhood;
use super::errhandler::Errhandler;
use super::failure::{Class, Outcome, fail};
use super::group::{Comparison, Group};
use super::info::Info;
use super::process::Attachment;
use super::topology::Topology;
use crate::coll::Shape;
use crate::proto::{Pattern, Received};

/// Wildcard for sources (`MPI_ANY_SOURCE`).
pub const ANY_SOURCE: i32 = -1;
/// Wildcard for tags (`MPI_ANY_TAG`).
pub const ANY_TAG: i32 = -2;
/// The peer that is nobody (`MPI_PROC_NULL`).
pub const PROC_NULL: i32 = -3;
/// The root of an intercommunicator's collective, in the root's own group (`MPI_ROOT`).
pub const ROOT: i32 = -4;
/// Greatest tag (`MPI_TAG_UB`).
pub const TAG_UB: i32 = i32::MAX;

/// What is added to a communicator's context for its collectives.
pub const COLLECTIVE: u32 = 1;
/// What is added to a communicator's context for its partitioned messages.
pub const PARTITIONED: u32 = 2;
/// What is added to a communicator's context for messages about new communicators that not all of
/// its ranks take part in.
pub(super) const FOUNDING: u32 = 3;

/// A communicator.
#[derive(Debug)]
pub struct Comm {
    /// Whatever the outside knows it by.
    pub handle: AtomicUsize,
    /// Context of its messages; [`COLLECTIVE`] and [`PARTITIONED`] are added for others. 0 until it
    /// is agreed upon.
    context: AtomicU32,
    local: Arc<Group>,
    remote: Option<Arc<Group>>,
    /// This rank in the local group.
    rank: u32,
    /// The local group by host.
    shape: Arc<Shape>,
    /// Ranks of the world that schedules name by number: the local group, then the remote one.
    everyone: Arc<[u32]>,
    /// An intercommunicator's local group, as a communicator of its own.
    inside: Option<Arc<Comm>>,
    /// Its name; empty when none was given.
    name: Mutex<String>,
    /// Its attributes.
    pub attributes: Attributes,
    errhandler: Mutex<Errhandler>,
    /// Its hints.
    pub info: Info,
    /// Its own buffer for buffered sends.
    pub buffer: Arc<Attachment>,
    /// Its topology, set at most once.
    pub topology: OnceLock<Topology>,
    neighborhood: OnceLock<Neighborhood>,
    /// Number of collective calls: their tag.
    calls: AtomicU32,
}

/// What a communicator is made of.
pub(super) struct Parts {
    pub(super) context: u32,
    pub(super) local: Arc<Group>,
    pub(super) remote: Option<Arc<Group>>,
    pub(super) shape: Shape,
    pub(super) inside: Option<Arc<Comm>>,
    pub(super) traits: Traits,
}

/// What hangs on a new communicator.
#[derive(Debug)]
pub(super) struct Traits {
    pub(super) errhandler: Errhandler,
    pub(super) attributes: Attributes,
    pub(super) hints: Vec<(String, String)>,
    pub(super) topology: Option<Topology>,
}

impl Traits {
    /// Nothing but an error handler.
    pub(super) fn plain(errhandler: Errhandler) -> Self {
        let attributes = Attributes::default();
        Self { errhandler, attributes, hints: Vec::new(), topology: None }
    }
}

impl Comm {
    pub(super) fn new(parts: Parts) -> Arc<Self> {
        let Parts { context, local, remote, shape, inside, traits } = parts;
        let Traits { errhandler, attributes, hints, topology } = traits;
        let everyone = match &remote {
            None => Arc::clone(local.members()),
            Some(remote) => local.members().iter().chain(&remote.members()[..]).copied().collect(),
        };
        Arc::new(Self {
            handle: AtomicUsize::new(0),
            context: AtomicU32::new(context),
            rank: shape.rank(),
            local,
            remote,
            shape: Arc::new(shape),
            everyone,
            inside,
            name: Mutex::default(),
            attributes,
            errhandler: Mutex::new(errhandler),
            info: Info::new(hints),
            buffer: Arc::default(),
            topology: topology.map_or_else(OnceLock::new, OnceLock::from),
            neighborhood: OnceLock::new(),
            calls: AtomicU32::new(0),
        })
    }

    /// This rank in the local group.
    #[inline]
    #[must_use]
    pub fn rank(&self) -> u32 {
        self.rank
    }

    /// Size of the local group.
    #[must_use]
    pub fn size(&self) -> u32 {
        self.local.size()
    }

    /// The local group.
    #[must_use]
    pub fn local(&self) -> &Arc<Group> {
        &self.local
    }

    /// The remote group of an intercommunicator.
    #[must_use]
    pub fn remote(&self) -> Option<&Arc<Group>> {
        self.remote.as_ref()
    }

    /// An intercommunicator's local group, as a communicator of its own.
    #[must_use]
    pub fn inside(&self) -> Option<&Arc<Self>> {
        self.inside.as_ref()
    }

    /// The group that ranks in messages mean.
    #[inline]
    #[must_use]
    pub fn peers(&self) -> &Group {
        self.remote.as_deref().unwrap_or(&self.local)
    }

    /// The local group by host.
    #[must_use]
    pub fn shape(&self) -> &Arc<Shape> {
        &self.shape
    }

    /// Ranks of the world that schedules name by number: the local group, then the remote one.
    #[must_use]
    pub fn everyone(&self) -> &Arc<[u32]> {
        &self.everyone
    }

    /// Context of messages.
    #[inline]
    #[must_use]
    pub fn context(&self) -> u32 {
        self.context.load(Ordering::Relaxed)
    }

    /// Sets the context, once it is agreed upon.
    pub(super) fn set_context(&self, context: u32) {
        self.context.store(context, Ordering::Relaxed);
    }

    /// The tag of the next collective call.
    pub fn next_call(&self) -> i32 {
        (self.calls.fetch_add(1, Ordering::Relaxed) & 0x7fff_ffff).cast_signed()
    }

    /// Its name; empty when none was given.
    #[must_use]
    pub fn name(&self) -> String {
        self.name.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Gives it a name.
    pub fn set_name(&self, name: &str) {
        name.clone_into(&mut self.name.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// How it compares to another communicator (`MPI_Comm_compare`).
    #[must_use]
    pub fn compare(&self, other: &Self) -> Comparison {
        if std::ptr::eq(self, other) {
            return Comparison::Identical;
        }
        let remote = match (&self.remote, &other.remote) {
            (None, None) => Comparison::Identical,
            (Some(mine), Some(theirs)) => mine.compare(theirs),
            _ => Comparison::Unequal,
        };
        self.local.compare(&other.local).max(remote).max(Comparison::Congruent)
    }

    /// Its neighbors in its topology, if it has one.
    #[must_use]
    pub fn neighborhood(&self) -> Option<&Neighborhood> {
        let topology = self.topology.get()?;
        Some(self.neighborhood.get_or_init(|| topology.neighborhood(self.rank)))
    }

    /// Its error handler.
    #[must_use]
    pub fn errhandler(&self) -> Errhandler {
        self.errhandler.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sets its error handler.
    pub fn set_errhandler(&self, errhandler: Errhandler) {
        *self.errhandler.lock().unwrap_or_else(PoisonError::into_inner) = errhandler;
    }

    /// The rank of the world to send to; none for `MPI_PROC_NULL`.
    ///
    /// # Errors
    /// `MPI_ERR_RANK` or `MPI_ERR_TAG` when there is no such rank, or the tag cannot be sent.
    #[inline]
    pub fn destination(&self, dest: i32, tag: i32) -> Outcome<Option<u32>> {
        if tag < 0 {
            return bad_tag(tag);
        }
        if dest == PROC_NULL {
            return Ok(None);
        }
        self.peers().world_rank(dest).map(Some)
    }

    /// What a receive or probe asks for; none for `MPI_PROC_NULL`.
    ///
    /// # Errors
    /// `MPI_ERR_RANK` or `MPI_ERR_TAG` when there is no such rank or tag.
    #[inline]
    pub fn pattern(&self, source: i32, tag: i32) -> Outcome<Option<Pattern>> {
        let tag = match tag {
            ANY_TAG => None,
            tag if tag < 0 => return bad_tag(tag),
            tag => Some(tag),
        };
        let source = match source {
            PROC_NULL => return Ok(None),
            ANY_SOURCE => None,
            rank => Some(self.peers().world_rank(rank)?),
        };
        Ok(Some(Pattern { context: self.context(), source, tag }))
    }

    /// What a receive reports.
    #[inline]
    #[must_use]
    pub fn status(&self, received: &Received) -> super::request::Status {
        let world = received.envelope.source;
        let source = self.peers().rank_of(world).unwrap_or(world).cast_signed();
        let (tag, count) = (received.envelope.tag, received.len as i64);
        super::request::Status { source, tag, count, ..super::request::Status::EMPTY }
    }
}

#[cold]
fn bad_tag<T>(tag: i32) -> Outcome<T> {
    fail(Class::Tag, format!("tag {tag} is negative: tags are 0 to {TAG_UB}"))
}
