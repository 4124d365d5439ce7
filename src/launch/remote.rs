//! Ranks that run on other machines: whoever knows those machines starts them, and the launcher
//! serves, supervises and ends them like its own children.
//!
//! In the place of the keeper process there is a thread, which takes the same commands and gives
//! the same reports. It knows nothing of the machines either: a [`RemoteProcess`] does.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use libc::c_int;

use super::checks::check_shape;
use super::keeper::{FINISH, Keeper, Report};
use super::outcome::Outcome;
use super::run::{RunOptions, variables};
use super::supervise::{self, RankStreams};
use super::{LaunchError, Place, fresh_job_name, sys};

/// How often a rank whose end nobody announces is looked at, in milliseconds.
const GLANCE_MS: i32 = 250;

/// How long a rank may take to end after SIGKILL before its machine counts as lost.
const KILL_LIMIT: Duration = Duration::from_secs(10);

/// What a rank on another machine is to be started with.
#[derive(Clone, Debug)]
pub struct RemoteStart {
    /// The rank.
    pub rank: u32,
    /// Where it lives in the layout.
    pub place: Place,
    /// Its environment variables. `PMI_FD` is not among them: the far side knows the number.
    pub env: Vec<(OsString, OsString)>,
}

/// A rank that was started on another machine. Dropping its process ends it.
pub struct RemoteRank<'a> {
    /// The launcher's end of its PMI connection, a socket.
    pub pmi: OwnedFd,
    /// From its standard output.
    pub out: OwnedFd,
    /// From its standard error.
    pub err: OwnedFd,
    /// Where it runs, for messages, such as `guest uml h0v1`.
    pub place: String,
    /// The hold on it.
    pub process: Box<dyn RemoteProcess + 'a>,
}

/// A process on another machine.
pub trait RemoteProcess: Send {
    /// Becomes readable when the process has ended and [`RemoteProcess::ended`] says how.
    fn ended_fd(&self) -> BorrowedFd<'_>;
    /// How it ended, as far as is known; also asked for a few times a second without any sign,
    /// so that a machine that dies without a word is noticed.
    fn ended(&self) -> Option<RemoteEnd>;
    /// Sends it a signal. One that has ended hears nothing.
    fn signal(&self, signal: u8);
}

/// How a process on another machine ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RemoteEnd {
    /// With this exit code.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// Its machine, or the connection to it, is gone: the reason.
    Lost(String),
}

impl RemoteEnd {
    /// The wait status that a local child would have had; `None` for a lost one.
    fn status(&self) -> Option<c_int> {
        match self {
            Self::Code(code) => Some((code & 0xff) << 8),
            Self::Signal(signal) => Some(signal & 0x7f),
            Self::Lost(_) => None,
        }
    }
}

/// What the supervisor knows of ranks elsewhere.
#[derive(Clone, Debug, Default)]
pub(super) struct Elsewhere {
    /// Where each rank runs.
    pub(super) places: Vec<String>,
    /// Why ranks were lost.
    pub(super) lost: Arc<Mutex<BTreeMap<u32, String>>>,
}

/// Starts a job on other machines, serves it, forwards its output, and returns when nothing of it
/// is left. As [`super::run`], but `start` starts each rank, the program is not looked for here,
/// and signals to this process are left to its owner.
///
/// # Errors
/// When the options are wrong, or a rank cannot be started (nothing is left running).
pub fn run_remote<'a>(
    options: &RunOptions,
    start: &mut dyn FnMut(RemoteStart) -> Result<RemoteRank<'a>, String>,
) -> Result<Outcome, LaunchError> {
    let layout = check_shape(options)?;
    let (mut streams, mut processes) = (Vec::new(), Vec::new());
    let mut elsewhere = Elsewhere::default();
    for rank in 0..options.ranks {
        let started = start(RemoteStart {
            rank,
            place: layout.place(rank, options.ranks_per_vm),
            env: variables(options, &options.env, layout, rank),
        });
        let one = started.map_err(|reason| LaunchError::NotStarted { rank, reason })?;
        for fd in [&one.pmi, &one.out, &one.err] {
            sys::set_nonblocking(fd.as_raw_fd()).map_err(LaunchError::system("a stream"))?;
        }
        streams.push(RankStreams { pmi: one.pmi, out: one.out, err: one.err });
        elsewhere.places.push(one.place);
        processes.push(one.process);
    }
    let failed = || LaunchError::system("the streams of the ranks' keeper");
    let (its_control, control) = sys::socketpair().map_err(failed())?;
    let (reports, its_reports) = sys::pipe().map_err(failed())?;
    let keeper = Keeper { pid: None, control, reports, typed: None };
    let lost = Arc::clone(&elsewhere.lost);
    let watch =
        Watch { processes: &mut processes, control: its_control, reports: its_reports, lost };
    // The processes outlive the thread: their last output is still on its way when it has gone.
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("keeper".into());
        thread.spawn_scoped(scope, move || watch.keep()).map_err(failed())?;
        supervise::supervise_elsewhere(options, fresh_job_name(), keeper, elsewhere, streams)
    })
}

/// The keeper of ranks elsewhere.
struct Watch<'w, 'a> {
    processes: &'w mut [Box<dyn RemoteProcess + 'a>],
    control: OwnedFd,
    reports: OwnedFd,
    lost: Arc<Mutex<BTreeMap<u32, String>>>,
}

impl Watch<'_, '_> {
    /// Obeys the launcher and reports the ranks' ends, until told to finish or left alone.
    fn keep(self) {
        let mut running: Vec<bool> = self.processes.iter().map(|_| true).collect();
        let mut killed: Option<Instant> = None;
        loop {
            let mut fds = vec![sys::interest(self.control.as_raw_fd(), libc::POLLIN)];
            for (process, running) in self.processes.iter().zip(&running) {
                let fd = if *running { process.ended_fd().as_raw_fd() } else { -1 };
                fds.push(sys::interest(fd, libc::POLLIN));
            }
            if sys::poll(&mut fds, GLANCE_MS).is_err() {
                return;
            }
            let gave_up = killed.is_some_and(|at| at.elapsed() > KILL_LIMIT);
            for (rank, (process, running)) in self.processes.iter().zip(&mut running).enumerate() {
                let late = || {
                    let limit = KILL_LIMIT.as_secs();
                    RemoteEnd::Lost(format!("it did not end within {limit} s of SIGKILL"))
                };
                let ended = running.then(|| process.ended()).flatten();
                if let Some(end) = ended.or_else(|| (*running && gave_up).then(late)) {
                    *running = false;
                    self.report(rank as u32, &end);
                }
            }
            if fds.first().is_some_and(|control| control.revents == 0) {
                continue;
            }
            let mut command = [0u8];
            match sys::read(self.control.as_raw_fd(), &mut command) {
                Ok(1) if command != [FINISH] => {
                    let [signal] = command;
                    let alive =
                        self.processes.iter().zip(&running).filter(|(_, running)| **running);
                    alive.for_each(|(process, _)| process.signal(signal));
                    if c_int::from(signal) == libc::SIGKILL {
                        killed.get_or_insert_with(Instant::now);
                    }
                }
                // Told to finish, or the launcher is gone.
                _ => return,
            }
        }
    }

    fn report(&self, rank: u32, end: &RemoteEnd) {
        let report = match (end, end.status()) {
            (_, Some(status)) => Report::Ended { rank, status },
            (RemoteEnd::Lost(reason), None) => {
                let mut lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
                lost.insert(rank, reason.clone());
                Report::Lost { rank }
            }
            _ => Report::Lost { rank },
        };
        // When the launcher is gone, there is nobody to tell.
        let _ = sys::write(self.reports.as_raw_fd(), &report.encode());
    }
}

#[cfg(test)]
#[path = "remote_tests.rs"]
mod tests;
