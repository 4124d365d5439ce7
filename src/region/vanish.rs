//! Memory that disappears under us: a device that is unplugged (as before a live migration), a file
//! that somebody truncates. The next access is then a SIGBUS, which would end the rank.
//!
//! For mappings that are watched here, a handler puts zeroed private memory in the place of the
//! whole mapping and lets the access go on. What follows is what a dead peer and a lost slot look
//! like: no epoch, no magic number, nothing new in any ring. Whoever looks ([`super::OwnSection::is_lost`],
//! [`super::PeerSection::check_header`]) sees an event; nobody crashes.
//!
//! A signal that is not about watched memory goes to whoever handled it before.

use std::sync::Once;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

/// Mappings that can be watched at once: two for each device in use. Others are not watched.
const WATCHED_MAX: usize = 64;

/// One watched range. `start` is 0 when the place is free; the end is written before the start.
struct Range {
    start: AtomicUsize,
    end: AtomicUsize,
}

static RANGES: [Range; WATCHED_MAX] =
    [const { Range { start: AtomicUsize::new(0), end: AtomicUsize::new(0) } }; WATCHED_MAX];

/// What handled the signal before us; leaked once, never freed.
static BEFORE: AtomicPtr<libc::sigaction> = AtomicPtr::new(std::ptr::null_mut());

/// Ends the watch when dropped, which must be before the range is unmapped.
#[derive(Debug)]
pub(super) struct Watch(usize);

impl Drop for Watch {
    fn drop(&mut self) {
        RANGES[self.0].start.store(0, Ordering::SeqCst);
    }
}

/// Watches `len` bytes from `start`, a mapping of whole pages that nobody else unmaps or resizes
/// while the watch lasts. `None` when too many are watched.
pub(super) fn watch(start: *mut u8, len: usize) -> Option<Watch> {
    static HANDLER: Once = Once::new();
    HANDLER.call_once(install);
    /// Taken, and not a range yet: no mapping starts here.
    const TAKEN: usize = usize::MAX;
    let (place, range) = RANGES.iter().enumerate().find(|(_, range)| {
        let free = range.start.compare_exchange(0, TAKEN, Ordering::SeqCst, Ordering::SeqCst);
        free.is_ok()
    })?;
    let start = start as usize;
    range.end.store(start + len, Ordering::SeqCst);
    range.start.store(start, Ordering::SeqCst);
    Some(Watch(place))
}

fn install() {
    let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) = on_bus_error;
    // SAFETY: all-zero is a valid value of this plain structure.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler as usize;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
    // SAFETY: as above.
    let before: libc::sigaction = unsafe { std::mem::zeroed() };
    let before = Box::into_raw(Box::new(before));
    // SAFETY: the pointer is null, or valid and not changed afterwards.
    let got = unsafe { libc::sigaction(libc::SIGBUS, std::ptr::null(), before) };
    if got == 0 {
        // Known before our handler can run.
        BEFORE.store(before, Ordering::SeqCst);
        // SAFETY: the handler does only what a handler may do: atomics and system calls.
        unsafe { libc::sigaction(libc::SIGBUS, &raw const action, std::ptr::null_mut()) };
    }
}

extern "C" fn on_bus_error(
    signal: libc::c_int,
    info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) {
    // SAFETY: the kernel gives a valid pointer.
    let what = unsafe { &*info };
    // SAFETY: this signal carries an address.
    let address = unsafe { what.si_addr() } as usize;
    if !replaced(address) {
        pass_on(signal, info, context);
    }
}

/// Puts zeros in the place of the watched mapping that holds `address`; whether there was one.
fn replaced(address: usize) -> bool {
    for range in &RANGES {
        let start = range.start.load(Ordering::SeqCst);
        let end = range.end.load(Ordering::SeqCst);
        if start == 0 || !(start..end).contains(&address) {
            continue;
        }
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED | libc::MAP_NORESERVE;
        let at = start as *mut libc::c_void;
        // SAFETY: the range is one whole mapping of ours, which lives as long as it is watched, and
        // whose bytes may change at any time by its contract.
        let map = unsafe { libc::mmap(at, end - start, protection, flags, -1, 0) };
        return map != libc::MAP_FAILED;
    }
    false
}

/// Calls who was there before, or gives up the handler, so that the access that is repeated has the
/// usual end.
fn pass_on(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let before = BEFORE.load(Ordering::SeqCst);
    // SAFETY: null, or a leaked structure that nobody changes any more.
    let before = unsafe { before.as_ref() };
    let handler = before.map_or(libc::SIG_DFL, |before| before.sa_sigaction);
    if handler == libc::SIG_DFL || handler == libc::SIG_IGN {
        // SAFETY: takes plain numbers.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
        return;
    }
    let with_info = before.is_some_and(|before| before.sa_flags & libc::SA_SIGINFO != 0);
    if with_info {
        type Handler = extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);
        // SAFETY: it was registered as a handler of this kind.
        let handler: Handler = unsafe { std::mem::transmute(handler) };
        handler(signal, info, context);
    } else {
        // SAFETY: it was registered as a handler of this kind.
        let handler: extern "C" fn(libc::c_int) = unsafe { std::mem::transmute(handler) };
        handler(signal);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::region::access::{Local, Mapping};
    use std::sync::Arc;

    fn mapped() -> (std::fs::File, Local) {
        let file = tempfile::tempfile().unwrap();
        file.set_len(4 * 4096).unwrap();
        let map = memmap2::MmapOptions::new().len(4 * 4096).map_raw(&file).unwrap();
        (file, Local::new(Arc::new(Mapping::watched(map))))
    }

    #[test]
    fn memory_that_disappears_becomes_zeros_and_other_memory_stays() {
        let (file, window) = mapped();
        let (_other_file, other) = mapped();
        window.store_u64(8192, 42);
        other.store_u64(8192, 43);
        file.set_len(0).unwrap();
        assert_eq!(window.load_u64(8192), 0);
        // From now on it is memory like any other.
        window.store_u64(0, 7);
        assert_eq!(window.load_u64(0), 7);
        assert_eq!(other.load_u64(8192), 43);
    }

    #[test]
    fn a_place_is_free_again_when_its_mapping_is_gone() {
        for _ in 0..3 * WATCHED_MAX {
            drop(mapped());
        }
        let (file, window) = mapped();
        file.set_len(0).unwrap();
        assert_eq!(window.load_u64(0), 0);
    }
}
