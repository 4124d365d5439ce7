//! Attributes: values that applications and libraries hang on objects (MPI 5.0, 7.7).

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::errhandler::Attached;
use super::failure::{Failure, Outcome};

/// A copy function: object, key and value of the attribute; what the copy gets, if anything, or
/// the application's error code.
pub type Copy = Box<dyn Fn(usize, i32, usize) -> Result<Option<usize>, i32> + Send + Sync>;
/// A delete function: object, key and value of the attribute.
pub type Delete = Box<dyn Fn(usize, i32, usize) -> Result<(), i32> + Send + Sync>;

/// What objects a key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// Communicators.
    Comm,
    /// Datatypes.
    Type,
    /// Windows.
    Win,
}

impl Holder {
    /// The same among the kinds that error handlers are for; datatypes have none.
    #[must_use]
    pub fn attached(self) -> Option<Attached> {
        match self {
            Self::Comm => Some(Attached::Comm),
            Self::Win => Some(Attached::Win),
            Self::Type => None,
        }
    }
}

/// A key. It lives as long as any attribute uses it, freed or not.
pub struct Keyval {
    /// Its number.
    pub id: i32,
    /// What it is for.
    pub holder: Holder,
    /// Called when the object is duplicated.
    pub copy: Copy,
    /// Called when the attribute or its object goes, or is given another value.
    pub delete: Delete,
}

impl fmt::Debug for Keyval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keyval {{ {} for {:?} }}", self.id, self.holder)
    }
}

/// The attributes of one object.
#[derive(Debug, Default)]
pub struct Attributes {
    entries: Mutex<Vec<(Arc<Keyval>, usize)>>,
}

impl Attributes {
    fn lock(&self) -> MutexGuard<'_, Vec<(Arc<Keyval>, usize)>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The value under a key.
    #[must_use]
    pub fn get(&self, key: i32) -> Option<usize> {
        self.lock().iter().find(|(keyval, _)| keyval.id == key).map(|(_, value)| *value)
    }

    fn find(&self, key: i32) -> Option<(Arc<Keyval>, usize)> {
        let entries = self.lock();
        entries.iter().find(|(keyval, _)| keyval.id == key).map(|(k, v)| (Arc::clone(k), *v))
    }

    /// Sets the value under a key; an old one is deleted first. `object` is its handle.
    ///
    /// # Errors
    /// What the delete function returned; the old value stays then.
    pub fn set(&self, object: usize, keyval: &Arc<Keyval>, value: usize) -> Outcome<()> {
        self.delete(object, keyval.id)?;
        self.lock().push((Arc::clone(keyval), value));
        Ok(())
    }

    /// Deletes the value under a key, if there is one.
    ///
    /// # Errors
    /// What the delete function returned; the value stays then.
    pub fn delete(&self, object: usize, key: i32) -> Outcome<()> {
        // The function may call us: the list is not locked while it runs.
        let Some((keyval, value)) = self.find(key) else { return Ok(()) };
        (keyval.delete)(object, key, value).map_err(Failure::of_callback)?;
        self.lock().retain(|(it, _)| it.id != key);
        Ok(())
    }

    /// Deletes all, the latest first (MPI 5.0, 7.7.1).
    ///
    /// # Errors
    /// What the first delete function that failed returned; those not reached stay.
    pub fn delete_all(&self, object: usize) -> Outcome<()> {
        loop {
            let last = self.lock().last().map(|(keyval, _)| keyval.id);
            match last {
                Some(key) => self.delete(object, key)?,
                None => return Ok(()),
            }
        }
    }

    /// What a duplicate of `object` gets.
    ///
    /// # Errors
    /// What the first copy function that failed returned.
    pub fn copy(&self, object: usize) -> Outcome<Self> {
        let entries = self.lock().clone();
        let mut copies = Vec::with_capacity(entries.len());
        for (keyval, value) in entries {
            let copy = (keyval.copy)(object, keyval.id, value).map_err(Failure::of_callback)?;
            copies.extend(copy.map(|copy| (keyval, copy)));
        }
        Ok(Self { entries: Mutex::new(copies) })
    }
}
