//! The initramfs of a guest: busybox, the static program, modules, and `init.sh`.

use std::path::Path;

use super::cpio::Archive;
use crate::{LabError, tools};

/// What goes into a guest's initramfs.
#[derive(Debug)]
pub struct Initramfs<'a> {
    /// A statically linked busybox.
    pub busybox: &'a Path,
    /// The project's statically linked program, found in the guest as `/bin/cohost`.
    pub program: &'a Path,
    /// Modules in the order in which they are loaded: line for `insmod` and contents.
    pub modules: &'a [(String, Vec<u8>)],
    /// More files: path in the guest without leading slash, mode, contents.
    pub files: &'a [(String, u32, Vec<u8>)],
}

impl Initramfs<'_> {
    /// The archive's bytes. The same inputs give the same bytes.
    pub fn build(&self) -> Result<Vec<u8>, LabError> {
        let mut archive = Archive::new();
        for dir in ["proc", "sys", "tmp", "run", "root", "etc", "lib/modules"] {
            archive.dir(dir);
        }
        archive.file("init", 0o755, include_bytes!("init.sh"));
        archive.file("bin/busybox", 0o755, &tools::read(self.busybox)?);
        archive.file("bin/cohost", 0o755, &tools::read(self.program)?);
        archive.file("etc/passwd", 0o644, b"root:x:0:0:root:/root:/bin/sh\n");
        archive.file("etc/group", 0o644, b"root:x:0:\n");
        archive.file("etc/hosts", 0o644, b"127.0.0.1 localhost\n");
        let mut order = String::new();
        for (line, contents) in self.modules {
            let name = line.split(' ').next().unwrap_or(line);
            archive.file(&format!("lib/modules/{name}"), 0o644, contents);
            order += line;
            order.push('\n');
        }
        archive.file("lib/modules/order", 0o644, order.as_bytes());
        for (path, mode, contents) in self.files {
            archive.file(path, *mode, contents);
        }
        Ok(archive.finish())
    }
}
