//! Jobs whose ranks are in the guests of a lab. One that fails, or does not end, is a failure that
//! names the test and its guests, with what these do and the end of their boot logs.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use cohost::bench::campaign::{Campaign, Stage};
use cohost::bench::name::Benchmark;
use cohost::bench::worker::Work;
use cohost::cli::lab_ranks;
use cohost::launch::{Layout, Outcome, PathPolicy, RunOptions};
use cohost::report::schema::{BenchResult, Document, Limits, Provenance};
use cohost_lab::{Guest, Lab};

/// How long a job may take on a busy machine.
const LIMIT: Duration = Duration::from_secs(180);

/// Message lengths that go as cells, in pieces, and asked for first; powers of two and not.
pub const SIZES: [u64; 6] = [0, 1, 8, 4096, 65_536, 300_001];

/// The layout of a lab whose hosts all have as many guests.
pub fn layout(lab: &Lab) -> Layout {
    let hosts = lab.guests().iter().map(Guest::host).max().map_or(0, |host| host + 1);
    let guests = u32::try_from(lab.guests().len()).unwrap();
    Layout { hosts, vms: guests / hosts }
}

/// Runs a job to its end, which must come.
pub fn job(name: &str, lab: &Lab, options: &RunOptions) -> Outcome {
    let (going, ended) = channel::<()>();
    std::thread::scope(|scope| {
        let watch = scope.spawn(move || {
            if ended.recv_timeout(LIMIT) != Err(RecvTimeoutError::Timeout) {
                return None;
            }
            let doing: Vec<String> = lab.guests().iter().map(doing).collect();
            // The job ends with its guests.
            lab.guests().iter().for_each(Guest::stop);
            Some(doing.concat())
        });
        let outcome = lab_ranks::run(lab, options);
        drop(going);
        if let Some(doing) = watch.join().unwrap() {
            panic!("{name}: the job was not done after {} s: {doing}", LIMIT.as_secs());
        }
        outcome.unwrap_or_else(|error| panic!("{name}: {error}{}", logs(lab)))
    })
}

/// What the ranks in a guest wait for, and the end of its boot log.
fn doing(guest: &Guest) -> String {
    let script = "for p in /proc/[0-9]*; do case $(cat $p/comm) in cohost*) \
                  echo \"$p $(tr '\\0' ' ' < $p/cmdline)\"; cat $p/task/*/stack; esac; done 2>&1; \
                  cat /proc/net/tcp";
    let said = match guest.output("sh", &["-c", script], Duration::from_secs(30)) {
        Ok(output) => String::from_utf8_lossy(&output.stdout).into_owned(),
        Err(error) => error.to_string(),
    };
    format!("\n{}: {said}\n{}", guest.label(), log(guest))
}

fn log(guest: &Guest) -> String {
    let log = guest.log();
    let lines: Vec<&str> = log.trim_end().lines().collect();
    let last = lines.get(lines.len().saturating_sub(15)..).unwrap_or_default();
    format!("{}: its console said last:\n{}\n", guest.label(), last.join("\n"))
}

/// The end of all boot logs, for a failure's message.
pub fn logs(lab: &Lab) -> String {
    let logs: Vec<String> = lab.guests().iter().map(log).collect();
    format!("\n{}", logs.concat())
}

/// A job whose ranks, so many in each guest, run a line of shell; rank 0's output is captured.
pub fn shell(name: &str, lab: &Lab, ranks_per_vm: u32, line: &str) -> Outcome {
    let layout = layout(lab);
    let options = RunOptions {
        ranks: u32::try_from(layout.ranks(ranks_per_vm)).unwrap(),
        layout: Some(layout),
        ranks_per_vm,
        program: "sh".into(),
        args: vec!["-c".into(), line.into()],
        capture_rank0: true,
        ..RunOptions::default()
    };
    job(name, lab, &options)
}

/// What `cohost explain` says of a pair of ranks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    pub ranks: (u32, u32),
    pub path: String,
    pub why: String,
}

/// The lines of the matrix that `cohost explain` prints.
pub fn pairs(said: &str) -> Vec<Pair> {
    let line = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [a, b, path, _, _, why @ ..] = &words[..] else { return None };
        let ranks = (a.parse().ok()?, b.parse().ok()?);
        Some(Pair { ranks, path: (*path).to_owned(), why: why.join(" ") })
    };
    said.lines().filter_map(line).collect()
}

/// Leaves the ranks to find out by themselves who shares a host: no layout tells them.
pub const UNTOLD: &str = "unset COHOST_HOST COHOST_VM COHOST_LAYOUT; exec ";

/// All pairs of ranks, one in each guest, by `cohost explain`; `before` it comes a piece of shell.
pub fn explain(name: &str, lab: &Lab, before: &str) -> Vec<Pair> {
    let outcome = shell(name, lab, 1, &format!("{before} cohost explain"));
    let said = String::from_utf8_lossy(&outcome.captured);
    let failed = outcome.failed.as_ref();
    assert_eq!(outcome.exit_code, 0, "{name}: {failed:?} {said}{}", logs(lab));
    let pairs = pairs(&said);
    let ranks = lab.guests().len();
    assert_eq!(pairs.len(), ranks * (ranks - 1) / 2, "{name}: {said}{}", logs(lab));
    pairs
}

/// The only pair of a lab of two guests.
pub fn the_pair(name: &str, lab: &Lab, before: &str) -> Pair {
    explain(name, lab, before).remove(0)
}

/// PingPong and Alltoall with every byte checked, one rank in each guest.
pub fn checked(name: &str, lab: &Lab, path: Option<PathPolicy>) -> Vec<BenchResult> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("results.json");
    let campaign = Campaign {
        work: Work {
            benchmarks: vec![Benchmark::PingPong, Benchmark::Alltoall],
            sizes: SIZES.into(),
            check: true,
            off_cache: false,
            sample_seconds_max: 0.03,
        },
        layouts: vec![layout(lab)],
        path,
        runs: 1,
        ranks_per_vm: 1,
        netns: false,
        json: Some(file.clone()),
        program: "cohost".into(),
    };
    let mut complaints = Vec::new();
    let verdict = campaign.run(&mut Stage {
        open: &mut |_| Ok(Some(Provenance::default())),
        launch: &mut |options| Ok(job(name, lab, options)),
        limits: &mut || Ok(Limits::default()),
        print: &mut |_| Ok(()),
        complain: &mut |text| complaints.push(text.to_owned()),
        progress: &mut |_, _, _| {},
    });
    let verdict = verdict.unwrap_or_else(|error| panic!("{name}: {error}{}", logs(lab)));
    assert!(verdict.is_good(), "{name}: {verdict:?} {complaints:?}{}", logs(lab));
    let results = Document::read(&file).unwrap().results;
    assert_eq!(results.len(), 2 * SIZES.len(), "{name}: {results:?}");
    results
}
