//! Puts the C interface where compilers and programs find it.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

const HEADER: &str = include_str!("../../../ffi/mpi-abi/include/mpi.h");
const COMPILER: &str = include_str!("compiler.sh");
const PACKAGE: &str = include_str!("package.pc");

/// What cargo builds, and what the loader asks for.
const BUILT: &str = "libmpi_abi.so";
const LIBRARY: &str = "libmpi_abi.so.1";

/// Other names of the library: for the linker, for programs of MPICH 5.0.1, for `-lmpi`.
const LIBRARY_LINKS: &[&str] = &["libmpi_abi.so", "libmpi_abi.so.0", "libmpi.so"];

/// Commands that are `cohost` under another name.
const LAUNCHERS: &[&str] = &["mpiexec", "mpirun"];

/// Installs below `prefix`; nothing is written when the library is not there.
pub fn install(prefix: &Path, library_from: Option<&Path>) -> Result<(), String> {
    let command = std::env::current_exe()
        .map_err(|error| format!("the path of this command cannot be found: {error}"))?;
    let library = library(&command, library_from)?;
    let [bin, include, lib, packages] =
        ["bin", "include", "lib", "lib/pkgconfig"].map(|folder| prefix.join(folder));
    for folder in [&bin, &include, &lib, &packages] {
        fs::create_dir_all(folder).map_err(|error| at(folder, &error))?;
    }
    put(&include.join("mpi.h"), HEADER.as_bytes(), 0o644)?;
    copy(&library, &lib.join(LIBRARY))?;
    for name in LIBRARY_LINKS {
        link(LIBRARY, &lib.join(name))?;
    }
    put(&packages.join("mpi_abi.pc"), filled(PACKAGE, "").as_bytes(), 0o644)?;
    link("mpi_abi.pc", &packages.join("mpi.pc"))?;
    let c = "${COHOST_CC:-${MPICH_CC:-${OMPI_CC:-cc}}}";
    let cxx = "${COHOST_CXX:-${MPICH_CXX:-${OMPI_CXX:-c++}}}";
    put(&bin.join("mpicc"), filled(COMPILER, c).as_bytes(), 0o755)?;
    put(&bin.join("mpicxx"), filled(COMPILER, cxx).as_bytes(), 0o755)?;
    link("mpicxx", &bin.join("mpic++"))?;
    copy(&command, &bin.join("cohost"))?;
    LAUNCHERS.iter().try_for_each(|name| link("cohost", &bin.join(name)))
}

fn filled(template: &str, compiler: &str) -> String {
    template.replace("@COMPILER@", compiler).replace("@VERSION@", env!("CARGO_PKG_VERSION"))
}

/// The library to install: in the folder that was given, beside this command, or where an earlier
/// installation has it.
fn library(command: &Path, from: Option<&Path>) -> Result<PathBuf, String> {
    let beside = command.parent().unwrap_or(Path::new("."));
    let candidates = match from {
        Some(folder) => vec![folder.join(BUILT), folder.join(LIBRARY)],
        None => vec![beside.join(BUILT), beside.join("../lib").join(LIBRARY)],
    };
    if let Some(found) = candidates.iter().find(|path| path.exists()) {
        return Ok(found.clone());
    }
    let folder = from.unwrap_or(beside);
    let release = beside.file_name().is_some_and(|name| name == "release");
    let profile = if release { " --release" } else { "" };
    Err(format!(
        "there is no {BUILT} in {}: build it with `cargo build{profile} -p mpi-abi`, or say where \
         it is with --library-from",
        folder.display()
    ))
}

/// Writes a file; one that is there is replaced at once, so that programs that use it go on.
fn put(path: &Path, bytes: &[u8], mode: u32) -> Result<(), String> {
    replace(path, |fresh| {
        fs::write(fresh, bytes)?;
        fs::set_permissions(fresh, Permissions::from_mode(mode))
    })
}

fn copy(from: &Path, path: &Path) -> Result<(), String> {
    let same = fs::canonicalize(path).ok() == fs::canonicalize(from).ok();
    if same {
        return Ok(());
    }
    replace(path, |fresh| {
        fs::copy(from, fresh)?;
        fs::set_permissions(fresh, Permissions::from_mode(0o755))
    })
}

fn link(target: &str, path: &Path) -> Result<(), String> {
    replace(path, |fresh| symlink(target, fresh))
}

fn replace(path: &Path, make: impl FnOnce(&Path) -> io::Result<()>) -> Result<(), String> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".new-{}", std::process::id()));
    let fresh = path.with_file_name(name);
    make(&fresh).and_then(|()| fs::rename(&fresh, path)).map_err(|error| {
        let _ = fs::remove_file(&fresh);
        at(path, &error)
    })
}

fn at(path: &Path, error: &io::Error) -> String {
    format!("{}: {error}", path.display())
}
