//! Horizontal bars with whiskers and the mark of the limit: names of any length fit, on paper and on a phone.

use super::canvas::{Anchor, Canvas, FONT, Ink, SMALL, fit, text_width, wrap};
use super::scale::{Scale, tick_text};
use super::{Axis, Bar, BarPanel};

const HEIGHT: f64 = 17.0;

pub fn draw(canvas: &mut Canvas, axis: &Axis, panels: &[BarPanel]) {
    let bars = || panels.iter().flat_map(|p| &p.bars);
    let plot = Frame::of(canvas, bars().map(|b| b.label.as_str()), bars().map(|b| b.note.as_str()));
    let values = bars()
        .flat_map(|b| b.value.into_iter().chain(b.limit).chain(b.interval.into_iter().flatten()));
    let scale = Scale::holding(values, plot.left, plot.right);
    legend(
        canvas,
        if bars().any(|b| b.limit.is_some()) { &axis.limit } else { "" },
        bars().any(|b| b.interval.is_some()),
        bars().any(|b| b.look.is_none()),
    );
    for panel in panels {
        canvas.y += 22.0;
        let y = canvas.y;
        canvas.bold((4.0, y), &panel.title, FONT, canvas.width - 8.0);
        canvas.y += 6.0;
        let top = canvas.y;
        let bottom = top + plot.row * panel.bars.len() as f64;
        grid(canvas, &scale, top, bottom);
        for bar in &panel.bars {
            let middle = plot.label(canvas, &bar.label);
            one(canvas, &scale, bar, middle);
            plot.note(canvas, &bar.note, middle);
        }
        canvas.y = bottom;
    }
    tick_labels(canvas, &scale, &axis.label);
}

/// Where names, figures and words stand.
pub struct Frame {
    /// Pixels of the axis.
    pub left: f64,
    /// See `left`.
    pub right: f64,
    /// Height of one row.
    pub row: f64,
    narrow: bool,
}

impl Frame {
    /// Beside each other where there is room, else names above and words below.
    pub fn of<'a>(
        canvas: &Canvas,
        labels: impl Iterator<Item = &'a str>,
        notes: impl Iterator<Item = &'a str>,
    ) -> Frame {
        let widest = |texts: &mut dyn Iterator<Item = &'a str>| {
            texts.map(|t| text_width(t, SMALL)).fold(0.0, f64::max)
        };
        let (label, note) = (widest(&mut { labels }), widest(&mut { notes }));
        if canvas.is_narrow() {
            return Frame {
                left: 6.0,
                right: canvas.width - 14.0,
                row: if note > 0.0 { 52.0 } else { 38.0 },
                narrow: true,
            };
        }
        Frame {
            left: 16.0 + label.min(canvas.width * 0.34),
            right: canvas.width - 22.0 - note.min(canvas.width * 0.3),
            row: 26.0,
            narrow: false,
        }
    }

    /// Writes the name and returns the middle of the row's figure; the sheet moves on.
    pub fn label(&self, canvas: &mut Canvas, label: &str) -> f64 {
        let top = canvas.y;
        canvas.y += self.row;
        if self.narrow {
            let text = fit(label, canvas.width - 8.0, SMALL);
            canvas.haloed((4.0, top + 14.0), &text, Ink::Text);
            top + 27.0
        } else {
            let text = fit(label, self.left - 14.0, SMALL);
            let middle = top + self.row / 2.0;
            canvas.text((self.left - 8.0, middle + 4.0), &text, Ink::Text, SMALL, Anchor::End);
            middle
        }
    }

    /// From where to where a line across a row may go without crossing words.
    pub fn band(&self, top: f64, middle: f64) -> (f64, f64) {
        if self.narrow { (middle - 8.0, middle + 8.0) } else { (top, top + self.row) }
    }

    /// Writes the words of a row.
    pub fn note(&self, canvas: &mut Canvas, note: &str, middle: f64) {
        if note.is_empty() {
            return;
        }
        if self.narrow {
            let text = fit(note, canvas.width - 12.0, SMALL);
            canvas.haloed((6.0, middle + 21.0), &text, Ink::Muted);
        } else {
            let text = fit(note, canvas.width - self.right - 12.0, SMALL);
            canvas.text((self.right + 10.0, middle + 4.0), &text, Ink::Muted, SMALL, Anchor::Start);
        }
    }
}

fn one(canvas: &mut Canvas, scale: &Scale, bar: &Bar, middle: f64) {
    let start = scale.at(0.0);
    if let Some(value) = bar.value {
        let area = [start, middle - HEIGHT / 2.0, scale.at(value) - start, HEIGHT];
        match bar.look {
            Some(look) if look.second => canvas.hatched(area, look.colour),
            Some(look) => canvas.rect(area, Ink::Series(look.colour), 1.0),
            None => {
                canvas.rect(area, Ink::Past, 0.25);
                canvas.outline(area, Ink::Past, true);
            }
        }
    }
    if let Some([low, high]) = bar.interval {
        whisker(canvas, scale.at(low), scale.at(high), middle, 4.0);
    }
    if let Some(limit) = bar.limit {
        limit_mark(canvas, scale.at(limit), middle, HEIGHT + 6.0);
    }
}

/// An interval with ends of `cap` pixels up and down, edged with paper so that it is seen on any bar.
pub fn whisker(canvas: &mut Canvas, low: f64, high: f64, y: f64, cap: f64) {
    for (ink, width) in [(Ink::Paper, 4.0), (Ink::Text, 1.6)] {
        canvas.line((low, y), (high, y), ink, width, "");
        for x in [low, high] {
            canvas.line((x, y - cap), (x, y + cap), ink, width, "");
        }
    }
}

/// The mark of the machine's limit.
pub fn limit_mark(canvas: &mut Canvas, x: f64, y: f64, height: f64) {
    canvas.line((x, y - height / 2.0), (x, y + height / 2.0), Ink::Paper, 5.0, "");
    canvas.line((x, y - height / 2.0), (x, y + height / 2.0), Ink::Limit, 2.4, "4 2");
}

/// What the marks mean, above the figure.
pub fn legend(canvas: &mut Canvas, limit: &str, intervals: bool, past: bool) {
    let mut items = Vec::new();
    items.extend(intervals.then(|| ("interval", "95 % interval".to_owned())));
    items.extend((!limit.is_empty()).then(|| ("limit", limit.to_owned())));
    items.extend(past.then(|| ("past", "published in 2008".to_owned())));
    let mut x = 4.0;
    canvas.y += 14.0;
    for (kind, text) in items {
        let wide = 30.0 + text_width(&text, SMALL);
        if x + wide > canvas.width && x > 4.0 {
            x = 4.0;
            canvas.y += 18.0;
        }
        let y = canvas.y - 4.0;
        match kind {
            "interval" => whisker(canvas, x + 2.0, x + 20.0, y, 4.0),
            "limit" => limit_mark(canvas, x + 11.0, y, 16.0),
            _ => {
                canvas.rect([x + 2.0, y - 6.0, 18.0, 12.0], Ink::Past, 0.25);
                canvas.outline([x + 2.0, y - 6.0, 18.0, 12.0], Ink::Past, true);
            }
        }
        let text = fit(&text, canvas.width - 34.0, SMALL);
        let at = (x + 26.0, canvas.y);
        canvas.text(at, &text, Ink::Muted, SMALL, Anchor::Start);
        x += wide + 14.0;
    }
}

/// Lines at the ticks.
pub fn grid(canvas: &mut Canvas, scale: &Scale, top: f64, bottom: f64) {
    for tick in scale.ticks(most_ticks(canvas)) {
        let x = scale.at(tick);
        canvas.line((x, top), (x, bottom), Ink::Grid, 1.0, "");
    }
}

fn most_ticks(canvas: &Canvas) -> usize {
    if canvas.is_narrow() { 5 } else { 8 }
}

/// Values at the ticks, and below what they measure.
pub fn tick_labels(canvas: &mut Canvas, scale: &Scale, label: &str) {
    canvas.y += 15.0;
    let mut free = 0.0;
    for tick in scale.ticks(most_ticks(canvas)) {
        let text = tick_text(tick);
        let (x, half) = (scale.at(tick), text_width(&text, SMALL) / 2.0);
        let x = x.clamp(half + 1.0, canvas.width - half - 1.0);
        if x - half < free {
            continue;
        }
        free = x + half + 6.0;
        let y = canvas.y;
        canvas.text((x, y), &text, Ink::Muted, SMALL, Anchor::Middle);
    }
    let scale_text = if scale.log { " (logarithmic)" } else { "" };
    let text = format!("{label}{scale_text}");
    for line in wrap(&text, canvas.width - 10.0, SMALL) {
        canvas.y += 16.0;
        let at = (canvas.width - 6.0, canvas.y);
        canvas.text(at, &line, Ink::Text, SMALL, Anchor::End);
    }
    canvas.y += 4.0;
}
