//! Persistent memory that guests share (virtio-pmem, nvdimm), as a device of memory
//! (`/dev/daxX.Y`); and any file that `COHOST_REGION` names.
//!
//! A *disk* of persistent memory (`/dev/pmemN`) is of no use: what one maps of a disk are pages of
//! the guest's own cache, which other guests never see. In devdax mode the same memory is mapped
//! itself. A regular file is taken as it is: on a file system that the members share as memory (a
//! mount with `dax`, a tmpfs that containers have in common) it works, and elsewhere the proof by
//! challenge fails and TCP is used.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::device::{DeviceError, Memory};
use super::file::kind_name;
use super::ivshmem::map_device;
use super::{RegionError, sys};

/// Maps all of a devdax device, or of a file whose length says how large the region is.
///
/// # Errors
/// When it is not there, may not be opened, is a disk, or has no memory behind it.
pub fn open(path: &Path) -> Result<Memory, DeviceError> {
    open_below(Path::new("/"), path)
}

/// `root` is `/`, or holds a copy of its `sys`.
fn open_below(root: &Path, path: &Path) -> Result<Memory, DeviceError> {
    let place = path.display().to_string();
    let unusable = |why: String| DeviceError::Unusable { place: place.clone(), why };
    let kind = std::fs::metadata(path).map_err(|error| unusable(remedy(path, &error)))?.file_type();
    // Before it is opened: opening a pipe waits, and opening a disk may have effects.
    if kind.is_block_device() {
        return Err(unusable(DISK.to_owned()));
    }
    if !kind.is_file() && !kind.is_char_device() {
        return Err(unusable(format!(
            "it is {}; a file or a devdax device is needed",
            kind_name(kind)
        )));
    }
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .map_err(|error| unusable(remedy(path, &error)))?;
    let found = file.metadata().map_err(RegionError::system("fstat", &place))?;
    if kind.is_char_device() {
        let Some(bytes) = dax_bytes(root, found.rdev()) else {
            return Err(unusable("it is a device, but not of memory (devdax)".to_owned()));
        };
        return Ok(map_device(&file, bytes, "dax", &place)?);
    }
    back(&file, found.len(), &place)?;
    Ok(map_device(&file, found.len(), "file", &place)?)
}

/// Why a disk of persistent memory is not used.
pub(super) const DISK: &str = "it is a disk, whose mapped pages are this guest's own cache and not \
     shared; make it a memory device, in one guest, with 'ndctl create-namespace --force \
     --reconfig=namespaceX.Y --mode=devdax', restart the others, and name /dev/daxX.Y";

/// What to do about a file or device that cannot be opened.
pub(super) fn remedy(path: &Path, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "not there: correct COHOST_REGION, or make the file, of the \
                                    size that the region is to have"
            .to_owned(),
        _ => format!(
            "{error}; let the job's user read and write it: 'chgrp GROUP {0} && chmod g+rw {0}'",
            path.display()
        ),
    }
}

/// The length of a devdax device, by its number.
fn dax_bytes(root: &Path, device: u64) -> Option<u64> {
    let (major, minor) = (libc::major(device), libc::minor(device));
    let directory = root.join(format!("sys/dev/char/{major}:{minor}"));
    // Other devices may have a file named "size", but these know their alignment.
    let number = |name: &str| -> Option<u64> {
        let text = std::fs::read_to_string(directory.join(name)).ok()?;
        text.trim().parse().ok()
    };
    number("align")?;
    number("size")
}

/// Makes sure that there is memory behind a file, before anybody reads it and dies of it.
fn back(file: &File, bytes: u64, place: &str) -> Result<(), RegionError> {
    let Err(error) = sys::reserve(file, 0, bytes.max(1)) else {
        return Ok(());
    };
    let place = place.to_owned();
    match error.raw_os_error() {
        Some(libc::ENOSPC | libc::EDQUOT | libc::EFBIG | libc::ENOMEM) => {
            Err(RegionError::NoSpace { needed: bytes, available: None, place })
        }
        Some(libc::EOPNOTSUPP | libc::ENOSYS | libc::ENODEV) => {
            // All its blocks may be there already.
            let taken = file.metadata().map(|found| found.blocks() * 512);
            if taken.is_ok_and(|taken| taken >= bytes) {
                return Ok(());
            }
            Err(RegionError::CannotReserve { place })
        }
        _ => Err(RegionError::system("fallocate", &place)(error)),
    }
}

/// Devdax devices and disks of persistent memory, by their paths, with whether they are disks.
pub(super) fn find(root: &Path) -> Vec<(PathBuf, Option<u64>, bool)> {
    let names = |directory: &str, prefix: &str| {
        let entries = std::fs::read_dir(root.join(directory)).into_iter().flatten();
        let mut names: Vec<String> = entries
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .filter(|name| name.starts_with(prefix))
            .collect();
        names.sort();
        names
    };
    let number = |path: String| {
        let text = std::fs::read_to_string(root.join(path)).ok()?;
        text.trim().parse::<u64>().ok()
    };
    let at = |name: &String| root.join("dev").join(name);
    let memories = names("sys/bus/dax/devices", "dax");
    let memories = memories.iter().map(|name| {
        let bytes = number(format!("sys/bus/dax/devices/{name}/size"));
        (at(name), bytes, false)
    });
    let disks = names("sys/block", "pmem");
    let disks = disks.iter().map(|name| {
        // Disks count in sectors of 512 bytes, whatever their own.
        let sectors = number(format!("sys/block/{name}/size"));
        (at(name), sectors.map(|n| n.saturating_mul(512)), true)
    });
    memories.chain(disks).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_file_is_mapped_in_whole_pages_and_memory_put_behind_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("region");
        File::create(&path).unwrap().set_len(3 * 4096 + 100).unwrap();
        let memory = open(&path).unwrap();
        assert_eq!(memory.writable.len(), 3 * 4096);
        assert!(fs::metadata(&path).unwrap().blocks() * 512 >= 3 * 4096);
        assert_eq!(fs::metadata(&path).unwrap().len(), 3 * 4096 + 100);
    }

    #[test]
    fn what_is_no_memory_is_refused_with_the_reason() {
        let directory = tempfile::tempdir().unwrap();
        let said = |path: &Path| open(path).unwrap_err().to_string();
        assert!(said(directory.path()).contains("a directory"));
        assert!(said(Path::new("/dev/null")).contains("not of memory"));
        assert!(said(Path::new("/nonexistent")).contains("COHOST_REGION"));
        let empty = directory.path().join("empty");
        File::create(&empty).unwrap();
        assert!(said(&empty).contains("at least a page"));
    }

    #[test]
    fn a_devdax_device_is_known_by_its_number() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("sys/dev/char/252:5");
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("size"), "67108864\n").unwrap();
        let device = libc::makedev(252, 5);
        assert_eq!(dax_bytes(root.path(), device), None);
        fs::write(directory.join("align"), "2097152\n").unwrap();
        assert_eq!(dax_bytes(root.path(), device), Some(64 << 20));
    }

    #[test]
    fn disks_are_found_and_known_as_disks() {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in [
            ("sys/block/pmem0/size", "131072\n"),
            ("sys/block/sda/size", "131072\n"),
            ("sys/bus/dax/devices/dax1.0/size", "1048576\n"),
        ] {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let found = find(root.path());
        let at = |name| root.path().join("dev").join(name);
        assert_eq!(
            found,
            [(at("dax1.0"), Some(1 << 20), false), (at("pmem0"), Some(64 << 20), true)]
        );
    }
}
