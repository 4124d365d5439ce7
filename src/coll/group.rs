//! An ordered selection of ranks that an algorithm runs over: all, one host, or the leaders of the hosts.
//! Algorithms count in indices from 0; only the posts name ranks. So each level of two is written once.

use super::Shape;

/// An ordered group of ranks, and where in it this rank stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Group<'a> {
    /// `None`: index and rank are the same.
    ranks: Option<&'a [u32]>,
    /// The group starts at this position of `ranks`, and wraps.
    first: usize,
    /// Up to two positions of `ranks` at which another rank stands.
    instead: [Option<(usize, u32)>; 2],
    /// Number of ranks in the group.
    pub(super) size: usize,
    /// Index of this rank; `usize::MAX` when it is not in the group.
    pub(super) me: usize,
}

impl<'a> Group<'a> {
    /// All ranks, in the order of ranks.
    pub(super) fn all(shape: &'a Shape) -> Group<'a> {
        let size = shape.size() as usize;
        Group { ranks: None, first: 0, instead: [None; 2], size, me: shape.rank() as usize }
    }

    /// All ranks, host after host, starting with `root` and its host: along such a chain or ring a
    /// message crosses from host to host as rarely as possible.
    pub(super) fn by_host_from(shape: &'a Shape, root: u32) -> Group<'a> {
        let list = shape.by_host();
        let first = shape.positions(shape.host_of(root)).start;
        let instead = match list.iter().position(|&r| r == root) {
            Some(at) if at != first => [Some((first, root)), Some((at, list[first]))],
            _ => [None; 2],
        };
        Group::listed(shape, list, first, instead)
    }

    /// The ranks of this rank's host, ascending.
    pub(super) fn local(shape: &'a Shape) -> Group<'a> {
        Group::listed(shape, shape.members(shape.host_of(shape.rank())), 0, [None; 2])
    }

    /// One rank of each host: the lowest, but `root` for its own host. Index is the number of the host.
    pub(super) fn leaders(shape: &'a Shape, root: Option<u32>) -> Group<'a> {
        let instead = [root.map(|root| (shape.host_of(root) as usize, root)), None];
        Group::listed(shape, shape.leaders(), 0, instead)
    }

    fn listed(
        shape: &Shape,
        list: &'a [u32],
        first: usize,
        instead: [Option<(usize, u32)>; 2],
    ) -> Group<'a> {
        let mut group = Group { ranks: Some(list), first, instead, size: list.len(), me: 0 };
        group.me = group.index_of(shape.rank()).unwrap_or(usize::MAX);
        group
    }

    /// The rank at an index; indices wrap around.
    pub(super) fn rank(&self, index: usize) -> u32 {
        let Some(list) = self.ranks else {
            return (index % self.size) as u32;
        };
        let at = (self.first + index) % self.size;
        let other = self.instead.iter().flatten().find(|(position, _)| *position == at);
        other.map_or(list[at], |(_, rank)| *rank)
    }

    /// The index of a rank, if it is in the group.
    pub(super) fn index_of(&self, rank: u32) -> Option<usize> {
        match self.ranks {
            None => Some(rank as usize).filter(|&index| index < self.size),
            Some(_) => (0..self.size).find(|&index| self.rank(index) == rank),
        }
    }

    /// Whether this rank belongs to the group.
    pub(super) fn contains_me(&self) -> bool {
        self.me != usize::MAX
    }

    /// The index `distance` after this rank's, around the end.
    pub(super) fn after(&self, distance: usize) -> usize {
        (self.me + distance) % self.size
    }

    /// The index `distance` before this rank's, around the start.
    pub(super) fn before(&self, distance: usize) -> usize {
        (self.me + self.size - distance % self.size) % self.size
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_by_host_starts_with_the_root_and_leaves_each_host_once() {
        let hosts = [0, 1, 0, 1, 2, 1];
        for root in 0..6 {
            let shape = Shape::new(root, &hosts, None);
            let group = Group::by_host_from(&shape, root);
            assert_eq!((group.me, group.rank(0)), (0, root));
            let mut ranks: Vec<u32> = (0..6).map(|i| group.rank(i)).collect();
            let crossings =
                ranks.windows(2).filter(|w| hosts[w[0] as usize] != hosts[w[1] as usize]);
            assert_eq!(crossings.count(), 2);
            ranks.sort();
            assert_eq!(ranks, [0, 1, 2, 3, 4, 5]);
        }
    }

    #[test]
    fn the_root_leads_its_host() {
        let shape = Shape::new(3, &[7, 9, 7, 9], None);
        assert_eq!(Group::leaders(&shape, Some(3)).rank(1), 3);
        assert!(Group::leaders(&shape, Some(3)).contains_me());
        assert!(!Group::leaders(&shape, None).contains_me());
    }
}
