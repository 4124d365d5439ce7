//! A campaign's guests, as it sees them: somebody boots them, starts jobs in them and takes them down. This side
//! knows no hypervisor; it keeps count of what is up and of what goes wrong.

use super::campaign_file::Place;
use crate::launch::{LaunchError, Layout, Outcome, RunOptions};
use crate::report::schema::{ClockCheck, Limits, Provenance};

/// The program inside every guest.
pub const PROGRAM: &str = "cohost";

/// Launches that may fail one after another in guests before the campaign gives up.
pub const FAILURES_MAX: u32 = 3;

/// Whoever boots guests.
pub trait Guests {
    /// Refuses what cannot be booted, before anything is measured.
    ///
    /// # Errors
    /// The reason, with the remedy.
    fn check(&self, place: &Place, layout: Layout) -> Result<(), String>;

    /// Boots the guests of a layout, after taking down those that are up, and asks them what they are and allow.
    ///
    /// # Errors
    /// The reason, with the remedy; nothing is up then.
    fn open(&mut self, place: &Place, layout: Layout) -> Result<(Provenance, Limits), String>;

    /// Runs one job in the guests that are up.
    ///
    /// # Errors
    /// As the launcher's.
    fn launch(&mut self, options: &RunOptions) -> Result<Outcome, LaunchError>;

    /// The guests' clock against this machine's since they were booted; `None` when it cannot be asked.
    fn clock(&mut self) -> Option<ClockCheck>;

    /// Takes the guests down.
    fn close(&mut self);
}

/// For campaigns of processes only.
pub struct NoGuests;

const NONE: &str = "this program boots no guests";

impl Guests for NoGuests {
    fn check(&self, _: &Place, _: Layout) -> Result<(), String> {
        Err(NONE.to_owned())
    }

    fn open(&mut self, _: &Place, _: Layout) -> Result<(Provenance, Limits), String> {
        Err(NONE.to_owned())
    }

    fn launch(&mut self, _: &RunOptions) -> Result<Outcome, LaunchError> {
        Err(LaunchError::NotStarted { rank: 0, reason: NONE.to_owned() })
    }

    fn clock(&mut self) -> Option<ClockCheck> {
        None
    }

    fn close(&mut self) {}
}
