//! Who is no friend: copies of a region, garbage in it, the dead, and too little room.

use std::path::Path;

use cohost::region::layout::PAGE;

use super::support::{BYTES, Shelf, attach, everything, on_machine, pingpong, run, wanted, way};

/// Two machines whose devices have the same id, and different memory.
fn refused(devices: [&Path; 2], because: &[&str]) {
    run(
        2,
        |rank| on_machine(rank, devices[rank as usize]),
        |world| {
            pingpong(world)?;
            let (path, why) = way(world, 1 - world.rank());
            assert_eq!(path, "tcp", "{why}");
            assert!(because.iter().any(|word| why.contains(word)), "{why}");
            Ok(())
        },
    );
}

#[test]
fn a_copy_of_a_region_is_refused_although_it_has_the_same_id() {
    let shelf = Shelf::new();
    let original = shelf.device("original", BYTES);
    let id = attach(&original).id();
    std::fs::copy(&original, shelf.path("copy")).unwrap();
    assert_eq!(attach(&shelf.path("copy")).id(), id);
    // Both take the first slot of their own memory.
    refused([&original, &shelf.path("copy")], &["we do: its memory is another"]);
}

#[test]
fn a_copy_with_other_slots_free_is_refused_because_what_the_peer_wrote_is_not_there() {
    let shelf = Shelf::new();
    let original = shelf.device("original", BYTES);
    attach(&original);
    std::fs::copy(&original, shelf.path("copy")).unwrap();
    let copy = attach(&shelf.path("copy"));
    let _first = copy.claim().unwrap();
    refused([&original, &shelf.path("copy")], &["its memory is another with the same id"]);
}

#[test]
fn a_region_too_small_says_how_many_bytes_are_enough() {
    let shelf = Shelf::new();
    let small = shelf.device("small", 8192);
    let needed = cohost::region::device::DeviceLayout::plan(8192, &wanted()).unwrap_err();
    let cohost::region::planner::PlanError::TooSmall { needed, .. } = needed else {
        panic!("{needed}")
    };
    let needed = format!("at least {needed} bytes, and 8192 are there");
    refused([&small, &small], &[&needed]);
}

#[test]
fn a_device_that_is_missing_is_named() {
    let shelf = Shelf::new();
    let missing = shelf.path("missing");
    refused([&missing, &missing], &["missing: not usable: not there: correct COHOST_REGION"]);
}

#[test]
fn a_region_full_of_garbage_is_claimed_after_a_lease_time() {
    let shelf = Shelf::new();
    let path = shelf.path("garbage");
    std::fs::write(&path, vec![0xa5; BYTES as usize]).unwrap();
    run(
        2,
        |rank| on_machine(rank, &path),
        |world| {
            pingpong(world)?;
            let (path, why) = way(world, 1 - world.rank());
            assert_eq!(path, "ring", "{why}");
            Ok(())
        },
    );
}

#[test]
fn slots_of_the_dead_are_used_again_after_a_lease_time() {
    let shelf = Shelf::new();
    let path = shelf.device("region", BYTES);
    let device = attach(&path);
    for slot in 0..8 {
        device.raw().store_u64(PAGE + slot * 64, 77 + slot as u64);
    }
    run(
        3,
        |rank| on_machine(rank, &path),
        |world| {
            everything(world)?;
            let (path, why) = way(world, (world.rank() + 1) % 3);
            assert_eq!(path, "ring", "{why}");
            Ok(())
        },
    );
}

#[test]
fn ranks_that_find_no_slot_use_tcp_with_the_reason() {
    let shelf = Shelf::new();
    let path = shelf.device("region", BYTES);
    let device = attach(&path);
    // Living members of other jobs leave one slot, then none.
    let mut held: Vec<_> = (0..7).map(|_| device.claim().unwrap()).collect();
    without_slots(&path);
    held.push(device.claim().unwrap());
    without_slots(&path);
}

fn without_slots(path: &Path) {
    run(
        2,
        |rank| on_machine(rank, path),
        |world| {
            everything(world)?;
            let (path, why) = way(world, 1 - world.rank());
            assert_eq!(path, "tcp", "{why}");
            assert!(why.contains("all 8 slots"), "{why}");
            Ok(())
        },
    );
}
