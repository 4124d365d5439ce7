//! The lock around all that threads of one rank share (MPI 5.0, 11.6).
//!
//! With `MPI_THREAD_MULTIPLE` it is a mutex. Below that level the application sees to it that one
//! thread at a time calls, and an atomic operation in every message would be paid for nothing: the
//! lock is then a flag that only catches calls from inside of calls.

use std::cell::UnsafeCell;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};

/// The lock.
#[derive(Debug)]
pub struct Lock<T> {
    /// Whether several threads may call at once. Set once, before any does.
    threads: bool,
    held: AtomicBool,
    turn: Mutex<bool>,
    free: Condvar,
    /// Threads that wait for their turn.
    waiting: AtomicU32,
    value: UnsafeCell<T>,
}

// SAFETY: the value is reached only through a guard, of which there is one at a time: by the mutex,
// or, without threads, by the application's promise, which `held` checks as far as it can.
unsafe impl<T: Send> Sync for Lock<T> {}

/// Access to the value.
#[derive(Debug)]
pub struct Held<'a, T> {
    lock: &'a Lock<T>,
}

impl<T> Lock<T> {
    /// A lock; `threads` when several may call at once.
    pub fn new(value: T, threads: bool) -> Self {
        let (turn, free) = (Mutex::new(false), Condvar::new());
        let (held, waiting) = (AtomicBool::new(false), AtomicU32::new(0));
        Self { threads, held, turn, free, waiting, value: UnsafeCell::new(value) }
    }

    /// Whether several threads may call at once.
    pub fn threads(&self) -> bool {
        self.threads
    }

    /// Waits for the turn of this thread. None when it is called from inside a call, without
    /// threads: from a function of the application that may not communicate.
    #[inline]
    pub fn hold(&self) -> Option<Held<'_, T>> {
        if self.threads {
            self.take_turn();
        } else if self.held.load(Ordering::Relaxed) {
            return None;
        } else {
            self.held.store(true, Ordering::Relaxed);
        }
        Some(Held { lock: self })
    }

    #[cold]
    fn take_turn(&self) {
        let mut taken = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        if *taken {
            self.waiting.fetch_add(1, Ordering::Relaxed);
            while *taken {
                taken = self.free.wait(taken).unwrap_or_else(PoisonError::into_inner);
            }
            self.waiting.fetch_sub(1, Ordering::Relaxed);
        }
        *taken = true;
    }

    /// Whether another thread waits for its turn.
    #[inline]
    pub fn wanted(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    fn release(&self) {
        if !self.threads {
            self.held.store(false, Ordering::Relaxed);
            return;
        }
        *self.turn.lock().unwrap_or_else(PoisonError::into_inner) = false;
        if self.wanted() {
            self.free.notify_one();
        }
    }
}

impl<T> Deref for Held<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: this guard is the only one (see `Sync` above).
        unsafe { &*self.lock.value.get() }
    }
}

impl<T> DerefMut for Held<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: this guard is the only one, and it is borrowed exclusively.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T> Drop for Held<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.lock.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_from_inside_a_call_is_refused_without_threads() {
        let lock = Lock::new(1, false);
        let held = lock.hold().unwrap();
        assert!(lock.hold().is_none());
        drop(held);
        assert_eq!(*lock.hold().unwrap(), 1);
    }

    #[test]
    fn eight_threads_lose_no_increment() {
        let lock = Lock::new(0_u64, true);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| (0..10_000).for_each(|_| *lock.hold().unwrap() += 1));
            }
        });
        assert_eq!(*lock.hold().unwrap(), 80_000);
    }
}
