//! What the control domain of Xen has beside a guest's own image: `xl` and the daemons behind it,
//! their libraries, and scripts that start them and connect guests to a bridge.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::setup::XenFiles;
use crate::{LabError, tools};

/// A file of an image: path without leading slash, mode, contents.
pub type File = (String, u32, Vec<u8>);

/// Where the tools are looked for in the unpacked packages, below the root.
const TOOLS: &[&str] = &["xl", "xenstored", "xenconsoled", "xen-init-dom0", "libxl-save-helper"];

/// Modules of the control domain, beside those for its network device.
pub const MODULES: &[&str] =
    &["bridge", "xen_privcmd", "xenfs", "xen_evtchn", "xen_gntdev", "xen_gntalloc", "xen_netback"];

/// The tools, their libraries and the scripts, as files of an image.
pub fn files(xen: &XenFiles) -> Result<Vec<File>, LabError> {
    let libexec = libexec(&xen.root)?;
    let mut programs: Vec<PathBuf> =
        TOOLS.iter().map(|tool| xen.root.join(&libexec).join(tool)).collect();
    let store = xen.root.join("usr/bin/xenstore-write");
    programs.push(store.clone());
    let mut files = vec![
        ("etc/lab-first".into(), 0o755, first(&libexec).into_bytes()),
        ("etc/lab-vif".into(), 0o755, VIF.as_bytes().to_vec()),
        ("etc/xen/xl.conf".into(), 0o644, b"autoballoon=\"off\"\n".to_vec()),
        ("bin/xenstore-write".into(), 0o755, tools::read(&store)?),
    ];
    for tool in TOOLS {
        let path = format!("{libexec}/{tool}");
        files.push((path.clone(), 0o755, tools::read(&xen.root.join(path))?));
    }
    let mut libraries: Vec<(String, PathBuf)> = Vec::new();
    for program in &programs {
        for found in needed(&xen.root, program)? {
            if !libraries.contains(&found) {
                libraries.push(found);
            }
        }
    }
    // Loaded by the C library when a thread is cancelled, so no program names it.
    libraries.push((format!("{LIBRARIES}/{GCC}"), unnamed(&xen.root, GCC)?));
    for (path, from) in libraries {
        files.push((path, 0o755, tools::read(&from)?));
    }
    Ok(files)
}

/// The folder of this version's tools, such as `usr/lib/xen-4.17/bin`.
fn libexec(root: &Path) -> Result<String, LabError> {
    let dir = root.join("usr/lib");
    let entries = std::fs::read_dir(&dir).map_err(|e| LabError::at("listing", &dir, e))?;
    let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut found =
        names.filter(|name| name.starts_with("xen-") && dir.join(name).join("bin/xl").is_file());
    found.next().map(|name| format!("usr/lib/{name}/bin")).ok_or_else(|| LabError::Missing {
        what: "Xen's tool 'xl'".into(),
        tried: format!("{}/xen-*/bin", dir.display()),
    })
}

/// Where libraries are, in the packages, in the image and on this machine.
const LIBRARIES: &str = "lib/x86_64-linux-gnu";
const GCC: &str = "libgcc_s.so.1";

/// A library that is loaded without being named by a program.
fn unnamed(root: &Path, name: &str) -> Result<PathBuf, LabError> {
    let dirs =
        [root.join(LIBRARIES), root.join("usr").join(LIBRARIES), Path::new("/").join(LIBRARIES)];
    let mut files = dirs.into_iter().map(|dir| dir.join(name));
    files.find(|file| file.is_file()).ok_or_else(|| LabError::Missing {
        what: format!("the library {name}"),
        tried: "the unpacked packages and this machine".into(),
    })
}

/// The libraries of a program, as path in the image and file here; asked of the dynamic loader,
/// which prefers the unpacked packages and takes the rest from this machine.
fn needed(root: &Path, program: &Path) -> Result<Vec<(String, PathBuf)>, LabError> {
    let dirs = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"];
    let path = dirs.map(|dir| root.join(dir).display().to_string()).join(":");
    let mut command = Command::new(tools::need("ldd")?);
    let said = tools::run(command.arg(program).env("LD_LIBRARY_PATH", path))?;
    let mut found = Vec::new();
    for line in String::from_utf8_lossy(&said.stdout).lines().map(str::trim) {
        let (name, file) = match line.split_once(" => ") {
            Some((name, file)) => (name, file),
            // The loader itself is named by its path; the kernel's own page has none.
            None if line.starts_with('/') => (line, line),
            None => continue,
        };
        if file.starts_with("not found") {
            return Err(LabError::Missing {
                what: format!("the library {name} of {}", program.display()),
                tried: "the unpacked packages and this machine".into(),
            });
        }
        let file = file.split(" (").next().unwrap_or(file);
        if name.starts_with('/') {
            let name = name.split(" (").next().unwrap_or(name);
            let inside = name.trim_start_matches('/').to_owned();
            // The loader must be of the libc that goes with it.
            let packaged = root.join(&inside);
            let from = if packaged.is_file() { packaged } else { PathBuf::from(file) };
            found.push((inside, from));
        } else {
            found.push((format!("{LIBRARIES}/{name}"), PathBuf::from(file)));
        }
    }
    Ok(found)
}

/// Run by the image's init before the network is set up; takes the address for the bridge.
fn first(libexec: &str) -> String {
    format!(
        "export PATH=/{libexec}:/bin\n\
         ln -sfn /run /var/run.new && rm -rf /var/run && mv /var/run.new /var/run\n\
         mkdir -p /var/lib/xen /var/lib/xenstored /var/log/xen/console /run/xen /run/xenstored /etc/xen /var/lock\n\
         xenstored --pid-file /run/xenstored.pid\n\
         xen-init-dom0\n\
         xenconsoled --log=guest --log-dir=/var/log/xen/console --pid-file=/run/xenconsoled.pid\n\
         brctl addbr br0\n\
         for path in /sys/class/net/*/device; do\n\
             interface=${{path%/device}}; interface=${{interface##*/}}\n\
             brctl addif br0 \"$interface\"; ip link set \"$interface\" up\n\
         done\n\
         ip address add \"$address\" dev br0\n\
         ip link set br0 up\n\
         address=\n"
    )
}

/// Called by `xl` for each guest's network device.
const VIF: &str = "#!/bin/busybox sh\n\
    export PATH=/bin\n\
    [ \"$1\" = online ] || exit 0\n\
    brctl addif br0 \"$vif\" && ip link set \"$vif\" up && \\\n\
    xenstore-write \"$XENBUS_PATH/hotplug-status\" connected\n";
