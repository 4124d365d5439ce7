//! Ranks of one job in real guests: every byte arrives, figures say where they are from, hosts are
//! kept apart, and a guest that dies ends its job by name.
//!
//! These take minutes, so they run only with `COHOST_LAB_BENCH=1`, and say SKIPPED otherwise, or
//! where guests cannot boot; with `COHOST_LAB_REQUIRED=1` too that fails instead.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::{Command, Output};
use std::time::Duration;

use cohost::cli::lab_ranks;
use cohost::launch::{FailureCause, Layout, RunOptions};
use cohost::report::schema::Document;
use cohost_lab::{Hypervisor, LabOptions};

#[allow(dead_code, reason = "each file of tests uses a part")]
mod lab_common;

use lab_common::{alone, up};

/// Runs `cohost lab`; nothing when the machine is not prepared for it.
fn lab(name: &str, arguments: &[&str]) -> Option<Output> {
    if !asked_for(name) {
        return None;
    }
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
        let required = std::env::var_os("COHOST_LAB_REQUIRED").is_some_and(|value| value == "1");
        assert!(!required, "{name}: COHOST_LAB_REQUIRED is set, and: {said}");
        eprintln!("SKIPPED {name}: run 'cohost lab setup' ({})", said.trim());
        return None;
    }
    Some(output)
}

fn asked_for(name: &str) -> bool {
    let asked = std::env::var_os("COHOST_LAB_BENCH").is_some_and(|value| value == "1");
    if !asked {
        eprintln!("SKIPPED {name}: takes minutes; run with COHOST_LAB_BENCH=1");
    }
    asked
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// PingPong and Alltoall between two guests of one host, every byte checked.
fn benchmarks(name: &str, options: &[&str], path: &str) -> Option<Document> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("out.json");
    let usual = ["--layout", "1x2", "--sizes", "0,8,4K,64K", "--time", "0.2", "--check"];
    let work = ["--path", path, "--json", file.to_str().unwrap(), "pingpong", "alltoall"];
    let output = lab(name, &[&["bench"], options, &usual[..], &work[..]].concat())?;
    let said = text(&output.stdout);
    let complaints = text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{name}: {said}{complaints}");
    assert!(said.contains("defects"), "{name}: {said}");
    assert!(said.contains("# clocks: that of rank 1"), "{name}: {said}");
    let document = Document::read(&file).unwrap();
    assert_eq!(document.results.len(), 8, "{name}");
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
    assert_eq!(provenance.hypervisor, "uml", "{name}: as the guest itself finds");
    assert_eq!(provenance.nic, "tap of User-Mode Linux");
    assert_eq!(provenance.guests.as_deref(), Some("User-Mode Linux"));
}

#[test]
fn guests_of_qemu_send_every_byte_over_tcp_and_their_device_is_called_emulated() {
    let _alone = alone();
    let name = "guests_of_qemu_send_every_byte_over_tcp_and_their_device_is_called_emulated";
    let options = ["--hypervisor", "qemu", "--nic", "e1000"];
    let Some(document) = benchmarks(name, &options, "tcp") else { return };
    let provenance = document.provenance;
    let emulated = provenance.guests.as_ref().is_some_and(|how| how.contains("TCG"));
    let expected = if emulated { "qemu-tcg" } else { "kvm" };
    assert_eq!(provenance.hypervisor, expected, "{name}: {:?}", provenance.guests);
    assert_eq!(provenance.nic, "e1000, emulated by QEMU");
}

/// What `cohost explain` says as the ranks of guests in this layout.
fn explained(name: &str, hypervisor: &str, layout: &str) -> Option<String> {
    let place = ["run", "--hypervisor", hypervisor, "--layout", layout, "--ranks"];
    let output = lab(name, &[&place[..], &["--", "cohost", "explain"]].concat())?;
    let (said, complaints) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{name}: {said}{complaints}");
    Some(said)
}

/// The lines of the matrix: of each pair the path and the reason.
fn pairs(said: &str) -> Vec<(String, String)> {
    let line = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [a, b, path, _, _, reason @ ..] = &words[..] else { return None };
        let numbers = a.parse::<u32>().is_ok() && b.parse::<u32>().is_ok();
        numbers.then(|| ((*path).to_owned(), reason.join(" ")))
    };
    said.lines().filter_map(line).collect()
}

#[test]
fn guests_of_different_hosts_use_tcp_and_are_told_why() {
    let _alone = alone();
    let name = "guests_of_different_hosts_use_tcp_and_are_told_why";
    let Some(said) = explained(name, "uml", "2x1") else { return };
    let [(path, reason)] = &pairs(&said)[..] else { panic!("{name}: {said}") };
    assert_eq!(path, "tcp", "{name}: {said}");
    assert!(reason.contains("different hosts"), "{name}: {said}");
}

/// A ring between guests counts only when it was proved through the memory itself.
#[test]
fn guests_of_one_host_have_a_ring_only_by_proof() {
    let _alone = alone();
    let name = "guests_of_one_host_have_a_ring_only_by_proof";
    for hypervisor in ["uml", "qemu"] {
        let Some(said) = explained(name, hypervisor, "1x2") else { return };
        let [(path, reason)] = &pairs(&said)[..] else { panic!("{name}: {said}") };
        match path.as_str() {
            "ring" => assert!(reason.contains("proved by challenge"), "{name}: {said}"),
            "tcp" => assert!(!reason.is_empty(), "{name}: {said}"),
            _ => panic!("{name}: {said}"),
        }
    }
}

#[test]
fn a_guest_that_dies_ends_the_job_and_is_named() {
    if !asked_for("a_guest_that_dies_ends_the_job_and_is_named") {
        return;
    }
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
    if !asked_for("wrong_use_is_told_before_anything_boots") {
        return;
    }
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
