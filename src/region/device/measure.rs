//! How fast a mapping is read: a short timed copy, beside one of private memory.
//!
//! A device's memory may be mapped uncached, and then every load goes to memory by itself: correct,
//! and many times slower. Nothing says so but a clock.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::region::access::{Mapping, Remote};
use crate::region::layout::PAGE;

/// Bytes of one timed copy: little enough that even the slowest mapping takes well below 1 ms.
const CHUNK: usize = 1024;
/// Copies are timed together until they take this long, since reading the clock may take longer
/// than a copy (20 us in User-Mode Linux). The fastest batch counts: the others were disturbed.
const BATCH: Duration = Duration::from_micros(100);
/// So many batches of that length, however long they take: on a loaded machine this thread may
/// stand still for longer than a whole measurement is worth.
const BATCHES: u32 = 6;
/// A mapping that seems uncached is looked at so often before it is called so.
const LOOKS: u32 = 5;
/// Rest before another look: whoever took the processor may be done by then.
const REST: Duration = Duration::from_millis(1);
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

/// Reads the first page of `device` for a moment. Reads only, and takes 2 ms, or 50 ms when the
/// mapping is uncached.
pub(super) fn measure(device: &Remote) -> Speed {
    let private = Remote::new(Arc::new(Mapping::heap(PAGE)));
    let chunk = device.len().min(CHUNK);
    if chunk == 0 {
        return Speed { device_bytes_per_s: 0.0, private_bytes_per_s: 0.0 };
    }
    let (mut of_device, mut of_private) = (timed(device, chunk), timed(&private, chunk));
    judge(|again| {
        if again {
            std::thread::sleep(REST);
        }
        Speed {
            device_bytes_per_s: bytes_per_s(chunk, &mut of_device),
            private_bytes_per_s: bytes_per_s(chunk, &mut of_private),
        }
    })
}

/// The best of several looks, of which all must say that a mapping is uncached. A look is told
/// whether it is not the first.
fn judge(mut look: impl FnMut(bool) -> Speed) -> Speed {
    let mut best = look(false);
    for _ in 1..LOOKS {
        if !best.is_uncached() {
            break;
        }
        let speed = look(true);
        best.device_bytes_per_s = best.device_bytes_per_s.max(speed.device_bytes_per_s);
        best.private_bytes_per_s = best.private_bytes_per_s.max(speed.private_bytes_per_s);
    }
    best
}

/// What takes the time of so many copies.
fn timed(memory: &Remote, chunk: usize) -> impl FnMut(u32) -> Duration {
    let mut into = vec![0; chunk];
    // Once for the page table, and for the cache if there is one.
    memory.copy_out(0, &mut into);
    move |copies| {
        let before = Instant::now();
        for _ in 0..copies {
            memory.copy_out(0, &mut into);
            std::hint::black_box(&into);
        }
        before.elapsed()
    }
}

fn bytes_per_s(chunk: usize, time: &mut dyn FnMut(u32) -> Duration) -> f64 {
    let (mut best, mut copies, mut batches) = (0.0, 1_u32, 0);
    while batches < BATCHES {
        let taken = time(copies);
        // A clock with coarse ticks may say zero.
        let seconds = taken.as_secs_f64().max(1e-9);
        best = f64::max(best, f64::from(copies) * chunk as f64 / seconds);
        if taken < BATCH && copies < 1 << 24 {
            copies *= 2;
        } else {
            batches += 1;
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
        let tiny = Remote::new(Arc::new(Mapping::heap(8)));
        assert!(measure(&tiny).device_bytes_per_s > 0.0);
    }

    /// A clock for memory of this speed, read by a thread that others keep from running for 4 ms
    /// in each batch that `held` names.
    fn clock(bytes_per_s: f64, mut held: impl FnMut() -> bool) -> impl FnMut(u32) -> Duration {
        move |copies| {
            let wait = if held() { Duration::from_millis(4) } else { Duration::ZERO };
            wait + Duration::from_secs_f64(f64::from(copies) * CHUNK as f64 / bytes_per_s)
        }
    }

    fn seen(device: &mut dyn FnMut(u32) -> Duration) -> Speed {
        let mut private = clock(10e9, || false);
        judge(|_| Speed {
            device_bytes_per_s: bytes_per_s(CHUNK, device),
            private_bytes_per_s: bytes_per_s(CHUNK, &mut private),
        })
    }

    #[test]
    fn ordinary_memory_is_not_called_uncached_on_a_machine_that_keeps_others_running() {
        // The thread stands still in the first batch: longer than all the others take.
        let mut batch = 0;
        let first = clock(10e9, || std::mem::replace(&mut batch, 1) == 0);
        assert!(!seen(&mut { first }).is_uncached());
        // In every batch of a look or two.
        let mut batch = 0;
        let looks = clock(10e9, || {
            batch += 1;
            batch <= 2 * BATCHES
        });
        assert!(!seen(&mut { looks }).is_uncached());
        // In nine of ten batches, always.
        let mut batch = 0;
        let mostly = clock(10e9, || {
            batch += 1;
            batch % 10 != 0
        });
        assert!(!seen(&mut { mostly }).is_uncached());
    }

    #[test]
    fn an_uncached_mapping_is_called_so_with_and_without_disturbance() {
        for every in [1, 2, 1000] {
            let mut batch = 0;
            let mut slow = clock(0.1e9, || {
                batch += 1;
                batch % every == 0
            });
            assert!(seen(&mut slow).is_uncached(), "every {every}th batch disturbed");
        }
    }

    #[test]
    fn a_clock_that_stands_still_ends_the_measurement() {
        assert!(bytes_per_s(CHUNK, &mut |_| Duration::ZERO) > 0.0);
    }
}
