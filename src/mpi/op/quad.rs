//! IEEE binary128 in software: sum, product and order, rounded to the nearest, even on a tie.

/// A number of sixteen bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub(super) struct Quad(pub(super) u128);

const SIGN: u128 = 1 << 127;
const FRACTION_BITS: u32 = 112;
const ONE: u128 = 1 << FRACTION_BITS;
const INFINITE: u128 = 0x7fff << FRACTION_BITS;
const NOT_A_NUMBER: Quad = Quad(INFINITE | ONE >> 1);
const BIAS: i32 = 16383;
/// Bits below the last of the fraction while computing; the lowest stands for all that was shifted out.
const GUARD: u32 = 3;

/// Shifts right; what falls out leaves a trace in the lowest bit.
fn shift_sticky(value: u128, by: u32) -> u128 {
    match by {
        0 => value,
        1..128 => value >> by | u128::from(value << (128 - by) != 0),
        _ => u128::from(value != 0),
    }
}

/// Rounds and packs `mantissa`, which stands for a number of this exponent if its leading bit is that of
/// `ONE` above the guard bits.
fn pack(sign: u128, mut exponent: i32, mantissa: u128) -> Quad {
    if mantissa == 0 {
        return Quad(sign);
    }
    let lead = 127 - mantissa.leading_zeros() as i32 - (FRACTION_BITS + GUARD) as i32;
    exponent += lead;
    let mut bits = match lead {
        0.. => shift_sticky(mantissa, lead as u32),
        _ => mantissa << -lead,
    };
    if exponent <= 0 {
        bits = shift_sticky(bits, (1 - exponent) as u32);
        exponent = 1;
    } else if exponent >= 0x7fff {
        return Quad(sign | INFINITE);
    }
    let rest = bits & 7;
    bits >>= GUARD;
    bits += u128::from(rest > 4 || rest == 4 && bits & 1 == 1);
    // The leading bit counts as one in the exponent; a carry goes there by itself.
    Quad(sign | ((((exponent - 1) as u128) << FRACTION_BITS) + bits))
}

impl Quad {
    fn magnitude(self) -> u128 {
        self.0 & !SIGN
    }

    fn sign(self) -> u128 {
        self.0 & SIGN
    }

    fn is_nan(self) -> bool {
        self.magnitude() > INFINITE
    }

    /// Exponent and mantissa; numbers below the normal ones lack the leading bit.
    fn parts(self) -> (i32, u128) {
        let (exponent, fraction) = ((self.magnitude() >> FRACTION_BITS) as i32, self.0 & (ONE - 1));
        if exponent == 0 { (1, fraction) } else { (exponent, fraction | ONE) }
    }

    pub(super) fn add(self, other: Self) -> Self {
        if self.is_nan() || other.is_nan() {
            return NOT_A_NUMBER;
        }
        let (a, b) =
            if self.magnitude() >= other.magnitude() { (self, other) } else { (other, self) };
        if a.magnitude() == INFINITE {
            let opposite = b.magnitude() == INFINITE && a.sign() != b.sign();
            return if opposite { NOT_A_NUMBER } else { a };
        }
        let ((exponent, large), (lower, small)) = (a.parts(), b.parts());
        let small = shift_sticky(small << GUARD, (exponent - lower) as u32);
        let large = large << GUARD;
        if a.sign() == b.sign() {
            return pack(a.sign(), exponent, large + small);
        }
        let difference = large - small;
        pack(if difference == 0 { 0 } else { a.sign() }, exponent, difference)
    }

    pub(super) fn negated(self) -> Self {
        Self(self.0 ^ SIGN)
    }

    pub(super) fn mul(self, other: Self) -> Self {
        let sign = self.sign() ^ other.sign();
        let (a, b) = (self.magnitude(), other.magnitude());
        if self.is_nan() || other.is_nan() {
            return NOT_A_NUMBER;
        }
        if a == INFINITE || b == INFINITE {
            return if a == 0 || b == 0 { NOT_A_NUMBER } else { Quad(sign | INFINITE) };
        }
        let ((ea, ma), (eb, mb)) = (self.parts(), other.parts());
        // Leading bits first, so that no bit of the product is lost before rounding.
        let (za, zb) = (ma.leading_zeros().min(127), mb.leading_zeros().min(127));
        let (high, low) = wide(ma << za, mb << zb);
        let exponent = ea + eb - BIAS + 1 - (za + zb) as i32 + 2 * 15;
        pack(sign, exponent, shift_sticky(high | u128::from(low != 0), 12))
    }

    pub(super) fn less(self, other: Self) -> bool {
        if self.is_nan() || other.is_nan() || (self.0 | other.0) & !SIGN == 0 {
            return false;
        }
        match (self.sign() != 0, other.sign() != 0) {
            (true, false) => true,
            (false, true) => false,
            (negative, _) => (self.0 != other.0) && ((self.0 < other.0) != negative),
        }
    }
}

/// The product as its upper and lower half.
fn wide(a: u128, b: u128) -> (u128, u128) {
    const LOW: u128 = u64::MAX as u128;
    let (a1, a0, b1, b0) = (a >> 64, a & LOW, b >> 64, b & LOW);
    let (low, mid, other, high) = (a0 * b0, a1 * b0, a0 * b1, a1 * b1);
    let middle = (low >> 64) + (mid & LOW) + (other & LOW);
    (high + (mid >> 64) + (other >> 64) + (middle >> 64), middle << 64 | low & LOW)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The nearest to an integer, by another way than `pack`.
    fn integer(value: u128) -> Quad {
        if value == 0 {
            return Quad(0);
        }
        let top = 127 - value.leading_zeros();
        let exponent = (BIAS as u128 + u128::from(top)) << FRACTION_BITS;
        if top <= FRACTION_BITS {
            return Quad(exponent + ((value << (FRACTION_BITS - top)) - ONE));
        }
        let cut = top - FRACTION_BITS;
        let (kept, rest, half) = (value >> cut, value & ((1 << cut) - 1), 1 << (cut - 1));
        let up = rest > half || rest == half && kept & 1 == 1;
        Quad(exponent + (kept - ONE) + u128::from(up))
    }

    fn random(seed: &mut u128) -> u128 {
        *seed = seed.wrapping_mul(0x2360_ed05_1fc6_5da4_4385_df64_9fcc_f645).wrapping_add(1);
        *seed ^ *seed >> 61
    }

    #[test]
    fn sums_of_integers_are_rounded_as_integers_are() {
        let mut seed = 1;
        for _ in 0..20_000 {
            let bits = random(&mut seed) >> 100;
            let (a, b) = (
                random(&mut seed) >> (2 + bits % 120),
                random(&mut seed) >> (2 + bits / 128 % 120),
            );
            let (qa, qb) = (integer(a), integer(b));
            let exact = |value: u128| value.leading_zeros() + value.trailing_zeros() >= 15;
            if exact(a) && exact(b) {
                assert_eq!(qa.add(qb), integer(a + b), "{a} + {b}");
                let difference = integer(a.abs_diff(b));
                let wanted = if a < b { difference.negated() } else { difference };
                assert_eq!(qa.add(qb.negated()), wanted, "{a} - {b}");
            }
        }
    }

    #[test]
    fn products_of_integers_are_rounded_as_integers_are() {
        let mut seed = 2;
        for _ in 0..20_000 {
            let bits = random(&mut seed) >> 100;
            let (a, b) =
                (random(&mut seed) >> (64 + bits % 60), random(&mut seed) >> (64 + bits / 64 % 60));
            assert_eq!(integer(a).mul(integer(b)), integer(a * b), "{a} * {b}");
        }
    }

    #[test]
    fn numbers_below_the_normal_ones_and_above_all_are_kept_apart() {
        let least = Quad(1);
        let half = Quad(((BIAS - 1) as u128) << FRACTION_BITS);
        let smallest_normal = Quad(ONE);
        assert_eq!(least.add(least), Quad(2));
        assert_eq!(least.mul(half), Quad(0), "a tie goes to the even one, which is zero");
        assert_eq!(Quad(3).mul(half), Quad(2));
        assert_eq!(smallest_normal.mul(half), Quad(ONE / 2));
        assert_eq!(Quad(ONE / 2).add(Quad(ONE / 2)), smallest_normal);
        let huge = Quad(INFINITE - 1);
        assert_eq!(huge.add(huge), Quad(INFINITE));
        assert_eq!(huge.mul(huge.negated()), Quad(INFINITE | SIGN));
        assert!(Quad(INFINITE).add(Quad(INFINITE | SIGN)).is_nan());
        assert!(Quad(INFINITE).mul(Quad(SIGN)).is_nan());
        assert!(Quad(SIGN | 5).less(Quad(SIGN | 4)) && !Quad(0).less(Quad(SIGN)));
    }
}
