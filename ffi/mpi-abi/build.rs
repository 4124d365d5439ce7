//! Writes the entry points, the constants and the table of coverage from the standard's own
//! tables in `standard/`, and gives the library its name for the loader.

mod generate;

use std::path::{Path, PathBuf};

fn main() {
    let root = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let out = PathBuf::from(std::env::var_os("OUT_DIR").unwrap_or_default());
    for watched in ["build.rs", "generate", "standard", "src/calls"] {
        println!("cargo::rerun-if-changed={watched}");
    }
    println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libmpi_abi.so.1");
    let standard = generate::Standard::read(&root);
    let done = generate::implemented(&root);
    put(&out, "entries.rs", &generate::entries::text(&standard, &done));
    put(&out, "constants.rs", &generate::constants::text(&standard));
    put(&out, "coverage.rs", &generate::coverage::table(&standard, &done));
}

fn put(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    if let Err(error) = std::fs::write(&path, text) {
        panic!("{} cannot be written: {error}", path.display());
    }
}
