//! Reading Rust source just well enough to judge it: without comments, strings and characters.

/// How far above an `unsafe` its explanation may begin, in lines.
const SAFETY_LINES: usize = 4;

/// The source with comments and the insides of literals as blanks; lines stay where they are.
pub fn without_comments(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let end = match &bytes[at..] {
            [b'/', b'/', ..] => at + find(&bytes[at..], b"\n"),
            [b'/', b'*', ..] => block_end(bytes, at),
            [b'r', b'"' | b'#', ..] if !is_word(out.last()) => raw_end(bytes, at),
            [b'"', ..] => string_end(bytes, at),
            [b'\'', b'\\', ..] => at + 3 + find(&bytes[at + 3..], b"'") + 1,
            [b'\'', _, b'\'', ..] => at + 3,
            _ => {
                out.push(bytes[at]);
                at += 1;
                continue;
            }
        };
        let end = end.min(bytes.len());
        out.extend(bytes[at..end].iter().map(|byte| if *byte == b'\n' { b'\n' } else { b' ' }));
        at = end;
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn is_word(byte: Option<&u8>) -> bool {
    byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
}

/// Where `what` begins, or the end.
fn find(bytes: &[u8], what: &[u8]) -> usize {
    bytes.windows(what.len()).position(|window| window == what).unwrap_or(bytes.len())
}

fn block_end(bytes: &[u8], from: usize) -> usize {
    let (mut depth, mut at) = (0, from);
    while at < bytes.len() {
        match &bytes[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] if depth == 1 => return at + 2,
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
    }
    at
}

/// `r"..."` and `r#"..."#`; `r#name` is a word and ends at once.
fn raw_end(bytes: &[u8], from: usize) -> usize {
    let hashes = bytes[from + 1..].iter().take_while(|byte| **byte == b'#').count();
    let open = from + 1 + hashes;
    if bytes.get(open) != Some(&b'"') {
        return open;
    }
    let close = [b"\"".as_slice(), &vec![b'#'; hashes]].concat();
    open + 1 + find(&bytes[open + 1..], &close) + close.len()
}

fn string_end(bytes: &[u8], from: usize) -> usize {
    let mut at = from + 1;
    while at < bytes.len() && bytes[at] != b'"' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    at + 1
}

/// First words of all paths that begin with `crate::`, groups included.
pub fn rooms_used(text: &str) -> Vec<String> {
    let code = without_comments(text);
    let mut rooms = Vec::new();
    for (at, prefix) in code.match_indices("crate::") {
        let before = code[..at].bytes().last();
        if before == Some(b'$') || is_word(before.as_ref()) {
            continue;
        }
        rooms.extend(heads(&code[at + prefix.len()..]));
    }
    rooms.sort();
    rooms.dedup();
    rooms
}

/// The first word of a path, or those of all paths of a group in braces.
fn heads(path: &str) -> Vec<String> {
    let path = path.trim_start();
    let Some(group) = path.strip_prefix('{') else {
        let word = path.bytes().take_while(|byte| is_word(Some(byte))).count();
        return vec![path[..word].to_owned()];
    };
    let (mut depth, mut start, mut found) = (0, 0, Vec::new());
    for (at, byte) in group.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b',' | b'}' if depth == 0 => {
                found.extend(heads(&group[start..at]).into_iter().filter(|word| !word.is_empty()));
                start = at + 1;
                if byte == b'}' {
                    break;
                }
            }
            b'}' => depth -= 1,
            _ => {}
        }
    }
    found
}

/// Whether code (without comments) names `std::part`, also in a group.
pub fn uses_std(code: &str, part: &str) -> bool {
    code.match_indices("std::").any(|(at, prefix)| {
        !is_word(code[..at].bytes().last().as_ref())
            && heads(&code[at + prefix.len()..]).iter().any(|head| head == part)
    })
}

/// Each `unsafe` block or `impl` without a `SAFETY:` comment shortly above.
pub fn unexplained_unsafe(name: &str, text: &str) -> Vec<String> {
    let code = without_comments(text);
    let lines: Vec<&str> = text.lines().collect();
    let mut wrong = Vec::new();
    for (at, word) in code.match_indices("unsafe") {
        let after = code[at + word.len()..].trim_start();
        let is_word_itself = !is_word(code[..at].bytes().last().as_ref());
        if !is_word_itself || !(after.starts_with('{') || after.starts_with("impl")) {
            continue;
        }
        let line = code[..at].matches('\n').count();
        let near = &lines[line.saturating_sub(SAFETY_LINES)..=line];
        if !near.iter().any(|line| line.contains("SAFETY:")) {
            wrong.push(format!("{name}:{}: unsafe without a SAFETY comment", line + 1));
        }
    }
    wrong
}

/// The names of all functions, one on each line.
pub fn functions(text: &str) -> String {
    let code = without_comments(text);
    let names = code.split("fn ").skip(1).map(|rest| rest.split(['(', '<']).next());
    names.flatten().map(|name| format!("{}\n", name.trim())).collect()
}
