use super::super::datatype::{Basic, Datatype, Form, Group};
use super::*;
use std::sync::Mutex;

/// What an operation does to small integers.
type OnIntegers = fn(i64, i64) -> i64;

/// A small integer as a number of this type (a part of it, if it is complex).
fn encode(basic: Basic, value: i64) -> Vec<u8> {
    let complex = basic.group() == Group::Complex;
    let size = basic.size() as usize / if complex { 2 } else { 1 };
    let extended = matches!(
        basic,
        Basic::LongDouble | Basic::CLongDoubleComplex | Basic::CxxLongDoubleComplex
    );
    let floating = complex || basic.group() == Group::Floating;
    // Exponent bits and fraction bits, with the leading one where it is written.
    let form = match (floating, extended && cfg!(target_arch = "x86_64"), size) {
        (false, ..) => return i128::from(value).to_le_bytes()[..size].to_vec(),
        (_, true, _) => (15, 63, true),
        (_, _, 2) => (5, 10, false),
        (_, _, 4) => (8, 23, false),
        (_, _, 8) => (11, 52, false),
        _ => (15, 112, false),
    };
    let (exponent_bits, fraction_bits, explicit) = form;
    let mut bits = 0_u128;
    if value != 0 {
        let magnitude = u128::from(value.unsigned_abs());
        let top = 127 - magnitude.leading_zeros();
        let fraction = magnitude << (fraction_bits - top);
        let exponent = (1_u128 << (exponent_bits - 1)) - 1 + u128::from(top);
        let width = fraction_bits + u32::from(explicit);
        let fraction = if explicit { fraction } else { fraction - (1 << fraction_bits) };
        bits = exponent << width | fraction;
        bits |= u128::from(value < 0) << (width + exponent_bits);
    }
    bits.to_le_bytes()[..size].to_vec()
}

fn run(op: BasicOp, basic: Basic, from: &[u8], into: &[u8]) -> Vec<u8> {
    let datatype = Datatype::of(basic);
    let count = from.len() as i64 / datatype.extent();
    let mut into = into.to_vec();
    // SAFETY: two vectors of one length.
    let outcome =
        unsafe { Op::Basic(op).local(from.as_ptr(), into.as_mut_ptr(), count, &datatype) };
    outcome.unwrap();
    into
}

/// Pairs of small numbers, negative ones only where there are any.
fn pairs_of(basic: Basic) -> Vec<(i64, i64)> {
    let unsigned = basic.name().starts_with("MPI_U") || basic.group() == Group::Byte;
    let range = if unsigned { 0..=7 } else { -5..=6 };
    range.clone().flat_map(|a| range.clone().map(move |b| (a, b))).collect()
}

fn vector(basic: Basic, values: impl Iterator<Item = i64>) -> Vec<u8> {
    values.flat_map(|value| encode(basic, value)).collect()
}

fn defined(op: BasicOp) -> impl Iterator<Item = Basic> {
    Basic::ALL.iter().copied().filter(move |basic| kernel(op, *basic).is_some())
}

#[test]
fn operations_are_defined_on_the_groups_of_types_that_the_standard_names() {
    use BasicOp::{
        Band, Bor, Bxor, Land, Lor, Lxor, Max, Maxloc, Min, Minloc, NoOp, Prod, Replace, Sum,
    };
    use Group::{Byte, CInteger, Complex, Floating, FortranInteger, Logical, MultiLanguage, Pair};
    for &op in BasicOp::ALL {
        let groups: &[Group] = match op {
            Max | Min => &[CInteger, FortranInteger, Floating, MultiLanguage],
            Sum | Prod => &[CInteger, FortranInteger, Floating, Complex, MultiLanguage],
            Land | Lor | Lxor => &[CInteger, Logical],
            Band | Bor | Bxor => &[CInteger, FortranInteger, Byte, MultiLanguage],
            Maxloc | Minloc => &[Pair],
            Replace | NoOp => &[],
        };
        for &basic in Basic::ALL {
            let allowed = groups.contains(&basic.group());
            assert_eq!(kernel(op, basic).is_some(), allowed, "{} {}", op.name(), basic.name());
            let combiner = Op::Basic(op).combiner(&Datatype::of(basic));
            assert_eq!(
                combiner.err().map(|failure| failure.class),
                (!allowed).then_some(Class::Op)
            );
        }
    }
}

#[test]
fn numbers_of_every_type_are_added_multiplied_and_compared() {
    let operations: [(BasicOp, OnIntegers); 4] = [
        (BasicOp::Sum, |a, b| a + b),
        (BasicOp::Prod, |a, b| a * b),
        (BasicOp::Min, std::cmp::min),
        (BasicOp::Max, std::cmp::max),
    ];
    for (op, wanted) in operations {
        for basic in defined(op).filter(|basic| basic.group() != Group::Complex) {
            let pairs = pairs_of(basic);
            let left = vector(basic, pairs.iter().map(|pair| pair.0));
            let right = vector(basic, pairs.iter().map(|pair| pair.1));
            let wanted = vector(basic, pairs.iter().map(|pair| wanted(pair.0, pair.1)));
            // A zero has no sign in the table; the product of zero and a negative number has.
            let zeros = |bytes: Vec<u8>| -> Vec<Vec<u8>> {
                let size = basic.size() as usize;
                let negative = {
                    let mut zero = encode(basic, -1);
                    let one = encode(basic, 1);
                    zero.iter_mut().zip(one).for_each(|(byte, one)| *byte ^= one);
                    zero
                };
                let floating = basic.group() == Group::Floating;
                let plain = |number: &[u8]| {
                    let zero = floating && number == negative;
                    if zero { encode(basic, 0) } else { number.to_vec() }
                };
                bytes.chunks(size).map(plain).collect()
            };
            let found = run(op, basic, &left, &right);
            assert_eq!(zeros(found), zeros(wanted), "{} {}", op.name(), basic.name());
        }
    }
}

#[test]
fn complex_numbers_of_every_type_are_added_and_multiplied() {
    for basic in defined(BasicOp::Sum).filter(|basic| basic.group() == Group::Complex) {
        let numbers = |list: &[(i64, i64)]| vector(basic, list.iter().flat_map(|n| [n.0, n.1]));
        let (left, right) = ([(1, 2), (-3, 4)], [(5, -1), (2, 7)]);
        let (left, right) = (numbers(&left), numbers(&right));
        let found = run(BasicOp::Sum, basic, &left, &right);
        assert_eq!(found, numbers(&[(6, 1), (-1, 11)]), "{}", basic.name());
        let found = run(BasicOp::Prod, basic, &left, &right);
        assert_eq!(found, numbers(&[(7, 9), (-34, -13)]), "{}", basic.name());
    }
}

#[test]
fn bits_are_combined_and_truths_are_zero_or_one() {
    let bitwise: [(BasicOp, OnIntegers); 3] = [
        (BasicOp::Band, |a, b| a & b),
        (BasicOp::Bor, |a, b| a | b),
        (BasicOp::Bxor, |a, b| a ^ b),
    ];
    let truths: [(BasicOp, OnIntegers); 3] = [
        (BasicOp::Land, |a, b| i64::from(a != 0 && b != 0)),
        (BasicOp::Lor, |a, b| i64::from(a != 0 || b != 0)),
        (BasicOp::Lxor, |a, b| i64::from((a != 0) != (b != 0))),
    ];
    for (op, wanted) in bitwise.into_iter().chain(truths) {
        for basic in defined(op) {
            let pairs = pairs_of(basic);
            let left = vector(basic, pairs.iter().map(|pair| pair.0));
            let right = vector(basic, pairs.iter().map(|pair| pair.1));
            let wanted = vector(basic, pairs.iter().map(|pair| wanted(pair.0, pair.1)));
            assert_eq!(run(op, basic, &left, &right), wanted, "{} {}", op.name(), basic.name());
        }
    }
}

#[test]
fn of_equal_values_the_lower_index_is_kept_in_every_pair_and_from_either_side() {
    for op in [BasicOp::Minloc, BasicOp::Maxloc] {
        for basic in defined(op) {
            let (first, at, second) = basic.pair().unwrap();
            let item = |value: i64, index: i64| {
                let mut bytes = vec![0; basic.extent() as usize];
                let (value, index) = (encode(first, value), encode(second, index));
                bytes[..value.len()].copy_from_slice(&value);
                bytes[at as usize..][..index.len()].copy_from_slice(&index);
                bytes
            };
            let value_and_index = |bytes: &[u8]| {
                let value = bytes[..first.size() as usize].to_vec();
                (value, bytes[at as usize..][..second.size() as usize].to_vec())
            };
            let least = op == BasicOp::Minloc;
            let table = [
                ((3, 5), (3, 2), (3, 2)),
                ((3, 2), (3, 5), (3, 2)),
                ((-1, 9), (4, 0), if least { (-1, 9) } else { (4, 0) }),
                ((4, 0), (-1, 9), if least { (-1, 9) } else { (4, 0) }),
            ];
            for (a, b, wanted) in table {
                let found = run(op, basic, &item(a.0, a.1), &item(b.0, b.1));
                let wanted = value_and_index(&item(wanted.0, wanted.1));
                assert_eq!(value_and_index(&found), wanted, "{} {}", op.name(), basic.name());
            }
        }
    }
}

#[test]
fn integers_wrap_at_the_width_of_their_type() {
    let max = i16::MAX.to_le_bytes();
    assert_eq!(run(BasicOp::Sum, Basic::Short, &max, &1_i16.to_le_bytes()), i16::MIN.to_le_bytes());
    let max = u8::MAX.to_le_bytes();
    assert_eq!(
        run(BasicOp::Max, Basic::Uint8, &max, &[3]),
        max,
        "unsigned is not compared as signed"
    );
}

#[cfg(target_arch = "x86_64")]
#[test]
fn a_long_double_keeps_the_bits_that_a_double_would_lose() {
    // 2^63 + 1 needs all 64 bits of the fraction.
    let one = encode(Basic::LongDouble, 1);
    let large = encode(Basic::LongDouble, 1 << 62);
    let larger = run(BasicOp::Sum, Basic::LongDouble, &large, &large);
    let sum = run(BasicOp::Sum, Basic::LongDouble, &larger, &one);
    assert_eq!(sum[..8], 0x8000_0000_0000_0001_u64.to_le_bytes());
}

/// Addresses of both operands and the number of items, of each call.
type Calls = Arc<Mutex<Vec<(usize, usize, i64)>>>;

/// `into = from - 3 into`, on `i64`: neither commutes nor associates; notes what it is called with.
fn noting(calls: &Calls) -> UserFunction {
    let calls = Arc::clone(calls);
    Box::new(move |from, into, count, datatype| {
        calls.lock().unwrap().push((from as usize, into as usize, count));
        for i in 0..count {
            let at = (i * datatype.extent() + datatype.true_lb()) as isize;
            // SAFETY: an item of the vectors given.
            let left = unsafe { from.wrapping_offset(at).cast::<i64>().read() };
            let place = into.wrapping_offset(at).cast::<i64>();
            // SAFETY: as above.
            let right = unsafe { place.read() };
            // SAFETY: as above.
            unsafe { place.write(left - 3 * right) };
        }
    })
}

#[test]
fn a_function_of_the_application_gets_the_left_operand_first_whichever_is_replaced() {
    let calls = Arc::default();
    let op = Op::user(false, noting(&calls));
    let combine = op.combiner(&Datatype::of(Basic::Int64)).unwrap();
    let (left, right) = ([10_i64, 20], [1_i64, 2]);
    let mut into = right;
    combine.run(left.as_ptr().cast(), into.as_mut_ptr().cast(), 16, true);
    assert_eq!(into, [7, 14]);
    let mut into = left;
    combine.run(right.as_ptr().cast(), into.as_mut_ptr().cast(), 16, false);
    assert_eq!(into, [7, 14]);
    assert_eq!(calls.lock().unwrap().iter().map(|call| call.2).collect::<Vec<_>>(), [2, 2]);
}

#[test]
fn items_that_overlap_their_neighbours_or_start_crooked_are_aligned_and_apart() {
    let long = Datatype::of(Basic::Int64);
    let shifted = Datatype::hindexed(&[1], &[24], &long, Form::Int).unwrap();
    // (lower bound, extent): dense, with gaps, overlapping, backwards, crooked.
    for (lb, extent, apart) in
        [(16, 16, false), (0, 64, false), (24, 4, true), (24, -8, true), (7, 40, true)]
    {
        let datatype = Datatype::resized(&shifted, lb, extent, Form::Int).unwrap();
        let slots = Slots::of(&datatype).unwrap();
        assert_eq!(slots.apart, apart, "{lb} {extent}");
        let calls = Arc::default();
        let combine = Op::user(true, noting(&calls)).combiner(&datatype).unwrap();
        let mut memory = vec![Line([0; 64]); 2 * slots.bytes];
        let from = memory.as_mut_ptr().cast::<u8>();
        let into = from.wrapping_add(64 * slots.bytes);
        let value = |base: *mut u8, i: usize| {
            base.wrapping_add(i * slots.bytes).wrapping_offset(slots.base + 24).cast::<i64>()
        };
        for i in 0..3 {
            // SAFETY: the data of item `i`, within its slot.
            unsafe { value(from, i).write(100 * i as i64) };
            // SAFETY: as above.
            unsafe { value(into, i).write(i as i64) };
        }
        combine.run(from.cast_const(), into, 3 * slots.bytes, true);
        for i in 0..3 {
            // SAFETY: as above.
            assert_eq!(unsafe { value(into, i).read() }, 97 * i as i64, "{lb} {extent} {i}");
        }
        assert_eq!(calls.lock().unwrap().len(), if apart { 3 } else { 1 });
    }
}
