//! Intervals for the ratio of two typical times, by the bootstrap: the launches are drawn again with replacement,
//! so that no distribution is assumed. Typical is the mean of the logarithms without a fifth at either end, so that
//! one launch that met a busy host does not decide; such launches are still shown. The interval is the studentised
//! one: with the ten to fifty launches that a campaign has, plain percentiles would cover less than they say.
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

/// A ratio of two typical times.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ratio {
    /// Typical time of the first divided by that of the second.
    pub value: f64,
    /// Its bootstrap interval at 95 %.
    pub interval: Interval,
}

/// Share of the launches set aside at either end before the mean of the logarithms is taken.
pub const TRIM: f64 = 0.2;

/// Typical time of `a` over that of `b`, where typical is the trimmed mean of the logarithms; `None` when either is
/// empty or holds a time that is not positive.
#[must_use]
pub fn ratio(a: &[f64], b: &[f64], seed: u64) -> Option<Ratio> {
    let (a, b) = (logarithms(a)?, logarithms(b)?);
    let (top, bottom) = (Trimmed::of(&a, &vec![1; a.len()]), Trimmed::of(&b, &vec![1; b.len()]));
    let theta = top.mean - bottom.mean;
    let value = theta.exp();
    if a.len() < RATIO_RUNS_MIN || b.len() < RATIO_RUNS_MIN {
        let interval = Interval::NeedsRuns(RATIO_RUNS_MIN);
        return Some(Ratio { value, interval });
    }
    let error = (top.error2 + bottom.error2).sqrt();
    let mut drawn: Vec<f64> = resample(&a, &b, theta, seed).iter().map(|r| r.studentised).collect();
    drawn.sort_by(f64::total_cmp);
    let tail = ((RESAMPLES + 1) as f64 * (1.0 - CONFIDENCE) / 2.0).round() as usize;
    let (low_t, high_t) = (drawn[tail - 1], drawn[RESAMPLES - tail]);
    // No error at all leaves no width, however far a resample may seem.
    let end = |t: f64| {
        if error > 0.0 { (theta - t * error).exp() } else { value }
    };
    let interval = Interval::Known { low: end(high_t), high: end(low_t), attained: CONFIDENCE };
    Some(Ratio { value, interval })
}

/// Ascending.
fn logarithms(samples: &[f64]) -> Option<Vec<f64>> {
    if samples.is_empty() || !samples.iter().all(|v| *v > 0.0 && v.is_finite()) {
        return None;
    }
    let mut logs: Vec<f64> = samples.iter().map(|v| v.ln()).collect();
    logs.sort_by(f64::total_cmp);
    Some(logs)
}

/// Trimmed mean and its squared standard error from the winsorised variance (Yuen 1974).
#[derive(Debug, Clone, Copy)]
struct Trimmed {
    mean: f64,
    error2: f64,
}

impl Trimmed {
    /// Of ascending values, each as often as `counts` says: a resample needs no sorting.
    fn of(sorted: &[f64], counts: &[u32]) -> Trimmed {
        let n = sorted.len();
        let cut = (TRIM * n as f64) as usize;
        // Around a value in the middle, so that the squares of large, close values do not cancel.
        let origin = sorted[n / 2];
        let (mut before, mut sum, mut squares) = (0, 0.0, 0.0);
        let (mut low, mut high) = (0.0, 0.0);
        for (value, count) in sorted.iter().zip(counts) {
            let after = before + *count as usize;
            let kept = after.min(n - cut).saturating_sub(before.max(cut)) as f64;
            let v = value - origin;
            sum += kept * v;
            squares += kept * v * v;
            if before <= cut && cut < after {
                low = v;
            }
            if before < n - cut && n - cut <= after {
                high = v;
            }
            before = after;
        }
        let (all, kept, cut) = (n as f64, (n - 2 * cut) as f64, cut as f64);
        let winsorised = sum + cut * (low + high);
        let spread = squares + cut * (low * low + high * high) - winsorised * winsorised / all;
        Trimmed {
            mean: origin + sum / kept,
            error2: spread.max(0.0) / (kept * (kept - 1.0).max(1.0)),
        }
    }
}

struct Resample {
    /// Logarithm of the ratio.
    #[cfg_attr(not(test), allow(dead_code))]
    log_ratio: f64,
    /// Its distance from the observed one, in its own standard errors.
    studentised: f64,
}

fn resample(a: &[f64], b: &[f64], theta: f64, seed: u64) -> Vec<Resample> {
    let mut random = Random::new(seed);
    let mut counts = (vec![0; a.len()], vec![0; b.len()]);
    let one = |_| {
        let x = redraw(a, &mut counts.0, &mut random);
        let y = redraw(b, &mut counts.1, &mut random);
        let log_ratio = x.mean - y.mean;
        let (distance, error) = (log_ratio - theta, (x.error2 + y.error2).sqrt());
        // Equal samples have no error and no distance; a repeated launch has no error but a distance, which
        // then counts as infinitely far: the interval can only become wider by it.
        let studentised = if distance.abs() < 1e-12 { 0.0 } else { distance / error };
        Resample { log_ratio, studentised }
    };
    (0..RESAMPLES).map(one).collect()
}

/// As many values as there are, drawn with replacement.
fn redraw(sorted: &[f64], counts: &mut [u32], random: &mut Random) -> Trimmed {
    counts.fill(0);
    for _ in sorted {
        counts[random.below(sorted.len())] += 1;
    }
    Trimmed::of(sorted, counts)
}

#[cfg(test)]
#[path = "bootstrap_tests.rs"]
mod tests;
