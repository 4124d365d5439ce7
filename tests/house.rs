//! The rules of the house, checked on the source and the documents themselves: which room may use
//! which, where `unsafe` may be and what must stand beside it, how long a file may be, and that the
//! documents speak of what exists. Each rule is also shown a bad sample that it must refuse.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "house/code.rs"]
mod code;
#[path = "house/documents.rs"]
mod documents;

use std::fs;
use std::path::{Path, PathBuf};

/// Longest file, in lines.
const LINES_MAX: usize = 700;

/// Every room and what it may use. Only what stands further down can be used, so there is no
/// circle. `cli` and `bench` see the library as any program does, through `mpi`.
const ROOMS: &[(&str, &[&str])] = &[
    ("main", &["cli"]),
    ("cli", &["bench", "report", "mpi", "launch", "detect", "region"]),
    ("bench", &["report", "mpi", "launch", "detect", "config", "proto", "region"]),
    ("report", &[]),
    (
        "mpi",
        &[
            "coll", "config", "progress", "proto", "link", "net", "region", "launch", "frame",
            "tally",
        ],
    ),
    ("coll", &[]),
    ("config", &["proto", "link", "net", "region"]),
    ("progress", &["proto", "link", "net", "doorbell", "frame", "tally"]),
    ("proto", &["frame", "tally"]),
    ("link", &["ring", "net", "doorbell", "region", "frame", "tally"]),
    ("ring", &["region", "frame"]),
    ("net", &[]),
    ("doorbell", &["region"]),
    ("region", &[]),
    ("frame", &[]),
    ("tally", &[]),
    ("launch", &[]),
    ("detect", &[]),
];

/// What `lib.rs` offers at the top, and the room it is from.
const AT_THE_TOP: &[&str] =
    &["Communicator", "Error", "Job", "Op", "Source", "Status", "Tag", "init"];

/// Rooms of safe code only.
const SAFE: &[&str] = &["proto", "ring"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files under `folder` with this extension, sorted.
fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, extension));
        } else if path.extension().is_some_and(|it| it == extension) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Every source file as its path from `src`, with its text.
fn sources() -> Vec<(String, String)> {
    let src = root().join("src");
    let all: Vec<_> = files(&src, "rs")
        .into_iter()
        .map(|path| {
            let name = path.strip_prefix(&src).unwrap().display().to_string();
            (name, fs::read_to_string(&path).unwrap())
        })
        .collect();
    assert!(all.len() > 50, "the sources were not found");
    all
}

/// The same for the crates that boot guests and that have the C interface.
fn lab_sources() -> Vec<(String, String)> {
    let read = |path: PathBuf| (path.display().to_string(), fs::read_to_string(&path).unwrap());
    ["lab", "ffi"].iter().flat_map(|it| files(&root().join(it), "rs")).map(read).collect()
}

/// `ring/cell.rs` is of the room `ring`, `frame.rs` of `frame`.
fn room_of(name: &str) -> &str {
    name.split('/').next().unwrap().trim_end_matches(".rs")
}

/// What is wrong with each file's uses of other rooms.
fn wrong_uses(name: &str, text: &str) -> Vec<String> {
    let room = room_of(name);
    let Some((_, allowed)) = ROOMS.iter().find(|(it, _)| *it == room) else {
        return vec![format!("{name}: the room {room} is not in the table of tests/house.rs")];
    };
    let mut wrong = Vec::new();
    for used in code::rooms_used(text) {
        let used = if AT_THE_TOP.contains(&used.as_str()) { "mpi" } else { &used };
        if used != room && !allowed.contains(&used) {
            wrong.push(format!("{name} uses {used}, which {room} may not"));
        }
    }
    wrong
}

fn assert_none(wrong: &[String]) {
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn rooms_use_only_what_stands_below_them() {
    for (at, (room, allowed)) in ROOMS.iter().enumerate() {
        for used in *allowed {
            let below = ROOMS[at + 1..].iter().any(|(it, _)| it == used);
            assert!(below, "the table lets {room} use {used}, which does not stand below it");
        }
    }
    let all: Vec<_> = sources()
        .iter()
        .filter(|(name, _)| name != "lib.rs")
        .flat_map(|(name, text)| wrong_uses(name, text))
        .collect();
    assert_none(&all);
}

#[test]
fn a_wrong_use_is_found_in_every_form_and_not_in_comments() {
    for bad in [
        "use crate::link::Links;",
        "pub(super) use crate::{frame::Header, net::{Net, Sink}};",
        "fn f(x: crate::region::Identity) {}",
        "use crate::{\n    mpi,\n};",
        "use crate::Communicator;",
    ] {
        assert_eq!(wrong_uses("proto/x.rs", bad).len(), 1, "{bad}");
    }
    for good in [
        "use crate::frame::{Header, Kind};",
        "//! See [`crate::link`].\n/* crate::net */ use crate::proto::Key;",
        "const TEXT: &str = \"crate::net\";",
        "macro_rules! m { () => { $crate::frame::Kind } }",
    ] {
        assert_none(&wrong_uses("proto/x.rs", good));
    }
    assert_eq!(wrong_uses("attic.rs", "").len(), 1);
}

/// Complaints about a room of safe code; `text` is its `mod.rs`.
fn not_forbidden(room: &str, text: &str) -> Vec<String> {
    let forbids = code::without_comments(text).contains("#![forbid(unsafe_code)]");
    if forbids { Vec::new() } else { vec![format!("{room} does not forbid unsafe code")] }
}

#[test]
fn the_protocol_and_the_rings_are_safe_code() {
    for room in SAFE {
        let text = fs::read_to_string(root().join("src").join(room).join("mod.rs")).unwrap();
        assert_none(&not_forbidden(room, &text));
    }
    assert_eq!(not_forbidden("x", "// #![forbid(unsafe_code)]\n").len(), 1);
}

/// The parts of the standard library that would bring I/O or a clock.
fn outside_world(name: &str, text: &str) -> Vec<String> {
    let code = code::without_comments(text);
    ["time", "net", "io", "fs", "os", "thread", "process", "env"]
        .iter()
        .filter(|part| code::uses_std(&code, part))
        .map(|part| format!("{name} uses std::{part}"))
        .collect()
}

#[test]
fn the_protocol_has_no_clock_and_no_input_or_output() {
    let all: Vec<_> = sources()
        .iter()
        .filter(|(name, _)| room_of(name) == "proto")
        .flat_map(|(name, text)| outside_world(name, text))
        .collect();
    assert_none(&all);
    for bad in ["use std::time::Instant;", "use std::{fmt, io::Read};", "x(std::net::TcpStream)"] {
        assert_eq!(outside_world("x", bad).len(), 1, "{bad}");
    }
    assert_none(&outside_world("x", "use std::iter; // std::io\nuse std::{fmt, sync::Arc};"));
}

#[test]
fn whatever_is_unsafe_says_why_it_is_sound() {
    let mut all = Vec::new();
    for (name, text) in sources().iter().chain(&lab_sources()) {
        all.extend(code::unexplained_unsafe(name, text));
    }
    assert_none(&all);
    for bad in [
        "fn f() { unsafe { g() } }",
        "unsafe impl Send for X {}",
        "// SAFETY: far away\n\n\n\n\n\nlet x = unsafe { g() };",
        "let x = unsafe\n{ g() };",
    ] {
        assert_eq!(code::unexplained_unsafe("x", bad).len(), 1, "{bad}");
    }
    for good in [
        "// SAFETY: because.\nlet x =\n    unsafe { g() };",
        "// not unsafe { at all }",
        "let s = \"unsafe { }\";",
        "unsafe fn f() {}",
    ] {
        assert_none(&code::unexplained_unsafe("x", good));
    }
}

fn too_long(name: &str, text: &str) -> Option<String> {
    let lines = text.lines().count();
    (lines > LINES_MAX).then(|| format!("{name} has {lines} lines: divide it by concept"))
}

#[test]
fn files_fit_in_the_head() {
    let long: Vec<_> = sources()
        .iter()
        .chain(&lab_sources())
        .filter_map(|(name, text)| too_long(name, text))
        .collect();
    assert_none(&long);
    assert!(too_long("x", &"\n".repeat(LINES_MAX)).is_none());
    assert!(too_long("x", &"\n".repeat(LINES_MAX + 1)).is_some());
}

/// The documents, and every source, whose comments name files too.
fn documents() -> Vec<PathBuf> {
    let mut all = files(&root().join("docs"), "md");
    all.extend(["README.md", "CHANGELOG.md"].map(|name| root().join(name)));
    all.extend(files(&root().join("tests"), "md"));
    assert!(all.len() > 5, "the documents were not found");
    all
}

/// Every function of the sources and tests, as one text of lines `fn name`.
fn all_functions() -> String {
    let folders = ["src", "tests", "lab", "ffi"].map(|folder| files(&root().join(folder), "rs"));
    let texts = folders.iter().flatten().map(|path| fs::read_to_string(path).unwrap());
    texts.map(|text| code::functions(&text)).collect()
}

#[test]
fn documents_name_only_files_and_tests_that_exist() {
    let tests = all_functions();
    let mut wrong = Vec::new();
    for path in documents() {
        let text = fs::read_to_string(&path).unwrap();
        wrong.extend(documents::dead_links(root(), &path, &text));
        wrong.extend(documents::missing_files(root(), &path, &text));
        wrong.extend(documents::missing_tests(&path, &text, &tests));
    }
    for path in files(&root().join("src"), "rs") {
        let text = fs::read_to_string(&path).unwrap();
        wrong.extend(documents::missing_files(root(), &path, &text));
    }
    assert_none(&wrong);
}

#[test]
fn a_dead_link_and_a_missing_file_are_found() {
    let here = root().join("README.md");
    assert_eq!(documents::dead_links(root(), &here, "see [x](docs/NOTHING.md#a)").len(), 1);
    assert_eq!(
        documents::dead_links(root(), &here, "[x](LICENSE) [y](https://example.org)"),
        [""; 0]
    );
    assert_eq!(documents::missing_files(root(), &here, "in `src/nothing.rs`, or").len(), 1);
    let functions = code::functions("#[test]\n    fn a_claim_that_is_made() {}");
    assert_eq!(documents::missing_tests(&here, "`a_claim_nobody_ever_made`", &functions).len(), 1);
    assert_eq!(documents::missing_tests(&here, "`a_claim_that_is_made`", &functions), [""; 0]);
    assert_eq!(documents::missing_files(root(), &here, "`src/lib.rs` and `tests/`"), [""; 0]);
}

#[test]
fn the_protocol_is_described_with_the_limits_of_the_code() {
    let code = fs::read_to_string(root().join("src/progress/mod.rs")).unwrap();
    let page = fs::read_to_string(root().join("docs/PROTOCOL.md")).unwrap();
    let ring = documents::limits_kib(&code, "RING_LIMITS");
    let tcp = documents::limits_kib(&code, "TCP_LIMITS");
    let missing = documents::missing_limits(&page, ring, tcp);
    assert_none(&missing);
    let [eager, others @ ..] = ring;
    let [head, least, most] = others;
    assert_eq!(documents::missing_limits(&page, [eager + 1, head, least, most], tcp).len(), 1);
    assert_eq!(documents::missing_limits(&page, [eager, head, least + 1, most], tcp).len(), 1);
}

#[test]
fn the_readme_and_the_command_know_the_same_commands() {
    let help = documents::help();
    let commands = documents::commands(&help);
    assert!(commands.contains(&"bench".to_owned()), "{help}");
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    assert_none(&documents::unknown_commands(&readme, &commands));
    for command in commands.iter().filter(|command| *command != "help") {
        let named = readme.contains(&format!("| `cohost {command}"));
        assert!(named, "the README's table lacks `cohost {command}`");
    }
    let bad = "run `cohost frobnicate --now`";
    assert_eq!(documents::unknown_commands(bad, &commands).len(), 1);
}
