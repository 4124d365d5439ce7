//! Gathering the evidence: reads only, each bounded, none of which can fail the caller.

use super::cpuid::Cpuid;
use super::evidence::{
    ContainerMarks, DeviceTree, Dmi, Evidence, HypervisorFiles, Namespaces, PciId, ProcFiles,
    Reading, XenFiles,
};
use super::root::Root;
use super::{acpi, dmi};
use std::path::Path;

/// The most PCI devices that are recorded.
const PCI_DEVICES_MAX: usize = 256;

impl Evidence {
    /// Gathers the evidence about this machine and process.
    pub fn gather() -> Evidence {
        Evidence {
            arch: std::env::consts::ARCH.to_owned(),
            cpuid: Cpuid::gather(),
            ..Evidence::gather_from(Path::new("/"))
        }
    }

    /// Gathers from a directory that stands for `/`, such as a captured tree. What only the
    /// processor can say ([`Evidence::arch`], [`Evidence::cpuid`]) is left empty.
    pub fn gather_from(root: &Path) -> Evidence {
        let root = Root::new(root);
        Evidence {
            arch: String::new(),
            cpuid: None,
            dmi: dmi_strings(&root),
            acpi: acpi_tables(&root),
            proc: proc_files(&root),
            xen: xen_files(&root),
            hypervisor: hypervisor_files(&root),
            device_tree: device_tree(&root),
            pci: pci_ids(&root),
            container: container_marks(&root),
            namespaces: namespaces(&root),
        }
    }
}

fn dmi_strings(root: &Root) -> Dmi {
    let read = |name: &str| root.text(&format!("/sys/class/dmi/id/{name}"));
    Dmi {
        product_name: read("product_name"),
        product_version: read("product_version"),
        product_family: read("product_family"),
        sys_vendor: read("sys_vendor"),
        board_vendor: read("board_vendor"),
        board_name: read("board_name"),
        bios_vendor: read("bios_vendor"),
        bios_version: read("bios_version"),
        chassis_vendor: read("chassis_vendor"),
        chassis_asset_tag: read("chassis_asset_tag"),
        smbios_vm_bit: root
            .bytes("/sys/firmware/dmi/entries/0-0/raw")
            .ok()
            .and_then(|raw| dmi::smbios_vm_bit(&raw)),
    }
}

fn acpi_tables(root: &Root) -> Vec<String> {
    ["DSDT", "FACP", "APIC"]
        .iter()
        .filter_map(|name| {
            let table = root.bytes(&format!("/sys/firmware/acpi/tables/{name}"));
            acpi::describe(&table.ok()?)
        })
        .collect()
}

fn proc_files(root: &Root) -> ProcFiles {
    ProcFiles {
        // The processors are separated by an empty line, and equal in what matters here.
        cpuinfo: root.text("/proc/cpuinfo").map(|text| {
            let first = text.split("\n\n").next().unwrap_or_default();
            first.to_owned()
        }),
        version: root.text("/proc/version"),
        osrelease: root.text("/proc/sys/kernel/osrelease"),
        sysinfo: root.text("/proc/sysinfo"),
    }
}

fn xen_files(root: &Root) -> XenFiles {
    let version = root.text("/sys/hypervisor/version/major").map(|major| {
        let part = |name: &str| {
            let reading = root.text(&format!("/sys/hypervisor/version/{name}"));
            reading.text().unwrap_or_default().to_owned()
        };
        format!("{major}.{}{}", part("minor"), part("extra"))
    });
    XenFiles {
        proc_xen: root.exists("/proc/xen"),
        capabilities: root.text("/proc/xen/capabilities"),
        features: root.text("/sys/hypervisor/properties/features"),
        guest_type: root.text("/sys/hypervisor/guest_type"),
        uuid: root.text("/sys/hypervisor/uuid"),
        version,
    }
}

fn hypervisor_files(root: &Root) -> HypervisorFiles {
    HypervisorFiles {
        kind: root.text("/sys/hypervisor/type"),
        jailhouse_enabled: root.text("/sys/devices/jailhouse/enabled"),
        lguest_bus: root.exists("/sys/devices/lguest") || root.exists("/sys/bus/lguest"),
        vmbus_devices: !root.names("/sys/bus/vmbus/devices").is_empty(),
        qemu_fw_cfg: root.exists("/sys/firmware/qemu_fw_cfg"),
    }
}

fn device_tree(root: &Root) -> DeviceTree {
    let at = |name: &str| format!("/proc/device-tree/{name}");
    DeviceTree {
        present: root.exists("/proc/device-tree"),
        compatible: root.text(&at("compatible")),
        hypervisor_compatible: root.text(&at("hypervisor/compatible")),
        fw_cfg: root.names("/proc/device-tree").iter().any(|name| name.contains("fw-cfg")),
        ibm_partition_name: root.exists(&at("ibm,partition-name")),
        hmc_managed: root.exists(&at("hmc-managed?")),
        qemu_graphic_width: root.exists(&at("chosen/qemu,graphic-width")),
    }
}

/// Reads the identity of the PCI device in that directory of sysfs.
pub(super) fn pci_id(root: &Root, directory: &str) -> Option<PciId> {
    let number = |name: &str| {
        let reading = root.text(&format!("{directory}/{name}"));
        let digits = reading.text()?.trim().strip_prefix("0x")?.to_owned();
        u16::from_str_radix(&digits, 16).ok()
    };
    Some(PciId {
        vendor: number("vendor")?,
        device: number("device")?,
        subsystem_vendor: number("subsystem_vendor").unwrap_or(0),
        subsystem_device: number("subsystem_device").unwrap_or(0),
    })
}

fn pci_ids(root: &Root) -> Vec<PciId> {
    const DEVICES: &str = "/sys/bus/pci/devices";
    root.names(DEVICES)
        .iter()
        .take(PCI_DEVICES_MAX)
        .filter_map(|address| pci_id(root, &format!("{DEVICES}/{address}")))
        .collect()
}

fn container_marks(root: &Root) -> ContainerMarks {
    let status = root.text("/proc/self/status").map(keep_status);
    ContainerMarks {
        manager: root.text("/run/host/container-manager"),
        systemd: root.text("/run/systemd/container"),
        init_variable: init_variable(root),
        containerenv: root.exists("/run/.containerenv"),
        dockerenv: root.exists("/.dockerenv"),
        init_cgroup: root.text("/proc/1/cgroup"),
        proc_vz: root.exists("/proc/vz"),
        proc_bc: root.exists("/proc/bc"),
        tracer: tracer(root, &status),
        root_mount: root_mount(root),
        status,
    }
}

/// Keeps the lines that tell of contexts; the rest changes with every run.
fn keep_status(text: &str) -> String {
    const FIELDS: &[&str] = &["TracerPid", "VxID", "s_context", "envID"];
    let wanted =
        |line: &&str| line.split_once(':').is_some_and(|(name, _)| FIELDS.contains(&name.trim()));
    text.lines().filter(wanted).collect::<Vec<_>>().join("\n")
}

fn tracer(root: &Root, status: &Reading) -> Reading {
    let pid = status.text().and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("TracerPid"))?;
        let (_, pid) = line.split_once(':')?;
        pid.trim().parse::<u32>().ok().filter(|&pid| pid != 0)
    });
    pid.map_or(Reading::Missing, |pid| root.text(&format!("/proc/{pid}/comm")))
}

/// Only the one variable: the environment of another process may hold secrets.
fn init_variable(root: &Root) -> Reading {
    match root.text("/proc/1/environ") {
        Reading::Text(environ) => environ
            .split('\0')
            .find_map(|pair| pair.strip_prefix("container="))
            .map_or(Reading::Missing, |value| Reading::Text(value.to_owned())),
        other => other,
    }
}

/// The file system type and source of `/`: the last line of mountinfo for that mount point is
/// the topmost one.
fn root_mount(root: &Root) -> Reading {
    let reading = root.text("/proc/self/mountinfo");
    let Some(text) = reading.text() else {
        return reading;
    };
    let found = text.lines().rev().find_map(|line| {
        if line.split(' ').nth(4) != Some("/") {
            return None;
        }
        let (_, tail) = line.split_once(" - ")?;
        let mut words = tail.split(' ');
        Some(format!("{} {}", words.next()?, words.next()?))
    });
    found.map_or(Reading::Missing, Reading::Text)
}

fn namespaces(root: &Root) -> Namespaces {
    const KINDS: &[&str] = &["cgroup", "ipc", "mnt", "net", "pid", "user", "uts"];
    let inode = |kind: &str| {
        let target = root.link(&format!("/proc/self/ns/{kind}"))?;
        let digits = target.split(['[', ']']).nth(1)?.to_owned();
        digits.parse::<u64>().ok()
    };
    let found = KINDS.iter().filter_map(|&kind| Some((kind.to_owned(), inode(kind)?)));
    Namespaces(found.collect())
}
