//! What this process may run on (MPI 5.0, 9.1.3): for each kind of resource whether it is
//! restricted to one of them.

use std::collections::BTreeSet;
use std::path::Path;

use cohost::mpi::failure::Outcome;

use crate::args::Handle;

const CPUS: &str = "/sys/devices/system/cpu";

/// Kinds of resources, and the files of a processor that name the one it belongs to.
const KINDS: &[(&str, &[&str])] = &[
    ("hwloc://Package", &["topology/physical_package_id"]),
    ("hwloc://L3Cache", &["cache/index3/shared_cpu_list"]),
    ("hwloc://Core", &["topology/physical_package_id", "topology/core_id"]),
];

/// Numbers of the processors that this process may run on.
fn allowed() -> BTreeSet<usize> {
    // SAFETY: all zeros is an empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the set can be written to, and its size is told.
    let code = unsafe { libc::sched_getaffinity(0, size_of_val(&set), &raw mut set) };
    let all = if code == 0 { libc::CPU_SETSIZE as usize } else { 0 };
    // SAFETY: the numbers are below the size of the set.
    (0..all).filter(|cpu| unsafe { libc::CPU_ISSET(*cpu, &set) }).collect()
}

/// What a processor belongs to; none where the system does not say.
fn belongs(cpu: usize, files: &[&str]) -> Option<Vec<String>> {
    let folder = Path::new(CPUS).join(format!("cpu{cpu}"));
    files.iter().map(|file| std::fs::read_to_string(folder.join(file)).ok()).collect()
}

/// The memory node of a processor.
fn node(cpu: usize) -> Option<Vec<String>> {
    let entries = std::fs::read_dir(Path::new(CPUS).join(format!("cpu{cpu}"))).ok()?;
    let mut names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.find(|name| name.starts_with("node")).map(|name| vec![name])
}

fn is_one(cpus: &BTreeSet<usize>, of: impl Fn(usize) -> Option<Vec<String>>) -> Option<bool> {
    let all = cpus.iter().map(|cpu| of(*cpu)).collect::<Option<BTreeSet<_>>>()?;
    (!all.is_empty()).then_some(all.len() == 1)
}

fn resources() -> Vec<(String, String)> {
    let cpus = allowed();
    let mut found =
        vec![("hwloc://Machine", Some(true)), ("hwloc://NUMANode", is_one(&cpus, node))];
    found.extend(
        KINDS.iter().map(|(name, files)| (*name, is_one(&cpus, |cpu| belongs(cpu, files)))),
    );
    found.push(("hwloc://PU", (!cpus.is_empty()).then_some(cpus.len() == 1)));
    let known = found.into_iter().filter_map(|(name, one)| Some((name, one?)));
    known.map(|(name, one)| (name.to_owned(), one.to_string())).collect()
}

pub(crate) unsafe fn get_hw_resource_info(hw_info: *mut Handle) -> Outcome<()> {
    let made = super::new_info(resources())?;
    // SAFETY: the application gives an address to write to.
    unsafe { *hw_info = made };
    Ok(())
}
