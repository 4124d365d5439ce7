//! Starting a job: its options, and what each rank is given.

use std::ffi::{CString, OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::str::FromStr;

use super::checks::{check_shape, find_program, make_room};
use super::keeper::{PMI_FD, Plan, RankPlan, Strings};
use super::outcome::Outcome;
use super::supervise::{self, RankStreams};
use super::{LaunchError, Layout, fresh_job_name, netns, sys};

/// Which paths the ranks may use to reach each other; handed to them as `COHOST_PATH`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathPolicy {
    /// Rings where the ranks share a host, TCP elsewhere.
    Auto,
    /// Rings only.
    Ring,
    /// TCP only.
    Tcp,
}

impl fmt::Display for PathPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Ring => "ring",
            Self::Tcp => "tcp",
        })
    }
}

impl FromStr for PathPolicy {
    type Err = LaunchError;

    fn from_str(text: &str) -> Result<Self, LaunchError> {
        match text {
            "auto" => Ok(Self::Auto),
            "ring" => Ok(Self::Ring),
            "tcp" => Ok(Self::Tcp),
            _ => Err(LaunchError::BadPath { text: text.chars().take(40).collect() }),
        }
    }
}

/// What to start, and how. `RunOptions { ranks, program, ..Default::default() }` runs one rank for
/// each virtual machine of a layout `1xN`.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// Number of ranks, 1 to [`super::MAX_RANKS`]; with a layout it must be that of the layout.
    pub ranks: u32,
    /// Hosts and virtual machines the ranks pretend to live in; `None`: all machines on one host.
    pub layout: Option<Layout>,
    /// Ranks in each virtual machine, at least 1.
    pub ranks_per_vm: u32,
    /// The program: a path with a slash, or a name to be found along `PATH`.
    pub program: OsString,
    /// Its arguments, without the program's name.
    pub args: Vec<OsString>,
    /// Variables added to the launcher's own environment, later ones winning.
    pub env: Vec<(OsString, OsString)>,
    /// Which paths the ranks may use; `None` leaves `COHOST_PATH` as it is.
    pub path: Option<PathPolicy>,
    /// Begin each line of output with `[rank] `.
    pub tag_output: bool,
    /// Collect rank 0's standard output in [`Outcome::captured`] instead of printing it.
    pub capture_rank0: bool,
    /// Put each host of the layout into a network namespace behind a 1 Gbit/s link (root only).
    pub netns: bool,
}

impl Default for RunOptions {
    fn default() -> Self {
        Self {
            ranks: 1,
            layout: None,
            ranks_per_vm: 1,
            program: OsString::new(),
            args: Vec::new(),
            env: Vec::new(),
            path: None,
            tag_output: false,
            capture_rank0: false,
            netns: false,
        }
    }
}

/// Starts the job, serves it, forwards its output, and returns when nothing of it is left.
///
/// While it runs, SIGINT, SIGTERM, SIGHUP and SIGQUIT are blocked in the calling thread and end the
/// job in good order; if the whole process is killed instead, the job ends all the same. A rank that
/// fails is reported on standard error and in [`Outcome::failed`].
///
/// # Errors
/// When the options are wrong ([`LaunchError::is_usage`]; nothing was started then), or when the
/// system cannot start the job (nothing is left running).
pub fn run(options: &RunOptions) -> Result<Outcome, LaunchError> {
    let layout = check_shape(options)?;
    let path = find_program(&options.program)?;
    // The hosts and the bridge.
    let namespaces = if options.netns { layout.hosts.saturating_add(1) } else { 0 };
    let rank_files = make_room(options.ranks, namespaces)?;
    let networks = match options.netns {
        true => Some(netns::HostNetworks::build(layout.hosts)?),
        false => None,
    };
    let job = fresh_job_name();
    let (mut plans, mut streams) = (Vec::new(), Vec::new());
    for rank in 0..options.ranks {
        let host = layout.place(rank, options.ranks_per_vm).host;
        let network = networks.as_ref().and_then(|networks| networks.host(host));
        let (plan, ends) = prepare_rank(options, layout, rank, network)?;
        plans.push(plan);
        streams.push(ends);
    }
    let mut arguments = vec![options.program.clone()];
    arguments.extend(options.args.iter().cloned());
    let plan = Plan {
        path: c_string(path.into_os_string(), "the program's path")?,
        arguments: Strings::new(arguments, "an argument")?,
        ranks: plans,
        rank_files,
    };
    supervise::supervise(options, job, plan, streams)
}

/// Makes the streams of one rank and everything its start needs.
fn prepare_rank(
    options: &RunOptions,
    layout: Layout,
    rank: u32,
    network: Option<i32>,
) -> Result<(RankPlan, RankStreams), LaunchError> {
    let failed = |what: &str| LaunchError::system(format!("{what} for rank {rank}"));
    let (pmi, rank_pmi) = sys::socketpair().map_err(failed("a socket"))?;
    let (out, rank_out) = sys::pipe().map_err(failed("a pipe"))?;
    let (err, rank_err) = sys::pipe().map_err(failed("a pipe"))?;
    for fd in [&pmi, &out, &err] {
        sys::set_nonblocking(sys::raw(Some(fd))).map_err(failed("a stream"))?;
    }
    let environment = environment(options, layout, rank);
    let plan = RankPlan {
        environment: Strings::new(environment, "an environment variable")?,
        pmi: rank_pmi,
        out: rank_out,
        err: rank_err,
        network,
    };
    Ok((plan, RankStreams { pmi, out, err }))
}

/// The environment of one rank, as `NAME=value`.
fn environment(options: &RunOptions, layout: Layout, rank: u32) -> Vec<OsString> {
    let mut all: Vec<(OsString, OsString)> =
        std::env::vars_os().filter(|(name, _)| !is_from_a_launcher(name)).collect();
    let mut ours = variables(options, layout, rank);
    ours.push(("PMI_FD".into(), PMI_FD.to_string().into()));
    for (name, value) in ours {
        all.retain(|(known, _)| *known != name);
        all.push((name, value));
    }
    all.into_iter()
        .map(|(mut variable, value)| {
            variable.push("=");
            variable.push(value);
            variable
        })
        .collect()
}

/// What each rank is told, wherever it runs: what the options add, and who it is.
pub(super) fn variables(
    options: &RunOptions,
    layout: Layout,
    rank: u32,
) -> Vec<(OsString, OsString)> {
    let place = layout.place(rank, options.ranks_per_vm);
    let ours = [
        ("PMI_RANK", rank.to_string()),
        ("PMI_SIZE", options.ranks.to_string()),
        ("COHOST_HOST", place.host.to_string()),
        ("COHOST_VM", place.vm.to_string()),
        ("COHOST_LAYOUT", layout.to_string()),
        ("COHOST_LAUNCHER", "1".to_owned()),
    ];
    let path = options.path.map(|path| ("COHOST_PATH".into(), path.to_string().into()));
    let given = path.into_iter().chain(options.env.iter().cloned());
    let ours = ours.into_iter().map(|(name, value)| (OsString::from(name), value.into()));
    let mut all: Vec<(OsString, OsString)> = Vec::new();
    for (name, value) in given.chain(ours) {
        all.retain(|(known, _)| *known != name);
        all.push((name, value));
    }
    all
}

/// Variables of another launcher around this one, which would contradict ours.
fn is_from_a_launcher(name: &OsStr) -> bool {
    let name = name.as_bytes();
    name.starts_with(b"PMI_") || name.starts_with(b"PMIX_")
}

/// A C string; `what` is named when it contains a NUL byte.
pub(super) fn c_string(text: OsString, what: &str) -> Result<CString, LaunchError> {
    CString::new(text.into_vec()).map_err(|_| LaunchError::NulByte { what: what.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rank_gets_its_place_and_nothing_of_another_launcher() {
        let layout = Layout { hosts: 2, vms: 2 };
        let path = Some(PathPolicy::Tcp);
        let mut options = RunOptions { ranks: 4, layout: Some(layout), path, ..Default::default() };
        options.env = vec![("PMI_RANK".into(), "9".into()), ("COLOUR".into(), "red".into())];
        let variables = environment(&options, layout, 3);
        let has = |text: &str| variables.iter().filter(|v| v.as_os_str() == text).count() == 1;
        for text in [
            "PMI_FD=3",
            "PMI_RANK=3",
            "PMI_SIZE=4",
            "COHOST_HOST=1",
            "COHOST_VM=1",
            "COHOST_LAYOUT=2x2",
            "COHOST_LAUNCHER=1",
            "COHOST_PATH=tcp",
            "COLOUR=red",
        ] {
            assert!(has(text), "{text}");
        }
        assert!(!has("PMI_RANK=9"));
    }
}
