//! Guests: what one is, and for each kind of hypervisor a file that starts it.
//!
//! It may use the run's processes, namespaces and images, and the agent's protocol; it knows
//! nothing of layouts of many guests ([`crate::lab`]) and nothing of MPI.

pub(crate) mod qemu;
mod qmp;
pub(crate) mod uml;
pub(crate) mod xen;

pub use qemu::Migration;

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::agent::PORT;
use crate::agent::frame::{Start, Token};
use crate::network::Network;
use crate::remote::{RemoteOutput, RemoteProcess};
use crate::run::{self, GuestProcess, Run};
use crate::{LabError, tools};

/// A kind of hypervisor that the lab can run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Hypervisor {
    /// QEMU, with KVM where that works, else with software emulation (TCG).
    Qemu,
    /// User-Mode Linux.
    Uml,
    /// Xen with paravirtual guests, itself inside QEMU.
    Xen,
}

impl Hypervisor {
    /// All of them.
    pub const ALL: [Hypervisor; 3] = [Hypervisor::Qemu, Hypervisor::Uml, Hypervisor::Xen];

    /// As written on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Hypervisor::Qemu => "qemu",
            Hypervisor::Uml => "uml",
            Hypervisor::Xen => "xen",
        }
    }
}

impl fmt::Display for Hypervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Hypervisor {
    type Err = LabError;

    fn from_str(text: &str) -> Result<Hypervisor, LabError> {
        let found = Hypervisor::ALL.into_iter().find(|kind| kind.as_str() == text);
        found.ok_or_else(|| LabError::Options(format!("'{text}' is none of qemu, uml, xen")))
    }
}

/// A model of network device. QEMU emulates all of them; User-Mode Linux and Xen have their own,
/// and take no other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Nic {
    /// virtio-net, the default of KVM.
    #[default]
    Virtio,
    /// Intel 82540EM, the default of VirtualBox and older VMware.
    E1000,
    /// Intel 82574L.
    E1000e,
    /// VMware's paravirtual device, as QEMU emulates it.
    Vmxnet3,
    /// AMD PCnet-PCI, as QEMU emulates it.
    Pcnet,
}

impl Nic {
    /// All of them.
    pub const ALL: [Nic; 5] = [Nic::Virtio, Nic::E1000, Nic::E1000e, Nic::Vmxnet3, Nic::Pcnet];

    /// As written on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Nic::Virtio => "virtio",
            Nic::E1000 => "e1000",
            Nic::E1000e => "e1000e",
            Nic::Vmxnet3 => "vmxnet3",
            Nic::Pcnet => "pcnet",
        }
    }
}

impl fmt::Display for Nic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Nic {
    type Err = LabError;

    fn from_str(text: &str) -> Result<Nic, LabError> {
        let found = Nic::ALL.into_iter().find(|nic| nic.as_str() == text);
        found.ok_or_else(|| {
            LabError::Options(format!("'{text}' is none of virtio, e1000, e1000e, vmxnet3, pcnet"))
        })
    }
}

/// How the guests of a host of QEMU share their region.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum RegionKind {
    /// The device `ivshmem-plain`: memory alone. Guests with it can be migrated.
    #[default]
    Plain,
    /// The device `ivshmem-doorbell`, with so many interrupt vectors for each guest, on a machine
    /// with an IOMMU, bound to vfio-pci. The lab runs the server.
    Doorbell(u16),
}

/// What one guest is made of.
#[derive(Debug, Clone)]
pub(crate) struct Spec {
    pub(crate) host: u32,
    pub(crate) vm: u32,
    /// Such as `h0v1`; also its hostname.
    pub(crate) name: String,
    pub(crate) address: Ipv4Addr,
    pub(crate) mac: String,
    pub(crate) memory_mib: u32,
    pub(crate) nic: Nic,
    pub(crate) region: Option<Region>,
    /// `-smbios` options of QEMU, such as `type=1,manufacturer=...`.
    pub(crate) smbios: Vec<String>,
    /// The core of the lab's machine that it stays on.
    pub(crate) core: Option<usize>,
    /// The processor that QEMU emulates, when it is not its best.
    pub(crate) cpu: Option<String>,
    /// More words on the kernel command line.
    pub(crate) kernel_args: Vec<String>,
    /// A file in the run's folder, by its name: hypervisors are started in that folder, since in
    /// their options commas, blanks and long paths have meanings of their own.
    pub(crate) initramfs: String,
}

/// Memory that the guests of a host share.
#[derive(Debug, Clone)]
pub(crate) struct Region {
    pub(crate) file: PathBuf,
    pub(crate) bytes: u64,
    pub(crate) kind: RegionKind,
    /// The one guest that has it, when it is not the host's.
    pub(crate) vm: Option<u32>,
}

impl Region {
    /// The socket of the server of a host's doorbells, in the run's folder.
    pub(crate) fn socket(host: u32) -> String {
        format!("ivshmem-h{host}")
    }
}

impl Spec {
    /// The words on a kernel command line that say who this guest is.
    pub(crate) fn identity(&self, token: &Token) -> Vec<String> {
        let mut words = vec![
            format!("cohost.name={}", self.name),
            format!("cohost.address={}/16", self.address),
            format!("cohost.token={}", token.as_str()),
        ];
        words.extend(self.kernel_args.iter().cloned());
        words
    }
}

/// Where a guest of QEMU is, which a migration changes.
#[derive(Debug)]
pub(crate) struct Place {
    /// Its host.
    pub(crate) host: u32,
    /// How often it was moved to another process.
    pub(crate) generation: u32,
    /// Whether its region is plugged.
    pub(crate) plugged: bool,
}

/// A process that is a guest, or with Xen a host of several; shared by its guests.
#[derive(Debug)]
pub(crate) struct Machine {
    process: Mutex<Option<GuestProcess>>,
    /// Its console.
    pub(crate) log: PathBuf,
    /// What a guest of QEMU can be moved with.
    pub(crate) qemu: Option<qemu::Qemu>,
    place: Mutex<Place>,
}

impl Machine {
    pub(crate) fn new(process: GuestProcess, log: PathBuf, host: u32) -> Machine {
        Machine {
            process: Mutex::new(Some(process)),
            log,
            qemu: None,
            place: Mutex::new(Place { host, generation: 0, plugged: true }),
        }
    }

    /// Where it is; held while that changes.
    pub(crate) fn place(&self) -> MutexGuard<'_, Place> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn process(&self) -> MutexGuard<'_, Option<GuestProcess>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How it ended; nothing while it runs.
    fn ended(&self) -> Option<String> {
        match self.process().as_mut() {
            Some(process) => process.ended(),
            None => Some("it was stopped".into()),
        }
    }
}

/// A running guest.
#[derive(Debug)]
pub struct Guest {
    pub(crate) spec: Spec,
    pub(crate) hypervisor: Hypervisor,
    pub(crate) token: Token,
    pub(crate) network: Network,
    pub(crate) machine: Arc<Machine>,
    /// The control domain, for a guest of Xen.
    pub(crate) dom0: Option<Arc<Guest>>,
    pub(crate) run: Arc<Run>,
}

impl Guest {
    /// Its name in its layout, such as `h0v1`; also its hostname.
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// The host it is on, from 0.
    pub fn host(&self) -> u32 {
        self.machine.place().host
    }

    /// Its place in its host, from 0.
    pub fn vm(&self) -> u32 {
        self.spec.vm
    }

    /// Its address in the lab's network.
    pub fn address(&self) -> Ipv4Addr {
        self.spec.address
    }

    /// What it runs on.
    pub fn hypervisor(&self) -> Hypervisor {
        self.hypervisor
    }

    /// The file that is its region, as the lab's machine sees it; that of the host it is on.
    pub fn region_file(&self) -> Option<PathBuf> {
        let region = self.spec.region.as_ref()?;
        Some(self.run.region_file(self.host(), region.vm))
    }

    /// With its hypervisor, for messages: `uml h0v1`.
    pub fn label(&self) -> String {
        format!("{} {}", self.hypervisor, self.spec.name)
    }

    /// What it has said on its console so far.
    pub fn log(&self) -> String {
        let console = self.dom0.as_ref().and_then(|dom0| xen::console(dom0, &self.spec.name));
        if let Some(console) = console {
            return console;
        }
        run::said(&self.machine.log)
    }

    /// Whether it still runs.
    pub fn is_running(&self) -> bool {
        let machine = self.machine.ended().is_none();
        machine && self.dom0.as_ref().is_none_or(|dom0| xen::lives(dom0, &self.spec.name))
    }

    /// Stops it at once, as by pulling the plug.
    pub fn stop(&self) {
        match &self.dom0 {
            Some(dom0) => {
                let limit = Duration::from_secs(60);
                // A host that does not answer has no living guests that anybody could reach.
                let _ = dom0.output("xl", &["destroy", &self.spec.name], limit);
            }
            None => *self.machine.process() = None,
        }
    }

    /// Starts a program in it.
    pub fn spawn(&self, start: &Start) -> Result<RemoteProcess, LabError> {
        let stream = self.network.connect(self.agent(), Duration::from_secs(30));
        let stream = stream.map_err(|error| self.fault(error.to_string()))?;
        RemoteProcess::start(stream, &self.token, start, &self.label())
    }

    /// Runs a program in it to its end, at most so long, and returns what it said.
    pub fn output(
        &self,
        program: &str,
        args: &[&str],
        limit: Duration,
    ) -> Result<RemoteOutput, LabError> {
        let start = Start {
            program: program.into(),
            args: args.iter().map(Into::into).collect(),
            ..Start::default()
        };
        Ok(self.spawn(&start)?.output(limit))
    }

    fn agent(&self) -> SocketAddr {
        SocketAddr::from((self.spec.address, PORT))
    }

    fn fault(&self, reason: String) -> LabError {
        LabError::Agent { guest: format!("{} ({})", self.label(), self.spec.address), reason }
    }

    /// Waits until its agent answers.
    pub(crate) fn wait_for_agent(&self, deadline: Instant) -> Result<(), LabError> {
        loop {
            let said = match self.greet() {
                Ok(()) => return Ok(()),
                Err(error) => error.to_string(),
            };
            if let Some(how) = self.machine.ended() {
                return Err(self.boot_failure(format!("its hypervisor ended ({how})")));
            }
            if Instant::now() > deadline {
                return Err(self.boot_failure(format!("no answer from its agent in time: {said}")));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn greet(&self) -> Result<(), LabError> {
        let mut stream = self.network.connect(self.agent(), Duration::from_secs(1))?;
        RemoteProcess::greet(&mut stream, &self.token)
            .map_err(|error| self.fault(error.to_string()))
    }

    /// An error that holds the end of the boot log and says where the log is kept.
    pub(crate) fn boot_failure(&self, reason: String) -> LabError {
        let log = self.log();
        let name = format!("{}-{}.log", self.hypervisor, self.spec.name);
        LabError::Boot {
            guest: self.label(),
            reason,
            log: self.run.keep_log(&name, &log),
            tail: tools::tail(&log, 15),
        }
    }
}
