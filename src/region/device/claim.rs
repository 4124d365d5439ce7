//! Who says how a device is divided: one word, claimed once by compare-and-swap.
//!
//! The word holds everything that members must agree on, so there is no moment at which a header
//! is half written, and nobody can die in the middle of it:
//!
//! | bits | meaning |
//! |---|---|
//! | 63..48 | magic number |
//! | 47..42 | version |
//! | 41..37, 36..32 | binary logarithms of the cells and the bulk bytes of a ring |
//! | 31..20 | slots, less one |
//! | 19..16 | lease time, 64 ms times two to this |
//! | 15..0 | nonce, not zero, drawn by whoever claims |
//!
//! The region's id is a second word, drawn by the first member that sees one whose lowest bits
//! are not the claim's nonce; again one compare-and-swap, which any member can do for the others.
//! An id says whom to try and proves nothing.
//!
//! A word that is not ours (zero, garbage, another version, another configuration) is replaced
//! only when the page around it does not change for a lease time: living members count up its
//! pulse, and another program that uses the same device would hardly leave it alone for that long.

use std::time::Duration;

use super::DeviceError;
use super::layout::{CLAIM_OFFSET, DeviceLayout, ID_OFFSET, LeaseTime, PULSE_OFFSET};
use super::patience::Patience;
use crate::region::Geometry;
use crate::region::access::Local;
use crate::region::layout::PAGE;

const MAGIC: u64 = 0xc0b5;
/// Version of the claim and of everything behind it; changes whenever the layout of a section does.
const VERSION: u64 = crate::region::layout::VERSION as u64;
const NONCE_MASK: u64 = 0xffff;
/// Compare-and-swaps that may go to others before we call it hostile.
const ATTEMPTS_MAX: u32 = 64;

/// What members of a device agree on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    version: u64,
    cells_log2: u64,
    bulk_log2: u64,
    slots: u64,
    lease: u64,
}

impl Claim {
    pub(super) fn of(layout: &DeviceLayout, lease: LeaseTime) -> Self {
        let Geometry { cells, bulk } = layout.section().geometry();
        Self {
            version: VERSION,
            cells_log2: u64::from(cells.trailing_zeros()),
            bulk_log2: u64::from(bulk.trailing_zeros()),
            slots: u64::from(layout.slots()),
            lease: u64::from(lease.exponent()),
        }
    }

    fn encode(&self, nonce: u16) -> u64 {
        MAGIC << 48
            | self.version << 42
            | self.cells_log2 << 37
            | self.bulk_log2 << 32
            | (self.slots - 1) << 20
            | self.lease << 16
            | u64::from(nonce)
    }

    /// `None` for what is no claim of any version.
    fn decode(word_untrusted: u64) -> Option<Self> {
        let bits = |from: u32, count: u32| word_untrusted >> from & ((1 << count) - 1);
        if bits(48, 16) != MAGIC || bits(0, 16) == 0 {
            return None;
        }
        Some(Self {
            version: bits(42, 6),
            cells_log2: bits(37, 5),
            bulk_log2: bits(32, 5),
            slots: bits(20, 12) + 1,
            lease: bits(16, 4),
        })
    }

    /// The first difference: its name, what is found, what we expect.
    fn difference(&self, ours: &Self) -> Option<(&'static str, u64, u64)> {
        [
            ("version", self.version, ours.version),
            ("number of slots", self.slots, ours.slots),
            ("cells of a ring", 1 << self.cells_log2, 1 << ours.cells_log2),
            ("bulk bytes of a ring", 1 << self.bulk_log2, 1 << ours.bulk_log2),
            ("lease time (64 ms times two to the power)", self.lease, ours.lease),
        ]
        .into_iter()
        .find(|(_, found, expected)| found != expected)
    }

    /// How long to watch somebody else's header: as long as they leave between two signs of life,
    /// many times over.
    fn watch_time(found: Option<&Self>, ours: LeaseTime) -> Duration {
        let theirs = found
            .filter(|claim| claim.version == VERSION)
            .and_then(|claim| LeaseTime::from_exponent(claim.lease as u8));
        theirs.map_or(ours.span(), |theirs| theirs.span().max(ours.span()))
    }
}

/// A header that agrees with us.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attached {
    /// The claim as it stands in the header.
    pub word: u64,
    /// The region's id.
    pub id: u64,
}

/// Joins the members of a device, or is the first of them. `page` is the header page.
pub(super) fn attach(
    page: &Local,
    layout: &DeviceLayout,
    lease: LeaseTime,
    place: &str,
) -> Result<Attached, DeviceError> {
    let ours = Claim::of(layout, lease);
    for _ in 0..ATTEMPTS_MAX {
        let word = page.load_u64(CLAIM_OFFSET);
        let found = Claim::decode(word);
        if found == Some(ours) {
            let id = region_id(page, word, place)?;
            page.add_u64(PULSE_OFFSET, 1);
            return Ok(Attached { word, id });
        }
        if !is_blank(page) && moves(page, Claim::watch_time(found.as_ref(), lease)) {
            if page.load_u64(CLAIM_OFFSET) != word {
                continue;
            }
            let place = place.to_owned();
            return Err(match found.and_then(|found| found.difference(&ours)) {
                Some((field, found, expected)) => {
                    DeviceError::OtherConfiguration { place, field, found, expected }
                }
                None => DeviceError::OtherProgram { place },
            });
        }
        let mut nonce = [0; 2];
        getrandom::fill(&mut nonce).map_err(DeviceError::Random)?;
        let nonce = u16::from_le_bytes(nonce).max(1);
        // Whether it is ours or another's that is there now, the next round finds out.
        let _ = page.exchange_u64(CLAIM_OFFSET, word, ours.encode(nonce));
    }
    Err(DeviceError::Restless { place: place.to_owned() })
}

fn region_id(page: &Local, claim: u64, place: &str) -> Result<u64, DeviceError> {
    for _ in 0..ATTEMPTS_MAX {
        let id = page.load_u64(ID_OFFSET);
        if id & NONCE_MASK == claim & NONCE_MASK {
            return Ok(id);
        }
        let random = getrandom::u64().map_err(DeviceError::Random)?;
        let fresh = random & !NONCE_MASK | claim & NONCE_MASK;
        let _ = page.exchange_u64(ID_OFFSET, id, fresh);
    }
    Err(DeviceError::Restless { place: place.to_owned() })
}

const WORDS: usize = PAGE / 8;

fn words(page: &Local) -> [u64; WORDS] {
    page.load_words(0)
}

fn is_blank(page: &Local) -> bool {
    words(page) == [0; WORDS]
}

/// Whether anything in the page changes while we watch it for `span`.
fn moves(page: &Local, span: Duration) -> bool {
    let before = words(page);
    let mut patience = Patience::new(span);
    while patience.wait() {
        if words(page) != before {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::super::layout::Wanted;
    use super::*;
    use proptest::prelude::*;

    fn layout() -> DeviceLayout {
        DeviceLayout::plan(64 << 20, &Wanted::default()).unwrap()
    }

    #[test]
    fn zeros_and_ones_are_no_claim() {
        assert_eq!(Claim::decode(0), None);
        assert_eq!(Claim::decode(u64::MAX), None);
    }

    proptest! {
        #[test]
        fn a_claim_is_read_back(
            slots in 1_u32..=super::super::layout::SLOTS_MAX,
            cells in 4_u32..=20,
            bulk in 12_u32..=30,
            lease in 0_u8..=10,
            nonce in 1_u16..,
        ) {
            let claim = Claim {
                version: VERSION,
                cells_log2: cells.into(),
                bulk_log2: bulk.into(),
                slots: slots.into(),
                lease: lease.into(),
            };
            prop_assert_eq!(Claim::decode(claim.encode(nonce)), Some(claim));
        }

        #[test]
        fn every_word_is_read_without_harm(word in any::<u64>()) {
            let ours = Claim::of(&layout(), LeaseTime::DEFAULT);
            if let Some(found) = Claim::decode(word) {
                prop_assert!(found == ours || found.difference(&ours).is_some());
                let span = Claim::watch_time(Some(&found), LeaseTime::DEFAULT);
                prop_assert!(span <= Duration::from_secs(66));
            }
        }
    }
}
