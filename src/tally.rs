//! What is counted while messages move. One thread at a time counts (the one that has the engine);
//! any thread may read, at any time. Counting costs a plain addition: no atomic read-modify-write.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds to it. Only one thread at a time may do that.
    #[inline]
    pub fn add(&self, number: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(number), Ordering::Relaxed);
    }

    /// The number now.
    #[inline]
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A level that rises and falls, its highest since the beginning, and the highest since marks that
/// tools set.
#[derive(Debug, Default)]
pub struct Gauge {
    level: Counter,
    highest: Counter,
    /// Places in `marks`, so that nobody takes the mutex while no tool looks.
    marked: AtomicUsize,
    marks: Mutex<Vec<Option<u64>>>,
}

impl Gauge {
    /// Raises the level. Only one thread at a time may change it.
    pub fn rise(&self, by: u64) {
        self.level.add(by);
        let level = self.level.get();
        if level <= self.highest.get() && self.marked.load(Ordering::Relaxed) == 0 {
            return;
        }
        self.highest.0.store(self.highest.get().max(level), Ordering::Relaxed);
        if self.marked.load(Ordering::Relaxed) > 0 {
            self.with(|marks| marks.iter_mut().flatten().for_each(|mark| *mark = level.max(*mark)));
        }
    }

    /// Lowers the level.
    pub fn fall(&self, by: u64) {
        self.level.add(by.wrapping_neg());
    }

    /// The level now.
    #[must_use]
    pub fn level(&self) -> u64 {
        self.level.get()
    }

    /// The highest since the beginning.
    #[must_use]
    pub fn highest(&self) -> u64 {
        self.highest.get()
    }

    fn with<T>(&self, f: impl FnOnce(&mut Vec<Option<u64>>) -> T) -> T {
        f(&mut self.marks.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Begins to note the highest from now on.
    pub fn mark(&self) -> usize {
        let at = self.with(|marks| {
            let free = marks.iter().position(Option::is_none);
            let at = free.unwrap_or_else(|| {
                marks.push(None);
                marks.len() - 1
            });
            marks[at] = Some(0);
            at
        });
        self.marked.fetch_add(1, Ordering::Relaxed);
        // Read after the mark is there, so that what rises meanwhile is noted by one of the two.
        self.set_mark(at, self.level());
        at
    }

    /// The highest since this mark was set. None when it was removed.
    #[must_use]
    pub fn since(&self, mark: usize) -> Option<u64> {
        self.with(|marks| marks.get(mark).copied().flatten())
    }

    /// Notes the highest from now on, beginning with this value; gives what was noted before.
    pub fn set_mark(&self, mark: usize, value: u64) -> Option<u64> {
        self.with(|marks| marks.get_mut(mark).and_then(|mark| mark.replace(value)))
    }

    /// Removes a mark.
    pub fn unmark(&self, mark: usize) {
        let removed = self.with(|marks| marks.get_mut(mark).and_then(Option::take));
        if removed.is_some() {
            self.marked.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Messages and bytes of them.
#[derive(Debug, Default)]
pub struct Traffic {
    /// Messages begun.
    pub messages: Counter,
    /// Bytes of messages moved.
    pub bytes: Counter,
}

impl Traffic {
    /// Counts a frame: whether it begins a message, and its bytes.
    #[inline]
    pub fn frame(&self, begins: bool, bytes: usize) {
        self.messages.add(begins.into());
        self.bytes.add(bytes as u64);
    }
}

/// Both directions of one path.
#[derive(Debug, Default)]
pub struct Both {
    /// Out.
    pub sent: Traffic,
    /// In.
    pub received: Traffic,
}

/// Everything that one rank counts.
#[derive(Debug, Default)]
pub struct Tally {
    /// Messages to and from this rank itself.
    pub own: Both,
    /// Through rings.
    pub ring: Both,
    /// Over TCP.
    pub tcp: Both,
    /// Messages that the receiver copied out of the sender's memory by itself: their bytes went
    /// through no path.
    pub loans: Both,
    /// Messages that peers have lent and that were asked for instead.
    pub loans_declined: Counter,
    /// Messages that came before a receive for them.
    pub unexpected: Gauge,
    /// Bytes kept of those.
    pub unexpected_bytes: Gauge,
    /// Sleeping peers woken.
    pub doorbells: Counter,
    /// Times this rank went to sleep.
    pub sleeps: Counter,
    /// Times it gave the processor away.
    pub yields: Counter,
    /// Frames sent a second time, after a path changed.
    pub repeated: Counter,
    /// Rings given up for TCP.
    pub fallbacks: Counter,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_sees_only_what_is_highest_after_it() {
        let gauge = Gauge::default();
        gauge.rise(10);
        gauge.fall(8);
        let mark = gauge.mark();
        assert_eq!((gauge.since(mark), gauge.highest()), (Some(2), 10));
        gauge.rise(3);
        gauge.fall(5);
        assert_eq!((gauge.since(mark), gauge.level()), (Some(5), 0));
    }

    #[test]
    fn a_removed_mark_says_nothing_and_its_place_is_used_again() {
        let gauge = Gauge::default();
        let first = gauge.mark();
        gauge.unmark(first);
        gauge.unmark(first);
        assert_eq!(gauge.since(first), None);
        assert_eq!(gauge.mark(), first);
        gauge.rise(1);
        assert_eq!(gauge.since(first), Some(1));
    }
}
