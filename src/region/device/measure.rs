//! How fast a mapping is read: a short timed copy, beside one of private memory.
//!
//! A device's memory may be mapped uncached, and then every load goes to memory by itself: correct,
//! and many times slower. Nothing says so but a clock.

use std::fmt;
use std::time::{Duration, Instant};

use crate::region::access::{Mapping, Remote};
use crate::region::layout::PAGE;

/// Bytes of one timed copy: little enough that even the slowest mapping takes well below 1 ms.
const CHUNK: usize = 1024;
/// Time for each of the two measurements.
const BUDGET: Duration = Duration::from_micros(800);
/// Copies are timed together until they take this long, since reading the clock may take longer
/// than a copy (20 us in User-Mode Linux). The fastest batch counts: the others were disturbed.
const BATCH: Duration = Duration::from_micros(100);
/// Uncached memory is 30 to 1000 times slower than a copy out of the cache; a cached mapping is as
/// fast as private memory, give or take a disturbed clock.
const UNCACHED_RATIO: f64 = 16.0;

/// How fast a mapping was read when it was attached.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Speed {
    /// Bytes per second out of the device.
    pub device_bytes_per_s: f64,
    /// Bytes per second out of private memory, at the same moment.
    pub private_bytes_per_s: f64,
}

impl Speed {
    /// Whether the mapping behaves as if it were not cached.
    #[must_use]
    pub fn is_uncached(&self) -> bool {
        self.device_bytes_per_s * UNCACHED_RATIO < self.private_bytes_per_s
    }
}

impl fmt::Display for Speed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |bytes: f64| bytes / f64::from(1 << 20);
        write!(
            f,
            "{:.0} MiB/s, private memory {:.0} MiB/s",
            mib(self.device_bytes_per_s),
            mib(self.private_bytes_per_s)
        )
    }
}

/// Reads the first page of `device` for a moment. Reads only, and takes below 2 ms in all.
pub(super) fn measure(device: &Remote) -> Speed {
    let private = Remote::new(std::sync::Arc::new(Mapping::heap(PAGE)));
    Speed { device_bytes_per_s: bytes_per_s(device), private_bytes_per_s: bytes_per_s(&private) }
}

fn bytes_per_s(memory: &Remote) -> f64 {
    let mut into = [0; CHUNK];
    let chunk = memory.len().min(CHUNK);
    let Some(into) = into.get_mut(..chunk) else {
        return 0.0;
    };
    // Once for the page table, and for the cache if there is one.
    memory.copy_out(0, into);
    let start = Instant::now();
    let (mut best, mut copies) = (0.0, 1_u32);
    while start.elapsed() < BUDGET {
        let before = Instant::now();
        for _ in 0..copies {
            memory.copy_out(0, into);
            std::hint::black_box(&into);
        }
        let taken = before.elapsed();
        // A clock with coarse ticks may say zero.
        let seconds = taken.as_secs_f64().max(1e-9);
        best = f64::max(best, f64::from(copies) * chunk as f64 / seconds);
        if taken < BATCH {
            copies *= 2;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sixteen_times_slower_is_uncached_and_ten_times_is_not() {
        let speed = |device_bytes_per_s| Speed { device_bytes_per_s, private_bytes_per_s: 10e9 };
        assert!(speed(0.6e9).is_uncached());
        assert!(!speed(1e9).is_uncached());
    }

    #[test]
    fn memory_too_small_to_measure_is_measured_without_harm() {
        let tiny = Remote::new(std::sync::Arc::new(Mapping::heap(8)));
        assert!(measure(&tiny).device_bytes_per_s > 0.0);
    }
}
