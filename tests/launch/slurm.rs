//! Ranks under Slurm: a cluster of two nodes, both this machine, made for each test and gone with it.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use cohost::launch::LauncherKind;

use super::pmi::{as_rank, expect_all_ranks};
use super::support::*;

/// Longest life of a daemon, in seconds, should this process be killed.
const BOUND: &str = "120";

struct Cluster {
    folder: tempfile::TempDir,
    daemons: Vec<Child>,
}

impl Cluster {
    /// Starts one, or says by name why that cannot be.
    fn start(test: &str) -> Option<Self> {
        if !["slurmctld", "slurmd", "srun"].into_iter().all(has_command) {
            skipped(
                test,
                "install Slurm (its daemons are in /usr/sbin) with: apt-get install slurm-wlm libpmix2",
            );
            return None;
        }
        if stdout(&Command::new("id").arg("-u").output().unwrap()).trim() != "0" {
            skipped(test, "Slurm's daemons need root here: run the tests with sudo");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let configuration = configuration(folder.path());
        for node in ["all", "n1", "n2"] {
            let own = folder.path().join(node);
            std::fs::create_dir_all(own.join("spool")).unwrap();
            std::fs::write(own.join("slurm.conf"), &configuration).unwrap();
            // Two nodes on one machine would meet in one folder for PMIx.
            let pmix = format!("PMIxCliTmpDirBase={}\n", own.display());
            std::fs::write(own.join("mpi.conf"), pmix).unwrap();
        }
        let mut cluster = Self { folder, daemons: Vec::new() };
        cluster.daemon("all", &["slurmctld", "-D", "-c"]);
        cluster.daemon("n1", &["slurmd", "-D", "-N", "n1"]);
        cluster.daemon("n2", &["slurmd", "-D", "-N", "n2"]);
        if !cluster.comes_up() {
            let log = std::fs::read_to_string(cluster.folder.path().join("all/log"));
            let log = log.unwrap_or_default();
            let last: Vec<&str> = log.lines().rev().take(3).collect();
            skipped(test, &format!("Slurm does not start on this machine: {}", last.join(" / ")));
            return None;
        }
        Some(cluster)
    }

    fn daemon(&mut self, node: &str, command: &[&str]) {
        let own = self.folder.path().join(node);
        let log = std::fs::File::create(own.join("log")).unwrap();
        let daemon = Command::new("timeout")
            .args(["-k", "5", BOUND])
            .args(command)
            .env("SLURM_CONF", own.join("slurm.conf"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn();
        self.daemons.push(daemon.unwrap());
    }

    fn slurm(&self, command: &str) -> Command {
        let mut slurm = Command::new(command);
        slurm.env("SLURM_CONF", self.folder.path().join("all/slurm.conf"));
        slurm.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        slurm
    }

    fn comes_up(&self) -> bool {
        for _ in 0..300 {
            let nodes = self.slurm("sinfo").args(["-h", "-N", "-o", "%T"]).output().unwrap();
            if stdout(&nodes).lines().filter(|state| *state == "idle").count() == 2 {
                return true;
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        false
    }

    fn srun(&self, options: &[&str], variables: &[(&str, &str)], command: &[String]) -> Output {
        let mut srun = self.slurm("srun");
        srun.args(options).args(command).envs(variables.iter().copied());
        finish(srun.spawn().unwrap())
    }

    fn speaks(&self, protocol: &str) -> bool {
        let list = self.slurm("srun").arg("--mpi=list").output().unwrap();
        format!("{}{}", stdout(&list), stderr(&list)).contains(protocol)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for daemon in self.daemons.iter_mut().rev() {
            signal(daemon.id(), "TERM");
            daemon.wait().unwrap();
        }
    }
}

/// Two nodes with four places each, whatever this machine has; nobody to prove who he is, as there
/// is only one machine.
fn configuration(folder: &Path) -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let host = host.trim().split('.').next().unwrap();
    let folder = folder.display();
    // Held together, so that they differ.
    let free: Vec<_> = (0..3).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let ports: Vec<u16> = free.iter().map(|it| it.local_addr().unwrap().port()).collect();
    let node = |name: &str, port: u16| {
        format!(
            "NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=4 State=UNKNOWN\n"
        )
    };
    format!(
        "ClusterName=test\nSlurmctldHost={host}(127.0.0.1)\nSlurmUser=root\nSlurmdUser=root\n\
         AuthType=auth/none\nCredType=cred/none\nSlurmctldPort={}\nMpiDefault=none\n\
         StateSaveLocation={folder}/all/spool\nSlurmdSpoolDir={folder}/%n/spool\n\
         SlurmctldPidFile={folder}/all/pid\nSlurmdPidFile={folder}/%n/pid\n\
         ProctrackType=proctrack/linuxproc\nTaskPlugin=task/none\nSwitchType=switch/none\n\
         SlurmdParameters=config_overrides\nSelectType=select/cons_tres\n\
         SelectTypeParameters=CR_CPU\nAccountingStorageType=accounting_storage/none\n\
         JobAcctGatherType=jobacct_gather/none\n{}{}\
         PartitionName=all Nodes=ALL Default=YES MaxTime=5 State=UP\n",
        ports[0],
        node("n1", ports[1]),
        node("n2", ports[2]),
    )
}

#[test]
fn ranks_meet_under_slurm_across_nodes() {
    let name = "ranks_meet_under_slurm_across_nodes";
    let Some(cluster) = Cluster::start(name) else { return };
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
    let Some(cluster) = Cluster::start(name) else { return };
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
    let Some(cluster) = Cluster::start(name) else { return };
    let rank = as_rank("rank_that_aborts");
    for option in ["--mpi=pmi2", "--mpi=pmix"] {
        if cluster.speaks(option.trim_start_matches("--mpi=")) {
            let output = cluster.srun(&["-N", "2", "-n", "3", option], &[], &rank);
            assert_ne!(output.status.code(), Some(0), "{option}: {}", stderr(&output));
        }
    }
}
