//! A rank's side of PMI-1.

use std::net::TcpStream;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use super::identity::{Identity, environment, identity};
use super::wire::{self, LineBuffer, MAX_REQUEST, Message, WireError};
use super::{Bootstrap, Kvs, LaunchError, LauncherKind, check_entry, local, sys};

/// Longest key a user of [`Kvs`] may choose: [`wire::MAX_KEY`] less the suffix of a part.
pub(super) const MAX_USER_KEY: usize = wire::MAX_KEY - 8;

/// Marks a value that is spread over several entries: followed by their number.
const PARTS: &str = "~parts~";

/// Whether [`bootstrap`] has connected to a launcher: a second owner of the descriptor in `PMI_FD`
/// would close it under the first.
static CALLED: AtomicBool = AtomicBool::new(false);

/// Finds out who this rank is: PMI-1 over the descriptor in `PMI_FD` or the address in `PMI_PORT`,
/// otherwise a job of one.
///
/// # Errors
/// [`LaunchError::Environment`] when the launcher's variables are unusable, or when a launcher that
/// does not speak PMI-1 started several tasks (which would otherwise be that many jobs of one), or
/// when this process has called it before under a launcher; otherwise what the launcher answers.
pub fn bootstrap() -> Result<Bootstrap, LaunchError> {
    let variable = |name: &str| std::env::var(name).ok();
    let identity = identity(&variable)?;
    if identity != Identity::Alone && CALLED.swap(true, Ordering::SeqCst) {
        let reason = "bootstrap was called before; its connection is in use".to_owned();
        return Err(LaunchError::Environment { reason });
    }
    match identity {
        Identity::Alone => Ok(local::singleton()),
        Identity::Descriptor { fd, rank, size, kind } => {
            let stream = sys::adopt(fd).map_err(|error| environment(format!(
                "PMI_FD={fd} is no open descriptor ({error}); start this rank with a launcher, or unset \
                 PMI_FD to run it alone"
            )))?;
            // A child of this rank must not speak in its name.
            sys::set_cloexec(stream.as_raw_fd(), true).map_err(LaunchError::system("PMI_FD"))?;
            let mut client = Pmi1 { stream, lines: LineBuffer::default(), job: String::new() };
            client.init()?;
            Ok(client.into_bootstrap(rank, size, kind))
        }
        Identity::Port { address, id } => {
            let stream = TcpStream::connect(&address)
                .map_err(LaunchError::system(format!("connecting to PMI_PORT={address}")))?;
            let stream = OwnedFd::from(stream);
            let mut client = Pmi1 { stream, lines: LineBuffer::default(), job: String::new() };
            let (rank, size) = client.introduce(id)?;
            client.init()?;
            Ok(client.into_bootstrap(rank, size, LauncherKind::Pmi1))
        }
    }
}

/// A connection to a PMI-1 service.
struct Pmi1 {
    stream: OwnedFd,
    lines: LineBuffer,
    job: String,
}

impl Pmi1 {
    /// The handshake over `PMI_PORT`: our id for rank and size.
    fn introduce(&mut self, id: u32) -> Result<(u32, u32), LaunchError> {
        self.send(&format!("cmd=initack pmiid={id}\n"), "initack")?;
        let (mut rank, mut size) = (None, None);
        // Hydra answers initack, then sets size, rank and debug, in this order; debug is the last.
        loop {
            let message = self.read_message("initack")?;
            match message.command() {
                "initack" if message.result_code() == 0 => {}
                "set" => {
                    if message.get("size").is_some() {
                        size = Some(message.number::<u32>("size")?);
                    } else if message.get("rank").is_some() {
                        rank = Some(message.number::<u32>("rank")?);
                    } else if message.get("debug").is_some() {
                        break;
                    }
                }
                _ => return Err(unexpected("set", &message).into()),
            }
        }
        match (rank, size) {
            (Some(rank), Some(size)) if rank < size => Ok((rank, size)),
            _ => Err(environment(format!("the launcher gave rank {rank:?} of size {size:?}"))),
        }
    }

    /// `init`, and the name of the job.
    fn init(&mut self) -> Result<(), LaunchError> {
        self.call("cmd=init pmi_version=1 pmi_subversion=1", "response_to_init")?;
        let answer = self.call("cmd=get_my_kvsname", "my_kvsname")?;
        self.job = answer.require("kvsname")?.to_owned();
        Ok(())
    }

    fn into_bootstrap(self, rank: u32, size: u32, kind: LauncherKind) -> Bootstrap {
        Bootstrap { rank, size, job: self.job.clone(), kind, kvs: Box::new(self) }
    }

    /// Sends a request and reads its answer, which must be the command `answer`, with `rc` 0.
    fn call(&mut self, request: &str, answer: &str) -> Result<Message, LaunchError> {
        let message = self.ask(request, answer)?;
        if message.result_code() != 0 {
            let reason = message.get("msg").or(message.get("errmsg")).unwrap_or("no reason given");
            let (request, reason) = (command_of(request), wire::shorten(reason));
            return Err(LaunchError::Refused { request, reason });
        }
        Ok(message)
    }

    /// Like [`Self::call`], whatever the result code.
    fn ask(&mut self, request: &str, answer: &str) -> Result<Message, LaunchError> {
        let command = command_of(request);
        self.send(&format!("{request}\n"), &command)?;
        let message = self.read_message(&command)?;
        match message.command() == answer {
            true => Ok(message),
            false => Err(unexpected(answer, &message).into()),
        }
    }

    /// Sends one request; in one piece, because Slurm takes a request with one read.
    fn send(&mut self, line: &str, request: &str) -> Result<(), LaunchError> {
        let mut rest = line.as_bytes();
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

    fn read_message(&mut self, request: &str) -> Result<Message, LaunchError> {
        let mut buffer = [0; 4096];
        loop {
            if let Some(line) = self.lines.next_line()? {
                return Ok(Message::parse(&line)?);
            }
            match sys::read(self.stream.as_raw_fd(), &mut buffer) {
                Ok(0) => {
                    self.lines.finish()?;
                    return Err(LaunchError::Gone { request: request.to_owned() });
                }
                Ok(count) => self.lines.push(buffer.get(..count).unwrap_or_default()),
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

    fn put_entry(&mut self, key: &str, value: &str) -> Result<(), LaunchError> {
        let request = format!("cmd=put kvsname={} key={key} value={value}", self.job);
        self.call(&request, "put_result").map(drop)
    }

    fn get_entry(&mut self, key: &str) -> Result<Option<String>, LaunchError> {
        let request = format!("cmd=get kvsname={} key={key}", self.job);
        let answer = self.ask(&request, "get_result")?;
        match answer.result_code() {
            0 => Ok(Some(answer.require("value")?.to_owned())),
            _ => Ok(None),
        }
    }

    /// Bytes of value that fit into one request with a key of this length.
    fn room(&self, key: &str) -> usize {
        let frame = "cmd=put kvsname= key=~00 value=\n".len() + self.job.len() + key.len();
        // 64 in the worst case: a name of a job longer than any launcher's still makes progress.
        MAX_REQUEST.saturating_sub(frame).max(64)
    }
}

fn command_of(request: &str) -> String {
    let word = request.split(' ').next().unwrap_or_default();
    word.trim_start_matches("cmd=").to_owned()
}

fn unexpected(expected: &str, got: &Message) -> WireError {
    WireError::Unexpected { expected: expected.to_owned(), got: got.summary() }
}

impl Kvs for Pmi1 {
    /// A value too long for one request is spread over the entries `key~0`, `key~1`, ..., and `key`
    /// itself tells how many.
    fn put(&mut self, key: &str, value: &str) -> Result<(), LaunchError> {
        check_entry(key, value)?;
        let room = self.room(key);
        if value.len() <= room && !value.starts_with(PARTS) {
            return self.put_entry(key, value);
        }
        let parts: Vec<&[u8]> = value.as_bytes().chunks(room).collect();
        for (index, part) in parts.iter().enumerate() {
            // ASCII by `check_entry`: nothing is replaced.
            self.put_entry(&format!("{key}~{index}"), &String::from_utf8_lossy(part))?;
        }
        self.put_entry(key, &format!("{PARTS}{}", parts.len()))
    }

    fn get(&mut self, key: &str) -> Result<Option<String>, LaunchError> {
        let Some(value) = self.get_entry(key)? else {
            return Ok(None);
        };
        let Some(count) = value.strip_prefix(PARTS) else {
            return Ok(Some(value));
        };
        let bad = || WireError::BadField { command: "get_result".to_owned(), field: "value" };
        let count: usize = count.parse().map_err(|_| bad())?;
        // No value of the allowed length has more parts than this.
        if count > wire::MAX_VALUE / 64 + 1 {
            return Err(bad().into());
        }
        let mut whole = String::new();
        for index in 0..count {
            whole.push_str(&self.get_entry(&format!("{key}~{index}"))?.ok_or_else(bad)?);
        }
        Ok(Some(whole))
    }

    fn barrier(&mut self) -> Result<(), LaunchError> {
        self.call("cmd=barrier_in", "barrier_out").map(drop)
    }

    fn abort(&mut self, code: i32, message: &str) {
        let reason: String = wire::escape(message).chars().take(600).collect();
        // The caller exits next; a launcher that is gone already needs no notice.
        let _ = self.send(&format!("cmd=abort exitcode={code} error_msg={reason}\n"), "abort");
    }

    fn finalize(&mut self) -> Result<(), LaunchError> {
        self.call("cmd=finalize", "finalize_ack").map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::super::server::{Action, Server};
    use super::*;
    use proptest::prelude::*;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    fn client(stream: UnixStream) -> Pmi1 {
        Pmi1 { stream: stream.into(), lines: LineBuffer::default(), job: String::new() }
    }

    /// A service for one rank that answers like Slurm: one read of 1024 bytes is one request.
    fn slurm_like(mut stream: UnixStream) {
        let mut server = Server::new("9.0".into(), 1);
        let mut buffer = [0; MAX_REQUEST];
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            assert_eq!(buffer[count - 1], b'\n', "a request did not fit into one read");
            for action in server.receive(0, &buffer[..count]) {
                let Action::Reply(_, line) = action else { panic!("{action:?}") };
                stream.write_all(line.replace(" msg=success", "").as_bytes()).unwrap();
            }
        }
    }

    #[test]
    fn values_of_every_length_pass_a_service_with_short_requests() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let service = std::thread::spawn(move || slurm_like(theirs));
        let mut client = client(ours);
        client.init().unwrap();
        assert_eq!(client.job, "9.0");
        let key = "k".repeat(MAX_USER_KEY);
        for value in ["v".to_owned(), "v".repeat(900), "v".repeat(1024), format!("{PARTS}2")] {
            client.put(&key, &value).unwrap();
            client.barrier().unwrap();
            assert_eq!(client.get(&key).unwrap().as_deref(), Some(value.as_str()));
        }
        assert_eq!(client.get("absent").unwrap(), None);
        client.finalize().unwrap();
        drop(client);
        service.join().unwrap();
    }

    #[test]
    fn a_launcher_that_goes_away_is_an_error_that_says_so() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        drop(theirs);
        assert!(matches!(client(ours).barrier(), Err(LaunchError::Gone { .. })));
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(b"cmd=barr").unwrap();
        theirs.shutdown(std::net::Shutdown::Write).unwrap();
        let error = client(ours).barrier().unwrap_err();
        assert!(matches!(error, LaunchError::Wire(WireError::Truncated(8))), "{error}");
    }

    proptest! {
        #[test]
        fn whatever_the_launcher_answers_the_client_returns(
            answer in proptest::collection::vec(any::<u8>(), 0..200))
        {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            theirs.write_all(&answer).unwrap();
            theirs.shutdown(std::net::Shutdown::Write).unwrap();
            let mut client = client(ours);
            let _ = (client.init(), client.get("k"), client.introduce(0), client.barrier());
        }
    }
}
