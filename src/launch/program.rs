//! The programs of a job: usually one for all ranks, sometimes several (MPMD).

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use super::LaunchError;
use super::run::RunOptions;

/// A program, and the ranks that run it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    /// Number of its ranks, at least 1.
    pub ranks: u32,
    /// The program: a path with a slash, or a name to be found along `PATH`.
    pub program: OsString,
    /// Its arguments, without the program's name.
    pub args: Vec<OsString>,
    /// Variables added to what its ranks inherit, later ones winning.
    pub env: Vec<(OsString, OsString)>,
    /// What its ranks inherit.
    pub inherit: Inherit,
    /// The directory it runs in; `None`: the launcher's. A program with a slash is looked for there.
    pub directory: Option<PathBuf>,
}

/// Variables of the launcher's environment that ranks get.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Inherit {
    /// All but those of another launcher.
    #[default]
    All,
    /// These only, as far as they are set.
    Only(Vec<OsString>),
}

impl Inherit {
    pub(super) fn passes(&self, name: &OsStr) -> bool {
        match self {
            Self::All => true,
            Self::Only(names) => names.iter().any(|it| it == name),
        }
    }
}

/// All programs of these options, the first one with the ranks that the others leave.
pub(super) fn segments(options: &RunOptions) -> Result<Vec<Segment>, LaunchError> {
    let others: u64 = options.more.iter().map(|segment| u64::from(segment.ranks)).sum();
    let first = u64::from(options.ranks).checked_sub(others).filter(|first| *first > 0);
    let every = options.more.iter().all(|segment| segment.ranks > 0);
    let (Some(first), true) = (first, every) else {
        let why = "each program of a job has at least 1 rank: give -n 1 or more".to_owned();
        return Err(LaunchError::RankCount { asked: u64::from(options.ranks), why });
    };
    let first = Segment {
        // At most `options.ranks`.
        ranks: first as u32,
        program: options.program.clone(),
        args: options.args.clone(),
        env: options.env.clone(),
        inherit: options.inherit.clone(),
        directory: options.directory.clone(),
    };
    Ok(std::iter::once(first).chain(options.more.iter().cloned()).collect())
}

/// For each rank, which of the programs it runs.
pub(super) fn by_rank(segments: &[Segment]) -> Vec<usize> {
    let numbered = segments.iter().enumerate();
    numbered.flat_map(|(at, segment)| (0..segment.ranks).map(move |_| at)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(ranks: u32, more: &[u32]) -> RunOptions {
        let segment = |ranks: &u32| Segment { ranks: *ranks, ..Default::default() };
        RunOptions { ranks, more: more.iter().map(segment).collect(), ..Default::default() }
    }

    #[test]
    fn ranks_are_counted_through_all_programs() {
        let all = segments(&options(6, &[2, 1])).unwrap();
        assert_eq!(by_rank(&all), [0, 0, 0, 1, 1, 2]);
        assert_eq!(by_rank(&segments(&options(2, &[])).unwrap()), [0, 0]);
    }

    #[test]
    fn a_program_without_ranks_is_refused() {
        for (ranks, more) in [(0, &[][..]), (2, &[2]), (2, &[0]), (1, &[u32::MAX, u32::MAX])] {
            assert!(segments(&options(ranks, more)).unwrap_err().is_usage());
        }
    }
}
