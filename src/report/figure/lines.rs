//! Lines over message size with bands of their intervals, one panel for each layout.

use super::canvas::{Anchor, Canvas, FONT, Ink, SMALL, fit, text_width};
use super::scale::{Scale, tick_text};
use super::{Axis, Line, LinePanel, Look};

/// Dashes of the limits.
const LIMIT_DASH: &str = "2 3";

pub fn draw(canvas: &mut Canvas, axis: &Axis, panels: &[LinePanel]) {
    legend(canvas, axis, panels);
    let columns = if canvas.is_narrow() || panels.len() == 1 { 1 } else { 2 };
    let gap = 18.0;
    let width = (canvas.width - gap * (columns as f64 - 1.0)) / columns as f64;
    let height = if columns == 1 && !canvas.is_narrow() { 330.0 } else { 240.0 };
    let points = || panels.iter().flat_map(|p| &p.lines).flat_map(|l| &l.points);
    let values =
        points().flat_map(|(_, v, i)| std::iter::once(*v).chain(i.iter().flatten().copied()));
    let y_scale = Scale::holding(values, 0.0, 1.0);
    let sizes = points().map(|(bytes, _, _)| *bytes as f64);
    let (low, high) = sizes.fold((f64::INFINITY, 1.0f64), |(a, b), v| (a.min(v), b.max(v)));
    let mut top = canvas.y + 8.0;
    for row in panels.chunks(columns) {
        for (i, panel) in row.iter().enumerate() {
            let left = i as f64 * (width + gap);
            let area = Area {
                left,
                right: left + width,
                top,
                bottom: top + height,
                sizes: (low.min(high), high),
                y: y_scale,
            };
            area.draw(canvas, axis, panel);
        }
        top += height + 10.0;
    }
    canvas.y = top - 4.0;
}

struct Area {
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
    sizes: (f64, f64),
    y: Scale,
}

impl Area {
    fn draw(&self, canvas: &mut Canvas, axis: &Axis, panel: &LinePanel) {
        canvas.bold(
            (self.left + 4.0, self.top + 14.0),
            &panel.title,
            FONT,
            self.right - self.left - 8.0,
        );
        let text = fit(&axis.label, self.right - self.left - 6.0, SMALL);
        canvas.text((self.left + 4.0, self.top + 30.0), &text, Ink::Muted, SMALL, Anchor::Start);
        let (top, bottom) = (self.top + 40.0, self.bottom - 38.0);
        let y = self.y.over(bottom, top);
        let ticks = y.ticks(6);
        let widest = ticks.iter().map(|t| text_width(&tick_text(*t), SMALL)).fold(0.0, f64::max);
        let (left, right) = (self.left + widest + 10.0, self.right - 12.0);
        for tick in ticks {
            let at = y.at(tick);
            canvas.line((left, at), (right, at), Ink::Grid, 1.0, "");
            canvas.text((left - 6.0, at + 4.0), &tick_text(tick), Ink::Muted, SMALL, Anchor::End);
        }
        let x = |bytes: u64| {
            let span = (self.sizes.1 / self.sizes.0).ln().max(1e-9);
            left + (bytes as f64 / self.sizes.0).ln() / span * (right - left)
        };
        self.size_ticks(canvas, &x, top, bottom);
        for line in &panel.lines {
            one(canvas, line, &x, &y);
        }
    }

    /// Message sizes along the bottom, as many as fit.
    fn size_ticks(&self, canvas: &mut Canvas, x: &dyn Fn(u64) -> f64, top: f64, bottom: f64) {
        let mut free = 0.0;
        for shift in (0..40).step_by(3) {
            let bytes = 1u64 << shift;
            if (bytes as f64) < self.sizes.0 || bytes as f64 > self.sizes.1 {
                continue;
            }
            let (at, text) = (x(bytes), short_size(bytes));
            canvas.line((at, top), (at, bottom), Ink::Grid, 1.0, "");
            let half = text_width(&text, SMALL) / 2.0;
            if at - half > free {
                canvas.text((at, bottom + 15.0), &text, Ink::Muted, SMALL, Anchor::Middle);
                free = at + half + 6.0;
            }
        }
        canvas.text(
            (self.right - 12.0, bottom + 31.0),
            "message size, bytes (logarithmic)",
            Ink::Text,
            SMALL,
            Anchor::End,
        );
    }
}

/// `8`, `64K`, `2M`: with K and M for 2^10 and 2^20, as benchmarks write it.
pub fn short_size(bytes: u64) -> String {
    match bytes {
        b if b >= 1 << 30 && b.is_multiple_of(1 << 30) => format!("{}G", b >> 30),
        b if b >= 1 << 20 && b.is_multiple_of(1 << 20) => format!("{}M", b >> 20),
        b if b >= 1 << 10 && b.is_multiple_of(1 << 10) => format!("{}K", b >> 10),
        b => b.to_string(),
    }
}

fn one(canvas: &mut Canvas, line: &Line, x: &dyn Fn(u64) -> f64, y: &Scale) {
    let points: Vec<(f64, f64)> =
        line.points.iter().map(|(bytes, v, _)| (x(*bytes), y.at(*v))).collect();
    let Some(look) = line.look else {
        canvas.polyline(&points, Ink::Limit, 1.6, LIMIT_DASH);
        return;
    };
    let known = || line.points.iter().filter_map(|(bytes, _, i)| Some((x(*bytes), (*i)?)));
    let lower = known().map(|(x, [low, _])| (x, y.at(low)));
    let mut band: Vec<_> = lower.collect();
    band.extend(
        known().map(|(x, [_, high])| (x, y.at(high))).collect::<Vec<_>>().into_iter().rev(),
    );
    if band.len() >= 4 {
        canvas.area(&band, Ink::Series(look.colour), 0.22);
    }
    canvas.polyline(&points, Ink::Series(look.colour), 1.8, dash(look));
    // A marker at every third point keeps lines apart without hiding their bands.
    for (i, point) in points.iter().enumerate() {
        if i % 3 == 0 || points.len() < 8 {
            canvas.marker(*point, look.colour, look.second, 3.4);
        }
    }
}

fn dash(look: Look) -> &'static str {
    if look.second { "7 3" } else { "" }
}

fn legend(canvas: &mut Canvas, axis: &Axis, panels: &[LinePanel]) {
    let mut items: Vec<(Option<Look>, String)> = Vec::new();
    for line in panels.iter().flat_map(|p| &p.lines) {
        let text = if line.look.is_none() { &axis.limit } else { &line.label };
        let item = (line.look, text.clone());
        if !items.contains(&item) {
            items.push(item);
        }
    }
    items.sort_by_key(|(look, _)| look.is_none());
    let mut x = 4.0;
    canvas.y += 14.0;
    for (look, text) in items {
        let text = fit(&text, canvas.width - 44.0, SMALL);
        let wide = 40.0 + text_width(&text, SMALL);
        if x + wide > canvas.width && x > 4.0 {
            x = 4.0;
            canvas.y += 18.0;
        }
        let y = canvas.y - 4.0;
        match look {
            Some(look) => {
                canvas.line((x, y), (x + 30.0, y), Ink::Series(look.colour), 1.8, dash(look));
                canvas.marker((x + 15.0, y), look.colour, look.second, 3.8);
            }
            None => canvas.line((x, y), (x + 30.0, y), Ink::Limit, 1.6, LIMIT_DASH),
        }
        let at = (x + 35.0, canvas.y);
        canvas.text(at, &text, Ink::Text, SMALL, Anchor::Start);
        x += wide + 14.0;
    }
}
