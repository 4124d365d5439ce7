//! Jobs whose ranks are threads that play machines: each has a boot id of its own, and memory is
//! shared by a device, which is a file, or not at all.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "machines/bells.rs"]
mod bells;
#[path = "machines/friends.rs"]
mod friends;
#[path = "machines/paths.rs"]
mod paths;
#[path = "machines/support.rs"]
mod support;
