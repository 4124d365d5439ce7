//! What a job costs that does nothing: processor time of blocked ranks, memory of pairs.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

use super::support::*;

/// Blocks for ever, after all have met.
#[test]
#[ignore = "a rank of other tests, started by the launcher"]
fn rank_that_waits_for_ever() {
    let job = cohost::init().unwrap();
    let world = job.world();
    let (rank, size) = (world.rank(), world.size());
    world.alltoall(&vec![0; size as usize], &mut vec![0; size as usize]).unwrap();
    println!("waiting");
    // In a circle, of which nobody sends.
    let _ = world.recv(&mut [0], (rank + 1) % size, 0);
}

/// Processor time that a process has used, in seconds; all its threads.
fn used_s(pid: u32) -> f64 {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let used_ns = |task: std::fs::DirEntry| -> f64 {
        let text = std::fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        text.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0.0)
    };
    tasks.map(|task| used_ns(task.unwrap())).sum::<f64>() / 1e9
}

#[test]
fn ranks_blocked_in_a_receive_leave_the_processor_alone() {
    for (layout, path) in
        [("1x2", "ring"), ("1x2", "tcp"), ("1x4", "ring"), ("1x4", "tcp"), ("2x2", "auto")]
    {
        let count = if layout == "1x2" { 2 } else { 4 };
        let options = ["--layout", layout, "--path", path];
        let mut job = start(&mut run_rank(&options, "cost::rank_that_waits_for_ever"));
        let ranks = job.await_ranks(count).expect("it runs for ever");
        // All are blocked when each has used next to nothing for a while.
        let mut worst = f64::MAX;
        let begin = Instant::now();
        while worst > 0.05 && begin.elapsed() < PATIENCE / 4 {
            let before: Vec<f64> = ranks.iter().map(|&(_, pid)| used_s(pid)).collect();
            let since = Instant::now();
            std::thread::sleep(Duration::from_secs(2));
            let seconds = since.elapsed().as_secs_f64();
            let parts = ranks.iter().zip(before).map(|(&(_, pid), b)| (used_s(pid) - b) / seconds);
            worst = parts.fold(0.0, f64::max);
        }
        println!("{layout} over {path}: {:.2} % of a core for the busiest rank", worst * 100.0);
        job.kill();
        assert!(worst <= 0.05, "{layout} over {path}: {:.1} % of a core", worst * 100.0);
    }
}

/// Ranks 0 and 1 talk at length, the others not at all; each says what its shared memory takes.
#[test]
#[ignore = "a rank of another test, started by the launcher"]
fn rank_that_measures_its_memory() {
    let job = cohost::init().unwrap();
    let world = job.world();
    if world.rank() < 2 {
        let peer = 1 - world.rank();
        for len in [8, 1000, 100_000, 4 << 20] {
            for _ in 0..200 {
                let mut got = vec![0; len];
                world.sendrecv(&vec![1; len], peer, 0, &mut got, peer, 0).unwrap();
            }
        }
        assert_eq!(path_to(world, peer).0, "ring");
    }
    let mut text = String::new();
    for entry in std::fs::read_dir("/proc/self/fd").unwrap().filter_map(Result::ok) {
        let is_memfd = std::fs::read_link(entry.path())
            .is_ok_and(|target| target.to_string_lossy().starts_with("/memfd:"));
        if let (true, Ok(about)) = (is_memfd, std::fs::metadata(entry.path())) {
            text += &format!("\nmemory {} {} {}", world.rank(), about.ino(), about.blocks() * 512);
        }
    }
    println!("{text}\nI measured");
    // The barrier makes more pairs talk: not before all have measured.
    let folder = std::path::PathBuf::from(std::env::var_os("COHOST_TEST_FOLDER").unwrap());
    std::fs::write(folder.join(world.rank().to_string()), "").unwrap();
    let all = world.size() as usize;
    eventually("all have measured", || std::fs::read_dir(&folder).unwrap().count() == all);
    job.finalize().unwrap();
}

#[test]
fn a_pair_that_talks_takes_a_mebibyte_at_most_and_one_that_does_not_takes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut job = run_rank(&["-n", "6"], "cost::rank_that_measures_its_memory");
    let text = stdout_of(job.env("COHOST_TEST_FOLDER", folder.path()));
    assert_eq!(text.matches("I measured").count(), 6, "{text}");
    let mut sections = BTreeMap::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("memory ")) {
        let words: Vec<u64> = line.split_whitespace().map(|word| word.parse().unwrap()).collect();
        sections.insert(words[1], (words[0], words[2]));
    }
    assert!(sections.values().all(|(rank, _)| *rank < 2), "a silent rank has memory: {text}");
    assert_eq!(sections.len(), 2, "{text}");
    let total: u64 = sections.values().map(|(_, bytes)| bytes).sum();
    println!("the pair takes {total} bytes, headers included");
    assert!((1..=1 << 20).contains(&total), "{text}");
}
