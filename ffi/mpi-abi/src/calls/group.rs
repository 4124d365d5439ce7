//! Groups (MPI 5.0, 7.3).

use std::ffi::c_int;
use std::sync::{Arc, LazyLock};

use cohost::mpi::failure::{Class, Outcome};
use cohost::mpi::group::{Comparison, Group};

use crate::args::Handle;
use crate::constants::{
    MPI_CONGRUENT, MPI_GROUP_EMPTY, MPI_GROUP_NULL, MPI_IDENT, MPI_PROC_NULL, MPI_SIMILAR,
    MPI_UNDEFINED, MPI_UNEQUAL,
};
use crate::handles::{Shared, Table};
use crate::memory::{list, put, put_list};

static GROUPS: Shared<Group> = Table::new(Class::Group, "group");
static EMPTY: LazyLock<Arc<Group>> = LazyLock::new(|| Arc::new(Group::empty()));

/// A group.
///
/// # Errors
/// `MPI_ERR_GROUP` when there is none.
pub(crate) fn group(handle: Handle) -> Outcome<Arc<Group>> {
    match handle {
        MPI_GROUP_EMPTY => Ok(Arc::clone(&EMPTY)),
        MPI_GROUP_NULL => GROUPS.null(),
        _ => GROUPS.get(handle),
    }
}

/// Gives a group a handle; the predefined one if it is empty.
///
/// # Errors
/// `MPI_ERR_NO_MEM` when there are too many.
pub(crate) fn new_group(group: Arc<Group>) -> Outcome<Handle> {
    if group.size() == 0 { Ok(MPI_GROUP_EMPTY) } else { GROUPS.insert(group) }
}

/// What the standard calls the result of a comparison.
#[must_use]
pub(crate) fn comparison(result: Comparison) -> c_int {
    match result {
        Comparison::Identical => MPI_IDENT,
        Comparison::Congruent => MPI_CONGRUENT,
        Comparison::Similar => MPI_SIMILAR,
        Comparison::Unequal => MPI_UNEQUAL,
    }
}

/// A rank in C; `MPI_UNDEFINED` where there is none.
#[must_use]
pub(crate) fn rank_or_undefined(rank: Option<u32>) -> c_int {
    rank.map_or(MPI_UNDEFINED, u32::cast_signed)
}

pub(crate) unsafe fn group_size(handle: Handle, size: *mut c_int) -> Outcome<()> {
    let value = group(handle)?.size().cast_signed();
    // SAFETY: the application gives an address to write to.
    unsafe { put(size, value) };
    Ok(())
}

pub(crate) unsafe fn group_rank(handle: Handle, rank: *mut c_int) -> Outcome<()> {
    let value = rank_or_undefined(group(handle)?.rank());
    // SAFETY: the application gives an address to write to.
    unsafe { put(rank, value) };
    Ok(())
}

pub(crate) unsafe fn group_translate_ranks(
    group1: Handle,
    n: c_int,
    ranks1: *const c_int,
    group2: Handle,
    ranks2: *mut c_int,
) -> Outcome<()> {
    let (one, other) = (group(group1)?, group(group2)?);
    // SAFETY: the application gives an array of this length.
    let ranks = unsafe { list(ranks1, n) }?;
    let found = one.translate(&ranks, MPI_PROC_NULL, &other)?;
    let number = |(rank, found): (&c_int, Option<u32>)| match *rank {
        MPI_PROC_NULL => MPI_PROC_NULL,
        _ => rank_or_undefined(found),
    };
    let found: Vec<c_int> = ranks.iter().zip(found).map(number).collect();
    // SAFETY: as above.
    unsafe { put_list(ranks2, &found, ranks.len()) };
    Ok(())
}

pub(crate) unsafe fn group_compare(
    group1: Handle,
    group2: Handle,
    result: *mut c_int,
) -> Outcome<()> {
    let value = comparison(group(group1)?.compare(group(group2)?.as_ref()));
    // SAFETY: the application gives an address to write to.
    unsafe { put(result, value) };
    Ok(())
}

macro_rules! sets {
    ($(entry fn $name:ident, $method:ident;)*) => {$(
        pub(crate) unsafe fn $name(
            group1: Handle,
            group2: Handle,
            newgroup: *mut Handle,
        ) -> Outcome<()> {
            let handle = new_group(Arc::new(group(group1)?.$method(group(group2)?.as_ref())))?;
            // SAFETY: the application gives an address to write to.
            unsafe { put(newgroup, handle) };
            Ok(())
        }
    )*};
}

sets! {
    entry fn group_union, union;
    entry fn group_intersection, intersection;
    entry fn group_difference, difference;
}

macro_rules! selections {
    ($(entry fn $name:ident, entry fn $range:ident, $method:ident;)*) => {$(
        pub(crate) unsafe fn $name(
            handle: Handle,
            n: c_int,
            ranks: *const c_int,
            newgroup: *mut Handle,
        ) -> Outcome<()> {
            let group = group(handle)?;
            // SAFETY: the application gives an array of this length.
            let ranks = unsafe { list(ranks, n) }?;
            let handle = new_group(Arc::new(group.$method(&ranks)?))?;
            // SAFETY: the application gives an address to write to.
            unsafe { put(newgroup, handle) };
            Ok(())
        }

        pub(crate) unsafe fn $range(
            handle: Handle,
            n: c_int,
            ranges: *const [c_int; 3],
            newgroup: *mut Handle,
        ) -> Outcome<()> {
            let group = group(handle)?;
            // SAFETY: the application gives an array of this length.
            let ranges = unsafe { list(ranges, n) }?;
            let ranks = group.ranks_of(&ranges)?;
            let handle = new_group(Arc::new(group.$method(&ranks)?))?;
            // SAFETY: the application gives an address to write to.
            unsafe { put(newgroup, handle) };
            Ok(())
        }
    )*};
}

selections! {
    entry fn group_incl, entry fn group_range_incl, include;
    entry fn group_excl, entry fn group_range_excl, exclude;
}

pub(crate) unsafe fn group_free(handle: *mut Handle) -> Outcome<()> {
    // SAFETY: the application gives the address of a handle.
    let given = unsafe { handle.read() };
    // Where a group is empty its handle is the predefined one: freeing it is no mistake.
    if given != MPI_GROUP_EMPTY {
        GROUPS.remove(given)?;
    }
    // SAFETY: as above.
    unsafe { put(handle, MPI_GROUP_NULL) };
    Ok(())
}
