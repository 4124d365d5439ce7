//! The only way this module reads files: below a directory, bounded, and never failing.

use std::fs::{self, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::evidence::Reading;

/// The most that is read of any file, in bytes. Every file of interest is far smaller, except
/// `/proc/cpuinfo` on large machines, of which the first processor is enough.
pub const READ_BYTES_MAX: usize = 64 * 1024;

/// The most entries of a directory that are looked at; a bound, not an expectation.
const ENTRIES_MAX: usize = 4096;

/// A directory that stands for `/`: the real one, or a captured tree in a test.
#[derive(Debug, Clone)]
pub struct Root {
    directory: PathBuf,
}

impl Root {
    /// Takes `directory` as the root of `/proc`, `/sys`, `/dev` and `/run`.
    pub fn new(directory: &Path) -> Root {
        Root { directory: directory.to_path_buf() }
    }

    /// Whether this is the running machine, so that system calls say the same as files.
    pub fn is_live(&self) -> bool {
        self.directory == Path::new("/")
    }

    /// The place of `path` (absolute, as on the machine described) below this root.
    pub fn path(&self, path: &str) -> PathBuf {
        self.directory.join(path.trim_start_matches('/'))
    }

    /// Whether something stands at `path`; what cannot be looked at counts as absent.
    pub fn exists(&self, path: &str) -> bool {
        fs::symlink_metadata(self.path(path)).is_ok()
    }

    /// Reads at most [`READ_BYTES_MAX`] bytes as text; bytes that are no UTF-8 become U+FFFD,
    /// and NULs and white space at the end are dropped.
    pub fn text(&self, path: &str) -> Reading {
        self.bytes(path).map_or_else(
            |reading| reading,
            |bytes| {
                let text = String::from_utf8_lossy(&bytes);
                let end = |c: char| c == '\0' || c.is_whitespace();
                Reading::Text(text.trim_end_matches(end).to_owned())
            },
        )
    }

    /// Reads at most [`READ_BYTES_MAX`] bytes.
    ///
    /// # Errors
    /// The reading to record instead: missing, or not readable and why.
    pub fn bytes(&self, path: &str) -> Result<Vec<u8>, Reading> {
        let full = self.path(path);
        // A FIFO or a device would block or have side effects: only plain files are opened,
        // and O_NONBLOCK covers one that is swapped in between.
        let found = fs::metadata(&full).map_err(|e| Reading::from_error(&e))?;
        if !found.is_file() {
            return Err(Reading::not_readable("not a plain file"));
        }
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
            .open(&full)
            .map_err(|e| Reading::from_error(&e))?;
        let mut bytes = Vec::new();
        file.take(READ_BYTES_MAX as u64)
            .read_to_end(&mut bytes)
            .map_err(|e| Reading::from_error(&e))?;
        Ok(bytes)
    }

    /// The names in a directory, sorted; none when it cannot be read.
    pub fn names(&self, path: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.path(path)) else {
            return Vec::new();
        };
        let mut names: Vec<String> = entries
            .take(ENTRIES_MAX)
            .filter_map(Result::ok)
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    /// The text of a symbolic link.
    pub fn link(&self, path: &str) -> Option<String> {
        let target = fs::read_link(self.path(path)).ok()?;
        Some(target.to_string_lossy().into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_longer_than_the_bound_is_cut_and_not_an_error() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("big"), vec![b'x'; READ_BYTES_MAX * 3]).unwrap();
        let Reading::Text(text) = Root::new(dir.path()).text("/big") else {
            panic!("no text");
        };
        assert_eq!(text.len(), READ_BYTES_MAX);
    }

    #[test]
    fn a_fifo_without_writer_does_not_block() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("fifo");
        let name = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
        // SAFETY: `name` is a NUL-terminated string that lives across the call.
        let made = unsafe { libc::mkfifo(name.as_ptr(), 0o600) };
        assert_eq!(made, 0);
        let reading = Root::new(dir.path()).text("/fifo");
        assert_eq!(reading, Reading::not_readable("not a plain file"));
    }

    #[test]
    fn missing_and_unreadable_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::new(dir.path());
        assert_eq!(root.text("/nothing"), Reading::Missing);
        fs::create_dir(dir.path().join("folder")).unwrap();
        assert!(matches!(root.text("/folder"), Reading::NotReadable { .. }));
        assert!(root.exists("/folder"));
        assert!(!root.exists("/nothing"));
    }

    #[test]
    fn bytes_that_are_no_utf8_are_kept_as_replacement_characters() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("f"), b"a\xff\xfeb\0\n").unwrap();
        let reading = Root::new(dir.path()).text("/f");
        assert_eq!(reading.text(), Some("a\u{fffd}\u{fffd}b"));
    }
}
