//! The launcher's one loop while a job runs. Here: its stages and signals; in `ends.rs`: how ranks end;
//! in `streams.rs`: what goes to and from them.
//!
//! It may use the keeper, the PMI-1 service and the sinks; it blocks in `poll` only.

mod ends;
mod streams;

pub(super) use streams::RankStreams;

use streams::Rank;

use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use libc::c_int;

use super::keeper::{self, Keeper, Plan};
use super::outcome::{FailureCause, Outcome, RankFailure};
use super::output::Sink;
use super::program::{Segment, by_rank, segments};
use super::remote::Elsewhere;
use super::run::RunOptions;
use super::server::Server;
use super::{LaunchError, sys};

/// After the first sign of a failure, how long to wait for one that explains it better.
const SETTLE: Duration = Duration::from_millis(30);

/// Between SIGTERM and SIGKILL, after a rank has failed.
const GRACE: Duration = Duration::from_millis(300);

/// Between a signal to the launcher, passed on to the ranks, and SIGKILL.
const SIGNAL_GRACE: Duration = Duration::from_secs(1);

/// How long output may still arrive when every process of the job is gone.
const DRAIN: Duration = Duration::from_millis(500);

/// The same for ranks on other machines, whose last output has a network before it.
const FAR_DRAIN: Duration = Duration::from_secs(5);

/// Exit code of a job that ran too long, as `timeout` and Open MPI's launcher have it.
const TIMED_OUT: i32 = 124;

/// Bytes of answers that a rank may leave unread before its requests are left unread too.
const MAX_UNREAD: usize = 64 << 10;

/// Signals that end the job in good order.
const ENDING: [c_int; 4] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT];

/// Signals the launcher takes through a descriptor. One that it was started to ignore, as under `nohup`
/// or in the background of a script, is ignored by the ranks too: a blocked one would still be heard.
fn taken() -> Vec<c_int> {
    let ending = ENDING.into_iter().filter(|&signal| !sys::is_ignored(signal));
    ending.chain([libc::SIGTSTP, libc::SIGCONT]).collect()
}

/// Starts the job of `plan` and sees it to its end.
pub(super) fn supervise(
    options: &RunOptions,
    job: String,
    plan: Plan,
    streams: Vec<RankStreams>,
) -> Result<Outcome, LaunchError> {
    let taken = taken();
    let mask = Mask::take(&taken)?;
    let signals = sys::signal_descriptor(&taken).map_err(LaunchError::system("a signalfd"))?;
    let keeper = keeper::start(plan, mask.0)?;
    let mut job = Job::new(options, job, keeper, streams);
    job.signals = Some(signals);
    job.serve()?;
    job.outcome()
}

/// Sees a job to its end whose ranks run on other machines. Signals are not taken.
pub(super) fn supervise_elsewhere(
    options: &RunOptions,
    job: String,
    keeper: Keeper,
    elsewhere: Elsewhere,
    streams: Vec<RankStreams>,
) -> Result<Outcome, LaunchError> {
    let mut job = Job::new(options, job, keeper, streams);
    job.elsewhere = elsewhere;
    job.drain = FAR_DRAIN;
    job.serve()?;
    job.outcome()
}

/// The signal mask of the calling thread, put back at the end.
struct Mask(libc::sigset_t);

impl Mask {
    fn take(signals: &[c_int]) -> Result<Self, LaunchError> {
        sys::block_signals(signals).map(Self).map_err(LaunchError::system("blocking signals"))
    }
}

impl Drop for Mask {
    fn drop(&mut self) {
        sys::set_signal_mask(&self.0);
    }
}

/// How far the job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nothing has gone wrong.
    Running,
    /// A rank has failed; which one is to blame is decided at this time.
    Settling(Instant),
    /// Asked to end; what is left is killed at this time.
    Stopping(Instant),
    /// The keeper kills what is left.
    Killing,
    /// All ranks have ended; the keeper kills what they left behind, and goes.
    Closing,
    /// No process of the job is left; output is read until this time.
    Draining(Instant),
}

/// What a descriptor in the poll set is.
#[derive(Clone, Copy)]
enum Source {
    Reports,
    Signals,
    Terminal,
    Out,
    Err,
    Pmi(usize),
    RankOut(usize),
    RankErr(usize),
}

struct Job {
    server: Server,
    ranks: Vec<Rank>,
    out: Sink,
    err: Sink,
    captured: Vec<u8>,
    capture: bool,
    tagged: bool,
    /// `None` when it has gone.
    keeper: Option<Keeper>,
    partial_report: Vec<u8>,
    /// `None` when the owner of the process takes them.
    signals: Option<OwnedFd>,
    elsewhere: Elsewhere,
    drain: Duration,
    stage: Stage,
    /// Failures seen while settling.
    suspects: Vec<RankFailure>,
    failed: Option<RankFailure>,
    /// The signal that ended the job.
    interrupted: Option<c_int>,
    not_started: Option<LaunchError>,
    /// The programs, by the number that the service tells their ranks.
    programs: Vec<String>,
    /// When the job has run long enough, and how long that is.
    deadline: Option<(Instant, Duration)>,
    timed_out: bool,
    quiet: bool,
}

impl Job {
    fn new(options: &RunOptions, job: String, keeper: Keeper, streams: Vec<RankStreams>) -> Job {
        let segments = segments(options).unwrap_or_default();
        let mut server = Server::new(job, options.ranks);
        for (rank, program) in (0..options.ranks).zip(by_rank(&segments)) {
            server.runs(rank, program as u32);
        }
        let name = |segment: &Segment| segment.program.to_string_lossy().into_owned();
        Job {
            server,
            ranks: streams.into_iter().map(Rank::new).collect(),
            out: Sink::new(1),
            err: Sink::new(2),
            captured: Vec::new(),
            capture: options.capture_rank0,
            tagged: options.tag_output,
            keeper: Some(keeper),
            partial_report: Vec::new(),
            signals: None,
            elsewhere: Elsewhere::default(),
            drain: DRAIN,
            stage: Stage::Running,
            suspects: Vec::new(),
            failed: None,
            interrupted: None,
            not_started: None,
            programs: segments.iter().map(name).collect(),
            deadline: options
                .timeout
                .and_then(|limit| Some((Instant::now().checked_add(limit)?, limit))),
            timed_out: false,
            quiet: options.quiet,
        }
    }

    fn serve(&mut self) -> Result<(), LaunchError> {
        while !self.finished() {
            let (mut fds, sources) = self.interests();
            let timeout = self.timeout();
            sys::poll(&mut fds, timeout).map_err(LaunchError::system("waiting for the ranks"))?;
            for (fd, source) in fds.iter().zip(sources) {
                if fd.revents != 0 {
                    self.serve_source(source, fd.revents);
                }
            }
            self.advance(Instant::now());
        }
        Ok(())
    }

    fn finished(&self) -> bool {
        let Stage::Draining(until) = self.stage else {
            return false;
        };
        let reading = self.ranks.iter().any(|rank| rank.out.is_some() || rank.err.is_some());
        let read = !reading || Instant::now() >= until;
        read && self.out.wants().is_none() && self.err.wants().is_none()
    }

    fn interests(&self) -> (Vec<libc::pollfd>, Vec<Source>) {
        let mut fds = Vec::with_capacity(self.ranks.len() * 3 + 5);
        let mut sources = Vec::with_capacity(fds.capacity());
        let mut add = |fd, events, source| {
            fds.push(sys::interest(fd, events));
            sources.push(source);
        };
        if let Some(signals) = &self.signals {
            add(signals.as_raw_fd(), libc::POLLIN, Source::Signals);
        }
        if let Some(keeper) = &self.keeper {
            add(keeper.reports.as_raw_fd(), libc::POLLIN, Source::Reports);
            if keeper.typed.is_some() && sys::is_foreground(0) {
                add(0, libc::POLLIN, Source::Terminal);
            }
        }
        for (sink, source) in [(&self.out, Source::Out), (&self.err, Source::Err)] {
            if let Some(fd) = sink.wants() {
                add(fd, libc::POLLOUT, source);
            }
        }
        for (index, rank) in self.ranks.iter().enumerate() {
            let reading = if rank.answers.len() < MAX_UNREAD { libc::POLLIN } else { 0 };
            let writing = if rank.answers.is_empty() { 0 } else { libc::POLLOUT };
            for (fd, events, source) in [
                (&rank.pmi, reading | writing, Source::Pmi(index)),
                (&rank.out, libc::POLLIN, Source::RankOut(index)),
                (&rank.err, libc::POLLIN, Source::RankErr(index)),
            ] {
                let full = match source {
                    Source::RankOut(_) => self.out.is_full(),
                    Source::RankErr(_) => self.err.is_full(),
                    _ => false,
                };
                if let Some(fd) = fd.as_ref().filter(|_| !full) {
                    add(fd.as_raw_fd(), events, source);
                }
            }
        }
        (fds, sources)
    }

    /// Milliseconds to the next deadline, -1 for none.
    fn timeout(&self) -> i32 {
        let deadline = match self.stage {
            Stage::Settling(at) | Stage::Stopping(at) | Stage::Draining(at) => at,
            // In the background a terminal is not watched: look again when in the foreground.
            _ if self.keeper.as_ref().is_some_and(|keeper| keeper.typed.is_some()) => {
                return 500;
            }
            Stage::Running => match self.deadline {
                Some((at, _)) => at,
                None => return -1,
            },
            Stage::Killing | Stage::Closing => return -1,
        };
        let left = deadline.saturating_duration_since(Instant::now());
        if self.stage == Stage::Running {
            // It is over by itself at its deadline: never wait for ever, whatever the rounding.
            return i32::try_from(left.as_millis() + 1).unwrap_or(i32::MAX);
        }
        // Rounded up, so that the deadline has passed when the wait is over. After it, output that
        // nobody takes is waited for without a deadline.
        match left.is_zero() {
            true => -1,
            false => i32::try_from(left.as_millis() + 1).unwrap_or(i32::MAX),
        }
    }

    fn serve_source(&mut self, source: Source, events: i16) {
        match source {
            Source::Signals => self.take_signals(),
            Source::Reports => self.take_reports(),
            Source::Terminal => self.take_typed(),
            Source::Out => self.out.write_some(),
            Source::Err => self.err.write_some(),
            Source::Pmi(index) => {
                if events & libc::POLLOUT != 0 {
                    self.send_answers(index);
                }
                if events & !libc::POLLOUT != 0 {
                    self.read_pmi(index);
                }
            }
            Source::RankOut(index) => drop(self.read_out(index)),
            Source::RankErr(index) => drop(self.read_err(index)),
        }
    }

    /// Moves the job on as far as it goes now.
    fn advance(&mut self, now: Instant) {
        loop {
            let before = self.stage;
            self.next_stage(now);
            if self.stage == before {
                break;
            }
        }
        // Nobody reads our output any more: as in a pipeline, the ranks learn it from SIGPIPE.
        if self.out.is_broken() {
            self.ranks.iter_mut().for_each(|rank| rank.out = None);
        }
        if self.err.is_broken() {
            self.ranks.iter_mut().for_each(|rank| rank.err = None);
        }
    }

    /// Moves the job on when its stage is over.
    fn next_stage(&mut self, now: Instant) {
        let all_ended = self.ranks.iter().all(|rank| rank.ended.is_some());
        match self.stage {
            Stage::Running if !self.suspects.is_empty() => {
                self.stage = Stage::Settling(now + SETTLE);
            }
            Stage::Running if !all_ended && self.deadline.is_some_and(|(at, _)| now >= at) => {
                self.timed_out = true;
                self.command(libc::SIGTERM);
                self.command(libc::SIGCONT);
                self.stage = Stage::Stopping(now + SIGNAL_GRACE);
            }
            Stage::Settling(at) if now >= at || all_ended => {
                self.failed = self.judge();
                self.command(libc::SIGTERM);
                // A stopped rank hears nothing until it goes on.
                self.command(libc::SIGCONT);
                self.stage = Stage::Stopping(now + GRACE);
            }
            Stage::Stopping(at) if now >= at && !all_ended => {
                self.command(libc::SIGKILL);
                self.stage = Stage::Killing;
            }
            Stage::Running | Stage::Stopping(_) | Stage::Killing if all_ended => {
                self.command(c_int::from(keeper::FINISH));
                self.stage = Stage::Closing;
            }
            Stage::Draining(at)
                if at < now + self.drain && (self.out.is_full() || self.err.is_full()) =>
            {
                // Whoever reads us is slow: nothing is lost for that.
                self.stage = Stage::Draining(now + self.drain);
            }
            _ => {}
        }
    }

    /// The failure that explains the others.
    fn judge(&mut self) -> Option<RankFailure> {
        let mut suspects = std::mem::take(&mut self.suspects);
        // Stable: of equal weights the first one seen comes first.
        suspects.sort_by_key(|suspect| std::cmp::Reverse(suspect.cause.weight()));
        let mut worst = suspects.into_iter().next()?;
        let rank = self.ranks.get(worst.rank as usize);
        worst.last_words = rank.map(|rank| rank.last_words.text()).unwrap_or_default();
        Some(worst)
    }

    fn suspect(&mut self, rank: usize, cause: FailureCause) {
        if matches!(self.stage, Stage::Running | Stage::Settling(_)) {
            let place = self.elsewhere.places.get(rank).cloned().unwrap_or_default();
            let (rank, last_words) = (rank as u32, String::new());
            self.suspects.push(RankFailure { rank, place, cause, last_words });
        }
    }

    /// Sends the keeper a signal for the ranks, or [`keeper::FINISH`].
    fn command(&mut self, command: c_int) {
        if let (Some(keeper), Ok(byte)) = (&self.keeper, u8::try_from(command)) {
            // When the keeper is gone, the end of its reports says so.
            let _ = sys::send(keeper.control.as_raw_fd(), &[byte]);
        }
    }

    fn take_signals(&mut self) {
        while let Some(signal) = sys::next_signal(sys::raw(self.signals.as_ref())) {
            match signal {
                libc::SIGTSTP => {
                    self.command(libc::SIGTSTP);
                    // Stop like any program would; SIGCONT wakes us up again here.
                    let _ = sys::kill(sys::process_id(), libc::SIGSTOP);
                }
                libc::SIGCONT => self.command(libc::SIGCONT),
                signal if ENDING.contains(&signal) => self.interrupt(signal),
                _ => {}
            }
        }
    }

    fn interrupt(&mut self, signal: c_int) {
        match (self.interrupted, self.stage) {
            (_, Stage::Draining(_)) => {
                // Only our own output is left, and somebody is tired of waiting for it.
                self.interrupted.get_or_insert(signal);
                self.out.give_up();
                self.err.give_up();
            }
            (None, Stage::Running | Stage::Settling(_)) => {
                self.interrupted = Some(signal);
                self.command(signal);
                self.command(libc::SIGCONT);
                self.stage = Stage::Stopping(Instant::now() + SIGNAL_GRACE);
            }
            (_, Stage::Running | Stage::Settling(_) | Stage::Stopping(_)) => {
                self.interrupted.get_or_insert(signal);
                self.command(libc::SIGKILL);
                self.stage = Stage::Killing;
            }
            (_, Stage::Killing | Stage::Closing) => {}
        }
    }

    /// What came of the job, said on standard error too when it failed.
    fn outcome(mut self) -> Result<Outcome, LaunchError> {
        for (index, rank) in self.ranks.iter_mut().enumerate() {
            rank.out_lines.finish(index as u32, self.tagged, &mut self.out);
            rank.err_lines.finish(index as u32, self.tagged, &mut self.err);
        }
        if let Some(error) = self.not_started.take() {
            return Err(error);
        }
        let worst = self.ranks.iter().filter_map(|rank| rank.ended).max().unwrap_or(0);
        let exit_code = match (&self.failed, self.interrupted) {
            (_, Some(signal)) => 128 + signal,
            _ if self.timed_out => TIMED_OUT,
            (Some(failure), None) => failure.cause.exit_code(),
            (None, None) => worst,
        };
        if let (true, Some((_, limit))) = (self.timed_out, self.deadline) {
            self.err.say(&format!("cohost: the job ran for {limit:?} and was stopped (timeout)\n"));
        }
        if let Some(failure) = self.failed.as_ref().filter(|_| !self.quiet) {
            self.err.say(&failure.obituary(self.ranks.len()));
        }
        self.flush();
        Ok(Outcome { exit_code, failed: self.failed, captured: self.captured })
    }

    /// Writes what is left; a signal cuts it short.
    fn flush(&mut self) {
        while self.out.wants().is_some() || self.err.wants().is_some() {
            let signals = sys::raw(self.signals.as_ref());
            let mut fds = [
                sys::interest(signals, libc::POLLIN),
                sys::interest(self.out.wants().unwrap_or(-1), libc::POLLOUT),
                sys::interest(self.err.wants().unwrap_or(-1), libc::POLLOUT),
            ];
            if sys::poll(&mut fds, -1).is_err() {
                return;
            }
            let [signal, out, err] = fds.map(|fd| fd.revents != 0);
            if signal && sys::next_signal(signals).is_some_and(|signal| ENDING.contains(&signal)) {
                return;
            }
            if out {
                self.out.write_some();
            }
            if err {
                self.err.write_some();
            }
        }
    }
}
