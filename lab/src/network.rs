//! The lab's network: one namespace per host with a bridge for its guests, and one namespace that
//! is the switch between hosts. Hosts are joined to it by links of 1 Gbit/s. Addresses are
//! private and exist in these namespaces only; nothing reaches the machine's own network.
//!
//! The lab itself speaks to guests from the switch, by sockets opened in that namespace.

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::run::{Run, hold_when_ending};
use crate::{LabError, tools};

/// Where `ip netns` keeps its names.
const NAMESPACES: &str = "/run/netns";

/// The namespaces of one lab run. They are removed with the run.
#[derive(Debug, Clone)]
pub(crate) struct Network {
    switch: String,
    hosts: Vec<String>,
}

impl Network {
    /// Builds the switch and `hosts` hosts; between hosts, links have 1 Gbit/s each way.
    pub(crate) fn build(run: &Run, hosts: u32) -> Result<Network, LabError> {
        if !rustix::process::geteuid().is_root() {
            return Err(LabError::NotRoot);
        }
        let network = Network {
            switch: run.namespace("sw"),
            hosts: (0..hosts).map(|host| run.namespace(&format!("h{host}"))).collect(),
        };
        make_namespace(&network.switch)?;
        let address = format!("{}/16", Network::own_address());
        ip(&network.switch, &["address", "add", &address, "dev", "br0"])?;
        for (host, namespace) in network.hosts.iter().enumerate() {
            make_namespace(namespace)?;
            let port = format!("host{host}");
            let link = ["link", "add", &port, "type", "veth", "peer", "name", "uplink", "netns"];
            ip(&network.switch, &[&link[..], &[namespace]].concat())?;
            for (place, device) in [(&network.switch, port.as_str()), (namespace, "uplink")] {
                ip(place, &["link", "set", device, "master", "br0", "up"])?;
                limit(place, device)?;
            }
        }
        Ok(network)
    }

    /// The lab's own address.
    pub(crate) fn own_address() -> Ipv4Addr {
        Ipv4Addr::new(10, 77, 0, 1)
    }

    /// The address of a guest; with the prefix length 16 all reach each other.
    pub(crate) fn address(host: u32, vm: u32) -> Ipv4Addr {
        // Layouts are checked to have at most 200 of each.
        Ipv4Addr::new(10, 77, (host + 1) as u8, (vm + 1) as u8)
    }

    /// The hardware address of a guest, of the range that is free for local use.
    pub(crate) fn mac(host: u32, vm: u32) -> String {
        format!("02:c0:05:77:{:02x}:{:02x}", host + 1, vm + 1)
    }

    /// The namespace in which the guests of a host run.
    pub(crate) fn namespace(&self, host: u32) -> &str {
        self.hosts.get(host as usize).map_or("", String::as_str)
    }

    /// How many hosts there are.
    pub(crate) fn hosts(&self) -> u32 {
        // Made of that many, which are at most 200.
        self.hosts.len() as u32
    }

    /// Makes a tap on the bridge of a host.
    pub(crate) fn make_tap(&self, host: u32, name: &str) -> Result<(), LabError> {
        let namespace = self.namespace(host);
        ip(namespace, &["tuntap", "add", "dev", name, "mode", "tap"])?;
        ip(namespace, &["link", "set", name, "master", "br0", "up"])
    }

    /// Removes a tap.
    pub(crate) fn remove_tap(&self, host: u32, name: &str) -> Result<(), LabError> {
        ip(self.namespace(host), &["link", "delete", name])
    }

    /// Connects to a guest from the switch.
    pub(crate) fn connect(&self, to: SocketAddr, limit: Duration) -> Result<TcpStream, LabError> {
        inside(&self.switch, || TcpStream::connect_timeout(&to, limit))?
            .map_err(|source| LabError::io(format!("connecting to {to}"), source))
    }
}

/// A namespace with a bridge `br0`, without the chatter of address autoconfiguration.
fn make_namespace(name: &str) -> Result<(), LabError> {
    hold_when_ending();
    tools::text("ip", &["netns", "add", name])?;
    inside(name, || {
        for scope in ["all", "default"] {
            let path = format!("/proc/sys/net/ipv6/conf/{scope}/disable_ipv6");
            // A kernel without IPv6 has nothing to disable.
            let _ = std::fs::write(path, "1");
        }
    })?;
    ip(name, &["link", "set", "lo", "up"])?;
    let bridge =
        ["link", "add", "br0", "type", "bridge", "forward_delay", "0", "mcast_snooping", "0"];
    ip(name, &bridge)?;
    ip(name, &["link", "set", "br0", "up"])
}

/// Limits what leaves through a device to 1 Gbit/s. The burst holds the largest packet that
/// segmentation offload makes, several times.
fn limit(namespace: &str, device: &str) -> Result<(), LabError> {
    let args = ["-n", namespace, "qdisc", "add", "dev", device, "root", "tbf"];
    let rate = ["rate", "1gbit", "burst", "256kb", "latency", "20ms"];
    tools::text("tc", &[&args[..], &rate].concat()).map(drop)
}

fn ip(namespace: &str, args: &[&str]) -> Result<(), LabError> {
    tools::text("ip", &[&["-n", namespace], args].concat()).map(drop)
}

/// A handle to a namespace.
pub(crate) fn open(name: &str) -> Result<OwnedFd, LabError> {
    let path = Path::new(NAMESPACES).join(name);
    let file = File::open(&path).map_err(|e| LabError::at("opening the namespace", &path, e))?;
    Ok(file.into())
}

/// Runs `act` in a namespace, on a thread of its own; sockets made there stay there.
fn inside<T: Send>(namespace: &str, act: impl FnOnce() -> T + Send) -> Result<T, LabError> {
    let fd = open(namespace)?;
    let enter = || -> io::Result<T> {
        move_into_link_name_space(fd.as_fd(), Some(LinkNameSpaceType::Network))?;
        Ok(act())
    };
    let done = std::thread::scope(|scope| scope.spawn(enter).join());
    done.unwrap_or_else(|_| Err(io::Error::other("a thread panicked")))
        .map_err(|source| LabError::io(format!("entering the namespace {namespace}"), source))
}
