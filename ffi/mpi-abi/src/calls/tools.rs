//! The tool interface (MPI 5.0, 15): beginning and end, enumerations, categories. Errors are only
//! returned; no error handler is called.

use std::ffi::{c_char, c_int};
use std::sync::{Mutex, MutexGuard, PoisonError};

use cohost::mpi::failure::{Class, Outcome, fail};
use cohost::mpi::tools::settings::PATHS;
use cohost::mpi::tools::{CATEGORIES, Category};

use crate::args::Handle;
use crate::constants::{
    MPI_THREAD_FUNNELED, MPI_THREAD_MULTIPLE, MPI_THREAD_SERIALIZED, MPI_THREAD_SINGLE,
};
use crate::{runtime, text};

/// Longest name of anything, with the zero.
const NAME_MAX: c_int = 256;
/// Handle of the enumeration of path policies.
pub(super) const PATH_ENUM: Handle = Handle(1);
/// How often the interface was initialized and not finalized.
static USERS: Mutex<u64> = Mutex::new(0);

fn users() -> MutexGuard<'static, u64> {
    USERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Fails before `MPI_T_init_thread` and after `MPI_T_finalize`.
pub(super) fn ready() -> Outcome<()> {
    if *users() > 0 {
        return Ok(());
    }
    fail(Class::TNotInitialized, "call MPI_T_init_thread first")
}

/// Writes a result, unless the tool does not want it.
///
/// # Safety
/// The address is null or one that the call may write to.
pub(super) unsafe fn put<T>(at: *mut T, value: T) {
    if !at.is_null() {
        // SAFETY: the caller's promise.
        unsafe { *at = value };
    }
}

/// Writes a result that the call is made for.
///
/// # Errors
/// When there is no place for it.
///
/// # Safety
/// As for [`put`].
pub(super) unsafe fn give<T>(at: *mut T, value: T) -> Outcome<()> {
    if at.is_null() {
        return fail(Class::TInvalid, "the address for the result is null");
    }
    // SAFETY: the caller's promise.
    unsafe { *at = value };
    Ok(())
}

/// Writes a number of things.
///
/// # Errors
/// When there is no place for it.
///
/// # Safety
/// As for [`put`].
pub(super) unsafe fn give_number(at: *mut c_int, number: usize) -> Outcome<()> {
    // SAFETY: the caller's promise.
    unsafe { give(at, c_int::try_from(number).unwrap_or(c_int::MAX)) }
}

/// Writes a string, cut to the room that there is, and the room that it needs (MPI 5.0, 15.3.3).
///
/// # Safety
/// Both are null or can be written to; there is as much room as `len` says.
pub(super) unsafe fn put_text(at: *mut c_char, len: *mut c_int, text: &str) {
    if len.is_null() {
        return;
    }
    // SAFETY: the caller's promise.
    let room = unsafe { *len };
    if !at.is_null() && room > 0 {
        // SAFETY: the caller's promise.
        unsafe { text::write(at, room, text) };
    }
    // SAFETY: the caller's promise.
    unsafe { *len = c_int::try_from(text.len() + 1).unwrap_or(c_int::MAX) };
}

/// One of a list, by its number.
///
/// # Errors
/// When the list is shorter.
pub(super) fn at_index<T>(list: &'static [T], index: c_int, what: &str) -> Outcome<&'static T> {
    let found = usize::try_from(index).ok().and_then(|index| list.get(index));
    found.map_or_else(|| no_index(index, what, list.len()), Ok)
}

/// Fails with `MPI_T_ERR_INVALID_INDEX`.
///
/// # Errors
/// Always.
#[cold]
pub(super) fn no_index<T>(index: c_int, what: &str, len: usize) -> Outcome<T> {
    fail(Class::TInvalidIndex, format!("no {what} has number {index}: there are {len} from 0 on"))
}

/// The number of the thing with a name.
///
/// # Errors
/// When there is none.
///
/// # Safety
/// The name is null or a string.
pub(super) unsafe fn index_of<T>(
    list: &[T],
    name: *const c_char,
    fits: impl Fn(&T, &str) -> bool,
) -> Outcome<usize> {
    // SAFETY: the caller's promise.
    let name = unsafe { text::read(name, NAME_MAX, Class::TInvalidName) }?;
    match list.iter().position(|it| fits(it, &name)) {
        Some(at) => Ok(at),
        None => fail(Class::TInvalidName, format!("nothing of this kind is named '{name}'")),
    }
}

pub(crate) unsafe fn t_init_thread(required: c_int, provided: *mut c_int) -> Outcome<()> {
    match required {
        MPI_THREAD_SINGLE | MPI_THREAD_FUNNELED | MPI_THREAD_SERIALIZED | MPI_THREAD_MULTIPLE => {}
        _ => {
            let why = format!("{required} is not a level of thread support");
            return fail(Class::TInvalid, why);
        }
    }
    if let Err(failure) = runtime::SETTINGS.load() {
        return fail(Class::TCannotInit, failure.why);
    }
    *users() += 1;
    // SAFETY: the tool gives an address to write to.
    unsafe { put(provided, MPI_THREAD_MULTIPLE) };
    Ok(())
}

pub(crate) unsafe fn t_finalize() -> Outcome<()> {
    ready()?;
    let mut users = users();
    *users = users.saturating_sub(1);
    if *users == 0 {
        super::tools_cvar::forget_all();
        super::tools_pvar::forget_all();
    }
    Ok(())
}

pub(crate) unsafe fn t_enum_get_info(
    enumtype: Handle,
    num: *mut c_int,
    name: *mut c_char,
    name_len: *mut c_int,
) -> Outcome<()> {
    ready()?;
    is_enum(enumtype)?;
    // SAFETY: the tool gives addresses to write to, or null.
    unsafe { put(num, PATHS.len() as c_int) };
    // SAFETY: as above.
    unsafe { put_text(name, name_len, "cohost_path_policy") };
    Ok(())
}

fn is_enum(handle: Handle) -> Outcome<()> {
    if handle == PATH_ENUM {
        return Ok(());
    }
    fail(Class::TInvalidHandle, "no enumeration has this handle")
}

pub(crate) unsafe fn t_enum_get_item(
    enumtype: Handle,
    index: c_int,
    value: *mut c_int,
    name: *mut c_char,
    name_len: *mut c_int,
) -> Outcome<()> {
    ready()?;
    is_enum(enumtype)?;
    let (word, _) = at_index(PATHS, index, "item")?;
    // SAFETY: the tool gives addresses to write to, or null.
    unsafe { put(value, index) };
    // SAFETY: as above.
    unsafe { put_text(name, name_len, word) };
    Ok(())
}

fn category(index: c_int) -> Outcome<&'static Category> {
    ready()?;
    at_index(CATEGORIES, index, "category")
}

pub(crate) unsafe fn t_category_get_num(num_cat: *mut c_int) -> Outcome<()> {
    ready()?;
    // SAFETY: the tool gives an address to write to.
    unsafe { give_number(num_cat, CATEGORIES.len()) }
}

pub(crate) unsafe fn t_category_get_info(
    cat_index: c_int,
    name: *mut c_char,
    name_len: *mut c_int,
    desc: *mut c_char,
    desc_len: *mut c_int,
    num_cvars: *mut c_int,
    num_pvars: *mut c_int,
    num_categories: *mut c_int,
) -> Outcome<()> {
    let category = category(cat_index)?;
    // SAFETY: the tool gives addresses to write to, or null; so below.
    unsafe { put_text(name, name_len, category.name) };
    // SAFETY: as above.
    unsafe { put_text(desc, desc_len, category.description) };
    let counts = [
        (num_cvars, category.settings().len()),
        (num_pvars, category.variables().len()),
        (num_categories, category.categories().len()),
    ];
    for (at, count) in counts {
        // SAFETY: as above.
        unsafe { put(at, count as c_int) };
    }
    Ok(())
}

pub(crate) unsafe fn t_category_get_index(
    name: *const c_char,
    cat_index: *mut c_int,
) -> Outcome<()> {
    ready()?;
    // SAFETY: the tool gives a string.
    let at = unsafe { index_of(CATEGORIES, name, |it, name| it.name == name) }?;
    // SAFETY: the tool gives an address to write to.
    unsafe { give_number(cat_index, at) }
}

/// Writes as many of the numbers as there is room for.
///
/// # Safety
/// There is room for `len` numbers.
unsafe fn put_all(numbers: &[usize], len: c_int, indices: *mut c_int) -> Outcome<()> {
    let Ok(len) = usize::try_from(len) else {
        return fail(Class::TInvalid, format!("an array of {len} numbers"));
    };
    if indices.is_null() && len > 0 {
        return fail(Class::TInvalid, "the array for the numbers is null");
    }
    for (at, number) in numbers.iter().take(len).enumerate() {
        // SAFETY: within the room.
        unsafe { *indices.wrapping_add(at) = *number as c_int };
    }
    Ok(())
}

pub(crate) unsafe fn t_category_get_cvars(
    cat_index: c_int,
    len: c_int,
    indices: *mut c_int,
) -> Outcome<()> {
    // SAFETY: the tool gives room for that many.
    unsafe { put_all(&category(cat_index)?.settings(), len, indices) }
}

pub(crate) unsafe fn t_category_get_pvars(
    cat_index: c_int,
    len: c_int,
    indices: *mut c_int,
) -> Outcome<()> {
    // SAFETY: the tool gives room for that many.
    unsafe { put_all(&category(cat_index)?.variables(), len, indices) }
}

pub(crate) unsafe fn t_category_get_categories(
    cat_index: c_int,
    len: c_int,
    indices: *mut c_int,
) -> Outcome<()> {
    // SAFETY: the tool gives room for that many.
    unsafe { put_all(&category(cat_index)?.categories(), len, indices) }
}

pub(crate) unsafe fn t_category_get_num_events(
    cat_index: c_int,
    num_events: *mut c_int,
) -> Outcome<()> {
    category(cat_index)?;
    // SAFETY: the tool gives an address to write to.
    unsafe { give_number(num_events, 0) }
}

pub(crate) unsafe fn t_category_get_events(
    cat_index: c_int,
    _len: c_int,
    _indices: *mut c_int,
) -> Outcome<()> {
    category(cat_index).map(|_| ())
}

/// The categories are always the same.
pub(crate) unsafe fn t_category_changed(update_number: *mut c_int) -> Outcome<()> {
    ready()?;
    // SAFETY: the tool gives an address to write to.
    unsafe { give_number(update_number, 0) }
}
