//! A send and a receive as one operation (MPI 5.0, 3.10).

use std::sync::Arc;

use super::{Buffer, Core, Mode, Process};
use crate::mpi::comm::Comm;
use crate::mpi::failure::Outcome;
use crate::mpi::request::{Request, State, Status, Task};
use crate::progress::Engine;
use crate::proto::Key;

/// The two halves; over when both are.
struct Pair {
    send: Request,
    receive: Request,
    /// The message being sent, where the receive overwrites it.
    _copy: Vec<u8>,
}

impl Task for Pair {
    fn advance(&mut self, engine: &mut Engine) -> Option<Outcome<Status>> {
        let sent = self.send.settle(engine);
        if !self.receive.settle(engine) || !sent {
            return None;
        }
        let take =
            |request: &mut Request| match std::mem::replace(&mut request.state, State::Inactive) {
                State::Done(outcome) => outcome,
                _ => Ok(Status::EMPTY),
            };
        let sent = take(&mut self.send);
        Some(take(&mut self.receive).and_then(|status| sent.map(|_| status)))
    }
}

impl Core {
    /// Begins both halves: the receive first, so that a message to oneself finds it.
    ///
    /// # Safety
    /// The buffers must stay as the two operations need them until they are complete.
    unsafe fn begin_pair(
        &mut self,
        (from, dest, send_tag): (Buffer<'_>, i32, i32),
        (into, source, recv_tag): (Buffer<'_>, i32, i32),
        comm: &Arc<Comm>,
        copy: Vec<u8>,
    ) -> Outcome<State> {
        let peer = comm.destination(dest, send_tag)?;
        from.bytes()?;
        // SAFETY: the contract is the same.
        let receive = unsafe { self.begin_receive(&into, source, recv_tag, comm) }?;
        let send = match peer {
            // SAFETY: the contract is the same.
            Some(peer) => unsafe { self.begin_send(&from, peer, send_tag, comm, Mode::Standard) },
            None => Ok(State::Done(Ok(Status::EMPTY))),
        };
        // The receive is under way: a send that failed is reported when both are over.
        let send = send.unwrap_or_else(|failure| State::Done(Err(failure)));
        let request = |state| Request::new(state, Some(Arc::clone(comm)));
        let pair = Pair { send: request(send), receive: request(receive), _copy: copy };
        Ok(State::Task(Box::new(pair)))
    }
}

impl Process {
    /// Sends one message and receives another, in whichever order they go (`MPI_Sendrecv`).
    ///
    /// # Errors
    /// As for [`Process::send`] and [`Process::recv`].
    ///
    /// # Safety
    /// As for both; the buffers must not overlap.
    pub unsafe fn sendrecv(
        &self,
        send: (Buffer<'_>, i32, i32),
        receive: (Buffer<'_>, i32, i32),
        comm: &Arc<Comm>,
    ) -> Outcome<Status> {
        // SAFETY: waited for at once.
        let key = unsafe { self.isendrecv(send, receive, comm) }?;
        self.wait(key)?.outcome
    }

    /// Begins both (`MPI_Isendrecv`).
    ///
    /// # Errors
    /// As for [`Process::sendrecv`].
    ///
    /// # Safety
    /// As for [`Process::isend`] and [`Process::irecv`]; the buffers must not overlap.
    pub unsafe fn isendrecv(
        &self,
        send: (Buffer<'_>, i32, i32),
        receive: (Buffer<'_>, i32, i32),
        comm: &Arc<Comm>,
    ) -> Outcome<Key> {
        let mut core = self.core()?;
        // SAFETY: the contract is the same.
        let state = unsafe { core.begin_pair(send, receive, comm, Vec::new()) }?;
        Ok(core.file(Request::new(state, Some(Arc::clone(comm)))))
    }

    /// Sends a message and receives another in its place (`MPI_Sendrecv_replace`).
    ///
    /// # Errors
    /// As for [`Process::sendrecv`].
    ///
    /// # Safety
    /// The elements of the buffer must be writable.
    pub unsafe fn sendrecv_replace(
        &self,
        buffer: Buffer<'_>,
        to: (i32, i32),
        from: (i32, i32),
        comm: &Arc<Comm>,
    ) -> Outcome<Status> {
        // SAFETY: waited for at once.
        let key = unsafe { self.isendrecv_replace(buffer, to, from, comm) }?;
        self.wait(key)?.outcome
    }

    /// Begins both (`MPI_Isendrecv_replace`).
    ///
    /// # Errors
    /// As for [`Process::sendrecv`].
    ///
    /// # Safety
    /// The elements of the buffer must stay writable, and be used by nobody else, until the request
    /// is complete.
    pub unsafe fn isendrecv_replace(
        &self,
        buffer: Buffer<'_>,
        (dest, send_tag): (i32, i32),
        (source, recv_tag): (i32, i32),
        comm: &Arc<Comm>,
    ) -> Outcome<Key> {
        // SAFETY: the contract is the same.
        let copy = unsafe { buffer.packed() }?;
        let bytes = crate::mpi::datatype::Datatype::predefined(crate::mpi::datatype::Basic::Byte);
        let sent = Buffer::new(copy.as_ptr(), copy.len() as i64, bytes);
        let mut core = self.core()?;
        let (send, receive) = ((sent, dest, send_tag), (buffer, source, recv_tag));
        // SAFETY: the copy moves into the operation without its bytes moving.
        let state = unsafe { core.begin_pair(send, receive, comm, copy) }?;
        Ok(core.file(Request::new(state, Some(Arc::clone(comm)))))
    }
}
