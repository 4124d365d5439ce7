//! A comparison as the text of IMB-MPI1, for tools that read nothing else. Pure: figures in, text out.

use super::imb::{self, Row, Table};
use super::name::{Benchmark, Columns};
use crate::report::compare::Comparison;

/// One table for each group, benchmark, layout and path; means over the launches.
#[must_use]
pub fn imb_text(c: &Comparison) -> String {
    let mut text = String::from("#    cohost compare, in the form of IMB-MPI1\n");
    for (key, cells) in &c.series {
        let Ok(benchmark) = key.benchmark.parse::<Benchmark>() else {
            text.push_str(&format!(
                "# {} is no benchmark of IMB-MPI1 and is left out\n",
                key.benchmark
            ));
            continue;
        };
        let launches = cells.values().map(|c| c.samples_us.len()).max().unwrap_or(0);
        let group: String = c.groups[key.group].name.chars().filter(|c| !c.is_control()).collect();
        let mut notes = vec![
            format!("Hypervisor : {group}"),
            format!(
                "layout {}, path {}, means of {launches} fresh launches",
                key.layout.text, key.path
            ),
        ];
        if benchmark.columns() != Columns::Time {
            notes.push(
                "only the slowest rank's time is recorded: it stands in all three columns"
                    .to_owned(),
            );
        }
        let rows = cells
            .iter()
            .map(|(bytes, cell)| Row {
                bytes: *bytes,
                repetitions: 1,
                t_min_us: cell.summary.mean,
                t_max_us: cell.summary.mean,
                t_avg_us: cell.summary.mean,
                mbytes_per_s: cell.rate().value,
                defects: None,
            })
            .collect();
        text.push_str(&imb::table(&Table {
            benchmark,
            ranks: key.ranks,
            checked: false,
            notes,
            rows,
        }));
    }
    text
}
