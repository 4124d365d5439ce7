//! Threads that wait at the same time (MPI 5.0, 11.6). One of them polls, for all; the others sit
//! until the poller has found that what they wait for is there, or makes one of them the next
//! poller. So a thread that waits costs nothing, and who calls shares the lock with one at most.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread::Thread;
use std::time::Duration;

use super::{Core, Process};
use crate::mpi::lock::Held;
use crate::progress::Rested;
use crate::progress::wait::Idle;

/// Longest naps while other threads may need their turn: the first [`SHORT_NAPS`], and after.
const NAPS: (Duration, Duration) = (Duration::from_micros(100), Duration::from_micros(500));
/// Naps without news in between after which nothing is expected soon.
const SHORT_NAPS: u32 = 100;

/// It is not over.
const SIT: u8 = 0;
/// It is over, and the outcome is in its place.
const OVER: u8 = 1;
/// The thread that sits polls from now on.
const POLL: u8 = 2;
/// Its check panicked, on the thread that polls.
const BROKEN: u8 = 3;

/// What a thread waits for: true when it is there.
type Check<'a> = dyn FnMut(&mut Core) -> bool + Send + 'a;

/// The threads that wait.
#[derive(Default)]
pub struct Crowd {
    /// One of them polls, or is about to.
    polled: bool,
    seats: Vec<Seat>,
}

/// A thread that sits. What it points to lives on that thread's stack.
struct Seat {
    check: *mut Check<'static>,
    verdict: *const AtomicU8,
    thread: Thread,
}

// SAFETY: the check is `Send`, the verdict `Sync`, and their owner touches neither but the verdict
// while the seat is there (see `Process::sit`).
unsafe impl Send for Seat {}

impl Seat {
    /// Whether what its thread waits for is there.
    fn is_over(&self, core: &mut Core) -> bool {
        // SAFETY: it lives while the seat is in the list, and whoever has the core calls it alone.
        let check = unsafe { &mut *self.check };
        check(core)
    }

    /// Lets the thread go on. The seat is not in the list any more.
    fn dismiss(self, verdict: u8) {
        // SAFETY: its thread goes nowhere before it has read the verdict.
        unsafe { &*self.verdict }.store(verdict, Ordering::Release);
        self.thread.unpark();
    }
}

impl Core {
    /// Dismisses those whose wait is over.
    fn serve(&mut self) {
        let mut at = 0;
        while at < self.crowd.seats.len() {
            // Out of the list while it is asked: the core is lent to it.
            let seat = self.crowd.seats.swap_remove(at);
            // A panic is that thread's, which would sit for ever, and not of the one that polls.
            match catch_unwind(AssertUnwindSafe(|| seat.is_over(self))) {
                Ok(false) => {}
                Ok(true) => {
                    seat.dismiss(OVER);
                    continue;
                }
                Err(_) => {
                    seat.dismiss(BROKEN);
                    continue;
                }
            }
            self.crowd.seats.push(seat);
            let last = self.crowd.seats.len() - 1;
            self.crowd.seats.swap(at, last);
            at += 1;
        }
    }
}

/// The turn of the thread that polls. Another one polls when it ends.
struct Polling<'a>(Option<Held<'a, Core>>);

impl<'a> Polling<'a> {
    /// Gives the processor away without the turn: it may be long until it comes back.
    fn step_aside(&mut self, turn: impl FnOnce() -> Held<'a, Core>) -> bool {
        self.0 = None;
        std::thread::yield_now();
        self.0 = Some(turn());
        true
    }

    fn give_way(&mut self) {
        self.0 = self.0.take().map(Held::give_way);
    }
}

impl Drop for Polling<'_> {
    fn drop(&mut self) {
        let Some(core) = &mut self.0 else { return };
        match core.crowd.seats.pop() {
            Some(next) => next.dismiss(POLL),
            None => core.crowd.polled = false,
        }
    }
}

impl Process {
    /// [`Process::until_held`] when several threads may call at once.
    pub(super) fn until_among_threads<'a, T: Send>(
        &'a self,
        mut core: Held<'a, Core>,
        mut done: impl FnMut(&mut Core) -> Option<T> + Send,
    ) -> T {
        if let Some(outcome) = done(&mut core) {
            return outcome;
        }
        let mut outcome = None;
        let mut check = |core: &mut Core| {
            outcome = done(core);
            outcome.is_some()
        };
        if core.crowd.polled {
            self.sit(core, &mut check);
        } else {
            self.poll(core, &mut check);
        }
        // Nobody goes on before the check has put it there.
        outcome.unwrap_or_else(|| unreachable!("a wait ended without an outcome"))
    }

    /// Sits until the check is true.
    fn sit(&self, mut core: Held<'_, Core>, check: &mut Check<'_>) {
        let verdict = AtomicU8::new(SIT);
        let pointer = std::ptr::from_mut(check);
        // SAFETY: only the lifetime changes; the pointer is not used after this function, see below.
        let pointer =
            unsafe { std::mem::transmute::<*mut Check<'_>, *mut Check<'static>>(pointer) };
        let thread = std::thread::current();
        core.crowd.seats.push(Seat { check: pointer, verdict: &raw const verdict, thread });
        drop(core);
        // This loop ends only after the seat was taken out of the list.
        loop {
            match verdict.load(Ordering::Acquire) {
                SIT => std::thread::park(),
                POLL => return self.poll(self.turn(), check),
                BROKEN => panic!("what this thread waits for failed on another one, see above"),
                _ => return,
            }
        }
    }

    /// Makes progress for all until the check is true.
    fn poll(&self, mut core: Held<'_, Core>, check: &mut Check<'_>) {
        core.crowd.polled = true;
        let mut polling = Polling(Some(core));
        let (mut idle, mut naps) = (Idle::default(), 0);
        let mut look = true;
        while let Some(core) = &mut polling.0 {
            if look {
                if check(core) {
                    return;
                }
                core.serve();
            }
            look = core.progress();
            if look {
                (idle, naps) = (Idle::default(), 0);
            }
            if self.wanted() {
                // Whoever had a turn may have brought what others wait for.
                polling.give_way();
                look = true;
            } else if !look {
                let nap = if naps < SHORT_NAPS { NAPS.0 } else { NAPS.1 };
                // What came while it slept is taken already.
                match core.nap(|core| core.engine.rest_but_yield(&mut idle, nap)) {
                    Some(Rested::Spun) => {}
                    Some(Rested::Slept) => (look, naps) = (true, naps + 1),
                    Some(Rested::Yield) => look = polling.step_aside(|| self.turn()),
                    None => look = true,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;
    use crate::config::Config;
    use crate::launch::in_process;

    #[test]
    fn a_panic_in_the_check_of_a_thread_that_sits_is_that_thread_s_and_all_go_on() {
        let mut config = Config::default();
        config.net.bind = crate::net::BindPolicy::LoopbackOnly;
        let start = in_process(1).into_iter().next().unwrap();
        let process = Process::join(start, config, true).unwrap();
        let (process, over) = (&process, &AtomicBool::new(false));
        std::thread::scope(|scope| {
            let polls = scope
                .spawn(|| process.until(|_| over.load(Ordering::Acquire).then_some(())).unwrap());
            while !process.core().unwrap().crowd.polled {
                std::thread::yield_now();
            }
            let sits = scope.spawn(move || {
                let me = std::thread::current().id();
                let elsewhere = |_: &mut Core| -> Option<()> {
                    assert_eq!(std::thread::current().id(), me, "a step of this wait");
                    None
                };
                catch_unwind(AssertUnwindSafe(|| process.until(elsewhere))).is_err()
            });
            // Whoever has a turn makes the poller look at all.
            while !sits.is_finished() {
                drop(process.core().unwrap());
                std::thread::yield_now();
            }
            assert!(sits.join().unwrap());
            over.store(true, Ordering::Release);
            polls.join().unwrap();
        });
    }
}
