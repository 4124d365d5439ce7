//! What the tests with real guests share.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cohost_lab::{Guest, Hypervisor, Lab, LabError, LabOptions};

mod required;

#[allow(unused_imports, reason = "each file of tests uses a part")]
pub use required::{is_required, may_be_skipped};

/// How long a command in a guest may take on a busy machine.
pub const LIMIT: Duration = Duration::from_secs(120);

/// One lab at a time: two would have the few cores of a test machine wait for each other.
pub fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Says that a test cannot run here.
#[track_caller]
pub fn skipped(name: &str, hypervisor: Hypervisor, why: &LabError) {
    may_be_skipped(name, hypervisor, &why.to_string());
}

pub fn up(name: &str, options: &LabOptions) -> Option<Lab> {
    match Lab::up(options) {
        Ok(lab) => Some(lab),
        Err(error) if error.is_missing() => {
            skipped(name, options.hypervisor, &error);
            None
        }
        Err(error) => panic!("{name}: {error}"),
    }
}

/// Runs a shell script in a guest, which must succeed, and returns what it printed.
pub fn sh(guest: &Guest, script: &str) -> String {
    let output = guest.output("sh", &["-c", script], LIMIT);
    let output = output.unwrap_or_else(|error| panic!("{}: {error}", guest.label()));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.exit.success(),
        "{}: '{script}': {}: {said}{}\nboot log:\n{}",
        guest.label(),
        output.exit,
        String::from_utf8_lossy(&output.stderr),
        guest.log()
    );
    said
}

/// What `cohost detect` says in a guest.
pub fn verdict(guest: &Guest) -> String {
    let text = sh(guest, "cohost detect --json");
    let document: serde_json::Value = serde_json::from_str(&text).unwrap();
    document["verdict"]["hypervisor"].as_str().unwrap().to_owned()
}
