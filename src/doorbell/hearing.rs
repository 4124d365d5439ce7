//! Whether interrupts arrive here. That a device accepts a ring proves nothing: the other end's
//! hypervisor, its server or its routing may swallow it. So an interrupt is asked for only after
//! one was heard, and not any more after many sleeps that one should have ended.

/// Sleeps in a row that went through what should have woken us, after which interrupts count as
/// swallowed. More than one, since an interrupt that is merely slow comes after a short sleep.
const DEAF_AFTER: u32 = 16;

/// What was heard so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hearing {
    heard: u64,
    /// In a row, since the last that was heard.
    slept_through: u32,
}

impl Hearing {
    /// An interrupt came.
    pub fn rung(&mut self) {
        self.heard += 1;
        self.slept_through = 0;
    }

    /// How often.
    #[must_use]
    pub fn heard(&self) -> u64 {
        self.heard
    }

    /// A sleep that an interrupt should have ended lasted to its end.
    pub fn slept_through(&mut self) {
        self.slept_through = self.slept_through.saturating_add(1);
    }

    /// Whether to count on interrupts.
    #[must_use]
    pub fn works(&self) -> bool {
        self.heard > 0 && !self.is_deaf()
    }

    fn is_deaf(&self) -> bool {
        self.slept_through >= DEAF_AFTER
    }
}

impl std::fmt::Display for Hearing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.heard {
            0 => write!(f, "none was heard yet"),
            heard if self.is_deaf() => write!(f, "{heard} heard, and none for {DEAF_AFTER} sleeps"),
            heard => write!(f, "{heard} heard"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_never_heard_is_not_counted_on() {
        let mut hearing = Hearing::default();
        assert!(!hearing.works());
        hearing.rung();
        assert!(hearing.works());
    }

    #[test]
    fn slow_interrupts_are_counted_on_and_swallowed_ones_are_not() {
        let mut hearing = Hearing::default();
        hearing.rung();
        for _ in 0..10 * DEAF_AFTER {
            hearing.slept_through();
            hearing.rung();
            assert!(hearing.works());
        }
        for _ in 0..DEAF_AFTER {
            assert!(hearing.works());
            hearing.slept_through();
        }
        assert!(!hearing.works(), "{hearing}");
        hearing.rung();
        assert!(hearing.works(), "one that comes after all");
    }
}
