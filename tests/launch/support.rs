//! Small tools of these tests: running the command, and seeing whether processes are gone.

use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Longest wait for something that must happen; far above what it takes, on a loaded machine too.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// `cohost run` with these arguments, not yet started. No terminal, no input.
///
/// It hears all signals, also where the tests themselves were started in the background of a script,
/// which has SIGINT and SIGQUIT ignored by all that is started there.
pub fn cohost(args: &[&str]) -> Command {
    cohost_under(&["env", "--default-signal=INT,QUIT,HUP,TERM"], args)
}

/// The same, started by another command.
pub fn cohost_under(starter: &[&str], args: &[&str]) -> Command {
    let mut command = Command::new(starter[0]);
    command.args(&starter[1..]).arg(env!("CARGO_BIN_EXE_cohost"));
    command.arg("run").args(args).stdin(Stdio::null());
    command
}

/// `cohost run ARGS -- sh -c SCRIPT`, to its end.
pub fn run_script(args: &[&str], script: &str) -> Output {
    let mut all = args.to_vec();
    all.extend(["--", "sh", "-c", script]);
    cohost(&all).output().unwrap()
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Exit code; panics with everything that was said when it is another one.
#[track_caller]
pub fn expect_code(output: &Output, code: i32) {
    let said = format!("stdout: {}\nstderr: {}", stdout(output), stderr(output));
    assert_eq!(output.status.code(), Some(code), "{:?}\n{said}", output.status);
}

/// Waits until `condition` holds.
#[track_caller]
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "never happened: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Is this process running (neither gone nor only waiting to be collected)?
pub fn is_running(pid: u32) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return false;
    };
    // The state follows the name, which is in parentheses and may contain some.
    let state = stat.rsplit(')').next().and_then(|rest| rest.trim_start().chars().next());
    !matches!(state, Some('Z' | 'X') | None)
}

/// Waits for files `pid.*` in `folder`, as many as `count`, each holding a process id.
pub fn await_pids(folder: &Path, count: usize) -> Vec<u32> {
    let mut pids = Vec::new();
    eventually("every process has told its id", || {
        let entries = std::fs::read_dir(folder).unwrap();
        let named = entries.map(|entry| entry.unwrap().path());
        pids = named
            .filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("pid."))
            .filter_map(|path| std::fs::read_to_string(path).ok()?.trim().parse().ok())
            .collect();
        pids.len() == count
    });
    pids
}

#[track_caller]
pub fn expect_gone(pids: &[u32]) {
    eventually("every process of the job is gone", || !pids.iter().any(|&pid| is_running(pid)));
}

pub fn signal(pid: u32, signal: &str) {
    let status = Command::new("kill").args([&format!("-{signal}"), &pid.to_string()]).status();
    assert!(status.unwrap().success());
}

/// Waits for a child with a deadline, so that a hanging launcher fails the test instead of it.
#[track_caller]
pub fn finish(child: Child) -> Output {
    finish_within(child, PATIENCE)
}

/// The same for what takes its time: a benchmark measures for as long as a busy machine makes it.
#[track_caller]
pub fn finish_within(child: Child, patience: Duration) -> Output {
    let pid = child.id();
    let (done, ended) = std::sync::mpsc::channel();
    std::thread::spawn(move || done.send(child.wait_with_output()));
    match ended.recv_timeout(patience) {
        Ok(output) => output.unwrap(),
        Err(_) => {
            signal(pid, "KILL");
            panic!("the launcher did not end");
        }
    }
}

/// Says by name that a test could not run; past the capture of the test harness.
pub fn skipped(name: &str, remedy: &str) {
    let _ = writeln!(std::io::stderr(), "SKIPPED {name}: {remedy}");
}

/// Is there a command of this name?
pub fn has_command(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(name).is_file())
}
