//! Parts of the result file that not every file has: figures of publications, and clocks held against each other.

use serde::{Deserialize, Serialize};

use super::schema::not_negative;

/// A figure as a publication states it: a single value, or only words, and no samples behind it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "StatedUnchecked")]
pub struct Stated {
    /// Benchmark name as IMB spells it.
    pub benchmark: String,
    /// Layout `HxV`.
    pub layout: String,
    /// Hypervisor identifier.
    pub hypervisor: String,
    /// Product and version, as the publication names it.
    pub product: String,
    /// What was measured.
    pub measure: Measure,
    /// In microseconds for a latency, else in MB/s (10^6); null where only words are given, or nothing.
    pub value: Option<f64>,
    /// Message size in bytes; null where not stated.
    pub bytes: Option<u64>,
    /// Launches behind the value; null where not stated.
    pub runs: Option<u32>,
    /// Interval at 95 %; null where not stated.
    pub ci95: Option<[f64; 2]>,
    /// Words where there is no number, or beside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Figure or table of the publication.
    pub figure: String,
}

/// What a stated figure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Measure {
    /// Half round trip of a short message, microseconds.
    Latency,
    /// Largest throughput of one stream, MB/s.
    Bandwidth,
    /// Sum over all ranks, MB/s.
    AccumulatedBandwidth,
}

/// A clock held against another over the measurement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClockCheck {
    /// The other clock, e.g. `rtc` or `host`.
    pub against: String,
    /// Time by the other clock, seconds.
    pub elapsed_s: f64,
    /// How much more the clock used for measuring counted, seconds.
    pub difference_s: f64,
    /// What the comparison can resolve, seconds.
    pub resolution_s: f64,
}

#[derive(Deserialize)]
struct StatedUnchecked {
    benchmark: String,
    layout: String,
    hypervisor: String,
    product: String,
    measure: Measure,
    value: Option<f64>,
    bytes: Option<u64>,
    runs: Option<u32>,
    ci95: Option<[f64; 2]>,
    #[serde(default)]
    note: Option<String>,
    figure: String,
}

impl TryFrom<StatedUnchecked> for Stated {
    type Error = String;

    fn try_from(s: StatedUnchecked) -> Result<Stated, String> {
        for value in s.value.iter().chain(s.ci95.iter().flatten()) {
            not_negative(*value)
                .map_err(|e| format!("stated {} {}: {e}", s.benchmark, s.layout))?;
        }
        Ok(Stated {
            benchmark: s.benchmark,
            layout: s.layout,
            hypervisor: s.hypervisor,
            product: s.product,
            measure: s.measure,
            value: s.value,
            bytes: s.bytes,
            runs: s.runs,
            ci95: s.ci95,
            note: s.note,
            figure: s.figure,
        })
    }
}
