//! Layout by message size as tables of colour: the deeper, the more; with the value in every cell.

use super::HeatPanel;
use super::canvas::{Anchor, Canvas, FONT, Ink, SMALL, text_width};
use super::lines::short_size;

const HEIGHT: f64 = 21.0;

pub fn draw(canvas: &mut Canvas, panels: &[HeatPanel]) {
    let values = || {
        panels
            .iter()
            .flat_map(|p| p.rows.iter().flat_map(|r| r.1.iter().flatten()))
            .filter(|v| **v > 0.0)
    };
    let low = values().copied().fold(f64::INFINITY, f64::min);
    let high = values().copied().fold(0.0, f64::max);
    let depth = |v: f64| {
        let span = (high / low).ln();
        if span > 0.0 { ((v / low).ln() / span).clamp(0.0, 1.0) } else { 0.5 }
    };
    canvas.y += 14.0;
    let y = canvas.y;
    let note = format!(
        "MB/s, deeper is more, from {} to {} (logarithmic); k is 1000 MB/s",
        super::super::compare::number(low),
        super::super::compare::number(high)
    );
    for line in super::canvas::wrap(&note, canvas.width - 8.0, SMALL) {
        let y = canvas.y;
        canvas.text((4.0, y), &line, Ink::Muted, SMALL, Anchor::Start);
        canvas.y += 15.0;
    }
    debug_assert!(canvas.y > y);
    for panel in panels {
        one(canvas, panel, &depth);
    }
    canvas.y += 16.0;
    let at = (canvas.width - 6.0, canvas.y);
    canvas.text(at, "message size, bytes", Ink::Text, SMALL, Anchor::End);
}

fn one(canvas: &mut Canvas, panel: &HeatPanel, depth: &dyn Fn(f64) -> f64) {
    canvas.y += 18.0;
    let y = canvas.y;
    canvas.bold((4.0, y), &panel.title, FONT, canvas.width - 8.0);
    let names = panel.rows.iter().map(|r| r.0.as_str()).chain(["limit"]);
    let left = 12.0 + names.map(|n| text_width(n, SMALL)).fold(0.0, f64::max);
    // A cell must hold its number: on a phone only some of the sizes are shown.
    let room = ((canvas.width - left - 4.0) / 40.0).floor().max(1.0) as usize;
    let every = panel.sizes.len().div_ceil(room);
    let shown: Vec<usize> = (0..panel.sizes.len()).rev().step_by(every.max(1)).collect();
    let shown: Vec<usize> = shown.into_iter().rev().collect();
    let width = ((canvas.width - left - 4.0) / shown.len().max(1) as f64).min(90.0);
    canvas.y += 18.0;
    for (column, index) in shown.iter().enumerate() {
        let at = (left + (column as f64 + 0.5) * width, canvas.y);
        canvas.text(at, &short_size(panel.sizes[*index]), Ink::Muted, SMALL, Anchor::Middle);
    }
    canvas.y += 5.0;
    for (name, values) in &panel.rows {
        let y = canvas.y;
        canvas.text((left - 6.0, y + 15.0), name, Ink::Text, SMALL, Anchor::End);
        for (column, index) in shown.iter().enumerate() {
            let area = [left + column as f64 * width + 1.0, y + 1.0, width - 2.0, HEIGHT - 2.0];
            let middle = (area[0] + area[2] / 2.0, y + 15.0);
            match values.get(*index).copied().flatten() {
                Some(v) => {
                    // Never so deep that text of the usual ink drowns, in the light or in the dark.
                    let opacity = 0.04 + 0.56 * depth(v);
                    canvas.rect(area, Ink::Series(panel.look.colour), opacity);
                    canvas.text(middle, &compact(v), Ink::Text, SMALL, Anchor::Middle);
                }
                None => canvas.text(middle, "-", Ink::Muted, SMALL, Anchor::Middle),
            }
        }
        canvas.y += HEIGHT;
    }
    if panel.limit.iter().any(Option::is_some) {
        let y = canvas.y;
        canvas.text((left - 6.0, y + 15.0), "limit", Ink::Text, SMALL, Anchor::End);
        for (column, index) in shown.iter().enumerate() {
            let area = [left + column as f64 * width + 1.0, y + 1.0, width - 2.0, HEIGHT - 2.0];
            canvas.outline(area, Ink::Limit, true);
            let text = panel.limit.get(*index).copied().flatten().map_or("-".to_owned(), compact);
            canvas.text(
                (area[0] + area[2] / 2.0, y + 15.0),
                &text,
                Ink::Text,
                SMALL,
                Anchor::Middle,
            );
        }
        canvas.y += HEIGHT;
    }
}

/// At most four characters.
fn compact(value: f64) -> String {
    match value {
        v if v >= 99_500.0 => format!("{:.0}k", v / 1000.0),
        v if v >= 999.5 => format!("{:.1}k", v / 1000.0),
        v if v >= 9.95 => format!("{v:.0}"),
        v if v >= 0.995 => format!("{v:.1}"),
        v => format!("{v:.2}"),
    }
}
