use std::cell::RefCell;

use super::*;
use crate::launch::{Outcome, RunOptions};
use crate::report::schema::CpuTime;

const FILE: &str = "layouts = [\"1x2\", \"2x1\"]\nbenchmarks = [\"PingPong\"]\nruns = 4\npaths = [\"auto\", \"tcp\"]\nsizes = \"8\"\n";

fn good(options: &RunOptions) -> Outcome {
    let sample = super::super::worker::Sample {
        clock: None,
        benchmark: "PingPong".into(),
        ranks: options.ranks,
        path: "tcp".into(),
        bytes: 8,
        repetitions: 1000,
        t_min_us: 1.0,
        t_max_us: 1.0,
        t_avg_us: 1.0,
        cpu_us: CpuTime::default(),
        defects: None,
    };
    Outcome { captured: serde_json::to_vec(&sample).unwrap(), ..Outcome::default() }
}

struct Seen {
    result: Result<Verdict, ResumeError>,
    started: usize,
    progress: Vec<String>,
}

fn carry_out(text: &str, dir: &Path, mut job: impl FnMut(usize, &RunOptions) -> Outcome) -> Seen {
    let file = CampaignFile::from_text(text, &dir.join("c.toml")).unwrap();
    let started = RefCell::new(0);
    let mut progress = Vec::new();
    let result = run(
        &file,
        Some(&dir.join("r.json")),
        &"cohost".into(),
        &mut Stage {
            open: &mut |_| Ok(None),
            launch: &mut |options| {
                *started.borrow_mut() += 1;
                let n = *started.borrow();
                Ok(job(n, options))
            },
            limits: &mut || Ok(Limits::default()),
            print: &mut |_| Ok(()),
            complain: &mut |_| {},
            progress: &mut |_, _, what| progress.push(what.to_owned()),
        },
    );
    let started = *started.borrow();
    Seen { result, started, progress }
}

fn interrupted() -> Outcome {
    Outcome { exit_code: 130, ..Outcome::default() }
}

#[test]
fn a_campaign_interrupted_after_every_launch_measures_each_once_and_ends_complete() {
    let dir = tempfile::tempdir().unwrap();
    let mut launches = 0;
    for _ in 0..15 {
        let seen = carry_out(FILE, dir.path(), |n, options| match n {
            1 => good(options),
            _ => interrupted(),
        });
        launches += 1;
        if seen.result.unwrap().is_good() {
            break;
        }
    }
    assert!(launches <= 16);
    let seen = carry_out(FILE, dir.path(), |_, options| good(options));
    assert!(seen.result.unwrap().is_good());
    let document = Document::read(&dir.path().join("r.json")).unwrap();
    let samples: usize = document.results.iter().map(|r| r.samples_us.len()).sum();
    assert_eq!(samples, 16, "two layouts, two paths, four runs");
    assert!(document.provenance.seed.is_some());
    assert!(!dir.path().join("r.json.journal").exists());
    let again = carry_out(FILE, dir.path(), |_, _| panic!("measured twice"));
    assert!(again.result.unwrap().is_good());
}

#[test]
fn a_launch_that_failed_is_repeated_when_the_campaign_is_taken_up() {
    let dir = tempfile::tempdir().unwrap();
    let seen = carry_out(FILE, dir.path(), |n, options| match n {
        3 => Outcome { exit_code: 9, ..Outcome::default() },
        _ => good(options),
    });
    assert_eq!((seen.result.unwrap().failed, seen.started), (1, 16));
    let seen = carry_out(FILE, dir.path(), |_, options| good(options));
    assert_eq!((seen.result.unwrap().failed, seen.started), (0, 1));
}

#[test]
fn the_time_remaining_is_said_from_the_second_launch_on() {
    let dir = tempfile::tempdir().unwrap();
    let seen = carry_out(FILE, dir.path(), |_, options| good(options));
    assert!(!seen.progress[1].contains("left"), "{:?}", seen.progress);
    assert!(seen.progress[2].contains(", about 0 s left"), "{:?}", seen.progress);
    assert_eq!(
        (duration(89.0), duration(600.0), duration(7200.0)),
        ("89 s".into(), "10 min".into(), "2.0 h".into())
    );
}

#[test]
fn another_file_in_the_place_of_the_result_is_not_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("r.json"), "precious").unwrap();
    let seen = carry_out(FILE, dir.path(), |_, _| panic!("started"));
    assert!(seen.result.unwrap_err().is_usage());
    assert_eq!(std::fs::read_to_string(dir.path().join("r.json")).unwrap(), "precious");
}

#[test]
fn a_campaign_begun_elsewhere_is_not_mixed_with_this_machine() {
    let here = Provenance { kernel: "Linux 6".into(), ..Provenance::default() };
    let there = Provenance { kernel: "Linux 5".into(), ..Provenance::default() };
    assert!(same_place(&here, &here, Path::new("j")).is_ok());
    let error = same_place(&there, &here, Path::new("j")).unwrap_err().to_string();
    assert!(error.contains("the kernel was \"Linux 5\""), "{error}");
}
