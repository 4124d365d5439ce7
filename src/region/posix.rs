//! Sections in a memfd: shared memory without a name, handed from process to process of one
//! machine ([`super::pass`]), gone with its last user.
//!
//! Seals make the kernel keep the promises: the length never changes, so that no access can end in
//! SIGBUS, and nobody but the owner's own mapping writes. A reader relies on no seal of the second
//! kind for its safety: it treats all bytes as untrusted.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

use super::section::{Backing, OwnSection, PeerSection, Protection, prepare};
use super::{Identity, RegionError, SectionLayout, sys};

const PLACE: &str = "memfd";

/// Makes the section of member `index` in a sealed memfd. Memory is taken for the header only.
///
/// # Errors
/// When the kernel has no memory or no memfd, or there is no such member.
pub fn create_memfd(layout: SectionLayout, index: u32) -> Result<OwnSection, RegionError> {
    let identity = Identity::fresh(layout, index)?;
    let fd =
        sys::memfd_create(c"cohost-section").map_err(RegionError::system("memfd_create", PLACE))?;
    let file = File::from(fd);
    // The seal against writing spares mappings that exist already: ours must come first.
    let mapping = prepare(&file, &layout, PLACE, None)?;
    let protection = seal(&file)?;
    let backing = Backing::Store { file, place: PLACE.to_owned(), name: None };
    Ok(OwnSection::new(identity, mapping, backing, protection))
}

/// Fixes the length, and where the kernel can (5.1 and later) forbids any further writer.
fn seal(file: &File) -> Result<Protection, RegionError> {
    let length = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL;
    match sys::add_seals(file.as_fd(), length | libc::F_SEAL_FUTURE_WRITE) {
        Ok(()) => Ok(Protection::Sealed),
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            sys::add_seals(file.as_fd(), length)
                .map_err(RegionError::system("fcntl(F_ADD_SEALS)", PLACE))?;
            Ok(Protection::LengthOnly)
        }
        Err(error) => Err(RegionError::system("fcntl(F_ADD_SEALS)", PLACE)(error)),
    }
}

/// Takes a descriptor that a peer has passed as the section it should be, seen by member `me`.
///
/// # Errors
/// When it is anything else: a socket, a pipe, a file, a memfd whose length is not sealed, one of
/// another length, or one whose header differs from `expected`. The descriptor is closed then.
pub fn adopt(fd: OwnedFd, expected: &Identity, me: u32) -> Result<PeerSection, RegionError> {
    const PASSED: &str = "the descriptor passed by a peer";
    let not_a_region = |found: &str| RegionError::NotARegion {
        place: PASSED.to_owned(),
        found: found.to_owned(),
        expected: "a memfd of sealed length",
    };
    let file = File::from(fd);
    let kind = file.metadata().map_err(RegionError::system("fstat", PASSED))?.file_type();
    if !kind.is_file() {
        return Err(not_a_region(super::file::kind_name(kind)));
    }
    // Only shared memory can be sealed at all; the kernel refuses to say it of other files.
    let seals = sys::seals(file.as_fd()).map_err(|_| not_a_region("a file that has no seals"))?;
    if seals & libc::F_SEAL_SHRINK == 0 {
        return Err(not_a_region("shared memory that its owner can still shrink"));
    }
    let protection = if seals & libc::F_SEAL_FUTURE_WRITE == 0 {
        Protection::LengthOnly
    } else {
        Protection::Sealed
    };
    PeerSection::open(file, expected, me, protection, PASSED)
}
