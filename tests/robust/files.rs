//! `COHOST_SHM_DIR`: small, full, missing and disturbed directories, and what the dead leave there.

use std::path::Path;
use std::time::Duration;

use cohost::link::select::PathPolicy;
use cohost::region::planner::needed_bytes;
use cohost::region::{Geometry, file};

use super::jobs::{can_unshare, pairs, shared_files};
use super::support::*;

/// `cohost explain -n 2` with a tmpfs of its own in `$1`, after `prepare` was run in the shell.
/// `None`: no namespaces here.
fn explain_in_tmpfs(test: &str, options: &str, prepare: &str) -> Option<(String, String)> {
    if !can_unshare(&["--mount"]) {
        skipped(test, "mount namespaces need root, or user namespaces enabled");
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let script = format!(
        "mount -t tmpfs -o {options} tiny \"$1\" && {prepare} \
         COHOST_SHM_DIR=\"$1\" \"$0\" explain -n 2 && ls -A \"$1\" >&2"
    );
    let program = env!("CARGO_BIN_EXE_cohost");
    let args = ["--user", "--map-root-user", "--mount", "sh", "-c", &script, program, path];
    let text = stdout_of(&mut command("unshare", &args));
    let pairs = pairs(&text);
    assert_eq!(pairs.len(), 1, "{text}");
    println!("{options}: {} because {}", pairs[0].2, pairs[0].3);
    Some((pairs[0].2.clone(), pairs[0].3.clone()))
}

#[test]
fn a_small_store_makes_smaller_rings() {
    for size in ["1m", "256k", "64k"] {
        let test = "a_small_store_makes_smaller_rings";
        let Some((path, why)) = explain_in_tmpfs(test, &format!("size={size}"), "") else {
            return;
        };
        assert_eq!(path, "ring", "{size}: {why}");
        assert!(why.contains("file"), "{why}");
    }
}

#[test]
fn a_store_too_small_for_any_ring_means_tcp_and_names_the_bytes() {
    let test = "a_store_too_small_for_any_ring_means_tcp_and_names_the_bytes";
    let Some((path, why)) = explain_in_tmpfs(test, "size=16k", "") else {
        return;
    };
    assert_eq!(path, "tcp", "{why}");
    let needed = needed_bytes(2, Geometry::MIN).unwrap();
    assert!(why.contains(&needed.to_string()) && why.contains("16384"), "{why}");
    assert!(why.contains("COHOST_SHM_DIR"), "{why}");
}

#[test]
fn a_full_store_means_tcp_and_names_the_bytes() {
    let test = "a_full_store_means_tcp_and_names_the_bytes";
    let fill = "{ cat /dev/zero > \"$1/full\" 2>/dev/null; true; } &&";
    let Some((path, why)) = explain_in_tmpfs(test, "size=1m", fill) else {
        return;
    };
    assert_eq!(path, "tcp", "{why}");
    let needed = needed_bytes(2, Geometry::MIN).unwrap();
    assert!(why.contains(&needed.to_string()) && why.contains("0 are there"), "{why}");
}

#[test]
fn a_store_that_cannot_be_written_means_tcp_and_says_so() {
    let test = "a_store_that_cannot_be_written_means_tcp_and_says_so";
    let Some((path, why)) = explain_in_tmpfs(test, "size=4m,ro", "") else {
        return;
    };
    assert_eq!(path, "tcp", "{why}");
    assert!(why.contains("Read-only"), "{why}");
}

#[test]
fn a_directory_that_is_none_means_tcp_and_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let plain = folder.path().join("plain");
    std::fs::write(&plain, "no directory").unwrap();
    for place in [&folder.path().join("missing"), &plain] {
        let text = stdout_of(cohost(&["explain", "-n", "2"]).env("COHOST_SHM_DIR", place));
        let pairs = pairs(&text);
        assert_eq!(pairs[0].2, "tcp", "{text}");
        assert!(pairs[0].3.contains(place.to_str().unwrap()), "{text}");
    }
    assert_eq!(std::fs::read_to_string(&plain).unwrap(), "no directory");
}

#[test]
fn rings_only_without_a_store_is_an_error_that_names_it() {
    let mut explain = cohost(&["explain", "-n", "2", "--path", "ring"]);
    let output = run(explain.env("COHOST_SHM_DIR", "/nonexistent"));
    let said = said(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("--path ring") && said.contains("/nonexistent"), "{said}");
}

#[test]
fn files_of_a_killed_job_are_gone_after_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let shm = folder.path();
    std::fs::write(shm.join("cohost-of-somebody-else"), "keep me").unwrap();
    let program = env!("CARGO_BIN_EXE_cohost");
    let bench = ["bench", "--worker", "alltoall", "allreduce", "exchange", "bcast"];
    let args = [&["run", "-n", "2", "--", program][..], &bench].concat();
    let mut job = start(cohost(&args).env("COHOST_SHM_DIR", shm));
    job.await_ranks(2).unwrap();
    eventually("both ranks have made their files", || shared_files(shm).len() == 3);
    job.kill();
    // A rank that outlived the other by a moment may have removed its own.
    println!("{} files are left", shared_files(shm).len() - 1);
    stdout_of(cohost(&["explain", "-n", "2"]).env("COHOST_SHM_DIR", shm));
    assert_eq!(shared_files(shm), ["cohost-of-somebody-else"]);
}

#[test]
fn files_of_a_rank_that_dies_are_gone_with_its_job() {
    let folder = tempfile::tempdir().unwrap();
    let shm = folder.path();
    let program = env!("CARGO_BIN_EXE_cohost");
    let bench = ["bench", "--worker", "alltoall", "allreduce", "exchange", "bcast"];
    let args = [&["run", "-n", "3", "--", program][..], &bench].concat();
    let mut job = start(cohost(&args).env("COHOST_SHM_DIR", shm));
    let ranks = job.await_ranks(3).unwrap();
    eventually("all ranks have made their files", || shared_files(shm).len() == 3);
    signal(ranks[0].1, libc::SIGKILL);
    assert_ne!(job.finish().status.code(), Some(0));
    assert_eq!(shared_files(shm), [""; 0]);
}

/// Replaces every new file by something else, before the peers have opened it or after.
fn spoil(directory: &Path, seen: &mut Vec<String>) {
    for name in shared_files(directory) {
        if !seen.contains(&name) {
            let junk = directory.join(format!("junk{}", seen.len()));
            match seen.len() % 3 {
                0 => std::fs::write(&junk, "this is no region").unwrap(),
                1 => std::fs::write(&junk, vec![0xff; 1 << 20]).unwrap(),
                _ => std::os::unix::fs::symlink("/etc/passwd", &junk).unwrap(),
            }
            let _ = std::fs::rename(&junk, directory.join(&name));
            seen.push(name);
        }
    }
}

#[test]
fn files_that_are_no_regions_cost_the_ring_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let shm = folder.path().to_owned();
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let vandal = std::thread::spawn(move || {
        let mut seen = Vec::new();
        while stopped.recv_timeout(Duration::from_micros(50)).is_err() {
            spoil(&shm, &mut seen);
        }
    });
    let mut tcp = 0;
    for _ in 0..10 {
        let shm = folder.path().to_owned();
        let settings = move |_| {
            let mut config = config(PathPolicy::Auto, 0);
            config.shm_dir = Some(shm.clone());
            config
        };
        let paths = threads(2, settings, |job| {
            let world = job.world();
            let peer = 1 - world.rank();
            for round in 0..50 {
                let mut got = vec![0; 5000];
                let (mine, theirs) =
                    (pattern(5000, world.rank() + round), pattern(5000, peer + round));
                world.sendrecv(&mine, peer, 0, &mut got, peer, 0).unwrap();
                assert!(got == theirs);
            }
            let path = path_to(world, peer);
            job.finalize().unwrap();
            path
        });
        assert_eq!(paths[0].0, paths[1].0, "{paths:?}");
        tcp += u32::from(paths[0].0 == "tcp");
    }
    stop.send(()).unwrap();
    vandal.join().unwrap();
    println!("{tcp} of 10 jobs went over TCP");
    assert!(file::clean_stale(folder.path()).is_ok());
}
