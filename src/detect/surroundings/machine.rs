//! Kernel, processors, clock source, stolen time.

use std::mem::MaybeUninit;

use serde::Serialize;

use crate::detect::root::Root;

/// The running kernel and its processors.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Machine {
    /// Instruction set, as the library was built.
    pub arch: String,
    /// Kernel release.
    pub kernel: Option<String>,
    /// Random id of this boot: equal for processes of one kernel. Proves nothing across
    /// machines, since a copied or resumed machine keeps it.
    pub boot_id: Option<String>,
    /// Model name of the first processor.
    pub cpu_model: Option<String>,
    /// Processors online.
    pub cores_online: u32,
    /// Processors this process may run on; none when not known.
    pub cores_allowed: Option<u32>,
}

/// The kernel's clock sources.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Clock {
    /// The one in use.
    pub current: Option<String>,
    /// Those it could use.
    pub available: Vec<String>,
}

/// Time during which this machine's processors were ready and the hypervisor ran others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Steal {
    /// Stolen, summed over all processors since boot, in clock ticks (usually 10 ms).
    pub stolen_ticks: u64,
    /// All time, likewise.
    pub total_ticks: u64,
}

impl Steal {
    /// The stolen part of all time since an earlier look, from 0 to 1; 0 when none has passed.
    pub fn fraction_since(&self, earlier: &Steal) -> f64 {
        let total = self.total_ticks.saturating_sub(earlier.total_ticks);
        let stolen = self.stolen_ticks.saturating_sub(earlier.stolen_ticks);
        if total == 0 {
            return 0.0;
        }
        (stolen as f64 / total as f64).min(1.0)
    }
}

fn line(root: &Root, path: &str) -> Option<String> {
    let text = root.text(path).text()?.lines().next()?.trim().to_owned();
    (!text.is_empty()).then_some(text)
}

pub(super) fn look(root: &Root) -> Machine {
    Machine {
        arch: std::env::consts::ARCH.to_owned(),
        kernel: line(root, "/proc/sys/kernel/osrelease"),
        boot_id: line(root, "/proc/sys/kernel/random/boot_id"),
        cpu_model: cpu_model(root),
        cores_online: line(root, "/sys/devices/system/cpu/online")
            .map_or(0, |list| count_cpu_list(&list)),
        cores_allowed: if root.is_live() { affinity() } else { None },
    }
}

/// "model name" on x86, "cpu" on Power and others, "Processor" or none on ARM.
fn cpu_model(root: &Root) -> Option<String> {
    let reading = root.text("/proc/cpuinfo");
    let text = reading.text()?;
    ["model name", "cpu", "Processor", "host"].iter().find_map(|wanted| {
        text.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            (name.trim() == *wanted).then(|| value.trim().to_owned())
        })
    })
}

/// The number of processors in a list such as `0-3,8,10-11`; parts that are no numbers count
/// as none.
fn count_cpu_list(list: &str) -> u32 {
    let count = |part: &str| -> Option<u32> {
        match part.trim().split_once('-') {
            None => part.trim().parse::<u32>().ok().map(|_| 1),
            Some((from, to)) => {
                let (from, to): (u32, u32) = (from.parse().ok()?, to.parse().ok()?);
                to.checked_sub(from)?.checked_add(1)
            }
        }
    };
    list.split(',').filter_map(count).fold(0, u32::saturating_add)
}

fn affinity() -> Option<u32> {
    let mut set = MaybeUninit::<libc::cpu_set_t>::zeroed();
    let size = size_of::<libc::cpu_set_t>();
    // SAFETY: `set` is writable for `size` bytes, and 0 means the calling thread.
    let got = unsafe { libc::sched_getaffinity(0, size, set.as_mut_ptr()) };
    if got != 0 {
        return None;
    }
    // SAFETY: a zeroed cpu_set_t is a valid value, and the call filled it.
    let set = unsafe { set.assume_init() };
    // SAFETY: it only reads the set.
    let count = unsafe { libc::CPU_COUNT(&set) };
    u32::try_from(count).ok()
}

pub(super) fn clock(root: &Root) -> Clock {
    const SOURCE: &str = "/sys/devices/system/clocksource/clocksource0";
    let available = line(root, &format!("{SOURCE}/available_clocksource"));
    Clock {
        current: line(root, &format!("{SOURCE}/current_clocksource")),
        available: available.unwrap_or_default().split_whitespace().map(str::to_owned).collect(),
    }
}

/// The first line of `/proc/stat`: user, nice, system, idle, iowait, irq, softirq, steal.
/// Guest time is part of user time and not added again (proc(5)).
pub(super) fn steal(root: &Root) -> Option<Steal> {
    let first = line(root, "/proc/stat")?;
    let mut words = first.split_whitespace();
    if words.next() != Some("cpu") {
        return None;
    }
    let ticks: Vec<u64> = words.take(8).map_while(|w| w.parse().ok()).collect();
    Some(Steal {
        stolen_ticks: *ticks.get(7)?,
        total_ticks: ticks.iter().copied().fold(0, u64::saturating_add),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_processors_are_counted() {
        assert_eq!(count_cpu_list("0-3,8,10-11"), 7);
        assert_eq!(count_cpu_list("0"), 1);
        assert_eq!(count_cpu_list(""), 0);
        assert_eq!(count_cpu_list("3-1,x,-,1-"), 0);
        assert_eq!(count_cpu_list("0-4294967295"), 0);
        assert_eq!(count_cpu_list("1-4294967295,1-4294967295"), u32::MAX);
    }

    #[test]
    fn steal_is_the_eighth_number_and_a_fraction_of_what_passed() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("proc")).unwrap();
        let put = |text: &str| std::fs::write(dir.path().join("proc/stat"), text).unwrap();
        let root = Root::new(dir.path());
        put("cpu  10 0 10 60 0 0 0 20 5 0\ncpu0 1 2 3\n");
        let before = steal(&root).unwrap();
        assert_eq!((before.stolen_ticks, before.total_ticks), (20, 100));
        put("cpu  10 0 10 110 0 0 0 70 5 0\n");
        let after = steal(&root).unwrap();
        assert!((after.fraction_since(&before) - 0.5).abs() < 1e-9);
        assert_eq!(before.fraction_since(&after), 0.0);
        put("cpu 1 2 3");
        assert_eq!(steal(&root), None);
    }

    #[test]
    fn this_process_may_run_somewhere() {
        let machine = look(&Root::new(std::path::Path::new("/")));
        assert!(machine.cores_allowed.unwrap() >= 1);
        assert!(machine.kernel.is_some());
    }
}
