//! What can go wrong with memory between real guests: memory that only seems to be shared, devices
//! that are missing, forbidden, too small or full of something else, and guests that die.
//!
//! Where guests cannot boot, a test says SKIPPED and how to change that; with
//! `COHOST_LAB_REQUIRED` it fails instead.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use cohost::launch::{FailureCause, Layout, Outcome, RunOptions};
use cohost_lab::{Guest, Hypervisor, Lab, LabOptions};

#[allow(dead_code, reason = "each file of tests uses a part")]
mod lab_common;
#[allow(dead_code, reason = "each file of tests uses a part")]
#[path = "lab_common/ranks.rs"]
mod ranks;

use lab_common::{LIMIT, alone, sh, up};
use ranks::{Pair, UNTOLD, job, logs, shell, the_pair};

/// Where a region keeps its claim, its id, the pulse of its members, and the first of its leases.
const CLAIM: u64 = 0;
const ID: u64 = 8;
const PULSE: u64 = 64;
const LEASES: u64 = 4096;
/// Bytes of a lease, and slots of a region of less than 128 MiB.
const LINE: u64 = 64;
const SLOTS: u64 = 8;

/// A guest's region, as the lab's machine sees it.
struct Region(File);

impl Region {
    fn of(guest: &Guest) -> Region {
        let path = guest.region_file().unwrap();
        Region(File::options().read(true).write(true).open(path).unwrap())
    }

    fn word(&self, at: u64) -> u64 {
        let mut bytes = [0; 8];
        self.0.read_exact_at(&mut bytes, at).unwrap();
        u64::from_le_bytes(bytes)
    }

    fn put(&self, at: u64, word: u64) {
        self.0.write_all_at(&word.to_le_bytes(), at).unwrap();
    }

    /// Who holds each slot; 0 for nobody.
    fn owners(&self) -> Vec<u64> {
        (0..SLOTS).map(|slot| self.word(LEASES + slot * LINE)).collect()
    }

    fn held(&self) -> usize {
        self.owners().iter().filter(|owner| **owner != 0).count()
    }
}

fn until(what: &str, done: impl Fn() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < LIMIT, "not within {} s: {what}", LIMIT.as_secs());
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn expect(name: &str, lab: &Lab, pair: &Pair, path: &str, why: &str) {
    assert_eq!(pair.path, path, "{name}: {pair:?}{}", logs(lab));
    assert!(pair.why.contains(why), "{name}: no '{why}' in {pair:?}{}", logs(lab));
}

/// Two guests of one host with nothing to tell them apart, each with memory of its own.
fn twins(hypervisor: Hypervisor) -> LabOptions {
    let mut options = LabOptions::new(hypervisor, 1, 2);
    options.region_mib = 4;
    options.own_regions = true;
    if hypervisor == Hypervisor::Qemu {
        let uuid = "type=1,manufacturer=QEMU,uuid=11111111-2222-3333-4444-555555555555";
        options.smbios = vec![uuid.into()];
    }
    options
}

fn false_friends_are_refused(name: &str, hypervisor: Hypervisor) {
    let _alone = alone();
    let Some(lab) = up(name, &twins(hypervisor)) else { return };
    let [a, b] = lab.guests() else { panic!("{name}: not two guests") };
    for guest in [a, b] {
        sh(guest, "hostname twin; echo 0123456789abcdef0123456789abcdef > /etc/machine-id");
    }
    // Each gives its memory an id.
    let pair = the_pair(name, &lab, UNTOLD);
    expect(name, &lab, &pair, "tcp", "without a region in common; within reach here: ");
    let (original, copy) = (Region::of(a), Region::of(b));
    assert_ne!(original.word(ID), copy.word(ID), "{name}");
    let mut bytes = vec![0; 4 << 20];
    original.0.read_exact_at(&mut bytes, 0).unwrap();
    copy.0.write_all_at(&bytes, 0).unwrap();
    assert_ne!(original.word(ID), 0, "{name}: the region was never used");
    assert_eq!((original.word(ID), original.held()), (copy.word(ID), 0), "{name}");
    // Now the same id, and the same slot in both.
    let pair = the_pair(name, &lab, UNTOLD);
    let why = "as we do: its memory is another with the same id (a copy, or a clone's)";
    expect(name, &lab, &pair, "tcp", why);
    // The same id, and another slot: only what is written there tells.
    copy.put(LEASES, 77);
    let pair = the_pair(name, &lab, UNTOLD);
    expect(name, &lab, &pair, "tcp", "wrote is not in ");
    expect(name, &lab, &pair, "tcp", "its memory is another with the same id");
    assert_eq!(original.word(ID), copy.word(ID), "{name}: the claim must have stayed");
    // Who insists on a ring is told why there is none.
    let line = "unset COHOST_HOST; export COHOST_PATH=ring; cohost explain 2> /tmp/said";
    let outcome = shell(name, &lab, 1, line);
    assert_ne!(outcome.exit_code, 0, "{name}");
    // One of them; the other may find its peer gone already.
    let said = [a, b].map(|guest| sh(guest, "cat /tmp/said")).concat();
    assert!(said.contains("--path ring was asked for"), "{name}: {said}");
    assert!(said.contains("its memory is another"), "{name}: {said}");
}

#[test]
fn guests_of_qemu_with_copies_of_one_region_use_tcp_and_are_told_why() {
    let name = "guests_of_qemu_with_copies_of_one_region_use_tcp_and_are_told_why";
    false_friends_are_refused(name, Hypervisor::Qemu);
}

#[test]
fn guests_of_user_mode_linux_with_copies_of_one_region_use_tcp_and_are_told_why() {
    let name = "guests_of_user_mode_linux_with_copies_of_one_region_use_tcp_and_are_told_why";
    false_friends_are_refused(name, Hypervisor::Uml);
}

/// As guests are that were restored from one snapshot.
#[test]
fn guests_whose_kernels_have_the_same_boot_id_are_not_taken_for_one_machine() {
    let _alone = alone();
    let name = "guests_whose_kernels_have_the_same_boot_id_are_not_taken_for_one_machine";
    let Some(lab) = up(name, &LabOptions::new(Hypervisor::Uml, 1, 2)) else { return };
    for guest in lab.guests() {
        let boot_id = "/proc/sys/kernel/random/boot_id";
        sh(guest, &format!("echo 01234567-89ab > /tmp/b && mount -o bind /tmp/b {boot_id}"));
        assert_eq!(sh(guest, &format!("cat {boot_id}")).trim(), "01234567-89ab", "{name}");
    }
    let pair = the_pair(name, &lab, UNTOLD);
    expect(name, &lab, &pair, "tcp", "no ring: ");
}

/// The commands that a message quotes; an apostrophe within a word quotes nothing.
fn quoted(why: &str) -> Vec<&str> {
    why.split(" '").skip(1).filter_map(|part| Some(part.split_once('\'')?.0)).collect()
}

fn what_to_grant_is_told(name: &str, hypervisor: Hypervisor) {
    let _alone = alone();
    let Some(lab) = up(name, &LabOptions::new(hypervisor, 1, 2)) else { return };
    for guest in lab.guests() {
        sh(guest, "echo job:x:1000:1000::/:/bin/sh >> /etc/passwd; echo job:x:1000: >> /etc/group");
    }
    let as_job = |line: &str| format!("exec su job -c 'unset COHOST_HOST COHOST_VM; exec {line}'");
    let first = |outcome: Outcome| {
        let said = String::from_utf8_lossy(&outcome.captured).into_owned();
        assert_eq!(outcome.exit_code, 0, "{name}: {:?} {said}", outcome.failed);
        ranks::pairs(&said).remove(0)
    };
    let pair = first(shell(name, &lab, 1, &as_job("cohost explain")));
    expect(name, &lab, &pair, "tcp", "not usable: ");
    expect(name, &lab, &pair, "tcp", "Permission denied");
    // Exactly what it says makes it work.
    let commands = quoted(&pair.why);
    assert!(!commands.is_empty(), "{name}: {pair:?}");
    for guest in lab.guests() {
        for command in &commands {
            sh(guest, &command.replace("GROUP", "job"));
        }
    }
    let pair = first(shell(name, &lab, 1, &as_job("cohost explain")));
    expect(name, &lab, &pair, "ring", "proved by challenge");
}

#[test]
fn a_user_who_may_not_use_mmapper_is_told_what_to_grant_and_that_is_enough() {
    let name = "a_user_who_may_not_use_mmapper_is_told_what_to_grant_and_that_is_enough";
    what_to_grant_is_told(name, Hypervisor::Uml);
}

#[test]
fn a_user_who_may_not_use_ivshmem_is_told_what_to_grant_and_that_is_enough() {
    let name = "a_user_who_may_not_use_ivshmem_is_told_what_to_grant_and_that_is_enough";
    what_to_grant_is_told(name, Hypervisor::Qemu);
}

#[test]
fn guests_without_a_device_use_tcp_and_who_names_one_is_told_how_to_get_it() {
    let _alone = alone();
    let name = "guests_without_a_device_use_tcp_and_who_names_one_is_told_how_to_get_it";
    let mut options = LabOptions::new(Hypervisor::Uml, 1, 2);
    options.region_mib = 0;
    let Some(lab) = up(name, &options) else { return };
    let pair = the_pair(name, &lab, UNTOLD);
    expect(name, &lab, &pair, "tcp", "without a region in common");
    assert!(!pair.why.contains("within reach"), "{name}: {pair:?}");
    let named = format!("export COHOST_REGION=/dev/mmapper; {UNTOLD}");
    let pair = the_pair(name, &lab, &named);
    let why = "not there: start all guests of the host with iomem=mmapper,FILE of one FILE";
    expect(name, &lab, &pair, "tcp", why);
}

#[test]
fn a_guest_whose_device_is_unplugged_uses_tcp_until_it_is_back() {
    let _alone = alone();
    let name = "a_guest_whose_device_is_unplugged_uses_tcp_until_it_is_back";
    let Some(lab) = up(name, &LabOptions::new(Hypervisor::Qemu, 1, 2)) else { return };
    let [_, guest] = lab.guests() else { panic!("{name}: not two guests") };
    guest.unplug_region().unwrap();
    let pair = the_pair(name, &lab, UNTOLD);
    expect(name, &lab, &pair, "tcp", "without a region in common; within reach here: ivshmem");
    guest.plug_region().unwrap();
    let seen = "grep -l 0x1110 /sys/bus/pci/devices/*/device || true";
    until("the device is back", || !sh(guest, seen).trim().is_empty());
    let pair = the_pair(name, &lab, UNTOLD);
    expect(name, &lab, &pair, "ring", "proved by challenge");
}

#[test]
fn a_region_too_small_is_refused_with_the_bytes_that_are_enough() {
    let _alone = alone();
    let name = "a_region_too_small_is_refused_with_the_bytes_that_are_enough";
    for hypervisor in [Hypervisor::Uml, Hypervisor::Qemu] {
        let mut options = LabOptions::new(hypervisor, 1, 2);
        options.region_kib = Some(8);
        let Some(lab) = up(name, &options) else { return };
        let pair = the_pair(name, &lab, UNTOLD);
        expect(name, &lab, &pair, "tcp", "is too small: ");
        expect(name, &lab, &pair, "tcp", "and 8192 are there");
    }
}

#[test]
fn what_the_dead_left_in_a_region_is_replaced_and_what_lives_there_is_left_alone() {
    let _alone = alone();
    let name = "what_the_dead_left_in_a_region_is_replaced_and_what_lives_there_is_left_alone";
    let Some(lab) = up(name, &LabOptions::new(Hypervisor::Uml, 1, 2)) else { return };
    let region = Region::of(&lab.guests()[0]);
    region.0.write_all_at(&[0xa5; 1 << 20], 0).unwrap();
    let pair = the_pair(name, &lab, UNTOLD);
    expect(name, &lab, &pair, "ring", "proved by challenge");
    // The version stands above bit 42; nobody of it lives.
    let ours = region.word(CLAIM);
    region.put(CLAIM, ours + (1 << 42));
    let pair = the_pair(name, &lab, UNTOLD);
    expect(name, &lab, &pair, "ring", "proved by challenge");
    // Somebody of it lives.
    let theirs = region.word(CLAIM) + (1 << 42);
    region.put(CLAIM, theirs);
    let living = AtomicBool::new(true);
    let pair = std::thread::scope(|scope| {
        scope.spawn(|| {
            while living.load(Ordering::Relaxed) {
                region.put(PULSE, region.word(PULSE) + 1);
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        let pair = the_pair(name, &lab, UNTOLD);
        living.store(false, Ordering::Relaxed);
        pair
    });
    expect(name, &lab, &pair, "tcp", "is in use by members with another version");
    expect(name, &lab, &pair, "tcp", "run the same version of cohost");
    assert_eq!(region.word(CLAIM), theirs, "{name}");
}

/// Long enough to be looked at meanwhile.
const BUSY: &str = "unset COHOST_HOST COHOST_VM; \
                    exec cohost bench --worker --check --sizes 64K,1M --time 1 alltoall";

#[test]
fn two_jobs_use_one_region_at_once_and_leave_it_free() {
    let _alone = alone();
    let name = "two_jobs_use_one_region_at_once_and_leave_it_free";
    let Some(lab) = up(name, &LabOptions::new(Hypervisor::Uml, 1, 2)) else { return };
    let region = Region::of(&lab.guests()[0]);
    let line = format!("export COHOST_PATH=ring; {BUSY}");
    std::thread::scope(|scope| {
        let run = || shell(name, &lab, 1, &line);
        let jobs = [scope.spawn(run), scope.spawn(run)];
        until("both jobs hold their slots at once", || region.held() == 4);
        for job in jobs {
            let outcome = job.join().unwrap();
            let said = String::from_utf8_lossy(&outcome.captured);
            assert_eq!(outcome.exit_code, 0, "{name}: {:?}{}", outcome.failed, logs(&lab));
            let samples = said.matches("\"path\":\"ring\"").count();
            let right =
                said.matches("\"defects\":0,").count() + said.matches("\"defects\":0}").count();
            assert_eq!((samples, right), (2, 2), "{name}: {said}");
        }
    });
    assert_eq!(region.owners(), [0; SLOTS as usize], "{name}");
}

fn the_slot_of_a_dead_guest_is_used_again(name: &str, hypervisor: Hypervisor) {
    let _alone = alone();
    let Some(lab) = up(name, &LabOptions::new(hypervisor, 1, 3)) else { return };
    let [first, _, dying] = lab.guests() else { panic!("{name}: not three guests") };
    let region = Region::of(first);
    let outcome = std::thread::scope(|scope| {
        scope.spawn(|| {
            until("all hold their slots", || region.held() == 3);
            dying.stop();
        });
        shell(name, &lab, 1, BUSY)
    });
    let failure = outcome.failed.unwrap();
    let place = format!("guest {}", dying.label());
    assert_eq!((failure.rank, &failure.place), (2, &place), "{name}: {failure:?}");
    assert!(matches!(failure.cause, FailureCause::Lost(_)), "{name}: {failure:?}");
    let left = region.owners();
    assert!(left[..3].iter().any(|owner| *owner != 0), "{name}: the dead hold no slot: {left:?}");
    // No other slot is free: four ranks must take those of the dead, once they seem dead for a lease.
    for slot in (0..SLOTS).filter(|slot| left[*slot as usize] == 0) {
        region.put(LEASES + slot * LINE, 77 + slot);
    }
    let options = RunOptions {
        ranks: 4,
        layout: Some(Layout { hosts: 1, vms: 2 }),
        ranks_per_vm: 2,
        program: "sh".into(),
        args: ["-c", &format!("export COHOST_PATH=ring; {BUSY}")].map(Into::into).into(),
        capture_rank0: true,
        ..RunOptions::default()
    };
    let outcome = job(name, &lab, &options);
    assert_eq!(outcome.exit_code, 0, "{name}: {:?}{}", outcome.failed, logs(&lab));
    let now = region.owners();
    assert_eq!(now[..3], [0; 3], "{name}: taken and given back: {left:?}, then {now:?}");
}

#[test]
fn the_slot_of_a_killed_guest_of_qemu_is_used_again() {
    let name = "the_slot_of_a_killed_guest_of_qemu_is_used_again";
    the_slot_of_a_dead_guest_is_used_again(name, Hypervisor::Qemu);
}

#[test]
fn the_slot_of_a_killed_guest_of_user_mode_linux_is_used_again() {
    let name = "the_slot_of_a_killed_guest_of_user_mode_linux_is_used_again";
    the_slot_of_a_dead_guest_is_used_again(name, Hypervisor::Uml);
}
