//! Sections in the memory of one process: what tests, benchmarks and ranks that are threads use.

use super::access::Mapping;
use super::section::{Backing, OwnSection, PeerSection, Protection};
use super::{Identity, RegionError, SectionLayout};

/// Makes the section of member `index`; [`view`] is how its peers see it.
///
/// # Errors
/// When there is no such member.
pub fn create(layout: SectionLayout, index: u32) -> Result<OwnSection, RegionError> {
    let identity = Identity::fresh(layout, index)?;
    let mapping = Mapping::heap(layout.total_bytes());
    Ok(OwnSection::new(identity, mapping, Backing::Heap, Protection::Private))
}

/// The section `own` as member `me` sees it.
///
/// # Errors
/// When there is no such member, or it is the owner.
pub fn view(own: &OwnSection, me: u32) -> Result<PeerSection, RegionError> {
    own.seen_by(me)
}
