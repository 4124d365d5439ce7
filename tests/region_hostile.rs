//! Descriptors and files that are no regions, or no longer: each is an error with a reason.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use cohost::region::lending::Borrowed;
use cohost::region::{
    Geometry, Identity, OwnSection, Protection, RegionError, SectionLayout, file, heap, posix,
};

fn layout() -> SectionLayout {
    SectionLayout::new(2, Geometry::MIN).unwrap()
}

fn in_directory(directory: &Path) -> OwnSection {
    file::create(directory, "job", 0, layout(), 0).unwrap()
}

/// An identity that no section has.
fn expected() -> Identity {
    *heap::create(layout(), 0).unwrap().identity()
}

fn memfd(bytes: u64) -> File {
    let raw = unsealed_memfd();
    let file = File::from(raw);
    file.set_len(bytes).unwrap();
    file
}

/// A memfd without seals: that of a section cannot be unsealed, so the system is asked directly.
fn unsealed_memfd() -> OwnedFd {
    use std::os::fd::FromRawFd;
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    // SAFETY: the name is a C string that outlives the call.
    let raw = unsafe { libc::memfd_create(c"hostile".as_ptr(), flags) };
    assert!(raw >= 0);
    // SAFETY: just opened, and nobody else's.
    unsafe { OwnedFd::from_raw_fd(raw) }
}

fn seal(file: &File, seals: i32) {
    use std::os::fd::AsRawFd;
    // SAFETY: plain integers to an open descriptor.
    let sealed = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, seals) };
    assert_eq!(sealed, 0);
}

#[test]
fn what_is_no_sealed_memory_is_refused_by_its_kind() {
    let directory = tempfile::tempdir().unwrap();
    let plain = File::create_new(directory.path().join("plain")).unwrap();
    plain.set_len(layout().total_bytes() as u64).unwrap();
    let (socket, _other) = std::os::unix::net::UnixStream::pair().unwrap();
    let (pipe, _writer) = std::io::pipe().unwrap();
    let cases: [(OwnedFd, &str); 6] = [
        (socket.into(), "a socket"),
        (pipe.into(), "a pipe"),
        (File::open(directory.path()).unwrap().into(), "a directory"),
        (File::open("/dev/null").unwrap().into(), "a device"),
        (memfd(layout().total_bytes() as u64).into(), "shrink"),
        (plain.into(), ""),
    ];
    for (fd, word) in cases {
        match posix::adopt(fd, &expected(), 1) {
            Err(RegionError::NotARegion { found, .. }) => {
                assert!(found.contains(word), "{found}");
            }
            other => panic!("{word}: {other:?}"),
        }
    }
}

#[test]
fn sealed_memory_of_another_size_or_content_is_refused() {
    for bytes in [0, 1, 4096, layout().total_bytes() as u64 + 1, 1 << 40] {
        let file = memfd(bytes);
        seal(&file, libc::F_SEAL_SHRINK);
        let refused = posix::adopt(file.into(), &expected(), 1);
        assert!(matches!(refused, Err(RegionError::WrongSize { .. })), "{refused:?}");
    }
    let file = memfd(layout().total_bytes() as u64);
    seal(&file, libc::F_SEAL_SHRINK);
    let refused = posix::adopt(file.into(), &expected(), 1);
    assert!(
        matches!(refused, Err(RegionError::WrongHeader { field: "magic number", .. })),
        "{refused:?}"
    );
}

#[test]
fn a_section_handed_out_can_be_neither_written_nor_cut_nor_punched() {
    use std::io::Write;
    use std::os::fd::AsRawFd;
    let own = posix::create_memfd(layout(), 0).unwrap();
    if own.protection() != Protection::Sealed {
        eprintln!("skipped: this kernel has no seal against future writers");
        return;
    }
    let mut file = File::from(own.fd().unwrap().try_clone_to_owned().unwrap());
    assert!(file.write_all(b"x").is_err());
    assert!(file.set_len(0).is_err());
    assert!(file.set_len(1 << 30).is_err());
    assert!(memmap2::MmapOptions::new().map_raw(&file).is_err());
    let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
    // SAFETY: plain integers to an open descriptor.
    let punched = unsafe { libc::fallocate(file.as_raw_fd(), mode, 0, 4096) };
    assert_eq!(punched, -1);
    // By a new descriptor of the same memory, as a peer could get it.
    let again = format!("/proc/self/fd/{}", file.as_fd().as_raw_fd());
    if let Ok(mut again) = OpenOptions::new().write(true).open(again) {
        assert!(again.write_all(b"x").is_err());
    }
}

#[test]
fn a_file_of_ours_is_for_our_eyes_only() {
    let directory = tempfile::tempdir().unwrap();
    let own = in_directory(directory.path());
    let found = std::fs::metadata(own.path().unwrap()).unwrap();
    assert_eq!(found.permissions().mode() & 0o7777, 0o600);
}

#[test]
fn a_link_or_directory_or_pipe_under_the_right_name_is_not_opened() {
    let directory = tempfile::tempdir().unwrap();
    let own = in_directory(directory.path());
    let identity = *own.identity();
    let open = |rank| file::open(directory.path(), "job", rank, &identity, 1);
    assert!(open(0).is_ok());
    let name = |rank| file::path(directory.path(), "job", rank, identity.epoch);
    symlink(own.path().unwrap(), name(1)).unwrap();
    assert!(matches!(open(1), Err(RegionError::System { .. })));
    std::fs::create_dir(name(2)).unwrap();
    assert!(matches!(open(2), Err(RegionError::NotARegion { .. })));
    assert!(Command::new("mkfifo").arg(name(3)).status().unwrap().success());
    assert!(matches!(open(3), Err(RegionError::NotARegion { .. })));
    let missing = open(4).unwrap_err().to_string();
    assert!(missing.contains("cohost-"), "{missing}");
}

#[test]
fn a_file_of_somebody_else_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let own = in_directory(directory.path());
    let path = own.path().unwrap();
    if std::os::unix::fs::chown(path, Some(12345), None).is_err() {
        eprintln!("skipped: only root can give a file away");
        return;
    }
    let refused = file::open(directory.path(), "job", 0, own.identity(), 1).unwrap_err();
    assert!(refused.to_string().contains("user 12345"), "{refused}");
}

#[test]
fn a_file_truncated_behind_our_back_is_noticed_before_its_memory_is_touched() {
    let directory = tempfile::tempdir().unwrap();
    let mut own = in_directory(directory.path());
    let peer = file::open(directory.path(), "job", 0, own.identity(), 1).unwrap();
    own.activate(1).unwrap();
    let other = OpenOptions::new().write(true).open(own.path().unwrap()).unwrap();
    other.set_len(4096).unwrap();
    assert!(matches!(peer.pair(), Err(RegionError::WrongSize { found: 4096, .. })));
    let mut own = in_directory(directory.path());
    let other = OpenOptions::new().write(true).open(own.path().unwrap()).unwrap();
    other.set_len(4096).unwrap();
    assert!(matches!(own.activate(1), Err(RegionError::WrongSize { found: 4096, .. })));
}

#[test]
fn a_directory_that_does_not_exist_is_named() {
    let missing = Path::new("/nonexistent/shared");
    let refused = file::create(missing, "job", 0, layout(), 0).unwrap_err().to_string();
    assert!(refused.contains("/nonexistent/shared") && refused.contains("COHOST_SHM_DIR"));
    assert!(file::clean_stale(missing).is_err());
    assert!(file::available(missing).is_err());
}

#[test]
fn only_files_without_a_living_owner_are_cleaned_away() {
    let directory = tempfile::tempdir().unwrap();
    let living = in_directory(directory.path());
    let stale = file::path(directory.path(), "job", 7, 0x1234);
    std::fs::write(&stale, b"left by a rank that was killed").unwrap();
    let other = directory.path().join("cohost-notes.txt");
    std::fs::write(&other, b"not ours").unwrap();
    let link = file::path(directory.path(), "job", 8, 0x1234);
    symlink(&other, &link).unwrap();
    assert_eq!(file::clean_stale(directory.path()).unwrap(), 1);
    assert!(!stale.exists());
    assert!(living.path().unwrap().exists() && other.exists());
    assert!(link.symlink_metadata().is_ok());
    assert_eq!(file::clean_stale(directory.path()).unwrap(), 0);
}

#[test]
fn cleaning_while_others_start_never_takes_a_living_section() {
    let directory = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        let starting: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    for _ in 0..200 {
                        let own = in_directory(directory.path());
                        let path = own.path().unwrap();
                        let named = std::fs::metadata(path).expect("taken by a cleaner");
                        let open = File::from(own.fd().unwrap().try_clone_to_owned().unwrap());
                        assert_eq!(named.ino(), open.metadata().unwrap().ino());
                    }
                })
            })
            .collect();
        while starting.iter().any(|thread| !thread.is_finished()) {
            file::clean_stale(directory.path()).unwrap();
        }
    });
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn a_refused_section_leaves_no_descriptor_behind() {
    // Alone in its process, so that no other test opens files meanwhile.
    if !alone("a_refused_section_leaves_no_descriptor_behind") {
        return;
    }
    let count = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let before = count();
    for _ in 0..50 {
        let _ = posix::adopt(memfd(1).into(), &expected(), 1);
        let own = posix::create_memfd(layout(), 0).unwrap();
        let fd = own.fd().unwrap().try_clone_to_owned().unwrap();
        let _ = posix::adopt(fd, &expected(), 1);
    }
    assert_eq!(count(), before);
}

/// Runs a test once more in a process of its own; true in that process.
fn alone(test: &str) -> bool {
    const MARK: &str = "COHOST_TEST_ALONE";
    if std::env::var_os(MARK).is_some() {
        return true;
    }
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--test-threads=1"])
        .env(MARK, "1")
        .status()
        .unwrap();
    assert!(status.success());
    false
}

#[test]
fn a_chunk_that_its_owner_could_take_away_or_that_is_none_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let plain = File::create_new(directory.path().join("plain")).unwrap();
    plain.set_len(1 << 20).unwrap();
    let (socket, _other) = std::os::unix::net::UnixStream::pair().unwrap();
    let (pipe, _writer) = std::io::pipe().unwrap();
    let shrinkable = memfd(1 << 20);
    seal(&shrinkable, libc::F_SEAL_GROW | libc::F_SEAL_FUTURE_WRITE);
    // Its owner can punch holes.
    let writable = memfd(1 << 20);
    seal(&writable, libc::F_SEAL_GROW | libc::F_SEAL_SHRINK);
    let empty = memfd(0);
    seal(&empty, libc::F_SEAL_SHRINK | libc::F_SEAL_FUTURE_WRITE);
    let endless = memfd(1 << 40);
    seal(&endless, libc::F_SEAL_SHRINK | libc::F_SEAL_FUTURE_WRITE);
    let all: [OwnedFd; 8] = [
        plain.into(),
        socket.into(),
        pipe.into(),
        memfd(1 << 20).into(),
        shrinkable.into(),
        writable.into(),
        empty.into(),
        endless.into(),
    ];
    for fd in all {
        assert!(Borrowed::adopt(fd).is_err());
    }
}

#[test]
fn a_chunk_that_is_all_holes_reads_as_zeros() {
    let holes = memfd((1 << 20) + 5);
    seal(&holes, libc::F_SEAL_SHRINK | libc::F_SEAL_FUTURE_WRITE);
    let mut chunk = Borrowed::adopt(holes.into()).unwrap();
    let mut out = [7; 100];
    let part = chunk.part((1 << 20) - 95, 100).unwrap();
    part.copy_out(0, &mut out);
    assert_eq!(out, [0; 100]);
    assert!(chunk.part((1 << 20) - 94, 100).is_none());
}
