//! How often to look at what is dear to look at: the clock, and quiet sockets.
//!
//! A read of the clock is some 25 ns where the processor has one that can be trusted, and a system
//! call where it has not: in User-Mode Linux, which has no vDSO and where each call is a stop of a
//! process that another traces (13 us were seen, and 40 us for a look at the sockets), and on every
//! machine whose clock source is a register of a device. Spinning that looks at such a clock every
//! few passes does little else, and misses what comes meanwhile. So the number of passes between
//! two looks follows from what a look costs and what the passes took: looks get a bounded part of
//! the time, and the time between two looks is bounded too, so that limits in time are kept with a
//! known error.

use std::time::{Duration, Instant};

/// Looks get at most one part in so many of the time of the passes between them.
const SHARE: u32 = 16;
/// Passes between two looks at the sockets while they are quiet, at least.
const NET_PASSES: u32 = 4096;
/// Longest time between two looks at quiet sockets, however dear they are.
const NET_APART_MAX: Duration = Duration::from_millis(1);
/// Looks at the sockets whose time is taken.
const NET_TIMED: u32 = 4;
/// Reads of the clock that are timed together, and how often.
const READS: (u32, u32) = (4, 4);
/// Most passes between two looks.
const PASSES_MAX: u32 = 1 << 16;

/// The number of passes between two looks.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    passes: u32,
    least: u32,
    /// Time that is to lie between two looks, at least and at most.
    apart: Duration,
    apart_max: Duration,
    /// The last look.
    last: Option<Instant>,
}

impl Pace {
    /// At first a look every `least` passes, and never more often, for looks that cost so much; not
    /// further apart than `apart_max` for their sake.
    pub(super) fn new(least: u32, apart_max: Duration, cost: Duration) -> Self {
        let mut pace = Self { passes: least, least, apart: Duration::ZERO, apart_max, last: None };
        pace.costs(cost);
        pace
    }

    fn costs(&mut self, cost: Duration) {
        self.apart = (cost * SHARE).min(self.apart_max);
    }

    /// Passes until the next look.
    #[inline]
    pub(super) fn passes(&self) -> u32 {
        self.passes
    }

    /// A look is made. Looks too close together, in one wait or in several, are put further apart;
    /// looks too far apart only when there was nothing but passes in between (`alone`), and by half:
    /// the processor may have been taken away meanwhile.
    pub(super) fn looked(&mut self, now: Instant, alone: bool) {
        let Some(last) = self.last.replace(now) else { return };
        let time = (now - last).as_nanos().max(1);
        let wanted = u128::from(self.passes) * self.apart.as_nanos() / time;
        let wanted = u32::try_from(wanted).unwrap_or(u32::MAX);
        let low = if alone { self.passes / 2 } else { self.passes };
        let wanted = wanted.clamp(low, self.passes.saturating_mul(4));
        self.passes = wanted.clamp(self.least, PASSES_MAX.max(self.least));
    }
}

/// When quiet sockets are looked at.
#[derive(Debug)]
pub(super) struct Looks {
    /// Passes until the next look.
    due: u32,
    pace: Pace,
    /// There was a look, and nothing but passes came after.
    alone: bool,
    /// The least time that a look took, and how many were timed.
    cost: Duration,
    timed: u32,
}

impl Default for Looks {
    fn default() -> Self {
        let pace = Pace::new(NET_PASSES, NET_APART_MAX, Duration::ZERO);
        Self { due: 0, pace, alone: false, cost: Duration::MAX, timed: 0 }
    }
}

impl Looks {
    /// Whether the next pass looks.
    #[inline]
    pub(super) fn now(&self) -> bool {
        self.due == 0
    }

    /// A pass; whether it looks.
    #[inline]
    pub(super) fn pass(&mut self) -> bool {
        let now = self.now();
        self.due = self.due.saturating_sub(1);
        now
    }

    /// The next pass looks.
    #[inline]
    pub(super) fn soon(&mut self) {
        self.due = 0;
        self.alone = false;
    }

    /// Something took as long as so many passes.
    #[inline]
    pub(super) fn sooner(&mut self, passes: u32) {
        self.due = self.due.saturating_sub(passes);
        self.alone = false;
    }

    /// A look is made.
    pub(super) fn looked(&mut self, now: Instant) {
        self.pace.looked(now, self.alone);
    }

    /// The next look has time.
    pub(super) fn later(&mut self) {
        self.due = self.pace.passes();
        self.alone = true;
    }

    /// Whether it is still open what a look costs.
    pub(super) fn wants_cost(&self) -> bool {
        self.timed < NET_TIMED
    }

    /// A look that found nothing took so long.
    pub(super) fn cost(&mut self, took: Duration) {
        self.timed += 1;
        self.cost = self.cost.min(took);
        self.pace.costs(self.cost);
    }
}

/// What one read of the clock costs.
pub(super) fn clock_cost() -> Duration {
    let (reads, rounds) = READS;
    let round = || {
        let begun = Instant::now();
        let last = (0..reads).fold(begun, |_, _| Instant::now());
        (last - begun) / reads
    };
    (0..rounds).map(|_| round()).min().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const APART_MAX: Duration = Duration::from_micros(50);

    fn at_pace(look: Duration) -> Pace {
        Pace::new(16, APART_MAX, look)
    }

    /// Looks so often, with so much time from one to the next, which may depend on the passes.
    fn looks(pace: &mut Pace, count: u32, alone: bool, time: impl Fn(u32) -> Duration) {
        let mut now = pace.last.unwrap_or_else(Instant::now);
        if pace.last.is_none() {
            pace.looked(now, alone);
        }
        for _ in 0..count {
            now += time(pace.passes());
            pace.looked(now, alone);
        }
    }

    /// Passes after some long waits in which a pass takes `pass` and a look `look`.
    fn settled(pass: Duration, look: Duration) -> u32 {
        let mut pace = at_pace(look);
        looks(&mut pace, 20, true, |passes| pass * passes + look);
        pace.passes()
    }

    #[test]
    fn a_cheap_clock_is_looked_at_as_often_as_ever() {
        assert_eq!(settled(Duration::from_nanos(60), Duration::from_nanos(25)), 16);
    }

    #[test]
    fn a_clock_that_is_a_system_call_takes_a_bounded_part_of_the_time() {
        let (pass, look) = (Duration::from_nanos(50), Duration::from_micros(2));
        let passes = settled(pass, look);
        assert!(look * (SHARE - 2) <= pass * passes, "{passes} passes");
        assert!(pass * passes <= APART_MAX, "{passes} passes");
    }

    #[test]
    fn however_dear_the_clock_is_a_limit_is_missed_by_little_only() {
        for pass in [20, 100, 1000, 100_000].map(Duration::from_nanos) {
            let passes = settled(pass, Duration::from_millis(1));
            assert!(passes == 16 || pass * passes <= APART_MAX, "{passes} of {pass:?}");
        }
    }

    /// In a stream of messages no wait lasts long enough for two looks, but most for one.
    #[test]
    fn waits_too_short_for_two_looks_stop_looking_at_a_dear_clock() {
        let look = Duration::from_micros(13);
        let mut pace = at_pace(look);
        looks(&mut pace, 20, false, |_| Duration::from_micros(4) + look);
        assert!(pace.passes() > 1000, "{}", pace.passes());
    }

    #[test]
    fn one_interruption_halves_the_passes_and_no_more() {
        let mut pace = at_pace(Duration::from_micros(2));
        looks(&mut pace, 20, true, |passes| Duration::from_nanos(50) * passes);
        let before = pace.passes();
        looks(&mut pace, 1, true, |_| Duration::from_secs(3));
        assert!((before / 2..before).contains(&pace.passes()), "{before} {}", pace.passes());
        let before = pace.passes();
        looks(&mut pace, 1, false, |_| Duration::from_secs(3));
        assert!(pace.passes() >= before);
    }

    #[test]
    fn a_clock_that_does_not_move_does_not_stop_the_looks() {
        let mut pace = at_pace(Duration::ZERO);
        looks(&mut pace, 40, true, |_| Duration::ZERO);
        assert_eq!(pace.passes(), 16);
        let mut pace = at_pace(Duration::from_micros(2));
        looks(&mut pace, 40, true, |_| Duration::ZERO);
        assert_eq!(pace.passes(), PASSES_MAX);
    }

    /// Passes between two looks at sockets, after some of them.
    fn quiet(look: Duration, pass: Duration) -> u32 {
        let (mut looks, mut now, mut passes) = (Looks::default(), Instant::now(), 0);
        for _ in 0..20 {
            looks.looked(now);
            if looks.wants_cost() {
                looks.cost(look);
            }
            looks.later();
            passes = (0..).take_while(|_| !looks.pass()).count() as u32;
            now += look + pass * passes;
        }
        passes
    }

    #[test]
    fn sockets_that_are_dear_to_look_at_are_looked_at_less_often_and_others_as_ever() {
        let pass = Duration::from_nanos(50);
        assert_eq!(quiet(Duration::from_nanos(300), pass), NET_PASSES);
        let look = Duration::from_micros(40);
        let passes = quiet(look, pass);
        assert!(look * (SHARE - 2) <= pass * passes && pass * passes <= NET_APART_MAX);
        assert!(pass * quiet(Duration::from_millis(1), pass) <= NET_APART_MAX);
    }
}
