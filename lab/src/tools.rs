//! Running external commands and finding them, with errors that name the command.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::LabError;

/// Where a program of this name is, looked for in `PATH` and in the system's own places, which
/// are not in everybody's `PATH`.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(PathBuf::from))
        .map(|dir| dir.join(name))
        .find(|file| file.is_file())
}

/// As [`find`], with the remedy when there is none.
pub(crate) fn need(name: &str) -> Result<PathBuf, LabError> {
    find(name).ok_or_else(|| LabError::Missing {
        what: format!("the program '{name}'"),
        tried: "PATH, /usr/sbin, /sbin, /usr/bin, /bin".into(),
    })
}

/// The command as a person would type it.
fn shown(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|a| a.to_string_lossy().into_owned()));
    words.join(" ")
}

/// The last `lines` lines of `text`.
pub(crate) fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.trim_end().lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// Runs a command to its end and returns what it said; not succeeding is an error.
pub(crate) fn run(command: &mut Command) -> Result<Output, LabError> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|source| LabError::io(format!("starting '{}'", shown(command)), source))?;
    if output.status.success() {
        return Ok(output);
    }
    let mut said = tail(&String::from_utf8_lossy(&output.stderr), 8);
    if said.is_empty() {
        said = tail(&String::from_utf8_lossy(&output.stdout), 8);
    }
    Err(LabError::Tool { command: shown(command), status: output.status.to_string(), stderr: said })
}

/// [`run`] of a tool found by name, with these arguments; its standard output as text.
pub(crate) fn text<S: AsRef<OsStr>>(name: &str, args: &[S]) -> Result<String, LabError> {
    let output = run(Command::new(need(name)?).args(args))?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Reads a whole file, naming it when that fails.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, LabError> {
    std::fs::read(path).map_err(|source| LabError::at("reading", path, source))
}

/// Writes a whole file, naming it when that fails.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), LabError> {
    std::fs::write(path, bytes).map_err(|source| LabError::at("writing", path, source))
}

/// Makes a folder and its parents, naming it when that fails.
pub(crate) fn make_dir(path: &Path) -> Result<(), LabError> {
    std::fs::create_dir_all(path).map_err(|source| LabError::at("making the folder", path, source))
}
