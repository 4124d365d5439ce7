//! One rank's side of the full interface: what all its communicators, requests and threads share.
//!
//! Everything that moves messages is behind one [`Lock`]; what hangs on objects (names, attributes,
//! hints) is not, so that functions of the application, which run inside of calls, may use it.

mod buffered;
mod collective;
mod communicators;
mod context;
mod crowd;
mod intercommunicators;
mod internal;
mod message;
mod partitioned;
mod persistent;
mod sendrecv;
mod split;
mod topologies;
mod wait;

use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use context::Contexts;

use super::Error;
use super::comm::{Comm, Parts, Traits};
use super::errhandler::Errhandler;
use super::failure::{Class, Failure, Outcome};
use super::group::Group;
use super::job::{Joined, join};
use super::lock::{Held, Lock};
use super::memory::Memory;
use super::request::{Request, State};
use crate::coll::Shape;
use crate::config::Config;
use crate::launch::{Bootstrap, Kvs, bootstrap};
use crate::progress::Engine;
use crate::proto::{Key, Slots, Taken};
use crate::tally::Tally;

pub use buffered::{Attached, Attachment, OVERHEAD};
pub use communicators::ASSERTIONS;
pub use intercommunicators::Peer;
pub use message::{Buffer, Message, Mode};
pub use split::Kind;
pub use wait::Ended;

/// Context of `MPI_COMM_WORLD`.
const WORLD_CONTEXT: u32 = 4;
/// Context of `MPI_COMM_SELF`.
const SELF_CONTEXT: u32 = 8;

/// What threads take turns at.
pub struct Core {
    /// Moves messages.
    pub engine: Engine,
    /// All requests.
    pub requests: Slots<Request>,
    /// Requests that need steps taken, whoever waits for what.
    pub(super) tasks: Vec<Key>,
    /// Threads that wait.
    pub(super) crowd: crowd::Crowd,
    /// Messages that were matched by a probe and wait to be received.
    pub(super) messages: Slots<(Taken, Arc<Comm>, super::request::Status)>,
    /// The buffer for buffered sends of communicators without their own.
    pub buffer: Arc<Attachment>,
    /// The launcher.
    pub(super) kvs: Box<dyn Kvs>,
}

/// One rank's side of the full interface.
pub struct Process {
    core: Lock<Core>,
    rank: u32,
    size: u32,
    hosts: Vec<u32>,
    machines: Vec<u32>,
    cores: Option<u32>,
    world: Arc<Comm>,
    own: Arc<Comm>,
    contexts: Contexts,
    tally: Arc<Tally>,
    memory: Arc<Memory>,
    /// Number of the next key for attributes.
    pub next_keyval: AtomicU32,
}

impl std::fmt::Debug for Process {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Process {{ rank {} of {} }}", self.rank, self.size)
    }
}

impl Process {
    /// Joins the job of this bootstrap; `threads` when several threads may call at once.
    ///
    /// # Errors
    /// When the launcher cannot be reached, or no port can be had.
    pub fn join(start: Bootstrap, config: Config, threads: bool) -> Result<Self, Error> {
        let Joined { mut engine, rank, size, hosts, machines, cores, memory, kvs } =
            join(start, config)?;
        let all = Arc::new(Group::new((0..size).collect(), rank));
        let me = Arc::new(Group::new([rank].into(), rank));
        let comm = |context, local: Arc<Group>, shape| {
            let traits = Traits::plain(Errhandler::Fatal);
            Comm::new(Parts { context, local, remote: None, shape, inside: None, traits })
        };
        let world = comm(WORLD_CONTEXT, all, Shape::new(rank, &hosts, cores));
        let own = comm(SELF_CONTEXT, me, Shape::new(0, &[0], cores));
        let tally = Arc::clone(engine.tally());
        let kick = if threads { engine.kick() } else { None };
        world.set_name("MPI_COMM_WORLD");
        own.set_name("MPI_COMM_SELF");
        let (requests, messages) = (Slots::default(), Slots::default());
        let core = Core {
            engine,
            requests,
            tasks: Vec::new(),
            crowd: crowd::Crowd::default(),
            messages,
            buffer: Arc::default(),
            kvs,
        };
        Ok(Self {
            core: Lock::new(core, threads).with_kick(kick),
            rank,
            size,
            hosts,
            machines,
            cores,
            world,
            own,
            contexts: Contexts::new(rank, size),
            tally,
            memory,
            next_keyval: AtomicU32::new(0),
        })
    }

    /// Joins the job that this process was started in, with settings from the environment; a job
    /// of one when it was started by hand.
    ///
    /// # Errors
    /// As for [`Process::join`], and when the environment makes no sense.
    pub fn from_environment(threads: bool) -> Outcome<Self> {
        Self::with_settings(Config::from_env().map_err(Error::from)?, threads)
    }

    /// The same with these settings.
    ///
    /// # Errors
    /// As for [`Process::join`], and when the launcher's part of the environment makes no sense.
    pub fn with_settings(config: Config, threads: bool) -> Outcome<Self> {
        let joined = || Self::join(bootstrap()?, config, threads);
        Ok(joined()?)
    }

    /// What is counted; readable by any thread at any time.
    #[must_use]
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Memory for messages.
    #[must_use]
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// `MPI_COMM_WORLD`.
    #[inline]
    #[must_use]
    pub fn world(&self) -> &Arc<Comm> {
        &self.world
    }

    /// `MPI_COMM_SELF`.
    #[inline]
    #[must_use]
    pub fn own(&self) -> &Arc<Comm> {
        &self.own
    }

    /// This rank in the world.
    #[must_use]
    pub fn rank(&self) -> u32 {
        self.rank
    }

    /// Number of ranks in the world.
    #[must_use]
    pub fn size(&self) -> u32 {
        self.size
    }

    /// The machine (running kernel) of each rank of the world, by any numbers.
    #[must_use]
    pub fn machines(&self) -> &[u32] {
        &self.machines
    }

    /// The host of each rank of the world, as far as is known, by any numbers.
    #[must_use]
    pub fn hosts(&self) -> &[u32] {
        &self.hosts
    }

    /// Whether several threads may call at once.
    #[must_use]
    pub fn threads(&self) -> bool {
        self.core.threads()
    }

    /// The turn of this thread.
    ///
    /// # Errors
    /// When a function that must not communicate does.
    #[inline]
    pub fn core(&self) -> Outcome<Held<'_, Core>> {
        self.core.hold().ok_or_else(nested)
    }

    /// The contexts of new communicators.
    pub(super) fn contexts(&self) -> &Contexts {
        &self.contexts
    }

    /// Ranks by host, as seen by this rank, which is among them.
    ///
    /// # Errors
    /// `MPI_ERR_GROUP` when it is not.
    pub(super) fn shape(&self, members: &[u32]) -> Outcome<Shape> {
        let Some(rank) = members.iter().position(|&world| world == self.rank) else {
            return Err(Failure::new(Class::Group, "this process is not in the group"));
        };
        let hosts: Vec<u32> = members.iter().map(|&world| self.hosts[world as usize]).collect();
        Ok(Shape::new(rank as u32, &hosts, self.cores))
    }

    /// Ends the whole job with this exit code (`MPI_Abort`). The caller should exit soon after.
    /// It may be called from anywhere, inside of other calls as well.
    pub fn abort(&self, code: i32, why: &str) {
        // Inside of another call the launcher learns it from our exit code alone.
        if let Some(mut core) = self.core.hold() {
            core.kvs.abort(code, why);
        }
    }

    /// Leaves the job (`MPI_Finalize`): returns when all that was sent has arrived and all ranks
    /// are here. Collective.
    ///
    /// # Errors
    /// When a peer died before.
    pub fn finalize(&self) -> Outcome<()> {
        let synced = self.barrier(&self.world);
        self.core()?.engine.drain();
        // Nobody goes before all are drained, so that no acknowledgement is missed.
        let ended = synced.and_then(|()| self.barrier(&self.world));
        let mut core = self.core()?;
        core.engine.leave();
        let goodbye = core.kvs.finalize();
        goodbye.map_err(|error| Failure::new(Class::Other, error.to_string()))?;
        ended
    }
}

#[cold]
fn nested() -> Failure {
    Failure::new(
        Class::Other,
        "communication inside of a call: callbacks must not communicate, and several threads need MPI_THREAD_MULTIPLE",
    )
}

impl Core {
    /// Files a request.
    #[inline]
    pub fn file(&mut self, request: Request) -> Key {
        let task = matches!(request.state, State::Task(_));
        let key = self.requests.insert(request);
        if task {
            self.tasks.push(key);
        }
        key
    }
}
