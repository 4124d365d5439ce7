//! Buffered sends and the buffers attached for them (MPI 5.0, 3.6).
//!
//! A message is copied into memory of our own; the attached buffer is only counted, since what it
//! is for is to bound that memory: the application hears of it when it is full, as the standard says.

use std::sync::{Arc, Mutex, PoisonError};

use super::Core;
use crate::mpi::comm::Comm;
use crate::mpi::failure::{Class, Outcome, fail};
use crate::mpi::request::{Request, State, Status, Task};
use crate::progress::{Engine, Outgoing};
use crate::proto::Mode;

/// What each message needs beside its bytes (`MPI_BSEND_OVERHEAD`).
pub const OVERHEAD: usize = 512;

/// A buffer for messages to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attached {
    /// The application's: address and bytes.
    Given(usize, usize),
    /// As much as is needed (`MPI_BUFFER_AUTOMATIC`).
    Automatic,
}

/// The attached buffer of a process, session or communicator, and how much of it is in use.
#[derive(Debug, Default)]
pub struct Attachment(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    attached: Option<Attached>,
    used: usize,
}

impl Attachment {
    fn with<T>(&self, f: impl FnOnce(&mut Inner) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Attaches a buffer.
    ///
    /// # Errors
    /// `MPI_ERR_BUFFER` when one is attached already.
    pub fn attach(&self, buffer: Attached) -> Outcome<()> {
        self.with(|inner| {
            if inner.attached.is_some() {
                return fail(Class::Buffer, "a buffer is attached already: detach it first");
            }
            inner.attached = Some(buffer);
            Ok(())
        })
    }

    /// Whether a buffer is attached.
    #[must_use]
    pub fn is_attached(&self) -> bool {
        self.with(|inner| inner.attached.is_some())
    }

    /// Whether all messages have left the buffer.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.with(|inner| inner.used == 0)
    }

    /// Takes the buffer back, which is empty by then.
    pub fn detach(&self) -> Option<Attached> {
        self.with(|inner| inner.attached.take())
    }

    fn reserve(&self, len: usize) -> Outcome<()> {
        self.with(|inner| {
            let needed = inner.used + len;
            match inner.attached {
                Some(Attached::Automatic) => {}
                Some(Attached::Given(_, size)) if needed <= size => {}
                Some(Attached::Given(_, size)) => {
                    let used = inner.used;
                    let why = format!(
                        "the attached buffer of {size} bytes has {used} in use and {len} are needed"
                    );
                    return fail(Class::Buffer, why);
                }
                None => {
                    let why = "a buffered send without a buffer: call MPI_Buffer_attach first";
                    return fail(Class::Buffer, why);
                }
            }
            inner.used = needed;
            Ok(())
        })
    }

    fn give_back(&self, len: usize) {
        self.with(|inner| inner.used -= len);
    }
}

/// A message on its way out of a buffer.
struct Leaving {
    send: Request,
    _copy: Vec<u8>,
    buffer: Arc<Attachment>,
    reserved: usize,
}

impl Task for Leaving {
    fn advance(&mut self, engine: &mut Engine) -> Option<Outcome<Status>> {
        self.send.settle(engine).then_some(Ok(Status::EMPTY))
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        self.buffer.give_back(self.reserved);
    }
}

impl Core {
    /// Sends a copy, which is the buffer's; over at once for the application.
    pub(super) fn send_buffered(
        &mut self,
        copy: Vec<u8>,
        peer: u32,
        tag: i32,
        comm: &Comm,
        buffer: &Arc<Attachment>,
    ) -> Outcome<State> {
        let reserved = copy.len() + OVERHEAD;
        buffer.reserve(reserved)?;
        let mut leaving = Leaving {
            send: Request::new(State::Inactive, None),
            _copy: Vec::new(),
            buffer: Arc::clone(buffer),
            reserved,
        };
        if self.engine.send_now(peer, comm.context(), tag, &copy)? {
            return Ok(State::Done(Ok(Status::EMPTY)));
        }
        // SAFETY: the copy lives in the task until the send is over, and its bytes do not move.
        let outgoing = unsafe { Outgoing::new(copy.as_ptr(), copy.len()) };
        let key = self.engine.send(peer, comm.context(), tag, Mode::Standard, outgoing)?;
        leaving.send.state = State::Send(key);
        leaving._copy = copy;
        let mut request = Request::new(State::Task(Box::new(leaving)), None);
        request.orphan = true;
        self.file(request);
        Ok(State::Done(Ok(Status::EMPTY)))
    }
}
