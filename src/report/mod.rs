//! What is done with figures once they are measured: statistics over fresh launches, the result file
//! (`cohost-bench/1`), the comparison of such files, and its figures and page. Everything here is pure: numbers and text in,
//! numbers and text out. It may use serde, statrs and resvg; it must never see a communicator, a clock or a socket,
//! so that a report can be made on a machine where no job has ever run.

pub mod bootstrap;
pub mod compare;
pub mod figure;
pub mod limit;
pub mod rank_test;
pub mod schema;
mod stated;
pub mod stats;
