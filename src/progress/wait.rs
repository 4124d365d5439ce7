//! How long to spin, when to give the processor away, when to sleep.
//!
//! A message from a running peer comes within a microsecond: spinning is best then. A peer that
//! is not running sends nothing, so spinning only keeps it from running: with more ranks than
//! cores, yield at once. Of spin waits in virtual machines 97.8 % end within 2^16 cycles, and the
//! few others last a hypervisor's time slice (Friebel and Biemueller, "How to Deal with Lock
//! Holder Preemption", 2008): spin for about that long, never longer. Sleeping costs some 20 us to
//! wake, so it comes last, when nothing is expected.

use std::time::{Duration, Instant};

use super::pace::{Pace, clock_cost};

/// What to do after a pass without progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Look again at once.
    Spin,
    /// Let another process run first.
    Yield,
    /// Arm the doorbell and sleep for at most this long.
    Sleep(Duration),
}

/// Longest spin: about 2^16 cycles of a processor of 2 to 3 GHz.
const SPIN_MAX: Duration = Duration::from_micros(25);
/// From the first pass without progress to sleep.
const AWAKE_MAX: Duration = Duration::from_micros(500);
/// Passes between two looks at the clock while spinning, at least.
const PASSES_PER_LOOK: u32 = 16;
/// Longest time between two looks at the clock while spinning, however dear it is: by so much a wait
/// may last too long.
const CLOCK_APART_MAX: Duration = Duration::from_micros(50);
/// Longest sleep. Short enough to notice by itself what rings no doorbell, long enough to cost
/// less than 2 % of a core.
pub const NAP: Duration = Duration::from_millis(2);
/// How often the machine's load is looked at.
const LOAD_INTERVAL: Duration = Duration::from_millis(100);
/// From the first pass without progress to sleep, while the hypervisor takes processors away: a
/// peer that is not running waits for a processor that only sleep gives back.
const AWAKE_STOLEN: Duration = Duration::from_micros(50);
/// Part of the time stolen by the hypervisor from which on that holds.
const STEAL_MAX: f64 = 0.02;

/// Waiting behaviour of one rank.
#[derive(Debug)]
pub struct Waiter {
    cores: u32,
    ranks: u32,
    pace: Pace,
    load: Load,
}

/// One wait.
#[derive(Debug, Default)]
pub struct Idle {
    /// Passes since the clock was looked at.
    passes: u32,
    /// It has come to sleeping: nothing is expected soon, and a nap that ends with nothing is
    /// followed by the next at once.
    asleep: bool,
    since: Option<Instant>,
    /// The clock was looked at, and nothing but passes came after.
    looked: bool,
}

impl Waiter {
    /// For a rank on a machine with this many cores for this many ranks.
    #[must_use]
    pub fn new(cores: u32, ranks: u32) -> Self {
        let pace = Pace::new(PASSES_PER_LOOK, CLOCK_APART_MAX, clock_cost());
        Self { cores, ranks, pace, load: Load::default() }
    }

    /// Whether spinning would take the processor from a rank that is waited for.
    #[must_use]
    pub fn crowded(&self) -> bool {
        self.ranks > self.cores
    }

    /// What to do next in this wait.
    #[inline]
    pub fn next(&mut self, idle: &mut Idle) -> Step {
        if idle.asleep {
            return Step::Sleep(NAP);
        }
        idle.passes += 1;
        let crowded = self.crowded();
        // Each yield costs what a dear clock costs; with them the passes need no further stretching.
        let due = if crowded { PASSES_PER_LOOK } else { self.pace.passes() };
        if idle.passes < due {
            return if crowded { Step::Yield } else { Step::Spin };
        }
        idle.passes = 0;
        let now = Instant::now();
        self.pace.looked(now, idle.looked);
        let waited = now - *idle.since.get_or_insert(now);
        let step = self.step_after(waited, now);
        idle.looked = step == Step::Spin;
        idle.asleep = matches!(step, Step::Sleep(_));
        step
    }

    fn step_after(&mut self, waited: Duration, now: Instant) -> Step {
        let awake = if self.load.stolen { AWAKE_STOLEN } else { AWAKE_MAX };
        if waited >= awake {
            return Step::Sleep(NAP);
        }
        if waited >= SPIN_MAX {
            self.load.look(now);
            return Step::Yield;
        }
        if self.crowded() { Step::Yield } else { Step::Spin }
    }

    /// What this rank does while it waits, for people.
    #[must_use]
    pub fn describe(&self) -> String {
        let spin = if self.ranks > self.cores { Duration::ZERO } else { SPIN_MAX };
        format!(
            "spin {} us, yield to {} us, then sleep ({} ranks on {} cores)",
            spin.as_micros(),
            AWAKE_MAX.as_micros(),
            self.ranks,
            self.cores,
        )
    }
}

/// What the kernel says of the machine, looked at now and then.
#[derive(Debug, Default)]
struct Load {
    looked: Option<Instant>,
    /// Time stolen, and time in all, in clock ticks.
    ticks: (u64, u64),
    stolen: bool,
}

impl Load {
    fn look(&mut self, now: Instant) {
        if self.looked.is_some_and(|looked| now - looked < LOAD_INTERVAL) {
            return;
        }
        let first = self.looked.replace(now).is_none();
        let Ok(text) = std::fs::read_to_string("/proc/stat") else {
            return;
        };
        let ticks = parse_stat(&text);
        let stolen = ticks.0.saturating_sub(self.ticks.0) as f64;
        let all = ticks.1.saturating_sub(self.ticks.1).max(1) as f64;
        self.ticks = ticks;
        self.stolen = !first && stolen / all > STEAL_MAX;
    }
}

/// Stolen ticks and all ticks of the machine. Zero where the text does not say.
fn parse_stat(text: &str) -> (u64, u64) {
    let line = text.lines().find(|line| line.starts_with("cpu "));
    let numbers = line.into_iter().flat_map(|line| line.split_whitespace().skip(1).take(8));
    let cpu: Vec<u64> = numbers.map_while(|word| word.parse().ok()).collect();
    (cpu.get(7).copied().unwrap_or(0), cpu.iter().sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_more_ranks_than_cores_nobody_spins() {
        let mut waiter = Waiter::new(2, 4);
        let mut idle = Idle::default();
        assert!((0..10).all(|_| waiter.next(&mut idle) == Step::Yield));
    }

    #[test]
    fn with_a_core_for_each_rank_spinning_comes_first_and_sleep_last() {
        let mut waiter = Waiter::new(2, 2);
        let now = Instant::now();
        assert_eq!(waiter.step_after(Duration::ZERO, now), Step::Spin);
        assert_eq!(waiter.step_after(SPIN_MAX, now), Step::Yield);
        assert_eq!(waiter.step_after(AWAKE_MAX, now), Step::Sleep(NAP));
    }

    #[test]
    fn after_a_nap_without_news_the_next_follows_at_once() {
        let mut waiter = Waiter::new(1, 4);
        let mut idle = Idle::default();
        while !matches!(waiter.next(&mut idle), Step::Sleep(_)) {}
        assert!((0..100).all(|_| waiter.next(&mut idle) == Step::Sleep(NAP)));
        assert_eq!(waiter.next(&mut Idle::default()), Step::Yield);
    }

    #[test]
    fn stolen_time_is_found() {
        let text = "cpu  1 2 3 4 5 6 7 8 9 10\ncpu0 1 1 1 1\nctxt 5\nprocs_running 3\n";
        assert_eq!(parse_stat(text), (8, 36));
        assert_eq!(parse_stat("nonsense"), (0, 0));
    }
}
