//! Where everything lies in a device region: a header page, a table of leases, and one section per
//! slot. Pure arithmetic over the device's length and our own configuration, like
//! [`crate::region::layout`]; what the header says is compared with it.

use std::time::Duration;

use crate::region::access::LINE;
use crate::region::layout::PAGE;
use crate::region::planner::{PlanError, plan};
use crate::region::{Geometry, LayoutError, SectionLayout};

/// Offset of the claim, a `u64` (see [`super::claim`]).
pub(super) const CLAIM_OFFSET: usize = 0;
/// Offset of the region's id, a `u64`.
pub(super) const ID_OFFSET: usize = 8;
/// Offset of a `u64` that every living member counts up, on a line of its own. It has this place
/// in all versions, so that a version that is too new or too old is at least seen to be alive.
pub(super) const PULSE_OFFSET: usize = LINE;
/// Offset of the first lease; one line for each slot.
pub(super) const LEASES_OFFSET: usize = PAGE;
/// Offset in a lease of its owner's epoch, a `u64`; 0 when the slot is free.
pub(super) const EPOCH: usize = 0;
/// Offset in a lease of a `u64` that its living owner counts up.
pub(super) const BEAT: usize = 8;
/// Offset in a lease of a `u64` in which the owner says how its doorbell is reached; 0: not at all.
pub(super) const BELL: usize = 16;

/// Most slots that a header can describe.
pub const SLOTS_MAX: u32 = 4096;

/// What a member wants of a device region. All members must want the same: it is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// How many ranks of any job can use the device at once; without a number the device's length
    /// says: 8 below 128 MiB, 16 below 512 MiB, 32 below 2 GiB, then 64.
    pub slots: Option<u32>,
    /// The largest rings; smaller ones are made where there is less room.
    pub geometry: Geometry,
    /// How long a member must seem dead before its slot may be taken.
    pub lease: LeaseTime,
}

impl Default for Wanted {
    fn default() -> Self {
        Self { slots: None, geometry: Geometry::default(), lease: LeaseTime::DEFAULT }
    }
}

/// How long an owner's heart must be seen not to beat before its slot may be taken: 64 ms times a
/// power of two, up to a minute. It beats 32 times as often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseTime(u8);

impl Default for LeaseTime {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl LeaseTime {
    const UNIT: Duration = Duration::from_millis(64);
    const EXPONENT_MAX: u8 = 10;
    /// 8.2 s: longer than a live migration's pause or an overloaded host's hiccup, and short enough
    /// to wait for when every slot is held by the dead.
    pub const DEFAULT: Self = Self(7);

    /// The shortest lease of at least `wanted`; at most 65 s.
    #[must_use]
    pub fn at_least(wanted: Duration) -> Self {
        let fits = |exponent: &u8| Self(*exponent).span() >= wanted;
        Self((0..Self::EXPONENT_MAX).find(fits).unwrap_or(Self::EXPONENT_MAX))
    }

    pub(super) fn from_exponent(exponent: u8) -> Option<Self> {
        (exponent <= Self::EXPONENT_MAX).then_some(Self(exponent))
    }

    pub(super) fn exponent(self) -> u8 {
        self.0
    }

    /// The time itself.
    #[must_use]
    pub fn span(self) -> Duration {
        Self::UNIT * (1 << self.0)
    }

    /// How often a living owner's heart beats.
    #[must_use]
    pub fn beat(self) -> Duration {
        self.span() / 32
    }
}

/// Offsets of everything in a device region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceLayout {
    section: SectionLayout,
    start: usize,
}

impl DeviceLayout {
    /// The layout of a device of `bytes`.
    ///
    /// # Errors
    /// [`PlanError::TooSmall`] with the exact number of bytes that would be enough, or when what is
    /// wanted makes no layout.
    pub fn plan(bytes: u64, wanted: &Wanted) -> Result<Self, PlanError> {
        let slots = wanted.slots.unwrap_or(match bytes >> 20 {
            0..128 => 8,
            128..512 => 16,
            512..2048 => 32,
            _ => 64,
        });
        if slots == 0 || slots > SLOTS_MAX {
            return Err(LayoutError::Members(slots).into());
        }
        let start = (LEASES_OFFSET + slots as usize * LINE).next_multiple_of(PAGE);
        let left = bytes.saturating_sub(start as u64);
        let geometry = plan(Some(left), slots, wanted.geometry).map_err(|error| match error {
            PlanError::TooSmall { members, needed, .. } => {
                PlanError::TooSmall { members, needed: needed + start as u64, available: bytes }
            }
            other => other,
        })?;
        let section = SectionLayout::new(slots, geometry)?;
        Ok(Self { section, start })
    }

    /// The layout of every slot's section; its members are the slots.
    #[must_use]
    pub fn section(&self) -> SectionLayout {
        self.section
    }

    /// How many ranks can use the device at once.
    #[must_use]
    pub fn slots(&self) -> u32 {
        self.section.members()
    }

    /// Where the section of `slot` starts.
    ///
    /// # Errors
    /// When there is no such slot; so for the lease.
    pub fn section_offset(&self, slot: u32) -> Result<usize, LayoutError> {
        Ok(self.start + self.checked(slot)? * self.section.total_bytes())
    }

    /// Where the lease of `slot` starts, a line.
    pub(super) fn lease_offset(&self, slot: u32) -> Result<usize, LayoutError> {
        Ok(LEASES_OFFSET + self.checked(slot)? * LINE)
    }

    fn checked(&self, slot: u32) -> Result<usize, LayoutError> {
        let members = self.slots();
        if slot < members {
            Ok(slot as usize)
        } else {
            Err(LayoutError::NoSuchMember { index: slot, members })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_lease_is_never_shorter_than_asked_for_up_to_its_limit() {
        for millis in [0, 1, 64, 65, 1000, 8192, 8193, 60_000] {
            let wanted = Duration::from_millis(millis);
            assert!(LeaseTime::at_least(wanted).span() >= wanted);
        }
        assert!(LeaseTime::at_least(Duration::MAX).span() > Duration::from_secs(60));
        assert_eq!(LeaseTime::from_exponent(11), None);
    }

    #[test]
    fn the_refusal_of_a_small_device_names_the_bytes_that_are_enough() {
        for slots in [None, Some(2), Some(64)] {
            let wanted = Wanted { slots, ..Wanted::default() };
            let Err(PlanError::TooSmall { needed, .. }) = DeviceLayout::plan(0, &wanted) else {
                panic!("nothing is enough")
            };
            assert!(DeviceLayout::plan(needed - 1, &wanted).is_err());
            assert!(DeviceLayout::plan(needed, &wanted).is_ok());
        }
    }

    #[test]
    fn the_usual_64_mib_give_eight_slots_with_rings_of_full_size() {
        let layout = DeviceLayout::plan(64 << 20, &Wanted::default()).unwrap();
        assert_eq!(layout.slots(), 8);
        assert_eq!(layout.section().geometry(), Geometry::default());
    }

    #[test]
    fn slots_that_cannot_be_are_refused() {
        for slots in [0, SLOTS_MAX + 1, u32::MAX] {
            let wanted = Wanted { slots: Some(slots), ..Wanted::default() };
            assert!(DeviceLayout::plan(1 << 30, &wanted).is_err());
        }
    }

    proptest! {
        #[test]
        fn sections_lie_behind_the_leases_and_inside_the_device(
            bytes in 0_u64..1 << 33,
            slots in proptest::option::of(1_u32..200),
        ) {
            let wanted = Wanted { slots, ..Wanted::default() };
            if let Ok(layout) = DeviceLayout::plan(bytes, &wanted) {
                let mut next = layout.section_offset(0).unwrap();
                prop_assert!(next >= layout.lease_offset(layout.slots() - 1).unwrap() + LINE);
                for slot in 0..layout.slots() {
                    prop_assert_eq!(layout.section_offset(slot).unwrap(), next);
                    prop_assert!(next.is_multiple_of(PAGE));
                    next += layout.section().total_bytes();
                }
                prop_assert!(next as u64 <= bytes);
                prop_assert!(layout.section_offset(layout.slots()).is_err());
            }
        }
    }
}
