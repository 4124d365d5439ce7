//! Where everything lies in a section: pure arithmetic, no memory touched.
//!
//! ```text
//! section   | header page(s)                              | block | block | ...    one per peer
//! header    | identity | doorbell | slot of member 0 | slot of member 1 | ...
//! block     | control lines | cells (64 bytes each) | to the page | bulk bytes |
//! ```
//!
//! Every offset is computed by each member from its own configuration and compared with what a
//! peer's header says; none is ever taken from there.

use std::ops::Range;

use super::access::LINE;

/// Bytes in a page: headers, blocks and bulk areas start at multiples of it.
pub const PAGE: usize = 4096;

/// First word of a section, little endian "cohostR1": written last, so that it vouches for the
/// rest of the header.
pub const MAGIC: u64 = u64::from_le_bytes(*b"cohostR1");
/// Version of the layout in this file; members of different versions do not share memory.
pub const VERSION: u32 = 1;

/// Offset of [`MAGIC`], a `u64`.
pub const MAGIC_OFFSET: usize = 0;
/// Offset of the version, a `u32`.
pub const VERSION_OFFSET: usize = 8;
/// Offset of the epoch, a `u64` drawn at random by the owner each time it makes a section.
pub const EPOCH_OFFSET: usize = 16;
/// Offset of the number of members, a `u32`.
pub const MEMBERS_OFFSET: usize = 24;
/// Offset of the owner's member index, a `u32`.
pub const INDEX_OFFSET: usize = 28;
/// Offset of the number of cells in a block, a `u32`.
pub const CELLS_OFFSET: usize = 32;
/// Offset of the number of bulk bytes in a block, a `u32`.
pub const BULK_OFFSET: usize = 36;
/// Offset of the length of the whole section, a `u64`.
pub const TOTAL_OFFSET: usize = 40;
/// Offset of the word in which the owner says that it is about to sleep, a `u32` on a line of its
/// own because peers poll it after every message they send.
pub const ARMED_OFFSET: usize = LINE;
/// Whether the owner executes a barrier for its senders when it goes to sleep (u32, 0 or 1).
pub const BARRIER_OFFSET: usize = ARMED_OFFSET + 4;

/// Bytes of a challenge.
pub const CHALLENGE_BYTES: usize = 16;
/// Offset of the first member's slot.
const SLOTS_OFFSET: usize = 2 * LINE;
/// Bytes of one member's slot: challenge (16), active flag (4), bell (4), the rest reserved.
const SLOT_BYTES: usize = LINE;
const SLOT_ACTIVE: usize = CHALLENGE_BYTES;
const SLOT_BELL: usize = CHALLENGE_BYTES + 4;

/// Bytes of control lines at the start of a block: four lines, for the ring to divide.
pub const CONTROL_BYTES: usize = 4 * LINE;

/// Most members that may share a host.
pub const MEMBERS_MAX: u32 = 4096;
/// Fewest cells with which a ring still pipelines.
pub const CELLS_MIN: u32 = 16;
/// Most cells in a block.
pub const CELLS_MAX: u32 = 1 << 20;
/// Fewest bulk bytes in a block: one page.
pub const BULK_MIN: u32 = PAGE as u32;
/// Most bulk bytes in a block.
pub const BULK_MAX: u32 = 1 << 30;

/// What the rings of one pair are made of, in one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Number of 64-byte cells: a power of two, [`CELLS_MIN`] to [`CELLS_MAX`].
    pub cells: u32,
    /// Bytes for large messages: a power of two, [`BULK_MIN`] to [`BULK_MAX`].
    pub bulk: u32,
}

impl Default for Geometry {
    /// 64 KiB of cells and 256 KiB of bulk: 648 KiB per active pair, both directions together.
    fn default() -> Self {
        Self { cells: 1024, bulk: 256 * 1024 }
    }
}

impl Geometry {
    /// The smallest geometry that is of use.
    pub const MIN: Self = Self { cells: CELLS_MIN, bulk: BULK_MIN };
}

/// A layout that cannot be, or an index that is not in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// Zero members, or more than a host can have.
    #[error("{0} members cannot share a host: 1 to {MEMBERS_MAX} can; start fewer ranks on it")]
    Members(u32),
    /// The number of cells is not one that rings work with.
    #[error("{0} cells in a ring: a power of two from {CELLS_MIN} to {CELLS_MAX} is needed")]
    Cells(u32),
    /// The number of bulk bytes is not one that rings work with.
    #[error("{0} bulk bytes in a ring: a power of two from {BULK_MIN} to {BULK_MAX} is needed")]
    Bulk(u32),
    /// The section would be larger than an address.
    #[error(
        "a section for {members} members with {geometry:?} does not fit into the address space"
    )]
    TooLarge {
        /// Members asked for.
        members: u32,
        /// Geometry asked for.
        geometry: Geometry,
    },
    /// An index that is not below the number of members.
    #[error("member {index} of {members} does not exist: indices start at 0")]
    NoSuchMember {
        /// The index asked for.
        index: u32,
        /// How many members there are.
        members: u32,
    },
    /// A member has no block for itself: a rank reaches itself without shared memory.
    #[error("member {0} has no block for itself")]
    Itself(u32),
}

/// One pair block: ranges of bytes from the start of its section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// The whole block, whole pages.
    pub whole: Range<usize>,
    /// Control lines, [`CONTROL_BYTES`].
    pub control: Range<usize>,
    /// Cells, 64 bytes each, starting at a line.
    pub cells: Range<usize>,
    /// Bulk bytes, starting at a page.
    pub bulk: Range<usize>,
}

/// Offsets of everything in the section of one of `members`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SectionLayout {
    members: u32,
    geometry: Geometry,
    header: usize,
    block: usize,
    total: usize,
}

impl SectionLayout {
    /// The layout of a section when `members` share a host.
    ///
    /// # Errors
    /// When the members or the geometry are out of their ranges, or the sum is not addressable.
    pub fn new(members: u32, geometry: Geometry) -> Result<Self, LayoutError> {
        if members == 0 || members > MEMBERS_MAX {
            return Err(LayoutError::Members(members));
        }
        let Geometry { cells, bulk } = geometry;
        if !cells.is_power_of_two() || !(CELLS_MIN..=CELLS_MAX).contains(&cells) {
            return Err(LayoutError::Cells(cells));
        }
        if !bulk.is_power_of_two() || !(BULK_MIN..=BULK_MAX).contains(&bulk) {
            return Err(LayoutError::Bulk(bulk));
        }
        Self::measured(members, geometry).ok_or(LayoutError::TooLarge { members, geometry })
    }

    /// The sums of `new`; `None` when one of them overflows.
    fn measured(members: u32, geometry: Geometry) -> Option<Self> {
        let n = usize::try_from(members).ok()?;
        let header =
            SLOTS_OFFSET.checked_add(n.checked_mul(SLOT_BYTES)?)?.checked_next_multiple_of(PAGE)?;
        let block = bulk_offset(geometry)?.checked_add(usize::try_from(geometry.bulk).ok()?)?;
        let total = n.checked_sub(1)?.checked_mul(block)?.checked_add(header)?;
        // An allocation may not be larger than `isize::MAX`, and file lengths are signed too.
        isize::try_from(total).ok()?;
        Some(Self { members, geometry, header, block, total })
    }

    /// How many members share the host.
    #[must_use]
    pub fn members(&self) -> u32 {
        self.members
    }

    /// The geometry of every pair.
    #[must_use]
    pub fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// Bytes of the header, whole pages.
    #[must_use]
    pub fn header_bytes(&self) -> usize {
        self.header
    }

    /// Bytes of one pair block, whole pages. An active pair costs twice that, one in each section.
    #[must_use]
    pub fn block_bytes(&self) -> usize {
        self.block
    }

    /// Bytes of the section when every pair is active, whole pages.
    #[must_use]
    pub fn total_bytes(&self) -> usize {
        self.total
    }

    /// Where the owner leaves its challenge for `member`: [`CHALLENGE_BYTES`].
    ///
    /// # Errors
    /// When there is no such member; so for the following two.
    pub fn challenge_offset(&self, member: u32) -> Result<usize, LayoutError> {
        self.slot(member)
    }

    /// Where the owner says that its block for `member` is backed by memory: a `u32`, 0 or 1.
    ///
    /// # Errors
    /// When there is no such member.
    pub fn active_offset(&self, member: u32) -> Result<usize, LayoutError> {
        Ok(self.slot(member)? + SLOT_ACTIVE)
    }

    /// The bell the owner rings to wake `member`: a `u32` that only counts up, wrapping.
    ///
    /// # Errors
    /// When there is no such member.
    pub fn bell_offset(&self, member: u32) -> Result<usize, LayoutError> {
        Ok(self.slot(member)? + SLOT_BELL)
    }

    fn slot(&self, member: u32) -> Result<usize, LayoutError> {
        // In range because `measured` has added up all slots without overflow.
        Ok(SLOTS_OFFSET + self.checked(member)? * SLOT_BYTES)
    }

    /// The block in the section of `owner` that carries what `owner` writes for `peer`.
    ///
    /// # Errors
    /// When one of them does not exist, or they are the same.
    pub fn block(&self, owner: u32, peer: u32) -> Result<Block, LayoutError> {
        let (owner_at, peer_at) = (self.checked(owner)?, self.checked(peer)?);
        if owner_at == peer_at {
            return Err(LayoutError::Itself(owner));
        }
        // The owner itself needs no block, so those behind it move up by one.
        let place = if peer_at < owner_at { peer_at } else { peer_at - 1 };
        // Below `total`, which `measured` has computed without overflow.
        let start = self.header + place * self.block;
        let cells = start + CONTROL_BYTES;
        let end = start + self.block;
        Ok(Block {
            whole: start..end,
            control: start..cells,
            cells: cells..cells + self.geometry.cells as usize * LINE,
            bulk: end - self.geometry.bulk as usize..end,
        })
    }

    fn checked(&self, index: u32) -> Result<usize, LayoutError> {
        if index < self.members {
            Ok(index as usize)
        } else {
            Err(LayoutError::NoSuchMember { index, members: self.members })
        }
    }
}

/// Bytes before the bulk area of a block.
fn bulk_offset(geometry: Geometry) -> Option<usize> {
    usize::try_from(geometry.cells)
        .ok()?
        .checked_mul(LINE)?
        .checked_add(CONTROL_BYTES)?
        .checked_next_multiple_of(PAGE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_geometry() -> impl Strategy<Value = Geometry> {
        (4_u32..=12, 12_u32..=20).prop_map(|(c, b)| Geometry { cells: 1 << c, bulk: 1 << b })
    }

    #[test]
    fn an_active_pair_costs_at_most_a_mebibyte_by_default() {
        let layout = SectionLayout::new(64, Geometry::default()).unwrap();
        assert!(2 * layout.block_bytes() <= 1 << 20);
    }

    #[test]
    fn a_member_alone_has_a_header_and_no_block() {
        let layout = SectionLayout::new(1, Geometry::default()).unwrap();
        assert_eq!(layout.total_bytes(), layout.header_bytes());
        assert_eq!(layout.block(0, 0), Err(LayoutError::Itself(0)));
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        let good = Geometry::default();
        assert_eq!(SectionLayout::new(0, good), Err(LayoutError::Members(0)));
        assert_eq!(SectionLayout::new(10_000, good), Err(LayoutError::Members(10_000)));
        for cells in [0, 1, 17, CELLS_MAX * 2, u32::MAX] {
            let geometry = Geometry { cells, ..good };
            assert_eq!(SectionLayout::new(2, geometry), Err(LayoutError::Cells(cells)));
        }
        for bulk in [0, 2048, 5000, BULK_MAX * 2, u32::MAX] {
            let geometry = Geometry { bulk, ..good };
            assert_eq!(SectionLayout::new(2, geometry), Err(LayoutError::Bulk(bulk)));
        }
        let layout = SectionLayout::new(3, good).unwrap();
        let missing = LayoutError::NoSuchMember { index: 3, members: 3 };
        assert_eq!(layout.block(0, 3), Err(missing));
        assert_eq!(layout.block(3, 0), Err(missing));
        assert_eq!(layout.bell_offset(3), Err(missing));
        assert_eq!(layout.challenge_offset(u32::MAX).ok(), None);
    }

    #[test]
    fn the_largest_layout_is_addressable() {
        let geometry = Geometry { cells: CELLS_MAX, bulk: BULK_MAX };
        #[cfg(target_pointer_width = "64")]
        assert!(SectionLayout::new(MEMBERS_MAX, geometry).is_ok());
        #[cfg(target_pointer_width = "32")]
        assert!(SectionLayout::new(MEMBERS_MAX, geometry).is_err());
    }

    proptest! {
        #[test]
        fn blocks_tile_the_section_behind_the_header(
            members in 1_u32..80,
            geometry in any_geometry(),
            owner in 0_u32..80,
        ) {
            let owner = owner % members;
            let layout = SectionLayout::new(members, geometry).unwrap();
            let mut next = layout.header_bytes();
            for peer in (0..members).filter(|&peer| peer != owner) {
                let block = layout.block(owner, peer).unwrap();
                prop_assert_eq!(block.whole.start, next);
                next = block.whole.end;
            }
            prop_assert_eq!(next, layout.total_bytes());
            prop_assert!(layout.total_bytes().is_multiple_of(PAGE));
        }

        #[test]
        fn the_parts_of_a_block_are_aligned_and_do_not_overlap(
            members in 2_u32..80,
            geometry in any_geometry(),
        ) {
            let layout = SectionLayout::new(members, geometry).unwrap();
            let block = layout.block(members - 1, 0).unwrap();
            prop_assert!(block.whole.start.is_multiple_of(PAGE));
            prop_assert!(block.cells.start.is_multiple_of(LINE));
            prop_assert!(block.bulk.start.is_multiple_of(PAGE));
            prop_assert_eq!(block.control.start, block.whole.start);
            prop_assert_eq!(block.control.len(), CONTROL_BYTES);
            prop_assert_eq!(block.control.end, block.cells.start);
            prop_assert_eq!(block.cells.len(), geometry.cells as usize * LINE);
            prop_assert!(block.cells.end <= block.bulk.start);
            prop_assert_eq!(block.bulk.len(), geometry.bulk as usize);
            prop_assert_eq!(block.bulk.end, block.whole.end);
        }

        #[test]
        fn the_words_of_the_header_are_aligned_and_do_not_overlap(members in 1_u32..=MEMBERS_MAX) {
            let layout = SectionLayout::new(members, Geometry::MIN).unwrap();
            let mut end = ARMED_OFFSET + 4;
            for member in 0..members {
                let challenge = layout.challenge_offset(member).unwrap();
                let active = layout.active_offset(member).unwrap();
                let bell = layout.bell_offset(member).unwrap();
                prop_assert!(challenge >= end && challenge.is_multiple_of(8));
                prop_assert!(active >= challenge + CHALLENGE_BYTES && active.is_multiple_of(4));
                prop_assert!(bell >= active + 4 && bell.is_multiple_of(4));
                end = bell + 4;
            }
            prop_assert!(end <= layout.header_bytes());
        }
    }
}
