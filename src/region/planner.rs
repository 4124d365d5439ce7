//! How large the rings may be: pure arithmetic over what is there and how many share it.
//!
//! The same sum serves both ways of sharing: one region cut into a section per member (a device),
//! and one allocation per member out of a common store (memfd or files). Either way the members
//! together need [`needed_bytes`] when every pair is active.
//!
//! All members of a host must come to the same answer, because a peer's geometry is compared and
//! never adopted: one of them plans and tells the others, or all plan over the same numbers.

use super::layout::{BULK_MIN, CELLS_MIN, Geometry, LayoutError, SectionLayout};

/// Why no geometry fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Not even the smallest rings fit.
    #[error(
        "shared memory for {members} members needs at least {needed} bytes, and {available} are \
         there: enlarge it (/dev/shm, COHOST_SHM_DIR or the device) or start fewer ranks per host"
    )]
    TooSmall {
        /// Members that would share it.
        members: u32,
        /// Bytes that the smallest geometry takes for all of them.
        needed: u64,
        /// Bytes that are there.
        available: u64,
    },
    /// Members or geometry make no layout.
    #[error(transparent)]
    Layout(#[from] LayoutError),
}

/// Bytes that all sections of a host take together when every pair is active.
///
/// # Errors
/// When members and geometry make no layout.
pub fn needed_bytes(members: u32, geometry: Geometry) -> Result<u64, LayoutError> {
    let section = SectionLayout::new(members, geometry)?.total_bytes() as u64;
    section.checked_mul(u64::from(members)).ok_or(LayoutError::TooLarge { members, geometry })
}

/// Where the section of `index` starts in one region that all members share.
///
/// # Errors
/// When there is no such member, or members and geometry make no layout.
pub fn section_offset(members: u32, geometry: Geometry, index: u32) -> Result<u64, LayoutError> {
    if index >= members {
        return Err(LayoutError::NoSuchMember { index, members });
    }
    Ok(needed_bytes(members, geometry)? / u64::from(members) * u64::from(index))
}

/// The largest geometry up to `wanted` with which `members` fit into `available_bytes`: bulk is
/// halved first, since it only costs speed of large messages, then cells. `None` stands for
/// "limited by memory only", where `wanted` is taken and activation may still refuse.
///
/// # Errors
/// [`PlanError::TooSmall`] with the bytes that would be enough, when not even [`Geometry::MIN`]
/// fits; [`PlanError::Layout`] when `wanted` itself is none.
pub fn plan(
    available_bytes: Option<u64>,
    members: u32,
    wanted: Geometry,
) -> Result<Geometry, PlanError> {
    let mut geometry = wanted;
    let mut needed = needed_bytes(members, geometry)?;
    let Some(available) = available_bytes else {
        return Ok(geometry);
    };
    while needed > available {
        // Ends after at most 18 + 16 halvings: both are powers of two within their limits.
        if geometry.bulk > BULK_MIN {
            geometry.bulk /= 2;
        } else if geometry.cells > CELLS_MIN {
            geometry.cells /= 2;
        } else {
            return Err(PlanError::TooSmall { members, needed, available });
        }
        needed = needed_bytes(members, geometry)?;
    }
    Ok(geometry)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn without_a_limit_the_wish_is_granted() {
        assert_eq!(plan(None, 8, Geometry::default()), Ok(Geometry::default()));
    }

    #[test]
    fn the_exact_number_of_bytes_is_enough_and_one_less_is_not() {
        let needed = needed_bytes(4, Geometry::default()).unwrap();
        assert_eq!(plan(Some(needed), 4, Geometry::default()), Ok(Geometry::default()));
        let less = plan(Some(needed - 1), 4, Geometry::default()).unwrap();
        assert_eq!(less, Geometry { bulk: 128 * 1024, ..Geometry::default() });
    }

    #[test]
    fn a_refusal_names_the_bytes_that_would_have_been_enough() {
        let Err(PlanError::TooSmall { needed, available, .. }) =
            plan(Some(4096), 4, Geometry::default())
        else {
            panic!("4 KiB cannot hold four sections");
        };
        assert_eq!(available, 4096);
        assert!(plan(Some(needed), 4, Geometry::default()).is_ok());
        assert!(plan(Some(needed - 1), 4, Geometry::default()).is_err());
    }

    #[test]
    fn sixteen_members_fit_into_the_64_mib_that_containers_have_by_default() {
        assert!(plan(Some(64 << 20), 16, Geometry::default()).is_ok());
    }

    #[test]
    fn nonsense_is_refused_as_nonsense() {
        let odd = Geometry { cells: 3, bulk: BULK_MIN };
        assert_eq!(plan(None, 2, odd), Err(LayoutError::Cells(3).into()));
        assert_eq!(plan(Some(0), 0, Geometry::MIN), Err(LayoutError::Members(0).into()));
        assert!(section_offset(2, Geometry::MIN, 2).is_err());
    }

    proptest! {
        #[test]
        fn a_plan_fits_and_never_exceeds_the_wish(
            available in 0_u64..1 << 32,
            members in 1_u32..100,
            cells in 4_u32..=14,
            bulk in 12_u32..=22,
        ) {
            let wanted = Geometry { cells: 1 << cells, bulk: 1 << bulk };
            match plan(Some(available), members, wanted) {
                Ok(got) => {
                    prop_assert!(needed_bytes(members, got).unwrap() <= available);
                    prop_assert!(got.cells <= wanted.cells && got.bulk <= wanted.bulk);
                }
                Err(PlanError::TooSmall { needed, .. }) => prop_assert!(needed > available),
                Err(other) => prop_assert!(false, "{other}"),
            }
        }

        #[test]
        fn sections_of_one_region_do_not_overlap(members in 1_u32..100, index in 0_u32..100) {
            let index = index % members;
            let section = SectionLayout::new(members, Geometry::MIN).unwrap().total_bytes() as u64;
            let start = section_offset(members, Geometry::MIN, index).unwrap();
            prop_assert_eq!(start, section * u64::from(index));
            prop_assert!(start + section <= needed_bytes(members, Geometry::MIN).unwrap());
        }
    }
}
