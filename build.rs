//! Notes which commit and compiler a program was built from, for the provenance of its figures.

use std::process::Command;

fn main() {
    let commit = output("git", &["rev-parse", "--short=12", "HEAD"]);
    if let Some(commit) = commit {
        let dirty = output("git", &["status", "--porcelain", "--untracked-files=no"]).is_some();
        println!("cargo::rustc-env=COHOST_COMMIT={commit}{}", if dirty { "-dirty" } else { "" });
    }
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    if let Some(version) = output(&rustc, &["--version"]) {
        println!("cargo::rustc-env=COHOST_RUSTC={version}");
    }
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src");
    // Changes with every commit and checkout, also in a linked worktree.
    if let Some(log) = output("git", &["rev-parse", "--git-path", "logs/HEAD"]) {
        println!("cargo::rerun-if-changed={log}");
    }
}

/// Trimmed standard output of a command; `None` when it fails, is missing or says nothing.
fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}
