//! The `cohost` command line: a thin skin over the library. Exit codes: 0 success, 1 the work
//! failed, 2 wrong use.

pub mod bench;
pub mod compare;
pub mod detect;
pub mod explain;
mod hosts;
pub mod lab;
pub mod lab_bench;
pub mod lab_campaign;
pub mod lab_ranks;
pub mod mpi;
mod mpiexec;
pub mod run;
mod spelling;

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Parser;

/// Message passing between ranks in virtual machines of one host, through shared memory
#[derive(Parser)]
#[command(name = "cohost", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Say which hypervisor or container this is, with the evidence
    Detect(detect::DetectArgs),
    /// Start the ranks of a program
    Run(run::RunArgs),
    /// Measure benchmarks in layouts of hosts and virtual machines, beside the machine's own limits
    Bench(bench::BenchArgs),
    /// Compare result files: by hypervisor and layout, the ring against TCP, as tables, figures and a page
    Compare(compare::CompareArgs),
    /// Show the path of every pair of ranks, why, and what it gives
    Explain(explain::ExplainArgs),
    /// Compile and run C programs with MPI
    #[command(subcommand)]
    Mpi(mpi::MpiCommand),
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
    let arguments: Vec<std::ffi::OsString> = std::env::args_os().collect();
    let code = match run::as_mpiexec(&arguments) {
        Some((called, rest)) => run::mpiexec(&called, rest),
        None => cohost(),
    };
    tidy();
    code
}

/// Any of the commands.
fn cohost() -> ExitCode {
    match Cli::parse().command {
        Command::Detect(args) => detect::run(&args),
        Command::Run(args) => run::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Compare(args) => compare::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Mpi(command) => mpi::run(&command),
        Command::Lab(command) => lab::run(&command),
        Command::LabAgent => lab::agent(),
    }
}

/// Writes to standard output; a reader that has seen enough, such as `head`, is no failure.
fn print(text: &str) -> Result<(), String> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(format!("standard output: {error}"))
        }
        _ => Ok(()),
    }
}

/// Removes the files of ranks that were killed: nobody is left to do it but who started them.
fn tidy() {
    if let Some(directory) = std::env::var_os("COHOST_SHM_DIR").filter(|dir| !dir.is_empty()) {
        // What cannot be removed was reported by the ranks that could not use the directory.
        let _ = crate::region::file::clean_stale(directory.as_ref());
    }
}
