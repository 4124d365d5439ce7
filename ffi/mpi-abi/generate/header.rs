//! `mpi.h`: the standard's names and prototypes with the values of the ABI, and after them what
//! the standard leaves out and programs use.

use std::fmt::Write as _;

use super::types::{self, Shape, Width};
use super::{Constant, Form, Parameter, Procedure, Standard};

/// What comes after the standard's text: kept as C, for it is not in the standard's tables.
const FORTRAN: &str = include_str!("fortran.h.in");
const REMOVED: &str = include_str!("removed.h.in");

const HEAD: &str = "\
/* The C interface of MPI 5.0 with the standard ABI 1.0.
 * Made from the tables of the standard by: cargo run -p mpi-abi --example generate */
#ifndef MPI_H_ABI
#define MPI_H_ABI

#include <stdint.h>

#if defined(__cplusplus)
extern \"C\" {
#endif

typedef intptr_t MPI_Aint;
typedef int64_t MPI_Offset;
typedef int64_t MPI_Count;

typedef struct {
    int MPI_SOURCE;
    int MPI_TAG;
    int MPI_ERROR;
    int MPI_internal[5];
} MPI_Status;

";

const TAIL: &str = "\
#if defined(__cplusplus)
}
#endif

#endif /* MPI_H_ABI */
";

/// Handles of the interface: name and tag of the structure that is never defined.
const HANDLES: &[&str] = &[
    "Comm",
    "Datatype",
    "Errhandler",
    "File",
    "Group",
    "Info",
    "Message",
    "Op",
    "Request",
    "Session",
    "Win",
    "T_enum",
    "T_cvar_handle",
    "T_pvar_handle",
    "T_pvar_session",
    "T_event_registration",
    "T_event_instance",
];

/// Enumerations of the tool interface, which are types in C.
const ENUMERATIONS: &[&str] = &["MPI_T_cb_safety", "MPI_T_source_order"];

/// Names of types of functions that standards before 4.1 used.
const OLD_TYPES: &[&str] =
    &["Comm_errhandler", "File_errhandler", "Session_errhandler", "Win_errhandler"];

/// The whole header.
pub fn text(standard: &Standard) -> String {
    let mut text = String::from(HEAD);
    for handle in HANDLES {
        let _ = writeln!(text, "typedef struct MPI_ABI_{handle} *MPI_{handle};");
    }
    constants(&mut text, standard);
    functions_of_applications(&mut text, standard);
    function_constants(&mut text, standard);
    for (prefix, title) in [("", "Procedures"), ("P", "Procedures, for tools that come between")] {
        let _ = writeln!(text, "\n/* {title} */");
        for procedure in &standard.procedures {
            for form in procedure.forms() {
                let _ = writeln!(text, "{}", prototype(prefix, procedure, *form));
            }
        }
    }
    text + "\n" + FORTRAN + "\n" + REMOVED + "\n" + TAIL
}

fn constants(text: &mut String, standard: &Standard) {
    let mut category = "";
    for constant in standard.constants.iter().filter(|it| !is_function(it)) {
        if ENUMERATIONS.contains(&constant.c_type.as_str()) {
            continue;
        }
        if constant.category != category {
            category = &constant.category;
            let _ = writeln!(text, "\n/* {} */", title(category));
        }
        let _ = writeln!(text, "#define {:<34} {}", constant.name, value(constant));
    }
    for enumeration in ENUMERATIONS {
        let of_it = standard.constants.iter().filter(|it| it.c_type == *enumeration);
        let values: Vec<_> = of_it.map(|it| format!("    {} = {:#x}", it.name, it.value)).collect();
        let _ = writeln!(text, "\ntypedef enum {{\n{}\n}} {enumeration};", values.join(",\n"));
    }
}

/// `ERROR_CLASSES` as words.
fn title(category: &str) -> String {
    let words = category.replace('_', " ").to_lowercase();
    let mut letters = words.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

fn is_function(constant: &Constant) -> bool {
    constant.c_type.contains("_function")
}

/// The value as C: addresses and handles with their type, so that they can be compared.
fn value(constant: &Constant) -> String {
    let value = constant.value;
    match constant.c_type.as_str() {
        _ if constant.name == "MPI_DISPLACEMENT_CURRENT" => format!("((MPI_Offset){value})"),
        "int" if value < 0 => format!("({value})"),
        "int" => value.to_string(),
        ty => format!("(({ty}){value:#010x})"),
    }
}

fn functions_of_applications(text: &mut String, standard: &Standard) {
    text.push_str("\n/* Functions of applications */\n");
    for callback in &standard.callbacks {
        for form in callback.forms() {
            let result = if callback.fallible() { "int" } else { "void" };
            let name = callback.symbol(*form);
            let parameters = parameters(callback, *form);
            let _ = writeln!(text, "typedef {result} ({name})({parameters});");
        }
    }
    for name in OLD_TYPES {
        let _ = writeln!(text, "typedef MPI_{name}_function MPI_{name}_fn;");
    }
}

fn function_constants(text: &mut String, standard: &Standard) {
    text.push('\n');
    for constant in standard.constants.iter().filter(|it| is_function(it)) {
        let ty = constant.c_type.replace(" *", "*");
        let _ = writeln!(text, "#define {:<34} (({ty}){:#x})", constant.name, constant.value);
    }
}

/// `int MPI_Finalize(void);`
fn prototype(prefix: &str, procedure: &Procedure, form: Form) -> String {
    let result = match procedure.returns.as_str() {
        "WALL_TIME" | "TICK_RESOLUTION" => "double",
        returns => match types::shape(returns) {
            Shape::Number(width, _) => width.c(),
            Shape::Handle(ty) => ty,
            shape => panic!("{} returns {shape:?}", procedure.name),
        },
    };
    let name = procedure.symbol(form);
    format!("{result} {prefix}{name}({});", parameters(procedure, form))
}

fn parameters(procedure: &Procedure, form: Form) -> String {
    let all: Vec<_> = procedure.of_form(form).map(|it| parameter(it, form)).collect();
    if all.is_empty() { "void".to_owned() } else { all.join(", ") }
}

fn parameter(it: &Parameter, form: Form) -> String {
    let name = &it.name;
    let constant = if it.constant { "const " } else { "" };
    // Compilers take an array for one that is there: `MPI_UNWEIGHTED` is none.
    let array = it.array && !name.ends_with("weights");
    let of_type = |ty: &str| match (it.columns, array, it.array || types::by_address(it)) {
        (Some(columns), ..) => format!("{constant}{ty} {name}[][{columns}]"),
        (None, true, _) => format!("{constant}{ty} {name}[]"),
        (None, false, true) => format!("{constant}{ty} *{name}"),
        (None, false, false) => format!("{constant}{ty} {name}"),
    };
    match types::shape(&it.kind) {
        Shape::Number(small, large) => of_type(if form == Form::Large { large } else { small }.c()),
        Shape::Logical => of_type(Width::Int.c()),
        Shape::Handle(ty) | Shape::Enumeration(ty) => of_type(ty),
        Shape::Status if it.array => of_type("MPI_Status"),
        Shape::Status => format!("{constant}MPI_Status *{name}"),
        Shape::Buffer => format!("{constant}void *{name}"),
        Shape::Text => format!("{constant}char *{name}"),
        Shape::Texts => format!("char *{name}[]"),
        Shape::TextLists => format!("char **{name}[]"),
        Shape::Arguments if it.pointer == Some(false) => format!("char *{name}[]"),
        Shape::Arguments => format!("char ***{name}"),
        Shape::Function { poly } => format!("{} *{name}", types::function(it, form, poly)),
        Shape::Varargs => "...".to_owned(),
    }
}
