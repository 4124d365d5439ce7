//! Doorbells of devices: a descriptor that becomes readable when a peer on another machine rings,
//! and the way to ring there. Rate limited, since each ring costs our hypervisor an exit and the
//! peer an interrupt, and a peer that arms and disarms in a loop must not make us flood it.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::ivshmem::Bell;
use super::xen::EventChannel;
use super::{DoorbellError, Woken};

/// A non-blocking eventfd.
pub(super) fn eventfd() -> io::Result<OwnedFd> {
    // SAFETY: plain numbers.
    let raw = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
    if raw < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call has just returned this descriptor, and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}

/// What wakes us from other machines.
#[derive(Debug)]
pub enum Interrupt {
    /// An eventfd: MSI-X by VFIO, or another process of this machine.
    Eventfd(File),
    /// An event channel of Xen.
    Channel(Arc<EventChannel>),
}

impl From<OwnedFd> for Interrupt {
    fn from(fd: OwnedFd) -> Self {
        Self::Eventfd(File::from(fd))
    }
}

impl Interrupt {
    /// Readable after a ring; for sleeping by one's own means. [`Self::drain`] then.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Eventfd(file) => file.as_fd(),
            Self::Channel(channel) => channel.fd(),
        }
    }

    /// Takes what has come, so that the next ring is noticed; whether there was any.
    pub fn drain(&self) -> bool {
        match self {
            // One read takes the whole count.
            Self::Eventfd(file) => (&*file).read(&mut [0; 8]).is_ok(),
            Self::Channel(channel) => channel.drain().unwrap_or(true),
        }
    }
}

/// Sleeps until one of them rings.
pub(super) fn wait(interrupts: &[Interrupt], timeout: Duration) -> Result<Woken, DoorbellError> {
    if interrupts.is_empty() {
        return Ok(super::none::nap(timeout));
    }
    let mut polls: Vec<libc::pollfd> = interrupts
        .iter()
        .map(|interrupt| libc::pollfd {
            fd: interrupt.fd().as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        })
        .collect();
    // Rounded up: a sleep of nothing at all would be a spin.
    let millis = timeout.as_millis().saturating_add(1);
    let millis = libc::c_int::try_from(millis).unwrap_or(libc::c_int::MAX);
    let count = polls.len() as libc::nfds_t;
    // SAFETY: `count` structures are valid for the call.
    let result = unsafe { libc::poll(polls.as_mut_ptr(), count, millis) };
    match result {
        0 => Ok(Woken::TimedOut),
        1.. => {
            for (poll, interrupt) in polls.iter().zip(interrupts) {
                if poll.revents != 0 {
                    interrupt.drain();
                }
            }
            Ok(Woken::Rung)
        }
        _ => match io::Error::last_os_error() {
            error if error.kind() == io::ErrorKind::Interrupted => Ok(Woken::Rung),
            error => Err(DoorbellError::Interrupt(error)),
        },
    }
}

/// How a peer on another machine is rung.
#[derive(Debug)]
pub enum Far {
    /// By the doorbell register of an ivshmem device.
    Msix(Bell),
    /// By an event channel of Xen.
    Channel(Arc<EventChannel>),
    /// By an eventfd, handed over by a process of this machine.
    Eventfd(File),
    /// Not at all: the TCP byte.
    Byte,
}

impl From<OwnedFd> for Far {
    fn from(fd: OwnedFd) -> Self {
        Self::Eventfd(File::from(fd))
    }
}

/// Rings in a row, and one more each so often.
const BURST: u32 = 64;
const EVERY: Duration = Duration::from_micros(50);

/// A [`Far`] with its limit.
#[derive(Debug)]
pub(super) struct FarRinger {
    far: Far,
    tokens: u32,
    since: Option<Instant>,
}

impl FarRinger {
    pub(super) fn new(far: Far) -> Self {
        Self { far, tokens: BURST, since: None }
    }

    /// Rings; false when it must be done by a byte instead.
    pub(super) fn ring(&mut self, now: Instant) -> bool {
        if matches!(self.far, Far::Byte) || !self.allowed(now) {
            return false;
        }
        let rung = match &self.far {
            Far::Msix(bell) => bell.ring(),
            Far::Channel(channel) => channel.ring(),
            Far::Eventfd(file) => match (&*file).write(&1_u64.to_ne_bytes()) {
                // Its count is full, so it is readable.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
                other => other.map(drop),
            },
            Far::Byte => return false,
        };
        if rung.is_err() {
            // A device that fails once has been unplugged, or its other end is gone.
            self.far = Far::Byte;
        }
        rung.is_ok()
    }

    pub(super) fn kind(&self) -> &'static str {
        match self.far {
            Far::Msix(_) => "MSI-X",
            Far::Channel(_) => "event channel",
            Far::Eventfd(_) => "eventfd",
            Far::Byte => "TCP byte",
        }
    }

    fn allowed(&mut self, now: Instant) -> bool {
        let since = *self.since.get_or_insert(now);
        let earned = now.saturating_duration_since(since).as_nanos() / EVERY.as_nanos();
        if earned > 0 {
            let earned = u32::try_from(earned).unwrap_or(u32::MAX);
            self.tokens = self.tokens.saturating_add(earned).min(BURST);
            self.since = Some(now);
        }
        let allowed = self.tokens > 0;
        self.tokens = self.tokens.saturating_sub(1);
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_rings_becomes_a_trickle() {
        let far = eventfd().unwrap();
        let mut ringer = FarRinger::new(far.into());
        let start = Instant::now();
        let rung = (0..10_000).filter(|_| ringer.ring(start)).count();
        assert_eq!(rung, BURST as usize);
        let later = start + EVERY * 3;
        assert_eq!((0..10).filter(|_| ringer.ring(later)).count(), 3);
        let much_later = start + Duration::from_secs(3600);
        let rung = (0..10_000).filter(|_| ringer.ring(much_later)).count();
        assert_eq!(rung, BURST as usize);
    }

    #[test]
    fn a_device_that_fails_is_replaced_by_the_byte() {
        let read_only = File::open("/dev/null").unwrap();
        let mut ringer = FarRinger::new(Far::Eventfd(read_only));
        assert!(!ringer.ring(Instant::now()));
        assert!(matches!(ringer.far, Far::Byte));
    }

    #[test]
    fn a_spurious_ring_is_taken_and_harmless() {
        let fd = eventfd().unwrap();
        let mut far = FarRinger::new(fd.try_clone().unwrap().into());
        let interrupts = [Interrupt::from(fd)];
        assert!(far.ring(Instant::now()) && far.ring(Instant::now()));
        let short = Duration::from_millis(1);
        assert_eq!(wait(&interrupts, short).unwrap(), Woken::Rung);
        assert_eq!(wait(&interrupts, short).unwrap(), Woken::TimedOut);
        assert!(!interrupts[0].drain());
        assert_eq!(wait(&[], Duration::MAX).unwrap(), Woken::TimedOut);
    }
}
