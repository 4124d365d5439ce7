//! An installation of this build, as `cohost mpi install` makes it, and what is built with it. All of
//! it stays below the build's own folder for temporary files.

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::library;
use super::programs::command;

/// A prefix with this build's library, compilers and launcher.
pub struct Installation {
    folder: PathBuf,
}

impl Installation {
    /// Installs below `NAME`, whose other contents stay from run to run.
    pub fn new(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let it = Self { folder };
        it.start_anew_where_moved();
        let mut install = Command::new(command());
        install.args(["mpi", "install", "--prefix"]).arg(it.path("prefix"));
        install.arg("--library-from").arg(library().parent().unwrap());
        succeeds(&mut install);
        it
    }

    /// What is built has its place written into it, and is of no use in another one.
    fn start_anew_where_moved(&self) {
        let (mark, here) = (self.path("place"), self.folder.display().to_string());
        if fs::read_to_string(&mark).is_ok_and(|place| place == here) {
            return;
        }
        if self.folder.exists() {
            fs::remove_dir_all(&self.folder).unwrap();
        }
        fs::create_dir_all(&self.folder).unwrap();
        fs::write(mark, here).unwrap();
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// One of the installed commands.
    pub fn command(&self, name: &str) -> Command {
        Command::new(self.path("prefix/bin").join(name))
    }

    /// The launcher; the job ends by itself after this many seconds.
    pub fn mpiexec(&self, ranks: u32, seconds: u32) -> Command {
        let mut mpiexec = self.command("mpiexec");
        mpiexec.args(["-timeout", &seconds.to_string(), "-n", &ranks.to_string()]);
        mpiexec.env("LD_LIBRARY_PATH", self.path("prefix/lib"));
        mpiexec
    }

    /// Does a step once, and again when `version` changes; `Err` says why it could not be done.
    pub fn once(
        &self,
        step: &str,
        version: &str,
        work: impl FnOnce() -> Result<(), String>,
    ) -> Result<(), String> {
        let mark = self.path(&format!("{step}.done"));
        if fs::read_to_string(&mark).is_ok_and(|it| it == version) {
            return Ok(());
        }
        work()?;
        fs::write(mark, version).unwrap();
        Ok(())
    }
}

/// Runs a command that must succeed.
pub fn succeeds(command: &mut Command) -> String {
    works(command).unwrap_or_else(|why| panic!("{why}"))
}

/// Standard output of a command, or what it said when it failed.
pub fn works(command: &mut Command) -> Result<String, String> {
    let program = command.get_program().to_owned();
    let output = command.output().map_err(|error| format!("{}: {error}", program.display()))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(format!("{}: {}\n{}", program.display(), output.status, said(&output)))
}

pub fn said(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    format!("{}{}", String::from_utf8_lossy(out), String::from_utf8_lossy(err))
}

/// Says by name that a test could not run; past the capture of the test harness.
pub fn skipped(name: &str, remedy: &str) {
    let _ = writeln!(std::io::stderr(), "SKIPPED {name}: {remedy}");
}

/// Is there a command of this name?
pub fn has_command(name: impl AsRef<OsStr>) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(name.as_ref()).is_file())
}
