//! Figures of other programs in the same report: the text that IMB-MPI1 and the OSU micro-benchmarks print becomes a
//! result document, one launch for each table. Reading trusts nothing: what cannot be understood is refused with
//! its line. Pure: text in, document out.

mod imb;
mod osu;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::name::Benchmark;
use crate::report::schema::{
    BenchResult, CpuTime, Document, FILE_BYTES_MAX, Limits, Provenance, SCHEMA, SchemaError,
    TimeStats,
};
use crate::report::stats::summarise;

/// Why a file cannot be compared.
#[derive(Debug, Error)]
pub enum ImportError {
    /// A result file of our own that cannot be read.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// A line that cannot be.
    #[error("{path}, line {line}: {reason}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// What is wrong there.
        reason: String,
    },
    /// Some other kind of file.
    #[error(
        "{path}, line 1: neither a result file (cohost-bench), nor the text of IMB-MPI1 or the OSU micro-benchmarks"
    )]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The text does not say what a figure needs.
    #[error(
        "{path}, line {line}: OSU does not say how many ranks took part: add --where {path}=LAYOUT, such as {path}=2x4"
    )]
    NeedsLayout {
        /// The file.
        path: PathBuf,
        /// Line of the table, from 1.
        line: usize,
    },
}

/// What the user adds to a text that does not say it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hints {
    /// Layout `HxV`.
    pub layout: Option<String>,
    /// Path of the messages.
    pub path: Option<String>,
    /// Ranks of that layout.
    pub ranks: Option<u32>,
}

/// A complaint: line from 1, and the reason.
type Complaint = (usize, String);

/// One launch of one benchmark at one size.
#[derive(Debug, Clone, PartialEq)]
struct Row {
    bytes: u64,
    repetitions: u64,
    t_us: f64,
}

/// One table of a text.
#[derive(Debug, Clone, PartialEq)]
struct Table {
    benchmark: String,
    ranks: u32,
    layout: Option<String>,
    path: Option<String>,
    /// Only a part of the job's ranks took part: the layout that the user names is not that of these.
    partial: bool,
    rows: Vec<Row>,
}

impl Table {
    fn of(benchmark: String, ranks: u32) -> Table {
        Table { benchmark, ranks, layout: None, path: None, partial: false, rows: Vec::new() }
    }
}

/// Reads a result file or the text of another program.
///
/// # Errors
/// [`ImportError`] with line and reason.
pub fn read(path: &Path, hints: &Hints) -> Result<Document, ImportError> {
    let io = |source| SchemaError::Io { action: "read", path: path.to_owned(), source };
    let mut start = [0; 64];
    let n = File::open(path).and_then(|mut f| f.read(&mut start)).map_err(io)?;
    let first = start[..n].iter().find(|b| !b.is_ascii_whitespace());
    if first == Some(&b'{') {
        return Ok(Document::read(path)?);
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(io)?;
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(SchemaError::TooLarge { path: path.to_owned() }.into());
    }
    let text =
        String::from_utf8(bytes).map_err(|_| ImportError::Foreign { path: path.to_owned() })?;
    from_text(&text, path, hints)
}

/// Understands the text of IMB-MPI1 or OSU; `path` is only named in complaints.
///
/// # Errors
/// [`ImportError`] with line and reason.
pub fn from_text(text: &str, path: &Path, hints: &Hints) -> Result<Document, ImportError> {
    let damaged =
        |(line, reason): Complaint| ImportError::Damaged { path: path.to_owned(), line, reason };
    let mut provenance = Provenance {
        hypervisor: "unknown".to_owned(),
        clock_source: "unknown".to_owned(),
        mapping: "unknown".to_owned(),
        commit: "unknown".to_owned(),
        runs: 1,
        ..Provenance::default()
    };
    let tables = if text.lines().any(|l| l.starts_with("# OSU MPI")) {
        if let Some(line) = osu::line_without_ranks(text).filter(|_| hints.ranks.is_none()) {
            let path = path.to_owned();
            return Err(ImportError::NeedsLayout { path, line });
        }
        osu::tables(text, hints, &mut provenance).map_err(damaged)?
    } else if text.lines().any(|l| l.trim_start().starts_with("# Benchmarking ")) {
        imb::tables(text, &mut provenance).map_err(damaged)?
    } else {
        return Err(ImportError::Foreign { path: path.to_owned() });
    };
    if tables.iter().all(|t| t.rows.is_empty()) {
        return Err(damaged((
            text.lines().count().max(1),
            "there is no table with a time in it".to_owned(),
        )));
    }
    Ok(Document {
        schema: SCHEMA.to_owned(),
        provenance,
        limits: Limits {
            skipped: Some("imported: no limits were measured beside it".to_owned()),
            ..Limits::default()
        },
        results: results(tables, hints),
        stated: Vec::new(),
        also: Vec::new(),
    })
}

/// Tables of the same benchmark and ranks are launches of one figure.
fn results(tables: Vec<Table>, hints: &Hints) -> Vec<BenchResult> {
    type Key = (String, String, String, u32, u64);
    let mut pools: BTreeMap<Key, Vec<Row>> = BTreeMap::new();
    for table in tables {
        let told = hints.layout.clone().filter(|_| !table.partial);
        let layout = table.layout.or(told).unwrap_or_else(|| "-".to_owned());
        let path =
            table.path.or_else(|| hints.path.clone()).unwrap_or_else(|| "unknown".to_owned());
        for row in table.rows {
            let key =
                (table.benchmark.clone(), layout.clone(), path.clone(), table.ranks, row.bytes);
            pools.entry(key).or_default().push(row);
        }
    }
    pools.into_iter().filter_map(|(key, rows)| result(key, &rows)).collect()
}

fn result(key: (String, String, String, u32, u64), rows: &[Row]) -> Option<BenchResult> {
    let (benchmark, layout, path, ranks, bytes) = key;
    let samples_us: Vec<f64> = rows.iter().map(|r| r.t_us).collect();
    let summary = summarise(&samples_us).ok()?;
    let rate = match benchmark.parse::<Benchmark>() {
        Ok(known) => known.mbytes_per_s(known.active_ranks(ranks), bytes, summary.mean),
        Err(_) if summary.mean > 0.0 => bytes as f64 / summary.mean,
        Err(_) => 0.0,
    };
    Some(BenchResult {
        clock_drift_ppm: None,
        clock_uncertainty_ppm: None,
        benchmark,
        layout,
        path,
        ranks,
        bytes,
        repetitions: rows.iter().map(|r| r.repetitions).min()?.max(1),
        t_us: TimeStats {
            mean: summary.mean,
            median: summary.median,
            min: summary.min,
            max: summary.max,
            ci95: summary.mean_interval.ends(),
        },
        mbytes_per_s: rate,
        cpu_us: CpuTime::default(),
        samples_us,
    })
}

/// A time or rate as written; anything that is none is a complaint.
fn number(word: &str, line: usize) -> Result<f64, Complaint> {
    match word.parse::<f64>() {
        Ok(v) if v.is_finite() && v >= 0.0 => Ok(v),
        _ => Err((line, format!("{:?} is no time or rate", shorten(word)))),
    }
}

fn whole(word: &str, line: usize) -> Result<u64, Complaint> {
    word.parse().map_err(|_| (line, format!("{:?} is no whole number", shorten(word))))
}

fn shorten(word: &str) -> String {
    word.chars().take(40).collect()
}

/// The lines with their numbers; the last one must have an end, or it may be cut in the middle of a figure.
fn lines(text: &str) -> Result<Vec<(usize, &str)>, Complaint> {
    let all: Vec<(usize, &str)> = text.lines().enumerate().map(|(i, l)| (i + 1, l)).collect();
    match all.last() {
        Some((n, last)) if !text.ends_with('\n') && !last.trim().is_empty() => {
            Err((*n, "the file ends in the middle of a line: it is cut short".to_owned()))
        }
        _ => Ok(all),
    }
}

#[cfg(test)]
#[path = "../import_tests.rs"]
mod tests;
