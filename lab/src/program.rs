//! The project's program as one static file, which runs in every guest.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{LabError, tools};

/// How the program is built.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Profile {
    /// Quick to build; for tests.
    #[default]
    Dev,
    /// As released; for measurements.
    Release,
}

/// The static program: the file named by `COHOST_LAB_PROGRAM`; else this process's own program
/// when that is static and called `cohost`; else it is built from the sources beside this crate,
/// into `target/lab`, which takes a second when nothing has changed.
pub fn static_program(profile: Profile) -> Result<PathBuf, LabError> {
    if let Some(given) = std::env::var_os("COHOST_LAB_PROGRAM").filter(|path| !path.is_empty()) {
        let path = PathBuf::from(given);
        return if is_static(&path)? {
            Ok(path)
        } else {
            Err(LabError::Format {
                file: path.display().to_string(),
                what: "COHOST_LAB_PROGRAM must name a statically linked program".into(),
            })
        };
    }
    if let Ok(own) = std::env::current_exe() {
        let named = own.file_name().is_some_and(|name| name == "cohost");
        if named && is_static(&own).unwrap_or(false) {
            return Ok(own);
        }
    }
    build(profile)
}

/// Builds the program with cargo, for the machine's own glibc target, linked statically.
fn build(profile: Profile) -> Result<PathBuf, LabError> {
    let said = cargo(&["build", "--bin", "cohost"], profile)?;
    executable(&said, "cohost")
}

/// One of the project's test programs (a file of `tests/`, without its ending) as a static
/// program, to be put into guests with [`crate::LabOptions::files`] and run there.
pub fn static_test(name: &str, profile: Profile) -> Result<PathBuf, LabError> {
    let said = cargo(&["test", "--no-run", "--test", name], profile)?;
    executable(&said, name)
}

/// Runs cargo on the sources beside this crate, and returns its messages, a JSON text to a line.
fn cargo(what: &[&str], profile: Profile) -> Result<String, LabError> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let workspace = here.parent().unwrap_or(here);
    let missing = |why: &str| LabError::Missing {
        what: "a statically linked 'cohost'".into(),
        tried: format!("COHOST_LAB_PROGRAM is not set, this program is not static, {why}"),
    };
    if !workspace.join("src/main.rs").is_file() {
        return Err(missing("and its sources are not here"));
    }
    let cargo = std::env::var_os("CARGO").map(PathBuf::from);
    let cargo = cargo.or_else(|| tools::find("cargo"));
    let cargo = cargo.ok_or_else(|| missing("and there is no cargo to build it"))?;
    let name = match profile {
        Profile::Dev => "DEV",
        Profile::Release => "RELEASE",
    };
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let mut command = Command::new(cargo);
    command
        .current_dir(workspace)
        .args(what)
        .args(["--package", "cohost", "--quiet", "--message-format", "json-render-diagnostics"])
        .args(["--target", &target, "--target-dir"])
        .arg(workspace.join("target/lab"))
        .env("RUSTFLAGS", "-C target-feature=+crt-static")
        .env(format!("CARGO_PROFILE_{name}_DEBUG"), "0")
        .env(format!("CARGO_PROFILE_{name}_STRIP"), "symbols")
        // Set by a cargo that runs this as a test; they would make everything be built again.
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("CARGO_TARGET_DIR");
    if profile == Profile::Release {
        command.arg("--release");
    }
    let output = tools::run(&mut command)?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The file that cargo says it has built for the target of this name.
fn executable(messages: &str, name: &str) -> Result<PathBuf, LabError> {
    let built = messages.lines().find_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let of = message.get("target")?.get("name")?.as_str()?;
        let file = message.get("executable")?.as_str()?;
        (of == name).then(|| PathBuf::from(file))
    });
    built.ok_or_else(|| LabError::Format {
        file: "cargo's messages".into(),
        what: format!("no program {name} was built"),
    })
}

/// Whether an ELF program needs no dynamic loader (no PT_INTERP among its program headers).
fn is_static(path: &Path) -> Result<bool, LabError> {
    let bytes = tools::read(path)?;
    interpreter_free(&bytes).ok_or_else(|| LabError::Format {
        file: path.display().to_string(),
        what: "not a 64-bit little-endian ELF program".into(),
    })
}

fn interpreter_free(bytes: &[u8]) -> Option<bool> {
    const PT_INTERP: u32 = 3;
    if bytes.get(..6)? != b"\x7fELF\x02\x01" {
        return None;
    }
    let u16_at = |at: usize| -> Option<usize> {
        Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?).into())
    };
    let table: [u8; 8] = bytes.get(0x20..0x28)?.try_into().ok()?;
    let table = usize::try_from(u64::from_le_bytes(table)).ok()?;
    let (size, count) = (u16_at(0x36)?, u16_at(0x38)?);
    for n in 0..count {
        let at = table.checked_add(n * size)?;
        let kind: [u8; 4] = bytes.get(at..at.checked_add(4)?)?.try_into().ok()?;
        if u32::from_le_bytes(kind) == PT_INTERP {
            return Some(false);
        }
    }
    Some(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_program_with_a_loader_is_not_static_and_a_text_is_no_program() {
        let shell = std::fs::canonicalize("/bin/sh").unwrap();
        assert!(!is_static(&shell).unwrap());
        assert!(is_static(Path::new(file!())).is_err() || !Path::new(file!()).exists());
        assert_eq!(interpreter_free(b"#!/bin/sh"), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_judged_or_refused(mut bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Some(magic) = bytes.get_mut(..6) {
                magic.copy_from_slice(b"\x7fELF\x02\x01");
            }
            let _ = interpreter_free(&bytes);
        }
    }
}
