//! Intervals for the ratio of two mean times, by the bootstrap: the launches are drawn again with replacement, so
//! that no distribution is assumed. The interval is the studentised one of the logarithm of the ratio: with the
//! ten to fifty launches that a campaign has, plain percentiles would cover less than they say.
//! Seeded, hence the same file gives the same report everywhere.

use super::stats::{CONFIDENCE, Interval};

/// Resamples drawn for one interval: with 1999 the 2.5 % points are the 50th from either end.
pub const RESAMPLES: usize = 1999;

/// Fewest launches on each side. With fewer, too many resamples repeat a single launch and say nothing of spread.
pub const RATIO_RUNS_MIN: usize = 5;

/// SplitMix64 (Steele, Lea, Flood 2014): small, fast, and good enough to draw indices.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// A generator whose numbers depend on `seed` alone.
    #[must_use]
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// The next 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`; 0 when `n` is 0. The bias is below 2^-32 for any list that fits into memory.
    pub fn below(&mut self, n: usize) -> usize {
        let wide = u128::from(self.next_u64()) * n as u128;
        (wide >> 64) as usize
    }

    /// Puts `items` into random order (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            let j = self.below(i + 1);
            items.swap(i, j);
        }
    }
}

/// A ratio of two means.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ratio {
    /// Mean of the first divided by mean of the second.
    pub value: f64,
    /// Its bootstrap interval at 95 %.
    pub interval: Interval,
}

/// `mean(a) / mean(b)` for positive samples; `None` when either is empty or has a mean that is not positive.
#[must_use]
pub fn ratio(a: &[f64], b: &[f64], seed: u64) -> Option<Ratio> {
    let (top, bottom) = (moments(a)?, moments(b)?);
    let value = top.mean / bottom.mean;
    if a.len() < RATIO_RUNS_MIN || b.len() < RATIO_RUNS_MIN {
        let interval = Interval::NeedsRuns(RATIO_RUNS_MIN);
        return Some(Ratio { value, interval });
    }
    let error = log_error(&top, &bottom);
    let mut drawn: Vec<f64> = resample(a, b, seed).iter().map(|r| r.studentised).collect();
    drawn.sort_by(f64::total_cmp);
    let tail = ((RESAMPLES + 1) as f64 * (1.0 - CONFIDENCE) / 2.0).round() as usize;
    let (low_t, high_t) = (drawn[tail - 1], drawn[RESAMPLES - tail]);
    let interval = Interval::Known {
        low: value * (-high_t * error).exp(),
        high: value * (-low_t * error).exp(),
        attained: CONFIDENCE,
    };
    Some(Ratio { value, interval })
}

#[derive(Debug, Clone, Copy)]
struct Moments {
    mean: f64,
    /// Squared relative standard error of the mean.
    relative_error2: f64,
}

fn moments(samples: &[f64]) -> Option<Moments> {
    let n = samples.len() as f64;
    let mean = samples.iter().sum::<f64>() / n;
    if !(mean.is_finite() && mean > 0.0) {
        return None;
    }
    let squares: f64 = samples.iter().map(|v| (v - mean) * (v - mean)).sum();
    let relative_error2 = squares / (n - 1.0).max(1.0) / n / (mean * mean);
    Some(Moments {
        mean,
        relative_error2,
    })
}

/// Standard error of `ln(mean a / mean b)`, by the delta method.
fn log_error(a: &Moments, b: &Moments) -> f64 {
    (a.relative_error2 + b.relative_error2).sqrt()
}

struct Resample {
    /// Logarithm of the ratio of the resampled means.
    #[cfg_attr(not(test), allow(dead_code))]
    log_ratio: f64,
    /// Its distance from the observed one, in its own standard errors.
    studentised: f64,
}

fn resample(a: &[f64], b: &[f64], seed: u64) -> Vec<Resample> {
    let mut random = Random::new(seed);
    let observed = |x: &[f64]| x.iter().sum::<f64>() / x.len() as f64;
    let theta = (observed(a) / observed(b)).ln();
    let one = |random: &mut Random| {
        let (x, y) = (redraw(a, random), redraw(b, random));
        let log_ratio = (x.mean / y.mean).ln();
        let (distance, error) = (log_ratio - theta, log_error(&x, &y));
        // Equal samples have no error and no distance; a repeated launch has no error but a distance, which
        // then counts as infinitely far: the interval can only become wider by it.
        let studentised = if distance == 0.0 {
            0.0
        } else {
            distance / error
        };
        Resample {
            log_ratio,
            studentised,
        }
    };
    (0..RESAMPLES).map(|_| one(&mut random)).collect()
}

/// Mean and error of as many samples as there are, drawn with replacement.
fn redraw(samples: &[f64], random: &mut Random) -> Moments {
    let n = samples.len() as f64;
    // Around the first sample, so that the squares of large, close values do not cancel.
    let origin = samples[0];
    let (mut sum, mut squares) = (0.0, 0.0);
    for _ in samples {
        let v = samples[random.below(samples.len())] - origin;
        sum += v;
        squares += v * v;
    }
    let mean = origin + sum / n;
    let variance = ((squares - sum * sum / n) / (n - 1.0)).max(0.0);
    Moments {
        mean,
        relative_error2: variance / n / (mean * mean),
    }
}

#[cfg(test)]
#[path = "bootstrap_tests.rs"]
mod tests;
