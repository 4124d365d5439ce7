//! What `cohost run` accepts, prints and returns.

use std::io::Write;
use std::process::Stdio;

use cohost::launch::{FailureCause, LaunchError, RunOptions, run};

use super::support::*;

#[test]
fn every_rank_is_told_its_place() {
    let script = r#"echo "$PMI_RANK/$PMI_SIZE host $COHOST_HOST vm $COHOST_VM of $COHOST_LAYOUT by $COHOST_LAUNCHER on $COHOST_PATH""#;
    let output = run_script(&["--layout", "2x2", "--ranks-per-vm", "2", "--path", "tcp"], script);
    expect_code(&output, 0);
    let text = stdout(&output);
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    let expected: Vec<String> = (0..8)
        .map(|r| format!("{r}/8 host {} vm {} of 2x2 by 1 on tcp", r / 4, r / 2 % 2))
        .collect();
    assert_eq!(lines, expected);
}

#[test]
fn all_ranks_share_the_launchers_session_and_one_group_of_their_own() {
    // Fields 5 and 6 of stat: process group and session; the name holds no blank here.
    let script = r#"read -r _ _ _ _ group session _ < /proc/self/stat; echo "$group $session""#;
    let output = run_script(&["-n", "3"], script);
    let text = stdout(&output);
    let mut lines: Vec<&str> = text.lines().collect();
    lines.dedup();
    assert_eq!(lines.len(), 1, "{text}");
    let own = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = own.rsplit(')').next().unwrap().split_whitespace().collect();
    let (group, session) = lines[0].split_once(' ').unwrap();
    assert_eq!(session, fields[3]);
    assert_ne!(group, fields[2]);
}

#[test]
fn tagged_lines_say_whose_they_are_and_are_never_mixed() {
    // Each line in two writes: without care for lines, the ranks' halves would mix.
    let script = r#"i=0; while [ $i -lt 200 ]; do printf "line $i of "; echo "$PMI_RANK"; i=$((i+1)); done; printf "no newline""#;
    let output = run_script(&["-n", "4", "--tag-output"], script);
    expect_code(&output, 0);
    let text = stdout(&output);
    for rank in 0..4 {
        let tag = format!("[{rank}] ");
        let own: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix(&tag)).collect();
        assert_eq!(own.len(), 201);
        assert!((0..200).all(|i| own[i] == format!("line {i} of {rank}")));
        assert_eq!(own[200], "no newline");
    }
    assert_eq!(text.lines().count(), 4 * 201);
}

#[test]
fn a_slow_reader_loses_nothing() {
    let script = "i=0; while [ $i -lt 400 ]; do printf '%08000d\\n' $i; i=$((i+1)); done";
    let mut child =
        cohost(&["-n", "2", "--", "sh", "-c", script]).stdout(Stdio::piped()).spawn().unwrap();
    // The ranks fill every buffer on the way before anybody reads.
    std::thread::sleep(std::time::Duration::from_millis(700));
    assert!(child.try_wait().unwrap().is_none());
    let output = finish(child);
    expect_code(&output, 0);
    assert_eq!(output.stdout.len(), 2 * 400 * 8001);
    assert!(stdout(&output).lines().all(|line| line.len() == 8000));
}

#[test]
fn a_reader_that_leaves_ends_the_job_as_in_a_pipeline() {
    let mut child = cohost(&["-n", "2", "--", "yes"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = finish(child);
    assert!(matches!(output.status.code(), Some(1 | 141)), "{:?}", output.status);
}

#[test]
fn standard_input_goes_to_rank_0_only() {
    let script = r#"echo "$PMI_RANK:$(cat)""#;
    let mut child = cohost(&["-n", "3", "--", "sh", "-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"hello").unwrap();
    let output = finish(child);
    let text = stdout(&output);
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["0:hello", "1:", "2:"]);
}

#[test]
fn options_after_the_program_belong_to_the_program() {
    for separator in [&[][..], &["--"]] {
        let mut args = vec!["-n", "1"];
        args.extend(separator);
        args.extend(["echo", "-n", "7", "--layout", "9x9", "--", "x"]);
        let output = cohost(&args).output().unwrap();
        expect_code(&output, 0);
        assert_eq!(stdout(&output), "7 --layout 9x9 -- x");
    }
}

#[test]
fn the_exit_code_is_that_of_the_worst_rank() {
    expect_code(&run_script(&["-n", "3"], "exit 0"), 0);
    expect_code(&run_script(&["-n", "3"], "[ $PMI_RANK = 1 ] && exit 42; exec sleep 1000"), 42);
    expect_code(
        &run_script(&["-n", "2"], "[ $PMI_RANK = 1 ] && kill -ABRT $$; exec sleep 1000"),
        134,
    );
}

#[test]
fn wrong_numbers_are_refused_with_the_numbers() {
    for (args, words) in [
        (&["-n", "0"][..], &["at least 1"][..]),
        (&["-n", "10000"], &["10000", "1024", "RLIMIT_NOFILE", "RLIMIT_NPROC"]),
        (&["-n", "1025"], &["1025", "1024"]),
        (&["-n", "5", "--layout", "2x4"], &["5", "8", "2x4"]),
        (&["--layout", "1000x1000"], &["1000000", "1024"]),
        (&["-n", "4294967295"], &["1024"]),
        (&["-n", "99999999999"], &["99999999999"]),
        (&["-n", "-1"], &["-1"]),
        (&["--layout", "2y4"], &["2y4", "2x4"]),
        (&["--layout", "0x4"], &["0x4"]),
        (&["-n", "3", "--ranks-per-vm", "2"], &["3", "2"]),
        (&["-n", "3", "--ranks-per-vm", "0"], &["--ranks-per-vm"]),
        (&["--path", "pigeon"], &["pigeon", "auto", "ring", "tcp"]),
    ] {
        let output = run_script(args, "echo started");
        expect_code(&output, 2);
        assert_eq!(stdout(&output), "", "{args:?}");
        for word in words {
            assert!(stderr(&output).contains(word), "{args:?}: {}", stderr(&output));
        }
    }
}

#[test]
fn a_missing_program_is_named_before_anything_starts() {
    let output = cohost(&["-n", "2", "no-such-program-here"]).output().unwrap();
    expect_code(&output, 2);
    let text = stderr(&output);
    assert!(text.contains("no-such-program-here"), "{text}");
    assert!(text.contains(&std::env::var("PATH").unwrap()), "{text}");
    let output = cohost(&["-n", "2", "/no/such/program"]).output().unwrap();
    expect_code(&output, 2);
    assert!(stderr(&output).contains("/no/such/program"));
}

#[test]
fn a_file_that_cannot_be_run_is_named_with_the_reason() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    for (name, mode, content, word) in [
        ("plain", 0o644, "#!/bin/sh\n", "permission"),
        ("headless", 0o755, "echo hello\n", "#!/bin/sh"),
        ("orphan", 0o755, "#!/no/such/interpreter\n", "interpreter"),
    ] {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let output = cohost(&["-n", "3", path.to_str().unwrap()]).output().unwrap();
        expect_code(&output, 2);
        let text = stderr(&output);
        assert!(text.contains(name) && text.contains(word), "{text}");
    }
    let output = cohost(&["-n", "1", "/"]).output().unwrap();
    expect_code(&output, 2);
}

#[test]
fn limits_of_open_files_are_raised_for_the_launcher_only() {
    let cohost = env!("CARGO_BIN_EXE_cohost");
    let script = format!("ulimit -Sn 64; exec {cohost} run -n 20 -- sh -c 'ulimit -Sn'");
    let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
    expect_code(&output, 0);
    assert_eq!(stdout(&output), "64\n".repeat(20));
    let script = format!("ulimit -n 200; exec {cohost} run -n 20 -- true");
    let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
    expect_code(&output, 2);
    let text = stderr(&output);
    assert!(
        text.contains("200") && text.contains("ulimit -Hn") && text.contains("at most 12"),
        "{text}"
    );
}

#[test]
fn the_library_captures_rank_0_and_tells_who_failed() {
    let script = |text: &str| RunOptions {
        ranks: 2,
        program: "sh".into(),
        args: vec!["-c".into(), text.into()],
        env: vec![("GREETING".into(), "salve".into())],
        capture_rank0: true,
        ..Default::default()
    };
    let only_rank_0 = "[ $PMI_RANK = 0 ] && printf \"$GREETING\\n\\001\"; exit 0";
    let outcome = run(&script(only_rank_0)).unwrap();
    assert_eq!((outcome.exit_code, outcome.failed), (0, None));
    assert_eq!(outcome.captured, b"salve\n\x01");
    let outcome = run(&script("[ $PMI_RANK = 1 ] && exit 3; exec sleep 1000")).unwrap();
    assert_eq!(outcome.exit_code, 3);
    let failed = outcome.failed.unwrap();
    assert_eq!((failed.rank, failed.cause), (1, FailureCause::Exit(3)));
    let mut nul = script("true");
    nul.args.push("a\0b".into());
    assert!(matches!(run(&nul), Err(LaunchError::NulByte { .. })));
}

#[test]
fn jobs_run_side_by_side_from_one_process() {
    let jobs: Vec<_> = (0..4)
        .map(|code| {
            std::thread::spawn(move || {
                let args = vec!["-c".into(), format!("echo $PPID; exit {code}").into()];
                let program = "sh".into();
                run(&RunOptions { program, args, capture_rank0: true, ..Default::default() })
                    .unwrap()
            })
        })
        .collect();
    let outcomes: Vec<_> = jobs.into_iter().map(|job| job.join().unwrap()).collect();
    for (code, outcome) in outcomes.iter().enumerate() {
        assert_eq!(outcome.exit_code, code as i32);
    }
    assert!(outcomes.windows(2).all(|pair| pair[0].captured != pair[1].captured));
}
