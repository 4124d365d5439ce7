//! Fetches what guests are made of: kernels, Xen and busybox as packages that are unpacked into a
//! folder of the lab's own and never installed, and the few ordinary tools that it runs.
//!
//! It may use `apt-get`, `apt-cache`, `dpkg` and `dpkg-query`; it knows nothing of running guests.
//! [`Depot`] is that folder, and answers where things are.

mod apt;
mod depot;

pub use depot::{Depot, Kernel, Uml, XenFiles};

use crate::guest::Hypervisor;
use crate::{LabError, tools};

/// Fetches and installs what these hypervisors need. Quick when all is there. `say` is told each
/// step that takes time.
pub fn setup(
    depot: &Depot,
    hypervisors: &[Hypervisor],
    say: &mut dyn FnMut(&str),
) -> Result<(), LabError> {
    let _only_one = depot.lock()?;
    install_tools(depot, hypervisors, say)?;
    depot.fetch("busybox", say, || Ok(vec!["busybox-static".into()]))?;
    let emulated = [Hypervisor::Qemu, Hypervisor::Xen];
    if hypervisors.iter().any(|kind| emulated.contains(kind)) {
        depot.fetch("linux", say, || {
            apt::depends_on("linux-image-amd64", "linux-image-").map(|name| vec![name])
        })?;
        depot.prepare_kernel(say)?;
    }
    if hypervisors.contains(&Hypervisor::Uml) {
        depot.fetch("uml", say, || Ok(vec!["user-mode-linux".into()]))?;
    }
    if hypervisors.contains(&Hypervisor::Xen) {
        depot.fetch("xen", say, apt::xen_packages)?;
        depot.prepare_xen(say)?;
    }
    Ok(())
}

/// Programs the lab runs, and the packages they come in.
const TOOLS: &[(&str, &str)] = &[
    ("ip", "iproute2"),
    ("tc", "iproute2"),
    ("unshare", "util-linux"),
    ("xz", "xz-utils"),
    ("lz4", "lz4"),
    ("gzip", "gzip"),
    ("dpkg", "dpkg"),
];
const QEMU: (&str, &str) = ("qemu-system-x86_64", "qemu-system-x86");

fn install_tools(
    depot: &Depot,
    hypervisors: &[Hypervisor],
    say: &mut dyn FnMut(&str),
) -> Result<(), LabError> {
    let mut wanted = TOOLS.to_vec();
    if hypervisors.iter().any(|kind| *kind != Hypervisor::Uml) {
        wanted.push(QEMU);
    }
    let missing = |wanted: &[(&str, &str)]| -> Vec<String> {
        let missing = wanted.iter().filter(|(tool, _)| tools::find(tool).is_none());
        let mut packages: Vec<String> = missing.map(|(_, package)| (*package).into()).collect();
        packages.dedup();
        packages
    };
    let packages = missing(&wanted);
    if packages.is_empty() {
        return Ok(());
    }
    say(&format!("installing {}", packages.join(", ")));
    apt::install(depot, &packages)?;
    match missing(&wanted).as_slice() {
        [] => Ok(()),
        still => Err(LabError::Missing {
            what: format!("a program of the packages {}", still.join(", ")),
            tried: "apt-get install succeeded, and it is not in PATH".into(),
        }),
    }
}
