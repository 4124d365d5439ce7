//! Long copies, by what is quick on this processor.
//!
//! The C library copies more than a few KiB with `rep movsb` where the processor says that it is
//! good at that. A processor in software says so too (QEMU's `-cpu max`), and then moves byte by
//! byte: 0.7 GB/s, where `rep movsq`, eight bytes at a time, gives 5. (Vectors of 16 bytes gave 1 to
//! 2.5 there: each move must be atomic.) What a processor says of itself is no proof, so [`choose`]
//! takes the time of both, once, and words are used only where they are much quicker.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Shorter copies are the C library's: it has no `rep movsb` there.
const LONG: usize = 2048;
/// Bytes of a copy that is timed: in the first cache of every processor.
const TRIAL: usize = 8 << 10;
/// Copies timed together: where copies are slow, 10 us each, reading the clock costs up to 100 us, as
/// it is a device's register, and must not hide the difference.
const TOGETHER: u32 = 64;
/// Rounds of each kind; the quickest counts.
const TRIALS: u32 = 3;
/// So many times as quick as the C library words must be.
const MUCH: u32 = 2;

/// Whether long copies are by words.
static WORDS: AtomicBool = AtomicBool::new(false);

/// Finds out which copy is quicker here. It takes some 50 us; where copies are slow, 3 ms.
pub fn choose() {
    WORDS.store(is_much_quicker(by_words, by_library), Ordering::Relaxed);
}

/// Copies `len` bytes.
///
/// # Safety
/// As [`std::ptr::copy_nonoverlapping`].
#[inline(always)]
pub(super) unsafe fn copy(from: *const u8, into: *mut u8, len: usize) {
    if len >= LONG && WORDS.load(Ordering::Relaxed) {
        // SAFETY: the caller's promise.
        unsafe { by_words(from, into, len) };
    } else {
        // SAFETY: the caller's promise.
        unsafe { std::ptr::copy_nonoverlapping(from, into, len) };
    }
}

type Way = unsafe fn(*const u8, *mut u8, usize);

/// # Safety
/// As [`std::ptr::copy_nonoverlapping`].
#[inline(never)]
unsafe fn by_library(from: *const u8, into: *mut u8, len: usize) {
    // SAFETY: the caller's promise.
    unsafe { std::ptr::copy_nonoverlapping(from, into, len) };
}

/// # Safety
/// As [`std::ptr::copy_nonoverlapping`].
#[cfg(target_arch = "x86_64")]
unsafe fn by_words(from: *const u8, into: *mut u8, len: usize) {
    let (words, rest) = (len / 8, len % 8);
    // SAFETY: words * 8 <= len bytes are read and written, in any alignment; the direction flag is
    // clear, as the ABI says.
    unsafe {
        std::arch::asm!(
            "rep movsq",
            inout("rcx") words => _,
            inout("rsi") from => _,
            inout("rdi") into => _,
            options(nostack, preserves_flags),
        );
    }
    let (from, into) = (from.wrapping_add(len - rest), into.wrapping_add(len - rest));
    // SAFETY: the rest of both ranges.
    unsafe { std::ptr::copy_nonoverlapping(from, into, rest) };
}

/// # Safety
/// As [`std::ptr::copy_nonoverlapping`].
#[cfg(not(target_arch = "x86_64"))]
unsafe fn by_words(from: *const u8, into: *mut u8, len: usize) {
    // SAFETY: the caller's promise.
    unsafe { std::ptr::copy_nonoverlapping(from, into, len) };
}

/// Whether `way` is much quicker than `other`, in turns, so that what disturbs them disturbs both.
fn is_much_quicker(way: Way, other: Way) -> bool {
    let (from, mut into) = (vec![1_u8; TRIAL], vec![0_u8; TRIAL]);
    let mut time = |way: Way| {
        let begun = Instant::now();
        for _ in 0..TOGETHER {
            // SAFETY: both are TRIAL bytes long, and different.
            unsafe { way(from.as_ptr(), into.as_mut_ptr(), TRIAL) };
        }
        begun.elapsed()
    };
    let mut least = (Duration::MAX, Duration::MAX);
    for _ in 0..TRIALS {
        least = (least.0.min(time(way)), least.1.min(time(other)));
    }
    // A clock that did not move tells nothing.
    !least.1.is_zero() && least.0 * MUCH < least.1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_copied_and_none_beyond() {
        for len in [0, 1, 63, 64, 65, 127, 128, 2048, 4097, 10_000] {
            for (shift, way) in [(0, by_words as Way), (3, by_words), (5, by_library)] {
                let from: Vec<u8> = (0..len + 16).map(|i| (i * 31 % 251) as u8).collect();
                let mut into = vec![255; len + 16];
                let (source, target) = (&from[shift..], &mut into[shift..]);
                // SAFETY: `len` bytes lie inside both, which are different.
                unsafe { way(source.as_ptr(), target.as_mut_ptr(), len) };
                assert_eq!(into[shift..shift + len], from[shift..shift + len]);
                assert!(into[..shift].iter().chain(&into[shift + len..]).all(|&byte| byte == 255));
            }
        }
    }

    #[test]
    fn what_takes_its_time_is_found_out() {
        /// # Safety
        /// As [`by_words`].
        unsafe fn slow(from: *const u8, into: *mut u8, len: usize) {
            std::thread::sleep(Duration::from_millis(5));
            // SAFETY: the caller's promise.
            unsafe { by_library(from, into, len) };
        }
        assert!(is_much_quicker(by_words, slow));
        assert!(!is_much_quicker(slow, by_words));
    }
}
