//! An ivshmem device held through vfio-pci: the same memory, and its registers and interrupts, which
//! sysfs does not give. Source: `include/uapi/linux/vfio.h`, `Documentation/driver-api/vfio.rst`.
//!
//! A device can be held this way by one process of a machine; the others map its memory through
//! sysfs only if the kernel lets them, and are woken by TCP.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd};
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::device::{DeviceError, Memory};
use super::ivshmem::{Found, map_device_at};
use super::{RegionError, ioctl};

const GROUP: u8 = b';';
const GET_API_VERSION: libc::Ioctl = ioctl::number(GROUP, 100, 0);
const SET_IOMMU: libc::Ioctl = ioctl::number(GROUP, 102, 0);
const GROUP_GET_STATUS: libc::Ioctl = ioctl::number(GROUP, 103, 0);
const GROUP_SET_CONTAINER: libc::Ioctl = ioctl::number(GROUP, 104, 0);
const GROUP_GET_DEVICE_FD: libc::Ioctl = ioctl::number(GROUP, 106, 0);
const GET_REGION_INFO: libc::Ioctl = ioctl::number(GROUP, 108, 0);
const GET_IRQ_INFO: libc::Ioctl = ioctl::number(GROUP, 109, 0);
const SET_IRQS: libc::Ioctl = ioctl::number(GROUP, 110, 0);

const TYPE1_IOMMU: libc::c_ulong = 1;
const GROUP_VIABLE: u32 = 1;
/// Regions of a PCI device: BAR 0 to 5, ROM, configuration space.
const BAR_REGISTERS: u32 = 0;
const BAR_MEMORY: u32 = 2;
const CONFIG: u32 = 7;
/// Interrupt kinds of a PCI device: INTx, MSI, MSI-X.
const MSIX: u32 = 2;
/// The command register in configuration space, and its bits for memory and for bus mastering,
/// without which a device cannot send MSI-X.
const COMMAND: u64 = 4;
const COMMAND_MEMORY_AND_MASTER: u16 = 1 << 1 | 1 << 2;

/// `vfio_group_status`.
#[repr(C)]
struct GroupStatus {
    size: u32,
    flags: u32,
}

/// `vfio_region_info`.
#[repr(C)]
struct RegionInfo {
    size: u32,
    flags: u32,
    index: u32,
    capabilities: u32,
    bytes: u64,
    offset: u64,
}

/// `vfio_irq_info`.
#[repr(C)]
struct IrqInfo {
    size: u32,
    flags: u32,
    index: u32,
    count: u32,
}

/// `vfio_irq_set` with one descriptor.
#[repr(C)]
struct IrqSet {
    size: u32,
    flags: u32,
    index: u32,
    start: u32,
    count: u32,
    fd: i32,
}

/// The data are descriptors of eventfds, and the interrupt triggers them.
const IRQ_EVENTFD_TRIGGER: u32 = 1 << 2 | 1 << 5;

/// Offset and length of a part of the device in its file.
#[derive(Clone, Copy, Debug)]
struct Part {
    offset: u64,
    bytes: u64,
}

/// Registers and interrupts of a device, as doorbells need them.
pub trait Registers: std::fmt::Debug + Send + Sync {
    /// How many MSI-X vectors it has.
    fn vectors(&self) -> u32;

    /// Reads a 32-bit register.
    ///
    /// # Errors
    /// When there is no such register.
    fn read(&self, register: u64) -> io::Result<u32>;

    /// Writes a 32-bit register.
    ///
    /// # Errors
    /// When there is no such register.
    fn write(&self, register: u64, value: u32) -> io::Result<()>;

    /// Lets the MSI-X interrupt `vector` count up an eventfd.
    ///
    /// # Errors
    /// When the kernel cannot route it.
    fn route(&self, vector: u32, eventfd: BorrowedFd<'_>) -> io::Result<()>;
}

/// A device that this process holds. The fields are closed in this order.
#[derive(Debug)]
pub struct Vfio {
    device: File,
    registers: Part,
    memory: Part,
    vectors: u32,
    place: String,
    _group: Option<File>,
    _container: Option<File>,
}

impl Vfio {
    /// Takes hold of a device that is bound to vfio-pci. `root` is `/`.
    ///
    /// # Errors
    /// When it is not bound, not permitted, or held by another process, with what to do.
    pub fn open(root: &Path, found: &Found) -> Result<Self, DeviceError> {
        let place = format!("ivshmem device {} (vfio)", found.address);
        let unusable = |why: String| DeviceError::Unusable { place: place.clone(), why };
        let number = found.iommu_group().ok_or_else(|| {
            unusable(
                "it is in no IOMMU group: give the guest an IOMMU (-machine q35 -device \
                 intel-iommu,intremap=off) and boot it with intel_iommu=on"
                    .to_owned(),
            )
        })?;
        let directory = root.join("dev/vfio");
        let group_path = directory.join(&number);
        let said = |what: &str, error: &io::Error| unusable(remedy(found, what, &number, error));
        let open = |path: &Path| {
            let opened = File::options().read(true).write(true).open(path);
            opened.map_err(|error| said(&path.display().to_string(), &error))
        };
        let container = open(&directory.join("vfio"))?;
        let group = open(&group_path)?;
        connect(&container, &group).map_err(|error| said("the IOMMU", &error))?;
        let device = device(&group, &found.address).map_err(|error| said("the device", &error))?;
        let mut held = Self::parts(device, place.clone()).map_err(|error| {
            DeviceError::from(RegionError::system("asking vfio-pci", &place)(error))
        })?;
        held._group = Some(group);
        held._container = Some(container);
        Ok(held)
    }

    fn parts(device: File, place: String) -> io::Result<Self> {
        let registers = part(&device, BAR_REGISTERS)?;
        let memory = part(&device, BAR_MEMORY)?;
        let config = part(&device, CONFIG)?;
        let mut command = [0; 2];
        device.read_exact_at(&mut command, config.offset + COMMAND)?;
        let command = u16::from_le_bytes(command) | COMMAND_MEMORY_AND_MASTER;
        device.write_all_at(&command.to_le_bytes(), config.offset + COMMAND)?;
        let vectors = vectors(&device)?;
        Ok(Self { device, registers, memory, vectors, place, _group: None, _container: None })
    }

    /// A device played by a file, whose first bytes are its registers.
    #[cfg(test)]
    pub(crate) fn played_by(device: File) -> Self {
        let part = |offset, bytes| Part { offset, bytes };
        Self {
            device,
            registers: part(0, 256),
            memory: part(4096, 4096),
            vectors: 1,
            place: "a file".to_owned(),
            _group: None,
            _container: None,
        }
    }

    /// The device's memory, mapped.
    ///
    /// # Errors
    /// When it has none, or the kernel does not let it be mapped.
    pub fn memory(&self) -> Result<Memory, DeviceError> {
        let Part { offset, bytes } = self.memory;
        Ok(map_device_at(&self.device, offset, bytes, "ivshmem", &self.place)?)
    }

    fn register(&self, register: u64) -> io::Result<u64> {
        if register + 4 > self.registers.bytes {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Ok(self.registers.offset + register)
    }
}

impl Registers for Vfio {
    fn vectors(&self) -> u32 {
        self.vectors
    }

    fn read(&self, register: u64) -> io::Result<u32> {
        let mut value = [0; 4];
        let at = self.register(register)?;
        self.device.read_exact_at(&mut value, at)?;
        Ok(u32::from_le_bytes(value))
    }

    fn write(&self, register: u64, value: u32) -> io::Result<()> {
        let at = self.register(register)?;
        self.device.write_all_at(&value.to_le_bytes(), at)
    }

    fn route(&self, vector: u32, eventfd: BorrowedFd<'_>) -> io::Result<()> {
        let mut set = IrqSet {
            size: size_of::<IrqSet>() as u32,
            flags: IRQ_EVENTFD_TRIGGER,
            index: MSIX,
            start: vector,
            count: 1,
            fd: eventfd.as_raw_fd(),
        };
        // SAFETY: the structure says its own size, and the call only reads it.
        unsafe { ioctl::call(self.device.as_fd(), SET_IRQS, &mut set) }.map(drop)
    }
}

fn remedy(found: &Found, what: &str, group: &str, error: &io::Error) -> String {
    let directory = found.directory.display();
    format!(
        "{what} cannot be used: {error}; as root: 'modprobe vfio-pci; echo vfio-pci > \
         {directory}/driver_override; echo {} > /sys/bus/pci/drivers_probe; chgrp GROUP \
         /dev/vfio/{group}; chmod g+rw /dev/vfio/{group}'; without interrupt remapping also 'echo 1 \
         > /sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts'; only one process of a \
         machine can hold it",
        found.address
    )
}

/// Puts the group into the container and chooses the kind of IOMMU.
fn connect(container: &File, group: &File) -> io::Result<()> {
    // SAFETY: the call takes no argument.
    let version = unsafe { ioctl::call_number(container.as_fd(), GET_API_VERSION, 0) }?;
    if version != 0 {
        return Err(io::Error::other(format!("VFIO of version {version}")));
    }
    let mut status = GroupStatus { size: size_of::<GroupStatus>() as u32, flags: 0 };
    // SAFETY: the structure says its own size, and the call fills it.
    unsafe { ioctl::call(group.as_fd(), GROUP_GET_STATUS, &mut status) }?;
    if status.flags & GROUP_VIABLE == 0 {
        return Err(io::Error::other("another device of its IOMMU group has another driver"));
    }
    let mut descriptor = container.as_raw_fd();
    // SAFETY: the call reads one descriptor.
    unsafe { ioctl::call(group.as_fd(), GROUP_SET_CONTAINER, &mut descriptor) }?;
    // SAFETY: the call takes a number.
    unsafe { ioctl::call_number(container.as_fd(), SET_IOMMU, TYPE1_IOMMU) }.map(drop)
}

fn device(group: &File, address: &str) -> io::Result<File> {
    let mut name = address.as_bytes().to_vec();
    name.push(0);
    // SAFETY: the call reads a C string.
    let raw = unsafe { ioctl::call(group.as_fd(), GROUP_GET_DEVICE_FD, name.as_mut_slice()) }?;
    // SAFETY: the call has just returned this descriptor, and nothing else owns it.
    Ok(unsafe { File::from_raw_fd(raw) })
}

fn part(device: &File, index: u32) -> io::Result<Part> {
    let mut info = RegionInfo {
        size: size_of::<RegionInfo>() as u32,
        flags: 0,
        index,
        capabilities: 0,
        bytes: 0,
        offset: 0,
    };
    // SAFETY: the structure says its own size, and the call fills it.
    unsafe { ioctl::call(device.as_fd(), GET_REGION_INFO, &mut info) }?;
    Ok(Part { offset: info.offset, bytes: info.bytes })
}

fn vectors(device: &File) -> io::Result<u32> {
    let mut info = IrqInfo { size: size_of::<IrqInfo>() as u32, flags: 0, index: MSIX, count: 0 };
    // SAFETY: the structure says its own size, and the call fills it.
    unsafe { ioctl::call(device.as_fd(), GET_IRQ_INFO, &mut info) }?;
    Ok(info.count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn the_numbers_and_sizes_are_those_of_the_kernels_header() {
        // Compiled from linux/vfio.h on x86-64.
        assert_eq!(GET_API_VERSION, 0x3b64);
        assert_eq!(SET_IOMMU, 0x3b66);
        assert_eq!(GROUP_GET_STATUS, 0x3b67);
        assert_eq!(GROUP_SET_CONTAINER, 0x3b68);
        assert_eq!(GROUP_GET_DEVICE_FD, 0x3b6a);
        assert_eq!(GET_REGION_INFO, 0x3b6c);
        assert_eq!(SET_IRQS, 0x3b6e);
        assert_eq!((size_of::<RegionInfo>(), size_of::<IrqSet>()), (32, 24));
    }

    #[test]
    fn what_is_missing_is_said_with_the_remedy() {
        let root = tempfile::tempdir().unwrap();
        let found = Found {
            address: "0000:00:05.0".to_owned(),
            directory: root.path().join("sys/bus/pci/devices/0000:00:05.0"),
            bytes: None,
            doorbell: true,
        };
        fs::create_dir_all(&found.directory).unwrap();
        let said = || Vfio::open(root.path(), &found).unwrap_err().to_string();
        assert!(said().contains("intel_iommu=on"), "{}", said());
        let link = found.directory.join("iommu_group");
        std::os::unix::fs::symlink("../../../../kernel/iommu_groups/7", link).unwrap();
        assert!(said().contains("driver_override"), "{}", said());
        assert!(said().contains("/dev/vfio/7"), "{}", said());
    }

    #[test]
    fn registers_outside_of_the_device_are_not_reached() {
        let device = Vfio::played_by(tempfile::tempfile().unwrap());
        device.write(252, 7).unwrap();
        assert_eq!(device.read(252).unwrap(), 7);
        assert!(device.write(253, 7).is_err() && device.read(256).is_err());
    }
}
