//! What the machine allows for one message, from the limits measured beside the figures: the line that is drawn
//! into every figure, and the divisor of every multiple.

use std::collections::BTreeMap;

use super::schema::Limits;

/// Largest message that fits into one cache line beside its flag, in bytes: up to it the limit is the cell's.
const CELL_BYTES: u64 = 48;

/// The least time in microseconds this machine needs for one message of `bytes` over `path`; between measured
/// sizes interpolated. Over several paths the slower one counts. `None` when it was not measured.
#[must_use]
pub fn limit_us(limits: &Limits, path: &str, bytes: u64) -> Option<f64> {
    let one = |path: &str| match path {
        "ring" if bytes <= CELL_BYTES => limits.cell_us,
        "ring" => {
            let mut points = limits.two_copy_us.clone();
            points.insert(CELL_BYTES, limits.cell_us?);
            interpolate(&points, bytes)
        }
        "tcp" => interpolate(&limits.tcp_us, bytes),
        "self" if bytes > 0 => {
            interpolate(&limits.memcpy_mbytes_per_s, bytes).map(|r| bytes as f64 / r)
        }
        _ => None,
    };
    path.split('+').map(one).collect::<Option<Vec<_>>>()?.into_iter().reduce(f64::max)
}

/// Linear between the points; level below the first, and in proportion to the last beyond it.
fn interpolate(points: &BTreeMap<u64, f64>, at: u64) -> Option<f64> {
    let below = points.range(..=at).next_back();
    let above = points.range(at..).next();
    match (below, above) {
        (Some((x0, y0)), Some((x1, y1))) if x1 > x0 => {
            Some(y0 + (y1 - y0) * (at - x0) as f64 / (x1 - x0) as f64)
        }
        (Some((x, y)), None) => Some(y * at as f64 / (*x).max(1) as f64),
        (Some((_, y)), _) | (None, Some((_, y))) => Some(*y),
        (None, None) => None,
    }
}

/// The better of two measurements of one machine, figure by figure: of passes in one measurement, or of
/// measurements in one campaign.
#[must_use]
pub fn best_of(mut a: Limits, b: &Limits) -> Limits {
    merge(&mut a.two_copy_us, &b.two_copy_us, f64::min);
    merge(&mut a.tcp_us, &b.tcp_us, f64::min);
    merge(&mut a.memcpy_mbytes_per_s, &b.memcpy_mbytes_per_s, f64::max);
    a.cell_us = a.cell_us.into_iter().chain(b.cell_us).reduce(f64::min);
    a
}

fn merge(into: &mut BTreeMap<u64, f64>, from: &BTreeMap<u64, f64>, pick: fn(f64, f64) -> f64) {
    for (size, value) in from {
        let best = into.entry(*size).or_insert(*value);
        *best = pick(*best, *value);
    }
}
