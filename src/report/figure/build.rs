//! From a comparison to its figures: the paper's bars, lines over size, the paths against each other, every launch
//! as a dot, and layout by size. Each with its caption and the warnings about what it shows.

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

/// All figures that the data allow, in the order of a report.
#[must_use]
pub fn figures(c: &Comparison, gains: &Gains) -> Vec<Figure> {
    let all = [
        gain_figure(c, gains),
        pingpong_bars(c, true),
        pingpong_bars(c, false),
        alltoall_bars(c),
        over_size(c, true),
        over_size(c, false),
        paths(c),
        launches(c),
        heat(c),
    ];
    all.into_iter().flatten().collect()
}

fn look(key: &Key) -> Look {
    Look {
        colour: key.group,
        second: key.path == "tcp",
    }
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
                let nic = if p.nic.is_empty() {
                    String::new()
                } else {
                    format!(", {}", p.nic)
                };
                let source = if p.source.is_empty() {
                    String::new()
                } else {
                    format!(", imported from {}", p.source)
                };
                format!(
                    "{}, {} cores, {}{nic}{source}",
                    known(&p.machine),
                    p.cores,
                    known(&p.kernel)
                )
            })
            .collect();
        let facts: Vec<String> = facts.into_iter().collect();
        by_facts
            .entry(facts.join(" / "))
            .or_default()
            .push(&group.name);
    }
    let texts = by_facts
        .iter()
        .map(|(facts, names)| format!("{}: {facts}.", names.join(" and ")));
    texts.collect::<Vec<_>>().join(" ")
}

fn known(text: &str) -> &str {
    if text.is_empty() {
        "unknown machine"
    } else {
        text
    }
}

fn groups_of<'a>(keys: impl Iterator<Item = &'a Key>) -> BTreeSet<usize> {
    keys.map(|k| k.group).collect()
}

fn gain_figure(c: &Comparison, gains: &Gains) -> Option<Figure> {
    let all = gains.headline();
    if all.is_empty() {
        return None;
    }
    let mut rows: Vec<ForestRow> = Vec::new();
    let mut heading = String::new();
    for gain in all {
        let here = c.groups[gain.group].name.clone();
        let new = here != heading;
        heading = here.clone();
        rows.push(ForestRow {
            heading: if new { here } else { String::new() },
            label: format!(
                "{} {}, {}",
                gain.layout.text,
                gain.benchmark,
                bytes_text(gain.bytes)
            ),
            look: Look {
                colour: gain.group,
                second: false,
            },
            value: gain.ratio.value,
            interval: gain.ratio.interval.ends(),
            limit: gain_limit(c, gain),
            note: format!("{}, {}", gain.text(), words(gain)),
        });
    }
    let sides: BTreeSet<&str> = all.iter().map(|g| g.other_side(c)).collect();
    let keys = || {
        c.series.keys().filter(|k| {
            all.iter()
                .any(|g| g.group == k.group && g.layout == k.layout && g.benchmark == k.benchmark)
        })
    };
    let where_ = if gains.within.is_empty() {
        "two ranks of one host (1x2) over the ring, against two hosts (2x1) over TCP: no layout was measured over both"
    } else {
        "the same ranks in the same layout over both paths"
    };
    let fewest = all
        .iter()
        .map(|g| g.launches.0.min(g.launches.1))
        .min()
        .unwrap_or(0);
    Some(Figure {
        id: "gain",
        title: "How much the ring gains, per layout".to_owned(),
        caption: format!(
            "Typical time over {} divided by that over the ring: {where_}. Right of 1 the ring is faster. \
             95 % studentised bootstrap intervals over at least {fewest} launches on each side; the words are those of \
             the rank test at 5 %. {TYPICAL} {}",
            sides.into_iter().collect::<Vec<_>>().join(" or "),
            conditions(c, &groups_of(keys()))
        ),
        warnings: warn(c, keys()),
        plot: Plot::Forest(
            Axis {
                label: "times as fast as TCP".to_owned(),
                limit: "what this machine allows".to_owned(),
            },
            rows,
        ),
    })
}

/// The verdict on the ring.
pub fn words(gain: &Gain) -> &'static str {
    gain.test.verdict.as_str()
}

/// TCP's time over the least that a ring could take: known for one message, hence for PingPong.
fn gain_limit(c: &Comparison, gain: &Gain) -> Option<f64> {
    if gain.benchmark != "PingPong" || gain.path != "ring" {
        return None;
    }
    let cell = |layout: &LayoutName, path: &str| {
        c.series
            .iter()
            .find(|(k, _)| {
                k.group == gain.group
                    && k.benchmark == gain.benchmark
                    && k.layout == *layout
                    && k.path == path
            })
            .and_then(|(_, cells)| cells.get(&gain.bytes))
    };
    let (ring, tcp) = (cell(&gain.layout, "ring")?, cell(&gain.tcp_layout, "tcp")?);
    Some(tcp.summary.mean / ring.limit_us?)
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
    if !others
        .iter()
        .any(|l| places.iter().any(|(text, _)| *text == l.text))
    {
        let more = others
            .iter()
            .filter(|l| l.machines().is_some_and(|m| m > 1));
        places.extend(more.map(|l| (l.text.clone(), format!("Layout {}", l.text))));
    }
    places
}

fn pingpong_bars(c: &Comparison, latency: bool) -> Option<Figure> {
    let places = places(c);
    let shown = || {
        c.of("PingPong")
            .filter(|(k, _)| k.path != "self" && places.iter().any(|(l, _)| *l == k.layout.text))
    };
    let prefer = if latency { Prefer::Short } else { Prefer::Long };
    let bytes = Comparison::common_size(shown().map(|(_, cells)| cells), prefer);
    let measure = if latency {
        Measure::Latency
    } else {
        Measure::Bandwidth
    };
    let panels: Vec<BarPanel> = places
        .iter()
        .map(|(layout, title)| {
            let cells = shown()
                .filter(|(k, _)| k.layout.text == *layout)
                .filter_map(|(k, cells)| Some((k, cells.get(&bytes?)?)));
            let mut bars: Vec<Bar> = cells
                .map(|(k, cell)| bar(c, k, cell, bytes.unwrap_or(0), latency))
                .collect();
            bars.extend(past(c, "PingPong", layout, measure));
            BarPanel {
                title: title.clone(),
                bars,
            }
        })
        .filter(|p: &BarPanel| !p.bars.is_empty())
        .collect();
    if panels.is_empty() {
        return None;
    }
    let cells = || shown().filter_map(|(_, cells)| cells.get(&bytes?));
    let what = bytes.map_or(String::new(), |b| {
        format!(
            "Messages of {}; mean of {}, 95 % Student intervals. ",
            bytes_text(b),
            launches_text(cells())
        )
    });
    let past = past_caption(c, measure);
    let (id, title, label) = if latency {
        (
            "latency",
            "PingPong latency within and between hosts",
            "half round trip, µs; less is better",
        )
    } else {
        (
            "bandwidth",
            "PingPong bandwidth within and between hosts",
            "bandwidth, MB/s (10^6 bytes); more is better",
        )
    };
    Some(Figure {
        id,
        title: title.to_owned(),
        caption: format!(
            "{what}{}{past}",
            conditions(c, &groups_of(shown().map(|(k, _)| k)))
        ),
        warnings: warn(c, shown().map(|(k, _)| k)),
        plot: Plot::Bars(axis(label, LIMIT), panels),
    })
}

fn axis(label: &str, limit: &str) -> Axis {
    Axis {
        label: label.to_owned(),
        limit: limit.to_owned(),
    }
}

fn bar(c: &Comparison, key: &Key, cell: &Cell, bytes: u64, time: bool) -> Bar {
    let spread = if time { cell.time() } else { cell.rate() };
    let limit = cell
        .limit_us
        .map(|us| if time { us } else { bytes as f64 / us });
    let unit = if time { "µs" } else { "MB/s" };
    Bar {
        label: name(c, key),
        look: Some(look(key)),
        value: Some(spread.value),
        interval: spread.interval,
        limit,
        note: format!("{} {unit}", number(spread.value)),
    }
}

/// Bars of publications.
fn past(c: &Comparison, benchmark: &str, layout: &str, measure: Measure) -> Vec<Bar> {
    let stated = c
        .stated
        .iter()
        .map(|(_, s)| s)
        .filter(|s| s.benchmark == benchmark && s.layout == layout && s.measure == measure);
    let unit = if measure == Measure::Latency {
        "µs"
    } else {
        "MB/s"
    };
    stated
        .map(|s| Bar {
            label: format!("{}, 2008", s.product),
            look: None,
            value: s.value,
            interval: s.ci95,
            limit: None,
            note: match (s.value, &s.note) {
                (Some(v), _) => format!("{} {unit}", number(v)),
                (None, Some(words)) => words.clone(),
                (None, None) => "not stated".to_owned(),
            },
        })
        .collect()
}

fn past_caption(c: &Comparison, measure: Measure) -> String {
    let sources: BTreeSet<&str> = c
        .stated
        .iter()
        .filter(|(_, s)| s.measure == measure)
        .map(|(source, _)| source.as_str())
        .collect();
    match sources.is_empty() {
        true => String::new(),
        false => format!(
            " Dashed outlines: as stated, 50 runs each, on hosts of that year, by {}.",
            sources.into_iter().collect::<Vec<_>>().join("; ")
        ),
    }
}

fn alltoall_bars(c: &Comparison) -> Option<Figure> {
    let shown = || c.of("Alltoall").filter(|(k, _)| k.ranks > 1);
    let bytes = Comparison::common_size(shown().map(|(_, cells)| cells), Prefer::Long);
    let layouts: BTreeSet<LayoutName> = shown()
        .map(|(k, _)| k.layout.clone())
        .chain(
            c.stated
                .iter()
                .filter(|(_, s)| s.benchmark == "Alltoall")
                .map(|(_, s)| LayoutName::new(&s.layout)),
        )
        .collect();
    let panels: Vec<BarPanel> = layouts
        .iter()
        .map(|layout| {
            let cells = shown()
                .filter(|(k, _)| k.layout == *layout)
                .filter_map(|(k, cells)| Some((k, cells.get(&bytes?)?)));
            let mut bars: Vec<Bar> = cells
                .map(|(k, cell)| bar(c, k, cell, bytes.unwrap_or(0), false))
                .collect();
            bars.extend(past(
                c,
                "Alltoall",
                &layout.text,
                Measure::AccumulatedBandwidth,
            ));
            BarPanel {
                title: format!("{} ({})", layout.text, layout.words()),
                bars,
            }
        })
        .filter(|p| !p.bars.is_empty())
        .collect();
    if panels.is_empty() {
        return None;
    }
    let cells = || shown().filter_map(|(_, cells)| cells.get(&bytes?));
    let what = bytes.map_or(String::new(), |b| {
        format!("All data that cross between ranks, with blocks of {}; mean of {}, 95 % Student intervals. ", bytes_text(b), launches_text(cells()))
    });
    let past = past_caption(c, Measure::AccumulatedBandwidth);
    let sizes = if past.is_empty() {
        ""
    } else {
        " In 2008 blocks were of 4 MB inside a host and 512 KB between hosts."
    };
    Some(Figure {
        id: "alltoall",
        title: "Accumulated Alltoall bandwidth over the layouts".to_owned(),
        caption: format!(
            "{what}{}{past}{sizes}",
            conditions(c, &groups_of(shown().map(|(k, _)| k)))
        ),
        warnings: warn(c, shown().map(|(k, _)| k)),
        plot: Plot::Bars(
            axis(
                "accumulated bandwidth, MB/s (10^6 bytes); more is better",
                ONE_STREAM,
            ),
            panels,
        ),
    })
}

/// Sizes of at least one byte, which a logarithmic axis can show.
fn sized(cells: &BTreeMap<u64, Cell>) -> impl Iterator<Item = (u64, &Cell)> {
    cells
        .iter()
        .filter(|(bytes, _)| **bytes > 0)
        .map(|(bytes, cell)| (*bytes, cell))
}

fn over_size(c: &Comparison, latency: bool) -> Option<Figure> {
    let places = places(c);
    let shown = || {
        c.of("PingPong").filter(|(k, cells)| {
            k.path != "self"
                && sized(cells).count() > 1
                && places.iter().any(|(l, _)| *l == k.layout.text)
        })
    };
    let panel = |(layout, title): &(String, String)| {
        let here = || shown().filter(|(k, _)| k.layout.text == *layout);
        let mut lines: Vec<Line> = here()
            .map(|(k, cells)| Line {
                label: name(c, k),
                look: Some(look(k)),
                points: sized(cells)
                    .map(|(bytes, cell)| {
                        let spread = if latency { cell.time() } else { cell.rate() };
                        (bytes, spread.value, spread.interval)
                    })
                    .collect(),
            })
            .collect();
        lines.extend(here().map(|(_, cells)| {
            Line {
                label: String::new(),
                look: None,
                points: sized(cells)
                    .filter_map(|(bytes, cell)| {
                        let us = cell.limit_us?;
                        Some((bytes, if latency { us } else { bytes as f64 / us }, None))
                    })
                    .collect(),
            }
        }));
        lines.retain(|l| l.points.len() > 1);
        LinePanel {
            title: title.clone(),
            lines,
        }
    };
    let panels: Vec<_> = places
        .iter()
        .map(panel)
        .filter(|p: &LinePanel| !p.lines.is_empty())
        .collect();
    if panels.is_empty() {
        return None;
    }
    let cells = shown().flat_map(|(_, cells)| cells.values());
    let (id, title, label) = if latency {
        (
            "latency-size",
            "Latency over message size",
            "half round trip, µs",
        )
    } else {
        (
            "bandwidth-size",
            "Bandwidth over message size",
            "bandwidth, MB/s (10^6 bytes)",
        )
    };
    Some(Figure {
        id,
        title: format!("{title} (PingPong)"),
        caption: format!(
            "Mean of {}; bands are 95 % Student intervals. {}",
            launches_text(cells),
            conditions(c, &groups_of(shown().map(|(k, _)| k)))
        ),
        warnings: warn(c, shown().map(|(k, _)| k)),
        plot: Plot::Lines(axis(label, LIMIT), panels),
    })
}

fn paths(c: &Comparison) -> Option<Figure> {
    let all = pairs(c);
    let mut panels: BTreeMap<(bool, String, LayoutName), Vec<Line>> = BTreeMap::new();
    let mut shown: Vec<&Key> = Vec::new();
    for (ring, tcp) in &all {
        let place = (
            ring.benchmark != "PingPong",
            ring.benchmark.clone(),
            ring.layout.clone(),
        );
        if !panels.contains_key(&place) && panels.len() == PANELS_MAX {
            continue;
        }
        let gains = over_sizes(c, ring, tcp);
        let points: Vec<_> = gains
            .iter()
            .filter(|g| g.bytes > 0)
            .map(|g| (g.bytes, g.ratio.value, g.ratio.interval.ends()))
            .collect();
        if points.len() < 2 {
            continue;
        }
        let limits = gains
            .iter()
            .filter(|g| g.bytes > 0)
            .filter_map(|g| Some((g.bytes, gain_limit(c, g)?, None)))
            .collect();
        let lines = panels.entry(place).or_default();
        lines.push(Line {
            label: format!("{}{}", c.groups[ring.group].name, extra_ranks(ring)),
            look: Some(look(ring)),
            points,
        });
        lines.push(Line {
            label: String::new(),
            look: None,
            points: limits,
        });
        shown.extend([*ring, *tcp]);
    }
    let panels: Vec<LinePanel> = panels
        .into_iter()
        .map(|((_, benchmark, layout), mut lines)| {
            lines.retain(|l| l.points.len() > 1);
            LinePanel {
                title: format!("{benchmark}, {} ({})", layout.text, layout.words()),
                lines,
            }
        })
        .collect();
    if panels.is_empty() {
        return None;
    }
    let sides: BTreeSet<&str> = shown
        .iter()
        .filter(|k| k.path == "tcp")
        .map(|k| other_side(c, k.group, &k.layout))
        .collect();
    let cells = shown.iter().flat_map(|k| c.series[*k].values());
    Some(Figure {
        id: "paths",
        title: "The ring against TCP in the same guests, over message size".to_owned(),
        caption: format!(
            "Typical time over {} divided by that over the ring; above 1 the ring is faster. Over {}; bands are \
             95 % studentised bootstrap intervals. {TYPICAL} {}",
            sides.into_iter().collect::<Vec<_>>().join(" or "),
            launches_text(cells),
            conditions(c, &groups_of(shown.iter().copied()))
        ),
        warnings: warn(c, shown.iter().copied()),
        plot: Plot::Lines(
            axis("times as fast as TCP", "what this machine allows"),
            panels,
        ),
    })
}

fn launches(c: &Comparison) -> Option<Figure> {
    let shown = || c.of("PingPong").filter(|(k, _)| k.ranks > 1);
    let bytes = Comparison::common_size(shown().map(|(_, cells)| cells), Prefer::Short)?;
    let mut selected = false;
    let mut rows = Vec::new();
    for (key, cells) in shown() {
        let Some(cell) = cells.get(&bytes) else {
            continue;
        };
        let mut sorted = cell.samples_us.clone();
        sorted.sort_by(f64::total_cmp);
        let step = sorted.len().div_ceil(DOTS_MAX).max(1);
        selected |= step > 1;
        let mut outliers = cell.outliers_us();
        let found = outliers.len();
        outliers.truncate(DOTS_MAX);
        let text = match found {
            0 => format!("{} launches", sorted.len()),
            n => format!(
                "{} launches, {n} outlier{}",
                sorted.len(),
                if n == 1 { "" } else { "s" }
            ),
        };
        rows.push(StripRow {
            label: format!("{} {}", key.layout.text, name(c, key)),
            look: look(key),
            dots: sorted.iter().step_by(step).copied().collect(),
            outliers,
            median: (cell.summary.median, cell.summary.median_interval.ends()),
            limit: cell.limit_us,
            note: text,
        });
    }
    let note = if selected {
        format!(" Of more than {DOTS_MAX} launches an even selection is drawn, and the outliers.")
    } else {
        String::new()
    };
    let keys = || shown().map(|(k, _)| k);
    Some(Figure {
        id: "launches",
        title: "Every launch".to_owned(),
        caption: format!(
            "PingPong, messages of {}: each dot is the time of one fresh launch. Hollow marker: median with its 95 % \
             order-statistic interval. Rings: outliers beyond one and a half quartile distances; none is dropped.{note} {}",
            bytes_text(bytes),
            conditions(c, &groups_of(keys()))
        ),
        warnings: warn(c, keys()),
        plot: Plot::Strips(axis("half round trip, µs", LIMIT), rows),
    })
}

fn heat(c: &Comparison) -> Option<Figure> {
    let benchmark = if c.of("Alltoall").any(|(k, _)| k.ranks > 1) {
        "Alltoall"
    } else {
        "PingPong"
    };
    let shown = || c.of(benchmark).filter(|(k, _)| k.ranks > 1);
    let mut tables: BTreeMap<(usize, bool), Vec<(&Key, &BTreeMap<u64, Cell>)>> = BTreeMap::new();
    for (key, cells) in shown() {
        tables
            .entry((key.group, key.path == "tcp"))
            .or_default()
            .push((key, cells));
    }
    let panel = |((group, tcp), rows): (&(usize, bool), &Vec<(&Key, &BTreeMap<u64, Cell>)>)| {
        let sizes: BTreeSet<u64> = rows
            .iter()
            .flat_map(|(_, cells)| sized(cells).map(|(b, _)| b))
            .collect();
        let path = if *tcp { "tcp" } else { "ring" };
        HeatPanel {
            title: format!(
                "{}, {}",
                c.groups[*group].name,
                if *tcp {
                    "TCP"
                } else {
                    "ring, and TCP between hosts"
                }
            ),
            look: Look {
                colour: *group,
                second: *tcp,
            },
            rows: rows
                .iter()
                .map(|(key, cells)| {
                    let row = sizes
                        .iter()
                        .map(|b| cells.get(b).map(|cell| cell.rate().value));
                    (
                        format!("{}{}", key.layout.text, extra_ranks(key)),
                        row.collect(),
                    )
                })
                .collect(),
            limit: sizes
                .iter()
                .map(|b| {
                    limit_us(&c.groups[*group].limits, path, *b)
                        .filter(|l| *l > 0.0)
                        .map(|us| *b as f64 / us)
                })
                .collect(),
            sizes: sizes.into_iter().collect(),
        }
    };
    let panels: Vec<HeatPanel> = tables
        .iter()
        .map(panel)
        .filter(|p| !p.sizes.is_empty())
        .collect();
    if panels.is_empty() {
        return None;
    }
    let what = if benchmark == "Alltoall" {
        "accumulated bandwidth of Alltoall"
    } else {
        "bandwidth of PingPong"
    };
    let keys = || shown().map(|(k, _)| k);
    Some(Figure {
        id: "layouts",
        title: "Layout by message size".to_owned(),
        caption: format!(
            "Mean {what}, {}. The dashed row is {ONE_STREAM}. {}",
            launches_text(shown().flat_map(|(_, cells)| cells.values())),
            conditions(c, &groups_of(keys()))
        ),
        warnings: warn(c, keys()),
        plot: Plot::Heat(panels),
    })
}
