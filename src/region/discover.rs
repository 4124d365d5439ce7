//! What memory of other machines is within reach, best first, and why the rest is not.
//!
//! Nothing is opened here, enabled, or mapped; that is [`Candidate::open`]. Being listed proves
//! nothing: whether a peer has the same memory shows a challenge.

use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::device::{DeviceError, Memory};
use super::vfio::Vfio;
use super::{dax, ivshmem, ivshmem_v2, sys, uml};

/// Grants between domains of Xen need these.
const XEN: [&str; 3] = ["dev/xen/gntalloc", "dev/xen/gntdev", "dev/xen/evtchn"];

/// Where a candidate's memory is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Source {
    Ivshmem(ivshmem::Found),
    Uml(PathBuf),
    Dax(PathBuf),
    /// Not memory that all divide: granted pair by pair, or divided by the hypervisor.
    Divided,
    /// Recognised, and not usable as a device region.
    None,
}

/// Memory that could become a device region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// `ivshmem`, `ivshmem-doorbell`, `ivshmem-v2`, `uml`, `dax`, `pmem`, `xen`, or `named` for
    /// what `COHOST_REGION` says.
    pub kind: &'static str,
    /// Where it is, for people.
    pub place: String,
    /// Length in bytes, where it can be told without opening.
    pub bytes: Option<u64>,
    /// Why this process cannot use it, with the remedy.
    pub obstacle: Option<String>,
    source: Source,
}

impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.kind, self.place)?;
        if let Some(bytes) = self.bytes {
            write!(f, ", {} KiB", bytes >> 10)?;
        }
        match &self.obstacle {
            Some(why) => write!(f, ": not usable: {why}"),
            None => Ok(()),
        }
    }
}

impl Candidate {
    /// Whether it is memory that all machines which have it divide among them. Grants of Xen and the
    /// output sections of ivshmem-v2 are usable and no devices: see [`super::xen`] and
    /// [`super::ivshmem_v2`].
    #[must_use]
    pub fn is_device(&self) -> bool {
        !matches!(self.source, Source::Divided | Source::None)
    }

    /// Maps the memory, for [`super::device::Device::open`].
    ///
    /// # Errors
    /// When this process may not, or it is no device.
    pub fn open(&self) -> Result<Memory, DeviceError> {
        Ok(self.open_with_interrupts()?.0)
    }

    /// The same, with the device itself where it is held through vfio-pci: it can interrupt
    /// ([`crate::doorbell::ivshmem`]).
    ///
    /// # Errors
    /// As for [`Self::open`].
    pub fn open_with_interrupts(&self) -> Result<(Memory, Option<Arc<Vfio>>), DeviceError> {
        match &self.source {
            Source::Ivshmem(found) if found.is_bound_to_vfio() => {
                match Vfio::open(Path::new("/"), found).map(Arc::new) {
                    Ok(vfio) => Ok((vfio.memory()?, Some(vfio))),
                    // Another process of this machine holds it. Some kernels let the memory be
                    // mapped all the same; then bytes wake this process.
                    Err(why) => Ok((found.open().map_err(|_| why)?, None)),
                }
            }
            Source::Ivshmem(found) => Ok((found.open()?, None)),
            Source::Uml(path) => Ok((uml::open(path)?, None)),
            Source::Dax(path) => Ok((dax::open(path)?, None)),
            Source::Divided | Source::None => Err(DeviceError::Unusable {
                place: self.place.clone(),
                why: self
                    .obstacle
                    .clone()
                    .unwrap_or_else(|| "the hypervisor divides its memory, not we".to_owned()),
            }),
        }
    }
}

/// Lists candidates, best first: what the user named, then memory that is cached for certain, then
/// PCI memory. `root` is `/`; `named` is the value of `COHOST_REGION`. What is named comes alone:
/// who names a region wants that one.
#[must_use]
pub fn discover(root: &Path, named: Option<&OsStr>) -> Vec<Candidate> {
    if let Some(named) = named.filter(|named| !named.is_empty()) {
        return vec![named_region(Path::new(named))];
    }
    let mut found = uml_region(root);
    let (disks, memories): (Vec<_>, Vec<_>) =
        dax::find(root).into_iter().partition(|(_, _, disk)| *disk);
    found.extend(memories.into_iter().map(|(path, bytes, _)| Candidate {
        kind: "dax",
        place: path.display().to_string(),
        bytes,
        obstacle: refusal(&path, dax::remedy),
        source: Source::Dax(path),
    }));
    found.extend(ivshmem::find(root).into_iter().map(ivshmem_region));
    found.extend(ivshmem_v2::find(root).into_iter().map(|found| Candidate {
        kind: "ivshmem-v2",
        obstacle: found.obstacle(),
        place: found.address,
        bytes: None,
        source: Source::Divided,
    }));
    found.extend(xen_grants(root));
    found.extend(disks.into_iter().map(|(path, bytes, _)| Candidate {
        kind: "pmem",
        place: path.display().to_string(),
        bytes,
        obstacle: Some(dax::DISK.to_owned()),
        source: Source::None,
    }));
    found
}

fn named_region(path: &Path) -> Candidate {
    let device = [Some(path), path.parent()].into_iter().flatten().find_map(ivshmem::found_at);
    if let Some(found) = device {
        return Candidate { kind: "named", ..ivshmem_region(found) };
    }
    let is_mmapper = path.file_name().is_some_and(|name| name == "mmapper");
    let bytes = std::fs::metadata(path).map(|found| found.len());
    let (obstacle, source) = if is_mmapper {
        let obstacle = refusal(path, |_, error| uml::remedy(error));
        (obstacle, Source::Uml(path.to_owned()))
    } else {
        (refusal(path, dax::remedy), Source::Dax(path.to_owned()))
    };
    Candidate {
        kind: "named",
        place: path.display().to_string(),
        bytes: bytes.ok().filter(|&bytes| bytes > 0),
        obstacle,
        source,
    }
}

fn ivshmem_region(found: ivshmem::Found) -> Candidate {
    Candidate {
        kind: if found.doorbell { "ivshmem-doorbell" } else { "ivshmem" },
        place: found.directory.display().to_string(),
        bytes: found.bytes,
        obstacle: found.obstacle(),
        source: Source::Ivshmem(found),
    }
}

fn uml_region(root: &Path) -> Vec<Candidate> {
    let path = root.join(uml::DEVICE);
    if !path.exists() {
        return Vec::new();
    }
    vec![Candidate {
        kind: "uml",
        place: path.display().to_string(),
        bytes: None,
        obstacle: refusal(&path, |_, error| uml::remedy(error)),
        source: Source::Uml(path),
    }]
}

fn xen_grants(root: &Path) -> Option<Candidate> {
    let missing: Vec<&str> = XEN.into_iter().filter(|name| !root.join(name).exists()).collect();
    if missing.len() == XEN.len() {
        return None;
    }
    let obstacle = if missing.is_empty() {
        let refused = |name: &&str| refusal(&root.join(name), dax::remedy);
        XEN.iter().find_map(refused)
    } else {
        Some(format!(
            "/{} missing: 'modprobe -a xen-gntalloc xen-gntdev xen-evtchn'",
            missing.join(", /")
        ))
    };
    Some(Candidate {
        kind: "xen",
        place: "/dev/xen".to_owned(),
        bytes: None,
        obstacle,
        source: Source::Divided,
    })
}

/// Why this process may not read and write `path`.
fn refusal(path: &Path, remedy: impl Fn(&Path, &std::io::Error) -> String) -> Option<String> {
    let error = sys::may_read_and_write(path).err()?;
    Some(remedy(path, &error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn put(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn ivshmem(root: &Path) -> PathBuf {
        let device = "sys/bus/pci/devices/0000:00:05.0";
        put(root, &format!("{device}/vendor"), "0x1af4");
        put(root, &format!("{device}/device"), "0x1110");
        let directory = root.join(device);
        fs::write(directory.join("resource2"), vec![0; 8192]).unwrap();
        directory
    }

    #[test]
    fn a_bare_machine_has_nothing() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(discover(root.path(), None), []);
    }

    #[test]
    fn cached_memory_comes_before_pci_memory_and_disks_come_last_with_the_remedy() {
        let root = tempfile::tempdir().unwrap();
        ivshmem(root.path());
        put(root.path(), "sys/block/pmem0/size", "8\n");
        put(root.path(), "sys/bus/dax/devices/dax0.0/size", "8192\n");
        put(root.path(), "dev/dax0.0", "");
        put(root.path(), "dev/mmapper", "");
        put(root.path(), "dev/xen/gntdev", "");
        let found = discover(root.path(), None);
        let kinds: Vec<_> = found.iter().map(|found| found.kind).collect();
        assert_eq!(kinds, ["uml", "dax", "ivshmem", "xen", "pmem"]);
        assert!(found[2].open().is_ok());
        assert!(found[2].to_string().ends_with("8 KiB"), "{}", found[2]);
        assert!(found[3].to_string().contains("modprobe"), "{}", found[3]);
        assert!(found[4].obstacle.as_ref().unwrap().contains("ndctl"));
        assert!(!found[4].is_device() && found[4].open().is_err());
    }

    #[test]
    fn what_is_named_comes_alone_whatever_it_is() {
        let root = tempfile::tempdir().unwrap();
        let directory = ivshmem(root.path());
        put(root.path(), "region", "not empty");
        for named in [directory.clone(), directory.join("resource2")] {
            let found = discover(root.path(), Some(named.as_os_str()));
            assert_eq!(found.len(), 1);
            assert_eq!(found[0].open().unwrap().kind(), "ivshmem");
        }
        let absent = discover(root.path(), Some(OsStr::new("/nonexistent")));
        assert!(absent[0].obstacle.as_ref().unwrap().contains("COHOST_REGION"));
        assert_eq!(discover(root.path(), Some(OsStr::new(""))).len(), 1);
    }
}
