//! From a comparison to its figures: the paper's bars, lines over size, the paths against each other, every launch
//! as a dot, and layout by size. Each with its caption and the warnings about what it shows.

mod bars;
mod gains;
mod sizes;

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Axis, Bar, BarPanel, Figure, ForestRow, HeatPanel, Line, LinePanel, Look, Plot, StripRow,
};
use crate::report::compare::gain::{Gain, Gains, other_side, over_sizes, pairs};
use crate::report::compare::{
    Cell, Comparison, Key, LayoutName, Prefer, bytes_text, number, warnings,
};
use crate::report::limit::limit_us;
use crate::report::schema::Measure;

/// Most dots of one row; of more launches an even selection is drawn, and all outliers.
const DOTS_MAX: usize = 300;

/// Most panels of one figure of lines.
const PANELS_MAX: usize = 8;

const LIMIT: &str = "what this machine allows for one message";

const TYPICAL: &str =
    "Typical is the mean of the logarithms without a fifth of the launches at either end.";

const ONE_STREAM: &str = "one stream at the machine's limit";

/// A series with its sizes.
type Row<'a> = (&'a Key, &'a BTreeMap<u64, Cell>);

/// All figures that the data allow, in the order of a report.
#[must_use]
pub fn figures(c: &Comparison, gains: &Gains) -> Vec<Figure> {
    let all = [
        bars::pingpong_bars(c, true),
        bars::pingpong_bars(c, false),
        bars::alltoall_bars(c),
        sizes::over_size(c, true),
        sizes::over_size(c, false),
        gains::paths(c),
        sizes::launches(c),
        sizes::heat(c),
    ];
    gains::gain_figures(c, gains).into_iter().chain(all.into_iter().flatten()).collect()
}

fn look(key: &Key) -> Look {
    Look { colour: key.group, second: key.path == "tcp" }
}

fn name(c: &Comparison, key: &Key) -> String {
    let path = if key.path == "tcp" { "TCP" } else { &key.path };
    format!("{}, {path}{}", c.groups[key.group].name, extra_ranks(key))
}

/// Ranks, where there are more than one in a machine.
fn extra_ranks(key: &Key) -> String {
    let machines = key.layout.machines();
    match machines {
        Some(m) if m != key.ranks => format!(", {} ranks", key.ranks),
        _ => String::new(),
    }
}

fn warn<'a>(c: &Comparison, keys: impl Iterator<Item = &'a Key>) -> Vec<String> {
    warnings::texts(c, &warnings::about(c, keys))
}

/// `10 launches`, `5 to 20 launches`.
fn launches_text<'a>(cells: impl Iterator<Item = &'a Cell>) -> String {
    let counts: BTreeSet<usize> = cells.map(|c| c.samples_us.len()).collect();
    match (counts.first(), counts.last()) {
        (Some(1), Some(1)) => "1 launch".to_owned(),
        (Some(a), Some(b)) if a == b => format!("{a} launches"),
        (Some(a), Some(b)) => format!("{a} to {b} launches"),
        _ => "no launch".to_owned(),
    }
}

/// Machine, kernel and cores of the groups, each fact once.
fn conditions(c: &Comparison, groups: &BTreeSet<usize>) -> String {
    let mut by_facts: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for group in groups.iter().map(|g| &c.groups[*g]) {
        let facts: BTreeSet<String> = group
            .files
            .iter()
            .map(|(_, p)| {
                let nic = if p.nic.is_empty() { String::new() } else { format!(", {}", p.nic) };
                let source = if p.source.is_empty() {
                    String::new()
                } else {
                    format!(", imported from {}", p.source)
                };
                let s = if p.cores == 1 { "" } else { "s" };
                let host = p.host_cores.map_or(String::new(), |n| format!(" of a host's {n}"));
                format!(
                    "{}, {} core{s}{host}, {}{nic}{source}",
                    known(&p.machine),
                    p.cores,
                    known(&p.kernel)
                )
            })
            .collect();
        let facts: Vec<String> = facts.into_iter().collect();
        by_facts.entry(facts.join(" / ")).or_default().push(&group.name);
    }
    let texts = by_facts.iter().map(|(facts, names)| format!("{}: {facts}.", names.join(" and ")));
    texts.collect::<Vec<_>>().join(" ")
}

fn known(text: &str) -> &str {
    if text.is_empty() { "unknown machine" } else { text }
}

fn groups_of<'a>(keys: impl Iterator<Item = &'a Key>) -> BTreeSet<usize> {
    keys.map(|k| k.group).collect()
}

/// Panels by place: inside one host, between hosts, unknown.
fn places(c: &Comparison) -> Vec<(String, String)> {
    let mut places = vec![
        ("1x2".to_owned(), "Inside one host (1x2)".to_owned()),
        ("2x1".to_owned(), "Between two hosts (2x1)".to_owned()),
    ];
    let mut others: Vec<&LayoutName> = c.of("PingPong").map(|(k, _)| &k.layout).collect();
    others.dedup();
    if let Some(unknown) = others.iter().find(|l| l.one_host().is_none()) {
        places.push((unknown.text.clone(), "Layout not stated".to_owned()));
    }
    // Without the two usual ones, whatever there is with more than one machine.
    if !others.iter().any(|l| places.iter().any(|(text, _)| *text == l.text)) {
        let more = others.iter().filter(|l| l.machines().is_some_and(|m| m > 1));
        places.extend(more.map(|l| (l.text.clone(), format!("Layout {}", l.text))));
    }
    places
}

/// Sizes of at least one byte, which a logarithmic axis can show.
fn sized(cells: &BTreeMap<u64, Cell>) -> impl Iterator<Item = (u64, &Cell)> {
    cells.iter().filter(|(bytes, _)| **bytes > 0).map(|(bytes, cell)| (*bytes, cell))
}
