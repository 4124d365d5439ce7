//! The way into every call and out of it: whether it is allowed now, panics, error handlers.

use std::any::Any;
use std::ffi::c_int;
use std::panic::{AssertUnwindSafe, catch_unwind};

use cohost::mpi::failure::{Class, Failure, Outcome, fail};

use crate::args::Handle;
use crate::constants::MPI_SUCCESS;
use crate::hooks::{self, State};

/// What is known of a call beforehand.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) name: &'static str,
    pub(crate) allowed: Allowed,
}

/// When a call is allowed (MPI 5.0, 11.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Allowed {
    Always,
    Running,
}

/// Whose error handler is called.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Scope {
    Comm(Handle),
    #[allow(dead_code, reason = "there is no window yet that could have a handler")]
    Win(Handle),
    File(Handle),
    Session(Handle),
    /// None of those: `MPI_COMM_SELF`'s.
    Nothing,
    /// None at all: calls of the tool interface only return their code.
    Tool,
}

impl Scope {
    /// The scope of a handle that is passed by its address.
    ///
    /// # Safety
    /// The address is null or one that the call may read.
    pub(crate) unsafe fn at(make: fn(Handle) -> Scope, at: *const Handle) -> Self {
        // SAFETY: the caller's promise.
        unsafe { at.as_ref() }.map_or(Self::Nothing, |handle| make(*handle))
    }
}

/// Runs a call and returns its code.
#[inline]
pub(crate) fn enter(
    entry: &'static Entry,
    scope: Scope,
    call: impl FnOnce() -> Outcome<()>,
) -> c_int {
    if entry.allowed == Allowed::Running && hooks::state() != State::Running {
        return raise(entry, scope, &not_now());
    }
    // What a panic leaves half done is behind locks that are poisoned by it.
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(())) => MPI_SUCCESS,
        Ok(Err(failure)) => raise(entry, scope, &failure),
        Err(panic) => raise(entry, scope, &of_panic(panic.as_ref())),
    }
}

/// What a call gives that is not implemented.
#[cold]
pub(crate) fn unsupported() -> Outcome<()> {
    fail(Class::UnsupportedOperation, "cohost does not have this call, see `cohost mpi coverage`")
}

#[cold]
fn not_now() -> Failure {
    match hooks::state() {
        State::Finalized => Failure::new(Class::Other, "MPI was finalized before"),
        _ => Failure::new(Class::Other, "MPI is not initialized: call MPI_Init first"),
    }
}

#[cold]
fn of_panic(panic: &(dyn Any + Send)) -> Failure {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    let text = text.unwrap_or("no message");
    Failure::new(Class::Intern, format!("an error in cohost itself: {text}"))
}

/// Calls the error handler. It may panic no more than the call itself may.
#[cold]
fn raise(entry: &'static Entry, scope: Scope, failure: &Failure) -> c_int {
    if matches!(scope, Scope::Tool) {
        return failure.code();
    }
    catch_unwind(AssertUnwindSafe(|| hooks::raise(entry.name, scope, failure)))
        .unwrap_or_else(|_| std::process::abort())
}

#[cfg(test)]
#[path = "enter_tests.rs"]
mod tests;
