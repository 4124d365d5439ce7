//! Collective calls (MPI 5.0, 6): one plan, run at once, or in the background, or again and again.

use std::sync::{Arc, Mutex, PoisonError};

use super::{Core, Process};
use crate::mpi::collective::{Place, Plan};
use crate::mpi::comm::{COLLECTIVE, Comm};
use crate::mpi::failure::Outcome;
use crate::mpi::request::{Request, Start, State, Status, Task};
use crate::progress::Engine;
use crate::proto::Key;

/// A collective under way in the background.
struct Background(Plan);

impl Task for Background {
    fn advance(&mut self, engine: &mut Engine) -> Option<Outcome<Status>> {
        self.0.advance(engine).map(|outcome| outcome.map(|()| Status::EMPTY))
    }
}

/// A collective that is repeated: the plan is its own and, while it runs, its task's.
struct Repeated(Arc<Mutex<Plan>>);

impl Task for Repeated {
    fn advance(&mut self, engine: &mut Engine) -> Option<Outcome<Status>> {
        let mut plan = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        plan.advance(engine).map(|outcome| outcome.map(|()| Status::EMPTY))
    }
}

impl Start for Repeated {
    fn start(&mut self, core: &mut Core) -> Outcome<State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).restart();
        let mut task = Self(Arc::clone(&self.0));
        // The first messages go out now: others may wait for them.
        Ok(match task.advance(&mut core.engine) {
            Some(outcome) => State::Done(outcome),
            None => State::Task(Box::new(task)),
        })
    }
}

impl Comm {
    /// Where the next collective call takes place. Every call takes one, whether it succeeds or not,
    /// so that all ranks count alike.
    #[must_use]
    #[inline]
    pub fn place(&self) -> Place<'_> {
        Place {
            shape: self.shape(),
            group: self.everyone(),
            local_size: self.size(),
            rank: self.rank(),
            context: self.context() + COLLECTIVE,
            tag: self.next_call(),
            neighbors: self.neighborhood(),
        }
    }
}

impl Process {
    /// Runs a collective to its end.
    ///
    /// # Errors
    /// The first failure of a message.
    #[inline]
    pub fn run_plan(&self, mut plan: Plan) -> Outcome<()> {
        if plan.is_empty() {
            return Ok(());
        }
        self.until(|core| plan.advance(&mut core.engine))?
    }

    /// Begins a collective.
    ///
    /// # Errors
    /// When a function that must not communicate does.
    pub fn begin_plan(&self, mut plan: Plan, comm: &Arc<Comm>) -> Outcome<Key> {
        let mut core = self.core()?;
        let state = match plan.advance(&mut core.engine) {
            Some(outcome) => State::Done(outcome.map(|()| Status::EMPTY)),
            None => State::Task(Box::new(Background(plan))),
        };
        Ok(core.file(Request::new(state, Some(Arc::clone(comm)))))
    }

    /// Prepares a collective to be started again and again (MPI 5.0, 6.13).
    ///
    /// # Errors
    /// When a function that must not communicate does.
    pub fn prepare_plan(&self, plan: Plan, comm: &Arc<Comm>) -> Outcome<Key> {
        let mut request = Request::new(State::Inactive, Some(Arc::clone(comm)));
        request.again = Some(Box::new(Repeated(Arc::new(Mutex::new(plan)))));
        Ok(self.core()?.file(request))
    }
}
