//! Sessions: MPI for one part of an application, without the world (MPI 5.0, 11.3).

use std::sync::{Arc, Mutex, PoisonError};

use super::errhandler::Errhandler;
use super::failure::{Class, Outcome, fail};
use super::group::Group;
use super::process::{Attachment, Process};

/// The sets of processes that every session has.
pub const SETS: [&str; 2] = ["mpi://WORLD", "mpi://SELF"];

/// A session.
#[derive(Debug)]
pub struct Session {
    errhandler: Mutex<Errhandler>,
    /// Its hints.
    pub hints: Vec<(String, String)>,
    /// Its own buffer for buffered sends.
    pub buffer: Arc<Attachment>,
}

impl Session {
    /// A session with this error handler and hints.
    #[must_use]
    pub fn new(errhandler: Errhandler, hints: Vec<(String, String)>) -> Self {
        Self { errhandler: Mutex::new(errhandler), hints, buffer: Arc::default() }
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
}

impl Process {
    /// The processes of a set (`MPI_Group_from_session_pset`).
    ///
    /// # Errors
    /// `MPI_ERR_ARG` when there is no such set.
    pub fn set(&self, name: &str, session: &Session) -> Outcome<Group> {
        let group = |members| Group::new(members, self.rank()).of_session(&session.buffer);
        let [world, own] = SETS;
        if name.eq_ignore_ascii_case(world) {
            return Ok(group((0..self.size()).collect()));
        }
        if name.eq_ignore_ascii_case(own) {
            return Ok(group([self.rank()].into()));
        }
        fail(Class::Arg, format!("there is no set of processes {name:?}: there are {SETS:?}"))
    }
}
