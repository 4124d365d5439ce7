//! Ranks in guests of QEMU whose devices interrupt, or are unplugged under them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::ffi::OsString;
use std::time::Duration;

use cohost::cli::lab_ranks;
use cohost::launch::{Layout, RunOptions};
use cohost_lab::{Hypervisor, Lab, LabOptions, RegionKind};

#[allow(dead_code, reason = "each file of tests uses a part")]
mod lab_common;

use lab_common::{alone, up};

/// Two guests of one host, if these tests are asked for.
fn guests(name: &str, kind: RegionKind) -> Option<Lab> {
    let mut options = LabOptions::new(Hypervisor::Qemu, 1, 2);
    options.region_kind = kind;
    up(name, &options)
}

/// What `cohost explain` says after it has sent messages for so long.
fn explained(lab: &Lab, seconds: u32) -> String {
    let options = RunOptions {
        ranks: 2,
        layout: Some(Layout { hosts: 1, vms: 2 }),
        program: "cohost".into(),
        args: vec!["explain".into(), OsString::from(format!("--seconds={seconds}"))],
        env: vec![("COHOST_LOG".into(), "1".into())],
        capture_rank0: true,
        ..RunOptions::default()
    };
    let outcome = lab_ranks::run(lab, &options).unwrap();
    let said = String::from_utf8_lossy(&outcome.captured).into_owned();
    assert_eq!(outcome.exit_code, 0, "{said}: {:?}", outcome.failed);
    assert!(said.contains("every byte right"), "{said}");
    said
}

/// The line of the one pair.
fn pair(said: &str) -> &str {
    said.lines().find(|line| line.trim_start().starts_with("0     1")).unwrap()
}

#[test]
fn ranks_of_two_guests_wake_each_other_by_msix() {
    let _alone = alone();
    let name = "ranks_of_two_guests_wake_each_other_by_msix";
    let Some(lab) = guests(name, RegionKind::Doorbell(2)) else { return };
    let said = explained(&lab, 3);
    assert!(pair(&said).contains(" ring "), "{said}");
    assert!(pair(&said).contains("rung by MSI-X"), "{said}");
    assert!(said.contains("woken by "), "{said}");
    eprintln!("{said}");
}

#[test]
fn a_job_goes_on_while_a_guest_of_it_is_migrated() {
    let _alone = alone();
    let name = "a_job_goes_on_while_a_guest_of_it_is_migrated";
    let Some(lab) = guests(name, RegionKind::Plain) else { return };
    assert!(pair(&explained(&lab, 1)).contains(" ring "), "{name}: before");
    let said = std::thread::scope(|threads| {
        threads.spawn(|| {
            let guest = &lab.guests()[1];
            std::thread::sleep(Duration::from_secs(4));
            let took = guest.migrate(0).unwrap_or_else(|e| panic!("{e}\n{}", guest.log()));
            eprintln!("moved in {:?}, standing still for {:?}", took.total, took.downtime);
            std::thread::sleep(Duration::from_secs(3));
            guest.plug_region().unwrap();
        });
        explained(&lab, 25)
    });
    eprintln!("{said}");
    assert!(pair(&said).contains(" tcp "), "{said}");
    for rank in [0, 1] {
        let given_up = format!("rank {rank}, ");
        let line = said.lines().find(|line| line.starts_with(&given_up)).unwrap();
        assert!(line.contains("is given up"), "{said}");
    }
    let back = said.lines().find(|line| line.contains("within reach again")).unwrap();
    assert!(back.starts_with("rank 1, ") && back.contains("ivshmem at "), "{said}");
    // Whoever comes after finds the device that came back.
    assert!(pair(&explained(&lab, 1)).contains(" ring "), "{name}: after");
}
