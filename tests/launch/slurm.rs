//! Ranks under Slurm: a cluster of two nodes, both this machine, made for each test and gone with it.

use cohost::launch::LauncherKind;

use super::cluster::Cluster;
use super::pmi::{as_rank, expect_all_ranks};
use super::support::*;

/// A cluster for this test, or `None` after saying by name why there can be none.
fn cluster(test: &str) -> Option<Cluster> {
    Cluster::start().map_err(|why| skipped(test, &why)).ok()
}

#[test]
fn ranks_meet_under_slurm_across_nodes() {
    let name = "ranks_meet_under_slurm_across_nodes";
    let Some(cluster) = cluster(name) else { return };
    let rank = as_rank("rank_that_exchanges_values_with_all_others");
    for (option, variables, kind) in [
        ("--mpi=pmi2", &[][..], LauncherKind::Pmi2),
        ("--mpi=pmi2", &[("COHOST_PMI", "1")], LauncherKind::Pmi1),
        ("--mpi=pmix", &[], LauncherKind::Pmix),
    ] {
        if !cluster.speaks(option.trim_start_matches("--mpi=")) {
            skipped(name, &format!("this Slurm has no {option}: apt-get install libpmix2"));
            continue;
        }
        let output = cluster.srun(&["-N", "2", "-n", "4", option], variables, &rank);
        expect_all_ranks(&output, 4, kind);
    }
}

#[test]
fn a_plain_srun_of_several_tasks_is_told_which_option_is_missing() {
    let name = "a_plain_srun_of_several_tasks_is_told_which_option_is_missing";
    let Some(cluster) = cluster(name) else { return };
    let explain = [env!("CARGO_BIN_EXE_cohost"), "explain"].map(str::to_owned);
    let output = cluster.srun(&["-n", "2"], &[], &explain);
    assert_ne!(output.status.code(), Some(0));
    assert!(stderr(&output).contains("--mpi=pmi2"), "{}", stderr(&output));
    let alone = as_rank("rank_that_exchanges_values_with_all_others");
    expect_all_ranks(&cluster.srun(&["-n", "1"], &[], &alone), 1, LauncherKind::Singleton);
}

#[test]
fn an_abort_under_slurm_ends_all_ranks() {
    let name = "an_abort_under_slurm_ends_all_ranks";
    let Some(cluster) = cluster(name) else { return };
    let rank = as_rank("rank_that_aborts");
    for option in ["--mpi=pmi2", "--mpi=pmix"] {
        if cluster.speaks(option.trim_start_matches("--mpi=")) {
            let output = cluster.srun(&["-N", "2", "-n", "3", option], &[], &rank);
            assert_ne!(output.status.code(), Some(0), "{option}: {}", stderr(&output));
        }
    }
}

/// Whoever fails in the middle of a job leaves nobody behind: neither daemons, nor steps, nor ranks.
#[test]
fn a_cluster_is_taken_down_by_a_test_that_panics() {
    let name = "a_cluster_is_taken_down_by_a_test_that_panics";
    let Some(cluster) = cluster(name) else { return };
    let (tell, told) = std::sync::mpsc::channel();
    let failed = std::thread::spawn(move || {
        let script = "trap '' TERM; sleep 600 & echo $$ $!; wait";
        let command = ["sh", "-c", script].map(str::to_owned);
        let mut srun = cluster.job(&["-N", "2", "-n", "2"], &command);
        let mut srun = srun.stdout(std::process::Stdio::piped()).spawn().unwrap();
        let lines = std::io::BufReader::new(srun.stdout.take().unwrap());
        std::thread::spawn(move || srun.wait());
        for line in std::io::BufRead::lines(lines).take(2) {
            let line = line.unwrap();
            let ranks = line.split(' ').map(|it| it.parse().unwrap());
            ranks.chain(cluster.processes()).for_each(|pid: u32| tell.send(pid).unwrap());
        }
        panic!("as a test does");
    });
    assert!(failed.join().is_err());
    let all: Vec<_> = told.iter().collect();
    assert!(all.len() >= 4 + 2 * 6, "{all:?}");
    expect_gone(&all);
}
