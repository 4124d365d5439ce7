//! The result file `cohost-bench/1`: what `cohost bench --json` writes and every report reads.
//! One result stands on one line, so that a complaint about a line is a complaint about a result.
//! Reading trusts nothing: a file that is damaged, foreign or newer is refused with the line and the reason.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use super::stated::{ClockCheck, Measure, Stated};
use super::stats::SAMPLES_MAX;

/// Name and version of the format written here.
pub const SCHEMA: &str = "cohost-bench/1";

/// Largest result file that is read, in bytes: a million results are a few hundred MB, a real file a few hundred KB.
pub const FILE_BYTES_MAX: u64 = 256 << 20;

/// Why a result file cannot be read or written.
#[derive(Debug, Error)]
pub enum SchemaError {
    /// The operating system refused.
    #[error("cannot {action} the result file {path}: {source}")]
    Io {
        /// What was attempted: `read`, `write`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Larger than [`FILE_BYTES_MAX`].
    #[error("{path} is larger than {FILE_BYTES_MAX} bytes: this is no result file")]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// Not JSON, cut short, or a value that cannot be.
    #[error(
        "{path}, line {line}: {reason}; measure again with `cohost bench --json`, or restore the file"
    )]
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
        "{path}, line {line}: the schema is {found}, not \"{SCHEMA}\": this file was not written by `cohost bench --json`"
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// The schema found, quoted, or `missing`.
        found: String,
    },
    /// Written by a later cohost.
    #[error(
        "{path}, line {line}: schema \"{found}\" is newer than \"{SCHEMA}\", the newest this cohost reads: use a newer cohost"
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// The schema found.
        found: String,
    },
}

/// A whole result file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Document {
    /// Always [`SCHEMA`].
    pub schema: String,
    /// Where and how the figures were taken.
    pub provenance: Provenance,
    /// What the machine itself allows, measured in the same run.
    pub limits: Limits,
    /// One entry for each benchmark, layout, path and size.
    pub results: Vec<BenchResult>,
    /// Figures that a publication states without their samples.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stated: Vec<Stated>,
    /// What the same campaign measured in other places, such as guests with another network interface.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<Part>,
}

/// What a campaign measured in one more place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// As [`Document::provenance`].
    pub provenance: Provenance,
    /// As [`Document::limits`].
    pub limits: Limits,
    /// As [`Document::results`].
    pub results: Vec<BenchResult>,
}

/// Where and how figures were taken. `unknown` stands for what could not be found out.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Provenance {
    /// Hypervisor identifier, e.g. `kvm`, `xen-domu`, `none`.
    pub hypervisor: String,
    /// Processor model.
    pub machine: String,
    /// Kernel name and release.
    pub kernel: String,
    /// Cores this process may run on.
    pub cores: u32,
    /// Clock source of the kernel, e.g. `tsc`.
    pub clock_source: String,
    /// Time stolen by the hypervisor during the measurement, in microseconds summed over cores.
    pub steal_us: f64,
    /// Kind of the shared mapping the rings lie in, e.g. `memfd`.
    pub mapping: String,
    /// Versions that matter, by name: `cohost`, `rustc`, `libc`.
    pub versions: BTreeMap<String, String>,
    /// Commit the program was built from.
    pub commit: String,
    /// How ranks wait, e.g. `spin, yield, sleep`.
    pub waiting: String,
    /// Whether buffers were cycled so that data came from memory instead of the cache.
    #[serde(default)]
    pub off_cache: bool,
    /// Fresh launches asked for.
    #[serde(default)]
    pub runs: u32,
    /// Layouts whose hosts were network namespaces joined by a 1 Gbit/s link.
    #[serde(default)]
    pub netns: bool,
    /// What the ranks were: `processes` of one system (also when absent) or `guests`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub target: String,
    /// Virtual network interface of the guests, e.g. `virtio-net`, `e1000`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub nic: String,
    /// Cores of the physical host, when known from outside the guests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_cores: Option<u32>,
    /// Publication or program that the figures come from, when not measured by `cohost bench`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub source: String,
    /// How messages were sent, by name, e.g. the eager limit; empty when not recorded.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub policy: BTreeMap<String, String>,
    /// Lowest and highest processor frequency seen before and after the measurement, MHz.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mhz: Option<[f64; 2]>,
    /// The clock held against another; absent when that was not done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<ClockCheck>,
    /// Seed of the random order of launches; absent when they ran in order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Digest of the campaign that asked for these figures.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub campaign: String,
    /// When the ranks ran in guests of a lab: how these ran, e.g. `QEMU with software emulation (TCG)`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guests: Option<String>,
}

/// What the machine allows: half round trips, best of several.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(try_from = "LimitsUnchecked")]
pub struct Limits {
    /// One cache line there and back, half round trip in microseconds; absent with fewer than two cores.
    pub cell_us: Option<f64>,
    /// Two copies pipelined through shared memory, half round trip in microseconds by message size in bytes.
    pub two_copy_us: BTreeMap<u64, f64>,
    /// One copy inside a thread, MB/s (10^6) by size in bytes.
    pub memcpy_mbytes_per_s: BTreeMap<u64, f64>,
    /// Loopback TCP, busy polling, half round trip in microseconds by message size in bytes.
    pub tcp_us: BTreeMap<u64, f64>,
    /// Why something was not measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skipped: Option<String>,
}

/// One figure: a benchmark in a layout at a size, over N fresh launches.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "ResultUnchecked")]
pub struct BenchResult {
    /// Benchmark name as IMB spells it.
    pub benchmark: String,
    /// Layout `HxV`; `-` when started by another launcher.
    pub layout: String,
    /// Path the messages took: `self`, `ring`, `tcp`, or several joined by `+`.
    pub path: String,
    /// Number of ranks in the job.
    pub ranks: u32,
    /// Message size in bytes.
    pub bytes: u64,
    /// Repetitions in one launch; the smallest, when launches differ.
    pub repetitions: u64,
    /// Time in microseconds over the launches.
    pub t_us: TimeStats,
    /// Throughput from the mean time, MB/s (10^6).
    pub mbytes_per_s: f64,
    /// Processor time of one repetition, summed over the ranks, mean over the launches.
    pub cpu_us: CpuTime,
    /// Time of each launch in microseconds.
    pub samples_us: Vec<f64>,
    /// Drift of the clock that strayed most from rank 0's in these launches, in parts per million, positive
    /// when faster; absent when it was not measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_drift_ppm: Option<f64>,
    /// How far that drift may be off, in parts per million.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_uncertainty_ppm: Option<f64>,
}

/// Statistics of a time over the launches, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TimeStats {
    /// Mean over launches.
    pub mean: f64,
    /// Median over launches.
    pub median: f64,
    /// Fastest launch.
    pub min: f64,
    /// Slowest launch.
    pub max: f64,
    /// Student's interval of the mean at 95 %; null with a single launch.
    pub ci95: Option<[f64; 2]>,
}

/// Processor time of one repetition, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct CpuTime {
    /// In the program, summed over ranks.
    pub user: f64,
    /// In the kernel, summed over ranks.
    pub system: f64,
    /// Taken by the hypervisor, summed over the machines taking part.
    pub steal: f64,
}

#[derive(Deserialize)]
struct ResultUnchecked {
    benchmark: String,
    layout: String,
    path: String,
    ranks: u32,
    bytes: u64,
    repetitions: u64,
    t_us: TimeStats,
    mbytes_per_s: f64,
    cpu_us: CpuTime,
    samples_us: Vec<f64>,
    #[serde(default)]
    clock_drift_ppm: Option<f64>,
    #[serde(default)]
    clock_uncertainty_ppm: Option<f64>,
}

impl TryFrom<ResultUnchecked> for BenchResult {
    type Error = String;

    /// The reader adds the line to the reason, since the check runs while the line is being read.
    fn try_from(r: ResultUnchecked) -> Result<BenchResult, String> {
        let name = format!("{} {} at {} bytes", r.benchmark, r.layout, r.bytes);
        if r.benchmark.is_empty() || r.layout.is_empty() || r.path.is_empty() {
            return Err(format!("{name}: benchmark, layout and path must not be empty"));
        }
        if r.ranks == 0 || r.repetitions == 0 {
            return Err(format!("{name}: ranks and repetitions must be at least 1"));
        }
        if r.samples_us.is_empty() || r.samples_us.len() > SAMPLES_MAX {
            let n = r.samples_us.len();
            return Err(format!("{name}: {n} samples, where 1 to {SAMPLES_MAX} can be"));
        }
        let t = &r.t_us;
        let times = [t.mean, t.median, t.min, t.max, r.mbytes_per_s];
        let cpu = [r.cpu_us.user, r.cpu_us.system, r.cpu_us.steal];
        for value in times.iter().chain(&cpu).chain(&r.samples_us) {
            not_negative(*value).map_err(|e| format!("{name}: {e}"))?;
        }
        if r.clock_drift_ppm.is_some_and(|ppm| !ppm.is_finite()) {
            return Err(format!("{name}: the clock's drift is no number"));
        }
        if let Some(ppm) = r.clock_uncertainty_ppm {
            not_negative(ppm).map_err(|e| format!("{name}: {e}"))?;
        }
        if t.min > t.max {
            return Err(format!("{name}: the minimum {} is above the maximum {}", t.min, t.max));
        }
        if let Some([low, high]) = t.ci95
            && !(low.is_finite() && high.is_finite() && low <= high)
        {
            return Err(format!("{name}: the interval [{low}, {high}] is none"));
        }
        Ok(BenchResult {
            benchmark: r.benchmark,
            layout: r.layout,
            path: r.path,
            ranks: r.ranks,
            bytes: r.bytes,
            repetitions: r.repetitions,
            t_us: r.t_us,
            mbytes_per_s: r.mbytes_per_s,
            cpu_us: r.cpu_us,
            samples_us: r.samples_us,
            clock_drift_ppm: r.clock_drift_ppm,
            clock_uncertainty_ppm: r.clock_uncertainty_ppm,
        })
    }
}

#[derive(Deserialize)]
struct LimitsUnchecked {
    cell_us: Option<f64>,
    two_copy_us: BTreeMap<u64, f64>,
    memcpy_mbytes_per_s: BTreeMap<u64, f64>,
    tcp_us: BTreeMap<u64, f64>,
    #[serde(default)]
    skipped: Option<String>,
}

impl TryFrom<LimitsUnchecked> for Limits {
    type Error = String;

    fn try_from(l: LimitsUnchecked) -> Result<Limits, String> {
        let tables = [&l.two_copy_us, &l.memcpy_mbytes_per_s, &l.tcp_us];
        for value in tables.into_iter().flat_map(BTreeMap::values).chain(&l.cell_us) {
            not_negative(*value).map_err(|e| format!("limits: {e}"))?;
        }
        Ok(Limits {
            cell_us: l.cell_us,
            two_copy_us: l.two_copy_us,
            memcpy_mbytes_per_s: l.memcpy_mbytes_per_s,
            tcp_us: l.tcp_us,
            skipped: l.skipped,
        })
    }
}

/// A time or rate is finite and not below zero.
pub(super) fn not_negative(value: f64) -> Result<(), String> {
    if value.is_finite() && value >= 0.0 {
        Ok(())
    } else {
        Err(format!("{value} is neither a time nor a rate"))
    }
}

/// One result a line, and the end of the list.
fn results_text(results: &[BenchResult], text: &mut String) -> Result<(), serde_json::Error> {
    for (i, result) in results.iter().enumerate() {
        text.push_str(if i == 0 { "\n" } else { ",\n" });
        text.push_str(&serde_json::to_string(result)?);
    }
    text.push(']');
    Ok(())
}

impl Document {
    /// The figures of each place as a document of its own; those stated by publications stay with the first.
    #[must_use]
    pub fn by_place(mut self) -> Vec<Document> {
        let others = std::mem::take(&mut self.also);
        let schema = self.schema.clone();
        let mut all = vec![self];
        all.extend(others.into_iter().map(|part| Document {
            schema: schema.clone(),
            provenance: part.provenance,
            limits: part.limits,
            results: part.results,
            stated: Vec::new(),
            also: Vec::new(),
        }));
        all
    }

    /// The text of the file, one result a line.
    ///
    /// # Errors
    /// When a value cannot be written as JSON.
    pub fn to_text(&self) -> Result<String, serde_json::Error> {
        let mut text = format!(
            "{{\"schema\":{},\n\"provenance\":{},\n\"limits\":{},\n\"results\":[",
            serde_json::to_string(&self.schema)?,
            serde_json::to_string(&self.provenance)?,
            serde_json::to_string(&self.limits)?,
        );
        results_text(&self.results, &mut text)?;
        for (i, part) in self.also.iter().enumerate() {
            text.push_str(if i == 0 { ",\n\"also\":[\n" } else { ",\n" });
            text.push_str(&format!(
                "{{\"provenance\":{},\n\"limits\":{},\n\"results\":[",
                serde_json::to_string(&part.provenance)?,
                serde_json::to_string(&part.limits)?,
            ));
            results_text(&part.results, &mut text)?;
            text.push_str(if i + 1 == self.also.len() { "}]" } else { "}" });
        }
        for (i, stated) in self.stated.iter().enumerate() {
            text.push_str(if i == 0 { ",\n\"stated\":[\n" } else { ",\n" });
            text.push_str(&serde_json::to_string(stated)?);
        }
        // On the last result's line: the reader looks one token ahead before it reports a line.
        text.push_str(if self.stated.is_empty() { "}\n" } else { "]}\n" });
        Ok(text)
    }

    /// Reads the text of a result file; `path` is only named in complaints.
    ///
    /// # Errors
    /// [`SchemaError::Damaged`], [`SchemaError::Foreign`] or [`SchemaError::Newer`], with the line.
    pub fn from_text(text: &str, path: &Path) -> Result<Document, SchemaError> {
        check_schema(text, path)?;
        serde_json::from_str(text).map_err(|e| damaged(&e, path))
    }

    /// Reads a result file.
    ///
    /// # Errors
    /// As [`Document::from_text`], and [`SchemaError::Io`] or [`SchemaError::TooLarge`].
    pub fn read(path: &Path) -> Result<Document, SchemaError> {
        let io = |source| SchemaError::Io { action: "read", path: path.to_owned(), source };
        let mut bytes = Vec::new();
        let file = File::open(path).map_err(io)?;
        file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(io)?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(SchemaError::TooLarge { path: path.to_owned() });
        }
        let text = String::from_utf8(bytes).map_err(|e| {
            let line = 1 + e.as_bytes().iter().filter(|b| **b == b'\n').count();
            SchemaError::Damaged {
                path: path.to_owned(),
                line,
                reason: "not UTF-8 text".to_owned(),
            }
        })?;
        Document::from_text(&text, path)
    }

    /// Writes the result file, whole or not at all: a reader never sees half of it, and a full device leaves
    /// an older file as it was.
    ///
    /// # Errors
    /// [`SchemaError::Io`] with the file and the system's reason.
    pub fn write(&self, path: &Path) -> Result<(), SchemaError> {
        let io = |source| SchemaError::Io { action: "write", path: path.to_owned(), source };
        let text = self.to_text().map_err(|e| io(e.into()))?;
        replace_file(path, text.as_bytes()).map_err(io)
    }
}

/// Whether a result can be written to `path`, found out before an hour of measuring instead of after it.
///
/// # Errors
/// [`SchemaError::Io`] with the file and the system's reason.
pub fn check_writable(path: &Path) -> Result<(), SchemaError> {
    let io = |source| SchemaError::Io { action: "write", path: path.to_owned(), source };
    if path.exists() {
        OpenOptions::new().append(true).open(path).map_err(io)?;
    } else {
        let part = part_path(path);
        File::create(&part).map_err(io)?;
        fs::remove_file(&part).map_err(io)?;
    }
    Ok(())
}

/// Writes a file whole or not at all; a device or pipe is written to.
///
/// # Errors
/// The system's.
pub fn replace_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // A terminal, a pipe or a device is written to; renaming over it would destroy it.
    if path.exists() && !path.is_file() {
        return OpenOptions::new().write(true).open(path)?.write_all(bytes);
    }
    let part = part_path(path);
    let written = File::create(&part).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    let done = written.and_then(|()| fs::rename(&part, path));
    if done.is_err() {
        // The first error is the one to report; a leftover is only tidied away.
        let _ = fs::remove_file(&part);
    }
    done
}

fn part_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}.part", std::process::id()));
    PathBuf::from(name)
}

/// Looks at nothing but the schema, so that a newer file is called newer, whatever else it holds.
fn check_schema(text: &str, path: &Path) -> Result<(), SchemaError> {
    #[derive(Deserialize)]
    struct Probe {
        schema: Option<serde_json::Value>,
    }
    let probe: Probe = serde_json::from_str(text).map_err(|e| damaged(&e, path))?;
    let line = line_of(text, "\"schema\"");
    let path = path.to_owned();
    match probe.schema {
        Some(serde_json::Value::String(found)) if found == SCHEMA => Ok(()),
        Some(serde_json::Value::String(found)) if is_newer(&found) => {
            Err(SchemaError::Newer { path, line, found })
        }
        Some(other) => Err(SchemaError::Foreign { path, line, found: other.to_string() }),
        None => Err(SchemaError::Foreign { path, line, found: "missing".to_owned() }),
    }
}

fn is_newer(schema: &str) -> bool {
    let version = schema.strip_prefix("cohost-bench/").and_then(|v| v.parse::<u64>().ok());
    version.is_some_and(|v| v > 1)
}

fn line_of(text: &str, needle: &str) -> usize {
    let before = text.find(needle).map_or("", |at| &text[..at]);
    1 + before.bytes().filter(|b| *b == b'\n').count()
}

fn damaged(error: &serde_json::Error, path: &Path) -> SchemaError {
    let reason = match error.classify() {
        serde_json::error::Category::Eof => {
            "the file ends in the middle: it is cut short".to_owned()
        }
        _ => {
            let text = error.to_string();
            text.rfind(" at line ").map_or(text.clone(), |at| text[..at].to_owned())
        }
    };
    SchemaError::Damaged { path: path.to_owned(), line: error.line().max(1), reason }
}

#[cfg(test)]
#[path = "schema_tests.rs"]
mod tests;
