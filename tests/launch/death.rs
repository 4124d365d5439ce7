//! However a rank, the keeper or the launcher ends: it is said who and why, and nothing is left.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::support::*;

/// Starts `cohost run -n N -- sh -c SCRIPT` with `$DIR` set to `folder`, for scripts that tell their
/// process ids in `$DIR/pid.*`.
fn start(folder: &Path, ranks: &str, script: &str) -> Child {
    spawn(cohost(&["-n", ranks, "--", "sh", "-c", script]), folder)
}

fn spawn(mut command: Command, folder: &Path) -> Child {
    command.env("DIR", folder).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Tells the id of this process under a name, whole or not at all.
const TELL: &str = r#"tell() { echo $1 > "$DIR/new.$1" && mv "$DIR/new.$1" "$DIR/pid.$1"; }; "#;

/// Each rank tells its id, starts a child in the background that tells its own and leaves the session
/// and the process group, then runs on.
fn stubborn() -> String {
    format!(
        "{TELL} trap '' TERM HUP INT; tell $$; setsid sh -c '{} tell $$; exec sleep 1000' & \
         while :; do sleep 1000; done",
        TELL.replace('\'', "\"")
    )
}

#[test]
fn a_killed_rank_ends_the_job_with_its_rank_its_signal_and_its_last_words() {
    let folder = tempfile::tempdir().unwrap();
    let script = format!(
        r#"{TELL} tell $$; if [ $PMI_RANK = 1 ]; then
             while [ $(ls $DIR | grep -c pid) != 3 ]; do sleep 0.01; done
             echo out of paper >&2; kill -9 $$
           fi; exec sleep 1000"#
    );
    let child = start(folder.path(), "3", &script);
    let pids = await_pids(folder.path(), 3);
    let output = finish(child);
    expect_code(&output, 137);
    let text = stderr(&output);
    assert!(text.contains("rank 1 was killed by signal 9 (SIGKILL)"), "{text}");
    assert!(text.contains("last words of rank 1:\n    out of paper"), "{text}");
    assert!(text.contains("other 2 ranks"), "{text}");
    assert!(!pids.iter().any(|&pid| is_running(pid)), "the launcher returned before its ranks");
}

#[test]
fn ranks_that_ignore_every_polite_signal_and_their_children_die_with_the_job() {
    let folder = tempfile::tempdir().unwrap();
    let child = start(folder.path(), "2", &stubborn());
    let pids = await_pids(folder.path(), 4);
    let victim = rank_among(&pids);
    signal(victim, "SEGV");
    let output = finish(child);
    expect_code(&output, 139);
    assert!(stderr(&output).contains("SIGSEGV"), "{}", stderr(&output));
    assert!(!pids.iter().any(|&pid| is_running(pid)), "the launcher returned before its ranks");
}

/// The first of these processes that is a rank itself and not the child of one.
fn rank_among(pids: &[u32]) -> u32 {
    let is_rank = |pid: &u32| {
        let parent = parent_of(*pid);
        std::fs::read_to_string(format!("/proc/{parent}/comm")).unwrap().trim() == "cohost-keeper"
    };
    // A child that is in a session of its own is no rank.
    pids.iter().copied().find(is_rank).unwrap()
}

fn parent_of(pid: u32) -> u32 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    fields[1].parse().unwrap()
}

#[test]
fn what_ranks_leave_in_the_background_is_gone_when_the_job_is() {
    let folder = tempfile::tempdir().unwrap();
    let inner = TELL.replace('\'', "\"");
    let script = format!(
        "setsid sh -c '{inner} tell $$; exec sleep 1000' & \
         while [ $(ls $DIR | grep -c pid) != 2 ]; do sleep 0.01; done"
    );
    let child = start(folder.path(), "2", &script);
    let pids = await_pids(folder.path(), 2);
    let output = finish(child);
    expect_code(&output, 0);
    assert!(
        !pids.iter().any(|&pid| is_running(pid)),
        "the launcher returned before they were gone"
    );
}

#[test]
fn no_process_survives_a_launcher_killed_with_sigkill() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = start(folder.path(), "3", &stubborn());
    let pids = await_pids(folder.path(), 6);
    let keeper = parent_of(rank_among(&pids));
    child.kill().unwrap();
    child.wait().unwrap();
    expect_gone(&pids);
    expect_gone(&[keeper]);
}

#[test]
fn no_rank_survives_a_keeper_killed_with_sigkill() {
    let folder = tempfile::tempdir().unwrap();
    let script = format!("{TELL} trap '' TERM HUP INT; tell $$; while :; do sleep 1000; done");
    let child = start(folder.path(), "3", &script);
    let pids = await_pids(folder.path(), 3);
    signal(parent_of(pids[0]), "KILL");
    let output = finish(child);
    expect_code(&output, 1);
    assert!(stderr(&output).contains("keeper"), "{}", stderr(&output));
    expect_gone(&pids);
}

#[test]
fn a_signal_to_the_launcher_takes_everything_down() {
    for (name, code) in [("INT", 130), ("TERM", 143), ("HUP", 129), ("QUIT", 131)] {
        let folder = tempfile::tempdir().unwrap();
        let child = start(folder.path(), "2", &stubborn());
        let pids = await_pids(folder.path(), 4);
        signal(child.id(), name);
        let output = finish(child);
        expect_code(&output, code);
        assert!(!pids.iter().any(|&pid| is_running(pid)), "SIG{name} left processes");
    }
}

#[test]
fn what_the_launcher_was_started_to_ignore_ends_no_job() {
    // As `nohup` does it, and scripts for what they start in the background.
    let folder = tempfile::tempdir().unwrap();
    let script =
        format!("{TELL} tell $$; while [ ! -e $DIR/enough ]; do sleep 0.02; done; echo whole");
    let child = cohost_under(
        &["env", "--default-signal=TERM", "--ignore-signal=HUP,INT,QUIT"],
        &["-n", "2", "--", "sh", "-c", &script],
    );
    let child = spawn(child, folder.path());
    await_pids(folder.path(), 2);
    ["HUP", "INT", "QUIT"].iter().for_each(|name| signal(child.id(), name));
    std::fs::write(folder.path().join("enough"), "").unwrap();
    let output = finish(child);
    expect_code(&output, 0);
    assert_eq!(stdout(&output), "whole\nwhole\n");
}

#[test]
fn ranks_hear_the_launchers_signal_and_may_say_goodbye() {
    let folder = tempfile::tempdir().unwrap();
    let script =
        format!("{TELL} trap 'echo goodbye; exit 0' INT; tell $$; while :; do sleep 0.02; done");
    let child = start(folder.path(), "2", &script);
    await_pids(folder.path(), 2);
    signal(child.id(), "INT");
    let output = finish(child);
    expect_code(&output, 130);
    assert_eq!(stdout(&output), "goodbye\ngoodbye\n");
}

#[test]
fn a_rank_that_stops_itself_is_still_taken_down() {
    let folder = tempfile::tempdir().unwrap();
    let script = format!("{TELL} tell $$; kill -STOP $$; exec sleep 1000");
    let child = start(folder.path(), "2", &script);
    let pids = await_pids(folder.path(), 2);
    signal(child.id(), "TERM");
    expect_code(&finish(child), 143);
    assert!(!pids.iter().any(|&pid| is_running(pid)));
}

#[test]
fn a_crash_is_named_rather_than_the_errors_it_causes() {
    // Rank 0 fails because rank 1 has crashed: it waits until that process is gone.
    let folder = tempfile::tempdir().unwrap();
    let script = format!(
        r#"{TELL} if [ $PMI_RANK = 1 ]; then tell $$; kill -SEGV $$; fi
           while [ $(ls $DIR | grep -c pid) != 1 ]; do :; done
           read -r other < $DIR/pid.*; until case "$(cut -d' ' -f3 /proc/$other/stat 2>&-)" in Z|"") true;; *) false;; esac
           do :; done; exit 1"#
    );
    let output = finish(start(folder.path(), "2", &script));
    expect_code(&output, 139);
    assert!(stderr(&output).contains("rank 1 was killed"), "{}", stderr(&output));
}

#[test]
fn stopping_the_launcher_stops_the_ranks_and_continuing_it_continues_them() {
    let folder = tempfile::tempdir().unwrap();
    let script = format!("{TELL} tell $$; exec sleep 1000");
    let child = start(folder.path(), "2", &script);
    let pids = await_pids(folder.path(), 2);
    let processes = [pids[0], pids[1], child.id()];
    let all_in = |states: &str| processes.iter().all(|&pid| states.contains(state_of(pid)));
    signal(child.id(), "TSTP");
    eventually("all are stopped", || all_in("T"));
    signal(child.id(), "CONT");
    eventually("all go on", || all_in("SRD"));
    signal(child.id(), "TERM");
    expect_code(&finish(child), 143);
}

/// The letter of a process's state, such as R, S or T.
fn state_of(pid: u32) -> char {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit(')').next().unwrap().trim_start().chars().next().unwrap()
}
