//! Handing a section's descriptor to the peers on the same machine.
//!
//! Each rank has a mailbox: a datagram socket with a name in the abstract namespace, which leaves
//! nothing in the file system and goes with its owner. Anyone in the same network namespace can
//! write to it, so nothing is believed but what the kernel vouches for (the sender's user id) and
//! a secret that the owner has published to the ranks of its job only. What a peer cannot reach
//! this way (another namespace) it reaches by [`super::file`], or over TCP.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use super::{cmsg, file, sys};

/// Bytes of a mailbox's secret.
pub const SECRET_BYTES: usize = 16;
/// Datagrams looked at in one call: a flood of garbage costs a bounded time.
const LOOKED_AT_MAX: usize = 32;

/// Magic, secret, rank, number.
const LETTER_BYTES: usize = 8 + SECRET_BYTES + 4 + 8;

/// What a letter brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enclosed {
    /// The section with this epoch.
    Section(u64),
    /// A chunk that is lent ([`super::lending`]) under this name.
    Chunk(u64),
}

impl Enclosed {
    fn magic(self) -> [u8; 8] {
        match self {
            Self::Section(_) => *b"cohostP1",
            Self::Chunk(_) => *b"cohostL1",
        }
    }

    fn number(self) -> u64 {
        match self {
            Self::Section(number) | Self::Chunk(number) => number,
        }
    }
}

/// Why a descriptor could not be handed over.
#[derive(Debug, thiserror::Error)]
pub enum PassError {
    /// The mailbox could not be opened or read.
    #[error("{what} failed for the mailbox of rank {rank}: {source}")]
    Mailbox {
        /// The step.
        what: &'static str,
        /// Whose mailbox.
        rank: u32,
        /// The system's answer.
        source: io::Error,
    },
    /// Nobody listens there: the rank is gone, or in another network namespace.
    #[error(
        "rank {rank} has no mailbox in this network namespace: it has ended, or runs in another \
         container (COHOST_SHM_DIR serves those)"
    )]
    NobodyThere {
        /// Whose mailbox.
        rank: u32,
    },
}

/// Where a rank receives, as it has told its job.
#[derive(Clone, Copy, Debug)]
pub struct Address<'a> {
    /// The job's id.
    pub job: &'a str,
    /// The receiving rank.
    pub rank: u32,
    /// The epoch that its mailbox was opened with.
    pub epoch: u64,
    /// The secret that its mailbox asks for.
    pub secret: [u8; SECRET_BYTES],
}

/// What became of a letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// It is in the mailbox.
    Delivered,
    /// The mailbox is full (or too many descriptors are under way): try again later.
    TryLater,
}

/// A descriptor that came with the right secret from our own user.
#[derive(Debug)]
pub struct Received {
    /// The rank that says it sent it; what it says is checked by [`super::posix::adopt`], and of a
    /// chunk by its name, which only that rank has told us.
    pub from_rank: u32,
    /// What it says it sent.
    pub enclosed: Enclosed,
    /// The descriptor, closed on exec.
    pub fd: OwnedFd,
}

/// Where this rank receives descriptors.
#[derive(Debug)]
pub struct Mailbox {
    socket: UnixDatagram,
    rank: u32,
    secret: [u8; SECRET_BYTES],
}

impl Mailbox {
    /// Opens the mailbox of `rank` of `job`, with a fresh secret.
    ///
    /// # Errors
    /// When the name is taken or the system refuses.
    pub fn open(job: &str, rank: u32, epoch: u64) -> Result<Self, PassError> {
        let failed = |what| move |source| PassError::Mailbox { what, rank, source };
        let mut secret = [0; SECRET_BYTES];
        getrandom::fill(&mut secret)
            .map_err(|error| failed("getrandom")(io::Error::other(error.to_string())))?;
        let address = name(job, rank, epoch).map_err(failed("naming"))?;
        let socket = UnixDatagram::bind_addr(&address).map_err(failed("bind"))?;
        socket.set_nonblocking(true).map_err(failed("fcntl"))?;
        // What arrives before this line comes without credentials, and is refused for that.
        cmsg::want_credentials(socket.as_fd()).map_err(failed("setsockopt(SO_PASSCRED)"))?;
        Ok(Self { socket, rank, secret })
    }

    /// The secret to publish to the ranks of this job, and to nobody else.
    #[must_use]
    pub fn secret(&self) -> [u8; SECRET_BYTES] {
        self.secret
    }

    /// The next descriptor that came with the right secret. Everything else is dropped, its
    /// descriptors closed, at most 32 datagrams in one call: `None` means "nothing now".
    ///
    /// # Errors
    /// When the socket itself fails.
    pub fn receive(&self) -> Result<Option<Received>, PassError> {
        // One byte more than a letter has, so that longer ones show.
        let mut bytes = [0; LETTER_BYTES + 1];
        for _ in 0..LOOKED_AT_MAX {
            let datagram = match cmsg::receive(self.socket.as_fd(), &mut bytes) {
                Ok(datagram) => datagram,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(source) => {
                    return Err(PassError::Mailbox { what: "recvmsg", rank: self.rank, source });
                }
            };
            if let Some(received) = self.accept(datagram, &bytes) {
                return Ok(Some(received));
            }
        }
        Ok(None)
    }

    /// Checks one datagram; its descriptors are closed unless it is what it should be.
    fn accept(&self, datagram: cmsg::Datagram, bytes: &[u8]) -> Option<Received> {
        let [fd] = <[OwnedFd; 1]>::try_from(datagram.fds).ok()?;
        if datagram.cut || datagram.uid != Some(sys::uid()) || datagram.len != LETTER_BYTES {
            return None;
        }
        let (magic, rest) = bytes.get(..datagram.len)?.split_first_chunk::<8>()?;
        let (secret, rest) = rest.split_first_chunk::<SECRET_BYTES>()?;
        let (from_rank, rest) = rest.split_first_chunk::<4>()?;
        let (number, _) = rest.split_first_chunk::<8>()?;
        let number = u64::from_le_bytes(*number);
        let kinds = [Enclosed::Section(number), Enclosed::Chunk(number)];
        let enclosed = kinds.into_iter().find(|kind| kind.magic() == *magic)?;
        let from_rank = u32::from_le_bytes(*from_rank);
        same(secret, &self.secret).then_some(Received { from_rank, enclosed, fd })
    }
}

impl AsFd for Mailbox {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Sends `fd`, which is what `from_rank` says it is, to the mailbox `to`. Never waits.
///
/// # Errors
/// [`PassError::NobodyThere`] when there is no such mailbox.
pub fn send_fd(
    to: &Address<'_>,
    from_rank: u32,
    enclosed: Enclosed,
    fd: BorrowedFd<'_>,
) -> Result<Sent, PassError> {
    let rank = to.rank;
    let failed = |what| move |source| PassError::Mailbox { what, rank, source };
    let address = name(to.job, rank, to.epoch).map_err(failed("naming"))?;
    let socket = UnixDatagram::unbound().map_err(failed("socket"))?;
    let mut letter = [0; LETTER_BYTES];
    let fields = enclosed
        .magic()
        .into_iter()
        .chain(to.secret)
        .chain(from_rank.to_le_bytes())
        .chain(enclosed.number().to_le_bytes());
    letter.iter_mut().zip(fields).for_each(|(place, byte)| *place = byte);
    let sent = socket.connect_addr(&address).and_then(|()| cmsg::send(socket.as_fd(), &letter, fd));
    match sent {
        Ok(()) => Ok(Sent::Delivered),
        Err(error) => match error.raw_os_error() {
            Some(libc::EAGAIN | libc::EINTR | libc::ENOBUFS | libc::ETOOMANYREFS) => {
                Ok(Sent::TryLater)
            }
            Some(libc::ECONNREFUSED | libc::ENOENT) => Err(PassError::NobodyThere { rank }),
            _ => Err(failed("sendmsg")(error)),
        },
    }
}

/// A mailbox's name, built from numbers only.
fn name(job: &str, rank: u32, epoch: u64) -> io::Result<SocketAddr> {
    let name = format!("cohost/{:016x}/{rank:08x}/{epoch:016x}", file::job_hash(job));
    SocketAddr::from_abstract_name(name)
}

/// Compares secrets in a time that does not depend on where they differ.
fn same(left: &[u8; SECRET_BYTES], right: &[u8; SECRET_BYTES]) -> bool {
    left.iter().zip(right).fold(0, |difference, (l, r)| difference | (l ^ r)) == 0
}
