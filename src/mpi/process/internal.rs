//! Collectives for our own use: what making and leaving communicators needs.

use std::sync::Arc;

use super::Process;
use crate::coll::{self, Buf, Schedule, Shape, Slice, Step};
use crate::mpi::comm::{COLLECTIVE, Comm};
use crate::mpi::failure::{Class, Failure, Outcome, fail};
use crate::mpi::running::{Route, Running, Work};

/// Ranks that agree on something, and how their messages about it are told apart.
pub(super) struct Circle {
    pub(super) shape: Shape,
    pub(super) route: Route,
}

impl Circle {
    /// What all members run.
    pub(super) fn schedule(&self, build: impl FnOnce(&Shape, &mut Schedule)) -> Work {
        let mut work = Work::take();
        build(&self.shape, &mut work.schedule);
        work
    }
}

/// The number in the first eight bytes of a message.
fn number(bytes: &[u8]) -> u64 {
    bytes.first_chunk().map_or(0, |bytes| u64::from_ne_bytes(*bytes))
}

impl Process {
    /// Runs a schedule.
    fn run_schedule(&self, work: Work, route: Route, send: &[u8], recv: &mut [u8]) -> Outcome<()> {
        let (from, into) = ((send.as_ptr(), send.len()), (recv.as_mut_ptr(), recv.len()));
        // SAFETY: both are borrowed until it is over, below, and do not overlap.
        let mut running = unsafe { Running::new(work, route, from, into, None) };
        let outcome = self.until(|core| running.advance(&mut core.engine))?;
        outcome.map_err(Failure::from)
    }

    /// Builds a schedule for the local group of `comm` and runs it.
    fn run(
        &self,
        comm: &Comm,
        send: &[u8],
        recv: &mut [u8],
        build: impl FnOnce(&Shape, &mut Schedule),
    ) -> Outcome<()> {
        let comm = comm.inside().map_or(comm, |inside| inside);
        let mut work = Work::take();
        build(comm.shape(), &mut work.schedule);
        let group = Arc::clone(comm.everyone());
        let route = Route { group, context: comm.context() + COLLECTIVE, tag: comm.next_call() };
        self.run_schedule(work, route, send, recv)
    }

    /// Returns when all of a circle are here.
    ///
    /// # Errors
    /// When a peer is gone.
    pub(super) fn meet(&self, circle: Circle) -> Outcome<()> {
        let schedule = circle.schedule(coll::barrier);
        self.run_schedule(schedule, circle.route, &[], &mut [])
    }

    /// Copies `bytes` of the first of a circle to all of it.
    ///
    /// # Errors
    /// When a peer is gone.
    pub(super) fn bcast_in(&self, circle: Circle, bytes: &mut [u8]) -> Outcome<()> {
        let schedule = circle.schedule(|shape, out| coll::bcast(shape, bytes.len(), 0, out));
        self.run_schedule(schedule, circle.route, &[], bytes)
    }

    /// Gives bytes to another rank, which does the same, and gets its own.
    ///
    /// # Errors
    /// When the peer is gone.
    pub(super) fn swap_bytes(
        &self,
        peer: u32,
        context: u32,
        tag: i32,
        mine: &[u8],
    ) -> Outcome<Vec<u8>> {
        let route = Route { group: [peer].into(), context, tag };
        let swap = |mine: &[u8], theirs: &mut [u8]| {
            let mut work = Work::take();
            let into = Slice::new(Buf::Recv, 0, theirs.len());
            let from = Slice::new(Buf::Send, 0, mine.len());
            let steps = [Step::Recv { peer: 0, into }, Step::Send { peer: 0, from }, Step::Wait];
            work.schedule.steps.extend(steps);
            self.run_schedule(work, route.clone(), mine, theirs)
        };
        let mut len = [0; 8];
        swap(&(mine.len() as u64).to_ne_bytes(), &mut len)?;
        let mut theirs = vec![0; number(&len) as usize];
        swap(mine, &mut theirs)?;
        Ok(theirs)
    }

    /// All of the local group get what its rank `root` got, which is the only one that gives
    /// something. When that failed, all fail.
    ///
    /// # Errors
    /// That of the root, or when a peer is gone.
    pub(super) fn spread(
        &self,
        comm: &Comm,
        root: u32,
        found: Option<Outcome<Vec<u8>>>,
    ) -> Outcome<Vec<u8>> {
        let found = found.transpose();
        let len = found.as_ref().map_or(u64::MAX, |it| it.as_ref().map_or(0, Vec::len) as u64);
        let mut head = len.to_ne_bytes();
        self.bcast_bytes(comm, &mut head, root)?;
        let found = found?;
        let Some(len) = Some(number(&head)).filter(|len| *len != u64::MAX) else {
            return fail(Class::Other, "the leader of the group failed");
        };
        let mut bytes = found.unwrap_or_else(|| vec![0; len as usize]);
        self.bcast_bytes(comm, &mut bytes, root)?;
        Ok(bytes)
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
