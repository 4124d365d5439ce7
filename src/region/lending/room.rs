//! How much memory the system would still give this process without ending any. A memfd is filled
//! when it is reserved; asking for more than there is would call the killer, not return an error.

use std::fs::read_to_string;

/// Bytes that may still be taken: the least of what the system and each control group above this
/// process say. `None` when nobody says anything.
pub(super) fn free_bytes() -> Option<u64> {
    let system = read_to_string("/proc/meminfo").ok().and_then(|text| available(&text));
    let groups = read_to_string("/proc/self/cgroup").unwrap_or_default();
    groups.lines().filter_map(group).filter_map(|group| group.free()).chain(system).min()
}

/// Bytes of memory of this machine.
pub(super) fn physical_bytes() -> usize {
    let text = read_to_string("/proc/meminfo").unwrap_or_default();
    field(&text, "MemTotal:").and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(0)
}

fn available(meminfo: &str) -> Option<u64> {
    field(meminfo, "MemAvailable:")
}

fn field(meminfo: &str, name: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// A control group of memory: its folder, and the names of its limit and of what is used.
#[derive(Debug, PartialEq, Eq)]
struct Group<'a> {
    root: &'static str,
    path: &'a str,
    limit: &'static str,
    used: &'static str,
}

/// The group of a line of `/proc/self/cgroup`, if it is one of memory.
fn group(line: &str) -> Option<Group<'_>> {
    let mut parts = line.splitn(3, ':');
    let (number, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
    if number == "0" && controllers.is_empty() {
        let (root, limit, used) = ("/sys/fs/cgroup", "memory.max", "memory.current");
        return Some(Group { root, path, limit, used });
    }
    controllers.split(',').any(|name| name == "memory").then_some(Group {
        root: "/sys/fs/cgroup/memory",
        path,
        limit: "memory.limit_in_bytes",
        used: "memory.usage_in_bytes",
    })
}

impl Group<'_> {
    /// The least of what it and those above it leave. A path of another namespace has no files
    /// here; the root then is the group itself.
    fn free(&self) -> Option<u64> {
        let above = self.path.match_indices('/').map(|(at, _)| &self.path[..at]);
        above.chain([self.path]).filter_map(|path| self.left(path)).min()
    }

    fn left(&self, path: &str) -> Option<u64> {
        let number = |name: &str| {
            let text = read_to_string(format!("{}{path}/{name}", self.root)).ok()?;
            text.trim().parse::<u64>().ok()
        };
        Some(number(self.limit)?.saturating_sub(number(self.used)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_says_is_read_and_anything_else_is_nothing() {
        let text = "MemTotal:       100 kB\nMemFree: 5 kB\nMemAvailable:    7 kB\n";
        assert_eq!(available(text), Some(7 << 10));
        assert_eq!(field(text, "MemTotal:"), Some(100 << 10));
        for bad in
            ["", "MemAvailable:", "MemAvailable: x kB", "MemAvailable: 18446744073709551615 kB"]
        {
            assert_eq!(available(bad), None, "{bad}");
        }
    }

    #[test]
    fn groups_of_memory_are_found_among_the_others() {
        let v1 = group("4:cpu,memory:/job/7").unwrap();
        assert_eq!((v1.root, v1.path), ("/sys/fs/cgroup/memory", "/job/7"));
        assert_eq!(group("0::/a:b").unwrap().path, "/a:b");
        for other in ["5:cpu:/", "", "0:", "9:name=memory2:/x"] {
            assert_eq!(group(other), None, "{other}");
        }
    }

    #[test]
    fn this_machine_has_memory() {
        assert!(physical_bytes() > 1 << 20);
        assert!(free_bytes().is_some_and(|free| free > 0));
    }
}
