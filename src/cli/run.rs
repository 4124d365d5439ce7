//! `cohost run`: starts the ranks of a program.

use std::ffi::OsString;
use std::process::ExitCode;

use crate::launch::{self, Layout, PathPolicy, RunOptions};

/// Arguments of `cohost run`.
#[derive(Clone, Debug, clap::Args)]
pub struct RunArgs {
    /// Number of ranks; without it, that of the layout, otherwise 1
    #[arg(short = 'n', long = "ranks", value_name = "N")]
    pub ranks: Option<u32>,

    /// Hosts and virtual machines on each, such as 2x4; without it all are on one host
    #[arg(long, value_name = "HxV")]
    pub layout: Option<Layout>,

    /// Ranks in each virtual machine
    #[arg(long, value_name = "R", default_value_t = 1)]
    pub ranks_per_vm: u32,

    /// Paths the ranks may use: auto, ring or tcp
    #[arg(long, value_name = "PATH")]
    pub path: Option<PathPolicy>,

    /// Begin each line of output with the rank it comes from
    #[arg(long)]
    pub tag_output: bool,

    /// Put each host into a network namespace behind a 1 Gbit/s link (needs root)
    #[arg(long)]
    pub netns: bool,

    /// The program and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "PROGRAM")]
    pub command: Vec<OsString>,
}

impl RunArgs {
    /// The launcher's options for these arguments.
    pub fn options(&self) -> RunOptions {
        let of_layout = self.layout.map(|layout| layout.ranks(self.ranks_per_vm));
        let ranks = match (self.ranks, of_layout) {
            (Some(ranks), _) => ranks,
            // Beyond u32 it is beyond every limit: the launcher says which.
            (None, Some(ranks)) => u32::try_from(ranks).unwrap_or(u32::MAX),
            (None, None) => self.ranks_per_vm,
        };
        let mut command = self.command.iter().cloned();
        RunOptions {
            ranks,
            layout: self.layout,
            ranks_per_vm: self.ranks_per_vm,
            program: command.next().unwrap_or_default(),
            args: command.collect(),
            path: self.path,
            tag_output: self.tag_output,
            netns: self.netns,
            ..Default::default()
        }
    }
}

/// Runs the job; the exit code is that of the worst rank, 2 for wrong use, 1 when it cannot start.
pub fn run(args: &RunArgs) -> ExitCode {
    match launch::run(&args.options()) {
        // 255 at most; more would be a defect of the launcher, and must not read as success.
        Ok(outcome) => ExitCode::from(u8::try_from(outcome.exit_code).unwrap_or(1)),
        Err(error) => {
            eprintln!("cohost run: {error}");
            ExitCode::from(if error.is_usage() { 2 } else { 1 })
        }
    }
}
