//! The guest's side: accepts connections, starts programs, relays, reports.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::Timespec;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use super::frame::{self, Channel, Ended, HELLO, Start, Token};
use super::pump::{Event, Pump};

/// The TCP port on which agents listen.
pub const PORT: u16 = 7117;
/// Programs at once; more are refused by closing their connection.
const MAX_CONNECTIONS: usize = 256;
/// How long a client may take to greet and to say what to start.
const GREETING: Duration = Duration::from_secs(30);

/// The token on a kernel command line, after `cohost.token=`.
pub fn token_of_kernel(command_line: &str) -> Option<Token> {
    command_line
        .split_whitespace()
        .find_map(|word| word.strip_prefix("cohost.token="))
        .and_then(Token::parse)
}

/// Serves clients that know the token, each in a thread of its own, for ever. It returns only
/// when the listener itself fails.
pub fn serve(listener: TcpListener, token: Token) -> io::Result<()> {
    // Each connection holds a clone: the count says how many there are.
    let token = Arc::new(token);
    loop {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            // Out of descriptors or memory, or a client that went away: not the listener's end.
            Err(error) if error.raw_os_error() != Some(rustix::io::Errno::BADF.raw_os_error()) => {
                std::thread::sleep(Duration::from_millis(20));
                continue;
            }
            Err(error) => return Err(error),
        };
        if Arc::strong_count(&token) > MAX_CONNECTIONS {
            continue;
        }
        let token = Arc::clone(&token);
        let thread = std::thread::Builder::new().name("agent".into());
        // A thread that cannot be made closes the connection, which says enough.
        let _ = thread.spawn(move || {
            if let Err(error) = converse(stream, &token) {
                eprintln!("lab-agent: {error}");
            }
        });
    }
}

/// One connection, from greeting to end.
fn converse(mut stream: TcpStream, token: &Token) -> io::Result<()> {
    stream.set_read_timeout(Some(GREETING))?;
    stream.set_nodelay(true)?;
    let mut hello = [0; HELLO.len() + 32];
    stream.read_exact(&mut hello)?;
    let (magic, given) = hello.split_at(HELLO.len());
    if magic != HELLO || !token.matches(given) {
        return Err(io::Error::other("a client without the right token was sent away"));
    }
    let mut ready = Vec::new();
    frame::encode(Channel::Ready, &[], &mut ready);
    stream.write_all(&ready)?;
    let Some(start) = read_start(&mut stream)? else {
        return Ok(());
    };
    let mut pump = Pump::new(stream)?;
    match launch(&start, &mut pump) {
        Ok(child) => accompany(child, &mut pump),
        Err(error) => {
            let text = format!("{}: {error}", start.program.to_string_lossy());
            pump.send(Channel::Failed, text.get(..1000).unwrap_or(&text).as_bytes());
            farewell(&mut pump)
        }
    }
}

/// The first frame; nothing when the client only wanted to know whether the agent is there.
fn read_start(stream: &mut TcpStream) -> io::Result<Option<Start>> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        if let Some((channel, payload, used)) = frame::decode(&bytes).map_err(io::Error::other)? {
            if channel != Channel::Start || used != bytes.len() {
                return Err(io::Error::other("a client began with something else than Start"));
            }
            return Start::decode(payload).map(Some).map_err(io::Error::other);
        }
        match stream.read(&mut buffer)? {
            0 => return Ok(None),
            count => bytes.extend_from_slice(buffer.get(..count).unwrap_or_default()),
        }
    }
}

/// Starts the program with its streams connected to the pump.
fn launch(start: &Start, pump: &mut Pump) -> io::Result<Child> {
    let mut command = Command::new(&start.program);
    command
        .args(&start.args)
        .envs(start.env.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // A group of its own, so that its children end with it.
        .process_group(0);
    let theirs = start.pmi.then(|| connect_pmi(&mut command, pump)).transpose()?;
    let mut child = command.spawn()?;
    drop(theirs);
    if let Some(pipe) = child.stdin.take() {
        pump.add_sink(Channel::Stdin, pipe.into())?;
    }
    if let Some(pipe) = child.stdout.take() {
        pump.add_source(Channel::Stdout, pipe.into())?;
    }
    if let Some(pipe) = child.stderr.take() {
        pump.add_source(Channel::Stderr, pipe.into())?;
    }
    pump.send(Channel::Started, &child.id().to_le_bytes());
    Ok(child)
}

/// Gives the program one end of a socket pair as `PMI_FD` and the pump the other. The returned
/// end must live until the program is started.
fn connect_pmi(command: &mut Command, pump: &mut Pump) -> io::Result<OwnedFd> {
    let (ours, theirs) = UnixStream::pair()?;
    pump.add_source(Channel::Pmi, ours.try_clone()?.into())?;
    pump.add_sink(Channel::Pmi, ours.into())?;
    let theirs = OwnedFd::from(theirs);
    let number = theirs.as_raw_fd();
    command.env("PMI_FD", number.to_string());
    let keep = move || {
        // SAFETY: the number is that of `theirs`, which the caller keeps open until after the
        // fork; the child's copy is borrowed for this call only.
        let fd = unsafe { std::os::fd::BorrowedFd::borrow_raw(number) };
        rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::empty())?;
        Ok(())
    };
    // SAFETY: the closure makes one system call and neither allocates nor locks.
    unsafe { command.pre_exec(keep) };
    Ok(theirs)
}

/// Relays until the program has ended and its output is delivered, or the client goes away.
fn accompany(mut child: Child, pump: &mut Pump) -> io::Result<()> {
    let relayed = relay(&mut child, pump);
    // Whatever happened, nothing of it stays: the group outlives its leader.
    if let Some(group) = Pid::from_raw(child.id().cast_signed()) {
        let _ = kill_process_group(group, Signal::KILL);
    }
    let _ = child.wait();
    if relayed? { farewell(pump) } else { Ok(()) }
}

/// True when all was said, false when the client has gone.
fn relay(child: &mut Child, pump: &mut Pump) -> io::Result<bool> {
    let group = Pid::from_child(child);
    let pidfd = pidfd_open(group, PidfdFlags::empty())?;
    let mut ended = false;
    let outputs = [Channel::Stdout, Channel::Stderr];
    while !ended || pump.has_source(&outputs) {
        let watched = [pidfd.as_fd()];
        let watched: &[_] = if ended { &[] } else { &watched };
        for event in pump.step(watched, None)? {
            match event {
                Event::Closed => return Ok(false),
                Event::Frame(Channel::Signal, signals) if !ended => {
                    for signal in signals {
                        if let Some(signal) = Signal::from_named_raw(i32::from(signal)) {
                            let _ = kill_process_group(group, signal);
                        }
                    }
                }
                Event::Frame(Channel::Signal, _) => {}
                Event::Frame(channel, _) => {
                    return Err(io::Error::other(format!("unexpected {channel:?} frame")));
                }
                Event::Watched(_) => {
                    if let Some(status) = child.try_wait()? {
                        ended = true;
                        pump.send(Channel::Exit, &how(status).encode());
                    }
                }
            }
        }
    }
    Ok(true)
}

/// Sends what is left and waits for the client to close: closing first, with bytes of the
/// client unread, would reset the connection and lose what it has not read yet.
fn farewell(pump: &mut Pump) -> io::Result<()> {
    let patience = Timespec { tv_sec: 1, tv_nsec: 0 };
    let (mut finished, begun) = (false, Instant::now());
    while begun.elapsed() < GREETING {
        if pump.is_flushed() && !finished {
            pump.finish();
            finished = true;
        }
        if pump.step(&[], Some(patience))?.contains(&Event::Closed) {
            return Ok(());
        }
    }
    Ok(())
}

fn how(status: ExitStatus) -> Ended {
    match (status.code(), status.signal()) {
        (Some(code), _) => Ended::Code(code),
        (None, Some(signal)) => Ended::Signal(signal),
        (None, None) => Ended::Code(1),
    }
}
