//! How ranks and the keeper end, and what that means for the job.

use std::os::fd::AsRawFd;
use std::sync::PoisonError;
use std::time::Instant;

use libc::c_int;

use super::super::keeper::{REPORT_BYTES, Report, Step};
use super::super::outcome::FailureCause;
use super::super::server::Membership;
use super::super::{LaunchError, sys};
use super::{Job, Stage};

impl Job {
    /// Reads what the keeper has to tell.
    pub(super) fn take_reports(&mut self) {
        let Some(keeper) = &self.keeper else { return };
        let mut buffer = [0; REPORT_BYTES * 128];
        match sys::read(keeper.reports.as_raw_fd(), &mut buffer) {
            Ok(count @ 1..) => {
                self.partial_report.extend(buffer.iter().take(count));
            }
            Ok(_) | Err(_) => return self.keeper_gone(),
        }
        let bytes = std::mem::take(&mut self.partial_report);
        let mut reports = bytes.chunks_exact(REPORT_BYTES);
        for report in &mut reports {
            if let Some(report) = report.first_chunk().and_then(|chunk| Report::decode(*chunk)) {
                self.take_report(report);
            }
        }
        self.partial_report = reports.remainder().to_vec();
    }

    fn take_report(&mut self, report: Report) {
        match report {
            Report::Ended { rank, status } => self.rank_ended(rank as usize, status),
            Report::Lost { rank } => self.rank_lost(rank as usize),
            Report::NotStarted { rank, step, errno } => {
                let error = not_started(self.program_of(rank), rank, step, errno);
                self.not_started.get_or_insert(error);
                if step == Step::Fork {
                    // There is no process whose end would be reported.
                    if let Some(rank) = self.ranks.get_mut(rank as usize) {
                        rank.ended = Some(1);
                    }
                }
                if matches!(self.stage, Stage::Running | Stage::Settling(_)) {
                    self.command(libc::SIGKILL);
                    self.stage = Stage::Killing;
                }
            }
        }
    }

    fn program_of(&self, rank: u32) -> &str {
        let number = self.server.appnum(rank) as usize;
        self.programs.get(number).map_or("", String::as_str)
    }

    /// Notes the end of a rank's process, after everything it had said.
    fn rank_ended(&mut self, index: usize, status: c_int) {
        for _ in 0..64 {
            // What it wrote last explains its end; bounded, as its children may go on writing.
            if !(self.read_err(index) | self.read_pmi(index)) {
                break;
            }
        }
        let Some(rank) = self.ranks.get_mut(index) else {
            return;
        };
        let membership = self.server.membership(index as u32);
        self.server.exited(index as u32);
        let code = match libc::WIFSIGNALED(status) {
            true => 128 + libc::WTERMSIG(status),
            false => libc::WEXITSTATUS(status),
        };
        rank.ended = Some(code);
        if libc::WIFSIGNALED(status) {
            self.suspect(index, FailureCause::Signal(libc::WTERMSIG(status)));
        } else if code != 0 && membership != Membership::Finalized {
            self.suspect(index, FailureCause::Exit(code));
        } else if membership == Membership::Joined {
            self.suspect(index, FailureCause::NotFinalized);
        }
        self.check_barrier();
    }

    /// Notes that the machine of a rank is gone.
    fn rank_lost(&mut self, index: usize) {
        let lost = self.elsewhere.lost.lock();
        let lost = lost.unwrap_or_else(PoisonError::into_inner);
        let reason = lost.get(&(index as u32)).cloned().unwrap_or_default();
        drop(lost);
        self.server.exited(index as u32);
        if let Some(rank) = self.ranks.get_mut(index) {
            rank.ended = Some(FailureCause::Lost(String::new()).exit_code());
        }
        self.suspect(index, FailureCause::Lost(reason));
        self.check_barrier();
    }

    /// A barrier that can never complete ends the job.
    pub(super) fn check_barrier(&mut self) {
        if let Some((rank, waiting)) = self.server.missing_at_barrier() {
            self.suspect(rank as usize, FailureCause::MissedBarrier(waiting));
        }
    }

    /// The keeper's reports have ended: it has done its work, or somebody has killed it.
    fn keeper_gone(&mut self) {
        let Some(keeper) = self.keeper.take() else {
            return;
        };
        if self.stage != Stage::Closing {
            // The kernel kills the ranks; this reaches their children. The group's number is not
            // used again before the keeper is collected below.
            if let Some(pid) = keeper.pid {
                let _ = sys::kill(-pid, libc::SIGKILL);
            }
            self.not_started.get_or_insert_with(|| LaunchError::System {
                what: "the keeper process of this job was killed".to_owned(),
                source: std::io::Error::other("the ranks were killed with it"),
            });
        }
        // It closes its reports by exiting, so this does not wait. It may be collected already, when
        // the program ignores SIGCHLD.
        if let Some(pid) = keeper.pid {
            let _ = sys::wait(pid, 0);
        }
        self.ranks.iter_mut().for_each(|rank| rank.pmi = None);
        self.stage = Stage::Draining(Instant::now() + self.drain);
    }
}

/// Why a rank's process never became the program.
fn not_started(program: &str, rank: u32, step: Step, errno: c_int) -> LaunchError {
    let source = std::io::Error::from_raw_os_error(errno);
    let reason = match (step, errno) {
        (Step::Execute, libc::ENOEXEC) => {
            "it is no executable for this machine; a script needs a first line like #!/bin/sh"
                .to_owned()
        }
        (Step::Execute, libc::ENOENT) => {
            "the interpreter named in its first line (or its dynamic loader) does not exist"
                .to_owned()
        }
        (Step::Execute, _) => source.to_string(),
        (Step::Fork, _) => {
            let what = format!("starting a process for rank {rank} (ulimit -u, cgroup pids.max)");
            return LaunchError::System { what, source };
        }
        (Step::Network, _) => {
            let what = format!("entering the network namespace of rank {rank}");
            return LaunchError::System { what, source };
        }
        (Step::Directory, _) => {
            let what = format!("entering the working directory of rank {rank}");
            return LaunchError::System { what, source };
        }
        (Step::Streams, _) => {
            let what = format!("connecting the streams of rank {rank}");
            return LaunchError::System { what, source };
        }
    };
    LaunchError::NotExecutable { program: program.to_owned(), reason }
}
