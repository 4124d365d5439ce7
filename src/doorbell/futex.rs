//! The futex, shared between processes by way of the file that both map.
//!
//! Waiting needs only a read-only mapping of the word, so a sleeper can wait on its peers' bells.
//! One bell is a plain `FUTEX_WAIT`; several need `futex_waitv` (Linux 5.16 and later).

use std::io;
use std::sync::OnceLock;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use super::{Bell, DoorbellError, Woken};

/// Most words that one call can wait on (`FUTEX_WAITV_MAX`).
pub const WAIT_MAX: usize = 128;

/// A 32-bit futex shared between processes, in the terms of `futex_waitv`.
const FUTEX2_SIZE_U32: u32 = 2;

/// Whether this machine can sleep until one of `peers` rings.
#[must_use]
pub fn can_wait_on(peers: usize) -> bool {
    static MANY: OnceLock<bool> = OnceLock::new();
    match peers {
        // Nobody to wake us: sockets must.
        0 => false,
        1 => true,
        2..=WAIT_MAX => *MANY.get_or_init(has_waitv),
        _ => false,
    }
}

/// Asks for a wait on nothing, which a kernel that knows the call refuses as invalid.
fn has_waitv() -> bool {
    let nothing: *const Waiter = std::ptr::null();
    waitv(nothing, 0, std::ptr::null())
        .is_err_and(|error| error.raw_os_error() == Some(libc::EINVAL))
}

/// One word of `futex_waitv`, as the kernel defines it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct Waiter {
    value: u64,
    address: u64,
    flags: u32,
    reserved: u32,
}

/// Sleeps while all `bells` are as they were seen, and while a word of our own is 0, where one more
/// word can be waited for; for at most `timeout`.
pub(super) fn wait_or(
    bells: &[Bell],
    own: Option<&AtomicU32>,
    timeout: Duration,
) -> Result<Woken, DoorbellError> {
    let own = own.filter(|_| !bells.is_empty() && can_wait_on(bells.len() + 1));
    let result = match (bells, own) {
        ([], _) => return Ok(super::none::nap(timeout)),
        ([one], None) => wait_one(one.header.futex_word(one.offset), one.seen, timeout),
        (many, own) => wait_many(many, own, timeout),
    };
    match result {
        Ok(()) => Ok(Woken::Rung),
        Err(error) => match error.raw_os_error() {
            // EAGAIN: a bell has changed since. EINTR: a signal; the caller looks again anyway.
            Some(libc::EAGAIN | libc::EINTR) => Ok(Woken::Rung),
            Some(libc::ETIMEDOUT) => Ok(Woken::TimedOut),
            _ => Err(DoorbellError::Futex(error)),
        },
    }
}

fn wait_one(word: *const u32, seen: u32, timeout: Duration) -> io::Result<()> {
    let timeout = timespec(timeout);
    // SAFETY: `word` is mapped for the call, `timeout` outlives it; the kernel reads both.
    let result =
        unsafe { libc::syscall(libc::SYS_futex, word, libc::FUTEX_WAIT, seen, &raw const timeout) };
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn wait_many(bells: &[Bell], own: Option<&AtomicU32>, timeout: Duration) -> io::Result<()> {
    let mut waiters = [Waiter::default(); WAIT_MAX];
    let count = bells.len() + usize::from(own.is_some());
    let Some(waiters) = waiters.get_mut(..count) else {
        return Err(io::Error::from_raw_os_error(libc::E2BIG));
    };
    for (waiter, bell) in waiters.iter_mut().zip(bells) {
        *waiter = Waiter {
            value: u64::from(bell.seen),
            address: bell.header.futex_word(bell.offset) as u64,
            flags: FUTEX2_SIZE_U32,
            reserved: 0,
        };
    }
    if let (Some(own), Some(last)) = (own, waiters.last_mut()) {
        let address = own.as_ptr() as u64;
        *last = Waiter { value: 0, address, flags: FUTEX2_SIZE_U32, reserved: 0 };
    }
    let until = timespec(monotonic_now().saturating_add(timeout));
    waitv(waiters.as_ptr(), waiters.len(), &raw const until)
}

/// `until` is a time of the monotonic clock, or null.
fn waitv(waiters: *const Waiter, count: usize, until: *const libc::timespec) -> io::Result<()> {
    let call = libc::SYS_futex_waitv;
    let clock = libc::CLOCK_MONOTONIC;
    // SAFETY: `count` waiters and `until` are valid for the call; the kernel reads them and the
    // words they name, which are mapped or reported as a fault.
    let result = unsafe { libc::syscall(call, waiters, count, 0_u32, until, clock) };
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Wakes whoever sleeps on `word`; how many were woken. A fault means that nobody can sleep there.
pub(super) fn wake(word: *const u32) -> usize {
    // SAFETY: the kernel only takes the address, of a word that is mapped.
    let woken = unsafe { libc::syscall(libc::SYS_futex, word, libc::FUTEX_WAKE, i32::MAX) };
    usize::try_from(woken).unwrap_or(0)
}

fn monotonic_now() -> Duration {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is valid for the call. The monotonic clock always exists.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
}

/// The kernel's form of a time span; ends of time beyond it are as good as for ever.
fn timespec(span: Duration) -> libc::timespec {
    // Half of the range, so that the kernel's own sums do not overflow either.
    let seconds = span.as_secs().min(u64::from(u32::MAX));
    libc::timespec { tv_sec: seconds as _, tv_nsec: span.subsec_nanos() as _ }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::region::access::{Local, Mapping, Remote};
    use std::sync::Arc;
    use std::sync::atomic::Ordering;

    /// One page of shared memory, mapped twice: once writable, once read-only.
    fn page_mapped_twice() -> (Local, Remote) {
        let file = tempfile::tempfile().unwrap();
        file.set_len(4096).unwrap();
        let writable = memmap2::MmapOptions::new().len(4096).map_raw(&file).unwrap();
        let read_only = memmap2::MmapOptions::new().len(4096).map_raw_read_only(&file).unwrap();
        (
            Local::new(Arc::new(Mapping::from(writable))),
            Remote::new(Arc::new(Mapping::from(read_only))),
        )
    }

    const LONG: Duration = Duration::from_secs(60);

    fn wait(bells: &[Bell], timeout: Duration) -> Result<Woken, DoorbellError> {
        wait_or(bells, None, timeout)
    }

    #[test]
    fn a_kick_ends_a_sleep_whether_it_comes_before_or_while_it_lasts() {
        if !can_wait_on(2) {
            return;
        }
        let (_own, remote) = page_mapped_twice();
        let bell = Bell { peer: 1, header: remote, offset: 64, seen: 0, futex: true };
        let word = AtomicU32::new(1);
        let one = || wait_or(std::slice::from_ref(&bell), Some(&word), LONG).unwrap();
        assert_eq!(one(), Woken::Rung);
        word.store(0, Ordering::SeqCst);
        std::thread::scope(|scope| {
            let asleep = scope.spawn(one);
            wake_one(word.as_ptr());
            assert_eq!(asleep.join().unwrap(), Woken::Rung);
        });
    }

    /// Wakes `word` until somebody has been asleep there.
    fn wake_one(word: *const u32) {
        while wake(word) == 0 {
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_wake_through_either_mapping_reaches_a_sleeper_on_the_other() {
        let (own, remote) = page_mapped_twice();
        std::thread::scope(|scope| {
            let asleep = scope.spawn(|| wait_one(remote.futex_word(64), 0, LONG));
            wake_one(own.futex_word(64));
            asleep.join().unwrap().unwrap();
            let asleep = scope.spawn(|| wait_one(own.futex_word(64), 0, LONG));
            wake_one(remote.futex_word(64));
            asleep.join().unwrap().unwrap();
        });
    }

    #[test]
    fn a_bell_that_has_changed_prevents_sleep() {
        let (own, header) = page_mapped_twice();
        own.store_u32(64, 1);
        let bell = || Bell { peer: 0, header: header.clone(), offset: 64, seen: 0, futex: true };
        assert_eq!(wait(&[bell()], LONG).unwrap(), Woken::Rung);
        if can_wait_on(2) {
            let quiet = Bell { offset: 128, ..bell() };
            assert_eq!(wait(&[quiet, bell()], LONG).unwrap(), Woken::Rung);
        }
    }

    #[test]
    fn a_sleep_nobody_ends_ends_by_itself() {
        let (_own, header) = page_mapped_twice();
        let bell = |offset| Bell { peer: 0, header: header.clone(), offset, seen: 0, futex: true };
        let short = Duration::from_millis(2);
        assert_eq!(wait(&[bell(0)], short).unwrap(), Woken::TimedOut);
        if can_wait_on(2) {
            assert_eq!(wait(&[bell(0), bell(64)], short).unwrap(), Woken::TimedOut);
        }
        assert_eq!(wait(&[], short).unwrap(), Woken::TimedOut);
    }

    #[test]
    fn more_peers_than_the_kernel_can_wait_for_are_refused() {
        assert!(!can_wait_on(0));
        assert!(can_wait_on(1));
        assert!(!can_wait_on(WAIT_MAX + 1));
        let (_own, header) = page_mapped_twice();
        let bells: Vec<_> = (0..=WAIT_MAX as u32)
            .map(|peer| Bell { peer, header: header.clone(), offset: 0, seen: 0, futex: true })
            .collect();
        assert!(wait(&bells, LONG).is_err());
    }

    #[test]
    fn the_longest_timeout_is_not_an_error() {
        let (own, header) = page_mapped_twice();
        own.store_u32(0, 1);
        let bell = |offset| Bell { peer: 0, header: header.clone(), offset, seen: 0, futex: true };
        assert_eq!(wait(&[bell(0)], Duration::MAX).unwrap(), Woken::Rung);
        if can_wait_on(2) {
            assert_eq!(wait(&[bell(0), bell(64)], Duration::MAX).unwrap(), Woken::Rung);
        }
    }
}
