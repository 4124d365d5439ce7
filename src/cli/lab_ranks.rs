//! Ranks of one job in the guests of a lab: where the launcher, which knows no guests, and the
//! lab, which knows no ranks, meet.

use std::ffi::OsString;
use std::os::fd::BorrowedFd;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use cohost_lab::{Guest, Hypervisor, Lab, RemoteExit, Start};

use crate::launch::{
    self, LaunchError, Outcome, RemoteEnd, RemoteProcess, RemoteRank, RemoteStart, RunOptions,
};

/// Runs a job in the guests of `lab`, whose layout must be that of `options`.
///
/// # Errors
/// As [`launch::run_remote`].
pub fn run(lab: &Lab, options: &RunOptions) -> Result<Outcome, LaunchError> {
    launch::run_remote(options, &mut |start| begin(lab, options, start))
}

fn begin<'a>(
    lab: &'a Lab,
    options: &RunOptions,
    start: RemoteStart,
) -> Result<RemoteRank<'a>, String> {
    let place = start.place;
    let guest = lab
        .guests()
        .iter()
        .find(|guest| (guest.host(), guest.vm()) == (place.host, place.vm))
        .ok_or_else(|| format!("no guest h{}v{} in this lab", place.host, place.vm))?;
    let mut process = guest
        .spawn(&Start {
            program: options.program.clone(),
            args: options.args.clone(),
            env: environment(start.env),
            pmi: true,
        })
        .map_err(|error| error.to_string())?;
    // Nobody types for ranks in guests.
    process.stdin = None;
    let streams = (process.pmi.take(), process.stdout.take(), process.stderr.take());
    let (Some(pmi), Some(out), Some(err)) = streams else {
        return Err(format!("{}: its agent gave no streams", guest.label()));
    };
    Ok(RemoteRank {
        pmi: pmi.into(),
        out: out.into(),
        err: err.into(),
        place: format!("guest {}", guest.label()),
        process: Box::new(InGuest { process, guest, glance: Mutex::new(Instant::now()) }),
    })
}

/// What every rank in a guest has in its environment, beside what it is told.
fn environment(told: Vec<(OsString, OsString)>) -> Vec<(OsString, OsString)> {
    // What the user sets for cohost counts for the ranks, wherever they run; but not the tests'
    // and the lab's own settings, and what names files of this machine.
    let here = ["COHOST_LAB_DIR", "COHOST_LAB_PROGRAM", "COHOST_LAB_REQUIRED", "COHOST_SHM_DIR"];
    let ours = std::env::vars_os().filter(|(name, _)| {
        let name = name.to_string_lossy();
        name.starts_with("COHOST_") && !here.contains(&name.as_ref())
    });
    let mut all: Vec<_> = ours.filter(|(name, _)| !told.iter().any(|(n, _)| n == name)).collect();
    all.extend(told);
    all
}

struct InGuest<'a> {
    process: cohost_lab::RemoteProcess,
    guest: &'a Guest,
    /// When the guest itself was last looked at.
    glance: Mutex<Instant>,
}

impl InGuest<'_> {
    /// Whether the guest has gone, which its connection may never say; asked now and then, for
    /// Xen rarely, since its control domain takes part of a core to answer.
    fn guest_has_gone(&self) -> bool {
        let pause = match self.guest.hypervisor() {
            Hypervisor::Xen => Duration::from_secs(60),
            Hypervisor::Qemu | Hypervisor::Uml => Duration::from_millis(200),
        };
        let Ok(mut glance) = self.glance.lock() else { return false };
        if glance.elapsed() < pause {
            return false;
        }
        *glance = Instant::now();
        !self.guest.is_running()
    }
}

impl RemoteProcess for InGuest<'_> {
    fn ended_fd(&self) -> BorrowedFd<'_> {
        self.process.ended_fd()
    }

    fn ended(&self) -> Option<RemoteEnd> {
        let end = |exit| match exit {
            RemoteExit::Code(code) => RemoteEnd::Code(code),
            RemoteExit::Signal(signal) => RemoteEnd::Signal(signal),
            RemoteExit::Lost(how) => RemoteEnd::Lost(how),
        };
        let gone = || {
            let log = self.guest.log();
            let last = log.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("nothing");
            RemoteEnd::Lost(format!("the guest has ended; its console said last: {last}"))
        };
        let ended = self.process.try_wait().map(end);
        ended.or_else(|| self.guest_has_gone().then(gone))
    }

    fn signal(&self, signal: u8) {
        // A connection that is gone shows as the end of the rank.
        let _ = self.process.kill(signal);
    }
}
