//! What happens without file descriptors. Alone in its process, since the limit is the process's.
#![allow(clippy::unwrap_used, reason = "a test helper that fails is a test that fails")]

#[allow(dead_code)]
#[path = "net/support.rs"]
mod support;

use std::fs::File;
use std::time::Duration;
use support::*;

/// Opens files until there is room for no more.
fn fill_up() -> Vec<File> {
    std::iter::from_fn(|| File::open("/dev/null").ok()).take(100_000).collect()
}

#[test]
fn callers_wait_while_there_are_no_file_descriptors_and_the_established_go_on() {
    let limit = libc::rlimit { rlim_cur: 64, rlim_max: 64 };
    // SAFETY: a valid structure; it only lowers this process's own limit.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) }, 0);
    let mut a = Rank::new(0, 3, config());
    let mut b = Rank::new(1, 3, config());
    let mut c = Rank::new(2, 3, config());
    a.connect(b.card());
    run(&mut [&mut a, &mut b], |r| r[0].net.is_up(1) && r[1].net.is_up(0));

    // No room for the caller's own socket: it tries again until there is.
    let mut hoard = fill_up();
    assert!(!hoard.is_empty());
    c.connect(b.card());
    for _ in 0..20 {
        c.poll();
    }
    assert_eq!(c.memory.events, []);
    // Room for the call, but not for taking it.
    hoard.pop();
    run(&mut [&mut c], |_| File::open("/dev/null").is_err());
    for _ in 0..20 {
        b.poll();
        c.poll();
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(!b.net.is_up(2) && !c.net.is_up(1));
    deliver(&mut [&mut a, &mut b], 1, &header(STAGED, 1, 0), &[]);
    run(&mut [&mut a, &mut b], |r| r[1].memory.frames() == 1);
    assert_eq!((b.memory.down(0), b.memory.down(2)), (None, None));

    drop(hoard);
    run(&mut [&mut b, &mut c], |r| r[0].net.is_up(2) && r[1].net.is_up(1));
}
