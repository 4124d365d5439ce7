//! Who gets which slot, and what happens when an owner dies or is suspended.

use std::collections::HashSet;
use std::io::{BufReader, Write};
use std::process::Command;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use cohost::region::device::{Device, DeviceError, Memory};
use cohost::region::{Identity, OwnSection, RegionError};

use super::support::*;

#[test]
fn two_machines_see_one_region_by_its_id_and_each_others_sections() {
    let file = File::filled(0);
    let (here, there) = (file.attach(&wanted(4)).unwrap(), file.attach(&wanted(4)).unwrap());
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
    let mut children: Vec<_> = (0..6).map(|_| child("slots::a_claimer", &file.path())).collect();
    let mut outs: Vec<_> =
        children.iter_mut().map(|child| BufReader::new(child.stdout.take().unwrap())).collect();
    let answers: Vec<String> = outs.iter_mut().map(|out| said(out, "CLAIMED ")).collect();
    for child in &mut children {
        drop(child.stdin.take());
    }
    for (child, mut out) in children.iter_mut().zip(outs) {
        std::io::copy(&mut out, &mut std::io::sink()).unwrap();
        assert!(child.wait().unwrap().success());
    }
    let slots: HashSet<&str> =
        answers.iter().map(|answer| answer.split(' ').next().unwrap()).collect();
    let ids: HashSet<&str> =
        answers.iter().map(|answer| answer.rsplit(' ').next().unwrap()).collect();
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
    assert!(matches!(refused, Err(DeviceError::Full { slots: 2, .. })), "{refused:?}");
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
    let mut dying = child("slots::an_owner_to_be_killed", &file.path());
    let words = said(&mut BufReader::new(dying.stdout.take().unwrap()), "CLAIMED ");
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
    assert!(bytes.iter().all(|&byte| byte == 0), "old bytes in a new ring");
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
    let mut suspended = child("slots::an_owner_to_be_suspended", &file.path());
    let mut out = BufReader::new(suspended.stdout.take().unwrap());
    said(&mut out, "CLAIMED ");
    let signal = |number: &str| {
        let id = suspended.id().to_string();
        assert!(Command::new("kill").args([number, &id]).status().unwrap().success());
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
        let devices = [file.attach(&wanted(4)).unwrap(), file.attach(&wanted(4)).unwrap()];
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
    let guess = Identity { epoch: a.identity().epoch, ..*stranger };
    assert!(matches!(
        devices[0].peer(&guess, a.identity().index),
        Err(RegionError::WrongHeader { field: "epoch", .. })
    ));
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
