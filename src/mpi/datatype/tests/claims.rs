//! Constructors one by one: what they keep of their arguments, what they refuse, and what the
//! layouts become.

use crate::mpi::datatype::shape::Node;
use crate::mpi::datatype::{Basic, Combiner, Contents, Darray, Datatype, Form, Order, TypeClass};
use crate::mpi::failure::{Class, Outcome};

const INT: Form = Form::Int;
const LARGE: Form = Form::Large;

fn double() -> Datatype {
    Datatype::of(Basic::Double)
}

fn class<T>(outcome: Outcome<T>) -> Option<Class> {
    outcome.err().map(|why| why.class)
}

fn bounds(datatype: &Datatype) -> [i64; 5] {
    let (lb, extent) = (datatype.lb(), datatype.extent());
    [datatype.size(), lb, extent, datatype.true_lb(), datatype.true_extent()]
}

#[test]
fn handles_are_those_of_the_abi() {
    assert_eq!(Basic::Double.handle(), 0x214);
    assert_eq!(Basic::from_handle(0x2eb), Some(Basic::Complex32));
    assert_eq!(Basic::from_handle(0x200), None);
    assert_eq!(Basic::from_handle(0x211), None);
    for &basic in Basic::ALL {
        let made = Datatype::predefined(basic);
        assert_eq!(Basic::from_handle(basic.handle()), Some(basic));
        assert_eq!((made.basic(), made.name()), (Some(basic), basic.name().to_owned()));
        assert_eq!((made.size(), made.extent()), (basic.size(), basic.extent()));
        assert!(made.is_committed() && made.is_predefined());
        if basic.handle() >= 0x240 {
            // Bits 3 to 5 of the handle are the size's logarithm.
            let of_handle = 1 << (basic.handle() >> 3 & 7);
            assert_eq!(basic.size(), of_handle, "{}", basic.name());
        }
    }
}

#[test]
fn pairs_are_laid_out_as_structures_of_c() {
    assert_eq!(bounds(&Datatype::of(Basic::DoubleInt)), [12, 0, 16, 0, 12]);
    assert_eq!(bounds(&Datatype::of(Basic::ShortInt)), [6, 0, 8, 0, 8]);
    assert_eq!(bounds(&Datatype::of(Basic::LongDoubleInt)), [20, 0, 32, 0, 20]);
    assert!(Datatype::of(Basic::TwoInt).is_dense());
    assert!(!Datatype::of(Basic::DoubleInt).is_dense());
    assert_eq!(Datatype::of(Basic::ShortInt).elements_in(6), Some(2));
}

#[test]
fn nothing_has_no_bytes_and_no_bounds() {
    let double = double();
    let none = [
        Datatype::contiguous(0, &double, INT),
        Datatype::vector(0, 3, 5, &double, INT),
        Datatype::vector(3, 0, 5, &double, INT),
        Datatype::indexed(&[], &[], &double, INT),
        Datatype::hindexed(&[0, 0], &[8, 99], &double, INT),
        Datatype::indexed_block(0, &[1, 2], &double, INT),
        Datatype::hindexed_block(4, &[], &double, INT),
        Datatype::structure(&[], &[], &[], INT),
        Datatype::structure(&[0], &[77], std::slice::from_ref(&double), INT),
    ];
    for none in none {
        let none = none.unwrap();
        assert_eq!(bounds(&none), [0; 5], "{none:?}");
        assert_eq!((none.count_in(0), none.count_in(1)), (Some(0), None));
        assert_eq!((none.elements_in(0), none.elements_in(1)), (Some(0), None));
        assert_eq!(none.packed_size(5), Ok(0));
        // SAFETY: there are no bytes.
        unsafe { none.pack(std::ptr::null(), 7, 0, &mut []) };
        let many = Datatype::contiguous(1 << 40, &none, LARGE).unwrap();
        assert_eq!(bounds(&many), [0; 5]);
    }
}

#[test]
fn marks_of_resized_types_outweigh_data_and_spread() {
    let wide = Datatype::resized(&double(), -8, 32, INT).unwrap();
    assert_eq!(bounds(&wide), [8, -8, 32, 0, 8]);
    let three = Datatype::contiguous(3, &wide, INT).unwrap();
    assert_eq!(bounds(&three), [24, -8, 96, 0, 72]);
    // The data of a neighbour beyond the mark does not count.
    let types = [wide.clone(), double()];
    let both = Datatype::structure(&[1, 1], &[0, 100], &types, INT).unwrap();
    assert_eq!(bounds(&both), [16, -8, 32, 0, 108]);
    let back = Datatype::resized(&wide, 0, -16, INT).unwrap();
    assert_eq!((back.extent(), back.true_extent()), (-16, 8));
    let marks_only =
        Datatype::resized(&Datatype::structure(&[], &[], &[], INT).unwrap(), 4, 9, INT);
    assert_eq!(bounds(&marks_only.unwrap()), [0, 4, 9, 0, 0]);
}

#[test]
fn a_structure_is_rounded_up_to_its_alignment() {
    let types = [double(), Datatype::of(Basic::Char)];
    let made = Datatype::structure(&[1, 1], &[0, 8], &types, INT).unwrap();
    assert_eq!(bounds(&made), [9, 0, 16, 0, 9]);
    let absent = Datatype::structure(&[0, 1], &[0, 8], &types, INT).unwrap();
    assert_eq!(absent.extent(), 1, "a block of no items does not align");
}

#[test]
fn the_padding_of_an_inner_type_lies_inside_of_the_outer_one() {
    let int = Datatype::of(Basic::Int);
    let inner = Datatype::hvector(3, 4, 25, &int, INT).unwrap();
    assert_eq!(bounds(&inner), [48, 0, 68, 0, 66]);
    let outer = Datatype::hvector(2, 3, 273, &inner, INT).unwrap();
    // Three items of 68 bytes from 273 on, rounded up; what is true stays without padding.
    assert_eq!(bounds(&outer), [288, 0, 480, 0, 475]);
}

#[test]
fn arguments_come_back_as_they_were_given() {
    let double = double();
    let shape = |made: Outcome<Datatype>| {
        let Contents { combiner, integers, addresses, large, datatypes } =
            made.unwrap().contents().clone();
        (combiner, integers, addresses, large, datatypes.len())
    };
    let old = &double;
    let none = Vec::new;
    let check = |made, expected| assert_eq!(shape(made), expected);
    check(Datatype::contiguous(3, old, INT), (Combiner::Contiguous, vec![3], none(), none(), 1));
    let made = Datatype::contiguous(3, old, LARGE);
    check(made, (Combiner::Contiguous, vec![], none(), vec![3], 1));
    let made = Datatype::hvector(3, 2, -40, old, INT);
    check(made, (Combiner::Hvector, vec![3, 2], vec![-40], none(), 1));
    let made = Datatype::hvector(3, 2, -40, old, LARGE);
    check(made, (Combiner::Hvector, vec![], none(), vec![3, 2, -40], 1));
    let made = Datatype::indexed(&[1, 2], &[7, 3], old, INT);
    check(made, (Combiner::Indexed, vec![2, 1, 2, 7, 3], none(), none(), 1));
    let made = Datatype::hindexed_block(2, &[64, 0], old, INT);
    check(made, (Combiner::HindexedBlock, vec![2, 2], vec![64, 0], none(), 1));
    let types = [old.clone(), old.clone()];
    let made = Datatype::structure(&[1, 2], &[0, 24], &types, INT);
    check(made, (Combiner::Struct, vec![2, 1, 2], vec![0, 24], none(), 2));
    let made = Datatype::structure(&[1, 2], &[0, 24], &types, LARGE);
    check(made, (Combiner::Struct, vec![], none(), vec![2, 1, 2, 0, 24], 2));
    let made = Datatype::subarray(&[4, 5], &[2, 3], &[1, 0], Order::Fortran, old, INT);
    check(made, (Combiner::Subarray, vec![2, 4, 5, 2, 3, 1, 0, 15], none(), none(), 1));
    let made = Datatype::subarray(&[4, 5], &[2, 3], &[1, 0], Order::C, old, LARGE);
    check(made, (Combiner::Subarray, vec![2, 12], none(), vec![4, 5, 2, 3, 1, 0], 1));
    let made = Datatype::resized(old, -8, 64, INT);
    check(made, (Combiner::Resized, vec![], vec![-8, 64], none(), 1));
    let made = Datatype::f90_integer(9);
    check(made, (Combiner::F90Integer, vec![9], none(), none(), 0));
    let grid = grid(&[6], &[17], &[19], &[2]);
    check(
        Datatype::darray(&grid, old, LARGE),
        (Combiner::Darray, vec![2, 0, 1, 17, 19, 2, 12], none(), vec![6], 1),
    );
    check(
        Datatype::darray(&grid, old, INT),
        (Combiner::Darray, vec![2, 0, 1, 6, 17, 19, 2, 12], none(), none(), 1),
    );
    assert_eq!(shape(Ok(double.dup())), (Combiner::Dup, vec![], none(), none(), 1));
    assert!(double.dup().contents().datatypes[0].is(&double));
    assert_eq!(double.contents().combiner, Combiner::Named);
}

fn grid<'a>(
    gsizes: &'a [i64],
    distribs: &'a [i32],
    dargs: &'a [i32],
    psizes: &'a [i32],
) -> Darray<'a> {
    let size = psizes.iter().product();
    Darray { size, rank: 0, gsizes, distribs, dargs, psizes, order: Order::C }
}

#[test]
fn wrong_arguments_are_refused() {
    let double = double();
    let old = &double;
    assert_eq!(class(Datatype::contiguous(-1, old, INT)), Some(Class::Count));
    assert_eq!(class(Datatype::vector(1, -1, 1, old, INT)), Some(Class::Count));
    assert_eq!(class(Datatype::indexed(&[1, -2], &[0, 0], old, INT)), Some(Class::Count));
    assert_eq!(class(Datatype::hindexed(&[1], &[0, 0], old, INT)), Some(Class::Arg));
    assert_eq!(class(Datatype::contiguous(1 << 40, old, INT)), Some(Class::Count));
    let part =
        |size, sub, start| class(Datatype::subarray(&[size], &[sub], &[start], Order::C, old, INT));
    assert_eq!(part(4, 2, 2), None);
    for (size, sub, start) in [(4, 2, 3), (4, 5, 0), (4, 0, 0), (0, 0, 0), (4, 1, -1)] {
        assert_eq!(part(size, sub, start), Some(Class::Arg));
    }
    let shares = |grid: Darray<'_>| class(Datatype::darray(&grid, old, INT));
    assert_eq!(shares(grid(&[8], &[17], &[4], &[2])), None);
    assert_eq!(shares(grid(&[9], &[17], &[4], &[2])), Some(Class::Arg), "blocks too short");
    assert_eq!(shares(grid(&[8], &[16], &[19], &[2])), Some(Class::Arg), "not distributed");
    assert_eq!(shares(grid(&[8], &[15], &[19], &[2])), Some(Class::Arg), "no distribution");
    assert_eq!(shares(grid(&[8], &[18], &[0], &[2])), Some(Class::Arg), "empty blocks");
    let other = Darray { size: 3, ..grid(&[8], &[17], &[19], &[2]) };
    assert_eq!(shares(other), Some(Class::Arg), "another grid");
    let far = Darray { rank: 2, ..grid(&[8], &[17], &[19], &[2]) };
    assert_eq!(shares(far), Some(Class::Arg), "no such rank");
    assert_eq!(class(double.packed_size(-1)), Some(Class::Count));
    assert_eq!(class(double.packed_size(i64::MAX)), Some(Class::Count));
    assert_eq!(class(Order::of(13)), Some(Class::Arg));
}

#[test]
fn what_cannot_be_counted_is_refused() {
    let double = double();
    let large = i64::MAX / 16;
    let too_large = [
        Datatype::contiguous(i64::MAX / 4, &double, LARGE),
        Datatype::vector(large, 1, large, &double, LARGE),
        Datatype::vector(2, 1, i64::MAX, &double, LARGE),
        Datatype::hvector(3, 1, i64::MIN / 2, &double, LARGE),
        Datatype::indexed(&[1, 1], &[large, -large - 5], &double, LARGE)
            .and_then(|far| Datatype::contiguous(9, &far, LARGE)),
        Datatype::indexed(&[1], &[i64::MAX / 4], &double, LARGE),
        Datatype::hindexed(&[1], &[i64::MAX - 3], &double, INT),
        Datatype::structure(&[2, 2], &[i64::MIN + 5, 9], &[double.clone(), double.clone()], INT),
        Datatype::resized(&double, i64::MAX, 1, INT),
        Datatype::subarray(&[1 << 40; 3], &[1; 3], &[0; 3], Order::C, &double, LARGE),
    ];
    for (at, made) in too_large.into_iter().enumerate() {
        assert_eq!(class(made), Some(Class::ValueTooLarge), "case {at}");
    }
    let long = Datatype::contiguous(1 << 50, &double, LARGE).unwrap();
    assert_eq!(long.size(), 1 << 53);
    assert!(long.is_dense());
}

#[test]
fn regular_layouts_become_loops_whatever_the_calls_were() {
    let double = double();
    let strided = |made: Outcome<Datatype>| match &made.unwrap().shape().item.node {
        Node::Loop { count, stride, inner } => (*count, *stride, inner.run()),
        other => panic!("{other:?}"),
    };
    let expected = (5, 24, Some((0, 8)));
    let places = [0, 3, 6, 9, 12];
    assert_eq!(strided(Datatype::vector(5, 1, 3, &double, INT)), expected);
    assert_eq!(strided(Datatype::indexed_block(1, &places, &double, INT)), expected);
    assert_eq!(strided(Datatype::indexed(&[1; 5], &places, &double, INT)), expected);
    let wide = Datatype::resized(&double, 0, 24, INT).unwrap();
    assert_eq!(strided(Datatype::contiguous(5, &wide, INT)), expected);
    assert_eq!(
        strided(Datatype::subarray(&[5, 3], &[5, 1], &[0, 0], Order::C, &double, INT)),
        expected
    );
    let rows = Datatype::subarray(&[5, 3], &[2, 3], &[1, 0], Order::C, &double, INT).unwrap();
    assert_eq!(rows.run(1), Some((24, 48)), "whole rows are one run");
    let touching = Datatype::indexed(&[2, 1, 4], &[3, 5, 6], &double, INT).unwrap();
    assert_eq!(touching.run(3), Some((24, 3 * 56)));
    assert!(touching.is_dense());
}

#[test]
fn elements_of_what_is_not_whole() {
    let types = [double(), Datatype::of(Basic::Int)];
    let made = Datatype::structure(&[1, 2], &[0, 8], &types, INT).unwrap();
    let counted: Vec<_> =
        [8, 12, 16, 20, 24, 28].iter().map(|&bytes| made.elements_in(bytes)).collect();
    assert_eq!(counted, [Some(1), Some(2), Some(3), None, Some(4), Some(5)]);
    assert_eq!((made.count_in(32), made.count_in(24)), (Some(2), None));
    assert_eq!(made.bytes_of_elements(5), Some(28));
}

#[test]
fn fortran_types_are_chosen_by_what_they_can_hold_and_are_the_same_each_time() {
    let of = |made: Outcome<Datatype>| made.unwrap().basic();
    const ANY: i32 = -32766;
    assert_eq!(of(Datatype::f90_real(6, 37)), Some(Basic::Real4));
    assert_eq!(of(Datatype::f90_real(7, ANY)), Some(Basic::Real8));
    assert_eq!(of(Datatype::f90_real(ANY, 308)), Some(Basic::Real16));
    assert_eq!(of(Datatype::f90_complex(15, ANY)), Some(Basic::Complex16));
    assert_eq!(of(Datatype::f90_integer(10)), Some(Basic::Integer8));
    assert_eq!(class(Datatype::f90_real(34, ANY)), Some(Class::Arg));
    assert_eq!(class(Datatype::f90_real(ANY, ANY)), Some(Class::Arg));
    assert_eq!(class(Datatype::f90_integer(39)), Some(Class::Arg));
    let made = Datatype::f90_real(6, 37).unwrap();
    assert!(made.is(&Datatype::f90_real(6, 37).unwrap()));
    assert!(!made.is(&Datatype::f90_complex(6, 37).unwrap()));
    assert!(made.is_predefined() && made.is_committed());
    assert_eq!((made.name(), made.contents().integers.clone()), (String::new(), vec![6, 37]));
    for (kind, size, basic) in [
        (TypeClass::Integer, 8, Basic::Integer8),
        (TypeClass::Real, 4, Basic::Real4),
        (TypeClass::Complex, 32, Basic::Complex32),
    ] {
        assert_eq!(Datatype::match_size(kind, size).unwrap().basic(), Some(basic));
    }
    assert_eq!(class(Datatype::match_size(TypeClass::Real, 3)), Some(Class::Arg));
}

#[test]
fn pairs_are_named_where_there_is_a_name() {
    let pair =
        |value, index| Datatype::value_index(&Datatype::of(value), &Datatype::of(index)).unwrap();
    let named = pair(Basic::Float, Basic::Int).unwrap();
    assert!(named.is(Datatype::predefined(Basic::FloatInt)));
    let made = pair(Basic::Double, Basic::Int64).unwrap();
    assert_eq!(bounds(&made), [16, 0, 16, 0, 16]);
    assert_eq!(made.pair(), Some((Basic::Double, 8, Basic::Int64)));
    assert!(made.is(&pair(Basic::Double, Basic::Int64).unwrap()));
    assert_eq!(made.contents().combiner, Combiner::ValueIndex);
    assert_eq!(made.contents().datatypes.len(), 2);
    assert_eq!(bounds(&pair(Basic::Int8, Basic::Int64).unwrap()), [9, 0, 16, 0, 16]);
    assert!(pair(Basic::Double, Basic::Float).is_none());
    assert!(pair(Basic::DoubleComplex, Basic::Int).is_none());
    let derived = Datatype::contiguous(1, &double(), INT).unwrap();
    let index = Datatype::of(Basic::Int);
    assert!(Datatype::value_index(&derived, &index).unwrap().is_none());
}

#[test]
fn copies_are_types_of_their_own() {
    let made = Datatype::vector(2, 1, 2, &double(), INT).unwrap();
    assert!(!made.is_committed() && !made.dup().is_committed());
    made.commit();
    made.set_name("column").unwrap();
    let copy = made.dup();
    assert!(copy.is_committed() && !copy.is(&made));
    assert_eq!((made.name().as_str(), copy.name().as_str()), ("column", ""));
    assert_eq!(bounds(&copy), bounds(&made));
    let double = double().dup();
    assert_eq!((double.basic(), double.is_predefined()), (Some(Basic::Double), false));
    assert_eq!(class(made.set_name(&"x".repeat(128))), Some(Class::Arg));
}

#[test]
fn a_null_base_with_absolute_displacements_is_an_address() {
    let (near, far) = ([1_i32, 2], [3_i32, 4]);
    let places = [near.as_ptr() as i64, far.as_ptr() as i64];
    let made = Datatype::hindexed_block(2, &places, &Datatype::of(Basic::Int), INT).unwrap();
    let mut out = [0; 16];
    // SAFETY: the displacements are the addresses of two arrays of two.
    unsafe { made.pack(std::ptr::null(), 1, 0, &mut out) };
    let values: Vec<i32> =
        out.as_chunks().0.iter().map(|bytes| i32::from_ne_bytes(*bytes)).collect();
    assert_eq!(values, [1, 2, 3, 4]);
}

#[test]
#[should_panic(expected = "outside the packed stream")]
fn a_part_beyond_the_stream_is_never_copied() {
    let memory = [0_u8; 16];
    // SAFETY: both items are in the memory.
    unsafe { double().pack(memory.as_ptr(), 2, 9, &mut [0; 8]) };
}
