use super::super::stats::summarise;
use super::*;

const X: [f64; 10] = [20.3, 21.1, 19.8, 22.4, 20.9, 21.7, 20.0, 23.5, 20.6, 21.2];
const Y: [f64; 10] = [4.1, 4.0, 4.6, 3.9, 4.2, 5.1, 4.0, 4.3, 4.4, 4.1];

fn close(a: f64, b: f64, tolerance: f64) -> bool {
    (a - b).abs() <= tolerance
}

fn logs(samples: &[f64]) -> Vec<f64> {
    logarithms(samples).unwrap()
}

fn theta() -> f64 {
    let mean = |x: &[f64]| Trimmed::of(&logs(x), &[1; 10]).mean;
    mean(&X) - mean(&Y)
}

/// scipy 1.17.1: `stats.bootstrap((log x, log y), difference of stats.trim_mean(., 0.2), method='percentile',
/// n_resamples=100000)`.
#[test]
fn resampled_ratios_are_spread_as_scipys() {
    let drawn = resample(&logs(&X), &logs(&Y), theta(), 1);
    let mut ratios: Vec<f64> = drawn.iter().map(|r| r.log_ratio).collect();
    ratios.sort_by(f64::total_cmp);
    let (low, high) = (ratios[49], ratios[RESAMPLES - 50]);
    assert!(close(low, 1.543_283, 0.006), "{low}");
    assert!(close(high, 1.665_699, 0.006), "{high}");
    let mean = ratios.iter().sum::<f64>() / ratios.len() as f64;
    let spread = ratios.iter().map(|l| (l - mean).powi(2)).sum::<f64>() / (ratios.len() - 1) as f64;
    assert!(close(spread.sqrt(), 0.030_849, 0.0015), "{}", spread.sqrt());
}

/// scipy 1.17.1: `mstats.winsorize(log x, (.2, .2)).var(ddof=1) * 9 / (6 * 5)`.
#[test]
fn the_error_of_a_trimmed_mean_agrees_with_scipy() {
    let error2 = Trimmed::of(&logs(&X), &[1; 10]).error2;
    assert!(close(error2, 0.000_238_710_629_185_431_78, 1e-15), "{error2}");
}

/// numpy 2: the studentised bootstrap written out with 100,000 resamples; the value is scipy's `trim_mean`.
#[test]
fn the_interval_of_a_ratio_agrees_with_numpy() {
    let ratio = ratio(&X, &Y, 1).unwrap();
    assert!(close(ratio.value, 5.013_391_009_512_87, 1e-9), "{}", ratio.value);
    let [low, high] = ratio.interval.ends().unwrap();
    assert!(close(low, 4.6876, 0.05), "{low}");
    assert!(close(high, 5.3025, 0.05), "{high}");
}

#[test]
fn one_launch_that_met_a_busy_host_moves_neither_the_ratio_nor_its_interval_far() {
    let mut busy = X;
    busy[7] = 2350.0;
    let [clean, hit] = [ratio(&X, &Y, 1).unwrap(), ratio(&busy, &Y, 1).unwrap()];
    assert_eq!(clean.value, hit.value);
    let ([_, high], [_, hit_high]) = (clean.interval.ends().unwrap(), hit.interval.ends().unwrap());
    assert!(hit_high < 1.1 * high, "{hit_high} against {high}");
}

#[test]
fn the_same_seed_gives_the_same_interval_and_swapping_sides_mirrors_it() {
    assert_eq!(ratio(&X, &Y, 9), ratio(&X, &Y, 9));
    let (there, back) = (ratio(&X, &Y, 9).unwrap(), ratio(&Y, &X, 9).unwrap());
    assert!(close(there.value * back.value, 1.0, 1e-12));
    let ([low, high], [b_low, b_high]) =
        (there.interval.ends().unwrap(), back.interval.ends().unwrap());
    assert!(close(low * b_high, 1.0, 0.02) && close(high * b_low, 1.0, 0.02));
}

#[test]
fn too_few_launches_have_a_ratio_but_no_interval() {
    let ratio = ratio(&[2.0; 4], &[1.0; 9], 1).unwrap();
    assert_eq!((ratio.value, ratio.interval), (2.0, Interval::NeedsRuns(5)));
    assert!(super::ratio(&[], &[1.0], 1).is_none());
    assert!(super::ratio(&[0.0; 6], &[1.0; 6], 1).is_none());
}

#[test]
fn equal_launches_have_an_interval_of_no_width() {
    let ratio = ratio(&[3.0; 8], &[1.5; 8], 1).unwrap();
    let [low, high] = ratio.interval.ends().unwrap();
    assert!(close(low, 2.0, 1e-12) && close(high, 2.0, 1e-12));
}

#[test]
fn a_shuffle_keeps_everything_and_depends_on_the_seed_alone() {
    let shuffled = |seed| {
        let mut items: Vec<u32> = (0..50).collect();
        Random::new(seed).shuffle(&mut items);
        items
    };
    assert_eq!(shuffled(3), shuffled(3));
    assert_ne!(shuffled(3), shuffled(4));
    let mut sorted = shuffled(3);
    sorted.sort_unstable();
    assert_eq!(sorted, (0..50).collect::<Vec<_>>());
}

/// Normal deviates by Box and Muller.
fn normal(random: &mut Random) -> f64 {
    let unit = |r: &mut Random| (r.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
    let (u, v) = (1.0 - unit(random), unit(random));
    (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}

fn draws(random: &mut Random, n: usize, one: &dyn Fn(f64) -> f64) -> Vec<f64> {
    (0..n).map(|_| one(normal(random))).collect()
}

/// Share of `trials` in which `covered` holds.
fn coverage(trials: u32, mut covered: impl FnMut(&mut Random) -> bool) -> f64 {
    let mut random = Random::new(2008);
    let hits = (0..trials).filter(|_| covered(&mut random)).count();
    hits as f64 / f64::from(trials)
}

fn inside(interval: Interval, truth: f64) -> bool {
    let [low, high] = interval.ends().unwrap();
    low <= truth && truth <= high
}

#[test]
fn the_interval_of_a_mean_covers_it_in_95_of_100_campaigns() {
    for n in [2, 5, 10, 30, 50] {
        let share = coverage(20_000, |random| {
            let samples = draws(random, n, &|z| 20.0 + 2.0 * z);
            inside(summarise(&samples).unwrap().mean_interval, 20.0)
        });
        assert!((0.94..=0.96).contains(&share), "n {n}: {share}");
    }
}

/// Order statistics come in steps, so the promise is the coverage they say they attain, which is at least 95 %;
/// with many launches the steps are small enough for 94 to 96.
#[test]
fn the_interval_of_a_median_covers_it_as_often_as_it_says_whatever_the_distribution() {
    let skewed: &dyn Fn(f64) -> f64 = &|z| (0.8 * z).exp();
    let even: &dyn Fn(f64) -> f64 = &|z| 1.0 + 0.1 * z;
    for (n, one) in [(6, skewed), (9, skewed), (20, even), (50, skewed), (400, even)] {
        let mut attained = 0.0;
        let share = coverage(10_000, |random| {
            let interval = summarise(&draws(random, n, one)).unwrap().median_interval;
            if let Interval::Known { attained: said, .. } = interval {
                attained = said;
            }
            inside(interval, one(0.0))
        });
        assert!((share - attained).abs() < 0.008, "n {n}: {share}, said {attained}");
        assert!(share >= 0.945, "n {n}: {share}");
        assert!(n < 400 || share <= 0.96, "n {n}: {share}");
    }
}

/// True ratios: skewed times have a typical one of 1; normal ones of 8, 10 and 5 % spread one slightly below their
/// mean, by numpy's `trim_mean(log(1 + s * z), 0.2)` over four million z.
#[test]
fn the_interval_of_a_ratio_covers_it_in_94_to_96_of_100_campaigns() {
    let even: &dyn Fn(f64) -> f64 = &|z| 20.0 * (1.0 + 0.08 * z);
    let skewed: &dyn Fn(f64) -> f64 = &|z| (0.25 * z).exp();
    for (n, one, typical) in [
        (10, even, 20.0 * 0.999_263),
        (20, even, 20.0 * 0.999_263),
        (10, skewed, 1.0),
        (20, skewed, 1.0),
        (50, skewed, 1.0),
    ] {
        let share = coverage(3000, |random| {
            let (a, b) = (draws(random, n, one), draws(random, n, &|z| 4.0 + 0.2 * z));
            let seed = random.next_u64();
            inside(ratio(&a, &b, seed).unwrap().interval, typical / (4.0 * 0.999_700))
        });
        assert!((0.94..=0.96).contains(&share), "n {n}: {share}");
    }
}

/// Five launches are the fewest with an interval: it may be wide, but must not promise too much.
#[test]
fn with_few_launches_the_interval_of_a_ratio_errs_on_the_wide_side() {
    for n in [5, 7] {
        let share = coverage(3000, |random| {
            let (a, b) =
                (draws(random, n, &|z| 20.0 + 2.0 * z), draws(random, n, &|z| 4.0 + 0.2 * z));
            let seed = random.next_u64();
            inside(ratio(&a, &b, seed).unwrap().interval, 5.0 * 0.998_864 / 0.999_700)
        });
        assert!(share >= 0.94, "n {n}: {share}");
    }
}
