//! Control variables of the tool interface (MPI 5.0, 15.3.6): settings.

use std::ffi::{c_char, c_int, c_void};

use cohost::mpi::failure::{Class, Outcome, fail};
use cohost::mpi::tools::settings::TEXT_MAX;
use cohost::mpi::tools::{SETTINGS, Setting, Value};

use super::tools::{PATH_ENUM, at_index, give, give_number, index_of, put, put_text, ready};
use crate::args::Handle;
use crate::constants::{
    MPI_CHAR, MPI_COUNT, MPI_INT, MPI_T_BIND_NO_OBJECT, MPI_T_CVAR_HANDLE_NULL, MPI_T_ENUM_NULL,
};
use crate::handles::Table;
use crate::runtime::SETTINGS as SET;
use crate::text;

static HANDLES: Table<&'static Setting> =
    Table::new(Class::TInvalidHandle, "control variable of a tool");

/// Takes all handles back.
pub(super) fn forget_all() {
    HANDLES.clear();
}

fn datatype(setting: &Setting) -> Handle {
    match setting.kind() {
        Value::Path(_) => MPI_INT,
        Value::Number(_) => MPI_COUNT,
        Value::Text(_) => MPI_CHAR,
    }
}

pub(crate) unsafe fn t_cvar_get_num(num_cvar: *mut c_int) -> Outcome<()> {
    ready()?;
    // SAFETY: the tool gives an address to write to.
    unsafe { give_number(num_cvar, SETTINGS.len()) }
}

pub(crate) unsafe fn t_cvar_get_info(
    cvar_index: c_int,
    name: *mut c_char,
    name_len: *mut c_int,
    verbosity: *mut c_int,
    datatype_out: *mut Handle,
    enumtype: *mut Handle,
    desc: *mut c_char,
    desc_len: *mut c_int,
    bind: *mut c_int,
    scope: *mut c_int,
) -> Outcome<()> {
    ready()?;
    let setting = at_index(SETTINGS, cvar_index, "control variable")?;
    // SAFETY: the tool gives addresses to write to, or null; so below.
    unsafe { put_text(name, name_len, setting.name) };
    // SAFETY: as above.
    unsafe { put_text(desc, desc_len, setting.description) };
    let is_path = matches!(setting.kind(), Value::Path(_));
    // SAFETY: as above.
    unsafe { put(verbosity, setting.verbosity as c_int) };
    // SAFETY: as above.
    unsafe { put(datatype_out, datatype(setting)) };
    // SAFETY: as above.
    unsafe { put(enumtype, if is_path { PATH_ENUM } else { MPI_T_ENUM_NULL }) };
    // SAFETY: as above.
    unsafe { put(bind, MPI_T_BIND_NO_OBJECT) };
    // SAFETY: as above.
    unsafe { put(scope, setting.scope as c_int) };
    Ok(())
}

pub(crate) unsafe fn t_cvar_get_index(name: *const c_char, cvar_index: *mut c_int) -> Outcome<()> {
    ready()?;
    // SAFETY: the tool gives a string.
    let at = unsafe { index_of(SETTINGS, name, |it, name| it.name == name) }?;
    // SAFETY: the tool gives an address to write to.
    unsafe { give_number(cvar_index, at) }
}

pub(crate) unsafe fn t_cvar_handle_alloc(
    cvar_index: c_int,
    _obj_handle: *mut c_void,
    handle: *mut Handle,
    count: *mut c_int,
) -> Outcome<()> {
    ready()?;
    let setting = at_index(SETTINGS, cvar_index, "control variable")?;
    if handle.is_null() {
        return fail(Class::TInvalid, "the address for the handle is null");
    }
    let elements = if matches!(setting.kind(), Value::Text(_)) { TEXT_MAX } else { 1 };
    let made = HANDLES.insert(setting).or_else(|_| {
        fail(Class::TOutOfHandles, "too many control variables are looked at: free some handles")
    })?;
    // SAFETY: the tool gives addresses to write to.
    unsafe { give(handle, made) }?;
    // SAFETY: as above, or null.
    unsafe { put(count, elements as c_int) };
    Ok(())
}

pub(crate) unsafe fn t_cvar_handle_free(handle: *mut Handle) -> Outcome<()> {
    ready()?;
    // SAFETY: the tool gives the address of a handle.
    let Some(at) = (unsafe { handle.as_mut() }) else {
        return fail(Class::TInvalidHandle, "the address of the handle is null");
    };
    HANDLES.remove(*at)?;
    *at = MPI_T_CVAR_HANDLE_NULL;
    Ok(())
}

pub(crate) unsafe fn t_cvar_read(handle: Handle, buf: *mut c_void) -> Outcome<()> {
    ready()?;
    let setting = HANDLES.get(handle)?;
    match SET.read(setting)? {
        // SAFETY: the tool gives room for one int.
        Value::Path(value) => unsafe { give(buf.cast::<c_int>(), value) },
        // SAFETY: the tool gives room for one count.
        Value::Number(value) => unsafe { give(buf.cast::<i64>(), value) },
        Value::Text(value) => {
            if buf.is_null() {
                return fail(Class::TInvalid, "the address for the result is null");
            }
            // SAFETY: the tool gives room for as many characters as it was told there are.
            unsafe { text::write(buf.cast(), TEXT_MAX as c_int, &value) };
            Ok(())
        }
    }
}

pub(crate) unsafe fn t_cvar_write(handle: Handle, buf: *const c_void) -> Outcome<()> {
    ready()?;
    let setting = HANDLES.get(handle)?;
    if buf.is_null() {
        return fail(Class::TInvalid, "the address of the value is null");
    }
    let value = match setting.kind() {
        // SAFETY: the tool gives one int.
        Value::Path(_) => Value::Path(unsafe { *buf.cast::<c_int>() }),
        // SAFETY: the tool gives one count.
        Value::Number(_) => Value::Number(unsafe { *buf.cast::<i64>() }),
        Value::Text(_) => {
            // SAFETY: the tool gives a string.
            let text = unsafe { text::read(buf.cast(), TEXT_MAX as c_int, Class::TInvalid) };
            Value::Text(text?)
        }
    };
    SET.write(setting, value)
}
