//! Size and bounds of a type (MPI 5.0, 5.1 and 5.1.7), computed without its typemap.

use crate::mpi::failure::{Class, Outcome, fail};

/// What a typemap extends over, and what marks in it say instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    /// Bytes of data.
    pub(super) size: i64,
    /// From the first byte of data to behind the last; none without data.
    pub(super) data: Option<(i64, i64)>,
    /// The same with the padding that the types it is made of have at their ends, so that each of
    /// their items lies inside of the extent wherever it is placed.
    pub(super) cover: Option<(i64, i64)>,
    /// Lowest and highest marks that `MPI_Type_create_resized` left.
    pub(super) marks: Option<(i64, i64)>,
    /// Strictest alignment of any entry.
    pub(super) align: i64,
}

impl Bounds {
    pub(super) const EMPTY: Self = Self { size: 0, data: None, cover: None, marks: None, align: 1 };

    /// Data without a gap behind it, in one piece or with a gap inside.
    pub(super) fn of_data(size: i64, end: i64, align: i64) -> Self {
        Self { size, data: Some((0, end)), cover: Some((0, end)), marks: None, align }
    }

    pub(super) fn lb(&self) -> i64 {
        self.marks.or(self.cover).map_or(0, |(from, _)| from)
    }

    /// Without marks, what is covered, rounded up to the alignment.
    pub(super) fn extent(&self) -> Outcome<i64> {
        match (self.marks, self.cover) {
            (Some((from, to)), _) => checked(to.checked_sub(from)),
            (None, Some((from, to))) => {
                let len = checked(to.checked_sub(from))?;
                let rounded = checked(len.checked_add(self.align - 1))? / self.align * self.align;
                checked(from.checked_add(rounded)).map(|_| rounded)
            }
            (None, None) => Ok(0),
        }
    }

    /// As a part of other types: with its padding. Marks, where there are some, say it all.
    pub(super) fn padded(self, extent: i64) -> Self {
        Self { cover: self.cover.map(|(from, _)| (from, from.saturating_add(extent))), ..self }
    }

    /// All of it this many bytes further on.
    pub(super) fn shifted(self, by: i64) -> Outcome<Self> {
        let shift = |range| grown(range, by, by);
        Ok(Self {
            data: self.data.map(shift).transpose()?,
            cover: self.cover.map(shift).transpose()?,
            marks: self.marks.map(shift).transpose()?,
            ..self
        })
    }

    /// `count` copies, each `stride` bytes after the one before.
    pub(super) fn repeated(self, count: i64, stride: i64) -> Outcome<Self> {
        if count == 0 {
            return Ok(Self::EMPTY);
        }
        let last = checked(stride.checked_mul(count - 1))?;
        let grow = |range| grown(range, last.min(0), last.max(0));
        Ok(Self {
            size: checked(self.size.checked_mul(count))?,
            data: self.data.map(grow).transpose()?,
            cover: self.cover.map(grow).transpose()?,
            marks: self.marks.map(grow).transpose()?,
            ..self
        })
    }

    /// Both together.
    pub(super) fn and(self, other: Self) -> Outcome<Self> {
        Ok(Self {
            size: checked(self.size.checked_add(other.size))?,
            data: around(self.data, other.data),
            cover: around(self.cover, other.cover),
            marks: around(self.marks, other.marks),
            align: self.align.max(other.align),
        })
    }
}

fn grown((from, to): (i64, i64), low: i64, high: i64) -> Outcome<(i64, i64)> {
    Ok((checked(from.checked_add(low))?, checked(to.checked_add(high))?))
}

fn around(one: Option<(i64, i64)>, other: Option<(i64, i64)>) -> Option<(i64, i64)> {
    match (one, other) {
        (Some(a), Some(b)) => Some((a.0.min(b.0), a.1.max(b.1))),
        (one, other) => one.or(other),
    }
}

/// A number of bytes that must be one.
pub(super) fn checked(value: Option<i64>) -> Outcome<i64> {
    match value {
        Some(value) => Ok(value),
        None => fail(Class::ValueTooLarge, "the datatype spans more bytes than can be counted"),
    }
}
