//! `cohost lab bench`: the benchmarks of `cohost bench`, with ranks in real guests. Guests are booted
//! once for each layout; every launch is a fresh job in them.

use std::cell::RefCell;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use cohost_lab::program::Profile;
use cohost_lab::{Hypervisor, Lab, LabError, LabOptions, Nic};

use super::bench::{self, BenchArgs, Venue};
use super::lab_ranks;
use crate::bench::campaign::Campaign;
use crate::launch::{LaunchError, Layout};
use crate::report::schema::{Document, Limits, Provenance};

/// The program in every guest.
const PROGRAM: &str = "cohost";

/// How long a guest may take to tell what it is and allows.
const PLACE_LIMIT: Duration = Duration::from_secs(300);

/// Options of `cohost lab bench`: where, and all that `cohost bench` takes.
#[derive(Debug, Args)]
pub struct LabBenchArgs {
    /// qemu, uml or xen
    #[arg(long)]
    hypervisor: Hypervisor,
    /// QEMU's network device: virtio, e1000, e1000e, vmxnet3 or pcnet
    #[arg(long, default_value = "virtio")]
    nic: Nic,
    /// Memory of each guest, in MiB; without it, what the benchmarks need
    #[arg(long)]
    memory: Option<u32>,
    /// Memory that the guests of one host share, in MiB; 0 for none
    #[arg(long, default_value_t = 64)]
    region: u32,
    /// Let the system move guests between cores. Without this, each guest of User-Mode Linux, which is
    /// several processes, stays on a core of its own, if there are enough
    #[arg(long)]
    no_pin: bool,
    #[command(flatten)]
    bench: BenchArgs,
}

/// Runs `cohost lab bench`; the exit code is that of `cohost bench`.
pub fn run(args: &LabBenchArgs) -> ExitCode {
    let mut campaign = match args.bench.campaign() {
        Ok(campaign) => campaign,
        Err(error) => return bench::fail(&error.to_string(), 1),
    };
    if campaign.netns {
        let why = "--netns is for processes of this machine; a lab's hosts are apart anyway";
        return bench::fail(why, 2);
    }
    campaign.program = PROGRAM.into();
    let all: Result<Vec<_>, _> =
        campaign.layouts.iter().map(|l| args.options(&campaign, *l)).collect();
    let checked = all.and_then(|all| all.iter().try_for_each(LabOptions::check));
    if let Err(error) = checked {
        return bench::fail(&error.to_string(), 2);
    }
    let venue = RefCell::new(Guests { lab: None, limits: Limits::default() });
    let code = bench::carry_out(
        &campaign,
        Venue {
            open: &mut |layout| venue.borrow_mut().open(args, &campaign, layout),
            launch: &mut |options| match &venue.borrow().lab {
                Some(lab) => lab_ranks::run(lab, options),
                None => Err(LaunchError::NotStarted { rank: 0, reason: "no lab is up".into() }),
            },
            limits: &mut || Ok(venue.borrow().limits.clone()),
        },
    );
    drop(venue);
    code
}

impl LabBenchArgs {
    fn options(&self, campaign: &Campaign, layout: Layout) -> Result<LabOptions, LabError> {
        let mut options = LabOptions::new(self.hypervisor, layout.hosts, layout.vms);
        options.nic = self.nic;
        options.region_mib = self.region;
        options.pin = !self.no_pin && pins(self.hypervisor);
        Ok(with_memory(options, self.memory, campaign, layout))
    }
}

/// Whether guests of this kind are measured each on a core of its own. One of User-Mode Linux is several
/// processes that take turns; moved apart, or onto the other guest's core, they wait for the scheduler at
/// each system call.
pub(super) fn pins(hypervisor: Hypervisor) -> bool {
    hypervisor == Hypervisor::Uml
}

/// Memory as asked for, or what the benchmarks need; the guests' program as this one was built.
pub(super) fn with_memory(
    mut options: LabOptions,
    asked_mib: Option<u32>,
    campaign: &Campaign,
    layout: Layout,
) -> LabOptions {
    options.profile = if cfg!(debug_assertions) { Profile::Dev } else { Profile::Release };
    let needed = options.memory_mib.saturating_add(needed_mib(campaign, layout));
    options.memory_mib = asked_mib.unwrap_or(needed);
    options
}

/// The network device of guests and who provides it.
fn network(options: &LabOptions) -> String {
    match options.hypervisor {
        Hypervisor::Qemu => format!("{}, emulated by QEMU", options.nic),
        Hypervisor::Uml => "tap of User-Mode Linux".to_owned(),
        Hypervisor::Xen => "netfront of Xen, over a bridge in its control domain".to_owned(),
    }
}

/// The memory that guests of one host share.
fn mapping(options: &LabOptions) -> &'static str {
    match options.hypervisor {
        Hypervisor::Xen => "granted pages",
        _ if options.region_mib == 0 => "none",
        Hypervisor::Qemu => "ivshmem",
        Hypervisor::Uml => "/dev/mmapper",
    }
}

/// Boots guests and asks them what they are and allow.
pub(super) fn boot(options: &LabOptions) -> Result<(Lab, Provenance, Limits), String> {
    let lab = Lab::up(options).map_err(|e| e.to_string())?;
    let found = ask(&lab)?;
    let cores = std::thread::available_parallelism().ok();
    let place = Provenance {
        guests: Some(lab.how().to_owned()),
        nic: network(options),
        target: "guests".to_owned(),
        mapping: mapping(options).to_owned(),
        host_cores: cores.and_then(|n| u32::try_from(n.get()).ok()),
        ..found.provenance
    };
    Ok((lab, place, found.limits))
}

/// Memory that the benchmarks' buffers take in each guest, in MiB, and as much again for messages
/// on their way.
fn needed_mib(campaign: &Campaign, layout: Layout) -> u32 {
    let machines = layout.ranks(1).max(1);
    let bytes = campaign.buffer_bytes(layout) / machines * 2;
    u32::try_from(bytes.div_ceil(1 << 20)).unwrap_or(u32::MAX / 2)
}

/// The guests of the layout being measured.
struct Guests {
    lab: Option<Lab>,
    limits: Limits,
}

impl Guests {
    /// Boots the guests of a layout, after taking down those of the last.
    fn open(
        &mut self,
        args: &LabBenchArgs,
        campaign: &Campaign,
        layout: Layout,
    ) -> Result<Option<Provenance>, String> {
        self.lab = None;
        let options = args.options(campaign, layout).map_err(|e| e.to_string())?;
        let (lab, place, limits) = boot(&options)?;
        self.limits = limits;
        self.lab = Some(lab);
        Ok(Some(place))
    }
}

/// What the guest of rank 0 is and allows, by its own word.
fn ask(lab: &Lab) -> Result<Document, String> {
    let guest = lab.guests().first().ok_or("the lab has no guests")?;
    let said = guest
        .output(PROGRAM, &["bench", "--worker", "limits"], PLACE_LIMIT)
        .map_err(|error| error.to_string())?;
    if !said.exit.success() {
        let why = String::from_utf8_lossy(&said.stderr).trim().to_owned();
        return Err(format!("{}: cohost bench limits: {}: {why}", guest.label(), said.exit));
    }
    let text = String::from_utf8_lossy(&said.stdout);
    Document::from_text(&text, Path::new(&guest.label())).map_err(|error| error.to_string())
}
