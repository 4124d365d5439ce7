//! What a referee would ask about a figure, said beside it before anyone asks.

use std::collections::{BTreeMap, BTreeSet};

use super::{Cell, Comparison, Group, Key};
use crate::report::schema::Provenance;
use crate::report::stats::MEDIAN_INTERVAL_RUNS_MIN;

/// Fewer launches than this are called few: five is where a ratio has an interval, six a median.
const FEW_RUNS: usize = MEDIAN_INTERVAL_RUNS_MIN;
/// Stolen share of the time above which it is said.
const STEAL_SHARE: f64 = 0.01;
/// Clock error above which it is said, as a share of the time.
const DRIFT: f64 = 0.001;
/// Drift of the ranks' clocks against each other above which it is said, parts per million.
const DRIFT_PPM: f64 = 500.0;
/// Change of frequency above which it is said.
const FREQUENCY: f64 = 1.05;

/// One warning.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Warning {
    /// Group it is about.
    pub group: usize,
    /// The sentence, without the group's name.
    pub text: String,
}

/// Warnings about the series shown in one figure; each is said once.
#[must_use]
pub fn about<'a>(comparison: &Comparison, shown: impl Iterator<Item = &'a Key>) -> Vec<Warning> {
    let keys: Vec<&Key> = shown.collect();
    let mut all = BTreeSet::new();
    let groups: BTreeSet<usize> = keys.iter().map(|k| k.group).collect();
    for group in groups {
        let mine: Vec<&Key> = keys.iter().copied().filter(|k| k.group == group).collect();
        let texts = about_group(&comparison.groups[group])
            .into_iter()
            .chain(about_series(comparison, &mine));
        all.extend(texts.map(|text| Warning { group, text }));
    }
    all.into_iter().collect()
}

/// The sentences with the names of what they are about; what is true of several groups is said once.
#[must_use]
pub fn texts(comparison: &Comparison, all: &[Warning]) -> Vec<String> {
    let mut by_text: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for warning in all {
        let name = comparison.groups[warning.group].name.as_str();
        by_text.entry(&warning.text).or_default().push(name);
    }
    let line = |(text, names): (&str, Vec<&str>)| format!("{}: {text}", names.join("; "));
    by_text.into_iter().map(line).collect()
}

fn about_group(group: &Group) -> Vec<String> {
    let mut texts = Vec::new();
    for (file, p) in &group.files {
        texts.extend(
            about_file(p)
                .into_iter()
                .map(|t| if group.files.len() > 1 { format!("{t} ({file})") } else { t }),
        );
    }
    texts.extend(differences(group));
    texts
}

fn about_file(p: &Provenance) -> Vec<String> {
    let mut texts = Vec::new();
    match &p.clock {
        Some(c) if c.difference_s.abs() > c.resolution_s + DRIFT * c.elapsed_s => {
            texts.push(format!(
                "the clock drifted by {:+.2} % against {} over {:.0} s: times are wrong by as much",
                100.0 * c.difference_s / c.elapsed_s.max(1e-9),
                c.against,
                c.elapsed_s
            ))
        }
        _ => {}
    }
    if let Some([low, high]) = p.mhz
        && high > low * FREQUENCY
    {
        texts.push(format!("the processor's frequency changed between {low:.0} and {high:.0} MHz"));
    }
    if p.off_cache {
        texts.push("buffers were cycled through memory (--off-cache)".to_owned());
    }
    texts
}

/// What differs between the files of a group, which are shown as one.
fn differences(group: &Group) -> Vec<String> {
    let mut texts = Vec::new();
    let mut differ = |what: &str, value: &dyn Fn(&Provenance) -> String| {
        let values: BTreeSet<String> = group.files.iter().map(|(_, p)| value(p)).collect();
        if values.len() > 1 {
            let list: Vec<&str> =
                values.iter().map(|v| if v.is_empty() { "not recorded" } else { v }).collect();
            texts.push(format!("its files differ in {what}: {}", list.join(" / ")));
        }
    };
    differ("version", &|p| {
        let mut versions = p.versions.clone();
        versions.insert("commit".to_owned(), p.commit.clone());
        pairs(&versions)
    });
    differ("message policy", &|p| {
        let waiting =
            if p.waiting.is_empty() { String::new() } else { format!("waiting: {}", p.waiting) };
        format!("{waiting} {}", pairs(&p.policy)).trim().to_owned()
    });
    differ("processor", &|p| p.machine.clone());
    differ("kernel", &|p| p.kernel.clone());
    differ("cache use", &|p| if p.off_cache { "off cache" } else { "in cache" }.to_owned());
    differ("host network", &|p| {
        if p.netns { "network namespaces" } else { "none of its own" }.to_owned()
    });
    texts
}

fn pairs(map: &BTreeMap<String, String>) -> String {
    let list: Vec<String> = map.iter().map(|(k, v)| format!("{k} {v}")).collect();
    list.join(", ")
}

fn about_series(comparison: &Comparison, keys: &[&Key]) -> Vec<String> {
    let mut texts = Vec::new();
    let cells = |k: &&Key| comparison.series[*k].values();
    let n = |c: &Cell| c.samples_us.len();
    let fewest = keys.iter().flat_map(cells).map(n).min().unwrap_or(0);
    if (1..FEW_RUNS).contains(&fewest) {
        texts.push(format!(
            "only {fewest} launch{} in places: a median needs {MEDIAN_INTERVAL_RUNS_MIN} for an interval, a ratio 5, a test 4 on each side",
            if fewest == 1 { "" } else { "es" }
        ));
    }
    let stolen = keys.iter().flat_map(cells).map(|c| c.steal_share).fold(0.0, f64::max);
    if stolen > STEAL_SHARE {
        texts.push(format!(
            "the hypervisor took time away: up to {:.0} % of an operation",
            100.0 * stolen
        ));
    }
    texts.extend(strayed(comparison, keys));
    if let Some(text) = crowded(comparison, keys) {
        texts.push(text);
    }
    texts
}

/// What the ranks' clocks did, and whether anyone looked.
fn strayed(comparison: &Comparison, keys: &[&Key]) -> Option<String> {
    let drifts = keys.iter().flat_map(|k| comparison.series[*k].values()).map(|c| c.drift_ppm);
    let worst = drifts.flatten().reduce(f64::max);
    let files = &comparison.groups[keys.first()?.group].files;
    let unseen = |(_, p): &(String, Provenance)| p.target == "guests" && p.clock.is_none();
    match worst {
        Some(ppm) if ppm > DRIFT_PPM => Some(format!(
            "the ranks' clocks drifted from each other by {ppm:.0} ppm or more: times are wrong by as much"
        )),
        None if files.iter().any(unseen) => {
            Some("the guests' clock was not held against another one".to_owned())
        }
        _ => None,
    }
}

/// Ranks that work at once: of PingPong and PingPing two, whatever the job.
fn active(key: &Key) -> u32 {
    if key.benchmark.starts_with("PingP") { key.ranks.min(2) } else { key.ranks }
}

/// Said when more ranks work at once than there are cores under them.
fn crowded(comparison: &Comparison, keys: &[&Key]) -> Option<String> {
    let files = &comparison.groups[keys.first()?.group].files;
    // A guest's own cores say nothing of its host's.
    let cores =
        |p: &Provenance| p.host_cores.or((p.target != "guests" && p.cores > 0).then_some(p.cores));
    let cores = files.iter().filter_map(|(_, p)| cores(p)).min()?;
    let layouts: BTreeSet<&str> =
        keys.iter().filter(|k| active(k) > cores).map(|k| k.layout.text.as_str()).collect();
    let list: Vec<&str> = layouts.into_iter().collect();
    (!list.is_empty()).then(|| {
        format!("the host is overcommitted in {}: more ranks than its {cores} cores, so they took turns", list.join(", "))
    })
}
