//! The bars of the paper: PingPong within and between hosts, and Alltoall over the layouts.

use super::*;

pub(super) fn pingpong_bars(c: &Comparison, latency: bool) -> Option<Figure> {
    let places = places(c);
    let shown = || {
        c.of("PingPong")
            .filter(|(k, _)| k.path != "self" && places.iter().any(|(l, _)| *l == k.layout.text))
    };
    let prefer = if latency { Prefer::Short } else { Prefer::Long };
    let bytes = Comparison::common_size(shown().map(|(_, cells)| cells), prefer);
    let measure = if latency { Measure::Latency } else { Measure::Bandwidth };
    let panels: Vec<BarPanel> = places
        .iter()
        .map(|(layout, title)| {
            let cells = shown()
                .filter(|(k, _)| k.layout.text == *layout)
                .filter_map(|(k, cells)| Some((k, cells.get(&bytes?)?)));
            let mut bars: Vec<Bar> =
                cells.map(|(k, cell)| bar(c, k, cell, bytes.unwrap_or(0), latency)).collect();
            bars.extend(past(c, "PingPong", layout, measure));
            BarPanel { title: title.clone(), bars }
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
        caption: format!("{what}{}{past}", conditions(c, &groups_of(shown().map(|(k, _)| k)))),
        warnings: warn(c, shown().map(|(k, _)| k)),
        plot: Plot::Bars(axis(label, LIMIT), panels),
    })
}

pub(super) fn axis(label: &str, limit: &str) -> Axis {
    Axis { label: label.to_owned(), limit: limit.to_owned() }
}

pub(super) fn bar(c: &Comparison, key: &Key, cell: &Cell, bytes: u64, time: bool) -> Bar {
    let spread = if time { cell.time() } else { cell.rate() };
    let limit = cell.limit_us.map(|us| if time { us } else { bytes as f64 / us });
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
pub(super) fn past(c: &Comparison, benchmark: &str, layout: &str, measure: Measure) -> Vec<Bar> {
    let stated = c
        .stated
        .iter()
        .map(|(_, s)| s)
        .filter(|s| s.benchmark == benchmark && s.layout == layout && s.measure == measure);
    let unit = if measure == Measure::Latency { "µs" } else { "MB/s" };
    stated
        .map(|s| Bar {
            label: format!("{}, 2008", s.product),
            look: None,
            value: s.value,
            interval: s.ci95,
            limit: None,
            note: match (s.value, &s.note) {
                // As precise as it was stated.
                (Some(v), _) => format!("{v} {unit}"),
                (None, Some(words)) => words.clone(),
                (None, None) => "not stated".to_owned(),
            },
        })
        .collect()
}

pub(super) fn past_caption(c: &Comparison, measure: Measure) -> String {
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

pub(super) fn alltoall_bars(c: &Comparison) -> Option<Figure> {
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
            let mut bars: Vec<Bar> =
                cells.map(|(k, cell)| bar(c, k, cell, bytes.unwrap_or(0), false)).collect();
            bars.extend(past(c, "Alltoall", &layout.text, Measure::AccumulatedBandwidth));
            BarPanel { title: format!("{} ({})", layout.text, layout.words()), bars }
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
            axis("accumulated bandwidth, MB/s (10^6 bytes); more is better", ONE_STREAM),
            panels,
        ),
    })
}
