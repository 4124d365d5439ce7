//! Whole jobs as a user starts them: what `explain` shows, other launchers, many jobs.

use std::path::Path;

use super::support::*;

/// `(low, high, path, why)` of each pair that `explain` printed.
pub fn pairs(text: &str) -> Vec<(u32, u32, String, String)> {
    let row = |line: &str| {
        let mut words = line.split_whitespace();
        let (low, high) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let path = words.next()?.to_owned();
        let (latency, bandwidth): (f64, f64) =
            (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        assert!(latency > 0.0 && bandwidth > 0.0, "{line}");
        Some((low, high, path, words.collect::<Vec<_>>().join(" ")))
    };
    text.lines().filter_map(row).collect()
}

#[test]
fn explain_shows_rings_inside_a_host_and_tcp_between_hosts() {
    let program = env!("CARGO_BIN_EXE_cohost");
    let text =
        stdout_of(&mut cohost(&["run", "-n", "4", "--layout", "2x2", "--", program, "explain"]));
    let pairs = pairs(&text);
    assert_eq!(pairs.len(), 6, "{text}");
    for (low, high, path, why) in pairs {
        let (expected, words) =
            if low / 2 == high / 2 { ("ring", "memfd") } else { ("tcp", "different hosts") };
        assert_eq!(path, expected, "{low} {high}: {text}");
        assert!(why.contains(words), "{low} {high}: {why}");
    }
}

#[test]
fn explain_shows_tcp_where_it_was_asked_for() {
    let text = stdout_of(&mut cohost(&["explain", "-n", "2", "--path", "tcp"]));
    let pairs = pairs(&text);
    assert_eq!(pairs.len(), 1, "{text}");
    assert_eq!(pairs[0].2, "tcp");
    assert!(pairs[0].3.contains("--path tcp"), "{text}");
}

#[test]
fn rings_only_across_two_hosts_is_an_error_and_no_hang() {
    let program = env!("CARGO_BIN_EXE_cohost");
    for args in [
        &["explain", "--layout", "2x2", "--path", "ring"][..],
        &["run", "--layout", "2x2", "--path", "ring", "--", program, "explain"],
    ] {
        let output = run(&mut cohost(args));
        let said = said(&output);
        assert!(matches!(output.status.code(), Some(1 | 2)), "{said}");
        assert!(said.contains("--path ring") && said.contains("hosts"), "{said}");
    }
}

/// `mpiexec.hydra -n 4 cohost ARGS`, where there is such a launcher.
fn under_hydra(test: &str, args: &[&str]) -> Option<String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    if !std::env::split_paths(&path).any(|folder| folder.join("mpiexec.hydra").is_file()) {
        skipped(test, "install MPICH's launcher with: apt-get install mpich");
        return None;
    }
    let mut all = vec!["-n", "4", env!("CARGO_BIN_EXE_cohost")];
    all.extend(args);
    Some(stdout_of(&mut command("mpiexec.hydra", &all)))
}

#[test]
fn explain_runs_under_mpichs_launcher() {
    let Some(text) = under_hydra("explain_runs_under_mpichs_launcher", &["explain"]) else {
        return;
    };
    let pairs = pairs(&text);
    assert_eq!(pairs.len(), 6, "{text}");
    assert!(pairs.iter().all(|pair| pair.2 == "ring"), "{text}");
}

#[test]
fn bench_runs_under_mpichs_launcher() {
    let test = "bench_runs_under_mpichs_launcher";
    let args = ["bench", "pingpong", "--max-size", "64K", "--time", "0.2", "--check"];
    let Some(text) = under_hydra(test, &args) else {
        return;
    };
    assert_eq!(text.matches("# Benchmarking PingPong").count(), 1, "{text}");
    let sizes: Vec<u64> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_whitespace().next()?.parse().ok())
        .collect();
    assert_eq!(sizes.first(), Some(&0), "{text}");
    assert_eq!(sizes.last(), Some(&65536), "{text}");
}

/// In a network namespace of its own, where all abstract sockets are this test's.
#[test]
fn many_short_jobs_two_at_a_time_leave_nothing_behind() {
    let test = "many_short_jobs_two_at_a_time_leave_nothing_behind";
    if !can_unshare(&["--net"]) {
        return skipped(test, "network namespaces need root, or user namespaces enabled");
    }
    let folder = tempfile::tempdir().unwrap();
    let before = shared_files(Path::new("/dev/shm"));
    let script = r#"
        ip link set lo up || exit 3
        for i in 1 2 3 4 5 6; do
            "$0" explain -n 3 > "$1/a.$i" & first=$!
            COHOST_SHM_DIR="$1/shm" "$0" explain -n 2 > "$1/b.$i" || exit 4
            wait $first || exit 5
        done
        grep -c cohost/ /proc/net/unix"#;
    std::fs::create_dir(folder.path().join("shm")).unwrap();
    let program = env!("CARGO_BIN_EXE_cohost");
    let path = folder.path().to_str().unwrap();
    let args = ["--user", "--map-root-user", "--net", "sh", "-c", script, program, path];
    let output = run(&mut command("unshare", &args));
    let said = said(&output);
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "0", "sockets are left: {said}");
    for i in 1..=6 {
        for (name, count, why) in [("a", 3, "memfd"), ("b", 1, "file")] {
            let text = std::fs::read_to_string(folder.path().join(format!("{name}.{i}"))).unwrap();
            let pairs = pairs(&text);
            assert_eq!(pairs.len(), count, "{text}");
            assert!(pairs.iter().all(|p| p.2 == "ring" && p.3.contains(why)), "{text}");
        }
    }
    assert_eq!(shared_files(&folder.path().join("shm")), [""; 0], "files are left");
    let after = shared_files(Path::new("/dev/shm"));
    assert!(after.iter().all(|file| before.contains(file)), "{after:?} were {before:?}");
}

/// Whether namespaces can be made here.
pub fn can_unshare(kinds: &[&str]) -> bool {
    let mut unshare = command("unshare", &["--user", "--map-root-user"]);
    unshare.args(kinds).arg("true").output().is_ok_and(|output| output.status.success())
}

/// Names of our files in a directory.
pub fn shared_files(directory: &Path) -> Vec<String> {
    let names = std::fs::read_dir(directory).into_iter().flatten().filter_map(Result::ok);
    let names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with("cohost")).collect()
}
