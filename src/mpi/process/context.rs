//! Contexts of new communicators. The first rank of a new group chooses one that is unique by its
//! own rank and a number that it never gives twice, so that communicators can be made by several
//! threads at once, in any order.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::mpi::failure::{Class, Outcome, fail};

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
            return fail(Class::NoMem, "no context is left for another communicator");
        }
        Ok(self.first + 4 * number)
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
}
