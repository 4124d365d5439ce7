//! How each kind of parameter looks in C, at the boundary, and to the functions in `src/calls`.

use super::{Form, Parameter};

/// An integer of the interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    Int,
    Aint,
    Count,
    Offset,
}

/// What a kind is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A number: its width in the two forms.
    Number(Width, Width),
    Logical,
    /// Opaque handle, with its type in C.
    Handle(&'static str),
    /// Enumeration of the tool interface, with its type in C.
    Enumeration(&'static str),
    Buffer,
    Text,
    Texts,
    TextLists,
    Arguments,
    Status,
    /// A function of the application; whether its type differs between the forms.
    Function {
        poly: bool,
    },
    Varargs,
}

impl Width {
    pub fn c(self) -> &'static str {
        match self {
            Width::Int => "int",
            Width::Aint => "MPI_Aint",
            Width::Count => "MPI_Count",
            Width::Offset => "MPI_Offset",
        }
    }

    pub fn rust(self) -> &'static str {
        match self {
            Width::Int => "c_int",
            Width::Aint => "isize",
            Width::Count | Width::Offset => "i64",
        }
    }
}

/// The shape of a kind.
pub fn shape(kind: &str) -> Shape {
    use Width::{Aint, Count, Int, Offset};
    match kind {
        "POLYDISPLACEMENT" | "POLYRMA_DISPLACEMENT" => Shape::Number(Int, Aint),
        "POLYDISPLACEMENT_AINT_COUNT"
        | "POLYDISPOFFSET"
        | "POLYDTYPE_PACK_SIZE"
        | "POLYDTYPE_STRIDE_BYTES"
        | "POLYLOCATION" => Shape::Number(Aint, Count),
        "POLYFUNCTION" => Shape::Function { poly: true },
        _ if kind.starts_with("POLY") => Shape::Number(Int, Count),
        "ALLOC_MEM_NUM_BYTES"
        | "DISPLACEMENT"
        | "DISPLACEMENT_NNI"
        | "DISPOFFSET_SMALL"
        | "LOCATION_SMALL"
        | "RMA_DISPLACEMENT_NNI"
        | "WINDOW_SIZE"
        | "WIN_ATTACH_SIZE" => Shape::Number(Aint, Aint),
        "DROPPED_COUNT"
        | "GENERIC_DTYPE_COUNT"
        | "NUM_BYTES"
        | "TOOLS_TICK_COUNT"
        | "XFER_NUM_ELEM"
        | "XFER_NUM_ELEM_NNI" => Shape::Number(Count, Count),
        "OFFSET" => Shape::Number(Offset, Offset),
        "LOGICAL" | "LOGICAL_OPTIONAL" => Shape::Logical,
        "BUFFER" | "C_BUFFER" | "C_BUFFER2" | "C_BUFFER3" | "C_BUFFER4" | "EXTRA_STATE"
        | "EXTRA_STATE2" | "ATTRIBUTE_VAL" | "ATTRIBUTE_VAL_10" | "LOGICAL_VOID"
        | "TOOL_MPI_OBJ" => Shape::Buffer,
        "STRING" => Shape::Text,
        "STRING_ARRAY" => Shape::Texts,
        "STRING_2DARRAY" => Shape::TextLists,
        "ARGUMENT_LIST" => Shape::Arguments,
        "STATUS" => Shape::Status,
        "FUNCTION" | "EVENT_CB_FUNCTION" | "EVENT_DROP_CB_FUNCTION" | "EVENT_FREE_CB_FUNCTION" => {
            Shape::Function { poly: false }
        }
        "VARARGS" => Shape::Varargs,
        "CALLBACK_SAFETY" => Shape::Enumeration("MPI_T_cb_safety"),
        "SOURCE_ORDERING" => Shape::Enumeration("MPI_T_source_order"),
        _ => handle(kind).map_or_else(|| plain(kind), Shape::Handle),
    }
}

fn handle(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "COMMUNICATOR" => "MPI_Comm",
        "DATATYPE" => "MPI_Datatype",
        "ERRHANDLER" => "MPI_Errhandler",
        "FILE" => "MPI_File",
        "GROUP" => "MPI_Group",
        "INFO" => "MPI_Info",
        "MESSAGE" => "MPI_Message",
        "OPERATION" => "MPI_Op",
        "REQUEST" => "MPI_Request",
        "SESSION" => "MPI_Session",
        "WINDOW" => "MPI_Win",
        "CVAR" => "MPI_T_cvar_handle",
        "EVENT_INSTANCE" => "MPI_T_event_instance",
        "EVENT_REGISTRATION" => "MPI_T_event_registration",
        "PVAR" => "MPI_T_pvar_handle",
        "PVAR_SESSION" => "MPI_T_pvar_session",
        "TOOLS_ENUM" => "MPI_T_enum",
        _ => return None,
    })
}

/// The kinds that are an `int` in both forms; anything else is a mistake in this file.
fn plain(kind: &str) -> Shape {
    const INTS: &[&str] = &[
        "ACCESS_MODE",
        "ARGUMENT_COUNT",
        "ARRAY_LENGTH",
        "ARRAY_LENGTH_NNI",
        "ARRAY_LENGTH_PI",
        "ASSERT",
        "BIND_TYPE",
        "CAT_INDEX",
        "COLOR",
        "COMBINER",
        "COMM_COMPARISON",
        "COMM_SIZE",
        "COMM_SIZE_PI",
        "COORDINATE",
        "CVAR_INDEX",
        "CVAR_INDEX_SPECIAL",
        "DEGREE",
        "DIMENSION",
        "DISTRIB_ENUM",
        "DTYPE_DISTRIBUTION",
        "ERROR_CLASS",
        "ERROR_CODE",
        "EVENT_INDEX",
        "FILE_DESCRIPTOR",
        "GROUP_COMPARISON",
        "GENERIC_DTYPE_INT",
        "INDEX",
        "INFO_VALUE_LENGTH",
        "KEY",
        "KEYVAL",
        "KEY_INDEX",
        "LOCK_TYPE",
        "MATH",
        "NUM_DIMS",
        "ORDER",
        "PARTITION",
        "PROCESS_GRID_SIZE",
        "PROFILE_LEVEL",
        "PVAR_CLASS",
        "PVAR_INDEX",
        "RANK",
        "RANK_NNI",
        "SOURCE_INDEX",
        "SPLIT_TYPE",
        "STRING_LENGTH",
        "TAG",
        "THREAD_LEVEL",
        "TOOLENUM_INDEX",
        "TOOLENUM_SIZE",
        "TOOLS_NUM_ELEM_SMALL",
        "TOOL_VAR_VALUE",
        "TOOL_VAR_VERBOSITY",
        "TOPOLOGY_TYPE",
        "TYPECLASS",
        "TYPECLASS_SIZE",
        "UPDATE_MODE",
        "UPDATE_NUMBER",
        "VARIABLE_SCOPE",
        "VERSION",
        "WEIGHT",
    ];
    assert!(INTS.contains(&kind), "the kind {kind} is not known to generate/types.rs");
    Shape::Number(Width::Int, Width::Int)
}

/// Whether one value is passed by its address.
pub fn by_address(parameter: &Parameter) -> bool {
    parameter.pointer.unwrap_or(parameter.out)
}

/// Name of the type of function, of the form.
pub fn function(parameter: &Parameter, form: Form, poly: bool) -> String {
    let name = match parameter.kind.as_str() {
        "EVENT_CB_FUNCTION" => "MPI_T_event_cb_function",
        "EVENT_DROP_CB_FUNCTION" => "MPI_T_event_dropped_cb_function",
        "EVENT_FREE_CB_FUNCTION" => "MPI_T_event_free_cb_function",
        _ => &parameter.function,
    };
    if poly && form == Form::Large { format!("{name}_c") } else { name.to_owned() }
}

/// The Rust name of a type of function: `CommCopyAttrFunction`.
fn camel(name: &str) -> String {
    let words = name["MPI_".len()..].split('_');
    words
        .map(|word| {
            let mut letters = word.chars();
            letters.next().map_or_else(String::new, |first| {
                first.to_uppercase().chain(letters).collect::<String>()
            })
        })
        .collect()
}

/// A parameter of an entry point in Rust.
pub struct Rust {
    /// Type at the boundary; none for what Rust does not see.
    pub outside: Option<String>,
    /// Type that the function in `src/calls` takes.
    pub inside: String,
    /// The expression that makes the latter of the former.
    pub convert: String,
}

/// A Rust name that is no keyword.
pub fn rust_name(name: &str) -> String {
    if ["type", "fn", "ref", "in", "move"].contains(&name) {
        format!("r#{name}")
    } else {
        name.to_owned()
    }
}

/// The Rust of a parameter. `undefined`: a number too large becomes `MPI_UNDEFINED`.
pub fn rust(parameter: &Parameter, form: Form, undefined: bool) -> Option<Rust> {
    let name = rust_name(&parameter.name);
    let same = |ty: String| Rust { outside: Some(ty.clone()), inside: ty, convert: name.clone() };
    let access = if parameter.out && !parameter.constant { "*mut" } else { "*const" };
    Some(match shape(&parameter.kind) {
        Shape::Varargs => return None,
        Shape::Number(Width::Int, Width::Int) => match parameter.columns {
            Some(columns) => same(format!("*const [c_int; {columns}]")),
            None if parameter.array => same(format!("{access} c_int")),
            None if by_address(parameter) => same("*mut c_int".to_owned()),
            None => same("c_int".to_owned()),
        },
        Shape::Number(small, large) => {
            let width = if form == Form::Large { large } else { small };
            number(parameter, form, width, undefined)
        }
        Shape::Logical if parameter.array || parameter.out => same(format!("{access} c_int")),
        Shape::Logical => Rust {
            outside: Some("c_int".to_owned()),
            inside: "bool".to_owned(),
            convert: format!("{name} != 0"),
        },
        Shape::Handle(_) if parameter.array => same(format!("{access} Handle")),
        Shape::Handle(_) if by_address(parameter) => same("*mut Handle".to_owned()),
        Shape::Handle(_) => same("Handle".to_owned()),
        Shape::Enumeration(_) if parameter.out => same("*mut c_int".to_owned()),
        Shape::Enumeration(_) => same("c_int".to_owned()),
        Shape::Buffer if parameter.constant => same("*const c_void".to_owned()),
        Shape::Buffer => same("*mut c_void".to_owned()),
        Shape::Text if parameter.constant => same("*const c_char".to_owned()),
        Shape::Text => same("*mut c_char".to_owned()),
        Shape::Texts => same("*mut *mut c_char".to_owned()),
        Shape::TextLists => same("*mut *mut *mut c_char".to_owned()),
        Shape::Arguments if parameter.pointer == Some(false) => same("*mut *mut c_char".to_owned()),
        Shape::Arguments => same("*mut *mut *mut c_char".to_owned()),
        Shape::Status if parameter.constant => same("*const Status".to_owned()),
        Shape::Status => same("*mut Status".to_owned()),
        Shape::Function { poly: false } => {
            same(format!("callbacks::{}", camel(&function(parameter, form, false))))
        }
        Shape::Function { poly: true } => {
            let either = camel(&function(parameter, Form::Small, true));
            Rust {
                outside: Some(format!("callbacks::{}", camel(&function(parameter, form, true)))),
                inside: format!("callbacks::Either{either}"),
                convert: format!("callbacks::Either{either}::{form:?}({name})"),
            }
        }
    })
}

/// Numbers that are no `int`, or not in both forms.
fn number(parameter: &Parameter, form: Form, width: Width, undefined: bool) -> Rust {
    let name = rust_name(&parameter.name);
    let absent = parameter.large_only && form == Form::Small;
    let maker = match (absent, width) {
        (true, _) => "none()".to_owned(),
        (false, Width::Int) => format!("ints({name})"),
        (false, _) => format!("wide({name}.cast())"),
    };
    let or_undefined = if undefined { ".or_undefined()" } else { "" };
    let ty = width.rust();
    let (outside, inside, convert) = match (parameter.array, by_address(parameter), parameter.out) {
        (true, _, false) => (format!("*const {ty}"), "Numbers", format!("Numbers::{maker}")),
        (true, _, true) => (format!("*mut {ty}"), "OutNumbers", format!("OutNumbers::{maker}")),
        (false, true, _) => {
            (format!("*mut {ty}"), "OutNumber", format!("OutNumber::{maker}{or_undefined}"))
        }
        (false, false, _) if absent => (ty.to_owned(), "i64", "0".to_owned()),
        (false, false, _) => (ty.to_owned(), "i64", format!("{name} as i64")),
    };
    Rust { outside: (!absent).then_some(outside), inside: inside.to_owned(), convert }
}

/// Type of what a procedure returns, in Rust.
pub fn rust_result(returns: &str) -> &'static str {
    match (returns, shape_of_result(returns)) {
        ("WALL_TIME" | "TICK_RESOLUTION", _) => "f64",
        (_, Some(Shape::Handle(_))) => "Handle",
        (_, Some(Shape::Number(width, _))) => width.rust(),
        (_, _) => panic!("nothing is known of results of kind {returns}"),
    }
}

fn shape_of_result(returns: &str) -> Option<Shape> {
    (!matches!(returns, "WALL_TIME" | "TICK_RESOLUTION")).then(|| shape(returns))
}
