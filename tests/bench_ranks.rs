//! The ranks' half of the benchmarks, over real communicators between threads of this process: every benchmark
//! delivers every byte, for any number of ranks, and says what it measured.

use cohost::Job;
use cohost::bench::name::Benchmark;
use cohost::bench::worker::{self, Sample, Work};
use cohost::config::Config;
use cohost::launch;
use cohost::link::select::PathPolicy;
use cohost::net::BindPolicy;

fn work(benchmarks: &[Benchmark], sizes: &[u64]) -> Work {
    Work {
        benchmarks: benchmarks.to_vec(),
        sizes: sizes.to_vec(),
        check: true,
        off_cache: false,
        // Keeps the test short; one repetition is always made.
        sample_seconds_max: 0.02,
    }
}

fn config(policy: PathPolicy, host: u32) -> Config {
    let mut config = Config { path: policy, host: Some(host), ..Config::default() };
    config.net.bind = BindPolicy::LoopbackOnly;
    config
}

/// What rank 0 measured in a job of `ranks` threads over these paths, two ranks on each host.
fn measure(ranks: u32, policy: PathPolicy, work: &Work) -> Vec<Sample> {
    let jobs: Vec<_> = launch::in_process(ranks);
    std::thread::scope(|scope| {
        let run = |bootstrap: launch::Bootstrap| {
            let host = bootstrap.rank / 2;
            scope.spawn(move || {
                let job = Job::connect(bootstrap, config(policy, host)).expect("joins");
                let mut samples = Vec::new();
                worker::run(job.world(), work, &mut |sample| {
                    samples.push(sample);
                    Ok(())
                })
                .expect("measures");
                job.finalize().expect("leaves");
                samples
            })
        };
        let ranks: Vec<_> = jobs.into_iter().map(run).collect();
        let mut samples: Vec<_> =
            ranks.into_iter().map(|r| r.join().expect("no rank panics")).collect();
        assert!(samples[1..].iter().all(Vec::is_empty), "only rank 0 hands out samples");
        samples.swap_remove(0)
    })
}

#[test]
fn every_benchmark_delivers_every_byte() {
    for ranks in [1, 2, 3, 4] {
        // Around the borders of a cell, a chunk, and eager messages.
        let sizes = [0, 1, 4, 47, 48, 64, 1000, 4096, 65_536, 300_000];
        let samples = measure(ranks, PathPolicy::Auto, &work(&Benchmark::ALL, &sizes));
        for sample in &samples {
            assert_eq!(sample.ranks, ranks);
            assert!(sample.repetitions >= 1 && sample.t_max_us >= sample.t_min_us, "{sample:?}");
            if sample.benchmark == "Barrier" {
                assert_eq!(sample.defects, None);
            } else {
                assert_eq!(sample.defects, Some(0), "{ranks} ranks: {sample:?}");
            }
        }
        let rows = |name: &str| samples.iter().filter(|s| s.benchmark == name).count();
        assert_eq!((rows("PingPong"), rows("Allreduce"), rows("Barrier")), (10, 8, 1));
    }
}

#[test]
fn off_the_cache_every_byte_is_right_too() {
    let work =
        Work { off_cache: true, ..work(&[Benchmark::PingPong, Benchmark::Alltoall], &[8, 70_000]) };
    for sample in measure(2, PathPolicy::Auto, &work) {
        assert_eq!(sample.defects, Some(0), "{sample:?}");
    }
}

#[test]
fn one_rank_alone_talks_to_itself() {
    let samples =
        measure(1, PathPolicy::Auto, &work(&[Benchmark::PingPong, Benchmark::PingPing], &[8]));
    assert!(samples.iter().all(|s| s.path == "self" && s.defects == Some(0)), "{samples:?}");
}

#[test]
fn each_sample_names_the_path_its_messages_took() {
    let paths = |ranks, policy| {
        let work = work(&[Benchmark::PingPong, Benchmark::Alltoall], &[8]);
        let samples = measure(ranks, policy, &work);
        samples.into_iter().map(|s| s.path).collect::<Vec<_>>()
    };
    assert_eq!(paths(2, PathPolicy::Auto), ["ring", "ring"]);
    assert_eq!(paths(2, PathPolicy::Tcp), ["tcp", "tcp"]);
    assert_eq!(paths(4, PathPolicy::Auto), ["ring", "ring+tcp"]);
}
