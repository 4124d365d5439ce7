//! Two processes, as ranks are: one adopts the other's section, talks through it, sleeps, and dies.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use cohost::doorbell::{Policy, Ringer, Sleeper, Woken};
use cohost::region::pass::{Address, Enclosed, Mailbox, send_fd};
use cohost::region::{Geometry, Identity, OwnSection, PeerSection, SectionLayout, file, posix};

const LONG: Duration = Duration::from_secs(60);
const ROUNDS: u32 = 500;

fn layout() -> SectionLayout {
    SectionLayout::new(2, Geometry::MIN).unwrap()
}

/// Starts the test `name` of this file in a process of its own.
fn child(name: &str, env: &[(&str, String)]) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--ignored", "--nocapture", "--test-threads=1"])
        .envs(env.iter().map(|(key, value)| (key, value)))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The next line of a child that starts with `key`, without it.
fn said(from: &mut impl BufRead, key: &str) -> String {
    let mut line = String::new();
    while from.read_line(&mut line).unwrap() > 0 {
        // The test harness writes its own words before ours, without a line's end.
        if let Some((_, rest)) = line.split_once(key) {
            return rest.trim().to_owned();
        }
        line.clear();
    }
    panic!("the child ended before it said {key}");
}

/// Counts up to `ROUNDS` with the peer, each sleeping until the other has counted.
fn count_together(own: &OwnSection, peer: &PeerSection, first: bool) {
    let mut sleeper = Sleeper::new(own, Policy::Futex);
    sleeper.add(peer).unwrap();
    let mut ringer = Ringer::new(own, peer).unwrap();
    let ours = own.pair(peer.identity().index).unwrap().control;
    let theirs = peer.pair().unwrap().control;
    for round in 1..=ROUNDS {
        if first {
            ours.store_u32(0, round);
            ringer.ring_if_armed();
        }
        while theirs.load_u32(0) < round {
            let armed = sleeper.arm();
            if theirs.load_u32(0) < round {
                assert_eq!(armed.sleep(LONG).unwrap(), Woken::Rung, "a wake-up was lost");
            }
        }
        if !first {
            ours.store_u32(0, round);
            ringer.ring_if_armed();
        }
    }
}

fn identity(index: u32, epoch: &str) -> Identity {
    Identity { layout: layout(), index, epoch: epoch.parse().unwrap() }
}

#[test]
fn ranks_of_two_processes_pass_their_sections_and_wake_each_other() {
    let job = format!("process-{}", std::process::id());
    let mut own = posix::create_memfd(layout(), 0).unwrap();
    own.activate(1).unwrap();
    let epoch = own.identity().epoch;
    let mailbox = Mailbox::open(&job, 0, epoch).unwrap();
    let secret = u128::from_le_bytes(mailbox.secret());
    let mut child = child(
        "rank_one",
        &[
            ("COHOST_TEST_JOB", job.clone()),
            ("COHOST_TEST_EPOCH", epoch.to_string()),
            ("COHOST_TEST_SECRET", secret.to_string()),
        ],
    );
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let peer_epoch = said(&mut out, "EPOCH ");
    let peer_secret: u128 = said(&mut out, "SECRET ").parse().unwrap();
    let expected = identity(1, &peer_epoch);
    let to =
        Address { job: &job, rank: 1, epoch: expected.epoch, secret: peer_secret.to_le_bytes() };
    send_fd(&to, 0, Enclosed::Section(epoch), own.fd().unwrap()).unwrap();
    let peer = adopt_from(&mailbox, &expected, 0);
    count_together(&own, &peer, true);
    std::io::copy(&mut out, &mut std::io::sink()).unwrap();
    assert!(child.wait().unwrap().success());
}

fn adopt_from(mailbox: &Mailbox, expected: &Identity, me: u32) -> PeerSection {
    let start = Instant::now();
    loop {
        if let Some(received) = mailbox.receive().unwrap() {
            assert_eq!(received.enclosed, Enclosed::Section(expected.epoch));
            return posix::adopt(received.fd, expected, me).unwrap();
        }
        assert!(start.elapsed() < LONG, "nothing came");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
#[ignore = "a part of `ranks_of_two_processes_...`, in a process of its own"]
fn rank_one() {
    let Ok(job) = std::env::var("COHOST_TEST_JOB") else {
        return;
    };
    let expected = identity(0, &std::env::var("COHOST_TEST_EPOCH").unwrap());
    let secret: u128 = std::env::var("COHOST_TEST_SECRET").unwrap().parse().unwrap();
    let mut own = posix::create_memfd(layout(), 1).unwrap();
    own.activate(0).unwrap();
    let epoch = own.identity().epoch;
    let mailbox = Mailbox::open(&job, 1, epoch).unwrap();
    println!("EPOCH {epoch}");
    println!("SECRET {}", u128::from_le_bytes(mailbox.secret()));
    std::io::stdout().flush().unwrap();
    let to = Address { job: &job, rank: 0, epoch: expected.epoch, secret: secret.to_le_bytes() };
    send_fd(&to, 1, Enclosed::Section(epoch), own.fd().unwrap()).unwrap();
    let peer = adopt_from(&mailbox, &expected, 1);
    count_together(&own, &peer, false);
}

#[test]
fn a_killed_ranks_file_is_found_and_removed_and_its_peer_still_reads() {
    let directory = tempfile::tempdir().unwrap();
    let mut child = child(
        "rank_to_be_killed",
        &[("COHOST_TEST_DIRECTORY", directory.path().display().to_string())],
    );
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let expected = identity(0, &said(&mut out, "EPOCH "));
    let peer = file::open(directory.path(), "job", 4, &expected, 1).unwrap();
    let pair = peer.pair().unwrap();
    assert_eq!(file::clean_stale(directory.path()).unwrap(), 0, "its owner lives");
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(file::clean_stale(directory.path()).unwrap(), 1);
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    assert_eq!(pair.control.load_u32(0), 77);
}

#[test]
#[ignore = "a part of `a_killed_ranks_file_...`, in a process of its own"]
fn rank_to_be_killed() {
    let Ok(directory) = std::env::var("COHOST_TEST_DIRECTORY") else {
        return;
    };
    let mut own = file::create(&PathBuf::from(directory), "job", 4, layout(), 0).unwrap();
    own.activate(1).unwrap();
    own.pair(1).unwrap().control.store_u32(0, 77);
    println!("EPOCH {}", own.identity().epoch);
    std::io::stdout().flush().unwrap();
    // Until killed, or until the parent is gone.
    let _ = std::io::stdin().read_line(&mut String::new());
}
