//! Bytes into frames. One buffer per connection; what fits is parsed in place, the payload of a
//! direct frame is read past it, straight to where the sink wants it.

use super::handshake::{FAREWELL, FIRST_RESERVED_KIND};
use super::{HEADER_LEN, Placement, Sink};
use std::io::{self, IoSliceMut, Read};

/// The first read of a burst asks for this much: enough for small frames in one call, little
/// enough that of a large direct payload most goes past the buffer. Doubles while bursts of staged
/// frames fill it.
const READ_SHORT: usize = 16 * 1024;
/// After a direct payload of at least `LARGE` bytes the next read asks for this much, since
/// another one is likely: what is read with its header has to be copied once more.
const READ_HEADER: usize = 512;
/// From here on a copy costs more than another read.
const LARGE: usize = 32 * 1024;

/// What the bytes at the front of the buffer are.
enum Stage {
    /// A header, or the beginning of one.
    Header,
    /// A frame placed as staged, of this payload length; its header still stands in front.
    Staged(usize),
    /// The payload of a direct frame, `done` of `length` bytes are where they belong.
    Direct { header: [u8; HEADER_LEN], length: usize, done: usize },
}

/// How far delivering came.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Drained {
    /// All whole frames are delivered; more bytes are needed.
    Hungry,
    /// The sink does not accept for now.
    Paused,
    /// The peer said that nothing follows.
    Farewell,
    /// The peer sent what it must not.
    Fault(String),
}

/// What one read gave.
#[derive(Debug)]
pub(super) enum Filled {
    /// Some bytes; `short` when fewer than asked for, so that the socket is empty for now.
    Some { short: bool },
    /// Nothing there now.
    Nothing,
    /// The stream ended.
    End,
    /// The connection broke.
    Broken,
    /// The sink gave no room for a direct payload.
    Fault(String),
}

/// The receiving half of one connection.
pub(super) struct Inbox {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    read_next: usize,
    stage: Stage,
    max_payload: usize,
    max_staged: usize,
}

impl Inbox {
    pub(super) fn new(max_staged: usize, max_payload: usize) -> Self {
        // Zeroed memory fresh from the kernel costs nothing until it is touched.
        Inbox {
            buffer: vec![0; max_staged + HEADER_LEN],
            start: 0,
            end: 0,
            read_next: READ_SHORT,
            stage: Stage::Header,
            max_payload,
            max_staged,
        }
    }

    /// Delivers what is in the buffer. Ends, since each frame takes a header's length from it.
    pub(super) fn drain<S: Sink>(&mut self, peer: u32, sink: &mut S) -> Drained {
        loop {
            let step = match self.stage {
                Stage::Header => self.begin_frame(peer, sink),
                Stage::Staged(length) => self.finish_staged(length, peer, sink),
                Stage::Direct { .. } => self.copy_direct(peer, sink),
            };
            match step {
                Ok(Some(outcome)) => return outcome,
                Ok(None) => {}
                Err(fault) => return Drained::Fault(fault),
            }
        }
    }

    fn begin_frame<S: Sink>(&mut self, peer: u32, sink: &mut S) -> Result<Option<Drained>, String> {
        let Some(header) = self.buffer[self.start..self.end].first_chunk::<HEADER_LEN>() else {
            return Ok(Some(Drained::Hungry));
        };
        if !sink.accepting(peer) {
            return Ok(Some(Drained::Paused));
        }
        let length = payload_length(header);
        if header[0] >= FIRST_RESERVED_KIND {
            if header[0] == FAREWELL && length == 0 {
                return Ok(Some(Drained::Farewell));
            }
            return Err(format!("a frame of reserved kind {:#04x}", header[0]));
        }
        if length > self.max_payload {
            let most = self.max_payload;
            return Err(format!("a frame of {length} bytes is announced, {most} are the most"));
        }
        match sink.place(peer, header)? {
            Placement::Staged if length > self.max_staged => {
                let most = self.max_staged;
                Err(format!("{length} bytes cannot be staged, {most} are the most"))
            }
            Placement::Staged => {
                self.stage = Stage::Staged(length);
                Ok(None)
            }
            Placement::Direct => {
                self.stage = Stage::Direct { header: *header, length, done: 0 };
                self.start += HEADER_LEN;
                let next = if length >= LARGE { READ_HEADER } else { READ_SHORT };
                self.read_next = next.min(self.buffer.len());
                Ok(None)
            }
        }
    }

    fn finish_staged<S: Sink>(
        &mut self,
        length: usize,
        peer: u32,
        sink: &mut S,
    ) -> Result<Option<Drained>, String> {
        let held = &self.buffer[self.start..self.end];
        let Some((header, rest)) = held.split_first_chunk::<HEADER_LEN>() else {
            return Ok(Some(Drained::Hungry));
        };
        let Some(payload) = rest.get(..length) else {
            return Ok(Some(Drained::Hungry));
        };
        sink.frame(peer, header, payload)?;
        self.start += HEADER_LEN + length;
        self.stage = Stage::Header;
        Ok(None)
    }

    /// Copies what the buffer holds of a direct payload; finishes the frame when that was all.
    fn copy_direct<S: Sink>(&mut self, peer: u32, sink: &mut S) -> Result<Option<Drained>, String> {
        let Stage::Direct { header, length, done } = &mut self.stage else {
            return Ok(None);
        };
        while *done < *length && self.start < self.end {
            let room = direct_room(sink, peer, *done, *length)?;
            let held = &self.buffer[self.start..self.end];
            let count = room.len().min(held.len());
            room[..count].copy_from_slice(&held[..count]);
            self.start += count;
            *done += count;
        }
        if *done < *length {
            return Ok(Some(Drained::Hungry));
        }
        let header = *header;
        self.stage = Stage::Header;
        sink.direct_done(peer, &header)?;
        Ok(None)
    }

    /// One read. Call after [`Inbox::drain`] said [`Drained::Hungry`].
    pub(super) fn fill<S: Sink>(&mut self, from: impl Read, peer: u32, sink: &mut S) -> Filled {
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        }
        if let Stage::Direct { length, done, .. } = self.stage {
            self.fill_direct(from, peer, sink, length, done)
        } else {
            self.fill_buffer(from)
        }
    }

    fn fill_buffer(&mut self, mut from: impl Read) -> Filled {
        let held = self.end - self.start;
        let frame = match self.stage {
            Stage::Staged(length) => HEADER_LEN + length,
            _ => HEADER_LEN,
        };
        // Move to the front when the frame does not fit behind, or when that is cheap and the
        // room behind is small. So a byte is moved at most once per frame it belongs to.
        let behind = self.buffer.len() - self.end;
        let cheap = held <= 1024 && behind < self.read_next;
        if self.start > 0 && (cheap || self.buffer.len() - self.start < frame) {
            self.buffer.copy_within(self.start..self.end, 0);
            self.start = 0;
            self.end = held;
        }
        let want = self.read_next.max(frame.saturating_sub(held));
        let behind = self.buffer.len() - self.end;
        let room = &mut self.buffer[self.end..][..want.min(behind)];
        let asked = room.len();
        let result = from.read(room);
        match outcome(result, asked) {
            Ok(count) => {
                self.end += count;
                let short = count < asked;
                if !short {
                    self.read_next = (self.read_next * 2).min(self.buffer.len());
                }
                Filled::Some { short }
            }
            Err(filled) => filled,
        }
    }

    /// Reads the rest of a direct payload to its place and, behind it, the next header.
    fn fill_direct<S: Sink>(
        &mut self,
        mut from: impl Read,
        peer: u32,
        sink: &mut S,
        length: usize,
        done_before: usize,
    ) -> Filled {
        let room = match direct_room(sink, peer, done_before, length) {
            Ok(room) => room,
            Err(fault) => return Filled::Fault(fault),
        };
        let direct = room.len();
        // The buffer is empty here: all that it held of the payload was copied.
        let beyond = if done_before + direct == length { self.read_next } else { 0 };
        let mut parts = [IoSliceMut::new(room), IoSliceMut::new(&mut self.buffer[..beyond])];
        let result = from.read_vectored(&mut parts);
        match outcome(result, direct + beyond) {
            Ok(count) => {
                self.start = 0;
                self.end = count.saturating_sub(direct);
                if let Stage::Direct { done, .. } = &mut self.stage {
                    *done += count.min(direct);
                }
                Filled::Some { short: count < direct + beyond }
            }
            Err(filled) => filled,
        }
    }
}

/// The length that a header announces.
pub(super) fn payload_length(header: &[u8; HEADER_LEN]) -> usize {
    u32::from_le_bytes([header[4], header[5], header[6], header[7]]) as usize
}

fn direct_room<S: Sink>(
    sink: &mut S,
    peer: u32,
    offset: usize,
    length: usize,
) -> Result<&mut [u8], String> {
    let room = sink.direct_buffer(peer, offset);
    let most = room.len().min(length - offset);
    if most == 0 {
        return Err(format!("no room for byte {offset} of a direct payload of {length}"));
    }
    Ok(&mut room[..most])
}

fn outcome(result: io::Result<usize>, asked: usize) -> Result<usize, Filled> {
    match result {
        Ok(0) => Err(Filled::End),
        Ok(count) => Ok(count.min(asked)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(Filled::Nothing),
        // The next turn reads again: nothing says that the socket is empty.
        Err(error) if error.kind() == io::ErrorKind::Interrupted => {
            Err(Filled::Some { short: false })
        }
        Err(_) => Err(Filled::Broken),
    }
}

#[cfg(test)]
#[path = "framing_tests.rs"]
mod tests;
