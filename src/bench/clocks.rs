//! Clocks of the ranks against rank 0's. Guests of a hypervisor drift; a time from a clock that
//! runs at another speed is wrong by as much, and none of its statistics would show it.
//!
//! Before and after the benchmarks rank 0 asks each rank for its time, several times, and keeps
//! the quickest answer, as NTP does: half of its round trip bounds the error.

use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::mpi::{self, Communicator};

/// Drift beyond which figures are marked, in parts per million: clocks of real machines stay
/// within 100 of each other, those of guests whose hypervisor keeps time within 500.
pub const BOUND_PPM: f64 = 500.0;

/// Questions to each rank.
const QUESTIONS: u32 = 20;
const TAG: i32 = 0x0c10;

/// The clock that strays most from rank 0's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Drift {
    /// Whose it is.
    pub rank: u32,
    /// Its speed against rank 0's, in parts per million; positive when it is faster.
    pub ppm: f64,
    /// How far that may be off, in parts per million, by the time that messages took.
    pub uncertainty_ppm: f64,
}

impl Drift {
    /// Whether it certainly exceeds [`BOUND_PPM`].
    #[must_use]
    pub fn is_too_much(&self) -> bool {
        self.certain() > BOUND_PPM
    }

    /// The least drift that the uncertainty allows.
    fn certain(&self) -> f64 {
        (self.ppm.abs() - self.uncertainty_ppm).max(0.0)
    }

    /// Of two the one that strays more; of equal ones the better known.
    #[must_use]
    pub fn worse(self, other: Drift) -> Drift {
        let key = |d: &Drift| (d.certain(), -d.uncertainty_ppm);
        if key(&other) > key(&self) { other } else { self }
    }
}

/// What rank 0 found about one rank's clock, in seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Reading {
    /// When, by rank 0's clock.
    at: f64,
    /// What the other's clock is ahead.
    ahead: f64,
    /// How far that may be off.
    error: f64,
}

/// The clocks at the beginning; every rank of the job has one, rank 0's with the readings.
pub struct Clocks {
    origin: Instant,
    first: Vec<Reading>,
}

impl Clocks {
    /// Reads all clocks; every rank calls it alike.
    ///
    /// # Errors
    /// Those of sending and receiving.
    pub fn begin(comm: &Communicator) -> Result<Clocks, mpi::Error> {
        let origin = Instant::now();
        let first = read_all(comm, origin)?;
        Ok(Clocks { origin, first })
    }

    /// Reads all clocks again; on rank 0 of several, the one that strays most.
    ///
    /// # Errors
    /// Those of sending and receiving.
    pub fn end(self, comm: &Communicator) -> Result<Option<Drift>, mpi::Error> {
        let last = read_all(comm, self.origin)?;
        let pairs = self.first.iter().zip(&last).zip(1..);
        Ok(pairs.map(|((first, last), rank)| drift(rank, first, last)).reduce(Drift::worse))
    }
}

fn drift(rank: u32, first: &Reading, last: &Reading) -> Drift {
    // Not zero, since messages were exchanged in between; never negative, as the clock is
    // monotonic.
    let elapsed = (last.at - first.at).max(1e-9);
    Drift {
        rank,
        ppm: (last.ahead - first.ahead) / elapsed * 1e6,
        uncertainty_ppm: (last.error + first.error) / elapsed * 1e6,
    }
}

/// On rank 0 the clocks of ranks 1 and on.
fn read_all(comm: &Communicator, origin: Instant) -> Result<Vec<Reading>, mpi::Error> {
    let mut all = Vec::new();
    for rank in 1..comm.size() {
        if comm.rank() == 0 {
            all.push(ask(comm, rank, origin)?);
        } else if comm.rank() == rank {
            answer(comm, origin)?;
        }
        comm.barrier()?;
    }
    Ok(all)
}

fn ask(comm: &Communicator, rank: u32, origin: Instant) -> Result<Reading, mpi::Error> {
    let mut best: Option<Reading> = None;
    for _ in 0..QUESTIONS {
        let mut theirs = [0; 8];
        let before = origin.elapsed().as_secs_f64();
        comm.send(&[], rank, TAG)?;
        comm.recv(&mut theirs, rank, TAG)?;
        let after = origin.elapsed().as_secs_f64();
        let at = f64::midpoint(before, after);
        let error = (after - before) / 2.0;
        if best.is_none_or(|best| error < best.error) {
            let ahead = f64::from_le_bytes(theirs) - at;
            best = Some(Reading { at, ahead, error });
        }
    }
    Ok(best.unwrap_or(Reading { at: 0.0, ahead: 0.0, error: f64::INFINITY }))
}

fn answer(comm: &Communicator, origin: Instant) -> Result<(), mpi::Error> {
    for _ in 0..QUESTIONS {
        comm.recv(&mut [], 0, TAG)?;
        comm.send(&origin.elapsed().as_secs_f64().to_le_bytes(), 0, TAG)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(at: f64, ahead: f64, error: f64) -> Reading {
        Reading { at, ahead, error }
    }

    #[test]
    fn a_clock_that_gains_a_millisecond_a_second_drifts_by_a_thousand_ppm() {
        let found = drift(3, &reading(1.0, 5.0, 1e-6), &reading(11.0, 5.01, 4e-6));
        assert_eq!(found.rank, 3);
        assert!((found.ppm - 1000.0).abs() < 1e-6, "{found:?}");
        assert!((found.uncertainty_ppm - 0.5).abs() < 1e-6, "{found:?}");
        assert!(found.is_too_much());
    }

    #[test]
    fn slow_messages_accuse_no_clock() {
        let found = drift(1, &reading(0.0, 0.0, 1e-3), &reading(1.0, 1.5e-3, 1e-3));
        assert!(found.ppm > BOUND_PPM && !found.is_too_much(), "{found:?}");
        let sure = Drift { rank: 2, ppm: -900.0, uncertainty_ppm: 1.0 };
        assert!(sure.is_too_much(), "a clock may also be slow");
        assert_eq!(found.worse(sure), sure);
        assert_eq!(sure.worse(found), sure);
    }

    #[test]
    fn ranks_of_one_machine_have_one_clock() {
        let ranks = crate::launch::in_process(3).into_iter();
        let threads = ranks.map(|bootstrap| {
            std::thread::spawn(move || {
                let job = crate::Job::connect(bootstrap, crate::config::Config::default()).unwrap();
                let clocks = Clocks::begin(job.world()).unwrap();
                std::thread::sleep(std::time::Duration::from_millis(200));
                let found = clocks.end(job.world()).unwrap();
                job.finalize().unwrap();
                found
            })
        });
        let threads: Vec<_> = threads.collect();
        let found: Vec<_> = threads.into_iter().map(|t| t.join().unwrap()).collect();
        assert!(found[1].is_none() && found[2].is_none());
        let drift = found[0].unwrap();
        assert!(
            !drift.is_too_much() && drift.ppm.abs() <= drift.uncertainty_ppm + 1.0,
            "{drift:?}"
        );
    }
}
