//! Writing to a connection that the peer has closed, in a program where SIGPIPE kills, as it does
//! in C programs. Alone in its process, since signals are the process's.

#![allow(clippy::unwrap_used, reason = "a test helper that fails is a test that fails")]

#[allow(dead_code)]
#[path = "net/support.rs"]
mod support;

use cohost::net::NetError;
use std::time::Instant;
use support::*;

#[test]
fn a_dead_peer_is_an_error_and_not_a_signal() {
    // SAFETY: sets the default action, which has no handler that could be unsound.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    // Small frames are sent in another way than large ones: both must not raise it.
    for length in [0, 100_000] {
        let (mut a, b) = pair(config(), config());
        drop(b);
        let limit = Instant::now() + DEADLINE;
        let data = payload(1, length);
        let mut progress = 0;
        loop {
            match a.net.send(1, &header(STAGED, 0, length), &data, &mut progress) {
                Ok(_) if progress == length + 48 => progress = 0,
                Ok(_) => {}
                Err(NetError::Lost { .. }) => break,
                Err(other) => panic!("{other}"),
            }
            assert!(Instant::now() < limit);
        }
        // A connection reset says so once, then it is a broken pipe.
        a.net.close(1, true);
    }
}
