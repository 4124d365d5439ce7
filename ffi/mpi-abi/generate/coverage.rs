//! Which calls are there: as a table in Rust and as a page.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::Standard;

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
