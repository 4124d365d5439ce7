//! Groups made of groups, and how they compare (MPI 5.0, 7.3).

use std::collections::{HashMap, HashSet};

use super::{Comparison, Group};
use crate::mpi::failure::{Class, Outcome, fail};

impl Group {
    /// The group without members (`MPI_GROUP_EMPTY`).
    #[must_use]
    pub fn empty() -> Self {
        Self::new([].into(), u32::MAX)
    }

    /// A group of these ranks of the world, of which `me` is this process if it is known.
    fn of(&self, members: Vec<u32>, me: Option<u32>) -> Self {
        self.related(members.into(), me.unwrap_or(u32::MAX))
    }

    /// This process in the world, if it is a member.
    fn me(&self) -> Option<u32> {
        self.rank().map(|rank| self.members()[rank as usize])
    }

    /// Ranks here by rank of the world.
    fn ranks(&self) -> HashMap<u32, u32> {
        self.members().iter().copied().zip(0..).collect()
    }

    fn set(&self) -> HashSet<u32> {
        self.members().iter().copied().collect()
    }

    /// The ranks in `other` of these ranks here; none for those that are no members, and for
    /// `nobody`, which may be among them (`MPI_Group_translate_ranks`).
    ///
    /// # Errors
    /// `MPI_ERR_RANK` when there is no such rank here.
    pub fn translate(&self, ranks: &[i32], nobody: i32, other: &Self) -> Outcome<Vec<Option<u32>>> {
        let there = other.ranks();
        let one = |&rank: &i32| match rank {
            rank if rank == nobody => Ok(None),
            rank => self.world_rank(rank).map(|world| there.get(&world).copied()),
        };
        ranks.iter().map(one).collect()
    }

    /// How it compares to another group.
    #[must_use]
    pub fn compare(&self, other: &Self) -> Comparison {
        if self.members() == other.members() {
            return Comparison::Identical;
        }
        if self.size() == other.size() && self.set() == other.set() {
            return Comparison::Similar;
        }
        Comparison::Unequal
    }

    /// Whether all members of `other` are members.
    #[must_use]
    pub fn contains(&self, other: &Self) -> bool {
        let all = self.set();
        other.members().iter().all(|world| all.contains(world))
    }

    /// Whether any member of `other` is a member.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        let all = self.set();
        other.members().iter().any(|world| all.contains(world))
    }

    /// The members of this group, and after them those of `other` that are not among them.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let first = self.set();
        let new = other.members().iter().filter(|world| !first.contains(world));
        let members = self.members().iter().chain(new).copied().collect();
        self.of(members, self.me().or(other.me()))
    }

    /// The members that are members of `other` as well.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let both = other.set();
        self.filtered(|world| both.contains(&world))
    }

    /// The members that are no members of `other`.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        let not = other.set();
        self.filtered(|world| !not.contains(&world))
    }

    fn filtered(&self, keep: impl Fn(u32) -> bool) -> Self {
        let members = self.members().iter().copied().filter(|&world| keep(world)).collect();
        self.of(members, self.me())
    }

    /// The ranks of the world of different ranks here.
    fn distinct(&self, ranks: &[i32]) -> Outcome<Vec<u32>> {
        let mut seen = HashSet::with_capacity(ranks.len());
        let one = |&rank: &i32| {
            let world = self.world_rank(rank)?;
            if seen.insert(world) { Ok(world) } else { twice(rank) }
        };
        ranks.iter().map(one).collect()
    }

    /// The members with these ranks, in this order.
    ///
    /// # Errors
    /// `MPI_ERR_RANK` when there is no such rank, or it is named twice.
    pub fn include(&self, ranks: &[i32]) -> Outcome<Self> {
        Ok(self.of(self.distinct(ranks)?, self.me()))
    }

    /// The members without those with these ranks.
    ///
    /// # Errors
    /// As for [`Group::include`].
    pub fn exclude(&self, ranks: &[i32]) -> Outcome<Self> {
        let not: HashSet<u32> = self.distinct(ranks)?.into_iter().collect();
        Ok(self.filtered(|world| !not.contains(&world)))
    }

    /// The ranks that ranges of first, last and stride name.
    ///
    /// # Errors
    /// `MPI_ERR_ARG` when a stride is zero, `MPI_ERR_RANK` when a range leaves the group.
    pub fn ranks_of(&self, ranges: &[[i32; 3]]) -> Outcome<Vec<i32>> {
        let mut ranks = Vec::new();
        for &[first, last, stride] in ranges {
            if stride == 0 {
                return fail(Class::Arg, format!("the stride of the range from {first} is zero"));
            }
            // A range is as long as its group at most: what is beyond is found before it grows.
            for rank in [first, last] {
                self.world_rank(rank)?;
            }
            let mut at = i64::from(first);
            while if stride > 0 { at <= i64::from(last) } else { at >= i64::from(last) } {
                ranks.push(at as i32);
                at += i64::from(stride);
            }
        }
        Ok(ranks)
    }
}

#[cold]
fn twice(rank: i32) -> Outcome<u32> {
    fail(Class::Rank, format!("rank {rank} is named twice"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(members: &[u32]) -> Group {
        Group::new(members.into(), 3)
    }

    fn members(group: &Group) -> Vec<u32> {
        group.members().to_vec()
    }

    #[test]
    fn a_union_keeps_the_order_of_the_first_and_then_of_the_second() {
        let all = group(&[5, 3, 1]).union(&group(&[1, 7, 5, 0]));
        assert_eq!(members(&all), [5, 3, 1, 7, 0]);
        assert_eq!(all.rank(), Some(1));
        assert_eq!(group(&[9]).union(&group(&[4, 3])).rank(), Some(2));
    }

    #[test]
    fn intersection_and_difference_keep_the_order_of_the_first() {
        let (a, b) = (group(&[5, 3, 1, 0]), group(&[0, 1, 5]));
        assert_eq!(members(&a.intersection(&b)), [5, 1, 0]);
        assert_eq!(a.intersection(&b).rank(), None);
        assert_eq!(members(&a.difference(&b)), [3]);
        assert_eq!(a.difference(&b).rank(), Some(0));
        assert_eq!(members(&b.difference(&a)), [0_u32; 0]);
    }

    #[test]
    fn groups_of_the_same_members_in_another_order_are_similar() {
        let a = group(&[5, 3, 1]);
        assert_eq!(a.compare(&group(&[5, 3, 1])), Comparison::Identical);
        assert_eq!(a.compare(&group(&[1, 3, 5])), Comparison::Similar);
        assert_eq!(a.compare(&group(&[1, 3])), Comparison::Unequal);
        assert_eq!(Group::empty().compare(&group(&[])), Comparison::Identical);
    }

    #[test]
    fn including_reorders_and_excluding_does_not() {
        let a = group(&[5, 3, 1, 8]);
        assert_eq!(members(&a.include(&[3, 0, 1]).unwrap()), [8, 5, 3]);
        assert_eq!(members(&a.exclude(&[3, 0]).unwrap()), [3, 1]);
        assert_eq!(a.include(&[1]).unwrap().rank(), Some(0));
    }

    #[test]
    fn a_rank_that_is_not_there_or_named_twice_is_refused() {
        let a = group(&[5, 3, 1, 8]);
        for wrong in [&[4][..], &[-1], &[1, 2, 1]] {
            assert_eq!(a.include(wrong).unwrap_err().class, Class::Rank);
            assert_eq!(a.exclude(wrong).unwrap_err().class, Class::Rank);
        }
    }

    #[test]
    fn ranges_go_up_and_down_and_end_where_the_stride_misses_the_last() {
        let a = group(&[0, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(a.ranks_of(&[[6, 0, -4], [1, 6, 2], [7, 7, 5]]).unwrap(), [6, 2, 1, 3, 5, 7]);
        assert_eq!(a.ranks_of(&[[5, 1, 1]]).unwrap(), [0_i32; 0]);
        assert_eq!(a.ranks_of(&[[0, 1, 0]]).unwrap_err().class, Class::Arg);
        assert_eq!(a.ranks_of(&[[0, i32::MAX, 1]]).unwrap_err().class, Class::Rank);
        assert_eq!(a.ranks_of(&[[7, 0, i32::MIN]]).unwrap(), [7]);
    }

    #[test]
    fn ranks_are_translated_and_nobody_stays_nobody() {
        let (a, b) = (group(&[5, 3, 1]), group(&[1, 5]));
        let found = a.translate(&[0, 1, 2, -3], -3, &b).unwrap();
        assert_eq!(found, [Some(1), None, Some(0), None]);
        assert_eq!(a.translate(&[3], -3, &b).unwrap_err().class, Class::Rank);
    }
}
