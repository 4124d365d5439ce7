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
    /// Network devices of QEMU's guests, each measured in guests of its own; without: virtio.
    #[serde(default)]
    pub nic: Vec<String>,
    /// Memory of each guest, MiB; without: what the benchmarks need.
    #[serde(default)]
    pub memory: Option<u32>,
    /// Memory that the guests of a host share, MiB; without: 64.
    #[serde(default)]
    pub region: Option<u32>,
    /// Whether each guest stays on a core of its own, where there are enough; without: those of User-Mode Linux do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pin: Option<bool>,
    /// Measure layouts of one host also as processes of this machine, in turn with the guests.
    #[serde(default)]
    pub processes: bool,
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

impl Target {
    /// As campaign files spell it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Target::Processes => "processes",
            Target::Qemu => "qemu",
            Target::Uml => "uml",
            Target::Xen => "xen",
        }
    }
}

/// Where some of a campaign's launches run: processes of this machine, or guests of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// What kind.
    pub kind: Target,
    /// Network device of QEMU's guests.
    pub nic: Option<String>,
}

impl Place {
    /// Whether something must be booted first.
    #[must_use]
    pub fn has_guests(&self) -> bool {
        self.kind != Target::Processes
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.nic {
            Some(nic) => write!(f, "{} with {nic}", self.kind.as_str()),
            None => f.write_str(self.kind.as_str()),
        }
    }
}

/// What makes launches one sample: where, in which layout, over which path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Series {
    /// Index into [`CampaignFile::places`].
    pub place: usize,
    /// Its layout.
    pub layout: Layout,
    /// Its path.
    pub path: PathPolicy,
}

/// One launch of the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Planned {
    /// Its number in the plan, from 0, independent of the order.
    pub id: u64,
    /// What it is a launch of.
    pub series: Series,
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
    /// Where launches run: guests first.
    pub places: Vec<Place>,
    /// Place, layout and path of each series, in the order of the file.
    pub series: Vec<Series>,
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
        let places = places(&spec)?;
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
        let series = series(&spec, &places)?;
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
            places,
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

    /// Every launch, in the random order that `seed` gives. Guests are booted once for each place and layout, so
    /// their launches stay together: the boots are in random order, and the launches of each. A launch of
    /// processes is put among those of guests in the same layout.
    #[must_use]
    pub fn plan(&self, seed: u64) -> Vec<Planned> {
        let runs = (0..self.spec.runs).flat_map(|run| self.series.iter().map(move |s| (run, s)));
        let mut plan: Vec<_> = runs
            .enumerate()
            .map(|(id, (run, &series))| Planned { id: id as u64, series, run })
            .collect();
        let mut random = Random::new(seed);
        random.shuffle(&mut plan);
        let mut boots = self.boots();
        random.shuffle(&mut boots);
        let mut placed: Vec<(usize, Planned)> = plan
            .into_iter()
            .map(|planned| {
                let s = planned.series;
                let guests = self.places[s.place].has_guests();
                let fits =
                    |boot: &(usize, Layout)| boot.1 == s.layout && (!guests || boot.0 == s.place);
                let at: Vec<usize> = (0..boots.len()).filter(|i| fits(&boots[*i])).collect();
                let among = if at.is_empty() { 0 } else { random.below(at.len()) };
                (at.get(among).copied().unwrap_or(0), planned)
            })
            .collect();
        // Stable: within a boot the order stays random.
        placed.sort_by_key(|(boot, _)| *boot);
        placed.into_iter().map(|(_, planned)| planned).collect()
    }

    /// Place and layout of all guests that have to be booted.
    fn boots(&self) -> Vec<(usize, Layout)> {
        let mut boots = Vec::new();
        for s in self.series.iter().filter(|s| self.places[s.place].has_guests()) {
            if !boots.contains(&(s.place, s.layout)) {
                boots.push((s.place, s.layout));
            }
        }
        boots
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

/// Where the launches of a campaign run.
fn places(spec: &Spec) -> Result<Vec<Place>, String> {
    let target = &spec.target;
    let guests = target.kind != Target::Processes;
    if !target.nic.is_empty() && target.kind != Target::Qemu {
        return Err(format!(
            "nic names devices of QEMU, and the target is {}: leave it out",
            target.kind.as_str()
        ));
    }
    let for_guests = target.memory.is_some() || target.region.is_some() || target.pin.is_some();
    if !guests && (for_guests || target.processes) {
        return Err(
            "memory, region, pin and processes are for guests: name a target kind".to_owned()
        );
    }
    if guests && spec.netns {
        return Err("netns is for processes; hosts of guests are apart anyway".to_owned());
    }
    let nics: Vec<Option<&str>> = match (target.kind, &target.nic[..]) {
        (Target::Qemu, []) => vec![Some("virtio")],
        (Target::Qemu, nics) => nics.iter().map(|nic| Some(nic.as_str())).collect(),
        _ => vec![None],
    };
    let mut all: Vec<Place> = Vec::new();
    for nic in nics {
        let place = Place { kind: target.kind, nic: nic.map(str::to_owned) };
        if all.contains(&place) {
            return Err(format!("the target {place} is named twice"));
        }
        all.push(place);
    }
    if target.processes {
        all.push(Place { kind: Target::Processes, nic: None });
    }
    Ok(all)
}

/// Every layout in every place over every path that can serve it.
fn series(spec: &Spec, places: &[Place]) -> Result<Vec<Series>, String> {
    let paths = spec.paths.iter().map(|p| p.parse::<PathPolicy>());
    let paths = paths.collect::<Result<Vec<_>, _>>().map_err(|e| e.to_string())?;
    let mut all: Vec<Series> = Vec::new();
    for text in &spec.layouts {
        let layout: Layout = text.parse().map_err(|e: crate::launch::LaunchError| e.to_string())?;
        let before = all.len();
        for (place, kind) in places.iter().enumerate() {
            let beside = place > 0 && !kind.has_guests();
            if beside && layout.hosts > 1 {
                continue;
            }
            for &path in &paths {
                if !serves(path, layout, spec.ranks_per_vm, &paths) {
                    continue;
                }
                let series = Series { place, layout, path };
                if all.contains(&series) {
                    return Err(format!("layout {layout} over {path} is named twice"));
                }
                all.push(series);
            }
        }
        if all.len() == before {
            return Err(format!(
                "layout {layout} has several hosts, which rings alone cannot join: add \"auto\" or \"tcp\" to paths"
            ));
        }
    }
    Ok(all)
}

/// Whether a layout is to be measured over `path`, given the others that were asked for: not over rings alone
/// between hosts, and not twice over what is the same.
fn serves(path: PathPolicy, layout: Layout, ranks_per_vm: u32, paths: &[PathPolicy]) -> bool {
    let alone = layout.ranks(ranks_per_vm) == 1;
    let only_tcp = layout.ranks(ranks_per_vm) == u64::from(layout.hosts);
    let named = |other| paths.contains(&other);
    match path {
        // A rank with itself has one path, whatever is asked for.
        _ if alone => paths.first() == Some(&path),
        PathPolicy::Ring => layout.hosts == 1,
        PathPolicy::Auto => !(only_tcp && named(PathPolicy::Tcp)),
        PathPolicy::Tcp => true,
    }
}

#[cfg(test)]
#[path = "campaign_file_tests.rs"]
mod tests;
