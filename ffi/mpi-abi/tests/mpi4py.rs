//! The tests that come with mpi4py, on this library. mpi4py's source is fetched and compiled with
//! the installed `mpicc` once; it stays in the build's folder.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

use support::install::{Installation, has_command, said, skipped, succeeds, works};

const VERSION: &str = "4.1.2";

/// Tests of what is not supported: one-sided communication, files, processes started later, recovery.
const LEFT_OUT: &str = r"^test_(rma|rma_nb|win|io|file|spawn|dynproc|ulfm)\.";

/// Single tests that are left out.
const LEFT_OUT_BY_NAME: &[&str] = &[
    // They open a file or a window, in modules about something else.
    "TestErrhandlerFile",
    "TestMessageRMA",
    "testSafeFreeCreated",
    "TestSequential",
    // mpi4py 4.1.2 itself fails when an MPI has pairs of values without a name.
    "TestDatatypeCreate.testValueIndex",
    "TestDatatypePickle.testValueIndex",
    "TestUtilDTLib.testPair",
];

/// Fewer than this many tests on a rank would mean that most were not found.
const AT_LEAST: u32 = 1600;

struct Suite {
    installation: Installation,
    /// All tests of this file use one folder.
    _alone: MutexGuard<'static, ()>,
}

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

impl Suite {
    /// Fetches and builds mpi4py, or says by name why that cannot be.
    fn prepare(test: &str) -> Option<Self> {
        if !has_command("python3") {
            skipped(test, "apt-get install python3-venv python3-dev");
            return None;
        }
        let alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let it = Self { installation: Installation::new("mpi4py"), _alone: alone };
        if let Err(why) = it.installation.once("fetched", VERSION, || it.fetch()) {
            let why = why.lines().last().unwrap_or_default().to_owned();
            skipped(
                test,
                &format!("apt-get install python3-venv python3-dev, with network: {why}"),
            );
            return None;
        }
        let built = it.installation.once("built", VERSION, || {
            let mut build = it.python();
            build.args(["-m", "pip", "install", "--no-build-isolation", "--no-deps", "--no-index"]);
            build.arg("--force-reinstall").arg(it.source());
            build.env("MPICC", it.installation.path("prefix/bin/mpicc")).env("CFLAGS", "-O0");
            works(&mut build).map(drop)
        });
        built.unwrap_or_else(|why| panic!("mpi4py does not build: {why}"));
        Some(it)
    }

    fn fetch(&self) -> Result<(), String> {
        let folder = self.installation.path("");
        works(Command::new("python3").args(["-m", "venv"]).arg(self.installation.path("venv")))?;
        let pip = |arguments: &[&str]| {
            let mut pip = self.python();
            pip.current_dir(&folder).args(["-m", "pip", "--disable-pip-version-check"]);
            works(pip.args(arguments)).map(drop)
        };
        pip(&["install", "numpy", "cython", "setuptools", "wheel"])?;
        let wanted = format!("mpi4py=={VERSION}");
        let from_source = ["--no-deps", "--no-build-isolation", "--no-binary", "mpi4py"];
        pip(&[&["download"], from_source.as_slice(), &[&wanted]].concat())?;
        let archive = format!("mpi4py-{VERSION}.tar.gz");
        works(Command::new("tar").current_dir(&folder).args(["xf", &archive])).map(drop)
    }

    fn python(&self) -> Command {
        Command::new(self.installation.path("venv/bin/python"))
    }

    fn source(&self) -> PathBuf {
        self.installation.path(&format!("mpi4py-{VERSION}"))
    }

    /// Runs everything with this many ranks; a rank that fails ends the job, as others would wait.
    fn passes(&self, ranks: u32) {
        let main = self.source().join("test/main.py");
        let runner = support::root().join("tests/programs/mpi4py_suite.py");
        let mut mpiexec = self.installation.mpiexec(ranks, 1800);
        mpiexec.arg(self.python().get_program()).arg(runner).arg(main);
        mpiexec.args(["--no-builddir", "--verbose", "--failfast", "-e", LEFT_OUT]);
        mpiexec.args(LEFT_OUT_BY_NAME.iter().flat_map(|name| ["-x", name]));
        let output = mpiexec.env("MPI4PY_TEST_SPAWN", "no").output().unwrap();
        let said = said(&output);
        assert!(output.status.success(), "{said}");
        let passed = said.lines().filter(|it| it.starts_with("OK")).count();
        assert_eq!(passed, ranks as usize, "{said}");
        for line in said.lines().filter(|it| it.starts_with("Ran ")) {
            let count = line.split(' ').nth(1).and_then(|it| it.parse::<u32>().ok());
            assert!(count.is_some_and(|it| it >= AT_LEAST), "{line}");
        }
    }
}

fn suite_passes(test: &str, ranks: u32) {
    if let Some(suite) = Suite::prepare(test) {
        suite.passes(ranks);
    }
}

#[test]
fn mpi4py_is_imported_without_a_launcher() {
    let Some(suite) = Suite::prepare("mpi4py_is_imported_without_a_launcher") else {
        return;
    };
    let code = "from mpi4py import MPI; print(MPI.COMM_WORLD.size, MPI.Get_library_version())";
    let printed = succeeds(suite.python().args(["-c", code]));
    assert!(printed.starts_with("1 cohost "), "{printed}");
}

#[test]
fn mpi4pys_own_tests_pass_with_two_ranks() {
    suite_passes("mpi4pys_own_tests_pass_with_two_ranks", 2);
}

#[test]
fn mpi4pys_own_tests_pass_with_four_ranks() {
    suite_passes("mpi4pys_own_tests_pass_with_four_ranks", 4);
}

#[test]
#[ignore = "minutes more, for what odd and single ranks add"]
fn mpi4pys_own_tests_pass_with_one_rank_and_with_five() {
    for ranks in [1, 5] {
        suite_passes("mpi4pys_own_tests_pass_with_one_rank_and_with_five", ranks);
    }
}
