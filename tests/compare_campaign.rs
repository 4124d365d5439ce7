//! A campaign is killed at random moments, again and again, and ends with every launch measured exactly once.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use cohost::report::bootstrap::Random;
use cohost::report::schema::Document;

const FILE: &str = "layouts = [\"1x2\", \"2x1\"]\nbenchmarks = [\"PingPong\"]\nsizes = \"8,1K\"\nruns = 8\n\
paths = [\"ring\", \"tcp\"]\ntime = 0.02\nresult = \"out.json\"\n";

fn campaign(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cohost"));
    for variable in ["PMI_FD", "PMI_RANK", "PMI_SIZE", "COHOST_LAYOUT", "COHOST_PATH"] {
        command.env_remove(variable);
    }
    command
        .args(["bench", "--campaign", "c.toml"])
        .current_dir(dir)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

/// Numbers of the finished launches in the journal, in the order in which they finished; whole lines only.
fn finished(dir: &Path) -> Vec<u64> {
    let text = fs::read_to_string(dir.join("out.json.journal")).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let entries = whole.lines().filter_map(|l| serde_json::from_str::<serde_json::Value>(l).ok());
    entries.filter_map(|v| v.get("launch")?.get("id")?.as_u64()).collect()
}

#[test]
fn a_campaign_killed_at_any_moment_ends_with_every_launch_measured_once() {
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(dir.path().join("c.toml"), FILE).expect("written");
    let seed = std::env::var("COHOST_TEST_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(2008);
    let mut random = Random::new(seed);
    let mut before: Vec<u64> = Vec::new();
    let mut kills = 0;
    for _ in 0..12 {
        let mut child = campaign(dir.path()).spawn().expect("the command starts");
        sleep(Duration::from_millis(400 + random.below(2500) as u64));
        // SIGKILL: nothing of the process runs any more.
        let _ = child.kill();
        let status = child.wait().expect("it ends");
        kills += u32::from(!status.success());
        let after = finished(dir.path());
        if after.is_empty() && dir.path().join("out.json").exists() {
            break;
        }
        assert!(
            after.starts_with(&before),
            "seed {seed}: finished launches are kept: {before:?}, {after:?}"
        );
        let distinct: BTreeSet<&u64> = after.iter().collect();
        assert_eq!(
            distinct.len(),
            after.len(),
            "seed {seed}: nothing is measured twice: {after:?}"
        );
        before = after;
    }
    assert!(kills > 0, "seed {seed}: it was never killed");
    let status = campaign(dir.path()).status().expect("the command starts");
    assert!(status.success(), "seed {seed}");
    let document = Document::read(&dir.path().join("out.json")).expect("a whole result");
    let series: BTreeSet<(&str, &str, u64, usize)> = document
        .results
        .iter()
        .map(|r| (r.layout.as_str(), r.path.as_str(), r.bytes, r.samples_us.len()))
        .collect();
    let mut expected = BTreeSet::new();
    for (layout, path) in [("1x2", "ring"), ("1x2", "tcp"), ("2x1", "tcp")] {
        expected.extend([8, 1024].map(|bytes| (layout, path, bytes, 8)));
    }
    assert_eq!(series, expected, "seed {seed}");
    let mut left: Vec<String> = fs::read_dir(dir.path())
        .expect("readable")
        .filter_map(|e| e.ok()?.file_name().into_string().ok())
        .collect();
    left.sort();
    // A kill while the result was being written may leave its unfinished copy, and nothing else.
    left.retain(|name| !name.ends_with(".part"));
    assert_eq!(left, ["c.toml", "out.json"], "seed {seed}");
}

#[test]
fn a_target_that_is_not_there_and_a_wrong_file_are_wrong_use() {
    let dir = tempfile::tempdir().expect("a directory");
    for (content, words) in [
        (format!("{FILE}[target]\nkind = \"vmware\"\n"), "unknown variant"),
        (format!("{FILE}[target]\nkind = \"qemu\"\nnic = [\"ne2000\"]\n"), "ne2000"),
        (FILE.replace("result = \"out.json\"\n", ""), "no result file"),
        (FILE.replace("runs = 8", "runs = many"), "line 4"),
    ] {
        fs::write(dir.path().join("c.toml"), &content).expect("written");
        let output =
            campaign(dir.path()).stderr(Stdio::piped()).output().expect("the command starts");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(words), "{said}");
    }
    assert_eq!(fs::read_dir(dir.path()).expect("readable").count(), 1);
}
