//! Memory that could become a region: what is there, how large, and whether this process may
//! use it. Nothing is mapped; `region` decides what to do with a hint.

use std::ffi::CString;
use std::fmt;
use std::mem::MaybeUninit;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use serde::Serialize;

use crate::detect::gather::pci_id;
use crate::detect::root::Root;

/// A kind of shared memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RegionKind {
    /// QEMU's ivshmem device, PCI 1af4:1110, shared by guests of one host.
    Ivshmem,
    /// Jailhouse's ivshmem-v2 device, PCI 110a:4106.
    IvshmemV2,
    /// Memory that User-Mode Linux maps from a file of its host.
    Mmapper,
    /// Grant tables of Xen.
    XenGrants,
    /// A persistent-memory device (nvdimm, virtio-pmem) as a disk.
    Pmem,
    /// A persistent-memory device as memory.
    Dax,
    /// The tmpfs for POSIX shared memory.
    DevShm,
    /// An anonymous file, shared by passing its descriptor.
    Memfd,
}

impl fmt::Display for RegionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RegionKind::Ivshmem => "ivshmem",
            RegionKind::IvshmemV2 => "ivshmem-v2",
            RegionKind::Mmapper => "mmapper",
            RegionKind::XenGrants => "xen-grants",
            RegionKind::Pmem => "pmem",
            RegionKind::Dax => "dax",
            RegionKind::DevShm => "dev-shm",
            RegionKind::Memfd => "memfd",
        })
    }
}

/// Something that could become a region.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RegionHint {
    /// What it is.
    pub kind: RegionKind,
    /// Where: a device, file or system call.
    pub place: String,
    /// Size in bytes, where known.
    pub bytes: Option<u64>,
    /// Bytes free, where the kind has such a number.
    pub bytes_free: Option<u64>,
    /// Why this process cannot use it now, with the remedy; none when nothing speaks against it.
    pub obstacle: Option<String>,
}

pub(super) fn look(root: &Root) -> Vec<RegionHint> {
    let mut hints = ivshmem(root);
    hints.extend(mmapper(root));
    hints.extend(xen_grants(root));
    hints.extend(persistent_memory(root));
    hints.extend(dev_shm(root));
    hints.extend(memfd(root));
    hints
}

fn ivshmem(root: &Root) -> Vec<RegionHint> {
    const DEVICES: &str = "/sys/bus/pci/devices";
    let hint = |address: &String| {
        let place = format!("{DEVICES}/{address}");
        let id = pci_id(root, &place)?;
        let kind = match (id.vendor, id.device) {
            (0x1af4, 0x1110) => RegionKind::Ivshmem,
            (0x110a, 0x4106) => RegionKind::IvshmemV2,
            _ => return None,
        };
        let memory = format!("{place}/resource2");
        let obstacle = if kind == RegionKind::Ivshmem {
            obstacle(root, &memory)
        } else {
            // Sections of ivshmem-v2 are described in its configuration space; uio maps them.
            None
        };
        Some(RegionHint {
            kind,
            bytes: bar_bytes(root, &place, 2),
            place,
            bytes_free: None,
            obstacle,
        })
    };
    root.names(DEVICES).iter().filter_map(hint).collect()
}

/// The size of a PCI device's memory from its `resource` file: one line "start end flags" per
/// region, in hexadecimal.
fn bar_bytes(root: &Root, device: &str, bar: usize) -> Option<u64> {
    let reading = root.text(&format!("{device}/resource"));
    let mut words = reading.text()?.lines().nth(bar)?.split_whitespace();
    let mut number = || u64::from_str_radix(words.next()?.strip_prefix("0x")?, 16).ok();
    let (start, end) = (number()?, number()?);
    if (start, end) == (0, 0) {
        return None;
    }
    end.checked_sub(start)?.checked_add(1)
}

fn mmapper(root: &Root) -> Option<RegionHint> {
    let place = "/dev/mmapper";
    root.exists(place).then(|| RegionHint {
        kind: RegionKind::Mmapper,
        place: place.to_owned(),
        bytes: None,
        bytes_free: None,
        obstacle: obstacle(root, place),
    })
}

/// All three devices are needed: to give pages, to map those given, and to ring.
fn xen_grants(root: &Root) -> Option<RegionHint> {
    const DEVICES: [&str; 3] = ["/dev/xen/gntalloc", "/dev/xen/gntdev", "/dev/xen/evtchn"];
    let (there, missing): (Vec<&str>, Vec<&str>) =
        DEVICES.iter().partition(|device| root.exists(device));
    if there.is_empty() {
        return None;
    }
    let obstacle = if missing.is_empty() {
        there.iter().find_map(|device| obstacle(root, device))
    } else {
        Some(format!(
            "{} is missing: load xen-gntalloc, xen-gntdev and xen-evtchn",
            missing.join(", ")
        ))
    };
    Some(RegionHint {
        kind: RegionKind::XenGrants,
        place: there.join(", "),
        bytes: None,
        bytes_free: None,
        obstacle,
    })
}

fn persistent_memory(root: &Root) -> Vec<RegionHint> {
    let number = |path: String| root.text(&path).text()?.trim().parse::<u64>().ok();
    let hint = |kind, name: &str, bytes| {
        let place = format!("/dev/{name}");
        let obstacle = obstacle(root, &place);
        RegionHint { kind, place, bytes, bytes_free: None, obstacle }
    };
    let blocks = root.names("/sys/block");
    let pmem = blocks.iter().filter(|name| name.starts_with("pmem")).map(|name| {
        // Disks count in sectors of 512 bytes, whatever their own.
        let bytes = number(format!("/sys/block/{name}/size")).and_then(|n| n.checked_mul(512));
        hint(RegionKind::Pmem, name, bytes)
    });
    let memories = root.names("/sys/bus/dax/devices");
    let dax = memories.iter().map(|name| {
        let bytes = number(format!("/sys/bus/dax/devices/{name}/size"));
        hint(RegionKind::Dax, name, bytes)
    });
    pmem.chain(dax).collect()
}

fn dev_shm(root: &Root) -> Option<RegionHint> {
    let place = "/dev/shm";
    if !root.exists(place) {
        return None;
    }
    let space = if root.is_live() { space(&root.path(place)) } else { None };
    Some(RegionHint {
        kind: RegionKind::DevShm,
        place: place.to_owned(),
        bytes: space.map(|(all, _)| all),
        bytes_free: space.map(|(_, free)| free),
        obstacle: obstacle(root, place),
    })
}

/// Size and free bytes of the file system at `path`.
fn space(path: &Path) -> Option<(u64, u64)> {
    let name = CString::new(path.as_os_str().as_bytes()).ok()?;
    let mut stat = MaybeUninit::<libc::statvfs>::zeroed();
    // SAFETY: `name` is NUL-terminated and `stat` is writable; both live across the call.
    let got = unsafe { libc::statvfs(name.as_ptr(), stat.as_mut_ptr()) };
    if got != 0 {
        return None;
    }
    // SAFETY: zeroed is a valid value of this plain struct, and the call filled it.
    let stat = unsafe { stat.assume_init() };
    let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
    Some((bytes(stat.f_blocks), bytes(stat.f_bavail)))
}

/// Tries it: some kernels lack it and some sandboxes forbid it.
fn memfd(root: &Root) -> Option<RegionHint> {
    if !root.is_live() {
        return None;
    }
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    // SAFETY: the name is a NUL-terminated literal.
    let fd = unsafe { libc::memfd_create(c"cohost-detect".as_ptr(), flags) };
    let obstacle = if fd < 0 {
        let error = std::io::Error::last_os_error();
        Some(format!("memfd_create: {error}"))
    } else {
        // SAFETY: the descriptor was just made and belongs to nobody else.
        drop(unsafe { OwnedFd::from_raw_fd(fd) });
        None
    };
    Some(RegionHint {
        kind: RegionKind::Memfd,
        place: "memfd_create".to_owned(),
        bytes: None,
        bytes_free: None,
        obstacle,
    })
}

/// Why this process could not open `path` for reading and writing, without opening it: some
/// devices act on being opened.
fn obstacle(root: &Root, path: &str) -> Option<String> {
    if !root.is_live() {
        return None;
    }
    let full = root.path(path);
    let name = CString::new(full.as_os_str().as_bytes()).ok()?;
    // SAFETY: `name` is NUL-terminated and lives across the call.
    if unsafe { libc::access(name.as_ptr(), libc::R_OK | libc::W_OK) } == 0 {
        return None;
    }
    let error = std::io::Error::last_os_error();
    let what = match full.metadata() {
        Ok(found) if found.file_type().is_char_device() => "device",
        _ => "file",
    };
    Some(format!("{path}: {error}; this {what} must be readable and writable for the job's user"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn put(dir: &Path, path: &str, text: &str) {
        let full = dir.join(path);
        fs::create_dir_all(full.parent().unwrap()).unwrap();
        fs::write(full, text).unwrap();
    }

    #[test]
    fn an_ivshmem_device_is_found_with_the_size_of_its_memory() {
        let dir = tempfile::tempdir().unwrap();
        let device = "sys/bus/pci/devices/0000:00:05.0";
        put(dir.path(), &format!("{device}/vendor"), "0x1af4\n");
        put(dir.path(), &format!("{device}/device"), "0x1110\n");
        let lines = "0x00000000febf1000 0x00000000febf10ff 0x0000000000040200\n\
                     0x0000000000000000 0x0000000000000000 0x0000000000000000\n\
                     0x00000000f8000000 0x00000000fbffffff 0x000000000014220c\n";
        put(dir.path(), &format!("{device}/resource"), lines);
        let hints = look(&Root::new(dir.path()));
        assert_eq!(hints.len(), 1);
        assert_eq!(hints[0].kind, RegionKind::Ivshmem);
        assert_eq!(hints[0].bytes, Some(64 << 20));
    }

    #[test]
    fn a_resource_file_of_nonsense_gives_no_size() {
        let dir = tempfile::tempdir().unwrap();
        for text in ["", "\n\n0x5 0x1 0x0", "\n\nfoo", "\n\n0x0 0xffffffffffffffff 0"] {
            put(dir.path(), "d/resource", text);
            assert_eq!(bar_bytes(&Root::new(dir.path()), "/d", 2), None, "{text:?}");
        }
    }

    #[test]
    fn a_xen_guest_without_gntalloc_is_told_what_to_load() {
        let dir = tempfile::tempdir().unwrap();
        put(dir.path(), "dev/xen/gntdev", "");
        put(dir.path(), "dev/xen/evtchn", "");
        let hint = xen_grants(&Root::new(dir.path())).unwrap();
        assert!(hint.obstacle.unwrap().contains("/dev/xen/gntalloc"));
    }

    #[test]
    fn pmem_and_dax_have_sizes_and_mmapper_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        put(dir.path(), "sys/block/pmem0/size", "131072\n");
        put(dir.path(), "sys/bus/dax/devices/dax0.0/size", "67108864\n");
        put(dir.path(), "dev/mmapper", "");
        let hints = look(&Root::new(dir.path()));
        let of = |kind| hints.iter().find(|h| h.kind == kind).unwrap();
        assert_eq!(of(RegionKind::Pmem).bytes, Some(64 << 20));
        assert_eq!(of(RegionKind::Dax).bytes, Some(64 << 20));
        assert_eq!(of(RegionKind::Mmapper).place, "/dev/mmapper");
    }
}
