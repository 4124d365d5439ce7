//! Starts the processes that guests are, so that none outlives the lab.
//!
//! Each runs in a process namespace of its own: whatever it forks (a User-Mode Linux kernel forks
//! one process for each address space) ends with it. `unshare` holds the namespace and dies with
//! this process (PR_SET_PDEATHSIG); a shell is its first process, since that one cannot be ended
//! by signals of its own, and a kernel that panics could not abort.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Signal, getpid, getppid, set_parent_process_death_signal};
use rustix::thread::{
    CpuSet, LinkNameSpaceType, move_into_link_name_space, sched_getaffinity, sched_setaffinity,
};

use super::Run;
use crate::{LabError, tools};

/// How long a killed guest may take to be gone.
const PATIENCE: Duration = Duration::from_secs(10);

/// A process that is killed and reaped when it is dropped.
#[derive(Debug)]
pub(crate) struct GuestProcess(Child);

impl GuestProcess {
    /// How it ended; nothing while it runs.
    pub(crate) fn ended(&mut self) -> Option<String> {
        match self.0.try_wait() {
            Ok(None) => None,
            Ok(Some(status)) => Some(status.to_string()),
            Err(error) => Some(error.to_string()),
        }
    }
}

impl Drop for GuestProcess {
    fn drop(&mut self) {
        super::sweep::kill_guest(self.0.id());
        let begun = Instant::now();
        while matches!(self.0.try_wait(), Ok(None)) && begun.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(2));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a program in a network namespace or, without one, in that of the machine; its output
/// goes into `log`.
pub(crate) fn spawn<S: AsRef<OsStr>>(
    run: &Run,
    namespace: Option<&str>,
    program: &Path,
    args: &[S],
    log: &Path,
) -> Result<GuestProcess, LabError> {
    spawn_on(run, None, namespace, program, args, log)
}

/// The same, with all that it starts in turn, on this core and no other.
pub(crate) fn spawn_on<S: AsRef<OsStr>>(
    run: &Run,
    core: Option<usize>,
    namespace: Option<&str>,
    program: &Path,
    args: &[S],
    log: &Path,
) -> Result<GuestProcess, LabError> {
    super::hold_when_ending();
    let make = |path: &Path| File::create(path).map_err(|e| LabError::at("making", path, e));
    let (out, err) = (make(log)?, make(&of_holder(log))?);
    let network = namespace.map(crate::network::open).transpose()?;
    let mut command = Command::new(tools::need("unshare")?);
    command
        .args(["--pid", "--fork", "--kill-child=KILL", "--"])
        .args(["sh", "-c", "exec 2>&1; ulimit -c 0; \"$@\"; exit $?", "guest"])
        .arg(program)
        .args(args)
        .current_dir(run.path(""))
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(err);
    let started = on_lasting_thread(move || start(command, network, core));
    let child = started.map_err(|e| LabError::at("starting", program, e))?;
    let process = GuestProcess(child);
    run.note_process(process.0.id())?;
    Ok(process)
}

/// What a guest has said; or, when it never came to that, what `unshare` said. That one complains
/// of every guest that is killed ("sigprocmask unblock failed"), which belongs in no console.
pub(crate) fn said(log: &Path) -> String {
    let words = std::fs::read(log).unwrap_or_default();
    let words =
        if words.is_empty() { std::fs::read(of_holder(log)).unwrap_or_default() } else { words };
    String::from_utf8_lossy(&words).replace('\r', "")
}

/// Where what holds a guest's namespace complains.
fn of_holder(log: &Path) -> PathBuf {
    log.with_extension("holder")
}

fn start(mut command: Command, network: Option<OwnedFd>, core: Option<usize>) -> io::Result<Child> {
    let parent = getpid();
    let cores = core.map(only);
    let prepare = move || {
        // Ctrl-C at the terminal is for the lab, which then takes its guests down in order.
        rustix::process::setsid()?;
        set_parent_process_death_signal(Some(Signal::KILL))?;
        if getppid() != Some(parent) {
            return Err(io::Error::other("the lab died while it started a guest"));
        }
        if let Some(network) = &network {
            move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network))?;
        }
        if let Some(cores) = &cores {
            sched_setaffinity(None, cores)?;
        }
        Ok(())
    };
    // SAFETY: the closure makes system calls only; it takes no lock, and allocates nothing but
    // the error of a parent that is gone, in a child that then has no one to report it to.
    unsafe { command.pre_exec(prepare) };
    command.spawn()
}

/// Cores that this process may use, in order.
pub(crate) fn cores() -> Vec<usize> {
    let allowed = sched_getaffinity(None);
    let in_set = |set: CpuSet| (0..CpuSet::MAX_CPU).filter(|&core| set.is_set(core)).collect();
    allowed.map_or_else(|_| Vec::new(), in_set)
}

fn only(core: usize) -> CpuSet {
    let mut set = CpuSet::new();
    set.set(core);
    set
}

type Job = Box<dyn FnOnce() + Send>;

/// Runs `act` on a thread that lives as long as the process. The death signal of a child comes
/// with the end of the *thread* that made it: made by a test's thread, guests would die with that.
fn on_lasting_thread<T: Send + 'static>(act: impl FnOnce() -> T + Send + 'static) -> T {
    static THREAD: OnceLock<Mutex<Sender<Job>>> = OnceLock::new();
    let thread = THREAD.get_or_init(|| {
        let (sender, jobs) = channel::<Job>();
        std::thread::spawn(move || jobs.into_iter().for_each(|job| job()));
        Mutex::new(sender)
    });
    let (reply, answer) = channel();
    let job: Job = Box::new(move || drop(reply.send(act())));
    let sent = thread.lock().unwrap_or_else(PoisonError::into_inner).send(job);
    match (sent, answer.recv()) {
        (Ok(()), Ok(value)) => value,
        // The jobs are the function above, which does not panic.
        _ => unreachable!("the thread that starts guests has ended"),
    }
}
