//! The rank test of Mann and Whitney: whether the launches of one side tend to be faster than those of the other.
//! It assumes no distribution and one slow launch cannot turn it. Exact for few launches, ties included; with many
//! the normal approximation, corrected for ties and continuity.

use statrs::distribution::{ContinuousCDF, Normal};

/// A difference is called one when it would arise by chance less often than this.
pub const ALPHA: f64 = 0.05;

/// Most launches of both sides together that are counted out exactly.
const EXACT_MAX: usize = 40;

/// What the test says of the first side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Its times tend to be shorter.
    Faster,
    /// Its times tend to be longer.
    Slower,
    /// The launches do not tell.
    NotToldApart,
}

impl Verdict {
    /// The words of the report.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Faster => "faster",
            Verdict::Slower => "slower",
            Verdict::NotToldApart => "not told apart",
        }
    }
}

/// Outcome of the test.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RankTest {
    /// Pairs in which the first side is slower, ties counted half.
    pub u: f64,
    /// Two-sided probability of so extreme a U by chance.
    pub p: f64,
    /// Whether `p` was counted out instead of approximated.
    pub exact: bool,
    /// The words for it at [`ALPHA`].
    pub verdict: Verdict,
}

/// Tests times `a` against times `b`; `None` when either is empty.
#[must_use]
pub fn rank_test(a: &[f64], b: &[f64]) -> Option<RankTest> {
    if a.is_empty() || b.is_empty() {
        return None;
    }
    let (n, m) = (a.len(), b.len());
    let ranks = Ranks::of(a, b);
    // Doubled ranks are whole numbers even for ties.
    let u = (ranks.sum_a as f64 - (n * (n + 1)) as f64) / 2.0;
    let exact = n + m <= EXACT_MAX;
    let p = if exact { exact_p(&ranks, n) } else { normal_p(u, n, m, ranks.ties) };
    let even = (n * m) as f64 / 2.0;
    let verdict = match p < ALPHA {
        true if u < even => Verdict::Faster,
        true => Verdict::Slower,
        false => Verdict::NotToldApart,
    };
    Some(RankTest { u, p, exact, verdict })
}

struct Ranks {
    /// Twice the rank of each value, in ascending order.
    doubled: Vec<usize>,
    /// Sum of the doubled ranks of the first side.
    sum_a: usize,
    /// Sum of `t^3 - t` over groups of t equal values.
    ties: f64,
}

impl Ranks {
    fn of(a: &[f64], b: &[f64]) -> Ranks {
        let first = a.iter().map(|v| (*v, true));
        let mut all: Vec<(f64, bool)> = first.chain(b.iter().map(|v| (*v, false))).collect();
        all.sort_by(|x, y| x.0.total_cmp(&y.0));
        let (mut doubled, mut sum_a, mut ties) = (Vec::with_capacity(all.len()), 0, 0.0);
        for equal in all.chunk_by(|x, y| x.0 == y.0) {
            let before = doubled.len();
            // The mean of the ranks before+1 ..= before+len, twice.
            let rank = 2 * before + equal.len() + 1;
            doubled.extend(std::iter::repeat_n(rank, equal.len()));
            sum_a += rank * equal.iter().filter(|(_, of_a)| *of_a).count();
            let t = equal.len() as f64;
            ties += t * t * t - t;
        }
        Ranks { doubled, sum_a, ties }
    }
}

/// Counts all choices of `n` ranks by their sum: ways[k][s] is the number of k-subsets with sum s.
fn exact_p(ranks: &Ranks, n: usize) -> f64 {
    let most: usize = ranks.doubled.iter().rev().take(n).sum();
    let mut ways = vec![vec![0.0f64; most + 1]; n + 1];
    ways[0][0] = 1.0;
    for &rank in &ranks.doubled {
        for k in (1..=n).rev() {
            let (fewer, these) = ways.split_at_mut(k);
            let (from, to) = (&fewer[k - 1], &mut these[0]);
            for s in rank..=most {
                to[s] += from[s - rank];
            }
        }
    }
    let counts = &ways[n];
    let total: f64 = counts.iter().sum();
    let below: f64 = counts[..=ranks.sum_a].iter().sum();
    let above: f64 = counts[ranks.sum_a..].iter().sum();
    (2.0 * below.min(above) / total).min(1.0)
}

fn normal_p(u: f64, n: usize, m: usize, ties: f64) -> f64 {
    let (n, m) = (n as f64, m as f64);
    let all = n + m;
    let variance = n * m / 12.0 * (all + 1.0 - ties / (all * (all - 1.0)));
    if variance <= 0.0 {
        return 1.0;
    }
    let distance = ((u - n * m / 2.0).abs() - 0.5).max(0.0);
    (2.0 * Normal::standard().sf(distance / variance.sqrt())).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(a: f64, b: f64) -> bool {
        (a - b).abs() <= 1e-9 * b.abs().max(1e-3)
    }

    #[test]
    fn three_launches_against_three_cannot_be_told_apart_and_four_can() {
        let three = rank_test(&[1.0, 2.0, 3.0], &[10.0, 20.0, 30.0]).unwrap();
        assert!(near(three.p, 0.1));
        assert_eq!(three.verdict, Verdict::NotToldApart);
        let four = rank_test(&[1.0, 2.0, 3.0, 4.0], &[10.0, 20.0, 30.0, 40.0]).unwrap();
        assert!(near(four.p, 2.0 / 70.0));
        assert_eq!(four.verdict, Verdict::Faster);
        let back = rank_test(&[10.0, 20.0, 30.0, 40.0], &[1.0, 2.0, 3.0, 4.0]).unwrap();
        assert_eq!(back.verdict, Verdict::Slower);
    }

    #[test]
    fn equal_launches_are_not_told_apart_however_many() {
        for n in [1, 5, 30] {
            let test = rank_test(&vec![2.0; n], &vec![2.0; n]).unwrap();
            assert_eq!((test.p, test.verdict), (1.0, Verdict::NotToldApart));
        }
        assert!(rank_test(&[], &[1.0]).is_none());
    }

    /// Of samples from one distribution the test calls about one in twenty different, never more.
    #[test]
    fn chance_is_called_a_difference_in_at_most_five_of_a_hundred() {
        let mut random = crate::report::bootstrap::Random::new(7);
        let mut draw =
            |n: usize| -> Vec<f64> { (0..n).map(|_| random.below(1000) as f64).collect() };
        for n in [8, 30] {
            let trials = 4000;
            let wrong = (0..trials)
                .filter(|_| rank_test(&draw(n), &draw(n)).unwrap().verdict != Verdict::NotToldApart)
                .count() as f64;
            let share = wrong / f64::from(trials);
            assert!((0.03..0.06).contains(&share), "n {n}: {share}");
        }
    }

    include!("rank_test_scipy.rs");
}
