//! Predefined reductions on the types they are defined for (MPI 5.0, 6.9.2).

use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::types::Op;

/// Types that the predefined operations work on.
pub trait Reducible: Copy + FromBytes + IntoBytes + Immutable + 'static {
    /// `a op b`.
    #[must_use]
    fn combine(op: Op, a: Self, b: Self) -> Self;
}

macro_rules! integers {
    ($($name:ty),*) => {$(
        impl Reducible for $name {
            #[inline(always)]
            fn combine(op: Op, a: Self, b: Self) -> Self {
                match op {
                    Op::Sum => a.wrapping_add(b),
                    Op::Prod => a.wrapping_mul(b),
                    Op::Min => a.min(b),
                    Op::Max => a.max(b),
                }
            }
        }
    )*};
}

integers!(i8, i16, i32, i64, u8, u16, u32, u64);

macro_rules! floats {
    ($($name:ty),*) => {$(
        impl Reducible for $name {
            #[inline(always)]
            fn combine(op: Op, a: Self, b: Self) -> Self {
                match op {
                    Op::Sum => a + b,
                    Op::Prod => a * b,
                    Op::Min => if b < a { b } else { a },
                    Op::Max => if b > a { b } else { a },
                }
            }
        }
    )*};
}

floats!(f32, f64);

/// `into[i] = from[i] op into[i]` (all predefined operations commute), element by element.
pub(super) fn reduce<T: Reducible>(op: Op, from: &[T], into: &mut [T]) {
    // One loop for each operation, so that each can be vectorized.
    macro_rules! each {
        ($($op:path),*) => {
            match op {
                $($op => into.iter_mut().zip(from).for_each(|(i, f)| *i = T::combine($op, *f, *i)),)*
            }
        };
    }
    each!(Op::Sum, Op::Prod, Op::Min, Op::Max);
}
