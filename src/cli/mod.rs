//! The `cohost` command line: a thin skin over the library. Exit codes: 0 success, 1 the work
//! failed, 2 wrong use.

pub mod bench;
pub mod compare;
pub mod detect;
pub mod explain;
pub mod lab;
pub mod lab_bench;
pub mod lab_ranks;
pub mod mpi;
pub mod run;

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::path::Path;
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
    let code = match Cli::parse_from(command_line(std::env::args_os())).command {
        Command::Detect(args) => detect::run(&args),
        Command::Run(args) => run::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Compare(args) => compare::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Mpi(command) => mpi::run(&command),
        Command::Lab(command) => lab::run(&command),
        Command::LabAgent => lab::agent(),
    };
    tidy();
    code
}

/// The arguments; under the names `mpiexec` and `mpirun` they are those of `run`.
fn command_line(arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut arguments: Vec<_> = arguments.collect();
    let name = arguments.first().and_then(|program| Path::new(program).file_name());
    if name.is_some_and(|name| name == "mpiexec" || name == "mpirun") {
        arguments.insert(1, "run".into());
        launcher_spelling(&mut arguments[2..]);
    }
    arguments
}

/// `-np N` among the options before the program is `-n N`.
fn launcher_spelling(arguments: &mut [OsString]) {
    let mut at = 0;
    while let Some(argument) =
        arguments.get_mut(at).filter(|it| it.as_encoded_bytes()[..] != *b"--")
    {
        if argument == "-np" {
            *argument = "-n".into();
        }
        let argument = argument.to_string_lossy();
        let with_value = ["-n", "--ranks", "--layout", "--ranks-per-vm", "--path"];
        if !argument.starts_with('-') {
            return;
        }
        at += if with_value.contains(&argument.as_ref()) { 2 } else { 1 };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn under_the_launchers_names_it_runs_programs() {
        let words = |line: &str| {
            let arguments = line.split(' ').map(OsString::from);
            command_line(arguments).join(&OsString::from(" ")).into_string().unwrap()
        };
        assert_eq!(words("/p/bin/mpiexec -n 2 a"), "/p/bin/mpiexec run -n 2 a");
        assert_eq!(words("mpirun --path tcp -np 4 a -np 3"), "mpirun run --path tcp -n 4 a -np 3");
        assert_eq!(words("cohost run -np 4"), "cohost run -np 4");
        assert_eq!(words("mpirun -n"), "mpirun run -n");
    }
}
