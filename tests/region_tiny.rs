//! A store that is full: an error with the exact number of bytes, never a deadly signal.
//!
//! Each test runs once more in a mount namespace of its own with a tiny tmpfs, which ends with it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::process::Command;

use cohost::region::planner::{PlanError, needed_bytes, plan};
use cohost::region::{Geometry, RegionError, SectionLayout, file};

const DIRECTORY: &str = "COHOST_TEST_TINY";

/// The tiny directory, when this is the process that has one; otherwise runs `test` in one that
/// has `bytes`.
fn tiny(test: &str, bytes: usize) -> Option<PathBuf> {
    if let Some(directory) = std::env::var_os(DIRECTORY) {
        return Some(directory.into());
    }
    let namespace = ["--user", "--map-root-user", "--mount"];
    if !Command::new("unshare").args(namespace).arg("true").status().is_ok_and(|s| s.success()) {
        eprintln!("skipped: no namespaces of our own here");
        return None;
    }
    let directory = tempfile::tempdir().unwrap();
    let script = format!(
        "mount -t tmpfs -o size={bytes} tiny \"${DIRECTORY}\" && exec \"$0\" --exact \"$1\" --test-threads=1"
    );
    let status = Command::new("unshare")
        .args(namespace)
        .args(["sh", "-c", &script])
        .arg(std::env::current_exe().unwrap())
        .arg(test)
        .env(DIRECTORY, directory.path())
        .status()
        .unwrap();
    assert!(status.success(), "{status}");
    None
}

fn create(
    directory: &Path,
    layout: SectionLayout,
) -> Result<cohost::region::OwnSection, RegionError> {
    file::create(directory, "job", 0, layout, 0)
}

#[test]
fn activation_on_a_full_store_names_the_bytes_and_can_be_tried_again() {
    let name = "activation_on_a_full_store_names_the_bytes_and_can_be_tried_again";
    let Some(directory) = tiny(name, 1 << 20) else {
        return;
    };
    let layout = SectionLayout::new(16, Geometry::default()).unwrap();
    let mut own = create(&directory, layout).unwrap();
    let mut active = 0;
    let refused = loop {
        match own.activate(active + 1) {
            Ok(()) => active += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(active, 3, "three blocks of 324 KiB fit into 1 MiB");
    let RegionError::NoSpace { needed, available, .. } = &refused else { panic!("{refused:?}") };
    assert_eq!(*needed, layout.block_bytes() as u64);
    let available = available.unwrap();
    assert!(available < *needed);
    assert!(refused.to_string().contains(&needed.to_string()), "{refused}");
    // Those that are active work to the last byte.
    for peer in 1..=active {
        let pair = own.pair(peer).unwrap();
        pair.bulk.copy_in(0, &vec![1; pair.bulk.len()]);
        let seen = file::open(&directory, "job", 0, own.identity(), peer).unwrap();
        assert_eq!(seen.pair().unwrap().bulk.load_u32(0), 0x0101_0101);
    }
    // The one that is not is refused, not read.
    let seen = file::open(&directory, "job", 0, own.identity(), active + 1).unwrap();
    assert!(matches!(seen.pair(), Err(RegionError::NotActive { .. })));
    assert!(own.pair(active + 1).is_err());
    // With exactly the missing bytes, and no more, it works.
    let missing = needed - available;
    let status = Command::new("mount")
        .args(["-o", &format!("remount,size={}", (1 << 20) + missing)])
        .arg(&directory)
        .status()
        .unwrap();
    assert!(status.success());
    own.activate(active + 1).unwrap();
}

#[test]
fn a_store_too_small_for_a_header_is_refused_and_left_empty() {
    let name = "a_store_too_small_for_a_header_is_refused_and_left_empty";
    let Some(directory) = tiny(name, 4096) else {
        return;
    };
    let layout = SectionLayout::new(200, Geometry::MIN).unwrap();
    let refused = create(&directory, layout).unwrap_err();
    assert!(
        matches!(refused, RegionError::NoSpace { needed, available: Some(4096), .. }
            if needed == layout.header_bytes() as u64),
        "{refused:?}"
    );
    assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 0);
}

#[test]
fn a_peer_that_lies_about_its_memory_is_an_error_and_not_a_signal() {
    let name = "a_peer_that_lies_about_its_memory_is_an_error_and_not_a_signal";
    let Some(directory) = tiny(name, 1 << 20) else {
        return;
    };
    let layout = SectionLayout::new(16, Geometry::default()).unwrap();
    let mut own = create(&directory, layout).unwrap();
    let full = (1..16).find(|&peer| own.activate(peer).is_err()).unwrap();
    // Use up what is left, then claim that the block is there.
    let _ = std::fs::write(directory.join("filler"), vec![0; 1 << 20]);
    own.window().store_u32(layout.active_offset(full).unwrap(), 1);
    let seen = file::open(&directory, "job", 0, own.identity(), full).unwrap();
    assert!(matches!(seen.pair(), Err(RegionError::Unbacked { .. })));
}

#[test]
fn the_plan_for_a_tiny_store_is_what_fits_into_it() {
    let name = "the_plan_for_a_tiny_store_is_what_fits_into_it";
    let Some(directory) = tiny(name, 1 << 20) else {
        return;
    };
    let available = file::available(&directory).unwrap();
    assert_eq!(available, Some(1 << 20));
    let geometry = plan(available, 4, Geometry::default()).unwrap();
    assert!(geometry.bulk < Geometry::default().bulk);
    let layout = SectionLayout::new(4, geometry).unwrap();
    let mut sections = vec![];
    for index in 0..4 {
        let mut own = file::create(&directory, "job", index, layout, index).unwrap();
        for peer in (0..4).filter(|&peer| peer != index) {
            own.activate(peer).unwrap();
        }
        sections.push(own);
    }
    assert!(matches!(plan(available, 64, Geometry::default()),
        Err(PlanError::TooSmall { needed, .. })
            if needed <= needed_bytes(64, Geometry::MIN).unwrap()));
}

#[test]
fn a_limit_on_file_sizes_is_an_error_and_not_a_signal() {
    const MARK: &str = "COHOST_TEST_LIMIT";
    if std::env::var_os(MARK).is_some() {
        let directory = tempfile::tempdir().unwrap();
        let layout = SectionLayout::new(16, Geometry::default()).unwrap();
        let refused = create(directory.path(), layout).unwrap_err();
        assert!(matches!(refused, RegionError::FileLimit { .. }), "{refused:?}");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
        return;
    }
    // Through a pipe: a log file that is longer already would count against the limit.
    let output = Command::new("sh")
        .args(["-c", "ulimit -f 64 && exec \"$0\" --exact \"$1\" --test-threads=1"])
        .arg(std::env::current_exe().unwrap())
        .arg("a_limit_on_file_sizes_is_an_error_and_not_a_signal")
        .env(MARK, "1")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}
