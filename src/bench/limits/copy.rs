//! Copies: one inside a thread (memcpy), and two pipelined through shared memory: the sender copies a message
//! chunk by chunk into a small ring while the receiver copies the chunks before it out. The figure is the best
//! over chunk and ring sizes, since a transport is free to choose them too.

use std::hint::black_box;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::raw::Shared;
use super::{CorePair, LimitsError, on_two_cores, wait};

const CHUNKS: [usize; 7] = [512, 1024, 2048, 4096, 8192, 16_384, 32_768];
const RINGS: [usize; 3] = [65_536, 262_144, 1_048_576];
/// Bytes that one timed batch moves in each direction, within 2 to 1000 rounds.
const BATCH_BYTES: usize = 16 << 20;
/// Batches while looking for the best shape, and then with it.
const BATCHES_LOOKING: u32 = 1;
const BATCHES_BEST: u32 = 8;

/// Counter lines and data of one direction; offsets into the mapping.
const HEAD: usize = 0;
const TAIL: usize = 256;
const DATA: usize = 4096;
const DIRECTION_BYTES: usize = DATA + RINGS[RINGS.len() - 1];

/// MB/s of copying `size` bytes from one private buffer to another, best of several.
pub(super) fn memcpy_mbytes_per_s(size: usize) -> f64 {
    let from = vec![1u8; size];
    let mut to = vec![2u8; size];
    let rounds = (BATCH_BYTES / size).clamp(4, 2000);
    let mut best = Duration::MAX;
    for _ in 0..4 {
        let begun = Instant::now();
        for _ in 0..rounds {
            to.copy_from_slice(black_box(&from));
            black_box(&mut to);
        }
        best = best.min(begun.elapsed());
    }
    (rounds * size) as f64 / 1e6 / best.as_secs_f64()
}

/// Bytes of a chunk, and chunks in a ring.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    chunk: usize,
    slots: u64,
}

/// Half round trip of a ping-pong of `size` bytes through two rings, one for each direction.
pub(super) fn half_round_trip_us(pair: CorePair, size: usize) -> Result<f64, LimitsError> {
    let (looking, shape) = look(pair, size)?;
    Ok(looking.min(with_shape(pair, size, shape)?))
}

/// The shape that was fastest just now.
pub(super) fn best_shape(pair: CorePair, size: usize) -> Result<Shape, LimitsError> {
    Ok(look(pair, size)?.1)
}

/// Half round trip with one shape, the best of several batches.
pub(super) fn with_shape(pair: CorePair, size: usize, shape: Shape) -> Result<f64, LimitsError> {
    let shared = Shared::new(2 * DIRECTION_BYTES)?;
    time_shape(pair, &shared, shape, size, BATCHES_BEST)
}

fn look(pair: CorePair, size: usize) -> Result<(f64, Shape), LimitsError> {
    let shared = Shared::new(2 * DIRECTION_BYTES)?;
    let mut best = (f64::INFINITY, Shape { chunk: CHUNKS[0], slots: 2 });
    for ring in RINGS {
        for chunk in CHUNKS.into_iter().filter(|c| *c <= size) {
            let shape = Shape { chunk, slots: (ring / chunk) as u64 };
            let time = time_shape(pair, &shared, shape, size, BATCHES_LOOKING)?;
            if time < best.0 {
                best = (time, shape);
            }
        }
    }
    Ok(best)
}

fn time_shape(
    pair: CorePair,
    shared: &Shared,
    shape: Shape,
    size: usize,
    batches: u32,
) -> Result<f64, LimitsError> {
    for base in [0, DIRECTION_BYTES] {
        shared.word(base + HEAD).store(0, Ordering::Relaxed);
        shared.word(base + TAIL).store(0, Ordering::Relaxed);
    }
    let rounds = (BATCH_BYTES / size).clamp(2, 1000);
    on_two_cores(
        pair,
        || {
            let (mut out, mut back) =
                (End::new(shared, 0, shape), End::new(shared, DIRECTION_BYTES, shape));
            let (sent, mut received) = (vec![3u8; size], vec![0u8; size]);
            let mut best = f64::INFINITY;
            // The first batch only warms up.
            for batch in 0..=batches {
                let begun = Instant::now();
                for _ in 0..rounds {
                    out.send(black_box(&sent))?;
                    back.receive(black_box(&mut received))?;
                }
                let took = begun.elapsed().as_secs_f64();
                best = if batch == 0 { best } else { best.min(took) };
            }
            Ok(best * 1e6 / (2 * rounds) as f64)
        },
        || {
            let (mut out, mut back) =
                (End::new(shared, DIRECTION_BYTES, shape), End::new(shared, 0, shape));
            let (sent, mut received) = (vec![4u8; size], vec![0u8; size]);
            for _ in 0..rounds * (batches as usize + 1) {
                back.receive(black_box(&mut received))?;
                out.send(black_box(&sent))?;
            }
            Ok(())
        },
    )
}

/// One end of a direction, with private copies of both counters.
struct End<'a> {
    shared: &'a Shared,
    base: usize,
    shape: Shape,
    /// Chunks this end has moved.
    mine: u64,
    /// The other end's counter as last read.
    theirs: u64,
}

impl<'a> End<'a> {
    fn new(shared: &'a Shared, base: usize, shape: Shape) -> End<'a> {
        End { shared, base, shape, mine: 0, theirs: 0 }
    }

    fn slot(&self) -> usize {
        let slot = usize::try_from(self.mine % self.shape.slots).unwrap_or(0);
        self.base + DATA + slot * self.shape.chunk
    }

    #[inline]
    fn send(&mut self, message: &[u8]) -> Result<(), LimitsError> {
        let tail = self.shared.word(self.base + TAIL);
        for part in message.chunks(self.shape.chunk) {
            if self.mine - self.theirs >= self.shape.slots {
                let full = self.mine - self.shape.slots;
                // SYNC POINT: pairs with the release store in `receive`.
                self.theirs =
                    wait::until(|| Some(tail.load(Ordering::Acquire)).filter(|t| *t > full))?;
            }
            self.shared.write(self.slot(), part);
            self.mine += 1;
            // SYNC POINT: pairs with the acquire load in `receive`.
            self.shared.word(self.base + HEAD).store(self.mine, Ordering::Release);
        }
        Ok(())
    }

    #[inline]
    fn receive(&mut self, message: &mut [u8]) -> Result<(), LimitsError> {
        let head = self.shared.word(self.base + HEAD);
        // Publishing every chunk would bounce a line for nothing while the ring is far from full.
        let publish_every = (self.shape.slots / 4).max(1);
        for part in message.chunks_mut(self.shape.chunk) {
            if self.theirs == self.mine {
                let seen = self.mine;
                // SYNC POINT: pairs with the release store in `send`.
                self.theirs =
                    wait::until(|| Some(head.load(Ordering::Acquire)).filter(|h| *h > seen))?;
            }
            self.shared.read(self.slot(), part);
            self.mine += 1;
            if self.mine.is_multiple_of(publish_every) {
                // SYNC POINT: pairs with the acquire load in `send`.
                self.shared.word(self.base + TAIL).store(self.mine, Ordering::Release);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A meter that lost bytes would be fast: what goes in must come out, over several laps of the ring.
    #[test]
    fn the_pipeline_delivers_every_byte_over_many_laps() {
        let shared = Shared::new(2 * DIRECTION_BYTES).unwrap();
        let shape = Shape { chunk: 512, slots: 4 };
        let message: Vec<u8> = (0..10_000u32).map(|i| (i * 7 % 251) as u8).collect();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut out = End::new(&shared, 0, shape);
                for _ in 0..20 {
                    out.send(&message).unwrap();
                }
            });
            let mut input = End::new(&shared, 0, shape);
            for _ in 0..20 {
                let mut got = vec![0; message.len()];
                input.receive(&mut got).unwrap();
                assert_eq!(got, message);
            }
        });
    }
}
