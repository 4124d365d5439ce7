//! The short list of connections that are likely to answer.

use super::slots::Key;

/// Connections looked at in turn.
const HOT_MAX: usize = 4;

/// The connections used last, and which of them is looked at next.
#[derive(Default)]
pub(super) struct Hot {
    keys: Vec<Key>,
    next: usize,
}

impl Hot {
    pub(super) fn pick(&self) -> Option<Key> {
        self.keys.get(self.next).or(self.keys.first()).copied()
    }

    /// Nothing there: the next one's turn.
    pub(super) fn turn(&mut self) {
        self.next += 1;
        if self.next >= self.keys.len() {
            self.next = 0;
        }
    }

    /// Used just now, so it is first in line.
    pub(super) fn touch(&mut self, key: Key) {
        self.next = 0;
        if self.keys.first() == Some(&key) {
            return;
        }
        self.keys.retain(|&other| other != key);
        self.keys.insert(0, key);
        self.keys.truncate(HOT_MAX);
    }

    pub(super) fn forget(&mut self, key: Key) {
        self.keys.retain(|&other| other != key);
        self.next = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::super::slots::Slots;
    use super::*;

    #[test]
    fn the_connection_used_last_is_looked_at_first_and_the_others_have_turns() {
        let mut slots = Slots::new();
        let keys: Vec<Key> = (0..6).map(|n| slots.insert(n)).collect();
        let mut hot = Hot::default();
        for &key in &keys {
            hot.touch(key);
        }
        let mut seen = Vec::new();
        for _ in 0..HOT_MAX {
            seen.extend(hot.pick());
            hot.turn();
        }
        assert_eq!(seen, [keys[5], keys[4], keys[3], keys[2]]);
        hot.forget(keys[5]);
        assert_eq!(hot.pick(), Some(keys[4]));
    }
}
