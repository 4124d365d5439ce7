//! What memory of `MPI_Alloc_mem` gains: PingPong between two processes out of it and out of ordinary
//! memory, in turn within one launch. The ratio is that of neighbours in time; its median is given with
//! its order-statistic interval.
//!
//! `cargo build --release && cargo bench -p mpi-abi --bench lending [-- ROUNDS [BYTES...]]`

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use cohost::report::stats::summarise;

const ROUNDS: &str = "21";
const SIZES: &[&str] =
    &["65536", "65544", "131072", "262144", "524288", "1048576", "2097152", "4194304"];

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// Times of both kinds of memory, and how often the receiver alone copied.
#[derive(Default)]
struct Found {
    ordinary: Vec<f64>,
    lent: Vec<f64>,
    loans: u64,
}

fn folder() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}

fn run(command: &mut Command) -> Outcome<String> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(format!("{command:?} failed:\n{}", String::from_utf8_lossy(&output.stderr)).into())
}

/// An installation of this build, and the program compiled with it.
fn prepare() -> Outcome<(PathBuf, PathBuf)> {
    let command = folder().with_file_name("release").join("cohost");
    if !command.exists() {
        let command = command.display();
        return Err(format!("{command} is missing: run `cargo build --release` first").into());
    }
    let (prefix, program) = (folder().join("prefix"), folder().join("lending"));
    let here = std::env::current_exe()?;
    let library = here.parent().ok_or("this program is nowhere")?;
    let mut install = Command::new(command);
    install.args(["mpi", "install", "--prefix"]).arg(&prefix).arg("--library-from").arg(library);
    run(&mut install)?;
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/lending.c");
    let mut compiler = Command::new(prefix.join("bin/mpicc"));
    run(compiler.args(["-O2", "-Wall", "-Wextra"]).arg(source).arg("-o").arg(&program))?;
    Ok((prefix, program))
}

fn read(said: &str) -> Outcome<BTreeMap<u64, Found>> {
    let mut all: BTreeMap<u64, Found> = BTreeMap::new();
    for line in said.lines() {
        let fields: Vec<_> = line.split('\t').collect();
        let &[bytes, ordinary, lent, loans] = fields.as_slice() else {
            return Err(format!("not a line of figures: {line:?}").into());
        };
        let found = all.entry(bytes.parse()?).or_default();
        found.ordinary.push(ordinary.parse()?);
        found.lent.push(lent.parse()?);
        found.loans += loans.parse::<u64>()?;
    }
    Ok(all)
}

fn measure() -> Outcome<()> {
    let mut words: Vec<String> =
        std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    if words.is_empty() {
        words.push(ROUNDS.to_owned());
    }
    if words.len() == 1 {
        words.extend(SIZES.iter().map(|&size| size.to_owned()));
    }
    let (prefix, program) = prepare()?;
    let mut job = Command::new(prefix.join("bin/mpiexec"));
    job.env("LD_LIBRARY_PATH", prefix.join("lib"));
    job.args(["--timeout", "120", "-n", "2"]).arg(program).args(&words);
    println!("Half round trips in microseconds, medians of {} rounds\n", words[0]);
    println!("| bytes | ordinary | MPI_Alloc_mem | ratio | interval | lent |");
    println!("|---|---|---|---|---|---|");
    for (bytes, found) in read(&run(&mut job)?)? {
        let ratios: Vec<_> = found.lent.iter().zip(&found.ordinary).map(|(l, o)| l / o).collect();
        let ratio = summarise(&ratios)?;
        let ends = ratio.median_interval.ends();
        let ends = ends.map_or("-".to_owned(), |[low, high]| format!("{low:.2} to {high:.2}"));
        let (ordinary, lent) = (summarise(&found.ordinary)?.median, summarise(&found.lent)?.median);
        let was_lent = if found.loans > 0 { "yes" } else { "no" };
        println!(
            "| {bytes} | {ordinary:.3} | {lent:.3} | {:.2} | {ends} | {was_lent} |",
            ratio.median
        );
    }
    Ok(())
}

fn main() -> ExitCode {
    match measure() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("lending: {why}");
            ExitCode::FAILURE
        }
    }
}
