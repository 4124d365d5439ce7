//! What documents name: links, files and commands.

use std::path::Path;
use std::process::Command;

/// Folders whose files documents speak of.
const FOLDERS: &[&str] = &["src/", "tests/", "docs/", "benches/", "lab/", "ffi/", ".ci/"];

/// Links of a document to files that are not there.
pub fn dead_links(root: &Path, document: &Path, text: &str) -> Vec<String> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
    let files = targets
        .map(|(target, _)| target.split('#').next().unwrap_or_default())
        .filter(|target| !target.is_empty() && !target.contains("://"));
    let folder = document.parent().unwrap_or(root);
    files
        .filter(|target| !folder.join(target).exists())
        .map(|target| format!("{} links to {target}, which is not there", document.display()))
        .collect()
}

/// Files named between backticks by their path from the root that are not there.
pub fn missing_files(root: &Path, document: &Path, text: &str) -> Vec<String> {
    // Per line: a block of code begins with backticks too.
    let spans = text.lines().flat_map(|line| line.split('`').skip(1).step_by(2));
    spans
        .filter(|span| FOLDERS.iter().any(|folder| span.starts_with(folder)))
        .filter(|span| !span.contains(['*', ' ', '<', '{', '$']))
        .filter(|span| !root.join(span).exists())
        .map(|span| format!("{} names {span}, which is not there", document.display()))
        .collect()
}

/// Words between backticks that read like a test's name (four words or more) and are none.
pub fn missing_tests(document: &Path, text: &str, functions: &str) -> Vec<String> {
    let spans = text.lines().flat_map(|line| line.split('`').skip(1).step_by(2));
    spans
        .filter(|span| span.matches('_').count() >= 3)
        .filter(|span| span.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_')))
        .filter(|span| !functions.lines().any(|name| name == *span))
        .map(|span| format!("{} names the test {span}, which is not there", document.display()))
        .collect()
}

/// Eager, head, least and most piece in KiB, from the constant of this name.
pub fn limits_kib(code: &str, name: &str) -> [u64; 4] {
    let (_, from) = code.split_once(&format!("const {name}")).unwrap();
    let (body, _) = from.split_once(';').unwrap();
    let shifts = body.split(" << 10").filter_map(|part| {
        let digits: String = part.chars().rev().take_while(char::is_ascii_digit).collect();
        digits.chars().rev().collect::<String>().parse().ok()
    });
    shifts.collect::<Vec<u64>>().try_into().unwrap()
}

/// Rows of the table of limits that the page lacks.
pub fn missing_limits(page: &str, ring: [u64; 4], tcp: [u64; 4]) -> Vec<String> {
    let ([eager, head, least, most], [eager_t, head_t, least_t, most_t]) = (ring, tcp);
    let rows = [
        format!("| {eager} KiB | {eager_t} KiB |"),
        format!("| {head} KiB | {head_t} KiB |"),
        format!("| {least} to {most} KiB | {least_t} to {most_t} KiB |"),
    ];
    rows.into_iter().filter(|row| !page.contains(row)).collect()
}

/// What the command says of itself.
pub fn help() -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_cohost")).arg("--help").output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The commands that its help lists: words that begin a line by two blanks.
pub fn commands(help: &str) -> Vec<String> {
    let listed = help.lines().skip_while(|line| !line.starts_with("Commands:")).skip(1);
    listed
        .take_while(|line| !line.is_empty())
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .map(str::to_owned)
        .collect()
}

/// Words after `cohost` in spans and blocks of code that are no command.
pub fn unknown_commands(text: &str, commands: &[String]) -> Vec<String> {
    let spans = text.lines().flat_map(|line| line.split('`').skip(1).step_by(2));
    let calls = spans.chain(text.lines().filter_map(|line| line.strip_prefix("$ ")));
    let words = calls.flat_map(|call| {
        let words: Vec<&str> = call.split_whitespace().collect();
        let pairs = words.windows(2).filter(|pair| pair[0] == "cohost");
        pairs.map(|pair| pair[1].to_owned()).collect::<Vec<_>>()
    });
    words
        .filter(|word| !word.starts_with('-') && !commands.contains(word))
        .map(|word| format!("there is no command `cohost {word}`"))
        .collect()
}
