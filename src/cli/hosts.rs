//! Lists of hosts: this machine is the only one that ranks are started on.

use std::path::Path;

/// This machine's own names.
pub(super) fn own_names() -> Vec<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    let short = name.split('.').next().unwrap_or_default();
    let mut names: Vec<String> =
        ["localhost", "127.0.0.1", "::1", name, short].map(str::to_owned).to_vec();
    names.retain(|name| !name.is_empty());
    names.dedup();
    names
}

/// Ranks that a list such as `localhost:2,127.0.0.1` has places for; `None` when it gives no number.
pub(super) fn slots(list: &str, own: &[String]) -> Result<Option<u32>, String> {
    let mut sum = None;
    for entry in list.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
        let (host, slots) = divide(entry);
        check(host, own)?;
        sum = add(sum, slots);
    }
    Ok(sum)
}

/// The same from the text of a file, as MPICH (`host:2`) and Open MPI (`host slots=2`) have it.
pub(super) fn slots_of_text(text: &str, own: &[String]) -> Result<Option<u32>, String> {
    let mut sum = None;
    for line in text.lines().map(|line| line.split('#').next().unwrap_or_default()) {
        let mut words = line.split_whitespace();
        let Some(entry) = words.next() else { continue };
        let (host, mut slots) = divide(entry);
        check(host, own)?;
        for word in words {
            if let Some(number) = word.strip_prefix("slots=") {
                let bad = || format!("`{}`: {number} is no number of slots", line.trim());
                slots = Some(number.parse().map_err(|_| bad())?);
            }
        }
        sum = add(sum, slots);
    }
    Ok(sum)
}

/// The same from a file.
pub(super) fn slots_of_file(path: &Path, own: &[String]) -> Result<Option<u32>, String> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("cannot read the list of hosts {}: {error}", path.display()))?;
    slots_of_text(&text, own).map_err(|reason| format!("{}: {reason}", path.display()))
}

/// `host:4` as host and number.
fn divide(entry: &str) -> (&str, Option<u32>) {
    if entry == "::1" {
        return (entry, None);
    }
    match entry.rsplit_once(':').map(|(host, number)| (host, number.parse())) {
        Some((host, Ok(number))) => (host, Some(number)),
        _ => (entry, None),
    }
}

fn add(sum: Option<u32>, slots: Option<u32>) -> Option<u32> {
    match (sum, slots) {
        (Some(a), Some(b)) => Some(u32::saturating_add(a, b)),
        (a, b) => a.or(b),
    }
}

fn check(host: &str, own: &[String]) -> Result<(), String> {
    if own.iter().any(|name| name.eq_ignore_ascii_case(host)) {
        return Ok(());
    }
    Err(format!(
        "host `{host}` is not this machine ({}), and cohost's launcher starts ranks on this machine \
         only: for others use `srun --mpi=pmi2`, `prterun` or MPICH's `mpiexec.hydra`, under which \
         the same programs run",
        own.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn own() -> Vec<String> {
        ["localhost", "::1", "box.example", "box"].map(str::to_owned).to_vec()
    }

    #[test]
    fn this_machine_is_known_by_all_its_names() {
        assert_eq!(slots("localhost", &own()), Ok(None));
        assert_eq!(slots("BOX:2,box.example:3,::1", &own()), Ok(Some(5)));
        assert!(own_names().contains(&"localhost".to_owned()));
        let text = "# comment\nlocalhost slots=2 max_slots=4\n\nbox:3 # more\n";
        assert_eq!(slots_of_text(text, &own()), Ok(Some(5)));
    }

    #[test]
    fn another_machine_is_refused_with_what_there_is() {
        for error in [slots("box,node7", &own()), slots_of_text("node7:2\n", &own())] {
            let error = error.unwrap_err();
            for word in ["node7", "localhost", "box", "srun", "prterun", "mpiexec.hydra"] {
                assert!(error.contains(word), "{error}");
            }
        }
        assert!(slots_of_text("box slots=many", &own()).unwrap_err().contains("many"));
        assert!(slots_of_file(Path::new("/no/such"), &own()).unwrap_err().contains("/no/such"));
    }

    proptest! {
        #[test]
        fn any_list_gives_a_number_or_an_error(text in "[a-z0-9:,=# \\n]{0,60}") {
            let _ = (slots(&text, &own()), slots_of_text(&text, &own()));
        }
    }
}
