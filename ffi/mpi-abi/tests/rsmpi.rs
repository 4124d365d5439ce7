//! Programs of rsmpi, the crate `mpi`, on this library: the examples that come with it, and the
//! benchmark of `benches/rsmpi`. They are compiled with the installed `mpicc` once.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use support::install::{Installation, said, skipped, succeeds, works};

/// Longest time of a job, in seconds: far above what it takes, on a loaded machine too.
const PATIENCE: u32 = 300;

/// Examples that start processes, which is not supported.
const LEFT_OUT: &[&str] = &["spawn", "spawn_multiple"];

/// Examples that are written for these numbers of ranks; all others run with 1 to 4. One asserts more than one
/// rank, one tells its own messages from others by their rank, one divides the ranks by four.
const RANKS: &[(&str, &[u32])] = &[
    ("all_gather_bool", &[2, 3, 4]),
    ("immediate_multiple_requests", &[2, 3, 4]),
    ("cartesian_map", &[4]),
];

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn manifest() -> PathBuf {
    support::root().join("../../benches/rsmpi/Cargo.toml")
}

/// Cargo for what needs rsmpi, with our compiler.
fn cargo(installation: &Installation) -> Command {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.env("MPICC", installation.path("prefix/bin/mpicc"));
    cargo.env("CARGO_TARGET_DIR", installation.path("built"));
    // What this test was built with is not for them.
    cargo.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
    cargo
}

/// An installation with rsmpi's source beside it, or why there is none.
fn prepare(test: &str) -> Option<Installation> {
    let has_clang = ["/usr/lib", "/usr/lib64"].iter().any(|folder| {
        let mut find = Command::new("find");
        find.args([folder, "-maxdepth", "3", "-name", "libclang*.so*"]);
        works(&mut find).is_ok_and(|found| !found.is_empty())
    });
    if !has_clang && std::env::var_os("LIBCLANG_PATH").is_none() {
        skipped(test, "apt-get install libclang-dev");
        return None;
    }
    let installation = Installation::new("rsmpi");
    let fetched = works(cargo(&installation).args(["fetch", "--manifest-path"]).arg(manifest()));
    if let Err(why) = fetched {
        let why = why.lines().last().unwrap_or_default().to_owned();
        skipped(test, &format!("the network is needed once, for `cargo fetch`: {why}"));
        return None;
    }
    Some(installation)
}

/// A copy of the crate's source that is a workspace of its own.
fn source(installation: &Installation) -> PathBuf {
    let mut metadata = cargo(installation);
    metadata.args(["metadata", "--format-version", "1", "--offline", "--manifest-path"]);
    let metadata: serde_json::Value =
        serde_json::from_str(&succeeds(metadata.arg(manifest()))).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let found = packages.iter().find(|it| it["name"] == "mpi").unwrap();
    let original = PathBuf::from(found["manifest_path"].as_str().unwrap());
    let version = found["version"].as_str().unwrap();
    let copy = installation.path("source");
    let copied = installation.once("copied", version, || {
        works(Command::new("rm").arg("-rf").arg(&copy))?;
        works(Command::new("cp").arg("-r").arg(original.parent().unwrap()).arg(&copy))?;
        let manifest = copy.join("Cargo.toml");
        let text = std::fs::read_to_string(&manifest).unwrap();
        std::fs::write(manifest, text + "\n[workspace]\n").unwrap();
        Ok(())
    });
    copied.unwrap();
    copy
}

#[test]
fn the_examples_of_rsmpi_run_with_one_to_four_ranks() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(installation) = prepare("the_examples_of_rsmpi_run_with_one_to_four_ranks") else {
        return;
    };
    let source = source(&installation);
    let mut build = cargo(&installation);
    build.current_dir(&source).args(["build", "--examples", "--features", "complex,derive"]);
    succeeds(&mut build);
    let mut names: Vec<String> = std::fs::read_dir(source.join("examples"))
        .unwrap()
        .map(|it| it.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .filter(|it| !LEFT_OUT.contains(&it.as_str()))
        .collect();
    names.sort();
    assert!(names.len() > 40, "{names:?}");
    let mut wrong = String::new();
    for name in &names {
        let ranks =
            RANKS.iter().find(|(it, _)| it == name).map_or([1, 2, 3, 4].as_slice(), |it| it.1);
        for ranks in ranks {
            let mut mpiexec = installation.mpiexec(*ranks, PATIENCE);
            let program = installation.path("built/debug/examples").join(name);
            let output = mpiexec.arg(program).output().unwrap();
            if !output.status.success() {
                wrong += &format!("{name} with {ranks} ranks: {}\n", said(&output));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn the_benchmark_for_rsmpi_measures_and_checks_every_byte() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(installation) = prepare("the_benchmark_for_rsmpi") else {
        return;
    };
    succeeds(cargo(&installation).args(["build", "--manifest-path"]).arg(manifest()));
    for ranks in [2, 3] {
        let mut mpiexec = installation.mpiexec(ranks, PATIENCE);
        mpiexec.arg(installation.path("built/debug/rsmpi-bench")).args(["65536", "0"]);
        let table = succeeds(&mut mpiexec);
        let lines: Vec<_> = table.lines().filter(|it| !it.starts_with('#')).collect();
        assert_eq!(lines.len(), 17, "{table}");
        for line in lines {
            let numbers = line.split_whitespace().map(|it| it.parse::<f64>());
            assert!(
                numbers.filter(|it| it.as_ref().is_ok_and(|it| *it > 0.0)).count() == 3,
                "{line}"
            );
        }
    }
}
