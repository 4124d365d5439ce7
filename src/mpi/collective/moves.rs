//! Plans of the collectives that move items (MPI 5.0, 6.3 to 6.8). In place (`MPI_IN_PLACE`) is a side
//! that is none.

use super::plan::{Neighborhood, Place, Plan};
use super::sides::{Items, Pieces, Side};
use crate::coll::{self, Inter, Neighbors, Root, inter, neighbor};
use crate::mpi::datatype::Datatype;
use crate::mpi::failure::{Class, Outcome, fail};
use crate::mpi::running::Work;

/// `MPI_ROOT`.
const ROOT: i32 = -4;
/// `MPI_PROC_NULL`.
const PROC_NULL: i32 = -3;

impl Place<'_> {
    pub(super) fn inter(&self) -> Option<Inter<'_>> {
        let remote_size = self.remote_size();
        (remote_size > 0).then_some(Inter { local: self.shape, remote_size })
    }

    /// The root as this rank names it; in an intracommunicator a rank, which may be this one.
    pub(super) fn root(&self, root: i32) -> Outcome<Root> {
        match (self.is_inter(), u32::try_from(root)) {
            (true, _) if root == ROOT => Ok(Root::Me),
            (true, _) if root == PROC_NULL => Ok(Root::Nobody),
            (_, Ok(rank)) if (rank as usize) < self.peers() => Ok(Root::Remote(rank)),
            _ => {
                let last = self.peers() - 1;
                fail(
                    Class::Root,
                    format!("there is no rank {root} to be root: ranks are 0 to {last}"),
                )
            }
        }
    }

    /// Whether this rank is the root.
    pub(super) fn is_root(&self, root: Root) -> bool {
        match root {
            Root::Me => true,
            Root::Nobody => false,
            Root::Remote(rank) => !self.is_inter() && rank == self.rank,
        }
    }
}

pub(super) fn refuse_in_place<T>(place: &Place<'_>) -> Outcome<T> {
    let why = match place.is_inter() {
        true => "MPI_IN_PLACE has no meaning in an intercommunicator: pass a buffer",
        false => "MPI_IN_PLACE is for the root alone here: pass a buffer",
    };
    fail(Class::Buffer, why)
}

/// What this rank sends itself must be what it expects of itself.
fn check_own(sent: usize, expected: usize) -> Outcome<()> {
    match sent {
        sent if sent > expected => fail(
            Class::Truncate,
            format!("this rank has {sent} bytes for itself, and room for {expected}"),
        ),
        sent if sent < expected => fail(
            Class::Count,
            format!("this rank has {sent} bytes for itself, and expects {expected}"),
        ),
        _ => Ok(()),
    }
}

pub(super) fn check_apart(send: &Side, recv: &Side) -> Outcome<()> {
    if send.overlaps(recv) {
        return fail(
            Class::Buffer,
            "the send and the receive buffer overlap: use MPI_IN_PLACE, or two buffers",
        );
    }
    Ok(())
}

fn needed<T>(side: Option<T>) -> Outcome<T> {
    match side {
        Some(side) => Ok(side),
        None => fail(Class::Buffer, "the root needs this buffer"),
    }
}

/// `MPI_Barrier`.
#[must_use]
pub fn barrier(place: &Place<'_>) -> Plan {
    let mut work = Work::take();
    match place.inter() {
        Some(inter) => inter::barrier(&inter, &mut work.schedule),
        None => coll::barrier(place.shape, &mut work.schedule),
    }
    // SAFETY: no buffers.
    unsafe { Plan::new(place, work, Side::nothing(), Side::nothing(), None) }
}

/// What a rank does that stands by at a call with one root in the other group (`MPI_PROC_NULL`).
#[must_use]
#[inline]
pub fn nothing(_: &Place<'_>) -> Plan {
    Plan::nothing()
}

/// A call in which every rank of an intracommunicator has nothing to give: over at once, as the standard
/// allows of all but a barrier. Its types are looked at as in any.
///
/// # Errors
/// When a datatype is not committed.
#[inline]
pub fn empty(place: &Place<'_>, datatypes: &[&Datatype]) -> Outcome<Plan> {
    for datatype in datatypes {
        Items { base: std::ptr::null_mut(), count: 0, datatype }.check()?;
    }
    Ok(nothing(place))
}

/// `MPI_Bcast`.
///
/// # Errors
/// When the root, the count or the datatype are wrong.
///
/// # Safety
/// Until the plan is over or abandoned, and again in each run, send buffers are readable and unchanged and
/// receive buffers writable and used by nobody else.
pub unsafe fn bcast(place: &Place<'_>, items: Items<'_>, root: i32) -> Outcome<Plan> {
    let root = place.root(root)?;
    let mut work = Work::take();
    let side = match root {
        Root::Nobody => Side::nothing(),
        _ if place.is_root(root) => Side::one(items)?.loaded(),
        _ => Side::one(items)?.stored(),
    };
    match (place.inter(), root) {
        (Some(inter), _) => inter::bcast(&inter, side.len(), root, &mut work.schedule),
        (None, Root::Remote(root)) => {
            coll::bcast(place.shape, side.len(), root, &mut work.schedule)
        }
        (None, _) => {}
    }
    // SAFETY: by the contract of this function.
    Ok(unsafe { Plan::new(place, work, Side::nothing(), side, None) })
}

/// `MPI_Gather`. What is received is looked at at the root only, where what is sent may be in place.
///
/// # Errors
/// When the root, a count or a datatype are wrong, or buffers overlap.
///
/// # Safety
/// As for [`bcast`].
pub unsafe fn gather(
    place: &Place<'_>,
    send: Option<Items<'_>>,
    recv: Option<Items<'_>>,
    root: i32,
) -> Outcome<Plan> {
    // SAFETY: the contract is the same.
    unsafe { gather_any(place, send, recv.map(Pieces::Equal), root, false) }
}

/// `MPI_Gatherv`.
///
/// # Errors
/// As for [`gather`].
///
/// # Safety
/// As for [`bcast`].
pub unsafe fn gatherv(
    place: &Place<'_>,
    send: Option<Items<'_>>,
    recv: Option<Pieces<'_>>,
    root: i32,
) -> Outcome<Plan> {
    // SAFETY: the contract is the same.
    unsafe { gather_any(place, send, recv, root, true) }
}

unsafe fn gather_any(
    place: &Place<'_>,
    send: Option<Items<'_>>,
    recv: Option<Pieces<'_>>,
    root: i32,
    listed: bool,
) -> Outcome<Plan> {
    let root = place.root(root)?;
    let (at_root, me, in_place) = (place.is_root(root), place.rank as usize, send.is_none());
    let mut work = Work::take();
    let out = &mut work.schedule;
    let from = match send {
        _ if place.is_inter() && !matches!(root, Root::Remote(_)) => Side::nothing(),
        Some(items) => Side::one(items)?.loaded(),
        None if at_root => Side::nothing(),
        None => return refuse_in_place(place),
    };
    let mut into = Side::nothing();
    if at_root {
        into = Side::of(&needed(recv)?, place.peers())?.stored();
        if !place.is_inter() && in_place {
            into = into.except(me);
        } else if !place.is_inter() {
            check_own(from.len(), into.block(me))?;
        }
        check_apart(&from, &into)?;
    }
    match (place.inter(), root) {
        (Some(inter), _) => inter::gatherv(&inter, from.len(), into.blocks(), root, out),
        (None, Root::Remote(root)) if listed => {
            coll::gatherv(place.shape, from.len(), into.blocks(), root, in_place, out);
        }
        (None, Root::Remote(root)) => {
            let block = if at_root { into.block(me) } else { from.len() };
            coll::gather(place.shape, block, root, in_place, out);
        }
        (None, _) => {}
    }
    // SAFETY: by the contract of this function.
    Ok(unsafe { Plan::new(place, work, from, into, None) })
}

/// `MPI_Scatter`. What is sent is looked at at the root only, where what is received may be in place.
///
/// # Errors
/// As for [`gather`].
///
/// # Safety
/// As for [`bcast`].
pub unsafe fn scatter(
    place: &Place<'_>,
    send: Option<Items<'_>>,
    recv: Option<Items<'_>>,
    root: i32,
) -> Outcome<Plan> {
    // SAFETY: the contract is the same.
    unsafe { scatter_any(place, send.map(Pieces::Equal), recv, root, false) }
}

/// `MPI_Scatterv`.
///
/// # Errors
/// As for [`gather`].
///
/// # Safety
/// As for [`bcast`].
pub unsafe fn scatterv(
    place: &Place<'_>,
    send: Option<Pieces<'_>>,
    recv: Option<Items<'_>>,
    root: i32,
) -> Outcome<Plan> {
    // SAFETY: the contract is the same.
    unsafe { scatter_any(place, send, recv, root, true) }
}

unsafe fn scatter_any(
    place: &Place<'_>,
    send: Option<Pieces<'_>>,
    recv: Option<Items<'_>>,
    root: i32,
    listed: bool,
) -> Outcome<Plan> {
    let root = place.root(root)?;
    let (at_root, me, in_place) = (place.is_root(root), place.rank as usize, recv.is_none());
    let mut work = Work::take();
    let out = &mut work.schedule;
    let into = match recv {
        _ if place.is_inter() && !matches!(root, Root::Remote(_)) => Side::nothing(),
        Some(items) => Side::one(items)?.stored(),
        None if at_root => Side::nothing(),
        None => return refuse_in_place(place),
    };
    let mut from = Side::nothing();
    if at_root {
        from = Side::of(&needed(send)?, place.peers())?.loaded();
        if !place.is_inter() && !in_place {
            check_own(from.block(me), into.len())?;
        }
        check_apart(&from, &into)?;
    }
    match (place.inter(), root) {
        (Some(inter), _) => inter::scatterv(&inter, into.len(), from.blocks(), root, out),
        (None, Root::Remote(root)) if listed => {
            coll::scatterv(place.shape, into.len(), from.blocks(), root, in_place, out);
        }
        (None, Root::Remote(root)) => {
            let block = if at_root { from.block(me) } else { into.len() };
            coll::scatter(place.shape, block, root, in_place, out);
        }
        (None, _) => {}
    }
    // SAFETY: by the contract of this function.
    Ok(unsafe { Plan::new(place, work, from, into, None) })
}

/// `MPI_Allgather` and `MPI_Allgatherv`: which one, `recv` says.
///
/// # Errors
/// As for [`gather`].
///
/// # Safety
/// As for [`bcast`].
pub unsafe fn allgather(
    place: &Place<'_>,
    send: Option<Items<'_>>,
    recv: Pieces<'_>,
) -> Outcome<Plan> {
    let (me, in_place) = (place.rank as usize, send.is_none());
    let mut work = Work::take();
    let out = &mut work.schedule;
    let mut into = Side::of(&recv, place.peers())?.stored();
    let from = match send {
        Some(items) => Side::one(items)?.loaded(),
        None if place.is_inter() => return refuse_in_place(place),
        None => Side::nothing(),
    };
    if in_place {
        into = into.loaded();
    } else if !place.is_inter() {
        check_own(from.len(), into.block(me))?;
    }
    check_apart(&from, &into)?;
    match (place.inter(), into.equal()) {
        (Some(inter), _) => inter::allgatherv(&inter, from.len(), into.blocks(), out),
        (None, Some(block)) => coll::allgather(place.shape, block, in_place, out),
        (None, None) => coll::allgatherv(place.shape, into.blocks(), in_place, out),
    }
    // SAFETY: by the contract of this function.
    Ok(unsafe { Plan::new(place, work, from, into, None) })
}

/// `MPI_Alltoall`, `MPI_Alltoallv` and `MPI_Alltoallw`: which one, the sides say.
///
/// # Errors
/// As for [`gather`].
///
/// # Safety
/// As for [`bcast`].
pub unsafe fn alltoall(
    place: &Place<'_>,
    send: Option<Pieces<'_>>,
    recv: Pieces<'_>,
) -> Outcome<Plan> {
    let (me, in_place) = (place.rank as usize, send.is_none());
    let mut work = Work::take();
    let out = &mut work.schedule;
    let mut into = Side::of(&recv, place.peers())?.stored();
    let from = match send {
        Some(pieces) => Side::of(&pieces, place.peers())?.loaded(),
        None if place.is_inter() => return refuse_in_place(place),
        None => Side::nothing(),
    };
    if in_place {
        into = into.loaded();
    } else if !place.is_inter() {
        check_own(from.block(me), into.block(me))?;
    }
    check_apart(&from, &into)?;
    match (place.inter(), into.equal()) {
        (Some(inter), _) => inter::alltoallv(&inter, from.blocks(), into.blocks(), out),
        (None, Some(block)) => coll::alltoall(place.shape, block, in_place, out),
        (None, None) => {
            coll::alltoallv(place.shape, from.blocks(), into.blocks(), in_place, out);
        }
    }
    // SAFETY: by the contract of this function.
    Ok(unsafe { Plan::new(place, work, from, into, None) })
}

/// `MPI_Neighbor_allgather` and `MPI_Neighbor_allgatherv`.
///
/// # Errors
/// As for [`gather`], and when the communicator has no topology.
///
/// # Safety
/// As for [`bcast`].
pub unsafe fn neighbor_allgather(
    place: &Place<'_>,
    send: Items<'_>,
    recv: Pieces<'_>,
) -> Outcome<Plan> {
    let hood = place.neighborhood()?;
    let into = hood.receives(&recv)?;
    let from = Side::one(send)?.loaded();
    check_apart(&from, &into)?;
    let mut work = Work::take();
    let neighbors = hood.of(place.rank);
    neighbor::allgatherv(&neighbors, from.len(), into.blocks(), &mut work.schedule);
    // SAFETY: by the contract of this function.
    Ok(unsafe { Plan::new(place, work, from, into, None) })
}

/// `MPI_Neighbor_alltoall`, `MPI_Neighbor_alltoallv` and `MPI_Neighbor_alltoallw`.
///
/// # Errors
/// As for [`neighbor_allgather`].
///
/// # Safety
/// As for [`bcast`].
pub unsafe fn neighbor_alltoall(
    place: &Place<'_>,
    send: Pieces<'_>,
    recv: Pieces<'_>,
) -> Outcome<Plan> {
    let hood = place.neighborhood()?;
    let into = hood.receives(&recv)?;
    let from = Side::of(&send, hood.destinations.len())?.loaded();
    check_apart(&from, &into)?;
    let mut work = Work::take();
    let neighbors = hood.of(place.rank);
    neighbor::alltoallv(&neighbors, from.blocks(), into.blocks(), &mut work.schedule);
    // SAFETY: by the contract of this function.
    Ok(unsafe { Plan::new(place, work, from, into, None) })
}

impl Neighborhood {
    fn of(&self, rank: u32) -> Neighbors<'_> {
        let (sources, destinations) = (&self.sources[..], &self.destinations[..]);
        Neighbors { rank, sources, destinations, grid: self.grid }
    }

    /// The receive side: blocks without a neighbor stay as they are.
    fn receives(&self, recv: &Pieces<'_>) -> Outcome<Side> {
        let side = Side::of(recv, self.sources.len())?.stored();
        let nobody = self.sources.iter().enumerate().filter(|(_, source)| source.is_none());
        Ok(nobody.fold(side, |side, (i, _)| side.except(i)))
    }
}
