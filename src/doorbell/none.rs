//! No doorbell: short naps, for memory whose members have no way to wake each other and for
//! moments when every other way has failed.

use std::time::Duration;

use super::Woken;

/// The longest nap: what a message may wait for at most when nobody can ring.
const NAP_MAX: Duration = Duration::from_millis(1);

/// Sleeps for `timeout`, but not for longer than a nap.
pub(super) fn nap(timeout: Duration) -> Woken {
    std::thread::sleep(timeout.min(NAP_MAX));
    Woken::TimedOut
}
