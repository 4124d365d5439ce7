//! Which addresses this machine has, in the order in which a peer should try them.
//!
//! No interface is preferred or left out by name: a bridge that exists on every machine is offered
//! like any other, and falls by the identity check when it leads elsewhere.

use super::MAX_CANDIDATES;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ptr;

/// More interfaces than this are not looked at.
const MAX_ENTRIES: usize = 4096;

/// The addresses of all interfaces that are up, best first: IPv4, IPv6, link-local IPv4, loopback.
/// Link-local IPv6 needs an interface of the reader's and is left out. Loopback is of use only to
/// peers in the same network namespace (elsewhere the identity check sorts it out).
/// At most [`MAX_CANDIDATES`].
///
/// # Errors
/// What `getifaddrs` says.
pub fn usable_addresses() -> io::Result<Vec<IpAddr>> {
    let list = InterfaceList::read()?;
    Ok(ordered(list.addresses()))
}

fn ordered(mut found: Vec<IpAddr>) -> Vec<IpAddr> {
    found.retain(|address| class(address).is_some());
    found.sort_by_key(class);
    let mut out: Vec<IpAddr> = Vec::new();
    for address in found {
        if !out.contains(&address) {
            out.push(address);
        }
    }
    // Keep the loopback pair when the list is cut: it serves all peers of this machine.
    let loopback: Vec<IpAddr> = out.iter().copied().filter(IpAddr::is_loopback).take(2).collect();
    out.retain(|address| !address.is_loopback());
    out.truncate(MAX_CANDIDATES - loopback.len());
    out.extend(loopback);
    out
}

/// Lower is tried earlier; `None` is not offered at all.
fn class(address: &IpAddr) -> Option<u8> {
    match address {
        _ if address.is_unspecified() || address.is_multicast() => None,
        IpAddr::V4(v4) if v4.is_loopback() => Some(3),
        IpAddr::V4(v4) if v4.is_link_local() => Some(2),
        IpAddr::V4(_) => Some(0),
        IpAddr::V6(v6) if v6.is_loopback() => Some(4),
        IpAddr::V6(v6) if v6.is_unicast_link_local() || v6.to_ipv4_mapped().is_some() => None,
        IpAddr::V6(_) => Some(1),
    }
}

/// The kernel's list, given back when dropped.
struct InterfaceList(*mut libc::ifaddrs);

impl InterfaceList {
    fn read() -> io::Result<Self> {
        let mut head = ptr::null_mut();
        // SAFETY: `head` is a valid place for the pointer; the list is freed in `drop`.
        if unsafe { libc::getifaddrs(&mut head) } != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(InterfaceList(head))
    }

    fn addresses(&self) -> Vec<IpAddr> {
        let mut out = Vec::new();
        let mut cursor = self.0;
        for _ in 0..MAX_ENTRIES {
            if cursor.is_null() {
                break;
            }
            // SAFETY: not null, and a member of the list, which lives as long as `self`.
            let entry = unsafe { &*cursor };
            let up = entry.ifa_flags & libc::IFF_UP as libc::c_uint != 0;
            if let Some(address) = address_of(entry.ifa_addr).filter(|_| up) {
                out.push(address);
            }
            cursor = entry.ifa_next;
        }
        out
    }
}

impl Drop for InterfaceList {
    fn drop(&mut self) {
        // SAFETY: the list came from `getifaddrs` and is freed once.
        unsafe { libc::freeifaddrs(self.0) };
    }
}

/// The address behind a pointer of the kernel's list, when it is an internet address.
fn address_of(raw: *const libc::sockaddr) -> Option<IpAddr> {
    if raw.is_null() {
        return None;
    }
    // SAFETY: not null, every socket address begins with its family, and the kernel's list is
    // aligned for it.
    let family = unsafe { (*raw).sa_family };
    match i32::from(family) {
        libc::AF_INET => {
            // SAFETY: the family says that this is an IPv4 address.
            let v4 = unsafe { raw.cast::<libc::sockaddr_in>().read_unaligned() };
            Some(Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: the family says that this is an IPv6 address.
            let v6 = unsafe { raw.cast::<libc::sockaddr_in6>().read_unaligned() };
            Some(Ipv6Addr::from(v6.sin6_addr.s6_addr).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn loopback_comes_last_and_link_local_ipv6_not_at_all() {
        let found = ["::1", "127.0.0.1", "fe80::1", "169.254.0.1", "2001:db8::1", "10.0.0.1"];
        let wanted = ["10.0.0.1", "2001:db8::1", "169.254.0.1", "127.0.0.1", "::1"];
        assert_eq!(ordered(addresses(&found)), addresses(&wanted));
    }

    #[test]
    fn a_bridge_is_offered_like_any_other_and_twice_is_once() {
        let found = ["172.17.0.1", "10.0.0.1", "172.17.0.1", "0.0.0.0", "224.0.0.1"];
        assert_eq!(ordered(addresses(&found)), addresses(&["172.17.0.1", "10.0.0.1"]));
    }

    #[test]
    fn a_machine_with_a_thousand_addresses_still_offers_loopback() {
        let mut found = addresses(&["127.0.0.1"]);
        found.extend((0..1000_u32).map(|n| IpAddr::from(Ipv4Addr::from(0x0a00_0000 + n))));
        let offered = ordered(found);
        assert_eq!(offered.len(), MAX_CANDIDATES);
        assert_eq!(offered.last(), Some(&IpAddr::from(Ipv4Addr::LOCALHOST)));
    }

    #[test]
    fn this_machine_can_be_asked() {
        let offered = usable_addresses().unwrap();
        assert!(offered.len() <= MAX_CANDIDATES);
    }
}
