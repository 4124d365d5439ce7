//! The sheet that figures are drawn on: rectangles, lines, circles and text, each in one of a few inks.

use std::fmt::Write as _;

/// Where the figure will be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// In a page that defines the colours as CSS variables.
    Page,
    /// Alone, in fixed colours on white, with heading and caption.
    File,
}

/// A colour by its purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ink {
    /// Text.
    Text,
    /// Less important text.
    Muted,
    /// Grid lines.
    Grid,
    /// The background.
    Paper,
    /// Marks of the machine's limits.
    Limit,
    /// Figures of publications.
    Past,
    /// A series.
    Series(usize),
}

/// Colours that colour-blind readers can tell apart, by Okabe and Ito; their yellow is left out, which white paper
/// swallows. Light and dark; the dark ones are the same hues made lighter where they would drown.
const SERIES: [(&str, &str); 7] = [
    ("#0072b2", "#4aa8e8"),
    ("#d55e00", "#ff8a3d"),
    ("#009e73", "#2fc79c"),
    ("#b05a92", "#e39ac6"),
    ("#b87a00", "#f0b429"),
    ("#2f8fc4", "#9ad6f7"),
    ("#4d4d4d", "#d0d0d0"),
];
/// Name, light, dark.
const INKS: [(&str, &str, &str); 6] = [
    ("text", "#1a1a1a", "#ececec"),
    ("muted", "#555555", "#b4b4b4"),
    ("grid", "#d9d9d9", "#3c3f44"),
    ("paper", "#ffffff", "#17191c"),
    ("limit", "#000000", "#ffffff"),
    ("past", "#7a7a7a", "#9a9a9a"),
];

/// The CSS variables of all inks, light or dark.
#[must_use]
pub fn palette_css(dark: bool) -> String {
    let mut css = String::new();
    for (name, light, night) in INKS {
        put(&mut css, format_args!("--{name}:{};", if dark { night } else { light }));
    }
    for (i, (light, night)) in SERIES.iter().enumerate() {
        put(&mut css, format_args!("--s{i}:{};", if dark { night } else { light }));
    }
    css
}

fn put(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = text.write_fmt(arguments);
}

/// Where text stands relative to its point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anchor {
    /// It begins there.
    Start,
    /// It is centred there.
    Middle,
    /// It ends there.
    End,
}

/// Size of usual text, CSS pixels.
pub const FONT: f64 = 13.0;
/// Size of small text.
pub const SMALL: f64 = 11.5;

/// A sheet of fixed width that grows downwards.
pub struct Canvas {
    /// Width in CSS pixels.
    pub width: f64,
    /// Next free line from the top.
    pub y: f64,
    style: Style,
    prefix: String,
    body: String,
    hatches: Vec<usize>,
}

impl Canvas {
    /// An empty sheet; `id` keeps names inside different figures of one page apart.
    pub fn new(width: f64, style: Style, id: &str) -> Canvas {
        Canvas {
            width,
            y: 4.0,
            style,
            prefix: format!("{id}{width:.0}"),
            body: String::new(),
            hatches: Vec::new(),
        }
    }

    /// Whether it is as narrow as a phone: labels then stand above what they name.
    pub fn is_narrow(&self) -> bool {
        self.width < 500.0
    }

    fn colour(&self, ink: Ink) -> String {
        let named = |name: &str| match self.style {
            Style::Page => format!("var(--{name})"),
            Style::File => INKS.iter().find(|i| i.0 == name).map_or("#000", |i| i.1).to_owned(),
        };
        match ink {
            Ink::Text => named("text"),
            Ink::Muted => named("muted"),
            Ink::Grid => named("grid"),
            Ink::Paper => named("paper"),
            Ink::Limit => named("limit"),
            Ink::Past => named("past"),
            Ink::Series(i) => match self.style {
                Style::Page => format!("var(--s{})", i % SERIES.len()),
                Style::File => SERIES[i % SERIES.len()].0.to_owned(),
            },
        }
    }

    /// A filled rectangle.
    pub fn rect(&mut self, [x, y, w, h]: [f64; 4], ink: Ink, opacity: f64) {
        let fill = self.colour(ink);
        put(
            &mut self.body,
            format_args!(
                "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{h:.1}\" style=\"fill:{fill};fill-opacity:{opacity:.2}\"/>",
                w.max(0.5)
            ),
        );
    }

    /// A rectangle with an outline, hatched.
    pub fn hatched(&mut self, [x, y, w, h]: [f64; 4], series: usize) {
        if !self.hatches.contains(&series) {
            self.hatches.push(series);
        }
        let (stroke, prefix) = (self.colour(Ink::Series(series)), self.prefix.clone());
        put(
            &mut self.body,
            format_args!(
                "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{h:.1}\" fill=\"url(#{prefix}h{series})\" style=\"stroke:{stroke}\"/>",
                w.max(0.5)
            ),
        );
    }

    /// A rectangle that is only an outline.
    pub fn outline(&mut self, [x, y, w, h]: [f64; 4], ink: Ink, dashed: bool) {
        let stroke = self.colour(ink);
        let dash = if dashed { ";stroke-dasharray:3 2" } else { "" };
        put(
            &mut self.body,
            format_args!(
                "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{h:.1}\" style=\"fill:none;stroke:{stroke}{dash}\"/>",
                w.max(0.5)
            ),
        );
    }

    /// A straight line.
    pub fn line(&mut self, from: (f64, f64), to: (f64, f64), ink: Ink, width: f64, dash: &str) {
        self.polyline(&[from, to], ink, width, dash);
    }

    /// A line through points; `dash` as in SVG, empty for none.
    pub fn polyline(&mut self, points: &[(f64, f64)], ink: Ink, width: f64, dash: &str) {
        let stroke = self.colour(ink);
        let dash =
            if dash.is_empty() { String::new() } else { format!(";stroke-dasharray:{dash}") };
        let path = path_of(points);
        put(
            &mut self.body,
            format_args!(
                "<path d=\"{path}\" style=\"fill:none;stroke:{stroke};stroke-width:{width}{dash}\"/>"
            ),
        );
    }

    /// A filled area.
    pub fn area(&mut self, points: &[(f64, f64)], ink: Ink, opacity: f64) {
        let fill = self.colour(ink);
        let path = path_of(points);
        put(
            &mut self.body,
            format_args!("<path d=\"{path}Z\" style=\"fill:{fill};fill-opacity:{opacity:.2}\"/>"),
        );
    }

    /// A marker whose shape goes with the colour, so that nobody needs the colour; hollow or filled.
    pub fn marker(&mut self, (x, y): (f64, f64), series: usize, hollow: bool, r: f64) {
        let colour = self.colour(Ink::Series(series));
        let fill = if hollow { self.colour(Ink::Paper) } else { colour.clone() };
        let shape: Vec<(f64, f64)> = match series % 5 {
            0 => {
                put(
                    &mut self.body,
                    format_args!(
                        "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{r}\" style=\"fill:{fill};stroke:{colour};stroke-width:1.5\"/>"
                    ),
                );
                return;
            }
            1 => vec![(-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)],
            2 => vec![(0.0, -1.25), (1.2, 0.95), (-1.2, 0.95)],
            3 => vec![(0.0, -1.35), (1.35, 0.0), (0.0, 1.35), (-1.35, 0.0)],
            _ => vec![(0.0, 1.25), (1.2, -0.95), (-1.2, -0.95)],
        };
        let points: Vec<_> = shape.iter().map(|(dx, dy)| (x + dx * r, y + dy * r)).collect();
        let path = path_of(&points);
        put(
            &mut self.body,
            format_args!(
                "<path d=\"{path}Z\" style=\"fill:{fill};stroke:{colour};stroke-width:1.5\"/>"
            ),
        );
    }

    /// A small dot, or a ring.
    pub fn dot(&mut self, (x, y): (f64, f64), ink: Ink, r: f64, ring: bool) {
        let colour = self.colour(ink);
        let look = if ring {
            format!("fill:none;stroke:{colour};stroke-width:1.3")
        } else {
            format!("fill:{colour};fill-opacity:.45")
        };
        put(
            &mut self.body,
            format_args!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{r}\" style=\"{look}\"/>"),
        );
    }

    /// Text on a base line.
    pub fn text(&mut self, (x, y): (f64, f64), text: &str, ink: Ink, size: f64, anchor: Anchor) {
        self.styled((x, y), text, ink, size, anchor, "");
    }

    /// Text that stays readable where a line runs behind it.
    pub fn haloed(&mut self, at: (f64, f64), text: &str, ink: Ink) {
        let halo =
            format!(";paint-order:stroke;stroke:{};stroke-width:4px", self.colour(Ink::Paper));
        self.styled(at, text, ink, SMALL, Anchor::Start, &halo);
    }

    /// Bold text on a base line, cut to `room` pixels.
    pub fn bold(&mut self, at: (f64, f64), text: &str, size: f64, room: f64) {
        // Bold letters are up to a sixth wider.
        let text = fit(text, room / 1.17, size);
        self.styled(at, &text, Ink::Text, size, Anchor::Start, ";font-weight:bold");
    }

    fn styled(
        &mut self,
        (x, y): (f64, f64),
        text: &str,
        ink: Ink,
        size: f64,
        anchor: Anchor,
        more: &str,
    ) {
        let fill = self.colour(ink);
        let anchor = match anchor {
            Anchor::Start => "",
            Anchor::Middle => " text-anchor=\"middle\"",
            Anchor::End => " text-anchor=\"end\"",
        };
        let text = escape(text);
        put(
            &mut self.body,
            format_args!(
                "<text x=\"{x:.1}\" y=\"{y:.1}\"{anchor} style=\"fill:{fill};font-size:{size}px{more}\">{text}</text>"
            ),
        );
    }

    /// Text from the left edge, broken into lines; the sheet grows.
    pub fn paragraph(&mut self, text: &str) {
        for line in wrap(text, self.width - 8.0, SMALL) {
            self.y += SMALL * 1.4;
            self.text((4.0, self.y), &line, Ink::Muted, SMALL, Anchor::Start);
        }
    }

    /// A heading of the whole sheet.
    pub fn heading(&mut self, text: &str) {
        for line in wrap(text, (self.width - 8.0) / 1.17, 15.0) {
            self.y += 18.0;
            self.bold((4.0, self.y), &line, 15.0, self.width - 8.0);
        }
        self.y += 8.0;
    }

    /// The whole SVG, with a name and a description for those who cannot see it.
    pub fn finish(self, title: &str, description: &str) -> String {
        let mut defs = String::new();
        for series in &self.hatches {
            let (colour, prefix) = (self.colour(Ink::Series(*series)), &self.prefix);
            put(
                &mut defs,
                format_args!(
                    "<pattern id=\"{prefix}h{series}\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\">\
                     <rect width=\"6\" height=\"6\" style=\"fill:{colour};fill-opacity:.12\"/>\
                     <rect width=\"2\" height=\"6\" style=\"fill:{colour}\"/></pattern>"
                ),
            );
        }
        let (w, h) = (self.width, self.y + 6.0);
        let paper = match self.style {
            Style::File => format!("<rect width=\"{w:.0}\" height=\"{h:.0}\" fill=\"#fff\"/>"),
            Style::Page => String::new(),
        };
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {w:.0} {h:.0}\" width=\"{w:.0}\" height=\"{h:.0}\" role=\"img\" \
             font-family=\"DejaVu Sans, Verdana, Helvetica, Arial, sans-serif\"><title>{}</title><desc>{}</desc><defs>{defs}</defs>{paper}{}</svg>",
            escape(title),
            escape(description),
            self.body
        )
    }
}

fn path_of(points: &[(f64, f64)]) -> String {
    let mut path = String::new();
    for (i, (x, y)) in points.iter().enumerate() {
        put(&mut path, format_args!("{}{x:.1} {y:.1}", if i == 0 { 'M' } else { 'L' }));
    }
    path
}

/// Text safe inside SVG and HTML; control characters, which XML forbids, become spaces.
pub fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => safe.push(' '),
            c => safe.push(c),
        }
    }
    safe
}

/// Advance widths of ASCII from the space on, in hundredths of the size: those of DejaVu Sans, the widest of the
/// fonts that are asked for, so that no other overflows.
const WIDTHS: [u8; 95] = [
    32, 40, 46, 84, 64, 95, 78, 27, 39, 39, 50, 84, 32, 36, 32, 34, 64, 64, 64, 64, 64, 64, 64, 64,
    64, 64, 34, 34, 84, 84, 84, 53, 100, 68, 69, 70, 77, 63, 58, 77, 75, 29, 29, 66, 56, 86, 75,
    79, 60, 79, 69, 63, 61, 73, 68, 99, 69, 61, 69, 39, 34, 39, 84, 50, 50, 61, 63, 55, 63, 62, 35,
    63, 63, 28, 28, 58, 28, 97, 63, 61, 63, 63, 41, 52, 39, 63, 59, 82, 59, 59, 52, 64, 34, 64, 84,
];

/// Width of `text` at `size`, CSS pixels.
pub fn text_width(text: &str, size: f64) -> f64 {
    let hundredths: f64 = text
        .chars()
        .map(|c| match (c as usize).checked_sub(32).and_then(|i| WIDTHS.get(i)) {
            Some(w) => f64::from(*w),
            None if c == '\u{202f}' => 20.0,
            // Ideographs are a full square wide, most others no more than this.
            None => 84.0,
        })
        .sum();
    hundredths / 100.0 * size
}

/// Breaks text into lines of at most `width`; a word that is longer is cut.
pub fn wrap(text: &str, width: f64, size: f64) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let word = fit(word, width, size);
        let last = lines.len() - 1;
        let longer =
            if lines[last].is_empty() { word.clone() } else { format!("{} {word}", lines[last]) };
        if text_width(&longer, size) <= width {
            lines[last] = longer;
        } else {
            lines.push(word);
        }
    }
    lines
}

/// `text`, or its beginning and an ellipsis.
pub fn fit(text: &str, width: f64, size: f64) -> String {
    if text_width(text, size) <= width {
        return text.to_owned();
    }
    let mut short = text.to_owned();
    while !short.is_empty() && text_width(&short, size) + size > width {
        short.pop();
    }
    short.push('…');
    short
}
