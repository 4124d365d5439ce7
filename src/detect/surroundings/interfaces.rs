//! Network interfaces: names and addresses from the system, the rest from sysfs. Which of them
//! leads to a peer is not decided here: a peer's answer decides.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::Serialize;

use crate::detect::root::Root;

/// The most addresses that are looked at; a bound, not an expectation.
const ADDRESSES_MAX: usize = 16 * 1024;

/// One network interface of this namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its addresses.
    pub addresses: Vec<Address>,
    /// What it is, as far as sysfs tells.
    pub kind: InterfaceKind,
    /// The kernel driver of its device; none for virtual ones.
    pub driver: Option<String>,
    /// Largest packet in bytes.
    pub mtu: Option<u32>,
    /// Speed in Mbit/s, where the driver knows.
    pub mbits_per_s: Option<u64>,
    /// Whether it is up and has a carrier.
    pub up: bool,
}

/// An address with the length of its network's prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Address {
    /// The address.
    pub ip: IpAddr,
    /// Bits of the network prefix.
    pub prefix: u8,
    /// For IPv6 link-local addresses, the number of the interface; else 0.
    pub scope: u32,
}

/// What kind of interface.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum InterfaceKind {
    /// Backed by a device: a card, or a hypervisor's virtual card.
    Device,
    /// The loopback.
    Loopback,
    /// A bridge, as of container and VM managers.
    Bridge,
    /// A tun or tap.
    Tun,
    /// Something else made by software.
    #[default]
    Virtual,
}

const IFF_UP: u64 = libc::IFF_UP as u64;
const IFF_LOOPBACK: u64 = libc::IFF_LOOPBACK as u64;

pub(super) fn look(root: &Root) -> Vec<Interface> {
    let mut addresses = if root.is_live() { live_addresses() } else { BTreeMap::new() };
    let mut names = root.names("/sys/class/net");
    // Without sysfs, as in a bare namespace, the addresses still name their interfaces.
    names.extend(addresses.keys().cloned());
    names.sort();
    names.dedup();
    // The folder also holds files that are no interfaces, such as bonding_masters.
    names.retain(|name| {
        root.exists(&format!("/sys/class/net/{name}/flags")) || addresses.contains_key(name)
    });
    names
        .into_iter()
        .map(|name| {
            let found = addresses.remove(&name).unwrap_or_default();
            describe(root, name, found)
        })
        .collect()
}

fn describe(root: &Root, name: String, addresses: Vec<Address>) -> Interface {
    let at = |file: &str| format!("/sys/class/net/{name}/{file}");
    let number = |file: &str| root.text(&at(file)).text()?.trim().parse::<u64>().ok();
    let flags = root
        .text(&at("flags"))
        .text()
        .and_then(|text| u64::from_str_radix(text.trim().strip_prefix("0x")?, 16).ok())
        .unwrap_or(0);
    let carrier = root.text(&at("operstate"));
    let driver = root
        .link(&at("device/driver"))
        .and_then(|target| target.rsplit('/').next().map(str::to_owned))
        .filter(|driver| !driver.is_empty());
    let kind = if flags & IFF_LOOPBACK != 0 {
        InterfaceKind::Loopback
    } else if root.exists(&at("bridge")) {
        InterfaceKind::Bridge
    } else if root.exists(&at("tun_flags")) {
        InterfaceKind::Tun
    } else if root.exists(&at("device")) {
        InterfaceKind::Device
    } else {
        InterfaceKind::Virtual
    };
    Interface {
        kind,
        driver,
        mtu: number("mtu").and_then(|mtu| u32::try_from(mtu).ok()),
        mbits_per_s: number("speed").filter(|&speed| speed > 0),
        // The loopback's state is "unknown", and so is that of some virtual cards.
        up: flags & IFF_UP != 0 && matches!(carrier.text(), Some("up" | "unknown")),
        addresses,
        name,
    }
}

/// All IP addresses by interface; none when the system refuses.
fn live_addresses() -> BTreeMap<String, Vec<Address>> {
    let mut found: BTreeMap<String, Vec<Address>> = BTreeMap::new();
    let mut list: *mut libc::ifaddrs = std::ptr::null_mut();
    // SAFETY: `list` is a valid place for the pointer to be written to.
    if unsafe { libc::getifaddrs(&raw mut list) } != 0 {
        return found;
    }
    let mut next = list;
    for _ in 0..ADDRESSES_MAX {
        // SAFETY: `next` is null or an element of the list, which is freed only below.
        let Some(entry) = (unsafe { next.as_ref() }) else {
            break;
        };
        next = entry.ifa_next;
        if let Some((name, address)) = address_of(entry) {
            found.entry(name).or_default().push(address);
        }
    }
    // SAFETY: `list` came from getifaddrs and is freed once; no reference into it remains.
    unsafe { libc::freeifaddrs(list) };
    found
}

fn address_of(entry: &libc::ifaddrs) -> Option<(String, Address)> {
    if entry.ifa_name.is_null() {
        return None;
    }
    // SAFETY: getifaddrs gives a NUL-terminated name that lives as long as the list.
    let name = unsafe { CStr::from_ptr(entry.ifa_name) };
    let (ip, scope) = socket_ip(entry.ifa_addr)?;
    let prefix = socket_ip(entry.ifa_netmask).map_or(0, |(mask, _)| prefix_bits(mask));
    // An IPv4 address may carry a label of its own, as in eth0:1.
    let name = name.to_string_lossy();
    let name = name.split(':').next().unwrap_or_default().to_owned();
    Some((name, Address { ip, prefix, scope }))
}

fn prefix_bits(mask: IpAddr) -> u8 {
    let bits = match mask {
        IpAddr::V4(mask) => mask.to_bits().leading_ones(),
        IpAddr::V6(mask) => mask.to_bits().leading_ones(),
    };
    u8::try_from(bits).unwrap_or(0)
}

/// The IP address in a socket address of getifaddrs, and its scope.
fn socket_ip(address: *const libc::sockaddr) -> Option<(IpAddr, u32)> {
    // SAFETY: null, or a socket address of the list, which outlives this call.
    let family = unsafe { address.as_ref() }?.sa_family;
    match i32::from(family) {
        libc::AF_INET => {
            // SAFETY: the family says that a sockaddr_in lies here; alignment is not assumed.
            let v4 = unsafe { address.cast::<libc::sockaddr_in>().read_unaligned() };
            let ip = Ipv4Addr::from_bits(u32::from_be(v4.sin_addr.s_addr));
            Some((IpAddr::V4(ip), 0))
        }
        libc::AF_INET6 => {
            // SAFETY: the family says that a sockaddr_in6 lies here; alignment is not assumed.
            let v6 = unsafe { address.cast::<libc::sockaddr_in6>().read_unaligned() };
            let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
            Some((IpAddr::V6(ip), v6.sin6_scope_id))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn the_loopback_of_this_machine_is_found_with_its_address() {
        let all = look(&Root::new(Path::new("/")));
        let lo = all
            .iter()
            .find(|i| i.addresses.iter().any(|a| a.ip == IpAddr::V4(Ipv4Addr::LOCALHOST)));
        assert_eq!(lo.unwrap().addresses[0].prefix, 8);
    }

    #[test]
    fn a_card_a_bridge_and_a_loopback_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let full = dir.path().join("sys/class/net").join(path);
            std::fs::create_dir_all(full.parent().unwrap()).unwrap();
            std::fs::write(full, text).unwrap();
        };
        put("lo/flags", "0x9\n");
        put("lo/operstate", "unknown\n");
        put("docker0/flags", "0x1003\n");
        put("docker0/operstate", "down\n");
        put("docker0/bridge/bridge_id", "");
        put("eth0/flags", "0x1003\n");
        put("eth0/operstate", "up\n");
        put("eth0/mtu", "1500\n");
        put("eth0/speed", "-1\n");
        put("eth0/device/vendor", "");
        std::os::unix::fs::symlink(
            "../../../bus/virtio/drivers/virtio_net",
            dir.path().join("sys/class/net/eth0/device/driver"),
        )
        .unwrap();
        put("bonding_masters", "");
        let all = look(&Root::new(dir.path()));
        let names: Vec<&str> = all.iter().map(|i| i.name.as_str()).collect();
        assert_eq!(names, ["docker0", "eth0", "lo"]);
        assert_eq!(all[0].kind, InterfaceKind::Bridge);
        assert!(!all[0].up);
        assert_eq!(all[1].driver.as_deref(), Some("virtio_net"));
        assert_eq!((all[1].mtu, all[1].mbits_per_s), (Some(1500), None));
        assert!(all[1].up && all[2].up);
        assert_eq!(all[2].kind, InterfaceKind::Loopback);
    }
}
