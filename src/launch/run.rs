//! Starting a job: its options, the checks before anything is started, and what came of it.

use std::ffi::{CString, OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::keeper::{PMI_FD, Plan, RankPlan, Strings};
use super::supervise::{self, RankStreams};
use super::{LaunchError, Layout, fresh_job_name, netns, sys};

/// Most ranks one launcher starts.
pub const MAX_RANKS: u32 = 1024;

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
            _ => Err(LaunchError::BadPath {
                text: text.chars().take(40).collect(),
            }),
        }
    }
}

/// What to start, and how. `RunOptions { ranks, program, ..Default::default() }` runs one rank for
/// each virtual machine of a layout `1xN`.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// Number of ranks, 1 to [`MAX_RANKS`]; with a layout it must be that of the layout.
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

/// What came of a job that was started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// 0 to 255: that of the rank that ended the job, otherwise the greatest of all ranks; a death by
    /// signal counts as 128 + signal, as does the end of the launcher by Ctrl-C and the like.
    pub exit_code: i32,
    /// The rank that ended the job, if one did.
    pub failed: Option<RankFailure>,
    /// Rank 0's standard output, when asked for.
    pub captured: Vec<u8>,
}

/// A rank that ended its job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RankFailure {
    /// The rank.
    pub rank: u32,
    /// What it did.
    pub cause: FailureCause,
    /// The last lines it wrote to standard error, at most ten.
    pub last_words: String,
}

/// How a rank ended its job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FailureCause {
    /// Killed by this signal.
    Signal(i32),
    /// Exited with this code, not 0, before it had finalized.
    Exit(i32),
    /// Exited with 0 between init and finalize.
    NotFinalized,
    /// Exited while this many others waited for it at a barrier.
    MissedBarrier(usize),
    /// Asked for the end of the job.
    Abort {
        /// The exit code it asked for.
        code: i32,
        /// Its reason; may be empty.
        message: String,
    },
    /// Sent something else than PMI-1 over `PMI_FD`.
    Nonsense(String),
}

impl FailureCause {
    /// The job's exit code, 1 to 255.
    pub fn exit_code(&self) -> i32 {
        match self {
            Self::Signal(signal) => 128 + signal,
            Self::Exit(code) | Self::Abort { code, .. } => match code & 0xff {
                0 => 1,
                code => code,
            },
            Self::NotFinalized | Self::MissedBarrier(_) | Self::Nonsense(_) => 1,
        }
    }

    /// Of several ranks that die at the same moment, the one with the greatest weight is named: a
    /// crash explains the errors of the others, not the other way round.
    pub(super) fn weight(&self) -> u32 {
        match self {
            Self::Signal(libc::SIGTERM | libc::SIGINT | libc::SIGHUP | libc::SIGPIPE) => 1,
            Self::Signal(_) => 4,
            Self::Abort { .. } | Self::Nonsense(_) => 3,
            Self::Exit(_) => 2,
            Self::NotFinalized | Self::MissedBarrier(_) => 1,
        }
    }
}

impl fmt::Display for FailureCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signal(signal) => {
                write!(
                    f,
                    "was killed by signal {signal} ({})",
                    sys::signal_name(*signal)
                )
            }
            Self::Exit(code) => write!(f, "exited with code {code}"),
            Self::NotFinalized => write!(f, "exited without finalizing"),
            Self::MissedBarrier(n) => write!(f, "exited while {n} other(s) waited at a barrier"),
            Self::Abort { code, message } if message.is_empty() => {
                write!(f, "aborted the job with code {code}")
            }
            Self::Abort { code, message } => {
                write!(f, "aborted the job with code {code}: {message}")
            }
            Self::Nonsense(what) => write!(f, "broke the launcher's protocol: {what}"),
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
    let rank_files = make_room(options.ranks)?;
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

/// Checks numbers against each other and against the limits; the layout in force.
fn check_shape(options: &RunOptions) -> Result<Layout, LaunchError> {
    let (ranks, per_vm) = (options.ranks, options.ranks_per_vm);
    if per_vm == 0 {
        let why = "--ranks-per-vm must be at least 1".to_owned();
        return Err(LaunchError::RankCount { asked: 0, why });
    }
    let expected = options.layout.map(|layout| (layout, layout.ranks(per_vm)));
    check_count(expected.map_or(u64::from(ranks), |(_, expected)| expected.max(ranks.into())))?;
    if ranks == 0 {
        check_count(0)?;
    }
    match expected {
        Some((layout, expected)) if expected != u64::from(ranks) => {
            Err(LaunchError::LayoutMismatch {
                layout,
                ranks_per_vm: per_vm,
                expected,
                asked: ranks,
            })
        }
        Some((layout, _)) => Ok(layout),
        None if !ranks.is_multiple_of(per_vm) => Err(LaunchError::Uneven {
            ranks,
            ranks_per_vm: per_vm,
        }),
        None => Ok(Layout {
            hosts: 1,
            vms: ranks / per_vm,
        }),
    }
}

/// Refuses a number of ranks outside 1..=[`MAX_RANKS`].
fn check_count(asked: u64) -> Result<(), LaunchError> {
    if asked == 0 {
        let why = "a job has at least 1 rank: give -n 1 or more".to_owned();
        return Err(LaunchError::RankCount { asked, why });
    }
    if asked <= u64::from(MAX_RANKS) {
        return Ok(());
    }
    let files = sys::limit(libc::RLIMIT_NOFILE).map_or(0, |limit| limit.rlim_max);
    let processes = sys::limit(libc::RLIMIT_NPROC).map_or(0, |limit| limit.rlim_cur);
    let why = format!(
        "one launcher starts at most {MAX_RANKS}; this machine's limits allow {} by open files \
         (RLIMIT_NOFILE {}) and {} by processes (RLIMIT_NPROC {})",
        readable(files.saturating_sub(SPARE_FILES) / FILES_PER_RANK),
        readable(files),
        readable(processes.saturating_sub(2)),
        readable(processes),
    );
    Err(LaunchError::RankCount { asked, why })
}

/// A limit, where the greatest numbers mean that there is none.
fn readable(limit: u64) -> String {
    match limit > 1 << 40 {
        true => "unlimited".to_owned(),
        false => limit.to_string(),
    }
}

/// Descriptors the launcher opens for each rank: both ends of PMI, standard output and error.
const FILES_PER_RANK: u64 = 6;

/// Descriptors for everything else: the keeper, signals, standard streams, namespaces, the program
/// that calls [`run`].
const SPARE_FILES: u64 = 128;

/// Sees to it that `ranks` ranks do not run into the limits of this process; the limit of open files
/// that the ranks themselves shall have (the one in force before).
fn make_room(ranks: u32) -> Result<libc::rlimit, LaunchError> {
    let asked = u64::from(ranks);
    let processes =
        sys::limit(libc::RLIMIT_NPROC).map_err(LaunchError::system("reading RLIMIT_NPROC"))?;
    if !sys::is_root() && processes.rlim_cur < asked + 2 {
        let limit = processes.rlim_cur;
        let why = format!("RLIMIT_NPROC allows {limit} processes: raise it with ulimit -u");
        return Err(LaunchError::RankCount { asked, why });
    }
    let before =
        sys::limit(libc::RLIMIT_NOFILE).map_err(LaunchError::system("reading RLIMIT_NOFILE"))?;
    let needed = asked * FILES_PER_RANK + SPARE_FILES;
    if before.rlim_max < needed {
        let why = format!(
            "they need {needed} open files, RLIMIT_NOFILE allows {}: raise it with ulimit -Hn, or \
             start at most {}",
            before.rlim_max,
            before.rlim_max.saturating_sub(SPARE_FILES) / FILES_PER_RANK
        );
        return Err(LaunchError::RankCount { asked, why });
    }
    if before.rlim_cur < needed {
        let raised = libc::rlimit {
            rlim_cur: needed,
            rlim_max: before.rlim_max,
        };
        sys::set_limit(libc::RLIMIT_NOFILE, &raised)
            .map_err(LaunchError::system("raising RLIMIT_NOFILE"))?;
    }
    Ok(before)
}

/// The path of `program`, found as a shell would, and known to be executable.
fn find_program(program: &OsStr) -> Result<PathBuf, LaunchError> {
    let name = program.to_string_lossy().into_owned();
    if program.is_empty() {
        let searched = "its name is empty".to_owned();
        return Err(LaunchError::ProgramNotFound {
            program: name,
            searched,
        });
    }
    if program.as_bytes().contains(&b'/') {
        let path = PathBuf::from(program);
        return match executable(&path) {
            Ok(true) => Ok(path),
            Ok(false) => Err(LaunchError::NotExecutable {
                program: name,
                reason: "it is a directory or lacks execute permission".to_owned(),
            }),
            Err(error) => {
                let searched = error.to_string();
                Err(LaunchError::ProgramNotFound {
                    program: name,
                    searched,
                })
            }
        };
    }
    let search = std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
    std::env::split_paths(&search)
        .map(|folder| folder.join(program))
        .find(|path| matches!(executable(path), Ok(true)))
        .ok_or_else(|| LaunchError::ProgramNotFound {
            program: name.clone(),
            searched: format!(
                "PATH is {}; for a file of this folder write ./{name}",
                search.display()
            ),
        })
}

/// Is `path` a file somebody may execute?
fn executable(path: &Path) -> std::io::Result<bool> {
    let about = std::fs::metadata(path)?;
    Ok(about.is_file() && about.permissions().mode() & 0o111 != 0)
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
    let place = layout.place(rank, options.ranks_per_vm);
    let ours = [
        ("PMI_FD", PMI_FD.to_string()),
        ("PMI_RANK", rank.to_string()),
        ("PMI_SIZE", options.ranks.to_string()),
        ("COHOST_HOST", place.host.to_string()),
        ("COHOST_VM", place.vm.to_string()),
        ("COHOST_LAYOUT", layout.to_string()),
        ("COHOST_LAUNCHER", "1".to_owned()),
    ];
    let path = options
        .path
        .map(|path| ("COHOST_PATH".into(), path.to_string().into()));
    let given = path.into_iter().chain(options.env.iter().cloned());
    let mut all: Vec<(OsString, OsString)> = std::env::vars_os()
        .filter(|(name, _)| !is_from_a_launcher(name))
        .collect();
    let ours = ours
        .into_iter()
        .map(|(name, value)| (OsString::from(name), value.into()));
    for (name, value) in given.chain(ours) {
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

/// Variables of another launcher around this one, which would contradict ours.
fn is_from_a_launcher(name: &OsStr) -> bool {
    let name = name.as_bytes();
    name.starts_with(b"PMI_") || name.starts_with(b"PMIX_")
}

/// A C string; `what` is named when it contains a NUL byte.
pub(super) fn c_string(text: OsString, what: &str) -> Result<CString, LaunchError> {
    CString::new(text.into_vec()).map_err(|_| LaunchError::NulByte {
        what: what.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(ranks: u32, layout: Option<&str>, ranks_per_vm: u32) -> RunOptions {
        let layout = layout.map(|text| text.parse().unwrap());
        RunOptions {
            ranks,
            layout,
            ranks_per_vm,
            ..Default::default()
        }
    }

    #[test]
    fn without_a_layout_all_machines_are_on_one_host() {
        assert_eq!(
            check_shape(&options(4, None, 1)).unwrap().to_string(),
            "1x4"
        );
        assert_eq!(
            check_shape(&options(4, None, 2)).unwrap().to_string(),
            "1x2"
        );
        assert!(matches!(
            check_shape(&options(5, None, 2)),
            Err(LaunchError::Uneven { .. })
        ));
    }

    #[test]
    fn contradicting_numbers_are_all_in_the_message() {
        let error = check_shape(&options(5, Some("2x4"), 1)).unwrap_err();
        assert!(error.is_usage());
        let text = error.to_string();
        assert!(
            text.contains("2x4") && text.contains('8') && text.contains('5'),
            "{text}"
        );
    }

    #[test]
    fn counts_no_machine_can_start_are_refused_with_the_limits() {
        for (ranks, layout) in [
            (10_000, None),
            (1025, None),
            (1, Some("4294967295x4294967295")),
        ] {
            let text = check_shape(&options(ranks, layout, 4_000_000_000))
                .unwrap_err()
                .to_string();
            assert!(text.contains("1024") || text.contains("multiple"), "{text}");
            let text = check_shape(&options(ranks.max(1025), layout, 1))
                .unwrap_err()
                .to_string();
            assert!(
                text.contains("1024") && text.contains("RLIMIT_NOFILE"),
                "{text}"
            );
            assert!(text.contains("RLIMIT_NPROC"), "{text}");
        }
        assert!(
            check_shape(&options(0, None, 1))
                .unwrap_err()
                .to_string()
                .contains("at least 1")
        );
        assert!(check_shape(&options(1, None, 0)).is_err());
        assert!(check_shape(&options(1024, None, 1)).is_ok());
    }

    #[test]
    fn a_rank_gets_its_place_and_nothing_of_another_launcher() {
        let mut options = options(4, Some("2x2"), 1);
        options.path = Some(PathPolicy::Tcp);
        options.env = vec![
            ("PMI_RANK".into(), "9".into()),
            ("COLOUR".into(), "red".into()),
        ];
        let layout = options.layout.unwrap();
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

    #[test]
    fn a_crash_outweighs_the_errors_it_causes_in_others() {
        let crash = FailureCause::Signal(libc::SIGSEGV);
        for other in [
            FailureCause::Exit(1),
            FailureCause::NotFinalized,
            FailureCause::Signal(libc::SIGPIPE),
            FailureCause::Abort {
                code: 1,
                message: String::new(),
            },
        ] {
            assert!(crash.weight() > other.weight());
            assert!((1..256).contains(&other.exit_code()));
        }
    }
}
