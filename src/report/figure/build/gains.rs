//! The ring against TCP: per layout, and over message size.

use super::bars::axis;
use super::*;

/// Rows of one figure that are still legible on a sheet of paper.
const ROWS_MAX: usize = 30;

/// One figure, or where that would be too long, one of PingPong and one of the others.
pub(super) fn gain_figures(c: &Comparison, gains: &Gains) -> Vec<Figure> {
    let all: Vec<&Gain> = gains.headline().iter().collect();
    let (pingpong, others): (Vec<&Gain>, Vec<&Gain>) =
        all.iter().copied().partition(|g| g.benchmark == "PingPong");
    if all.len() <= ROWS_MAX || pingpong.is_empty() || others.is_empty() {
        return gain_figure(c, gains, &all, "gain", "").into_iter().collect();
    }
    let names: BTreeSet<&str> = others.iter().map(|g| g.benchmark.as_str()).collect();
    let names = names.into_iter().collect::<Vec<_>>().join(", ");
    let parts = [("gain", pingpong, "PingPong"), ("gain-others", others, &names)];
    let figure = |(id, part, name): (&'static str, Vec<&Gain>, &str)| {
        gain_figure(c, gains, &part, id, &format!(": {name}"))
    };
    parts.into_iter().filter_map(figure).collect()
}

fn gain_figure(
    c: &Comparison,
    gains: &Gains,
    all: &[&Gain],
    id: &'static str,
    what: &str,
) -> Option<Figure> {
    if all.is_empty() {
        return None;
    }
    let mut rows: Vec<ForestRow> = Vec::new();
    let mut heading = String::new();
    for gain in all.iter().copied() {
        let here = c.groups[gain.group].name.clone();
        let new = here != heading;
        heading = here.clone();
        rows.push(ForestRow {
            heading: if new { here } else { String::new() },
            label: format!("{} {}, {}", gain.layout.text, gain.benchmark, bytes_text(gain.bytes)),
            look: Look { colour: gain.group, second: false },
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
    let fewest = all.iter().map(|g| g.launches.0.min(g.launches.1)).min().unwrap_or(0);
    Some(Figure {
        id,
        title: format!("How much the ring gains, per layout{what}"),
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
pub(super) fn words(gain: &Gain) -> &'static str {
    gain.test.verdict.as_str()
}

/// TCP's time over the least that a ring could take: known for one message, hence for PingPong.
pub(super) fn gain_limit(c: &Comparison, gain: &Gain) -> Option<f64> {
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

pub(super) fn paths(c: &Comparison) -> Option<Figure> {
    let all = pairs(c);
    let mut panels: BTreeMap<(bool, String, LayoutName), Vec<Line>> = BTreeMap::new();
    let mut shown: Vec<&Key> = Vec::new();
    for (ring, tcp) in &all {
        let place = (ring.benchmark != "PingPong", ring.benchmark.clone(), ring.layout.clone());
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
        lines.push(Line { label: String::new(), look: None, points: limits });
        shown.extend([*ring, *tcp]);
    }
    let panels: Vec<LinePanel> = panels
        .into_iter()
        .map(|((_, benchmark, layout), mut lines)| {
            lines.retain(|l| l.points.len() > 1);
            LinePanel { title: format!("{benchmark}, {} ({})", layout.text, layout.words()), lines }
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
        title: "The ring against TCP in the same layout, over message size".to_owned(),
        caption: format!(
            "Typical time over {} divided by that over the ring; above 1 the ring is faster. Over {}; bands are \
             95 % studentised bootstrap intervals. {TYPICAL} {}",
            sides.into_iter().collect::<Vec<_>>().join(" or "),
            launches_text(cells),
            conditions(c, &groups_of(shown.iter().copied()))
        ),
        warnings: warn(c, shown.iter().copied()),
        plot: Plot::Lines(axis("times as fast as TCP", "what this machine allows"), panels),
    })
}
