//! Over message size, launch by launch, and layout by size.

use super::bars::axis;
use super::*;

pub(super) fn over_size(c: &Comparison, latency: bool) -> Option<Figure> {
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
        LinePanel { title: title.clone(), lines }
    };
    let panels: Vec<_> =
        places.iter().map(panel).filter(|p: &LinePanel| !p.lines.is_empty()).collect();
    if panels.is_empty() {
        return None;
    }
    let cells = shown().flat_map(|(_, cells)| cells.values());
    let (id, title, label) = if latency {
        ("latency-size", "Latency over message size", "half round trip, µs")
    } else {
        ("bandwidth-size", "Bandwidth over message size", "bandwidth, MB/s (10^6 bytes)")
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

pub(super) fn launches(c: &Comparison) -> Option<Figure> {
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
            n => format!("{} launches, {n} outlier{}", sorted.len(), if n == 1 { "" } else { "s" }),
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

pub(super) fn heat(c: &Comparison) -> Option<Figure> {
    let benchmark =
        if c.of("Alltoall").any(|(k, _)| k.ranks > 1) { "Alltoall" } else { "PingPong" };
    let shown = || c.of(benchmark).filter(|(k, _)| k.ranks > 1);
    let mut tables: BTreeMap<(usize, bool), Vec<Row<'_>>> = BTreeMap::new();
    for (key, cells) in shown() {
        tables.entry((key.group, key.path == "tcp")).or_default().push((key, cells));
    }
    let panel = |((group, tcp), rows): (&(usize, bool), &Vec<Row<'_>>)| {
        let sizes: BTreeSet<u64> =
            rows.iter().flat_map(|(_, cells)| sized(cells).map(|(b, _)| b)).collect();
        let path = if *tcp { "tcp" } else { "ring" };
        HeatPanel {
            title: format!(
                "{}, {}",
                c.groups[*group].name,
                if *tcp { "TCP" } else { "ring, and TCP between hosts" }
            ),
            look: Look { colour: *group, second: *tcp },
            rows: rows
                .iter()
                .map(|(key, cells)| {
                    let row = sizes.iter().map(|b| cells.get(b).map(|cell| cell.rate().value));
                    (format!("{}{}", key.layout.text, extra_ranks(key)), row.collect())
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
    let panels: Vec<HeatPanel> = tables.iter().map(panel).filter(|p| !p.sizes.is_empty()).collect();
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
