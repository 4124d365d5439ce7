//! Waiting of the limits meter: poll as fast as possible, but never for ever. The core may be shared, so a long
//! wait yields, and a partner that is gone ends the measurement with an error.

use std::time::{Duration, Instant};

use super::LimitsError;

/// Polls between two looks at the clock: far longer than any round trip, so that the clock is never timed.
const POLLS_PER_YIELD: u32 = 1 << 14;
/// Longest wait for the other thread; it waits this long only for a machine that has stopped.
const STALL_SECONDS: u64 = 10;

/// Calls `ready` until it yields a value.
#[inline]
pub(super) fn until<T>(mut ready: impl FnMut() -> Option<T>) -> Result<T, LimitsError> {
    let mut since = None;
    loop {
        for _ in 0..POLLS_PER_YIELD {
            if let Some(value) = ready() {
                return Ok(value);
            }
        }
        rest(&mut since)?;
    }
}

#[cold]
fn rest(since: &mut Option<Instant>) -> Result<(), LimitsError> {
    let begun = since.get_or_insert_with(Instant::now);
    if begun.elapsed() > Duration::from_secs(STALL_SECONDS) {
        return Err(LimitsError::Stalled(STALL_SECONDS));
    }
    std::thread::yield_now();
    Ok(())
}
