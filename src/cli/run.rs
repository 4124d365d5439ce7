//! `cohost run`, also called `mpiexec` or `mpirun`: starts the ranks of a program.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::ExitCode;

use super::mpiexec::{Caller, Request, read};
use super::spelling;
use crate::launch::{self, RunOptions};

/// Arguments of `cohost run`, read by `mpiexec.rs`: they have spellings that only a table can hold.
#[derive(Clone, Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub struct RunArgs {
    /// Options, the program, and its arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "OPTIONS AND PROGRAM")]
    pub arguments: Vec<OsString>,
}

/// Runs the job; the exit code is that of the rank that failed first, 2 for wrong use, 1 when it
/// cannot start.
pub fn run(args: &RunArgs) -> ExitCode {
    start("cohost run", Caller::Run, &args.arguments)
}

/// The arguments of `mpiexec`, when this command was called by that name, or as `cohost mpiexec`.
pub fn as_mpiexec(arguments: &[OsString]) -> Option<(String, &[OsString])> {
    let (called, rest) = arguments.split_first()?;
    let called = Path::new(called).file_name().and_then(OsStr::to_str).unwrap_or_default();
    if is_mpiexec(called) {
        return Some((called.to_owned(), rest));
    }
    match rest.split_first() {
        Some((command, rest)) if command == "mpiexec" => Some(("cohost mpiexec".to_owned(), rest)),
        _ => None,
    }
}

/// `mpiexec`, `mpirun`, and with an addition such as `mpiexec.cohost`.
fn is_mpiexec(called: &str) -> bool {
    let name = called.split('.').next().unwrap_or_default();
    matches!(name, "mpiexec" | "mpirun")
}

/// Runs a job as `mpiexec`.
pub fn mpiexec(called: &str, arguments: &[OsString]) -> ExitCode {
    start(called, Caller::Mpiexec, arguments)
}

fn start(called: &str, caller: Caller, arguments: &[OsString]) -> ExitCode {
    let options = match read(caller, arguments) {
        Ok(Request::Start { options, verbose }) => {
            if verbose {
                eprint!("{}", announcement(&options));
            }
            options
        }
        Ok(Request::Help) => {
            print!("{}", help(called, caller));
            return ExitCode::SUCCESS;
        }
        Ok(Request::Version) => {
            println!("{called} (cohost {})", env!("CARGO_PKG_VERSION"));
            return ExitCode::SUCCESS;
        }
        Err(reason) => {
            eprintln!("{called}: {reason}\n\n{}", usage(called, caller));
            return ExitCode::from(2);
        }
    };
    match launch::run(&options) {
        // 255 at most; more would be a defect of the launcher, and must not read as success.
        Ok(outcome) => ExitCode::from(u8::try_from(outcome.exit_code).unwrap_or(1)),
        Err(error) => {
            eprintln!("{called}: {error}");
            ExitCode::from(if error.is_usage() { 2 } else { 1 })
        }
    }
}

/// What is started, in words.
fn announcement(options: &RunOptions) -> String {
    let others: u32 = options.more.iter().map(|segment| segment.ranks).sum();
    let mut at = 0u64;
    let mut line = |ranks: u32, program: &OsStr| {
        let last = at + u64::from(ranks.max(1)) - 1;
        let line = format!("cohost: ranks {at} to {last} run {}\n", program.display());
        at = last + 1;
        line
    };
    let mut text = line(options.ranks.saturating_sub(others), &options.program);
    for segment in &options.more {
        text.push_str(&line(segment.ranks, &segment.program));
    }
    text
}

fn usage(called: &str, caller: Caller) -> String {
    let more = match caller {
        Caller::Run => "",
        Caller::Mpiexec => " [: [OPTIONS] PROGRAM [ARGUMENTS]]...",
    };
    format!("Usage: {called} [OPTIONS] [--] PROGRAM [ARGUMENTS]{more}")
}

fn help(called: &str, caller: Caller) -> String {
    let usage = usage(called, caller);
    format!(
        "Start the ranks of a program on this machine\n\n\
         {usage}\n\n\
         Options (one dash or two):\n{}\n\
         Exit code: that of the rank that failed first (128 + signal when one killed it), otherwise\n\
         the greatest of all; 124 after --timeout; 2 for wrong use.\n",
        spelling::help()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_it_is_called_by_decides() {
        let called = |words: &[&str]| {
            let words: Vec<OsString> = words.iter().map(OsString::from).collect();
            as_mpiexec(&words).map(|(name, rest)| (name, rest.len()))
        };
        for name in ["mpiexec", "/usr/bin/mpirun", "./mpiexec.cohost"] {
            assert!(called(&[name, "-n", "2"]).is_some_and(|(_, rest)| rest == 2), "{name}");
        }
        assert_eq!(called(&["cohost", "mpiexec", "a"]), Some(("cohost mpiexec".to_owned(), 1)));
        assert_eq!(called(&["cohost", "run", "mpiexec"]), None);
        assert_eq!(called(&[]), None);
    }

    #[test]
    fn every_option_is_in_the_help() {
        let text = help("mpiexec", Caller::Mpiexec);
        for name in ["-genv NAME VALUE", "-hostfile", "--oversubscribe", "--allow-run-as-root"] {
            assert!(text.contains(name), "{text}");
        }
    }
}
