//! Memory that went away, as before a live migration, and may come back.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::link::reach::RegionChoice;
use crate::region::discover::discover;

/// Between two looks for it.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The search for memory that went away.
#[derive(Debug)]
pub(super) struct Away {
    choice: RegionChoice,
    /// When to look next; nothing is searched for without.
    due: Option<Instant>,
    /// Whether it was seen to be absent: only then can it come back.
    absent: bool,
}

impl Away {
    pub(super) fn new(choice: RegionChoice) -> Self {
        Self { choice, due: None, absent: false }
    }

    /// It went.
    pub(super) fn went(&mut self, now: Instant) {
        self.due = Some(now);
        self.absent = false;
    }

    pub(super) fn is_searching(&self) -> bool {
        self.due.is_some()
    }

    /// Looks, now and then; what has come back, for people, once.
    pub(super) fn came_back(&mut self, now: Instant) -> Option<String> {
        if self.due.is_none_or(|due| now < due) {
            return None;
        }
        self.due = Some(now + LOOK_EVERY);
        let named = match &self.choice {
            RegionChoice::Named(path) => Some(path.as_os_str()),
            RegionChoice::Auto | RegionChoice::Off => None,
        };
        let usable = discover(Path::new("/"), named);
        let found = usable.iter().find(|it| it.is_device() && it.obstacle.is_none());
        match found {
            Some(candidate) if self.absent => {
                self.due = None;
                Some(candidate.to_string())
            }
            Some(_) => None,
            None => {
                self.absent = true;
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_comes_back_only_after_it_was_gone_and_is_told_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("region");
        let mut away = Away::new(RegionChoice::Named(path.clone()));
        let mut now = Instant::now();
        let mut look = |away: &mut Away| {
            now += LOOK_EVERY;
            away.came_back(now)
        };
        std::fs::write(&path, [0; 4096]).unwrap();
        assert_eq!(look(&mut away), None, "nothing went");
        away.went(Instant::now());
        assert_eq!(look(&mut away), None, "it is still there");
        std::fs::remove_file(&path).unwrap();
        assert_eq!(look(&mut away), None, "it is gone");
        std::fs::write(&path, [0; 4096]).unwrap();
        assert!(look(&mut away).unwrap().contains("region"));
        assert_eq!(look(&mut away), None, "that was told");
        assert!(!away.is_searching());
    }
}
