//! Collectives for our own use: what making and leaving communicators needs.

use std::sync::Arc;

use super::Process;
use crate::coll::{self, Schedule, Shape};
use crate::mpi::comm::{COLLECTIVE, Comm};
use crate::mpi::failure::{Failure, Outcome};
use crate::mpi::running::{Route, Running};

impl Process {
    /// Builds a schedule for the local group of `comm` and runs it.
    fn run(
        &self,
        comm: &Comm,
        send: &[u8],
        recv: &mut [u8],
        build: impl FnOnce(&Shape, &mut Schedule),
    ) -> Outcome<()> {
        let comm = comm.inside().map_or(comm, |inside| inside);
        let mut schedule = Schedule::new();
        build(comm.shape(), &mut schedule);
        let group = Arc::clone(comm.everyone());
        let route = Route { group, context: comm.context() + COLLECTIVE, tag: comm.next_call() };
        let (from, into) = ((send.as_ptr(), send.len()), (recv.as_mut_ptr(), recv.len()));
        // SAFETY: both are borrowed until it is over, below, and do not overlap.
        let mut running = unsafe { Running::new(schedule, route, from, into, None) };
        let outcome = self.until(|core| running.advance(&mut core.engine))?;
        outcome.map_err(Failure::from)
    }

    /// Returns when all of the local group are here.
    ///
    /// # Errors
    /// When a peer is gone.
    pub(in crate::mpi) fn barrier(&self, comm: &Comm) -> Outcome<()> {
        self.run(comm, &[], &mut [], coll::barrier)
    }

    /// Copies `bytes` of `root` to all of the local group.
    ///
    /// # Errors
    /// When a peer is gone.
    pub(in crate::mpi) fn bcast_bytes(
        &self,
        comm: &Comm,
        bytes: &mut [u8],
        root: u32,
    ) -> Outcome<()> {
        let len = bytes.len();
        self.run(comm, &[], bytes, |shape, out| coll::bcast(shape, len, root, out))
    }

    /// Everybody of the local group gets the bytes of everybody, by rank; all give the same number.
    ///
    /// # Errors
    /// When a peer is gone.
    pub(in crate::mpi) fn allgather_bytes(&self, comm: &Comm, mine: &[u8]) -> Outcome<Vec<u8>> {
        let size = comm.local().size() as usize;
        let mut all = vec![0; mine.len() * size];
        let block = mine.len();
        self.run(comm, mine, &mut all, |shape, out| coll::allgather(shape, block, false, out))?;
        Ok(all)
    }
}
