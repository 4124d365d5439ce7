//! `/dev/mmapper` of User-Mode Linux: a file of the host that the guest was started with
//! (`iomem=mmapper,FILE`), mapped by all guests that were given the same file.
//! Source: `arch/um/drivers/mmapper_kern.c` of Linux.

use std::fs::{File, OpenOptions};
use std::path::Path;

use memmap2::MmapOptions;

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
        .map_err(|error| DeviceError::Unusable { place: place.clone(), why: remedy(&error) })?;
    let pages = pages(|bytes| can_map(&file, bytes));
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

/// How many pages of the device can be touched. It has no length that one could ask for, but refuses
/// to map more than it has, so halving finds it. It counts one page more than its file has, and
/// whoever touches that one (even by reading from the device) brings down the guest's kernel.
fn pages(fits: impl Fn(usize) -> bool) -> u64 {
    let (mut low, mut high) = (0, PAGES_MAX);
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        if fits(middle * PAGE) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    low.saturating_sub(1) as u64
}

/// Its driver keeps sizes in 32 bits with a sign.
const PAGES_MAX: usize = (1 << 31) / PAGE - 1;

fn can_map(file: &File, bytes: usize) -> bool {
    // Nothing is touched, and it is unmapped at once.
    MmapOptions::new().len(bytes).map_raw_read_only(file).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_is_found_without_the_page_that_is_not_there() {
        for there in [0, 1, 2, 5, 16_384, PAGES_MAX - 1] {
            let counted = |bytes| bytes <= (there + 1) * PAGE;
            assert_eq!(pages(counted), there as u64);
        }
        assert_eq!(pages(|_| false), 0);
    }

    #[test]
    fn an_absent_device_says_how_to_start_the_guests() {
        let error = open(Path::new("/nonexistent/mmapper")).unwrap_err();
        assert!(error.to_string().contains("iomem=mmapper"), "{error}");
    }

    #[test]
    fn what_cannot_be_mapped_is_refused() {
        assert!(open(Path::new("/dev/null")).is_err());
    }
}
