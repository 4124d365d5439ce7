//! The loops of the predefined operations, one for each operation and kind of number, so that each can be
//! vectorized. Elements are read and written unaligned, which costs nothing where they are aligned.

use super::super::datatype::{Basic, Group};
use super::BasicOp;
use super::extended::LongDouble;
use super::half::Half;
use super::quad::Quad;

/// `into[i] = from[i] op into[i]` for this many items, an extent apart.
///
/// # Safety
/// Both have that many items, the first readable and the second writable, and do not overlap.
pub type Kernel = unsafe fn(*const u8, *mut u8, usize);

/// The loop for an operation on a type; none where the standard defines none. `Replace` and `NoOp` are not
/// for reductions and have none either.
#[must_use]
pub fn kernel(op: BasicOp, basic: Basic) -> Option<Kernel> {
    use Group::{Byte, CInteger, Complex, Floating, FortranInteger, Logical, MultiLanguage, Pair};
    match (op, basic.group()) {
        (BasicOp::Minloc | BasicOp::Maxloc, Pair) => pairs(op, basic),
        (BasicOp::Minloc | BasicOp::Maxloc, _) => None,
        (BasicOp::Land | BasicOp::Lor | BasicOp::Lxor, CInteger | Logical) => {
            truths(op, basic.size())
        }
        (BasicOp::Land | BasicOp::Lor | BasicOp::Lxor, _) => None,
        (
            BasicOp::Band | BasicOp::Bor | BasicOp::Bxor,
            CInteger | FortranInteger | MultiLanguage | Byte,
        ) => bits(op, basic.size()),
        (BasicOp::Band | BasicOp::Bor | BasicOp::Bxor, _) => None,
        (_, CInteger | FortranInteger | MultiLanguage) => integers(op, basic),
        (_, Floating) => floats(op, basic),
        (BasicOp::Sum | BasicOp::Prod, Complex) => complex(op, basic),
        _ => None,
    }
}

/// How two elements become one.
trait Binary<T> {
    fn of(left: T, right: T) -> T;
}

trait Number: Copy {
    fn add(self, other: Self) -> Self;
    fn mul(self, other: Self) -> Self;
}

trait Ordered: Copy {
    fn less(self, other: Self) -> bool;
}

/// SAFETY: that of [`Kernel`], with items of `T`.
unsafe fn each<T: Copy, F: Binary<T>>(from: *const u8, into: *mut u8, count: usize) {
    let (from, into) = (from.cast::<T>(), into.cast::<T>());
    for i in 0..count {
        // SAFETY: below the number of items.
        let left = unsafe { from.add(i) };
        // SAFETY: as above.
        let left = unsafe { left.read_unaligned() };
        // SAFETY: as above.
        let place = unsafe { into.add(i) };
        // SAFETY: as above.
        let right = unsafe { place.read_unaligned() };
        // SAFETY: as above.
        unsafe { place.write_unaligned(F::of(left, right)) };
    }
}

macro_rules! binaries {
    ($($name:ident: $bound:path, |$a:ident, $b:ident| $result:expr;)*) => {$(
        struct $name;
        impl<T: $bound> Binary<T> for $name {
            #[inline(always)]
            fn of($a: T, $b: T) -> T { $result }
        }
    )*};
}

binaries! {
    Sum: Number, |a, b| a.add(b);
    Prod: Number, |a, b| a.mul(b);
    Min: Ordered, |a, b| if b.less(a) { b } else { a };
    Max: Ordered, |a, b| if a.less(b) { b } else { a };
    And: Word, |a, b| a & b;
    Or: Word, |a, b| a | b;
    Xor: Word, |a, b| a ^ b;
    Both: Word, |a, b| T::truth(a.is_true() && b.is_true());
    Either: Word, |a, b| T::truth(a.is_true() || b.is_true());
    One: Word, |a, b| T::truth(a.is_true() != b.is_true());
}

trait Word:
    Copy
    + std::ops::BitAnd<Output = Self>
    + std::ops::BitOr<Output = Self>
    + std::ops::BitXor<Output = Self>
{
    fn truth(value: bool) -> Self;
    fn is_true(self) -> bool;
}

macro_rules! words {
    ($($type:ty)*) => {$(
        impl Word for $type {
            #[inline(always)]
            fn truth(value: bool) -> Self { <$type>::from(value) }
            #[inline(always)]
            fn is_true(self) -> bool { self != 0 }
        }
    )*};
}

words! { u8 u16 u32 u64 u128 }

macro_rules! integer_numbers {
    ($($type:ty)*) => {$(
        impl Number for $type {
            #[inline(always)]
            fn add(self, other: Self) -> Self { self.wrapping_add(other) }
            #[inline(always)]
            fn mul(self, other: Self) -> Self { self.wrapping_mul(other) }
        }
        impl Ordered for $type {
            #[inline(always)]
            fn less(self, other: Self) -> bool { self < other }
        }
    )*};
}

integer_numbers! { i8 i16 i32 i64 i128 u8 u16 u32 u64 }

macro_rules! float_numbers {
    ($($type:ty)*) => {$(
        impl Number for $type {
            #[inline(always)]
            fn add(self, other: Self) -> Self { self + other }
            #[inline(always)]
            fn mul(self, other: Self) -> Self { self * other }
        }
        impl Signed for $type {
            #[inline(always)]
            fn negated(self) -> Self { -self }
        }
        impl Ordered for $type {
            #[inline(always)]
            fn less(self, other: Self) -> bool { self < other }
        }
    )*};
}

float_numbers! { f32 f64 }

/// Numbers with arithmetic of their own.
macro_rules! other_numbers {
    ($($type:ty)*) => {$(
        impl Number for $type {
            fn add(self, other: Self) -> Self { <$type>::add(self, other) }
            fn mul(self, other: Self) -> Self { <$type>::mul(self, other) }
        }
        impl Signed for $type {
            fn negated(self) -> Self { <$type>::negated(self) }
        }
        impl Ordered for $type {
            fn less(self, other: Self) -> bool { <$type>::less(self, other) }
        }
    )*};
}

other_numbers! { Quad }
#[cfg(target_arch = "x86_64")]
other_numbers! { LongDouble }

impl Number for Half {
    fn add(self, other: Self) -> Self {
        Half::of(self.value() + other.value())
    }

    fn mul(self, other: Self) -> Self {
        Half::of(self.value() * other.value())
    }
}

impl Signed for Half {
    fn negated(self) -> Self {
        Half(self.0 ^ 0x8000)
    }
}

impl Ordered for Half {
    fn less(self, other: Self) -> bool {
        self.value() < other.value()
    }
}

trait Signed: Number {
    fn negated(self) -> Self;
}

#[derive(Clone, Copy)]
#[repr(C)]
struct ComplexOf<T> {
    re: T,
    im: T,
}

impl<T: Signed> Number for ComplexOf<T> {
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        ComplexOf { re: self.re.add(other.re), im: self.im.add(other.im) }
    }

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        let re = self.re.mul(other.re).add(self.im.mul(other.im).negated());
        let im = self.re.mul(other.im).add(self.im.mul(other.re));
        ComplexOf { re, im }
    }
}

/// A value and its index, laid out as C lays out a structure of them.
#[derive(Clone, Copy)]
#[repr(C)]
struct At<V, I> {
    value: V,
    index: I,
}

struct Least;
struct Greatest;

/// The one whose value is chosen; of equal values the one of the lower index.
fn choose<V: Ordered, I: Ordered>(a: At<V, I>, b: At<V, I>, b_wins: bool) -> At<V, I> {
    let equal = !a.value.less(b.value) && !b.value.less(a.value);
    if b_wins || equal && b.index.less(a.index) { b } else { a }
}

impl<V: Ordered, I: Ordered> Binary<At<V, I>> for Least {
    #[inline(always)]
    fn of(a: At<V, I>, b: At<V, I>) -> At<V, I> {
        choose(a, b, b.value.less(a.value))
    }
}

impl<V: Ordered, I: Ordered> Binary<At<V, I>> for Greatest {
    #[inline(always)]
    fn of(a: At<V, I>, b: At<V, I>) -> At<V, I> {
        choose(a, b, a.value.less(b.value))
    }
}

fn arithmetic<T: Number>(op: BasicOp) -> Option<Kernel> {
    match op {
        BasicOp::Sum => Some(each::<T, Sum>),
        BasicOp::Prod => Some(each::<T, Prod>),
        _ => None,
    }
}

fn ordered<T: Number + Ordered>(op: BasicOp) -> Option<Kernel> {
    match op {
        BasicOp::Min => Some(each::<T, Min>),
        BasicOp::Max => Some(each::<T, Max>),
        _ => arithmetic::<T>(op),
    }
}

fn word<T: Word>(op: BasicOp) -> Option<Kernel> {
    match op {
        BasicOp::Band => Some(each::<T, And>),
        BasicOp::Bor => Some(each::<T, Or>),
        BasicOp::Bxor => Some(each::<T, Xor>),
        BasicOp::Land => Some(each::<T, Both>),
        BasicOp::Lor => Some(each::<T, Either>),
        BasicOp::Lxor => Some(each::<T, One>),
        _ => None,
    }
}

fn bits(op: BasicOp, size: i64) -> Option<Kernel> {
    match size {
        1 => word::<u8>(op),
        2 => word::<u16>(op),
        4 => word::<u32>(op),
        8 => word::<u64>(op),
        16 => word::<u128>(op),
        _ => None,
    }
}

/// Any value but zero is true; results are 0 and 1, in every language.
fn truths(op: BasicOp, size: i64) -> Option<Kernel> {
    bits(op, size)
}

fn is_unsigned(basic: Basic) -> bool {
    use Basic::{
        Uint8, Uint16, Uint32, Uint64, Unsigned, UnsignedChar, UnsignedLong, UnsignedLongLong,
        UnsignedShort,
    };
    matches!(
        basic,
        Uint8
            | Uint16
            | Uint32
            | Uint64
            | Unsigned
            | UnsignedChar
            | UnsignedLong
            | UnsignedLongLong
            | UnsignedShort
    )
}

fn integers(op: BasicOp, basic: Basic) -> Option<Kernel> {
    match (basic.size(), is_unsigned(basic)) {
        (1, false) => ordered::<i8>(op),
        (2, false) => ordered::<i16>(op),
        (4, false) => ordered::<i32>(op),
        (8, false) => ordered::<i64>(op),
        (16, false) => ordered::<i128>(op),
        (1, true) => ordered::<u8>(op),
        (2, true) => ordered::<u16>(op),
        (4, true) => ordered::<u32>(op),
        (8, true) => ordered::<u64>(op),
        _ => None,
    }
}

fn floats(op: BasicOp, basic: Basic) -> Option<Kernel> {
    match (basic, basic.size()) {
        (Basic::LongDouble, _) => ordered::<LongDouble>(op),
        (_, 2) => ordered::<Half>(op),
        (_, 4) => ordered::<f32>(op),
        (_, 8) => ordered::<f64>(op),
        (_, 16) => ordered::<Quad>(op),
        _ => None,
    }
}

fn complex(op: BasicOp, basic: Basic) -> Option<Kernel> {
    match (basic, basic.size()) {
        (Basic::CLongDoubleComplex | Basic::CxxLongDoubleComplex, _) => {
            arithmetic::<ComplexOf<LongDouble>>(op)
        }
        (_, 4) => arithmetic::<ComplexOf<Half>>(op),
        (_, 8) => arithmetic::<ComplexOf<f32>>(op),
        (_, 16) => arithmetic::<ComplexOf<f64>>(op),
        (_, 32) => arithmetic::<ComplexOf<Quad>>(op),
        _ => None,
    }
}

fn pairs(op: BasicOp, basic: Basic) -> Option<Kernel> {
    fn of<V: Ordered, I: Ordered>(op: BasicOp) -> Kernel {
        match op {
            BasicOp::Minloc => each::<At<V, I>, Least>,
            _ => each::<At<V, I>, Greatest>,
        }
    }
    Some(match basic {
        Basic::FloatInt => of::<f32, i32>(op),
        Basic::DoubleInt => of::<f64, i32>(op),
        Basic::LongInt => of::<i64, i32>(op),
        Basic::TwoInt | Basic::TwoInteger => of::<i32, i32>(op),
        Basic::ShortInt => of::<i16, i32>(op),
        Basic::LongDoubleInt => of::<LongDouble, i32>(op),
        Basic::TwoReal => of::<f32, f32>(op),
        Basic::TwoDoublePrecision => of::<f64, f64>(op),
        _ => return None,
    })
}
