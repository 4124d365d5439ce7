//! `cohost compare`: result files of any number of machines, side by side: tables on the terminal, and on request a
//! page, pictures, and the numbers.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use crate::bench::campaign::print_to_stdout;
use crate::bench::export::imb_text;
use crate::bench::import::{self, Hints, ImportError};
use crate::launch::Layout;
use crate::report::compare::gain::Gains;
use crate::report::compare::{Comparison, Input, csv, page, tables};
use crate::report::figure::build::figures;
use crate::report::figure::{Figure, Style, WIDE, raster};
use crate::report::schema::{Document, SchemaError, replace_file};

/// The measurements of 2008 that this project starts from.
const PAST: &str = include_str!("../../data/virtual-supercomputer-2008.json");

/// Pixels of a picture for each CSS pixel: sharp in print at the width of a page.
const PNG_SCALE: f32 = 2.0;

/// Compare result files: by hypervisor and layout, the ring against TCP, with intervals and tests.
#[derive(Debug, Args)]
pub struct CompareArgs {
    /// Result files of `cohost bench --json`, or the text of IMB-MPI1 or the OSU micro-benchmarks
    #[arg(value_name = "FILE", required_unless_present = "then_and_now")]
    files: Vec<PathBuf>,
    /// Name of a file's group, instead of the hypervisor that was detected; files of one name are one group
    #[arg(long, value_name = "FILE=NAME", value_parser = parse_pair)]
    label: Vec<(PathBuf, String)>,
    /// Layout, and path, of a text that does not say them, such as osu.txt=2x4,tcp
    #[arg(long = "where", value_name = "FILE=HxV[,PATH]", value_parser = parse_pair)]
    place: Vec<(PathBuf, String)>,
    /// Show the figures published in 2008 beside
    #[arg(long)]
    then_and_now: bool,
    /// Write one page that needs nothing else
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write every figure as SVG
    #[arg(long, value_name = "DIR")]
    svg: Option<PathBuf>,
    /// Write every figure as PNG
    #[arg(long, value_name = "DIR")]
    png: Option<PathBuf>,
    /// Write every number as comma-separated values
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Write the means as the text of IMB-MPI1
    #[arg(long, value_name = "FILE")]
    imb: Option<PathBuf>,
}

fn parse_pair(text: &str) -> Result<(PathBuf, String), String> {
    match text.rsplit_once('=') {
        Some((file, value)) if !file.is_empty() && !value.trim().is_empty() => {
            Ok((PathBuf::from(file), value.trim().to_owned()))
        }
        _ => Err("give FILE=VALUE".to_owned()),
    }
}

enum Failure {
    /// Exit code 2.
    Usage(String),
    /// Exit code 1.
    Work(String),
    /// The reader of the output has gone.
    Quiet,
}

/// Runs `cohost compare`; the exit code is 0 for success, 1 when a file could not be read or written, 2 for wrong use.
#[must_use]
pub fn run(args: &CompareArgs) -> ExitCode {
    let (reason, code) = match compare(args) {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Failure::Quiet) => return ExitCode::from(1),
        Err(Failure::Usage(reason)) => (reason, 2),
        Err(Failure::Work(reason)) => (reason, 1),
    };
    eprintln!("cohost compare: {reason}");
    ExitCode::from(code)
}

fn compare(args: &CompareArgs) -> Result<(), Failure> {
    let inputs = inputs(args)?;
    let comparison = Comparison::new(&inputs);
    let gains = Gains::of(&comparison);
    print_to_stdout(&tables::text(&comparison, &gains)).map_err(|e| match e.kind() {
        io::ErrorKind::BrokenPipe => Failure::Quiet,
        _ => Failure::Work(format!("cannot write to standard output: {e}")),
    })?;
    if let Some(path) = &args.csv {
        write(path, csv::table(&comparison, &gains).as_bytes())?;
    }
    if let Some(path) = &args.imb {
        write(path, imb_text(&comparison).as_bytes())?;
    }
    if args.html.is_none() && args.svg.is_none() && args.png.is_none() {
        return Ok(());
    }
    let figures = figures(&comparison, &gains);
    if let Some(path) = &args.html {
        write(path, page::html(&comparison, &gains, &figures).as_bytes())?;
    }
    if let Some(dir) = &args.svg {
        each(dir, "svg", &figures, |svg| Ok(svg.into_bytes()))?;
    }
    if let Some(dir) = &args.png {
        each(dir, "png", &figures, |svg| {
            raster::png(&svg, PNG_SCALE).map_err(|e| Failure::Work(e.to_string()))
        })?;
    }
    Ok(())
}

/// Writes one file for each figure.
fn each(
    dir: &Path,
    extension: &str,
    figures: &[Figure],
    draw: impl Fn(String) -> Result<Vec<u8>, Failure>,
) -> Result<(), Failure> {
    fs::create_dir_all(dir).map_err(|e| {
        Failure::Work(format!("cannot create the directory {}: {e}", dir.display()))
    })?;
    for figure in figures {
        let bytes = draw(figure.svg(WIDE, Style::File))?;
        write(&dir.join(format!("{}.{extension}", figure.id)), &bytes)?;
    }
    Ok(())
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    replace_file(path, bytes)
        .map_err(|e| Failure::Work(format!("cannot write {}: {e}", path.display())))
}

fn inputs(args: &CompareArgs) -> Result<Vec<Input>, Failure> {
    for (file, _) in args.label.iter().chain(&args.place) {
        if !args.files.contains(file) {
            let file = file.display();
            return Err(Failure::Usage(format!(
                "{file} is given a name or place, but is not among the files to compare"
            )));
        }
    }
    let mut inputs: Vec<Input> = Vec::new();
    for path in &args.files {
        let document = import::read(path, &hints(args, path)?).map_err(|e| match e {
            ImportError::NeedsLayout { .. } => Failure::Usage(e.to_string()),
            _ => Failure::Work(e.to_string()),
        })?;
        let name = path.display().to_string();
        for document in document.by_place() {
            if let Some(same) = inputs.iter().find(|i| is_same(&i.document, &document)) {
                return Err(Failure::Usage(format!(
                    "{name} holds the same launches as {}: they would count twice; name one of them",
                    same.name
                )));
            }
            let label = value_of(&args.label, path).map(str::to_owned);
            inputs.push(Input { name: name.clone(), label, document });
        }
    }
    if args.then_and_now {
        let document = Document::from_text(PAST, Path::new("virtual-supercomputer-2008.json"))
            .map_err(|e: SchemaError| Failure::Work(e.to_string()))?;
        inputs.push(Input { name: "2008".to_owned(), label: None, document });
    }
    Ok(inputs)
}

fn is_same(a: &Document, b: &Document) -> bool {
    !(a.results.is_empty() && a.stated.is_empty()) && a.results == b.results && a.stated == b.stated
}

fn value_of<'a>(pairs: &'a [(PathBuf, String)], path: &Path) -> Option<&'a str> {
    pairs.iter().rfind(|(file, _)| file == path).map(|(_, value)| value.as_str())
}

/// What `--where` says of a file.
fn hints(args: &CompareArgs, path: &Path) -> Result<Hints, Failure> {
    let Some(text) = value_of(&args.place, path) else {
        return Ok(Hints::default());
    };
    let (layout, way) = text.split_once(',').map_or((text, None), |(l, p)| (l, Some(p)));
    let known = ["self", "ring", "tcp", "ring+tcp"];
    if let Some(way) = way.filter(|w| !known.contains(w)) {
        return Err(Failure::Usage(format!(
            "--where: {way:?} is no path; known are {}",
            known.join(", ")
        )));
    }
    let shape: Layout = layout
        .parse()
        .map_err(|e: crate::launch::LaunchError| Failure::Usage(format!("--where: {e}")))?;
    Ok(Hints {
        layout: Some(shape.to_string()),
        path: way.map(str::to_owned),
        ranks: u32::try_from(shape.ranks(1)).ok(),
    })
}
