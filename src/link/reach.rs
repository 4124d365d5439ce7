//! Which memory of other machines this rank could use: looked for once, before the others are
//! known. Nothing that fails here is fatal; it becomes the reason for using TCP.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::card::REGIONS_MAX;
use crate::doorbell::xen::own_domain_by_trial;
use crate::region::device::{Device, DeviceError, Wanted};
use crate::region::discover::{Candidate, discover};
use crate::region::vfio::Registers;
use crate::region::xen;

/// Which memory of other machines is looked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum RegionChoice {
    /// What [`crate::region::discover`] finds.
    #[default]
    Auto,
    /// None.
    Off,
    /// This file or device, and no other.
    Named(PathBuf),
}

/// Domains that are tried where XenStore does not say which one we are.
const DOMAINS_MAX: u16 = 64;

/// A device within reach.
#[derive(Debug)]
pub struct Reached {
    /// The device.
    pub device: Device,
    /// Its registers, where it can interrupt.
    pub registers: Option<Arc<dyn Registers>>,
}

/// Memory within reach.
#[derive(Debug, Default)]
pub struct Reach {
    /// Devices that agree with us, best first.
    pub devices: Vec<Reached>,
    /// Our domain of Xen, where pages can be granted.
    pub domain: Option<u16>,
    /// What is there and cannot be used, and why.
    pub obstacles: Vec<String>,
    /// What was looked for.
    pub choice: RegionChoice,
}

impl Reach {
    /// Looks for what was chosen, and attaches to it without taking any room in it. Takes a moment,
    /// or a lease time when a device has foreign content.
    #[must_use]
    pub fn look(choice: &RegionChoice, wanted: &Wanted) -> Self {
        let named = match choice {
            RegionChoice::Off => return Self::default(),
            RegionChoice::Auto => None,
            RegionChoice::Named(path) => Some(path.as_os_str()),
        };
        Self { choice: choice.clone(), ..Self::below(Path::new("/"), named, wanted) }
    }

    fn below(root: &Path, named: Option<&OsStr>, wanted: &Wanted) -> Self {
        let mut reach = Self::default();
        for candidate in discover(root, named) {
            reach.try_one(&candidate, wanted);
        }
        reach
    }

    fn try_one(&mut self, candidate: &Candidate, wanted: &Wanted) {
        if candidate.obstacle.is_some() {
            self.obstacles.push(candidate.to_string());
        } else if candidate.is_device() {
            if self.devices.len() >= REGIONS_MAX {
                return;
            }
            match reached(candidate, wanted) {
                Ok(found) if self.ids().contains(&found.device.id()) => {
                    // The same memory by two ways, or copies of each other: one is enough.
                }
                Ok(found) => self.devices.push(found),
                Err(why) => self.obstacles.push(why.to_string()),
            }
        } else if candidate.kind == "xen" {
            let devices = Path::new(xen::DEVICES);
            let stored = xen::own_domain(devices);
            self.domain = stored.or_else(|| own_domain_by_trial(devices, DOMAINS_MAX));
            if self.domain.is_none() {
                self.obstacles.push("xen: nothing says which domain this is".to_owned());
            }
        }
    }

    /// The regions' ids, for the card.
    #[must_use]
    pub fn ids(&self) -> Vec<u64> {
        self.devices.iter().map(|found| found.device.id()).collect()
    }

    /// What there is, for people; empty when there is nothing.
    #[must_use]
    pub fn describe(&self) -> String {
        let devices = self.devices.iter().map(|found| &found.device);
        let devices = devices.map(|device| format!("{} at {}", device.kind(), device.place()));
        let domain = self.domain.map(|domain| format!("domain {domain} of Xen"));
        let obstacles = self.obstacles.iter().cloned();
        devices.chain(domain).chain(obstacles).collect::<Vec<_>>().join("; ")
    }
}

fn reached(candidate: &Candidate, wanted: &Wanted) -> Result<Reached, DeviceError> {
    let (memory, held) = candidate.open_with_interrupts()?;
    let device = Device::open(memory, wanted)?;
    Ok(Reached { device, registers: held.map(|held| held as Arc<dyn Registers>) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_used_is_a_reason_and_no_error() {
        let missing = RegionChoice::Named("/nonexistent/region".into());
        let reach = Reach::look(&missing, &Wanted::default());
        assert!(reach.devices.is_empty());
        assert!(reach.describe().contains("/nonexistent/region"), "{}", reach.describe());
        let off = Reach::look(&RegionChoice::Off, &Wanted::default());
        assert_eq!(off.describe(), "");
    }

    #[test]
    fn a_small_device_is_refused_with_the_bytes_that_are_enough() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(8192).unwrap();
        let choice = RegionChoice::Named(file.path().into());
        let said = Reach::look(&choice, &Wanted::default()).describe();
        assert!(said.contains("too small") && said.contains("8192 are there"), "{said}");
    }
}
