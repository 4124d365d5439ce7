//! Kernel modules in the order in which they can be loaded.
//!
//! A kernel package that was only unpacked has no `modules.dep` yet (its installation makes it),
//! so dependencies are read where `depmod` reads them: each module names its own.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::{LabError, tools};

/// The modules of one kernel.
#[derive(Debug)]
pub struct Modules {
    dir: PathBuf,
    /// Name to file.
    files: BTreeMap<String, PathBuf>,
    builtin: BTreeSet<String>,
}

/// `kernel/drivers/net/virtio_net.ko.xz` is the module `virtio_net`; `-` and `_` are one.
fn name_of(file: &str) -> String {
    let base = file.rsplit('/').next().unwrap_or(file);
    base.split(".ko").next().unwrap_or(base).replace('-', "_")
}

impl Modules {
    /// The modules below a folder such as `lib/modules/6.1.0-1-amd64`.
    pub fn open(dir: &Path) -> Result<Modules, LabError> {
        let builtin = std::fs::read_to_string(dir.join("modules.builtin")).unwrap_or_default();
        let mut files = BTreeMap::new();
        let mut rooms = vec![dir.join("kernel")];
        while let Some(room) = rooms.pop() {
            let entries = std::fs::read_dir(&room)
                .map_err(|e| LabError::at("listing modules in", &room, e))?;
            for entry in entries.flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                if entry.path().is_dir() {
                    rooms.push(entry.path());
                } else if name.contains(".ko") {
                    files.insert(name_of(&name), entry.path());
                }
            }
        }
        Ok(Modules { dir: dir.to_owned(), files, builtin: builtin.lines().map(name_of).collect() })
    }

    /// These modules and all they need, as a line for `insmod` (file name, and the parameters
    /// written after the module's name) and contents, dependencies first, each once. One that is built in needs no file; one that the kernel does not have is an error.
    pub fn closure(&self, wanted: &[&str]) -> Result<Vec<(String, Vec<u8>)>, LabError> {
        let (mut visited, mut order) = (BTreeSet::new(), Vec::new());
        for wanted in wanted {
            let (name, parameters) = wanted.split_once(' ').unwrap_or((wanted, ""));
            self.visit(&name_of(name), &mut visited, &mut order)?;
            if let (false, Some(last)) = (parameters.is_empty(), order.last_mut()) {
                last.0 = format!("{} {parameters}", last.0);
            }
        }
        Ok(order)
    }

    fn visit(
        &self,
        name: &str,
        visited: &mut BTreeSet<String>,
        order: &mut Vec<(String, Vec<u8>)>,
    ) -> Result<(), LabError> {
        // Marked before its dependencies, so that a circle ends.
        if self.builtin.contains(name) || !visited.insert(name.to_owned()) {
            return Ok(());
        }
        let file = self.files.get(name).ok_or_else(|| LabError::Format {
            file: self.dir.display().to_string(),
            what: format!("this kernel has no module '{name}'; use another kernel package"),
        })?;
        let contents = read_module(file)?;
        for needed in depends(&contents) {
            self.visit(&name_of(&needed), visited, order)?;
        }
        order.push((format!("{name}.ko"), contents));
        Ok(())
    }
}

/// The contents of a module's file, unpacked when it is compressed.
fn read_module(file: &Path) -> Result<Vec<u8>, LabError> {
    let tool = match file.extension().and_then(|e| e.to_str()) {
        Some("xz") => "xz",
        Some("zst") => "zstd",
        Some("gz") => "gzip",
        _ => return tools::read(file),
    };
    let mut command = std::process::Command::new(tools::need(tool)?);
    Ok(tools::run(command.arg("-dc").arg(file))?.stdout)
}

/// The names after `depends=` in a module's information section, where texts end with zeros.
fn depends(module: &[u8]) -> Vec<String> {
    let key = b"\0depends=";
    let Some(at) = module.windows(key.len()).position(|w| w == key) else {
        return Vec::new();
    };
    let text = module.get(at + key.len()..).unwrap_or_default();
    let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(text)
        .split(',')
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn modules(files: &[(&str, &str)], builtin: &str) -> (tempfile::TempDir, Modules) {
        let dir = tempfile::tempdir().unwrap();
        let room = dir.path().join("kernel/drivers");
        std::fs::create_dir_all(&room).unwrap();
        for (name, needs) in files {
            let text = format!("\x7fELF license=GPL\0depends={needs}\0name=x\0");
            std::fs::write(room.join(name), text).unwrap();
        }
        std::fs::write(dir.path().join("modules.builtin"), builtin).unwrap();
        let modules = Modules::open(dir.path()).unwrap();
        (dir, modules)
    }

    fn names(order: Vec<(String, Vec<u8>)>) -> Vec<String> {
        order.into_iter().map(|(name, _)| name).collect()
    }

    #[test]
    fn a_module_comes_after_all_it_needs_and_each_comes_once() {
        let files = [
            ("net-failover.ko", "failover"),
            ("failover.ko", ""),
            ("virtio_net.ko", "net_failover,failover"),
        ];
        let (_dir, modules) = modules(&files, "kernel/virtio/virtio.ko\n");
        let order = modules.closure(&["virtio", "virtio-net", "failover"]);
        let expected = ["failover.ko", "net_failover.ko", "virtio_net.ko"];
        assert_eq!(names(order.unwrap()), expected);
    }

    #[test]
    fn parameters_stay_with_their_module() {
        let (_dir, modules) = modules(&[("vfio.ko", ""), ("vfio-pci.ko", "vfio")], "");
        let order = modules.closure(&["vfio-pci ids=1af4:1110"]).unwrap();
        assert_eq!(names(order), ["vfio.ko", "vfio_pci.ko ids=1af4:1110"]);
    }

    #[test]
    fn a_circle_ends_and_an_unknown_module_is_named() {
        let (_dir, modules) = modules(&[("a.ko", "b"), ("b.ko", "a")], "");
        assert_eq!(names(modules.closure(&["a"]).unwrap()), ["b.ko", "a.ko"]);
        let error = modules.closure(&["warp_drive"]).unwrap_err().to_string();
        assert!(error.contains("'warp_drive'"), "{error}");
    }
}
