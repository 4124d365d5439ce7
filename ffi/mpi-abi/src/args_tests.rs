use super::*;

#[test]
fn numbers_are_read_in_either_width() {
    let (ints, counts) = ([-1, 2, c_int::MAX], [-1_i64, 1 << 40, i64::MAX]);
    // SAFETY: it has three.
    let narrow = unsafe { Numbers::ints(ints.as_ptr()).to_vec(3) };
    // SAFETY: it has three.
    let wide = unsafe { Numbers::wide(counts.as_ptr()).to_vec(3) };
    assert_eq!(narrow, [-1, 2, i64::from(c_int::MAX)]);
    assert_eq!(wide, counts);
    // SAFETY: an array that is not there.
    assert!(unsafe { Numbers::ints(std::ptr::null()).to_vec(3) }.is_empty());
}

#[test]
fn an_int_too_small_for_a_number_is_an_error_or_undefined() {
    let mut int = 7;
    let out = OutNumber::ints(&raw mut int);
    // SAFETY: an int to write to, here and below.
    let failure = unsafe { out.put(1 << 31) }.unwrap_err();
    assert_eq!(failure.class, Class::ValueTooLarge);
    assert_eq!(int, 7);
    // SAFETY: as above.
    unsafe { out.or_undefined().put(1 << 31) }.unwrap();
    assert_eq!(int, MPI_UNDEFINED);
    // SAFETY: as above.
    unsafe { out.put(i64::from(c_int::MIN)) }.unwrap();
    assert_eq!(int, c_int::MIN);
}

#[test]
fn a_wide_number_is_written_whole_and_one_that_is_not_there_not_at_all() {
    let mut count = 0_i64;
    let out = OutNumber::wide(&raw mut count);
    // SAFETY: a count to write to and to read.
    unsafe { out.put(i64::MAX) }.unwrap();
    // SAFETY: as above.
    assert_eq!(unsafe { out.get() }, i64::MAX);
    // SAFETY: nothing is written.
    unsafe { OutNumber::none().put(1 << 40) }.unwrap();
    // SAFETY: nothing is written.
    unsafe { OutNumbers::none().put(3, 1 << 40) }.unwrap();
}

#[test]
fn arrays_are_written_by_the_width_of_their_numbers() {
    let (mut ints, mut counts) = ([0; 2], [0_i64; 2]);
    for (at, value) in [(0, 5), (1, -6)] {
        // SAFETY: both have two.
        unsafe { OutNumbers::ints(ints.as_mut_ptr()).put(at, value) }.unwrap();
        // SAFETY: as above.
        unsafe { OutNumbers::wide(counts.as_mut_ptr()).put(at, value << 32) }.unwrap();
    }
    assert_eq!(ints, [5, -6]);
    assert_eq!(counts, [5 << 32, -6 << 32]);
}
