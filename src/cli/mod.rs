//! The `cohost` command line: a thin skin over the library.

pub mod bench;
pub mod detect;

use std::process::ExitCode;

/// Parses the arguments, runs the command, and returns its exit code:
/// 0 success, 1 the work failed, 2 wrong use.
pub fn main() -> ExitCode {
    ExitCode::SUCCESS
}
