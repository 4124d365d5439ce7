//! Sections between domains of one Xen host, by grants: pages of ours that the hypervisor lets one
//! other domain read.
//!
//! A page can be granted to one domain only, so there is no section that all peers see: every pair
//! has two sections of its own, one in each direction, of two members each; the lower rank is
//! member 0. The owner sends an [`Invitation`] over TCP and the peer maps what it names. Which
//! domain a peer is, it says itself ([`own_domain`]); a lie makes a grant that nobody can map.
//!
//! When a section is dropped, its memory is unmapped first and then revoked; a page that the peer
//! still maps stays until it lets go, even when our domain ends, so neither side can fault.

mod grants;
mod invitation;
mod store;

use std::fs::File;
use std::path::Path;

use super::access::Remote;
use super::device::DeviceError;
use super::layout::PAGE;
use super::section::{Backing, OwnSection, PeerSection, Protection};
use super::{Geometry, Identity, RegionError, SectionLayout};

pub use invitation::{Invitation, InvitationError};

/// Where the devices are: `gntalloc`, `gntdev`, `evtchn`, `xenbus`.
pub const DEVICES: &str = "/dev/xen";

/// The domain this machine is, if XenStore says so; a hint, and another after a migration. May take
/// a second where nobody answers.
#[must_use]
pub fn own_domain(devices: &Path) -> Option<u16> {
    store::own_domain(&devices.join("xenbus"))
        .or_else(|| store::own_domain(Path::new("/proc/xen/xenbus")))
}

/// Makes our section for a peer in `domain`, of which we are member `index` (0 or 1). The invitation
/// tells the peer that we are domain `ours`.
///
/// # Errors
/// When this process may not, or the kernel allows no more pages (with what to raise).
pub fn grant(
    devices: &Path,
    ours: Option<u16>,
    domain: u16,
    geometry: Geometry,
    index: u32,
) -> Result<(OwnSection, Invitation), DeviceError> {
    let layout = SectionLayout::new(2, geometry).map_err(RegionError::from)?;
    let identity = Identity::fresh(layout, index)?;
    let pages = (layout.total_bytes() / PAGE) as u32;
    let device = open(devices, "gntalloc")?;
    let (mapping, references) =
        grants::give(device, domain, pages).map_err(|error| DeviceError::Unusable {
            place: devices.join("gntalloc").display().to_string(),
            why: format!(
                "{pages} pages cannot be granted to domain {domain}: {error}; the limit is in \
                 /sys/module/xen_gntalloc/parameters/limit, raise it as root"
            ),
        })?;
    let invitation = Invitation { identity, domain: ours, port: 0, references };
    // Fresh pages are zero, as those of the heap are.
    let section = OwnSection::new(identity, mapping, Backing::Heap, Protection::Hypervisor);
    Ok((section, invitation))
}

/// Maps the section of a peer in `domain`, as member `me` of the pair.
///
/// # Errors
/// When this process may not, the hypervisor refuses, or the section's header is not what was
/// announced.
pub fn map(
    devices: &Path,
    domain: u16,
    invitation: &Invitation,
    me: u32,
) -> Result<PeerSection, DeviceError> {
    let layout = invitation.identity.layout;
    if invitation.references.len() != layout.total_bytes() / PAGE {
        return Err(DeviceError::Unusable {
            place: format!("the section of domain {domain}"),
            why: format!(
                "{} pages were granted, and it has {}",
                invitation.references.len(),
                layout.total_bytes() / PAGE
            ),
        });
    }
    let device = open(devices, "gntdev")?;
    let mapping = grants::take(device, domain, &invitation.references).map_err(|error| {
        DeviceError::Unusable {
            place: devices.join("gntdev").display().to_string(),
            why: format!(
                "the pages of domain {domain} cannot be mapped: {error}; they were granted to \
                 another domain, or revoked"
            ),
        }
    })?;
    let whole = Remote::new(std::sync::Arc::new(mapping));
    let place = format!("pages granted by domain {domain}");
    Ok(PeerSection::within(whole, &invitation.identity, me, Protection::Hypervisor, &place)?)
}

fn open(devices: &Path, name: &str) -> Result<File, DeviceError> {
    let path = devices.join(name);
    let opened = File::options().read(true).write(true).open(&path);
    opened.map_err(|error| DeviceError::Unusable {
        why: match error.kind() {
            std::io::ErrorKind::NotFound => format!("not there: 'modprobe xen-{name}' as root"),
            _ => format!(
                "{error}; as root, let the job's user read and write it: 'chgrp GROUP {0} && chmod \
                 g+rw {0}'",
                path.display()
            ),
        },
        place: path.display().to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outside_of_xen_the_missing_device_is_named_with_the_remedy() {
        let nowhere = Path::new("/nonexistent");
        let said = grant(nowhere, None, 1, Geometry::MIN, 0).unwrap_err().to_string();
        assert!(said.contains("modprobe xen-gntalloc"), "{said}");
    }

    #[test]
    fn what_is_no_grant_device_is_an_error_that_says_what_was_asked_of_it() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["gntalloc", "gntdev"] {
            std::os::unix::fs::symlink("/dev/null", directory.path().join(name)).unwrap();
        }
        let said = grant(directory.path(), None, 1, Geometry::MIN, 0).unwrap_err().to_string();
        assert!(said.contains("domain 1") && said.contains("limit"), "{said}");
        let layout = SectionLayout::new(2, Geometry::MIN).unwrap();
        let mut invitation = Invitation {
            identity: Identity::fresh(layout, 0).unwrap(),
            domain: None,
            port: 0,
            references: vec![1; layout.total_bytes() / PAGE],
        };
        let said = map(directory.path(), 2, &invitation, 1).unwrap_err().to_string();
        assert!(said.contains("domain 2"), "{said}");
        invitation.references.pop();
        let said = map(directory.path(), 2, &invitation, 1).unwrap_err().to_string();
        assert!(said.contains("pages were granted"), "{said}");
    }
}
