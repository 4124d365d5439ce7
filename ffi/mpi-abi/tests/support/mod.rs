//! The library that was built, and the compilers of C and C++.

#![allow(dead_code, reason = "each test file needs a part")]

#[path = "../../generate/mod.rs"]
pub mod generate;

pub mod install;
pub mod launchers;
pub mod programs;

use std::path::{Path, PathBuf};
use std::process::Command;

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub fn standard() -> generate::Standard {
    generate::Standard::read(root())
}

/// The library of this build: beside the test's own program.
pub fn library() -> PathBuf {
    let program = std::env::current_exe().unwrap();
    let path = program.with_file_name("libmpi_abi.so");
    assert!(path.exists(), "{} was not built", path.display());
    path
}

/// Compiles a source; the compiler's words when it refuses.
pub fn compile(
    compiler: &str,
    source: &str,
    extension: &str,
    options: &[&str],
) -> Result<(), String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("program").with_extension(extension);
    std::fs::write(&file, source).unwrap();
    let output = Command::new(compiler)
        .arg("-I")
        .arg(root().join("include"))
        .arg(&file)
        .arg("-o")
        .arg(folder.path().join("out"))
        .args(options)
        .output()
        .unwrap_or_else(|error| panic!("{compiler} cannot be started, install it: {error}"));
    if output.status.success() {
        Ok(())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}
