//! The text of the OSU micro-benchmarks: point-to-point and blocking collectives.

use super::{Complaint, Hints, Row, Table, lines, number, whole};
use crate::report::schema::Provenance;

/// Title without `# OSU MPI ` and ` Test vX`, and the benchmark as IMB spells it.
const KNOWN: [(&str, &str); 20] = [
    ("Latency", "PingPong"),
    ("Bandwidth", "osu_bw"),
    ("Bi-Directional Bandwidth", "osu_bibw"),
    ("Multi Latency", "osu_multi_lat"),
    ("All-to-All Personalized Exchange Latency", "Alltoall"),
    ("All-to-All Latency", "Alltoall"),
    ("All-to-Allv Personalized Exchange Latency", "Alltoallv"),
    ("All-to-Allv Latency", "Alltoallv"),
    ("Allreduce Latency", "Allreduce"),
    ("Reduce Latency", "Reduce"),
    ("Reduce_scatter Latency", "Reduce_scatter"),
    ("Reduce-scatter Latency", "Reduce_scatter"),
    ("Broadcast Latency", "Bcast"),
    ("Bcast Latency", "Bcast"),
    ("Allgather Latency", "Allgather"),
    ("Allgatherv Latency", "Allgatherv"),
    ("Gather Latency", "Gather"),
    ("Scatter Latency", "Scatter"),
    ("Barrier Latency", "Barrier"),
    ("Broadcast", "Bcast"),
];

/// What a title says: benchmark and version. `None` when it is no title, or of a benchmark that is not known.
fn title(line: &str) -> Option<Result<(&'static str, &str), String>> {
    let rest = line.strip_prefix("# OSU MPI")?;
    // `MPI-CUDA` and the like stand where a build has them.
    let rest = rest.split_once(' ').map_or("", |(_, rest)| rest);
    let (name, version) = rest.rsplit_once(" v").unwrap_or((rest, "unknown"));
    let name = name.strip_suffix(" Test").unwrap_or(name).trim();
    let known = KNOWN.iter().find(|(title, _)| *title == name);
    Some(known.map(|(_, benchmark)| (*benchmark, version)).ok_or_else(|| {
        format!("{name:?} is an OSU benchmark that cannot be compared; known are point-to-point latency and bandwidth, and blocking collectives")
    }))
}

/// The first table whose ranks only the user knows.
pub fn line_without_ranks(text: &str) -> Option<usize> {
    let two = ["PingPong", "osu_bw", "osu_bibw"];
    text.lines()
        .position(|l| matches!(title(l), Some(Ok((benchmark, _))) if !two.contains(&benchmark)))
        .map(|at| at + 1)
}

pub fn tables(
    text: &str,
    hints: &Hints,
    provenance: &mut Provenance,
) -> Result<Vec<Table>, Complaint> {
    let mut tables: Vec<Table> = Vec::new();
    let mut columns: Option<Columns> = None;
    provenance.source = "OSU micro-benchmarks".to_owned();
    for (n, line) in lines(text)? {
        let line = line.trim();
        if let Some(title) = title(line) {
            let (benchmark, version) = title.map_err(|reason| (n, reason))?;
            provenance.versions.insert("OSU".to_owned(), version.to_owned());
            empty(&tables, n)?;
            let ranks = match benchmark {
                "PingPong" | "osu_bw" | "osu_bibw" => 2,
                _ => hints.ranks.unwrap_or(0),
            };
            tables.push(Table::of(benchmark.to_owned(), ranks));
            columns = None;
        } else if let Some(heading) = line.strip_prefix('#') {
            if heading.contains("(us)") || heading.contains("MB/s") {
                columns = Some(Columns::of(heading));
            }
        } else if line.starts_with(|c: char| c.is_ascii_digit()) {
            let table =
                tables.last_mut().ok_or((n, "a row of numbers before any title".to_owned()))?;
            let columns =
                columns.as_mut().ok_or((n, "a row of numbers before its heading".to_owned()))?;
            if columns.averaged && table.ranks != 2 {
                let (key, value) = ("time of a collective", "mean over ranks, as OSU prints it");
                provenance.policy.insert(key.to_owned(), value.to_owned());
            }
            table.rows.push(columns.row(line, n)?);
        }
    }
    empty(&tables, text.lines().count())?;
    Ok(tables)
}

fn empty(tables: &[Table], n: usize) -> Result<(), Complaint> {
    match tables.last() {
        Some(table) if table.rows.is_empty() => {
            Err((n, format!("the table of {} has no rows: the file is cut short", table.benchmark)))
        }
        _ => Ok(()),
    }
}

struct Columns {
    sized: bool,
    rate: bool,
    /// Index of the slowest rank's time among the figures, when printed (`-f`).
    slowest: Option<usize>,
    averaged: bool,
    /// Figures in a row, known after the first.
    count: Option<usize>,
}

impl Columns {
    fn of(heading: &str) -> Columns {
        let sized = heading.trim_start().starts_with("Size");
        let slowest = heading.contains("Max Latency").then(|| {
            let before = &heading[..heading.find("Max Latency").unwrap_or(0)];
            usize::from(sized) + before.matches("Latency").count()
        });
        Columns {
            sized,
            rate: !heading.contains("(us)"),
            averaged: slowest.is_none() && heading.contains("Avg"),
            slowest,
            count: None,
        }
    }

    fn row(&mut self, line: &str, n: usize) -> Result<Row, Complaint> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let expected = *self.count.get_or_insert(words.len());
        let first = usize::from(self.sized);
        if words.len() != expected || words.len() <= first {
            return Err((
                n,
                format!("{} columns, where the rows before have {expected}", words.len()),
            ));
        }
        if words.iter().any(|w| w.eq_ignore_ascii_case("fail")) {
            return Err((n, "data arrived wrong: these times are not to be compared".to_owned()));
        }
        let bytes = if self.sized { whole(words[0], n)? } else { 0 };
        let figure = words
            .get(self.slowest.unwrap_or(first))
            .ok_or((n, "a column is missing".to_owned()))?;
        let value = number(figure, n)?;
        let t_us = match self.rate {
            true if value > 0.0 => bytes as f64 / value,
            true => return Err((n, "a rate of nothing".to_owned())),
            false => value,
        };
        Ok(Row { bytes, repetitions: 1, t_us })
    }
}
