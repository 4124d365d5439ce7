//! The calls, by chapter. See the crate's own page for how one is added.

#![allow(clippy::too_many_arguments, reason = "the arguments are the standard's")]

mod abi;
mod attributes;
mod buffer;
mod collective;
mod comm;
mod construct;
mod datatype;
mod dynamic;
mod env;
mod errors;
mod external;
mod group;
mod hardware;
mod info;
mod init;
mod language;
mod op;
mod p2p;
mod pack;
mod request;
mod sessions;
mod tools;
mod tools_cvar;
mod tools_event;
mod tools_pvar;
mod topology;
mod win_file;

pub(crate) use abi::*;
pub(crate) use attributes::*;
pub(crate) use buffer::*;
pub(crate) use collective::*;
pub(crate) use comm::*;
pub(crate) use construct::*;
pub(crate) use datatype::*;
pub(crate) use dynamic::*;
pub(crate) use env::*;
pub(crate) use errors::*;
pub(crate) use external::*;
pub(crate) use group::*;
pub(crate) use hardware::*;
pub(crate) use info::*;
pub(crate) use init::*;
pub(crate) use language::*;
pub(crate) use op::*;
pub(crate) use p2p::*;
pub(crate) use pack::*;
pub(crate) use request::*;
pub(crate) use sessions::*;
pub(crate) use tools::*;
pub(crate) use tools_cvar::*;
pub(crate) use tools_event::*;
pub(crate) use tools_pvar::*;
pub(crate) use topology::*;
pub(crate) use win_file::*;
