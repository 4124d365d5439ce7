//! Which parts of a range are taken: arithmetic on offsets, in private memory. Nothing in the
//! range itself is ever looked at.

use std::collections::BTreeMap;

use crate::region::access::LINE;

/// A range of bytes, of which parts are taken and given back.
#[derive(Debug)]
pub(super) struct Space {
    /// Offset and length of each free part; no two touch.
    free: BTreeMap<usize, usize>,
    /// Offset and length of each part taken.
    taken: BTreeMap<usize, usize>,
}

impl Space {
    /// A range of this length, a multiple of a cache line, all of it free.
    pub(super) fn new(len: usize) -> Self {
        Self { free: BTreeMap::from([(0, len)]), taken: BTreeMap::new() }
    }

    /// Takes `len` bytes in whole cache lines from the first place where they fit, so that the
    /// offset plus `base` is a multiple of `align`, a power of two.
    pub(super) fn take(&mut self, len: usize, align: usize, base: usize) -> Option<usize> {
        let len = len.max(1).checked_next_multiple_of(LINE)?;
        let align = align.max(LINE);
        let place = |(&from, &room): (&usize, &usize)| {
            let at = base.checked_add(from)?.checked_next_multiple_of(align)? - base;
            let end = at.checked_add(len)?;
            (end <= from + room).then_some((from, room, at, end))
        };
        let (from, room, at, end) = self.free.iter().find_map(place)?;
        self.free.remove(&from);
        if at > from {
            self.free.insert(from, at - from);
        }
        if end < from + room {
            self.free.insert(end, from + room - end);
        }
        self.taken.insert(at, len);
        Some(at)
    }

    /// Gives back what was taken at this offset. False when nothing was.
    pub(super) fn give_back(&mut self, at: usize) -> bool {
        let Some(len) = self.taken.remove(&at) else { return false };
        let (mut from, mut end) = (at, at + len);
        if let Some((&before, &room)) = self.free.range(..at).next_back()
            && before + room == at
        {
            self.free.remove(&before);
            from = before;
        }
        if let Some(room) = self.free.remove(&end) {
            end += room;
        }
        self.free.insert(from, end - from);
        true
    }

    /// Whether nothing is taken.
    pub(super) fn is_empty(&self) -> bool {
        self.taken.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LEN: usize = 64 << 10;
    /// An address that is aligned to a page and to nothing more.
    const BASE: usize = 0x7000_1000;

    /// The same as a list of lines, each free or the number of who has it.
    struct Lines(Vec<Option<usize>>);

    impl Lines {
        fn fits(&self, lines: usize, align: usize) -> Option<usize> {
            (0..=self.0.len().checked_sub(lines)?).find(|&at| {
                (BASE + at * LINE).is_multiple_of(align)
                    && self.0[at..at + lines].iter().all(Option::is_none)
            })
        }
    }

    proptest! {
        #[test]
        fn what_is_taken_is_nobody_elses_and_whatever_fits_is_found(
            acts in proptest::collection::vec((0..20_000_usize, 0..14_u32, any::<u8>()), 0..200),
        ) {
            let (mut space, mut model) = (Space::new(LEN), Lines(vec![None; LEN / LINE]));
            let mut held: Vec<(usize, usize)> = Vec::new();
            for (number, (len, shift, choice)) in acts.into_iter().enumerate() {
                if choice % 3 == 0 && !held.is_empty() {
                    let (at, lines) = held.swap_remove(choice as usize % held.len());
                    prop_assert!(space.give_back(at));
                    prop_assert!(!space.give_back(at));
                    model.0[at / LINE..at / LINE + lines].fill(None);
                    continue;
                }
                let (align, lines) = (1 << shift, len.max(1).div_ceil(LINE));
                let at = space.take(len, align, BASE);
                prop_assert_eq!(at, model.fits(lines, align).map(|line| line * LINE));
                if let Some(at) = at {
                    model.0[at / LINE..at / LINE + lines].fill(Some(number));
                    held.push((at, lines));
                }
            }
            for (at, _) in held {
                prop_assert!(space.give_back(at));
            }
            prop_assert!(space.is_empty());
            prop_assert_eq!(space.take(LEN, 1, BASE), Some(0));
        }
    }

    #[test]
    fn lengths_and_alignments_that_overflow_find_no_place() {
        let mut space = Space::new(LEN);
        assert_eq!(space.take(usize::MAX, 1, BASE), None);
        assert_eq!(space.take(usize::MAX - LINE, 1, BASE), None);
        assert_eq!(space.take(1, 1 << 63, BASE), None);
        assert_eq!(space.take(1, 1, usize::MAX - 10), None);
        assert!(space.is_empty());
    }

    #[test]
    fn an_offset_that_was_not_taken_cannot_be_given_back() {
        let mut space = Space::new(LEN);
        let at = space.take(1000, 1, BASE).unwrap();
        assert!(!space.give_back(at + LINE) && !space.give_back(LEN) && space.give_back(at));
    }
}
