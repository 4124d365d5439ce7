//! A campaign in real guests, killed and taken up again: every launch is measured once, and the file says where.
//!
//! Where guests cannot boot it says SKIPPED and how to change that; with `COHOST_LAB_REQUIRED` it fails instead.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use cohost::report::schema::Document;

#[allow(dead_code, reason = "each file of tests uses a part")]
#[path = "lab_common/required.rs"]
mod required;

const FILE: &str = "layouts = [\"1x2\"]\nbenchmarks = [\"PingPong\"]\nsizes = \"8,4K\"\nruns = 4\n\
paths = [\"auto\", \"tcp\"]\ntime = 0.05\nresult = \"out.json\"\n[target]\nkind = \"uml\"\nprocesses = true\n";

/// How long a part of it may take on a busy machine, the building of the guests' program included.
const LIMIT: Duration = Duration::from_secs(500);

fn campaign(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cohost"));
    for variable in ["PMI_FD", "PMI_RANK", "PMI_SIZE", "COHOST_LAYOUT", "COHOST_PATH"] {
        command.env_remove(variable);
    }
    command.args(["bench", "--campaign", "c.toml"]).current_dir(dir);
    command
}

/// Numbers of the finished launches in the journal; whole lines only.
fn finished(dir: &Path) -> Vec<u64> {
    let text = fs::read_to_string(dir.join("out.json.journal")).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let entries = whole.lines().filter_map(|l| serde_json::from_str::<serde_json::Value>(l).ok());
    entries.filter_map(|v| v.get("launch")?.get("id")?.as_u64()).collect()
}

/// Starts the campaign and kills it once three launches have finished; what it said when it ended before.
fn killed(dir: &Path) -> Option<Output> {
    let errors = fs::File::create(dir.join("said")).unwrap();
    let mut child = campaign(dir).stdout(Stdio::null()).stderr(errors).spawn().unwrap();
    let begun = Instant::now();
    while finished(dir).len() < 3 {
        if let Some(status) = child.try_wait().unwrap() {
            let stderr = fs::read(dir.join("said")).unwrap();
            return Some(Output { status, stdout: Vec::new(), stderr });
        }
        assert!(begun.elapsed() < LIMIT, "three launches took longer than {LIMIT:?}");
        sleep(Duration::from_millis(10));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    None
}

#[test]
fn a_campaign_in_guests_that_was_killed_ends_with_the_same_launches() {
    let name = "a_campaign_in_guests_that_was_killed_ends_with_the_same_launches";
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("c.toml"), FILE).unwrap();
    if let Some(ended) = killed(dir.path()) {
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert!(said.contains("cohost lab setup") || said.contains("needs root"), "{name}: {said}");
        return required::may_be_skipped(name, cohost_lab::Hypervisor::Uml, &said);
    }
    let before = finished(dir.path());
    assert!(before.len() < 16, "{name}: it was killed too late to show anything");
    let mut again = Command::new("timeout");
    let plain = campaign(dir.path());
    again.args(["--kill-after=20", "500"]).arg(plain.get_program()).args(plain.get_args());
    let output = again.current_dir(dir.path()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{name}: {said}");
    let tables = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(tables.contains("# Guests     : User-Mode Linux"), "{name}: {tables}");

    let document = Document::read(&dir.path().join("out.json")).unwrap();
    let [uml, processes] = &document.by_place()[..] else { panic!("{name}: not two places") };
    assert_eq!(uml.provenance.hypervisor, "uml", "as the guest itself finds");
    assert_eq!(uml.provenance.nic, "tap of User-Mode Linux");
    assert_eq!(uml.provenance.target, "guests");
    assert!(uml.provenance.host_cores.is_some_and(|n| n > 0));
    let clock =
        uml.provenance.clock.as_ref().expect("the guests' clock was held against the host's");
    assert!(clock.elapsed_s > 0.0 && clock.resolution_s > 0.0, "{clock:?}");
    assert_eq!(processes.provenance.target, "processes");
    for place in [uml, processes] {
        let found: BTreeSet<(&str, u64, usize)> =
            place.results.iter().map(|r| (r.path.as_str(), r.bytes, r.samples_us.len())).collect();
        let expected = [("ring", 8, 4), ("ring", 4096, 4), ("tcp", 8, 4), ("tcp", 4096, 4)];
        assert_eq!(found, BTreeSet::from(expected), "{name}: {:?}", place.provenance.target);
    }
    let results = uml.results.iter();
    assert!(results.clone().all(|r| r.clock_drift_ppm.is_some()), "{name}");
    assert!(!dir.path().join("out.json.journal").exists(), "{name}");
}
