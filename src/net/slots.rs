//! A table whose keys carry a generation, so that an event for a socket that was closed in the
//! same batch never reaches the one that took its place.

use mio::Token;

// A token holds index and generation side by side.
const _: () = assert!(usize::BITS >= 64, "cohost needs a 64-bit machine");

/// Names one entry during its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    index: u32,
    generation: u32,
}

impl Key {
    pub(super) fn token(self) -> Token {
        Token((self.generation as usize) << 32 | self.index as usize)
    }

    /// Any token gives some key; one that was never handed out finds nothing.
    pub(super) fn of(token: Token) -> Key {
        let low = token.0 & 0xffff_ffff;
        let high = token.0 >> 32;
        Key {
            index: u32::try_from(low).unwrap_or(u32::MAX),
            generation: u32::try_from(high).unwrap_or(u32::MAX),
        }
    }
}

struct Entry<T> {
    generation: u32,
    value: Option<T>,
}

/// The table.
pub(super) struct Slots<T> {
    entries: Vec<Entry<T>>,
    free: Vec<u32>,
}

impl<T> Slots<T> {
    pub(super) fn new() -> Self {
        Slots { entries: Vec::new(), free: Vec::new() }
    }

    /// The key that the next [`Slots::insert`] will use: a socket is registered before it is kept.
    pub(super) fn next_key(&self) -> Key {
        match self.free.last() {
            Some(&index) => Key { index, generation: self.entries[index as usize].generation },
            None => {
                Key { index: u32::try_from(self.entries.len()).unwrap_or(u32::MAX), generation: 0 }
            }
        }
    }

    pub(super) fn insert(&mut self, value: T) -> Key {
        let key = self.next_key();
        if self.free.pop().is_some() {
            self.entries[key.index as usize].value = Some(value);
        } else {
            self.entries.push(Entry { generation: 0, value: Some(value) });
        }
        key
    }

    pub(super) fn get(&self, key: Key) -> Option<&T> {
        let entry = self.entries.get(key.index as usize)?;
        if entry.generation == key.generation { entry.value.as_ref() } else { None }
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let entry = self.entries.get_mut(key.index as usize)?;
        if entry.generation == key.generation { entry.value.as_mut() } else { None }
    }

    /// Takes the entry out; its key is void from now on.
    pub(super) fn remove(&mut self, key: Key) -> Option<T> {
        let entry = self.entries.get_mut(key.index as usize)?;
        if entry.generation != key.generation {
            return None;
        }
        let value = entry.value.take()?;
        // The highest generation is left out: its tokens belong to the listeners.
        entry.generation = (entry.generation + 1) % (u32::MAX - 1);
        self.free.push(key.index);
        Some(value)
    }

    /// Replaces the entry under the same key, as when a caller becomes a connection.
    pub(super) fn replace(&mut self, key: Key, with: impl FnOnce(T) -> T) -> bool {
        let Some(entry) = self.entries.get_mut(key.index as usize) else {
            return false;
        };
        if entry.generation != key.generation {
            return false;
        }
        let Some(value) = entry.value.take() else {
            return false;
        };
        entry.value = Some(with(value));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_dies_with_its_entry_even_when_the_place_is_taken_again() {
        let mut slots = Slots::new();
        let first = slots.insert("first");
        assert_eq!(Key::of(first.token()), first);
        assert_eq!(slots.remove(first), Some("first"));
        let second = slots.insert("second");
        assert_eq!(second.index, first.index);
        assert_eq!(slots.get(first), None);
        assert_eq!(slots.remove(first), None);
        assert_eq!(slots.get(second), Some(&"second"));
    }

    #[test]
    fn the_announced_key_is_the_one_given() {
        let mut slots = Slots::new();
        for _ in 0..3 {
            let announced = slots.next_key();
            assert_eq!(slots.insert(()), announced);
        }
        slots.remove(Key { index: 1, generation: 0 });
        let announced = slots.next_key();
        assert_eq!(slots.insert(()), announced);
    }
}
