//! The lock around all that threads of one rank share (MPI 5.0, 11.6).
//!
//! With `MPI_THREAD_MULTIPLE` it is a mutex that starves nobody: who comes may be faster than who
//! waits, which spares changes of threads, but not for long. Below that level the application sees to it that one
//! thread at a time calls, and an atomic operation in every message would be paid for nothing: the
//! lock is then a flag that only catches calls from inside of calls.

use std::cell::UnsafeCell;
use std::collections::VecDeque;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::Thread;
use std::time::{Duration, Instant};

/// Nobody has the turn.
const FREE: u32 = 0;
/// Somebody has it, and nobody waits.
const TAKEN: u32 = 1;
/// Somebody has it, and perhaps others wait.
const CONTENDED: u32 = 2;

/// Looks before a thread lines up: most turns are shorter than a change of threads.
const LOOKS: u32 = 40;
/// A thread that has waited so long is next, whoever else comes.
const PATIENCE: Duration = Duration::from_micros(200);

/// The lock.
#[derive(Debug)]
pub struct Lock<T> {
    /// Whether several threads may call at once. Set once, before any does.
    threads: bool,
    /// Without threads: whether a call is under way.
    held: AtomicBool,
    /// With threads: [`FREE`], [`TAKEN`] or [`CONTENDED`].
    turn: AtomicU32,
    /// With threads: whose turn it is; 0 for nobody's.
    owner: AtomicUsize,
    /// Threads that wait for their turn, first come first.
    queue: Mutex<VecDeque<Arc<Place>>>,
    /// How many.
    waiting: AtomicU32,
    /// Whoever has the turn sleeps.
    napping: AtomicBool,
    kick: Kick,
    value: UnsafeCell<T>,
}

/// What wakes whoever sleeps in its turn.
#[derive(Default)]
struct Kick(Option<Box<dyn Fn() + Send + Sync>>);

impl std::fmt::Debug for Kick {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Kick")
    }
}

/// A thread that waits.
#[derive(Debug)]
struct Place {
    thread: Thread,
    since: Instant,
    /// The turn is its own now, and its place is gone.
    granted: AtomicBool,
}

// SAFETY: the value is reached only through a guard, of which there is one at a time: by `turn`,
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
        Self {
            threads,
            held: AtomicBool::new(false),
            turn: AtomicU32::new(FREE),
            owner: AtomicUsize::new(0),
            queue: Mutex::default(),
            waiting: AtomicU32::new(0),
            napping: AtomicBool::new(false),
            kick: Kick::default(),
            value: UnsafeCell::new(value),
        }
    }

    /// The same with something that wakes whoever sleeps in its turn ([`Held::nap`]).
    #[must_use]
    pub fn with_kick(self, kick: Option<Box<dyn Fn() + Send + Sync>>) -> Self {
        Self { kick: Kick(kick), ..self }
    }

    /// Whether several threads may call at once.
    pub fn threads(&self) -> bool {
        self.threads
    }

    /// Waits for the turn of this thread. None when it is called from inside a call: from a
    /// function of the application that may not communicate.
    #[inline]
    pub fn hold(&self) -> Option<Held<'_, T>> {
        if self.threads {
            if !self.take_turn() {
                return None;
            }
        } else if self.held.load(Ordering::Relaxed) {
            return None;
        } else {
            self.held.store(true, Ordering::Relaxed);
        }
        Some(Held { lock: self })
    }

    /// False when this thread has it already.
    fn take_turn(&self) -> bool {
        let me = this_thread();
        for _ in 0..LOOKS {
            if self.turn.compare_exchange(FREE, TAKEN, Ordering::Acquire, Ordering::Relaxed).is_ok()
            {
                self.owner.store(me, Ordering::Relaxed);
                return true;
            }
            // Nobody but this thread writes its own number, and it does not leave it behind.
            if self.owner.load(Ordering::Relaxed) == me {
                return false;
            }
            std::hint::spin_loop();
        }
        self.line_up();
        self.owner.store(me, Ordering::Relaxed);
        true
    }

    fn queue(&self) -> MutexGuard<'_, VecDeque<Arc<Place>>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cold]
    fn line_up(&self) {
        let (thread, since) = (std::thread::current(), Instant::now());
        let place = Arc::new(Place { thread, since, granted: AtomicBool::new(false) });
        // In one order with `nap`: either we see that it sleeps, or it sees that we wait.
        self.waiting.fetch_add(1, Ordering::SeqCst);
        if self.napping.load(Ordering::SeqCst)
            && let Kick(Some(kick)) = &self.kick
        {
            kick();
        }
        let mut queue = self.queue();
        queue.push_back(Arc::clone(&place));
        loop {
            // Whoever has the turn sees from now on that somebody waits.
            if self.turn.swap(CONTENDED, Ordering::Acquire) == FREE {
                queue.retain(|other| !Arc::ptr_eq(other, &place));
                break;
            }
            drop(queue);
            std::thread::park();
            queue = self.queue();
            if place.granted.load(Ordering::Acquire) {
                break;
            }
        }
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether another thread waits for its turn.
    #[inline]
    pub fn wanted(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    #[inline]
    fn release(&self) {
        if !self.threads {
            self.held.store(false, Ordering::Relaxed);
            return;
        }
        self.owner.store(0, Ordering::Relaxed);
        let free = self.turn.compare_exchange(TAKEN, FREE, Ordering::Release, Ordering::Relaxed);
        if free.is_err() {
            self.pass_on(false);
        }
    }

    /// Ends a turn while others wait. The first of them is woken to take its turn; or, when it is
    /// to be sure that nobody comes before it, the turn is given to it.
    #[cold]
    fn pass_on(&self, surely: bool) {
        let mut queue = self.queue();
        let Some(first) = queue.front() else {
            self.turn.store(FREE, Ordering::Release);
            return;
        };
        if surely || first.since.elapsed() > PATIENCE {
            let Some(first) = queue.pop_front() else { return };
            first.granted.store(true, Ordering::Release);
            drop(queue);
            first.thread.unpark();
            return;
        }
        let thread = first.thread.clone();
        self.turn.store(FREE, Ordering::Release);
        drop(queue);
        thread.unpark();
    }
}

impl<'a, T> Held<'a, T> {
    /// Sleeps in the turn, unless another thread waits for it; who comes wakes the sleeper.
    pub fn nap<R>(&mut self, sleep: impl FnOnce(&mut T) -> R) -> Option<R> {
        self.lock.napping.store(true, Ordering::SeqCst);
        let wanted = self.lock.waiting.load(Ordering::SeqCst) > 0;
        let outcome = if wanted { None } else { Some(sleep(self)) };
        self.lock.napping.store(false, Ordering::Relaxed);
        outcome
    }

    /// Lets the thread that has waited longest have its turn, and waits for the next one.
    #[must_use]
    pub fn give_way(self) -> Held<'a, T> {
        let lock = self.lock;
        if lock.wanted() {
            std::mem::forget(self);
            lock.owner.store(0, Ordering::Relaxed);
            lock.pass_on(true);
            lock.take_turn();
            return Held { lock };
        }
        self
    }
}

/// A number that no other thread has at the same time.
fn this_thread() -> usize {
    thread_local!(static HERE: u8 = const { 0 });
    HERE.with(|here| std::ptr::from_ref(here).addr())
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
    fn a_call_from_inside_a_call_is_refused_with_threads_too() {
        let lock = Lock::new(1, true);
        let held = lock.hold().unwrap();
        assert!(lock.hold().is_none());
        let held = held.give_way();
        assert!(lock.hold().is_none());
        drop(held);
        assert_eq!(*lock.hold().unwrap(), 1);
    }

    #[test]
    fn who_gives_way_gets_the_turn_back_after_another_had_it() {
        let lock = Lock::new(Vec::new(), true);
        let mut held = lock.hold().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| lock.hold().unwrap().push("other"));
            while !lock.wanted() {
                std::thread::yield_now();
            }
            held.push("first");
            // However long the other takes to wake, it comes before us.
            held = held.give_way();
            held.push("again");
            assert_eq!(*held, ["first", "other", "again"]);
            drop(held);
        });
    }

    #[test]
    fn eight_threads_that_give_way_lose_no_increment() {
        let lock = Lock::new(0_u64, true);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        let mut held = lock.hold().unwrap();
                        *held += 1;
                        held = held.give_way();
                        *held += 1;
                    }
                });
            }
        });
        assert_eq!((*lock.hold().unwrap(), lock.wanted()), (16_000, false));
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
