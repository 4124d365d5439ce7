use super::build::figures;
use super::canvas::{fit, text_width, wrap};
use super::*;
use crate::report::compare::gain::Gains;
use crate::report::compare::tests::input;
use crate::report::compare::{Comparison, Input};

fn all(inputs: &[Input]) -> Vec<Figure> {
    let c = Comparison::new(inputs);
    let gains = Gains::of(&c);
    figures(&c, &gains)
}

/// Positions and widths of every text, as the widest font would set it.
fn texts(svg: &str) -> Vec<(f64, f64, f64, String)> {
    let attribute = |tag: &str, name: &str| -> Option<f64> {
        let at = tag.find(&format!("{name}=\""))? + name.len() + 2;
        tag[at..].split('"').next()?.parse().ok()
    };
    let mut found = Vec::new();
    for part in svg.split("<text ").skip(1) {
        let (tag, rest) = part.split_once('>').unwrap();
        let content = rest.split("</text>").next().unwrap();
        let content = content
            .replace("&amp;", "&")
            .replace("&lt;", "<")
            .replace("&gt;", ">")
            .replace("&#39;", "'");
        let size: f64 =
            tag.split("font-size:").nth(1).unwrap().split("px").next().unwrap().parse().unwrap();
        let wide = text_width(&content, size);
        let x = attribute(tag, "x").unwrap();
        let left = match () {
            () if tag.contains("\"middle\"") => x - wide / 2.0,
            () if tag.contains("\"end\"") => x - wide,
            () => x,
        };
        found.push((left, left + wide, attribute(tag, "y").unwrap(), content));
    }
    found
}

#[test]
fn every_figure_of_the_paper_and_the_others_are_there() {
    let all = all(&[input("a", "kvm", 1.0, 8), input("b", "uml", 3.0, 8)]);
    let ids: Vec<&str> = all.iter().map(|f| f.id).collect();
    assert_eq!(
        ids,
        [
            "gain",
            "latency",
            "bandwidth",
            "alltoall",
            "latency-size",
            "bandwidth-size",
            "paths",
            "launches",
            "layouts"
        ]
    );
    for figure in &all {
        assert!(figure.caption.contains("launch"), "{}: {}", figure.id, figure.caption);
        assert!(figure.caption.contains("Some Processor"), "{}", figure.id);
    }
}

#[test]
fn no_text_leaves_the_sheet_or_overlaps_another_at_any_width() {
    let mut long = input("b", "uml", 300.0, 8);
    long.label = Some(
        "a hypervisor with a name that is much longer than anybody would like it to be".into(),
    );
    for figure in all(&[input("a", "kvm", 1.0, 8), long]) {
        for width in [NARROW, 500.0, WIDE] {
            let svg = figure.svg(width, Style::Page);
            let texts = texts(&svg);
            for (i, a) in texts.iter().enumerate() {
                assert!(
                    a.0 >= -0.5 && a.1 <= width + 0.5,
                    "{} at {width}: {a:?} leaves the sheet",
                    figure.id
                );
                for b in &texts[i + 1..] {
                    let apart = (a.2 - b.2).abs() >= 9.0 || a.1 <= b.0 + 0.5 || b.1 <= a.0 + 0.5;
                    assert!(apart, "{} at {width}: {a:?} over {b:?}", figure.id);
                }
            }
        }
    }
}

#[test]
fn limits_and_intervals_are_drawn_in_every_figure() {
    for figure in all(&[input("a", "kvm", 1.0, 8)]) {
        let limits = match &figure.plot {
            Plot::Bars(_, panels) => panels
                .iter()
                .flat_map(|p| &p.bars)
                .filter(|b| b.limit.is_some() && b.interval.is_some())
                .count(),
            Plot::Lines(_, panels) => panels
                .iter()
                .flat_map(|p| &p.lines)
                .filter(|l| l.look.is_none() || l.points.iter().all(|p| p.2.is_some()))
                .count(),
            Plot::Forest(_, rows) => {
                rows.iter().filter(|r| r.limit.is_some() && r.interval.is_some()).count()
            }
            Plot::Strips(_, rows) => {
                rows.iter().filter(|r| r.limit.is_some() && r.median.1.is_some()).count()
            }
            Plot::Heat(panels) => panels.iter().flat_map(|p| &p.limit).flatten().count(),
        };
        assert!(limits > 0, "{}", figure.id);
    }
}

#[test]
fn a_picture_is_made_of_every_figure_with_its_letters() {
    for figure in all(&[input("a", "kvm", 1.0, 6)]) {
        let svg = figure.svg(WIDE, Style::File);
        assert!(!svg.contains("var("), "colours of a page in a file");
        let png = raster::png(&svg, 1.0).unwrap();
        assert!(png.starts_with(b"\x89PNG") && png.len() > 5000, "{}", figure.id);
        let empty: String = svg
            .split("<text ")
            .map(|part| part.split_once("</text>").map_or(part, |(_, rest)| rest))
            .collect();
        assert_ne!(raster::png(&empty, 1.0).unwrap(), png, "the text leaves a mark");
    }
}

#[test]
fn text_is_cut_to_fit_and_wrapped_without_losing_words() {
    assert!(text_width(&fit(&"w".repeat(100), 90.0, 12.0), 12.0) <= 90.0);
    let text = "one two three four five six seven";
    assert_eq!(wrap(text, 60.0, 12.0).join(" "), text);
    assert!(wrap(text, 60.0, 12.0).iter().all(|l| text_width(l, 12.0) <= 60.0));
}
