//! Result files side by side: which figures there are, grouped by hypervisor and layout, what the ring gains over
//! the virtual NIC, and what a reader must know beside each. Pure: documents in, numbers and words out. The
//! rendering (`tables`, `csv`, `page`, and `figure` one floor up) adds nothing to the numbers.

pub mod csv;
pub mod gain;
pub mod page;
pub mod tables;
pub mod warnings;

use std::collections::{BTreeMap, BTreeSet};

use super::limit::{best_of, limit_us};
use super::schema::{Document, Limits, Provenance, Stated};
use super::stats::{Summary, summarise};

/// A file to compare.
#[derive(Debug, Clone)]
pub struct Input {
    /// Its name, as the user gave it.
    pub name: String,
    /// Name of its group; without, the hypervisor that was detected.
    pub label: Option<String>,
    /// What it holds.
    pub document: Document,
}

/// Files measured on one hypervisor.
#[derive(Debug, Clone)]
pub struct Group {
    /// Name in every figure.
    pub name: String,
    /// Hypervisor identifiers found in its files.
    pub hypervisors: BTreeSet<String>,
    /// Name and conditions of each file.
    pub files: Vec<(String, Provenance)>,
    /// The best limits of its files.
    pub limits: Limits,
}

/// What belongs into one line of a figure: everything but the message size.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// Index into [`Comparison::groups`].
    pub group: usize,
    /// Benchmark as IMB spells it.
    pub benchmark: String,
    /// Layout, sortable.
    pub layout: LayoutName,
    /// Path of the messages.
    pub path: String,
    /// Ranks in the job.
    pub ranks: u32,
}

/// A layout by hosts and machines, so that 2x4 comes after 1x4; what is none comes last.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LayoutName {
    /// Hosts and machines on each.
    shape: (u32, u32),
    /// As written.
    pub text: String,
}

impl LayoutName {
    /// Understands `HxV`.
    #[must_use]
    pub fn new(text: &str) -> LayoutName {
        let parts = text.split_once('x');
        let shape = parts.and_then(|(h, v)| Some((h.parse().ok()?, v.parse().ok()?)));
        LayoutName { shape: shape.unwrap_or((u32::MAX, u32::MAX)), text: text.to_owned() }
    }

    /// Virtual machines in all hosts; `None` when the layout is not known.
    #[must_use]
    pub fn machines(&self) -> Option<u32> {
        let (hosts, vms) = self.shape;
        (hosts != u32::MAX).then(|| hosts.saturating_mul(vms))
    }

    /// The layout in words, such as `2 hosts, 4 VMs each`.
    #[must_use]
    pub fn words(&self) -> String {
        let (hosts, vms) = self.shape;
        let s = |n: u32| if n == 1 { "" } else { "s" };
        match hosts {
            u32::MAX => "layout not stated".to_owned(),
            1 => format!("1 host, {vms} VM{}", s(vms)),
            _ => format!("{hosts} hosts, {vms} VM{} each", s(vms)),
        }
    }

    /// Whether all ranks share one host; `None` when the layout is not known.
    #[must_use]
    pub fn one_host(&self) -> Option<bool> {
        (self.shape.0 != u32::MAX).then_some(self.shape.0 == 1)
    }
}

/// The launches of one key at one size.
#[derive(Debug, Clone)]
pub struct Cell {
    /// Time of each launch, microseconds.
    pub samples_us: Vec<f64>,
    /// Statistics of the time.
    pub summary: Summary,
    /// Bytes counted for the throughput of one operation.
    pub volume: f64,
    /// Least time of one message of that size on this path, microseconds.
    pub limit_us: Option<f64>,
    /// Stolen time as a share of the time of an operation, 0 to 1 and above.
    pub steal_share: f64,
    /// The least by which some clock certainly strayed from rank 0's, parts per million; `None` when no clock was
    /// held against another.
    pub drift_ppm: Option<f64>,
}

impl Cell {
    /// Throughput at the mean time with the ends of its interval, MB/s (10^6).
    #[must_use]
    pub fn rate(&self) -> Spread {
        let time = self.time();
        let rate = |us: f64| if us > 0.0 { self.volume / us } else { 0.0 };
        Spread {
            value: rate(time.value),
            // A faster end of the time is the higher end of the rate. An interval that reaches zero time
            // has no upper end; the fastest launch then stands for it.
            interval: time.interval.map(|[low, high]| {
                let low = if low > 0.0 { low } else { self.summary.min };
                [rate(high), rate(low)]
            }),
        }
    }

    /// Mean time with Student's interval, microseconds.
    #[must_use]
    pub fn time(&self) -> Spread {
        Spread { value: self.summary.mean, interval: self.summary.mean_interval.ends() }
    }

    /// Launches outside Tukey's fences, one and a half quartile distances beyond the quartiles: shown, never dropped.
    #[must_use]
    pub fn outliers_us(&self) -> Vec<f64> {
        let mut sorted = self.samples_us.clone();
        sorted.sort_by(f64::total_cmp);
        if sorted.len() < 5 {
            return Vec::new();
        }
        let (q1, q3) = (quantile(&sorted, 0.25), quantile(&sorted, 0.75));
        let fence = 1.5 * (q3 - q1);
        sorted.retain(|v| *v < q1 - fence || *v > q3 + fence);
        sorted
    }
}

/// Quantile by linear interpolation (type 7) of sorted, non-empty values.
#[must_use]
pub fn quantile(sorted: &[f64], q: f64) -> f64 {
    let at = q * (sorted.len() - 1) as f64;
    let (low, high) = (at.floor() as usize, at.ceil() as usize);
    sorted[low] + (sorted[high] - sorted[low]) * (at - low as f64)
}

/// A value with its interval at 95 %, where there is one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// The value.
    pub value: f64,
    /// Lower and upper end.
    pub interval: Option<[f64; 2]>,
}

/// All files together.
#[derive(Debug, Clone)]
pub struct Comparison {
    /// Hypervisors, in the order of the files.
    pub groups: Vec<Group>,
    /// Figures by key and message size.
    pub series: BTreeMap<Key, BTreeMap<u64, Cell>>,
    /// Figures of publications, with their source.
    pub stated: Vec<(String, Stated)>,
}

/// Launches of one cell, before they are summarised.
#[derive(Default)]
struct Pool {
    samples_us: Vec<f64>,
    volume: f64,
    steal_us: f64,
    drift_ppm: Option<f64>,
}

impl Comparison {
    /// Puts the files together. Launches of the same hypervisor, benchmark, layout, path and size are one sample.
    #[must_use]
    pub fn new(inputs: &[Input]) -> Comparison {
        let names = group_names(inputs);
        let mut groups: Vec<Group> = Vec::new();
        let mut pools: BTreeMap<Key, BTreeMap<u64, Pool>> = BTreeMap::new();
        let mut stated = Vec::new();
        for (input, name) in inputs.iter().zip(names) {
            let source = &input.document.provenance.source;
            stated.extend(input.document.stated.iter().map(|s| (source.clone(), s.clone())));
            if input.document.results.is_empty() {
                continue;
            }
            let group = join(&mut groups, &name, input);
            for result in &input.document.results {
                let key = Key {
                    group,
                    benchmark: result.benchmark.clone(),
                    layout: LayoutName::new(&result.layout),
                    path: result.path.clone(),
                    ranks: result.ranks,
                };
                let pool = pools.entry(key).or_default().entry(result.bytes).or_default();
                pool.samples_us.extend(&result.samples_us);
                pool.volume = result.mbytes_per_s * result.t_us.mean;
                pool.steal_us += result.cpu_us.steal * result.samples_us.len() as f64;
                let unsure = result.clock_uncertainty_ppm.unwrap_or(0.0);
                let drift = result.clock_drift_ppm.map(|ppm| (ppm.abs() - unsure).max(0.0));
                pool.drift_ppm = pool.drift_ppm.into_iter().chain(drift).reduce(f64::max);
            }
        }
        let series = pools
            .into_iter()
            .map(|(key, sizes)| {
                let limits = &groups[key.group].limits;
                let cells = sizes.into_iter().filter_map(|(bytes, pool)| {
                    let limit = limit_us(limits, &key.path, bytes).filter(|l| *l > 0.0);
                    Some((bytes, cell(pool, limit)?))
                });
                let cells = cells.collect();
                (key, cells)
            })
            .collect();
        Comparison { groups, series, stated }
    }

    /// Whether a column is of VMware, whose licence restricts publishing.
    #[must_use]
    pub fn has_vmware(&self) -> bool {
        let measured = self.groups.iter().flat_map(|g| g.hypervisors.iter().chain([&g.name]));
        let stated = self.stated.iter().map(|(_, s)| &s.hypervisor);
        measured.chain(stated).any(|id| id.to_ascii_lowercase().contains("vmware"))
    }

    /// Launches in all cells of the most often launched series of each group, layout and path: how much was measured.
    #[must_use]
    pub fn launches(&self) -> usize {
        let mut most = BTreeMap::new();
        for (key, cells) in &self.series {
            let n = cells.values().map(|c| c.samples_us.len()).max().unwrap_or(0);
            // Benchmarks of one launch share it.
            let entry =
                most.entry((key.group, &key.layout, rough_path(&key.path), key.ranks)).or_insert(0);
            *entry = n.max(*entry);
        }
        most.values().sum()
    }

    /// Series of one benchmark.
    pub fn of<'a>(
        &'a self,
        benchmark: &'a str,
    ) -> impl Iterator<Item = (&'a Key, &'a BTreeMap<u64, Cell>)> {
        self.series.iter().filter(move |(key, _)| key.benchmark == benchmark)
    }

    /// The size that most of these series have, of those preferred the first: a figure shows one size.
    #[must_use]
    pub fn common_size<'a>(
        cells: impl Iterator<Item = &'a BTreeMap<u64, Cell>>,
        prefer: Prefer,
    ) -> Option<u64> {
        let mut counts: BTreeMap<u64, usize> = BTreeMap::new();
        cells.flat_map(BTreeMap::keys).for_each(|bytes| *counts.entry(*bytes).or_default() += 1);
        let most = counts.values().max().copied()?;
        let mut common = counts.into_iter().filter(|(_, n)| *n == most).map(|(bytes, _)| bytes);
        match prefer {
            Prefer::Short => common.min_by_key(|bytes| bytes.abs_diff(8)),
            Prefer::Long => common.next_back(),
        }
    }
}

/// Which of several sizes a figure shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prefer {
    /// Close to 8 bytes: latency.
    Short,
    /// The largest: bandwidth.
    Long,
}

/// `self` is what a benchmark of one rank calls every path; for counting launches it is one of its own.
fn rough_path(path: &str) -> &str {
    if path.contains("ring") { "ring" } else { path }
}

fn cell(pool: Pool, limit_us: Option<f64>) -> Option<Cell> {
    let summary = summarise(&pool.samples_us).ok()?;
    let steal_us = pool.steal_us / pool.samples_us.len() as f64;
    Some(Cell {
        steal_share: if summary.mean > 0.0 { steal_us / summary.mean } else { 0.0 },
        samples_us: pool.samples_us,
        drift_ppm: pool.drift_ppm,
        summary,
        volume: pool.volume,
        limit_us,
    })
}

/// The hypervisor as detected; where files of one hypervisor had different network interfaces, with the interface;
/// beside guests, processes are called so.
fn group_names(inputs: &[Input]) -> Vec<String> {
    let nics = |hypervisor: &str| -> BTreeSet<&str> {
        let same = inputs.iter().filter(|i| i.document.provenance.hypervisor == hypervisor);
        same.map(|i| i.document.provenance.nic.as_str()).collect()
    };
    let guests = inputs.iter().any(|i| i.document.provenance.target == "guests");
    let name = |input: &Input| {
        if let Some(label) = &input.label {
            return label.clone();
        }
        let p = &input.document.provenance;
        match nics(&p.hypervisor).len() {
            _ if guests && p.target == "processes" => format!("processes on {}", p.hypervisor),
            2.. if !p.nic.is_empty() => format!("{} ({})", p.hypervisor, p.nic),
            _ => p.hypervisor.clone(),
        }
    };
    inputs.iter().map(name).collect()
}

fn join(groups: &mut Vec<Group>, name: &str, input: &Input) -> usize {
    let document = &input.document;
    let index = groups.iter().position(|g| g.name == name).unwrap_or_else(|| {
        groups.push(Group {
            name: name.to_owned(),
            hypervisors: BTreeSet::new(),
            files: Vec::new(),
            limits: Limits::default(),
        });
        groups.len() - 1
    });
    let group = &mut groups[index];
    group.hypervisors.insert(document.provenance.hypervisor.clone());
    group.files.push((input.name.clone(), document.provenance.clone()));
    group.limits = best_of(std::mem::take(&mut group.limits), &document.limits);
    index
}

/// Bytes as a person would say them.
#[must_use]
pub fn bytes_text(bytes: u64) -> String {
    for (shift, unit) in [(30, "GiB"), (20, "MiB"), (10, "KiB")] {
        if bytes >= 1 << shift && bytes.is_multiple_of(1 << shift) {
            return format!("{} {unit}", bytes >> shift);
        }
    }
    format!("{bytes} B")
}

/// Three significant digits; an exponent only where there would be more digits than fit a column, as at
/// the ends of intervals of a few launches that differ a lot.
#[must_use]
pub fn number(value: f64) -> String {
    let magnitude = value.abs();
    if magnitude >= 1e7 || (magnitude > 0.0 && magnitude < 5e-5) {
        return format!("{value:.2e}");
    }
    let decimals = match magnitude {
        m if m >= 100.0 || m == 0.0 => 0,
        m if m >= 10.0 => 1,
        m if m >= 1.0 => 2,
        m if m >= 0.1 => 3,
        _ => 4,
    };
    let plain = format!("{value:.decimals$}");
    if magnitude < 10_000.0 {
        return plain;
    }
    // Thousands apart, by a thin space that no browser breaks.
    let mut text = String::new();
    for (i, c) in plain.chars().enumerate() {
        if i > 0 && (plain.len() - i).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(c);
    }
    text
}

/// `12.3 [11.9, 12.8]`, or the value alone.
#[must_use]
pub fn spread_text(spread: &Spread) -> String {
    match spread.interval {
        Some([low, high]) => {
            format!("{} [{}, {}]", number(spread.value), number(low), number(high))
        }
        None => number(spread.value),
    }
}

#[cfg(test)]
#[path = "../compare_tests.rs"]
pub(crate) mod tests;
