//! Where each rank's part lies in a buffer: equal blocks, listed blocks, or elements split into parts.

use super::{Buf, Slice};
use std::ops::Range;

/// Where each rank's block lies in a buffer, in bytes.
#[derive(Clone, Copy, Debug)]
pub enum Blocks<'a> {
    /// Block `r` is the `r`-th of this length.
    Equal(usize),
    /// Block `r` has `counts[r]` bytes from byte `displs[r]` on. A rank without an entry has no bytes.
    Listed {
        /// Length of each rank's block.
        counts: &'a [usize],
        /// Start of each rank's block.
        displs: &'a [usize],
    },
}

impl Blocks<'_> {
    /// The block of a rank, in `buf`.
    pub(super) fn slice(&self, buf: Buf, rank: u32) -> Slice {
        let r = rank as usize;
        match *self {
            Blocks::Equal(len) => Slice::new(buf, r * len, len),
            Blocks::Listed { counts, displs } => match (counts.get(r), displs.get(r)) {
                (Some(&len), Some(&offset)) => Slice::new(buf, offset, len),
                _ => Slice::new(buf, 0, 0),
            },
        }
    }

    /// The length of a rank's block.
    pub(super) fn len(&self, rank: u32) -> usize {
        self.slice(Buf::Scratch, rank).len
    }

    /// The slice of `buf` that holds the blocks of these ranks and nothing else, in this order, if there is one.
    pub(super) fn run(&self, buf: Buf, ranks: &[u32]) -> Option<Slice> {
        let mut run: Option<Slice> = None;
        for &rank in ranks {
            let block = self.slice(buf, rank);
            match &mut run {
                None => run = Some(block),
                Some(run) if run.offset + run.len == block.offset => run.len += block.len,
                Some(_) => return None,
            }
        }
        run
    }
}

/// A vector that may be split between elements only.
#[derive(Clone, Copy, Debug)]
pub(super) struct Elements {
    count: usize,
    size: usize,
}

impl Elements {
    /// `bytes` bytes of elements of `size` bytes each.
    pub(super) fn new(bytes: usize, size: usize) -> Elements {
        let size = size.max(1);
        debug_assert_eq!(bytes % size, 0, "the last element is cut");
        Elements { count: bytes / size, size }
    }

    /// The first byte of part `i` of `parts`, which differ by one element at most.
    fn start(&self, i: usize, parts: usize) -> usize {
        (self.count / parts * i + i.min(self.count % parts)) * self.size
    }

    /// The bytes of the parts `range` of `parts`.
    pub(super) fn range(&self, range: Range<usize>, parts: usize) -> Range<usize> {
        self.start(range.start, parts)..self.start(range.end, parts)
    }
}

/// The largest power of two that is at most `n`; `n` is at least 1.
pub(super) fn power_of_two_within(n: usize) -> usize {
    1 << n.max(1).ilog2()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_vector_cover_it_and_cut_no_element() {
        for (count, parts) in [(0, 3), (2, 5), (17, 4), (16, 4)] {
            let e = Elements::new(count * 12, 12);
            let mut end = 0;
            for i in 0..parts {
                let part = e.range(i..i + 1, parts);
                assert_eq!(part.start, end);
                assert_eq!(part.len() % 12, 0);
                end = part.end;
            }
            assert_eq!(end, count * 12);
        }
    }

    #[test]
    fn neighbours_form_a_run_and_strangers_do_not() {
        let blocks = Blocks::Listed { counts: &[2, 3, 0, 4], displs: &[0, 2, 5, 6] };
        assert_eq!(blocks.run(Buf::Recv, &[0, 1, 2]), Some(Slice::new(Buf::Recv, 0, 5)));
        assert_eq!(blocks.run(Buf::Recv, &[1, 3]), None);
        assert_eq!(blocks.slice(Buf::Recv, 9).len, 0);
    }
}
