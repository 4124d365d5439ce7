//! Layouts `HxV`: how many hosts, how many virtual machines on each.

use std::fmt;
use std::str::FromStr;

use super::LaunchError;

/// `hosts` physical hosts with `vms` virtual machines on each; written `HxV`, such as `2x4`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Layout {
    /// Number of hosts, at least 1.
    pub hosts: u32,
    /// Number of virtual machines on each host, at least 1.
    pub vms: u32,
}

impl Layout {
    /// Ranks of this layout with `ranks_per_vm` ranks in each machine. `u64`: no product of three
    /// parsed numbers below 2^21 overflows it, and others saturate.
    pub fn ranks(&self, ranks_per_vm: u32) -> u64 {
        (u64::from(self.hosts) * u64::from(self.vms)).saturating_mul(u64::from(ranks_per_vm))
    }

    /// Host and virtual machine (both counted from 0, the machine within its host) of `rank`:
    /// consecutive ranks fill a machine, consecutive machines fill a host.
    pub fn place(&self, rank: u32, ranks_per_vm: u32) -> Place {
        let (vms, per_vm) = (u64::from(self.vms.max(1)), u64::from(ranks_per_vm.max(1)));
        let machine = u64::from(rank) / per_vm;
        // Both quotients are at most `rank`, so they fit.
        Place { host: (machine / vms) as u32, vm: (machine % vms) as u32 }
    }
}

/// Where a rank lives in a layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Host, from 0.
    pub host: u32,
    /// Virtual machine in that host, from 0.
    pub vm: u32,
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.hosts, self.vms)
    }
}

impl FromStr for Layout {
    type Err = LaunchError;

    fn from_str(text: &str) -> Result<Self, LaunchError> {
        let bad = || LaunchError::BadLayout { text: text.chars().take(40).collect() };
        let (hosts, vms) = text.split_once(['x', 'X']).ok_or_else(bad)?;
        let number = |text: &str| match text.bytes().all(|b| b.is_ascii_digit()) {
            true => text.parse::<u32>().ok().filter(|&n| n > 0),
            false => None,
        };
        match (number(hosts), number(vms)) {
            (Some(hosts), Some(vms)) => Ok(Self { hosts, vms }),
            _ => Err(bad()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ranks_fill_a_machine_then_a_host() {
        let layout: Layout = "2x4".parse().unwrap();
        assert_eq!(layout.ranks(2), 16);
        assert_eq!(layout.place(0, 2), Place { host: 0, vm: 0 });
        assert_eq!(layout.place(3, 2), Place { host: 0, vm: 1 });
        assert_eq!(layout.place(8, 2), Place { host: 1, vm: 0 });
        assert_eq!(layout.place(15, 2), Place { host: 1, vm: 3 });
    }

    #[test]
    fn what_is_no_layout_is_refused_with_its_text() {
        for text in ["", "2", "x", "2x", "x4", "0x4", "2x0", "+2x4", "2x4x1", "2 x 4", "-1x1"] {
            let error = text.parse::<Layout>().unwrap_err();
            assert!(error.to_string().contains(text), "{error}");
        }
        assert!("9999999999x1".parse::<Layout>().is_err());
    }

    proptest! {
        #[test]
        fn a_layout_reads_back_what_it_writes(hosts in 1u32.., vms in 1u32..) {
            let layout = Layout { hosts, vms };
            prop_assert_eq!(layout.to_string().parse::<Layout>().unwrap(), layout);
        }

        #[test]
        fn every_rank_of_a_layout_has_a_place_in_it(h in 1u32..40, v in 1u32..40, r in 1u32..5, rank in any::<u32>()) {
            let layout = Layout { hosts: h, vms: v };
            let rank = rank % (h * v * r);
            let place = layout.place(rank, r);
            prop_assert!(place.host < h && place.vm < v);
            prop_assert_eq!((place.host * v + place.vm) * r + rank % r, rank);
        }

        #[test]
        fn parsing_never_panics(text in ".*") {
            let _ = text.parse::<Layout>();
        }
    }
}
