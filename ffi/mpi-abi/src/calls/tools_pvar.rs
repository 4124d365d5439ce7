//! Performance variables of the tool interface (MPI 5.0, 15.3.7): counters.

use std::ffi::{c_char, c_int, c_ulonglong, c_void};
use std::sync::{Arc, Mutex, PoisonError};

use cohost::mpi::failure::{Class, Outcome, fail};
use cohost::mpi::process::Process;
use cohost::mpi::tools::{VARIABLES, Watch};
use cohost::tally::Tally;

use super::tools::{at_index, give, give_number, index_of, put, put_text, ready};
use crate::args::Handle;
use crate::constants::{
    MPI_T_BIND_NO_OBJECT, MPI_T_ENUM_NULL, MPI_T_PVAR_ALL_HANDLES, MPI_T_PVAR_HANDLE_NULL,
    MPI_T_PVAR_SESSION_NULL, MPI_UNSIGNED_LONG_LONG,
};
use crate::handles::{Shared, Table};
use crate::runtime;

/// Handles of one user of the interface, who does not disturb the others.
#[derive(Debug, Default)]
struct Session {
    handles: Mutex<Vec<Handle>>,
}

/// What a handle stands for, and in which session.
#[derive(Debug)]
struct Looking {
    session: Handle,
    watch: Watch,
}

static SESSIONS: Shared<Session> =
    Table::new(Class::TInvalidSession, "session of performance variables");
static HANDLES: Shared<Looking> =
    Table::new(Class::TInvalidHandle, "performance variable of a tool");

impl Session {
    fn with<T>(&self, f: impl FnOnce(&mut Vec<Handle>) -> T) -> T {
        f(&mut self.handles.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What is counted; nothing before the job is joined.
fn tally() -> Option<&'static Tally> {
    runtime::joined().map(Process::tally)
}

/// Takes all handles and sessions back.
pub(super) fn forget_all() {
    SESSIONS.clear();
    for looking in HANDLES.clear() {
        looking.watch.close(tally());
    }
}

/// A handle of this session.
fn looking(session: Handle, handle: Handle) -> Outcome<Arc<Looking>> {
    ready()?;
    SESSIONS.get(session)?;
    let looking = HANDLES.get(handle)?;
    if looking.session != session {
        return fail(Class::TInvalidHandle, "the handle belongs to another session");
    }
    Ok(looking)
}

/// Does something with a handle, or with all of a session that it can be done with.
fn each(
    session: Handle,
    handle: Handle,
    act: impl Fn(&Watch, Option<&Tally>) -> Outcome<()>,
) -> Outcome<()> {
    if handle != MPI_T_PVAR_ALL_HANDLES {
        return act(&looking(session, handle)?.watch, tally());
    }
    ready()?;
    let all = SESSIONS.get(session)?.with(|handles| handles.clone());
    for looking in all.into_iter().filter_map(|handle| HANDLES.get(handle).ok()) {
        if !looking.watch.variable().is_continuous() {
            act(&looking.watch, tally())?;
        }
    }
    Ok(())
}

pub(crate) unsafe fn t_pvar_get_num(num_pvar: *mut c_int) -> Outcome<()> {
    ready()?;
    // SAFETY: the tool gives an address to write to.
    unsafe { give_number(num_pvar, VARIABLES.len()) }
}

pub(crate) unsafe fn t_pvar_get_info(
    pvar_index: c_int,
    name: *mut c_char,
    name_len: *mut c_int,
    verbosity: *mut c_int,
    var_class: *mut c_int,
    datatype: *mut Handle,
    enumtype: *mut Handle,
    desc: *mut c_char,
    desc_len: *mut c_int,
    bind: *mut c_int,
    readonly: *mut c_int,
    continuous: *mut c_int,
    atomic: *mut c_int,
) -> Outcome<()> {
    ready()?;
    let variable = at_index(VARIABLES, pvar_index, "performance variable")?;
    // SAFETY: the tool gives addresses to write to, or null; so below.
    unsafe { put_text(name, name_len, variable.name) };
    // SAFETY: as above.
    unsafe { put_text(desc, desc_len, variable.description) };
    // SAFETY: as above.
    unsafe { put(datatype, MPI_UNSIGNED_LONG_LONG) };
    // SAFETY: as above.
    unsafe { put(enumtype, MPI_T_ENUM_NULL) };
    let level = variable.is_continuous();
    let numbers = [
        (verbosity, variable.verbosity as c_int),
        (var_class, variable.class as c_int),
        (bind, MPI_T_BIND_NO_OBJECT),
        (readonly, level.into()),
        (continuous, level.into()),
        (atomic, (!level).into()),
    ];
    for (at, number) in numbers {
        // SAFETY: as above.
        unsafe { put(at, number) };
    }
    Ok(())
}

pub(crate) unsafe fn t_pvar_get_index(
    name: *const c_char,
    var_class: c_int,
    pvar_index: *mut c_int,
) -> Outcome<()> {
    ready()?;
    // SAFETY: the tool gives a string.
    let at = unsafe {
        index_of(VARIABLES, name, |it, name| it.name == name && it.class as c_int == var_class)
    }?;
    // SAFETY: the tool gives an address to write to.
    unsafe { give_number(pvar_index, at) }
}

pub(crate) unsafe fn t_pvar_session_create(pe_session: *mut Handle) -> Outcome<()> {
    ready()?;
    if pe_session.is_null() {
        return fail(Class::TInvalid, "the address for the session is null");
    }
    let made = SESSIONS.insert(Arc::default()).or_else(|_| {
        fail(Class::TOutOfSessions, "too many sessions of performance variables: free some")
    })?;
    // SAFETY: the tool gives an address to write to.
    unsafe { give(pe_session, made) }
}

pub(crate) unsafe fn t_pvar_session_free(pe_session: *mut Handle) -> Outcome<()> {
    ready()?;
    // SAFETY: the tool gives the address of a session.
    let Some(at) = (unsafe { pe_session.as_mut() }) else {
        return fail(Class::TInvalidSession, "the address of the session is null");
    };
    let session = SESSIONS.remove(*at)?;
    for handle in session.with(std::mem::take) {
        if let Ok(looking) = HANDLES.remove(handle) {
            looking.watch.close(tally());
        }
    }
    *at = MPI_T_PVAR_SESSION_NULL;
    Ok(())
}

pub(crate) unsafe fn t_pvar_handle_alloc(
    pe_session: Handle,
    pvar_index: c_int,
    _obj_handle: *mut c_void,
    handle: *mut Handle,
    count: *mut c_int,
) -> Outcome<()> {
    ready()?;
    let session = SESSIONS.get(pe_session)?;
    let variable = at_index(VARIABLES, pvar_index, "performance variable")?;
    if handle.is_null() {
        return fail(Class::TInvalid, "the address for the handle is null");
    }
    let looking = Looking { session: pe_session, watch: Watch::new(variable) };
    let made = HANDLES.insert(Arc::new(looking)).or_else(|_| {
        fail(Class::TOutOfHandles, "too many performance variables are looked at: free some")
    })?;
    session.with(|handles| handles.push(made));
    // SAFETY: the tool gives an address to write to.
    unsafe { give(handle, made) }?;
    // SAFETY: as above, or null.
    unsafe { put(count, 1) };
    Ok(())
}

pub(crate) unsafe fn t_pvar_handle_free(pe_session: Handle, handle: *mut Handle) -> Outcome<()> {
    ready()?;
    // SAFETY: the tool gives the address of a handle.
    let Some(at) = (unsafe { handle.as_mut() }) else {
        return fail(Class::TInvalidHandle, "the address of the handle is null");
    };
    let found = looking(pe_session, *at)?;
    HANDLES.remove(*at)?;
    SESSIONS.get(pe_session)?.with(|handles| handles.retain(|it| it != at));
    found.watch.close(tally());
    *at = MPI_T_PVAR_HANDLE_NULL;
    Ok(())
}

pub(crate) unsafe fn t_pvar_start(pe_session: Handle, handle: Handle) -> Outcome<()> {
    each(pe_session, handle, Watch::start)
}

pub(crate) unsafe fn t_pvar_stop(pe_session: Handle, handle: Handle) -> Outcome<()> {
    each(pe_session, handle, Watch::stop)
}

pub(crate) unsafe fn t_pvar_reset(pe_session: Handle, handle: Handle) -> Outcome<()> {
    each(pe_session, handle, Watch::reset)
}

pub(crate) unsafe fn t_pvar_read(
    pe_session: Handle,
    handle: Handle,
    buf: *mut c_void,
) -> Outcome<()> {
    let value = looking(pe_session, handle)?.watch.read(tally());
    // SAFETY: the tool gives room for one number.
    unsafe { give(buf.cast::<c_ulonglong>(), value) }
}

pub(crate) unsafe fn t_pvar_readreset(
    pe_session: Handle,
    handle: Handle,
    buf: *mut c_void,
) -> Outcome<()> {
    let looking = looking(pe_session, handle)?;
    if buf.is_null() {
        return fail(Class::TInvalid, "the address for the result is null");
    }
    let value = looking.watch.read_reset(tally())?;
    // SAFETY: the tool gives room for one number.
    unsafe { give(buf.cast::<c_ulonglong>(), value) }
}

pub(crate) unsafe fn t_pvar_write(
    pe_session: Handle,
    handle: Handle,
    buf: *const c_void,
) -> Outcome<()> {
    let looking = looking(pe_session, handle)?;
    // SAFETY: the tool gives one number.
    let Some(value) = (unsafe { buf.cast::<c_ulonglong>().as_ref() }) else {
        return fail(Class::TInvalid, "the address of the value is null");
    };
    looking.watch.write(*value, tally())
}
