//! A lab: guests in a layout of hosts and virtual machines, up as long as the value lives.

use std::fs::File;
use std::io::PipeWriter;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::agent::frame::Token;
use crate::guest::{Guest, Hypervisor, Machine, Nic, Region, RegionKind, Spec, qemu, uml, xen};
use crate::image::dom0;
use crate::image::initramfs::Initramfs;
use crate::image::modules::Modules;
use crate::ivshmem;
use crate::network::Network;
use crate::program::{Profile, static_program};
use crate::run::{Run, cores};
use crate::setup::{Depot, Kernel, XenFiles};
use crate::{LabError, tools};

/// What to boot.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct LabOptions {
    /// The kind of guests.
    pub hypervisor: Hypervisor,
    /// Hosts, 1 to 200.
    pub hosts: u32,
    /// Guests on each host, 1 to 200.
    pub vms: u32,
    /// The network device of QEMU's guests.
    pub nic: Nic,
    /// Memory of each guest, in MiB.
    pub memory_mib: u32,
    /// Size of the region that the guests of a host share, in MiB; 0 for none. A power of two,
    /// which PCI asks for. Xen's guests grant each other pages instead and have none.
    pub region_mib: u32,
    /// The same in KiB, for a region too small to be of use; without it `region_mib` counts.
    pub region_kib: Option<u32>,
    /// Whether each guest has a region of its own instead of one with the others of its host: for
    /// tests with memory that only seems to be shared.
    pub own_regions: bool,
    /// For QEMU: as which device the region appears.
    pub region_kind: RegionKind,
    /// For QEMU: what the firmware says of the machine, as `-smbios` options, such as
    /// `type=1,manufacturer=VMware\, Inc.`.
    pub smbios: Vec<String>,
    /// For QEMU under software emulation: the processor, as its option `-cpu` has it.
    pub cpu: Option<String>,
    /// Whether each guest stays on a core of its own, where this process may use as many cores as
    /// there are guests. With fewer cores guests go where the system puts them, and so do Xen's,
    /// which are one process for each host.
    pub pin: bool,
    /// More words on the guests' kernel command line.
    pub kernel_args: Vec<String>,
    /// More kernel modules, by name; loaded after those for the network device.
    pub modules: Vec<String>,
    /// More files in every guest: path without leading slash, mode, contents.
    pub files: Vec<(String, u32, Vec<u8>)>,
    /// The static program that holds the agent; without one it is found or built.
    pub program: Option<PathBuf>,
    /// How the program is built when it is.
    pub profile: Profile,
    /// How long guests may take to boot.
    pub boot_limit: Duration,
    /// Where fetched things are; without one as [`Depot::open`] says.
    pub depot: Option<Depot>,
}

impl LabOptions {
    /// These many hosts and guests, all else by default.
    pub fn new(hypervisor: Hypervisor, hosts: u32, vms: u32) -> LabOptions {
        LabOptions {
            hypervisor,
            hosts,
            vms,
            nic: Nic::default(),
            memory_mib: 192,
            region_mib: 64,
            region_kib: None,
            own_regions: false,
            region_kind: RegionKind::default(),
            smbios: Vec::new(),
            cpu: None,
            pin: false,
            kernel_args: Vec::new(),
            modules: Vec::new(),
            files: Vec::new(),
            program: None,
            profile: Profile::default(),
            boot_limit: Duration::from_secs(match hypervisor {
                Hypervisor::Uml => 60,
                Hypervisor::Qemu => 180,
                Hypervisor::Xen => 420,
            }),
            depot: None,
        }
    }

    /// The core for each guest, in their order; none where they are not pinned.
    fn cores(&self) -> Vec<usize> {
        let cores = cores();
        let guests = (self.hosts * self.vms) as usize;
        let fit = self.pin && self.hypervisor != Hypervisor::Xen && guests <= cores.len();
        if fit { cores } else { Vec::new() }
    }

    /// Refuses what cannot be met, before anything is made; [`Lab::up`] does so too.
    pub fn check(&self) -> Result<(), LabError> {
        let wrong = |text: String| Err(LabError::Options(text));
        if !(1..=200).contains(&self.hosts) || !(1..=200).contains(&self.vms) {
            return wrong(format!("layout {}x{}: each must be 1 to 200", self.hosts, self.vms));
        }
        if self.region_mib != 0 && !self.region_mib.is_power_of_two() {
            return wrong(format!("a region of {} MiB: PCI needs a power of two", self.region_mib));
        }
        if let Some(kib) = self.region_kib.filter(|kib| *kib < 4 || !kib.is_power_of_two()) {
            return wrong(format!("a region of {kib} KiB: PCI needs a power of two from 4 on"));
        }
        if self.own_regions && self.region_kind != RegionKind::Plain {
            return wrong("doorbells between guests that share no region".into());
        }
        if self.hypervisor != Hypervisor::Qemu && self.nic != Nic::Virtio {
            return wrong(format!(
                "--nic {} is a device of QEMU; {} has its own only",
                self.nic, self.hypervisor
            ));
        }
        if self.memory_mib < 64 {
            return wrong(format!(
                "{} MiB of memory: no guest boots in less than 64",
                self.memory_mib
            ));
        }
        Ok(())
    }
}

/// Running guests. Dropping it takes everything down.
#[derive(Debug)]
pub struct Lab {
    // Dropped in this order: processes first, then what they use.
    guests: Vec<Guest>,
    how: String,
    /// Servers of doorbells end when these are closed.
    _servers: Vec<PipeWriter>,
    _run: Arc<Run>,
}

impl Lab {
    /// Boots guests and waits until their agents answer. Whatever fails, nothing stays.
    pub fn up(options: &LabOptions) -> Result<Lab, LabError> {
        options.check()?;
        let depot = options.depot.clone().map_or_else(Depot::open, Ok)?;
        let mut builder = Builder::new(options, &depot)?;
        let (guests, mut how) = builder.boot(&depot)?;
        if !builder.cores.is_empty() {
            how.push_str(", each guest on a core of its own");
        }
        let lab = Lab { guests, how, _servers: builder.servers, _run: builder.run };
        let deadline = Instant::now() + options.boot_limit;
        for guest in &lab.guests {
            guest.wait_for_agent(deadline)?;
        }
        Ok(lab)
    }

    /// The guests, those of the first host first.
    pub fn guests(&self) -> &[Guest] {
        &self.guests
    }

    /// How the guests run, such as `User-Mode Linux` or `QEMU with software emulation (TCG)`.
    pub fn how(&self) -> &str {
        &self.how
    }

    /// Takes everything down; the same as dropping it.
    pub fn down(self) {}
}

struct Builder<'a> {
    options: &'a LabOptions,
    program: PathBuf,
    run: Arc<Run>,
    network: Network,
    token: Token,
    cores: Vec<usize>,
    servers: Vec<PipeWriter>,
}

/// The place of the control domain among a host's addresses, beyond those of guests.
const DOM0: u32 = 249;

type Booting = (Vec<Guest>, String);

impl<'a> Builder<'a> {
    fn new(options: &'a LabOptions, depot: &Depot) -> Result<Builder<'a>, LabError> {
        // What may be missing is looked at before anything is made.
        depot.busybox()?;
        let program = match &options.program {
            Some(program) => program.clone(),
            None => static_program(options.profile)?,
        };
        let run = Arc::new(Run::begin(depot)?);
        let network = Network::build(&run, options.hosts)?;
        let (token, cores) = (Token::random()?, options.cores());
        Ok(Builder { options, program, run, network, token, cores, servers: Vec::new() })
    }

    fn boot(&mut self, depot: &Depot) -> Result<Booting, LabError> {
        match self.options.hypervisor {
            Hypervisor::Uml => self.boot_uml(depot),
            Hypervisor::Qemu => self.boot_qemu(depot),
            Hypervisor::Xen => self.boot_xen(depot),
        }
    }

    fn boot_uml(&mut self, depot: &Depot) -> Result<Booting, LabError> {
        let kernel = depot.uml()?;
        let image = self.image(depot, &Modules::open(&kernel.modules)?, uml::MODULES)?;
        let mut servers = Vec::new();
        let guests = self.each_guest(&image, &mut servers, |spec| {
            let machine = uml::start(&self.run, &self.network, &kernel, &spec, &self.token)?;
            Ok(self.guest(spec, Arc::new(machine)))
        })?;
        Ok((guests, "User-Mode Linux".into()))
    }

    fn boot_qemu(&mut self, depot: &Depot) -> Result<Booting, LabError> {
        let kernel = depot.kernel()?;
        qemu::program()?;
        let modules = Modules::open(&kernel.modules)?;
        let nic = self.options.nic.modules();
        let needed = [nic, qemu::region_modules(self.options.region_kind)].concat();
        let image = self.image(depot, &modules, &needed)?;
        let (accelerator, why) = qemu::accelerator(depot, &self.run, &kernel, &image);
        let mut servers = Vec::new();
        let guests = self.each_guest(&image, &mut servers, |spec| {
            let (run, network) = (&self.run, &self.network);
            let machine = qemu::start(run, network, &kernel, accelerator, &spec, &self.token)?;
            Ok(self.guest(spec, Arc::new(machine)))
        })?;
        self.servers = servers;
        let how = match accelerator {
            qemu::Accelerator::Kvm => format!("QEMU with KVM: {why}"),
            qemu::Accelerator::Tcg => format!("QEMU with software emulation (TCG): {why}"),
        };
        Ok((guests, how))
    }

    fn boot_xen(&mut self, depot: &Depot) -> Result<Booting, LabError> {
        let (kernel, xen) = (depot.kernel()?, depot.xen()?);
        qemu::program()?;
        let modules = Modules::open(&kernel.modules)?;
        let image = self.image(depot, &modules, xen::MODULES)?;
        let dom0_image = self.dom0_image(depot, &modules, &kernel, &xen, &image)?;
        let dom0s = (0..self.options.hosts).map(|host| {
            let mut spec = self.spec(host, DOM0, None, &dom0_image);
            spec.name = format!("h{host}dom0");
            spec.kernel_args.clear();
            let (run, network, vms) = (&self.run, &self.network, self.options.vms);
            let machine = xen::start_host(run, network, &kernel, &xen, &spec, vms, &self.token)?;
            Ok(Arc::new(self.guest(spec, Arc::new(machine))))
        });
        let dom0s = dom0s.collect::<Result<Vec<_>, LabError>>()?;
        xen::wait_for(&dom0s, self.options.boot_limit)?;
        let mut guests = Vec::new();
        for dom0 in &dom0s {
            for vm in 0..self.options.vms {
                let spec = self.spec(dom0.host(), vm, None, &image);
                xen::create(dom0, &spec, &self.token)?;
                let mut guest = self.guest(spec, Arc::clone(&dom0.machine));
                guest.dom0 = Some(Arc::clone(dom0));
                guests.push(guest);
            }
        }
        let how = "Xen with paravirtual guests, inside QEMU with software emulation (TCG)";
        Ok((guests, how.into()))
    }

    /// The image of the control domain: a guest's with Xen's tools, and the guests' kernel and
    /// image in it.
    fn dom0_image(
        &self,
        depot: &Depot,
        modules: &Modules,
        kernel: &Kernel,
        xen: &XenFiles,
        guest: &str,
    ) -> Result<String, LabError> {
        let mut files = dom0::files(xen)?;
        files.push((xen::GUEST_KERNEL.into(), 0o644, tools::read(&kernel.elf)?));
        files.push((xen::GUEST_IMAGE.into(), 0o644, tools::read(&self.run.path(guest))?));
        let wanted = [xen::NIC.modules(), dom0::MODULES].concat();
        let bytes = Initramfs {
            busybox: &depot.busybox()?,
            program: &self.program,
            modules: &modules.closure(&wanted)?,
            files: &files,
        }
        .build()?;
        let name = "dom0.cpio";
        tools::write(&self.run.path(name), &bytes)?;
        Ok(name.into())
    }

    /// Calls `start` for each guest with its description.
    fn each_guest(
        &self,
        image: &str,
        servers: &mut Vec<PipeWriter>,
        mut start: impl FnMut(Spec) -> Result<Guest, LabError>,
    ) -> Result<Vec<Guest>, LabError> {
        let mut guests = Vec::new();
        for host in 0..self.options.hosts {
            let common = match self.options.own_regions {
                true => None,
                false => self.region(host, None)?,
            };
            if let Some(region) = &common {
                servers.extend(serve_doorbells(&self.run, region, host)?);
            }
            for vm in 0..self.options.vms {
                let region = match self.options.own_regions {
                    true => self.region(host, Some(vm))?,
                    false => common.clone(),
                };
                guests.push(start(self.spec(host, vm, region, image))?);
            }
        }
        Ok(guests)
    }

    /// The region of a host's guests, or of one of them alone.
    fn region(&self, host: u32, vm: Option<u32>) -> Result<Option<Region>, LabError> {
        let kib =
            self.options.region_kib.map_or(u64::from(self.options.region_mib) << 10, u64::from);
        if kib == 0 {
            return Ok(None);
        }
        let bytes = kib << 10;
        let file = self.run.make_region(host, vm, bytes)?;
        let kind = match self.options.hypervisor {
            Hypervisor::Qemu => self.options.region_kind,
            _ => RegionKind::Plain,
        };
        Ok(Some(Region { file, bytes, kind, vm }))
    }

    fn spec(&self, host: u32, vm: u32, region: Option<Region>, image: &str) -> Spec {
        Spec {
            host,
            vm,
            name: format!("h{host}v{vm}"),
            address: Network::address(host, vm),
            mac: Network::mac(host, vm),
            memory_mib: self.options.memory_mib,
            nic: self.options.nic,
            region,
            smbios: self.options.smbios.clone(),
            core: self.cores.get((host * self.options.vms + vm) as usize).copied(),
            cpu: self.options.cpu.clone(),
            kernel_args: self.options.kernel_args.clone(),
            initramfs: image.to_owned(),
        }
    }

    fn guest(&self, spec: Spec, machine: Arc<Machine>) -> Guest {
        Guest {
            spec,
            hypervisor: self.options.hypervisor,
            token: self.token.clone(),
            network: self.network.clone(),
            machine,
            dom0: None,
            run: Arc::clone(&self.run),
        }
    }

    /// Writes the initramfs that all guests of this run share, and returns its name.
    fn image(&self, depot: &Depot, modules: &Modules, needed: &[&str]) -> Result<String, LabError> {
        let more = self.options.modules.iter().map(String::as_str);
        let wanted: Vec<&str> = needed.iter().copied().chain(more).collect();
        let bytes = Initramfs {
            busybox: &depot.busybox()?,
            program: &self.program,
            modules: &modules.closure(&wanted)?,
            files: &self.options.files,
        }
        .build()?;
        let name = "guest.cpio";
        tools::write(&self.run.path(name), &bytes)?;
        Ok(name.into())
    }
}

/// Starts the server of a host's doorbells on a thread, when its region has any; it ends when
/// the returned pipe is closed.
fn serve_doorbells(run: &Run, region: &Region, host: u32) -> Result<Option<PipeWriter>, LabError> {
    let RegionKind::Doorbell(vectors) = region.kind else {
        return Ok(None);
    };
    let file = File::options().read(true).write(true).open(&region.file);
    let file = file.map_err(|e| LabError::at("opening", &region.file, e))?;
    let listener = run.listen(&Region::socket(host))?;
    let (end, hold) = std::io::pipe().map_err(|e| LabError::io("a pipe", e))?;
    std::thread::spawn(move || {
        if let Err(error) = ivshmem::serve(&listener, &file, vectors, end.as_fd()) {
            eprintln!("cohost lab: the server of doorbells: {error}");
        }
    });
    Ok(Some(hold))
}
