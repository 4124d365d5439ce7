//! `cohost mpi`: the C interface of MPI for the compilers of the system, and what it supports.

mod coverage;
mod install;

use std::path::PathBuf;
use std::process::ExitCode;

/// Commands of `cohost mpi`.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum MpiCommand {
    /// Put header, library, mpicc, mpicxx, mpiexec and pkg-config files into a folder
    Install {
        /// Folder to install into, such as /opt/cohost
        #[arg(long, value_name = "FOLDER")]
        prefix: PathBuf,

        /// Folder with libmpi_abi.so; without it, that of this command
        #[arg(long, value_name = "FOLDER")]
        library_from: Option<PathBuf>,
    },
    /// List the calls of MPI 5.0 and whether they are supported
    Coverage {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

/// Runs the command.
pub fn run(command: &MpiCommand) -> ExitCode {
    let outcome = match command {
        MpiCommand::Install { prefix, library_from } => {
            install::install(prefix, library_from.as_deref()).map(|()| installed(prefix))
        }
        MpiCommand::Coverage { json } => coverage::text(*json),
    };
    match outcome.and_then(|text| super::print(&text)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("cohost mpi: {why}");
            ExitCode::FAILURE
        }
    }
}

fn installed(prefix: &std::path::Path) -> String {
    let bin = prefix.join("bin");
    format!(
        "MPI is in {}.\nCompile with {}, start programs with {} -n N PROGRAM.\n",
        prefix.display(),
        bin.join("mpicc").display(),
        bin.join("mpiexec").display()
    )
}
