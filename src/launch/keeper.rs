//! The keeper: a small process between the launcher and its ranks.
//!
//! It starts the ranks, tells the launcher how they end, and adopts what they leave behind. When the
//! launcher disappears, however it was killed, the keeper's control pipe closes, and it kills every
//! descendant before it goes. When the keeper is killed, the kernel kills the ranks
//! (`PR_SET_PDEATHSIG`), and the launcher kills the rest of the process group.
//!
//! The keeper lives in the launcher's session, so that `sched_yield` works between ranks, and leads
//! the process group of the ranks, so that one signal reaches all of them.
//!
//! It is a fork of a process that may have threads: from `fork` on, it only makes system calls on data
//! prepared before. It allocates nothing, locks nothing, and cannot panic.

use std::ffi::{CStr, CString, OsString};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use libc::{c_char, c_int, pid_t};

use super::run::c_string;
use super::{LaunchError, sys};

/// Command of the launcher: kill what is left and exit. Any other byte is a signal for the ranks.
pub(super) const FINISH: u8 = 0;

/// Descriptor of the PMI connection in every rank. One digit: some shells know no others.
pub(super) const PMI_FD: RawFd = 3;

/// Size of one [`Report`] on the pipe; below PIPE_BUF, so each is written whole.
pub(super) const REPORT_BYTES: usize = 12;

/// How long the keeper tries to kill what does not die, in milliseconds.
const SWEEP_MS: u32 = 2000;

/// A C array of C strings, ending with a null pointer.
pub(super) struct Strings {
    /// Keeps alive what `pointers` points to.
    _strings: Vec<CString>,
    pointers: Vec<*const c_char>,
}

impl Strings {
    /// Fails when one of the texts contains a NUL byte.
    pub(super) fn new(texts: Vec<OsString>, what: &str) -> Result<Self, LaunchError> {
        let strings =
            texts.into_iter().map(|text| c_string(text, what)).collect::<Result<Vec<_>, _>>()?;
        let end = std::iter::once(std::ptr::null());
        let pointers = strings.iter().map(|string| string.as_ptr()).chain(end).collect();
        Ok(Self { _strings: strings, pointers })
    }
}

/// One program of the job.
pub(super) struct ProgramPlan {
    pub(super) path: CString,
    pub(super) arguments: Strings,
    /// Where it runs, when not where the launcher does.
    pub(super) directory: Option<CString>,
}

/// All that is needed to start one rank.
pub(super) struct RankPlan {
    /// Its place in [`Plan::programs`].
    pub(super) program: usize,
    pub(super) environment: Strings,
    /// The rank's end of its PMI connection; becomes [`PMI_FD`].
    pub(super) pmi: OwnedFd,
    pub(super) out: OwnedFd,
    pub(super) err: OwnedFd,
    /// Network namespace to enter.
    pub(super) network: Option<RawFd>,
}

/// All that is needed to start a job.
pub(super) struct Plan {
    pub(super) programs: Vec<ProgramPlan>,
    pub(super) ranks: Vec<RankPlan>,
    /// Limit of open files for the ranks.
    pub(super) rank_files: libc::rlimit,
}

/// What the keeper tells the launcher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Report {
    /// A rank's process ended with this wait status.
    Ended { rank: u32, status: c_int },
    /// A rank could not be started: the step, and the system's error number.
    NotStarted { rank: u32, step: Step, errno: c_int },
    /// The machine of a rank is gone, and the rank with it.
    Lost { rank: u32 },
}

/// A step in starting a rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Fork,
    Network,
    Streams,
    Directory,
    Execute,
}

const STEPS: [Step; 5] = [Step::Fork, Step::Network, Step::Streams, Step::Directory, Step::Execute];

/// Kind of [`Report::Lost`]; those before it are 0 and one for each step.
const LOST: u32 = 1 + STEPS.len() as u32;

impl Report {
    pub(super) fn encode(self) -> [u8; REPORT_BYTES] {
        let (kind, rank, value) = match self {
            Self::Ended { rank, status } => (0, rank, status),
            Self::NotStarted { rank, step, errno } => (1 + step as u32, rank, errno),
            Self::Lost { rank } => (LOST, rank, 0),
        };
        let [a, b, c, d] = kind.to_ne_bytes();
        let [e, f, g, h] = rank.to_ne_bytes();
        let [i, j, k, l] = value.to_ne_bytes();
        [a, b, c, d, e, f, g, h, i, j, k, l]
    }

    /// Reads back what [`Self::encode`] wrote.
    pub(super) fn decode(bytes: [u8; REPORT_BYTES]) -> Option<Self> {
        let [a, b, c, d, e, f, g, h, i, j, k, l] = bytes;
        let kind = u32::from_ne_bytes([a, b, c, d]);
        let rank = u32::from_ne_bytes([e, f, g, h]);
        let value = c_int::from_ne_bytes([i, j, k, l]);
        match kind {
            0 => Some(Self::Ended { rank, status: value }),
            LOST => Some(Self::Lost { rank }),
            _ => {
                let step = *STEPS.get(kind as usize - 1)?;
                Some(Self::NotStarted { rank, step, errno: value })
            }
        }
    }
}

/// The launcher's hold on its keeper.
pub(super) struct Keeper {
    /// Process id, and process group of the ranks; none when it is a thread.
    pub(super) pid: Option<pid_t>,
    /// Commands go in here; closing it ends the job.
    pub(super) control: OwnedFd,
    /// [`Report`]s come out here; end of file when the keeper is gone.
    pub(super) reports: OwnedFd,
    /// Where to write what is typed at the terminal, when that is standard input.
    pub(super) typed: Option<OwnedFd>,
}

/// Forks the keeper, which starts the ranks of `plan`. `mask` is the signal mask for the ranks.
pub(super) fn start(plan: Plan, mask: libc::sigset_t) -> Result<Keeper, LaunchError> {
    let failed = || LaunchError::system("starting the keeper process");
    let (keeper_control, control) = sys::socketpair().map_err(failed())?;
    let (reports, keeper_reports) = sys::pipe().map_err(failed())?;
    // Not the number that the ranks' PMI connection gets, as a rank reports its failure to start.
    let keeper_reports = sys::duplicate(keeper_reports.as_raw_fd()).map_err(failed())?;
    let null = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null");
    let null = OwnedFd::from(null.map_err(LaunchError::system("opening /dev/null"))?);
    let (stdin, typed) = rank0_stdin(&null)?;
    let mut used = vec![keeper_control.as_raw_fd(), keeper_reports.as_raw_fd()];
    used.extend([null.as_raw_fd(), stdin.as_raw_fd()]);
    for rank in &plan.ranks {
        used.extend([&rank.pmi, &rank.out, &rank.err].map(AsRawFd::as_raw_fd));
        used.extend(rank.network);
    }
    let work = Work {
        gaps: gaps(used),
        processes: vec![0; plan.ranks.len()],
        control: keeper_control.as_raw_fd(),
        reports: keeper_reports.as_raw_fd(),
        null: null.as_raw_fd(),
        stdin: stdin.as_raw_fd(),
        plan: &plan,
        mask,
    };
    match sys::fork().map_err(failed())? {
        0 => work.keep(),
        pid => {
            // Both sides set the group: whoever comes first, no signal misses it.
            let _ = sys::lead_process_group(pid);
            Ok(Keeper { pid: Some(pid), control, reports, typed })
        }
    }
}

/// Rank 0 reads the launcher's own standard input. From a terminal the launcher reads for it (the
/// second value): the ranks are not in its foreground group, and would be stopped for reading.
fn rank0_stdin(null: &OwnedFd) -> Result<(OwnedFd, Option<OwnedFd>), LaunchError> {
    use std::io::IsTerminal;
    let failed = LaunchError::system("rank 0's standard input");
    if std::io::stdin().is_terminal() {
        let (read, write) = sys::pipe().map_err(failed)?;
        sys::set_nonblocking(write.as_raw_fd())
            .map_err(LaunchError::system("rank 0's standard input"))?;
        return Ok((read, Some(write)));
    }
    let stdin = sys::duplicate(0).or_else(|_| sys::duplicate(null.as_raw_fd()));
    stdin.map(|stdin| (stdin, None)).map_err(failed)
}

/// The ranges of descriptors from 3 on that are not in `used`, the last one open-ended.
fn gaps(mut used: Vec<RawFd>) -> Vec<(RawFd, RawFd)> {
    used.sort_unstable();
    let mut gaps = Vec::new();
    let mut next = 3;
    for fd in used {
        if fd > next {
            gaps.push((next, fd - 1));
        }
        next = next.max(fd + 1);
    }
    gaps.push((next, RawFd::MAX));
    gaps
}

/// What the keeper works on: everything is allocated before the fork.
struct Work<'a> {
    plan: &'a Plan,
    /// Descriptors of the launcher and its other threads, which the keeper must not hold open.
    gaps: Vec<(RawFd, RawFd)>,
    /// Process of each rank; 0 when it has ended or never started.
    processes: Vec<pid_t>,
    control: RawFd,
    reports: RawFd,
    null: RawFd,
    stdin: RawFd,
    mask: libc::sigset_t,
}

impl Work<'_> {
    /// The keeper's life.
    fn keep(mut self) -> ! {
        sys::block_all_signals();
        sys::default_action(libc::SIGCHLD);
        let _ = sys::lead_process_group(sys::process_id());
        sys::become_subreaper();
        sys::set_name(c"cohost-keeper");
        for &(first, last) in &self.gaps {
            sys::close_range(first, last);
        }
        let me = sys::process_id();
        for rank in 0..self.plan.ranks.len() {
            self.start_rank(rank, me);
        }
        self.release_rank_ends();
        match sys::signal_descriptor(&[libc::SIGCHLD]) {
            Ok(children) => self.watch(children.as_raw_fd()),
            // Cannot watch: better no job than one out of control.
            Err(_) => self.sweep(),
        }
        sys::exit_now(0)
    }

    fn start_rank(&mut self, index: usize, keeper: pid_t) {
        let Some(plan) = self.plan.ranks.get(index) else {
            return;
        };
        match sys::fork() {
            Ok(0) => {
                let (step, error) = self.become_rank(index, plan, keeper);
                let errno = error.raw_os_error().unwrap_or(0);
                self.report(Report::NotStarted { rank: index as u32, step, errno });
                sys::exit_now(127)
            }
            Ok(pid) => {
                if let Some(process) = self.processes.get_mut(index) {
                    *process = pid;
                }
            }
            Err(error) => {
                let errno = error.raw_os_error().unwrap_or(0);
                self.report(Report::NotStarted { rank: index as u32, step: Step::Fork, errno });
            }
        }
    }

    /// Turns this process into the rank; returns only when that fails.
    fn become_rank(&self, index: usize, plan: &RankPlan, keeper: pid_t) -> (Step, std::io::Error) {
        sys::signal_on_parent_death(libc::SIGKILL);
        if sys::parent_id() != keeper {
            // The keeper died before the line above.
            sys::exit_now(127);
        }
        if let Some(Err(error)) = plan.network.map(sys::enter_network) {
            return (Step::Network, error);
        }
        let stdin = if index == 0 { self.stdin } else { self.null };
        let pmi = plan.pmi.as_raw_fd();
        let (out, err) = (plan.out.as_raw_fd(), plan.err.as_raw_fd());
        // The last one may replace a descriptor of the others, but not the reports.
        let streams = [(stdin, 0), (out, 1), (err, 2), (pmi, PMI_FD)];
        for (from, to) in streams {
            if let Err(error) = sys::dup2(from, to) {
                return (Step::Streams, error);
            }
        }
        // Already cleared, unless it had that number from the start.
        if let Err(error) = sys::set_cloexec(PMI_FD, false) {
            return (Step::Streams, error);
        }
        // A limit that cannot be lowered is no reason not to start.
        let _ = sys::set_limit(libc::RLIMIT_NOFILE, &self.plan.rank_files);
        // Rust programs ignore SIGPIPE; their children should not have to.
        sys::default_action(libc::SIGPIPE);
        sys::set_signal_mask(&self.mask);
        let Some(program) = self.plan.programs.get(plan.program) else {
            return (Step::Execute, std::io::Error::from_raw_os_error(libc::ENOENT));
        };
        if let Some(Err(error)) = program.directory.as_deref().map(sys::change_directory) {
            return (Step::Directory, error);
        }
        let (arguments, environment) = (&program.arguments.pointers, &plan.environment.pointers);
        (Step::Execute, sys::execute(&program.path, arguments, environment))
    }

    /// Closes the ranks' ends, so that the launcher sees them close, and leaves the standard streams.
    fn release_rank_ends(&self) {
        for fd in 0..3 {
            let _ = sys::dup2(self.null, fd);
        }
        for rank in &self.plan.ranks {
            for fd in [&rank.pmi, &rank.out, &rank.err] {
                sys::close(fd.as_raw_fd());
            }
        }
        for rank in &self.plan.ranks {
            // Several ranks share the descriptor of a host's namespace: all but one close nothing.
            if let Some(network) = rank.network {
                sys::close(network);
            }
        }
        sys::close(self.null);
        sys::close(self.stdin);
    }

    /// Obeys the launcher and reports the ranks' ends, until told to finish or left alone.
    fn watch(&mut self, children: RawFd) {
        // A rank may have ended before `children` existed.
        self.reap();
        loop {
            let mut fds =
                [sys::interest(self.control, libc::POLLIN), sys::interest(children, libc::POLLIN)];
            if sys::poll(&mut fds, -1).is_err() {
                return self.sweep();
            }
            while sys::next_signal(children).is_some() {}
            self.reap();
            let [control, _] = fds;
            if control.revents == 0 {
                continue;
            }
            let mut command = [0u8];
            match sys::read(self.control, &mut command) {
                Ok(1) if command != [FINISH] => self.signal(command),
                // Told to finish, or the launcher is gone.
                _ => return self.sweep(),
            }
        }
    }

    /// Passes a signal on; SIGKILL to everything alive below this process.
    fn signal(&mut self, [signal]: [u8; 1]) {
        let signal = c_int::from(signal);
        if signal == libc::SIGKILL {
            self.sweep();
        } else {
            // The keeper is a member too, and has everything but SIGKILL and SIGSTOP blocked.
            let _ = sys::kill(-sys::process_id(), signal);
        }
    }

    /// Collects the dead: ranks are reported, adopted orphans are not. False when no child is left.
    fn reap(&mut self) -> bool {
        loop {
            match sys::wait(-1, libc::WNOHANG) {
                Ok(Some((pid, status))) => {
                    let found = self.processes.iter_mut().enumerate().find(|(_, p)| **p == pid);
                    if let Some((rank, process)) = found {
                        *process = 0;
                        self.report(Report::Ended { rank: rank as u32, status });
                    }
                }
                Ok(None) => return true,
                Err(_) => return false,
            }
        }
    }

    fn report(&self, report: Report) {
        // When the launcher is gone, there is nobody to tell.
        let _ = sys::write(self.reports, &report.encode());
    }

    /// Kills every descendant, again and again as orphans are adopted, until none is left.
    fn sweep(&mut self) {
        for _ in 0..SWEEP_MS {
            if !kill_children() {
                // No /proc: the ranks at least, by their ids.
                for &pid in self.processes.iter().filter(|&&pid| pid > 0) {
                    let _ = sys::kill(pid, libc::SIGKILL);
                }
            }
            if !self.reap() {
                return;
            }
            sys::nap(1);
        }
    }
}

/// Kills the children of this process as the kernel lists them. False when it does not list them.
fn kill_children() -> bool {
    const LIST: &CStr = c"/proc/thread-self/children";
    let Ok(fd) = sys::open_read(LIST) else {
        return false;
    };
    let mut buffer = [0u8; 4096];
    let mut pid: pid_t = 0;
    // The list is decimal numbers, each followed by a blank.
    while let Ok(count @ 1..) = sys::read(fd, &mut buffer) {
        for &byte in buffer.iter().take(count) {
            if byte.is_ascii_digit() {
                pid = pid.wrapping_mul(10).wrapping_add(pid_t::from(byte - b'0'));
            } else {
                if pid > 1 {
                    let _ = sys::kill(pid, libc::SIGKILL);
                }
                pid = 0;
            }
        }
    }
    sys::close(fd);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_read_back_as_they_were_written() {
        let ended = Report::Ended { rank: 7, status: -9 };
        assert_eq!(Report::decode(ended.encode()), Some(ended));
        for step in STEPS {
            let report = Report::NotStarted { rank: 1023, step, errno: libc::ENOEXEC };
            assert_eq!(Report::decode(report.encode()), Some(report));
        }
        let lost = Report::Lost { rank: 3 };
        assert_eq!(Report::decode(lost.encode()), Some(lost));
        assert_eq!(Report::decode([0xff; REPORT_BYTES]), None);
    }

    #[test]
    fn the_gaps_are_everything_but_what_is_used() {
        assert_eq!(gaps(vec![9, 3, 5, 5]), [(4, 4), (6, 8), (10, RawFd::MAX)]);
        assert_eq!(gaps(vec![]), [(3, RawFd::MAX)]);
    }
}
