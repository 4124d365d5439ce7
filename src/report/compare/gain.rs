//! The answer a reader wants first: how much the ring gains over the virtual NIC in the same guests, per layout.

use super::{Cell, Comparison, Key, LayoutName, Prefer};
use crate::report::bootstrap::{Ratio, ratio};
use crate::report::rank_test::{RankTest, rank_test};

/// Seed of every bootstrap: the same files give the same page.
const SEED: u64 = 2008;

/// One comparison of paths, in one group, layout and benchmark, at one size.
#[derive(Debug, Clone)]
pub struct Gain {
    /// Index of the group.
    pub group: usize,
    /// Benchmark.
    pub benchmark: String,
    /// Layout of the side over rings.
    pub layout: LayoutName,
    /// Layout of the side over TCP: another one only in [`Gains::across`].
    pub tcp_layout: LayoutName,
    /// Path of the faster side: `ring` or `ring+tcp`.
    pub path: String,
    /// Message size in bytes.
    pub bytes: u64,
    /// Time over TCP divided by time over the ring: above 1 the ring gains.
    pub ratio: Ratio,
    /// Whether the launches over the ring are faster than those over TCP.
    pub test: RankTest,
    /// Launches over the ring and over TCP.
    pub launches: (usize, usize),
}

/// All comparisons of paths.
#[derive(Debug, Clone, Default)]
pub struct Gains {
    /// In the same guests: same group, layout, benchmark and ranks.
    pub within: Vec<Gain>,
    /// Where no layout was measured over both: two ranks in one host over the ring, against two hosts over TCP.
    pub across: Vec<Gain>,
}

impl Gains {
    /// Compares short and long messages of every pair that was measured over both paths.
    #[must_use]
    pub fn of(comparison: &Comparison) -> Gains {
        let mut gains = Gains::default();
        for (ring, tcp) in pairs(comparison) {
            gains.within.extend(both_sizes(comparison, ring, tcp));
        }
        if gains.within.is_empty() {
            for (ring, tcp) in across(comparison) {
                gains.across.extend(both_sizes(comparison, ring, tcp));
            }
        }
        // Best known first: by group, benchmark (PingPong, then the others), layout, size.
        gains.within.sort_by(|a, b| order(a).cmp(&order(b)));
        gains
    }

    /// What stands at the top of a report.
    #[must_use]
    pub fn headline(&self) -> &[Gain] {
        if self.within.is_empty() { &self.across } else { &self.within }
    }
}

fn order(gain: &Gain) -> (usize, bool, &str, &LayoutName, u64) {
    (gain.group, gain.benchmark != "PingPong", &gain.benchmark, &gain.layout, gain.bytes)
}

/// Series over rings with their counterpart over TCP alone.
pub fn pairs(comparison: &Comparison) -> Vec<(&Key, &Key)> {
    let ring = comparison.series.keys().filter(|k| k.path.contains("ring"));
    ring.filter_map(|ring| {
        let tcp = comparison.series.keys().find(|k| {
            k.path == "tcp"
                && (k.group, &k.benchmark, &k.layout, k.ranks)
                    == (ring.group, &ring.benchmark, &ring.layout, ring.ranks)
        });
        Some((ring, tcp?))
    })
    .collect()
}

/// PingPong between two ranks of one host over the ring, and of two hosts over TCP.
fn across(comparison: &Comparison) -> Vec<(&Key, &Key)> {
    let find = |group: usize, layout: &str, path: &str| {
        comparison.series.keys().find(move |k| {
            k.group == group
                && k.benchmark == "PingPong"
                && k.layout.text == layout
                && k.path == path
        })
    };
    (0..comparison.groups.len())
        .filter_map(|g| Some((find(g, "1x2", "ring")?, find(g, "2x1", "tcp")?)))
        .collect()
}

fn both_sizes(comparison: &Comparison, ring: &Key, tcp: &Key) -> Vec<Gain> {
    let (a, b) = (&comparison.series[ring], &comparison.series[tcp]);
    let common = |prefer| {
        let both = a.keys().filter(|bytes| b.contains_key(bytes));
        match prefer {
            Prefer::Short => both.min_by_key(|bytes| bytes.abs_diff(8)).copied(),
            Prefer::Long => both.max().copied(),
        }
    };
    let mut sizes: Vec<u64> =
        [Prefer::Short, Prefer::Long].into_iter().filter_map(common).collect();
    sizes.dedup();
    sizes.into_iter().filter_map(|bytes| gain(ring, tcp, bytes, &a[&bytes], &b[&bytes])).collect()
}

/// Compares one size.
#[must_use]
pub fn gain(ring: &Key, tcp: &Key, bytes: u64, a: &Cell, b: &Cell) -> Option<Gain> {
    Some(Gain {
        group: ring.group,
        benchmark: ring.benchmark.clone(),
        layout: ring.layout.clone(),
        tcp_layout: tcp.layout.clone(),
        path: ring.path.clone(),
        bytes,
        ratio: ratio(&b.samples_us, &a.samples_us, SEED)?,
        test: rank_test(&a.samples_us, &b.samples_us)?,
        launches: (a.samples_us.len(), b.samples_us.len()),
    })
}

/// The ratio over all sizes that both paths have, for the figure of paths.
#[must_use]
pub fn over_sizes(comparison: &Comparison, ring: &Key, tcp: &Key) -> Vec<Gain> {
    let (a, b) = (&comparison.series[ring], &comparison.series[tcp]);
    let both = a.iter().filter_map(|(bytes, cell)| Some((*bytes, cell, b.get(bytes)?)));
    both.filter_map(|(bytes, x, y)| gain(ring, tcp, bytes, x, y)).collect()
}

impl Gain {
    /// `23.4 times [21.0, 25.1]`.
    #[must_use]
    pub fn text(&self) -> String {
        let value = super::number(self.ratio.value);
        match self.ratio.interval.ends() {
            Some([low, high]) => {
                format!("{value} [{}, {}]", super::number(low), super::number(high))
            }
            None => value,
        }
    }

    /// What the NIC side is called: `virtual NIC` between guests, else what it really was.
    #[must_use]
    pub fn other_side(&self, comparison: &Comparison) -> &'static str {
        other_side(comparison, self.group, &self.tcp_layout)
    }
}

/// The name of TCP in a group: through the virtual NIC only where the ranks were guests.
#[must_use]
pub fn other_side(comparison: &Comparison, group: usize, layout: &LayoutName) -> &'static str {
    let files = &comparison.groups[group].files;
    let netns = files.iter().any(|(_, p)| p.netns) && layout.one_host() == Some(false);
    match () {
        () if files.iter().any(|(_, p)| p.target == "guests") => "TCP over the virtual NIC",
        () if netns => "TCP over a 1 Gbit/s link of namespaces",
        () => "TCP over loopback",
    }
}
