//! The constants of the ABI for Rust.

use std::fmt::Write as _;

use super::{Constant, Standard};

/// The text of `constants.rs`.
pub fn text(standard: &Standard) -> String {
    let mut text = String::from("// Made by build.rs from standard/abi.json.\n");
    for constant in &standard.constants {
        let (ty, value) = value(constant);
        let _ = writeln!(text, "pub const {}: {ty} = {value};", constant.name);
    }
    text
}

/// Handles as handles, other addresses as numbers of their size, the rest as `int`.
fn value(constant: &Constant) -> (&'static str, String) {
    let number = constant.value;
    match constant.c_type.as_str() {
        _ if constant.name == "MPI_DISPLACEMENT_CURRENT" => ("i64", number.to_string()),
        "int" | "MPI_T_source_order" | "MPI_T_cb_safety" => ("c_int", number.to_string()),
        ty if ty.ends_with('*') => ("usize", number.to_string()),
        ty if ty.starts_with("MPI_") => ("Handle", format!("Handle({number:#x})")),
        ty => {
            panic!("{} is of type {ty}, which generate/constants.rs does not know", constant.name)
        }
    }
}
