//! `cohost compare` as a user meets it: what it writes, what it refuses, and how much it needs for many launches.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use cohost::report::schema::{
    BenchResult, CpuTime, Document, Limits, Provenance, SCHEMA, TimeStats,
};

fn compare(dir: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_cohost"))
        .current_dir(dir)
        .arg("compare")
        .args(arguments)
        .output()
        .expect("the command starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn result(
    benchmark: &str,
    layout: &str,
    path: &str,
    bytes: u64,
    t: f64,
    launches: usize,
) -> BenchResult {
    // Spread in a fixed pattern: this tests the report, not a machine.
    let samples_us: Vec<f64> =
        (0..launches).map(|i| t * (1.0 + (i * 37 % 101) as f64 / 1000.0)).collect();
    let mean = samples_us.iter().sum::<f64>() / launches as f64;
    BenchResult {
        clock_drift_ppm: None,
        clock_uncertainty_ppm: None,
        benchmark: benchmark.into(),
        layout: layout.into(),
        path: path.into(),
        ranks: 2,
        bytes,
        repetitions: 1000,
        t_us: TimeStats { mean, median: mean, min: t, max: t * 1.1, ci95: None },
        mbytes_per_s: bytes as f64 / mean,
        cpu_us: CpuTime::default(),
        samples_us,
    }
}

fn document(hypervisor: &str, seed: u64, launches: usize, sizes: &[u64]) -> Document {
    let mut results = Vec::new();
    for benchmark in ["PingPong", "Alltoall"] {
        for (layout, path, t) in [("1x2", "ring", 1.0), ("1x2", "tcp", 30.0), ("2x1", "tcp", 40.0)]
        {
            let slow = 1.0 + seed as f64 / 100.0;
            results.extend(sizes.iter().map(|b| {
                result(benchmark, layout, path, *b, (t + *b as f64 / 1000.0) * slow, launches)
            }));
        }
    }
    Document {
        schema: SCHEMA.into(),
        provenance: Provenance { hypervisor: hypervisor.into(), cores: 8, ..Provenance::default() },
        limits: Limits { cell_us: Some(0.06), ..Limits::default() },
        results,
        stated: Vec::new(),
        also: Vec::new(),
    }
}

#[test]
fn two_hypervisors_and_2008_become_tables_a_page_pictures_and_values() {
    let dir = tempfile::tempdir().expect("a directory");
    for (name, seed) in [("kvm", 1), ("uml", 2)] {
        let path = dir.path().join(format!("{name}.json"));
        document(name, seed, 8, &[0, 8, 1024, 1 << 20]).write(&path).expect("written");
    }
    let output = compare(
        dir.path(),
        &[
            "kvm.json",
            "uml.json",
            "--then-and-now",
            "--label",
            "uml.json=User-Mode Linux",
            "--html",
            "page.html",
            "--svg",
            "svg",
            "--png",
            "png",
            "--csv",
            "values.csv",
            "--imb",
            "imb.txt",
        ],
    );
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    for words in [
        "What the ring gains",
        "User-Mode Linux",
        "faster",
        "As stated by G. Birkenheuer",
        "licence restricts publishing",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    let page = fs::read_to_string(dir.path().join("page.html")).expect("a page");
    assert!(page.contains("times as fast</b>") && page.contains("VirtualBox 1.5.2"));
    let names = |sub: &str| fs::read_dir(dir.path().join(sub)).expect("made").count();
    assert_eq!((names("svg"), names("png")), (9, 9));
    let back = compare(dir.path(), &["imb.txt"]);
    assert_eq!(back.status.code(), Some(0), "{}", text(&back.stderr));
    let again = compare(
        dir.path(),
        &["kvm.json", "uml.json", "--then-and-now", "--label", "uml.json=User-Mode Linux"],
    );
    assert_eq!(text(&again.stdout), said, "the same files give the same report");
    let left = fs::read_dir(dir.path()).expect("readable").count();
    assert_eq!(left, 7, "nothing but what was asked for");
}

#[test]
fn what_cannot_be_compared_is_refused_with_file_line_and_reason() {
    let dir = tempfile::tempdir().expect("a directory");
    let put =
        |name: &str, content: &str| fs::write(dir.path().join(name), content).expect("written");
    let good = document("kvm", 1, 3, &[8]).to_text().expect("text");
    put("good.json", &good);
    put("copy.json", &good);
    put("cut.json", &good[..good.len() / 2]);
    put("newer.json", "{\"schema\":\"cohost-bench/9\"}\n");
    put("foreign.txt", "hello\n");
    put(
        "osu.txt",
        "# OSU MPI Allreduce Latency Test v7.3\n# Size       Avg Latency(us)\n8   4.34\n",
    );
    for (arguments, code, words) in [
        (vec![], 2, "FILE"),
        (vec!["absent.json"], 1, "absent.json"),
        (vec!["cut.json"], 1, "cut.json, line "),
        (vec!["newer.json"], 1, "newer.json, line 1: schema \"cohost-bench/9\" is newer"),
        (vec!["foreign.txt"], 1, "foreign.txt, line 1: neither"),
        (vec!["good.json", "copy.json"], 2, "copy.json holds the same launches as good.json"),
        (vec!["good.json", "--label", "other.json=x"], 2, "other.json is given a name"),
        (vec!["good.json", "--label", "x"], 2, "FILE=VALUE"),
        (vec!["osu.txt"], 2, "--where osu.txt=LAYOUT"),
        (vec!["osu.txt", "--where", "osu.txt=2by4"], 2, "2by4"),
        (vec!["osu.txt", "--where", "osu.txt=2x4,pigeon"], 2, "no path"),
        (vec!["good.json", "--html", "/nonexistent/x.html"], 1, "/nonexistent/x.html"),
        (vec!["good.json", "--csv", "/dev/full"], 1, "/dev/full"),
    ] {
        let output = compare(dir.path(), &arguments);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(words), "{arguments:?}: {said}");
    }
    let output = compare(
        dir.path(),
        &["osu.txt", "--where", "osu.txt=2x4,tcp", "--label", "osu.txt=MVAPICH"],
    );
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("MVAPICH"));
}

/// Peak resident memory of the children waited for so far, bytes.
fn children_peak_bytes() -> i64 {
    // SAFETY: an all-zero rusage is a valid value of this plain struct of numbers.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: getrusage writes one rusage to the pointer, which is valid for it.
    let failed = unsafe { libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut usage) };
    assert_eq!(failed, 0);
    usage.ru_maxrss * 1024
}

/// 10,000 launches of two benchmarks at 24 sizes: half a million times. Under 500 MB always; under 10 s where the
/// program was built for speed, since this test may share its machine with others.
#[test]
fn ten_thousand_launches_fit_into_ten_seconds_and_500_mb() {
    let dir = tempfile::tempdir().expect("a directory");
    let sizes: Vec<u64> = std::iter::once(0).chain((0..23).map(|i| 1 << i)).collect();
    let mut arguments = Vec::new();
    for file in 0..20u64 {
        let name = format!("{file}.json");
        // Three series of 167 launches in each of 20 files: 10,020.
        document(["kvm", "uml", "xen-domu", "qemu-tcg"][(file % 4) as usize], file, 167, &sizes)
            .write(&dir.path().join(&name))
            .expect("written");
        arguments.push(name);
    }
    arguments.extend(["--html", "page.html", "--csv", "values.csv"].map(str::to_owned));
    let begun = Instant::now();
    let output = compare(dir.path(), &arguments.iter().map(String::as_str).collect::<Vec<_>>());
    let took = begun.elapsed();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let page = fs::read_to_string(dir.path().join("page.html")).expect("a page");
    assert!(page.contains("10020 fresh launches from 20 files"));
    let peak = children_peak_bytes();
    assert!(peak < 500_000_000, "{peak} bytes");
    println!("{took:?}, {} MB, a page of {} KB", peak / 1_000_000, page.len() / 1000);
    let most = if cfg!(debug_assertions) { 60 } else { 10 };
    assert!(took < Duration::from_secs(most), "{took:?}");
}
