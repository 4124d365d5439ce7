//! Info objects: ordered pairs of key and value (MPI 5.0, 10).

use std::sync::atomic::AtomicUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// An info object.
#[derive(Debug, Default)]
pub struct Info {
    /// Whatever the outside knows it by.
    pub handle: AtomicUsize,
    entries: Mutex<Vec<(String, String)>>,
}

impl Info {
    /// An info with these entries.
    #[must_use]
    pub fn new(entries: Vec<(String, String)>) -> Self {
        Self { handle: AtomicUsize::new(0), entries: Mutex::new(entries) }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(String, String)>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All entries, in the order in which their keys were first set.
    #[must_use]
    pub fn entries(&self) -> Vec<(String, String)> {
        self.lock().clone()
    }

    /// Number of keys.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether there are no keys.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<String> {
        self.lock().iter().find(|(it, _)| it == key).map(|(_, value)| value.clone())
    }

    /// Sets the value of a key.
    pub fn set(&self, key: &str, value: &str) {
        let mut entries = self.lock();
        match entries.iter_mut().find(|(it, _)| it == key) {
            Some((_, old)) => value.clone_into(old),
            None => entries.push((key.to_owned(), value.to_owned())),
        }
    }

    /// Removes a key; false when it was not there.
    pub fn delete(&self, key: &str) -> bool {
        let mut entries = self.lock();
        let before = entries.len();
        entries.retain(|(it, _)| it != key);
        entries.len() != before
    }

    /// The key with this number, counted from 0.
    #[must_use]
    pub fn nth_key(&self, number: usize) -> Option<String> {
        self.lock().get(number).map(|(key, _)| key.clone())
    }
}
