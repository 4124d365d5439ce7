//! Positions in a ring: total functions over values that a peer may have written.
//!
//! A position counts cells or bytes since the ring began and never wraps in practice (2^64).

use super::RingFault;
use crate::region::access::LINE;

/// Checks a read position that a peer claims: it lies between the one seen before and what was
/// written. Total over all values.
///
/// # Errors
/// [`RingFault::Position`] when it does not.
#[inline]
pub fn accept(claimed_untrusted: u64, seen: u64, written: u64) -> Result<u64, RingFault> {
    if seen <= claimed_untrusted && claimed_untrusted <= written {
        Ok(claimed_untrusted)
    } else {
        Err(RingFault::Position { claimed: claimed_untrusted, low: seen, high: written })
    }
}

/// Where a bulk payload lies, and the position after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Byte offset in the bulk buffer.
    pub offset: usize,
    /// Position after the payload, rounded up to a line.
    pub next: u64,
}

/// Places `len` bytes at the first possible position from `at` on: contiguous, so a payload that
/// would cross the end of the buffer starts at its beginning instead. Producer and consumer both
/// compute this, and agree because both know `at` and `len`.
///
/// `size` is a power of two; `len` is at most `size`.
#[inline]
#[must_use]
pub fn place(at: u64, len: usize, size: u32) -> Place {
    let size = u64::from(size);
    let offset = at & (size - 1);
    let need = (len.next_multiple_of(LINE)) as u64;
    let start = if offset + need <= size { at } else { at - offset + size };
    let offset = usize::try_from(start & (size - 1)).unwrap_or(0);
    Place { offset, next: start + need }
}

/// The lap number a cell at `position` must carry. Never equal to the one of the lap before, and
/// never zero in the first lap, since fresh memory is zero.
#[inline]
#[must_use]
pub fn lap(position: u64, cells: u32) -> u16 {
    let lap = (position / u64::from(cells)).wrapping_add(1);
    (lap & 0xffff) as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_claim_is_either_in_range_or_refused(claimed: u64, seen: u64, written: u64) {
            match accept(claimed, seen, written) {
                Ok(position) => prop_assert!(seen <= position && position <= written),
                Err(_) => prop_assert!(claimed < seen || claimed > written),
            }
        }

        #[test]
        fn a_payload_stays_inside_the_buffer(at in 0..1_u64 << 60, len in 0_usize..=4096) {
            let at = at & !63;
            let place = place(at, len, 16384);
            prop_assert!(place.offset + len <= 16384);
            prop_assert!(place.next >= at + len as u64);
            prop_assert!(place.next <= at + len as u64 + 64 + 4096 + 64);
            prop_assert_eq!(place.next % 64, 0);
        }
    }

    #[test]
    fn a_stale_cell_never_has_the_lap_that_is_expected() {
        for position in [0_u64, 8, 65535 * 8, 65536 * 8, u64::from(u32::MAX) * 8] {
            assert_ne!(lap(position, 8), lap(position + 8, 8));
        }
        assert_ne!(lap(0, 8), 0);
    }
}
