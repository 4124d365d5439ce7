//! Machines that vanish without a word: no farewell, no end of the stream, not even a reset.
//!
//! While nothing is under way, the kernel asks the peer's kernel now and then (keep-alive). While bytes
//! are, it does not, and would send them again for a quarter of an hour; so the net looks at what the
//! kernel knows. `TCP_USER_TIMEOUT` would be simpler, but also ends connections to ranks that compute
//! and read nothing for so long, though their kernels answer.

use super::connection::Connection;
use super::engine::{Net, Slot};
use super::slots::Key;
use std::io;
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use socket2::{SockRef, TcpKeepalive};

/// Unanswered questions after which the kernel gives a connection up.
const QUESTIONS: u32 = 4;
/// The net looks so many times within the longest silence.
const LOOKS: u32 = 8;

/// Has the kernel ask whether the peer's machine is there: first after half of `longest` without a
/// word from it, so that a connection ends when that time is over.
pub(super) fn ask(stream: &TcpStream, longest: Duration) -> io::Result<()> {
    let second = Duration::from_secs(1);
    let keepalive = TcpKeepalive::new()
        .with_time((longest / 2).max(second))
        .with_interval((longest / 2 / QUESTIONS).max(second))
        .with_retries(QUESTIONS);
    SockRef::from(stream).set_tcp_keepalive(&keepalive)
}

/// Questions without an answer that mean something: on loopback one is counted after its answer.
const UNANSWERED: u32 = 2;

/// What the kernel knows of a connection.
#[derive(Clone, Copy, Debug)]
struct Known {
    /// Since the peer's kernel was last heard. With questions asked after half of the longest
    /// silence, a machine that is there is never silent for longer while nothing is under way.
    silent: Duration,
    /// Segments sent again, or questions asked, without an answer so far.
    unanswered: bool,
}

impl Known {
    fn is_dead(&self, longest: Duration) -> bool {
        self.unanswered && self.silent >= longest
    }
}

fn known(stream: &TcpStream) -> Option<Known> {
    // SAFETY: all zeros is a value of this structure of numbers.
    let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
    let mut length = size_of_val(&info) as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes, which is the size of `info`.
    let result = unsafe {
        libc::getsockopt(
            stream.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut info).cast(),
            &raw mut length,
        )
    };
    // Data without news in its acknowledgement counts as hearing, too.
    let silent = info.tcpi_last_ack_recv.min(info.tcpi_last_data_recv);
    (result == 0).then_some(Known {
        silent: Duration::from_millis(silent.into()),
        unanswered: (info.tcpi_unacked > 0 && info.tcpi_retransmits > 0)
            || u32::from(info.tcpi_probes) >= UNANSWERED,
    })
}

impl Connection {
    /// Looks once; after two looks in a row at a dead connection it is cut off here, and ends when
    /// what had arrived is read. One look could fall between a question and its answer.
    fn look(&mut self, longest: Duration) -> bool {
        let dead = known(&self.stream).is_some_and(|it| it.is_dead(longest));
        let again = std::mem::replace(&mut self.silent, dead) && dead;
        if again {
            self.ending = true;
            let _ = self.stream.shutdown(Shutdown::Both);
        }
        again
    }
}

impl Net {
    /// Looks at all connections, when it is time.
    pub(super) fn notice_silence(&mut self, now: Instant) {
        let Some(longest) = self.config.silence else { return };
        if self.look_at.is_some_and(|at| now < at) {
            return;
        }
        self.look_at = Some(now + longest / LOOKS);
        let up: Vec<Key> = self.peers.iter().copied().flatten().collect();
        for key in up {
            if let Some(Slot::Up(connection)) = self.slots.get_mut(key)
                && connection.look(longest)
            {
                self.mark(key);
            }
        }
    }
}
