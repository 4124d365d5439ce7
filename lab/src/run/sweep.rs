//! Removes runs: their own end, the user's Ctrl-C, and what a killed lab left are one code.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, Signal, kill_process};

use super::{ENDING, PREFIX, live};
use crate::setup::Depot;
use crate::tools;

/// Where `ip netns` keeps its names.
const NAMESPACES: &str = "/run/netns";

/// Removes the namespaces, processes and files of runs whose process is gone. Not being able to
/// is no error: another run may be at it, and what cannot be removed does no harm to a new run.
pub fn remove_leftovers(depot: &Depot) {
    let Ok(runs) = std::fs::read_dir(depot.dir().join("runs")) else {
        return remove_nameless();
    };
    for run in runs.flatten() {
        let lock = std::fs::File::open(run.path().join("lock"));
        let free = lock
            .as_ref()
            .is_ok_and(|lock| flock(lock, FlockOperation::NonBlockingLockExclusive).is_ok());
        // One that is being made has no lock for a moment.
        let dead = free && owner(&run).is_none();
        if dead || (lock.is_err() || free) && is_older(&run.path(), Duration::from_secs(60)) {
            remove_run(&run.path(), &run.file_name().to_string_lossy());
        }
    }
    remove_nameless();
}

/// The living process that a run's folder is named after.
fn owner(run: &std::fs::DirEntry) -> Option<u32> {
    let name = run.file_name().to_string_lossy().into_owned();
    let pid = name.split('-').next()?.parse().ok()?;
    start_time(pid).map(|_| pid)
}

/// Takes down every run of this process, which must end after it: threads that boot guests stop.
pub fn take_down_all() {
    ENDING.store(true, Ordering::SeqCst);
    let runs = std::mem::take(&mut *live());
    // Twice: another thread may have been in the middle of making something the first time.
    for pause in [Duration::ZERO, Duration::from_millis(200)] {
        std::thread::sleep(pause);
        for (dir, id) in &runs {
            remove_run(dir, id);
        }
    }
}

/// Asks the labs of other processes to go down, waits for it (half a minute at most), and removes
/// what dead ones left. Returns how many were up.
pub fn take_down_others(depot: &Depot) -> usize {
    let runs = std::fs::read_dir(depot.dir().join("runs"));
    let held = |run: &std::fs::DirEntry| {
        let lock = std::fs::File::open(run.path().join("lock"));
        lock.is_ok_and(|lock| flock(lock, FlockOperation::NonBlockingLockExclusive).is_err())
    };
    let up: Vec<_> = runs.into_iter().flatten().flatten().filter(held).collect();
    for run in &up {
        // Of another process namespace, the number may be somebody else's here.
        let started = std::fs::read_to_string(run.path().join("lock")).ok();
        let pid = owner(run).filter(|pid| start_time(*pid) == started);
        if let Some(pid) = pid.and_then(|pid| Pid::from_raw(pid.cast_signed())) {
            let _ = kill_process(pid, Signal::TERM);
        }
    }
    let begun = Instant::now();
    while up.iter().any(held) && begun.elapsed() < Duration::from_secs(30) {
        std::thread::sleep(Duration::from_millis(20));
    }
    remove_leftovers(depot);
    up.len()
}

/// Removes all that a run made. Each step is tried whatever became of the others.
pub(super) fn remove_run(dir: &Path, id: &str) {
    let noted = std::fs::read_to_string(dir.join("processes")).unwrap_or_default();
    let processes = noted.lines().filter_map(|line| {
        let (pid, started) = line.split_once(' ')?;
        Some((pid.parse().ok()?, started.to_owned()))
    });
    kill_all(&processes.collect::<Vec<(u32, String)>>());
    for_names(NAMESPACES, |name| {
        if name.strip_prefix(PREFIX).is_some_and(|rest| belongs(rest, id)) {
            remove_namespace(name);
        }
    });
    for_names("/dev/shm", |name| {
        if name.strip_prefix(PREFIX).is_some_and(|rest| belongs(rest, id)) {
            let _ = std::fs::remove_file(Path::new("/dev/shm").join(name));
        }
    });
    let _ = std::fs::remove_dir_all(dir);
}

/// Whether `<id>-name` belongs to a run: `12-0-sw` to `12-0`, not to `12-01`.
fn belongs(rest: &str, id: &str) -> bool {
    rest.strip_prefix(id).is_some_and(|after| after.starts_with('-'))
}

/// Removes namespaces and regions of processes that no longer exist and whose folder is
/// elsewhere or gone.
fn remove_nameless() {
    let dead = |name: &str| {
        let pid = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        pid.and_then(|pid| pid.parse::<u32>().ok())
            .is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists())
    };
    for_names(NAMESPACES, |name| {
        if dead(name) {
            remove_namespace(name);
        }
    });
    for_names("/dev/shm", |name| {
        if dead(name) {
            let _ = std::fs::remove_file(Path::new("/dev/shm").join(name));
        }
    });
}

fn for_names(dir: &str, mut act: impl FnMut(&str)) {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return;
    };
    for entry in entries.flatten() {
        act(&entry.file_name().to_string_lossy());
    }
}

/// Taps, bridges and links of a namespace go with it.
fn remove_namespace(name: &str) {
    let _ = tools::text("ip", &["netns", "delete", name]);
}

/// Kills the guest that the process `holder` (an `unshare`) holds: its child, the first process
/// of a namespace. The holder ends when all of that namespace is gone, which can be waited for;
/// killed itself, it would leave that to happen some time later.
pub(super) fn kill_guest(holder: u32) {
    let children = std::fs::read_to_string(format!("/proc/{holder}/task/{holder}/children"));
    let children = children.unwrap_or_default();
    let mut targets: Vec<i32> =
        children.split_whitespace().filter_map(|pid| pid.parse().ok()).collect();
    if targets.is_empty() {
        targets.push(holder.cast_signed());
    }
    for pid in targets.into_iter().filter_map(Pid::from_raw) {
        let _ = kill_process(pid, Signal::KILL);
    }
}

/// Kills processes, if they are still those that were noted, and waits until they are gone, so
/// that their namespaces and files are free.
fn kill_all(processes: &[(u32, String)]) {
    let same = |(pid, started): &&(u32, String)| {
        !started.is_empty() && start_time(*pid).as_ref() == Some(started)
    };
    for (pid, _) in processes.iter().filter(same) {
        kill_guest(*pid);
    }
    let begun = Instant::now();
    while processes.iter().any(|process| same(&process)) {
        if begun.elapsed() > Duration::from_secs(10) {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// When a process was started, in ticks since boot as the kernel writes it: with its number it
/// names a process for good. Nothing for one that is gone or a zombie.
pub(super) fn start_time(pid: u32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything; fields are counted after it.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    let state = fields.next()?;
    (state != "Z" && state != "X").then(|| fields.nth(18).map(str::to_owned))?
}

fn is_older(path: &Path, age: Duration) -> bool {
    let modified = path.metadata().and_then(|data| data.modified());
    modified.is_ok_and(|time| time.elapsed().is_ok_and(|elapsed| elapsed > age))
}

/// Removes all but the newest folders of `dir`.
pub(super) fn keep_newest(dir: &Path, count: usize) {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return;
    };
    let mut dirs: Vec<_> = entries
        .flatten()
        .map(|entry| {
            let modified = entry.metadata().and_then(|data| data.modified());
            (modified.unwrap_or(SystemTime::UNIX_EPOCH), entry.path())
        })
        .collect();
    dirs.sort();
    for (_, path) in dirs.iter().rev().skip(count) {
        let _ = std::fs::remove_dir_all(path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_its_start_and_a_dead_one_has_none() {
        assert!(start_time(std::process::id()).is_some());
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = child.id();
        child.wait().unwrap();
        assert_eq!(start_time(pid), None);
    }

    #[test]
    fn only_names_of_the_run_belong_to_it() {
        assert!(belongs("12-0-sw", "12-0"));
        assert!(!belongs("12-01-sw", "12-0"));
        assert!(!belongs("112-0-sw", "12-0"));
    }

    #[test]
    fn the_files_of_a_dead_run_go_and_those_of_a_living_one_stay() {
        let dir = tempfile::tempdir().unwrap();
        let depot = Depot::at(dir.path()).unwrap();
        let run = super::super::Run::begin(&depot).unwrap();
        // A run whose lock nobody holds, with a process that lives.
        let dead = dir.path().join("runs/999999999-0");
        std::fs::create_dir_all(&dead).unwrap();
        std::fs::write(dead.join("lock"), "").unwrap();
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let note = format!("{} {}\n", child.id(), start_time(child.id()).unwrap());
        // A number that now is another process: it must be left alone.
        let other = format!("{} 1\n", std::process::id());
        std::fs::write(dead.join("processes"), note + &other).unwrap();
        let region = Path::new("/dev/shm").join(format!("{PREFIX}999999999-0-h0"));
        std::fs::write(&region, "x").unwrap();
        remove_leftovers(&depot);
        assert!(!dead.exists() && !region.exists());
        assert!(child.wait().unwrap().code().is_none(), "killed by a signal");
        assert!(run.path("lock").exists());
        let path = run.path("");
        drop(run);
        assert!(!path.exists());
    }
}
