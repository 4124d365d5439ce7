//! The calls, by chapter. See the crate's own page for how one is added.

mod datatype;
mod env;
mod language;

pub(crate) use datatype::*;
pub(crate) use env::*;
pub(crate) use language::*;
