//! One cache line there and back: flag and 48 bytes of data share a 64-byte line, the other core polls the flag,
//! takes the data, and answers on a line of its own.

use std::sync::atomic::Ordering;
use std::time::Instant;

use super::raw::Shared;
use super::{CorePair, LimitsError, on_two_cores, wait};

/// The lines lie two apart, so that fetching one does not drag the other along.
const PING: usize = 0;
const PONG: usize = 256;
/// The flag is the first word of a line, the data follow it.
const DATA: usize = 8;
const DATA_BYTES: usize = 48;

const BATCHES: u64 = 20;
const ROUNDS: u64 = 5_000;

pub(super) fn half_round_trip_us(pair: CorePair) -> Result<f64, LimitsError> {
    let shared = Shared::new(4096)?;
    let total = BATCHES * ROUNDS;
    on_two_cores(
        pair,
        || {
            let mut best = f64::INFINITY;
            let mut round = 0;
            for _ in 0..BATCHES {
                let begun = Instant::now();
                for _ in 0..ROUNDS {
                    round += 1;
                    send(&shared, PING, round);
                    receive(&shared, PONG, round)?;
                }
                best = best.min(begun.elapsed().as_secs_f64());
            }
            Ok(best * 1e6 / (2 * ROUNDS) as f64)
        },
        || {
            for round in 1..=total {
                receive(&shared, PING, round)?;
                send(&shared, PONG, round);
            }
            Ok(())
        },
    )
}

#[inline]
fn send(shared: &Shared, line: usize, round: u64) {
    let data = [round.to_le_bytes()[0]; DATA_BYTES];
    shared.write(line + DATA, &data);
    // SYNC POINT: pairs with the acquire load in `receive`; a plain store on x86.
    shared.word(line).store(round, Ordering::Release);
}

#[inline]
fn receive(shared: &Shared, line: usize, round: u64) -> Result<(), LimitsError> {
    let flag = shared.word(line);
    wait::until(|| (flag.load(Ordering::Acquire) == round).then_some(()))?;
    let mut data = [0; DATA_BYTES];
    shared.read(line + DATA, &mut data);
    std::hint::black_box(data);
    Ok(())
}
