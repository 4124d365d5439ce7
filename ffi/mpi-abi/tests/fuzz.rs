//! Random programs: datatypes, messages, communicators, collectives, from a seed. Each knows itself
//! what it must get; and it says what every step came to, which is the same on every library with the
//! standard ABI. `docs/TESTING.md` has the variables for long runs.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::install::{skipped, works};
use support::programs::Program;

/// Steps of a seed.
const STEPS: u32 = 25;

/// A number from the environment.
fn variable(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().unwrap())
}

/// First seed and how many.
fn seeds(otherwise: u64) -> (u64, u64) {
    (variable("COHOST_FUZZ_SEED", 1), variable("COHOST_FUZZ_SEEDS", otherwise))
}

/// What the steps of some seeds came to; it failed when a step did.
fn steps(
    program: &Program,
    ranks: u32,
    seeds: (u64, u64),
    variables: &[(&str, &str)],
) -> BTreeSet<String> {
    let (first, many) = (seeds.0.to_string(), seeds.1.to_string());
    let output = program.run_with(ranks, &[&first, &many, &STEPS.to_string()], variables);
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{ranks} ranks, seeds from {first}: {err}");
    out.lines().map(str::to_owned).collect()
}

#[test]
fn random_programs_get_what_they_must_with_one_to_five_ranks_over_rings_and_tcp() {
    let (program, seeds) = (Program::new("fuzz/fuzz"), seeds(4));
    for ranks in 1..=5 {
        let rings = steps(&program, ranks, seeds, &[]);
        let tcp = steps(&program, ranks, seeds, &[("COHOST_PATH", "tcp")]);
        assert_eq!(rings, tcp, "{ranks} ranks, seeds {seeds:?}");
    }
}

/// What the same program says under MPICH; it dies there of some seeds.
fn under_mpich(
    peer: &Path,
    program: &Program,
    ranks: u32,
    seed: u64,
) -> Result<BTreeSet<String>, String> {
    let mut mpiexec = Command::new("timeout");
    mpiexec.arg("100").arg(peer.join("bin/mpiexec")).args(["-n", &ranks.to_string()]);
    mpiexec.arg(program.path()).args([&seed.to_string(), "1", &STEPS.to_string()]);
    mpiexec.env("FUZZ_PEER", "1").env("LD_LIBRARY_PATH", peer.join("lib"));
    Ok(works(&mut mpiexec)?.lines().map(str::to_owned).collect())
}

#[test]
fn random_programs_come_to_the_same_under_mpich() {
    let Some(peer) = std::env::var_os("COHOST_FUZZ_PEER").map(PathBuf::from) else {
        let remedy =
            "python3 -m venv V && V/bin/pip install mpich==5.0.2, then COHOST_FUZZ_PEER=$PWD/V";
        return skipped("random_programs_come_to_the_same_under_mpich", remedy);
    };
    let (program, (first, many)) = (Program::new("fuzz/fuzz"), seeds(10));
    let (mut same, mut died) = (0, Vec::new());
    for seed in first..first + many {
        for ranks in 1..=5 {
            let ours = steps(&program, ranks, (seed, 1), &[("FUZZ_PEER", "1")]);
            match under_mpich(&peer, &program, ranks, seed) {
                Ok(theirs) => assert_eq!(ours, theirs, "{ranks} ranks, seed {seed}"),
                Err(_) => died.push((ranks, seed)),
            }
            same += 1;
        }
    }
    println!(
        "{} runs came to the same; MPICH failed in (ranks, seed): {died:?}",
        same - died.len()
    );
}
