//! Reads the arguments of `cohost run`, and of `mpiexec` and `mpirun`, the other names it goes by.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::hosts;
use super::spelling::{Means, Written, look_up};
use crate::launch::{Inherit, Layout, PathPolicy, RunOptions, Segment};

/// What the arguments ask for.
#[derive(Debug)]
pub(super) enum Request {
    /// To start a job; saying so with `verbose`.
    Start {
        options: Box<RunOptions>,
        verbose: bool,
    },
    Help,
    Version,
}

/// Under which name the command was called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Caller {
    /// `cohost run`: a `:` is an argument like any other.
    Run,
    /// `mpiexec`: a `:` divides programs.
    Mpiexec,
}

/// What holds for the whole job.
#[derive(Default)]
struct Whole {
    layout: Option<Layout>,
    ranks_per_vm: Option<u32>,
    path: Option<PathPolicy>,
    env: Vec<(OsString, OsString)>,
    inherit: Inherit,
    timeout: Option<Duration>,
    tag: bool,
    netns: bool,
    quiet: bool,
    verbose: bool,
}

/// What holds for one program.
#[derive(Default)]
struct Part {
    ranks: Option<u32>,
    per_node: Option<u32>,
    slots: Option<u32>,
    env: Vec<(OsString, OsString)>,
    inherit: Option<Inherit>,
    directory: Option<PathBuf>,
    command: Vec<OsString>,
}

/// Reads all arguments; the text of an error is for the user.
pub(super) fn read(caller: Caller, arguments: &[OsString]) -> Result<Request, String> {
    let (mut whole, mut parts) = (Whole::default(), Vec::new());
    let mut rest = arguments;
    loop {
        let mut part = Part::default();
        match read_options(&mut rest, &mut whole, &mut part)? {
            Some(Means::Help) => return Ok(Request::Help),
            Some(_) => return Ok(Request::Version),
            None => {}
        }
        let end = match caller {
            Caller::Mpiexec => rest.iter().position(|it| it == ":").unwrap_or(rest.len()),
            Caller::Run => rest.len(),
        };
        let (command, after) = rest.split_at_checked(end).unwrap_or((rest, &[]));
        part.command = command.to_vec();
        if part.command.is_empty() {
            return Err("no program was given: write it after the options".to_owned());
        }
        parts.push(part);
        match after.split_first() {
            Some((_, after)) => rest = after,
            None => break,
        }
    }
    let verbose = whole.verbose;
    let options = Box::new(options(whole, parts)?);
    Ok(Request::Start { options, verbose })
}

/// Takes options off the front; the one that ends the reading at once, if there is one.
fn read_options(
    rest: &mut &[OsString],
    whole: &mut Whole,
    part: &mut Part,
) -> Result<Option<Means>, String> {
    while let Some((argument, after)) = rest.split_first() {
        if argument == "--" {
            *rest = after;
            break;
        }
        let text = argument.to_string_lossy();
        if !text.starts_with('-') || text == "-" {
            break;
        }
        *rest = after;
        let Written { spelling, joined } = look_up(&text)?;
        let mut values: Vec<OsString> = joined.map(OsString::from).into_iter().collect();
        while values.len() < spelling.values.len() {
            let Some((value, after)) = rest.split_first() else {
                return Err(format!("`{text}` needs {}", spelling.values.join(" and ")));
            };
            *rest = after;
            values.push(value.clone());
        }
        if matches!(spelling.means, Means::Help | Means::Version) {
            return Ok(Some(spelling.means));
        }
        let first = values.first().cloned().unwrap_or_default();
        let second = values.get(1).cloned().unwrap_or_default();
        take(spelling.means, &first, second, whole, part)
            .map_err(|reason| format!("{text} {}: {reason}", first.display()))?;
    }
    Ok(None)
}

/// Does what one option means.
fn take(
    means: Means,
    value: &OsStr,
    second: OsString,
    whole: &mut Whole,
    part: &mut Part,
) -> Result<(), String> {
    let text = value.to_string_lossy();
    match means {
        Means::Ranks => part.ranks = Some(number(&text)?),
        Means::PerNode => part.per_node = Some(number(&text)?),
        Means::RanksPerVm => whole.ranks_per_vm = Some(number(&text)?),
        Means::Layout => whole.layout = Some(text.parse().map_err(said)?),
        Means::Path => whole.path = Some(text.parse().map_err(said)?),
        Means::Pmi if matches!(&*text, "1" | "2") => {
            whole.env.push(("COHOST_PMI".into(), value.to_owned()));
        }
        Means::Pmi => return Err("the versions of PMI are 1 and 2".to_owned()),
        Means::Netns => whole.netns = true,
        Means::Tag => whole.tag = true,
        Means::Quiet => whole.quiet = true,
        Means::Verbose => whole.verbose = true,
        Means::Hosts => part.slots = hosts::slots(&text, &hosts::own_names())?,
        Means::HostFile => {
            part.slots = hosts::slots_of_file(Path::new(value), &hosts::own_names())?;
        }
        Means::EnvForAll => whole.env.push((checked_name(value)?, second)),
        Means::Env => part.env.push((checked_name(value)?, second)),
        Means::Export => part.env.extend(exported(value)?),
        Means::InheritAll => whole.inherit = Inherit::All,
        Means::InheritNone => whole.inherit = Inherit::Only(Vec::new()),
        Means::InheritList => whole.inherit = Inherit::Only(names(&text)),
        Means::OwnInheritAll => part.inherit = Some(Inherit::All),
        Means::OwnInheritNone => part.inherit = Some(Inherit::Only(Vec::new())),
        Means::OwnInheritList => part.inherit = Some(Inherit::Only(names(&text))),
        Means::Directory => part.directory = Some(PathBuf::from(value)),
        Means::Timeout => whole.timeout = Some(Duration::from_secs(number(&text)?.into())),
        Means::MapBy => part.per_node = per_node(&text)?.or(part.per_node),
        Means::Nothing | Means::Help | Means::Version => {}
    }
    Ok(())
}

fn said(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn number(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| format!("a whole number from 0 to {} is needed", u32::MAX))
}

fn names(list: &str) -> Vec<OsString> {
    list.split(',').map(str::trim).filter(|name| !name.is_empty()).map(OsString::from).collect()
}

fn checked_name(name: &OsStr) -> Result<OsString, String> {
    match name.is_empty() || name.as_encoded_bytes().contains(&b'=') {
        true => Err("a variable's name is not empty and has no `=`".to_owned()),
        false => Ok(name.to_owned()),
    }
}

/// `NAME=VALUE`, or `NAME` as it is set here.
fn exported(text: &OsStr) -> Result<Option<(OsString, OsString)>, String> {
    use std::os::unix::ffi::OsStrExt;
    let bytes = text.as_bytes();
    let at = bytes.iter().position(|byte| *byte == b'=');
    let (name, value) = match at.and_then(|at| bytes.split_at_checked(at)) {
        Some((name, value)) => (OsStr::from_bytes(name), value.get(1..).map(OsStr::from_bytes)),
        None => (text, None),
    };
    let name = checked_name(name)?;
    let value = value.map(OsStr::to_owned).or_else(|| std::env::var_os(&name));
    match value {
        Some(value) => Ok(Some((name, value))),
        None => Err("this variable is not set here: write NAME=VALUE".to_owned()),
    }
}

/// The number of `ppr:N:node`.
fn per_node(text: &str) -> Result<Option<u32>, String> {
    let Some(rest) = text.strip_prefix("ppr:") else { return Ok(None) };
    let (count, unit) = rest.split_once(':').unwrap_or((rest, ""));
    match unit.split(':').next() {
        Some("node") => number(count).map(Some),
        // Of a socket or a core: how many there are is not asked for here.
        _ => Err("of ppr, only ppr:N:node is supported".to_owned()),
    }
}

/// The launcher's options for all this.
fn options(whole: Whole, parts: Vec<Part>) -> Result<RunOptions, String> {
    let several = parts.len() > 1;
    let mut per_vm = whole.ranks_per_vm;
    let mut segments = Vec::new();
    for part in parts {
        if whole.layout.is_some() && !several {
            per_vm = per_vm.or(part.per_node);
        }
        let of_layout = whole.layout.filter(|_| !several);
        let of_layout = of_layout.map(|layout| layout.ranks(per_vm.unwrap_or(1)));
        // Beyond u32 it is beyond every limit: the launcher says which.
        let of_layout = of_layout.map(|ranks| u32::try_from(ranks).unwrap_or(u32::MAX));
        let given = part.ranks.or(of_layout).or(part.per_node).or(part.slots);
        segments.push(segment(part, given.or(per_vm).unwrap_or(1), &whole));
    }
    let total = segments.iter().map(|segment| u64::from(segment.ranks)).sum::<u64>();
    if several && segments.iter().any(|segment| segment.ranks == 0) {
        return Err("each program of a job has at least 1 rank: give -n 1 or more".to_owned());
    }
    let mut segments = segments.into_iter();
    let first = segments.next().unwrap_or_default();
    Ok(RunOptions {
        ranks: u32::try_from(total).unwrap_or(u32::MAX),
        layout: whole.layout,
        ranks_per_vm: per_vm.unwrap_or(1),
        program: first.program,
        args: first.args,
        env: first.env,
        inherit: first.inherit,
        directory: first.directory,
        more: segments.collect(),
        path: whole.path,
        tag_output: whole.tag,
        timeout: whole.timeout,
        quiet: whole.quiet,
        netns: whole.netns,
        capture_rank0: false,
    })
}

fn segment(part: Part, ranks: u32, whole: &Whole) -> Segment {
    let mut command = part.command.into_iter();
    Segment {
        ranks,
        program: command.next().unwrap_or_default(),
        args: command.collect(),
        env: whole.env.iter().cloned().chain(part.env).collect(),
        inherit: part.inherit.unwrap_or_else(|| whole.inherit.clone()),
        directory: part.directory,
    }
}

#[cfg(test)]
#[path = "mpiexec_tests.rs"]
mod tests;
