//! What happened to the paths while the job ran: a ring that was given up, memory that went and
//! came back. For people; nothing is decided by it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Events that are kept, the newest.
const KEPT: usize = 64;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Since this rank joined the job.
    pub at: Duration,
    /// What.
    pub what: String,
}

/// The events of one rank.
#[derive(Debug)]
pub struct Journal {
    rank: u32,
    begun: Instant,
    events: VecDeque<Event>,
    /// Whether they are told on standard error too, as they happen.
    pub aloud: bool,
}

impl Journal {
    /// Nothing has happened yet.
    #[must_use]
    pub fn new(rank: u32) -> Self {
        Self { rank, begun: Instant::now(), events: VecDeque::new(), aloud: false }
    }

    /// This happened now.
    pub fn note(&mut self, what: String) {
        let at = self.begun.elapsed();
        if self.aloud {
            eprintln!("cohost: rank {}, {:.1} s: {what}", self.rank, at.as_secs_f64());
        }
        if self.events.len() == KEPT {
            self.events.pop_front();
        }
        self.events.push_back(Event { at, what });
    }

    /// What happened, oldest first.
    pub fn events(&self) -> impl Iterator<Item = &Event> {
        self.events.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_events_are_kept_in_their_order() {
        let mut journal = Journal::new(3);
        for i in 0..KEPT + 5 {
            journal.note(format!("event {i}"));
        }
        let events: Vec<_> = journal.events().collect();
        assert_eq!(events.len(), KEPT);
        assert_eq!(events[0].what, "event 5");
        assert!(events.is_sorted_by_key(|event| event.at));
    }
}
