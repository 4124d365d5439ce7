//! Handles and what they stand for.
//!
//! A handle is a small number: predefined ones below [`FIRST`], as the standard gives them; others
//! name a place in a table and the generation of who is there, so that a handle that was freed
//! finds nothing. All fit in 31 bits: the integer of a handle (`MPI_Comm_toint`) is the handle.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use cohost::mpi::failure::{Class, Outcome, fail};

use crate::args::Handle;

/// Handles from here on are not predefined.
const FIRST: usize = 0x1000;
const INDEX_BITS: u32 = 21;
pub(crate) const GENERATIONS: usize = 1 << 9;

/// The handle of a place and its generation.
#[must_use]
pub(crate) fn number(index: usize, generation: usize) -> Handle {
    Handle(FIRST + ((generation % GENERATIONS) << INDEX_BITS | index))
}

/// The same, for a place that may be beyond what handles can tell apart.
///
/// # Errors
/// `MPI_ERR_NO_MEM` when it is.
pub(crate) fn checked(index: usize, generation: usize) -> Outcome<Handle> {
    if index >= 1 << INDEX_BITS {
        return fail(Class::NoMem, format!("more than {} objects of one kind", 1 << INDEX_BITS));
    }
    Ok(number(index, generation))
}

/// Place and generation of a handle that is not predefined.
#[inline]
#[must_use]
pub(crate) fn parts(handle: Handle) -> Option<(usize, usize)> {
    let number = handle.0.checked_sub(FIRST)?;
    let generation = number >> INDEX_BITS;
    (generation < GENERATIONS).then_some((number & ((1 << INDEX_BITS) - 1), generation))
}

/// What the handles of one type stand for.
#[derive(Debug)]
pub(crate) struct Table<T> {
    slots: RwLock<Slots<T>>,
    class: Class,
    what: &'static str,
}

#[derive(Debug)]
struct Slots<T> {
    places: Vec<Place<T>>,
    free: Vec<usize>,
}

#[derive(Debug)]
struct Place<T> {
    generation: usize,
    value: Option<T>,
}

impl<T: Clone> Table<T> {
    /// An empty table. Handles that it does not have fail with this class.
    pub(crate) const fn new(class: Class, what: &'static str) -> Self {
        let slots = Slots { places: Vec::new(), free: Vec::new() };
        Self { slots: RwLock::new(slots), class, what }
    }

    fn read(&self) -> RwLockReadGuard<'_, Slots<T>> {
        self.slots.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives a value a handle.
    pub(crate) fn insert(&self, value: T) -> Outcome<Handle> {
        self.insert_with(|_| value)
    }

    /// Gives a value that knows its handle that handle.
    pub(crate) fn insert_with(&self, value: impl FnOnce(Handle) -> T) -> Outcome<Handle> {
        let mut slots = self.slots.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(index) = slots.free.pop() {
            let place = &mut slots.places[index];
            let handle = number(index, place.generation);
            place.value = Some(value(handle));
            return Ok(handle);
        }
        let handle = checked(slots.places.len(), 0)?;
        slots.places.push(Place { generation: 0, value: Some(value(handle)) });
        Ok(handle)
    }

    /// What a handle stands for.
    ///
    /// # Errors
    /// With the class of the table, when it stands for nothing.
    pub(crate) fn get(&self, handle: Handle) -> Outcome<T> {
        let found = parts(handle).and_then(|(index, generation)| {
            let slots = self.read();
            let place = slots.places.get(index).filter(|place| place.generation == generation);
            place.and_then(|place| place.value.clone())
        });
        found.map_or_else(|| self.missing(handle), Ok)
    }

    /// Takes a handle back.
    ///
    /// # Errors
    /// As for [`Table::get`].
    pub(crate) fn remove(&self, handle: Handle) -> Outcome<T> {
        let found = parts(handle).and_then(|(index, generation)| {
            let mut slots = self.slots.write().unwrap_or_else(PoisonError::into_inner);
            let places = &mut slots.places;
            let place = places.get_mut(index).filter(|place| place.generation == generation)?;
            let value = place.value.take()?;
            place.generation = (generation + 1) % GENERATIONS;
            slots.free.push(index);
            Some(value)
        });
        found.map_or_else(|| self.missing(handle), Ok)
    }

    /// Takes all handles back, and gives what they stood for.
    pub(crate) fn clear(&self) -> Vec<T> {
        let mut slots = self.slots.write().unwrap_or_else(PoisonError::into_inner);
        let Slots { places, free } = &mut *slots;
        let mut values = Vec::new();
        for (index, place) in places.iter_mut().enumerate() {
            if let Some(value) = place.value.take() {
                place.generation = (place.generation + 1) % GENERATIONS;
                free.push(index);
                values.push(value);
            }
        }
        values
    }

    #[cold]
    fn missing(&self, handle: Handle) -> Outcome<T> {
        let Handle(number) = handle;
        let what = self.what;
        fail(
            self.class,
            format!("no {what} has the handle {number:#x}: it was freed, or never made"),
        )
    }

    /// Fails for a null handle.
    ///
    /// # Errors
    /// Always, with the class of the table.
    #[cold]
    pub(crate) fn null<U>(&self) -> Outcome<U> {
        fail(self.class, format!("the {} is null", self.what))
    }
}

/// Values that are kept by count.
pub(crate) type Shared<T> = Table<Arc<T>>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_freed_handle_finds_nothing_even_when_its_place_is_used_again() {
        let table = Table::new(Class::Comm, "communicator");
        let first = table.insert('a').unwrap();
        table.remove(first).unwrap();
        let second = table.insert('b').unwrap();
        assert_ne!(first, second);
        assert_eq!(table.get(first).unwrap_err().class, Class::Comm);
        assert_eq!(table.get(second), Ok('b'));
    }

    #[test]
    fn handles_fit_in_an_int_and_are_none_of_the_predefined() {
        let last = number((1 << INDEX_BITS) - 1, GENERATIONS - 1);
        assert!(i32::try_from(last.0).is_ok());
        assert_eq!(parts(last), Some(((1 << INDEX_BITS) - 1, GENERATIONS - 1)));
        assert_eq!(parts(Handle(0x101)), None);
        assert_eq!(parts(Handle(usize::MAX)), None);
    }
}
