//! One lab run: its folder, its names, its processes, and how all of it goes away.
//!
//! Everything a run makes carries the run's id, `<process id>-<number>`: the folder with logs and
//! sockets, namespaces `cohost-lab-<id>-*`, region files `/dev/shm/cohost-lab-<id>-*`, so that
//! [`sweep`] can remove it by name, whoever died and how.

mod process;
mod sweep;

use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{FlockOperation, flock};

use crate::setup::Depot;
use crate::{LabError, tools};
pub(crate) use process::{GuestProcess, cores, said, spawn, spawn_on};
pub use sweep::{remove_leftovers, take_down_all, take_down_others};

/// What all names begin with.
pub(crate) const PREFIX: &str = "cohost-lab-";

/// Runs of this process that are up, for [`take_down_all`].
static LIVE: Mutex<Vec<(PathBuf, String)>> = Mutex::new(Vec::new());

/// Set when a signal takes everything down.
static ENDING: AtomicBool = AtomicBool::new(false);

/// To be called before something is made that a run's end removes: when that end has begun, it
/// never returns, and the process is about to end.
pub(crate) fn hold_when_ending() {
    while ENDING.load(Ordering::SeqCst) {
        std::thread::park();
    }
}

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Run {
    id: String,
    dir: PathBuf,
    failed: PathBuf,
    /// Locked while this process lives: tells other runs that this one is in use.
    _lock: File,
}

impl Run {
    /// Removes what dead runs left, then begins a new one.
    pub(crate) fn begin(depot: &Depot) -> Result<Run, LabError> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        hold_when_ending();
        sweep::remove_leftovers(depot);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let id = format!("{}-{number}", std::process::id());
        let dir = depot.dir().join("runs").join(&id);
        tools::make_dir(&dir)?;
        let path = dir.join("lock");
        let lock = File::create(&path).map_err(|e| LabError::at("making", &path, e))?;
        // Waits for another lab that is just looking whether this run is dead.
        let locked = flock(&lock, FlockOperation::LockExclusive);
        locked.map_err(|e| LabError::at("locking", &path, e.into()))?;
        // With the number in the folder's name it says who holds the lock.
        let started = sweep::start_time(std::process::id()).unwrap_or_default();
        tools::write(&path, started.as_bytes())?;
        live().push((dir.clone(), id.clone()));
        Ok(Run { failed: depot.dir().join("failed").join(&id), id, dir, _lock: lock })
    }

    /// A file or folder of this run.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Listens at a socket in the run's folder, by way of that folder: the paths of sockets may
    /// have 107 bytes.
    pub(crate) fn listen(&self, name: &str) -> Result<UnixListener, LabError> {
        let dir = File::open(&self.dir).map_err(|e| LabError::at("opening", &self.dir, e))?;
        let short = format!("/proc/self/fd/{}/{name}", dir.as_raw_fd());
        UnixListener::bind(short).map_err(|e| LabError::at("listening at", &self.path(name), e))
    }

    /// The network namespace of this name.
    pub(crate) fn namespace(&self, name: &str) -> String {
        format!("{PREFIX}{}-{name}", self.id)
    }

    /// The region of a host, or of one of its guests alone: in memory, where the system has a
    /// place for that.
    pub(crate) fn region_file(&self, host: u32, vm: Option<u32>) -> PathBuf {
        let shm = Path::new("/dev/shm");
        let whose = vm.map_or(format!("h{host}"), |vm| format!("h{host}v{vm}"));
        if shm.is_dir() {
            shm.join(format!("{PREFIX}{}-{whose}", self.id))
        } else {
            self.path(&format!("region-{whose}"))
        }
    }

    /// Makes the region that the guests of one host share, or that one of them has, of zeros.
    pub(crate) fn make_region(
        &self,
        host: u32,
        vm: Option<u32>,
        bytes: u64,
    ) -> Result<PathBuf, LabError> {
        let path = self.region_file(host, vm);
        let mut options = File::options();
        options.read(true).write(true).create_new(true);
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&path).map_err(|e| LabError::at("making", &path, e))?;
        let sized = file.set_len(bytes);
        sized.map_err(|e| LabError::at("sizing", &path, e))?;
        // Taken now, so that a full file system is an error here and no bus error in a guest.
        let taken = rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, bytes);
        taken.map_err(|e| LabError::at("taking room for", &path, e.into()))?;
        Ok(path)
    }

    /// Remembers a process, to be killed when the run is removed.
    pub(crate) fn note_process(&self, pid: u32) -> Result<(), LabError> {
        let path = self.path("processes");
        let started = sweep::start_time(pid).unwrap_or_default();
        let file = File::options().create(true).append(true).open(&path);
        file.and_then(|mut file| writeln!(file, "{pid} {started}"))
            .map_err(|source| LabError::at("writing", &path, source))
    }

    /// Writes a guest's log to where it outlives the run, and says where. Of earlier runs, the
    /// newest ten are kept.
    pub(crate) fn keep_log(&self, name: &str, text: &str) -> PathBuf {
        let kept = self.failed.join(name);
        // A full disk must not hide why the guest failed: its last lines are in the error.
        let _ = std::fs::create_dir_all(&self.failed).and_then(|()| std::fs::write(&kept, text));
        if let Some(parent) = self.failed.parent() {
            sweep::keep_newest(parent, 10);
        }
        kept
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        sweep::remove_run(&self.dir, &self.id);
        live().retain(|(dir, _)| *dir != self.dir);
    }
}

fn live() -> std::sync::MutexGuard<'static, Vec<(PathBuf, String)>> {
    LIVE.lock().unwrap_or_else(PoisonError::into_inner)
}
