//! IEEE binary16, computed in single precision and rounded after each operation. Single precision has more
//! than twice the bits and two, so rounding twice gives what rounding once would.

/// A number of two bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub(super) struct Half(pub(super) u16);

impl Half {
    pub(super) fn value(self) -> f32 {
        let (sign, exponent, fraction) = (self.0 >> 15, self.0 >> 10 & 31, self.0 & 0x3ff);
        let magnitude = match exponent {
            0 => f32::from(fraction) * (2.0_f32).powi(-24),
            31 if fraction == 0 => f32::INFINITY,
            31 => f32::NAN,
            _ => f32::from_bits(u32::from(exponent + 112) << 23 | u32::from(fraction) << 13),
        };
        if sign == 1 { -magnitude } else { magnitude }
    }

    /// The nearest, even on a tie.
    pub(super) fn of(value: f32) -> Self {
        let bits = value.to_bits();
        let (sign, magnitude) = ((bits >> 16 & 0x8000) as u16, bits & 0x7fff_ffff);
        let rounded = match magnitude {
            0x7f80_0001.. => 0x7e00,
            // Below the normal numbers the distance is fixed: let the addition round.
            ..0x3880_0000 => (f32::from_bits(magnitude) + 0.5).to_bits() - 0x3f00_0000,
            _ => {
                let odd = magnitude >> 13 & 1;
                let nearest = magnitude.saturating_add(0xfff + odd) >> 13;
                nearest.saturating_sub(112 << 10).min(0x7c00)
            }
        };
        Self(sign | rounded as u16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_half_survives_the_way_through_a_float() {
        for bits in 0..=u16::MAX {
            let half = Half(bits);
            if half.value().is_nan() {
                assert!(Half::of(half.value()).value().is_nan());
            } else {
                assert_eq!(Half::of(half.value()), half, "{bits:#x}");
            }
        }
    }

    #[test]
    fn a_float_becomes_the_nearest_half() {
        // Between neighbours, ties go to the even one; beyond the largest comes infinity.
        for bits in 0..0x7bff_u16 {
            let (low, high) = (Half(bits).value(), Half(bits + 1).value());
            let middle = f32::midpoint(low, high);
            let even = if bits % 2 == 0 { bits } else { bits + 1 };
            assert_eq!(Half::of(middle), Half(even), "{bits:#x}");
            assert_eq!(Half::of(middle.next_down()), Half(bits));
            assert_eq!(Half::of(middle.next_up()), Half(bits + 1));
        }
        assert_eq!(Half::of(65520.0), Half(0x7c00));
        assert_eq!(Half::of(65519.0), Half(0x7bff));
        assert_eq!(Half::of(f32::NEG_INFINITY), Half(0xfc00));
        assert_eq!(Half::of(-1.0e-12), Half(0x8000));
    }
}
