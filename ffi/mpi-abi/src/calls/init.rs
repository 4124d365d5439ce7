//! Beginning and end (MPI 5.0, 11).

use std::ffi::{c_char, c_int};
use std::sync::atomic::{AtomicI32, Ordering};

use cohost::mpi::failure::{Class, Outcome, fail};

use super::sessions::leave_if_last;
use crate::args::Handle;
use crate::constants::{
    MPI_THREAD_FUNNELED, MPI_THREAD_MULTIPLE, MPI_THREAD_SERIALIZED, MPI_THREAD_SINGLE,
};
use crate::hooks::{self, State};
use crate::runtime;

/// The level that `MPI_Init_thread` gave.
static LEVEL: AtomicI32 = AtomicI32::new(MPI_THREAD_SINGLE);
/// A number of the main thread.
static MAIN_THREAD: AtomicI32 = AtomicI32::new(0);

fn this_thread() -> c_int {
    // SAFETY: it has no preconditions.
    unsafe { libc::gettid() }
}

fn begin(required: c_int) -> Outcome<c_int> {
    if hooks::world_state() != State::Before {
        return fail(Class::Other, "MPI_Init was called before: it can be called once only");
    }
    let level = match required {
        MPI_THREAD_MULTIPLE => MPI_THREAD_MULTIPLE,
        MPI_THREAD_SERIALIZED | MPI_THREAD_FUNNELED | MPI_THREAD_SINGLE => required,
        _ => return fail(Class::Arg, format!("{required} is not a level of thread support")),
    };
    let process = runtime::join(level == MPI_THREAD_MULTIPLE)?;
    let several = process.threads() || level != MPI_THREAD_MULTIPLE;
    let level = if several { level } else { MPI_THREAD_SERIALIZED };
    LEVEL.store(level, Ordering::Relaxed);
    MAIN_THREAD.store(this_thread(), Ordering::Relaxed);
    hooks::set_world_state(State::Running);
    Ok(level)
}

pub(crate) unsafe fn init(_argc: *mut c_int, _argv: *mut *mut *mut c_char) -> Outcome<()> {
    begin(MPI_THREAD_SINGLE).map(|_| ())
}

pub(crate) unsafe fn init_thread(
    _argc: *mut c_int,
    _argv: *mut *mut *mut c_char,
    required: c_int,
    provided: *mut c_int,
) -> Outcome<()> {
    let level = begin(required)?;
    // SAFETY: the application gives an address to write to.
    unsafe { *provided = level };
    Ok(())
}

pub(crate) unsafe fn query_thread(provided: *mut c_int) -> Outcome<()> {
    // SAFETY: the application gives an address to write to.
    unsafe { *provided = LEVEL.load(Ordering::Relaxed) };
    Ok(())
}

pub(crate) unsafe fn is_thread_main(flag: *mut c_int) -> Outcome<()> {
    let main = MAIN_THREAD.load(Ordering::Relaxed) == this_thread();
    // SAFETY: the application gives an address to write to.
    unsafe { *flag = main.into() };
    Ok(())
}

pub(crate) unsafe fn initialized(flag: *mut c_int) -> Outcome<()> {
    let yes = hooks::world_state() != State::Before;
    // SAFETY: the application gives an address to write to.
    unsafe { *flag = yes.into() };
    Ok(())
}

pub(crate) unsafe fn finalized(flag: *mut c_int) -> Outcome<()> {
    let yes = hooks::world_state() == State::Finalized;
    // SAFETY: the application gives an address to write to.
    unsafe { *flag = yes.into() };
    Ok(())
}

pub(crate) unsafe fn finalize() -> Outcome<()> {
    let process = runtime::process()?;
    // What hangs on it goes first, while everything still works (MPI 5.0, 11.4.2).
    process.own().attributes.delete_all(process.own().handle.load(Ordering::Relaxed))?;
    process.world().attributes.delete_all(process.world().handle.load(Ordering::Relaxed))?;
    // With a session open, the last one leaves.
    leave_if_last()?;
    hooks::set_world_state(State::Finalized);
    Ok(())
}

pub(crate) unsafe fn abort(_comm: Handle, errorcode: c_int) -> Outcome<()> {
    hooks::end_job(errorcode, &format!("MPI_Abort with code {errorcode}"))
}

/// The level of thread support, in the words of the standard.
pub(crate) fn level_name() -> &'static str {
    match LEVEL.load(Ordering::Relaxed) {
        MPI_THREAD_MULTIPLE => "MPI_THREAD_MULTIPLE",
        MPI_THREAD_SERIALIZED => "MPI_THREAD_SERIALIZED",
        MPI_THREAD_FUNNELED => "MPI_THREAD_FUNNELED",
        _ => "MPI_THREAD_SINGLE",
    }
}
