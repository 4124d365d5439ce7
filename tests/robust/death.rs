//! Processes killed, stopped and ended at random moments of a job.

use std::time::Duration;

use super::support::*;

/// Benchmarks in the ranks of a job, without the launching half and its limits.
fn worker(layout: &str, options: &[&str]) -> std::process::Command {
    let program = env!("CARGO_BIN_EXE_cohost");
    let mut args = vec!["run", "--layout", layout, "--", program, "bench", "--worker"];
    args.extend(["pingpong", "alltoall"]);
    args.extend(options);
    cohost(&args)
}

/// One that would run for minutes.
fn long_bench(layout: &str) -> std::process::Command {
    worker(layout, &["sendrecv", "exchange", "allreduce", "reduce", "bcast", "allgather", "gather"])
}

fn nap_ms(random: &mut Random, most: u64) {
    std::thread::sleep(Duration::from_millis(random.below(most)));
}

#[test]
fn a_rank_killed_at_any_moment_ends_the_job_and_is_named() {
    let mut random = Random::new("a_rank_killed_at_any_moment_ends_the_job_and_is_named");
    for layout in ["1x4", "2x2", "1x4", "2x2", "1x4", "2x2"] {
        let mut job = start(&mut long_bench(layout));
        let ranks = job.await_ranks(4).expect("it runs for long");
        nap_ms(&mut random, 700);
        let (rank, pid) = ranks[random.below(4) as usize];
        signal(pid, libc::SIGKILL);
        let output = job.finish();
        let said = said(&output);
        assert_eq!(output.status.code(), Some(137), "{said}");
        assert!(said.contains(&format!("rank {rank}")), "rank {rank} was it: {said}");
        assert!(said.contains("SIGKILL"), "{said}");
    }
}

#[test]
fn a_bench_whose_rank_is_killed_fails_and_names_it() {
    let args = ["bench", "alltoall", "allreduce", "exchange", "bcast", "--layout", "2x2"];
    let mut job = start(&mut cohost(&args));
    let ranks = job.await_ranks(4).expect("it runs for long");
    let (rank, pid) = ranks[3];
    signal(pid, libc::SIGKILL);
    let output = job.finish();
    let said = said(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(&format!("rank {rank}")) && said.contains("SIGKILL"), "{said}");
}

#[test]
fn a_launcher_killed_at_any_moment_leaves_nothing() {
    let mut random = Random::new("a_launcher_killed_at_any_moment_leaves_nothing");
    for layout in ["1x4", "2x2", "1x4", "2x2"] {
        let mut job = start(&mut long_bench(layout));
        job.await_ranks(4).expect("it runs for long");
        nap_ms(&mut random, 500);
        job.kill();
    }
}

#[test]
fn a_launcher_killed_while_ranks_are_starting_leaves_nothing() {
    let mut random = Random::new("a_launcher_killed_while_ranks_are_starting_leaves_nothing");
    for _ in 0..10 {
        let job = start(&mut long_bench("1x4"));
        nap_ms(&mut random, 60);
        job.kill();
    }
}

#[test]
fn ranks_stopped_for_a_while_lose_nothing() {
    let mut random = Random::new("ranks_stopped_for_a_while_lose_nothing");
    for layout in ["1x2", "2x1", "2x2"] {
        let count = if layout == "2x2" { 4 } else { 2 };
        let options = ["--sizes", "0,8,1K,64K,1M", "--check", "--time", "0.2"];
        let mut job = start(&mut worker(layout, &options));
        let mut stops = 0;
        while let Some(ranks) = job.await_ranks(count) {
            let pid = ranks[random.below(count as u64) as usize].1;
            signal(pid, libc::SIGSTOP);
            std::thread::sleep(Duration::from_millis(if stops == 0 { 1000 } else { 100 }));
            signal(pid, libc::SIGCONT);
            stops += 1;
            nap_ms(&mut random, 300);
        }
        assert!(stops > 0);
        let output = job.finish();
        let said = said(&output);
        assert_eq!(output.status.code(), Some(0), "{stops} stops: {said}");
        assert_eq!(said.matches("\"defects\":0").count(), 10, "{stops} stops: {said}");
        println!("{layout}: {stops} stops");
    }
}

/// A rank that leaves in the way that `COHOST_TEST_LEAVE` names, after all have met.
#[test]
#[ignore = "a rank of other tests, started by the launcher"]
fn rank_that_leaves_without_a_word() {
    let job = cohost::init().unwrap();
    let world = job.world();
    world.barrier().unwrap();
    if world.rank() == 1 {
        match std::env::var("COHOST_TEST_LEAVE").as_deref() {
            Ok("panic") => panic!("the universe is full"),
            Ok("exit") => std::process::exit(0),
            Ok("abort") => std::process::abort(),
            _ => return,
        }
    }
    let lost = world.recv(&mut [0], 1, 0).unwrap_err();
    panic!("{lost}");
}

#[test]
fn a_rank_that_leaves_without_finalizing_ends_the_job_and_is_named() {
    for (way, words) in [
        ("panic", &["rank 1", "the universe is full"][..]),
        ("exit", &["rank 1"]),
        ("abort", &["rank 1", "SIGABRT"]),
        ("drop", &["rank 1"]),
    ] {
        let mut job = run_rank(&["-n", "3"], "death::rank_that_leaves_without_a_word");
        let output = run(job.env("COHOST_TEST_LEAVE", way));
        let said = said(&output);
        assert_ne!(output.status.code(), Some(0), "{way}: {said}");
        for word in words {
            assert!(said.contains(word), "{way} should say '{word}': {said}");
        }
    }
}
