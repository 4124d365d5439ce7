//! What stands beside IMB's tables: the machine's limits, each time as a multiple of them, the statistics over
//! fresh launches, and the summary. All of it in lines that begin with `#`. Pure: numbers in, text out.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::clocks::{BOUND_PPM, Drift};
use super::imb::{self, Row, Table};
use super::name::{Benchmark, Columns};
use super::worker::Sample;
pub use crate::report::limit::limit_us;
use crate::report::schema::{Limits, Provenance};
use crate::report::stats::{Interval, Summary, summarise};

/// Sizes that the summary shows, in bytes.
const SUMMARY_BYTES: [u64; 6] = [8, 1024, 8192, 65_536, 1_048_576, 4_194_304];

/// The first lines of the output, in IMB's order: what, when not, where.
#[must_use]
pub fn opening(provenance: &Provenance, benchmarks: &[Benchmark]) -> String {
    let version = provenance.versions.get("cohost").map_or("", String::as_str);
    let mut text = String::new();
    let dashes = format!("#{}", "-".repeat(60));
    let facts = [
        format!("#    cohost {version} (commit {}), IMB-MPI1 benchmarks", provenance.commit),
        dashes.clone(),
        format!("# Machine    : {}", provenance.machine),
        format!("# Hypervisor : {}", provenance.hypervisor),
        format!("# System     : {}", provenance.kernel),
        format!("# Cores      : {}, clock source {}", provenance.cores, provenance.clock_source),
        "#".to_owned(),
        "# MPI_Datatype                   :   MPI_BYTE".to_owned(),
        "# MPI_Datatype for reductions    :   MPI_FLOAT".to_owned(),
        "# MPI_Op                         :   MPI_SUM".to_owned(),
        "#".to_owned(),
        "# List of Benchmarks to run:".to_owned(),
    ];
    let facts = facts.into_iter().flat_map(|fact| {
        let after_system = fact.starts_with("# System");
        let guests = provenance.guests.iter().map(|how| format!("# Guests     : {how}"));
        let nic = Some(&provenance.nic).filter(|nic| !nic.is_empty());
        let nic = nic.map(|nic| format!("# Network    : {nic}"));
        let more: Vec<_> = guests.chain(nic).filter(|_| after_system).collect();
        std::iter::once(fact).chain(more)
    });
    put(&mut text, &dashes);
    facts.for_each(|fact| put(&mut text, &fact));
    benchmarks.iter().for_each(|b| put(&mut text, &format!("# {b}")));
    text
}

/// The limits in full, as `cohost bench limits` prints them.
#[must_use]
pub fn limits(limits: &Limits) -> String {
    let mut text =
        String::from("\n# What this machine allows: half round trips, best of several\n");
    if let Some(reason) = &limits.skipped {
        put(&mut text, &format!("# not measured: {reason}"));
    }
    if let Some(cell) = limits.cell_us {
        put(&mut text, &format!("# one cache line there and back      {cell:>10.3} us"));
    }
    let times = [
        ("two copies pipelined", &limits.two_copy_us),
        ("loopback TCP, busy polling", &limits.tcp_us),
    ];
    for (name, table) in times {
        for (bytes, us) in table {
            let rate = *bytes as f64 / us;
            put(&mut text, &format!("# {name:<26} {bytes:>8} B {us:>10.3} us {rate:>10.0} MB/s"));
        }
    }
    for (bytes, rate) in &limits.memcpy_mbytes_per_s {
        let us = *bytes as f64 / rate;
        put(&mut text, &format!("# {:<26} {bytes:>8} B {us:>10.3} us {rate:>10.0} MB/s", "memcpy"));
    }
    text
}

/// The limits in one line, for beside a table.
#[must_use]
pub fn limits_line(limits: &Limits) -> String {
    if let Some(reason) = &limits.skipped {
        return format!("limits: not measured: {reason}");
    }
    let at = |table: &BTreeMap<u64, f64>, bytes: u64| table.get(&bytes).copied().unwrap_or(0.0);
    format!(
        "limits [usec]: one cache line {:.2}; two copies 64 KiB {:.1}, 1 MiB {:.0}; TCP 8 B {:.1}, 1 MiB {:.0}",
        limits.cell_us.unwrap_or(0.0),
        at(&limits.two_copy_us, 65_536),
        at(&limits.two_copy_us, 1 << 20),
        at(&limits.tcp_us, 8),
        at(&limits.tcp_us, 1 << 20),
    )
}

/// All launches of one benchmark in one layout.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Which benchmark.
    pub benchmark: Benchmark,
    /// Layout, or `-`.
    pub layout: String,
    /// Ranks in the job.
    pub ranks: u32,
    /// Samples by message size, one for each launch.
    pub samples: BTreeMap<u64, Vec<Sample>>,
}

impl Series {
    /// The path of the largest message, which is that of the others.
    #[must_use]
    pub fn path(&self) -> &str {
        let last = self.samples.values().next_back().and_then(|s| s.first());
        last.map_or("unknown", |sample| &sample.path)
    }

    /// Statistics of the launches at one size: the time of the slowest rank, from which IMB computes throughput.
    #[must_use]
    pub fn summary(&self, bytes: u64) -> Option<Summary> {
        let times: Vec<f64> = self.samples.get(&bytes)?.iter().map(|s| s.t_max_us).collect();
        summarise(&times).ok()
    }

    /// The clock that strayed most in any launch.
    #[must_use]
    pub fn clock(&self) -> Option<Drift> {
        let samples = self.samples.values().flatten();
        samples.filter_map(|sample| sample.clock).reduce(Drift::worse)
    }

    fn mbytes_per_s(&self, bytes: u64, t_us: f64) -> f64 {
        self.benchmark.mbytes_per_s(self.benchmark.active_ranks(self.ranks), bytes, t_us)
    }
}

/// IMB's table of a series (means over the launches), then its statistics and multiples.
#[must_use]
pub fn series(series: &Series, limits: &Limits, checked: bool) -> String {
    let runs = series.samples.values().map(Vec::len).max().unwrap_or(0);
    let launches = match runs {
        1 => "1 launch".to_owned(),
        n => format!("means of {n} fresh launches"),
    };
    let notes = vec![
        format!("layout {}, path {}, {launches}", series.layout, series.path()),
        limits_line(limits),
    ];
    let rows = series.samples.iter().map(|(bytes, samples)| row(series, *bytes, samples)).collect();
    let table = Table { benchmark: series.benchmark, ranks: series.ranks, checked, notes, rows };
    let mut text = imb::table(&table);
    text.push_str(&multiples(series, limits));
    if runs > 1 {
        text.push_str(&statistics(series));
    }
    text.push_str(&series.clock().map(clock).unwrap_or_default());
    text
}

/// How far the ranks' clocks strayed; a mark when that is too much for the figures.
#[must_use]
pub fn clock(drift: Drift) -> String {
    let Drift { rank, ppm, uncertainty_ppm } = drift;
    let mut text = format!(
        "# clocks: that of rank {rank} strays most from rank 0's, by {ppm:.0} ppm (known to {uncertainty_ppm:.0})\n"
    );
    if drift.is_too_much() {
        put(
            &mut text,
            &format!(
                "# MARKED: more than {BOUND_PPM:.0} ppm: do not publish these times before the clocks agree"
            ),
        );
    }
    text
}

fn row(series: &Series, bytes: u64, samples: &[Sample]) -> Row {
    let mean = |value: fn(&Sample) -> f64| {
        samples.iter().map(value).sum::<f64>() / samples.len().max(1) as f64
    };
    let t_max_us = mean(|s| s.t_max_us);
    Row {
        bytes,
        repetitions: samples.iter().map(|s| s.repetitions).min().unwrap_or(0),
        t_min_us: mean(|s| s.t_min_us),
        t_max_us,
        t_avg_us: mean(|s| s.t_avg_us),
        mbytes_per_s: series.mbytes_per_s(bytes, t_max_us),
        defects: samples.iter().filter_map(|s| s.defects).reduce(|a, b| a + b),
    }
}

/// Each time as a multiple of what one message of that size costs at least, and its processor time.
fn multiples(series: &Series, limits: &Limits) -> String {
    let mut text = String::new();
    put(
        &mut text,
        "# beside the least time of one message of that size on this path, and processor time of one repetition:",
    );
    put(
        &mut text,
        &columns(&["#bytes", "t[usec]", "limit[usec]", "multiple", "user[usec]", "sys[usec]"]),
    );
    for (bytes, samples) in &series.samples {
        let Some(summary) = series.summary(*bytes) else {
            continue;
        };
        let limit = match series.benchmark.columns() {
            Columns::Sync => limit_us(limits, series.path(), 0),
            _ => limit_us(limits, series.path(), *bytes),
        };
        let mean = |value: fn(&Sample) -> f64| {
            samples.iter().map(value).sum::<f64>() / samples.len().max(1) as f64
        };
        let (limit, multiple) = match limit.filter(|l| *l > 0.0) {
            Some(limit) => (format!("{limit:.3}"), format!("{:.2}", summary.mean / limit)),
            None => ("-".to_owned(), "-".to_owned()),
        };
        let cells = [
            bytes.to_string(),
            format!("{:.3}", summary.mean),
            limit,
            multiple,
            format!("{:.3}", mean(|s| s.cpu_us.user)),
            format!("{:.3}", mean(|s| s.cpu_us.system)),
        ];
        put(&mut text, &columns(&cells));
    }
    text
}

/// Mean and median over the launches with their intervals at 95 %.
fn statistics(series: &Series) -> String {
    let mut text = String::new();
    put(
        &mut text,
        "# over fresh launches, intervals at 95 %: mean (Student), median (order statistics); t[usec]",
    );
    put(
        &mut text,
        &columns(&["#bytes", "launches", "mean", "low", "high", "median", "low", "high"]),
    );
    let mut missing = None;
    for bytes in series.samples.keys() {
        let Some(s) = series.summary(*bytes) else {
            continue;
        };
        let mut cells = vec![bytes.to_string(), s.n.to_string(), format!("{:.3}", s.mean)];
        cells.extend(ends(s.mean_interval));
        cells.push(format!("{:.3}", s.median));
        cells.extend(ends(s.median_interval));
        if let Interval::NeedsRuns(needed) = s.median_interval {
            missing = Some((s.n, needed));
        }
        put(&mut text, &columns(&cells));
    }
    if let Some((n, needed)) = missing {
        put(
            &mut text,
            &format!(
                "# no interval of the median: {n} launches cannot reach 95 %, {needed} can (--runs {needed})"
            ),
        );
    }
    text
}

fn ends(interval: Interval) -> [String; 2] {
    match interval.ends() {
        Some(ends) => ends.map(|end| format!("{end:.3}")),
        None => ["-", "-"].map(str::to_owned),
    }
}

/// A comment line of right-aligned cells.
fn columns<S: AsRef<str>>(cells: &[S]) -> String {
    let mut line = String::from("#");
    for (i, cell) in cells.iter().enumerate() {
        let width = if i == 0 { 12 } else { 13 };
        // Writing to a String cannot fail.
        let _ = write!(line, "{:>width$}", cell.as_ref());
    }
    line
}

/// The point of it all: the same two ranks over rings in one host, and over TCP between two.
/// `None` unless both layouts were measured with PingPong. `limits_of` gives what the machine allowed
/// just before a layout.
#[must_use]
pub fn comparison<'a>(
    all: &[Series],
    limits_of: impl Fn(&str) -> Option<&'a Limits>,
) -> Option<String> {
    let find = |layout: &str, path: &str| {
        all.iter()
            .find(|s| s.benchmark == Benchmark::PingPong && s.layout == layout && s.path() == path)
    };
    let (ring, tcp) = (find("1x2", "ring")?, find("2x1", "tcp")?);
    let mut text =
        String::from("\n# The same two ranks in one host and in two: PingPong, half round trip\n");
    let titles =
        ["#bytes", "1x2 ring us", "x limit", "MB/s", "2x1 tcp us", "x limit", "MB/s", "tcp/ring"];
    put(&mut text, &columns(&titles));
    for bytes in SUMMARY_BYTES {
        let (Some(a), Some(b)) = (ring.summary(bytes), tcp.summary(bytes)) else {
            continue;
        };
        let mut cells = vec![bytes.to_string()];
        for (series, mean) in [(ring, a.mean), (tcp, b.mean)] {
            let limit = limits_of(&series.layout)
                .and_then(|limits| limit_us(limits, series.path(), bytes))
                .filter(|l| *l > 0.0);
            cells.push(format!("{mean:.2}"));
            cells.push(limit.map_or("-".to_owned(), |l| format!("{:.2}", mean / l)));
            cells.push(format!("{:.0}", series.mbytes_per_s(bytes, mean)));
        }
        cells.push(format!("{:.1}", b.mean / a.mean));
        put(&mut text, &columns(&cells));
    }
    Some(text)
}

fn put(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

#[cfg(test)]
#[path = "text_tests.rs"]
mod tests;
