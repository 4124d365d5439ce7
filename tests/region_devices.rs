//! Devices that several machines share: who gets which slot, what a device full of garbage, of
//! another version or of another user does, and what happens when an owner dies.
//!
//! A machine is played by a mapping of its own of one file, in this process or another.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use cohost::region::access::Local;
use cohost::region::device::{Device, DeviceError, LeaseTime, Memory, Wanted};
use cohost::region::planner::PlanError;
use cohost::region::{Geometry, Identity, OwnSection, RegionError, dax};

const BYTES: u64 = 1 << 20;

/// Small rings, and leases long enough for a machine under load.
fn wanted(slots: u32) -> Wanted {
    Wanted {
        slots: Some(slots),
        geometry: Geometry::MIN,
        lease: LeaseTime::at_least(Duration::from_millis(1000)),
    }
}

struct File {
    directory: tempfile::TempDir,
}

impl File {
    fn filled(byte: u8) -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("region"), vec![byte; BYTES as usize]).unwrap();
        Self { directory }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("region")
    }

    /// The device as one more machine has it.
    fn attach(&self, wanted: &Wanted) -> Result<Device, DeviceError> {
        attach(&self.path(), wanted)
    }
}

fn attach(path: &Path, wanted: &Wanted) -> Result<Device, DeviceError> {
    Device::open(dax::open(path)?, wanted)
}

fn identity(device: &Device, said: &str) -> Identity {
    let (slot, epoch) = said.split_once(' ').unwrap();
    Identity {
        layout: device.section_layout(),
        index: slot.parse().unwrap(),
        epoch: epoch.parse().unwrap(),
    }
}

/// Starts the test `name` of this file in a process of its own.
fn child(name: &str, path: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--ignored", "--nocapture"])
        .env("COHOST_TEST_REGION", path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The next line of a child that holds `key`, from behind it.
fn said(from: &mut impl BufRead, key: &str) -> String {
    let mut line = String::new();
    while from.read_line(&mut line).unwrap() > 0 {
        if let Some((_, rest)) = line.split_once(key) {
            return rest.trim().to_owned();
        }
        line.clear();
    }
    panic!("the child ended before it said {key}");
}

/// What is asked of a child, when this process is one.
fn region_of_parent() -> Option<PathBuf> {
    std::env::var_os("COHOST_TEST_REGION").map(PathBuf::from)
}

#[test]
fn two_machines_see_one_region_by_its_id_and_each_others_sections() {
    let file = File::filled(0);
    let (here, there) = (
        file.attach(&wanted(4)).unwrap(),
        file.attach(&wanted(4)).unwrap(),
    );
    assert_eq!(here.id(), there.id());
    assert_ne!(here.id(), 0);
    let (mut ours, mut theirs) = (here.claim().unwrap(), there.claim().unwrap());
    let (a, b) = (ours.identity().index, theirs.identity().index);
    assert_ne!(a, b);
    ours.activate(b).unwrap();
    theirs.activate(a).unwrap();
    ours.set_challenge(b, b"are you there??!").unwrap();
    let seen = there.peer(ours.identity(), b).unwrap();
    assert_eq!(&seen.challenge(), b"are you there??!");
    let back = here.peer(theirs.identity(), a).unwrap().pair().unwrap();
    theirs.pair(a).unwrap().bulk.copy_in(0, b"through the wall");
    let mut out = [0; 16];
    back.bulk.copy_out(0, &mut out);
    assert_eq!(&out, b"through the wall");
}

#[test]
fn another_region_has_another_id() {
    let (one, two) = (File::filled(0), File::filled(0));
    let id = |file: &File| file.attach(&wanted(4)).unwrap().id();
    assert_ne!(id(&one), id(&two));
}

#[test]
fn racing_claimers_of_one_process_all_get_different_slots_over_and_over() {
    const CLAIMERS: usize = 12;
    let device = Device::open(Memory::heap(4 << 20), &wanted(16)).unwrap();
    let start = Barrier::new(CLAIMERS);
    for _ in 0..20 {
        let sections: Vec<OwnSection> = std::thread::scope(|scope| {
            let claim = || {
                start.wait();
                device.claim().unwrap()
            };
            let claimers: Vec<_> = (0..CLAIMERS).map(|_| scope.spawn(claim)).collect();
            claimers.into_iter().map(|c| c.join().unwrap()).collect()
        });
        let slots: HashSet<u32> = sections.iter().map(|s| s.identity().index).collect();
        let epochs: HashSet<u64> = sections.iter().map(|s| s.identity().epoch).collect();
        assert_eq!((slots.len(), epochs.len()), (CLAIMERS, CLAIMERS));
        assert!(sections.iter().all(|section| !section.is_lost()));
    }
}

#[test]
fn racing_processes_agree_on_one_header_and_get_different_slots() {
    // Garbage, so that they race for the header too.
    let file = File::filled(0x5a);
    let mut children: Vec<_> = (0..6).map(|_| child("a_claimer", &file.path())).collect();
    let mut outs: Vec<_> = children
        .iter_mut()
        .map(|child| BufReader::new(child.stdout.take().unwrap()))
        .collect();
    let answers: Vec<String> = outs.iter_mut().map(|out| said(out, "CLAIMED ")).collect();
    for child in &mut children {
        drop(child.stdin.take());
    }
    for (child, mut out) in children.iter_mut().zip(outs) {
        std::io::copy(&mut out, &mut std::io::sink()).unwrap();
        assert!(child.wait().unwrap().success());
    }
    let slots: HashSet<&str> = answers
        .iter()
        .map(|answer| answer.split(' ').next().unwrap())
        .collect();
    let ids: HashSet<&str> = answers
        .iter()
        .map(|answer| answer.rsplit(' ').next().unwrap())
        .collect();
    assert_eq!((slots.len(), ids.len()), (6, 1), "{answers:?}");
}

#[test]
#[ignore = "a part of `racing_processes_...`, in a process of its own"]
fn a_claimer() {
    let Some(path) = region_of_parent() else {
        return;
    };
    let device = attach(&path, &wanted(8)).unwrap();
    let own = device.claim().unwrap();
    println!("CLAIMED {} {}", own.identity().index, device.id());
    std::io::stdout().flush().unwrap();
    // Until the parent has heard all.
    let _ = std::io::stdin().read_line(&mut String::new());
    assert!(!own.is_lost());
}

#[test]
fn a_full_device_is_refused_at_once_when_all_its_owners_live() {
    let file = File::filled(0);
    let device = file.attach(&wanted(2)).unwrap();
    let _owners = [device.claim().unwrap(), device.claim().unwrap()];
    let refused = file.attach(&wanted(2)).unwrap().claim();
    assert!(
        matches!(refused, Err(DeviceError::Full { slots: 2, .. })),
        "{refused:?}"
    );
}

#[test]
fn a_slot_is_free_again_when_the_last_window_onto_it_is_gone() {
    let device = Device::open(Memory::heap(BYTES as usize), &wanted(2)).unwrap();
    let mut first = device.claim().unwrap();
    let second = device.claim().unwrap();
    first.activate(second.identity().index).unwrap();
    let pair = first.pair(second.identity().index).unwrap();
    drop(first);
    // A producer may still write through this.
    assert!(matches!(device.claim(), Err(DeviceError::Full { .. })));
    drop(pair);
    assert_eq!(device.claim().unwrap().identity().index, 0);
}

#[test]
fn the_slot_of_a_killed_owner_is_taken_by_another_and_cleared() {
    let file = File::filled(0);
    let device = file.attach(&wanted(2)).unwrap();
    let mut dying = child("an_owner_to_be_killed", &file.path());
    let words = said(
        &mut BufReader::new(dying.stdout.take().unwrap()),
        "CLAIMED ",
    );
    let old = identity(&device, &words);
    let survivor = device.claim().unwrap();
    let me = survivor.identity().index;
    let seen = device.peer(&old, me).unwrap();
    assert_eq!(seen.pair().unwrap().control.load_u32(0), 77);
    // As long as it lives, its slot is its own, however long somebody waits for it.
    assert!(matches!(device.claim(), Err(DeviceError::Full { .. })));
    dying.kill().unwrap();
    dying.wait().unwrap();
    let mut heir = device.claim().unwrap();
    assert_eq!(heir.identity().index, old.index);
    assert_ne!(heir.identity().epoch, old.epoch);
    // Who still looks at the dead one's section sees that it is another's.
    assert!(seen.check_header().is_err());
    assert!(!seen.is_active());
    heir.activate(me).unwrap();
    let pair = heir.pair(me).unwrap();
    let mut bytes = vec![0xff; pair.bulk.len()];
    pair.bulk.copy_out(0, &mut bytes);
    assert!(
        bytes.iter().all(|&byte| byte == 0),
        "old bytes in a new ring"
    );
    assert_eq!(pair.control.load_u32(0), 0);
    assert!(!survivor.is_lost());
}

#[test]
#[ignore = "a part of `the_slot_of_a_killed_owner_...`, in a process of its own"]
fn an_owner_to_be_killed() {
    let Some(path) = region_of_parent() else {
        return;
    };
    let device = attach(&path, &wanted(2)).unwrap();
    let mut own = device.claim().unwrap();
    own.activate(1 - own.identity().index).unwrap();
    let pair = own.pair(1 - own.identity().index).unwrap();
    pair.control.store_u32(0, 77);
    pair.bulk.copy_in(0, &vec![0xee; pair.bulk.len()]);
    println!("CLAIMED {} {}", own.identity().index, own.identity().epoch);
    std::io::stdout().flush().unwrap();
    let _ = std::io::stdin().read_line(&mut String::new());
}

#[test]
fn an_owner_suspended_for_too_long_notices_that_it_was_robbed() {
    let file = File::filled(0);
    let device = file.attach(&wanted(1)).unwrap();
    let mut suspended = child("an_owner_to_be_suspended", &file.path());
    let mut out = BufReader::new(suspended.stdout.take().unwrap());
    said(&mut out, "CLAIMED ");
    let signal = |number: &str| {
        let id = suspended.id().to_string();
        assert!(
            Command::new("kill")
                .args([number, &id])
                .status()
                .unwrap()
                .success()
        );
    };
    signal("-STOP");
    let robber = device.claim().unwrap();
    signal("-CONT");
    said(&mut out, "ROBBED");
    drop(suspended.stdin.take());
    std::io::copy(&mut out, &mut std::io::sink()).unwrap();
    assert!(suspended.wait().unwrap().success());
    // What the robbed one gave back was not the robber's.
    assert!(!robber.is_lost());
    assert!(matches!(device.claim(), Err(DeviceError::Full { .. })));
}

#[test]
#[ignore = "a part of `an_owner_suspended_...`, in a process of its own"]
fn an_owner_to_be_suspended() {
    let Some(path) = region_of_parent() else {
        return;
    };
    let own = attach(&path, &wanted(1)).unwrap().claim().unwrap();
    println!("CLAIMED {} {}", own.identity().index, own.identity().epoch);
    std::io::stdout().flush().unwrap();
    let start = Instant::now();
    while !own.is_lost() {
        assert!(start.elapsed() < Duration::from_secs(60), "never robbed");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(own.is_lost(), "and it stays so");
    println!("ROBBED");
    std::io::stdout().flush().unwrap();
    drop(own);
}

#[test]
fn two_jobs_share_one_device_and_neither_disturbs_the_other() {
    let file = File::filled(0);
    let job = || {
        let devices = [
            file.attach(&wanted(4)).unwrap(),
            file.attach(&wanted(4)).unwrap(),
        ];
        let sections = [devices[0].claim().unwrap(), devices[1].claim().unwrap()];
        (devices, sections)
    };
    let mut jobs = [job(), job()];
    for (number, (devices, [a, b])) in (1..).zip(&mut jobs) {
        a.activate(b.identity().index).unwrap();
        let pair = a.pair(b.identity().index).unwrap();
        pair.bulk.copy_in(0, &vec![number; pair.bulk.len()]);
        let seen = devices[1].peer(a.identity(), b.identity().index).unwrap();
        assert!(seen.is_active());
    }
    for (number, (devices, [a, b])) in (1..).zip(&jobs) {
        let seen = devices[1].peer(a.identity(), b.identity().index).unwrap();
        let pair = seen.pair().unwrap();
        let mut bytes = vec![0_u8; pair.bulk.len()];
        pair.bulk.copy_out(0, &mut bytes);
        assert!(bytes.iter().all(|&byte| byte == number));
    }
    // Of the other job's member nobody has an epoch, so its section is refused.
    let (devices, [a, _]) = &jobs[0];
    let stranger = jobs[1].1[0].identity();
    let guess = Identity {
        epoch: a.identity().epoch,
        ..*stranger
    };
    assert!(matches!(
        devices[0].peer(&guess, a.identity().index),
        Err(RegionError::WrongHeader { field: "epoch", .. })
    ));
}

#[test]
fn members_with_another_configuration_are_refused_while_others_live_and_take_over_when_not() {
    let file = File::filled(0);
    let first = file.attach(&wanted(4)).unwrap();
    let owner = first.claim().unwrap();
    let refused = file.attach(&wanted(8)).unwrap_err();
    let DeviceError::OtherConfiguration {
        field: "number of slots",
        found: 4,
        expected: 8,
        ..
    } = refused
    else {
        panic!("{refused:?}")
    };
    let bigger = Wanted {
        geometry: Geometry {
            cells: 32,
            ..Geometry::MIN
        },
        ..wanted(4)
    };
    let refused = file.attach(&bigger).unwrap_err().to_string();
    assert!(
        refused.contains("another cells of a ring, 16; ours is 32"),
        "{refused}"
    );
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
    let Err(DeviceError::OtherConfiguration { field, .. }) = refused else {
        panic!("{refused:?}")
    };
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
    assert!(
        matches!(refused, Err(DeviceError::OtherProgram { .. })),
        "{refused:?}"
    );
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
    let quick = Wanted {
        lease: LeaseTime::at_least(Duration::ZERO),
        ..wanted(2)
    };
    // An old region of ours, dead, with bits flipped, is the most credible garbage.
    let old = File::filled(0);
    let device = old.attach(&quick).unwrap();
    let mut sections = [device.claim().unwrap(), device.claim().unwrap()];
    sections[0].activate(1).unwrap();
    sections[1].activate(0).unwrap();
    let bytes = std::fs::read(old.path()).unwrap();
    drop(sections);
    let mut cases: Vec<Vec<u8>> = vec![
        vec![0xff; BYTES as usize],
        vec![1; BYTES as usize],
        bytes.clone(),
    ];
    for at in [
        0,
        1,
        2,
        3,
        5,
        6,
        7,
        8,
        64,
        4096,
        4100,
        4096 + 64,
        8192,
        8200,
    ] {
        let mut flipped = bytes.clone();
        flipped[at] ^= 0x10;
        cases.push(flipped);
    }
    for case in cases {
        let file = File::filled(0);
        std::fs::write(file.path(), case).unwrap();
        let devices = [file.attach(&quick).unwrap(), file.attach(&quick).unwrap()];
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
}

#[test]
fn a_region_too_small_is_refused_with_the_exact_number_of_bytes() {
    let refused = Device::open(Memory::heap(8192), &wanted(4)).unwrap_err();
    let DeviceError::TooSmall {
        source: PlanError::TooSmall {
            needed, available, ..
        },
        ..
    } = &refused
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
        assert!(matches!(
            device.peer(&lying, 1),
            Err(RegionError::Layout(_))
        ));
        assert!(device.peer(&good, index).is_err());
        assert_eq!(device.bell(index), 0);
    }
}

#[test]
fn a_device_that_disappears_is_an_event_and_not_a_crash() {
    let file = File::filled(0);
    let (here, there) = (
        file.attach(&wanted(2)).unwrap(),
        file.attach(&wanted(2)).unwrap(),
    );
    let (mut ours, theirs) = (here.claim().unwrap(), there.claim().unwrap());
    let them = theirs.identity().index;
    ours.activate(them).unwrap();
    let pair = ours.pair(them).unwrap();
    let seen = here.peer(theirs.identity(), ours.identity().index).unwrap();
    // As an unplugged device does: what is mapped is there no more.
    let region = std::fs::File::options()
        .write(true)
        .open(file.path())
        .unwrap();
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

#[test]
fn a_bell_is_heard_of_until_its_owner_is_gone() {
    let device = Device::open(Memory::heap(BYTES as usize), &wanted(2)).unwrap();
    let own = device.claim().unwrap();
    device.set_bell(&own, 0x1_0002);
    assert_eq!(device.bell(own.identity().index), 0x1_0002);
    drop(own);
    let own = device.claim().unwrap();
    assert_eq!(device.bell(own.identity().index), 0, "a predecessor's bell");
}

#[test]
fn cached_memory_is_not_called_uncached() {
    let device = Device::open(Memory::heap(BYTES as usize), &wanted(2)).unwrap();
    assert!(device.speed().device_bytes_per_s > 0.0);
    assert_eq!(device.notice().is_some(), device.speed().is_uncached());
}
