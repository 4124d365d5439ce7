//! Guests of Xen, in a file of their own since they take longer than the others.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod lab_common;

use std::ffi::OsString;
use std::time::{Duration, Instant};

use cohost::cli::lab_ranks;
use cohost::launch::{FailureCause, Layout, Outcome, PathPolicy, RunOptions};
use cohost_lab::{Hypervisor, Lab, LabOptions};
use lab_common::{alone, sh, up, verdict};

#[test]
fn xen_boots_two_guests_with_the_devices_for_grants_and_events() {
    let _alone = alone();
    let name = "xen_boots_two_guests_with_the_devices_for_grants_and_events";
    let options = LabOptions::new(Hypervisor::Xen, 1, 2);
    let Some(lab) = up(name, &options) else {
        return;
    };
    let [a, b] = lab.guests() else { panic!("{name}: not two guests") };
    for guest in [a, b] {
        assert_eq!(verdict(guest), "xen-domu", "{}", guest.label());
        sh(guest, "ls /dev/xen/gntalloc /dev/xen/gntdev /dev/xen/evtchn /dev/xen/xenbus");
        assert_eq!(sh(guest, "hostname").trim(), guest.name());
    }
    sh(a, &format!("ping -c 1 -W 60 {}", b.address()));
    assert!(b.log().contains("COHOST-BOOTED"), "{}: {}", b.label(), b.log());
    b.stop();
    assert!(!b.is_running() && a.is_running(), "only {} was stopped", b.label());
    sh(a, "true");
}

/// A program as the ranks of one job in two guests; what rank 0 says is kept.
fn job(program: &[&str], path: PathPolicy) -> RunOptions {
    RunOptions {
        ranks: 2,
        layout: Some(Layout { hosts: 1, vms: 2 }),
        program: program[0].into(),
        args: program[1..].iter().map(OsString::from).collect(),
        path: Some(path),
        capture_rank0: true,
        ..RunOptions::default()
    }
}

fn ranks(lab: &Lab, program: &[&str], path: PathPolicy) -> Outcome {
    lab_ranks::run(lab, &job(program, path)).unwrap()
}

fn said(outcome: &Outcome) -> String {
    String::from_utf8_lossy(&outcome.captured).into_owned()
}

/// The one pair has a ring through pages that were granted, and says so.
fn assert_ring(lab: &Lab) {
    let outcome = ranks(lab, &["cohost", "explain"], PathPolicy::Auto);
    let said = said(&outcome);
    assert_eq!(outcome.exit_code, 0, "{said}");
    let pair = said.lines().nth(1).unwrap();
    assert!(pair.contains(" ring ") && pair.contains("pages granted by Xen, domain "), "{said}");
    assert!(pair.contains("proved by challenge"), "{said}");
}

/// Every byte is checked by the ranks themselves, who fail when one is wrong.
fn assert_every_byte_arrives(lab: &Lab, path: PathPolicy) {
    let work = ["--check", "--sizes", "0,8,4K,64K,300K", "--time", "0.2", "pingpong", "alltoall"];
    let outcome = ranks(lab, &[&["cohost", "bench"], &work[..]].concat(), path);
    let said = said(&outcome);
    assert_eq!(outcome.exit_code, 0, "{path}: {said}");
    let whole = |line: &&str| line.starts_with(char::is_whitespace) && line.ends_with(" 0.00");
    assert_eq!(said.lines().filter(whole).count(), 10, "{path}: {said}");
}

/// Messages both ways for longer than any part of this test takes. Not a benchmark: however long it may
/// take, it ends after so many repetitions.
const FOR_EVER: [&str; 3] = ["cohost", "explain", "--seconds=600"];

#[test]
fn ranks_of_two_domains_have_a_ring_and_whoever_dies_ends_the_job_by_name() {
    let _alone = alone();
    let name = "ranks_of_two_domains_have_a_ring_and_whoever_dies_ends_the_job_by_name";
    let Some(lab) = up(name, &LabOptions::new(Hypervisor::Xen, 1, 2)) else {
        return;
    };
    assert_ring(&lab);
    assert_every_byte_arrives(&lab, PathPolicy::Ring);
    assert_every_byte_arrives(&lab, PathPolicy::Tcp);

    // A process that dies lets go of its mappings and of its grants, which the other still maps.
    for victim in ["0", "1"] {
        let script = format!(
            "{} & sleep 4; [ $PMI_RANK = {victim} ] && kill -9 $!; wait $!",
            FOR_EVER.join(" ")
        );
        let outcome = ranks(&lab, &["sh", "-c", &script], PathPolicy::Ring);
        let failure = outcome.failed.unwrap();
        assert_eq!(failure.rank.to_string(), victim, "{failure:?}");
        assert_ring(&lab);
    }

    // A domain that dies leaves pages that the other has mapped, and maps pages of the other.
    let begun = Instant::now();
    let outcome = std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_secs(8));
            lab.guests()[1].stop();
        });
        ranks(&lab, &FOR_EVER, PathPolicy::Ring)
    });
    let failure = outcome.failed.unwrap();
    assert_eq!((outcome.exit_code, failure.rank), (1, 1), "{failure:?}");
    assert_eq!(failure.place, "guest xen h0v1");
    assert!(matches!(failure.cause, FailureCause::Lost(_)), "{failure:?}");
    assert!(begun.elapsed() < Duration::from_secs(120), "{:?}", begun.elapsed());
    let complaints = "dmesg | grep -E 'BUG:|Bad page|Oops|general protection' || true";
    assert_eq!(sh(&lab.guests()[0], complaints), "", "{name}: the other domain is well");
}
