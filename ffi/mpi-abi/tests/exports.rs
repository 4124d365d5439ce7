//! The library exports every procedure under both names, and nothing else.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeSet;
use std::ffi::CString;
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::process::Command;

use support::{compile, library, standard};

/// The procedures of the standard, large-count forms included.
const PROCEDURES: usize = 664;

/// `MPI_` and `PMPI_` names of all procedures.
fn procedures() -> BTreeSet<String> {
    let standard = standard();
    let forms = |it| -> &[support::generate::Form] { support::generate::Procedure::forms(it) };
    let symbols =
        standard.procedures.iter().flat_map(|it| forms(it).iter().map(|form| it.symbol(*form)));
    let symbols: BTreeSet<String> = symbols.collect();
    assert_eq!(symbols.len(), PROCEDURES);
    let profiling: Vec<_> = symbols.iter().map(|name| format!("P{name}")).collect();
    symbols.into_iter().chain(profiling).collect()
}

/// Names that the library defines.
fn exported() -> BTreeSet<String> {
    let output = Command::new("nm").args(["-D", "--defined-only"]).arg(library()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().filter_map(|line| Some(line.rsplit_once(' ')?.1.to_owned())).collect()
}

#[test]
fn every_procedure_is_exported_under_both_names() {
    let missing: Vec<_> = procedures().difference(&exported()).cloned().collect();
    assert_eq!(missing, [""; 0]);
}

#[test]
fn nothing_is_exported_but_procedures_and_conversions_for_fortran() {
    let (exported, procedures) = (exported(), procedures());
    let others: Vec<_> = exported.difference(&procedures).collect();
    let fortran = |name: &str| {
        let name = name.trim_start_matches('P');
        name.starts_with("MPI_Status_") || name.ends_with("_c2f") || name.ends_with("_f2c")
    };
    let strange: Vec<_> = others.iter().filter(|name| !fortran(name)).collect();
    assert!(strange.is_empty(), "{strange:?}");
    // Eleven handles each way, six conversions of statuses; each twice.
    assert_eq!(others.len(), 56, "{others:?}");
}

#[test]
fn the_library_loads_with_all_symbols_resolved() {
    let path = CString::new(library().as_os_str().as_bytes()).unwrap();
    // SAFETY: a library that does nothing when it is loaded.
    let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
    assert!(!handle.is_null(), "{} does not load", library().display());
    // SAFETY: the handle is open, the name ends with a zero.
    let symbol = unsafe { libc::dlsym(handle, c"PMPI_Get_version".as_ptr()) };
    assert!(!symbol.is_null());
}

#[test]
fn its_name_for_the_loader_is_that_of_the_abi() {
    let output = Command::new("readelf").arg("-d").arg(library()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("Library soname: [libmpi_abi.so.1]"), "{text}");
}

#[test]
fn a_program_that_uses_every_prototype_links() {
    let mut program = String::from("#include <mpi.h>\ntypedef void (*any)(void);\nany all[] = {\n");
    for name in procedures() {
        let _ = writeln!(program, "    (any){name},");
    }
    program.push_str("    0\n};\nint main(void) { return all[0] == 0; }\n");
    let library = library();
    let path = library.to_str().unwrap();
    let options = ["-std=c11", "-Wl,--no-undefined", path];
    compile("cc", &program, "c", &options).unwrap();
    let wrong = program.replace("(any)MPI_Send,", "(any)MPI_Send_nowhere,");
    assert!(compile("cc", &wrong, "c", &options).is_err());
}
