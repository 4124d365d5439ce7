//! Communicators (MPI 5.0, 7.4, 7.6, 7.8).

use std::ffi::{c_char, c_int};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use cohost::mpi::comm::Comm;
use cohost::mpi::errhandler::Attached;
use cohost::mpi::failure::{Class, Outcome, fail};
use cohost::mpi::group::Group;
use cohost::mpi::process::{Kind, Peer};

use super::attributes::delete_attributes;
use super::errors::handler;
use super::group::{comparison, group, new_group};
use super::info::{entries, info, new_info};
use crate::args::Handle;
use crate::constants::{
    MPI_COMM_NULL, MPI_COMM_SELF, MPI_COMM_TYPE_HW_GUIDED, MPI_COMM_TYPE_HW_UNGUIDED,
    MPI_COMM_TYPE_RESOURCE_GUIDED, MPI_COMM_TYPE_SHARED, MPI_COMM_WORLD, MPI_INFO_NULL,
    MPI_MAX_OBJECT_NAME, MPI_MAX_STRINGTAG_LEN, MPI_UNDEFINED,
};
use crate::memory::put;
use crate::runtime::{COMMS, comm, new_comm, process, put_request};
use crate::text;

/// Gives a new communicator a handle, or `MPI_COMM_NULL` to none.
///
/// # Errors
/// `MPI_ERR_NO_MEM` when there are too many.
///
/// # Safety
/// The address is one that the call may write to.
pub(super) unsafe fn put_comm(at: *mut Handle, made: Option<Arc<Comm>>) -> Outcome<()> {
    let handle = made.map_or(Ok(MPI_COMM_NULL), new_comm)?;
    // SAFETY: the caller's promise.
    unsafe { put(at, handle) };
    Ok(())
}

pub(crate) unsafe fn comm_rank(comm: Handle, rank: *mut c_int) -> Outcome<()> {
    let value = self::comm(comm)?.rank().cast_signed();
    // SAFETY: the application gives an address to write to.
    unsafe { put(rank, value) };
    Ok(())
}

pub(crate) unsafe fn comm_size(comm: Handle, size: *mut c_int) -> Outcome<()> {
    let value = self::comm(comm)?.size().cast_signed();
    // SAFETY: the application gives an address to write to.
    unsafe { put(size, value) };
    Ok(())
}

fn remote(comm: &Comm) -> Outcome<&Arc<Group>> {
    match comm.remote() {
        Some(remote) => Ok(remote),
        None => fail(Class::Comm, "the communicator is no intercommunicator"),
    }
}

pub(crate) unsafe fn comm_remote_size(comm: Handle, size: *mut c_int) -> Outcome<()> {
    let value = remote(&*self::comm(comm)?)?.size().cast_signed();
    // SAFETY: the application gives an address to write to.
    unsafe { put(size, value) };
    Ok(())
}

pub(crate) unsafe fn comm_test_inter(comm: Handle, flag: *mut c_int) -> Outcome<()> {
    let value = self::comm(comm)?.remote().is_some().into();
    // SAFETY: the application gives an address to write to.
    unsafe { put(flag, value) };
    Ok(())
}

pub(crate) unsafe fn comm_group(comm: Handle, group: *mut Handle) -> Outcome<()> {
    let handle = new_group(Arc::clone(self::comm(comm)?.local()))?;
    // SAFETY: the application gives an address to write to.
    unsafe { put(group, handle) };
    Ok(())
}

pub(crate) unsafe fn comm_remote_group(comm: Handle, group: *mut Handle) -> Outcome<()> {
    let handle = new_group(Arc::clone(remote(&*self::comm(comm)?)?))?;
    // SAFETY: the application gives an address to write to.
    unsafe { put(group, handle) };
    Ok(())
}

pub(crate) unsafe fn comm_compare(comm1: Handle, comm2: Handle, result: *mut c_int) -> Outcome<()> {
    let value = comparison(comm(comm1)?.compare(&*comm(comm2)?));
    // SAFETY: the application gives an address to write to.
    unsafe { put(result, value) };
    Ok(())
}

pub(crate) unsafe fn comm_dup(comm: Handle, newcomm: *mut Handle) -> Outcome<()> {
    let made = process()?.dup(&*self::comm(comm)?, Vec::new())?;
    // SAFETY: the application gives an address to write to.
    unsafe { put_comm(newcomm, Some(made)) }
}

pub(crate) unsafe fn comm_dup_with_info(
    comm: Handle,
    info: Handle,
    newcomm: *mut Handle,
) -> Outcome<()> {
    let made = process()?.dup(&*self::comm(comm)?, entries(info)?)?;
    // SAFETY: the application gives an address to write to.
    unsafe { put_comm(newcomm, Some(made)) }
}

pub(crate) unsafe fn comm_idup(
    comm: Handle,
    newcomm: *mut Handle,
    request: *mut Handle,
) -> Outcome<()> {
    // SAFETY: the contract is the same.
    unsafe { comm_idup_with_info(comm, MPI_INFO_NULL, newcomm, request) }
}

pub(crate) unsafe fn comm_idup_with_info(
    comm: Handle,
    info: Handle,
    newcomm: *mut Handle,
    request: *mut Handle,
) -> Outcome<()> {
    let (made, key) = process()?.idup(&*self::comm(comm)?, entries(info)?)?;
    // SAFETY: the application gives an address to write to.
    unsafe { put_comm(newcomm, Some(made)) }?;
    // SAFETY: as above.
    unsafe { put_request(request, key) }
}

pub(crate) unsafe fn comm_create(comm: Handle, group: Handle, newcomm: *mut Handle) -> Outcome<()> {
    let made = process()?.create(&*self::comm(comm)?, self::group(group)?.as_ref())?;
    // SAFETY: the application gives an address to write to.
    unsafe { put_comm(newcomm, made) }
}

pub(crate) unsafe fn comm_create_group(
    comm: Handle,
    group: Handle,
    tag: c_int,
    newcomm: *mut Handle,
) -> Outcome<()> {
    let made = process()?.create_group(&*self::comm(comm)?, self::group(group)?.as_ref(), tag)?;
    // SAFETY: the application gives an address to write to.
    unsafe { put_comm(newcomm, made) }
}

pub(crate) unsafe fn comm_split(
    comm: Handle,
    color: c_int,
    key: c_int,
    newcomm: *mut Handle,
) -> Outcome<()> {
    let color = match u32::try_from(color) {
        Ok(color) => Some(color),
        Err(_) if color == MPI_UNDEFINED => None,
        Err(_) => return fail(Class::Arg, format!("the color {color} is negative")),
    };
    let made = process()?.split(&*self::comm(comm)?, color, key)?;
    // SAFETY: the application gives an address to write to.
    unsafe { put_comm(newcomm, made) }
}

pub(crate) unsafe fn comm_split_type(
    comm: Handle,
    split_type: c_int,
    key: c_int,
    info: Handle,
    newcomm: *mut Handle,
) -> Outcome<()> {
    let kind = match split_type {
        MPI_COMM_TYPE_SHARED => Kind::Shared,
        MPI_COMM_TYPE_HW_GUIDED => Kind::Guided,
        MPI_COMM_TYPE_HW_UNGUIDED => Kind::Unguided,
        MPI_COMM_TYPE_RESOURCE_GUIDED => Kind::Resource,
        MPI_UNDEFINED => Kind::None,
        _ => return fail(Class::Arg, format!("{split_type} is not a way to split")),
    };
    let hints = if info == MPI_INFO_NULL { None } else { Some(self::info(info)?) };
    let made = process()?.split_type(&*self::comm(comm)?, kind, key, hints.as_deref())?;
    // SAFETY: the application gives an address to write to.
    unsafe { put_comm(newcomm, made) }
}

/// # Safety
/// The address is that of a string.
unsafe fn string_tag(at: *const c_char) -> Outcome<String> {
    // The standard counts the zero.
    // SAFETY: the caller's promise.
    unsafe { text::read(at, MPI_MAX_STRINGTAG_LEN, Class::Arg) }
}

pub(crate) unsafe fn comm_create_from_group(
    group: Handle,
    stringtag: *const c_char,
    info: Handle,
    errhandler: Handle,
    newcomm: *mut Handle,
) -> Outcome<()> {
    let errhandler = handler(errhandler, Attached::Comm)?;
    let (group, hints) = (self::group(group)?, entries(info)?);
    // SAFETY: the application gives a string.
    let tag = unsafe { string_tag(stringtag) }?;
    let made = process()?.create_from_group(&group, tag.as_bytes(), hints, errhandler)?;
    // SAFETY: the application gives an address to write to.
    unsafe { put_comm(newcomm, made) }
}

pub(crate) unsafe fn intercomm_create(
    local_comm: Handle,
    local_leader: c_int,
    peer_comm: Handle,
    remote_leader: c_int,
    tag: c_int,
    newintercomm: *mut Handle,
) -> Outcome<()> {
    let peer = || {
        let comm = Arc::clone(&*comm(peer_comm)?);
        Ok(Peer { comm, rank: remote_leader, tag })
    };
    let made = process()?.intercomm_create(&*comm(local_comm)?, local_leader, peer)?;
    // SAFETY: the application gives an address to write to.
    unsafe { put_comm(newintercomm, Some(made)) }
}

pub(crate) unsafe fn intercomm_create_from_groups(
    local_group: Handle,
    local_leader: c_int,
    remote_group: Handle,
    remote_leader: c_int,
    stringtag: *const c_char,
    info: Handle,
    errhandler: Handle,
    newintercomm: *mut Handle,
) -> Outcome<()> {
    let errhandler = handler(errhandler, Attached::Comm)?;
    let (local, remote) = (group(local_group)?, group(remote_group)?);
    // The first of both groups leads; that the leaders exist is all that is asked of them.
    local.world_rank(local_leader)?;
    remote.world_rank(remote_leader)?;
    entries(info)?;
    // SAFETY: the application gives a string.
    let tag = unsafe { string_tag(stringtag) }?;
    let made = process()?.intercomm_from_groups(&local, &remote, tag.as_bytes(), errhandler)?;
    // SAFETY: the application gives an address to write to.
    unsafe { put_comm(newintercomm, Some(made)) }
}

pub(crate) unsafe fn intercomm_merge(
    intercomm: Handle,
    high: bool,
    newintracomm: *mut Handle,
) -> Outcome<()> {
    let made = process()?.merge(&*comm(intercomm)?, high)?;
    // SAFETY: the application gives an address to write to.
    unsafe { put_comm(newintracomm, Some(made)) }
}

/// Takes a communicator's handle back. What is under way on it goes on.
///
/// # Safety
/// The address is that of a handle.
unsafe fn free(at: *mut Handle, before: impl FnOnce(&Arc<Comm>) -> Outcome<()>) -> Outcome<()> {
    // SAFETY: the caller's promise.
    let handle = unsafe { at.read() };
    if [MPI_COMM_WORLD, MPI_COMM_SELF].contains(&handle) {
        return fail(Class::Comm, "a predefined communicator cannot be freed");
    }
    let comm = Arc::clone(&*self::comm(handle)?);
    delete_attributes(&comm)?;
    before(&comm)?;
    COMMS.remove(handle)?;
    // Failures of what is under way have no handle to be reported on any more.
    comm.handle.store(0, Ordering::Relaxed);
    // SAFETY: as above.
    unsafe { put(at, MPI_COMM_NULL) };
    Ok(())
}

pub(crate) unsafe fn comm_free(comm: *mut Handle) -> Outcome<()> {
    // SAFETY: the application gives the address of a handle.
    unsafe { free(comm, |_| Ok(())) }
}

pub(crate) unsafe fn comm_disconnect(comm: *mut Handle) -> Outcome<()> {
    let process = process()?;
    // SAFETY: the application gives the address of a handle.
    unsafe { free(comm, |comm| process.settle(comm)) }
}

pub(crate) unsafe fn comm_set_name(comm: Handle, comm_name: *const c_char) -> Outcome<()> {
    let comm = self::comm(comm)?;
    // SAFETY: the application gives a string.
    let name = unsafe { text::read(comm_name, c_int::MAX, Class::Arg) }?;
    let most = MPI_MAX_OBJECT_NAME.cast_unsigned() as usize - 1;
    let len = (0..=most.min(name.len())).rev().find(|&len| name.is_char_boundary(len));
    comm.set_name(&name[..len.unwrap_or(0)]);
    Ok(())
}

pub(crate) unsafe fn comm_get_name(
    comm: Handle,
    comm_name: *mut c_char,
    resultlen: *mut c_int,
) -> Outcome<()> {
    let name = match comm {
        MPI_COMM_NULL => "MPI_COMM_NULL".to_owned(),
        _ => self::comm(comm)?.name(),
    };
    // SAFETY: the application gives room for MPI_MAX_OBJECT_NAME characters.
    let len = unsafe { text::write(comm_name, MPI_MAX_OBJECT_NAME, &name) };
    // SAFETY: the application gives an address to write to.
    unsafe { put(resultlen, len) };
    Ok(())
}

pub(crate) unsafe fn comm_set_info(comm: Handle, info: Handle) -> Outcome<()> {
    let hints = self::info(info)?.entries();
    process()?.set_hints(&*self::comm(comm)?, hints);
    Ok(())
}

pub(crate) unsafe fn comm_get_info(comm: Handle, info_used: *mut Handle) -> Outcome<()> {
    let handle = new_info(self::comm(comm)?.info.entries())?;
    // SAFETY: the application gives an address to write to.
    unsafe { put(info_used, handle) };
    Ok(())
}
