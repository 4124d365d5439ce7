//! Every figure as a line of comma-separated values (RFC 4180), for whoever draws their own.

use super::Comparison;
use super::gain::Gains;
use crate::report::stats::Interval;

const HEADER: &str = "kind,group,benchmark,layout,path,ranks,bytes,launches,mean_us,mean_low_us,mean_high_us,median_us,\
median_low_us,median_high_us,min_us,max_us,mbytes_per_s,mbytes_per_s_low,mbytes_per_s_high,limit_us,outliers,\
ratio_tcp_to_ring,ratio_low,ratio_high,rank_test_p,verdict,source\r\n";

/// The table; an empty field is something not known.
#[must_use]
pub fn table(c: &Comparison, gains: &Gains) -> String {
    let mut text = HEADER.to_owned();
    for (key, cells) in &c.series {
        for (bytes, cell) in cells {
            let rate = cell.rate();
            let s = &cell.summary;
            let mut row = vec![
                "measured".to_owned(),
                c.groups[key.group].name.clone(),
                key.benchmark.clone(),
                key.layout.text.clone(),
                key.path.clone(),
                key.ranks.to_string(),
                bytes.to_string(),
                s.n.to_string(),
                s.mean.to_string(),
            ];
            row.extend(ends(s.mean_interval.ends()));
            row.push(s.median.to_string());
            row.extend(ends(s.median_interval.ends()));
            row.extend([s.min, s.max, rate.value].map(|v| v.to_string()));
            row.extend(ends(rate.interval));
            row.push(optional(cell.limit_us));
            row.push(cell.outliers_us().len().to_string());
            row.resize(27, String::new());
            line(&mut text, &row);
        }
    }
    for gain in gains.headline() {
        let mut row = vec![
            "gain".to_owned(),
            c.groups[gain.group].name.clone(),
            gain.benchmark.clone(),
            gain.layout.text.clone(),
            gain.path.clone(),
            String::new(),
            gain.bytes.to_string(),
            gain.launches.0.min(gain.launches.1).to_string(),
        ];
        row.resize(21, String::new());
        row.push(gain.ratio.value.to_string());
        row.extend(match gain.ratio.interval {
            Interval::Known { low, high, .. } => ends(Some([low, high])),
            Interval::NeedsRuns(_) => ends(None),
        });
        row.extend([gain.test.p.to_string(), gain.test.verdict.as_str().to_owned(), String::new()]);
        line(&mut text, &row);
    }
    for (source, s) in &c.stated {
        let time = s.measure == crate::report::schema::Measure::Latency;
        let mut row = vec![
            "stated".to_owned(),
            s.product.clone(),
            s.benchmark.clone(),
            s.layout.clone(),
            String::new(),
            String::new(),
            s.bytes.map_or(String::new(), |b| b.to_string()),
            s.runs.map_or(String::new(), |n| n.to_string()),
            optional(s.value.filter(|_| time)),
        ];
        row.resize(16, String::new());
        row.push(optional(s.value.filter(|_| !time)));
        row.resize(25, String::new());
        row.push(s.note.clone().unwrap_or_default());
        row.push(source.clone());
        line(&mut text, &row);
    }
    text
}

fn optional(value: Option<f64>) -> String {
    value.map_or(String::new(), |v| v.to_string())
}

fn ends(interval: Option<[f64; 2]>) -> [String; 2] {
    interval.map_or([String::new(), String::new()], |ends| ends.map(|v| v.to_string()))
}

fn line(text: &mut String, row: &[String]) {
    let fields: Vec<String> = row.iter().map(|f| field(f)).collect();
    text.push_str(&fields.join(","));
    text.push_str("\r\n");
}

/// Quoted where it must be. A name that a spreadsheet would take for a formula gets an apostrophe.
fn field(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '@', '\t'])
        || (text.starts_with('-') && text.parse::<f64>().is_err() && text.len() > 1);
    let text = if formula { format!("'{text}") } else { text.to_owned() };
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text
    }
}
