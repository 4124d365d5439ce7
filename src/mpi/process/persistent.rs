//! Messages that are sent or received again and again (MPI 5.0, 3.9).

use std::sync::Arc;

use super::{Buffer, Core, Mode, Process};
use crate::mpi::comm::Comm;
use crate::mpi::datatype::Datatype;
use crate::mpi::failure::Outcome;
use crate::mpi::request::{Request, Start, State, Status};
use crate::proto::Key;

/// One side of a message, to be repeated.
struct Again {
    base: *mut u8,
    count: i64,
    datatype: Datatype,
    /// Destination or source.
    peer: i32,
    tag: i32,
    comm: Arc<Comm>,
    /// Of a send; none of a receive.
    mode: Option<Mode>,
}

// SAFETY: the buffer is the application's, which lets whichever thread starts it use it.
unsafe impl Send for Again {}

impl Start for Again {
    fn start(&mut self, core: &mut Core) -> Outcome<State> {
        let buffer = Buffer::new(self.base, self.count, &self.datatype);
        let Some(mode) = self.mode else {
            // SAFETY: the application keeps the buffer while the operation is active.
            return unsafe { core.begin_receive(&buffer, self.peer, self.tag, &self.comm) };
        };
        match self.comm.destination(self.peer, self.tag)? {
            None => Ok(State::Done(Ok(Status::EMPTY))),
            // SAFETY: as above.
            Some(peer) => unsafe { core.begin_send(&buffer, peer, self.tag, &self.comm, mode) },
        }
    }
}

impl Process {
    fn file_again(&self, again: Again) -> Outcome<Key> {
        let mut request = Request::new(State::Inactive, Some(Arc::clone(&again.comm)));
        request.again = Some(Box::new(again));
        Ok(self.core()?.file(request))
    }

    /// Prepares a send (`MPI_Send_init`, `MPI_Ssend_init`, `MPI_Rsend_init`, `MPI_Bsend_init`).
    ///
    /// # Errors
    /// As for [`Process::send`].
    ///
    /// # Safety
    /// The elements must be readable and unchanged while the operation is active.
    pub unsafe fn send_init(
        &self,
        buffer: Buffer<'_>,
        dest: i32,
        tag: i32,
        comm: &Arc<Comm>,
        mode: Mode,
    ) -> Outcome<Key> {
        comm.destination(dest, tag)?;
        buffer.bytes()?;
        let Buffer { base, count, datatype } = buffer;
        let (datatype, comm) = (datatype.clone(), Arc::clone(comm));
        self.file_again(Again { base, count, datatype, peer: dest, tag, comm, mode: Some(mode) })
    }

    /// Prepares a receive (`MPI_Recv_init`).
    ///
    /// # Errors
    /// As for [`Process::recv`].
    ///
    /// # Safety
    /// The elements must be writable, and used by nobody else, while the operation is active.
    pub unsafe fn recv_init(
        &self,
        buffer: Buffer<'_>,
        source: i32,
        tag: i32,
        comm: &Arc<Comm>,
    ) -> Outcome<Key> {
        comm.pattern(source, tag)?;
        buffer.bytes()?;
        let Buffer { base, count, datatype } = buffer;
        let (datatype, comm) = (datatype.clone(), Arc::clone(comm));
        self.file_again(Again { base, count, datatype, peer: source, tag, comm, mode: None })
    }
}
