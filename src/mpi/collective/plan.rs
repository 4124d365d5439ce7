//! A collective call made ready: its schedule, its typed buffers, and what has to be copied before and
//! after. Blocking, nonblocking and persistent calls are one plan, advanced in different places.

use std::sync::Arc;

use super::sides::Side;
use crate::coll::Shape;
use crate::mpi::Error;
use crate::mpi::failure::{Class, Failure, Outcome, fail};
use crate::mpi::op::Combine;
use crate::mpi::running::{Route, Running, Work};
use crate::progress::Engine;
use crate::proto;

/// What a plan needs of the communicator, which lends it.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The local group by host, as this rank sees it.
    pub shape: &'a Shape,
    /// World ranks: the local group, then the remote one if this is an intercommunicator.
    pub group: &'a Arc<[u32]>,
    /// Ranks of the local group.
    pub local_size: u32,
    /// This rank in the local group.
    pub rank: u32,
    /// Context of the messages of collectives.
    pub context: u32,
    /// Tag of this call: the same at all ranks, and of no other call that may be under way.
    pub tag: i32,
    /// Neighbors in the virtual topology, if there is one.
    pub neighbors: Option<&'a Neighborhood>,
}

/// The neighbors of a rank in a virtual topology.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Neighborhood {
    /// Who sends to it; none where a grid ends (`MPI_PROC_NULL`).
    pub sources: Vec<Option<u32>>,
    /// Whom it sends to.
    pub destinations: Vec<Option<u32>>,
    /// Whether these are, dimension by dimension, the lower and the upper neighbor in a grid.
    pub grid: bool,
}

impl<'a> Place<'a> {
    /// Whether this is an intercommunicator.
    #[must_use]
    pub fn is_inter(&self) -> bool {
        self.group.len() > self.local_size as usize
    }

    /// Ranks of the remote group; none in an intracommunicator.
    #[must_use]
    pub fn remote_size(&self) -> u32 {
        self.group.len() as u32 - self.local_size
    }

    /// Ranks whose blocks a collective of all to all has.
    pub(super) fn peers(&self) -> usize {
        (if self.is_inter() { self.remote_size() } else { self.local_size }) as usize
    }

    pub(super) fn neighborhood(&self) -> Outcome<&'a Neighborhood> {
        match self.neighbors {
            Some(neighbors) => Ok(neighbors),
            None => fail(
                Class::Topology,
                "the communicator has no topology: make it with MPI_Cart_create or MPI_Dist_graph_create",
            ),
        }
    }
}

/// A collective call, ready to run. None when nothing is to be done: no message, no copy, nothing in
/// staging.
#[derive(Debug)]
pub struct Plan(Option<Steps>);

/// What is to be done.
#[derive(Debug)]
struct Steps {
    running: Running,
    send: Side,
    recv: Side,
    loaded: bool,
    stored: bool,
}

// SAFETY: the buffers may be used by any thread, by the contract of the functions that make plans.
unsafe impl Send for Plan {}

impl Plan {
    /// # Safety
    /// Until the plan is over or abandoned, the buffers of both sides stay as [`Running::new`] asks for.
    #[inline]
    pub(super) unsafe fn new(
        place: &Place<'_>,
        work: Work,
        send: Side,
        recv: Side,
        combine: Option<Combine>,
    ) -> Self {
        if work.schedule.steps.is_empty() && recv.is_plain() {
            work.keep();
            return Self::nothing();
        }
        let route =
            Route { group: Arc::clone(place.group), context: place.context, tag: place.tag };
        let (from, into) = (send.range(), recv.range());
        let from = (from.0.cast_const(), from.1);
        // SAFETY: by the contract of this function; staging is owned by the plan.
        let running = unsafe { Running::new(work, route, from, into, combine) };
        Self(Some(Steps { running, send, recv, loaded: false, stored: false }))
    }

    /// The plan of a call in which nothing is to be done.
    #[inline]
    pub(super) fn nothing() -> Self {
        Self(None)
    }

    /// Goes on as far as possible; never waits, and leaves progress to the caller. The outcome when all is
    /// done.
    pub fn advance(&mut self, engine: &mut Engine) -> Option<Outcome<()>> {
        match &mut self.0 {
            Some(steps) => steps.advance(engine),
            None => Some(Ok(())),
        }
    }

    /// Advances until all is done.
    ///
    /// # Errors
    /// Those of its messages: `Truncate` when the ranks' counts do not fit, `ProcAborted` when one is gone.
    pub fn wait(&mut self, engine: &mut Engine) -> Outcome<()> {
        if let Some(outcome) = self.advance(engine) {
            return outcome;
        }
        engine.wait_until(|engine| self.advance(engine))
    }

    /// Whether nothing is to be done.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Whether all is done, and the outcome was given.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.0.as_ref().is_none_or(|steps| steps.loaded && steps.stored)
    }

    /// Makes it ready to run once more, with what is in the buffers when it is advanced next.
    pub fn restart(&mut self) {
        if let Some(steps) = &mut self.0 {
            steps.running.restart();
            steps.loaded = false;
            steps.stored = false;
        }
    }

    /// Gives it up: the buffers are used no more. Other ranks may wait for ever.
    pub fn abandon(&mut self, engine: &mut Engine) {
        if let Some(steps) = &mut self.0 {
            steps.running.abandon(engine);
            steps.loaded = true;
            steps.stored = true;
        }
    }
}

impl Steps {
    fn advance(&mut self, engine: &mut Engine) -> Option<Outcome<()>> {
        if !self.loaded {
            self.loaded = true;
            self.send.load();
            self.recv.load();
        }
        let outcome = self.running.advance(engine)?;
        if !self.stored {
            self.stored = true;
            if outcome.is_ok() {
                self.recv.store();
            }
        }
        Some(outcome.map_err(failure))
    }
}

impl Drop for Steps {
    /// Staging that a message may still use is never given back.
    fn drop(&mut self) {
        if self.loaded && !self.running.is_over() {
            self.send.leak();
            self.recv.leak();
        }
    }
}

/// The error of a collective as the standard classifies it.
fn failure(error: Error) -> Failure {
    let class = match &error {
        Error::Message(proto::Error::Truncated { .. }) => Class::Truncate,
        Error::Message(proto::Error::PeerLost { .. }) => Class::ProcAborted,
        Error::Message(proto::Error::NoSuchRank { .. }) => Class::Rank,
        Error::Mismatch { .. } => Class::Count,
        _ => Class::Other,
    };
    Failure::new(class, error.to_string())
}
