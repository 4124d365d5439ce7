//! Points with intervals, one a row (a forest), and every launch as a dot (strips).

use super::bars::{Frame, grid, legend, limit_mark, tick_labels, whisker};
use super::canvas::{Canvas, FONT, Ink};
use super::scale::Scale;
use super::{Axis, ForestRow, StripRow};

pub fn forest(canvas: &mut Canvas, axis: &Axis, rows: &[ForestRow]) {
    let frame = Frame::of(
        canvas,
        rows.iter().map(|r| r.label.as_str()),
        rows.iter().map(|r| r.note.as_str()),
    );
    let values = rows
        .iter()
        .flat_map(|r| [r.value].into_iter().chain(r.limit).chain(r.interval.into_iter().flatten()));
    // One, where nothing is gained, belongs to every such axis.
    let scale = Scale::holding(values.chain([1.0]), frame.left, frame.right);
    let limit = if rows.iter().any(|r| r.limit.is_some()) { &axis.limit } else { "" };
    legend(canvas, limit, rows.iter().any(|r| r.interval.is_some()), false);
    canvas.y += 6.0;
    for row in rows {
        if !row.heading.is_empty() {
            canvas.y += 20.0;
            let y = canvas.y;
            canvas.bold((4.0, y), &row.heading, FONT, canvas.width - 8.0);
            canvas.y += 4.0;
        }
        let top = canvas.y;
        grid(canvas, &scale, top, top + frame.row);
        let middle = frame.label(canvas, &row.label);
        let (above, below) = frame.band(top, middle);
        let one = scale.at(1.0);
        canvas.line((one, above), (one, below), Ink::Text, 1.4, "");
        if let Some([low, high]) = row.interval {
            whisker(canvas, scale.at(low), scale.at(high), middle, 9.0);
        }
        if let Some(limit) = row.limit {
            limit_mark(canvas, scale.at(limit), middle, 20.0);
        }
        canvas.marker((scale.at(row.value), middle), row.look.colour, row.look.second, 5.0);
        frame.note(canvas, &row.note, middle);
    }
    tick_labels(canvas, &scale, &axis.label);
}

pub fn strips(canvas: &mut Canvas, axis: &Axis, rows: &[StripRow]) {
    let frame = Frame::of(
        canvas,
        rows.iter().map(|r| r.label.as_str()),
        rows.iter().map(|r| r.note.as_str()),
    );
    let values = rows.iter().flat_map(|r| {
        let ends = r.median.1.into_iter().flatten();
        r.dots.iter().chain(&r.outliers).copied().chain(r.limit).chain(ends)
    });
    let scale = Scale::holding(values, frame.left, frame.right);
    let limit = if rows.iter().any(|r| r.limit.is_some()) { &axis.limit } else { "" };
    legend(canvas, limit, rows.iter().any(|r| r.median.1.is_some()), false);
    canvas.y += 6.0;
    for row in rows {
        let top = canvas.y;
        grid(canvas, &scale, top, top + frame.row);
        let middle = frame.label(canvas, &row.label);
        for (i, value) in row.dots.iter().enumerate() {
            // Spread up and down in a fixed pattern, so that equal launches do not hide each other.
            let away = ((i * 7) % 11) as f64 - 5.0;
            canvas.dot((scale.at(*value), middle + away), Ink::Series(row.look.colour), 2.4, false);
        }
        for value in &row.outliers {
            canvas.dot((scale.at(*value), middle), Ink::Text, 4.4, true);
        }
        let (median, interval) = row.median;
        if let Some([low, high]) = interval {
            whisker(canvas, scale.at(low), scale.at(high), middle, 9.0);
        }
        canvas.marker((scale.at(median), middle), row.look.colour, true, 4.0);
        if let Some(limit) = row.limit {
            limit_mark(canvas, scale.at(limit), middle, 20.0);
        }
        frame.note(canvas, &row.note, middle);
    }
    tick_labels(canvas, &scale, &axis.label);
}
