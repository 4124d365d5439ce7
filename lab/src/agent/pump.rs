//! Moves bytes between one connection and the streams of one program, in one thread, with
//! poll(2). Both sides of the connection use it: the guest's streams are pipes of the program,
//! the host's are pipes to whoever started it.
//!
//! A source is a stream whose bytes go out as frames of a channel, a sink one that receives a
//! channel's bytes. Buffers are bounded: a sink holds at most a window, the output is not added
//! to while more than a window of it waits.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;

use super::frame::{self, Channel, FrameError, MAX_PAYLOAD, WINDOW};

/// Something the owner of the pump must deal with.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A frame that is not data of a sink.
    Frame(Channel, Vec<u8>),
    /// A watched descriptor is ready, by its place in the list.
    Watched(usize),
    /// The other side has closed the connection.
    Closed,
}

struct Source {
    channel: Channel,
    fd: OwnedFd,
    credit: usize,
}

struct Sink {
    channel: Channel,
    /// None when its reader has gone: data is thrown away, as a pipe without reader would.
    fd: Option<OwnedFd>,
    queue: VecDeque<u8>,
    ended: bool,
    /// Bytes delivered and not yet given back to the sender as credit.
    owed: usize,
}

/// See the module's description.
pub(crate) struct Pump {
    socket: TcpStream,
    input: Vec<u8>,
    output: VecDeque<u8>,
    sources: Vec<Source>,
    sinks: Vec<Sink>,
}

impl Pump {
    /// Takes over a connection whose greeting is done.
    pub(crate) fn new(socket: TcpStream) -> io::Result<Pump> {
        socket.set_nodelay(true)?;
        socket.set_read_timeout(None)?;
        socket.set_nonblocking(true)?;
        Ok(Pump {
            socket,
            input: Vec::new(),
            output: VecDeque::new(),
            sources: Vec::new(),
            sinks: Vec::new(),
        })
    }

    /// Sends what comes out of `fd` on this channel.
    pub(crate) fn add_source(&mut self, channel: Channel, fd: OwnedFd) -> io::Result<()> {
        make_nonblocking(&fd)?;
        let credit = WINDOW;
        self.sources.push(Source { channel, fd, credit });
        Ok(())
    }

    /// Delivers what arrives on this channel to `fd`.
    pub(crate) fn add_sink(&mut self, channel: Channel, fd: OwnedFd) -> io::Result<()> {
        make_nonblocking(&fd)?;
        self.sinks.push(Sink {
            channel,
            fd: Some(fd),
            queue: VecDeque::new(),
            ended: false,
            owed: 0,
        });
        Ok(())
    }

    /// Queues a frame.
    pub(crate) fn send(&mut self, channel: Channel, payload: &[u8]) {
        frame::encode(channel, payload, &mut self.output);
    }

    /// Whether a source of one of these channels is still open.
    pub(crate) fn has_source(&self, channels: &[Channel]) -> bool {
        self.sources.iter().any(|s| channels.contains(&s.channel))
    }

    /// Whether everything queued has left.
    pub(crate) fn is_flushed(&self) -> bool {
        self.output.is_empty()
    }

    /// Whether a sink still holds undelivered bytes.
    pub(crate) fn is_delivering(&self) -> bool {
        self.sinks.iter().any(|sink| sink.fd.is_some() && !sink.queue.is_empty())
    }

    /// Says that nothing more will be sent.
    pub(crate) fn finish(&mut self) {
        // Already gone is as good.
        let _ = self.socket.shutdown(std::net::Shutdown::Write);
    }

    /// Closes all sinks once they have delivered, as if each channel had ended.
    pub(crate) fn end_sinks(&mut self) {
        for sink in &mut self.sinks {
            sink.ended = true;
        }
        self.flush_sinks();
    }

    /// Waits until a sink takes bytes, and delivers; the connection is left alone.
    pub(crate) fn drain_sinks(&mut self) {
        let full = self.sinks.iter().filter(|sink| !sink.queue.is_empty());
        let fds = full.filter_map(|sink| sink.fd.as_ref());
        let mut fds: Vec<_> = fds.map(|fd| PollFd::new(fd, PollFlags::OUT)).collect();
        // An interruption or a fault shows when the sinks are written to.
        let _ = poll(&mut fds, None);
        drop(fds);
        self.flush_sinks();
    }

    /// Waits until something can be moved (at most `timeout`), moves it, and says what happened.
    pub(crate) fn step(
        &mut self,
        watched: &[BorrowedFd<'_>],
        timeout: Option<Timespec>,
    ) -> io::Result<Vec<Event>> {
        let ready = self.wait(watched, timeout)?;
        let mut events = Vec::new();
        let (socket, rest) = ready.split_first().unwrap_or((&false, &[]));
        let (from_sources, rest) = rest.split_at(self.sources.len().min(rest.len()));
        self.read_sources(from_sources);
        if !self.output.is_empty() {
            self.write_socket()?;
        }
        if *socket {
            self.read_socket(&mut events)?;
        }
        self.flush_sinks();
        let watched = rest.iter().enumerate().filter(|(_, ready)| **ready);
        events.extend(watched.map(|(place, _)| Event::Watched(place)));
        Ok(events)
    }

    /// Which are ready: the socket, each source, then each watched one. Sinks wake it only.
    fn wait(&self, watched: &[BorrowedFd<'_>], timeout: Option<Timespec>) -> io::Result<Vec<bool>> {
        let mut socket = PollFlags::IN;
        if !self.output.is_empty() {
            socket |= PollFlags::OUT;
        }
        let room = self.output.len() < WINDOW;
        let mut fds = vec![PollFd::new(&self.socket, socket)];
        let mut places = vec![Some(0)];
        for source in &self.sources {
            places.push((room && source.credit > 0).then_some(fds.len()));
            if room && source.credit > 0 {
                fds.push(PollFd::new(&source.fd, PollFlags::IN));
            }
        }
        for fd in watched {
            places.push(Some(fds.len()));
            fds.push(PollFd::from_borrowed_fd(*fd, PollFlags::IN));
        }
        for sink in self.sinks.iter().filter(|sink| !sink.queue.is_empty()) {
            if let Some(fd) = &sink.fd {
                fds.push(PollFd::new(fd, PollFlags::OUT));
            }
        }
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ready = |place: usize| fds.get(place).is_some_and(|fd| !fd.revents().is_empty());
        Ok(places.into_iter().map(|p| p.is_some_and(ready)).collect())
    }

    fn read_sources(&mut self, ready: &[bool]) {
        let mut buffer = vec![0; MAX_PAYLOAD];
        let (mut place, output) = (0, &mut self.output);
        self.sources.retain_mut(|source| {
            let is_ready = ready.get(place).copied().unwrap_or(false);
            place += 1;
            if !is_ready {
                return true;
            }
            let room = source.credit.min(MAX_PAYLOAD);
            let Some(room) = buffer.get_mut(..room) else {
                return true;
            };
            match rustix::io::read(&source.fd, room) {
                Ok(count) if count > 0 => {
                    source.credit -= count;
                    frame::encode(source.channel, buffer.get(..count).unwrap_or_default(), output);
                    true
                }
                Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => true,
                // The end, or a fault that amounts to it.
                _ => {
                    frame::encode(source.channel, &[], output);
                    false
                }
            }
        });
    }

    fn write_socket(&mut self) -> io::Result<()> {
        while !self.output.is_empty() {
            let (front, _) = self.output.as_slices();
            match self.socket.write(front) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => drop(self.output.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn read_socket(&mut self, events: &mut Vec<Event>) -> io::Result<()> {
        let mut buffer = vec![0; MAX_PAYLOAD];
        match self.socket.read(&mut buffer) {
            Ok(0) => events.push(Event::Closed),
            Ok(count) => {
                self.input.extend_from_slice(buffer.get(..count).unwrap_or_default());
                self.take_frames(events).map_err(io::Error::other)?;
            }
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn take_frames(&mut self, events: &mut Vec<Event>) -> Result<(), FrameError> {
        let input = std::mem::take(&mut self.input);
        let mut at = 0;
        while let Some((channel, payload, used)) =
            frame::decode(input.get(at..).unwrap_or_default())?
        {
            at += used;
            match self.sinks.iter_mut().find(|sink| sink.channel == channel) {
                Some(sink) => sink.accept(payload)?,
                None if channel == Channel::Credit => self.credit(payload)?,
                None => events.push(Event::Frame(channel, payload.to_vec())),
            }
        }
        self.input = input.get(at..).unwrap_or_default().to_vec();
        Ok(())
    }

    fn credit(&mut self, payload: &[u8]) -> Result<(), FrameError> {
        let (channel, bytes) = frame::decode_credit(payload)?;
        let source = self.sources.iter_mut().find(|s| s.channel == channel);
        // Credit for a source that has ended is late, not wrong.
        if let Some(source) = source {
            source.credit = source.credit.saturating_add(bytes).min(WINDOW);
        }
        Ok(())
    }

    fn flush_sinks(&mut self) {
        let output = &mut self.output;
        self.sinks.retain_mut(|sink| {
            sink.deliver();
            if sink.owed >= WINDOW / 4 {
                let credit = frame::encode_credit(sink.channel, sink.owed);
                frame::encode(Channel::Credit, &credit, output);
                sink.owed = 0;
            }
            let done = sink.ended && sink.queue.is_empty();
            if let (true, Some(fd)) = (done, &sink.fd) {
                // For a socket, which its source keeps open; a pipe refuses and is closed instead.
                let _ = rustix::net::shutdown(fd, rustix::net::Shutdown::Write);
                sink.fd = None;
            }
            // Kept after its end, so that data after it is seen and refused as such.
            true
        });
    }
}

impl Sink {
    fn accept(&mut self, payload: &[u8]) -> Result<(), FrameError> {
        if payload.is_empty() {
            self.ended = true;
        } else if self.ended || self.queue.len() + self.owed + payload.len() > WINDOW {
            return Err(FrameError::Window(self.channel));
        } else {
            self.queue.extend(payload);
        }
        Ok(())
    }

    fn deliver(&mut self) {
        while !self.queue.is_empty() {
            let (front, _) = self.queue.as_slices();
            let written = match &self.fd {
                Some(fd) => rustix::io::write(fd, front),
                None => Ok(front.len()),
            };
            match written {
                Ok(count) => {
                    self.queue.drain(..count);
                    self.owed += count;
                }
                Err(rustix::io::Errno::AGAIN) => return,
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => self.fd = None,
            }
        }
    }
}

fn make_nonblocking(fd: &impl AsFd) -> io::Result<()> {
    let flags = rustix::fs::fcntl_getfl(fd)?;
    rustix::fs::fcntl_setfl(fd, flags | OFlags::NONBLOCK)?;
    Ok(())
}
