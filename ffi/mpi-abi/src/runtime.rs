//! The one process that the C interface is about, and what its handles stand for.

use std::ops::Deref;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use cohost::mpi::comm::Comm;
use cohost::mpi::datatype::Datatype;
use cohost::mpi::errhandler::Errhandler;
use cohost::mpi::failure::{Class, Outcome, fail};
use cohost::mpi::process::Process;
use cohost::mpi::tools::Settings;
use cohost::proto::Key;

use crate::args::{Handle, Status};
use crate::constants::{
    MPI_ANY_SOURCE, MPI_COMM_NULL, MPI_COMM_SELF, MPI_COMM_WORLD, MPI_DATATYPE_NULL,
    MPI_REQUEST_NULL, MPI_SUCCESS,
};
use crate::handles::{self, Shared, Table};
use crate::hooks;

/// Settings, which tools may change until the job is joined.
pub(crate) static SETTINGS: Settings = Settings::new();
/// Set when the job is joined, and never again.
static PROCESS: OnceLock<Process> = OnceLock::new();

/// Held by the thread that joins.
static JOINING: Mutex<()> = Mutex::new(());

/// Communicators but for the predefined.
pub(crate) static COMMS: Shared<Comm> = Table::new(Class::Comm, "communicator");
/// Datatypes but for the predefined.
pub(crate) static TYPES: Table<Datatype> = Table::new(Class::Type, "datatype");

/// Something that a handle stands for: a predefined one costs no count.
#[derive(Debug)]
pub(crate) enum Ref<T: 'static> {
    Fixed(&'static T),
    Counted(T),
}

impl<T> Deref for Ref<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        match self {
            Self::Fixed(value) => value,
            Self::Counted(value) => value,
        }
    }
}

/// The process.
///
/// # Errors
/// When it has not joined a job yet, and has no session that could.
#[inline]
pub(crate) fn process() -> Outcome<&'static Process> {
    match PROCESS.get() {
        Some(process) => Ok(process),
        None => join_for_session(),
    }
}

/// Opening a session is local (MPI 5.0, 11.3.1): other ranks may never do so. The job is joined,
/// which takes all of them, when the first call needs it.
#[cold]
fn join_for_session() -> Outcome<&'static Process> {
    match hooks::sessions().load(Ordering::Acquire) {
        0 => fail(Class::Other, "MPI is not initialized: call MPI_Init first"),
        _ => join(true),
    }
}

/// The process, once it has joined.
pub(crate) fn joined() -> Option<&'static Process> {
    PROCESS.get()
}

/// Joins the job, unless that was done before.
///
/// # Errors
/// When the launcher cannot be reached, or the environment makes no sense.
pub(crate) fn join(threads: bool) -> Outcome<&'static Process> {
    if let Some(process) = PROCESS.get() {
        return Ok(process);
    }
    // Several threads may be the first to need it, and only one may join.
    let _one = JOINING.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(process) = PROCESS.get() {
        return Ok(process);
    }
    // A session was told that it may have threads.
    let threads = threads || hooks::sessions().load(Ordering::Acquire) > 0;
    let process = Process::with_settings(SETTINGS.fix()?, threads)?;
    process.world().handle.store(MPI_COMM_WORLD.0, Ordering::Relaxed);
    process.own().handle.store(MPI_COMM_SELF.0, Ordering::Relaxed);
    Ok(PROCESS.get_or_init(|| process))
}

/// A communicator.
///
/// # Errors
/// `MPI_ERR_COMM` when there is none.
#[inline]
pub(crate) fn comm(handle: Handle) -> Outcome<Ref<Arc<Comm>>> {
    match handle {
        MPI_COMM_WORLD => Ok(Ref::Fixed(process()?.world())),
        MPI_COMM_SELF => Ok(Ref::Fixed(process()?.own())),
        _ => other_comm(handle),
    }
}

fn other_comm(handle: Handle) -> Outcome<Ref<Arc<Comm>>> {
    match handle {
        MPI_COMM_NULL => COMMS.null(),
        _ => COMMS.get(handle).map(Ref::Counted),
    }
}

/// Gives a communicator a handle.
///
/// # Errors
/// `MPI_ERR_NO_MEM` when there are too many.
pub(crate) fn new_comm(comm: Arc<Comm>) -> Outcome<Handle> {
    let handle = COMMS.insert(Arc::clone(&comm))?;
    comm.handle.store(handle.0, Ordering::Relaxed);
    Ok(handle)
}

/// A datatype.
///
/// # Errors
/// `MPI_ERR_TYPE` when there is none.
#[inline]
pub(crate) fn datatype(handle: Handle) -> Outcome<Ref<Datatype>> {
    match Datatype::by_handle(handle.0) {
        Some(datatype) => Ok(Ref::Fixed(datatype)),
        None => other_type(handle),
    }
}

fn other_type(handle: Handle) -> Outcome<Ref<Datatype>> {
    if handle == MPI_DATATYPE_NULL {
        return TYPES.null();
    }
    TYPES.get(handle).map(Ref::Counted)
}

/// Gives a datatype a handle.
///
/// # Errors
/// `MPI_ERR_NO_MEM` when there are too many.
pub(crate) fn new_type(datatype: Datatype) -> Outcome<Handle> {
    TYPES.insert_with(|handle| {
        datatype.handle().store(handle.0, Ordering::Relaxed);
        datatype
    })
}

/// The handle of a predefined datatype. Those without a name get theirs when first asked for.
///
/// # Errors
/// As for [`new_type`].
pub(crate) fn predefined_type(datatype: &Datatype) -> Outcome<Handle> {
    static FIRST: Mutex<()> = Mutex::new(());
    let _one_at_a_time = FIRST.lock().unwrap_or_else(PoisonError::into_inner);
    match datatype.handle().load(Ordering::Relaxed) {
        0 => new_type(datatype.clone()),
        handle => Ok(Handle(handle)),
    }
}

/// The request of a handle; none for `MPI_REQUEST_NULL`.
///
/// # Errors
/// `MPI_ERR_REQUEST` when there is none.
pub(crate) fn request(handle: Handle) -> Outcome<Option<Key>> {
    if handle == MPI_REQUEST_NULL {
        return Ok(None);
    }
    let find = |(index, generation): (usize, usize)| -> Outcome<Option<Key>> {
        let key = process()?.core()?.requests.key_at(index);
        Ok(key.filter(|key| key.generation() as usize % handles::GENERATIONS == generation))
    };
    match handles::parts(handle).map(find).transpose()?.flatten() {
        Some(key) => Ok(Some(key)),
        None => fail(
            Class::Request,
            format!("no request has the handle {:#x}: it is complete or was freed", handle.0),
        ),
    }
}

/// Writes a status, unless it is to be ignored. The error in it stays as it is.
///
/// # Safety
/// The address is null or one that the call may write to.
#[inline]
pub(crate) unsafe fn put_status(at: *mut Status, status: &cohost::mpi::request::Status) {
    if at.is_null() {
        return;
    }
    // SAFETY: the caller's promise.
    let out = unsafe { &mut *at };
    out.source = status.source;
    out.tag = status.tag;
    out.set_count(status.count);
    out.set_cancelled(status.cancelled);
    // Only an empty status says so; else the field is for calls that return several.
    if status.source == MPI_ANY_SOURCE {
        out.error = MPI_SUCCESS;
    }
}

/// Writes the handle of a new request.
///
/// # Errors
/// `MPI_ERR_NO_MEM` when there are more than handles can tell apart.
///
/// # Safety
/// The address is one that the call may write to.
pub(crate) unsafe fn put_request(at: *mut Handle, key: Key) -> Outcome<()> {
    let handle = handles::checked(key.index(), key.generation() as usize)?;
    // SAFETY: the caller's promise.
    unsafe { *at = handle };
    Ok(())
}

/// The handler for failures that concern no object (MPI 5.0, 9.3): that of `MPI_COMM_SELF`.
pub(crate) fn default_errhandler() -> (Errhandler, Handle) {
    let handler = joined().map_or(Errhandler::Fatal, |process| process.own().errhandler());
    (handler, MPI_COMM_SELF)
}

/// What the library makes of a status of the application.
pub(crate) fn status_of(status: &Status) -> cohost::mpi::request::Status {
    cohost::mpi::request::Status {
        source: status.source,
        tag: status.tag,
        count: status.count(),
        cancelled: status.cancelled(),
    }
}
