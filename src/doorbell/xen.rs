//! Event channels of Xen as doorbells, through `/dev/xen/evtchn`.
//! Source: `include/uapi/xen/evtchn.h`.
//!
//! One side offers a channel to the other's domain and tells its port over TCP, the other connects;
//! then both ring and are rung by the same channel. A new channel may deliver an event that nobody
//! sent, and events coalesce: like every doorbell they only say "look again".

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::region::ioctl;

const GROUP: u8 = b'E';
const BIND_INTERDOMAIN: libc::Ioctl = ioctl::number(GROUP, 1, size_of::<Interdomain>());
const BIND_UNBOUND_PORT: libc::Ioctl = ioctl::number(GROUP, 2, 4);
const UNBIND: libc::Ioctl = ioctl::number(GROUP, 3, 4);
const NOTIFY: libc::Ioctl = ioctl::number(GROUP, 4, 4);
/// Events read at once; each port has at most one that is pending.
const EVENTS: usize = 16;
/// The hypervisor's name for whoever asks.
const DOMAIN_SELF: u32 = 0x7ff0;

/// `ioctl_evtchn_bind_interdomain`.
#[repr(C)]
struct Interdomain {
    domain: u32,
    port: u32,
}

/// One end of an event channel; unbound when dropped.
#[derive(Debug)]
pub struct EventChannel {
    device: File,
    port: u32,
}

impl EventChannel {
    /// Makes a channel that `domain` may connect to. `devices` is `/dev/xen`.
    ///
    /// # Errors
    /// When this process may not use `evtchn`, or the hypervisor refuses.
    pub fn offer(devices: &Path, domain: u16) -> io::Result<Self> {
        let device = open(devices)?;
        let mut domain = u32::from(domain);
        // SAFETY: the call reads one number.
        let port = unsafe { ioctl::call(device.as_fd(), BIND_UNBOUND_PORT, &mut domain) }?;
        Self::new(device, port)
    }

    /// Connects to the channel that `domain` offers us as `port`, its peer's word: the hypervisor
    /// refuses what was not offered to us.
    ///
    /// # Errors
    /// As for [`Self::offer`].
    pub fn connect(devices: &Path, domain: u16, port: u32) -> io::Result<Self> {
        let device = open(devices)?;
        let port = bind(&device, u32::from(domain), port)?;
        Self::new(device, port)
    }

    fn new(device: File, port: libc::c_int) -> io::Result<Self> {
        let port = u32::try_from(port).map_err(io::Error::other)?;
        Ok(Self { device, port })
    }

    /// The number to tell the peer, which connects to it.
    #[must_use]
    pub fn port(&self) -> u32 {
        self.port
    }

    /// Readable when the peer has rung.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.device.as_fd()
    }

    /// Rings the peer.
    ///
    /// # Errors
    /// When the channel is closed.
    pub fn ring(&self) -> io::Result<()> {
        let mut port = self.port;
        // SAFETY: the call reads one number.
        unsafe { ioctl::call(self.device.as_fd(), NOTIFY, &mut port) }.map(drop)
    }

    /// Takes pending events, and lets the port deliver again; whether there were any.
    ///
    /// # Errors
    /// When the device fails (an overflow of its buffer also means "look again").
    pub fn drain(&self) -> io::Result<bool> {
        let mut events = [0; 4 * EVENTS];
        let bytes = match (&self.device).read(&mut events) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error),
        };
        // Writing a port back unmasks it; until then it is silent.
        (&self.device).write_all(&events[..bytes])?;
        Ok(bytes > 0)
    }
}

impl Drop for EventChannel {
    fn drop(&mut self) {
        let mut port = self.port;
        // SAFETY: the call reads one number. What fails here is done by the close that follows.
        let _ = unsafe { ioctl::call(self.device.as_fd(), UNBIND, &mut port) };
    }
}

/// The domain that this machine is, by trial, when XenStore does not say: a channel offered to a
/// domain can be connected to by that one only. Tries domains below `limit`. A hint.
#[must_use]
pub fn own_domain_by_trial(devices: &Path, limit: u16) -> Option<u16> {
    (0..limit).find(|&domain| {
        let Ok(offered) = EventChannel::offer(devices, domain) else {
            return false;
        };
        let connected = bind(&offered.device, DOMAIN_SELF, offered.port);
        // Both ends are unbound with the device.
        connected.is_ok()
    })
}

fn bind(device: &File, domain: u32, port: u32) -> io::Result<libc::c_int> {
    let mut remote = Interdomain { domain, port };
    // SAFETY: the call reads the structure.
    unsafe { ioctl::call(device.as_fd(), BIND_INTERDOMAIN, &mut remote) }
}

fn open(devices: &Path) -> io::Result<File> {
    let path = devices.join("evtchn");
    let opened = File::options().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(&path);
    opened.map_err(|error| {
        io::Error::new(
            error.kind(),
            format!(
                "{}: {error}; load it with 'modprobe xen-evtchn' and let the job's user read and \
                 write it",
                path.display()
            ),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_those_of_the_kernels_header() {
        // Compiled from xen/evtchn.h on x86-64.
        assert_eq!(BIND_INTERDOMAIN, 0x0008_4501);
        assert_eq!(BIND_UNBOUND_PORT, 0x0004_4502);
        assert_eq!(UNBIND, 0x0004_4503);
        assert_eq!(NOTIFY, 0x0004_4504);
    }

    #[test]
    fn outside_of_xen_there_is_an_error_with_the_remedy() {
        let nowhere = Path::new("/nonexistent");
        let said = EventChannel::offer(nowhere, 1).unwrap_err().to_string();
        assert!(said.contains("modprobe xen-evtchn"), "{said}");
        assert!(EventChannel::connect(nowhere, 1, 1).is_err());
        assert_eq!(own_domain_by_trial(nowhere, 3), None);
        let directory = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/dev/null", directory.path().join("evtchn")).unwrap();
        assert!(EventChannel::offer(directory.path(), 1).is_err());
    }
}
