//! The store against what an application may do, and the reader against what an owner may do.

use super::*;
use proptest::prelude::*;

const MIB: usize = 1 << 20;

fn fill(at: NonNull<u8>, len: usize, value: u8) {
    // SAFETY: the store gave these bytes to this test, and nobody else has them.
    unsafe { std::ptr::write_bytes(at.as_ptr(), value, len) };
}

fn give_back(store: &Store, at: *const u8) -> bool {
    // SAFETY: these tests do not touch what they gave back.
    unsafe { store.give_back(at) }
}

fn holds(at: NonNull<u8>, len: usize, value: u8) -> bool {
    // SAFETY: as above.
    unsafe { std::slice::from_raw_parts(at.as_ptr(), len) }.iter().all(|&byte| byte == value)
}

fn borrowed(store: &Store, at: NonNull<u8>, len: usize) -> (Borrowed, u64) {
    let (chunk, offset) = store.find(at.as_ptr(), len).unwrap();
    (Borrowed::adopt(chunk.fd().try_clone_to_owned().unwrap()).unwrap(), offset)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn pieces_of_a_store_are_apart_aligned_and_keep_what_is_written(
        acts in proptest::collection::vec((0..200_000_usize, 0..16_u32, any::<u8>()), 0..60),
    ) {
        let store = Store::new(16 * MIB);
        let mut held: Vec<(NonNull<u8>, usize, u8)> = Vec::new();
        for (len, shift, value) in acts {
            if value % 3 == 0 && !held.is_empty() {
                let (at, len, value) = held.swap_remove(value as usize % held.len());
                prop_assert!(holds(at, len, value));
                prop_assert!(give_back(&store, at.as_ptr()));
                prop_assert!(!give_back(&store, at.as_ptr()));
                continue;
            }
            let Some(at) = store.take(len, 1 << shift) else { continue };
            prop_assert!(at.addr().get().is_multiple_of(1 << shift));
            fill(at, len, value);
            held.push((at, len, value));
        }
        for (at, len, value) in held {
            prop_assert!(holds(at, len, value));
            prop_assert!(give_back(&store, at.as_ptr()));
        }
        prop_assert!(store.lock().all.len() <= 1);
    }
}

#[test]
fn what_is_written_by_the_owner_is_read_by_whoever_was_given_the_chunk() {
    let store = Store::new(64 * MIB);
    let at = store.take(3 * MIB, 64).unwrap();
    fill(at, 3 * MIB, 7);
    let (mut reader, offset) = borrowed(&store, at, 3 * MIB);
    let mut out = vec![0; MIB];
    reader.part(offset + MIB as u64, MIB).unwrap().copy_out(0, &mut out);
    assert!(out.iter().all(|&byte| byte == 7));
    // Faulted in before: what is written later is there all the same.
    fill(at, 3 * MIB, 9);
    reader.part(offset + MIB as u64, MIB).unwrap().copy_out(0, &mut out);
    assert!(out.iter().all(|&byte| byte == 9));
}

#[test]
fn a_reader_keeps_its_memory_when_the_owner_has_let_it_go() {
    let store = Store::new(512 * MIB);
    let at = store.take(ALONE_MIN * 3, 64).unwrap();
    fill(at, 100, 5);
    let (mut reader, offset) = borrowed(&store, at, 100);
    assert!(give_back(&store, at.as_ptr()) && store.any_gone());
    assert_eq!(store.take_gone().len(), 1);
    assert!(!store.any_gone() && store.find(at.as_ptr(), 1).is_none());
    let mut out = [0; 100];
    reader.part(offset, 100).unwrap().copy_out(0, &mut out);
    assert_eq!(out, [5; 100]);
}

#[test]
fn parts_outside_of_a_chunk_are_refused_whatever_their_numbers() {
    let store = Store::new(64 * MIB);
    let (mut reader, _) = borrowed(&store, store.take(1, 1).unwrap(), 1);
    let len = reader.len();
    for (offset, wanted) in [
        (0, len + 1),
        (1, len),
        (len as u64, 1),
        (u64::MAX, 1),
        (u64::MAX, usize::MAX),
        (1, usize::MAX),
        (1 << 63, 1 << 63),
    ] {
        assert!(reader.part(offset, wanted).is_none(), "{offset} {wanted}");
    }
    assert!(reader.part(0, len).is_some() && reader.part(len as u64, 0).is_some());
}

#[test]
fn a_store_that_is_full_gives_nothing_and_takes_everything_back() {
    let store = Store::new(8 * MIB);
    let mut held = Vec::new();
    while let Some(at) = store.take(MIB, 64) {
        held.push(at);
    }
    assert_eq!(held.len(), 8);
    assert!(store.take(9 * MIB, 64).is_none() && store.take(usize::MAX, 64).is_none());
    held.iter().for_each(|at| assert!(give_back(&store, at.as_ptr())));
    assert!(store.take(MIB, 64).is_some());
}

#[test]
fn more_than_there_is_memory_is_refused_and_nothing_is_killed() {
    let store = Store::new(usize::MAX / 2);
    assert!(store.take(1 << 45, 64).is_none());
    assert!(store.take(room::physical_bytes(), 64).is_none());
    assert!(store.lock().all.is_empty() && !store.any_gone());
}

#[test]
fn chunks_are_bounded_whatever_is_taken() {
    let store = Store::new(usize::MAX / 2);
    let held: Vec<_> = (0..300).map_while(|_| store.take(700_000, 64)).collect();
    assert_eq!(held.len(), 300);
    assert!(store.lock().all.len() < CHUNKS_MAX / 2);
}

#[test]
fn nothing_foreign_is_given_back_or_found() {
    let store = Store::new(64 * MIB);
    let at = store.take(1000, 64).unwrap();
    let other = [0_u8; 64];
    assert!(!give_back(&store, other.as_ptr()) && !give_back(&store, std::ptr::null()));
    assert!(!give_back(&store, at.as_ptr().wrapping_add(64)));
    assert!(store.find(other.as_ptr(), 1).is_none());
    assert!(store.find(at.as_ptr(), FIRST_LEN).is_some());
    assert!(store.find(at.as_ptr(), FIRST_LEN + 1).is_none());
    assert!(store.find(at.as_ptr(), usize::MAX).is_none());
}

#[test]
fn an_alignment_that_is_none_is_refused_and_large_ones_are_kept() {
    let store = Store::new(64 * MIB);
    assert!(store.take(10, 0).is_none() && store.take(10, 48).is_none());
    for align in [1, 64, 4096, 1 << 16, 1 << 21] {
        assert!(store.take(10, align).unwrap().addr().get().is_multiple_of(align));
    }
    assert!(store.take(10, 1 << 63).is_none());
}
