//! Processor time: what this rank used, and what the hypervisor took from its machine.

/// Processor time of this rank so far, in microseconds. Reading it takes less than one.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Usage {
    pub(super) user_us: f64,
    pub(super) system_us: f64,
}

impl Usage {
    pub(super) fn now() -> Usage {
        let (user_us, system_us) = own_time_us();
        Usage { user_us, system_us }
    }

    pub(super) fn since(self, before: Usage) -> Usage {
        Usage {
            user_us: (self.user_us - before.user_us).max(0.0),
            system_us: (self.system_us - before.system_us).max(0.0),
        }
    }
}

fn own_time_us() -> (f64, f64) {
    // SAFETY: `rusage` is made of integers, for which all zeros is a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: `usage` is a whole `rusage` and lives through the call.
    if unsafe { libc::getrusage(libc::RUSAGE_SELF, &raw mut usage) } != 0 {
        return (0.0, 0.0);
    }
    let us = |t: libc::timeval| t.tv_sec as f64 * 1e6 + t.tv_usec as f64;
    (us(usage.ru_utime), us(usage.ru_stime))
}

/// Time stolen from all cores of this machine since it booted, in microseconds, in steps of a clock tick (usually
/// 10 ms); 0 when the kernel does not tell. Reading it may take a hundred microseconds: not under the clock.
pub(super) fn steal_us() -> f64 {
    let ticks = std::fs::read_to_string("/proc/stat").ok().and_then(|text| steal_ticks(&text));
    ticks.map_or(0.0, |ticks| ticks as f64 * 1e6 / ticks_per_second())
}

fn ticks_per_second() -> f64 {
    // SAFETY: takes a number and returns a number.
    let ticks = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    if ticks > 0 { ticks as f64 } else { 100.0 }
}

/// The eighth number of the line `cpu` (proc(5)).
fn steal_ticks(stat: &str) -> Option<u64> {
    let line = stat.lines().find(|line| line.starts_with("cpu "))?;
    line.split_ascii_whitespace().nth(8)?.parse().ok()
}

/// A number that tells running kernels apart: machines must not have their steal counted once for every rank.
pub(super) fn boot_hash() -> u64 {
    let id = std::fs::read("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    // FNV-1a: ids are few, and a collision merely counts a machine's steal once too seldom.
    id.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steal_is_the_eighth_number() {
        let stat = "cpu  1 2 3 4 5 6 7 88 9 10\ncpu0 1 2 3 4 5 6 7 8 9 10\nintr 5\n";
        assert_eq!(steal_ticks(stat), Some(88));
        assert_eq!(steal_ticks("cpu  1 2 3 4\n"), None);
        assert_eq!(steal_ticks(""), None);
    }

    #[test]
    fn working_uses_user_time() {
        let before = Usage::now();
        let mut x = 1u64;
        while Usage::now().since(before).user_us + Usage::now().since(before).system_us < 1000.0 {
            x = std::hint::black_box(x.wrapping_mul(3));
        }
        assert!(Usage::now().user_us > 0.0);
    }
}
