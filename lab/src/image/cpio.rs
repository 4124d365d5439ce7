//! A writer of the cpio format "newc", which Linux unpacks as its initramfs.
//!
//! Deterministic: inode numbers count up, times, owners and device numbers are zero, and entries
//! come in the order given. So the same inputs give the same bytes, and an image can be compared.

use std::collections::BTreeSet;

/// An archive being written into memory.
#[derive(Debug, Default)]
pub struct Archive {
    bytes: Vec<u8>,
    entries: u32,
    dirs: BTreeSet<String>,
}

const DIR: u32 = 0o040_755;
const FILE: u32 = 0o100_000;
const SYMLINK: u32 = 0o120_777;
const CHARACTER_DEVICE: u32 = 0o020_600;

impl Archive {
    /// An empty archive with the folder and the console that every init needs.
    pub fn new() -> Archive {
        let mut archive = Archive::default();
        archive.dir("dev");
        archive.entry("dev/console", CHARACTER_DEVICE, &[], (5, 1));
        archive
    }

    /// Adds a folder and its parents, once each. No leading slash.
    pub fn dir(&mut self, path: &str) {
        let mut end = 0;
        for part in path.split('/').filter(|part| !part.is_empty()) {
            end += part.len() + usize::from(end > 0);
            let Some(prefix) = path.get(..end) else {
                return;
            };
            if self.dirs.insert(prefix.to_owned()) {
                self.entry(prefix, DIR, &[], (0, 0));
            }
        }
    }

    /// Adds a file of this mode, such as `0o755`, and its parent folders.
    pub fn file(&mut self, path: &str, mode: u32, data: &[u8]) {
        self.parents(path);
        self.entry(path, FILE | (mode & 0o7777), data, (0, 0));
    }

    /// Adds a symbolic link and its parent folders.
    pub fn symlink(&mut self, path: &str, target: &str) {
        self.parents(path);
        self.entry(path, SYMLINK, target.as_bytes(), (0, 0));
    }

    /// Ends the archive and returns its bytes.
    pub fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, &[], (0, 0));
        let padded = self.bytes.len().next_multiple_of(512);
        self.bytes.resize(padded, 0);
        self.bytes
    }

    fn parents(&mut self, path: &str) {
        if let Some((parent, _)) = path.rsplit_once('/') {
            self.dir(parent);
        }
    }

    fn entry(&mut self, name: &str, mode: u32, data: &[u8], device: (u32, u32)) {
        self.entries += 1;
        // The format has 32 bits for a size; a file of 4 GiB has no place in an initramfs.
        let size = u32::try_from(data.len()).unwrap_or(u32::MAX);
        let name_size = u32::try_from(name.len() + 1).unwrap_or(u32::MAX);
        let fields = [self.entries, mode, 0, 0, 1, 0, size, 0, 0, device.0, device.1, name_size, 0];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(data.get(..size as usize).unwrap_or(data));
        self.pad();
    }

    fn pad(&mut self) {
        let padded = self.bytes.len().next_multiple_of(4);
        self.bytes.resize(padded, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads the names, modes and contents back, by the format's own description.
    fn read_back(bytes: &[u8]) -> Vec<(String, u32, Vec<u8>)> {
        let field = |at: usize, n: usize| {
            let text = std::str::from_utf8(&bytes[at + 6 + 8 * n..at + 14 + 8 * n]).unwrap();
            u32::from_str_radix(text, 16).unwrap() as usize
        };
        let (mut at, mut found) = (0, Vec::new());
        loop {
            assert_eq!(&bytes[at..at + 6], b"070701", "a header at {at}");
            let (mode, size, name_size) = (field(at, 1), field(at, 6), field(at, 11));
            let name = &bytes[at + 110..at + 110 + name_size - 1];
            let name = String::from_utf8(name.to_vec()).unwrap();
            let data = (at + 110 + name_size).next_multiple_of(4);
            if name == "TRAILER!!!" {
                return found;
            }
            found.push((name, mode as u32, bytes[data..data + size].to_vec()));
            at = (data + size).next_multiple_of(4);
        }
    }

    #[test]
    fn what_goes_in_comes_out_with_each_folder_once_and_before_its_files() {
        let mut archive = Archive::new();
        archive.file("bin/busybox", 0o755, b"12345");
        archive.file("bin/cohost", 0o755, b"");
        archive.symlink("a/b/c", "/bin/busybox");
        let found = read_back(&archive.finish());
        let names: Vec<&str> = found.iter().map(|entry| entry.0.as_str()).collect();
        let expected =
            ["dev", "dev/console", "bin", "bin/busybox", "bin/cohost", "a", "a/b", "a/b/c"];
        assert_eq!(names, expected);
        assert_eq!(found[3], ("bin/busybox".into(), 0o100_755, b"12345".into()));
        assert_eq!(found[7].2, b"/bin/busybox");
    }

    #[test]
    fn the_same_inputs_give_the_same_bytes() {
        let image = || {
            let mut archive = Archive::new();
            archive.file("init", 0o755, b"#!/bin/busybox sh\n");
            archive.finish()
        };
        assert_eq!(image(), image());
        assert_eq!(image().len() % 512, 0);
    }
}
