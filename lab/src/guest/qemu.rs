//! QEMU: with KVM where that works, else with software emulation. Guests of a host share memory
//! as ivshmem devices on one file.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::json;

use super::qmp::Monitor;
use super::{Guest, Machine, Nic, Place, Region, RegionKind, Spec};
use crate::agent::frame::Token;
use crate::network::Network;
use crate::run::{GuestProcess, Run, said, spawn, spawn_on};
use crate::setup::{Depot, Kernel};
use crate::{LabError, tools};

impl Nic {
    /// QEMU's name of the device.
    fn device(self) -> &'static str {
        match self {
            Nic::Virtio => "virtio-net-pci",
            Nic::E1000 => "e1000",
            Nic::E1000e => "e1000e",
            Nic::Vmxnet3 => "vmxnet3",
            Nic::Pcnet => "pcnet",
        }
    }

    /// Linux's modules for it.
    pub(crate) fn modules(self) -> &'static [&'static str] {
        match self {
            Nic::Virtio => &["virtio_pci", "virtio_net"],
            Nic::E1000 => &["e1000"],
            Nic::E1000e => &["e1000e"],
            Nic::Vmxnet3 => &["vmxnet3"],
            Nic::Pcnet => &["pcnet32"],
        }
    }
}

/// How QEMU runs guest code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Accelerator {
    Kvm,
    Tcg,
}

impl Accelerator {
    pub(crate) fn args(self) -> &'static [&'static str] {
        match self {
            Accelerator::Kvm => &["-accel", "kvm", "-cpu", "host"],
            Accelerator::Tcg => &["-accel", "tcg,thread=multi,tb-size=64", "-cpu", "max"],
        }
    }
}

/// The program of QEMU.
pub(crate) fn program() -> Result<PathBuf, LabError> {
    tools::need("qemu-system-x86_64")
}

/// Options that every guest has. Paths are relative to the run's folder, in which QEMU is
/// started: commas in a path would be options, and sockets have short paths.
pub(crate) fn common(accelerator: Accelerator, machine: &str, memory_mib: u32) -> Vec<String> {
    let mut args: Vec<String> = accelerator.args().iter().map(|&arg| arg.into()).collect();
    // The guest's memory is an object with a name, and the first: removing the region's object
    // later must not take it along.
    let ram = format!("memory-backend-ram,id=ram0,size={memory_mib}M");
    let memory = memory_mib.to_string();
    let machine = format!("{machine},memory-backend=ram0");
    let fixed = [
        "-object",
        &ram,
        "-machine",
        &machine,
        "-m",
        &memory,
        // With room for one more processor only QEMU keeps atomic instructions atomic between
        // guests that share memory.
        "-smp",
        "1,maxcpus=2",
        "-nodefaults",
        "-no-user-config",
        "-display",
        "none",
        "-no-reboot",
        "-chardev",
        "stdio,id=console,signal=off",
        "-serial",
        "chardev:console",
    ];
    args.extend(fixed.map(str::to_owned));
    args
}

/// The kernel command line that every guest has.
pub(crate) const KERNEL_LINE: &str = "console=ttyS0 panic=-1 quiet mitigations=off no_timer_check";

/// A guest's QEMU; `generation` counts its migrations, each to a new process.
fn arguments(
    kernel: &Kernel,
    accelerator: Accelerator,
    spec: &Spec,
    token: &Token,
    generation: u32,
) -> Vec<String> {
    let mut args = common(accelerator, machine(spec), spec.memory_mib);
    if let (Some(cpu), Accelerator::Tcg) = (&spec.cpu, accelerator) {
        // Of two options, QEMU takes the later.
        args.extend(["-cpu".to_owned(), cpu.clone()]);
    }
    let name = &spec.name;
    let mut line = [KERNEL_LINE.to_owned(), spec.identity(token).join(" ")].join(" ");
    if machine(spec) == WITH_IOMMU {
        line += " intel_iommu=on";
        args.extend(["-device".to_owned(), "intel-iommu,intremap=off".into()]);
    }
    let more = [
        "-kernel".to_owned(),
        kernel.elf.display().to_string(),
        "-initrd".into(),
        spec.initramfs.clone(),
        "-append".into(),
        line,
        "-qmp".into(),
        format!("unix:{},server=on,wait=off", socket(name, generation)),
        "-netdev".into(),
        format!("tap,id=net0,ifname={},script=no,downscript=no", tap(spec, generation)),
        "-device".into(),
        format!("{},netdev=net0,mac={},romfile=", spec.nic.device(), spec.mac),
    ];
    args.extend(more);
    for smbios in &spec.smbios {
        args.extend(["-smbios".to_owned(), smbios.clone()]);
    }
    args
}

fn socket(name: &str, generation: u32) -> String {
    format!("qmp-{name}-{generation}")
}

fn tap(spec: &Spec, generation: u32) -> String {
    format!("tap{}g{generation}", spec.vm)
}

/// The machine for interrupts that reach user space, which need an IOMMU.
const WITH_IOMMU: &str = "q35";

/// The machine a guest needs.
fn machine(spec: &Spec) -> &'static str {
    match spec.region.as_ref().map(|region| region.kind) {
        Some(RegionKind::Doorbell(_)) => WITH_IOMMU,
        _ => "pc",
    }
}

/// Modules for a kind of region, with their parameters.
pub(crate) fn region_modules(kind: RegionKind) -> &'static [&'static str] {
    match kind {
        RegionKind::Plain => &[],
        // Without remapping of interrupts, which QEMU does not offer under emulation, VFIO asks
        // for this permission; a guest of the lab has nobody to be protected from.
        RegionKind::Doorbell(_) => {
            &["vfio_iommu_type1 allow_unsafe_interrupts=1", "vfio-pci ids=1af4:1110"]
        }
    }
}

/// The options that plug the region from the start.
fn region_args(region: &Region, host: u32) -> [String; 4] {
    match region.kind {
        RegionKind::Plain => {
            let file = region.file.display().to_string().replace(',', ",,");
            let bytes = region.bytes;
            [
                "-object".into(),
                format!("memory-backend-file,id=hostmem,size={bytes},share=on,mem-path={file}"),
                "-device".into(),
                "ivshmem-plain,id=ivshmem0,memdev=hostmem".into(),
            ]
        }
        RegionKind::Doorbell(vectors) => [
            "-chardev".into(),
            format!("socket,id=ivshmem,path={}", Region::socket(host)),
            "-device".into(),
            format!("ivshmem-doorbell,id=ivshmem0,chardev=ivshmem,vectors={vectors}"),
        ],
    }
}

/// Starts a guest.
pub(crate) fn start(
    run: &Run,
    network: &Network,
    kernel: &Kernel,
    accelerator: Accelerator,
    spec: &Spec,
    token: &Token,
) -> Result<Machine, LabError> {
    network.make_tap(spec.host, &tap(spec, 0))?;
    let mut args = arguments(kernel, accelerator, spec, token, 0);
    if let Some(region) = &spec.region {
        args.extend(region_args(region, spec.host));
    }
    let log = run.path(&format!("qemu-{}.log", spec.name));
    let namespace = Some(network.namespace(spec.host));
    let process = spawn_on(run, spec.core, namespace, &program()?, &args, &log)?;
    let mut machine = Machine::new(process, log, spec.host);
    machine.qemu = Some(Qemu { kernel: kernel.clone(), accelerator });
    Ok(machine)
}

/// What a migration needs to start another QEMU like the first.
#[derive(Debug)]
pub(crate) struct Qemu {
    kernel: Kernel,
    accelerator: Accelerator,
}

/// What a live migration took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Migration {
    /// From start to completion, as QEMU measured it.
    pub total: Duration,
    /// While the guest stood still, as QEMU measured it.
    pub downtime: Duration,
}

/// How long the guest's kernel may take to let a device go, and a migration to complete.
const PATIENCE: Duration = Duration::from_secs(60);

impl Guest {
    fn qemu(&self) -> Result<&Qemu, LabError> {
        let refuse = |what| Err(LabError::Options(format!("{} {what}", self.label())));
        if machine(&self.spec) == WITH_IOMMU {
            return refuse("has doorbells, with which QEMU can neither unplug nor migrate");
        }
        match self.machine.qemu.as_ref() {
            Some(qemu) => Ok(qemu),
            None => refuse("is no guest of QEMU"),
        }
    }

    fn monitor(&self, place: &Place) -> Result<Monitor, LabError> {
        self.qemu()?;
        Monitor::connect(&self.run.path(""), &socket(&self.spec.name, place.generation))
    }

    /// Takes the region away from a running guest of QEMU: unplugs the device, waits until the
    /// guest's kernel has let go of it, and frees the memory. A guest without one is left as is.
    pub fn unplug_region(&self) -> Result<(), LabError> {
        self.unplug(&mut self.machine.place())
    }

    fn unplug(&self, place: &mut Place) -> Result<(), LabError> {
        let mut monitor = self.monitor(place)?;
        if self.spec.region.is_none() || !place.plugged {
            return Ok(());
        }
        monitor.command("device_del", json!({ "id": "ivshmem0" }))?;
        monitor.wait_event("DEVICE_DELETED", "device", "ivshmem0", PATIENCE)?;
        monitor.command("object-del", json!({ "id": "hostmem" }))?;
        place.plugged = false;
        Ok(())
    }

    /// Gives a running guest of QEMU the region of the host it is on (again).
    pub fn plug_region(&self) -> Result<(), LabError> {
        let mut place = self.machine.place();
        let mut monitor = self.monitor(&place)?;
        let refuse = |what| Err(LabError::Options(format!("{} {what}", self.label())));
        let Some(region) = &self.spec.region else {
            return refuse("was booted without a region");
        };
        if place.plugged {
            return refuse("has its region already");
        }
        let memory = json!({
            "qom-type": "memory-backend-file", "id": "hostmem", "size": region.bytes,
            "share": true, "mem-path": self.run.region_file(place.host, region.vm),
        });
        monitor.command("object-add", memory)?;
        let device = json!({ "driver": "ivshmem-plain", "id": "ivshmem0", "memdev": "hostmem" });
        monitor.command("device_add", device)?;
        place.plugged = true;
        Ok(())
    }

    /// Moves a running guest of QEMU to another QEMU process on this host or another, its
    /// connections intact. The region is unplugged before, since QEMU refuses to migrate with
    /// it, and is not plugged again: call [`Guest::plug_region`] after, which plugs the region of
    /// the new host. When it fails, the guest runs where it was, without its region.
    pub fn migrate(&self, host: u32) -> Result<Migration, LabError> {
        if host >= self.network.hosts() {
            let hosts = self.network.hosts();
            return Err(LabError::Options(format!("no host {host}, the lab has {hosts}")));
        }
        let mut place = self.machine.place();
        self.unplug(&mut place)?;
        let new = place.generation + 1;
        self.network.make_tap(host, &tap(&self.spec, new))?;
        let moved = self.start_target(host, new).and_then(|(process, mut target)| {
            let took = self.move_over(&place, new, &mut target)?;
            Ok((process, took))
        });
        let (from, old) = match &moved {
            Ok(_) => (place.host, place.generation),
            Err(_) => (host, new),
        };
        let took = moved.map(|(process, took)| {
            // The target's process is the guest from now on; the source's ends here.
            drop(self.machine.process().replace(process));
            (place.host, place.generation) = (host, new);
            took
        });
        // No process holds it any more, whichever way it went.
        self.network.remove_tap(from, &tap(&self.spec, old))?;
        took
    }

    /// Starts a QEMU that waits for the guest to arrive.
    fn start_target(&self, host: u32, new: u32) -> Result<(GuestProcess, Monitor), LabError> {
        let qemu = self.qemu()?;
        let mut args = arguments(&qemu.kernel, qemu.accelerator, &self.spec, &self.token, new);
        args.extend(["-incoming".to_owned(), way(&self.spec, new)]);
        let log = self.run.path(&format!("qemu-{}-{new}.log", self.spec.name));
        let namespace = Some(self.network.namespace(host));
        let core = self.spec.core;
        let process = spawn_on(&self.run, core, namespace, &program()?, &args, &log)?;
        // Its monitor answers when its socket for the migration exists as well.
        let target = Monitor::connect(&self.run.path(""), &socket(&self.spec.name, new))?;
        Ok((process, target))
    }

    /// Sends the state and waits until the target runs.
    fn move_over(
        &self,
        place: &Place,
        new: u32,
        target: &mut Monitor,
    ) -> Result<Migration, LabError> {
        let mut source = self.monitor(place)?;
        source.command("migrate", json!({ "uri": way(&self.spec, new) }))?;
        let begun = Instant::now();
        let took = loop {
            let state = source.command("query-migrate", json!({}))?;
            let ms = |key: &str| {
                Duration::from_millis(state.get(key).and_then(|v| v.as_u64()).unwrap_or(0))
            };
            let failed = |reason: String| LabError::Monitor { command: "migrate".into(), reason };
            match state.get("status").and_then(|status| status.as_str()) {
                Some("completed") => {
                    break Migration { total: ms("total-time"), downtime: ms("downtime") };
                }
                Some("failed" | "cancelled") => return Err(failed(state.to_string())),
                _ if begun.elapsed() > PATIENCE => {
                    // The guest then goes on where it is.
                    source.command("migrate_cancel", json!({}))?;
                    return Err(failed(format!("not done in time: {state}")));
                }
                _ => std::thread::sleep(Duration::from_millis(10)),
            }
        };
        while begun.elapsed() < PATIENCE {
            let state = target.command("query-status", json!({}))?;
            if state.get("running").and_then(|running| running.as_bool()) == Some(true) {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(took)
    }
}

/// The socket of a migration, in the run's folder.
fn way(spec: &Spec, generation: u32) -> String {
    format!("unix:migration-{}-{generation}", spec.name)
}

/// Whether KVM works here: a guest boots with it within a few seconds. The answer is kept until
/// the machine is booted again. Some machines have a `/dev/kvm` under which no stock kernel lives.
pub(crate) fn accelerator(
    depot: &Depot,
    run: &Run,
    kernel: &Kernel,
    image: &str,
) -> (Accelerator, String) {
    let kvm = Path::new("/dev/kvm");
    if let Err(error) = std::fs::File::options().read(true).write(true).open(kvm) {
        return (Accelerator::Tcg, format!("/dev/kvm: {error}"));
    }
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let memory = depot.dir().join("kvm");
    let known = std::fs::read_to_string(&memory).unwrap_or_default();
    let works = match known.split_once('\n') {
        Some((of, answer)) if of == boot.trim() => answer.trim() == "works",
        _ => {
            let works = boots(run, kernel, image);
            let answer = if works { "works" } else { "fails" };
            // Not kept, it is tried again the next time.
            let _ = std::fs::write(&memory, format!("{}\n{answer}\n", boot.trim()));
            works
        }
    };
    if works {
        (Accelerator::Kvm, "a trial boot succeeded".into())
    } else {
        (Accelerator::Tcg, "a trial boot with KVM failed".into())
    }
}

fn boots(run: &Run, kernel: &Kernel, image: &str) -> bool {
    let mut args = common(Accelerator::Kvm, "pc", 256);
    let more = [
        "-kernel".to_owned(),
        kernel.elf.display().to_string(),
        "-initrd".into(),
        image.into(),
        "-append".into(),
        format!("{KERNEL_LINE} cohost.probe"),
    ];
    args.extend(more);
    let log = run.path("kvm.log");
    let started = program().and_then(|qemu| spawn(run, None, &qemu, &args, &log));
    let Ok(mut process) = started else {
        return false;
    };
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(10) {
        if said(&log).contains("COHOST-BOOTED") {
            return true;
        }
        if process.ended().is_some() {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    false
}
