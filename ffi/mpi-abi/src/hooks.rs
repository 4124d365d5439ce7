//! Where the entry points meet the process that MPI runs in: its state and its error handlers.

use std::cell::RefCell;
use std::ffi::c_int;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

use cohost::mpi::errhandler::Errhandler;
use cohost::mpi::failure::{Failure, Outcome};

use crate::args::Handle;
use crate::calls::session_errhandler;
use crate::constants::MPI_SESSION_NULL;
use crate::enter::Scope;
use crate::runtime;

/// Where the process is between start and end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum State {
    Before,
    /// Initialized, or a session is open.
    Running,
    Finalized,
}

/// Between `MPI_Init` and `MPI_Finalize`.
static WORLD: AtomicU8 = AtomicU8::new(State::Before as u8);
/// Sessions that are open.
static SESSIONS: AtomicUsize = AtomicUsize::new(0);

/// Where the process is between `MPI_Init` and `MPI_Finalize`.
#[inline]
pub(crate) fn world_state() -> State {
    match WORLD.load(Ordering::Relaxed) {
        0 => State::Before,
        1 => State::Running,
        _ => State::Finalized,
    }
}

/// Goes on to the next state.
pub(crate) fn set_world_state(state: State) {
    WORLD.store(state as u8, Ordering::Relaxed);
}

/// Sessions that are open.
pub(crate) fn sessions() -> &'static AtomicUsize {
    &SESSIONS
}

/// The state now, by either of the two ways to begin.
#[inline]
pub(crate) fn state() -> State {
    let world = world_state();
    if world != State::Running && SESSIONS.load(Ordering::Relaxed) > 0 {
        return State::Running;
    }
    world
}

thread_local! {
    /// Whom the failure of this call goes to, if not to the handler of its scope.
    static INSTEAD: RefCell<Option<Errhandler>> = const { RefCell::new(None) };
}

/// Fails, with a failure that is for this handler: that of an object which was not made.
///
/// # Errors
/// Always.
pub(crate) fn hand_to(handler: Errhandler, failure: Failure) -> Outcome<()> {
    INSTEAD.set(Some(handler));
    Err(failure)
}

/// Calls the error handler of the scope and says what the call returns (MPI 5.0, 9.3).
pub(crate) fn raise(call: &str, scope: Scope, failure: &Failure) -> c_int {
    let code = failure.code();
    // Calls that name requests only fail on the communicator of the operation (MPI 5.0, 9.3).
    let scope = match (scope, failure.on) {
        (Scope::Nothing, Some(comm)) => Scope::Comm(Handle(comm)),
        _ => scope,
    };
    let instead = INSTEAD.take().map(|handler| (handler, MPI_SESSION_NULL));
    let (handler, object) = instead.unwrap_or_else(|| handler_of(scope));
    match handler {
        Errhandler::Return => code,
        Errhandler::Fatal | Errhandler::Abort => fatal(call, failure),
        Errhandler::User(user) => {
            (user.function)(object.0, code);
            code
        }
    }
}

/// The handler that a failure in this scope goes to, and the object that it is told of.
fn handler_of(scope: Scope) -> (Errhandler, Handle) {
    let found = match scope {
        Scope::Comm(handle) => runtime::comm(handle).ok().map(|comm| (comm.errhandler(), handle)),
        Scope::Session(handle) => session_errhandler(handle).map(|handler| (handler, handle)),
        Scope::File(handle) => Some((crate::calls::file_handler(), handle)),
        _ => None,
    };
    found.unwrap_or_else(runtime::default_errhandler)
}

/// Ends the job with a message.
fn fatal(call: &str, failure: &Failure) -> c_int {
    let why = format!("{call}: {failure}");
    let Err(failure) = end_job(failure.code(), &why) else { return 0 };
    failure.code()
}

/// Ends the whole job.
///
/// # Errors
/// Never: it does not return.
pub(crate) fn end_job(code: c_int, why: &str) -> Outcome<()> {
    let rank = runtime::joined().map(|process| process.rank().to_string());
    eprintln!("cohost: rank {}: {why}; the job ends", rank.as_deref().unwrap_or("unknown"));
    if let Some(process) = runtime::joined() {
        process.abort(code, why);
    }
    let shown = if (1..=255).contains(&code) { code } else { 1 };
    // Not `exit`: handlers of the application may wait for what never comes.
    // SAFETY: it has no preconditions.
    unsafe { libc::_exit(shown) }
}
