//! Ranks of one job in real guests: they prove that they share a host, every byte arrives over rings
//! and over TCP, figures say where they are from, hosts are kept apart, and a guest that dies ends
//! its job by name.
//!
//! Where guests cannot boot, a test says SKIPPED and how to change that; with
//! `COHOST_LAB_REQUIRED` it fails instead.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::{Command, Output};
use std::time::Duration;

use cohost::cli::lab_ranks;
use cohost::launch::{FailureCause, Layout, PathPolicy, RunOptions};
use cohost::report::schema::{Document, Provenance};
use cohost_lab::{Hypervisor, LabOptions};

#[allow(dead_code, reason = "each file of tests uses a part")]
mod lab_common;
#[allow(dead_code, reason = "each file of tests uses a part")]
#[path = "lab_common/ranks.rs"]
mod ranks;

use lab_common::{alone, may_be_skipped, up};
use ranks::{UNTOLD, checked, explain, logs, pairs};

/// Boots guests once. Their ranks, told of no layout, find and prove who shares a host; then every
/// byte is checked, over rings where there are any, and over TCP.
fn carry_every_byte(name: &str, hypervisor: Hypervisor, hosts: u32, vms: u32) {
    let _alone = alone();
    let Some(lab) = up(name, &LabOptions::new(hypervisor, hosts, vms)) else { return };
    let device = match hypervisor {
        Hypervisor::Uml => "one host, uml /dev/mmapper, proved by challenge",
        _ => "one host, ivshmem /sys/bus/pci/devices/",
    };
    for pair in explain(name, &lab, UNTOLD) {
        let (low, high) = pair.ranks;
        let within = low / vms == high / vms;
        let (path, why) = match within {
            true => ("ring", device),
            false => ("tcp", "(boot ids differ) without a region in common"),
        };
        assert_eq!(pair.path, path, "{name}: {pair:?}{}", logs(&lab));
        assert!(pair.why.contains(why), "{name}: {pair:?}{}", logs(&lab));
        assert_eq!(pair.why.contains("proved by challenge"), within, "{name}: {pair:?}");
    }
    let rings = if hosts == 1 { PathPolicy::Ring } else { PathPolicy::Auto };
    let between_all = if hosts == 1 { "ring" } else { "ring+tcp" };
    for (policy, pingpong, alltoall) in
        [(rings, "ring", between_all), (PathPolicy::Tcp, "tcp", "tcp")]
    {
        for result in checked(name, &lab, Some(policy)) {
            // Ranks 0 and 1, which share a host, play PingPong.
            let path = if result.benchmark == "PingPong" { pingpong } else { alltoall };
            assert_eq!(result.path, path, "{name}: {result:?}{}", logs(&lab));
        }
    }
}

#[test]
fn two_guests_of_qemu_carry_every_byte() {
    carry_every_byte("two_guests_of_qemu_carry_every_byte", Hypervisor::Qemu, 1, 2);
}

#[test]
fn two_hosts_of_two_guests_of_qemu_carry_every_byte() {
    carry_every_byte("two_hosts_of_two_guests_of_qemu_carry_every_byte", Hypervisor::Qemu, 2, 2);
}

#[test]
fn two_guests_of_user_mode_linux_carry_every_byte() {
    carry_every_byte("two_guests_of_user_mode_linux_carry_every_byte", Hypervisor::Uml, 1, 2);
}

#[test]
fn four_guests_of_user_mode_linux_carry_every_byte() {
    carry_every_byte("four_guests_of_user_mode_linux_carry_every_byte", Hypervisor::Uml, 1, 4);
}

/// Runs `cohost lab`; nothing when the machine is not prepared for it.
fn lab(name: &str, arguments: &[&str]) -> Option<Output> {
    // A lab that does not come back is a failed test, not a test that never ends.
    let mut command = Command::new("timeout");
    command.args(["--kill-after=20", "300", env!("CARGO_BIN_EXE_cohost")]);
    // The test itself may run under a launcher.
    for variable in ["PMI_FD", "PMI_RANK", "PMI_SIZE", "COHOST_LAYOUT", "COHOST_PATH"] {
        command.env_remove(variable);
    }
    let output = command.arg("lab").args(arguments).output().unwrap();
    let said = text(&output.stderr);
    if output.status.code() == Some(1) && said.contains("run 'cohost lab setup'") {
        let named = arguments.iter().filter_map(|word| word.parse().ok()).next();
        may_be_skipped(name, named.unwrap_or(Hypervisor::Qemu), &said);
        return None;
    }
    Some(output)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Whatever is known of the guests and their host before they boot is what the result says.
fn says_where_it_is_from(name: &str, provenance: &Provenance, hypervisor: Hypervisor) {
    assert_eq!(provenance.target, "guests", "{name}");
    let cores = std::thread::available_parallelism().unwrap().get();
    assert_eq!(provenance.host_cores, Some(cores as u32), "{name}: seen from outside");
    assert_eq!(provenance.cores, 1, "{name}: each guest has one processor");
    let (mapping, clocks): (_, &[&str]) = match hypervisor {
        Hypervisor::Uml => ("/dev/mmapper", &["timer"]),
        Hypervisor::Qemu => ("ivshmem", &["tsc", "kvm-clock", "hpet", "acpi_pm"]),
        Hypervisor::Xen => ("granted pages", &["xen"]),
    };
    assert_eq!(provenance.mapping, mapping, "{name}");
    let clock = provenance.clock_source.as_str();
    assert!(clocks.contains(&clock), "{name}: the guest's clock is '{clock}', not of {clocks:?}");
    let here = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let kernel = &provenance.kernel;
    assert!(!kernel.contains(here.trim()), "{name}: '{kernel}' is this machine's, not the guests'");
}

/// PingPong and Alltoall between two guests of one host, every byte checked.
fn benchmarks(name: &str, options: &[&str], path: &str) -> Option<Document> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("out.json");
    let usual = ["--layout", "1x2", "--sizes", "0,8,4K", "--time", "0.1", "--check"];
    let work = ["--path", path, "--json", file.to_str().unwrap(), "pingpong", "alltoall"];
    let output = lab(name, &[&["bench"], options, &usual[..], &work[..]].concat())?;
    let said = text(&output.stdout);
    let complaints = text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{name}: {said}{complaints}");
    assert!(said.contains("defects"), "{name}: {said}");
    assert!(said.contains("# clocks: that of rank 1"), "{name}: {said}");
    let document = Document::read(&file).unwrap();
    assert_eq!(document.results.len(), 6, "{name}");
    for result in &document.results {
        assert_eq!((result.path.as_str(), result.ranks), (path, 2), "{name}: {result:?}");
        assert!(result.clock_drift_ppm.is_some_and(f64::is_finite), "{name}: {result:?}");
        assert!(result.clock_uncertainty_ppm.is_some(), "{name}: {result:?}");
    }
    Some(document)
}

#[test]
fn guests_of_user_mode_linux_send_every_byte_over_tcp() {
    let _alone = alone();
    let name = "guests_of_user_mode_linux_send_every_byte_over_tcp";
    let Some(document) = benchmarks(name, &["--hypervisor", "uml"], "tcp") else { return };
    let provenance = document.provenance;
    says_where_it_is_from(name, &provenance, Hypervisor::Uml);
    assert_eq!(provenance.hypervisor, "uml", "{name}: as the guest itself finds");
    assert_eq!(provenance.nic, "tap of User-Mode Linux");
    // Two guests are kept apart where there are two cores for them.
    let apart = std::thread::available_parallelism().unwrap().get() >= 2;
    let guests =
        if apart { "User-Mode Linux, each guest on a core of its own" } else { "User-Mode Linux" };
    assert_eq!(provenance.guests.as_deref(), Some(guests));
}

#[test]
fn guests_of_qemu_send_every_byte_over_tcp_and_their_device_is_called_emulated() {
    let _alone = alone();
    let name = "guests_of_qemu_send_every_byte_over_tcp_and_their_device_is_called_emulated";
    let options = ["--hypervisor", "qemu", "--nic", "e1000"];
    let Some(document) = benchmarks(name, &options, "tcp") else { return };
    let provenance = document.provenance;
    says_where_it_is_from(name, &provenance, Hypervisor::Qemu);
    let emulated = provenance.guests.as_ref().is_some_and(|how| how.contains("TCG"));
    let expected = if emulated { "qemu-tcg" } else { "kvm" };
    assert_eq!(provenance.hypervisor, expected, "{name}: {:?}", provenance.guests);
    assert_eq!(provenance.nic, "e1000, emulated by QEMU");
}

#[test]
fn guests_of_different_hosts_use_tcp_and_are_told_why() {
    let _alone = alone();
    let name = "guests_of_different_hosts_use_tcp_and_are_told_why";
    let place = ["run", "--hypervisor", "uml", "--layout", "2x1", "--ranks"];
    let Some(output) = lab(name, &[&place[..], &["--", "cohost", "explain"]].concat()) else {
        return;
    };
    let (said, complaints) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{name}: {said}{complaints}");
    let [pair] = &pairs(&said)[..] else { panic!("{name}: {said}") };
    assert_eq!(pair.path, "tcp", "{name}: {said}");
    assert!(pair.why.contains("different hosts"), "{name}: {said}");
}

#[test]
fn a_guest_that_dies_ends_the_job_and_is_named() {
    let _alone = alone();
    let name = "a_guest_that_dies_ends_the_job_and_is_named";
    let Some(lab) = up(name, &LabOptions::new(Hypervisor::Uml, 1, 2)) else { return };
    let options = RunOptions {
        ranks: 2,
        layout: Some(Layout { hosts: 1, vms: 2 }),
        program: "sleep".into(),
        args: vec!["1000".into()],
        ..RunOptions::default()
    };
    let outcome = std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(500));
            lab.guests()[1].stop();
        });
        lab_ranks::run(&lab, &options).unwrap()
    });
    let failure = outcome.failed.unwrap();
    assert_eq!((outcome.exit_code, failure.rank), (1, 1), "{failure:?}");
    assert_eq!(failure.place, "guest uml h0v1");
    assert!(matches!(failure.cause, FailureCause::Lost(_)), "{failure:?}");
}

#[test]
fn wrong_use_is_told_before_anything_boots() {
    for (arguments, word) in [
        (&["--hypervisor", "vmware"][..], "vmware"),
        (&["--hypervisor", "uml", "--nic", "e1000"], "e1000"),
        (&["--hypervisor", "uml", "--netns"], "--netns"),
        (&["--hypervisor", "qemu", "--region", "3"], "power of two"),
        (
            &["--hypervisor", "uml", "--layout", "2x1", "--path", "ring"],
            "rings cannot join two hosts",
        ),
        (&["--hypervisor", "uml", "--layout", "300x1"], "300x1"),
    ] {
        let output = lab("wrong use", &[&["bench"], arguments, &["pingpong"]].concat()).unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(word), "{arguments:?}: {said}");
        assert_eq!(text(&output.stdout), "", "{arguments:?}");
    }
}
