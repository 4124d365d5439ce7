//! Sections in files of a directory that all members mount: for containers that share neither
//! process nor network namespaces. `COHOST_SHM_DIR` names the directory.
//!
//! A file has weaker promises than a memfd. Whoever has the same user id can truncate it while it
//! is mapped, and the next access then ends in SIGBUS: that cannot be prevented, only made unlikely
//! by checking the length again before each activation and each mapping, and by removing the name
//! ([`OwnSection::unlink`]) once all peers have opened the file. Use a memfd where it can be passed.
//!
//! A file's name is built here from the job, the rank and the random epoch, all in hexadecimal;
//! nothing that a peer has written becomes part of a path. The owner holds the file's lock as long
//! as it lives, so a file whose lock is free has no owner and may be removed ([`clean_stale`]).

use std::fs::{File, FileType, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::section::{Backing, OwnSection, PeerSection, Protection, prepare};
use super::{Identity, RegionError, SectionLayout, sys};

const PREFIX: &str = "cohost";
/// Attempts to create a file that a cleaner of another process keeps taking for a stale one.
const CREATE_MAX: u32 = 100;

/// The name of a file that is ours; removed when dropped by the process that made it.
#[derive(Debug)]
pub(super) struct Name {
    directory: PathBuf,
    path: PathBuf,
    process: u32,
}

impl Name {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        // A forked child inherits this value, but not the right to remove its parent's file.
        if std::process::id() == self.process {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// The path of a section's file: built from numbers only, whatever the job's id looks like.
#[must_use]
pub fn path(directory: &Path, job: &str, rank: u32, epoch: u64) -> PathBuf {
    directory.join(format!("{PREFIX}-{:016x}-{rank:08x}-{epoch:016x}", job_hash(job)))
}

/// FNV-1a over the job's id: names need to be equal for equal jobs and usually different for
/// others; the random epoch and `O_EXCL` do the rest.
pub(super) fn job_hash(job: &str) -> u64 {
    job.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// Bytes that are free in `directory`, for the planner; `None` when it has no limit of its own.
///
/// # Errors
/// When there is no such directory.
pub fn available(directory: &Path) -> Result<Option<u64>, RegionError> {
    sys::free_bytes(directory)
        .map_err(|source| RegionError::Directory { path: directory.to_owned(), source })
}

/// Makes the section of member `index`, who is `rank` of `job`, as a file in `directory`. The file
/// is removed when the section is dropped; after a SIGKILL [`clean_stale`] does it.
///
/// # Errors
/// When the directory cannot be written, has no space for the header, or cannot reserve any.
pub fn create(
    directory: &Path,
    job: &str,
    rank: u32,
    layout: SectionLayout,
    index: u32,
) -> Result<OwnSection, RegionError> {
    let identity = Identity::fresh(layout, index)?;
    let path = path(directory, job, rank, identity.epoch);
    let (file, name) = create_locked(directory, path)
        .map_err(|source| RegionError::Directory { path: directory.to_owned(), source })?;
    let place = name.path().display().to_string();
    let mapping = prepare(&file, &layout, &place, Some(directory))?;
    let backing = Backing::Store { file, place, name: Some(name) };
    Ok(OwnSection::new(identity, mapping, backing, Protection::FileMode))
}

/// Creates the file and takes its lock. In between, a cleaner may take the file for stale and
/// remove it; then it is made again.
fn create_locked(directory: &Path, path: PathBuf) -> io::Result<(File, Name)> {
    let mut options = OpenOptions::new();
    // O_CLOEXEC is always set by the standard library.
    options.read(true).write(true).create_new(true).mode(0o600).custom_flags(libc::O_NOFOLLOW);
    for _ in 0..CREATE_MAX {
        let file = match options.open(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                // Nobody else draws our epoch: it is our own file, about to be removed.
                std::thread::sleep(Duration::from_millis(1));
                continue;
            }
            other => other?,
        };
        if !sys::try_lock(&file)? {
            continue;
        }
        if file.metadata()?.nlink() > 0 {
            let process = std::process::id();
            return Ok((file, Name { directory: directory.to_owned(), path, process }));
        }
    }
    Err(io::Error::other("other processes keep removing the files created here"))
}

/// Opens the section of `rank` of `job` as member `me` sees it.
///
/// # Errors
/// When there is no such file, it is a link, belongs to somebody else, has another length, or a
/// header that differs from `expected`.
pub fn open(
    directory: &Path,
    job: &str,
    rank: u32,
    expected: &Identity,
    me: u32,
) -> Result<PeerSection, RegionError> {
    let path = path(directory, job, rank, expected.epoch);
    let place = path.display().to_string();
    let file = open_quietly(&path).map_err(RegionError::system("open", &place))?;
    let found = file.metadata().map_err(RegionError::system("fstat", &place))?;
    let not_a_region = |what: String| RegionError::NotARegion {
        place: place.clone(),
        found: what,
        expected: "a regular file of our own user",
    };
    if !found.file_type().is_file() {
        return Err(not_a_region(kind_name(found.file_type()).to_owned()));
    }
    if found.uid() != sys::effective_uid() {
        return Err(not_a_region(format!("a file of user {}", found.uid())));
    }
    PeerSection::open(file, expected, me, Protection::FileMode, &place)
}

/// Opens for reading without following a link, and without waiting at a pipe.
fn open_quietly(path: &Path) -> io::Result<File> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

/// Removes the files of sections without a living owner from `directory`, ours only, and says how
/// many it removed. Files of others, and those whose owner lives, are left alone.
///
/// # Errors
/// When the directory cannot be read. A file that cannot be removed is not an error.
pub fn clean_stale(directory: &Path) -> Result<usize, RegionError> {
    let failed = |source| RegionError::Directory { path: directory.to_owned(), source };
    let mut removed = 0;
    for entry in std::fs::read_dir(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if is_ours(&entry.file_name().to_string_lossy()) {
            removed += usize::from(remove_if_stale(&entry.path()).unwrap_or(false));
        }
    }
    Ok(removed)
}

/// Whether a file is named exactly as [`path`] names them.
fn is_ours(name: &str) -> bool {
    let mut parts = name.split('-');
    let hex = |part: Option<&str>, digits: usize| {
        part.is_some_and(|part| {
            part.len() == digits
                && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        })
    };
    parts.next() == Some(PREFIX)
        && hex(parts.next(), 16)
        && hex(parts.next(), 8)
        && hex(parts.next(), 16)
        && parts.next().is_none()
}

fn remove_if_stale(path: &Path) -> io::Result<bool> {
    let file = open_quietly(path)?;
    let ours =
        |found: &Metadata| found.file_type().is_file() && found.uid() == sys::effective_uid();
    let opened = file.metadata()?;
    if !ours(&opened) || !sys::try_lock(&file)? {
        return Ok(false);
    }
    // With the lock held nobody else removes this file, so the name is still its own if it is now.
    let named = std::fs::symlink_metadata(path)?;
    if (named.dev(), named.ino()) != (opened.dev(), opened.ino()) {
        return Ok(false);
    }
    std::fs::remove_file(path)?;
    Ok(true)
}

/// What a file is, in words.
pub(super) fn kind_name(kind: FileType) -> &'static str {
    if kind.is_file() {
        "a regular file"
    } else if kind.is_dir() {
        "a directory"
    } else if kind.is_socket() {
        "a socket"
    } else if kind.is_fifo() {
        "a pipe"
    } else if kind.is_char_device() || kind.is_block_device() {
        "a device"
    } else {
        "something that is no file"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_part_of_a_job_id_reaches_the_path() {
        let name = path(Path::new("/dev/shm"), "../../etc/passwd\0x", 3, 0xabc);
        assert_eq!(name.parent(), Some(Path::new("/dev/shm")));
        assert!(is_ours(name.file_name().unwrap().to_str().unwrap()));
    }

    #[test]
    fn only_names_of_our_own_making_are_ours() {
        let good = "cohost-0123456789abcdef-00000001-fedcba9876543210";
        assert!(is_ours(good));
        for bad in [
            "",
            "cohost",
            "cohost-1-2-3",
            "cohost-0123456789abcdef-00000001-fedcba9876543210-",
            "cohost-0123456789ABCDEF-00000001-fedcba9876543210",
            "sohost-0123456789abcdef-00000001-fedcba9876543210",
            "cohost-0123456789abcdef-00000001-fedcba987654321g",
        ] {
            assert!(!is_ours(bad), "{bad}");
        }
    }
}
