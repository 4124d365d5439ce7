//! C programs of `tests/programs`, compiled for the library of this build and run by its command.

use std::path::PathBuf;
use std::process::{Command, Output};

use tempfile::TempDir;

use super::{library, root};

/// A program that was compiled.
pub struct Program {
    folder: TempDir,
}

impl Program {
    /// Compiles `tests/programs/NAME.c`.
    pub fn new(name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // The library that the loader looks for has a version in its name.
        std::os::unix::fs::symlink(library(), folder.path().join("libmpi_abi.so.1")).unwrap();
        let output = Command::new("cc")
            .args(["-O1", "-g", "-Wall", "-Wextra", "-Werror", "-I"])
            .arg(root().join("include"))
            .arg(root().join("tests/programs").join(name).with_extension("c"))
            .arg("-o")
            .arg(folder.path().join("program"))
            .arg(folder.path().join("libmpi_abi.so.1"))
            .output()
            .unwrap_or_else(|error| panic!("cc cannot be started, install it: {error}"));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Self { folder }
    }

    /// Runs it with this many ranks and these variables.
    pub fn run(&self, ranks: u32, variables: &[(&str, &str)]) -> Output {
        self.run_with(ranks, &[], variables)
    }

    /// The same with these arguments.
    pub fn run_with(&self, ranks: u32, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
        Command::new(command())
            .args(["mpiexec", "-timeout", "300", "-n", &ranks.to_string()])
            .arg(self.path())
            .args(arguments)
            .env("LD_LIBRARY_PATH", self.folder.path())
            .envs(variables.iter().copied())
            .output()
            .unwrap()
    }

    /// Where it is.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("program")
    }

    /// Runs it, and fails unless all its claims hold.
    pub fn holds(&self, ranks: u32, variables: &[(&str, &str)]) {
        let output = self.run(ranks, variables);
        let (out, err) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{out}{err}");
        assert!(out.contains("all claims hold"), "{out}{err}");
    }
}

/// `cohost` of this build: beside the folder of the test's own program.
pub fn command() -> PathBuf {
    let program = std::env::current_exe().unwrap();
    let path = program.ancestors().nth(2).unwrap().join("cohost");
    assert!(path.exists(), "{} is not there: run `cargo build -p cohost` first", path.display());
    path
}
