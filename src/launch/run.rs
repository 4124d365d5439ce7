//! Starting a job: its options, and what each rank is given.

use std::ffi::{CString, OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use super::checks::{check_shape, find_program, make_room};
use super::keeper::{PMI_FD, Plan, ProgramPlan, RankPlan, Strings};
use super::outcome::Outcome;
use super::program::{Inherit, Segment, by_rank, segments};
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
    /// Variables added to what the ranks of the first program inherit, later ones winning.
    pub env: Vec<(OsString, OsString)>,
    /// Which paths the ranks may use; `None` leaves `COHOST_PATH` as it is.
    pub path: Option<PathPolicy>,
    /// Begin each line of output with `[rank] `.
    pub tag_output: bool,
    /// Collect rank 0's standard output in [`Outcome::captured`] instead of printing it.
    pub capture_rank0: bool,
    /// What the ranks of the first program inherit.
    pub inherit: Inherit,
    /// The directory the first program runs in; `None`: the launcher's.
    pub directory: Option<PathBuf>,
    /// Further programs for the last of the ranks. Only ranks on this machine have these, and a
    /// directory.
    pub more: Vec<Segment>,
    /// End the job, with exit code 124, when it has run this long.
    pub timeout: Option<Duration>,
    /// Do not say which rank ended the job, and how.
    pub quiet: bool,
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
            inherit: Inherit::All,
            directory: None,
            more: Vec::new(),
            timeout: None,
            quiet: false,
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
    let segments = segments(options)?;
    let programs = segments.iter().map(prepare_program).collect::<Result<Vec<_>, _>>()?;
    // The hosts and the bridge.
    let namespaces = if options.netns { layout.hosts.saturating_add(1) } else { 0 };
    let rank_files = make_room(options.ranks, namespaces)?;
    let networks = match options.netns {
        true => Some(netns::HostNetworks::build(layout.hosts)?),
        false => None,
    };
    let job = fresh_job_name();
    let (mut plans, mut streams) = (Vec::new(), Vec::new());
    for (rank, program) in (0..options.ranks).zip(by_rank(&segments)) {
        let host = layout.place(rank, options.ranks_per_vm).host;
        let network = networks.as_ref().and_then(|networks| networks.host(host));
        let Some(segment) = segments.get(program) else { continue };
        let environment = environment(options, segment, layout, rank);
        let (plan, ends) = prepare_rank(rank, program, environment, network)?;
        plans.push(plan);
        streams.push(ends);
    }
    let plan = Plan { programs, ranks: plans, rank_files };
    supervise::supervise(options, job, plan, streams)
}

/// Finds a program, and puts what its start needs into the form that the system wants.
fn prepare_program(segment: &Segment) -> Result<ProgramPlan, LaunchError> {
    let directory = segment.directory.as_deref();
    let path = find_program(&segment.program, directory)?;
    let mut arguments = vec![segment.program.clone()];
    arguments.extend(segment.args.iter().cloned());
    let c_directory = |it: &Path| c_string(it.as_os_str().to_owned(), "the working directory");
    Ok(ProgramPlan {
        path: c_string(path.into_os_string(), "the program's path")?,
        arguments: Strings::new(arguments, "an argument")?,
        directory: directory.map(c_directory).transpose()?,
    })
}

/// Makes the streams of one rank and everything its start needs.
fn prepare_rank(
    rank: u32,
    program: usize,
    environment: Vec<OsString>,
    network: Option<i32>,
) -> Result<(RankPlan, RankStreams), LaunchError> {
    let failed = |what: &str| LaunchError::system(format!("{what} for rank {rank}"));
    let (pmi, rank_pmi) = sys::socketpair().map_err(failed("a socket"))?;
    let (out, rank_out) = sys::pipe().map_err(failed("a pipe"))?;
    let (err, rank_err) = sys::pipe().map_err(failed("a pipe"))?;
    for fd in [&pmi, &out, &err] {
        sys::set_nonblocking(sys::raw(Some(fd))).map_err(failed("a stream"))?;
    }
    let plan = RankPlan {
        program,
        environment: Strings::new(environment, "an environment variable")?,
        pmi: rank_pmi,
        out: rank_out,
        err: rank_err,
        network,
    };
    Ok((plan, RankStreams { pmi, out, err }))
}

/// The environment of one rank, as `NAME=value`.
fn environment(
    options: &RunOptions,
    segment: &Segment,
    layout: Layout,
    rank: u32,
) -> Vec<OsString> {
    let mut all: Vec<(OsString, OsString)> = std::env::vars_os()
        .filter(|(name, _)| !is_from_a_launcher(name) && segment.inherit.passes(name))
        .collect();
    let mut ours = variables(options, &segment.env, layout, rank);
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

/// What each rank is told, wherever it runs: what its program is given, and who it is.
pub(super) fn variables(
    options: &RunOptions,
    given: &[(OsString, OsString)],
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
    let given = path.into_iter().chain(given.iter().cloned());
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
        let segment = &segments(&options).unwrap()[0];
        let variables = environment(&options, segment, layout, 3);
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
