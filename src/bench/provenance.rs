//! Where and how figures were taken. What cannot be found out is `unknown`, never guessed.

use std::collections::BTreeMap;
use std::fs;
use std::thread;

use super::usage;
use crate::detect;
use crate::report::schema::Provenance;

const UNKNOWN: &str = "unknown";

/// Takes note of the machine before the measurement; [`Gathered::finish`] adds what it cost.
pub struct Gathered {
    provenance: Provenance,
    steal_before_us: f64,
}

/// Gathers all that is known about this machine and program.
#[must_use]
pub fn gather() -> Gathered {
    let cores =
        thread::available_parallelism().map_or(0, |n| u32::try_from(n.get()).unwrap_or(u32::MAX));
    let provenance = Provenance {
        hypervisor: hypervisor(),
        machine: machine(),
        kernel: kernel(),
        cores,
        clock_source: first_line(
            "/sys/devices/system/clocksource/clocksource0/current_clocksource",
        ),
        steal_us: 0.0,
        mapping: "memfd".to_owned(),
        versions: versions(),
        commit: option_env!("COHOST_COMMIT").unwrap_or(UNKNOWN).to_owned(),
        waiting: "spin, yield, sleep".to_owned(),
        policy: policy(),
        mhz: frequency().map(|mhz| [mhz, mhz]),
        ..Provenance::default()
    };
    Gathered { provenance, steal_before_us: usage::steal_us() }
}

impl Gathered {
    /// What was gathered, with the time stolen since.
    #[must_use]
    pub fn finish(self) -> Provenance {
        let steal_us = (usage::steal_us() - self.steal_before_us).max(0.0);
        let mhz = match (self.provenance.mhz, frequency()) {
            (Some([low, high]), Some(now)) => Some([low.min(now), high.max(now)]),
            (before, _) => before,
        };
        Provenance { steal_us, mhz, ..self.provenance }
    }

    /// What was gathered at the beginning.
    #[must_use]
    pub fn provenance(&self) -> &Provenance {
        &self.provenance
    }
}

/// Identifier of the hypervisor, as `cohost detect` prints it.
fn hypervisor() -> String {
    detect::verdict(&detect::Evidence::gather()).hypervisor.as_str().to_owned()
}

/// Processor model and architecture.
fn machine() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    format!("{} ({})", cpu_model(&text).unwrap_or(UNKNOWN), std::env::consts::ARCH)
}

fn cpu_model(cpuinfo: &str) -> Option<&str> {
    // x86 says `model name`, POWER and User-Mode Linux `cpu`, some ARM `Hardware`.
    let value = |key: &str| {
        let mut pairs = cpuinfo.lines().filter_map(|line| line.split_once(':'));
        pairs.find(|(k, _)| k.trim() == key).map(|(_, v)| v.trim()).filter(|v| !v.is_empty())
    };
    value("model name").or_else(|| value("cpu")).or_else(|| value("Hardware"))
}

/// What decides how a message is sent: results of different policies are not of one kind.
fn policy() -> BTreeMap<String, String> {
    let geometry = crate::region::Geometry::default();
    let pairs = [
        ("ring cells", geometry.cells.to_string()),
        ("ring bulk bytes", geometry.bulk.to_string()),
        ("longest unasked message, bytes", crate::proto::Config::default().unasked_max.to_string()),
    ];
    pairs.map(|(name, value)| (name.to_owned(), value)).into()
}

/// Mean frequency of the cores, MHz; `None` where the kernel does not tell.
fn frequency() -> Option<f64> {
    mean_mhz(&fs::read_to_string("/proc/cpuinfo").ok()?)
}

fn mean_mhz(cpuinfo: &str) -> Option<f64> {
    let pairs = cpuinfo.lines().filter_map(|line| line.split_once(':'));
    let values: Vec<f64> = pairs
        .filter(|(key, _)| key.trim() == "cpu MHz")
        .filter_map(|(_, value)| value.trim().parse().ok())
        .filter(|mhz: &f64| mhz.is_finite() && *mhz > 0.0)
        .collect();
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

fn kernel() -> String {
    let name = first_line("/proc/sys/kernel/ostype");
    format!("{name} {}", first_line("/proc/sys/kernel/osrelease"))
}

fn versions() -> BTreeMap<String, String> {
    let rustc = option_env!("COHOST_RUSTC").unwrap_or(UNKNOWN);
    let pairs = [("cohost", env!("CARGO_PKG_VERSION")), ("rustc", rustc)];
    pairs.map(|(name, version)| (name.to_owned(), version.to_owned())).into()
}

fn first_line(path: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let line = text.lines().next().map(str::trim).filter(|line| !line.is_empty());
    line.unwrap_or(UNKNOWN).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_is_found_by_each_architectures_key() {
        assert_eq!(cpu_model("processor\t: 0\nmodel name\t: AMD EPYC\n"), Some("AMD EPYC"));
        assert_eq!(
            cpu_model("cpu\t\t: POWER9, altivec supported\n"),
            Some("POWER9, altivec supported")
        );
        assert_eq!(cpu_model("model name\t:\n"), None);
    }

    #[test]
    fn the_frequency_is_the_mean_over_the_cores_that_tell() {
        let text = "cpu MHz\t\t: 1000.0\ncpu MHz\t\t: 3000.0\ncpu MHz\t: none\n";
        assert_eq!(mean_mhz(text), Some(2000.0));
        assert_eq!(mean_mhz("model name : x\n"), None);
    }

    #[test]
    fn nothing_is_left_empty() {
        let p = gather().finish();
        for text in [&p.hypervisor, &p.machine, &p.kernel, &p.clock_source, &p.commit, &p.mapping] {
            assert!(!text.trim().is_empty(), "{p:?}");
        }
        assert!(p.versions.values().all(|v| !v.is_empty()));
        assert!(p.steal_us >= 0.0);
    }
}
