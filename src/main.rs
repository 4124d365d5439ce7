//! The `cohost` command. Everything it does lives in the library; see [`cohost::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    cohost::cli::main()
}
