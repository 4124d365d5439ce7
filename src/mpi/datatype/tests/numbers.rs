//! Single numbers in `external32`.

use crate::mpi::datatype::{Basic, Datatype};
use crate::mpi::failure::Class;

fn encoded(basic: Basic, native: &[u8]) -> Result<Vec<u8>, Class> {
    let datatype = Datatype::of(basic);
    let mut out = vec![0; datatype.external_size(1).unwrap() as usize];
    // SAFETY: `native` is one item.
    let len = unsafe { datatype.pack_external(native.as_ptr(), 1, &mut out) };
    len.map(|len| out[..len].to_vec()).map_err(|why| why.class)
}

fn decoded(basic: Basic, external: &[u8]) -> Vec<u8> {
    let datatype = Datatype::of(basic);
    let mut native = vec![0xee; basic.extent() as usize];
    // SAFETY: `native` has room for one item.
    let len = unsafe { datatype.unpack_external(native.as_mut_ptr(), 1, external) };
    assert_eq!(len, Ok(external.len()));
    native
}

#[test]
fn a_long_has_four_bytes_and_must_fit() {
    for value in [0, 1, -1, i64::from(i32::MAX), i64::from(i32::MIN)] {
        let external = encoded(Basic::Long, &value.to_ne_bytes()).unwrap();
        assert_eq!(external, (value as i32).to_be_bytes());
        assert_eq!(decoded(Basic::Long, &external), value.to_ne_bytes());
    }
    for value in [i64::from(i32::MAX) + 1, i64::from(i32::MIN) - 1, i64::MAX] {
        assert_eq!(encoded(Basic::Long, &value.to_ne_bytes()), Err(Class::Conversion));
    }
    let most = u64::from(u32::MAX);
    let external = encoded(Basic::UnsignedLong, &most.to_ne_bytes()).unwrap();
    assert_eq!(decoded(Basic::UnsignedLong, &external), most.to_ne_bytes());
    let more = encoded(Basic::UnsignedLong, &(most + 1).to_ne_bytes());
    assert_eq!(more, Err(Class::Conversion));
}

#[test]
fn a_wide_character_has_two_bytes() {
    let external = encoded(Basic::Wchar, &0x20ac_u32.to_ne_bytes()).unwrap();
    assert_eq!(external, [0x20, 0xac]);
    assert_eq!(decoded(Basic::Wchar, &external), 0x20ac_u32.to_ne_bytes());
    assert_eq!(encoded(Basic::Wchar, &0x1_f600_u32.to_ne_bytes()), Err(Class::Conversion));
}

#[test]
fn a_pair_is_its_two_values_without_the_gap() {
    let mut native = [0; 16];
    native[..8].copy_from_slice(&1.5_f64.to_ne_bytes());
    native[8..12].copy_from_slice(&7_i32.to_ne_bytes());
    let external = encoded(Basic::DoubleInt, &native).unwrap();
    assert_eq!(external, [&1.5_f64.to_be_bytes()[..], &7_i32.to_be_bytes()].concat());
    assert_eq!(decoded(Basic::DoubleInt, &external)[..12], native[..12]);
}

#[test]
fn too_little_room_is_refused_before_anything_is_written() {
    let mut out = [0xee; 7];
    let native = 1.0_f64.to_ne_bytes();
    // SAFETY: one item.
    let len = unsafe { Datatype::of(Basic::Double).pack_external(native.as_ptr(), 1, &mut out) };
    assert_eq!(len.unwrap_err().class, Class::Truncate);
    assert_eq!(out, [0xee; 7]);
}

#[cfg(target_arch = "x86_64")]
mod extended {
    use super::*;

    /// The 80 bits: sign and exponent, then mantissa.
    fn x87(head: u16, mantissa: u64) -> [u8; 16] {
        (u128::from(head) << 64 | u128::from(mantissa)).to_le_bytes()
    }

    fn quad(head: u16, fraction: u128) -> [u8; 16] {
        (u128::from(head) << 112 | fraction).to_be_bytes()
    }

    const ONE: u64 = 1 << 63;

    #[test]
    fn numbers_of_80_bits_survive_unchanged() {
        let cases = [
            (x87(0, 0), quad(0, 0)),
            (x87(0x8000, 0), quad(0x8000, 0)),
            (x87(0x3fff, ONE), quad(0x3fff, 0)),
            (x87(0xc000, ONE | 1 << 62), quad(0xc000, 1 << 111)),
            (x87(0x3fff, ONE | 1), quad(0x3fff, 1 << 49)),
            (x87(0x7fff, ONE), quad(0x7fff, 0)),
            (x87(0xffff, ONE), quad(0xffff, 0)),
            (x87(0x7fff, ONE | 1 << 62), quad(0x7fff, 1 << 111)),
            (x87(0, 1), quad(0, 1 << 49)),
            (x87(1, ONE), quad(1, 0)),
            (x87(0x7ffe, u64::MAX), quad(0x7ffe, ((1 << 63) - 1) << 49)),
        ];
        for (native, external) in cases {
            assert_eq!(encoded(Basic::LongDouble, &native).unwrap(), external);
            assert_eq!(decoded(Basic::LongDouble, &external), native);
        }
    }

    #[test]
    fn longer_fractions_are_rounded_to_the_nearest_even() {
        let half = 1_u128 << 48;
        for (external, native) in [
            (quad(0x3fff, half - 1), x87(0x3fff, ONE)),
            (quad(0x3fff, half), x87(0x3fff, ONE)),
            (quad(0x3fff, half + 1), x87(0x3fff, ONE | 1)),
            (quad(0x3fff, (1 << 49) + half), x87(0x3fff, ONE | 2)),
            (quad(0x3fff, (1 << 112) - 1), x87(0x4000, ONE)),
            (quad(0x7ffe, (1 << 112) - 1), x87(0x7fff, ONE)),
            (quad(0, (1 << 112) - 1), x87(1, ONE)),
            (quad(0x7fff, 1), x87(0x7fff, ONE | 1 << 62)),
        ] {
            assert_eq!(decoded(Basic::LongDouble, &external), native, "{external:x?}");
        }
    }

    #[test]
    fn what_the_processor_takes_for_no_number_is_none() {
        let external = encoded(Basic::LongDouble, &x87(0x3fff, 1)).unwrap();
        assert_eq!(external, quad(0x7fff, 1 << 111));
        // A denormal number whose leading bit is set has the smallest normal exponent.
        assert_eq!(encoded(Basic::LongDouble, &x87(0, ONE)).unwrap(), quad(1, 0));
    }
}
