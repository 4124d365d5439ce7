//! Attempts to break whole jobs: bad input, dead and stopped ranks, full stores, strangers, races.
//! Whatever happens: a clear error, in bounded time, nothing lost and nothing left behind.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cost;
mod death;
mod files;
mod jobs;
mod meeting;
mod peers;
mod strangers;
mod support;
mod usage;
