//! `cohost lab`: real guests, and the agent inside them.

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use cohost_lab::{Depot, Guest, Hypervisor, Lab, LabError, LabOptions, Nic, RegionKind, Start};

use super::{lab_bench, lab_ranks};
use crate::launch::{LaunchError, Layout, PathPolicy, RunOptions};

/// What `cohost lab` can do.
#[derive(Debug, Subcommand)]
pub enum LabCommand {
    /// Fetch what guests are made of, as packages that are unpacked and not installed
    Setup {
        /// For which hypervisors
        #[arg(long, value_delimiter = ',', default_value = "qemu,uml,xen")]
        hypervisor: Vec<Hypervisor>,
    },
    /// Boot guests; run a command in each and take them down, or keep them until Ctrl-C
    Up(UpArgs),
    /// Boot guests, run a command in each, or as the ranks of one job, and take them down
    Run(RunArgs),
    /// Boot guests, measure benchmarks between them, and take them down
    Bench(lab_bench::LabBenchArgs),
    /// Serve the doorbells of ivshmem to guests of your own (QEMU's 'ivshmem-doorbell' device)
    IvshmemServer {
        /// The socket that QEMU's '-chardev socket,path=' names; made here
        #[arg(long)]
        socket: PathBuf,
        /// The file that is the shared memory
        #[arg(long)]
        region: PathBuf,
        /// Interrupt vectors of each guest
        #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
        vectors: u16,
    },
    /// Take down labs of other processes, and remove what killed ones left
    Down,
}

/// Options of `cohost lab up` and `cohost lab run`.
#[derive(Debug, Clone, Args)]
pub struct UpArgs {
    /// qemu, uml or xen
    #[arg(long)]
    pub hypervisor: Hypervisor,
    /// Hosts and virtual machines on each, such as 2x4
    #[arg(long, default_value = "1x2", value_parser = layout)]
    pub layout: (u32, u32),
    /// QEMU's network device: virtio, e1000, e1000e, vmxnet3 or pcnet
    #[arg(long, default_value = "virtio")]
    pub nic: Nic,
    /// Memory of each guest, in MiB
    #[arg(long, default_value_t = 192)]
    pub memory: u32,
    /// Memory that the guests of one host share, in MiB; 0 for none
    #[arg(long, default_value_t = 64)]
    pub region: u32,
    /// For QEMU: guests can interrupt each other through their region (ivshmem-doorbell)
    #[arg(long)]
    pub doorbell: bool,
    /// For QEMU: a value of its option -smbios, such as 'type=1,product=...'
    #[arg(long)]
    pub smbios: Vec<String>,
    /// Seconds that the command may take
    #[arg(long, default_value_t = 600)]
    pub limit: u64,
    /// The command, as found in the guests: busybox's programs and /bin/cohost
    #[arg(last = true)]
    pub command: Vec<String>,
}

/// Options of `cohost lab run`.
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    #[command(flatten)]
    up: UpArgs,
    /// Run the command as the ranks of one job, one in each guest, such as -- cohost explain
    #[arg(long)]
    ranks: bool,
    /// With --ranks: paths that the ranks may use: auto, ring or tcp
    #[arg(long, requires = "ranks")]
    path: Option<PathPolicy>,
    /// With --ranks: begin each line of output with the rank it comes from
    #[arg(long, requires = "ranks")]
    tag_output: bool,
}

/// Interrupts of each guest with `--doorbell`; a rank uses one.
const VECTORS: u16 = 2;

fn layout(text: &str) -> Result<(u32, u32), String> {
    let parse = |part: &str| part.parse().ok().filter(|n| (1..=200).contains(n));
    text.split_once('x')
        .and_then(|(hosts, vms)| Some((parse(hosts)?, parse(vms)?)))
        .ok_or_else(|| format!("'{text}' is no layout; write HOSTSxVMS, such as 1x2"))
}

/// Runs a subcommand: 0 when it, and the command in every guest, succeeded; 1 when not; 2 for
/// options that cannot be met.
pub fn run(command: &LabCommand) -> ExitCode {
    cohost_lab::take_down_on_signals();
    let done = match command {
        LabCommand::Setup { hypervisor } => setup(hypervisor),
        LabCommand::Up(args) => up(args),
        LabCommand::Run(args) if args.up.command.is_empty() => Err(LabError::Options(
            "no command; write it after '--', such as -- cohost detect".into(),
        )),
        LabCommand::Run(args) if args.ranks => job(args),
        LabCommand::Run(args) => up(&args.up),
        LabCommand::Bench(args) => return lab_bench::run(args),
        LabCommand::IvshmemServer { socket, region, vectors } => {
            cohost_lab::ivshmem::serve_path(socket, region, *vectors).map(|()| ExitCode::SUCCESS)
        }
        LabCommand::Down => Depot::open().map(|depot| {
            eprintln!("labs taken down: {}", cohost_lab::take_down_others(&depot));
            ExitCode::SUCCESS
        }),
    };
    done.unwrap_or_else(|error| {
        eprintln!("cohost lab: {error}");
        match error {
            LabError::Options(_) => ExitCode::from(2),
            _ => ExitCode::FAILURE,
        }
    })
}

fn setup(hypervisors: &[Hypervisor]) -> Result<ExitCode, LabError> {
    let depot = Depot::open()?;
    let mut say = |text: &str| eprintln!("cohost lab setup: {text}");
    cohost_lab::setup(&depot, hypervisors, &mut say)?;
    say(&format!("all is there, in {}", depot.dir().display()));
    Ok(ExitCode::SUCCESS)
}

/// The command as the ranks of one job; the exit code is that of `cohost run`.
fn job(args: &RunArgs) -> Result<ExitCode, LabError> {
    let (hosts, vms) = args.up.layout;
    let mut command = args.up.command.iter().map(OsString::from);
    let options = RunOptions {
        ranks: hosts * vms,
        layout: Some(Layout { hosts, vms }),
        program: command.next().unwrap_or_default(),
        args: command.collect(),
        path: args.path,
        tag_output: args.tag_output,
        ..RunOptions::default()
    };
    let lab = Lab::up(&lab_options(&args.up))?;
    eprintln!("cohost lab: {}", lab.how());
    match lab_ranks::run(&lab, &options) {
        Ok(outcome) => Ok(ExitCode::from(u8::try_from(outcome.exit_code).unwrap_or(1))),
        Err(error) => Ok(refused(&error)),
    }
}

/// Says why a job did not start, and gives the exit code for it.
fn refused(error: &LaunchError) -> ExitCode {
    eprintln!("cohost lab: {error}");
    ExitCode::from(if error.is_usage() { 2 } else { 1 })
}

fn lab_options(args: &UpArgs) -> LabOptions {
    let (hosts, vms) = args.layout;
    let mut options = LabOptions::new(args.hypervisor, hosts, vms);
    options.nic = args.nic;
    options.memory_mib = args.memory;
    options.region_mib = args.region;
    options.smbios.clone_from(&args.smbios);
    if args.doorbell {
        options.region_kind = RegionKind::Doorbell(VECTORS);
    }
    options
}

fn up(args: &UpArgs) -> Result<ExitCode, LabError> {
    let lab = Lab::up(&lab_options(args))?;
    eprintln!("cohost lab: {}", lab.how());
    if let [program, rest @ ..] = args.command.as_slice() {
        let start = Start {
            program: program.into(),
            args: rest.iter().map(Into::into).collect(),
            ..Start::default()
        };
        return Ok(everywhere(&lab, &start, Duration::from_secs(args.limit)));
    }
    for guest in lab.guests() {
        println!("{} {}", guest.label(), guest.address());
    }
    eprintln!("cohost lab: up; Ctrl-C or 'cohost lab down' takes it down");
    loop {
        std::thread::park();
    }
}

/// Runs the command in all guests at once; each line is printed with its guest's name.
fn everywhere(lab: &Lab, start: &Start, limit: Duration) -> ExitCode {
    let all_good = std::thread::scope(|scope| {
        let runs = lab.guests().iter();
        let runs: Vec<_> =
            runs.map(|guest| scope.spawn(move || one(guest, start, limit))).collect();
        let ends = runs.into_iter().map(|run| run.join().unwrap_or(false));
        ends.filter(|good| !good).count() == 0
    });
    if all_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn one(guest: &Guest, start: &Start, limit: Duration) -> bool {
    let mut process = match guest.spawn(start) {
        Ok(process) => process,
        Err(error) => {
            eprintln!("cohost lab: {error}");
            return false;
        }
    };
    process.stdin = None;
    let (out, err) = (process.stdout.take(), process.stderr.take());
    std::thread::scope(|scope| {
        scope.spawn(|| copy(guest.name(), out, io::stdout()));
        scope.spawn(|| copy(guest.name(), err, io::stderr()));
        let Some(exit) = process.wait(limit) else {
            eprintln!("cohost lab: {}: not done after {} s", guest.label(), limit.as_secs());
            drop(process);
            return false;
        };
        if !exit.success() {
            eprintln!("cohost lab: {}: {exit}", guest.label());
        }
        exit.success()
    })
}

fn copy(name: &str, from: Option<impl Read>, mut to: impl Write) {
    let Some(from) = from else { return };
    for line in BufReader::new(from).split(b'\n') {
        let Ok(line) = line else { return };
        let text = String::from_utf8_lossy(&line);
        // Nobody reads any more: the guest's program will not be stopped for that.
        let _ = writeln!(to, "{name}: {text}");
    }
}

/// Serves this guest's lab: port and token are those the lab expects.
pub fn agent() -> ExitCode {
    let line = std::fs::read_to_string("/proc/cmdline").unwrap_or_default();
    let Some(token) = cohost_lab::agent::token_of_kernel(&line) else {
        eprintln!(
            "cohost lab-agent: no cohost.token= on the kernel command line; it is for guests of a lab"
        );
        return ExitCode::from(2);
    };
    let address = (Ipv4Addr::UNSPECIFIED, cohost_lab::agent::PORT);
    let served =
        TcpListener::bind(address).and_then(|listener| cohost_lab::agent::serve(listener, token));
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cohost lab-agent: port {}: {error}", address.1);
            ExitCode::FAILURE
        }
    }
}
