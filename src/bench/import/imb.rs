//! The text of IMB-MPI1, and our own, which is the same with more comments.

use super::{Complaint, Row, Table, lines, number, whole};
use crate::report::schema::Provenance;

pub fn tables(text: &str, provenance: &mut Provenance) -> Result<Vec<Table>, Complaint> {
    let mut tables: Vec<Table> = Vec::new();
    let mut place = (None, None);
    let mut columns: Option<Columns> = None;
    let mut open: Option<(usize, bool)> = None;
    provenance.source = "IMB-MPI1".to_owned();
    for (n, line) in lines(text)? {
        let comment = line.trim_start().strip_prefix('#').map(str::trim);
        if let Some(name) = comment.and_then(|c| c.strip_prefix("Benchmarking ")) {
            if let Some((at, false)) = open {
                return Err((n, format!("the table begun on line {at} has no rows")));
            }
            if name.starts_with("Multi-") {
                let why = "several groups measured at once (-multi) compare to nothing here: run IMB-MPI1 without it";
                return Err((n, why.to_owned()));
            }
            let (layout, path) = std::mem::take(&mut place);
            let benchmark = canonical(name.trim());
            tables.push(Table { layout, path, ..Table::of(benchmark, 0) });
            columns = None;
            open = Some((n, false));
        } else if is_heading(line) {
            columns = Some(Columns::of(line));
        } else if let Some(comment) = comment {
            note(comment, n, &mut tables, &mut place, provenance)?;
        } else if line.trim().is_empty() {
            // A table ends at an empty line after its rows.
            if matches!(open, Some((_, true))) {
                columns = None;
            }
        } else if let (Some(columns), Some(table)) = (&columns, tables.last_mut()) {
            if table.ranks == 0 {
                return Err((n, "the table does not say its number of processes".to_owned()));
            }
            let row = columns.row(line, n)?;
            table.rows.extend(row);
            open = open.map(|(at, _)| (at, true));
        } else if line.starts_with(|c: char| c.is_ascii_digit()) {
            return Err((n, "a row of numbers outside of a table".to_owned()));
        }
    }
    match open {
        Some((at, false)) => Err((at, "this table has no rows: the file is cut short".to_owned())),
        _ => Ok(tables),
    }
}

/// IMB's spelling, whatever the case.
fn canonical(name: &str) -> String {
    name.parse::<crate::bench::name::Benchmark>()
        .map_or_else(|_| name.to_owned(), |b| b.name().to_owned())
}

fn is_heading(line: &str) -> bool {
    let first = line.split_whitespace().next();
    matches!(first, Some("#bytes" | "#repetitions"))
        && line.contains("/sec") | line.contains("usec")
}

/// Comments that say something: processes, our own place and machine, IMB's version and system.
fn note(
    comment: &str,
    n: usize,
    tables: &mut [Table],
    place: &mut (Option<String>, Option<String>),
    provenance: &mut Provenance,
) -> Result<(), Complaint> {
    let value = |key: &str| {
        let rest = comment.strip_prefix(key)?.trim_start().strip_prefix(':')?;
        Some(rest.trim().to_owned()).filter(|v| !v.is_empty())
    };
    if let Some(count) = comment.strip_prefix("#processes = ") {
        let ranks = u32::try_from(whole(count.trim(), n)?).ok().filter(|r| *r > 0);
        let ranks = ranks.ok_or((n, "a job of no processes".to_owned()))?;
        if let Some(table) = tables.last_mut() {
            table.ranks = ranks;
        }
    } else if let Some(idle) =
        comment.strip_prefix("( ").and_then(|c| c.split_once(" additional process"))
    {
        let idle = u32::try_from(whole(idle.0, n)?).unwrap_or(u32::MAX);
        if let Some(table) = tables.last_mut() {
            let all = table.ranks.saturating_add(idle);
            let name = table.benchmark.parse::<crate::bench::name::Benchmark>();
            // Two ranks play PingPong, however many there are. Of other benchmarks IMB measures parts of the job
            // too: such a table is that of a smaller job, in a layout nobody has told.
            if name.is_ok_and(|b| b.active_ranks(all) == table.ranks) {
                table.ranks = all;
            } else {
                table.partial = true;
            }
        }
    } else if let Some(rest) = comment.strip_prefix("layout ") {
        let mut words = rest.split(", ");
        let layout = words.next().map(str::to_owned);
        let path = words.next().and_then(|w| w.strip_prefix("path ")).map(str::to_owned);
        *place = (layout.filter(|l| l != "-"), path);
    } else if comment.contains("MPI Benchmark") || comment.starts_with("cohost ") {
        provenance.versions.insert("program".to_owned(), comment.to_owned());
    }
    if let Some(machine) = value("Machine") {
        provenance.machine = machine;
    }
    if let Some(hypervisor) = value("Hypervisor") {
        provenance.hypervisor = hypervisor;
    }
    if let Some(system) = value("System") {
        provenance.kernel = system;
    }
    if let Some(release) = value("Release") {
        provenance.kernel = format!("{} {release}", provenance.kernel).trim().to_owned();
    }
    Ok(())
}

/// Where in a row things stand.
struct Columns {
    count: usize,
    bytes: Option<usize>,
    repetitions: Option<usize>,
    /// The slowest rank's time, from which IMB computes throughput; else the only one.
    time: Option<usize>,
    defects: Option<usize>,
}

impl Columns {
    fn of(line: &str) -> Columns {
        let names: Vec<&str> = line.split_whitespace().collect();
        let at = |name: &str| names.iter().position(|n| *n == name);
        Columns {
            count: names.len(),
            bytes: at("#bytes"),
            repetitions: at("#repetitions"),
            time: at("t_max[usec]").or_else(|| at("t[usec]")).or_else(|| at("t_ovrl[usec]")),
            defects: at("defects"),
        }
    }

    /// `None` for a table without times, and for a line such as `out-of-mem.`
    fn row(&self, line: &str, n: usize) -> Result<Option<Row>, Complaint> {
        if line.contains("out-of-mem") || line.contains("time-out") {
            return Ok(None);
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        if words.len() != self.count {
            return Err((
                n,
                format!("{} columns, where the heading names {}", words.len(), self.count),
            ));
        }
        let Some(time) = self.time else {
            return Ok(None);
        };
        let t_us = number(words[time], n)?;
        for word in &words {
            number(word, n)?;
        }
        if let Some(at) = self.defects
            && number(words[at], n)? > 0.0
        {
            return Err((n, "data arrived wrong: these times are not to be compared".to_owned()));
        }
        Ok(Some(Row {
            bytes: self.bytes.map_or(Ok(0), |at| whole(words[at], n))?,
            repetitions: self.repetitions.map_or(Ok(1), |at| whole(words[at], n))?,
            t_us,
        }))
    }
}
