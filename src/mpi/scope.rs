//! Nonblocking operations on borrowed buffers (MPI 5.0, 3.7), made safe by a scope: all that was
//! begun in it is complete when it ends, like threads in [`std::thread::scope`].

use std::cell::RefCell;
use std::marker::PhantomData;

use super::Error;
use super::communicator::Communicator;
use super::types::{Source, Status, Tag};
use crate::progress::{Incoming, Outgoing};
use crate::proto::{Key, Mode, Received};

/// Begins operations; made by [`Communicator::scope`].
#[derive(Debug)]
pub struct Scope<'scope, 'env: 'scope> {
    open: Open<'env>,
    /// Invariant, so that buffers are borrowed for the whole scope and not shorter.
    scope: PhantomData<&'scope mut &'scope ()>,
}

/// What was begun and is not over.
#[derive(Debug)]
struct Open<'env> {
    comm: &'env Communicator,
    list: RefCell<Vec<Operation>>,
}

/// An operation under way.
#[derive(Debug)]
#[must_use = "it completes at the end of the scope at the latest"]
pub struct Request<'scope> {
    number: usize,
    scope: PhantomData<&'scope ()>,
}

#[derive(Debug)]
enum Operation {
    Sent,
    Send(Key),
    Receive(Key),
    /// Its outcome was taken.
    Over,
}

impl<'scope, 'env> Scope<'scope, 'env> {
    pub(super) fn new(comm: &'env Communicator) -> Self {
        Self { open: Open { comm, list: RefCell::default() }, scope: PhantomData }
    }

    fn add(&self, operation: Operation) -> Request<'scope> {
        let mut open = self.open.list.borrow_mut();
        open.push(operation);
        Request { number: open.len() - 1, scope: PhantomData }
    }

    /// Begins a send (`MPI_Isend`).
    ///
    /// # Errors
    /// When the rank or tag is wrong, or the peer is gone.
    pub fn isend(&self, buf: &'scope [u8], dest: u32, tag: i32) -> Result<Request<'scope>, Error> {
        self.begin_send(buf, dest, tag, Mode::Standard)
    }

    /// Begins a synchronous send (`MPI_Issend`).
    ///
    /// # Errors
    /// As for [`Scope::isend`].
    pub fn issend(&self, buf: &'scope [u8], dest: u32, tag: i32) -> Result<Request<'scope>, Error> {
        self.begin_send(buf, dest, tag, Mode::Synchronous)
    }

    fn begin_send(
        &self,
        buf: &'scope [u8],
        dest: u32,
        tag: i32,
        mode: Mode,
    ) -> Result<Request<'scope>, Error> {
        let comm = self.open.comm;
        let peer = comm.destination(dest, tag)?;
        let mut engine = comm.engine();
        if mode == Mode::Standard && engine.send_now(peer, comm.context(), tag, buf)? {
            return Ok(self.add(Operation::Sent));
        }
        // SAFETY: the scope waits for it, or withdraws it, before the borrow 'scope ends.
        let buffer = unsafe { Outgoing::new(buf.as_ptr(), buf.len()) };
        let key = engine.send(peer, comm.context(), tag, mode, buffer)?;
        Ok(self.add(Operation::Send(key)))
    }

    /// Posts a receive (`MPI_Irecv`).
    ///
    /// # Errors
    /// When the rank is wrong, or the peer is gone.
    pub fn irecv(
        &self,
        buf: &'scope mut [u8],
        source: impl Into<Source>,
        tag: impl Into<Tag>,
    ) -> Result<Request<'scope>, Error> {
        let comm = self.open.comm;
        let pattern = comm.pattern(source.into(), tag.into())?;
        // SAFETY: the scope waits for it, or withdraws it, before the exclusive borrow 'scope ends.
        let buffer = unsafe { Incoming::new(buf.as_mut_ptr(), buf.len()) };
        let key = comm.engine().receive(pattern, buffer)?;
        Ok(self.add(Operation::Receive(key)))
    }

    /// Waits for an operation (`MPI_Wait`). Of a send the status says nothing.
    ///
    /// # Errors
    /// Those of the operation.
    pub fn wait(&self, request: Request<'scope>) -> Result<Status, Error> {
        self.finish(request.number)
    }

    /// Whether an operation is complete, making progress once (`MPI_Test`); its outcome is then
    /// here and the request is used up.
    ///
    /// # Errors
    /// Those of the operation.
    pub fn test(&self, request: Request<'scope>) -> Result<Result<Status, Request<'scope>>, Error> {
        let mut engine = self.open.comm.engine();
        engine.progress();
        let done = match self.open.list.borrow()[request.number] {
            Operation::Sent | Operation::Over => true,
            Operation::Send(key) => engine.send_is_done(key),
            Operation::Receive(key) => engine.receive_is_done(key),
        };
        drop(engine);
        if done { self.finish(request.number).map(Ok) } else { Ok(Err(request)) }
    }

    /// Asks to withdraw an operation (`MPI_Cancel`); it completes either way.
    pub fn cancel(&self, request: &Request<'scope>) {
        match self.open.list.borrow()[request.number] {
            Operation::Send(key) => self.open.comm.engine().cancel_send(key),
            Operation::Receive(key) => self.open.comm.engine().cancel_receive(key),
            Operation::Sent | Operation::Over => {}
        }
    }

    fn finish(&self, number: usize) -> Result<Status, Error> {
        let operation =
            std::mem::replace(&mut self.open.list.borrow_mut()[number], Operation::Over);
        let mut engine = self.open.comm.engine();
        match operation {
            Operation::Sent | Operation::Over => Ok(Status::default()),
            Operation::Send(key) => {
                engine.wait_send(key)?;
                Ok(Status::default())
            }
            Operation::Receive(key) => {
                let received: Received = engine.wait_receive(key)?;
                Ok(self.open.comm.status(&received))
            }
        }
    }

    /// Completes all that is under way; the first error is returned.
    pub(super) fn finish_all(&self) -> Result<(), Error> {
        let mut outcome = Ok(());
        let count = self.open.list.borrow().len();
        for number in 0..count {
            let result = self.finish(number).map(|_| ());
            outcome = outcome.and(result);
        }
        outcome
    }
}

impl Drop for Open<'_> {
    /// When the closure failed or panicked, nothing may use its buffers any more.
    fn drop(&mut self) {
        for operation in self.list.get_mut().drain(..) {
            match operation {
                Operation::Send(key) => self.comm.engine().abandon_send(key),
                Operation::Receive(key) => self.comm.engine().abandon_receive(key),
                Operation::Sent | Operation::Over => {}
            }
        }
    }
}
