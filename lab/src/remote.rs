//! The host's side of the agent's protocol: a program in a guest, handled like a local child.

use std::fmt;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt;

use crate::LabError;
use crate::agent::frame::{self, Channel, Ended, HELLO, Start, Token};
use crate::agent::pump::{Event, Pump};

/// How long an agent may take to answer, in a guest that is emulated on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long a guest may be silent before it counts as gone. Its kernel answers, so this is not about
/// what its programs do; one whose plug was pulled never closes a connection.
const SILENCE: Duration = Duration::from_secs(40);
/// Questions to a silent guest within that time.
const QUESTIONS: u32 = 5;

/// How a program in a guest ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RemoteExit {
    /// With this exit code.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// Unknown: the connection broke, so the guest or its agent is gone. The text says how.
    Lost(String),
}

impl RemoteExit {
    /// As a shell tells it: the code, or 128 and the signal; 255 when it is unknown.
    pub fn code(&self) -> i32 {
        match self {
            RemoteExit::Code(code) => *code,
            RemoteExit::Signal(signal) => 128 + signal,
            RemoteExit::Lost(_) => 255,
        }
    }

    /// Whether the program said that all is well.
    pub fn success(&self) -> bool {
        *self == RemoteExit::Code(0)
    }
}

impl fmt::Display for RemoteExit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RemoteExit::Code(code) => write!(f, "exit code {code}"),
            RemoteExit::Signal(signal) => write!(f, "signal {signal}"),
            RemoteExit::Lost(how) => write!(f, "connection lost: {how}"),
        }
    }
}

/// A program that runs in a guest. Its streams are ordinary pipes of this process, to be taken
/// out, read and polled like those of a local child; a thread relays them. Dropping it kills the
/// program.
#[derive(Debug)]
pub struct RemoteProcess {
    /// To its standard input; dropping it ends that.
    pub stdin: Option<PipeWriter>,
    /// From its standard output; ends when all its writers have.
    pub stdout: Option<PipeReader>,
    /// From its standard error.
    pub stderr: Option<PipeReader>,
    /// The server's end of its PMI connection, when it was started with one.
    pub pmi: Option<UnixStream>,
    id: u32,
    signals: PipeWriter,
    ended: PipeReader,
    exit: Arc<Mutex<Option<RemoteExit>>>,
}

impl RemoteProcess {
    /// Greets the agent on a fresh connection: tells whether it is there and knows the token.
    pub fn greet(stream: &mut TcpStream, token: &Token) -> io::Result<()> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        stream.write_all(&[HELLO, token.as_str().as_bytes()].concat())?;
        match read_frame(stream)? {
            (Channel::Ready, _) => Ok(()),
            (channel, _) => {
                Err(io::Error::other(format!("it answered the greeting with {channel:?}")))
            }
        }
    }

    /// Starts a program over a fresh connection to an agent. `guest` names it in errors.
    pub fn start(
        mut stream: TcpStream,
        token: &Token,
        start: &Start,
        guest: &str,
    ) -> Result<RemoteProcess, LabError> {
        let fault = |reason: String| LabError::Agent { guest: guest.to_owned(), reason };
        let greeted = RemoteProcess::greet(&mut stream, token);
        greeted.map_err(|error| fault(error.to_string()))?;
        notice_silence(&stream).map_err(|error| fault(error.to_string()))?;
        let payload = start.encode().map_err(|error| fault(error.to_string()))?;
        let mut bytes = Vec::new();
        frame::encode(Channel::Start, &payload, &mut bytes);
        let answer = stream.write_all(&bytes).and_then(|()| read_frame(&mut stream));
        let id = match answer.map_err(|error| fault(error.to_string()))? {
            (Channel::Started, id) => id.first_chunk().map_or(0, |id| u32::from_le_bytes(*id)),
            (Channel::Failed, text) => {
                return Err(fault(format!("cannot start {}", String::from_utf8_lossy(&text))));
            }
            (channel, _) => return Err(fault(format!("it answered Start with {channel:?}"))),
        };
        relay(stream, start.pmi, id).map_err(|source| LabError::io("pipes to a guest", source))
    }

    /// The program's process number in its guest.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Sends a signal to the program and its children. No error when it has ended already.
    pub fn kill(&self, signal: u8) -> io::Result<()> {
        match (&self.signals).write_all(&[signal]) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
            _ => Ok(()),
        }
    }

    /// Becomes readable (end of file) when the program has ended and [`RemoteProcess::try_wait`]
    /// gives its exit.
    pub fn ended_fd(&self) -> BorrowedFd<'_> {
        self.ended.as_fd()
    }

    /// How it ended; nothing while it runs. Its output may still be on its way in the pipes.
    pub fn try_wait(&self) -> Option<RemoteExit> {
        self.exit.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for its end, at most so long.
    pub fn wait(&self, limit: Duration) -> Option<RemoteExit> {
        let begun = Instant::now();
        loop {
            if let Some(exit) = self.try_wait() {
                return Some(exit);
            }
            let left = limit.checked_sub(begun.elapsed())?;
            let mut fds = [PollFd::new(&self.ended, PollFlags::IN)];
            let left = Timespec::try_from(left).ok();
            // An interrupted or failed poll is tried again within the limit.
            let _ = poll(&mut fds, left.as_ref());
        }
    }

    /// Closes its input, collects its output, and waits for its end, at most so long; then it
    /// is killed.
    pub fn output(mut self, limit: Duration) -> RemoteOutput {
        self.stdin = None;
        self.pmi = None;
        let (out, err) = (self.stdout.take(), self.stderr.take());
        std::thread::scope(|scope| {
            let out = scope.spawn(move || collect(out));
            let err = scope.spawn(move || collect(err));
            let exit = self.wait(limit).unwrap_or_else(|| {
                let _ = self.kill(9);
                RemoteExit::Lost(format!("not done after {} s, killed", limit.as_secs()))
            });
            // Ends the relay, and with it the pipes, when a grandchild keeps them open.
            if !matches!(exit, RemoteExit::Code(_)) {
                drop(self);
            }
            RemoteOutput {
                exit,
                stdout: out.join().unwrap_or_default(),
                stderr: err.join().unwrap_or_default(),
            }
        })
    }
}

/// What a program in a guest said and how it ended.
#[derive(Debug, Clone)]
pub struct RemoteOutput {
    /// How it ended.
    pub exit: RemoteExit,
    /// All of its standard output.
    pub stdout: Vec<u8>,
    /// All of its standard error.
    pub stderr: Vec<u8>,
}

fn collect(pipe: Option<PipeReader>) -> Vec<u8> {
    let mut all = Vec::new();
    if let Some(mut pipe) = pipe {
        // What came before a fault is worth having.
        let _ = pipe.read_to_end(&mut all);
    }
    all
}

/// Has the kernel end a connection to a guest that has gone without a word.
fn notice_silence(stream: &TcpStream) -> io::Result<()> {
    let pause = SILENCE / (QUESTIONS + 1);
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, pause)?;
    sockopt::set_tcp_keepintvl(stream, pause)?;
    sockopt::set_tcp_keepcnt(stream, QUESTIONS)?;
    // The same when something was sent last, which is then repeated instead.
    sockopt::set_tcp_user_timeout(stream, SILENCE.as_millis() as u32)?;
    Ok(())
}

/// One frame, read in full; used before the relay starts, when at most one is under way at a
/// time, so nothing after it is lost.
fn read_frame(stream: &mut TcpStream) -> io::Result<(Channel, Vec<u8>)> {
    let mut bytes = vec![0; frame::HEADER];
    stream.read_exact(&mut bytes)?;
    loop {
        if let Some((channel, payload, _)) = frame::decode(&bytes).map_err(io::Error::other)? {
            return Ok((channel, payload.to_vec()));
        }
        let header = bytes.first_chunk::<{ frame::HEADER }>();
        let length = header.map_or(0, |h| u32::from_le_bytes([h[1], h[2], h[3], h[4]]) as usize);
        bytes.resize(frame::HEADER + length, 0);
        stream.read_exact(bytes.get_mut(frame::HEADER..).unwrap_or_default())?;
    }
}

/// Makes the pipes and the thread that relays between them and the connection.
fn relay(stream: TcpStream, pmi: bool, id: u32) -> io::Result<RemoteProcess> {
    let mut pump = Pump::new(stream)?;
    let (their_in, stdin) = io::pipe()?;
    let (stdout, their_out) = io::pipe()?;
    let (stderr, their_err) = io::pipe()?;
    let (their_signals, signals) = io::pipe()?;
    let (ended, not_yet) = io::pipe()?;
    pump.add_source(Channel::Stdin, their_in.into())?;
    pump.add_sink(Channel::Stdout, their_out.into())?;
    pump.add_sink(Channel::Stderr, their_err.into())?;
    pump.add_source(Channel::Signal, their_signals.into())?;
    let pmi = if pmi {
        let (ours, theirs) = UnixStream::pair()?;
        pump.add_source(Channel::Pmi, theirs.try_clone()?.into())?;
        pump.add_sink(Channel::Pmi, theirs.into())?;
        Some(ours)
    } else {
        None
    };
    let exit = Arc::new(Mutex::new(None));
    let told = Arc::clone(&exit);
    std::thread::Builder::new().name("relay".into()).spawn(move || {
        let mut not_yet = Some(not_yet);
        let mut tell = |how: RemoteExit| {
            let mut exit = told.lock().unwrap_or_else(PoisonError::into_inner);
            exit.get_or_insert(how);
            not_yet = None;
        };
        let lost = match turn(&mut pump, &mut tell) {
            Ok(()) => "the agent closed it".to_owned(),
            Err(error) => error.to_string(),
        };
        tell(RemoteExit::Lost(lost));
        deliver(&mut pump);
    })?;
    Ok(RemoteProcess {
        stdin: Some(stdin),
        stdout: Some(stdout),
        stderr: Some(stderr),
        pmi,
        id,
        signals,
        ended,
        exit,
    })
}

/// Relays until the agent closes, or the [`RemoteProcess`] is dropped, which ends the source of
/// signals; closing the connection then kills the program.
fn turn(pump: &mut Pump, tell: &mut impl FnMut(RemoteExit)) -> io::Result<()> {
    while pump.has_source(&[Channel::Signal]) {
        for event in pump.step(&[], None)? {
            match event {
                Event::Closed => return Ok(()),
                Event::Frame(Channel::Exit, payload) => {
                    tell(match Ended::decode(&payload).map_err(io::Error::other)? {
                        Ended::Code(code) => RemoteExit::Code(code),
                        Ended::Signal(signal) => RemoteExit::Signal(signal),
                    });
                }
                Event::Frame(channel, _) => {
                    return Err(io::Error::other(format!("unexpected {channel:?} frame")));
                }
                Event::Watched(_) => {}
            }
        }
    }
    Ok(())
}

/// Hands out what has arrived, to readers that are slower than the guest. The connection is of
/// no more use, so only its pipes are looked at.
fn deliver(pump: &mut Pump) {
    pump.end_sinks();
    while pump.is_delivering() {
        pump.drain_sinks();
    }
}
