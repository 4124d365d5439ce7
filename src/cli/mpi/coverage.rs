//! What of MPI 5.0 is supported: from the page that is made of the source.

use std::fmt::Write as _;

use serde::Serialize;

const PAGE: &str = include_str!("../../../docs/MPI-COVERAGE.md");

/// A call and whether it is supported.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Call {
    name: String,
    chapter: String,
    supported: bool,
}

#[derive(Serialize)]
struct Document {
    schema: &'static str,
    calls: Vec<Call>,
}

/// The list, for readers or as JSON.
pub fn text(json: bool) -> Result<String, String> {
    let calls = calls(PAGE);
    if json {
        let document = Document { schema: "cohost-mpi-coverage/1", calls };
        return serde_json::to_string_pretty(&document)
            .map(|text| text + "\n")
            .map_err(|error| format!("the list cannot be written as JSON: {error}"));
    }
    let have = calls.iter().filter(|call| call.supported).count();
    let mut text = format!("{have} of {} calls of MPI 5.0 are supported.\n", calls.len());
    let missing: Vec<_> = calls.iter().filter(|call| !call.supported).collect();
    for of_chapter in missing.chunk_by(|one, other| one.chapter == other.chapter) {
        let _ = writeln!(text, "\n{}, not supported:", of_chapter[0].chapter);
        for call in of_chapter {
            let _ = writeln!(text, "  {}", call.name);
        }
    }
    Ok(text)
}

/// Reads the page: chapters are headings, lists begin with whether they are supported.
fn calls(page: &str) -> Vec<Call> {
    let (mut chapter, mut calls) = ("", Vec::new());
    for line in page.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            chapter = title;
        }
        let Some((head, names)) = line.split_once(": ") else { continue };
        let supported = match head {
            "Supported" => true,
            "Not supported" => false,
            _ => continue,
        };
        for name in names.split(", ").map(|name| name.trim_matches('`')) {
            let (plain, large) =
                name.strip_suffix("[_c]").map_or((name, false), |plain| (plain, true));
            let forms = [(true, plain.to_owned()), (large, format!("{plain}_c"))];
            let present = forms.into_iter().filter(|(is, _)| *is);
            calls.extend(present.map(|(_, name)| Call {
                name,
                chapter: chapter.to_owned(),
                supported,
            }));
        }
    }
    calls
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_lists_every_call_of_the_standard_once() {
        let mut names: Vec<_> = calls(PAGE).into_iter().map(|call| call.name).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), 664);
    }

    #[test]
    fn a_name_with_two_forms_is_two_calls() {
        let page = "## Point\n\nSupported: `MPI_A`\n\nNot supported: `MPI_B[_c]`, `MPI_C`\n";
        let found: Vec<_> =
            calls(page).into_iter().map(|call| (call.name, call.supported)).collect();
        let expected = [("MPI_A", true), ("MPI_B", false), ("MPI_B_c", false), ("MPI_C", false)];
        assert_eq!(found, expected.map(|(name, is)| (name.to_owned(), is)));
        assert_eq!(calls(page)[0].chapter, "Point");
    }
}
