//! The part of a test that runs inside a guest of a hypervisor: what memory is within reach, and
//! two guests that talk through it. A lab boots the guests with this binary and reads what it
//! prints; elsewhere there is nothing to run, so these are ignored.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::time::{Duration, Instant};

use cohost::doorbell::ivshmem::Doorbell;
use cohost::doorbell::xen::{EventChannel, own_domain_by_trial};
use cohost::doorbell::{Far, Interrupt, Policy, Ring, Ringer, Sleeper, Woken};
use cohost::region::access::LINE;
use cohost::region::device::{Device, LeaseTime, Wanted};
use cohost::region::discover::discover;
use cohost::region::ivshmem;
use cohost::region::layout::PAGE;
use cohost::region::vfio::Registers;
use cohost::region::xen::{self, Invitation};
use cohost::region::{Geometry, Identity, OwnSection, PeerSection};

const LONG: Duration = Duration::from_secs(120);

fn wanted() -> Wanted {
    Wanted { lease: LeaseTime::at_least(Duration::from_secs(2)), ..Wanted::default() }
}

fn until<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        // Asking for the time is a slow call in some guests.
        for _ in 0..20_000 {
            if let Some(value) = ready() {
                return value;
            }
            std::hint::spin_loop();
        }
        assert!(start.elapsed() < LONG, "{what}: nothing within {LONG:?}");
        std::thread::yield_now();
    }
}

/// The other member of the device. Ranks hear of each other over TCP; here there is nothing but the
/// device, so the other's epoch is read where its lease is: in a region that was fresh, since what
/// is written there may be of the dead.
fn other(device: &Device, own: &OwnSection) -> PeerSection {
    let me = own.identity().index;
    let look = |slot: u32| {
        let identity = Identity {
            layout: device.section_layout(),
            index: slot,
            epoch: device.raw().load_u64(PAGE + slot as usize * LINE),
        };
        device.peer(&identity, me).ok()
    };
    // Of the slots, the first two are taken.
    until("the other guest", || look(1 - me))
}

#[test]
#[ignore = "runs in a guest, with another guest beside it"]
fn two_guests_talk_through_the_best_region_within_reach() {
    let named = std::env::var_os("COHOST_REGION");
    for candidate in discover(Path::new("/"), named.as_deref()) {
        println!("GUEST sees {candidate}");
    }
    let found = discover(Path::new("/"), named.as_deref());
    let candidate =
        found.iter().find(|c| c.is_device() && c.obstacle.is_none()).expect("a usable region");
    let device = Device::open(candidate.open().unwrap(), &wanted()).unwrap();
    println!(
        "GUEST region {} {:016x} {} slots, {}",
        device.kind(),
        device.id(),
        device.layout().slots(),
        device.speed()
    );
    if let Some(notice) = device.notice() {
        println!("GUEST notice {notice}");
    }
    let mut own = device.claim().unwrap();
    let me = own.identity().index;
    println!("GUEST slot {me}");
    let peer = other(&device, &own);
    let them = peer.identity().index;
    own.activate(them).unwrap();
    until("the other's block", || peer.is_active().then_some(()));
    let (ours, theirs) = (own.pair(them).unwrap(), peer.pair().unwrap());
    // Every byte of the bulk areas, several times over.
    let mut bytes = vec![0_u8; theirs.bulk.len()];
    for round in 1..=20_u32 {
        ours.bulk.copy_in(0, &vec![round as u8 ^ me as u8; bytes.len()]);
        ours.control.store_u32(0, round);
        until("bytes", || (theirs.control.load_u32(0) >= round).then_some(()));
        theirs.bulk.copy_out(0, &mut bytes);
        assert!(bytes.iter().all(|&b| b == round as u8 ^ them as u8));
        ours.control.store_u32(4, round);
        until("a receipt", || (theirs.control.load_u32(4) >= round).then_some(()));
    }
    const ROUNDS: u32 = 20_000;
    let start = Instant::now();
    for round in 1..=ROUNDS {
        if me == 0 {
            ours.control.store_u32(8, round);
        }
        until("a word", || (theirs.control.load_u32(8) >= round).then_some(()));
        if me != 0 {
            ours.control.store_u32(8, round);
        }
    }
    let there_and_back = start.elapsed() / ROUNDS;
    assert!(!own.is_lost());
    println!("GUEST word there and back {there_and_back:?}");
    // The other may still read our last word.
    ours.control.store_u32(12, 1);
    until("the end", || {
        (theirs.control.load_u32(12) == 1 || peer.check_header().is_err()).then_some(())
    });
    std::thread::sleep(Duration::from_millis(500));
    println!("GUEST done");
}

/// A domain can grant pages to itself, so one guest is enough to see that the devices do as told.
#[test]
#[ignore = "runs in a domain of Xen"]
fn grants_and_event_channels_of_xen_carry_bytes_and_rings() {
    let devices = Path::new(xen::DEVICES);
    if !devices.join("gntalloc").exists() {
        println!("GUEST no grants of Xen here");
        return;
    }
    let by_trial = own_domain_by_trial(devices, 16);
    println!("GUEST domain {:?} by the store, {by_trial:?} by trial", xen::own_domain(devices));
    let domain = by_trial.expect("a domain");
    let (mut own, invitation) =
        xen::grant(devices, by_trial, domain, Geometry::default(), 0).unwrap();
    let sent = invitation.encode();
    println!("GUEST {} pages in {} bytes", invitation.references.len(), sent.len());
    let read = Invitation::decode(&sent, Geometry::default(), 1).unwrap();
    own.activate(1).unwrap();
    let peer = xen::map(devices, domain, &read, 1).unwrap();
    let (ours, theirs) = (own.pair(1).unwrap(), peer.pair().unwrap());
    let pattern: Vec<u8> = (0..ours.bulk.len()).map(|i| (i % 251) as u8).collect();
    ours.bulk.copy_in(0, &pattern);
    let mut out = vec![0; pattern.len()];
    theirs.bulk.copy_out(0, &mut out);
    assert_eq!(out, pattern);
    // Owner gone first: what is mapped stays readable.
    drop((ours, own));
    assert_eq!(theirs.bulk.load_u32(248), u32::from_ne_bytes([248, 249, 250, 0]));
    drop((theirs, peer));
    // What was revoked cannot be mapped again, once the kernel has found it unmapped: it looks
    // every second.
    std::thread::sleep(Duration::from_secs(4));
    let again = xen::map(devices, domain, &read, 1);
    println!("GUEST revoked: {}", again.unwrap_err());
    // Peer gone first, over and over: nothing is used up.
    for _ in 0..50 {
        let (own, invitation) =
            xen::grant(devices, by_trial, domain, Geometry::default(), 0).unwrap();
        drop(xen::map(devices, domain, &invitation, 1).unwrap());
        drop(own);
    }
    let here = EventChannel::offer(devices, domain).unwrap();
    let there = EventChannel::connect(devices, domain, here.port()).unwrap();
    let heard = Interrupt::Channel(there.into());
    // A new channel may have an event of its own.
    heard.drain();
    for round in 0..5 {
        assert!(!heard.drain(), "round {round}");
        here.ring().unwrap();
        until("an event", || heard.drain().then_some(()));
    }
    println!("GUEST xen done");
}

#[test]
#[ignore = "runs in a guest with ivshmem-doorbell bound to vfio-pci, with another guest beside it"]
fn guests_wake_each_other_by_interrupts_of_ivshmem() {
    let found = ivshmem::find(Path::new("/"));
    let Some(found) = found.iter().find(|found| found.doorbell) else {
        println!("GUEST no doorbell device here");
        return;
    };
    assert!(found.is_bound_to_vfio());
    println!("GUEST by sysfs: {:?}", found.open().map(|_| ()));
    let best = discover(Path::new("/"), None).remove(0);
    assert_eq!((best.kind, best.obstacle.clone()), ("ivshmem-doorbell", None));
    let (memory, vfio) = best.open_with_interrupts().unwrap();
    let vfio = vfio.unwrap();
    println!("GUEST {} vectors", vfio.vectors());
    let device = Device::open(memory, &wanted()).unwrap();
    let (doorbell, events) = Doorbell::open(vfio).unwrap();
    println!("GUEST bell {:x}, {}", doorbell.address(), device.speed());
    let mut own = device.claim().unwrap();
    device.set_bell(&own, doorbell.address());
    let peer = other(&device, &own);
    let (me, them) = (own.identity().index, peer.identity().index);
    own.activate(them).unwrap();
    until("the other's block", || peer.is_active().then_some(()));
    let bell = until("the other's bell", || doorbell.bell(device.bell(them)));
    let (ours, theirs) = (own.pair(them).unwrap(), peer.pair().unwrap());
    let mut sleeper = Sleeper::new(&own, Policy::Interrupt);
    sleeper.add(&peer).unwrap();
    sleeper.add_interrupt(events.into());
    let mut ringer = Ringer::new(&own, &peer).unwrap().over(Far::Msix(bell));
    const ROUNDS: u32 = 200;
    let (start, mut rung, mut bytes) = (Instant::now(), 0, 0);
    for round in 1..=ROUNDS {
        let mut go = |ringer: &mut Ringer| {
            ours.control.store_u32(0, round);
            bytes += u32::from(ringer.ring_if_armed() == Ring::SendByte);
        };
        if me == 0 {
            go(&mut ringer);
        }
        while theirs.control.load_u32(0) < round {
            let armed = sleeper.arm();
            if theirs.control.load_u32(0) < round {
                let woken = armed.sleep(Duration::from_secs(5)).unwrap();
                assert_eq!(woken, Woken::Rung, "round {round}: no interrupt came");
                rung += 1;
            }
        }
        if me != 0 {
            go(&mut ringer);
        }
    }
    println!(
        "GUEST {rung} sleeps ended by interrupts, {bytes} left to bytes, there and back {:?}",
        start.elapsed() / ROUNDS
    );
    assert!(rung > 0 && bytes == 0);
    std::thread::sleep(Duration::from_secs(1));
    println!("GUEST doorbell done");
}

#[test]
#[ignore = "runs in a guest whose ivshmem device is unplugged and plugged in again meanwhile"]
fn unplugging_is_noticed_and_the_device_that_comes_back_is_used() {
    let attach = || {
        let found = discover(Path::new("/"), None);
        let usable = found.iter().find(|c| c.kind == "ivshmem")?;
        let device = Device::open(usable.open().ok()?, &wanted()).ok()?;
        Some((usable.place.clone(), device))
    };
    let (place, device) = attach().unwrap();
    let mut own = device.claim().unwrap();
    let peer = 1 - own.identity().index.min(1);
    own.activate(peer).unwrap();
    let pair = own.pair(peer).unwrap();
    println!("GUEST attached {place} {:016x}", device.id());
    let start = Instant::now();
    while !own.is_lost() {
        pair.bulk.copy_in(0, &[1; 4096]);
        assert!(start.elapsed() < LONG, "nobody unplugged it");
        std::thread::sleep(Duration::from_millis(1));
    }
    println!("GUEST noticed that it is gone");
    drop((own, pair, device));
    let start = Instant::now();
    let (place, device) = loop {
        if let Some(found) = attach() {
            break found;
        }
        assert!(start.elapsed() < LONG, "it did not come back");
        std::thread::sleep(Duration::from_millis(20));
    };
    let own = device.claim().unwrap();
    println!("GUEST attached {place} {:016x} again", device.id());
    assert!(!own.is_lost());
}
