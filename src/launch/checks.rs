//! What is checked before anything is started: numbers, limits, the program.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::run::RunOptions;
use super::{LaunchError, Layout, sys};

/// Most ranks one launcher starts.
pub const MAX_RANKS: u32 = 1024;

/// Checks numbers against each other and against the limits; the layout in force.
pub(super) fn check_shape(options: &RunOptions) -> Result<Layout, LaunchError> {
    let (ranks, per_vm) = (options.ranks, options.ranks_per_vm);
    if per_vm == 0 {
        let why = "--ranks-per-vm must be at least 1".to_owned();
        return Err(LaunchError::RankCount { asked: 0, why });
    }
    let expected = options.layout.map(|layout| (layout, layout.ranks(per_vm)));
    check_count(expected.map_or(u64::from(ranks), |(_, expected)| expected.max(ranks.into())))?;
    if ranks == 0 {
        check_count(0)?;
    }
    match expected {
        Some((layout, expected)) if expected != u64::from(ranks) => {
            Err(LaunchError::LayoutMismatch {
                layout,
                ranks_per_vm: per_vm,
                expected,
                asked: ranks,
            })
        }
        Some((layout, _)) => Ok(layout),
        None if !ranks.is_multiple_of(per_vm) => {
            Err(LaunchError::Uneven { ranks, ranks_per_vm: per_vm })
        }
        None => Ok(Layout { hosts: 1, vms: ranks / per_vm }),
    }
}

/// Refuses a number of ranks outside 1..=[`MAX_RANKS`].
fn check_count(asked: u64) -> Result<(), LaunchError> {
    if asked == 0 {
        let why = "a job has at least 1 rank: give -n 1 or more".to_owned();
        return Err(LaunchError::RankCount { asked, why });
    }
    if asked <= u64::from(MAX_RANKS) {
        return Ok(());
    }
    let files = sys::limit(libc::RLIMIT_NOFILE).map_or(0, |limit| limit.rlim_max);
    let processes = sys::limit(libc::RLIMIT_NPROC).map_or(0, |limit| limit.rlim_cur);
    let why = format!(
        "one launcher starts at most {MAX_RANKS}; this machine's limits allow {} by open files \
         (RLIMIT_NOFILE {}) and {} by processes (RLIMIT_NPROC {})",
        readable(files.saturating_sub(SPARE_FILES) / FILES_PER_RANK),
        readable(files),
        readable(processes.saturating_sub(2)),
        readable(processes),
    );
    Err(LaunchError::RankCount { asked, why })
}

/// A limit, where the greatest numbers mean that there is none.
fn readable(limit: u64) -> String {
    match limit > 1 << 40 {
        true => "unlimited".to_owned(),
        false => limit.to_string(),
    }
}

/// Descriptors the launcher opens for each rank: both ends of PMI, standard output and error.
const FILES_PER_RANK: u64 = 6;

/// Descriptors for everything else: the keeper, signals, standard streams, the program that
/// calls [`super::run`].
const SPARE_FILES: u64 = 128;

/// Sees to it that `ranks` ranks and `namespaces` network namespaces do not run into the limits of this process; the limit of open files
/// that the ranks themselves shall have (the one in force before).
pub(super) fn make_room(ranks: u32, namespaces: u32) -> Result<libc::rlimit, LaunchError> {
    let asked = u64::from(ranks);
    let processes =
        sys::limit(libc::RLIMIT_NPROC).map_err(LaunchError::system("reading RLIMIT_NPROC"))?;
    if !sys::is_root() && processes.rlim_cur < asked + 2 {
        let limit = processes.rlim_cur;
        let why = format!("RLIMIT_NPROC allows {limit} processes: raise it with ulimit -u");
        return Err(LaunchError::RankCount { asked, why });
    }
    let before =
        sys::limit(libc::RLIMIT_NOFILE).map_err(LaunchError::system("reading RLIMIT_NOFILE"))?;
    let spare = SPARE_FILES + u64::from(namespaces);
    let needed = asked * FILES_PER_RANK + spare;
    if before.rlim_max < needed {
        let why = format!(
            "they need {needed} open files, RLIMIT_NOFILE allows {}: raise it with ulimit -Hn, or \
             start at most {}",
            before.rlim_max,
            before.rlim_max.saturating_sub(spare) / FILES_PER_RANK
        );
        return Err(LaunchError::RankCount { asked, why });
    }
    if before.rlim_cur < needed {
        let raised = libc::rlimit { rlim_cur: needed, rlim_max: before.rlim_max };
        sys::set_limit(libc::RLIMIT_NOFILE, &raised)
            .map_err(LaunchError::system("raising RLIMIT_NOFILE"))?;
    }
    Ok(before)
}

/// The path of `program`, found as a shell in `directory` would, and known to be executable.
pub(super) fn find_program(
    program: &OsStr,
    directory: Option<&Path>,
) -> Result<PathBuf, LaunchError> {
    let name = program.to_string_lossy().into_owned();
    if let Some(directory) = directory.filter(|it| !it.is_dir()) {
        let directory = directory.display().to_string();
        return Err(LaunchError::NoDirectory { directory });
    }
    // The rank changes into its directory before it becomes the program.
    let absolute = |path: PathBuf| std::path::absolute(&path).unwrap_or(path);
    if program.is_empty() {
        let searched = "its name is empty".to_owned();
        return Err(LaunchError::ProgramNotFound { program: name, searched });
    }
    if program.as_bytes().contains(&b'/') {
        let path = absolute(directory.unwrap_or(Path::new("")).join(program));
        return match executable(&path) {
            Ok(true) => Ok(path),
            Ok(false) => Err(LaunchError::NotExecutable {
                program: name,
                reason: "it is a directory or lacks execute permission".to_owned(),
            }),
            Err(error) => {
                let searched = error.to_string();
                Err(LaunchError::ProgramNotFound { program: name, searched })
            }
        };
    }
    let search = std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
    std::env::split_paths(&search)
        .map(|folder| absolute(folder.join(program)))
        .find(|path| matches!(executable(path), Ok(true)))
        .ok_or_else(|| LaunchError::ProgramNotFound {
            program: name.clone(),
            searched: format!(
                "PATH is {}; for a file of this folder write ./{name}",
                search.display()
            ),
        })
}

/// Is `path` a file somebody may execute?
fn executable(path: &Path) -> std::io::Result<bool> {
    let about = std::fs::metadata(path)?;
    Ok(about.is_file() && about.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(ranks: u32, layout: Option<&str>, ranks_per_vm: u32) -> RunOptions {
        let layout = layout.map(|text| text.parse().unwrap());
        RunOptions { ranks, layout, ranks_per_vm, ..Default::default() }
    }

    #[test]
    fn without_a_layout_all_machines_are_on_one_host() {
        assert_eq!(check_shape(&options(4, None, 1)).unwrap().to_string(), "1x4");
        assert_eq!(check_shape(&options(4, None, 2)).unwrap().to_string(), "1x2");
        assert!(matches!(check_shape(&options(5, None, 2)), Err(LaunchError::Uneven { .. })));
    }

    #[test]
    fn contradicting_numbers_are_all_in_the_message() {
        let error = check_shape(&options(5, Some("2x4"), 1)).unwrap_err();
        assert!(error.is_usage());
        let text = error.to_string();
        assert!(text.contains("2x4") && text.contains('8') && text.contains('5'), "{text}");
    }

    #[test]
    fn counts_no_machine_can_start_are_refused_with_the_limits() {
        for (ranks, layout) in [(10_000, None), (1025, None), (1, Some("4294967295x4294967295"))] {
            let text = check_shape(&options(ranks, layout, 4_000_000_000)).unwrap_err().to_string();
            assert!(text.contains("1024") || text.contains("multiple"), "{text}");
            let text = check_shape(&options(ranks.max(1025), layout, 1)).unwrap_err().to_string();
            assert!(text.contains("1024") && text.contains("RLIMIT_NOFILE"), "{text}");
            assert!(text.contains("RLIMIT_NPROC"), "{text}");
        }
        assert!(check_shape(&options(0, None, 1)).unwrap_err().to_string().contains("at least 1"));
        assert!(check_shape(&options(1, None, 0)).is_err());
        assert!(check_shape(&options(1024, None, 1)).is_ok());
    }
}
