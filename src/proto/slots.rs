//! A table whose keys carry a generation, so that a stale or forged key finds nothing.

/// Index (low 32 bits) and generation (high 32 bits) of an entry. Travels in frames as a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(pub u64);

impl Key {
    #[inline]
    fn new(index: usize, generation: u32) -> Self {
        Self(index as u64 | u64::from(generation) << 32)
    }

    /// Index of the entry in its table.
    #[inline]
    #[must_use]
    pub fn index(self) -> usize {
        (self.0 & 0xffff_ffff) as usize
    }

    /// How often its place was given out.
    #[inline]
    #[must_use]
    pub fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    value: Option<T>,
}

/// The table.
#[derive(Debug)]
pub struct Slots<T> {
    slots: Vec<Slot<T>>,
    free: Vec<usize>,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self { slots: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slots<T> {
    /// Puts a value in and names it.
    #[inline]
    pub fn insert(&mut self, value: T) -> Key {
        if let Some(index) = self.free.pop() {
            let slot = &mut self.slots[index];
            slot.value = Some(value);
            return Key::new(index, slot.generation);
        }
        self.slots.push(Slot { generation: 1, value: Some(value) });
        Key::new(self.slots.len() - 1, 1)
    }

    /// The key of the value in this place.
    #[must_use]
    pub fn key_at(&self, index: usize) -> Option<Key> {
        let slot = self.slots.get(index)?;
        slot.value.as_ref().map(|_| Key::new(index, slot.generation))
    }

    /// The value, unless the key is stale or was never given out.
    #[inline]
    #[must_use]
    pub fn get(&self, key: Key) -> Option<&T> {
        let slot = self.slots.get(key.index())?;
        if slot.generation == key.generation() { slot.value.as_ref() } else { None }
    }

    /// As [`Slots::get`], to change it.
    #[inline]
    #[must_use]
    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let slot = self.slots.get_mut(key.index())?;
        if slot.generation == key.generation() { slot.value.as_mut() } else { None }
    }

    /// Takes the value out; the key is stale from then on.
    #[inline]
    pub fn remove(&mut self, key: Key) -> Option<T> {
        let slot = self.slots.get_mut(key.index())?;
        if slot.generation != key.generation() {
            return None;
        }
        let value = slot.value.take()?;
        slot.generation = slot.generation.wrapping_add(1).max(1);
        self.free.push(key.index());
        Some(value)
    }

    /// All entries.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (Key, &mut T)> {
        self.slots.iter_mut().enumerate().filter_map(|(index, slot)| {
            let key = Key::new(index, slot.generation);
            slot.value.as_mut().map(|value| (key, value))
        })
    }

    /// Number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_stale_once_its_entry_is_gone() {
        let mut slots = Slots::default();
        let first = slots.insert('a');
        assert_eq!(slots.remove(first), Some('a'));
        let second = slots.insert('b');
        assert_eq!(first.index(), second.index());
        assert_eq!(slots.get(first), None);
        assert_eq!(slots.remove(first), None);
        assert_eq!(slots.get(second), Some(&'b'));
        assert_eq!(slots.len(), 1);
    }

    #[test]
    fn a_forged_key_finds_nothing() {
        let mut slots = Slots::default();
        slots.insert(1);
        for forged in [0, 1, u64::MAX, 7 << 32, 1 << 33] {
            assert_eq!(slots.get(Key(forged)), None);
        }
    }
}
