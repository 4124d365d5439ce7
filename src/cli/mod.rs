//! The `cohost` command line: a thin skin over the library.

pub mod detect;
pub mod lab;

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
    /// Show the hypervisor with the evidence, regions within reach, interfaces, clocks
    Detect(detect::DetectArgs),
    /// Boot real virtual machines and run commands in them
    #[command(subcommand)]
    Lab(lab::LabCommand),
    /// Serve a lab from inside one of its guests
    #[command(hide = true)]
    LabAgent,
}

/// Parses the arguments, runs the command, and returns its exit code:
/// 0 success, 1 the work failed, 2 wrong use.
pub fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Detect(args) => detect::run(&args),
        Command::Lab(command) => lab::run(&command),
        Command::LabAgent => lab::agent(),
    }
}
