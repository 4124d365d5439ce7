//! Requests: waiting, testing, starting, ending (MPI 5.0, 3.7 to 3.9, 4.2, 12.2).

use std::ffi::{c_int, c_void};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use cohost::mpi::failure::{Class, Failure, Outcome, fail};
use cohost::mpi::process::Ended;
use cohost::mpi::request::{Generalized, Request, State, Status as Found};
use cohost::proto::Key;

use crate::args::{Handle, Status};
use crate::callbacks::{
    Extra, GrequestCancelFunction, GrequestFreeFunction, GrequestQueryFunction,
};
use crate::constants::{MPI_REQUEST_NULL, MPI_SUCCESS, MPI_UNDEFINED};
use crate::runtime::{process, put_request, put_status, request, status_of};

/// The requests of an array; none where it is null or inactive.
///
/// # Safety
/// There are `count` handles at the address.
unsafe fn all(count: c_int, handles: *const Handle) -> Outcome<Vec<Option<Key>>> {
    let Ok(count) = usize::try_from(count) else {
        return fail(Class::Arg, format!("{count} requests: the number is negative"));
    };
    // SAFETY: the caller's promise.
    (0..count).map(|at| request(unsafe { *handles.wrapping_add(at) })).collect()
}

/// Those of them that are active, with their places.
fn active(keys: &[Option<Key>]) -> Outcome<Vec<(usize, Key)>> {
    let core = process()?.core()?;
    let is_active = |key: &Key| core.requests.get(*key).is_some_and(Request::is_active);
    let places = keys.iter().enumerate();
    Ok(places.filter_map(|(at, key)| key.filter(is_active).map(|key| (at, key))).collect())
}

/// Reports how a request ended, and takes its handle unless it is persistent.
///
/// # Safety
/// The addresses are those of the handle and of a status, or null.
unsafe fn report(ended: Ended, handle: *mut Handle, status: *mut Status) -> Outcome<()> {
    if !ended.persistent {
        // SAFETY: the caller's promise.
        unsafe { *handle = MPI_REQUEST_NULL };
    }
    let found = ended.outcome?;
    // SAFETY: the caller's promise.
    unsafe { put_status(status, &found) };
    Ok(())
}

/// The status with this place in an array; null in one that is ignored.
fn nth(statuses: *mut Status, at: usize) -> *mut Status {
    if statuses.is_null() { statuses } else { statuses.wrapping_add(at) }
}

pub(crate) unsafe fn wait(handle: *mut Handle, status: *mut Status) -> Outcome<()> {
    // SAFETY: the application gives the address of a request.
    let Some(key) = request(unsafe { *handle })? else {
        // SAFETY: the application gives an address to write to, or none.
        unsafe { put_status(status, &Found::EMPTY) };
        return Ok(());
    };
    let ended = process()?.wait(key)?;
    // SAFETY: as above.
    unsafe { report(ended, handle, status) }
}

pub(crate) unsafe fn test(
    handle: *mut Handle,
    flag: *mut c_int,
    status: *mut Status,
) -> Outcome<()> {
    // SAFETY: the application gives the address of a request.
    let ended = match request(unsafe { *handle })? {
        Some(key) => process()?.test(key)?,
        None => Some(Ended { outcome: Ok(Found::EMPTY), persistent: true }),
    };
    // SAFETY: the application gives an address to write to.
    unsafe { *flag = ended.is_some().into() };
    // SAFETY: as above.
    ended.map_or(Ok(()), |ended| unsafe { report(ended, handle, status) })
}

/// Ends requests of which all that are given are over. Fails with `MPI_ERR_IN_STATUS` when any
/// failed; the errors are in the statuses then (MPI 5.0, 3.7.5).
///
/// # Safety
/// The arrays have places for all of them.
unsafe fn end(
    over: &[(usize, Option<Key>)],
    handles: *mut Handle,
    statuses: *mut Status,
    place: impl Fn(usize, usize) -> usize,
) -> Outcome<()> {
    let mut codes = Vec::with_capacity(over.len());
    for (number, (at, key)) in over.iter().enumerate() {
        let ended = match key {
            Some(key) => process()?.wait(*key)?,
            None => Ended { outcome: Ok(Found::EMPTY), persistent: true },
        };
        let status = nth(statuses, place(number, *at));
        // SAFETY: the caller's promise.
        let outcome = unsafe { report(ended, handles.wrapping_add(*at), status) };
        codes.push((status, outcome.err()));
    }
    if codes.iter().all(|(_, failure)| failure.is_none()) {
        return Ok(());
    }
    for (status, failure) in &codes {
        if !status.is_null() {
            let code = failure.as_ref().map_or(MPI_SUCCESS, Failure::code);
            // SAFETY: the caller's promise.
            unsafe { (**status).error = code };
        }
    }
    let Some(first) = codes.into_iter().find_map(|(_, failure)| failure) else { return Ok(()) };
    Err(Failure { on: first.on, ..Failure::new(Class::InStatus, first.to_string()) })
}

pub(crate) unsafe fn waitall(
    count: c_int,
    handles: *mut Handle,
    statuses: *mut Status,
) -> Outcome<()> {
    // SAFETY: the application gives arrays of this length.
    let keys = unsafe { all(count, handles) }?;
    let given: Vec<Key> = keys.iter().flatten().copied().collect();
    process()?.wait_for_all(&given)?;
    let over: Vec<_> = keys.into_iter().enumerate().collect();
    // SAFETY: as above.
    unsafe { end(&over, handles, statuses, |_, at| at) }
}

pub(crate) unsafe fn testall(
    count: c_int,
    handles: *mut Handle,
    flag: *mut c_int,
    statuses: *mut Status,
) -> Outcome<()> {
    // SAFETY: the application gives arrays of this length.
    let keys = unsafe { all(count, handles) }?;
    let given: Vec<Key> = keys.iter().flatten().copied().collect();
    let over = process()?.which_are_over(&given)?.iter().all(|over| *over);
    // SAFETY: the application gives an address to write to.
    unsafe { *flag = over.into() };
    if !over {
        return Ok(());
    }
    let over: Vec<_> = keys.into_iter().enumerate().collect();
    // SAFETY: as above.
    unsafe { end(&over, handles, statuses, |_, at| at) }
}

/// Ends the one that is over, or says that there was none.
///
/// # Safety
/// The addresses are those that the call was given.
unsafe fn end_any(
    over: Option<(usize, Key)>,
    handles: *mut Handle,
    index: *mut c_int,
    status: *mut Status,
) -> Outcome<()> {
    let Some((at, key)) = over else {
        // SAFETY: the caller's promise.
        unsafe { *index = MPI_UNDEFINED };
        // SAFETY: as above.
        unsafe { put_status(status, &Found::EMPTY) };
        return Ok(());
    };
    // SAFETY: as above.
    unsafe { *index = c_int::try_from(at).unwrap_or(MPI_UNDEFINED) };
    let ended = process()?.wait(key)?;
    // SAFETY: as above.
    unsafe { report(ended, handles.wrapping_add(at), status) }
}

pub(crate) unsafe fn waitany(
    count: c_int,
    handles: *mut Handle,
    index: *mut c_int,
    status: *mut Status,
) -> Outcome<()> {
    // SAFETY: the application gives an array of this length.
    let active = active(&unsafe { all(count, handles) }?)?;
    let keys: Vec<Key> = active.iter().map(|(_, key)| *key).collect();
    let over = if keys.is_empty() { None } else { Some(active[process()?.wait_for_any(&keys)?]) };
    // SAFETY: as above.
    unsafe { end_any(over, handles, index, status) }
}

pub(crate) unsafe fn testany(
    count: c_int,
    handles: *mut Handle,
    index: *mut c_int,
    flag: *mut c_int,
    status: *mut Status,
) -> Outcome<()> {
    // SAFETY: the application gives an array of this length.
    let active = active(&unsafe { all(count, handles) }?)?;
    let keys: Vec<Key> = active.iter().map(|(_, key)| *key).collect();
    let found = process()?.which_are_over(&keys)?.iter().position(|over| *over);
    // SAFETY: the application gives an address to write to.
    unsafe { *flag = (found.is_some() || active.is_empty()).into() };
    if found.is_none() && !active.is_empty() {
        // SAFETY: as above.
        unsafe { *index = MPI_UNDEFINED };
        return Ok(());
    }
    // SAFETY: as above.
    unsafe { end_any(found.map(|at| active[at]), handles, index, status) }
}

/// Ends all that are over.
///
/// # Safety
/// The addresses are those that the call was given.
unsafe fn end_some(
    active: &[(usize, Key)],
    over: &[bool],
    handles: *mut Handle,
    outcount: *mut c_int,
    indices: *mut c_int,
    statuses: *mut Status,
) -> Outcome<()> {
    if active.is_empty() {
        // SAFETY: the caller's promise.
        unsafe { *outcount = MPI_UNDEFINED };
        return Ok(());
    }
    let places = active.iter().zip(over).filter(|(_, over)| **over);
    let over: Vec<_> = places.map(|((at, key), _)| (*at, Some(*key))).collect();
    // SAFETY: as above.
    unsafe { *outcount = c_int::try_from(over.len()).unwrap_or(c_int::MAX) };
    for (number, (at, _)) in over.iter().enumerate() {
        // SAFETY: as above.
        unsafe { *indices.wrapping_add(number) = c_int::try_from(*at).unwrap_or(c_int::MAX) };
    }
    // SAFETY: as above.
    unsafe { end(&over, handles, statuses, |number, _| number) }
}

pub(crate) unsafe fn waitsome(
    incount: c_int,
    handles: *mut Handle,
    outcount: *mut c_int,
    indices: *mut c_int,
    statuses: *mut Status,
) -> Outcome<()> {
    // SAFETY: the application gives arrays of this length.
    let active = active(&unsafe { all(incount, handles) }?)?;
    let keys: Vec<Key> = active.iter().map(|(_, key)| *key).collect();
    if !keys.is_empty() {
        process()?.wait_for_any(&keys)?;
    }
    let over = process()?.which_are_over(&keys)?;
    // SAFETY: as above.
    unsafe { end_some(&active, &over, handles, outcount, indices, statuses) }
}

pub(crate) unsafe fn testsome(
    incount: c_int,
    handles: *mut Handle,
    outcount: *mut c_int,
    indices: *mut c_int,
    statuses: *mut Status,
) -> Outcome<()> {
    // SAFETY: the application gives arrays of this length.
    let active = active(&unsafe { all(incount, handles) }?)?;
    let keys: Vec<Key> = active.iter().map(|(_, key)| *key).collect();
    let over = process()?.which_are_over(&keys)?;
    // SAFETY: as above.
    unsafe { end_some(&active, &over, handles, outcount, indices, statuses) }
}

pub(crate) unsafe fn request_free(handle: *mut Handle) -> Outcome<()> {
    // SAFETY: the application gives the address of a request.
    let Some(key) = request(unsafe { *handle })? else { return null() };
    process()?.forget(key)?;
    // SAFETY: as above.
    unsafe { *handle = MPI_REQUEST_NULL };
    Ok(())
}

#[cold]
fn null<T>() -> Outcome<T> {
    fail(Class::Request, "the request is null")
}

pub(crate) unsafe fn cancel(handle: *mut Handle) -> Outcome<()> {
    // SAFETY: the application gives the address of a request.
    match request(unsafe { *handle })? {
        Some(key) => process()?.cancel(key),
        None => null(),
    }
}

pub(crate) unsafe fn start(handle: *mut Handle) -> Outcome<()> {
    // SAFETY: the application gives the address of a request.
    match request(unsafe { *handle })? {
        Some(key) => process()?.start(&[key]),
        None => null(),
    }
}

pub(crate) unsafe fn startall(count: c_int, handles: *mut Handle) -> Outcome<()> {
    // SAFETY: the application gives an array of this length.
    let keys: Option<Vec<Key>> = unsafe { all(count, handles) }?.into_iter().collect();
    match keys {
        Some(keys) => process()?.start(&keys),
        None => null(),
    }
}

pub(crate) unsafe fn request_get_status(
    handle: Handle,
    flag: *mut c_int,
    status: *mut Status,
) -> Outcome<()> {
    let found = match request(handle)? {
        Some(key) => process()?.peek(key)?,
        None => Some(Found::EMPTY),
    };
    // SAFETY: the application gives an address to write to.
    unsafe { *flag = found.is_some().into() };
    if let Some(found) = found {
        // SAFETY: the application gives an address to write to, or none.
        unsafe { put_status(status, &found) };
    }
    Ok(())
}

pub(crate) unsafe fn request_get_status_all(
    count: c_int,
    handles: *const Handle,
    flag: *mut c_int,
    statuses: *mut Status,
) -> Outcome<()> {
    // SAFETY: the application gives arrays of this length.
    let keys = unsafe { all(count, handles) }?;
    let process = process()?;
    let found: Vec<_> = keys
        .iter()
        .map(|key| key.map_or(Ok(Some(Found::EMPTY)), |key| process.peek(key)))
        .collect::<Outcome<_>>()?;
    let over = found.iter().all(Option::is_some);
    // SAFETY: the application gives an address to write to.
    unsafe { *flag = over.into() };
    if over {
        for (at, found) in found.iter().flatten().enumerate() {
            // SAFETY: as above.
            unsafe { put_status(nth(statuses, at), found) };
        }
    }
    Ok(())
}

pub(crate) unsafe fn request_get_status_any(
    count: c_int,
    handles: *const Handle,
    index: *mut c_int,
    flag: *mut c_int,
    status: *mut Status,
) -> Outcome<()> {
    // SAFETY: the application gives an array of this length.
    let active = active(&unsafe { all(count, handles) }?)?;
    let mut found = (MPI_UNDEFINED, active.is_empty().then_some(Found::EMPTY));
    for (at, key) in &active {
        if let Some(status) = process()?.peek(*key)? {
            found = (c_int::try_from(*at).unwrap_or(MPI_UNDEFINED), Some(status));
            break;
        }
    }
    // SAFETY: the application gives an address to write to.
    unsafe { *index = found.0 };
    // SAFETY: as above.
    unsafe { *flag = found.1.is_some().into() };
    if let Some(found) = found.1 {
        // SAFETY: as above.
        unsafe { put_status(status, &found) };
    }
    Ok(())
}

pub(crate) unsafe fn request_get_status_some(
    incount: c_int,
    handles: *const Handle,
    outcount: *mut c_int,
    indices: *mut c_int,
    statuses: *mut Status,
) -> Outcome<()> {
    // SAFETY: the application gives arrays of this length.
    let active = active(&unsafe { all(incount, handles) }?)?;
    let mut count = if active.is_empty() { MPI_UNDEFINED } else { 0 };
    for (at, key) in &active {
        if let Some(found) = process()?.peek(*key)? {
            let place = usize::try_from(count).unwrap_or(0);
            // SAFETY: the application gives arrays of this length.
            unsafe { *indices.wrapping_add(place) = c_int::try_from(*at).unwrap_or(c_int::MAX) };
            // SAFETY: as above.
            unsafe { put_status(nth(statuses, place), &found) };
            count += 1;
        }
    }
    // SAFETY: the application gives an address to write to.
    unsafe { *outcount = count };
    Ok(())
}

pub(crate) unsafe fn test_cancelled(status: *const Status, flag: *mut c_int) -> Outcome<()> {
    // SAFETY: the application gives the address of a status.
    let cancelled = unsafe { *status }.cancelled();
    // SAFETY: the application gives an address to write to.
    unsafe { *flag = cancelled.into() };
    Ok(())
}

pub(crate) unsafe fn pready(partition: c_int, handle: Handle) -> Outcome<()> {
    // SAFETY: no addresses.
    unsafe { pready_range(partition, partition, handle) }
}

pub(crate) unsafe fn pready_range(low: c_int, high: c_int, handle: Handle) -> Outcome<()> {
    match request(handle)? {
        Some(key) => process()?.partitions_ready(key, low, high),
        None => null(),
    }
}

pub(crate) unsafe fn pready_list(
    length: c_int,
    partitions: *const c_int,
    handle: Handle,
) -> Outcome<()> {
    for at in 0..usize::try_from(length).unwrap_or(0) {
        // SAFETY: the application gives an array of this length.
        let partition = unsafe { *partitions.wrapping_add(at) };
        // SAFETY: no addresses.
        unsafe { pready_range(partition, partition, handle) }?;
    }
    Ok(())
}

pub(crate) unsafe fn parrived(handle: Handle, partition: c_int, flag: *mut c_int) -> Outcome<()> {
    let arrived = match request(handle)? {
        Some(key) => process()?.partition_arrived(key, partition)?,
        // An inactive one has all it will ever have.
        None => true,
    };
    // SAFETY: the application gives an address to write to.
    unsafe { *flag = arrived.into() };
    Ok(())
}

fn code(code: c_int) -> Result<(), i32> {
    if code == MPI_SUCCESS { Ok(()) } else { Err(code) }
}

pub(crate) unsafe fn grequest_start(
    query_fn: GrequestQueryFunction,
    free_fn: GrequestFreeFunction,
    cancel_fn: GrequestCancelFunction,
    extra_state: *mut c_void,
    request: *mut Handle,
) -> Outcome<()> {
    let extra = Extra::new(extra_state);
    let query = move || {
        let mut status = Status::default();
        // SAFETY: the application's function, called as the standard says.
        let outcome = query_fn.map_or(MPI_SUCCESS, |f| unsafe { f(extra.get(), &raw mut status) });
        code(outcome).map(|()| status_of(&status))
    };
    let free = move || {
        // SAFETY: as above.
        code(free_fn.map_or(MPI_SUCCESS, |f| unsafe { f(extra.get()) }))
    };
    let cancel = move |complete: bool| {
        // SAFETY: as above.
        code(cancel_fn.map_or(MPI_SUCCESS, |f| unsafe { f(extra.get(), complete.into()) }))
    };
    let operation = Generalized {
        complete: AtomicBool::new(false),
        query: Box::new(query),
        free: Box::new(free),
        cancel: Box::new(cancel),
    };
    let state = State::User(Arc::new(operation));
    let key = process()?.core()?.file(Request::new(state, None));
    // SAFETY: the application gives an address to write to.
    unsafe { put_request(request, key) }
}

pub(crate) unsafe fn grequest_complete(handle: Handle) -> Outcome<()> {
    match request(handle)? {
        Some(key) => process()?.complete(key),
        None => null(),
    }
}
