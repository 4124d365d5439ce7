use super::*;
use crate::launch::{FailureCause, RankFailure};

fn campaign(layouts: &[&str], runs: u32) -> Campaign {
    Campaign {
        work: Work {
            benchmarks: vec![Benchmark::PingPong, Benchmark::Barrier],
            sizes: vec![0, 8],
            check: false,
            off_cache: false,
            sample_seconds_max: 10.0,
        },
        layouts: layouts.iter().map(|l| l.parse().unwrap()).collect(),
        path: None,
        runs,
        ranks_per_vm: 1,
        netns: false,
        json: None,
        program: "cohost".into(),
    }
}

fn line(benchmark: &str, options: &RunOptions, bytes: u64, t: f64) -> String {
    let sample = Sample {
        benchmark: benchmark.into(),
        ranks: options.ranks,
        path: if options.layout.unwrap().hosts == 1 { "ring" } else { "tcp" }.into(),
        bytes,
        repetitions: 1000,
        t_min_us: t,
        t_max_us: t,
        t_avg_us: t,
        cpu_us: CpuTime::default(),
        defects: None,
        clock: None,
    };
    format!("{}\n", serde_json::to_string(&sample).unwrap())
}

fn good(options: &RunOptions) -> Outcome {
    let text = line("PingPong", options, 0, 1.0) + &line("PingPong", options, 8, 2.0);
    let captured = (text + &line("Barrier", options, 0, 3.0)).into_bytes();
    Outcome { captured, ..Outcome::default() }
}

struct Seen {
    result: Result<Verdict, CampaignError>,
    printed: String,
    complaints: String,
    started: Vec<RunOptions>,
}

/// Carries a campaign out with jobs that are only pretended.
fn carry_out(
    campaign: &Campaign,
    mut job: impl FnMut(usize, &RunOptions) -> Result<Outcome, LaunchError>,
) -> Seen {
    let (mut printed, mut complaints, mut started) = (String::new(), String::new(), Vec::new());
    let result = campaign.run(&mut Stage {
        open: &mut |_| Ok(None),
        launch: &mut |options| {
            started.push(options.clone());
            job(started.len(), options)
        },
        limits: &mut || Ok(Limits { cell_us: Some(0.1), ..Limits::default() }),
        print: &mut |text| {
            printed.push_str(text);
            Ok(())
        },
        complain: &mut |text| complaints += &format!("{text}\n"),
        progress: &mut |done, all, _| assert!(done <= all),
    });
    Seen { result, printed, complaints, started }
}

#[test]
fn every_layout_is_launched_afresh_as_often_as_asked() {
    let seen = carry_out(&campaign(&["1x2", "2x1", "2x4"], 3), |_, o| Ok(good(o)));
    assert!(seen.result.unwrap().is_good());
    let ranks: Vec<_> = seen.started.iter().map(|o| o.ranks).collect();
    assert_eq!(ranks, [2, 2, 2, 2, 2, 2, 8, 8, 8]);
    assert_eq!(seen.printed.matches("# Benchmarking PingPong \n").count(), 3);
    assert_eq!(seen.printed.matches("# Benchmarking Barrier \n").count(), 3);
    assert!(seen.printed.contains("# The same two ranks in one host and in two"));
    assert!(seen.printed.contains("means of 3 fresh launches"));
    let arguments: Vec<_> = seen.started[0].args.iter().map(|a| a.to_string_lossy()).collect();
    assert_eq!(arguments.join(" "), "bench --worker --sizes 0,8 --time 10 PingPong Barrier");
    assert!(seen.started.iter().all(|o| o.capture_rank0));
}

#[test]
fn a_launch_that_fails_is_said_and_left_out_and_the_rest_counts() {
    let seen = carry_out(&campaign(&["1x2"], 3), |n, options| {
        let failure = RankFailure {
            place: String::new(),
            rank: 1,
            cause: FailureCause::Exit(7),
            last_words: String::new(),
        };
        Ok(match n {
            2 => Outcome { exit_code: 7, failed: Some(failure), ..good(options) },
            _ => good(options),
        })
    });
    let verdict = seen.result.unwrap();
    assert_eq!((verdict.failed, verdict.is_good()), (1, false));
    assert!(seen.complaints.contains("launch 2 of 3 failed"), "{}", seen.complaints);
    assert!(seen.complaints.contains("rank 1 exited with code 7"), "{}", seen.complaints);
    assert!(seen.printed.contains("means of 2 fresh launches"));
}

#[test]
fn a_rank_that_prints_something_else_does_not_count() {
    for captured in ["", "hello\n", "{\"benchmark\":1}\n", "\u{fffd}\n"] {
        let seen = carry_out(&campaign(&["1x2"], 1), |_, _| {
            Ok(Outcome { captured: captured.as_bytes().to_vec(), ..Outcome::default() })
        });
        assert_eq!(seen.result.unwrap().failed, 1, "{captured:?}");
        assert!(seen.complaints.contains("rank 0 printed"), "{}", seen.complaints);
    }
}

#[test]
fn an_interrupt_ends_the_campaign_and_keeps_what_was_measured() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("out.json");
    let campaign = Campaign { json: Some(path.clone()), ..campaign(&["1x2", "2x1"], 2) };
    let seen = carry_out(&campaign, |n, options| {
        Ok(match n {
            2 => Outcome { exit_code: 130, ..Outcome::default() },
            _ => good(options),
        })
    });
    let verdict = seen.result.unwrap();
    assert_eq!((verdict.interrupted, verdict.failed, verdict.is_good()), (true, 0, false));
    assert_eq!(seen.started.len(), 2);
    let document = Document::read(&path).unwrap();
    assert_eq!(document.results.len(), 3);
    assert!(document.results.iter().all(|r| r.samples_us.len() == 1));
}

#[test]
fn the_result_file_holds_every_launch() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("out.json");
    let campaign = Campaign { json: Some(path.clone()), ..campaign(&["1x2", "2x1"], 2) };
    let seen = carry_out(&campaign, |_, o| Ok(good(o)));
    seen.result.unwrap();
    let document = Document::read(&path).unwrap();
    assert_eq!(document.results.len(), 6);
    let r = document.results.iter().find(|r| r.bytes == 8 && r.layout == "2x1").unwrap();
    assert_eq!((r.benchmark.as_str(), r.path.as_str(), r.ranks), ("PingPong", "tcp", 2));
    assert_eq!((r.t_us.mean, r.mbytes_per_s), (2.0, 4.0));
    assert_eq!(r.samples_us, [2.0, 2.0]);
    assert_eq!(document.provenance.runs, 2);
}

#[test]
fn what_cannot_be_measured_is_refused_before_anything_is_started() {
    let huge = campaign(&["100x100"], 1);
    let crossing = Campaign { path: Some(PathPolicy::Ring), ..campaign(&["1x2", "2x1"], 1) };
    let unwritable = Campaign { json: Some("/nonexistent/x.json".into()), ..campaign(&["1x2"], 1) };
    for (campaign, words) in [
        (huge, "10000 ranks"),
        (crossing, "rings cannot join two hosts"),
        (unwritable, "/nonexistent/x.json"),
    ] {
        let seen = carry_out(&campaign, |_, _| panic!("started a job"));
        let error = seen.result.unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
        assert_eq!(seen.printed, "");
    }
}

#[test]
fn wrong_bytes_fail_the_campaign() {
    let checking =
        Campaign { work: Work { check: true, ..campaign(&[], 1).work }, ..campaign(&["1x2"], 1) };
    let seen = carry_out(&checking, |_, options| {
        let text = line("PingPong", options, 8, 1.0).replace("null", "3");
        Ok(Outcome { captured: text.into_bytes(), ..Outcome::default() })
    });
    let verdict = seen.result.unwrap();
    assert_eq!((verdict.defects, verdict.is_good()), (3, false));
    assert!(seen.printed.contains("defects"));
}

#[test]
fn buffers_that_no_machine_holds_are_refused_with_the_numbers() {
    let mut greedy = campaign(&["1x2"], 1);
    greedy.work.sizes = vec![8, 1 << 30];
    assert!(greedy.check_memory(Some(1 << 32)).is_ok());
    assert!(greedy.check_memory(None).is_ok());
    let error = greedy.check_memory(Some(1 << 31)).unwrap_err();
    assert!(error.is_usage());
    let words = "needs 4294967296 bytes for its buffers, but 2147483648 are available";
    assert!(error.to_string().contains(words), "{error}");
}
