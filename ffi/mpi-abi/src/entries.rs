//! The entry points, as `build.rs` writes them.

#![allow(
    missing_docs,
    non_snake_case,
    unused_imports,
    unused_unsafe,
    unused_variables,
    clippy::missing_safety_doc,
    clippy::too_many_arguments,
    clippy::undocumented_unsafe_blocks,
    clippy::multiple_unsafe_ops_per_block,
    clippy::unnecessary_cast,
    clippy::pedantic,
    reason = "generated; what callers must see to is in the standard"
)]

use std::ffi::{c_char, c_int, c_void};

use crate::args::{Handle, Numbers, OutNumber, OutNumbers, Status};
use crate::enter::{Allowed, Entry, Scope, enter, unsupported};
use crate::{callbacks, calls, constants};

include!(concat!(env!("OUT_DIR"), "/entries.rs"));
