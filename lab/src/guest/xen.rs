//! Xen: each host of the lab is a QEMU with Xen, a control domain (dom0) and paravirtual guests.
//! Guests share memory by granting each other pages, so there is no region file.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Guest, Machine, Nic, Spec, qemu};
use crate::agent::frame::{Start, Token};
use crate::network::Network;
use crate::run::{Run, spawn};
use crate::setup::{Kernel, XenFiles};
use crate::{LabError, tools};

/// Modules of a guest.
pub(crate) const MODULES: &[&str] =
    &["xen_privcmd", "xenfs", "xen_evtchn", "xen_gntdev", "xen_gntalloc", "xen_netfront"];

/// Memory of the control domain, in MiB: it holds the guests' kernel and image several times.
const DOM0_MIB: u32 = 640;
/// What Xen itself takes, and each guest beside its memory.
const XEN_MIB: u32 = 128;
const GUEST_MIB: u32 = 16;

/// How long `xl` may take to build a guest, under emulation on a busy machine.
const CREATE: Duration = Duration::from_secs(180);

/// Where guests' kernel and image are in the control domain.
pub(crate) const GUEST_KERNEL: &str = "boot/vmlinux";
pub(crate) const GUEST_IMAGE: &str = "boot/guest.cpio";

/// Starts Xen with its control domain, described by `dom0` like a guest. `memory_mib` is that of
/// all its guests to come.
pub(crate) fn start_host(
    run: &Run,
    network: &Network,
    kernel: &Kernel,
    xen: &XenFiles,
    dom0: &Spec,
    guests: u32,
    token: &Token,
) -> Result<Machine, LabError> {
    let tap = "tap-dom0";
    network.make_tap(dom0.host, tap)?;
    link(&kernel.elf, &run.path("vmlinux"))?;
    let memory = DOM0_MIB + XEN_MIB + guests * (dom0.memory_mib + GUEST_MIB);
    // `-initrd` takes a list with commas: only names in the run's folder are safe in it.
    let line =
        format!("console=hvc0 panic=-1 quiet mitigations=off {}", dom0.identity(token).join(" "));
    let image = &dom0.initramfs;
    let modules = format!("vmlinux {},{image}", line.replace(',', ",,"));
    let xen_line = format!("console=com1 dom0_mem={DOM0_MIB}M,max:{DOM0_MIB}M dom0_max_vcpus=1");
    let memory = memory.to_string();
    let netdev = format!("tap,id=net0,ifname={tap},script=no,downscript=no");
    let device = format!("virtio-net-pci,netdev=net0,mac={},romfile=", dom0.mac);
    let elf = xen.elf.display().to_string();
    let args = [
        "-accel",
        "tcg,thread=multi,tb-size=128",
        "-cpu",
        "qemu64,+rdtscp,+rdrand",
        "-smp",
        "2",
        "-m",
        &memory,
        "-nodefaults",
        "-no-user-config",
        "-display",
        "none",
        "-no-reboot",
        "-chardev",
        "stdio,id=console,signal=off",
        "-serial",
        "chardev:console",
        "-kernel",
        &elf,
        "-append",
        &xen_line,
        "-initrd",
        &modules,
        "-netdev",
        &netdev,
        "-device",
        &device,
    ];
    let log = run.path(&format!("xen-{}.log", dom0.name));
    let namespace = Some(network.namespace(dom0.host));
    let process = spawn(run, namespace, &qemu::program()?, &args, &log)?;
    Ok(Machine::new(process, log, dom0.host))
}

/// The network device of the control domain.
pub(crate) const NIC: Nic = Nic::Virtio;

/// Has `xl` in the control domain build a guest.
pub(crate) fn create(dom0: &Arc<Guest>, spec: &Spec, token: &Token) -> Result<(), LabError> {
    let config = format!(
        "name=\"{name}\"\ntype=\"pv\"\nkernel=\"/{GUEST_KERNEL}\"\nramdisk=\"/{GUEST_IMAGE}\"\n\
         memory={memory}\nvcpus=1\n\
         extra=\"console=hvc0 panic=-1 quiet mitigations=off {identity}\"\n\
         on_poweroff=\"destroy\"\non_reboot=\"destroy\"\non_crash=\"destroy\"\n\
         vif=[\"mac={mac},bridge=br0,script=/etc/lab-vif\"]\n",
        name = spec.name,
        memory = spec.memory_mib,
        identity = spec.identity(token).join(" "),
        mac = spec.mac,
    );
    let script = format!("cat > /etc/xen/{0} && exec xl create /etc/xen/{0}", spec.name);
    let start =
        Start { program: "sh".into(), args: vec!["-c".into(), script.into()], ..Start::default() };
    let mut process = dom0.spawn(&start)?;
    if let Some(mut stdin) = process.stdin.take() {
        // A shell that has ended already says why below.
        let _ = stdin.write_all(config.as_bytes());
    }
    let output = process.output(CREATE);
    if output.exit.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let reason = format!("xl create {}: {}\n{}", spec.name, output.exit, tools::tail(&said, 10));
    Err(dom0.boot_failure(reason))
}

/// The console of a guest, as the control domain has logged it.
pub(crate) fn console(dom0: &Guest, name: &str) -> Option<String> {
    let file = format!("/var/log/xen/console/guest-{name}.log");
    let output = dom0.output("cat", &[&file], Duration::from_secs(20)).ok()?;
    Some(String::from_utf8_lossy(&output.stdout).replace('\r', ""))
}

/// Whether `xl` still knows a guest; unknown counts as yes.
pub(crate) fn lives(dom0: &Guest, name: &str) -> bool {
    dom0.output("xl", &["domid", name], Duration::from_secs(30))
        .map_or(true, |output| output.exit.success())
}

/// Waits for the control domains of all hosts.
pub(crate) fn wait_for(dom0s: &[Arc<Guest>], limit: Duration) -> Result<(), LabError> {
    let deadline = Instant::now() + limit;
    dom0s.iter().try_for_each(|dom0| dom0.wait_for_agent(deadline))
}

fn link(from: &Path, to: &Path) -> Result<(), LabError> {
    match std::os::unix::fs::symlink(from, to) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            Err(LabError::at("linking", to, error))
        }
        _ => Ok(()),
    }
}
