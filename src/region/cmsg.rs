//! Descriptors and credentials as control messages of a datagram: the two system calls, without
//! policy.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Room for control messages: credentials, and more descriptors than anyone should send, so that
/// surplus ones are seen and closed. Words, because control messages are aligned to them.
const CONTROL_WORDS: usize = 32;

/// One datagram as it came.
#[derive(Debug, Default)]
pub(super) struct Datagram {
    /// Bytes written into the caller's buffer.
    pub(super) len: usize,
    /// Whether the datagram, or what came with it, was longer than there was room for.
    pub(super) cut: bool,
    /// The sender's real user id, vouched for by the kernel.
    pub(super) uid: Option<u32>,
    /// Every descriptor that came along: now ours, closed when dropped, closed on exec.
    pub(super) fds: Vec<OwnedFd>,
}

/// Tells the kernel to add the sender's credentials to every datagram received.
pub(super) fn want_credentials(socket: BorrowedFd<'_>) -> io::Result<()> {
    let on: libc::c_int = 1;
    let len = size_of::<libc::c_int>() as libc::socklen_t;
    let (level, option) = (libc::SOL_SOCKET, libc::SO_PASSCRED);
    let value = (&raw const on).cast();
    // SAFETY: `value` points to `len` bytes that outlive the call.
    let result = unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, value, len) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Sends `bytes` and a descriptor over a connected socket, without waiting.
pub(super) fn send(socket: BorrowedFd<'_>, bytes: &[u8], fd: BorrowedFd<'_>) -> io::Result<()> {
    let mut control = [0_u64; CONTROL_WORDS];
    let mut part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let mut message = empty(&mut part, &mut control);
    let payload = size_of::<libc::c_int>() as libc::c_uint;
    // SAFETY: arithmetic only.
    message.msg_controllen = unsafe { libc::CMSG_SPACE(payload) } as _;
    // SAFETY: `message` points to its control buffer, which has room for one header.
    let header = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
    // SAFETY: arithmetic only.
    let len = unsafe { libc::CMSG_LEN(payload) };
    let first = libc::cmsghdr {
        cmsg_len: len as _,
        cmsg_level: libc::SOL_SOCKET,
        cmsg_type: libc::SCM_RIGHTS,
    };
    // SAFETY: the buffer is zeroed, aligned to words, and large enough: `header` is not null.
    unsafe { header.write(first) };
    // SAFETY: as above; the data of this header lies inside the buffer.
    let data = unsafe { libc::CMSG_DATA(header) };
    // SAFETY: room for one descriptor was computed above; the place need not be aligned.
    unsafe { data.cast::<libc::c_int>().write_unaligned(fd.as_raw_fd()) };
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: `message` and all that it points to outlive the call.
    let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const message, flags) };
    match usize::try_from(sent) {
        Ok(len) if len == bytes.len() => Ok(()),
        Ok(_) => Err(io::ErrorKind::WriteZero.into()),
        Err(_) => Err(io::Error::last_os_error()),
    }
}

/// Receives one datagram without waiting, with all that comes along.
pub(super) fn receive(socket: BorrowedFd<'_>, bytes: &mut [u8]) -> io::Result<Datagram> {
    let mut control = [0_u64; CONTROL_WORDS];
    let mut part = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    let mut message = empty(&mut part, &mut control);
    let flags = libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC;
    // SAFETY: `message` and all that it points to outlive the call.
    let received = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, flags) };
    let Ok(len) = usize::try_from(received) else {
        return Err(io::Error::last_os_error());
    };
    let mut datagram = Datagram {
        len,
        cut: message.msg_flags & (libc::MSG_TRUNC | libc::MSG_CTRUNC) != 0,
        ..Datagram::default()
    };
    // SAFETY: the kernel has filled the control buffer that `message` points to.
    let mut next = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
    while !next.is_null() {
        take(next, &mut datagram);
        // SAFETY: `next` is a header inside the control buffer of `message`.
        next = unsafe { libc::CMSG_NXTHDR(&raw const message, next) };
    }
    Ok(datagram)
}

/// Takes what is in one control message that the kernel has written.
fn take(header: *const libc::cmsghdr, datagram: &mut Datagram) {
    // SAFETY: the caller passes a header that the kernel has written into an aligned buffer.
    let libc::cmsghdr { cmsg_len, cmsg_level, cmsg_type, .. } = unsafe { header.read() };
    // SAFETY: arithmetic on a header of the buffer.
    let data = unsafe { libc::CMSG_DATA(header) };
    // SAFETY: arithmetic only.
    let head = unsafe { libc::CMSG_LEN(0) } as usize;
    #[allow(
        clippy::unnecessary_cast,
        reason = "the width of the field differs between C libraries"
    )]
    let len = (cmsg_len as usize).saturating_sub(head);
    match (cmsg_level, cmsg_type) {
        (libc::SOL_SOCKET, libc::SCM_RIGHTS) => {
            let first = data.cast::<libc::c_int>();
            for at in 0..len / size_of::<libc::c_int>() {
                // SAFETY: the kernel has written `len` bytes of descriptors here.
                let place = unsafe { first.add(at) };
                // SAFETY: as above; the place need not be aligned.
                let raw = unsafe { place.read_unaligned() };
                // SAFETY: the kernel has just opened it for us, and nothing else owns it.
                datagram.fds.push(unsafe { OwnedFd::from_raw_fd(raw) });
            }
        }
        (libc::SOL_SOCKET, libc::SCM_CREDENTIALS) if len >= size_of::<libc::ucred>() => {
            // SAFETY: the kernel has written credentials here; the place need not be aligned.
            let found = unsafe { data.cast::<libc::ucred>().read_unaligned() };
            datagram.uid = Some(found.uid);
        }
        _ => {}
    }
}

fn empty(part: &mut libc::iovec, control: &mut [u64; CONTROL_WORDS]) -> libc::msghdr {
    // SAFETY: a message header of zeros is one without name, data and control messages.
    let mut message = unsafe { std::mem::zeroed::<libc::msghdr>() };
    message.msg_iov = part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(control) as _;
    message
}
