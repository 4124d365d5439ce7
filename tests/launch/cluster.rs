//! A cluster of Slurm on this machine: a controller and two nodes with ports and folders of their own,
//! made for one test and gone with it. The tests of the C interface use this file too, so that it
//! needs no other.

use std::fs;
use std::net::TcpListener;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

/// Longest life of a daemon, in seconds, should this process be killed.
const BOUND: &str = "120";

/// Longest time of a job, in seconds: far above what it takes.
const JOB: &str = "60";

pub struct Cluster {
    folder: tempfile::TempDir,
    daemons: Vec<Child>,
}

impl Cluster {
    /// Starts one; `Err` says why that cannot be and what to do.
    pub fn start() -> Result<Self, String> {
        if !["slurmctld", "slurmd", "srun"].into_iter().all(has_command) {
            return Err("install Slurm (its daemons are in /usr/sbin) with: \
                        apt-get install slurm-wlm libpmix2"
                .to_owned());
        }
        if said(Command::new("id").arg("-u")).trim() != "0" {
            return Err("Slurm's daemons need root here: run the tests with sudo".to_owned());
        }
        let folder = tempfile::tempdir().unwrap();
        let configuration = configuration(folder.path());
        for node in ["all", "n1", "n2"] {
            let own = folder.path().join(node);
            fs::create_dir_all(own.join("spool")).unwrap();
            fs::write(own.join("slurm.conf"), &configuration).unwrap();
            // Two nodes on one machine would meet in one folder for PMIx.
            let pmix = format!("PMIxCliTmpDirBase={}\n", own.display());
            fs::write(own.join("mpi.conf"), pmix).unwrap();
        }
        let mut cluster = Self { folder, daemons: Vec::new() };
        cluster.daemon("all", &["slurmctld", "-D", "-c"]);
        cluster.daemon("n1", &["slurmd", "-D", "-N", "n1"]);
        cluster.daemon("n2", &["slurmd", "-D", "-N", "n2"]);
        if !cluster.comes_up() {
            let log = fs::read_to_string(cluster.folder.path().join("all/log"));
            let log = log.unwrap_or_default();
            let last: Vec<&str> = log.lines().rev().take(3).collect();
            return Err(format!("Slurm does not start on this machine: {}", last.join(" / ")));
        }
        Ok(cluster)
    }

    fn daemon(&mut self, node: &str, command: &[&str]) {
        let own = self.folder.path().join(node);
        let log = fs::File::create(own.join("log")).unwrap();
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

    /// A command of Slurm's, for this cluster. It ends by itself.
    fn slurm(&self, command: &str) -> Command {
        let mut slurm = Command::new("timeout");
        slurm.args(["-k", "5", JOB, command]).stdin(Stdio::null());
        slurm.env("SLURM_CONF", self.folder.path().join("all/slurm.conf"));
        slurm
    }

    fn comes_up(&self) -> bool {
        for _ in 0..300 {
            let nodes = said(self.slurm("sinfo").args(["-h", "-N", "-o", "%T"]));
            if nodes.lines().filter(|state| *state == "idle").count() == 2 {
                return true;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        false
    }

    /// A job of these options and variables, to its end.
    pub fn srun(&self, options: &[&str], variables: &[(&str, &str)], command: &[String]) -> Output {
        let mut srun = self.job(options, command);
        srun.envs(variables.iter().copied()).output().unwrap()
    }

    /// A job, not yet started.
    pub fn job(&self, options: &[&str], command: &[String]) -> Command {
        let mut srun = self.slurm("srun");
        srun.args(options).args(command);
        srun
    }

    /// Has this Slurm the plugin that `--mpi=NAME` names?
    pub fn speaks(&self, name: &str) -> bool {
        said(self.slurm("srun").arg("--mpi=list")).contains(name)
    }

    /// Everything with this cluster's folder in its environment, but this process: the daemons, and
    /// the steps and tasks of jobs, which outlive a daemon.
    pub fn processes(&self) -> Vec<u32> {
        let folder = self.folder.path().as_os_str().as_bytes();
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let pid = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok());
            let variables = fs::read(entry.path().join("environ")).unwrap_or_default();
            let names = variables.windows(folder.len()).any(|part| part == folder);
            found.extend(pid.filter(|&pid| names && pid != std::process::id()));
        }
        found
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for daemon in self.daemons.iter_mut().rev() {
            signal("TERM", daemon.id());
            let _ = daemon.wait();
        }
        for _ in 0..100 {
            let left = self.processes();
            if left.is_empty() {
                return;
            }
            left.into_iter().for_each(|pid| signal("KILL", pid));
            std::thread::sleep(Duration::from_millis(20));
        }
        assert!(std::thread::panicking(), "processes of Slurm survive: {:?}", self.processes());
    }
}

fn signal(name: &str, pid: u32) {
    let arguments = [format!("-{name}"), pid.to_string()];
    // A process that has ended meanwhile is as good.
    let _ = Command::new("kill").args(arguments).stderr(Stdio::null()).status();
}

/// What a command says, on both outputs.
fn said(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let (out, err) = (&output.stdout, &output.stderr);
    format!("{}{}", String::from_utf8_lossy(out), String::from_utf8_lossy(err))
}

fn has_command(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(name).is_file())
}

/// Two nodes with four places each, whatever this machine has; nobody to prove who he is, as there
/// is only one machine.
fn configuration(folder: &Path) -> String {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
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
