//! What the machine itself allows, so that every figure also reads as a multiple of it: one cache line there
//! and back, memcpy, two copies pipelined through shared memory, and loopback TCP, all best of several.
//!
//! The meter is deliberately independent of the library it judges: it uses neither the transport's regions nor
//! its rings. Its few unsafe operations stand in `raw.rs`; nothing else of cohost may use that file. Times are
//! half round trips in microseconds, rates are MB/s with 10^6 bytes.

mod cell;
mod copy;
mod raw;
mod tcp;
mod wait;

use std::collections::BTreeMap;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

use thiserror::Error;

use crate::report::limit::best_of;
use crate::report::schema::Limits;

/// Sizes of the pipelined two-copy limit, in bytes.
pub const TWO_COPY_SIZES: [usize; 5] = [1024, 8192, 65_536, 1_048_576, 4_194_304];
/// Sizes of the loopback TCP limit, in bytes.
pub const TCP_SIZES: [usize; 3] = [8, 65_536, 1_048_576];
/// Smallest and largest size of the memcpy limit, in bytes; measured at every power of two between.
pub const MEMCPY_SIZES: (usize, usize) = (1024, 4_194_304);

/// Why a limit could not be measured.
#[derive(Debug, Error)]
pub enum LimitsError {
    /// Shared memory for the meter was refused.
    #[error(
        "cannot get {bytes} bytes of shared memory to measure limits: {source}; free memory or raise its limit"
    )]
    Memory {
        /// Bytes asked for.
        bytes: usize,
        /// The system's reason.
        source: io::Error,
    },
    /// A loopback connection failed.
    #[error("cannot measure loopback TCP on 127.0.0.1: {0}; is the interface lo up?")]
    Tcp(#[from] io::Error),
    /// The other thread did not answer in time.
    #[error(
        "the measuring thread on the other core made no progress for {0} s: is the machine overloaded?"
    )]
    Stalled(u64),
    /// A thread could not be started, or died.
    #[error("a measuring thread could not run: {0}")]
    Thread(String),
}

/// The two cores between which the limits are measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CorePair {
    /// Core of the thread that holds the clock.
    pub first: usize,
    /// Core of the thread that answers.
    pub second: usize,
}

/// Two different cores this process may use, of different physical cores where there are such.
/// `None` when it may use only one.
#[must_use]
pub fn core_pair() -> Option<CorePair> {
    let allowed = raw::allowed_cores();
    let (&first, rest) = allowed.split_first()?;
    let siblings = siblings_of(first);
    let second = rest.iter().find(|c| !siblings.contains(c)).or(rest.first())?;
    Some(CorePair { first, second: *second })
}

/// Hardware threads of the same physical core, as `0,4` or `0-1` in sysfs; only itself when not readable.
fn siblings_of(core: usize) -> Vec<usize> {
    let path = format!("/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list");
    std::fs::read_to_string(path).map_or(vec![core], |text| parse_core_list(&text))
}

fn parse_core_list(text: &str) -> Vec<usize> {
    let mut cores = Vec::new();
    for part in text.trim().split(',') {
        let (low, high) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(low), Ok(high)) = (low.parse::<usize>(), high.parse::<usize>()) {
            cores.extend(low..=high.min(low.saturating_add(4096)));
        }
    }
    cores
}

/// One limit, to be measured many times in turn with what it is compared to.
#[derive(Clone, Copy, Debug)]
pub enum Meter {
    /// One cache line there and back.
    Cell,
    /// Two copies of this many bytes, pipelined in the shape that was found best.
    TwoCopy(usize, copy::Shape),
    /// Loopback TCP with this many bytes, busy polling.
    Tcp(usize),
}

impl Meter {
    /// The two-copy limit of `size` bytes; looks for the best shape first.
    ///
    /// # Errors
    /// As for [`measure`].
    pub fn two_copy(pair: CorePair, size: usize) -> Result<Self, LimitsError> {
        Ok(Self::TwoCopy(size, copy::best_shape(pair, size)?))
    }

    /// Half a round trip in microseconds, the best of a few batches just now.
    ///
    /// # Errors
    /// As for [`measure`].
    pub fn half_round_trip_us(self, pair: CorePair) -> Result<f64, LimitsError> {
        match self {
            Self::Cell => cell::half_round_trip_us(pair),
            Self::TwoCopy(size, shape) => copy::with_shape(pair, size, shape),
            Self::Tcp(size) => tcp::half_round_trip_us(pair, size),
        }
    }
}

/// Pins the calling thread to one core, where the kernel lets it.
pub fn pin_to(core: usize) {
    raw::pin_to(core);
}

/// Passes over all limits. A neighbour that takes a core for a moment spoils one pass, not the same figure in all.
const PASSES_MAX: usize = 4;
/// Time after which no further pass is begun.
const PASSES_END: Duration = Duration::from_secs(3);

/// Measures everything; takes two to four seconds on cores that are free. With fewer than two cores only memcpy is measured, and
/// `skipped` says why the rest is missing.
///
/// # Errors
/// [`LimitsError`] when memory, loopback or a thread fails.
pub fn measure() -> Result<Limits, LimitsError> {
    let begun = Instant::now();
    let mut best = pass()?;
    for _ in 1..PASSES_MAX {
        if begun.elapsed() > PASSES_END {
            break;
        }
        best = best_of(best, &pass()?);
    }
    Ok(best)
}

fn pass() -> Result<Limits, LimitsError> {
    let mut limits = Limits { memcpy_mbytes_per_s: memcpy()?, ..Limits::default() };
    let Some(pair) = core_pair() else {
        limits.skipped = Some(
            "only one core is available to this process, so nothing can go between two: \
             allow a second one (taskset, cpuset) for the cell, two-copy and TCP limits"
                .to_owned(),
        );
        return Ok(limits);
    };
    limits.cell_us = Some(cell::half_round_trip_us(pair)?);
    for size in TWO_COPY_SIZES {
        limits.two_copy_us.insert(size as u64, copy::half_round_trip_us(pair, size)?);
    }
    for size in TCP_SIZES {
        limits.tcp_us.insert(size as u64, tcp::half_round_trip_us(pair, size)?);
    }
    Ok(limits)
}

fn memcpy() -> Result<BTreeMap<u64, f64>, LimitsError> {
    let core = core_pair().map(|pair| pair.first);
    let sizes = std::iter::successors(Some(MEMCPY_SIZES.0), |s| Some(s * 2));
    let sizes: Vec<usize> = sizes.take_while(|s| *s <= MEMCPY_SIZES.1).collect();
    thread::scope(|scope| {
        let work = move || {
            if let Some(core) = core {
                raw::pin_to(core);
            }
            sizes.into_iter().map(|s| (s as u64, copy::memcpy_mbytes_per_s(s))).collect()
        };
        join(thread::Builder::new().spawn_scoped(scope, work)?)
    })
}

/// Runs `first` and `second` at once, each on its core, and returns what `first` found.
fn on_two_cores<T: Send>(
    pair: CorePair,
    first: impl FnOnce() -> Result<T, LimitsError> + Send,
    second: impl FnOnce() -> Result<(), LimitsError> + Send,
) -> Result<T, LimitsError> {
    thread::scope(|scope| {
        let answering = thread::Builder::new().spawn_scoped(scope, move || {
            raw::pin_to(pair.second);
            second()
        })?;
        let timing = thread::Builder::new().spawn_scoped(scope, move || {
            raw::pin_to(pair.first);
            first()
        })?;
        let found = join(timing)?;
        join(answering)??;
        found
    })
}

fn join<T>(handle: thread::ScopedJoinHandle<'_, T>) -> Result<T, LimitsError> {
    handle.join().map_err(|_| LimitsError::Thread("it panicked".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn core_lists_are_read_as_the_kernel_writes_them() {
        assert_eq!(parse_core_list("0\n"), [0]);
        assert_eq!(parse_core_list("0-2,8\n"), [0, 1, 2, 8]);
        assert_eq!(parse_core_list("nonsense"), Vec::<usize>::new());
        assert_eq!(parse_core_list("5-2"), Vec::<usize>::new());
    }

    #[test]
    fn the_pair_is_two_different_cores() {
        if let Some(pair) = core_pair() {
            assert_ne!(pair.first, pair.second);
        }
    }

    #[test]
    fn of_two_passes_the_better_figure_counts() {
        let pass = |cell: f64, copy: f64, rate: f64| Limits {
            cell_us: Some(cell),
            two_copy_us: BTreeMap::from([(1024, copy)]),
            memcpy_mbytes_per_s: BTreeMap::from([(1024, rate)]),
            ..Limits::default()
        };
        assert_eq!(best_of(pass(0.1, 0.3, 10.0), &pass(0.2, 0.2, 20.0)), pass(0.1, 0.2, 20.0));
    }

    /// One test for all, since they take the machine's cores; it claims order, not speed.
    #[test]
    fn every_limit_is_measured_and_grows_with_size() {
        let limits = measure().unwrap();
        assert_eq!(limits.memcpy_mbytes_per_s.len(), 13);
        assert!(limits.memcpy_mbytes_per_s.values().all(|v| *v > 0.0));
        if limits.skipped.is_some() {
            return;
        }
        assert!(limits.cell_us.unwrap() > 0.0);
        let sizes: Vec<_> = limits.two_copy_us.keys().copied().collect();
        assert_eq!(sizes, TWO_COPY_SIZES.map(|s| s as u64));
        assert!(limits.two_copy_us[&4_194_304] > limits.two_copy_us[&1024]);
        assert_eq!(limits.tcp_us.len(), TCP_SIZES.len());
        assert!(limits.tcp_us[&1_048_576] > limits.tcp_us[&8]);
    }
}
