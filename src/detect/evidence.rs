//! What was found, before anybody judges it: plain data that can be saved and replayed.

use std::collections::BTreeMap;
use std::io;

use serde::{Deserialize, Serialize};

use super::cpuid::Cpuid;

/// What came of reading one file. In JSON: text is a string, a missing file is absent or null,
/// an unreadable one is `{"not_readable": "why"}`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Reading {
    /// There is no such file.
    #[default]
    Missing,
    /// Its content, bounded, without white space at the end.
    Text(String),
    /// It is there, and was not readable.
    NotReadable {
        /// Why, in the words of the system.
        not_readable: String,
    },
}

impl Reading {
    /// The content, when there is one.
    pub fn text(&self) -> Option<&str> {
        match self {
            Reading::Text(text) => Some(text),
            Reading::Missing | Reading::NotReadable { .. } => None,
        }
    }

    /// Whether there is no such file.
    pub fn is_missing(&self) -> bool {
        *self == Reading::Missing
    }

    /// A reading that failed because of `why`.
    pub fn not_readable(why: &str) -> Reading {
        Reading::NotReadable { not_readable: why.to_owned() }
    }

    pub(super) fn from_error(error: &io::Error) -> Reading {
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Reading::Missing,
            _ => Reading::not_readable(&error.to_string()),
        }
    }

    /// Keeps what `keep` makes of the text; a text of which nothing is kept becomes empty.
    pub(super) fn map(self, keep: impl FnOnce(&str) -> String) -> Reading {
        match self {
            Reading::Text(text) => Reading::Text(keep(&text)),
            other => other,
        }
    }
}

fn is_false(value: &bool) -> bool {
    !*value
}

/// All evidence about hypervisor and container. Every field may be missing: `Default` is a
/// machine of which nothing could be read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Evidence {
    /// Instruction set of this machine, as in `uname -m`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub arch: String,
    /// What the processor says; only on x86.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpuid: Option<Cpuid>,
    /// `/sys/class/dmi/id` and the SMBIOS characteristics.
    pub dmi: Dmi,
    /// Manufacturer and table ids of ACPI tables, as in `DSDT BOCHS  BXPC`; for root only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub acpi: Vec<String>,
    /// Files of `/proc` that speak of the machine.
    pub proc: ProcFiles,
    /// Marks of Xen.
    pub xen: XenFiles,
    /// Marks of other hypervisors in `/sys` and `/dev`.
    pub hypervisor: HypervisorFiles,
    /// `/proc/device-tree`.
    pub device_tree: DeviceTree,
    /// Identities of PCI devices.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pci: Vec<PciId>,
    /// Marks of containers.
    pub container: ContainerMarks,
    /// The namespaces of this process.
    pub namespaces: Namespaces,
}

/// The strings of `/sys/class/dmi/id`, one field per file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "each field is the file of that name")]
pub struct Dmi {
    #[serde(skip_serializing_if = "Reading::is_missing")]
    pub product_name: Reading,
    #[serde(skip_serializing_if = "Reading::is_missing")]
    pub product_version: Reading,
    #[serde(skip_serializing_if = "Reading::is_missing")]
    pub product_family: Reading,
    #[serde(skip_serializing_if = "Reading::is_missing")]
    pub sys_vendor: Reading,
    #[serde(skip_serializing_if = "Reading::is_missing")]
    pub board_vendor: Reading,
    #[serde(skip_serializing_if = "Reading::is_missing")]
    pub board_name: Reading,
    #[serde(skip_serializing_if = "Reading::is_missing")]
    pub bios_vendor: Reading,
    #[serde(skip_serializing_if = "Reading::is_missing")]
    pub bios_version: Reading,
    #[serde(skip_serializing_if = "Reading::is_missing")]
    pub chassis_vendor: Reading,
    #[serde(skip_serializing_if = "Reading::is_missing")]
    pub chassis_asset_tag: Reading,
    /// The bit "this is a virtual machine" of the BIOS characteristics (SMBIOS 3.4, 7.1.2.2),
    /// from `/sys/firmware/dmi/entries/0-0/raw`; none when that is not readable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub smbios_vm_bit: Option<bool>,
}

/// Files of `/proc` that speak of the machine or its kernel.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProcFiles {
    /// `/proc/cpuinfo`, the first processor.
    #[serde(skip_serializing_if = "Reading::is_missing")]
    pub cpuinfo: Reading,
    /// `/proc/version`.
    #[serde(skip_serializing_if = "Reading::is_missing")]
    pub version: Reading,
    /// `/proc/sys/kernel/osrelease`.
    #[serde(skip_serializing_if = "Reading::is_missing")]
    pub osrelease: Reading,
    /// `/proc/sysinfo`, on IBM Z.
    #[serde(skip_serializing_if = "Reading::is_missing")]
    pub sysinfo: Reading,
}

/// Marks of Xen.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct XenFiles {
    /// Whether `/proc/xen` is there.
    #[serde(skip_serializing_if = "is_false")]
    pub proc_xen: bool,
    /// `/proc/xen/capabilities`.
    #[serde(skip_serializing_if = "Reading::is_missing")]
    pub capabilities: Reading,
    /// `/sys/hypervisor/properties/features`, hexadecimal, `XENFEAT_*`.
    #[serde(skip_serializing_if = "Reading::is_missing")]
    pub features: Reading,
    /// `/sys/hypervisor/guest_type`: PV, HVM or PVH.
    #[serde(skip_serializing_if = "Reading::is_missing")]
    pub guest_type: Reading,
    /// `/sys/hypervisor/uuid`: all zero in dom0.
    #[serde(skip_serializing_if = "Reading::is_missing")]
    pub uuid: Reading,
    /// `/sys/hypervisor/version/{major,minor,extra}` in one string.
    #[serde(skip_serializing_if = "Reading::is_missing")]
    pub version: Reading,
}

/// Marks of hypervisors in `/sys` and `/dev`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HypervisorFiles {
    /// `/sys/hypervisor/type`.
    #[serde(rename = "type", skip_serializing_if = "Reading::is_missing")]
    pub kind: Reading,
    /// `/sys/devices/jailhouse/enabled`: 1 in a root cell whose hypervisor runs.
    #[serde(skip_serializing_if = "Reading::is_missing")]
    pub jailhouse_enabled: Reading,
    /// Whether `/sys/devices/lguest` or `/sys/bus/lguest` is there.
    #[serde(skip_serializing_if = "is_false")]
    pub lguest_bus: bool,
    /// Whether `/sys/bus/vmbus` has devices: Hyper-V's own bus, which KVM does not offer by itself.
    #[serde(skip_serializing_if = "is_false")]
    pub vmbus_devices: bool,
    /// Whether `/sys/firmware/qemu_fw_cfg` is there.
    #[serde(skip_serializing_if = "is_false")]
    pub qemu_fw_cfg: bool,
}

/// What the device tree says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DeviceTree {
    /// Whether `/proc/device-tree` is there.
    #[serde(skip_serializing_if = "is_false")]
    pub present: bool,
    /// `compatible` of the root node; several strings are separated by NUL.
    #[serde(skip_serializing_if = "Reading::is_missing")]
    pub compatible: Reading,
    /// `hypervisor/compatible`.
    #[serde(skip_serializing_if = "Reading::is_missing")]
    pub hypervisor_compatible: Reading,
    /// Whether a node's name contains `fw-cfg`: QEMU's configuration device.
    #[serde(skip_serializing_if = "is_false")]
    pub fw_cfg: bool,
    /// Whether `ibm,partition-name` is there.
    #[serde(skip_serializing_if = "is_false")]
    pub ibm_partition_name: bool,
    /// Whether `hmc-managed?` is there.
    #[serde(skip_serializing_if = "is_false")]
    pub hmc_managed: bool,
    /// Whether `chosen/qemu,graphic-width` is there.
    #[serde(skip_serializing_if = "is_false")]
    pub qemu_graphic_width: bool,
}

/// The identity of one PCI device.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PciId {
    /// Vendor.
    pub vendor: u16,
    /// Device.
    pub device: u16,
    /// Vendor of the subsystem; zero when unset.
    pub subsystem_vendor: u16,
    /// Device of the subsystem; zero when unset.
    pub subsystem_device: u16,
}

/// Marks that container managers leave.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ContainerMarks {
    /// `/run/host/container-manager`.
    #[serde(skip_serializing_if = "Reading::is_missing")]
    pub manager: Reading,
    /// `/run/systemd/container`.
    #[serde(skip_serializing_if = "Reading::is_missing")]
    pub systemd: Reading,
    /// The value of `container=` in `/proc/1/environ`; nothing else of it is kept.
    #[serde(skip_serializing_if = "Reading::is_missing")]
    pub init_variable: Reading,
    /// `/run/.containerenv`.
    #[serde(skip_serializing_if = "is_false")]
    pub containerenv: bool,
    /// `/.dockerenv`.
    #[serde(skip_serializing_if = "is_false")]
    pub dockerenv: bool,
    /// `/proc/1/cgroup`.
    #[serde(skip_serializing_if = "Reading::is_missing")]
    pub init_cgroup: Reading,
    /// `/proc/vz`: OpenVZ, inside and outside of its containers.
    #[serde(skip_serializing_if = "is_false")]
    pub proc_vz: bool,
    /// `/proc/bc`: OpenVZ, outside only.
    #[serde(skip_serializing_if = "is_false")]
    pub proc_bc: bool,
    /// Of `/proc/self/status` the lines TracerPid, VxID, s_context and envID.
    #[serde(skip_serializing_if = "Reading::is_missing")]
    pub status: Reading,
    /// Name of the process that traces this one, if any.
    #[serde(skip_serializing_if = "Reading::is_missing")]
    pub tracer: Reading,
    /// File system and source of `/`, as in `ext4 /dev/vda`, from `/proc/self/mountinfo`.
    #[serde(skip_serializing_if = "Reading::is_missing")]
    pub root_mount: Reading,
}

/// Inode numbers of this process's namespaces by kind (`pid`, `ipc`, `uts`, `cgroup`, `user`...),
/// from `/proc/self/ns`. The kernel's first ones have fixed numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Namespaces(pub BTreeMap<String, u64>);

impl Namespaces {
    /// Whether the namespace of that kind is the kernel's first; none when not known.
    pub fn is_first(&self, kind: &str) -> Option<bool> {
        // include/linux/proc_ns.h: fixed numbers from 0xEFFFFFF8 upwards.
        let first = match kind {
            "cgroup" => 0xEFFF_FFFB,
            "pid" => 0xEFFF_FFFC,
            "user" => 0xEFFF_FFFD,
            "uts" => 0xEFFF_FFFE,
            "ipc" => 0xEFFF_FFFF,
            _ => return None,
        };
        self.0.get(kind).map(|&inode| inode == first)
    }
}
