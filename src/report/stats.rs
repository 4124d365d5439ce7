//! Statistics fit to be published. The unit is the fresh launch: repetitions inside one launch share their
//! memory placement and are not independent, so only launches count towards `n`.

use statrs::distribution::{Binomial, ContinuousCDF, DiscreteCDF, StudentsT};
use thiserror::Error;

/// Confidence level of every interval in a report.
pub const CONFIDENCE: f64 = 0.95;

/// Fewest launches for which a median has an order-statistic interval at 95 %: with five, the range from the
/// smallest to the largest covers only 1 - 2 * 0.5^5 = 93.75 %.
pub const MEDIAN_INTERVAL_RUNS_MIN: usize = 6;

/// Most samples one summary takes. Beyond it a result file is damaged rather than thorough.
pub const SAMPLES_MAX: usize = 1_000_000;

/// Why a set of samples has no summary.
#[derive(Debug, Error, Clone, PartialEq)]
pub enum StatsError {
    /// There was nothing to summarise.
    #[error("no samples: at least one launch must finish before it can be summarised")]
    Empty,
    /// A sample is infinite or not a number.
    #[error("sample {index} is {value}, which is no time: leave the failed launch out")]
    NotFinite {
        /// Position of the sample, from 0.
        index: usize,
        /// The offending value.
        value: f64,
    },
    /// More samples than [`SAMPLES_MAX`].
    #[error("{0} samples are more than {SAMPLES_MAX}, the most one summary takes")]
    TooMany(usize),
}

/// An interval, or the reason there is none.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Interval {
    /// Lower and upper end, in the unit of the samples, and the confidence actually attained (0 to 1):
    /// exactly 0.95 for Student's, at least 0.95 for order statistics, which come in steps.
    Known {
        /// Lower end.
        low: f64,
        /// Upper end.
        high: f64,
        /// Probability with which such an interval covers the true value.
        attained: f64,
    },
    /// Not attainable at 95 % with this many launches; at least this many are needed.
    NeedsRuns(usize),
}

impl Interval {
    /// Both ends, or `None` when not attainable.
    #[must_use]
    pub fn ends(&self) -> Option<[f64; 2]> {
        match *self {
            Interval::Known { low, high, .. } => Some([low, high]),
            Interval::NeedsRuns(_) => None,
        }
    }
}

/// What N launches say about one figure. All values are in the unit of the samples.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// Number of launches.
    pub n: usize,
    /// Arithmetic mean.
    pub mean: f64,
    /// Median; of an even number of samples the mean of the two in the middle.
    pub median: f64,
    /// Smallest sample.
    pub min: f64,
    /// Largest sample.
    pub max: f64,
    /// Student's interval of the mean.
    pub mean_interval: Interval,
    /// Order-statistic interval of the median: it assumes no distribution.
    pub median_interval: Interval,
}

/// Summarises the samples of N launches.
///
/// # Errors
/// [`StatsError`] when there are none, too many, or one is not finite.
pub fn summarise(samples: &[f64]) -> Result<Summary, StatsError> {
    if samples.is_empty() {
        return Err(StatsError::Empty);
    }
    if samples.len() > SAMPLES_MAX {
        return Err(StatsError::TooMany(samples.len()));
    }
    if let Some((index, &value)) = samples.iter().enumerate().find(|(_, v)| !v.is_finite()) {
        return Err(StatsError::NotFinite { index, value });
    }
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let n = sorted.len();
    let mean = mean_of(&sorted);
    Ok(Summary {
        n,
        mean,
        median: (sorted[(n - 1) / 2] + sorted[n / 2]) / 2.0,
        min: sorted[0],
        max: sorted[n - 1],
        mean_interval: student_interval(&sorted, mean),
        median_interval: order_statistic_interval(&sorted),
    })
}

fn mean_of(samples: &[f64]) -> f64 {
    samples.iter().sum::<f64>() / count(samples.len())
}

/// Sample counts are at most [`SAMPLES_MAX`], far below where `f64` loses whole numbers.
fn count(n: usize) -> f64 {
    n as f64
}

/// Mean plus or minus `t(0.975, n-1) * s / sqrt(n)`, with the sample standard deviation `s`.
fn student_interval(samples: &[f64], mean: f64) -> Interval {
    let n = samples.len();
    if n < 2 {
        return Interval::NeedsRuns(2);
    }
    let squares: f64 = samples.iter().map(|v| (v - mean) * (v - mean)).sum();
    let standard_error = (squares / count(n - 1) / count(n)).sqrt();
    let half = student_quantile(n - 1) * standard_error;
    Interval::Known { low: mean - half, high: mean + half, attained: CONFIDENCE }
}

/// The 97.5 % quantile of Student's t; `freedom` is at least 1.
fn student_quantile(freedom: usize) -> f64 {
    match StudentsT::new(0.0, 1.0, count(freedom)) {
        Ok(distribution) => distribution.inverse_cdf(0.5 + CONFIDENCE / 2.0),
        // Only a non-positive freedom is refused; an infinite interval is then the truth.
        Err(_) => f64::INFINITY,
    }
}

/// From the k-th smallest to the k-th largest, with the largest k whose coverage
/// `1 - 2 P(Binomial(n, 1/2) < k)` is still at least 95 %.
fn order_statistic_interval(sorted: &[f64]) -> Interval {
    let n = sorted.len();
    match median_rank(n) {
        Some((k, attained)) => {
            Interval::Known { low: sorted[k - 1], high: sorted[n - k], attained }
        }
        None => Interval::NeedsRuns(MEDIAN_INTERVAL_RUNS_MIN),
    }
}

/// The rank k (from 1) of the interval's lower end and its coverage; `None` when even the full range is short.
fn median_rank(n: usize) -> Option<(usize, f64)> {
    let binomial = Binomial::new(0.5, n as u64).ok()?;
    let coverage = |k: usize| 1.0 - 2.0 * binomial.cdf(k as u64 - 1);
    // Coverage falls as k rises: bisect for the last k that still suffices.
    let (mut good, mut bad) = (0, n / 2 + 1);
    while bad - good > 1 {
        let middle = good.midpoint(bad);
        if coverage(middle) >= CONFIDENCE {
            good = middle;
        } else {
            bad = middle;
        }
    }
    (good > 0).then(|| (good, coverage(good)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(a: f64, b: f64) -> bool {
        (a - b).abs() <= 1e-9 * b.abs().max(1.0)
    }

    /// scipy 1.17.1: `stats.t.ppf(0.975, df)`.
    #[test]
    fn student_quantiles_agree_with_scipy() {
        let trusted = [
            (1, 12.706_204_736_174_694),
            (2, 4.302_652_729_749_462),
            (4, 2.776_445_105_197_793_4),
            (9, 2.262_157_162_798_205),
            (49, 2.009_575_237_129_239_2),
        ];
        for (freedom, expected) in trusted {
            let got = student_quantile(freedom);
            assert!(near(got, expected), "df {freedom}: {got} against {expected}");
        }
    }

    /// scipy 1.17.1: `stats.t.interval(0.95, 4, loc=mean(x), scale=stats.sem(x))`.
    #[test]
    fn the_interval_of_a_mean_agrees_with_scipy() {
        let s = summarise(&[10.1, 9.8, 10.4, 10.0, 9.9]).unwrap();
        assert!(near(s.mean, 10.04));
        assert!(near(s.median, 10.0));
        let [low, high] = s.mean_interval.ends().unwrap();
        assert!(near(low, 9.754_147_480_901_297), "{low}");
        assert!(near(high, 10.325_852_519_098_701), "{high}");
    }

    /// scipy 1.17.1: largest k with `2 * stats.binom.cdf(k - 1, n, 0.5) <= 0.05`, and one minus that.
    #[test]
    fn ranks_of_the_median_interval_agree_with_scipy() {
        let trusted = [
            (6, 1, 0.968_75),
            (7, 1, 0.984_375),
            (8, 1, 0.992_187_5),
            (9, 2, 0.960_937_5),
            (10, 2, 0.978_515_625),
            (11, 2, 0.988_281_25),
            (12, 3, 0.961_425_781_25),
            (20, 6, 0.958_610_534_667_968_8),
            (50, 18, 0.967_160_862_435_731_5),
            (100, 40, 0.964_799_799_782_295_1),
            (1000, 469, 0.953_708_802_639_501_9),
        ];
        for (n, k, attained) in trusted {
            let (got_k, got) = median_rank(n).unwrap();
            assert_eq!(got_k, k, "n {n}");
            assert!(near(got, attained), "n {n}: {got} against {attained}");
        }
    }

    #[test]
    fn the_median_of_fewer_than_six_launches_has_no_interval_at_95_percent() {
        for n in 1..MEDIAN_INTERVAL_RUNS_MIN {
            assert_eq!(median_rank(n), None, "n {n}");
        }
        let s = summarise(&[1.0, 2.0, 3.0, 4.0, 5.0]).unwrap();
        assert_eq!(s.median_interval, Interval::NeedsRuns(6));
        assert!(s.mean_interval.ends().is_some());
    }

    #[test]
    fn one_launch_has_no_interval_at_all() {
        let s = summarise(&[7.5]).unwrap();
        assert_eq!((s.n, s.mean, s.median, s.min, s.max), (1, 7.5, 7.5, 7.5, 7.5));
        assert_eq!(s.mean_interval, Interval::NeedsRuns(2));
        assert_eq!(s.median_interval, Interval::NeedsRuns(6));
    }

    #[test]
    fn equal_samples_have_an_interval_of_no_width() {
        let s = summarise(&[3.0; 8]).unwrap();
        assert_eq!(s.mean_interval.ends(), Some([3.0, 3.0]));
        assert_eq!(s.median_interval.ends(), Some([3.0, 3.0]));
    }

    #[test]
    fn the_order_of_launches_does_not_matter_and_an_outlier_does_not_move_the_median() {
        let a = summarise(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 9000.0]).unwrap();
        let b = summarise(&[9000.0, 6.0, 1.0, 5.0, 2.0, 4.0, 3.0]).unwrap();
        assert_eq!(a, b);
        assert_eq!(a.median, 4.0);
    }

    #[test]
    fn what_is_no_time_is_refused_with_its_place() {
        assert_eq!(summarise(&[]), Err(StatsError::Empty));
        let error = summarise(&[1.0, f64::NAN]).unwrap_err();
        assert!(error.to_string().contains("sample 1 is NaN"), "{error}");
        assert!(summarise(&[f64::INFINITY]).is_err());
    }

    proptest::proptest! {
        #[test]
        fn intervals_contain_what_they_are_about(samples in proptest::collection::vec(0.0..1e6f64, 1..60)) {
            let s = summarise(&samples).unwrap();
            proptest::prop_assert!(s.min <= s.median && s.median <= s.max);
            if let Some([low, high]) = s.mean_interval.ends() {
                proptest::prop_assert!(low <= s.mean && s.mean <= high);
            }
            if let Some([low, high]) = s.median_interval.ends() {
                proptest::prop_assert!(low <= s.median && s.median <= high);
                proptest::prop_assert!(s.min <= low && high <= s.max);
            }
        }
    }
}
