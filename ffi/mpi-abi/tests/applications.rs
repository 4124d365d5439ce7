//! Programs as applications are: a halo exchange, a sample sort, conjugate gradients, LU. Their results
//! do not depend on the library or the launcher, to the last bit.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

use support::install::{Installation, has_command, said, skipped, succeeds, works};
use support::launchers::cluster::Cluster;
use support::launchers::{prterun, under_prterun};

/// Longest time of a job, in seconds: far above what it takes, on a loaded machine too.
const PATIENCE: u32 = 300;

const SOURCES: [&str; 4] = ["halo.c", "samplesort.cpp", "cg.c", "lu.c"];

/// A program built here, and with another MPI where there is one.
struct Application {
    installation: Installation,
    other: Option<PathBuf>,
}

impl Application {
    /// Builds it in a folder of the test's own, since tests run side by side.
    fn new(test: &str, source: &str) -> Self {
        let stem = Path::new(source).file_stem().unwrap().to_str().unwrap();
        let installation = Installation::new(&format!("applications/{test}/{stem}"));
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

    /// The program and the library it shall find.
    fn program(&self) -> (PathBuf, PathBuf) {
        (self.installation.path("program"), self.installation.path("prefix/lib"))
    }

    /// What one of its builds prints under a launcher of MPICH.
    fn runs_under(&self, launcher: &str, ranks: u32, program: &Path) -> String {
        let mut command = Command::new("timeout");
        command.args([&PATIENCE.to_string(), launcher, "-n", &ranks.to_string()]).arg(program);
        command.env("LD_LIBRARY_PATH", self.program().1);
        succeeds(&mut command)
    }

    /// What it must print with so many ranks: what MPICH's build prints, or else ours under our launcher.
    fn wanted(&self, test: &str, ranks: u32) -> String {
        if let Some(other) = &self.other {
            return self.runs_under("mpiexec.mpich", ranks, other);
        }
        skipped(&format!("{test}, compared with MPICH"), "apt-get install mpich");
        self.runs(ranks)
    }
}

fn same_results(test: &str, source: &str) {
    let application = Application::new("mpiexec", source);
    let results: Vec<_> = (1..=4).map(|ranks| application.runs(ranks)).collect();
    for result in &results {
        assert_ne!(result, "", "{source} says nothing");
    }
    if has_command("mpiexec.hydra") {
        let result = application.runs_under("mpiexec.hydra", 3, &application.program().0);
        assert_eq!(result, results[2], "{source} under mpiexec.hydra");
    } else {
        skipped(&format!("{test} under mpiexec.hydra"), "apt-get install mpich");
    }
    let Some(other) = &application.other else {
        skipped(&format!("{test}, compared"), "apt-get install mpich");
        return;
    };
    for (ranks, result) in (1..).zip(&results) {
        let wanted = application.runs_under("mpiexec.mpich", ranks, other);
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
fn applications_have_the_same_bits_under_srun_on_two_nodes() {
    let test = "applications_have_the_same_bits_under_srun_on_two_nodes";
    let cluster = match Cluster::start() {
        Ok(cluster) => cluster,
        Err(why) => return skipped(test, &why),
    };
    let plugins = ["pmi2", "pmix"].map(|it| (it, cluster.speaks(it)));
    for (plugin, _) in plugins.iter().filter(|(_, there)| !there) {
        skipped(test, &format!("this Slurm has no --mpi={plugin}: apt-get install libpmix2"));
    }
    for source in SOURCES {
        let application = Application::new("srun", source);
        let wanted = application.wanted(test, 4);
        let (program, library) = application.program();
        for (plugin, _) in plugins.iter().filter(|(_, there)| *there) {
            let options = ["-N", "2", "-n", "4", &format!("--mpi={plugin}")];
            let variables = [("LD_LIBRARY_PATH", library.to_str().unwrap())];
            let command = [program.to_str().unwrap().to_owned()];
            let output = cluster.srun(&options, &variables, &command);
            assert!(output.status.success(), "{source}, {plugin}: {}", said(&output));
            let result = String::from_utf8_lossy(&output.stdout);
            assert_eq!(result, wanted, "{source} under srun --mpi={plugin}");
        }
    }
}

#[test]
fn applications_have_the_same_bits_under_prterun() {
    let test = "applications_have_the_same_bits_under_prterun";
    let prterun = match prterun(&Installation::new("applications/prterun")) {
        Ok(prterun) => prterun,
        Err(why) => return skipped(test, &why),
    };
    for source in SOURCES {
        let application = Application::new("prterun", source);
        let (program, library) = application.program();
        let mut command = under_prterun(&prterun, 3, PATIENCE, &program);
        let result = succeeds(command.env("LD_LIBRARY_PATH", library));
        assert_eq!(result, application.wanted(test, 3), "{source} under prterun");
    }
}

#[test]
fn a_program_that_never_ends_is_ended() {
    let installation = Installation::new("applications/endless");
    let mut mpiexec = installation.mpiexec(1, 1);
    let output = mpiexec.args(["sleep", "600"]).output().unwrap();
    assert_eq!(output.status.code(), Some(124), "{}", said(&output));
    assert!(works(&mut Command::new("true")).is_ok());
}
