//! Contexts of new communicators. The first rank of a new group chooses one that is unique by its
//! own rank and a number that it never gives twice, so that communicators can be made by several
//! threads at once, in any order. That of a freed communicator is not given again either: its ranks
//! free it without a word to each other, and one may still have messages under way in it.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::mpi::failure::{Class, Outcome, fail};

/// Contexts up to here are those of the predefined communicators.
const PREDEFINED: u32 = 12;

/// What each member hears when the first rank of the group has none to give.
pub(super) const NONE_LEFT: &str = "no context is left for another communicator: the first rank of its \
     group has made as many as there can be (docs/MPI.md), and freed ones are not used again";

/// What this rank may give.
#[derive(Debug)]
pub struct Contexts {
    /// Those below belong to others.
    first: u32,
    /// Fours that can be given.
    limit: u32,
    given: AtomicU32,
}

impl Contexts {
    pub(super) fn new(rank: u32, size: u32) -> Self {
        // The lowest share is that of the predefined communicators.
        let bits = u32::BITS - size.leading_zeros();
        let shift = u32::BITS - bits;
        let first = (rank + 1).checked_shl(shift).unwrap_or(u32::MAX);
        Self { first, limit: 1 << (shift - 2), given: AtomicU32::new(0) }
    }

    /// Four contexts that nobody has.
    ///
    /// # Errors
    /// `MPI_ERR_NO_MEM` when all were given: 2^26 communicators in a job of eight.
    pub(in crate::mpi) fn give(&self) -> Outcome<u32> {
        let number = self.given.fetch_add(1, Ordering::Relaxed);
        if number >= self.limit {
            self.given.store(self.limit, Ordering::Relaxed);
            return fail(Class::NoMem, NONE_LEFT);
        }
        Ok(self.first + 4 * number)
    }

    /// Context and tag for those who have nothing in common yet but this number, to agree on a
    /// context: different ones for different numbers, as far as that can be.
    pub(in crate::mpi) fn named(&self, number: u64) -> (u32, i32) {
        // All contexts below those of rank 0 are nobody's.
        let shares = u64::from(self.limit * 4 - PREDEFINED);
        let context = PREDEFINED + ((number >> 31) % shares) as u32;
        (context, (number & 0x7fff_ffff) as i32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_ranks_give_the_same_context() {
        for size in [1, 2, 3, 4, 7, 8, 1000] {
            let mut all = std::collections::BTreeSet::from_iter(0..12);
            for rank in 0..size {
                let contexts = Contexts::new(rank, size);
                for _ in 0..10 {
                    let context = contexts.give().unwrap();
                    assert!((0..4).all(|part| all.insert(context + part)), "{rank} of {size}");
                }
                let last = contexts.first + 4 * (contexts.limit - 1) + 3;
                assert!(rank + 1 == size || last < Contexts::new(rank + 1, size).first);
            }
        }
    }

    #[test]
    fn when_all_contexts_were_given_the_error_says_so_and_stays() {
        for (size, bound) in [(8, 1 << 26), (1000, 1 << 20)] {
            let contexts = Contexts::new(0, size);
            assert_eq!(contexts.limit, bound);
            contexts.given.store(bound - 1, Ordering::Relaxed);
            assert!(contexts.give().is_ok());
            for _ in 0..3 {
                let error = contexts.give().unwrap_err();
                assert_eq!(error.class, Class::NoMem);
            }
        }
    }

    #[test]
    fn contexts_by_name_are_nobody_s_and_the_same_at_all_ranks() {
        for size in [1, 2, 7, 8, 1000] {
            let all: Vec<_> = (0..size).map(|rank| Contexts::new(rank, size)).collect();
            for number in (0..1000).map(|it: u64| it.wrapping_mul(0x9e37_79b9_7f4a_7c15)) {
                let (context, tag) = all[0].named(number);
                assert!((PREDEFINED..all[0].first).contains(&context) && tag >= 0);
                assert!(all.iter().all(|it| it.named(number) == (context, tag)));
            }
        }
    }
}
