//! Joining a job, and leaving it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;

use super::Error;
use super::communicator::{Communicator, Shared};
use super::memory::{Bytes, Memory};
use crate::config::Config;
use crate::launch::{Bootstrap, Kvs, bootstrap};
use crate::link::Links;
use crate::link::card::{Card, CpuSet, Sharing, cores_together};
use crate::link::reach::Reach;
use crate::link::select::{PathPolicy, hosts};
use crate::link::share::{Means, Share};
use crate::net::{Identity, Net};
use crate::progress::Engine;
use crate::progress::wait::Waiter;
use crate::region;
use crate::region::device::Wanted;
use crate::region::file;
use crate::region::pass::Mailbox;

/// Context of the world; the one after it is for its collectives.
const WORLD_CONTEXT: u32 = 2;

/// This rank's membership in a running job.
pub struct Job {
    world: Communicator,
    shared: Shared,
    memory: Arc<Memory>,
    kvs: Box<dyn Kvs>,
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Job {{ world: {:?} }}", self.world)
    }
}

/// Joins the job that this process was started in, with settings from the environment; a job of
/// one when it was started by hand (`MPI_Init`).
///
/// # Errors
/// When the environment makes no sense, the launcher cannot be reached, or no port can be had.
pub fn init() -> Result<Job, Error> {
    let config = Config::from_env()?;
    Job::connect(bootstrap()?, config)
}

impl Job {
    /// Joins the job of this bootstrap. Returns when all its ranks have begun to join.
    ///
    /// # Errors
    /// As for [`init`].
    pub fn connect(start: Bootstrap, config: Config) -> Result<Self, Error> {
        let Joined { engine, rank, size, hosts, cores, memory, kvs, .. } = join(start, config)?;
        let shared = Shared {
            engine: Rc::new(RefCell::new(engine)),
            next_context: Rc::new(Cell::new(WORLD_CONTEXT + 2)),
            hosts: hosts.into(),
            cores,
        };
        let world = Communicator::new(shared.clone(), WORLD_CONTEXT, rank, (0..size).collect());
        Ok(Self { world, shared, memory, kvs })
    }

    /// Memory for long messages, zeroed: those out of it to ranks on the same machine are copied
    /// once, by the receiver, where others are copied twice. Ordinary memory where that cannot be.
    ///
    /// ```
    /// let job = cohost::init()?;
    /// let mut bytes = job.alloc(1 << 20)?;
    /// bytes[0] = 1;
    /// # if job.world().size() > 1 {
    /// job.world().send(&bytes, 1, 0)?;
    /// # }
    /// # Ok::<(), cohost::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::NoMemory`] when not even ordinary memory is left.
    pub fn alloc(&self, len: usize) -> Result<Bytes, Error> {
        Bytes::zeroed(&self.memory, len).map_err(|_| Error::NoMemory(len))
    }

    /// The communicator of all ranks (`MPI_COMM_WORLD`).
    #[must_use]
    pub fn world(&self) -> &Communicator {
        &self.world
    }

    /// Ends the whole job with this exit code (`MPI_Abort`). The caller should exit soon after.
    pub fn abort(&mut self, code: i32, why: &str) {
        self.kvs.abort(code, why);
    }

    /// Leaves the job (`MPI_Finalize`): returns when all that was sent has arrived and all ranks
    /// are here. Collective.
    ///
    /// # Errors
    /// When a peer died before.
    pub fn finalize(mut self) -> Result<(), Error> {
        self.world.barrier()?;
        let mut engine = self.shared.engine.borrow_mut();
        engine.drain();
        drop(engine);
        // Nobody goes before all are drained, so that no acknowledgement is missed.
        let ended = self.world.barrier();
        self.shared.engine.borrow_mut().leave();
        self.kvs.finalize()?;
        ended
    }
}

/// A rank that has joined its job: what both interfaces of the library build on.
pub(super) struct Joined {
    pub(super) engine: Engine,
    pub(super) rank: u32,
    pub(super) size: u32,
    /// Host of each rank, and machine of each rank, by any numbers.
    pub(super) hosts: Vec<u32>,
    pub(super) machines: Vec<u32>,
    /// Least number of cores of any machine.
    pub(super) cores: Option<u32>,
    pub(super) memory: Arc<Memory>,
    pub(super) kvs: Box<dyn Kvs>,
}

/// Joins the job of this bootstrap. Returns when all its ranks have begun to join.
pub(super) fn join(mut start: Bootstrap, config: Config) -> Result<Joined, Error> {
    let identity = identity(&start)?;
    region::choose_copy();
    let net = Net::bind(identity.clone(), start.size, config.net.clone())?;
    let means = means(&start, identity.epoch, &config);
    let mailbox = means.as_ref().ok().and_then(|means| means.mailbox.as_ref());
    let reach = reach(&start, &config);
    let mine = Card {
        epoch: identity.epoch,
        secret: identity.secret,
        mailbox: mailbox.map_or([0; 16], Mailbox::secret),
        host: config.host,
        vm: config.vm,
        boot: config.boot.clone().unwrap_or_else(boot_id),
        cpus: CpuSet::allowed(),
        cores: cores(),
        sharing: means.as_ref().map_or(Sharing::Nothing, Means::sharing),
        room: means.as_ref().ok().and_then(|means| means.room),
        regions: reach.ids(),
        domain: reach.domain,
        addresses: net.addresses().to_vec(),
    };
    let cards = exchange(&mut start, &mine)?;
    let share = Share::plan(start.rank, means, reach, &cards, config.path, config.geometry);
    let hosts = hosts(&cards);
    let boots: BTreeSet<&str> = cards.iter().map(|card| card.boot.as_str()).collect();
    let number = |card: &Card| boots.iter().position(|boot| *boot == card.boot).unwrap_or(0) as u32;
    let machines = cards.iter().map(number).collect();
    let neighbours = on_machine(&cards, &mine.boot).count();
    let waiter = Waiter::new(cores_together(on_machine(&cards, &mine.boot)), neighbours as u32);
    let cores = boots.iter().map(|boot| cores_together(on_machine(&cards, boot))).min();
    let (rank, size) = (start.rank, start.size);
    let mut links = Links::new(rank, cards, config.path, share);
    if config.log {
        links.tell_aloud();
    }
    let memory = Arc::new(Memory::new(links.share().store()));
    let engine = Engine::new(rank, size, config.proto, links, net, waiter);
    Ok(Joined { engine, rank, size, hosts, machines, cores, memory, kvs: start.kvs })
}

fn identity(start: &Bootstrap) -> Result<Identity, Error> {
    let mut secret = [0; 16];
    getrandom::fill(&mut secret).map_err(Error::Random)?;
    let epoch = getrandom::u64().map_err(Error::Random)?.max(1);
    // FNV-1a: equal for equal names is all that is needed; the secret does the rest.
    let job = start.job.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    Ok(Identity { job, rank: start.rank, epoch, secret })
}

/// What this rank can share memory with, or why it cannot. That is never fatal: TCP is left.
fn means(start: &Bootstrap, epoch: u64, config: &Config) -> Result<Means, String> {
    let (job, rank) = (start.job.clone(), start.rank);
    let directory = config.shm_dir.clone();
    let (mut mailbox, mut room) = (None, None);
    if let Some(directory) = &directory {
        // What dead jobs left behind; failing here only means that it stays.
        let _ = file::clean_stale(directory);
        room = file::available(directory).map_err(|error| error.to_string())?;
    } else {
        mailbox = Some(Mailbox::open(&job, rank, epoch).map_err(|error| error.to_string())?);
    }
    Ok(Means { job, rank, epoch, mailbox, directory, room })
}

/// What this rank could share with other machines. A job that needs none looks for none.
fn reach(start: &Bootstrap, config: &Config) -> Reach {
    if start.size < 2 || config.path == PathPolicy::Tcp {
        return Reach::default();
    }
    let wanted = Wanted { geometry: config.geometry, lease: config.lease, ..Wanted::default() };
    let mut reach = Reach::look(&config.region, &wanted);
    if let (Some(first), Some(played)) = (reach.devices.first_mut(), &config.registers) {
        first.registers = Some(Arc::clone(played));
    }
    reach
}

fn key(rank: u32) -> String {
    format!("cohost-{rank}")
}

/// Publishes our card and reads all others'.
fn exchange(start: &mut Bootstrap, mine: &Card) -> Result<Vec<Card>, Error> {
    start.kvs.put(&key(start.rank), &mine.encode())?;
    start.kvs.barrier()?;
    let mut cards = Vec::with_capacity(start.size as usize);
    for rank in 0..start.size {
        if rank == start.rank {
            cards.push(mine.clone());
            continue;
        }
        let line = start.kvs.get(&key(rank))?.ok_or(Error::NoCard(rank))?;
        cards.push(Card::decode(rank, &line)?);
    }
    Ok(cards)
}

/// The cards of ranks on the machine with this boot id.
fn on_machine<'a>(cards: &'a [Card], boot: &'a str) -> impl Iterator<Item = &'a Card> {
    cards.iter().filter(move |card| card.boot == boot)
}

/// Identifies the running kernel. Empty when it cannot be read.
fn boot_id() -> String {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.chars().filter(char::is_ascii_hexdigit).take(32).collect()
}

fn cores() -> u32 {
    std::thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(u32::MAX))
}
