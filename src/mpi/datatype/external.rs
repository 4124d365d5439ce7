//! The representation `external32` (MPI 5.0, 14.5.2): big-endian, of the same sizes everywhere.
//!
//! Items are packed in memory's representation first, some at a time, and then converted in the
//! order of the signature.

use super::basic::Number;
use super::signature::Signature;
use super::{Basic, Datatype, Group};
use crate::mpi::failure::{Class, Outcome, fail};

/// Bytes in memory's representation that are converted at a time, if an item is not longer.
const STAGE: usize = 32 << 10;

impl Datatype {
    /// Bytes of `count` items in `external32`.
    ///
    /// # Errors
    /// When the count is negative, or they are more than can be counted.
    pub fn external_size(&self, count: i64) -> Outcome<i64> {
        self.packed_size(count)?;
        // No number is longer in external32 than in memory.
        Ok(external_len(&self.0.signature) * count)
    }

    /// Converts `count` items at `base` to `external32`, to the beginning of `out`. Gives how many
    /// bytes they are.
    ///
    /// # Errors
    /// When `out` is too short, or a value cannot be represented.
    ///
    /// # Safety
    /// As for [`super::Shape::pack`].
    pub unsafe fn pack_external(
        &self,
        base: *const u8,
        count: i64,
        out: &mut [u8],
    ) -> Outcome<usize> {
        self.external_room(count, out.len())?;
        let mut done = 0;
        self.in_batches(count, |items, at, stage| {
            // SAFETY: within the stream; the caller promises the rest.
            unsafe { self.pack(base, count as usize, at, stage) };
            let mut from = 0;
            self.each_run(items, |basic, count| {
                let width = Width::of(basic);
                for _ in 0..count * width.numbers {
                    let native = &stage[from..from + width.native];
                    encode(width, native, &mut out[done..done + width.external])?;
                    (from, done) = (from + width.native, done + width.external);
                }
                Ok(())
            })
        })?;
        Ok(done)
    }

    /// Converts `count` items from the beginning of `bytes`, which are `external32`, to `base`.
    /// Gives how many bytes they were.
    ///
    /// # Errors
    /// When there are too few bytes, or a value cannot be represented.
    ///
    /// # Safety
    /// As for [`super::Shape::unpack`].
    pub unsafe fn unpack_external(
        &self,
        base: *mut u8,
        count: i64,
        bytes: &[u8],
    ) -> Outcome<usize> {
        self.external_room(count, bytes.len())?;
        let mut done = 0;
        self.in_batches(count, |items, at, stage| {
            let mut to = 0;
            self.each_run(items, |basic, count| {
                let width = Width::of(basic);
                for _ in 0..count * width.numbers {
                    let native = &mut stage[to..to + width.native];
                    decode(width, &bytes[done..done + width.external], native)?;
                    (to, done) = (to + width.native, done + width.external);
                }
                Ok(())
            })?;
            // SAFETY: within the stream; the caller promises the rest.
            unsafe { self.unpack(base, count as usize, at, stage) };
            Ok(())
        })?;
        Ok(done)
    }

    /// Whether the bytes of `external32` have room.
    fn external_room(&self, count: i64, room: usize) -> Outcome<()> {
        let total = self.external_size(count)? as usize;
        if total > room {
            return fail(Class::Truncate, format!("{total} bytes of external32, room for {room}"));
        }
        Ok(())
    }

    /// Calls `with` for some items after others: how many, where they are in the packed stream, and
    /// room for their packed bytes.
    fn in_batches(
        &self,
        count: i64,
        mut with: impl FnMut(i64, usize, &mut [u8]) -> Outcome<()>,
    ) -> Outcome<()> {
        let size = self.size() as usize;
        if size == 0 || count == 0 {
            return Ok(());
        }
        let batch = (STAGE / size).clamp(1, count as usize);
        let mut stage = vec![0; batch * size];
        for first in (0..count as usize).step_by(batch) {
            let items = batch.min(count as usize - first);
            with(items as i64, first * size, &mut stage[..items * size])?;
        }
        Ok(())
    }

    fn each_run(
        &self,
        items: i64,
        mut with: impl FnMut(Basic, usize) -> Outcome<()>,
    ) -> Outcome<()> {
        let signature = self.0.signature.repeated(items);
        signature.each_run(&mut |basic, count| with(basic, count as usize))
    }
}

fn external_len(signature: &Signature) -> i64 {
    signature.sum(&|basic| {
        let width = Width::of(basic);
        (width.external * width.numbers) as i64
    })
}

/// How a basic type is converted.
#[derive(Clone, Copy)]
struct Width {
    number: Number,
    /// Two in a complex number.
    numbers: usize,
    native: usize,
    external: usize,
}

impl Width {
    fn of(basic: Basic) -> Self {
        let (number, native) = basic.number();
        let external = match basic {
            Basic::Long | Basic::UnsignedLong => 4,
            Basic::Wchar => 2,
            _ => native,
        };
        let numbers = if basic.group() == Group::Complex { 2 } else { 1 };
        Self { number, numbers, native, external }
    }
}

fn encode(width: Width, native: &[u8], out: &mut [u8]) -> Outcome<()> {
    match width.number {
        Number::Bytes => out.copy_from_slice(native),
        Number::Extended if cfg!(target_arch = "x86_64") => {
            out.copy_from_slice(&extended_to_quad(integer(native)).to_be_bytes());
        }
        _ if width.native == width.external => swap(native, out),
        number => {
            // Narrower: the value must be the same.
            let value = integer(native);
            let bits = 8 * width.external as u32;
            let kept = match number {
                Number::Signed => sign_extended(value, bits, 8 * width.native as u32),
                _ => value & ((1 << bits) - 1),
            };
            if kept != value {
                let why = format!("a value needs more than the {bits} bits of external32");
                return fail(Class::Conversion, why);
            }
            out.copy_from_slice(&value.to_be_bytes()[16 - width.external..]);
        }
    }
    Ok(())
}

fn decode(width: Width, external: &[u8], native: &mut [u8]) -> Outcome<()> {
    match width.number {
        Number::Bytes => native.copy_from_slice(external),
        Number::Extended if cfg!(target_arch = "x86_64") => {
            let mut bytes = [0; 16];
            swap(external, &mut bytes);
            native.copy_from_slice(&quad_to_extended(integer(&bytes)).to_ne_bytes());
        }
        _ if width.native == width.external => swap(external, native),
        number => {
            let mut bytes = [0; 16];
            swap(external, &mut bytes[..width.external]);
            let (value, bits) = (integer(&bytes), 8 * width.native as u32);
            let value = match number {
                Number::Signed => sign_extended(value, 8 * width.external as u32, bits),
                _ => value,
            };
            native.copy_from_slice(&value.to_le_bytes()[..width.native]);
            if cfg!(target_endian = "big") {
                native.reverse();
            }
        }
    }
    Ok(())
}

/// From one order of bytes to the other, where memory is little-endian.
fn swap(from: &[u8], to: &mut [u8]) {
    to.copy_from_slice(from);
    if cfg!(target_endian = "little") {
        to.reverse();
    }
}

/// A number as memory has it, without its sign.
fn integer(native: &[u8]) -> u128 {
    let next = |value: u128, byte: &u8| value << 8 | u128::from(*byte);
    if cfg!(target_endian = "little") {
        native.iter().rev().fold(0, next)
    } else {
        native.iter().fold(0, next)
    }
}

/// The two's complement of `from` bits in `to` bits; what is above `from` is dropped.
fn sign_extended(value: u128, from: u32, to: u32) -> u128 {
    let signed = (value << (128 - from)) as i128 >> (128 - from);
    signed as u128 & (u128::MAX >> (128 - to))
}

/// Bits of the exponent, which both long formats have in common, when it means infinity or no
/// number.
const SPECIAL: u128 = 0x7fff;
/// Bits of a fraction of binary128.
const FRACTION: u32 = 112;
/// Bits of it that x87 has not. (Its 64 bits have the integer's one, which binary128 implies.)
const LOST: u32 = 49;

/// From the 80 bits of x87 to binary128. Exact.
fn extended_to_quad(value: u128) -> u128 {
    let (sign, exponent, mantissa) = (value >> 79 & 1, value >> 64 & SPECIAL, value as u64);
    let (leading, fraction) = (mantissa >> 63, u128::from(mantissa << 1 >> 1));
    let (exponent, fraction) = match (exponent, leading) {
        // A denormal number with the integer's bit is a normal one.
        (0, 1) => (1, fraction << LOST),
        (0 | SPECIAL, _) | (_, 1) => (exponent, fraction << LOST),
        // Not valid since the 80387: no number.
        _ => (SPECIAL, 1 << (FRACTION - 1)),
    };
    sign << 127 | exponent << FRACTION | fraction
}

/// From binary128 to the 80 bits of x87, rounded to the nearest, or to even.
fn quad_to_extended(value: u128) -> u128 {
    let (sign, exponent) = (value >> 127, value >> FRACTION & SPECIAL);
    let fraction = value & ((1 << FRACTION) - 1);
    let (mut kept, rest, half) = (fraction >> LOST, fraction & ((1 << LOST) - 1), 1 << (LOST - 1));
    if exponent == SPECIAL {
        // What is no number stays none, though its low bits go.
        let quiet = u128::from(fraction != 0) << 62;
        return sign << 79 | SPECIAL << 64 | 1 << 63 | kept | quiet;
    }
    kept += u128::from(rest > half || (rest == half && kept & 1 == 1));
    // A carry out of the fraction goes into the exponent.
    let number = (exponent << 63) + kept;
    let exponent = number >> 63;
    let leading = u128::from(exponent != 0);
    sign << 79 | exponent << 64 | leading << 63 | (number & ((1 << 63) - 1))
}
