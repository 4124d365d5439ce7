//! The server of the ivshmem protocol (QEMU, docs/specs/ivshmem-spec.txt, "Client-Server
//! protocol"), which is packaged nowhere: it hands each QEMU with an `ivshmem-doorbell` device
//! the shared memory and, for every other, descriptors that interrupt it.
//!
//! A message is 8 bytes, little endian, with or without one descriptor beside it. A new client
//! gets: version 0; its own number; -1 with the memory; for each other client, its number with
//! one descriptor for each vector; last the same for itself. The others get the new one's number
//! with its descriptors; when a client leaves, the others get its number without any.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

use crate::LabError;

/// The version of the protocol.
const VERSION: i64 = 0;
/// Numbers of clients go from 0 to this, as QEMU has 16 bits for them.
const MAX_CLIENTS: u16 = 1024;

/// Serves the memory of `region` to the clients that connect to `listener`, with so many vectors
/// for each, until `end` becomes readable or is closed. A fault of a client ends that client only.
pub fn serve(
    listener: &UnixListener,
    region: &File,
    vectors: u16,
    end: BorrowedFd<'_>,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let mut server = Server { clients: BTreeMap::new(), vectors };
    loop {
        let (ending, waiting, gone) = server.wait(listener, end)?;
        if ending {
            return Ok(());
        }
        for number in gone {
            server.leave(number);
        }
        if waiting && let Ok((stream, _)) = listener.accept() {
            // A client that ends during its greeting was never there.
            let _ = server.join(stream, region.as_fd());
        }
    }
}

/// Makes the socket and serves it for ever, for people who run guests of their own.
pub fn serve_path(socket: &Path, region: &Path, vectors: u16) -> Result<(), LabError> {
    let mut options = File::options();
    let file = options.read(true).write(true).open(region);
    let file = file.map_err(|e| LabError::at("opening the region", region, e))?;
    let listener =
        UnixListener::bind(socket).map_err(|e| LabError::at("listening at", socket, e))?;
    let (never, _kept) = io::pipe().map_err(|e| LabError::io("a pipe", e))?;
    let served = serve(&listener, &file, vectors, never.as_fd());
    served.map_err(|e| LabError::at("serving", socket, e))
}

struct Client {
    stream: UnixStream,
    vectors: Vec<OwnedFd>,
}

struct Server {
    clients: BTreeMap<u16, Client>,
    vectors: u16,
}

impl Server {
    /// Waits; whether it is to end, whether a client waits, and which have gone.
    fn wait(
        &self,
        listener: &UnixListener,
        end: BorrowedFd<'_>,
    ) -> io::Result<(bool, bool, Vec<u16>)> {
        let mut fds = vec![
            PollFd::from_borrowed_fd(end, PollFlags::IN),
            PollFd::new(listener, PollFlags::IN),
        ];
        let streams = self.clients.values().map(|client| &client.stream);
        fds.extend(streams.map(|stream| PollFd::new(stream, PollFlags::IN)));
        match poll(&mut fds, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        let numbers = self.clients.keys().zip(ready.iter().skip(2));
        // Clients say nothing: what is readable is their end, or a breach that ends them.
        let gone = numbers.filter(|(_, ready)| **ready).map(|(number, _)| *number).collect();
        let at = |place: usize| ready.get(place).copied().unwrap_or(false);
        Ok((at(0), at(1), gone))
    }

    fn join(&mut self, stream: UnixStream, region: BorrowedFd<'_>) -> io::Result<()> {
        // One that does not read must not hold up the others; the greeting fits in its buffer.
        stream.set_nonblocking(true)?;
        let number = (0..MAX_CLIENTS).find(|number| !self.clients.contains_key(number));
        let number = number.ok_or_else(|| io::Error::other("all numbers are taken"))?;
        let vectors = (0..self.vectors).map(|_| eventfd(0, EventfdFlags::CLOEXEC));
        let vectors = vectors.collect::<Result<Vec<_>, _>>()?;
        send(&stream, VERSION, None)?;
        send(&stream, i64::from(number), None)?;
        send(&stream, -1, Some(region))?;
        for (other, client) in &self.clients {
            for vector in &client.vectors {
                send(&stream, i64::from(*other), Some(vector.as_fd()))?;
            }
        }
        for vector in &vectors {
            send(&stream, i64::from(number), Some(vector.as_fd()))?;
        }
        self.tell(|other| {
            vectors
                .iter()
                .try_for_each(|vector| send(other, i64::from(number), Some(vector.as_fd())))
        });
        self.clients.insert(number, Client { stream, vectors });
        Ok(())
    }

    fn leave(&mut self, number: u16) {
        self.clients.remove(&number);
        self.tell(|other| send(other, i64::from(number), None));
    }

    /// Tells all clients; whoever cannot be told will be seen to have gone.
    fn tell(&self, what: impl Fn(&UnixStream) -> io::Result<()>) {
        for client in self.clients.values() {
            if what(&client.stream).is_err() {
                let _ = client.stream.shutdown(std::net::Shutdown::Both);
            }
        }
    }
}

fn send(to: &UnixStream, value: i64, fd: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let bytes = value.to_le_bytes();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let fds: Vec<BorrowedFd<'_>> = fd.into_iter().collect();
    if !fds.is_empty() {
        ancillary.push(SendAncillaryMessage::ScmRights(&fds));
    }
    let sent = sendmsg(to, &[IoSlice::new(&bytes)], &mut ancillary, SendFlags::NOSIGNAL)?;
    if sent == bytes.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
    use std::io::{IoSliceMut, PipeWriter, Read, Write};

    struct Running {
        dir: tempfile::TempDir,
        thread: Option<std::thread::JoinHandle<io::Result<()>>>,
        end: Option<PipeWriter>,
    }

    impl Running {
        fn start(vectors: u16) -> Running {
            let dir = tempfile::tempdir().unwrap();
            std::fs::write(dir.path().join("region"), b"memory").unwrap();
            let region = File::open(dir.path().join("region")).unwrap();
            let listener = UnixListener::bind(dir.path().join("socket")).unwrap();
            let (end, hold) = io::pipe().unwrap();
            let thread =
                std::thread::spawn(move || serve(&listener, &region, vectors, end.as_fd()));
            Running { dir, thread: Some(thread), end: Some(hold) }
        }

        fn connect(&self) -> UnixStream {
            let stream = UnixStream::connect(self.dir.path().join("socket")).unwrap();
            let limit = std::time::Duration::from_secs(20);
            stream.set_read_timeout(Some(limit)).unwrap();
            stream
        }
    }

    impl Drop for Running {
        fn drop(&mut self) {
            self.end = None;
            self.thread.take().unwrap().join().unwrap().unwrap();
        }
    }

    /// One message, and its descriptor as a file.
    fn receive(from: &UnixStream) -> (i64, Option<File>) {
        let mut bytes = [0; 8];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut parts = [IoSliceMut::new(&mut bytes)];
        recvmsg(from, &mut parts, &mut ancillary, RecvFlags::empty()).unwrap();
        let fd = ancillary.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
            _ => None,
        });
        (i64::from_le_bytes(bytes), fd.map(File::from))
    }

    fn numbers(from: &UnixStream, count: usize) -> Vec<(i64, bool)> {
        let messages = (0..count).map(|_| receive(from));
        messages.map(|(value, fd)| (value, fd.is_some())).collect()
    }

    #[test]
    fn a_client_gets_version_number_memory_and_vectors_and_the_others_hear_of_it() {
        let server = Running::start(2);
        let first = server.connect();
        assert_eq!(numbers(&first, 2), [(0, false), (0, false)]);
        let (mark, memory) = receive(&first);
        let mut text = String::new();
        memory.unwrap().read_to_string(&mut text).unwrap();
        assert_eq!((mark, text.as_str()), (-1, "memory"));
        assert_eq!(numbers(&first, 2), [(0, true); 2]);
        let second = server.connect();
        let all = [(0, false), (1, false), (-1, true), (0, true), (0, true), (1, true), (1, true)];
        assert_eq!(numbers(&second, 7), all);
        assert_eq!(numbers(&first, 2), [(1, true); 2]);
        drop(second);
        assert_eq!(numbers(&first, 1), [(1, false)]);
        let third = server.connect();
        assert_eq!(numbers(&third, 2), [(0, false), (1, false)], "the number is free again");
    }

    #[test]
    fn ringing_a_peers_descriptor_wakes_that_peer() {
        let server = Running::start(1);
        let first = server.connect();
        assert_eq!(numbers(&first, 3).len(), 3);
        let mut own = receive(&first).1.unwrap();
        let second = server.connect();
        let messages: Vec<_> = (0..5).map(|_| receive(&second)).collect();
        let mut of_first = messages[3].1.as_ref().unwrap();
        assert_eq!(messages[3].0, 0);
        of_first.write_all(&1_u64.to_ne_bytes()).unwrap();
        let mut count = [0; 8];
        own.read_exact(&mut count).unwrap();
        assert_eq!(u64::from_ne_bytes(count), 1);
    }

    #[test]
    fn a_client_that_talks_is_sent_away_and_the_others_stay() {
        let server = Running::start(1);
        let quiet = server.connect();
        assert_eq!(numbers(&quiet, 4).len(), 4);
        let mut talker = server.connect();
        assert_eq!(numbers(&talker, 5).len(), 5);
        assert_eq!(numbers(&quiet, 1), [(1, true)]);
        talker.write_all(b"hello, I am no QEMU").unwrap();
        assert_eq!(numbers(&quiet, 1), [(1, false)]);
        assert_eq!(numbers(&server.connect(), 2), [(0, false), (1, false)]);
    }
}
