//! `/dev/mmapper` of User-Mode Linux: a file of the host that the guest was started with
//! (`iomem=mmapper,FILE`), mapped by all guests that were given the same file.
//! Source: `arch/um/drivers/mmapper_kern.c` of Linux.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::RegionError;
use super::device::{DeviceError, Memory};
use super::ivshmem::map_device;
use super::layout::PAGE;

/// The device.
pub const DEVICE: &str = "dev/mmapper";

/// Maps the whole device at `path`.
///
/// # Errors
/// When this process may not, or it is no such device.
pub fn open(path: &Path) -> Result<Memory, DeviceError> {
    let place = path.display().to_string();
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .map_err(|error| DeviceError::Unusable {
            place: place.clone(),
            why: remedy(&error),
        })?;
    let pages = pages(&file).map_err(RegionError::system("read", &place))?;
    Ok(map_device(&file, pages * PAGE as u64, "uml", &place)?)
}

/// What to do about a device that cannot be opened.
pub(super) fn remedy(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => {
            "not there: start all guests of the host with iomem=mmapper,FILE of one FILE".to_owned()
        }
        _ => format!(
            "{error}; as root in the guest, let the job's user read and write it: \
             'chgrp GROUP /dev/mmapper && chmod g+rw /dev/mmapper'"
        ),
    }
}

/// How many whole pages the device has. It has no length that could be asked for, but says "end
/// of file" behind its last byte, so halving finds it.
fn pages(file: &File) -> std::io::Result<u64> {
    let there = |page: u64| {
        let mut byte = [0];
        Ok::<_, std::io::Error>(file.read_at(&mut byte, page * PAGE as u64 + PAGE as u64 - 1)? == 1)
    };
    // 4 TiB: more than its 32-bit sizes can be.
    let (mut low, mut high) = (0, 1 << 30);
    while low < high {
        let middle = low + (high - low) / 2;
        if there(middle)? {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Ok(low)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_is_found_by_reading() {
        for bytes in [0, 1, 4095, 4096, 4097, 5 * 4096 + 1, 64 << 20] {
            let file = tempfile::tempfile().unwrap();
            file.set_len(bytes).unwrap();
            assert_eq!(pages(&file).unwrap(), bytes / 4096);
        }
    }

    #[test]
    fn an_absent_device_says_how_to_start_the_guests() {
        let error = open(Path::new("/nonexistent/mmapper")).unwrap_err();
        assert!(error.to_string().contains("iomem=mmapper"), "{error}");
    }

    #[test]
    fn an_empty_device_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("mmapper");
        File::create(&path).unwrap();
        assert!(open(&path).is_err());
    }
}
