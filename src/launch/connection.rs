//! The stream between a rank and its launcher: requests out whole, answers in as lines (PMI-1) or
//! frames (PMI-2), and values that are longer than a launcher takes, in parts.

use std::os::fd::{AsRawFd, OwnedFd};

use super::wire::{self, LineBuffer, Message, WireError};
use super::{LaunchError, sys, wire2};

/// Marks a value that is spread over several entries: followed by their number.
pub(super) const PARTS: &str = "~parts~";

/// A connection to a PMI service.
pub(super) struct Connection {
    stream: OwnedFd,
    lines: LineBuffer,
}

impl Connection {
    pub(super) fn new(stream: OwnedFd) -> Self {
        Self { stream, lines: LineBuffer::default() }
    }

    /// Sends one request; in one piece, because Slurm takes a request with one read.
    pub(super) fn send(&mut self, text: &str, request: &str) -> Result<(), LaunchError> {
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            let fd = self.stream.as_raw_fd();
            let sent = match sys::send(fd, rest) {
                Err(error) if error.raw_os_error() == Some(libc::ENOTSOCK) => sys::write(fd, rest),
                other => other,
            };
            match sent {
                Ok(count) => rest = rest.get(count..).unwrap_or_default(),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    self.wait(libc::POLLOUT)?;
                }
                Err(_) => {
                    return Err(LaunchError::Gone { request: request.to_owned() });
                }
            }
        }
        Ok(())
    }

    /// The next line, as PMI-1 has it; `request` is what it answers.
    pub(super) fn read_line(&mut self, request: &str) -> Result<Message, LaunchError> {
        loop {
            match self.lines.next_line()? {
                Some(line) => return Ok(Message::parse(&line)?),
                None => self.read_more(request)?,
            }
        }
    }

    /// The next frame, as PMI-2 has it.
    pub(super) fn read_frame(&mut self, request: &str) -> Result<Message, LaunchError> {
        loop {
            match self.lines.next_frame()? {
                Some(payload) => return Ok(wire2::parse(&payload)?),
                None => self.read_more(request)?,
            }
        }
    }

    /// Waits for bytes.
    fn read_more(&mut self, request: &str) -> Result<(), LaunchError> {
        let mut buffer = [0; 4096];
        loop {
            match sys::read(self.stream.as_raw_fd(), &mut buffer) {
                Ok(0) => {
                    self.lines.finish()?;
                    return Err(LaunchError::Gone { request: request.to_owned() });
                }
                Ok(count) => {
                    self.lines.push(buffer.get(..count).unwrap_or_default());
                    return Ok(());
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    self.wait(libc::POLLIN)?;
                }
                Err(_) => {
                    return Err(LaunchError::Gone { request: request.to_owned() });
                }
            }
        }
    }

    /// Some launchers hand out a descriptor that does not block.
    fn wait(&self, events: i16) -> Result<(), LaunchError> {
        let mut fds = [sys::interest(self.stream.as_raw_fd(), events)];
        sys::poll(&mut fds, -1).map_err(LaunchError::system("waiting for the launcher"))
    }
}

/// Turns an answer that refuses into an error.
pub(super) fn accepted(request: &str, message: Message) -> Result<Message, LaunchError> {
    if message.result_code() == 0 {
        return Ok(message);
    }
    let reason = message.get("msg").or(message.get("errmsg")).unwrap_or("no reason given");
    Err(LaunchError::Refused { request: request.to_owned(), reason: wire::shorten(reason) })
}

pub(super) fn unexpected(expected: &str, got: &Message) -> WireError {
    WireError::Unexpected { expected: expected.to_owned(), got: got.summary() }
}

/// A key-value space whose values have a limit that is not ours.
pub(super) trait Entries {
    fn put_entry(&mut self, key: &str, value: &str) -> Result<(), LaunchError>;
    fn get_entry(&mut self, key: &str) -> Result<Option<String>, LaunchError>;
    /// Bytes of value that fit into one entry with a key of this length.
    fn room(&self, key: &str) -> usize;
}

/// Puts ASCII text. A value too long for one entry is spread over the entries `key~0`, `key~1`, ...,
/// and `key` itself tells how many.
pub(super) fn put_whole(
    entries: &mut impl Entries,
    key: &str,
    value: &str,
) -> Result<(), LaunchError> {
    let room = entries.room(key);
    if value.len() <= room && !value.starts_with(PARTS) {
        return entries.put_entry(key, value);
    }
    let parts: Vec<&[u8]> = value.as_bytes().chunks(room).collect();
    for (index, part) in parts.iter().enumerate() {
        // ASCII, so that nothing is replaced.
        entries.put_entry(&format!("{key}~{index}"), &String::from_utf8_lossy(part))?;
    }
    entries.put_entry(key, &format!("{PARTS}{}", parts.len()))
}

/// What [`put_whole`] has put.
pub(super) fn get_whole(
    entries: &mut impl Entries,
    key: &str,
) -> Result<Option<String>, LaunchError> {
    let Some(value) = entries.get_entry(key)? else {
        return Ok(None);
    };
    let Some(count) = value.strip_prefix(PARTS) else {
        return Ok(Some(value));
    };
    let bad = || WireError::BadField { command: "get_result".to_owned(), field: "value" };
    let count: usize = count.parse().map_err(|_| bad())?;
    // No value of the allowed length has more parts than this, escaped threefold or not.
    if count > 3 * wire::MAX_VALUE / 64 + 1 {
        return Err(bad().into());
    }
    let mut whole = String::new();
    for index in 0..count {
        whole.push_str(&entries.get_entry(&format!("{key}~{index}"))?.ok_or_else(bad)?);
    }
    Ok(Some(whole))
}
