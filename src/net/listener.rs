//! Listening sockets: one for each family, so that a machine without IPv6 is served as well.

use super::{BindPolicy, NetConfig, NetError};
use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry, Token};
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Callers that the kernel keeps for us while we compute; the system's limit may be lower.
const BACKLOG: i32 = 4096;

/// What accepting gave.
pub(super) enum Caller {
    /// A new connection, non-blocking.
    Here(TcpStream),
    /// The caller hung up before it was taken; there may be others.
    Lost,
    /// Nobody waits.
    Nobody,
    /// This process or the system has no room for another connection now.
    NoRoom,
}

/// The listening sockets.
pub(super) struct Listeners {
    sockets: Vec<TcpListener>,
}

impl Listeners {
    pub(super) fn bind(config: &NetConfig) -> Result<Self, NetError> {
        let (v4, v6, port) = match config.bind {
            BindPolicy::All => (Ipv4Addr::UNSPECIFIED, Ipv6Addr::UNSPECIFIED, 0),
            BindPolicy::LoopbackOnly => (Ipv4Addr::LOCALHOST, Ipv6Addr::LOCALHOST, 0),
            BindPolicy::Port(port) => (Ipv4Addr::UNSPECIFIED, Ipv6Addr::UNSPECIFIED, port),
        };
        let mut sockets = Vec::new();
        let mut missing = None;
        for ip in [IpAddr::V4(v4), IpAddr::V6(v6)] {
            let address = SocketAddr::new(ip, port);
            match listen(address, config.socket_buffer) {
                Ok(socket) => sockets.push(socket),
                // A family that this machine does not have is no error while there is the other.
                Err(source) if is_family_missing(&source) => {
                    missing = Some(NetError::Listen { address, source });
                }
                Err(source) if source.kind() == io::ErrorKind::AddrInUse => {
                    return Err(NetError::PortTaken { port, source });
                }
                Err(source) => return Err(NetError::Listen { address, source }),
            }
        }
        match missing {
            Some(error) if sockets.is_empty() => Err(error),
            _ => Ok(Listeners { sockets }),
        }
    }

    /// Which of `local` a peer may call, with the port to call.
    pub(super) fn reachable(&self, local: &[IpAddr], policy: BindPolicy) -> Vec<SocketAddr> {
        let wanted = local
            .iter()
            .filter(|address| policy != BindPolicy::LoopbackOnly || address.is_loopback());
        wanted.filter_map(|&ip| Some(SocketAddr::new(ip, self.port_for(ip)?))).collect()
    }

    fn port_for(&self, ip: IpAddr) -> Option<u16> {
        let bound = self.sockets.iter().filter_map(|socket| socket.local_addr().ok());
        bound.filter(|address| address.is_ipv4() == ip.is_ipv4()).map(|a| a.port()).next()
    }

    pub(super) fn register(&mut self, registry: &Registry) -> io::Result<()> {
        for (index, socket) in self.sockets.iter_mut().enumerate() {
            registry.register(socket, Token(usize::MAX - index), Interest::READABLE)?;
        }
        Ok(())
    }

    /// Is this the token of a listener?
    pub(super) fn owns(&self, token: Token) -> bool {
        usize::MAX - token.0 < self.sockets.len()
    }

    /// Accepts one caller from any of the sockets.
    pub(super) fn accept(&self) -> Caller {
        for socket in &self.sockets {
            match socket.accept() {
                Ok((stream, _)) => return Caller::Here(stream),
                Err(error) if is_out_of_room(&error) => return Caller::NoRoom,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return Caller::Lost,
            }
        }
        Caller::Nobody
    }
}

fn listen(address: SocketAddr, buffer: Option<usize>) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    if address.port() != 0 {
        // A port just left by an earlier run may be taken again; one in use is still refused.
        socket.set_reuse_address(true)?;
    }
    if let Some(bytes) = buffer {
        // Accepted sockets inherit these, and the window is agreed upon when accepting.
        socket.set_recv_buffer_size(bytes)?;
        socket.set_send_buffer_size(bytes)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(TcpListener::from_std(socket.into()))
}

fn is_family_missing(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL))
}

/// Out of file descriptors or memory: nothing is wrong with the caller, it can wait.
pub(super) fn is_out_of_room(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM))
}
