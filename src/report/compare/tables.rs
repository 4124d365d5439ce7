//! The comparison as text for a terminal.

use std::collections::{BTreeMap, BTreeSet};

use super::gain::Gains;
use super::{Cell, Comparison, Key, Prefer, bytes_text, number, spread_text, warnings};
use crate::report::bootstrap::ratio;
use crate::report::rank_test::rank_test;
use crate::report::schema::Measure;

/// Said wherever a column is VMware's.
pub const VMWARE: &str = "VMware: its licence restricts publishing benchmark results of its products. Ask VMware before \
you publish the columns that are VMware's, or leave them out.";

/// All tables: first what the ring gains, then each benchmark, the publications, the warnings.
#[must_use]
pub fn text(c: &Comparison, gains: &Gains) -> String {
    let mut text = String::new();
    gain_table(c, gains, &mut text);
    // PingPong first, then by name.
    let names = c.series.keys().map(|k| k.benchmark.as_str());
    let benchmarks: BTreeSet<(bool, &str)> = names.map(|b| (b != "PingPong", b)).collect();
    for (_, benchmark) in benchmarks {
        benchmark_table(c, benchmark, &mut text);
    }
    stated_table(c, &mut text);
    let all = warnings::about(c, c.series.keys());
    if !all.is_empty() {
        text.push_str("\nWarnings\n");
        for warning in warnings::texts(c, &all) {
            text.push_str(&format!(
                "  ! {warning}
"
            ));
        }
    }
    if c.has_vmware() {
        text.push_str(&format!("\n! {VMWARE}\n"));
    }
    text
}

fn gain_table(c: &Comparison, gains: &Gains, text: &mut String) {
    let all = gains.headline();
    if all.is_empty() {
        text.push_str(
            "\nWhat the ring gains cannot be said: no layout was measured over both the ring and TCP.\n\
             Measure with paths = [\"ring\", \"tcp\"] in a campaign, or with --path ring and --path tcp.\n",
        );
        return;
    }
    let title = if gains.within.is_empty() {
        "What the ring gains: two ranks of one host (1x2) over the ring, against two hosts (2x1) over TCP"
    } else {
        "What the ring gains: the same ranks in the same layout, over the ring and over TCP"
    };
    text.push_str(&format!("\n{title}\n"));
    let mut rows = vec![head(&[
        "group",
        "layout",
        "benchmark",
        "size",
        "times as fast [95 %]",
        "the ring is",
        "p",
        "launches",
        "against",
    ])];
    for gain in all {
        rows.push(vec![
            c.groups[gain.group].name.clone(),
            gain.layout.text.clone(),
            gain.benchmark.clone(),
            bytes_text(gain.bytes),
            gain.text(),
            gain.test.verdict.as_str().to_owned(),
            p_text(gain.test.p),
            format!("{} + {}", gain.launches.0, gain.launches.1),
            gain.other_side(c).to_owned(),
        ]);
    }
    text.push_str(&align(&rows));
}

/// `0.012`, `< 0.0001`.
#[must_use]
pub fn p_text(p: f64) -> String {
    if p < 0.0001 { "< 0.0001".to_owned() } else { format!("{p:.4}") }
}

fn benchmark_table(c: &Comparison, benchmark: &str, text: &mut String) {
    let mut sizes: Vec<u64> = [Prefer::Short, Prefer::Long]
        .into_iter()
        .filter_map(|prefer| {
            Comparison::common_size(c.of(benchmark).map(|(_, cells)| cells), prefer)
        })
        .collect();
    sizes.dedup();
    let reference = c.groups.first().filter(|_| c.groups.len() > 1).map(|g| g.name.as_str());
    for bytes in sizes {
        text.push_str(&format!(
            "\n{benchmark}, {}: time in us, rate in MB/s (10^6)\n",
            bytes_text(bytes)
        ));
        let against = reference.map(|r| format!("than {r}"));
        let mut titles = vec![
            "layout",
            "group",
            "path",
            "n",
            "mean [95 %]",
            "median [95 %]",
            "MB/s [95 %]",
            "x limit",
            "outliers",
        ];
        titles.extend(against.as_deref());
        let mut rows = vec![head(&titles)];
        let mut shown: Vec<(&Key, &Cell)> =
            c.of(benchmark).filter_map(|(k, cells)| Some((k, cells.get(&bytes)?))).collect();
        shown.sort_by_key(|(k, _)| (&k.layout, k.group, &k.path));
        for (key, cell) in &shown {
            let mut row = vec![
                key.layout.text.clone(),
                c.groups[key.group].name.clone(),
                key.path.clone(),
                cell.summary.n.to_string(),
                spread_text(&cell.time()),
                spread_text(&super::Spread {
                    value: cell.summary.median,
                    interval: cell.summary.median_interval.ends(),
                }),
                if bytes > 0 { spread_text(&cell.rate()) } else { "-".to_owned() },
                cell.limit_us.map_or("-".to_owned(), |l| number(cell.summary.mean / l)),
                cell.outliers_us().len().to_string(),
            ];
            if reference.is_some() {
                row.push(against_first(&shown, key, cell));
            }
            rows.push(row);
        }
        text.push_str(&align(&rows));
    }
}

/// How these launches compare to those of the first group in the same layout over the same path.
fn against_first(shown: &[(&Key, &Cell)], key: &Key, cell: &Cell) -> String {
    if key.group == 0 {
        return "-".to_owned();
    }
    let same = |k: &Key| {
        k.group == 0 && (&k.layout, &k.path, k.ranks) == (&key.layout, &key.path, key.ranks)
    };
    let Some((_, first)) = shown.iter().find(|(k, _)| same(k)) else {
        return "-".to_owned();
    };
    let test = rank_test(&cell.samples_us, &first.samples_us);
    let times = ratio(&cell.samples_us, &first.samples_us, 2008);
    match (test, times) {
        (Some(test), Some(times)) => {
            format!("{} ({}x the time)", test.verdict.as_str(), number(times.value))
        }
        _ => "-".to_owned(),
    }
}

fn stated_table(c: &Comparison, text: &mut String) {
    let mut by_source: BTreeMap<&str, Vec<Vec<String>>> = BTreeMap::new();
    for (source, s) in &c.stated {
        let (what, unit) = match s.measure {
            Measure::Latency => ("latency", "us"),
            Measure::Bandwidth => ("bandwidth", "MB/s"),
            Measure::AccumulatedBandwidth => ("accumulated bandwidth", "MB/s"),
        };
        by_source.entry(source).or_default().push(vec![
            s.layout.clone(),
            s.benchmark.clone(),
            what.to_owned(),
            s.product.clone(),
            s.value.map_or("-".to_owned(), |v| format!("{} {unit}", number(v))),
            s.note.clone().unwrap_or_default(),
        ]);
    }
    for (source, rows) in by_source {
        text.push_str(&format!("\nAs stated by {source}\n"));
        let mut all = vec![head(&["layout", "benchmark", "measure", "product", "value", "note"])];
        all.extend(rows);
        text.push_str(&align(&all));
    }
}

fn head(titles: &[&str]) -> Vec<String> {
    titles.iter().map(|t| (*t).to_owned()).collect()
}

/// Columns as wide as their widest cell; names to the left, figures to the right.
fn align(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |i: usize| {
        rows.iter().filter_map(|r| r.get(i)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let is_number = |i: usize| {
        rows.iter()
            .skip(1)
            .filter_map(|r| r.get(i))
            .all(|cell| cell.starts_with(|c: char| c.is_ascii_digit() || c == '-'))
    };
    let right: Vec<bool> = (0..columns).map(is_number).collect();
    let mut text = String::new();
    for (index, row) in rows.iter().enumerate() {
        let mut line = String::new();
        for (i, cell) in row.iter().enumerate() {
            let pad = " ".repeat(widths[i] - cell.chars().count());
            line.push_str("  ");
            line.push_str(&if right[i] { format!("{pad}{cell}") } else { format!("{cell}{pad}") });
        }
        text.push_str(line.trim_end());
        text.push('\n');
        if index == 0 {
            let rule: usize = widths.iter().map(|w| w + 2).sum();
            text.push_str(&format!("  {}\n", "-".repeat(rule.saturating_sub(2))));
        }
    }
    text
}
