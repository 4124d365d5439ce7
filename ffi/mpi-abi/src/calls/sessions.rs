//! Sessions (MPI 5.0, 11.3).

use std::ffi::{c_char, c_int, c_void};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use cohost::mpi::errhandler::{Attached, Errhandler};
use cohost::mpi::failure::{Class, Failure, Outcome, fail};
use cohost::mpi::process::Process;
use cohost::mpi::session::{SETS, Session};

use super::buffer;
use super::errors::{handle_of, handler};
use super::group::new_group;
use super::info::{entries, new_info};
use crate::args::{Handle, OutNumber};
use crate::constants::{MPI_MAX_PSET_NAME_LEN, MPI_SESSION_NULL};
use crate::enter::Scope;
use crate::handles::{Shared, Table};
use crate::hooks::{self, State};
use crate::memory::put;
use crate::{runtime, text};

static SESSIONS: Shared<Session> = Table::new(Class::Session, "session");
/// Whether this process has left its job.
static LEFT: AtomicBool = AtomicBool::new(false);
/// The process that sees to it at exit that the job is left; 0 for none yet.
static AT_EXIT: AtomicU32 = AtomicU32::new(0);

/// The hint for the level of thread support.
const LEVEL: &str = "thread_level";
/// The levels, ascending.
const LEVELS: [&str; 4] =
    ["MPI_THREAD_SINGLE", "MPI_THREAD_FUNNELED", "MPI_THREAD_SERIALIZED", "MPI_THREAD_MULTIPLE"];

fn session(handle: Handle) -> Outcome<Arc<Session>> {
    if handle == MPI_SESSION_NULL { SESSIONS.null() } else { SESSIONS.get(handle) }
}

/// The error handler of a session, if there is one.
pub(crate) fn session_errhandler(handle: Handle) -> Option<Errhandler> {
    session(handle).ok().map(|session| session.errhandler())
}

/// Leaves the job when neither the world nor a session needs it any more.
///
/// # Errors
/// When a peer died before.
pub(crate) fn leave_if_last() -> Outcome<()> {
    let needed = hooks::sessions().load(Ordering::Acquire) > 0;
    if needed || LEFT.swap(true, Ordering::AcqRel) {
        return Ok(());
    }
    runtime::process()?.finalize()
}

/// At the exit of a process that had sessions only: until then there could be another. One that
/// ends with a session open ends too early, of which the others should hear.
extern "C" fn at_exit() {
    // A child that was forked has our memory and our connections, and is no rank.
    if AT_EXIT.load(Ordering::Acquire) != std::process::id() {
        return;
    }
    if hooks::world_state() == State::Before && runtime::joined().is_some() {
        // There is nobody left to tell.
        let _ = std::panic::catch_unwind(leave_if_last);
    }
}

/// The level of thread support that is asked for, as a place in `LEVELS`.
fn level(hints: &[(String, String)]) -> Outcome<usize> {
    let Some((_, name)) = hints.iter().find(|(key, _)| key == LEVEL) else { return Ok(0) };
    match LEVELS.iter().position(|it| it == name) {
        Some(level) => Ok(level),
        None => fail(Class::Arg, format!("{name:?} is not a level of thread support")),
    }
}

/// Opens a session, which is local: whatever needs the job first joins it.
fn open(errhandler: Errhandler, given: &[(String, String)]) -> Outcome<Handle> {
    let level = level(given)?;
    if LEFT.load(Ordering::Acquire) {
        return fail(Class::Other, "this process has left its job: no session can be opened");
    }
    // Sessions do not know of each other: any may have a thread of its own.
    let threads = runtime::joined().is_none_or(Process::threads);
    let granted = if threads { level } else { level.min(2) };
    let hints = vec![(LEVEL.to_owned(), LEVELS[granted].to_owned())];
    let handle = SESSIONS.insert(Arc::new(Session::new(errhandler, hints)))?;
    hooks::sessions().fetch_add(1, Ordering::AcqRel);
    let me = std::process::id();
    if AT_EXIT.compare_exchange(0, me, Ordering::AcqRel, Ordering::Acquire).is_ok() {
        // SAFETY: the function stays as long as the process: nobody unloads the library before.
        unsafe { libc::atexit(at_exit) };
    }
    Ok(handle)
}

pub(crate) unsafe fn session_init(
    info: Handle,
    errhandler: Handle,
    session: *mut Handle,
) -> Outcome<()> {
    let errhandler = handler(errhandler, Attached::Session)?;
    let handle = match entries(info).and_then(|given| open(errhandler.clone(), &given)) {
        Ok(handle) => handle,
        // The session's own handler is for failures of this call as well (MPI 5.0, 11.3.1).
        Err(failure) => return hooks::hand_to(errhandler, failure),
    };
    // SAFETY: the application gives an address to write to.
    unsafe { put(session, handle) };
    Ok(())
}

pub(crate) unsafe fn session_finalize(session: *mut Handle) -> Outcome<()> {
    // SAFETY: the application gives the address of a handle.
    let handle = unsafe { session.read() };
    self::session(handle)?;
    SESSIONS.remove(handle)?;
    let others = hooks::sessions().fetch_sub(1, Ordering::AcqRel) - 1;
    // SAFETY: as above.
    unsafe { put(session, MPI_SESSION_NULL) };
    // The end of the world left it to us.
    if others == 0 && hooks::world_state() == State::Finalized { leave_if_last() } else { Ok(()) }
}

pub(crate) unsafe fn session_get_num_psets(
    session: Handle,
    _info: Handle,
    npset_names: *mut c_int,
) -> Outcome<()> {
    self::session(session)?;
    // SAFETY: the application gives an address to write to.
    unsafe { put(npset_names, SETS.len() as c_int) };
    Ok(())
}

pub(crate) unsafe fn session_get_nth_pset(
    session: Handle,
    _info: Handle,
    n: c_int,
    pset_len: *mut c_int,
    pset_name: *mut c_char,
) -> Outcome<()> {
    self::session(session)?;
    let Some(name) = usize::try_from(n).ok().and_then(|n| SETS.get(n)) else {
        return fail(Class::Arg, format!("there is no set of processes with the number {n}"));
    };
    // SAFETY: the application gives the address of a number.
    let room = unsafe { pset_len.read() };
    if room > 0 {
        // SAFETY: the application gives room for as many characters.
        unsafe { text::write(pset_name, room, name) };
    }
    // SAFETY: as above.
    unsafe { put(pset_len, name.len() as c_int + 1) };
    Ok(())
}

pub(crate) unsafe fn session_get_pset_info(
    session: Handle,
    pset_name: *const c_char,
    info: *mut Handle,
) -> Outcome<()> {
    let session = self::session(session)?;
    // SAFETY: the application gives a string.
    let name = unsafe { text::read(pset_name, MPI_MAX_PSET_NAME_LEN, Class::Arg) }?;
    let size = runtime::process()?.set(&name, &session)?.size();
    let handle = new_info(vec![("mpi_size".to_owned(), size.to_string())])?;
    // SAFETY: the application gives an address to write to.
    unsafe { put(info, handle) };
    Ok(())
}

pub(crate) unsafe fn session_get_info(session: Handle, info_used: *mut Handle) -> Outcome<()> {
    let handle = new_info(self::session(session)?.hints.clone())?;
    // SAFETY: the application gives an address to write to.
    unsafe { put(info_used, handle) };
    Ok(())
}

pub(crate) unsafe fn group_from_session_pset(
    session: Handle,
    pset_name: *const c_char,
    newgroup: *mut Handle,
) -> Outcome<()> {
    let session = self::session(session)?;
    // SAFETY: the application gives a string.
    let name = unsafe { text::read(pset_name, MPI_MAX_PSET_NAME_LEN, Class::Arg) }?;
    let handle = new_group(Arc::new(runtime::process()?.set(&name, &session)?))?;
    // SAFETY: the application gives an address to write to.
    unsafe { put(newgroup, handle) };
    Ok(())
}

pub(crate) unsafe fn session_set_errhandler(session: Handle, errhandler: Handle) -> Outcome<()> {
    self::session(session)?.set_errhandler(handler(errhandler, Attached::Session)?);
    Ok(())
}

pub(crate) unsafe fn session_get_errhandler(
    session: Handle,
    errhandler: *mut Handle,
) -> Outcome<()> {
    let handle = handle_of(self::session(session)?.errhandler())?;
    // SAFETY: the application gives an address to write to.
    unsafe { put(errhandler, handle) };
    Ok(())
}

pub(crate) unsafe fn session_call_errhandler(session: Handle, errorcode: c_int) -> Outcome<()> {
    self::session(session)?;
    let failure = Failure::of_callback(errorcode);
    hooks::raise("MPI_Session_call_errhandler", Scope::Session(session), &failure);
    Ok(())
}

pub(crate) unsafe fn session_attach_buffer(
    session: Handle,
    at: *mut c_void,
    size: i64,
) -> Outcome<()> {
    buffer::attach(&self::session(session)?.buffer, at, size)
}

pub(crate) unsafe fn session_detach_buffer(
    session: Handle,
    at: *mut c_void,
    size: OutNumber,
) -> Outcome<()> {
    // SAFETY: the contract is the same.
    unsafe { buffer::detach(&self::session(session)?.buffer, at, size) }
}

pub(crate) unsafe fn session_flush_buffer(session: Handle) -> Outcome<()> {
    buffer::flush(&self::session(session)?.buffer)
}

pub(crate) unsafe fn session_iflush_buffer(session: Handle, request: *mut Handle) -> Outcome<()> {
    // SAFETY: the contract is the same.
    unsafe { buffer::iflush(Arc::clone(&self::session(session)?.buffer), request) }
}
