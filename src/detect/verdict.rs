//! The verdict: pure, total, and with its reasons.
//!
//! Each source of evidence is a witness that may name a hypervisor. The first in a fixed order
//! (systemd's, with the deviations named below) decides; the others confirm, or are listed as
//! contradicting. The order matters because hypervisors imitate each other: VirtualBox shows
//! KVM's CPUID, KVM shows Hyper-V's, a paravirtual Xen guest shows that of Xen's own host.

use serde::Serialize;

use super::evidence::Evidence;
use super::kinds::{Container, Hypervisor, VmwareProduct, XenGuest};
use super::witness::{Source, Witness, hear};
use super::{container, dmi, xen};

/// What runs below and around this process, as far as the evidence goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// What runs below this kernel.
    pub hypervisor: Hypervisor,
    /// What that in turn runs on, where the processor shows it through: Xen or User-Mode Linux
    /// inside a virtual machine.
    pub outer: Option<Hypervisor>,
    /// How a Xen domain is virtualised, where shown.
    pub xen: Option<XenGuest>,
    /// Which VMware product, where shown.
    pub vmware: Option<VmwareProduct>,
    /// For an unknown hypervisor: the vendor text of its CPUID leaf, possibly empty.
    pub unknown_vendor: Option<String>,
    /// The container, independent of the hypervisor; none also when no mark was found.
    pub container: Option<Container>,
    /// The evidence that led here, the decisive line first.
    pub because: Vec<String>,
    /// The evidence that says otherwise.
    pub against: Vec<String>,
}

/// Judges. The same evidence always gives the same verdict.
pub fn verdict(evidence: &Evidence) -> Verdict {
    let witnesses = hear(evidence);
    let decisive = decide(&witnesses);
    let mut verdict = match decisive {
        Some(witness) => of_witness(evidence, witness, &witnesses),
        None => without_witness(evidence),
    };
    let mut container = container::find(evidence);
    verdict.container = container.container;
    verdict.because.append(&mut container.because);
    verdict.against.append(&mut container.against);
    verdict
}

/// The decisive witness, in systemd's order. Two deviations: `/sys/hypervisor/type` counts with
/// `/proc/xen`, because a paravirtual guest without xenfs would else be judged by the CPUID of
/// Xen's host; and ACPI, devices and the processor's
/// name are heard at the end, where systemd gives up.
fn decide(witnesses: &[Witness]) -> Option<&Witness> {
    let first = |wanted: &dyn Fn(&Witness) -> bool| witnesses.iter().find(|w| wanted(w));
    let from = |source: Source| move |w: &Witness| w.source == source;
    // Hyper-V's signature is provisional: KVM and Xen show it too, as an enlightenment.
    let provisional = |w: &Witness| w.hypervisor == Hypervisor::HyperV;
    let goes_first = |w: &Witness| {
        use Hypervisor::{Google, Nitro, Parallels, VirtualBox, XenDomU};
        w.source == Source::Dmi
            && matches!(w.hypervisor, VirtualBox | XenDomU | Nitro | Parallels | Google)
    };
    let known = |source: Source| {
        move |w: &Witness| w.source == source && w.hypervisor != Hypervisor::Unknown
    };
    first(&goes_first)
        .or_else(|| first(&from(Source::Uml)))
        .or_else(|| first(&from(Source::Xen)))
        .or_else(|| first(&from(Source::Driver)))
        .or_else(|| first(&|w| w.source == Source::Cpuid && !provisional(w)))
        .or_else(|| first(&from(Source::Dmi)))
        .or_else(|| first(&known(Source::DeviceTree)))
        .or_else(|| first(&known(Source::Sysinfo)))
        .or_else(|| first(&from(Source::Acpi)))
        .or_else(|| first(&from(Source::Devices)))
        .or_else(|| first(&from(Source::Processor)))
        .or_else(|| first(&from(Source::Cpuid)))
        .or_else(|| first(&|w| w.hypervisor == Hypervisor::Unknown))
}

fn of_witness(evidence: &Evidence, decisive: &Witness, witnesses: &[Witness]) -> Verdict {
    let mut verdict = blank(refine(decisive, witnesses));
    verdict.because.push(decisive.line.clone());
    if matches!(verdict.hypervisor, Hypervisor::XenDom0 | Hypervisor::XenDomU) {
        judge_xen(evidence, &mut verdict);
    }
    let (agreeing, others): (Vec<&Witness>, Vec<&Witness>) = witnesses
        .iter()
        .filter(|witness| witness.line != decisive.line)
        .partition(|witness| agrees(verdict.hypervisor, witness));
    let lines = agreeing.into_iter().map(|witness| witness.line.clone());
    verdict.because.extend(lines);
    let lines = others.iter().map(|witness| witness.line.clone());
    if shows_through(&verdict) {
        let lines = lines.map(|line| format!("below it, {line}"));
        verdict.because.extend(lines);
        let below: Vec<Witness> = others.into_iter().cloned().collect();
        verdict.outer = decide(&below).map(|witness| refine(witness, &below));
    } else {
        verdict.against.extend(lines);
    }
    if evidence.hypervisor_bit() == Some(false) && admits_itself(verdict.hypervisor) {
        let line = "CPUID: the hypervisor bit is not set";
        verdict.against.push(line.to_owned());
    }
    if verdict.hypervisor == Hypervisor::Unknown {
        verdict.unknown_vendor = unknown_vendor(evidence);
    }
    if verdict.hypervisor == Hypervisor::Vmware {
        match dmi::vmware_product(&evidence.dmi) {
            Some((product, line)) => {
                verdict.vmware = Some(product);
                verdict.because.push(line);
            }
            None => verdict.because.push("no DMI string names the VMware product".to_owned()),
        }
    }
    is_hyperv_root(evidence, &mut verdict);
    verdict
}

fn blank(hypervisor: Hypervisor) -> Verdict {
    Verdict {
        hypervisor,
        outer: None,
        xen: None,
        vmware: None,
        unknown_vendor: None,
        container: None,
        because: Vec::new(),
        against: Vec::new(),
    }
}

/// Makes a general answer more exact where another witness can: KVM is driven by several
/// programs, and DMI's "QEMU" leaves open whether KVM works below.
fn refine(decisive: &Witness, witnesses: &[Witness]) -> Hypervisor {
    use Hypervisor::{CloudHypervisor, Firecracker, HyperV, Kvm, Qemu, QemuTcg};
    let says = |wanted: Hypervisor| witnesses.iter().any(|w| w.hypervisor == wanted);
    match decisive.hypervisor {
        Kvm | HyperV if says(CloudHypervisor) => CloudHypervisor,
        Kvm if says(Firecracker) => Firecracker,
        Qemu if says(QemuTcg) => QemuTcg,
        Qemu if says(Kvm) => Kvm,
        as_said => as_said,
    }
}

fn judge_xen(evidence: &Evidence, verdict: &mut Verdict) {
    let (domain, line) = xen::domain(evidence);
    verdict.hypervisor = domain;
    verdict.because.push(line);
    if let Some((guest, line)) = xen::guest(evidence) {
        verdict.xen = Some(guest);
        verdict.because.push(line);
    }
}

/// Whether what lies below is visible beside it: kernels that run without a virtual processor
/// or firmware of their own.
fn shows_through(verdict: &Verdict) -> bool {
    match verdict.hypervisor {
        Hypervisor::UserModeLinux | Hypervisor::Lguest | Hypervisor::XenDom0 => true,
        Hypervisor::XenDomU => verdict.xen == Some(XenGuest::Pv),
        _ => false,
    }
}

/// Whether what the witness says is no contradiction to the verdict `is`.
fn agrees(is: Hypervisor, witness: &Witness) -> bool {
    use Hypervisor as H;
    let enlightened = witness.source == Source::Cpuid;
    match (is, witness.hypervisor) {
        (is, said) if is == said => true,
        (_, H::Unknown) => true,
        (H::XenDom0 | H::XenDomU, H::XenDom0 | H::XenDomU) => true,
        // Xen's device model for HVM guests is QEMU.
        (H::XenDomU | H::Kvm | H::QemuTcg, H::Qemu) => true,
        (H::Firecracker | H::CloudHypervisor | H::Nitro | H::Google, H::Kvm) => true,
        // These offer a guest the paravirtual interface of another, in CPUID only.
        (H::VirtualBox | H::Parallels, H::Kvm) => enlightened,
        (H::Kvm | H::Qemu | H::QemuTcg | H::XenDomU, H::HyperV) => enlightened,
        (H::CloudHypervisor | H::Nitro | H::Google, H::HyperV) => enlightened,
        (H::VirtualBox | H::Parallels, H::HyperV) => enlightened,
        (H::HyperV | H::VirtualPc, H::HyperV | H::VirtualPc) => true,
        _ => false,
    }
}

/// Those of which no version hides CPUID's hypervisor bit unless told to.
fn admits_itself(hypervisor: Hypervisor) -> bool {
    use Hypervisor as H;
    matches!(
        hypervisor,
        H::Kvm
            | H::QemuTcg
            | H::Qemu
            | H::Vmware
            | H::VirtualBox
            | H::HyperV
            | H::Bhyve
            | H::Acrn
            | H::Firecracker
            | H::CloudHypervisor
            | H::Nitro
            | H::Google
    )
}

/// A root partition of Hyper-V runs on the machine's real devices, as a dom0 does.
fn is_hyperv_root(evidence: &Evidence, verdict: &mut Verdict) {
    let root = evidence.cpuid.as_ref().is_some_and(|cpuid| {
        let mut privileges = cpuid.leaves.iter().filter_map(|leaf| leaf.privileges);
        privileges.any(|high| high & 1 != 0)
    });
    if root && verdict.hypervisor == Hypervisor::HyperV {
        let line = "CPUID 0x40000003: may create partitions, so this is the root partition";
        verdict.because.push(line.to_owned());
    }
}

/// The first signature, when it is one nobody here knows.
fn unknown_vendor(evidence: &Evidence) -> Option<String> {
    let cpuid = evidence.cpuid.as_ref().filter(|c| c.hypervisor_bit)?;
    let first = cpuid.leaves.first();
    Some(first.map_or_else(String::new, |leaf| leaf.vendor.clone()))
}

/// No witness named a hypervisor: unknown when something says there is one, or when there was
/// nothing to go by; else bare metal.
fn without_witness(evidence: &Evidence) -> Verdict {
    let mut verdict = blank(Hypervisor::Unknown);
    let vm_bit = evidence.dmi.smbios_vm_bit;
    if let Some(vendor) = unknown_vendor(evidence) {
        verdict
            .because
            .push(format!("CPUID: the hypervisor bit is set, the vendor {vendor:?} is not known"));
        verdict.unknown_vendor = Some(vendor);
    } else if evidence.hypervisor_bit() == Some(true) {
        let line = "/proc/cpuinfo: the hypervisor flag is set, no vendor is known";
        verdict.because.push(line.to_owned());
    } else if vm_bit == Some(true) {
        let line = "SMBIOS: the characteristics say virtual machine, not which";
        verdict.because.push(line.to_owned());
    } else {
        bare_metal(evidence, &mut verdict);
    }
    verdict
}

fn bare_metal(evidence: &Evidence, verdict: &mut Verdict) {
    let denied = evidence.hypervisor_bit() == Some(false);
    let reasons = [
        (denied, "CPUID: the hypervisor bit is not set"),
        (dmi::is_readable(&evidence.dmi), "DMI: no string of a hypervisor"),
        (evidence.device_tree.present, "/proc/device-tree: no mark of a hypervisor"),
        (evidence.proc.sysinfo.text().is_some(), "/proc/sysinfo: no control program"),
    ];
    let lines = reasons.iter().filter(|(holds, _)| *holds);
    verdict.because.extend(lines.map(|(_, line)| (*line).to_owned()));
    if verdict.because.is_empty() {
        let line = "neither CPUID, DMI, device tree nor sysinfo could be read";
        verdict.because.push(line.to_owned());
    } else {
        verdict.hypervisor = Hypervisor::BareMetal;
    }
}
