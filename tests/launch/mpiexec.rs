//! The command under the names `mpiexec` and `mpirun`.

use std::os::unix::fs::symlink;
use std::process::{Command, Output, Stdio};

use super::support::*;

/// Runs `mpiexec ARGS` (a link to the command), to its end.
fn mpiexec(args: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("mpiexec");
    symlink(env!("CARGO_BIN_EXE_cohost"), &link).unwrap();
    let mut command = Command::new(link);
    command.args(args).env("HERE", "1").stdin(Stdio::null());
    finish(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
}

/// Standard output, sorted by line.
fn sorted(output: &Output) -> Vec<String> {
    let mut lines: Vec<String> = stdout(output).lines().map(str::to_owned).collect();
    lines.sort_unstable();
    lines
}

#[test]
fn mpiexecs_usual_line_starts_the_ranks() {
    let line = "-np 3 --bind-to core --map-by node --oversubscribe --allow-run-as-root \
                -genv COLOUR red -x SHAPE=round -hosts localhost -l sh -c";
    let mut args: Vec<&str> = line.split_whitespace().collect();
    args.push("echo $PMI_RANK $COLOUR $SHAPE $HERE");
    let output = mpiexec(&args);
    expect_code(&output, 0);
    let expected: Vec<_> = (0..3).map(|rank| format!("[{rank}] {rank} red round 1")).collect();
    assert_eq!(sorted(&output), expected);
}

#[test]
fn several_programs_are_one_job() {
    // Each program also learns its number from the service, as PMI-1 has it.
    let script = r#"printf 'cmd=get_appnum\n' >&$PMI_FD; read -r L <&$PMI_FD; echo "$0 $PMI_RANK/$PMI_SIZE $X ${L##* }""#;
    let output = mpiexec(&[
        "-genv", "X", "all", "-n", "1", "sh", "-c", script, "one", ":", "-n", "2", "-env", "X",
        "own", "sh", "-c", script, "two",
    ]);
    expect_code(&output, 0);
    let expected = ["one 0/3 all appnum=0", "two 1/3 own appnum=1", "two 2/3 own appnum=1"];
    assert_eq!(sorted(&output), expected);
}

#[test]
fn a_second_program_that_is_not_there_stops_the_first_from_starting() {
    let output = mpiexec(&["-n", "1", "echo", "started", ":", "-n", "1", "no-such-program-here"]);
    expect_code(&output, 2);
    assert!(stderr(&output).contains("no-such-program-here") && output.stdout.is_empty());
}

#[test]
fn the_environment_is_passed_on_as_far_as_asked() {
    let script = r#"echo "${HERE-none} ${PATH:+path} $PMI_RANK""#;
    for (option, line) in [
        (&["-genvall"][..], "1 path 0"),
        (&["-genvlist", "PATH"], "none path 0"),
        (&["-genvlist", "HERE,PATH"], "1 path 0"),
    ] {
        let output = mpiexec(&[option, &["-n", "1", "sh", "-c", script]].concat());
        expect_code(&output, 0);
        assert_eq!(stdout(&output).trim(), line);
    }
    let output = mpiexec(&["-genvnone", "-n", "1", "env"]);
    expect_code(&output, 0);
    assert!(!stdout(&output).contains("PATH=/") && stdout(&output).contains("PMI_RANK=0"));
}

#[test]
fn a_program_runs_in_the_directory_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().canonicalize().unwrap();
    symlink("/bin/pwd", folder.join("here")).unwrap();
    let directory = folder.to_str().unwrap();
    // A program with a slash is looked for there.
    let output = mpiexec(&["-n", "2", "-wdir", directory, "./here"]);
    expect_code(&output, 0);
    assert_eq!(sorted(&output), [directory, directory]);
    let output = mpiexec(&["-wdir", "/no/such/folder", "pwd"]);
    expect_code(&output, 2);
    assert!(stderr(&output).contains("/no/such/folder"), "{}", stderr(&output));
}

#[test]
fn a_job_that_runs_too_long_is_ended_with_all_its_ranks() {
    let folder = tempfile::tempdir().unwrap();
    let script = r#"trap '' TERM; echo $$ > "$0/new.$$"; mv "$0/new.$$" "$0/pid.$$"; while :; do sleep 1000; done"#;
    let path = folder.path().to_str().unwrap();
    let output = mpiexec(&["-n", "2", "--timeout", "1", "sh", "-c", script, path]);
    expect_code(&output, 124);
    assert!(stderr(&output).contains("timeout"), "{}", stderr(&output));
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let pid = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        assert!(!is_running(pid.trim().parse().unwrap()), "a rank is still there");
    }
    expect_code(&mpiexec(&["-n", "2", "--timeout", "600", "true"]), 0);
}

#[test]
fn exit_codes_are_those_of_the_rank_that_failed() {
    let fails = |how: &str| format!("[ $PMI_RANK = 1 ] && {how}; exec sleep 1000");
    expect_code(&mpiexec(&["-n", "3", "sh", "-c", &fails("exit 7")]), 7);
    let killed = mpiexec(&["-n", "3", "sh", "-c", &fails("kill -SEGV $$")]);
    expect_code(&killed, 139);
    assert!(stderr(&killed).contains("rank 1"), "{}", stderr(&killed));
    let quiet = mpiexec(&["-q", "-n", "3", "sh", "-c", &fails("exit 7")]);
    expect_code(&quiet, 7);
    assert_eq!(stderr(&quiet), "");
}

#[test]
fn wrong_use_is_code_2_and_says_what_would_be_right() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "localhost slots=2\nnode7 slots=2\n").unwrap();
    let list = file.path().to_str().unwrap();
    for (args, words) in [
        (&["-gnev", "A", "1", "true"][..], &["-gnev", "`-genv`"][..]),
        (&["-hosts", "node7,node8", "true"], &["node7", "localhost", "srun"]),
        (&["-hostfile", list, "true"], &["node7", list]),
        (&["-n", "2"], &["no program"]),
        (&["-n", "many", "true"], &["many"]),
    ] {
        let output = mpiexec(args);
        expect_code(&output, 2);
        for word in words {
            assert!(stderr(&output).contains(word), "{args:?}: {}", stderr(&output));
        }
    }
}

#[test]
fn the_same_spellings_serve_cohost_run_where_a_colon_is_only_an_argument() {
    let output = cohost(&["-np", "2", "-genv", "A", "b", "echo", ":"]).output().unwrap();
    expect_code(&output, 0);
    assert_eq!(stdout(&output), ":\n:\n");
    let output = cohost(&["-v", "-n", "2", "true"]).output().unwrap();
    assert!(stderr(&output).contains("ranks 0 to 1 run true"), "{}", stderr(&output));
    for flag in ["--help", "-h"] {
        let output = cohost(&[flag]).output().unwrap();
        expect_code(&output, 0);
        assert!(stdout(&output).contains("-genvlist"), "{}", stdout(&output));
    }
}
