//! From the machine-readable text of MPI 5.0 to Rust and C: what the standard says ([`Standard`]),
//! how its kinds of parameters look in both languages ([`types`]), and the texts made of it.

#![allow(dead_code, reason = "the build needs one part, the example and the tests another")]

pub mod constants;
pub mod coverage;
pub mod entries;
pub mod header;
pub mod types;

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

/// The procedures and constants of the standard.
pub struct Standard {
    pub procedures: Vec<Procedure>,
    pub callbacks: Vec<Procedure>,
    pub constants: Vec<Constant>,
}

/// A procedure or a type of functions that applications write.
pub struct Procedure {
    /// `MPI_Send`.
    pub name: String,
    pub returns: String,
    /// The file in `src/calls` it belongs to.
    pub chapter: String,
    pub parameters: Vec<Parameter>,
    large_too: bool,
}

pub struct Parameter {
    pub name: String,
    pub kind: String,
    /// The procedure writes there.
    pub out: bool,
    /// It is read too; with `out`, both.
    pub input: bool,
    pub array: bool,
    /// Columns of an array of arrays.
    pub columns: Option<usize>,
    /// What the standard's table says beyond the rules.
    pub pointer: Option<bool>,
    pub constant: bool,
    /// Name of the type of function.
    pub function: String,
    /// Only the large-count form has it.
    pub large_only: bool,
}

pub struct Constant {
    pub name: String,
    pub value: i64,
    /// Type in C.
    pub c_type: String,
    pub category: String,
}

/// The two forms of a procedure that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Small,
    Large,
}

impl Standard {
    /// Reads `standard/` of the crate.
    pub fn read(crate_root: &Path) -> Self {
        let rows = read(&crate_root.join("standard/apis.json"));
        let (callbacks, procedures): (Vec<_>, Vec<_>) =
            rows.iter().partition(|row| truth(row, "callback") == Some(true));
        let constants = read(&crate_root.join("standard/abi.json"));
        Self {
            procedures: procedures.into_iter().map(Procedure::of).collect(),
            callbacks: callbacks.into_iter().map(Procedure::of).collect(),
            constants: constants.iter().map(Constant::of).collect(),
        }
    }
}

impl Procedure {
    fn of(row: &Value) -> Self {
        let parameters = row["parameters"].as_array().map(Vec::as_slice).unwrap_or_default();
        Self {
            name: text(row, "name"),
            returns: text(row, "returns"),
            chapter: text(row, "chapter"),
            parameters: parameters.iter().map(Parameter::of).collect(),
            large_too: truth(row, "large_too") == Some(true),
        }
    }

    /// `send` of `MPI_Send`.
    pub fn short(&self) -> String {
        self.name["MPI_".len()..].to_lowercase()
    }

    /// `MPI_Send_c` for the large form.
    pub fn symbol(&self, form: Form) -> String {
        match form {
            Form::Small => self.name.clone(),
            Form::Large => format!("{}_c", self.name),
        }
    }

    /// The forms that the library exports.
    pub fn forms(&self) -> &'static [Form] {
        let counts = self.parameters.iter().any(|it| it.kind.starts_with("POLY"));
        if counts || self.large_too { &[Form::Small, Form::Large] } else { &[Form::Small] }
    }

    /// The parameters of one form.
    pub fn of_form(&self, form: Form) -> impl Iterator<Item = &Parameter> {
        self.parameters.iter().filter(move |it| form == Form::Large || !it.large_only)
    }

    /// Whether it returns an error code, as nearly all do.
    pub fn fallible(&self) -> bool {
        self.returns == "ERROR_CODE"
    }
}

impl Parameter {
    fn of(row: &Value) -> Self {
        let direction = text(row, "dir");
        let columns = row["length"].as_array().and_then(|it| it.last()?.as_str()?.parse().ok());
        Self {
            name: text(row, "name"),
            kind: text(row, "kind"),
            out: direction != "in",
            input: direction != "out",
            array: !row["length"].is_null(),
            columns,
            pointer: truth(row, "pointer"),
            constant: truth(row, "constant") == Some(true),
            function: text(row, "function"),
            large_only: truth(row, "large_only") == Some(true),
        }
    }
}

impl Constant {
    fn of(row: &Value) -> Self {
        Self {
            name: text(row, "name"),
            value: row["value"].as_i64().unwrap_or_else(|| panic!("{row} has no value")),
            c_type: text(row, "type"),
            category: text(row, "category"),
        }
    }
}

/// Names of the functions `pub(crate) unsafe fn` in `src/calls`, and of those that a macro writes from
/// `entry fn`: the calls that are implemented.
pub fn implemented(crate_root: &Path) -> BTreeSet<String> {
    let folder = crate_root.join("src/calls");
    let entries = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{} cannot be read: {error}", folder.display()));
    let mut names = BTreeSet::new();
    for path in entries.flatten().map(|entry| entry.path()) {
        let source = std::fs::read_to_string(&path).unwrap_or_default();
        for mark in ["pub(crate) unsafe fn ", "entry fn "] {
            let heads = source.split(mark).skip(1);
            let name = |head: &str| {
                head.split(|c: char| !c.is_alphanumeric() && c != '_').next().map(str::to_owned)
            };
            names.extend(heads.filter_map(name).filter(|name| !name.is_empty()));
        }
    }
    names
}

fn read(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path)
        .unwrap_or_else(|error| panic!("{} cannot be read: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn text(row: &Value, key: &str) -> String {
    row[key].as_str().unwrap_or_default().to_owned()
}

fn truth(row: &Value, key: &str) -> Option<bool> {
    row[key].as_bool()
}
