//! Events of the tool interface (MPI 5.0, 15.3.8): there are none, so that no handle of one can be
//! had; and one source of them, which is the clock.

use std::ffi::{c_char, c_int, c_void};

use cohost::mpi::failure::{Class, Outcome, fail};

use super::tools::{give_number, no_index, put, put_text, ready};
use crate::args::{Handle, OutNumber, OutNumbers};
use crate::constants::MPI_T_SOURCE_ORDERED;
use crate::{callbacks, text};

const NANOSECONDS: i64 = 1_000_000_000;

#[cold]
fn no_event<T>(index: c_int) -> Outcome<T> {
    ready()?;
    no_index(index, "event", 0)
}

#[cold]
fn no_registration() -> Outcome<()> {
    ready()?;
    fail(Class::TInvalidHandle, "no event has this handle: there are no events")
}

pub(crate) unsafe fn t_event_get_num(num_events: *mut c_int) -> Outcome<()> {
    ready()?;
    // SAFETY: the tool gives an address to write to.
    unsafe { give_number(num_events, 0) }
}

pub(crate) unsafe fn t_event_get_info(
    event_index: c_int,
    _name: *mut c_char,
    _name_len: *mut c_int,
    _verbosity: *mut c_int,
    _array_of_datatypes: *mut Handle,
    _array_of_displacements: OutNumbers,
    _num_elements: *mut c_int,
    _enumtype: *mut Handle,
    _info: *mut Handle,
    _desc: *mut c_char,
    _desc_len: *mut c_int,
    _bind: *mut c_int,
) -> Outcome<()> {
    no_event(event_index)
}

pub(crate) unsafe fn t_event_get_index(
    name: *const c_char,
    _event_index: *mut c_int,
) -> Outcome<()> {
    ready()?;
    // SAFETY: the tool gives a string.
    let name = unsafe { text::read(name, c_int::MAX, Class::TInvalidName) }?;
    fail(Class::TInvalidName, format!("no event is named '{name}': there are none"))
}

pub(crate) unsafe fn t_event_handle_alloc(
    event_index: c_int,
    _obj_handle: *mut c_void,
    _info: Handle,
    _event_registration: *mut Handle,
) -> Outcome<()> {
    no_event(event_index)
}

pub(crate) unsafe fn t_event_handle_free(
    _event_registration: Handle,
    _user_data: *mut c_void,
    _free_cb_function: callbacks::TEventFreeCbFunction,
) -> Outcome<()> {
    no_registration()
}

pub(crate) unsafe fn t_event_handle_get_info(
    _event_registration: Handle,
    _info_used: *mut Handle,
) -> Outcome<()> {
    no_registration()
}

pub(crate) unsafe fn t_event_handle_set_info(
    _event_registration: Handle,
    _info: Handle,
) -> Outcome<()> {
    no_registration()
}

pub(crate) unsafe fn t_event_register_callback(
    _event_registration: Handle,
    _cb_safety: c_int,
    _info: Handle,
    _user_data: *mut c_void,
    _event_cb_function: callbacks::TEventCbFunction,
) -> Outcome<()> {
    no_registration()
}

pub(crate) unsafe fn t_event_callback_get_info(
    _event_registration: Handle,
    _cb_safety: c_int,
    _info_used: *mut Handle,
) -> Outcome<()> {
    no_registration()
}

pub(crate) unsafe fn t_event_callback_set_info(
    _event_registration: Handle,
    _cb_safety: c_int,
    _info: Handle,
) -> Outcome<()> {
    no_registration()
}

pub(crate) unsafe fn t_event_set_dropped_handler(
    _event_registration: Handle,
    _dropped_cb_function: callbacks::TEventDroppedCbFunction,
) -> Outcome<()> {
    no_registration()
}

pub(crate) unsafe fn t_event_read(
    _event_instance: Handle,
    _element_index: c_int,
    _buffer: *mut c_void,
) -> Outcome<()> {
    no_registration()
}

pub(crate) unsafe fn t_event_copy(_event_instance: Handle, _buffer: *mut c_void) -> Outcome<()> {
    no_registration()
}

pub(crate) unsafe fn t_event_get_timestamp(
    _event_instance: Handle,
    _event_timestamp: OutNumber,
) -> Outcome<()> {
    no_registration()
}

pub(crate) unsafe fn t_event_get_source(
    _event_instance: Handle,
    _source_index: *mut c_int,
) -> Outcome<()> {
    no_registration()
}

pub(crate) unsafe fn t_source_get_num(num_sources: *mut c_int) -> Outcome<()> {
    ready()?;
    // SAFETY: the tool gives an address to write to.
    unsafe { give_number(num_sources, 1) }
}

fn clock(source_index: c_int) -> Outcome<()> {
    ready()?;
    if source_index == 0 { Ok(()) } else { no_index(source_index, "source", 1) }
}

pub(crate) unsafe fn t_source_get_info(
    source_index: c_int,
    name: *mut c_char,
    name_len: *mut c_int,
    desc: *mut c_char,
    desc_len: *mut c_int,
    ordering: *mut c_int,
    ticks_per_second: OutNumber,
    max_ticks: OutNumber,
    info: *mut Handle,
) -> Outcome<()> {
    clock(source_index)?;
    // SAFETY: the tool gives addresses to write to, or null; so below.
    unsafe { put_text(name, name_len, "cohost_clock") };
    let about = "The system's clock that only goes forward, in nanoseconds";
    // SAFETY: as above.
    unsafe { put_text(desc, desc_len, about) };
    // SAFETY: as above.
    unsafe { put(ordering, MPI_T_SOURCE_ORDERED) };
    // SAFETY: as above.
    unsafe { ticks_per_second.put(NANOSECONDS) }?;
    // SAFETY: as above.
    unsafe { max_ticks.put(i64::MAX) }?;
    if !info.is_null() {
        let made = super::new_info(Vec::new())?;
        // SAFETY: as above.
        unsafe { put(info, made) };
    }
    Ok(())
}

pub(crate) unsafe fn t_source_get_timestamp(
    source_index: c_int,
    timestamp: OutNumber,
) -> Outcome<()> {
    clock(source_index)?;
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` can be written to.
    let code = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    if code != 0 {
        return fail(Class::TNotSupported, "the system has no clock that only goes forward");
    }
    // SAFETY: the tool gives an address to write to.
    unsafe { timestamp.put(now.tv_sec * NANOSECONDS + now.tv_nsec) }
}
