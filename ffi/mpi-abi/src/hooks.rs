//! Where the entry points meet the process that MPI runs in: its state and its error handlers.

use std::ffi::c_int;
use std::sync::atomic::{AtomicU8, Ordering};

use cohost::mpi::failure::Failure;

use crate::enter::Scope;

/// Where the process is between start and end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum State {
    Before,
    /// Initialized, or a session is open.
    Running,
    Finalized,
}

static STATE: AtomicU8 = AtomicU8::new(State::Before as u8);

/// The state now.
pub(crate) fn state() -> State {
    match STATE.load(Ordering::Relaxed) {
        0 => State::Before,
        1 => State::Running,
        _ => State::Finalized,
    }
}

/// Calls the error handler of the scope and says what the call returns. Until there are others,
/// all errors are fatal.
pub(crate) fn raise(call: &str, scope: Scope, failure: &Failure) -> c_int {
    let of = match scope {
        Scope::Comm(handle) => format!(" on communicator {:#x}", handle.0),
        Scope::Win(handle) => format!(" on window {:#x}", handle.0),
        Scope::File(handle) => format!(" on file {:#x}", handle.0),
        Scope::Session(handle) => format!(" on session {:#x}", handle.0),
        Scope::Nothing | Scope::Tool => String::new(),
    };
    eprintln!("cohost: {call}{of}: {failure}");
    std::process::exit(failure.code().clamp(1, 255));
}
