//! Point-to-point messages (MPI 5.0, 3).

use std::sync::Arc;

use super::{Core, Process};
use crate::mpi::comm::Comm;
use crate::mpi::datatype::Datatype;
use crate::mpi::failure::{Class, Failure, Outcome, fail};
use crate::mpi::request::{Request, State, Status, received};
use crate::progress::{Incoming, Outgoing};
use crate::proto::{self, Key, Pattern};

/// How a send wants to be completed (MPI 5.0, 3.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// When the buffer can be used again.
    Standard,
    /// When, besides, a receive has matched.
    Synchronous,
    /// As standard; the application promises that the receive is posted.
    Ready,
    /// At once, by a copy in the attached buffer.
    Buffered,
}

impl From<Mode> for proto::Mode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Standard | Mode::Ready | Mode::Buffered => Self::Standard,
            Mode::Synchronous => Self::Synchronous,
        }
    }
}

/// What a matched probe found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// From nobody (`MPI_MESSAGE_NO_PROC`).
    OfNobody,
    /// This one.
    Is(Key),
}

/// A buffer as calls give it: address, number of elements, their type.
#[derive(Clone, Copy, Debug)]
pub struct Buffer<'a> {
    /// Address of the first element.
    pub base: *mut u8,
    /// Number of elements.
    pub count: i64,
    /// Their type.
    pub datatype: &'a Datatype,
}

impl<'a> Buffer<'a> {
    /// The buffer of a call.
    #[inline]
    #[must_use]
    pub fn new(base: *const u8, count: i64, datatype: &'a Datatype) -> Self {
        Self { base: base.cast_mut(), count, datatype }
    }

    /// Bytes of all elements, packed.
    ///
    /// # Errors
    /// `MPI_ERR_COUNT`, `MPI_ERR_TYPE` or `MPI_ERR_BUFFER` when they make no buffer.
    #[inline]
    pub fn bytes(&self) -> Outcome<usize> {
        if self.count < 0 {
            return fail(Class::Count, format!("count {} is negative", self.count));
        }
        if !self.datatype.is_committed() {
            return fail(Class::Type, "the datatype is not committed: call MPI_Type_commit first");
        }
        let bytes = self.datatype.size().checked_mul(self.count);
        match bytes.and_then(|bytes| usize::try_from(bytes).ok()) {
            Some(0) => Ok(0),
            Some(_) if self.is_nowhere() => {
                fail(Class::Buffer, "the buffer is a null pointer and its elements are not empty")
            }
            Some(bytes) => Ok(bytes),
            None => fail(Class::Count, "the message is longer than memory"),
        }
    }

    /// Whether its address is null and is not that of `MPI_BOTTOM`, from which a datatype leads to
    /// where the elements are.
    fn is_nowhere(&self) -> bool {
        self.base.is_null() && self.datatype.is_dense() && self.datatype.lb() == 0
    }

    /// Its bytes, when they lie in one piece.
    ///
    /// # Errors
    /// As for [`Buffer::bytes`].
    ///
    /// # Safety
    /// The elements must be readable, and unchanged for as long as the slice is used.
    #[inline]
    unsafe fn dense(&self) -> Outcome<Option<&'a [u8]>> {
        let len = self.bytes()?;
        if len == 0 {
            return Ok(Some(&[]));
        }
        let Some((at, _)) = self.datatype.run(self.count) else { return Ok(None) };
        let from = self.base.wrapping_offset(at as isize);
        // SAFETY: one run of `len` bytes, readable by the contract.
        Ok(Some(unsafe { std::slice::from_raw_parts(from, len) }))
    }

    /// A copy of its elements, packed.
    ///
    /// # Errors
    /// As for [`Buffer::bytes`].
    ///
    /// # Safety
    /// The elements must be readable.
    pub unsafe fn packed(&self) -> Outcome<Vec<u8>> {
        let mut copy = vec![0; self.bytes()?];
        // SAFETY: the contract is the same, and the count is not negative.
        unsafe { self.datatype.pack(self.base, self.count as usize, 0, &mut copy) };
        Ok(copy)
    }

    /// To send from.
    ///
    /// # Errors
    /// As for [`Buffer::bytes`].
    ///
    /// # Safety
    /// The elements must stay readable and unchanged until the operation is complete.
    pub unsafe fn outgoing(&self) -> Outcome<Outgoing> {
        // SAFETY: the contract is the same.
        if let Some(bytes) = unsafe { self.dense() }? {
            // SAFETY: the contract is the same.
            return Ok(unsafe { Outgoing::new(bytes.as_ptr(), bytes.len()) });
        }
        let (count, len) = (self.count as usize, self.bytes()?);
        // SAFETY: the contract is the same.
        Ok(unsafe { Outgoing::typed(self.base, count, len, self.datatype.layout()) })
    }

    /// To receive into.
    ///
    /// # Errors
    /// As for [`Buffer::bytes`].
    ///
    /// # Safety
    /// The elements must stay writable, and be used by nobody else, until the operation is
    /// complete.
    #[inline]
    pub unsafe fn incoming(&self) -> Outcome<Incoming> {
        let len = self.bytes()?;
        if let Some((at, _)) = self.datatype.run(self.count) {
            // SAFETY: the contract is the same.
            return Ok(unsafe { Incoming::new(self.base.wrapping_offset(at as isize), len) });
        }
        let count = self.count as usize;
        // SAFETY: the contract is the same.
        Ok(unsafe { Incoming::typed(self.base, count, len, self.datatype.layout()) })
    }
}

impl Core {
    /// Begins a send to a rank of the world.
    ///
    /// # Safety
    /// As for [`Buffer::outgoing`].
    pub(in crate::mpi) unsafe fn begin_send(
        &mut self,
        buffer: &Buffer<'_>,
        peer: u32,
        tag: i32,
        comm: &Comm,
        mode: Mode,
    ) -> Outcome<State> {
        if mode == Mode::Buffered {
            // SAFETY: read only within this call.
            let copy = unsafe { buffer.packed() }?;
            let own = comm.buffer.is_attached();
            let other = comm.local().buffer().unwrap_or(&self.buffer);
            let attachment = Arc::clone(if own { &comm.buffer } else { other });
            return self.send_buffered(copy, peer, tag, comm, &attachment);
        }
        // SAFETY: the contract is the same.
        if mode != Mode::Synchronous && unsafe { self.send_at_once(buffer, peer, tag, comm) }? {
            return Ok(State::Done(Ok(Status::EMPTY)));
        }
        // SAFETY: the contract is the same.
        unsafe { self.send_in_steps(buffer, peer, tag, comm, mode) }.map(State::Send)
    }

    /// Sends what can be sent without being kept. False when nothing was sent.
    ///
    /// # Safety
    /// The elements of the buffer must be readable.
    #[inline]
    unsafe fn send_at_once(
        &mut self,
        buffer: &Buffer<'_>,
        peer: u32,
        tag: i32,
        comm: &Comm,
    ) -> Outcome<bool> {
        // SAFETY: read only within this call.
        match unsafe { buffer.dense() }? {
            Some(bytes) => Ok(self.engine.send_now(peer, comm.context(), tag, bytes)?),
            None => Ok(false),
        }
    }

    /// Begins a send that is waited for.
    ///
    /// # Safety
    /// As for [`Buffer::outgoing`].
    unsafe fn send_in_steps(
        &mut self,
        buffer: &Buffer<'_>,
        peer: u32,
        tag: i32,
        comm: &Comm,
        mode: Mode,
    ) -> Outcome<Key> {
        // SAFETY: the contract is the same.
        let outgoing = unsafe { buffer.outgoing() }?;
        Ok(self.engine.send(peer, comm.context(), tag, mode.into(), outgoing)?)
    }
}

impl Core {
    /// Begins a receive.
    ///
    /// # Safety
    /// As for [`Buffer::incoming`].
    pub(in crate::mpi) unsafe fn begin_receive(
        &mut self,
        buffer: &Buffer<'_>,
        source: i32,
        tag: i32,
        comm: &Comm,
    ) -> Outcome<State> {
        // SAFETY: the contract is the same.
        let incoming = unsafe { buffer.incoming() }?;
        match comm.pattern(source, tag)? {
            None => Ok(State::Done(Ok(Status::OF_NOBODY))),
            Some(pattern) => Ok(State::Receive(self.engine.receive(pattern, incoming)?)),
        }
    }
}

impl Process {
    /// Sends; returns when the buffer can be used again (`MPI_Send`, `MPI_Ssend`, `MPI_Rsend`).
    ///
    /// # Errors
    /// `MPI_ERR_RANK`, `MPI_ERR_TAG`, `MPI_ERR_COUNT`, `MPI_ERR_TYPE`, `MPI_ERR_BUFFER`, or
    /// `MPI_ERR_PROC_ABORTED`.
    ///
    /// # Safety
    /// The elements of the buffer must be readable.
    #[inline]
    pub unsafe fn send(
        &self,
        buffer: Buffer<'_>,
        dest: i32,
        tag: i32,
        comm: &Comm,
        mode: Mode,
    ) -> Outcome<()> {
        let peer = comm.destination(dest, tag)?;
        let Some(peer) = peer else { return buffer.bytes().map(|_| ()) };
        let mut core = self.core()?;
        let at_once = matches!(mode, Mode::Standard | Mode::Ready);
        // SAFETY: the contract is the same.
        if at_once && unsafe { core.send_at_once(&buffer, peer, tag, comm) }? {
            return Ok(());
        }
        let key = if mode == Mode::Buffered {
            // SAFETY: copied before the call returns.
            match unsafe { core.begin_send(&buffer, peer, tag, comm, mode) }? {
                State::Send(key) => key,
                _ => return Ok(()),
            }
        } else {
            // SAFETY: waited for below.
            unsafe { core.send_in_steps(&buffer, peer, tag, comm, mode) }?
        };
        Ok(self.until_held(core, |core| core.engine.test_send(key))?)
    }

    /// Begins a send (`MPI_Isend`, `MPI_Issend`, `MPI_Irsend`).
    ///
    /// # Errors
    /// As for [`Process::send`].
    ///
    /// # Safety
    /// The elements of the buffer must stay readable and unchanged until the request is complete.
    pub unsafe fn isend(
        &self,
        buffer: Buffer<'_>,
        dest: i32,
        tag: i32,
        comm: &Arc<Comm>,
        mode: Mode,
    ) -> Outcome<Key> {
        let peer = comm.destination(dest, tag)?;
        let mut core = self.core()?;
        let state = match peer {
            None => buffer.bytes().map(|_| State::Done(Ok(Status::EMPTY)))?,
            // SAFETY: the contract is the same.
            Some(peer) => unsafe { core.begin_send(&buffer, peer, tag, comm, mode) }?,
        };
        Ok(core.file(Request::new(state, Some(Arc::clone(comm)))))
    }

    /// Receives one message (`MPI_Recv`).
    ///
    /// # Errors
    /// As for [`Process::send`], and `MPI_ERR_TRUNCATE`.
    ///
    /// # Safety
    /// The elements of the buffer must be writable.
    #[inline]
    pub unsafe fn recv(
        &self,
        buffer: Buffer<'_>,
        source: i32,
        tag: i32,
        comm: &Comm,
    ) -> Outcome<Status> {
        // SAFETY: waited for below.
        let incoming = unsafe { buffer.incoming() }?;
        let Some(pattern) = comm.pattern(source, tag)? else { return Ok(Status::OF_NOBODY) };
        let mut core = self.core()?;
        let key = core.engine.receive(pattern, incoming)?;
        let outcome = self.until_held(core, |core| core.engine.test_receive(key));
        received(outcome, Some(comm))
    }

    /// Begins a receive (`MPI_Irecv`).
    ///
    /// # Errors
    /// As for [`Process::recv`].
    ///
    /// # Safety
    /// The elements of the buffer must stay writable, and be used by nobody else, until the request
    /// is complete.
    pub unsafe fn irecv(
        &self,
        buffer: Buffer<'_>,
        source: i32,
        tag: i32,
        comm: &Arc<Comm>,
    ) -> Outcome<Key> {
        let mut core = self.core()?;
        // SAFETY: the contract is the same.
        let state = unsafe { core.begin_receive(&buffer, source, tag, comm) }?;
        Ok(core.file(Request::new(state, Some(Arc::clone(comm)))))
    }

    /// Waits for a message that could be received, without receiving it (`MPI_Probe`).
    ///
    /// # Errors
    /// `MPI_ERR_RANK`, `MPI_ERR_TAG`, or `MPI_ERR_PROC_ABORTED`.
    pub fn probe(&self, source: i32, tag: i32, comm: &Comm) -> Outcome<Status> {
        let Some(pattern) = comm.pattern(source, tag)? else { return Ok(Status::OF_NOBODY) };
        self.until(|core| found(core, &pattern, comm).transpose())?
    }

    /// The message that could be received now, if any (`MPI_Iprobe`).
    ///
    /// # Errors
    /// As for [`Process::probe`].
    pub fn iprobe(&self, source: i32, tag: i32, comm: &Comm) -> Outcome<Option<Status>> {
        let Some(pattern) = comm.pattern(source, tag)? else { return Ok(Some(Status::OF_NOBODY)) };
        let mut core = self.core()?;
        core.progress();
        found(&core, &pattern, comm)
    }

    /// Waits for a message and takes it out of matching (`MPI_Mprobe`).
    ///
    /// # Errors
    /// As for [`Process::probe`].
    pub fn mprobe(&self, source: i32, tag: i32, comm: &Arc<Comm>) -> Outcome<(Message, Status)> {
        let Some(pattern) = comm.pattern(source, tag)? else {
            return Ok((Message::OfNobody, Status::OF_NOBODY));
        };
        self.until(|core| taken(core, &pattern, comm).transpose())?
    }

    /// As [`Process::mprobe`], for a message that has come already (`MPI_Improbe`).
    ///
    /// # Errors
    /// As for [`Process::probe`].
    pub fn improbe(
        &self,
        source: i32,
        tag: i32,
        comm: &Arc<Comm>,
    ) -> Outcome<Option<(Message, Status)>> {
        let Some(pattern) = comm.pattern(source, tag)? else {
            return Ok(Some((Message::OfNobody, Status::OF_NOBODY)));
        };
        let mut core = self.core()?;
        core.progress();
        taken(&mut core, &pattern, comm)
    }

    /// Begins to receive a message that was taken out of matching (`MPI_Imrecv`).
    ///
    /// # Errors
    /// `MPI_ERR_REQUEST` when there is no such message, and as for [`Process::recv`].
    ///
    /// # Safety
    /// As for [`Process::irecv`].
    pub unsafe fn imrecv(&self, buffer: Buffer<'_>, message: Message) -> Outcome<Key> {
        // SAFETY: the contract is the same.
        let incoming = unsafe { buffer.incoming() }?;
        let mut core = self.core()?;
        let Message::Is(key) = message else {
            return Ok(core.file(Request::new(State::Done(Ok(Status::OF_NOBODY)), None)));
        };
        let Some((taken, comm, _)) = core.messages.remove(key) else {
            return fail(Class::Request, "the message does not exist: it was received already");
        };
        let key = core.engine.receive_taken(taken, incoming)?;
        Ok(core.file(Request::new(State::Receive(key), Some(comm))))
    }
}

/// The status of the message that a receive with this pattern would take.
fn found(core: &Core, pattern: &Pattern, comm: &Comm) -> Outcome<Option<Status>> {
    match core.engine.probe(pattern) {
        Some(received) => Ok(Some(comm.status(&received))),
        None => hopeful(core, pattern).map(|()| None),
    }
}

fn taken(
    core: &mut Core,
    pattern: &Pattern,
    comm: &Arc<Comm>,
) -> Outcome<Option<(Message, Status)>> {
    match core.engine.take(pattern) {
        Some((received, taken)) => {
            let status = comm.status(&received);
            let key = core.messages.insert((taken, Arc::clone(comm), status));
            Ok(Some((Message::Is(key), status)))
        }
        None => hopeful(core, pattern).map(|()| None),
    }
}

fn hopeful(core: &Core, pattern: &Pattern) -> Outcome<()> {
    core.engine.probe_hopeless(pattern).map_or(Ok(()), |error| Err(Failure::from(error)))
}
