//! One executable against two libraries with the standard ABI: cohost and another one, in turn, by their own
//! launchers. Only the search path of libraries differs, and the table says which library answered.
//!
//! Cores of a virtual machine are moved about within minutes, so only neighbours in time are compared: each
//! round gives one ratio per size, and the figure is their median with its order-statistic interval. What a
//! launch says is the least of its samples; the last column has the ratio of the medians of the samples, which
//! is far off the other when something else runs.
//!
//! `COHOST_PEER_PREFIX=DIR cargo bench -p mpi-abi --bench peers [-- ROUNDS [CASE...]]`

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use cohost::report::stats::{StatsError, summarise};

/// The other library: where `pip install` or a package put it.
const PEER: &str = "COHOST_PEER_PREFIX";
/// What `cohost mpi install` made, when it is not to be that of this build.
const PREFIX: &str = "COHOST_PREFIX";
const HOW: &str =
    "python3 -m venv DIR && DIR/bin/pip install mpich==5.0.2, then COHOST_PEER_PREFIX=DIR";
/// Fewer give no interval at 95 %.
const ROUNDS: usize = 7;
/// Seconds that one launch may take.
const TIMEOUT: &str = "60";

const SIZES: &str = "0 8 64 1024 4096 8192 16384 65536 262144 1048576 4194304";
const BLOCKS: &str = "0 8 1024 8192 65536 262144 1048576";
const BLOCKS_CROWDED: &str = "8 1024 65536";

/// One table.
struct Case {
    name: &'static str,
    /// A source beside this file.
    program: &'static str,
    arguments: &'static [&'static str],
    ranks: u32,
    /// Options for our launcher.
    ours: &'static [&'static str],
    /// Environment for the other library.
    theirs: &'static [(&'static str, &'static str)],
}

/// Hosts are apart by policy only: without this it would take shared memory.
const APART: (&str, &str) = ("MPIR_CVAR_NOLOCAL", "1");

const CASES: &[Case] = &[
    Case {
        name: "pingpong",
        program: "peers.c",
        arguments: &["pingpong", SIZES],
        ranks: 2,
        ours: &[],
        theirs: &[],
    },
    // Two copies on both sides: without reaching into the memory of the other process, which virtual
    // machines cannot do.
    Case {
        name: "pingpong-copies",
        program: "peers.c",
        arguments: &["pingpong", "16384 65536 262144 1048576 4194304"],
        ranks: 2,
        ours: &[],
        theirs: &[("MPIR_CVAR_CH4_CMA_ENABLE", "0")],
    },
    Case {
        name: "tcp",
        program: "peers.c",
        arguments: &["pingpong", SIZES],
        ranks: 2,
        ours: &["--path", "tcp"],
        theirs: &[APART, ("MPIR_CVAR_CH4_NETMOD", "ucx"), ("UCX_TLS", "tcp,self")],
    },
    Case {
        name: "tcp-libfabric",
        program: "peers.c",
        arguments: &["pingpong", SIZES],
        ranks: 2,
        ours: &["--path", "tcp"],
        theirs: &[APART, ("MPIR_CVAR_CH4_NETMOD", "ofi"), ("FI_PROVIDER", "tcp")],
    },
    // One of two doubles.
    Case {
        name: "vector",
        program: "peers.c",
        arguments: &["vector", "1024 8192 65536 1048576 4194304"],
        ranks: 2,
        ours: &[],
        theirs: &[],
    },
    Case {
        name: "alltoall",
        program: "peers.c",
        arguments: &["alltoall", BLOCKS],
        ranks: 2,
        ours: &[],
        theirs: &[],
    },
    Case {
        name: "alltoall-4",
        program: "peers.c",
        arguments: &["alltoall", BLOCKS_CROWDED],
        ranks: 4,
        ours: &[],
        theirs: &[],
    },
    Case {
        name: "allreduce",
        program: "peers.c",
        arguments: &["allreduce", BLOCKS],
        ranks: 2,
        ours: &[],
        theirs: &[],
    },
];

/// A library and its launcher.
struct Side {
    prefix: PathBuf,
    ours: bool,
}

/// What one line of a launch says.
#[derive(Clone, Copy)]
struct Time {
    least: f64,
    median: f64,
}

/// Bytes and times of each line, in its order.
type Times = Vec<(String, Time)>;

type Outcome<T> = Result<T, String>;

impl Side {
    fn launch(&self, case: &Case, program: &Path) -> Outcome<(String, Times)> {
        let mut command = Command::new(self.prefix.join("bin/mpiexec"));
        command.env("LD_LIBRARY_PATH", self.prefix.join("lib"));
        command.env("MPIEXEC_TIMEOUT", TIMEOUT);
        if self.ours {
            command.args(["--timeout", TIMEOUT]).args(case.ours);
        } else {
            command.envs(case.theirs.iter().copied());
        }
        command.args(["-n", &case.ranks.to_string()]).arg(program);
        command.args(case.arguments.iter().flat_map(|words| words.split(' ')));
        let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            let complaint = String::from_utf8_lossy(&output.stderr);
            return Err(format!("{command:?} ended with {}\n{said}{complaint}", output.status));
        }
        self.read(&said)
    }

    fn read(&self, said: &str) -> Outcome<(String, Times)> {
        let mut library = None;
        let mut times = Vec::new();
        for line in said.lines() {
            if let Some(name) = line.strip_prefix("# ") {
                library = Some(name.split_whitespace().collect::<Vec<_>>().join(" "));
                continue;
            }
            let fields: Vec<_> = line.split('\t').collect();
            let &[_, _, bytes, _, least, median] = fields.as_slice() else {
                return Err(format!("not a line of figures: {line:?}"));
            };
            let number = |text: &str| text.parse().map_err(|_| format!("no time in {line:?}"));
            times.push((bytes.to_owned(), Time { least: number(least)?, median: number(median)? }));
        }
        let library = library.ok_or("the program did not say which library it ran on")?;
        if library.starts_with("cohost") != self.ours {
            return Err(format!("{} ran on {library}", self.prefix.display()));
        }
        Ok((library, times))
    }
}

/// A folder of this build for what is made here.
fn folder() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}

/// Cohost as installed, of this build unless told otherwise.
fn ours() -> Outcome<Side> {
    if let Some(prefix) = std::env::var_os(PREFIX) {
        return Ok(Side { prefix: prefix.into(), ours: true });
    }
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let library = program.parent().ok_or("this program is nowhere")?;
    let command = folder().with_file_name("release").join("cohost");
    if !command.exists() {
        return Err(format!("{} is missing: run `cargo build --release` first", command.display()));
    }
    let prefix = folder().join("prefix");
    let mut install = Command::new(command);
    install.args(["mpi", "install", "--prefix"]).arg(&prefix).arg("--library-from").arg(library);
    run(&mut install)?;
    Ok(Side { prefix, ours: true })
}

/// The other library. None when there is none.
fn theirs() -> Outcome<Option<Side>> {
    let Some(prefix) = std::env::var_os(PEER) else { return Ok(None) };
    let prefix = PathBuf::from(prefix);
    for needed in ["bin/mpiexec", "lib/libmpi_abi.so.1"] {
        if !prefix.join(needed).exists() {
            return Err(format!("{} has no {needed}: {HOW}", prefix.display()));
        }
    }
    Ok(Some(Side { prefix, ours: false }))
}

fn run(command: &mut Command) -> Outcome<()> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{command:?} failed:\n{}", String::from_utf8_lossy(&output.stderr)))
}

/// Compiles a program once, against our header and library.
fn compile(ours: &Side, source: &str) -> Outcome<PathBuf> {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches").join(source);
    let into = folder().join(source).with_extension("");
    let mut compiler = Command::new(ours.prefix.join("bin/mpicc"));
    run(compiler.args(["-O2", "-Wall", "-Wextra"]).arg(from).arg("-o").arg(&into).arg("-lm"))?;
    Ok(into)
}

/// What the rounds found for one size.
#[derive(Default)]
struct Found {
    ours: Vec<f64>,
    theirs: Vec<f64>,
    ratios: Vec<f64>,
    of_medians: Vec<f64>,
}

fn measure(ours: &Side, theirs: &Side, case: &Case, rounds: usize) -> Outcome<()> {
    let program = compile(ours, case.program)?;
    let mut all: BTreeMap<usize, (String, Found)> = BTreeMap::new();
    let mut names = (String::new(), String::new());
    for round in 0..rounds {
        // Neither is always the one that comes to cold caches.
        let (mine, other) = if round % 2 == 0 {
            let mine = ours.launch(case, &program)?;
            (mine, theirs.launch(case, &program)?)
        } else {
            let other = theirs.launch(case, &program)?;
            (ours.launch(case, &program)?, other)
        };
        names = (mine.0, other.0);
        for (at, ((bytes, mine), (_, other))) in mine.1.into_iter().zip(other.1).enumerate() {
            let found = &mut all.entry(at).or_insert_with(|| (bytes, Found::default())).1;
            found.ours.push(mine.least);
            found.theirs.push(other.least);
            found.ratios.push(mine.least / other.least);
            found.of_medians.push(mine.median / other.median);
        }
    }
    print(case, &names, all.into_values(), rounds).map_err(|error| error.to_string())
}

fn print(
    case: &Case,
    names: &(String, String),
    all: impl Iterator<Item = (String, Found)>,
    rounds: usize,
) -> Result<(), StatsError> {
    println!(
        "\n{}: {} ranks, {rounds} rounds; {} and {}\n",
        case.name, case.ranks, names.0, names.1
    );
    let settings: Vec<_> =
        case.theirs.iter().map(|(name, value)| format!("{name}={value}")).collect();
    if !settings.is_empty() {
        let ours =
            if case.ours.is_empty() { "nothing set".to_owned() } else { case.ours.join(" ") };
        println!("cohost with {ours}, the other with {}\n", settings.join(" "));
    }
    println!("| case | bytes | cohost | other | ratio | interval | of medians |");
    println!("|---|---|---|---|---|---|---|");
    for (bytes, found) in all {
        let ratio = summarise(&found.ratios)?;
        let ends = ratio.median_interval.ends();
        let ends = ends.map_or("-".to_owned(), |[low, high]| format!("{low:.2} to {high:.2}"));
        let of_medians = summarise(&found.of_medians)?.median;
        let (mine, other) = (summarise(&found.ours)?.median, summarise(&found.theirs)?.median);
        println!(
            "| {} | {bytes} | {mine:.3} | {other:.3} | {:.2} | {ends} | {of_medians:.2} |",
            case.name, ratio.median
        );
    }
    Ok(())
}

fn all() -> Outcome<()> {
    let words = std::env::args().skip(1).filter(|word| !word.starts_with("--"));
    let (numbers, wanted): (Vec<_>, Vec<_>) = words.partition(|word| word.parse::<usize>().is_ok());
    let rounds = numbers.first().and_then(|word| word.parse().ok()).unwrap_or(ROUNDS);
    if let Some(word) = wanted.iter().find(|word| CASES.iter().all(|case| case.name != **word)) {
        let names: Vec<_> = CASES.iter().map(|case| case.name).collect();
        return Err(format!("no case is named {word}; there are {}", names.join(", ")));
    }
    let Some(theirs) = theirs()? else {
        println!("skipped: peers: {PEER} names no other library. {HOW}");
        return Ok(());
    };
    let ours = ours()?;
    println!(
        "Times of one operation in microseconds, medians of the least of each round; the ratio is that of cohost to the other."
    );
    for case in CASES {
        if wanted.is_empty() || wanted.iter().any(|name| name == case.name) {
            measure(&ours, &theirs, case, rounds)?;
        }
    }
    Ok(())
}

fn main() -> ExitCode {
    match all() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("peers: {why}");
            ExitCode::FAILURE
        }
    }
}
