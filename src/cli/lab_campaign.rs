//! Guests of a campaign file: those of the lab, booted once for each place and layout.

use std::time::{Duration, Instant};

use cohost_lab::{Guest, Hypervisor, Lab, LabError, LabOptions, Nic};

use super::{lab_bench, lab_ranks};
use crate::bench::campaign_file::{CampaignFile, Place, Target};
use crate::bench::campaign_guests::{Guests, PROGRAM};
use crate::launch::{LaunchError, Layout, Outcome, PathPolicy, RunOptions};
use crate::report::schema::{ClockCheck, Limits, Provenance};

/// How often a guest is asked for its time; the quickest answer counts.
const QUESTIONS: u32 = 5;
/// How long it may take to tell it.
const CLOCK_LIMIT: Duration = Duration::from_secs(20);
/// What /proc/uptime resolves, seconds.
const TICK: f64 = 0.01;

/// The lab as a campaign needs it.
pub struct LabGuests<'a> {
    file: &'a CampaignFile,
    up: Option<Up>,
}

struct Up {
    lab: Lab,
    /// The first guest's clock when it had booted.
    began: Option<Reading>,
}

/// A guest's time beside this machine's.
#[derive(Debug, Clone, Copy)]
struct Reading {
    at: Instant,
    uptime_s: f64,
    error_s: f64,
}

impl<'a> LabGuests<'a> {
    /// For the guests of this campaign; none is booted yet.
    #[must_use]
    pub fn new(file: &'a CampaignFile) -> LabGuests<'a> {
        LabGuests { file, up: None }
    }

    fn options(&self, place: &Place, layout: Layout) -> Result<LabOptions, String> {
        let hypervisor = match place.kind {
            Target::Qemu => Hypervisor::Qemu,
            Target::Uml => Hypervisor::Uml,
            Target::Xen => Hypervisor::Xen,
            Target::Processes => return Err("processes are not booted".to_owned()),
        };
        let mut options = LabOptions::new(hypervisor, layout.hosts, layout.vms);
        if let Some(nic) = &place.nic {
            options.nic = nic.parse::<Nic>().map_err(|e| e.to_string())?;
        }
        let target = &self.file.spec.target;
        options.region_mib = target.region.unwrap_or(options.region_mib);
        options.pin = target.pin.unwrap_or_else(|| lab_bench::pins(hypervisor));
        let campaign = self.file.campaign(layout, PathPolicy::Auto, PROGRAM.into());
        let options = lab_bench::with_memory(options, target.memory, &campaign, layout);
        options.check().map_err(|e: LabError| e.to_string())?;
        Ok(options)
    }
}

impl Guests for LabGuests<'_> {
    fn check(&self, place: &Place, layout: Layout) -> Result<(), String> {
        self.options(place, layout).map(|_| ())
    }

    fn open(&mut self, place: &Place, layout: Layout) -> Result<(Provenance, Limits), String> {
        self.close();
        let (lab, provenance, limits) = lab_bench::boot(&self.options(place, layout)?)?;
        let began = lab.guests().first().and_then(read_clock);
        self.up = Some(Up { lab, began });
        Ok((provenance, limits))
    }

    fn launch(&mut self, options: &RunOptions) -> Result<Outcome, LaunchError> {
        match &self.up {
            Some(up) => lab_ranks::run(&up.lab, options),
            None => Err(LaunchError::NotStarted { rank: 0, reason: "no lab is up".into() }),
        }
    }

    fn clock(&mut self) -> Option<ClockCheck> {
        let up = self.up.as_ref()?;
        Some(compare(up.began?, up.lab.guests().first().and_then(read_clock)?))
    }

    fn close(&mut self) {
        self.up = None;
    }
}

/// The quickest of several answers: half of what it took bounds the error.
fn read_clock(guest: &Guest) -> Option<Reading> {
    let one = || {
        let before = Instant::now();
        let said = guest.output("cat", &["/proc/uptime"], CLOCK_LIMIT).ok()?;
        let took = before.elapsed();
        let text = String::from_utf8_lossy(&said.stdout);
        let uptime_s = text.split_whitespace().next()?.parse().ok()?;
        Some(Reading { at: before + took / 2, uptime_s, error_s: took.as_secs_f64() / 2.0 + TICK })
    };
    let all = (0..QUESTIONS).filter_map(|_| one());
    all.min_by(|a, b| a.error_s.total_cmp(&b.error_s))
}

fn compare(began: Reading, ended: Reading) -> ClockCheck {
    let elapsed_s = ended.at.duration_since(began.at).as_secs_f64();
    ClockCheck {
        against: "the host's".to_owned(),
        elapsed_s,
        difference_s: ended.uptime_s - began.uptime_s - elapsed_s,
        resolution_s: began.error_s + ended.error_s,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_that_counts_four_seconds_in_a_thousand_too_many_is_found() {
        let at = Instant::now();
        let began = Reading { at, uptime_s: 7.0, error_s: 0.01 };
        let later = at + Duration::from_secs(1000);
        let ended = Reading { at: later, uptime_s: 1011.0, error_s: 0.02 };
        let found = compare(began, ended);
        assert!((found.difference_s - 4.0).abs() < 1e-6, "{found:?}");
        assert!((found.resolution_s - 0.03).abs() < 1e-9, "{found:?}");
    }
}
