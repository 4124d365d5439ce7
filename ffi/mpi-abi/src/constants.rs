//! The constants of the ABI, under their names in C.

#![allow(missing_docs, reason = "they are the standard's")]

use std::ffi::c_int;

use crate::args::Handle;

include!(concat!(env!("OUT_DIR"), "/constants.rs"));
