//! Writes what is made of the standard's tables and kept in the tree: the header and the page of
//! coverage. With `signatures [WORD...]` it prints the heads of the functions that implement the
//! procedures whose names contain one of the words.

#[path = "../generate/mod.rs"]
mod generate;

use std::path::Path;

use generate::{Standard, coverage, entries, header, implemented};

fn main() -> std::io::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let standard = Standard::read(root);
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() == Some("signatures") {
        signatures(&standard, &arguments.map(|it| it.to_lowercase()).collect::<Vec<_>>());
        return Ok(());
    }
    std::fs::create_dir_all(root.join("include"))?;
    std::fs::write(root.join("include/mpi.h"), header::text(&standard))?;
    std::fs::write(
        root.join("../../docs/MPI-COVERAGE.md"),
        coverage::page(&standard, &implemented(root)),
    )
}

fn signatures(standard: &Standard, words: &[String]) {
    for procedure in &standard.procedures {
        let name = procedure.name.to_lowercase();
        if words.is_empty() || words.iter().any(|word| name.contains(word)) {
            println!("// {}, src/calls/{}.rs", procedure.name, procedure.chapter);
            println!("{}", entries::signature(procedure));
        }
    }
}
