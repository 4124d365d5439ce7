//! Figures: shapes and text in SVG, drawn by nothing but arithmetic. One description of a figure (`Plot`) is drawn
//! at any width, for the wide page, the phone and the file, in colours of the page (CSS variables, so that light and
//! dark are the page's choice) or in fixed ones. It knows nothing of hypervisors or statistics: `build` turns a
//! comparison into descriptions.

mod bars;
pub mod build;
mod canvas;
mod heat;
mod lines;
mod points;
pub mod raster;
mod scale;

pub use canvas::{Style, escape, palette_css};

use canvas::Canvas;

/// Width in which figures are drawn for a desk or a sheet of paper, and for a phone, in CSS pixels.
pub const WIDE: f64 = 860.0;
/// See [`WIDE`].
pub const NARROW: f64 = 350.0;

/// One figure with its words.
#[derive(Debug, Clone)]
pub struct Figure {
    /// Short name, used for files and anchors.
    pub id: &'static str,
    /// Heading.
    pub title: String,
    /// What is shown, how many launches, under which conditions.
    pub caption: String,
    /// Warnings about what is shown.
    pub warnings: Vec<String>,
    /// What is drawn.
    pub plot: Plot,
}

/// What is drawn.
#[derive(Debug, Clone)]
pub enum Plot {
    /// Horizontal bars with whiskers, in panels.
    Bars(Axis, Vec<BarPanel>),
    /// Lines with bands over message size, in panels.
    Lines(Axis, Vec<LinePanel>),
    /// Points with intervals, one a row.
    Forest(Axis, Vec<ForestRow>),
    /// Every launch as a dot, one series a row.
    Strips(Axis, Vec<StripRow>),
    /// Tables of colour.
    Heat(Vec<HeatPanel>),
}

/// What an axis measures.
#[derive(Debug, Clone)]
pub struct Axis {
    /// Quantity with unit, such as `half round trip, µs`.
    pub label: String,
    /// What the marks of the limit mean, for the legend; empty without limits.
    pub limit: String,
}

/// How a series looks: colour and marker by group, pattern by path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Look {
    /// Index of the colour and marker.
    pub colour: usize,
    /// Hatched bars, dashed lines, hollow markers.
    pub second: bool,
}

/// Bars under one heading.
#[derive(Debug, Clone)]
pub struct BarPanel {
    /// Heading.
    pub title: String,
    /// Bars from the top.
    pub bars: Vec<Bar>,
}

/// One bar.
#[derive(Debug, Clone)]
pub struct Bar {
    /// What it is.
    pub label: String,
    /// How it looks; `None` is a figure of a publication.
    pub look: Option<Look>,
    /// Its length; `None` draws the words of `note` alone.
    pub value: Option<f64>,
    /// Whisker.
    pub interval: Option<[f64; 2]>,
    /// Mark of the machine's limit.
    pub limit: Option<f64>,
    /// Words behind the bar.
    pub note: String,
}

/// Lines under one heading.
#[derive(Debug, Clone)]
pub struct LinePanel {
    /// Heading.
    pub title: String,
    /// The lines.
    pub lines: Vec<Line>,
}

/// One line.
#[derive(Debug, Clone)]
pub struct Line {
    /// What it is, for the legend.
    pub label: String,
    /// How it looks; `None` is a limit.
    pub look: Option<Look>,
    /// Size in bytes, value, interval.
    pub points: Vec<(u64, f64, Option<[f64; 2]>)>,
}

/// One row of a forest.
#[derive(Debug, Clone)]
pub struct ForestRow {
    /// Heading that begins here, or empty.
    pub heading: String,
    /// What it is.
    pub label: String,
    /// How it looks.
    pub look: Look,
    /// The ratio.
    pub value: f64,
    /// Its interval.
    pub interval: Option<[f64; 2]>,
    /// The most that the machine allows.
    pub limit: Option<f64>,
    /// Words behind it.
    pub note: String,
}

/// One row of dots.
#[derive(Debug, Clone)]
pub struct StripRow {
    /// What it is.
    pub label: String,
    /// How it looks.
    pub look: Look,
    /// Dots to draw.
    pub dots: Vec<f64>,
    /// Dots to ring.
    pub outliers: Vec<f64>,
    /// Median and its interval.
    pub median: (f64, Option<[f64; 2]>),
    /// Mark of the machine's limit.
    pub limit: Option<f64>,
    /// Words behind it.
    pub note: String,
}

/// One table of colour.
#[derive(Debug, Clone)]
pub struct HeatPanel {
    /// Heading.
    pub title: String,
    /// Colour and nothing else.
    pub look: Look,
    /// Message sizes of the columns, bytes.
    pub sizes: Vec<u64>,
    /// Rows: name and values, MB/s; `None` where nothing was measured.
    pub rows: Vec<(String, Vec<Option<f64>>)>,
    /// The machine's limit for one stream, in the last row.
    pub limit: Vec<Option<f64>>,
}

impl Figure {
    /// The figure as one SVG element, `width` CSS pixels wide.
    #[must_use]
    pub fn svg(&self, width: f64, style: Style) -> String {
        let mut canvas = Canvas::new(width, style, self.id);
        if style == Style::File {
            canvas.heading(&self.title);
        }
        match &self.plot {
            Plot::Bars(axis, panels) => bars::draw(&mut canvas, axis, panels),
            Plot::Lines(axis, panels) => lines::draw(&mut canvas, axis, panels),
            Plot::Forest(axis, rows) => points::forest(&mut canvas, axis, rows),
            Plot::Strips(axis, rows) => points::strips(&mut canvas, axis, rows),
            Plot::Heat(panels) => heat::draw(&mut canvas, panels),
        }
        if style == Style::File {
            canvas.paragraph(&self.caption);
            self.warnings.iter().for_each(|w| canvas.paragraph(&format!("! {w}")));
        }
        canvas.finish(&self.title, &self.caption)
    }
}

#[cfg(test)]
#[path = "../figure_tests.rs"]
mod tests;
