//! Which container, if any, from the marks that managers leave.

use super::evidence::{ContainerMarks, Evidence, Reading};
use super::kinds::Container;

/// A container and why, or why a mark does not count.
#[derive(Debug, Default)]
pub(super) struct Finding {
    pub container: Option<Container>,
    pub because: Vec<String>,
    pub against: Vec<String>,
}

/// The order follows systemd's: kernels that are containers all through, then what the manager
/// wrote down for us, then files it left, then traces that only hint.
pub(super) fn find(evidence: &Evidence) -> Finding {
    let marks = &evidence.container;
    let by_mark = kernel_marks(evidence).or_else(|| tracer(marks)).or_else(|| written_down(marks));
    if let Some((container, line)) = by_mark {
        return yes(container, line);
    }
    let mut against = Vec::new();
    for found in [files(marks), cgroup(marks)].into_iter().flatten() {
        match refutation(evidence) {
            None => return yes(found.0, found.1),
            Some(why) => against.push(format!("{}, yet {why}", found.1)),
        }
    }
    if evidence.namespaces.is_first("pid") == Some(false) && !is_uml(evidence) {
        let line = "process ids are numbered in a namespace of their own".to_owned();
        return Finding { against, ..yes(Container::Other, line) };
    }
    Finding { against, ..Finding::default() }
}

fn yes(container: Container, line: String) -> Finding {
    Finding { container: Some(container), because: vec![line], against: Vec::new() }
}

fn is_uml(evidence: &Evidence) -> bool {
    super::witness::uml_line(evidence).is_some()
}

/// Kernels built for containers say so themselves.
fn kernel_marks(evidence: &Evidence) -> Option<(Container, String)> {
    let marks = &evidence.container;
    if marks.proc_vz && !marks.proc_bc {
        let line = "/proc/vz is there and /proc/bc is not";
        return Some((Container::OpenVz, line.to_owned()));
    }
    // Context 0 is the host's in both.
    for (field, container) in [
        ("envID", Container::OpenVz),
        ("VxID", Container::LinuxVserver),
        ("s_context", Container::LinuxVserver),
    ] {
        let value = status_field(&marks.status, field);
        // 1 is the watch context of a Linux-VServer host, which sees everything.
        let watch = container == Container::LinuxVserver && value == Some("1");
        if let Some(id) = value.filter(|id| !id.is_empty() && *id != "0" && !watch) {
            // OpenVZ's own host shows envID 0, a container its number.
            return Some((container, format!("/proc/self/status: {field} is {id}")));
        }
    }
    let release = evidence.proc.osrelease.text().unwrap_or_default();
    let version = evidence.proc.version.text().unwrap_or_default();
    for (file, text) in [
        ("/proc/sys/kernel/osrelease", release),
        ("/proc/version", version.split(" (").next().unwrap_or_default()),
    ] {
        if ["Microsoft", "microsoft-standard", "WSL"].iter().any(|mark| text.contains(mark)) {
            return Some((Container::Wsl, format!("{file}: {text:?}")));
        }
    }
    None
}

fn status_field<'a>(status: &'a Reading, field: &str) -> Option<&'a str> {
    status.text()?.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        (name.trim() == field).then(|| value.trim())
    })
}

fn tracer(marks: &ContainerMarks) -> Option<(Container, String)> {
    let name = marks.tracer.text()?;
    name.starts_with("proot").then(|| (Container::Proot, format!("traced by {name:?}")))
}

/// What the manager wrote where it is meant to be read.
fn written_down(marks: &ContainerMarks) -> Option<(Container, String)> {
    let places = [
        ("/run/host/container-manager", &marks.manager),
        ("/run/systemd/container", &marks.systemd),
        ("container= in /proc/1/environ", &marks.init_variable),
    ];
    let (place, name) = places.into_iter().find_map(|(place, reading)| {
        let name = reading.text()?.lines().next()?.trim();
        (!name.is_empty()).then_some((place, name))
    })?;
    let line = format!("{place}: {name:?}");
    let container = match name {
        "docker" => Container::Docker,
        "podman" => Container::Podman,
        "lxc" => Container::Lxc,
        "lxc-libvirt" => Container::LxcLibvirt,
        "systemd-nspawn" => Container::SystemdNspawn,
        "openvz" => Container::OpenVz,
        "wsl" => Container::Wsl,
        "proot" => Container::Proot,
        "rkt" => Container::Rkt,
        "pouch" => Container::Pouch,
        // The name of the format, not of the manager: its files may say more.
        "oci" => files(marks).map_or(Container::Other, |(container, _)| container),
        _ => Container::Other,
    };
    Some((container, line))
}

/// Podman's file before Docker's: Podman may write both.
fn files(marks: &ContainerMarks) -> Option<(Container, String)> {
    if marks.containerenv {
        return Some((Container::Podman, "/run/.containerenv is there".to_owned()));
    }
    marks.dockerenv.then(|| (Container::Docker, "/.dockerenv is there".to_owned()))
}

/// Names in the control group of process 1: a hint for managers that leave nothing else.
fn cgroup(marks: &ContainerMarks) -> Option<(Container, String)> {
    const NAMES: &[(&str, Container)] = &[
        ("/libpod-", Container::Podman),
        ("/docker/", Container::Docker),
        ("/docker-", Container::Docker),
        ("/lxc.payload", Container::Lxc),
        ("/lxc/", Container::Lxc),
        ("/machine-lxc", Container::LxcLibvirt),
        ("/kubepods", Container::Kubernetes),
    ];
    marks.init_cgroup.text()?.lines().find_map(|line| {
        let &(_, container) = NAMES.iter().find(|(part, _)| line.contains(part))?;
        Some((container, format!("/proc/1/cgroup: {line:?}")))
    })
}

/// Why a mark left in the file system does not count: a virtual machine's disk made from a
/// container image keeps `/.dockerenv`, but its first process lives in the kernel's first
/// namespaces and on a disk of its own.
fn refutation(evidence: &Evidence) -> Option<String> {
    let first = ["pid", "ipc", "uts", "cgroup"]
        .iter()
        .all(|kind| evidence.namespaces.is_first(kind) == Some(true));
    let root = evidence.container.root_mount.text()?;
    let (kind, source) = root.split_once(' ')?;
    let own_disk = kind != "overlay" && source.starts_with("/dev/");
    (first && own_disk).then(|| {
        format!("all namespaces are the kernel's first and / is {kind} on {source}: a disk made from an image")
    })
}
