//! The options of `cohost run`, also in the spellings of MPICH's and Open MPI's `mpiexec`: one table,
//! from which arguments are read, help is written, and a misspelt option gets its nearest neighbour.

/// What an option asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Means {
    Ranks,
    PerNode,
    Layout,
    RanksPerVm,
    Path,
    Pmi,
    Netns,
    Tag,
    Hosts,
    HostFile,
    /// A name and a value, for all programs.
    EnvForAll,
    /// A name and a value, for this program.
    Env,
    /// `NAME` or `NAME=VALUE`, for this program.
    Export,
    /// All of the launcher's environment, for all programs.
    InheritAll,
    /// Nothing of it.
    InheritNone,
    /// These names of it.
    InheritList,
    /// The same three, for this program.
    OwnInheritAll,
    OwnInheritNone,
    OwnInheritList,
    Directory,
    Timeout,
    Quiet,
    Verbose,
    MapBy,
    /// Accepted, and has nothing to do here.
    Nothing,
    Help,
    Version,
}

/// One option: its names without dashes, the values that follow it, and what it does.
#[derive(Debug)]
pub(super) struct Spelling {
    pub(super) names: &'static [&'static str],
    pub(super) values: &'static [&'static str],
    pub(super) means: Means,
    pub(super) help: &'static str,
}

const fn option(
    names: &'static [&'static str],
    values: &'static [&'static str],
    means: Means,
    help: &'static str,
) -> Spelling {
    Spelling { names, values, means, help }
}

/// All of them, in the order of the help.
pub(super) const SPELLINGS: &[Spelling] = &[
    option(
        &["n", "np", "c", "ranks"],
        &["N"],
        Means::Ranks,
        "Number of ranks; without it that of the layout, otherwise 1",
    ),
    option(
        &["layout"],
        &["HxV"],
        Means::Layout,
        "Hosts and virtual machines on each, such as 2x4; without it all are on one host",
    ),
    option(
        &["ranks-per-vm"],
        &["R"],
        Means::RanksPerVm,
        "Ranks in each virtual machine [default: 1]",
    ),
    option(
        &["ppn", "N", "npernode", "perhost", "ranks-per-node"],
        &["R"],
        Means::PerNode,
        "With a layout, ranks in each virtual machine; without one, the number of ranks where -n is left out",
    ),
    option(&["path"], &["PATH"], Means::Path, "Paths the ranks may use: auto, ring or tcp"),
    option(&["pmi"], &["1|2"], Means::Pmi, "Version of PMI that the ranks use (both are served)"),
    option(
        &["netns"],
        &[],
        Means::Netns,
        "Put each host into a network namespace behind a 1 Gbit/s link (needs root)",
    ),
    option(
        &["tag-output", "l", "prepend-rank"],
        &[],
        Means::Tag,
        "Begin each line of output with the rank it comes from",
    ),
    option(&["wdir", "wd"], &["DIR"], Means::Directory, "Directory the program runs in"),
    option(
        &["x"],
        &["NAME[=VALUE]"],
        Means::Export,
        "Set a variable for the ranks of this program, or pass it on",
    ),
    option(
        &["env"],
        &["NAME", "VALUE"],
        Means::Env,
        "Set a variable for the ranks of this program",
    ),
    option(
        &["genv"],
        &["NAME", "VALUE"],
        Means::EnvForAll,
        "Set a variable for the ranks of all programs",
    ),
    option(
        &["genvall"],
        &[],
        Means::InheritAll,
        "Pass the whole environment on, as is done without it",
    ),
    option(&["genvnone"], &[], Means::InheritNone, "Pass no variable on"),
    option(&["genvlist"], &["NAME,..."], Means::InheritList, "Pass only these variables on"),
    option(&["envall"], &[], Means::OwnInheritAll, "As -genvall, for the ranks of this program"),
    option(&["envnone"], &[], Means::OwnInheritNone, "As -genvnone, for the ranks of this program"),
    option(
        &["envlist"],
        &["NAME,..."],
        Means::OwnInheritList,
        "As -genvlist, for the ranks of this program",
    ),
    option(
        &["timeout"],
        &["SECONDS"],
        Means::Timeout,
        "End the job with code 124 when it has run this long",
    ),
    option(
        &["hosts", "host", "H"],
        &["HOST[:N],..."],
        Means::Hosts,
        "This machine only; N is the number of ranks where -n is left out",
    ),
    option(
        &["hostfile", "f", "machinefile"],
        &["FILE"],
        Means::HostFile,
        "The same from a file, a host on each line",
    ),
    option(&["q", "quiet"], &[], Means::Quiet, "Do not say which rank ended the job, and how"),
    option(&["v", "verbose"], &[], Means::Verbose, "Say what is started"),
    option(
        &["map-by", "rank-by"],
        &["X"],
        Means::MapBy,
        "ppr:N:node is -ppn N; otherwise without effect",
    ),
    option(
        &["bind-to", "cpu-set", "cpu-list"],
        &["X"],
        Means::Nothing,
        "Without effect: ranks are not bound to cores",
    ),
    option(
        &["oversubscribe", "nooversubscribe", "use-hwthread-cpus", "report-bindings"],
        &[],
        Means::Nothing,
        "Without effect: more ranks than cores are always allowed",
    ),
    option(&["allow-run-as-root"], &[], Means::Nothing, "Without effect: root is always allowed"),
    option(
        &["mca", "gmca", "prtemca", "pmixmca"],
        &["NAME", "VALUE"],
        Means::Nothing,
        "Without effect: settings of Open MPI's own parts",
    ),
    option(
        &["launcher", "bootstrap", "rmk", "iface"],
        &["X"],
        Means::Nothing,
        "Without effect: no other machine is reached",
    ),
    option(&["help", "h"], &[], Means::Help, "Print this"),
    option(&["version", "V"], &[], Means::Version, "Print the version"),
];

/// An option as it was written: what it means, and a value that was joined to it.
#[derive(Debug)]
pub(super) struct Written<'a> {
    pub(super) spelling: &'static Spelling,
    pub(super) joined: Option<&'a str>,
}

/// Looks an argument up: `-name`, `--name`, `--name=value`, and `-n4`.
pub(super) fn look_up(argument: &str) -> Result<Written<'_>, String> {
    let name = argument.strip_prefix("--").or(argument.strip_prefix('-')).unwrap_or(argument);
    let (name, joined) = match name.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (name, None),
    };
    if let Some(spelling) = named(name) {
        if joined.is_some() && spelling.values.len() != 1 {
            return Err(format!("`{argument}`: this option takes no value after `=`"));
        }
        return Ok(Written { spelling, joined });
    }
    let number =
        argument.strip_prefix("-n").filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    if let (Some(spelling), Some(_)) = (named("n"), number) {
        return Ok(Written { spelling, joined: number });
    }
    let nearest = match nearest(name) {
        Some(nearest) => format!("the nearest is `{}`", dashed(nearest)),
        None => "no option is near it".to_owned(),
    };
    Err(format!("there is no option `{argument}`: {nearest}; --help lists all"))
}

fn named(name: &str) -> Option<&'static Spelling> {
    SPELLINGS.iter().find(|spelling| spelling.names.contains(&name))
}

/// Options usually written with two dashes, beside those with a dash inside.
const TWO_DASHES: &[&str] = &[
    "ranks",
    "layout",
    "path",
    "pmi",
    "netns",
    "timeout",
    "oversubscribe",
    "nooversubscribe",
    "quiet",
    "verbose",
    "help",
    "version",
];

/// As it is usually written.
pub(super) fn dashed(name: &str) -> String {
    let two = name.contains('-') || TWO_DASHES.contains(&name);
    if two { format!("--{name}") } else { format!("-{name}") }
}

/// The name that is fewest changes away, when that is not too many.
fn nearest(name: &str) -> Option<&'static str> {
    let names = SPELLINGS.iter().flat_map(|spelling| spelling.names.iter().copied());
    let close = names.map(|known| (changes(name, known), known)).min()?;
    (close.0 <= 1 + name.chars().count() / 3).then_some(close.1)
}

/// Letters to insert, remove or replace, and neighbours to swap, to make one word of the other.
fn changes(from: &str, to: &str) -> usize {
    // More letters than any option has say nothing more.
    let from: Vec<char> = from.chars().take(64).collect();
    let to: Vec<char> = to.chars().collect();
    let mut rows: Vec<Vec<usize>> = vec![(0..=to.len()).collect()];
    let cost = |rows: &[Vec<usize>], row: usize, column: usize| -> usize {
        rows.get(row).and_then(|row| row.get(column)).copied().unwrap_or(usize::MAX / 2)
    };
    for (i, letter) in from.iter().enumerate() {
        rows.push(vec![i + 1]);
        for (j, other) in to.iter().enumerate() {
            let replaced = cost(&rows, i, j) + usize::from(letter != other);
            let moved = (cost(&rows, i, j + 1) + 1).min(cost(&rows, i + 1, j) + 1);
            let pair =
                |word: &[char], at: usize| at.checked_sub(1).and_then(|b| word.get(b).copied());
            let swap = pair(&from, i) == Some(*other) && pair(&to, j) == Some(*letter);
            let swapped = if swap { cost(&rows, i - 1, j - 1) + 1 } else { usize::MAX };
            if let Some(row) = rows.last_mut() {
                row.push(replaced.min(moved).min(swapped));
            }
        }
    }
    cost(&rows, from.len(), to.len())
}

/// The table as text.
pub(super) fn help() -> String {
    let line = |spelling: &Spelling| {
        let names: Vec<String> = spelling.names.iter().map(|name| dashed(name)).collect();
        let values: String = spelling.values.iter().map(|value| format!(" {value}")).collect();
        format!("  {}{values}\n          {}\n", names.join(", "), spelling.help)
    };
    SPELLINGS.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn no_name_stands_for_two_options() {
        let mut names: Vec<_> = SPELLINGS.iter().flat_map(|spelling| spelling.names).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn options_are_known_in_every_usual_form() {
        for (written, means, joined) in [
            ("-np", Means::Ranks, None),
            ("--np", Means::Ranks, None),
            ("-n4", Means::Ranks, Some("4")),
            ("--layout=2x4", Means::Layout, Some("2x4")),
            ("-genv", Means::EnvForAll, None),
            ("--bind-to", Means::Nothing, None),
            ("-N", Means::PerNode, None),
        ] {
            let found = look_up(written).unwrap();
            assert_eq!((found.spelling.means, found.joined), (means, joined), "{written}");
        }
    }

    #[test]
    fn a_misspelt_option_gets_its_nearest_neighbour() {
        for (written, nearest) in [
            ("-gnev", "`-genv`"),
            ("--layuot", "`--layout`"),
            ("-hostfiel", "`-hostfile`"),
            ("--tag-outputs", "`--tag-output`"),
        ] {
            let error = look_up(written).unwrap_err();
            assert!(error.contains(written) && error.contains(nearest), "{error}");
        }
        assert!(look_up("--frobnicate-everything").unwrap_err().contains("--help"));
        assert!(look_up("--netns=yes").unwrap_err().contains("no value"));
    }

    proptest! {
        #[test]
        fn any_argument_is_an_option_or_an_error(argument in ".{0,80}") {
            let _ = look_up(&argument);
        }

        #[test]
        fn a_word_is_no_change_from_itself_and_one_from_its_neighbour(word in "[a-z]{1,12}") {
            prop_assert_eq!(changes(&word, &word), 0);
            prop_assert_eq!(changes(&word, &format!("{word}x")), 1);
            let swapped: String = format!("yx{word}");
            prop_assert_eq!(changes(&format!("xy{word}"), &swapped), 1);
        }
    }
}
