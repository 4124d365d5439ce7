//! Making communicators (MPI 5.0, 7.4). Every new one has contexts that the first of its ranks
//! gives; all others hear of them in a message of the parent.

use std::sync::Arc;

use super::Process;
use super::context::NONE_LEFT;
use super::internal::Circle;
use crate::coll::{self, Shape};
use crate::mpi::comm::{COLLECTIVE, Comm, FOUNDING, Parts, Traits};
use crate::mpi::errhandler::Errhandler;
use crate::mpi::failure::{Class, Failure, Outcome, fail};
use crate::mpi::group::Group;
use crate::mpi::request::{Request, State, Status, Task};
use crate::mpi::running::{Route, Running};
use crate::progress::Engine;
use crate::proto::Key;

/// Hints of communicators that are kept (MPI 5.0, 7.4.4): promises of the application. Others are
/// ignored.
pub const ASSERTIONS: &[&str] = &[
    "mpi_assert_no_any_tag",
    "mpi_assert_no_any_source",
    "mpi_assert_exact_length",
    "mpi_assert_allow_overtaking",
    "mpi_assert_strict_persistent_collective_ordering",
];

/// The contexts of a new communicator: its own, and that of an intercommunicator's local groups,
/// which share one, since no rank is in both.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grant {
    context: u32,
    inside: u32,
}

impl Grant {
    const BYTES: usize = 8;

    pub(super) fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..4].copy_from_slice(&self.context.to_ne_bytes());
        bytes[4..].copy_from_slice(&self.inside.to_ne_bytes());
        bytes
    }

    /// The contexts of a message: zero where nobody had one to give.
    pub(super) fn of_bytes(bytes: &[u8]) -> Outcome<Self> {
        let word = |at: usize| bytes[at..at + 4].try_into().map_or(0, u32::from_ne_bytes);
        match (word(0), word(4)) {
            (0, _) => fail(Class::NoMem, NONE_LEFT),
            (context, inside) => Ok(Self { context, inside }),
        }
    }
}

/// The hints among these that are kept.
pub(super) fn hints(given: Vec<(String, String)>) -> Vec<(String, String)> {
    let kept = |(key, value): &(String, String)| {
        ASSERTIONS.contains(&key.as_str()) && ["true", "false"].contains(&value.as_str())
    };
    given.into_iter().filter(kept).collect()
}

/// FNV-1a, which is the same everywhere.
fn hash(words: impl IntoIterator<Item = u8>) -> u64 {
    words.into_iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

impl Process {
    /// All ranks of `comm`: of an intercommunicator those first whose group begins with the lower
    /// rank of the world, so that both sides see the same order. Takes the number of a call.
    pub(super) fn all_of(&self, comm: &Comm) -> Outcome<Circle> {
        let Some(remote) = comm.remote() else {
            let route = self.route(comm, Arc::clone(comm.everyone()));
            return Ok(Circle { shape: Shape::clone(comm.shape()), route });
        };
        let (mine, theirs) = (comm.local().members(), remote.members());
        let (first, then) =
            if mine.first() < theirs.first() { (mine, theirs) } else { (theirs, mine) };
        let members: Arc<[u32]> = first.iter().chain(&then[..]).copied().collect();
        Ok(Circle { shape: self.shape(&members)?, route: self.route(comm, members) })
    }

    fn route(&self, comm: &Comm, group: Arc<[u32]>) -> Route {
        Route { group, context: comm.context() + COLLECTIVE, tag: comm.next_call() }
    }

    /// Some ranks of `comm`, of which this is one. All ranks of `comm` call this, or take the
    /// number of a call otherwise.
    pub(super) fn some_of(&self, comm: &Comm, members: &Arc<[u32]>) -> Outcome<Circle> {
        let route = self.route(comm, Arc::clone(members));
        Ok(Circle { shape: self.shape(members)?, route })
    }

    /// Ranks that have this name in common, and no communicator.
    pub(super) fn named(&self, members: &Arc<[u32]>, name: &[u8]) -> Outcome<Circle> {
        let group = members.iter().flat_map(|it| it.to_ne_bytes());
        let (context, tag) = self.contexts().named(hash(name.iter().copied().chain(group)));
        let route = Route { group: Arc::clone(members), context, tag };
        Ok(Circle { shape: self.shape(members)?, route })
    }

    /// New contexts, for an intercommunicator or another; zeros when none are left, which the
    /// others must hear as well.
    pub(super) fn give(&self, inter: bool) -> Grant {
        let give = || self.contexts().give().unwrap_or(0);
        let (context, inside) = (give(), if inter { give() } else { 0 });
        if inter && inside == 0 { Grant { context: 0, inside } } else { Grant { context, inside } }
    }

    /// The contexts that the first of a circle gives.
    pub(super) fn grant(&self, circle: Circle, inter: bool) -> Outcome<Grant> {
        let mut bytes = self.first_gives(&circle, inter);
        self.bcast_in(circle, &mut bytes)?;
        Grant::of_bytes(&bytes)
    }

    fn first_gives(&self, circle: &Circle, inter: bool) -> [u8; Grant::BYTES] {
        let first = circle.shape.rank() == 0;
        if first { self.give(inter).to_bytes() } else { [0; Grant::BYTES] }
    }

    /// A communicator with these contexts.
    pub(super) fn found(
        &self,
        grant: Grant,
        local: Arc<Group>,
        remote: Option<Arc<Group>>,
        traits: Traits,
    ) -> Outcome<Arc<Comm>> {
        let shape = self.shape(local.members())?;
        let inside = remote.as_ref().map(|_| {
            let (local, shape) = (Arc::clone(&local), shape.clone());
            let traits = Traits::plain(Errhandler::Return);
            let context = grant.inside;
            Comm::new(Parts { context, local, remote: None, shape, inside: None, traits })
        });
        Ok(Comm::new(Parts { context: grant.context, local, remote, shape, inside, traits }))
    }

    /// What a duplicate of `comm` inherits.
    fn inherited(&self, comm: &Comm, given: Vec<(String, String)>) -> Outcome<Traits> {
        let object = comm.handle.load(std::sync::atomic::Ordering::Relaxed);
        let attributes = comm.attributes.copy(object)?;
        let topology = comm.topology.get().cloned();
        Ok(Traits { errhandler: comm.errhandler(), attributes, hints: hints(given), topology })
    }

    /// A duplicate: the same groups, attributes, topology and error handler in another context
    /// (`MPI_Comm_dup`, `MPI_Comm_dup_with_info`).
    ///
    /// # Errors
    /// What a copy function of an attribute returned, or when a peer is gone.
    pub fn dup(&self, comm: &Comm, given: Vec<(String, String)>) -> Outcome<Arc<Comm>> {
        let traits = self.inherited(comm, given);
        // Even when that failed here: the others wait.
        let grant = self.grant(self.all_of(comm)?, comm.remote().is_some())?;
        self.found(grant, Arc::clone(comm.local()), comm.remote().cloned(), traits?)
    }

    /// Begins to make a duplicate, which can be used when the request is complete
    /// (`MPI_Comm_idup`, `MPI_Comm_idup_with_info`).
    ///
    /// # Errors
    /// What a copy function of an attribute returned.
    pub fn idup(
        &self,
        comm: &Arc<Comm>,
        given: Vec<(String, String)>,
    ) -> Outcome<(Arc<Comm>, Key)> {
        let traits = self.inherited(comm, given)?;
        let circle = self.all_of(comm)?;
        let later = Grant { context: 0, inside: 0 };
        let new = self.found(later, Arc::clone(comm.local()), comm.remote().cloned(), traits)?;
        let mut bytes = self.first_gives(&circle, comm.remote().is_some()).to_vec();
        let into = (bytes.as_mut_ptr(), bytes.len());
        let schedule = circle.schedule(|shape, out| coll::bcast(shape, Grant::BYTES, 0, out));
        // SAFETY: the bytes stay where they are while their owner moves, and are used by nobody
        // else until it is over; there is nothing to send from.
        let running =
            unsafe { Running::new(schedule, circle.route, (into.0.cast_const(), 0), into, None) };
        let task = Agreeing { running, bytes, comm: Arc::clone(&new) };
        let request = Request::new(State::Task(Box::new(task)), Some(Arc::clone(comm)));
        Ok((new, self.core()?.file(request)))
    }

    /// A communicator of some ranks of `comm`, which all of them call for; none for others.
    pub(super) fn part_of(
        &self,
        comm: &Comm,
        members: Arc<[u32]>,
        traits: Traits,
    ) -> Outcome<Option<Arc<Comm>>> {
        let group = Arc::new(comm.local().related(members, self.rank()));
        if group.rank().is_none() {
            comm.next_call();
            return Ok(None);
        }
        let grant = self.grant(self.some_of(comm, group.members())?, false)?;
        self.found(grant, group, None, traits).map(Some)
    }

    /// A communicator of the group, which is a part of `comm`; none when this rank is not in it
    /// (`MPI_Comm_create`).
    ///
    /// # Errors
    /// `MPI_ERR_GROUP` when it is no part of `comm`, or when a peer is gone.
    pub fn create(&self, comm: &Comm, group: &Group) -> Outcome<Option<Arc<Comm>>> {
        is_part(group, comm)?;
        if comm.remote().is_some() {
            return self.create_inter(comm, group);
        }
        self.part_of(comm, Arc::clone(group.members()), Traits::plain(comm.errhandler()))
    }

    /// The same; only the members of the group call (`MPI_Comm_create_group`).
    ///
    /// # Errors
    /// `MPI_ERR_COMM` for an intercommunicator, `MPI_ERR_GROUP` when the group is no part of it,
    /// `MPI_ERR_TAG` when the tag is negative.
    pub fn create_group(&self, comm: &Comm, group: &Group, tag: i32) -> Outcome<Option<Arc<Comm>>> {
        intra(comm)?;
        is_part(group, comm)?;
        if tag < 0 {
            return fail(Class::Tag, format!("tag {tag} is negative"));
        }
        if group.rank().is_none() {
            return Ok(None);
        }
        let members = Arc::clone(group.members());
        let shape = self.shape(&members)?;
        let route = Route { group: Arc::clone(&members), context: comm.context() + FOUNDING, tag };
        let grant = self.grant(Circle { shape, route }, false)?;
        let local = Arc::new(comm.local().related(members, self.rank()));
        self.found(grant, local, None, Traits::plain(comm.errhandler())).map(Some)
    }

    /// A communicator of a group, without any other; concurrent calls of overlapping groups have
    /// different names (`MPI_Comm_create_from_group`). None for the empty group.
    ///
    /// # Errors
    /// `MPI_ERR_GROUP` when this process is not in the group, or when a peer is gone.
    pub fn create_from_group(
        &self,
        group: &Group,
        name: &[u8],
        given: Vec<(String, String)>,
        errhandler: Errhandler,
    ) -> Outcome<Option<Arc<Comm>>> {
        if group.size() == 0 {
            return Ok(None);
        }
        let local = Arc::new(group.related(Arc::clone(group.members()), self.rank()));
        let grant = self.grant(self.named(local.members(), name)?, false)?;
        let traits = Traits { hints: hints(given), ..Traits::plain(errhandler) };
        self.found(grant, local, None, traits).map(Some)
    }

    /// Sets hints of a communicator (`MPI_Comm_set_info`). Those that are not known are ignored.
    pub fn set_hints(&self, comm: &Comm, given: Vec<(String, String)>) {
        for (key, value) in hints(given) {
            comm.info.set(&key, &value);
        }
    }

    /// Waits for all that is under way on a communicator, at all its ranks (`MPI_Comm_disconnect`).
    ///
    /// # Errors
    /// When a peer is gone.
    pub fn settle(&self, comm: &Arc<Comm>) -> Outcome<()> {
        let under_way = |request: &Request| {
            let of_comm = request.comm.as_ref().is_some_and(|it| Arc::ptr_eq(it, comm));
            of_comm && !matches!(request.state, State::User(_) | State::Inactive)
        };
        let mut core = self.core()?;
        let all = core.requests.iter_mut().filter(|(_, request)| under_way(request));
        let keys: Vec<Key> = all.map(|(key, _)| key).collect();
        drop(core);
        self.wait_for_all(&keys)?;
        self.meet(self.all_of(comm)?)
    }
}

/// # Errors
/// `MPI_ERR_COMM` for an intercommunicator.
pub(super) fn intra(comm: &Comm) -> Outcome<()> {
    match comm.remote() {
        None => Ok(()),
        Some(_) => fail(Class::Comm, "an intercommunicator cannot be used here"),
    }
}

fn is_part(group: &Group, comm: &Comm) -> Outcome<()> {
    if comm.local().contains(group) {
        return Ok(());
    }
    fail(Class::Group, "the group has members that are not in the communicator")
}

/// A duplicate whose contexts are under way.
struct Agreeing {
    running: Running,
    bytes: Vec<u8>,
    comm: Arc<Comm>,
}

impl Task for Agreeing {
    fn advance(&mut self, engine: &mut Engine) -> Option<Outcome<Status>> {
        let outcome = self.running.advance(engine)?.map_err(Failure::from);
        let grant = outcome.and_then(|()| Grant::of_bytes(&self.bytes));
        Some(grant.map(|grant| {
            self.comm.set_context(grant.context);
            if let Some(inside) = self.comm.inside() {
                inside.set_context(grant.inside);
            }
            Status::EMPTY
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contexts_travel_in_a_message_and_zero_means_that_none_is_left() {
        let grant = Grant::of_bytes(&Grant { context: 7, inside: 11 }.to_bytes()).unwrap();
        assert_eq!((grant.context, grant.inside), (7, 11));
        let none = Grant::of_bytes(&[0; Grant::BYTES]).unwrap_err();
        assert_eq!(none.class, Class::NoMem);
    }

    #[test]
    fn only_promises_that_are_known_and_either_true_or_false_are_kept() {
        let given =
            [("mpi_assert_no_any_tag", "true"), ("color", "red"), ("mpi_assert_exact_length", "1")];
        let given = given.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec();
        assert_eq!(hints(given), [("mpi_assert_no_any_tag".to_owned(), "true".to_owned())]);
    }
}
