//! The calls, by chapter. See the crate's own page for how one is added.

mod comm;
mod datatype;
mod env;
mod init;
mod language;
mod p2p;
mod request;

pub(crate) use comm::*;
pub(crate) use datatype::*;
pub(crate) use env::*;
pub(crate) use init::*;
pub(crate) use language::*;
pub(crate) use p2p::*;
pub(crate) use request::*;
