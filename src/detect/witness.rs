//! The witnesses: each source of evidence alone, and the hypervisor it names.

use super::evidence::{Evidence, PciId};
use super::kinds::Hypervisor;
use super::{acpi, dmi, xen};

/// One source of evidence that names a hypervisor.
#[derive(Debug, Clone)]
pub(super) struct Witness {
    pub source: Source,
    pub hypervisor: Hypervisor,
    pub line: String,
}

/// Where a witness has it from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    Dmi,
    Uml,
    Xen,
    Driver,
    Cpuid,
    SysHypervisor,
    DeviceTree,
    Sysinfo,
    Acpi,
    Devices,
    Processor,
}

impl Evidence {
    /// Whether the processor admits to a hypervisor: from CPUID, else from the flags of
    /// `/proc/cpuinfo`; none where neither can say.
    pub fn hypervisor_bit(&self) -> Option<bool> {
        if let Some(cpuid) = &self.cpuid {
            return Some(cpuid.hypervisor_bit);
        }
        let flags = self.proc.cpuinfo.text()?.lines().find(|line| line.starts_with("flags"))?;
        Some(flags.split_whitespace().any(|flag| flag == "hypervisor"))
    }
}

/// Hears all sources, in no order of credibility.
pub(super) fn hear(evidence: &Evidence) -> Vec<Witness> {
    let dmi = dmi::vendor(evidence).map(|found| Witness {
        source: Source::Dmi,
        hypervisor: found.hypervisor,
        line: found.line,
    });
    let say = |source, found: Option<(Hypervisor, String)>| {
        found.map(|(hypervisor, line)| Witness { source, hypervisor, line })
    };
    let mut witnesses: Vec<Witness> = Vec::new();
    witnesses.extend(dmi);
    witnesses
        .extend(say(Source::Uml, uml_line(evidence).map(|line| (Hypervisor::UserModeLinux, line))));
    witnesses.extend(say(
        Source::Xen,
        xen::presence(evidence).map(|line| (xen::domain(evidence).0, line)),
    ));
    witnesses.extend(say(Source::Driver, driver(evidence)));
    witnesses
        .extend(cpuid(evidence).into_iter().filter_map(|found| say(Source::Cpuid, Some(found))));
    witnesses.extend(say(Source::SysHypervisor, sys_hypervisor(evidence)));
    witnesses.extend(say(Source::DeviceTree, device_tree(evidence)));
    witnesses.extend(say(Source::Sysinfo, sysinfo(evidence)));
    witnesses.extend(say(Source::Acpi, acpi_tables(evidence)));
    witnesses.extend(say(Source::Devices, devices(evidence)));
    witnesses.extend(say(Source::Processor, processor(evidence)));
    witnesses
}

/// User-Mode Linux names itself as the vendor of its processors.
pub(super) fn uml_line(evidence: &Evidence) -> Option<String> {
    let line = evidence.proc.cpuinfo.text()?.lines().find(|line| line.starts_with("vendor_id"))?;
    let (_, vendor) = line.split_once(':')?;
    vendor
        .trim()
        .starts_with("User Mode Linux")
        .then(|| "/proc/cpuinfo vendor_id: \"User Mode Linux\"".to_owned())
}

/// Hypervisors whose guest or control code registers a device of its own.
fn driver(evidence: &Evidence) -> Option<(Hypervisor, String)> {
    if evidence.hypervisor.lguest_bus {
        return Some((Hypervisor::Lguest, "the lguest bus is there".to_owned()));
    }
    (evidence.hypervisor.jailhouse_enabled.text() == Some("1")).then(|| {
        let line = "/sys/devices/jailhouse/enabled is 1: root cell";
        (Hypervisor::Jailhouse, line.to_owned())
    })
}

/// The signatures of CPUID, all places that have a known one.
fn cpuid(evidence: &Evidence) -> Vec<(Hypervisor, String)> {
    let Some(cpuid) = &evidence.cpuid else {
        return Vec::new();
    };
    let known = |vendor: &str| match vendor.trim_end_matches('\0') {
        "KVMKVMKVM" | "Linux KVM Hv" => Some(Hypervisor::Kvm),
        "TCGTCGTCGTCG" => Some(Hypervisor::QemuTcg),
        "XenVMMXenVMM" => Some(Hypervisor::XenDomU),
        "VMwareVMware" => Some(Hypervisor::Vmware),
        "VBoxVBoxVBox" => Some(Hypervisor::VirtualBox),
        "Microsoft Hv" => Some(Hypervisor::HyperV),
        " lrpepyh vr" | " lrpepyh vr " | "prl hyperv" | "prl hyperv  " => {
            Some(Hypervisor::Parallels)
        }
        "bhyve bhyve" | "bhyve bhyve " => Some(Hypervisor::Bhyve),
        "ACRNACRNACRN" => Some(Hypervisor::Acrn),
        "Jailhouse" => Some(Hypervisor::Jailhouse),
        "QNXQVMBSQG" => Some(Hypervisor::Qnx),
        "Apple VZ" => Some(Hypervisor::Apple),
        "SRESRESRESRE" => Some(Hypervisor::Sre),
        _ => None,
    };
    if !cpuid.hypervisor_bit {
        return Vec::new();
    }
    cpuid
        .leaves
        .iter()
        .filter_map(|leaf| {
            let line = format!("CPUID {:#010x}: {:?}", leaf.base, leaf.vendor);
            known(&leaf.vendor).map(|hypervisor| (hypervisor, line))
        })
        .collect()
}

fn sys_hypervisor(evidence: &Evidence) -> Option<(Hypervisor, String)> {
    // Xen has been heard as a witness of its own; other names are not known to exist.
    let kind = evidence.hypervisor.kind.text().filter(|k| *k != "xen")?;
    Some((Hypervisor::Unknown, format!("/sys/hypervisor/type: {kind:?}")))
}

fn device_tree(evidence: &Evidence) -> Option<(Hypervisor, String)> {
    let tree = &evidence.device_tree;
    if let Some(text) = tree.hypervisor_compatible.text() {
        let hypervisor = match text {
            t if t.contains("linux,kvm") => Hypervisor::Kvm,
            t if t.contains("xen") => xen::domain(evidence).0,
            t if t.contains("vmware") => Hypervisor::Vmware,
            t if t.contains("jailhouse") => Hypervisor::Jailhouse,
            t if t.contains("qnx") => Hypervisor::Qnx,
            _ => Hypervisor::Unknown,
        };
        let line = format!("/proc/device-tree/hypervisor/compatible: {text:?}");
        return Some((hypervisor, line));
    }
    if tree.ibm_partition_name && tree.hmc_managed && !tree.qemu_graphic_width {
        let line = "/proc/device-tree has ibm,partition-name and hmc-managed?";
        return Some((Hypervisor::PowerVm, line.to_owned()));
    }
    let compatible = tree.compatible.text().unwrap_or_default();
    let line = format!("/proc/device-tree/compatible: {compatible:?}");
    for part in compatible.split('\0') {
        match part {
            "qemu,pseries" | "linux,dummy-virt" | "riscv-virtio" => {
                return Some((Hypervisor::Qemu, line));
            }
            "jailhouse,cell" => return Some((Hypervisor::Jailhouse, line)),
            _ => {}
        }
    }
    tree.fw_cfg.then(|| {
        let line = "/proc/device-tree has a node fw-cfg";
        (Hypervisor::Qemu, line.to_owned())
    })
}

/// The control program of IBM Z; a plain LPAR has none and counts as the machine itself.
fn sysinfo(evidence: &Evidence) -> Option<(Hypervisor, String)> {
    let line = evidence
        .proc
        .sysinfo
        .text()?
        .lines()
        .find(|line| line.starts_with("VM00 Control Program"))?;
    let (_, program) = line.split_once(':')?;
    let hypervisor = match program.trim() {
        p if p.starts_with("z/VM") => Hypervisor::ZVm,
        p if p.starts_with("KVM") => Hypervisor::Kvm,
        _ => Hypervisor::Unknown,
    };
    Some((hypervisor, format!("/proc/sysinfo: {:?}", line.trim())))
}

fn acpi_tables(evidence: &Evidence) -> Option<(Hypervisor, String)> {
    evidence.acpi.iter().find_map(|line| {
        acpi::manufacturer(line).map(|whose| (whose, format!("ACPI table: {line:?}")))
    })
}

/// Virtual devices. QEMU can offer VMware's devices, so its own mark goes first.
fn devices(evidence: &Evidence) -> Option<(Hypervisor, String)> {
    if evidence.hypervisor.qemu_fw_cfg {
        let line = "/sys/firmware/qemu_fw_cfg is there";
        return Some((Hypervisor::Qemu, line.to_owned()));
    }
    let by_pci = |hypervisor: Hypervisor, is: fn(&PciId) -> bool| {
        let id = evidence.pci.iter().find(|id| is(id))?;
        let line = format!(
            "PCI device {:04x}:{:04x}, subsystem {:04x}:{:04x}",
            id.vendor, id.device, id.subsystem_vendor, id.subsystem_device
        );
        Some((hypervisor, line))
    };
    let bus = evidence.hypervisor.vmbus_devices;
    by_pci(Hypervisor::Qemu, |id| (id.subsystem_vendor, id.subsystem_device) == (0x1af4, 0x1100))
        .or_else(|| bus.then(|| (Hypervisor::HyperV, "/sys/bus/vmbus has devices".to_owned())))
        .or_else(|| by_pci(Hypervisor::XenDomU, |id| id.vendor == 0x5853))
        .or_else(|| by_pci(Hypervisor::Vmware, |id| id.vendor == 0x15ad))
        .or_else(|| by_pci(Hypervisor::VirtualBox, |id| id.vendor == 0x80ee))
        .or_else(|| by_pci(Hypervisor::Parallels, |id| id.vendor == 0x1ab8))
        .or_else(|| by_pci(Hypervisor::HyperV, |id| id.vendor == 0x1414))
}

/// The model names of QEMU's own processors; that of TCG tells even when its signature is off.
fn processor(evidence: &Evidence) -> Option<(Hypervisor, String)> {
    let line = evidence.proc.cpuinfo.text()?.lines().find(|line| line.starts_with("model name"))?;
    let (_, model) = line.split_once(':')?;
    let model = model.trim();
    let hypervisor = match model {
        m if m.starts_with("QEMU TCG CPU") => Hypervisor::QemuTcg,
        m if m.starts_with("QEMU Virtual CPU") => Hypervisor::Qemu,
        m if m.starts_with("Common KVM processor") => Hypervisor::Qemu,
        _ => return None,
    };
    Some((hypervisor, format!("/proc/cpuinfo model name: {model:?}")))
}
