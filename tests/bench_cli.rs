//! `cohost bench` as a user meets it: wrong use, whole jobs with every byte checked, and the result file.

use std::path::Path;
use std::process::{Command, Output};

use cohost::report::schema::Document;

fn bench(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cohost"));
    // The test itself may run under a launcher.
    for variable in ["PMI_FD", "PMI_RANK", "PMI_SIZE", "COHOST_LAYOUT", "COHOST_PATH"] {
        command.env_remove(variable);
    }
    command.arg("bench").args(arguments).output().expect("the command starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn wrong_use_is_exit_code_2_and_a_list_of_what_is_known() {
    for (arguments, words) in [
        (vec!["pingpung"], "PingPong, PingPing, Sendrecv"),
        (vec!["--layout", "3by4"], "1x1, 1x2, 1x4"),
        (vec!["--layout", "0x2"], "1x1, 1x2, 1x4"),
        (vec!["--path", "pigeon"], "auto, ring, tcp"),
        (vec!["--runs", "0"], "--runs"),
        (vec!["pingpong", "--layout", "100x100"], "10000 ranks"),
        (vec!["pingpong", "--layout", "2x1", "--path", "ring"], "rings cannot join two hosts"),
        (vec!["--sizes", "8,many"], "\"many\" is no message size"),
    ] {
        let output = bench(&arguments);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(words), "{arguments:?}: {said}");
        assert_eq!(text(&output.stdout), "", "{arguments:?}");
    }
}

#[test]
fn a_result_file_that_cannot_be_written_is_known_before_anything_is_measured() {
    let output = bench(&["pingpong", "--layout", "1x2", "--json", "/nonexistent/out.json"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("/nonexistent/out.json"));
    assert_eq!(text(&output.stdout), "");
}

#[test]
fn two_layouts_are_measured_checked_compared_and_written() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("out.json");
    let json = file.to_str().expect("a plain path");
    let output = bench(&[
        "pingpong", "alltoall", "--layout", "1x2", "--layout", "2x1", "--sizes", "0,8,64K",
        "--runs", "2", "--time", "0.1", "--check", "--json", json,
    ]);
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{said}{}", text(&output.stderr));
    assert_eq!(text(&output.stderr), "", "in a pipe there is no progress bar");
    assert_eq!(said.matches("# Benchmarking PingPong \n# #processes = 2 \n").count(), 2);
    assert_eq!(said.matches("# limits [usec]").count(), 4, "beside every table");
    assert!(said.contains("# The same two ranks in one host and in two"), "{said}");
    assert_eq!(imb_rows(&said), 12, "{said}");
    check_document(&file);
    let left: Vec<_> = std::fs::read_dir(dir.path()).expect("readable").collect();
    assert_eq!(left.len(), 1, "nothing but the result: {left:?}");
}

/// Rows of numbers, as a parser of IMB's output sees them: no comment, and a number first.
fn imb_rows(text: &str) -> usize {
    let number =
        |line: &str| line.split_whitespace().next().is_some_and(|w| w.parse::<u64>().is_ok());
    text.lines().filter(|line| !line.starts_with('#') && number(line)).count()
}

fn check_document(file: &Path) {
    let document = Document::read(file).expect("a valid result file");
    assert_eq!(document.results.len(), 12);
    for result in &document.results {
        assert_eq!((result.ranks, result.samples_us.len()), (2, 2));
        let path = if result.layout == "1x2" { "ring" } else { "tcp" };
        assert_eq!(result.path, path, "{} {}", result.benchmark, result.layout);
        assert!(result.t_us.ci95.is_some());
    }
    assert!(!document.limits.memcpy_mbytes_per_s.is_empty());
    assert_ne!(document.provenance.kernel, "");
}

#[test]
fn one_rank_alone_says_that_it_sends_to_itself() {
    let output = bench(&["pingpong", "--layout", "1x1", "--sizes", "8", "--time", "0.1"]);
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{said}{}", text(&output.stderr));
    assert!(said.contains("# ( one rank sends to itself)"), "{said}");
    assert!(said.contains("path self"), "{said}");
}

#[test]
fn a_reader_that_leaves_is_no_crash() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_cohost"))
        .args(["bench", "pingpong", "--layout", "1x1", "--sizes", "8", "--time", "0.1"])
        .env_remove("PMI_FD")
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("the command starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(1));
    assert!(!text(&output.stderr).contains("panicked"), "{}", text(&output.stderr));
}
