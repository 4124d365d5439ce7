//! A network namespace for each host of a layout, joined by a bridge over links of 1 Gbit/s.
//!
//! The namespaces, the bridge's own among them, have no names: descriptors and processes hold them.
//! When the last of these is gone, however it went, the kernel takes the namespaces down with every
//! interface and address in them. So there is nothing to clean up, not even after SIGKILL, and the
//! machine's own network is never touched.

use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::process::{Command, Stdio};

use super::{LaunchError, sys};

/// Hosts that fit on one bridge (Linux: 1024 ports, one spare).
const MAX_HOSTS: u32 = 1023;

/// Shape of each direction of each link: 1 Gbit/s. A burst of 128 kB is above the largest segment
/// that a virtual interface passes in one piece (64 kB), which tbf would drop otherwise.
const SHAPE: &str = "root tbf rate 1gbit burst 128kb latency 20ms";

/// The network of a job with `--netns`.
pub(super) struct HostNetworks {
    hosts: Vec<OwnedFd>,
    /// Holds the bridge.
    _bridge: OwnedFd,
}

impl HostNetworks {
    /// Makes the namespaces: host `h` has the address 10.99.x.y with x.y = h + 1, on `eth0`.
    pub(super) fn build(hosts: u32) -> Result<Self, LaunchError> {
        if !sys::is_root() {
            return refuse(
                "making network namespaces needs root: run with sudo, or leave --netns out",
            );
        }
        if hosts > MAX_HOSTS {
            return refuse(&format!("{hosts} hosts; one bridge joins at most {MAX_HOSTS}"));
        }
        let bridge = new_namespace()?;
        let hosts = (0..hosts).map(|_| new_namespace()).collect::<Result<Vec<_>, _>>()?;
        configure("ip", &bridge, "link add br0 type bridge\nlink set br0 up\nlink set lo up\n")?;
        configure("ip", &bridge, &bridge_links(&hosts))?;
        let shapes: Vec<String> =
            (0..hosts.len()).map(|host| format!("qdisc add dev p{host} {SHAPE}\n")).collect();
        configure("tc", &bridge, &shapes.concat())?;
        for (index, host) in hosts.iter().enumerate() {
            let (high, low) = ((index + 1) / 256, (index + 1) % 256);
            let links = format!(
                "link set lo up\naddr add 10.99.{high}.{low}/16 dev eth0\nlink set eth0 up\n"
            );
            configure("ip", host, &links)?;
            configure("tc", host, &format!("qdisc add dev eth0 {SHAPE}\n"))?;
        }
        Ok(Self { hosts, _bridge: bridge })
    }

    /// The namespace of a host.
    pub(super) fn host(&self, host: u32) -> Option<RawFd> {
        self.hosts.get(host as usize).map(AsRawFd::as_raw_fd)
    }
}

fn refuse<T>(reason: &str) -> Result<T, LaunchError> {
    Err(LaunchError::Netns { reason: reason.to_owned() })
}

/// One link from the bridge into each host.
fn bridge_links(hosts: &[OwnedFd]) -> String {
    let me = std::process::id();
    let link = |(index, host): (usize, &OwnedFd)| {
        let peer = format!("/proc/{me}/fd/{}", host.as_raw_fd());
        format!(
            "link add p{index} type veth peer name eth0 netns {peer}\n\
             link set p{index} master br0 up\n"
        )
    };
    hosts.iter().enumerate().map(link).collect()
}

/// A new namespace, made by a thread that enters it and ends.
fn new_namespace() -> Result<OwnedFd, LaunchError> {
    let make = || {
        sys::new_network()?;
        std::fs::File::open("/proc/thread-self/ns/net").map(OwnedFd::from)
    };
    let made = std::thread::spawn(make).join();
    let made = made.unwrap_or_else(|_| Err(std::io::Error::other("the thread panicked")));
    made.map_err(|error| LaunchError::Netns {
        reason: format!(
            "this kernel or container does not let root make a network namespace ({error}): it \
             needs CONFIG_NET_NS and CAP_SYS_ADMIN"
        ),
    })
}

/// Runs `ip` or `tc` (iproute2) inside a namespace, with one command per line.
fn configure(tool: &str, namespace: &OwnedFd, commands: &str) -> Result<(), LaunchError> {
    let namespace = namespace.as_raw_fd();
    let mut command = Command::new(tool);
    command
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    sys::start_in_network(&mut command, namespace);
    let failed = |why: String| LaunchError::Netns { reason: why };
    let mut child = command.spawn().map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            failed(format!("the command `{tool}` is missing: install the package iproute2"))
        }
        _ => failed(format!("`{tool}` cannot be run: {error}")),
    })?;
    if let Some(mut stdin) = child.stdin.take() {
        // When it ends early, its own words say why.
        let _ = stdin.write_all(commands.as_bytes());
    }
    let output =
        child.wait_with_output().map_err(|error| failed(format!("`{tool}` was lost: {error}")))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let first = said.lines().next().unwrap_or("no reason given");
    refuse(&format!(
        "`{tool}` failed: {first} (the kernel needs veth, bridge and sch_tbf; iproute2 must be 4.0 or \
         later)"
    ))
}
