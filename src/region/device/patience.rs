//! Watching for a while: time as it is counted before somebody is called dead.

use std::time::{Duration, Instant};

/// Steps in which a while is watched.
const STEPS: u32 = 32;

/// A while in small steps. Each counts for at most twice its length, so that a watcher that was
/// itself suspended, perhaps together with those it watches, does not take the pause for theirs.
#[derive(Debug)]
pub(super) struct Patience {
    left: Duration,
    step: Duration,
    last: Instant,
}

impl Patience {
    pub(super) fn new(span: Duration) -> Self {
        Self { left: span, step: span / STEPS, last: Instant::now() }
    }

    /// Waits for a step; false when the while is over.
    pub(super) fn wait(&mut self) -> bool {
        if self.left.is_zero() {
            return false;
        }
        std::thread::sleep(self.step);
        let now = Instant::now();
        self.count(now.saturating_duration_since(self.last));
        self.last = now;
        true
    }

    fn count(&mut self, passed: Duration) {
        let counted = passed.min(self.step * 2);
        self.left = self.left.saturating_sub(counted);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_of_the_watcher_counts_as_no_more_than_two_steps() {
        let mut patience = Patience::new(Duration::from_secs(32));
        patience.count(Duration::from_secs(3600));
        assert_eq!(patience.left, Duration::from_secs(30));
    }

    #[test]
    fn it_ends() {
        let mut patience = Patience::new(Duration::from_millis(32));
        let steps = (0..100).take_while(|_| patience.wait()).count();
        assert!((16..=32).contains(&steps), "{steps}");
    }
}
