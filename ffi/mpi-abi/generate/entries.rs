//! The entry points: for each procedure and form one function that converts and calls, exported
//! under its two names.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::types::{self, Shape};
use super::{Form, Parameter, Procedure, Standard};

/// Calls whose results may be `MPI_UNDEFINED` where an `int` cannot hold them (MPI 5.0: 3.7, 5.1).
const OR_UNDEFINED: &[&str] = &[
    "buffer_detach",
    "comm_detach_buffer",
    "file_get_type_extent",
    "get_count",
    "get_elements",
    "pack_external_size",
    "pack_size",
    "session_detach_buffer",
    "type_get_extent",
    "type_get_true_extent",
    "type_size",
];

/// Beginnings of the names of calls that are allowed before the start and after the end
/// (MPI 5.0, 11.4.1).
const ALWAYS: &[&str] = &[
    "abi_",
    "add_error_",
    "errhandler_free",
    "error_class",
    "error_string",
    "finalized",
    "get_hw_resource_info",
    "get_library_version",
    "get_version",
    "info_",
    "init",
    "init_thread",
    "initialized",
    "pcontrol",
    "remove_error_",
    "session_",
    "status_",
    "t_",
];

/// The text of `entries.rs`.
pub fn text(standard: &Standard, done: &BTreeSet<String>) -> String {
    let mut text = String::from("// Made by build.rs from standard/apis.json.\n");
    for procedure in &standard.procedures {
        for form in procedure.forms() {
            entry(&mut text, procedure, *form, done.contains(&procedure.short()));
        }
    }
    text
}

/// The head of the function that implements a procedure.
pub fn signature(procedure: &Procedure) -> String {
    let own = is_constructor(procedure).then(|| "    form: Form,\n".to_owned());
    let given = all(procedure, Form::Large)
        .map(|(it, rust)| format!("    {}: {},\n", types::rust_name(&it.name), rust.inside));
    let parameters: Vec<_> = own.into_iter().chain(given).collect();
    let result = if procedure.fallible() {
        "Outcome<()>".to_owned()
    } else {
        types::rust_result(&procedure.returns).to_owned()
    };
    let name = procedure.short();
    format!("pub(crate) unsafe fn {name}(\n{}) -> {result}\n", parameters.concat())
}

/// Whether it makes a datatype that remembers in which form its arguments were given: the function
/// that implements it is told.
fn is_constructor(procedure: &Procedure) -> bool {
    procedure.forms().len() > 1 && procedure.parameters.iter().any(|it| it.name == "newtype")
}

/// All parameters, those that the form lacks included.
fn all(procedure: &Procedure, form: Form) -> impl Iterator<Item = (&Parameter, types::Rust)> {
    let undefined = OR_UNDEFINED.contains(&procedure.short().as_str());
    procedure
        .parameters
        .iter()
        .filter_map(move |it| types::rust(it, form, undefined).map(|rust| (it, rust)))
}

fn entry(text: &mut String, procedure: &Procedure, form: Form, done: bool) {
    let (short, symbol) = (procedure.short(), procedure.symbol(form));
    let inner = symbol["MPI_".len()..].to_lowercase();
    let outside = all(procedure, form)
        .filter_map(|(it, rust)| Some((types::rust_name(&it.name), rust.outside?)));
    let (names, heads): (Vec<_>, Vec<_>) =
        outside.map(|(name, ty)| (name.clone(), format!("{name}: {ty}"))).unzip();
    let (names, heads) = (names.join(", "), heads.join(", "));
    let own = is_constructor(procedure).then(|| {
        let form = if form == Form::Large { "Large" } else { "Int" };
        format!("cohost::mpi::datatype::Form::{form}")
    });
    let given = all(procedure, form).map(|(_, rust)| rust.convert);
    let converted: Vec<_> = own.into_iter().chain(given).collect();
    let call = format!("calls::{short}({})", converted.join(", "));
    let (result, body) = if procedure.fallible() {
        let call = if done { format!("|| unsafe {{ {call} }}") } else { "unsupported".to_owned() };
        let allowed = if is_always(&short) { "Always" } else { "Running" };
        let entry = format!("&Entry {{ name: \"{symbol}\", allowed: Allowed::{allowed} }}");
        let scope = scope(procedure);
        ("c_int", format!("enter({entry}, {scope}, {call})"))
    } else {
        assert!(done, "{symbol} returns no error code, so that it must be implemented");
        (types::rust_result(&procedure.returns), format!("unsafe {{ {call} }}"))
    };
    let _ = writeln!(text, "unsafe extern \"C\" fn {inner}({heads}) -> {result} {{ {body} }}");
    for prefix in ["", "P"] {
        let _ = writeln!(
            text,
            "#[unsafe(no_mangle)]\npub unsafe extern \"C\" fn {prefix}{symbol}({heads}) -> {result} \
             {{ unsafe {{ {inner}({names}) }} }}"
        );
    }
}

fn is_always(short: &str) -> bool {
    ALWAYS.iter().any(|it| if it.ends_with('_') { short.starts_with(it) } else { short == *it })
}

/// Where the error handler of a call is found: its first communicator, window, file or session.
fn scope(procedure: &Procedure) -> String {
    let short = procedure.short();
    if short.starts_with("t_") {
        return "Scope::Tool".to_owned();
    }
    if ["file_open", "file_delete", "register_datarep"].contains(&short.as_str()) {
        return "Scope::File(constants::MPI_FILE_NULL)".to_owned();
    }
    let found = procedure.parameters.iter().filter(|it| it.input && !it.array).find_map(|it| {
        let kind = match types::shape(&it.kind) {
            Shape::Handle("MPI_Comm") => "Comm",
            Shape::Handle("MPI_Win") => "Win",
            Shape::Handle("MPI_File") => "File",
            Shape::Handle("MPI_Session") => "Session",
            _ => return None,
        };
        let name = &it.name;
        Some(if it.out {
            format!("unsafe {{ Scope::at(Scope::{kind}, {name}) }}")
        } else {
            format!("Scope::{kind}({name})")
        })
    });
    found.unwrap_or_else(|| "Scope::Nothing".to_owned())
}
