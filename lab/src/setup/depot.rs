//! The folder with everything that was fetched.

use std::fs::File;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::apt;
use crate::image::kernel;
use crate::{LabError, tools};

/// The lab's folder: `COHOST_LAB_DIR`, or `~/.cache/cohost-lab`.
#[derive(Debug, Clone)]
pub struct Depot {
    dir: PathBuf,
}

/// Linux for QEMU and Xen.
#[derive(Debug, Clone)]
pub struct Kernel {
    /// The ELF kernel.
    pub elf: PathBuf,
    /// Its folder of modules.
    pub modules: PathBuf,
}

/// User-Mode Linux.
#[derive(Debug, Clone)]
pub struct Uml {
    /// The kernel, a program.
    pub program: PathBuf,
    /// Its folder of modules.
    pub modules: PathBuf,
}

/// Xen and its tools.
#[derive(Debug, Clone)]
pub struct XenFiles {
    /// The hypervisor.
    pub elf: PathBuf,
    /// The root of the unpacked packages.
    pub root: PathBuf,
}

impl Depot {
    /// The folder named by the environment; it need not exist yet.
    pub fn open() -> Result<Depot, LabError> {
        if let Some(dir) = std::env::var_os("COHOST_LAB_DIR").filter(|dir| !dir.is_empty()) {
            return Depot::at(Path::new(&dir));
        }
        let home = std::env::var_os("HOME").filter(|home| !home.is_empty());
        let home = home.ok_or_else(|| {
            LabError::Options("neither COHOST_LAB_DIR nor HOME is set; set the first".into())
        })?;
        Depot::at(&Path::new(&home).join(".cache/cohost-lab"))
    }

    /// This folder; it need not exist yet.
    pub fn at(dir: &Path) -> Result<Depot, LabError> {
        let dir = std::path::absolute(dir).map_err(|e| LabError::at("resolving", dir, e))?;
        Ok(Depot { dir })
    }

    /// Where it is.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Held while the folder's contents change; released when dropped.
    pub(super) fn lock(&self) -> Result<File, LabError> {
        tools::make_dir(&self.dir)?;
        let path = self.dir.join("lock");
        let file = File::create(&path).map_err(|e| LabError::at("making", &path, e))?;
        let locked = flock(&file, FlockOperation::LockExclusive);
        locked.map_err(|e| LabError::at("locking", &path, e.into()))?;
        Ok(file)
    }

    fn package(&self, key: &str) -> PathBuf {
        self.dir.join("packages").join(key)
    }

    /// The unpacked packages of this key, or what to do when they are not there.
    fn fetched(&self, key: &str) -> Result<PathBuf, LabError> {
        let root = self.package(key);
        if root.join(".complete").is_file() {
            return Ok(root);
        }
        Err(LabError::Missing {
            what: format!("the unpacked package '{key}'"),
            tried: root.display().to_string(),
        })
    }

    /// Downloads and unpacks packages, unless that was done before.
    pub(super) fn fetch(
        &self,
        key: &str,
        say: &mut dyn FnMut(&str),
        packages: impl FnOnce() -> Result<Vec<String>, LabError>,
    ) -> Result<(), LabError> {
        if self.fetched(key).is_ok() {
            return Ok(());
        }
        let packages = packages()?;
        say(&format!("fetching {}", shorten(&packages)));
        // Under another name until it is whole: a run that is cut off leaves nothing that counts.
        let (whole, half) = (self.package(key), self.dir.join("packages/partial"));
        let _ = std::fs::remove_dir_all(&half);
        let debs = half.join("debs");
        tools::make_dir(&debs)?;
        apt::download(&packages, &debs)?;
        let root = half.join("root");
        tools::make_dir(&root)?;
        apt::unpack(&debs, &root)?;
        tools::write(&root.join(".complete"), packages.join("\n").as_bytes())?;
        let _ = std::fs::remove_dir_all(&whole);
        std::fs::rename(&root, &whole).map_err(|e| LabError::at("naming", &whole, e))?;
        std::fs::remove_dir_all(&half).map_err(|e| LabError::at("removing", &half, e))
    }

    /// Takes the ELF kernel out of the package's image, unless that was done before.
    pub(super) fn prepare_kernel(&self, say: &mut dyn FnMut(&str)) -> Result<(), LabError> {
        let root = self.fetched("linux")?;
        let elf = root.join("vmlinux.elf");
        if elf.is_file() {
            return Ok(());
        }
        say("unpacking the kernel");
        kernel::extract(&only(&root.join("boot"), "vmlinuz-", "")?, &elf)
    }

    /// Unpacks the hypervisor, unless that was done before.
    pub(super) fn prepare_xen(&self, say: &mut dyn FnMut(&str)) -> Result<(), LabError> {
        let root = self.fetched("xen")?;
        let elf = root.join("xen.elf");
        if elf.is_file() {
            return Ok(());
        }
        say("unpacking Xen");
        let packed = only(&root.join("boot"), "xen-", ".gz")?;
        let mut command = std::process::Command::new(tools::need("gzip")?);
        let contents = tools::run(command.arg("-dc").arg(packed))?.stdout;
        let half = root.join("xen.partial");
        tools::write(&half, &contents)?;
        std::fs::rename(&half, &elf).map_err(|e| LabError::at("naming", &elf, e))
    }

    /// The static busybox.
    pub fn busybox(&self) -> Result<PathBuf, LabError> {
        let root = self.fetched("busybox")?;
        ["usr/bin/busybox", "bin/busybox"]
            .map(|name| root.join(name))
            .into_iter()
            .find(|file| file.is_file())
            .ok_or_else(|| missing_file(&root, "bin/busybox"))
    }

    /// Linux for QEMU and Xen.
    pub fn kernel(&self) -> Result<Kernel, LabError> {
        let root = self.fetched("linux")?;
        let elf = root.join("vmlinux.elf");
        if !elf.is_file() {
            return Err(missing_file(&root, "vmlinux.elf"));
        }
        Ok(Kernel { elf, modules: modules(&root)? })
    }

    /// User-Mode Linux.
    pub fn uml(&self) -> Result<Uml, LabError> {
        let root = self.fetched("uml")?;
        let programs = ["usr/bin/linux.uml", "usr/bin/linux"].map(|name| root.join(name));
        let program = programs.into_iter().find(|file| file.is_file());
        Ok(Uml {
            program: program.ok_or_else(|| missing_file(&root, "usr/bin/linux.uml"))?,
            modules: only(&root.join("usr/lib/uml/modules"), "", "")?,
        })
    }

    /// Xen and its tools.
    pub fn xen(&self) -> Result<XenFiles, LabError> {
        let root = self.fetched("xen")?;
        let elf = root.join("xen.elf");
        if !elf.is_file() {
            return Err(missing_file(&root, "xen.elf"));
        }
        Ok(XenFiles { elf, root })
    }
}

fn modules(root: &Path) -> Result<PathBuf, LabError> {
    only(&root.join("lib/modules"), "", "").or_else(|_| only(&root.join("usr/lib/modules"), "", ""))
}

/// The first entry of a folder, in order of names, that begins and ends so.
fn only(dir: &Path, prefix: &str, suffix: &str) -> Result<PathBuf, LabError> {
    let entries = std::fs::read_dir(dir).map_err(|e| LabError::at("listing", dir, e))?;
    let mut names: Vec<String> = entries
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with(prefix) && name.ends_with(suffix))
        .collect();
    names.sort();
    let name = names.first();
    name.map(|name| dir.join(name)).ok_or_else(|| missing_file(dir, &format!("{prefix}*{suffix}")))
}

fn missing_file(root: &Path, name: &str) -> LabError {
    LabError::Missing {
        what: format!("'{name}' of an unpacked package"),
        tried: root.display().to_string(),
    }
}

fn shorten(packages: &[String]) -> String {
    match packages {
        [first, second, third, rest @ ..] if !rest.is_empty() => {
            format!("{first}, {second}, {third} and {} more", rest.len())
        }
        all => all.join(", "),
    }
}
