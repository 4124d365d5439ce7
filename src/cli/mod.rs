//! The `cohost` command line: a thin skin over the library.

pub mod run;

use std::process::ExitCode;

use clap::Parser;

#[derive(Parser)]
#[command(name = "cohost", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Start the ranks of a program
    Run(run::RunArgs),
}

/// Parses the arguments, runs the command, and returns its exit code:
/// 0 success, 1 the work failed, 2 wrong use.
pub fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Run(args) => run::run(&args),
    }
}
