//! Requests: operations under way, and how they end (MPI 5.0, 3.7).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::comm::{ANY_SOURCE, ANY_TAG, Comm, PROC_NULL};
use super::failure::{Class, Failure, Outcome};
use super::process::Core;
use crate::progress::Engine;
use crate::proto::{self, Key};

/// How an operation ended (MPI 5.0, 3.2.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// Rank of the sender, in the communicator.
    pub source: i32,
    /// Tag of the message.
    pub tag: i32,
    /// Bytes of the message.
    pub count: i64,
    /// Whether the operation was cancelled.
    pub cancelled: bool,
}

impl Status {
    /// What operations without a message report.
    pub const EMPTY: Self = Self { source: ANY_SOURCE, tag: ANY_TAG, count: 0, cancelled: false };
    /// What a receive from nobody reports.
    pub const OF_NOBODY: Self = Self { source: PROC_NULL, ..Self::EMPTY };
    /// What a cancelled operation reports.
    pub const CANCELLED: Self = Self { cancelled: true, ..Self::EMPTY };
}

/// An operation made of several steps, each taken as soon as it can be.
pub trait Task: Send {
    /// Takes the steps that can be taken now, without waiting; the outcome, when it is over.
    fn advance(&mut self, engine: &mut Engine) -> Option<Outcome<Status>>;

    /// Asks it to end early, if it can (MPI 5.0, 3.8.4).
    fn cancel(&mut self, _engine: &mut Engine) {}
}

/// An operation that can be started again and again (MPI 5.0, 3.9).
pub trait Start: Send {
    /// Starts it.
    ///
    /// # Errors
    /// As the call that it repeats.
    fn start(&mut self, core: &mut Core) -> Outcome<State>;

    /// What a partitioned operation does with its partitions; none for others.
    fn partitioned(&mut self) -> Option<&mut dyn Partitioned> {
        None
    }
}

/// The partitions of a partitioned operation (MPI 5.0, 4).
pub trait Partitioned: Send {
    /// Marks partitions `low` to `high` ready to be sent.
    ///
    /// # Errors
    /// When there are no such partitions, or they are ready already, or this is a receive.
    fn ready(&mut self, low: i32, high: i32) -> Outcome<()>;

    /// Whether a partition has arrived.
    ///
    /// # Errors
    /// When there is no such partition, or this is a send.
    fn arrived(&mut self, partition: i32) -> Outcome<bool>;
}

/// Where an operation stands.
pub enum State {
    /// Not started.
    Inactive,
    /// Over, and not reported yet.
    Done(Outcome<Status>),
    /// A send of the engine.
    Send(Key),
    /// A receive of the engine.
    Receive(Key),
    /// Several steps.
    Task(Box<dyn Task>),
    /// The application's.
    User(Arc<Generalized>),
}

/// An operation of the application's own (MPI 5.0, 12.2).
pub struct Generalized {
    /// Whether the application said that it is complete.
    pub complete: AtomicBool,
    /// Gives the status, or the application's error code.
    pub query: Box<dyn Fn() -> Result<Status, i32> + Send + Sync>,
    /// Called when the request goes.
    pub free: Box<dyn Fn() -> Result<(), i32> + Send + Sync>,
    /// Called when it is cancelled; whether it was complete by then.
    pub cancel: Box<dyn Fn(bool) -> Result<(), i32> + Send + Sync>,
}

/// A request.
pub struct Request {
    /// Where its operation stands.
    pub state: State,
    /// Its communicator, which lives as long.
    pub comm: Option<Arc<Comm>>,
    /// How it is started again, if it is persistent.
    pub again: Option<Box<dyn Start>>,
    /// Nobody will ask for it: it goes when its operation is over.
    pub orphan: bool,
    /// What lives as long as the operation: attached buffers, operations, datatypes.
    pub keeps: Option<Box<dyn std::any::Any + Send>>,
}

impl Request {
    /// A request for an operation in this state.
    #[must_use]
    pub fn new(state: State, comm: Option<Arc<Comm>>) -> Self {
        Self { state, comm, again: None, orphan: false, keeps: None }
    }

    /// Whether its operation is over (or was never started), after taking the steps that can be
    /// taken now.
    #[inline]
    pub fn settle(&mut self, engine: &mut Engine) -> bool {
        let outcome = match &mut self.state {
            State::Inactive | State::Done(_) => return true,
            State::User(operation) => return operation.complete.load(Ordering::Acquire),
            State::Send(key) => engine.test_send(*key).map(sent),
            State::Receive(key) => {
                let comm = self.comm.as_deref();
                engine.test_receive(*key).map(|outcome| received(outcome, comm))
            }
            State::Task(task) => task.advance(engine),
        };
        match outcome {
            Some(outcome) => {
                self.state = State::Done(outcome);
                true
            }
            None => false,
        }
    }

    /// Whether it is active: started, and its end not reported.
    #[must_use]
    pub fn is_active(&self) -> bool {
        !matches!(self.state, State::Inactive)
    }
}

/// The outcome of a send.
pub(super) fn sent(outcome: Result<(), proto::Error>) -> Outcome<Status> {
    match outcome {
        Ok(()) => Ok(Status::EMPTY),
        Err(proto::Error::Cancelled) => Ok(Status::CANCELLED),
        Err(error) => Err(error.into()),
    }
}

/// The outcome of a receive.
#[inline]
pub(super) fn received(
    outcome: Result<proto::Received, proto::Error>,
    comm: Option<&Comm>,
) -> Outcome<Status> {
    match outcome {
        Ok(received) => Ok(comm.map_or(Status::EMPTY, |comm| comm.status(&received))),
        Err(proto::Error::Cancelled) => Ok(Status::CANCELLED),
        Err(error) => Err(error.into()),
    }
}

impl From<proto::Error> for Failure {
    #[cold]
    fn from(error: proto::Error) -> Self {
        let class = match error {
            proto::Error::Truncated { .. } => Class::Truncate,
            proto::Error::PeerLost { .. } => Class::ProcAborted,
            proto::Error::NoSuchRank { .. } => Class::Rank,
            proto::Error::Cancelled => Class::Other,
        };
        Self::new(class, error.to_string())
    }
}

impl From<super::Error> for Failure {
    #[cold]
    fn from(error: super::Error) -> Self {
        match error {
            super::Error::Message(error) => error.into(),
            super::Error::Mismatch { .. } => Self::new(Class::Truncate, error.to_string()),
            other => Self::new(Class::Other, other.to_string()),
        }
    }
}
