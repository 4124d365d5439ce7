//! Waiting, testing and progress.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{Core, Process};
use crate::mpi::failure::{Class, Failure, Outcome};
use crate::mpi::lock::Held;
use crate::mpi::request::{Generalized, Request, State, Status};
use crate::progress::wait::Idle;
use crate::proto::Key;

/// How a request ended.
pub struct Ended {
    /// What to report.
    pub outcome: Outcome<Status>,
    /// Whether it can be started again, so that its handle stays.
    pub persistent: bool,
}

/// What is taken from a request that is over, under the lock; the rest is done without it.
enum Over {
    Outcome(Ended),
    User(Arc<Generalized>),
}

impl Core {
    /// One pass over all paths and all operations of several steps. True when anything moved.
    #[inline]
    pub fn progress(&mut self) -> bool {
        let moved = self.engine.progress();
        if self.tasks.is_empty() { moved } else { moved | self.advance_tasks() }
    }

    fn advance_tasks(&mut self) -> bool {
        let before = self.tasks.len();
        let mut at = 0;
        while at < self.tasks.len() {
            let key = self.tasks[at];
            let over = match self.requests.get_mut(key) {
                Some(request) => request.settle(&mut self.engine),
                None => true,
            };
            if !over {
                at += 1;
                continue;
            }
            self.tasks.swap_remove(at);
            if self.requests.get(key).is_some_and(|request| request.orphan) {
                self.requests.remove(key);
            }
        }
        self.tasks.len() != before
    }

    /// Whether a request is over (or stale), after taking the steps that can be taken now.
    #[inline]
    pub fn is_over(&mut self, key: Key) -> bool {
        self.requests.get_mut(key).is_none_or(|request| request.settle(&mut self.engine))
    }

    /// Takes the outcome of a request that is over.
    fn collect(&mut self, key: Key) -> Option<Over> {
        let request = self.requests.get_mut(key)?;
        let persistent = request.again.is_some();
        let outcome = match std::mem::replace(&mut request.state, State::Inactive) {
            State::Inactive => Ok(Status::EMPTY),
            State::Done(mut outcome) => {
                if let (Err(failure), Some(comm)) = (&mut outcome, &request.comm) {
                    failure.on = Some(comm.handle.load(Ordering::Relaxed));
                }
                outcome
            }
            State::User(operation) => {
                self.requests.remove(key);
                return Some(Over::User(operation));
            }
            running => {
                request.state = running;
                return None;
            }
        };
        if !persistent {
            self.requests.remove(key);
        }
        Some(Over::Outcome(Ended { outcome, persistent }))
    }
}

impl Over {
    /// Calls what is the application's; without the lock, since it may call us.
    fn finish(self) -> Ended {
        let operation = match self {
            Self::Outcome(ended) => return ended,
            Self::User(operation) => operation,
        };
        let queried = (operation.query)().map_err(Failure::of_callback);
        let freed = (operation.free)().map_err(Failure::of_callback);
        Ended { outcome: queried.and_then(|status| freed.map(|()| status)), persistent: false }
    }
}

#[cold]
fn stale() -> Failure {
    Failure::new(Class::Request, "the request does not exist: it was freed, or is complete already")
}

impl Process {
    /// Makes progress until `done` has something. Other threads get their turns in between.
    ///
    /// # Errors
    /// When a function that must not communicate does.
    #[inline]
    pub fn until<T: Send>(&self, done: impl FnMut(&mut Core) -> Option<T> + Send) -> Outcome<T> {
        let core = self.core()?;
        Ok(self.until_held(core, done))
    }

    /// The same, when it is this thread's turn already.
    #[inline]
    pub fn until_held<'a, T: Send>(
        &'a self,
        mut core: Held<'a, Core>,
        mut done: impl FnMut(&mut Core) -> Option<T> + Send,
    ) -> T {
        if self.threads() {
            return self.until_among_threads(core, done);
        }
        let mut idle = Idle::default();
        loop {
            if let Some(outcome) = done(&mut core) {
                return outcome;
            }
            if core.progress() {
                idle = Idle::default();
            } else {
                core.engine.rest(&mut idle, Duration::MAX);
            }
        }
    }

    /// Whether another thread waits for its turn.
    pub(super) fn wanted(&self) -> bool {
        self.core.wanted()
    }

    /// The turn of this thread, which is not inside of another call.
    pub(super) fn turn(&self) -> Held<'_, Core> {
        loop {
            if let Some(core) = self.core.hold() {
                return core;
            }
            std::thread::yield_now();
        }
    }

    /// Waits for a request, which is gone afterwards unless it is persistent.
    ///
    /// # Errors
    /// `MPI_ERR_REQUEST` when it does not exist. How it ended is inside.
    pub fn wait(&self, key: Key) -> Outcome<Ended> {
        let mut core = self.core()?;
        if core.requests.get(key).is_none() {
            return Err(stale());
        }
        let over = if core.is_over(key) {
            core.collect(key)
        } else {
            self.until_held(core, |core| core.is_over(key).then(|| core.collect(key)))
        };
        Ok(over.ok_or_else(stale)?.finish())
    }

    /// Takes the outcome of a request, if it is over, after one pass of progress.
    ///
    /// # Errors
    /// `MPI_ERR_REQUEST` when it does not exist. How it ended is inside.
    pub fn test(&self, key: Key) -> Outcome<Option<Ended>> {
        let mut core = self.core()?;
        core.progress();
        if core.requests.get(key).is_none() {
            return Err(stale());
        }
        let over = if core.is_over(key) { core.collect(key) } else { None };
        drop(core);
        Ok(over.map(Over::finish))
    }

    /// Waits until all of these requests are over; nothing is taken from them.
    ///
    /// # Errors
    /// When a function that must not communicate does.
    pub fn wait_for_all(&self, keys: &[Key]) -> Outcome<()> {
        let mut next = 0;
        self.until(|core| {
            while next < keys.len() && core.is_over(keys[next]) {
                next += 1;
            }
            (next == keys.len()).then_some(())
        })
    }

    /// Waits until one of these requests is over, and says which; nothing is taken from it.
    ///
    /// # Errors
    /// When a function that must not communicate does.
    pub fn wait_for_any(&self, keys: &[Key]) -> Outcome<usize> {
        self.until(|core| keys.iter().position(|&key| core.is_over(key)))
    }

    /// Which of these requests are over, after one pass of progress; nothing is taken from them.
    ///
    /// # Errors
    /// When a function that must not communicate does.
    pub fn which_are_over(&self, keys: &[Key]) -> Outcome<Vec<bool>> {
        let mut core = self.core()?;
        core.progress();
        Ok(keys.iter().map(|&key| core.is_over(key)).collect())
    }

    /// The status of a request that is over, which stays as it is (`MPI_Request_get_status`).
    ///
    /// # Errors
    /// `MPI_ERR_REQUEST` when it does not exist, or those of the operation.
    pub fn peek(&self, key: Key) -> Outcome<Option<Status>> {
        let mut core = self.core()?;
        core.progress();
        let over = core.is_over(key);
        let request = core.requests.get(key).ok_or_else(stale)?;
        let operation = match &request.state {
            _ if !over => return Ok(None),
            State::Done(outcome) => return outcome.clone().map(Some),
            State::User(operation) => Arc::clone(operation),
            _ => return Ok(Some(Status::EMPTY)),
        };
        drop(core);
        (operation.query)().map(Some).map_err(Failure::of_callback)
    }

    /// Forgets a request; its operation goes on to its end (`MPI_Request_free`).
    ///
    /// # Errors
    /// `MPI_ERR_REQUEST` when it does not exist, or what the application's function returned.
    pub fn forget(&self, key: Key) -> Outcome<()> {
        let mut core = self.core()?;
        let over = core.is_over(key);
        let Some(request) = core.requests.get_mut(key) else { return Err(stale()) };
        if let State::User(operation) = &request.state {
            let operation = Arc::clone(operation);
            core.requests.remove(key);
            drop(core);
            return (operation.free)().map_err(Failure::of_callback);
        }
        if over {
            core.requests.remove(key);
            return Ok(());
        }
        request.orphan = true;
        if !matches!(request.state, State::Task(_)) {
            core.tasks.push(key);
        }
        Ok(())
    }

    /// Asks an operation to end early (`MPI_Cancel`). It must still be waited for.
    ///
    /// # Errors
    /// `MPI_ERR_REQUEST` when it does not exist, or what the application's function returned.
    pub fn cancel(&self, key: Key) -> Outcome<()> {
        let mut core = self.core()?;
        let Core { engine, requests, .. } = &mut *core;
        let Some(request) = requests.get_mut(key) else { return Err(stale()) };
        match &mut request.state {
            State::Send(key) => engine.cancel_send(*key),
            State::Receive(key) => engine.cancel_receive(*key),
            State::Task(task) => task.cancel(engine),
            State::User(operation) => {
                let operation = Arc::clone(operation);
                drop(core);
                let complete = operation.complete.load(Ordering::Acquire);
                return (operation.cancel)(complete).map_err(Failure::of_callback);
            }
            State::Inactive | State::Done(_) => {}
        }
        Ok(())
    }

    /// Starts persistent operations (`MPI_Start`, `MPI_Startall`).
    ///
    /// # Errors
    /// `MPI_ERR_REQUEST` when one does not exist, is not persistent, or is active.
    pub fn start(&self, keys: &[Key]) -> Outcome<()> {
        let mut core = self.core()?;
        for &key in keys {
            let request = core.requests.get_mut(key).ok_or_else(stale)?;
            if request.is_active() {
                let why = "the request is active: it must be waited for before it is started again";
                return Err(Failure::new(Class::Request, why));
            }
            let Some(mut again) = request.again.take() else {
                return Err(Failure::new(Class::Request, "the request is not persistent"));
            };
            let state = again.start(&mut core);
            let task = matches!(state, Ok(State::Task(_)));
            if let Some(request) = core.requests.get_mut(key) {
                request.again = Some(again);
                request.state = state?;
            }
            if task {
                core.tasks.push(key);
            }
        }
        Ok(())
    }

    /// Says that an operation of the application's is complete (`MPI_Grequest_complete`).
    ///
    /// # Errors
    /// `MPI_ERR_REQUEST` when it does not exist or is none of these.
    pub fn complete(&self, key: Key) -> Outcome<()> {
        let core = self.core()?;
        match core.requests.get(key).map(|request: &Request| &request.state) {
            Some(State::User(operation)) => operation.complete.store(true, Ordering::Release),
            Some(_) => {
                return Err(Failure::new(Class::Request, "the request is not a generalized one"));
            }
            None => return Err(stale()),
        }
        Ok(())
    }
}
