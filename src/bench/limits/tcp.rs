//! Loopback TCP, as fast as it goes: both ends poll without blocking, with TCP_NODELAY, on cores of their own.
//! Best over the system's buffer sizes and larger ones.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use super::{CorePair, LimitsError, on_two_cores, wait};

const BATCHES: usize = 6;
/// Connections tried with each buffer size: some start out badly and stay so.
const CONNECTIONS: usize = 2;
/// Bytes that one timed batch moves in each direction, within 4 to 500 rounds.
const BATCH_BYTES: usize = 8 << 20;
/// Socket buffers tried besides the system's own, in bytes; the kernel caps them.
const BUFFERS: [Option<usize>; 2] = [None, Some(4 << 20)];

pub(super) fn half_round_trip_us(pair: CorePair, size: usize) -> Result<f64, LimitsError> {
    let mut best = f64::INFINITY;
    for buffer in BUFFERS {
        for _ in 0..CONNECTIONS {
            best = best.min(time_buffer(pair, size, buffer)?);
        }
    }
    Ok(best)
}

fn time_buffer(pair: CorePair, size: usize, buffer: Option<usize>) -> Result<f64, LimitsError> {
    let (mut near, mut far) = connected_pair(buffer)?;
    let rounds = (BATCH_BYTES / size).clamp(4, 500);
    on_two_cores(
        pair,
        move || {
            let (sent, mut received) = (vec![5u8; size], vec![0u8; size]);
            let mut best = f64::INFINITY;
            // The first batch only opens the windows.
            for batch in 0..=BATCHES {
                let begun = Instant::now();
                for _ in 0..rounds {
                    send(&mut near, &sent)?;
                    receive(&mut near, &mut received)?;
                }
                let took = begun.elapsed().as_secs_f64();
                best = if batch == 0 { best } else { best.min(took) };
            }
            Ok(best * 1e6 / (2 * rounds) as f64)
        },
        move || {
            let (sent, mut received) = (vec![6u8; size], vec![0u8; size]);
            for _ in 0..rounds * (BATCHES + 1) {
                receive(&mut far, &mut received)?;
                send(&mut far, &sent)?;
            }
            Ok(())
        },
    )
}

fn connected_pair(buffer: Option<usize>) -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    let near = TcpStream::connect(listener.local_addr()?)?;
    let far = accept_from(&listener, &near)?;
    for stream in [&near, &far] {
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        if let Some(bytes) = buffer {
            let socket = socket2::SockRef::from(stream);
            socket.set_send_buffer_size(bytes)?;
            socket.set_recv_buffer_size(bytes)?;
        }
    }
    Ok((near, far))
}

/// Any process of the machine may connect to an open port: only our own end counts.
fn accept_from(listener: &TcpListener, near: &TcpStream) -> io::Result<TcpStream> {
    let ours = near.local_addr()?;
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(5) {
        match listener.accept() {
            Ok((stream, from)) if from == ours => return Ok(stream),
            Ok(_) => {}
            Err(e) if e.kind() == ErrorKind::WouldBlock => std::thread::yield_now(),
            Err(e) => return Err(e),
        }
    }
    Err(io::Error::new(ErrorKind::TimedOut, "our own connection did not arrive within 5 s"))
}

fn send(stream: &mut TcpStream, message: &[u8]) -> Result<(), LimitsError> {
    let mut done = 0;
    while done < message.len() {
        done += moved(|| stream.write(&message[done..]))?;
    }
    Ok(())
}

fn receive(stream: &mut TcpStream, message: &mut [u8]) -> Result<(), LimitsError> {
    let mut done = 0;
    while done < message.len() {
        done += moved(|| stream.read(&mut message[done..]))?;
    }
    Ok(())
}

/// Polls until some bytes have moved.
fn moved(mut step: impl FnMut() -> io::Result<usize>) -> Result<usize, LimitsError> {
    let outcome = wait::until(|| match step() {
        Ok(0) => Some(Err(io::Error::from(ErrorKind::UnexpectedEof))),
        Ok(n) => Some(Ok(n)),
        Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => None,
        Err(e) => Some(Err(e)),
    })?;
    Ok(outcome?)
}
