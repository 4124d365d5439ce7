//! Buffers attached for buffered sends (MPI 5.0, 3.6).

use std::ffi::c_void;
use std::sync::Arc;

use cohost::mpi::failure::{Class, Outcome, fail};
use cohost::mpi::process::{Attached, Attachment};
use cohost::mpi::request::{Request, State, Status, Task};
use cohost::progress::Engine;

use crate::args::{Handle, OutNumber};
use crate::constants::MPI_BUFFER_AUTOMATIC;
use crate::runtime::{comm, process, put_request};

fn of_process() -> Outcome<Arc<Attachment>> {
    Ok(Arc::clone(&process()?.core()?.buffer))
}

fn of_comm(handle: Handle) -> Outcome<Arc<Attachment>> {
    Ok(Arc::clone(&comm(handle)?.buffer))
}

pub(super) fn attach(attachment: &Attachment, buffer: *mut c_void, size: i64) -> Outcome<()> {
    if buffer as usize == MPI_BUFFER_AUTOMATIC {
        return attachment.attach(Attached::Automatic);
    }
    match usize::try_from(size) {
        Ok(size) => attachment.attach(Attached::Given(buffer as usize, size)),
        Err(_) => fail(Class::Arg, format!("a buffer of {size} bytes")),
    }
}

/// Waits until all messages have left the buffer.
pub(super) fn flush(attachment: &Attachment) -> Outcome<()> {
    process()?.until(|_| attachment.is_empty().then_some(()))
}

/// Takes the buffer back when it is empty.
///
/// # Safety
/// The addresses are those that the call was given.
pub(super) unsafe fn detach(
    attachment: &Attachment,
    at: *mut c_void,
    size: OutNumber,
) -> Outcome<()> {
    flush(attachment)?;
    let (buffer, bytes) = match attachment.detach() {
        Some(Attached::Given(buffer, bytes)) => (buffer, bytes),
        Some(Attached::Automatic) => (MPI_BUFFER_AUTOMATIC, 0),
        None => return fail(Class::Buffer, "no buffer is attached"),
    };
    // SAFETY: the caller's promise.
    unsafe { *at.cast::<usize>() = buffer };
    // SAFETY: as above.
    unsafe { size.put(i64::try_from(bytes).unwrap_or(i64::MAX)) }
}

/// Over when all messages have left the buffer.
struct Flushing(Arc<Attachment>);

impl Task for Flushing {
    fn advance(&mut self, _: &mut Engine) -> Option<Outcome<Status>> {
        self.0.is_empty().then_some(Ok(Status::EMPTY))
    }
}

/// Begins to wait until all messages have left the buffer.
///
/// # Safety
/// The address is one that the call may write to.
pub(super) unsafe fn iflush(attachment: Arc<Attachment>, request: *mut Handle) -> Outcome<()> {
    let state = State::Task(Box::new(Flushing(attachment)));
    let key = process()?.core()?.file(Request::new(state, None));
    // SAFETY: the caller's promise.
    unsafe { put_request(request, key) }
}

pub(crate) unsafe fn buffer_attach(buffer: *mut c_void, size: i64) -> Outcome<()> {
    attach(&*of_process()?, buffer, size)
}

pub(crate) unsafe fn buffer_detach(at: *mut c_void, size: OutNumber) -> Outcome<()> {
    // SAFETY: the application gives addresses to write to.
    unsafe { detach(&*of_process()?, at, size) }
}

pub(crate) unsafe fn buffer_flush() -> Outcome<()> {
    flush(&*of_process()?)
}

pub(crate) unsafe fn buffer_iflush(request: *mut Handle) -> Outcome<()> {
    // SAFETY: the application gives an address to write to.
    unsafe { iflush(of_process()?, request) }
}

pub(crate) unsafe fn comm_attach_buffer(
    comm: Handle,
    buffer: *mut c_void,
    size: i64,
) -> Outcome<()> {
    attach(&*of_comm(comm)?, buffer, size)
}

pub(crate) unsafe fn comm_detach_buffer(
    comm: Handle,
    at: *mut c_void,
    size: OutNumber,
) -> Outcome<()> {
    // SAFETY: the application gives addresses to write to.
    unsafe { detach(&*of_comm(comm)?, at, size) }
}

pub(crate) unsafe fn comm_flush_buffer(comm: Handle) -> Outcome<()> {
    flush(&*of_comm(comm)?)
}

pub(crate) unsafe fn comm_iflush_buffer(comm: Handle, request: *mut Handle) -> Outcome<()> {
    // SAFETY: the application gives an address to write to.
    unsafe { iflush(of_comm(comm)?, request) }
}
