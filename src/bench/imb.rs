//! The text of IMB-MPI1's tables, byte for byte, so that what parses IMB parses this. Everything of our own
//! stands in lines that begin with `#`. Pure: rows in, text out.

use std::fmt::Write as _;

use super::name::{Benchmark, Columns};

/// Width of every column.
const WIDTH: usize = 13;

/// One line of a table. Times are in microseconds per operation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Row {
    /// Message size.
    pub bytes: u64,
    /// Repetitions timed.
    pub repetitions: u64,
    /// Fastest rank.
    pub t_min_us: f64,
    /// Slowest rank: what throughput is computed from, and the only time in PingPong's table.
    pub t_max_us: f64,
    /// Mean over ranks.
    pub t_avg_us: f64,
    /// Throughput, MB/s (10^6).
    pub mbytes_per_s: f64,
    /// Wrong bytes found, when data was checked.
    pub defects: Option<u64>,
}

/// One table.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// Which benchmark.
    pub benchmark: Benchmark,
    /// Ranks in the job, of which some may only wait.
    pub ranks: u32,
    /// Whether data was checked: adds the column `defects`, as an IMB built with CHECK has it.
    pub checked: bool,
    /// Remarks, printed as comments above the header.
    pub notes: Vec<String>,
    /// The lines.
    pub rows: Vec<Row>,
}

/// The table as IMB prints it, beginning with an empty line.
#[must_use]
pub fn table(table: &Table) -> String {
    let titles = titles(table);
    let active = table.benchmark.active_ranks(table.ranks);
    let dashes = format!("#{}", "-".repeat(titles.len() * WIDTH - 1));
    let mut text = String::from("\n");
    for note in &table.notes {
        line(&mut text, &format!("# {note}"));
    }
    line(&mut text, &dashes);
    line(&mut text, &format!("# Benchmarking {} ", table.benchmark));
    line(&mut text, &format!("# #processes = {active} "));
    match table.ranks - active {
        0 => {}
        1 => line(&mut text, "# ( 1 additional process waiting in MPI_Barrier)"),
        idle => {
            line(&mut text, &format!("# ( {idle} additional processes waiting in MPI_Barrier)"))
        }
    }
    if active == 1 && table.benchmark.columns() == Columns::Time {
        line(&mut text, "# ( one rank sends to itself)");
    }
    line(&mut text, &dashes);
    let heading: String = titles.iter().map(|t| format!("{t:>WIDTH$}")).collect();
    line(&mut text, &heading);
    for row in &table.rows {
        line(&mut text, &row_text(table, row));
    }
    text
}

fn line(text: &mut String, content: &str) {
    text.push_str(content);
    text.push('\n');
}

fn titles(table: &Table) -> Vec<&'static str> {
    const RANGE: [&str; 3] = ["t_min[usec]", "t_max[usec]", "t_avg[usec]"];
    let columns = table.benchmark.columns();
    let mut titles = vec!["#bytes", "#repetitions"];
    match columns {
        Columns::Time => titles.extend(["t[usec]", "Mbytes/sec"]),
        Columns::RangeAndRate => {
            titles.extend(RANGE);
            titles.push("Mbytes/sec");
        }
        Columns::Range => titles.extend(RANGE),
        Columns::Sync => {
            titles.remove(0);
            titles.extend(RANGE);
        }
    }
    if has_defects(table) {
        titles.push("defects");
    }
    titles
}

fn has_defects(table: &Table) -> bool {
    table.checked && table.benchmark.columns() != Columns::Sync
}

fn row_text(table: &Table, row: &Row) -> String {
    let columns = table.benchmark.columns();
    let mut text = String::new();
    if columns != Columns::Sync {
        push(&mut text, format_args!("{}", row.bytes));
    }
    push(&mut text, format_args!("{}", row.repetitions));
    let mut number = |value: f64| push(&mut text, format_args!("{value:.2}"));
    if columns == Columns::Time {
        number(row.t_max_us);
    } else {
        number(row.t_min_us);
        number(row.t_max_us);
        number(row.t_avg_us);
    }
    if matches!(columns, Columns::Time | Columns::RangeAndRate) {
        number(row.mbytes_per_s);
    }
    if has_defects(table) {
        number(row.defects.unwrap_or(0) as f64);
    }
    text
}

fn push(text: &mut String, value: std::fmt::Arguments<'_>) {
    let value = value.to_string();
    // Writing to a String cannot fail.
    let _ = write!(text, "{value:>WIDTH$}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(bytes: u64, repetitions: u64, times: [f64; 3], mbytes_per_s: f64) -> Row {
        let [t_min_us, t_max_us, t_avg_us] = times;
        Row { bytes, repetitions, t_min_us, t_max_us, t_avg_us, mbytes_per_s, defects: None }
    }

    fn of(benchmark: Benchmark, ranks: u32, rows: Vec<Row>) -> Table {
        Table { benchmark, ranks, checked: false, notes: vec![], rows }
    }

    /// The layout of IMB-MPI1 2019's output.
    #[test]
    fn pingpong_reads_like_imb() {
        let rows = vec![
            row(0, 1000, [0.21; 3], 0.0),
            row(1, 1000, [0.236; 3], 4.237),
            row(4_194_304, 10, [376.25, 376.25, 376.25], 11_147.65),
        ];
        let expected = "
#---------------------------------------------------
# Benchmarking PingPong 
# #processes = 2 
#---------------------------------------------------
       #bytes #repetitions      t[usec]   Mbytes/sec
            0         1000         0.21         0.00
            1         1000         0.24         4.24
      4194304           10       376.25     11147.65
";
        assert_eq!(table(&of(Benchmark::PingPong, 2, rows)), expected);
    }

    #[test]
    fn a_waiting_rank_is_mentioned_as_imb_does() {
        let expected = "
#---------------------------------------------------
# Benchmarking PingPing 
# #processes = 2 
# ( 6 additional processes waiting in MPI_Barrier)
#---------------------------------------------------
       #bytes #repetitions      t[usec]   Mbytes/sec
";
        assert_eq!(table(&of(Benchmark::PingPing, 8, vec![])), expected);
        let one = table(&of(Benchmark::PingPing, 3, vec![]));
        assert!(one.contains("# ( 1 additional process waiting in MPI_Barrier)\n"));
    }

    #[test]
    fn sendrecv_and_collectives_read_like_imb() {
        let sendrecv = "
#-----------------------------------------------------------------------------
# Benchmarking Sendrecv 
# #processes = 4 
#-----------------------------------------------------------------------------
       #bytes #repetitions  t_min[usec]  t_max[usec]  t_avg[usec]   Mbytes/sec
            8         1000         0.50         0.75         0.60        21.33
";
        let rows = vec![row(8, 1000, [0.5, 0.75, 0.6], 21.333)];
        assert_eq!(table(&of(Benchmark::Sendrecv, 4, rows.clone())), sendrecv);
        let alltoall = "
#----------------------------------------------------------------
# Benchmarking Alltoall 
# #processes = 4 
#----------------------------------------------------------------
       #bytes #repetitions  t_min[usec]  t_max[usec]  t_avg[usec]
            8         1000         0.50         0.75         0.60
";
        assert_eq!(table(&of(Benchmark::Alltoall, 4, rows.clone())), alltoall);
        let barrier = "
#---------------------------------------------------
# Benchmarking Barrier 
# #processes = 4 
#---------------------------------------------------
 #repetitions  t_min[usec]  t_max[usec]  t_avg[usec]
         1000         0.50         0.75         0.60
";
        assert_eq!(table(&of(Benchmark::Barrier, 4, rows)), barrier);
    }

    #[test]
    fn one_rank_alone_says_that_it_talks_to_itself() {
        let text = table(&of(Benchmark::PingPong, 1, vec![]));
        assert!(text.contains("# #processes = 1 \n# ( one rank sends to itself)\n"), "{text}");
        assert!(!table(&of(Benchmark::Alltoall, 1, vec![])).contains("itself"));
    }

    #[test]
    fn checking_adds_the_column_of_defects() {
        let mut checked = of(Benchmark::PingPong, 2, vec![row(8, 10, [1.0; 3], 8.0)]);
        checked.checked = true;
        checked.rows[0].defects = Some(3);
        let text = table(&checked);
        assert!(text.contains("Mbytes/sec      defects\n"), "{text}");
        assert!(text.ends_with("         8.00         3.00\n"), "{text}");
    }

    #[test]
    fn remarks_stand_above_the_header_as_comments() {
        let mut noted = of(Benchmark::PingPong, 2, vec![]);
        noted.notes = vec!["layout 1x2, path ring".to_owned()];
        assert!(table(&noted).starts_with("\n# layout 1x2, path ring\n#---"));
    }
}
