//! Devices that are full of garbage, of another version, too small, of others, or gone.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cohost::region::access::Local;
use cohost::region::device::{Device, DeviceError, Memory, Wanted};
use cohost::region::planner::PlanError;
use cohost::region::{Geometry, Identity, RegionError, dax};

use super::support::*;

#[test]
fn members_with_another_configuration_are_refused_while_others_live_and_take_over_when_not() {
    let file = File::filled(0);
    let first = file.attach(&wanted(4)).unwrap();
    let owner = first.claim().unwrap();
    let refused = file.attach(&wanted(8)).unwrap_err();
    let DeviceError::OtherConfiguration { field: "number of slots", found: 4, expected: 8, .. } =
        refused
    else {
        panic!("{refused:?}")
    };
    let bigger = Wanted { geometry: Geometry { cells: 32, ..Geometry::MIN }, ..wanted(4) };
    let refused = file.attach(&bigger).unwrap_err().to_string();
    assert!(refused.contains("another cells of a ring, 16; ours is 32"), "{refused}");
    drop(owner);
    let taken_over = file.attach(&wanted(8)).unwrap();
    assert_ne!(taken_over.id(), first.id());
    assert!(taken_over.claim().is_ok());
    // Whoever was attached to what it was does not claim in what it is.
    assert!(matches!(first.claim(), Err(DeviceError::Restless { .. })));
}

#[test]
fn an_owner_under_whom_the_region_was_claimed_anew_notices() {
    let device = Device::open(Memory::heap(BYTES as usize), &wanted(2)).unwrap();
    let own = device.claim().unwrap();
    assert!(!own.is_lost());
    device.raw().store_u64(0, 0x1234);
    assert!(own.is_lost());
    assert!(matches!(device.claim(), Err(DeviceError::Restless { .. })));
}

#[test]
fn a_living_header_of_another_version_is_refused_by_its_version() {
    let file = File::filled(0);
    let device = file.attach(&wanted(4)).unwrap();
    let raw = device.raw();
    // Bits 42 to 47 are the version.
    raw.store_u64(0, raw.load_u64(0) ^ 1 << 43);
    let refused = while_it_lives(raw, || file.attach(&wanted(4)));
    let Err(DeviceError::OtherConfiguration { field, .. }) = refused else { panic!("{refused:?}") };
    assert_eq!(field, "version");
}

#[test]
fn a_device_that_another_program_uses_is_left_alone() {
    let file = File::filled(0);
    let memory = dax::open(&file.path()).unwrap();
    // Only for its raw bytes.
    let raw = Device::open(memory, &wanted(4)).unwrap().raw().clone();
    raw.copy_in(0, &[0x77; 4096]);
    let refused = while_it_lives(&raw, || file.attach(&wanted(4)));
    assert!(matches!(refused, Err(DeviceError::OtherProgram { .. })), "{refused:?}");
    assert_eq!(raw.load_u64(0), 0x7777_7777_7777_7777);
}

/// Runs `work` while the pulse of the region goes on.
fn while_it_lives<T>(raw: &Local, work: impl FnOnce() -> T) -> T {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                raw.store_u64(64, raw.load_u64(64).wrapping_add(1));
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        let result = work();
        done.store(true, Ordering::Relaxed);
        result
    })
}

#[test]
fn garbage_of_every_kind_is_never_believed_and_ends_in_a_working_region() {
    // An old region of ours, dead, with bits flipped, is the most credible garbage.
    let old = File::filled(0);
    let device = old.attach(&wanted(2)).unwrap();
    let mut sections = [device.claim().unwrap(), device.claim().unwrap()];
    sections[0].activate(1).unwrap();
    sections[1].activate(0).unwrap();
    let bytes = std::fs::read(old.path()).unwrap();
    drop(sections);
    let mut cases: Vec<Vec<u8>> =
        vec![vec![0xff; BYTES as usize], vec![1; BYTES as usize], bytes.clone()];
    for at in [0, 1, 2, 3, 5, 6, 7, 8, 64, 4096, 4100, 4096 + 64, 8192, 8200] {
        let mut flipped = bytes.clone();
        flipped[at] ^= 0x10;
        cases.push(flipped);
    }
    // At once, since each waits until what is in the leases has seemed dead for long enough.
    std::thread::scope(|scope| {
        for case in cases {
            scope.spawn(|| makes_a_working_region(case));
        }
    });
}

fn makes_a_working_region(garbage: Vec<u8>) {
    let file = File::filled(0);
    std::fs::write(file.path(), garbage).unwrap();
    let devices = [file.attach(&wanted(2)).unwrap(), file.attach(&wanted(2)).unwrap()];
    assert_eq!(devices[0].id(), devices[1].id());
    let mut a = devices[0].claim().unwrap();
    let mut b = devices[1].claim().unwrap();
    let (ia, ib) = (*a.identity(), *b.identity());
    assert_ne!(ia.index, ib.index);
    let seen = devices[1].peer(&ia, ib.index).unwrap();
    assert!(!seen.is_active(), "a stale flag was believed");
    a.activate(ib.index).unwrap();
    b.activate(ia.index).unwrap();
    let cells = seen.pair().unwrap().cells;
    let mut bytes = vec![1; cells.len()];
    cells.copy_out(0, &mut bytes);
    assert!(bytes.iter().all(|&byte| byte == 0), "stale cells");
}

#[test]
fn a_region_too_small_is_refused_with_the_exact_number_of_bytes() {
    let refused = Device::open(Memory::heap(8192), &wanted(4)).unwrap_err();
    let DeviceError::TooSmall { source: PlanError::TooSmall { needed, available, .. }, .. } =
        &refused
    else {
        panic!("{refused:?}")
    };
    assert_eq!(*available, 8192);
    assert!(refused.to_string().contains(&needed.to_string()));
    assert!(Device::open(Memory::heap(*needed as usize - 4096), &wanted(4)).is_err());
    let exact = Device::open(Memory::heap(*needed as usize), &wanted(4)).unwrap();
    let mut sections: Vec<_> = (0..4).map(|_| exact.claim().unwrap()).collect();
    for (index, own) in (0..).zip(&mut sections) {
        for peer in (0..4).filter(|&peer| peer != index) {
            own.activate(peer).unwrap();
            let pair = own.pair(peer).unwrap();
            pair.bulk.copy_in(0, &vec![1; pair.bulk.len()]);
        }
    }
    assert!(sections.iter().all(|own| !own.is_lost()));
}

#[test]
fn a_hostile_header_that_never_rests_is_an_error_and_not_an_endless_loop() {
    let file = File::filled(0);
    let target = file.attach(&wanted(2)).unwrap();
    let (done, begun) = (AtomicBool::new(false), Barrier::new(2));
    let refused = std::thread::scope(|scope| {
        let raw = target.raw();
        scope.spawn(|| {
            // Each claim is another's at once, and no id fits its nonce.
            let claim = raw.load_u64(0);
            raw.store_u64(0, 0xdead_beef);
            begun.wait();
            while !done.load(Ordering::Relaxed) {
                raw.store_u64(0, claim.wrapping_add(1));
                raw.store_u64(0, 0xdead_beef);
            }
        });
        begun.wait();
        let refused = file.attach(&wanted(2));
        done.store(true, Ordering::Relaxed);
        refused
    });
    // It may slip through in a lucky moment; then it is lost at once, and knows it.
    if let Ok(device) = refused {
        assert!(device.claim().map_or(true, |own| own.is_lost()));
    }
}

#[test]
fn a_lying_identity_reaches_nothing_outside_the_device() {
    let device = Device::open(Memory::heap(BYTES as usize), &wanted(4)).unwrap();
    let own = device.claim().unwrap();
    let good = *own.identity();
    for index in [4, 5, 4096, u32::MAX] {
        let lying = Identity { index, ..good };
        assert!(matches!(device.peer(&lying, 1), Err(RegionError::Layout(_))));
        assert!(device.peer(&good, index).is_err());
        assert_eq!(device.bell(index), 0);
    }
}

#[test]
fn a_device_that_disappears_is_an_event_and_not_a_crash() {
    let file = File::filled(0);
    let (here, there) = (file.attach(&wanted(2)).unwrap(), file.attach(&wanted(2)).unwrap());
    let (mut ours, theirs) = (here.claim().unwrap(), there.claim().unwrap());
    let them = theirs.identity().index;
    ours.activate(them).unwrap();
    let pair = ours.pair(them).unwrap();
    let seen = here.peer(theirs.identity(), ours.identity().index).unwrap();
    // As an unplugged device does: what is mapped is there no more.
    let region = std::fs::File::options().write(true).open(file.path()).unwrap();
    region.set_len(0).unwrap();
    pair.bulk.copy_in(0, &vec![1; pair.bulk.len()]);
    assert!(ours.is_lost());
    assert!(seen.check_header().is_err());
    assert!(!seen.is_active());
    assert!(theirs.is_lost());
    assert!(here.claim().is_err());
    // Another region in its place is attached to like any other.
    region.set_len(BYTES).unwrap();
    let back = file.attach(&wanted(2)).unwrap();
    assert_ne!(back.id(), here.id());
    let again = back.claim().unwrap();
    drop((ours, pair, theirs));
    assert!(!again.is_lost());
}
