//! Axes: values to pixels, linear or logarithmic, with ticks that a person would choose.

/// Ratio of largest to smallest value beyond which an axis is logarithmic.
const LOG_RATIO: f64 = 10.0;

/// A range of values laid over a range of pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale {
    /// Whether it is logarithmic.
    pub log: bool,
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Scale {
    /// A scale that holds all positive `values`, between the pixels `from` and `to`. From zero when linear.
    pub fn holding(values: impl Iterator<Item = f64>, from: f64, to: f64) -> Scale {
        let (mut low, mut high) = (f64::INFINITY, 0.0f64);
        for v in values.filter(|v| v.is_finite() && *v > 0.0) {
            (low, high) = (low.min(v), high.max(v));
        }
        if high <= 0.0 {
            (low, high) = (1.0, 1.0);
        }
        let log = high / low > LOG_RATIO;
        let (low, high) = if log {
            // Some air on both sides, so that the smallest bar can be seen.
            (low / 1.6, high * 1.15)
        } else {
            (0.0, high * 1.05)
        };
        Scale { log, low, high, from, to }
    }

    /// The same range over other pixels.
    pub fn over(self, from: f64, to: f64) -> Scale {
        Scale { from, to, ..self }
    }

    /// Pixel of a value; values outside are held at the edge.
    pub fn at(&self, value: f64) -> f64 {
        let share = if self.log {
            (value.max(self.low) / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        self.from + share.clamp(0.0, 1.0) * (self.to - self.from)
    }

    /// Values for ticks, at most about `most`, in ascending order.
    pub fn ticks(&self, most: usize) -> Vec<f64> {
        if self.log { self.log_ticks(most.max(2)) } else { self.linear_ticks(most.max(2)) }
    }

    fn log_ticks(&self, most: usize) -> Vec<f64> {
        let (first, last) = (self.low.log10().floor() as i32, self.high.log10().ceil() as i32);
        let inside = |v: &f64| *v >= self.low * 0.999 && *v <= self.high * 1.001;
        let with = |steps: &[f64]| -> Vec<f64> {
            let all = (first..=last).flat_map(|e| steps.iter().map(move |s| s * 10f64.powi(e)));
            all.filter(inside).collect()
        };
        for steps in [&[1.0, 2.0, 5.0][..], &[1.0, 3.0], &[1.0]] {
            let ticks = with(steps);
            if ticks.len() <= most {
                return ticks;
            }
        }
        let decades = with(&[1.0]);
        let every = decades.len().div_ceil(most);
        decades.into_iter().step_by(every).collect()
    }

    fn linear_ticks(&self, most: usize) -> Vec<f64> {
        let rough = (self.high - self.low) / most as f64;
        let unit = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0]
            .into_iter()
            .map(|s| s * unit)
            .find(|s| *s >= rough)
            .unwrap_or(unit);
        let count = ((self.high - self.low) / step).floor() as usize;
        (0..=count).map(|i| self.low + step * i as f64).collect()
    }
}

/// A tick's value without needless digits.
pub fn tick_text(value: f64) -> String {
    let rounded = format!("{value:.6}");
    let short = rounded.trim_end_matches('0').trim_end_matches('.');
    match value {
        v if v >= 10_000.0 => super::super::compare::number(v),
        _ => short.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_beyond_ten_make_an_axis_logarithmic_and_others_start_at_zero() {
        let small = Scale::holding([10.0, 90.0].into_iter(), 0.0, 100.0);
        assert!(!small.log && small.at(0.0) == 0.0);
        assert!(Scale::holding([1.0, 11.0].into_iter(), 0.0, 100.0).log);
    }

    proptest::proptest! {
        #[test]
        fn every_value_lies_on_the_axis_and_ticks_are_few_and_ascend(
            values in proptest::collection::vec(1e-3..1e9f64, 1..20), most in 2usize..9) {
            let scale = Scale::holding(values.iter().copied(), 50.0, 250.0);
            for v in &values {
                proptest::prop_assert!((50.0..=250.0).contains(&scale.at(*v)));
            }
            let ticks = scale.ticks(most);
            proptest::prop_assert!(!ticks.is_empty() && ticks.len() <= most + 2, "{ticks:?}");
            proptest::prop_assert!(ticks.is_sorted_by(|a, b| a < b));
        }
    }
}
