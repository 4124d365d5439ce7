//! What happens when a call fails (MPI 5.0, 9.3).

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

/// Kind of object that an error handler can be set on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attached {
    /// Communicators.
    Comm,
    /// Windows.
    Win,
    /// Files.
    File,
    /// Sessions.
    Session,
}

/// An error handler.
#[derive(Clone, Debug)]
pub enum Errhandler {
    /// The job ends (`MPI_ERRORS_ARE_FATAL`).
    Fatal,
    /// The code is returned (`MPI_ERRORS_RETURN`).
    Return,
    /// The processes of the communicator end (`MPI_ERRORS_ABORT`).
    Abort,
    /// The application's own.
    User(Arc<UserHandler>),
}

/// What an error handler of the application is called with: the handle of the object, and the code.
pub type HandlerFunction = Box<dyn Fn(usize, i32) + Send + Sync>;

/// An error handler of the application.
pub struct UserHandler {
    /// Whatever the outside knows it by.
    pub handle: AtomicUsize,
    /// Handles that the application has to free.
    pub references: AtomicUsize,
    /// What it can be set on.
    pub attached: Attached,
    /// The function.
    pub function: HandlerFunction,
}

impl fmt::Debug for UserHandler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UserHandler {{ {:?} }}", self.attached)
    }
}
