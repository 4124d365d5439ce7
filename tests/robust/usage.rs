//! Wrong use of the command: exit code 2, the cause, and what would be right.

use super::support::*;

#[test]
fn wrong_use_of_run_is_exit_code_2_with_cause_and_remedy() {
    for (args, words) in [
        (&["run"][..], &["PROGRAM", "Usage"][..]),
        (&["run", "-n", "0", "true"], &["0 ranks", "at least 1"]),
        (&["run", "-n", "10000", "true"], &["10000", "1024"]),
        (&["run", "-n", "-1", "true"], &["-1"]),
        (&["run", "-n", "many", "true"], &["many"]),
        (&["run", "--layout", "3by3", "true"], &["3by3", "2x4"]),
        (&["run", "--layout", "0x2", "true"], &["0x2"]),
        (&["run", "--layout", "100x100", "true"], &["10000", "1024"]),
        (&["run", "-n", "3", "--layout", "2x2", "true"], &["2x2", "3", "4"]),
        (&["run", "--ranks-per-vm", "0", "true"], &["0"]),
        (&["run", "--path", "pigeon", "true"], &["pigeon", "auto", "ring", "tcp"]),
        (&["run", "--bogus", "true"], &["--bogus", "Usage"]),
        (&["run", "no-such-program"], &["no-such-program", "PATH"]),
        (&["run", "./no/such/program"], &["./no/such/program"]),
        (&["run", "/etc"], &["/etc", "directory"]),
    ] {
        expect_refused(args, words);
    }
}

#[test]
fn wrong_use_of_explain_is_exit_code_2_with_cause_and_remedy() {
    for (args, words) in [
        (&["explain", "-n", "0"][..], &["0 ranks", "at least 1"][..]),
        (&["explain", "-n", "10000"], &["10000", "1024"]),
        (&["explain", "--layout", "2"], &["2", "2x4"]),
        (&["explain", "-n", "3", "--layout", "2x2"], &["2x2", "3", "4"]),
        (&["explain", "--path", "pigeon"], &["pigeon", "auto", "ring", "tcp"]),
        (&["explain", "--ranks-per-vm", "0"], &["0"]),
        (&["explain", "something"], &["something", "Usage"]),
    ] {
        expect_refused(args, words);
    }
}

#[test]
fn wrong_use_of_bench_and_detect_is_exit_code_2_with_cause_and_remedy() {
    for (args, words) in [
        (&["bench", "pingpung"][..], &["pingpung", "PingPong"][..]),
        (&["bench", "--layout", "0x2"], &["0x2", "1x2"]),
        (&["bench", "pingpong", "--layout", "100x100"], &["10000", "1024"]),
        (&["bench", "--layout", "2x2", "--path", "ring"], &["two hosts", "--path auto"]),
        (&["bench", "--path", "pigeon"], &["pigeon", "tcp"]),
        (&["bench", "--max-size", "huge"], &["huge"]),
        (&["bench", "--time", "-1"], &["-1"]),
        (&["bench", "--ranks-per-vm", "0"], &["0", "1..="]),
        (&["detect", "--bogus"], &["--bogus", "Usage"]),
        (&["detect", "something"], &["something", "Usage"]),
        (&["no-such-command"], &["no-such-command", "Usage"]),
        (&[], &["Usage", "explain"]),
    ] {
        expect_refused(args, words);
    }
}

#[track_caller]
fn expect_refused(args: &[&str], words: &[&str]) {
    let output = run(&mut cohost(args));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
    for word in words {
        assert!(said.contains(word), "{args:?} should speak of '{word}': {said}");
    }
    assert!(!said.contains("panicked"), "{args:?}: {said}");
    assert!(output.stdout.is_empty(), "{args:?}: errors belong on standard error");
}

#[test]
fn an_environment_that_makes_no_sense_is_named_and_ends_the_job() {
    for (name, value) in [("COHOST_HOST", "-1"), ("COHOST_PATH", "pigeon"), ("COHOST_VM", "x")] {
        // The launcher sets these; a shell in between spoils them.
        let script = format!("{name}={value} exec \"$0\" explain");
        let program = env!("CARGO_BIN_EXE_cohost");
        let output = run(&mut cohost(&["run", "-n", "2", "sh", "-c", &script, program]));
        let said = said(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(name) && said.contains(value), "{said}");
    }
}
