//! Debian's package tools, asked so that the machine's own configuration stays as it is.

use std::path::Path;
use std::process::Command;
use std::sync::Once;

use super::Depot;
use crate::{LabError, tools};

/// A tool of Debian's, without which nothing can be fetched.
fn debian(tool: &'static str) -> Result<&'static str, LabError> {
    match tools::find(tool) {
        Some(_) => Ok(tool),
        None => Err(LabError::Options(format!(
            "this machine has no '{tool}': the lab is made of Debian's packages; run it on Debian"
        ))),
    }
}

/// The package named by a dependency of `package` that begins with `prefix`: the versioned
/// package behind one such as `linux-image-amd64`.
pub(super) fn depends_on(package: &str, prefix: &str) -> Result<String, LabError> {
    let find = || -> Result<Option<String>, LabError> {
        let text = tools::text(debian("apt-cache")?, &["depends", package])?;
        let needs = text.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
        Ok(needs.map(str::trim).find(|name| name.starts_with(prefix)).map(str::to_owned))
    };
    // Without package lists it fails or finds nothing.
    match find() {
        Ok(Some(name)) => return Ok(name),
        Ok(None) | Err(LabError::Tool { .. }) => update_once(&[])?,
        Err(error) => return Err(error),
    }
    find()?.ok_or_else(|| LabError::Missing {
        what: format!("the package {prefix}* that {package} depends on"),
        tried: format!("apt-get update, apt-cache depends {package}"),
    })
}

/// The hypervisor, its tools, and the libraries these need.
pub(super) fn xen_packages() -> Result<Vec<String>, LabError> {
    let hypervisor = depends_on("xen-system-amd64", "xen-hypervisor-4")?;
    let utils = depends_on("xen-system-amd64", "xen-utils-4")?;
    let mut packages = vec![hypervisor, utils.clone(), "xenstore-utils".into()];
    let options = "--recurse --no-recommends --no-suggests --no-conflicts --no-breaks \
                   --no-replaces --no-enhances";
    let mut args = vec!["depends"];
    args.extend(options.split_whitespace());
    args.extend([utils.as_str(), "xenstore-utils"]);
    let text = tools::text(debian("apt-cache")?, &args)?;
    let libraries = text.lines().filter(|line| {
        // Libraries proper; what belongs to Python is for tools that the lab does not use.
        (line.starts_with("lib") || line.starts_with("zlib"))
            && !line.contains("python")
            && !line.contains(':')
    });
    packages.extend(libraries.map(str::to_owned));
    packages.sort();
    packages.dedup();
    Ok(packages)
}

/// Downloads these packages into a folder, which gets their `.deb` files.
pub(super) fn download(packages: &[String], into: &Path) -> Result<(), LabError> {
    let get = || {
        let mut command = Command::new(debian("apt-get")?);
        command.current_dir(into).args(["-q", "download"]);
        // The folder may be one that apt's own user cannot enter.
        command.args(["-o", "APT::Sandbox::User=root"]).args(packages);
        tools::run(&mut command)
    };
    if get().is_ok() {
        return Ok(());
    }
    update_once(&[])?;
    get().map(drop).map_err(|error| LabError::Missing {
        what: format!("one of the packages {}", packages.join(", ")),
        tried: format!("apt-get update, apt-get download: {error}"),
    })
}

/// Unpacks every `.deb` file in `from` into `into`.
pub(super) fn unpack(from: &Path, into: &Path) -> Result<(), LabError> {
    let entries =
        std::fs::read_dir(from).map_err(|source| LabError::at("listing", from, source))?;
    let mut files: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    files.sort();
    for file in files.iter().filter(|file| file.extension().is_some_and(|e| e == "deb")) {
        let mut command = Command::new(debian("dpkg")?);
        tools::run(command.arg("-x").arg(file).arg(into))?;
    }
    Ok(())
}

/// Installs these packages. QEMU comes from the suite of its installed parts, which must match.
pub(super) fn install(depot: &Depot, packages: &[String]) -> Result<(), LabError> {
    if !rustix::process::geteuid().is_root() {
        return Err(LabError::Missing {
            what: format!("the packages {}", packages.join(", ")),
            tried: "looking for their programs; only root can install them".into(),
        });
    }
    let backports = packages.iter().any(|name| name.starts_with("qemu")) && backported_qemu();
    let mut options = Vec::new();
    if backports {
        let suite = backports_list(depot)?;
        options = suite.0;
        update(&options)?;
        options.extend(["-t".to_owned(), suite.1]);
    }
    let get = || {
        let mut command = Command::new(debian("apt-get")?);
        command.env("DEBIAN_FRONTEND", "noninteractive").args(&options);
        command.args(["-q", "-y", "--no-install-recommends", "install"]);
        tools::run(command.args(packages))
    };
    if get().is_ok() {
        return Ok(());
    }
    if !backports {
        update_once(&options)?;
    }
    get().map(drop).map_err(|error| LabError::Missing {
        what: format!("one of the packages {}", packages.join(", ")),
        tried: format!("apt-get update, apt-get install: {error}"),
    })
}

/// Whether the installed tools of QEMU are of a backport.
fn backported_qemu() -> bool {
    let args = ["-W", "-f", "${db:Status-Status} ${Version}", "qemu-utils"];
    tools::text("dpkg-query", &args)
        .is_ok_and(|text| text.starts_with("installed") && text.contains("~bpo"))
}

/// A list of sources and lists of its own, which name the backports beside what the machine has:
/// the options for apt, and the suite's name.
fn backports_list(depot: &Depot) -> Result<(Vec<String>, String), LabError> {
    let format = "$(REPO_URI) $(RELEASE) $(COMPONENT)";
    let text = tools::text(debian("apt-get")?, &["indextargets", "--format", format])?;
    let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let codename =
        release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME=")).unwrap_or_default();
    let main = text.lines().find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        (words.get(1..) == Some(&[codename, "main"])).then(|| words[0].to_owned())
    });
    let site = main.ok_or_else(|| LabError::Missing {
        what: format!("the suite {codename}-backports, which the installed qemu-utils come from"),
        tried: "apt-get indextargets names no site for this release".into(),
    })?;
    let suite = format!("{codename}-backports");
    let keys = "/usr/share/keyrings/debian-archive-keyring.gpg";
    let signed =
        if Path::new(keys).exists() { format!("[signed-by={keys}] ") } else { String::new() };
    let own = std::fs::read_to_string("/etc/apt/sources.list").unwrap_or_default();
    let list = depot.dir().join("apt/sources.list");
    let lists = depot.dir().join("apt/lists");
    tools::make_dir(&lists.join("partial"))?;
    let text = format!("{own}\ndeb {signed}{site} {suite} main\n");
    tools::write(&list, text.as_bytes())?;
    let options = [
        format!("Dir::Etc::sourcelist={}", list.display()),
        format!("Dir::State::Lists={}", lists.display()),
    ];
    let options = options.into_iter().flat_map(|option| ["-o".to_owned(), option]);
    Ok((options.collect(), suite))
}

fn update(options: &[String]) -> Result<(), LabError> {
    let mut command = Command::new(debian("apt-get")?);
    command.args(options).args(["-q", "-o", "APT::Sandbox::User=root", "update"]);
    tools::run(&mut command).map(drop)
}

/// Updates the package lists, the first time it is asked to. Needs root; without, what follows
/// fails and says which package is missing.
fn update_once(options: &[String]) -> Result<(), LabError> {
    static ONCE: Once = Once::new();
    let mut result = Ok(());
    if rustix::process::geteuid().is_root() {
        ONCE.call_once(|| result = update(options));
    }
    result
}
