//! QEMU's ivshmem device, plain or with doorbells: memory that all guests given the same backing
//! file have in common. PCI 1af4:1110; its memory is BAR 2, mapped through sysfs without a driver.
//! Source: `ivshmem-spec.rst` of QEMU, `Documentation/PCI/sysfs-pci.rst` of Linux.
//!
//! **Which file is mapped.** On x86 `resource2` first: uncached at worst, and then still in order.
//! `resource2_wc` is write-combining, which lets stores overtake each other; our rings publish with
//! plain stores and would break, so it is taken only where a measurement shows that the hypervisor
//! overrules it and the memory is in fact cached. Elsewhere (Arm) `resource2` is device memory, on
//! which unaligned copies are faults, and `resource2_wc` is normal memory with working barriers:
//! there it comes first.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use memmap2::MmapOptions;

use super::access::Mapping;
use super::device::{DeviceError, Memory};
use super::layout::PAGE;
use super::{RegionError, sys};

/// Where Linux lists PCI devices.
pub const DEVICES: &str = "sys/bus/pci/devices";
/// Why sysfs does not give a device.
const DRIVER: &str = "a driver has it: unbind it, or bind vfio-pci";
const VENDOR: u32 = 0x1af4;
const DEVICE: u32 = 0x1110;

/// A device that was found, and not touched yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its PCI address, as sysfs names it: `0000:00:05.0`.
    pub address: String,
    /// Its directory in sysfs.
    pub directory: PathBuf,
    /// Length of its memory in bytes, where sysfs says.
    pub bytes: Option<u64>,
    /// Whether it can interrupt peers (ivshmem-doorbell).
    pub doorbell: bool,
}

/// All ivshmem devices, in the order of their addresses. `root` is `/`, or a copy of its `sys`.
#[must_use]
pub fn find(root: &Path) -> Vec<Found> {
    devices(root, VENDOR, DEVICE)
}

/// All PCI devices with these ids.
pub(super) fn devices(root: &Path, vendor: u32, device: u32) -> Vec<Found> {
    let Ok(entries) = std::fs::read_dir(root.join(DEVICES)) else {
        return Vec::new();
    };
    let mut directories: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    directories.sort();
    directories.into_iter().filter_map(|directory| at(&directory, vendor, device)).collect()
}

/// The ivshmem device with this directory in sysfs, if it is one.
#[must_use]
pub fn found_at(directory: &Path) -> Option<Found> {
    at(directory, VENDOR, DEVICE)
}

fn at(directory: &Path, vendor: u32, device: u32) -> Option<Found> {
    let number = |name: &str| hex(&std::fs::read_to_string(directory.join(name)).ok()?);
    if number("vendor")? != u64::from(vendor) || number("device")? != u64::from(device) {
        return None;
    }
    let resources = std::fs::read_to_string(directory.join("resource")).unwrap_or_default();
    let listed = bar_bytes(&resources, 2);
    let length = || {
        let file = std::fs::metadata(directory.join("resource2")).ok()?;
        Some(file.len()).filter(|&bytes| bytes > 0)
    };
    Some(Found {
        address: directory.file_name()?.to_string_lossy().into_owned(),
        directory: directory.to_owned(),
        bytes: listed.or_else(length),
        // The plain device has no table of MSI-X vectors.
        doorbell: bar_bytes(&resources, 1).is_some(),
    })
}

/// The length of a BAR from the `resource` file: a line "start end flags" for each, in hexadecimal.
fn bar_bytes(resources: &str, bar: usize) -> Option<u64> {
    let mut words = resources.lines().nth(bar)?.split_whitespace();
    let (start, end) = (hex(words.next()?)?, hex(words.next()?)?);
    if end == 0 {
        return None;
    }
    end.checked_sub(start)?.checked_add(1)
}

fn hex(text: &str) -> Option<u64> {
    u64::from_str_radix(text.trim().strip_prefix("0x")?, 16).ok()
}

impl Found {
    /// Whether vfio-pci has the device: [`super::vfio::Vfio`] opens it then, and sysfs does not.
    #[must_use]
    pub fn is_bound_to_vfio(&self) -> bool {
        let driver = std::fs::read_link(self.directory.join("driver"));
        driver.is_ok_and(|link| link.file_name().is_some_and(|name| name == "vfio-pci"))
    }

    /// The number of its IOMMU group, when there is an IOMMU.
    pub(super) fn iommu_group(&self) -> Option<String> {
        let link = std::fs::read_link(self.directory.join("iommu_group")).ok()?;
        Some(link.file_name()?.to_str()?.to_owned())
    }

    /// Why this process cannot use the device now, with the remedy; `None` if nothing speaks
    /// against it. Does not touch the device.
    #[must_use]
    pub fn obstacle(&self) -> Option<String> {
        if self.is_bound_to_vfio() {
            let group = Path::new("/dev/vfio").join(self.iommu_group()?);
            let error = sys::may_read_and_write(&group).err()?;
            return Some(super::dax::remedy(&group, &error));
        }
        let memory = self.directory.join("resource2");
        if let Err(error) = sys::may_read_and_write(&memory) {
            return Some(self.remedy(&memory, &error));
        }
        if self.is_enabled() {
            return None;
        }
        let enable = self.directory.join("enable");
        let error = sys::may_read_and_write(&enable).err()?;
        Some(self.remedy(&enable, &error))
    }

    /// Enables the device and maps its memory.
    ///
    /// # Errors
    /// When this process may not, with what to grant.
    pub fn open(&self) -> Result<Memory, DeviceError> {
        self.enable()?;
        let names = if cfg!(target_arch = "x86_64") {
            ["resource2", "resource2_wc"]
        } else {
            ["resource2_wc", "resource2"]
        };
        let paths: Vec<PathBuf> = names
            .iter()
            .map(|name| self.directory.join(name))
            .filter(|path| path.exists())
            .collect();
        let Some(first) = paths.first() else {
            return Err(self.unusable(format!(
                "there is no memory (BAR 2) in {}: give the device one (memdev=..., share=on)",
                self.directory.display()
            )));
        };
        for path in &paths {
            // Each is unmapped before the next is tried: one memory cannot be mapped in two ways.
            let memory = self.map(path)?;
            if !memory.speed().is_uncached() {
                return Ok(memory);
            }
        }
        self.map(first)
    }

    fn is_enabled(&self) -> bool {
        let enabled = std::fs::read_to_string(self.directory.join("enable"));
        // Without the file there is nothing to enable.
        enabled.map_or(true, |text| text.trim() != "0")
    }

    /// A device that no driver has taken does not answer until it is enabled.
    fn enable(&self) -> Result<(), DeviceError> {
        if self.is_enabled() {
            return Ok(());
        }
        let path = self.directory.join("enable");
        std::fs::write(&path, "1").map_err(|error| {
            if error.raw_os_error() == Some(libc::EBUSY) {
                return self.unusable(DRIVER.to_owned());
            }
            let why = self.remedy(&path, &error);
            self.unusable(why)
        })
    }

    fn map(&self, path: &Path) -> Result<Memory, DeviceError> {
        let place = path.display().to_string();
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .map_err(|error| self.unusable(self.remedy(path, &error)))?;
        let length = file.metadata().map_err(RegionError::system("fstat", &place))?.len();
        let length = self.bytes.unwrap_or(length).min(length);
        map_device(&file, length, "ivshmem", &place).map_err(|error| match error {
            RegionError::System { source, .. } if source.raw_os_error() == Some(libc::EINVAL) => {
                self.unusable(format!(
                    "the kernel does not let it be mapped: {DRIVER}, or lockdown is on"
                ))
            }
            other => other.into(),
        })
    }

    fn unusable(&self, why: String) -> DeviceError {
        DeviceError::Unusable { place: format!("ivshmem device {}", self.address), why }
    }

    fn remedy(&self, path: &Path, error: &io::Error) -> String {
        let directory = self.directory.display();
        format!(
            "cannot use {}: {error}; as root, enable it with 'echo 1 > {directory}/enable' and let \
             the job's user read and write its memory: \
             'chgrp GROUP {directory}/resource2* && chmod g+rw {directory}/resource2*'",
            path.display(),
        )
    }
}

/// Maps a whole device twice, writable and read-only.
pub(super) fn map_device(
    file: &File,
    bytes: u64,
    kind: &'static str,
    place: &str,
) -> Result<Memory, RegionError> {
    map_device_at(file, 0, bytes, kind, place)
}

/// The same for a device whose memory is a part of its file.
pub(super) fn map_device_at(
    file: &File,
    offset: u64,
    bytes: u64,
    kind: &'static str,
    place: &str,
) -> Result<Memory, RegionError> {
    let bytes = usize::try_from(bytes).unwrap_or(usize::MAX) / PAGE * PAGE;
    if bytes == 0 {
        return Err(RegionError::NotARegion {
            place: place.to_owned(),
            found: "empty".to_owned(),
            expected: "at least a page of memory",
        });
    }
    let writable = MmapOptions::new()
        .offset(offset)
        .len(bytes)
        .map_raw(file)
        .map_err(RegionError::system("mmap", place))?;
    // Not every device can; peers' sections are then read through the other mapping.
    let readable = MmapOptions::new().offset(offset).len(bytes).map_raw_read_only(file).ok();
    Ok(Memory {
        kind,
        place: place.to_owned(),
        writable: Arc::new(Mapping::watched(writable)),
        readable: readable.map(|map| Arc::new(Mapping::watched(map))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    /// A device as sysfs shows it, with `bytes` of memory.
    fn device(root: &Path, address: &str, bytes: u64, doorbell: bool) -> PathBuf {
        let directory = root.join(DEVICES).join(address);
        fs::create_dir_all(&directory).unwrap();
        let put = |name: &str, text: &str| fs::write(directory.join(name), text).unwrap();
        put("vendor", "0x1af4\n");
        put("device", "0x1110\n");
        put("enable", "0\n");
        let msix = if doorbell {
            "0x00000000febf2000 0x00000000febf2fff 0x0000000000040200"
        } else {
            "0x0000000000000000 0x0000000000000000 0x0000000000000000"
        };
        put(
            "resource",
            &format!(
                "0x00000000febf1000 0x00000000febf10ff 0x0000000000040200\n{msix}\n\
                 0x00000000f8000000 0x{:016x} 0x000000000014220c\n",
                0xf800_0000_u64 + bytes - 1
            ),
        );
        let file = File::create(directory.join("resource2")).unwrap();
        file.set_len(bytes).unwrap();
        directory
    }

    #[test]
    fn plain_and_doorbell_devices_are_told_apart_and_others_left_alone() {
        let root = tempfile::tempdir().unwrap();
        device(root.path(), "0000:00:05.0", 1 << 20, false);
        device(root.path(), "0000:00:04.0", 2 << 20, true);
        let other = device(root.path(), "0000:00:03.0", 2 << 20, true);
        fs::write(other.join("device"), "0x1000\n").unwrap();
        let found = find(root.path());
        let told: Vec<_> = found
            .iter()
            .map(|found| (found.address.as_str(), found.bytes, found.doorbell))
            .collect();
        assert_eq!(
            told,
            [("0000:00:04.0", Some(2 << 20), true), ("0000:00:05.0", Some(1 << 20), false)]
        );
        assert_eq!(find(Path::new("/nonexistent")), []);
    }

    #[test]
    fn opening_enables_the_device_and_maps_its_memory() {
        let root = tempfile::tempdir().unwrap();
        let directory = device(root.path(), "0000:00:05.0", 1 << 20, false);
        let memory = find(root.path())[0].open().unwrap();
        assert_eq!(memory.writable.len(), 1 << 20);
        assert_eq!(fs::read_to_string(directory.join("enable")).unwrap(), "1");
        assert_eq!(memory.kind(), "ivshmem");
    }

    #[test]
    fn a_device_without_memory_is_refused_with_a_reason() {
        let root = tempfile::tempdir().unwrap();
        let directory = device(root.path(), "0000:00:05.0", 1 << 20, false);
        fs::remove_file(directory.join("resource2")).unwrap();
        let error = find(root.path())[0].open().unwrap_err().to_string();
        assert!(error.contains("no memory (BAR 2)"), "{error}");
        File::create(directory.join("resource2")).unwrap();
        assert!(find(root.path())[0].open().is_err());
    }

    #[test]
    fn the_lack_of_permission_says_what_to_grant() {
        let root = tempfile::tempdir().unwrap();
        let directory = device(root.path(), "0000:00:05.0", 1 << 20, false);
        let found = find(root.path()).remove(0);
        let error = io::Error::from_raw_os_error(libc::EACCES);
        let said = found.remedy(&directory.join("resource2"), &error);
        for part in ["resource2", "Permission denied", "echo 1 >", "chmod g+rw"] {
            assert!(said.contains(part), "{said}");
        }
        let mode = fs::Permissions::from_mode(0o400);
        fs::set_permissions(directory.join("resource2"), mode).unwrap();
        // Root may do everything, and there is nothing to see then.
        if sys::effective_uid() != 0 {
            assert!(found.obstacle().is_some());
            assert!(found.open().is_err());
        }
    }

    #[test]
    fn resources_of_nonsense_give_no_length() {
        for text in ["", "\n\n0x5 0x1 0x0", "\n\nfoo", "\n\n0x0 0xffffffffffffffff 0"] {
            assert_eq!(bar_bytes(text, 2), None, "{text:?}");
        }
    }
}
