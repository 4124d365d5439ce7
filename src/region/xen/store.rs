//! Asking XenStore which domain we are, over `/dev/xen/xenbus`. A hint only: a wrong answer makes a
//! grant that nobody can map.
//! Source: `xen/io/xs_wire.h`; "domid" is a name that every domain has in its own directory.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

const READ: u32 = 2;
const HEAD: usize = 16;
/// Longest payload of the protocol.
const PAYLOAD_MAX: usize = 4096;
/// How long the store may take; it is another process in another domain.
const PATIENCE: Duration = Duration::from_secs(1);
const REQUEST: u32 = 1;

/// The domain this machine is, if XenStore says so.
pub(super) fn own_domain(xenbus: &Path) -> Option<u16> {
    let mut file =
        File::options().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(xenbus).ok()?;
    file.write_all(&question("domid")).ok()?;
    let head: [u8; HEAD] = read_exactly(&mut file, HEAD).ok()?.try_into().ok()?;
    let payload = read_exactly(&mut file, answer_bytes(&head)?).ok()?;
    std::str::from_utf8(&payload).ok()?.trim_end_matches('\0').parse().ok()
}

fn question(name: &str) -> Vec<u8> {
    let length = name.len() as u32 + 1;
    let mut bytes = Vec::new();
    // Type, request, transaction (none), length.
    for word in [READ, REQUEST, 0, length] {
        bytes.extend(word.to_ne_bytes());
    }
    bytes.extend(name.as_bytes());
    bytes.push(0);
    bytes
}

/// How many bytes follow an answer's head; `None` for anything but the answer to our question.
fn answer_bytes(head_untrusted: &[u8; HEAD]) -> Option<usize> {
    let word = |i: usize| {
        let four = head_untrusted[4 * i..].first_chunk();
        four.map_or(0, |four| u32::from_ne_bytes(*four))
    };
    let length = word(3) as usize;
    (word(0) == READ && word(1) == REQUEST && length <= PAYLOAD_MAX).then_some(length)
}

fn read_exactly(file: &mut File, bytes: usize) -> io::Result<Vec<u8>> {
    let mut into = vec![0; bytes];
    let (mut have, start) = (0, Instant::now());
    while have < bytes {
        match file.read(&mut into[have..]) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(more) => have += more,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => wait(file)?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        if start.elapsed() > PATIENCE {
            return Err(io::ErrorKind::TimedOut.into());
        }
    }
    Ok(into)
}

fn wait(file: &File) -> io::Result<()> {
    let mut poll = libc::pollfd { fd: file.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    let millis = PATIENCE.as_millis() as libc::c_int;
    // SAFETY: one structure, valid for the call.
    match unsafe { libc::poll(&raw mut poll, 1, millis) } {
        0 => Err(io::ErrorKind::TimedOut.into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_question_is_in_the_words_of_the_store() {
        let bytes = question("domid");
        assert_eq!(bytes.len(), 16 + 6);
        assert_eq!(bytes[..4], 2_u32.to_ne_bytes());
        assert_eq!(bytes[12..16], 6_u32.to_ne_bytes());
        assert_eq!(&bytes[16..], b"domid\0");
    }

    #[test]
    fn an_answer_to_something_else_or_too_long_is_none() {
        let head = |words: [u32; 4]| {
            let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
            answer_bytes(&bytes.try_into().unwrap())
        };
        assert_eq!(head([2, 1, 0, 3]), Some(3));
        assert_eq!(head([16, 1, 0, 7]), None, "an error");
        assert_eq!(head([2, 9, 0, 3]), None);
        assert_eq!(head([2, 1, 0, u32::MAX]), None);
    }

    #[test]
    fn without_a_store_the_domain_is_unknown() {
        assert_eq!(own_domain(Path::new("/nonexistent")), None);
        assert_eq!(own_domain(Path::new("/dev/null")), None);
    }
}
