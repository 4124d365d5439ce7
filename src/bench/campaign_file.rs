//! `--campaign FILE.toml`: what to measure, written down, and the list of launches that follows from it. The order
//! of launches is random, so that a machine that slowly changes does not favour what happens to come first.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::campaign::{Campaign, RUNS_MAX};
use super::name::Benchmark;
use super::sizes;
use super::worker::{SAMPLE_SECONDS_MAX, Work};
use crate::launch::{Layout, PathPolicy};
use crate::report::bootstrap::Random;

/// Most launches of one campaign.
pub const LAUNCHES_MAX: u64 = 1_000_000;
/// Largest campaign file, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Why a campaign file is none.
#[derive(Debug, Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("cannot read the campaign file {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// Not TOML, or a key or value that is not known.
    #[error("{path}, line {line}: {reason}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// What is wrong there.
        reason: String,
    },
    /// It asks for something that cannot be.
    #[error("{path}: {reason}")]
    Refused {
        /// The file.
        path: PathBuf,
        /// Why, with the remedy.
        reason: String,
    },
}

/// The file as written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// Layouts `HxV`.
    pub layouts: Vec<String>,
    /// Benchmarks by name.
    #[serde(default = "usual_benchmarks")]
    pub benchmarks: Vec<String>,
    /// Message sizes such as `0,8,64K`; without: 0 and the powers of two up to 4 MiB.
    #[serde(default)]
    pub sizes: Option<String>,
    /// Fresh launches of each layout and path.
    pub runs: u32,
    /// Paths: `auto`, `ring`, `tcp`. A layout of several hosts is not measured with `ring` alone.
    #[serde(default = "usual_paths")]
    pub paths: Vec<String>,
    /// Ranks in each virtual machine.
    #[serde(default = "one")]
    pub ranks_per_vm: u32,
    /// Longest time on one size, seconds.
    #[serde(default)]
    pub time: Option<f64>,
    /// Cycle through large buffers.
    #[serde(default)]
    pub off_cache: bool,
    /// Hosts in network namespaces.
    #[serde(default)]
    pub netns: bool,
    /// Seed of the order; without: drawn, and recorded.
    #[serde(default)]
    pub seed: Option<u64>,
    /// Result file, beside the campaign file unless absolute.
    #[serde(default)]
    pub result: Option<PathBuf>,
    /// Where the ranks run.
    #[serde(default)]
    pub target: TargetSpec,
}

/// `[target]`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetSpec {
    /// What kind.
    #[serde(default)]
    pub kind: Target,
}

/// Where the ranks of a campaign run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// Processes of this system, one for each virtual machine of a layout.
    #[default]
    Processes,
    /// QEMU guests of the lab.
    Qemu,
    /// User-Mode Linux guests of the lab.
    Uml,
    /// Xen guests of the lab.
    Xen,
}

fn usual_benchmarks() -> Vec<String> {
    vec!["PingPong".to_owned(), "Alltoall".to_owned()]
}

fn usual_paths() -> Vec<String> {
    vec!["auto".to_owned()]
}

fn one() -> u32 {
    1
}

/// One launch of the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Planned {
    /// Its number in the plan, from 0, independent of the order.
    pub id: u64,
    /// Its layout.
    pub layout: Layout,
    /// Its path.
    pub path: PathPolicy,
    /// Which run of this layout and path, from 0.
    pub run: u32,
}

/// A campaign file that has been understood.
#[derive(Debug, Clone)]
pub struct CampaignFile {
    /// As written.
    pub spec: Spec,
    /// What the ranks do.
    pub work: Work,
    /// Layout and path of each series, in the order of the file.
    pub series: Vec<(Layout, PathPolicy)>,
    /// Where the result goes, when the file says.
    pub result: Option<PathBuf>,
}

impl CampaignFile {
    /// Reads and understands `path`.
    ///
    /// # Errors
    /// [`FileError`] with the line where there is one.
    pub fn read(path: &Path) -> Result<CampaignFile, FileError> {
        let io = |source| FileError::Io { path: path.to_owned(), source };
        if std::fs::metadata(path).map_err(io)?.len() > FILE_BYTES_MAX {
            return Err(FileError::Refused {
                path: path.to_owned(),
                reason: format!("larger than {FILE_BYTES_MAX} bytes: this is no campaign file"),
            });
        }
        CampaignFile::from_text(&std::fs::read_to_string(path).map_err(io)?, path)
    }

    /// Understands the text of a campaign file; `path` is named in complaints, and the result lies beside it.
    ///
    /// # Errors
    /// [`FileError::Damaged`] or [`FileError::Refused`].
    pub fn from_text(text: &str, path: &Path) -> Result<CampaignFile, FileError> {
        let spec: Spec = toml::from_str(text).map_err(|e| FileError::Damaged {
            path: path.to_owned(),
            line: 1 + e
                .span()
                .and_then(|s| text.get(..s.start))
                .map_or(0, |before| before.matches('\n').count()),
            reason: e.message().to_owned(),
        })?;
        CampaignFile::understand(spec, path)
            .map_err(|reason| FileError::Refused { path: path.to_owned(), reason })
    }

    fn understand(spec: Spec, path: &Path) -> Result<CampaignFile, String> {
        if spec.target.kind != Target::Processes {
            return Err(format!(
                "target {:?} is not available in this cohost: use kind = \"processes\", or measure inside the \
                 guests and compare the result files",
                spec.target.kind
            ));
        }
        if spec.runs == 0 || spec.runs > RUNS_MAX || spec.ranks_per_vm == 0 {
            return Err(format!("runs must be 1 to {RUNS_MAX}, ranks_per_vm at least 1"));
        }
        let seconds = spec.time.unwrap_or(SAMPLE_SECONDS_MAX);
        if !(seconds > 0.0 && seconds <= 86_400.0) {
            return Err("time must be above 0 and at most 86400 seconds".to_owned());
        }
        let each = |list: &[String], what: &str| match list.is_empty() {
            true => Err(format!("{what} is empty: name at least one")),
            false => Ok(()),
        };
        each(&spec.layouts, "layouts")?;
        each(&spec.benchmarks, "benchmarks")?;
        each(&spec.paths, "paths")?;
        let parsed = spec.benchmarks.iter().map(|b| b.parse::<Benchmark>());
        let benchmarks = parsed.collect::<Result<_, _>>().map_err(|e| e.to_string())?;
        let sizes = match &spec.sizes {
            Some(list) => sizes::parse_list(list).map_err(|e| e.to_string())?,
            None => sizes::standard(sizes::DEFAULT_MAX_BYTES),
        };
        let series = series(&spec)?;
        let launches = series.len() as u64 * u64::from(spec.runs);
        if launches > LAUNCHES_MAX {
            return Err(format!("{launches} launches are more than {LAUNCHES_MAX}"));
        }
        let beside = path.parent().unwrap_or(Path::new(""));
        Ok(CampaignFile {
            work: Work {
                benchmarks,
                sizes,
                check: false,
                off_cache: spec.off_cache,
                sample_seconds_max: seconds,
            },
            series,
            result: spec.result.as_ref().map(|r| beside.join(r)),
            spec,
        })
    }

    /// Digest of what is asked for, seed and place of the result aside: equal digests ask for the same launches.
    #[must_use]
    pub fn digest(&self) -> String {
        let bare = Spec { seed: None, result: None, ..self.spec.clone() };
        // A struct of plain values can always be written.
        let text = serde_json::to_string(&bare).unwrap_or_default();
        // FNV-1a: tells campaigns apart, protects against nothing.
        let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        format!("{hash:016x}")
    }

    /// Every launch, in the random order that `seed` gives.
    #[must_use]
    pub fn plan(&self, seed: u64) -> Vec<Planned> {
        let runs = (0..self.spec.runs).flat_map(|run| self.series.iter().map(move |s| (run, s)));
        let mut plan: Vec<_> = runs
            .enumerate()
            .map(|(id, (run, &(layout, path)))| Planned { id: id as u64, layout, path, run })
            .collect();
        Random::new(seed).shuffle(&mut plan);
        plan
    }

    /// The launches of one layout and path as the plain campaign knows them.
    #[must_use]
    pub fn campaign(
        &self,
        layout: Layout,
        path: PathPolicy,
        program: std::ffi::OsString,
    ) -> Campaign {
        Campaign {
            work: self.work.clone(),
            layouts: vec![layout],
            path: Some(path),
            runs: self.spec.runs,
            ranks_per_vm: self.spec.ranks_per_vm,
            netns: self.spec.netns,
            json: None,
            program,
        }
    }
}

/// Every layout over every path that can serve it.
fn series(spec: &Spec) -> Result<Vec<(Layout, PathPolicy)>, String> {
    let paths = spec.paths.iter().map(|p| p.parse::<PathPolicy>());
    let paths = paths.collect::<Result<Vec<_>, _>>().map_err(|e| e.to_string())?;
    let mut all = Vec::new();
    for text in &spec.layouts {
        let layout: Layout = text.parse().map_err(|e: crate::launch::LaunchError| e.to_string())?;
        let before = all.len();
        for &path in &paths {
            if path == PathPolicy::Ring && layout.hosts > 1 {
                continue;
            }
            if all.contains(&(layout, path)) {
                return Err(format!("layout {layout} over {path} is named twice"));
            }
            all.push((layout, path));
        }
        if all.len() == before {
            return Err(format!(
                "layout {layout} has several hosts, which rings alone cannot join: add \"auto\" or \"tcp\" to paths"
            ));
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<CampaignFile, String> {
        CampaignFile::from_text(text, Path::new("dir/c.toml")).map_err(|e| e.to_string())
    }

    const GOOD: &str = "layouts = [\"1x2\", \"2x1\"]\nruns = 3\npaths = [\"ring\", \"tcp\"]\nsizes = \"8,64K\"\nresult = \"r.json\"\n";

    #[test]
    fn a_plan_holds_every_launch_once_in_an_order_that_the_seed_decides() {
        let file = read(GOOD).unwrap();
        let (a, b) = (file.plan(1), file.plan(2));
        assert_eq!(a.len(), 9, "1x2 over ring and tcp, 2x1 over tcp, three times");
        assert_ne!(a, b);
        assert_eq!(a, file.plan(1));
        let sorted = |mut plan: Vec<Planned>| {
            plan.sort_by_key(|p| p.id);
            plan
        };
        assert_eq!(sorted(a), sorted(b));
        assert_eq!(file.result, Some(PathBuf::from("dir/r.json")));
    }

    #[test]
    fn the_digest_changes_with_what_is_measured_and_not_with_seed_or_place() {
        let digest = |text: &str| read(text).unwrap().digest();
        assert_eq!(digest(GOOD), digest(&format!("{GOOD}seed = 5\n")));
        assert_ne!(digest(GOOD), digest(&GOOD.replace("runs = 3", "runs = 4")));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line_or_reason() {
        for (text, words) in [
            ("layouts = [\"1x2\"]\nruns = 1\nlayuots = 3\n", "line 3: unknown field"),
            ("layouts = [\"1x2\"\nruns = 1\n", "line "),
            ("layouts = []\nruns = 1\n", "layouts is empty"),
            ("layouts = [\"1x2\"]\nruns = 0\n", "runs must be 1 to"),
            ("layouts = [\"2x1\"]\nruns = 1\npaths = [\"ring\"]\n", "rings alone cannot join"),
            ("layouts = [\"1x2\", \"1x2\"]\nruns = 1\n", "named twice"),
            (
                "layouts = [\"1x2\"]\nruns = 1\n[target]\nkind = \"qemu\"\n",
                "not available in this cohost",
            ),
            ("layouts = [\"1x2\"]\nruns = 1\n[target]\nkind = \"moon\"\n", "line 4"),
            ("layouts = [\"1x2\"]\nruns = 1\nbenchmarks = [\"pong\"]\n", "known are PingPong"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
