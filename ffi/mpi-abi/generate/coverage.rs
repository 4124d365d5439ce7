//! Which calls are there: as a table in Rust and as a page.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::{Procedure, Standard};

/// Chapters in the order of the page, and what they are about.
const CHAPTERS: &[(&str, &str)] = &[
    ("p2p", "Point-to-point"),
    ("partitioned", "Partitioned messages"),
    ("datatype", "Datatypes"),
    ("collective", "Collectives"),
    ("neighbor", "Neighborhood collectives"),
    ("op", "Operations"),
    ("group", "Groups"),
    ("comm", "Communicators"),
    ("attributes", "Attributes"),
    ("topology", "Topologies"),
    ("env", "Environment"),
    ("errors", "Errors"),
    ("info", "Info"),
    ("sessions", "Sessions"),
    ("dynamic", "Dynamic processes"),
    ("rma", "One-sided"),
    ("external", "Generalized requests, status"),
    ("io", "Files"),
    ("tools", "Tool interface"),
    ("language", "Language bindings, ABI"),
    ("deprecated", "Deprecated"),
];

/// The text of `coverage.rs`.
pub fn table(standard: &Standard, done: &BTreeSet<String>) -> String {
    let mut text = String::from("/// Every procedure.\npub static COVERAGE: &[Coverage] = &[\n");
    for procedure in &standard.procedures {
        for form in procedure.forms() {
            let _ = writeln!(
                text,
                "    Coverage {{ name: \"{}\", chapter: \"{}\", implemented: {} }},",
                procedure.symbol(*form),
                procedure.chapter,
                done.contains(&procedure.short())
            );
        }
    }
    text + "];\n"
}

/// The page `docs/MPI-COVERAGE.md`, which `cohost mpi coverage` reads too.
pub fn page(standard: &Standard, done: &BTreeSet<String>) -> String {
    let mut text = String::from(
        "# Calls of MPI 5.0\n\
         \n\
         Made by `cargo run -p mpi-abi --example generate` from the standard's tables and the \
         source.\n\
         All calls are exported, also as `PMPI_`; those that are not supported fail with\n\
         `MPI_ERR_UNSUPPORTED_OPERATION` through the error handler. A name that ends in `[_c]` \
         stands for\n\
         two calls, with `int` and with `MPI_Count`.\n\n",
    );
    let chapters: BTreeMap<_, _> = CHAPTERS.iter().copied().collect();
    for procedure in &standard.procedures {
        assert!(chapters.contains_key(procedure.chapter.as_str()), "{}", procedure.chapter);
    }
    let calls = |it: &&Procedure| it.forms().len();
    let is_done = |it: &&Procedure| done.contains(&it.short());
    let all: usize = standard.procedures.iter().map(|it| calls(&it)).sum();
    let have: usize = standard.procedures.iter().filter(is_done).map(|it| calls(&it)).sum();
    let _ = writeln!(text, "| chapter | calls | supported |\n|---|---:|---:|");
    for (chapter, title) in CHAPTERS {
        let of_it = || standard.procedures.iter().filter(|it| it.chapter == *chapter);
        let count: usize = of_it().map(|it| calls(&it)).sum();
        let have: usize = of_it().filter(is_done).map(|it| calls(&it)).sum();
        let _ = writeln!(text, "| {title} | {count} | {have} |");
    }
    let _ = writeln!(text, "| all | {all} | {have} |");
    for (chapter, title) in CHAPTERS {
        let of_it = || standard.procedures.iter().filter(|it| it.chapter == *chapter);
        let _ = writeln!(text, "\n## {title}\n");
        list(&mut text, "Supported", of_it().filter(|it| is_done(it)));
        list(&mut text, "Not supported", of_it().filter(|it| !is_done(it)));
    }
    text
}

fn list<'a>(text: &mut String, title: &str, procedures: impl Iterator<Item = &'a Procedure>) {
    let names: Vec<_> = procedures
        .map(|it| format!("`{}{}`", it.name, if it.forms().len() == 2 { "[_c]" } else { "" }))
        .collect();
    if !names.is_empty() {
        let _ = writeln!(text, "{title}: {}\n", names.join(", "));
    }
}
