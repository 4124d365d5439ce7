//! Partitioned messages (MPI 5.0, 4): a send whose parts become ready one by one.
//!
//! The message goes out when its last partition is ready, and all partitions arrive at once: the
//! standard promises no more, and over one connection the order of parts gains nothing. Messages of
//! one pair and tag match in the order in which they are started.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Buffer, Core, Process};
use crate::mpi::comm::{Comm, PARTITIONED};
use crate::mpi::datatype::Datatype;
use crate::mpi::failure::{Class, Failure, Outcome, fail};
use crate::mpi::request::{Partitioned, Request, Start, State, Status, Task};
use crate::progress::Engine;
use crate::proto::{self, Key};

/// A partitioned operation: what does not change from start to start.
struct Parts {
    base: *mut u8,
    /// Elements of all partitions together.
    count: i64,
    datatype: Datatype,
    peer: i32,
    tag: i32,
    comm: Arc<Comm>,
    sends: bool,
    now: Arc<Mutex<Now>>,
}

/// Where it stands since it was started.
struct Now {
    active: bool,
    ready: Vec<bool>,
    missing: usize,
    arrived: bool,
}

// SAFETY: the buffer is the application's, which lets whichever thread starts it use it.
unsafe impl Send for Parts {}

fn lock(now: &Mutex<Now>) -> MutexGuard<'_, Now> {
    now.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A send that waits for its partitions, then for its end.
struct Sending {
    outgoing: Option<crate::progress::Outgoing>,
    peer: u32,
    context: u32,
    tag: i32,
    send: Request,
    now: Arc<Mutex<Now>>,
}

impl Task for Sending {
    fn advance(&mut self, engine: &mut Engine) -> Option<Outcome<Status>> {
        if lock(&self.now).missing > 0 {
            return None;
        }
        if let Some(outgoing) = self.outgoing.take() {
            let mode = proto::Mode::Standard;
            match engine.send(self.peer, self.context, self.tag, mode, outgoing) {
                Ok(key) => self.send.state = State::Send(key),
                Err(error) => self.send.state = State::Done(Err(error.into())),
            }
        }
        over(&mut self.send, engine, &self.now)
    }
}

/// A receive under way.
struct Receiving {
    receive: Request,
    now: Arc<Mutex<Now>>,
}

impl Task for Receiving {
    fn advance(&mut self, engine: &mut Engine) -> Option<Outcome<Status>> {
        over(&mut self.receive, engine, &self.now)
    }
}

fn over(request: &mut Request, engine: &mut Engine, now: &Mutex<Now>) -> Option<Outcome<Status>> {
    if !request.settle(engine) {
        return None;
    }
    let mut now = lock(now);
    (now.active, now.arrived) = (false, true);
    match std::mem::replace(&mut request.state, State::Inactive) {
        State::Done(outcome) => Some(outcome),
        _ => Some(Ok(Status::EMPTY)),
    }
}

impl Parts {
    fn buffer(&self) -> Buffer<'_> {
        Buffer::new(self.base, self.count, &self.datatype)
    }

    fn begin(&self, core: &mut Core) -> Outcome<State> {
        let now = Arc::clone(&self.now);
        let context = self.comm.context() + PARTITIONED;
        let request = |state| Request::new(state, Some(Arc::clone(&self.comm)));
        if self.sends {
            let Some(peer) = self.comm.destination(self.peer, self.tag)? else {
                return Ok(State::Done(Ok(Status::EMPTY)));
            };
            // SAFETY: the application keeps the buffer while the operation is active.
            let outgoing = Some(unsafe { self.buffer().outgoing() }?);
            let send = request(State::Inactive);
            let tag = self.tag;
            return Ok(State::Task(Box::new(Sending { outgoing, peer, context, tag, send, now })));
        }
        let Some(mut pattern) = self.comm.pattern(self.peer, self.tag)? else {
            return Ok(State::Done(Ok(Status::OF_NOBODY)));
        };
        pattern.context = context;
        // SAFETY: as above.
        let incoming = unsafe { self.buffer().incoming() }?;
        let receive = request(State::Receive(core.engine.receive(pattern, incoming)?));
        Ok(State::Task(Box::new(Receiving { receive, now })))
    }
}

impl Start for Parts {
    fn start(&mut self, core: &mut Core) -> Outcome<State> {
        let state = self.begin(core)?;
        let mut now = lock(&self.now);
        let partitions = now.ready.len();
        *now = Now {
            active: matches!(state, State::Task(_)),
            ready: vec![false; partitions],
            missing: partitions,
            arrived: !matches!(state, State::Task(_)),
        };
        Ok(state)
    }

    fn partitioned(&mut self) -> Option<&mut dyn Partitioned> {
        Some(self)
    }
}

impl Partitioned for Parts {
    fn ready(&mut self, low: i32, high: i32) -> Outcome<()> {
        let mut now = lock(&self.now);
        if !self.sends {
            return fail(Class::Request, "partitions of a receive are not made ready");
        }
        if !now.active && self.peer >= 0 {
            return fail(Class::Request, "the partitioned send is not started");
        }
        for partition in low..=high {
            let place = usize::try_from(partition).ok().filter(|at| *at < now.ready.len());
            let Some(at) = place else { return no_partition(partition) };
            if std::mem::replace(&mut now.ready[at], true) {
                return fail(Class::Arg, format!("partition {partition} is ready already"));
            }
            now.missing -= 1;
        }
        Ok(())
    }

    fn arrived(&mut self, partition: i32) -> Outcome<bool> {
        let now = lock(&self.now);
        if self.sends {
            return fail(Class::Request, "partitions of a send do not arrive");
        }
        if usize::try_from(partition).ok().is_none_or(|at| at >= now.ready.len()) {
            return no_partition(partition);
        }
        Ok(now.arrived || !now.active)
    }
}

#[cold]
fn no_partition<T>(partition: i32) -> Outcome<T> {
    fail(Class::Arg, format!("there is no partition {partition}"))
}

impl Process {
    fn partitioned_init(
        &self,
        buffer: Buffer<'_>,
        partitions: i32,
        peer: i32,
        tag: i32,
        comm: &Arc<Comm>,
        sends: bool,
    ) -> Outcome<Key> {
        let Ok(number) = usize::try_from(partitions) else {
            return fail(Class::Arg, format!("{partitions} partitions: the number is negative"));
        };
        let Buffer { base, count, datatype } = buffer;
        let Some(count) = count.checked_mul(partitions.into()) else {
            return fail(Class::Count, "the message is longer than memory");
        };
        let now = Now { active: false, ready: vec![false; number], missing: 0, arrived: false };
        let now = Arc::new(Mutex::new(now));
        let (datatype, comm) = (datatype.clone(), Arc::clone(comm));
        let parts = Parts { base, count, datatype, peer, tag, comm, sends, now };
        parts.buffer().bytes()?;
        let mut request = Request::new(State::Inactive, Some(Arc::clone(&parts.comm)));
        request.again = Some(Box::new(parts));
        Ok(self.core()?.file(request))
    }

    /// Prepares a partitioned send (`MPI_Psend_init`); the count is that of one partition.
    ///
    /// # Errors
    /// As for [`Process::send`], and `MPI_ERR_ARG` for a negative number of partitions.
    ///
    /// # Safety
    /// As for [`Process::send_init`].
    pub unsafe fn psend_init(
        &self,
        buffer: Buffer<'_>,
        partitions: i32,
        dest: i32,
        tag: i32,
        comm: &Arc<Comm>,
    ) -> Outcome<Key> {
        comm.destination(dest, tag)?;
        self.partitioned_init(buffer, partitions, dest, tag, comm, true)
    }

    /// Prepares a partitioned receive (`MPI_Precv_init`); the count is that of one partition.
    ///
    /// # Errors
    /// As for [`Process::recv`], and `MPI_ERR_ARG` for a negative number of partitions.
    ///
    /// # Safety
    /// As for [`Process::recv_init`].
    pub unsafe fn precv_init(
        &self,
        buffer: Buffer<'_>,
        partitions: i32,
        source: i32,
        tag: i32,
        comm: &Arc<Comm>,
    ) -> Outcome<Key> {
        comm.pattern(source, tag)?;
        self.partitioned_init(buffer, partitions, source, tag, comm, false)
    }

    fn with_partitions<T>(
        &self,
        key: Key,
        f: impl FnOnce(&mut dyn Partitioned) -> Outcome<T>,
    ) -> Outcome<T> {
        let mut core = self.core()?;
        let again = core.requests.get_mut(key).and_then(|request| request.again.as_mut());
        match again.and_then(|again| again.partitioned()) {
            Some(partitioned) => f(partitioned),
            None => Err(Failure::new(Class::Request, "the request is not a partitioned one")),
        }
    }

    /// Marks partitions `low` to `high` of a send ready (`MPI_Pready`, `MPI_Pready_range`).
    ///
    /// # Errors
    /// `MPI_ERR_REQUEST` when the request is no active partitioned send, `MPI_ERR_ARG` when it has
    /// no such partitions or they are ready already.
    pub fn partitions_ready(&self, key: Key, low: i32, high: i32) -> Outcome<()> {
        self.with_partitions(key, |partitioned| partitioned.ready(low, high))?;
        self.core()?.progress();
        Ok(())
    }

    /// Whether a partition of a receive has arrived (`MPI_Parrived`).
    ///
    /// # Errors
    /// As for [`Process::partitions_ready`].
    pub fn partition_arrived(&self, key: Key, partition: i32) -> Outcome<bool> {
        self.core()?.progress();
        self.with_partitions(key, |partitioned| partitioned.arrived(partition))
    }

    /// The key of the message in this place, if there is one.
    ///
    /// # Errors
    /// When a function that must not communicate does.
    pub fn message_at(&self, index: usize) -> Outcome<Option<Key>> {
        Ok(self.core()?.messages.key_at(index))
    }
}
