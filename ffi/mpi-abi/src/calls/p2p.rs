//! Point-to-point messages (MPI 5.0, 3 and 4). Requests have a file of their own.

use std::ffi::{c_int, c_void};

use cohost::mpi::failure::Outcome;
use cohost::mpi::process::{Buffer, Message, Mode};

use crate::args::{Handle, Status};
use crate::constants::{MPI_MESSAGE_NO_PROC, MPI_MESSAGE_NULL};
use crate::handles;
use crate::runtime::{comm, datatype, process, put_request, put_status};

macro_rules! sends {
    ($(
        $mode:ident:
        entry fn $blocking:ident, entry fn $nonblocking:ident, entry fn $persistent:ident;
    )*) => {$(
        #[inline]
        pub(crate) unsafe fn $blocking(
            buf: *const c_void,
            count: i64,
            datatype: Handle,
            dest: c_int,
            tag: c_int,
            comm: Handle,
        ) -> Outcome<()> {
            let (comm, datatype) = (self::comm(comm)?, self::datatype(datatype)?);
            let buffer = Buffer::new(buf.cast(), count, &datatype);
            // SAFETY: the application gives a buffer of these elements.
            unsafe { process()?.send(buffer, dest, tag, &comm, Mode::$mode) }
        }

        pub(crate) unsafe fn $nonblocking(
            buf: *const c_void,
            count: i64,
            datatype: Handle,
            dest: c_int,
            tag: c_int,
            comm: Handle,
            request: *mut Handle,
        ) -> Outcome<()> {
            let (comm, datatype) = (self::comm(comm)?, self::datatype(datatype)?);
            let buffer = Buffer::new(buf.cast(), count, &datatype);
            // SAFETY: the application keeps the buffer until the request is complete.
            let key = unsafe { process()?.isend(buffer, dest, tag, &comm, Mode::$mode) }?;
            // SAFETY: the application gives an address to write to.
            unsafe { put_request(request, key) }
        }

        pub(crate) unsafe fn $persistent(
            buf: *const c_void,
            count: i64,
            datatype: Handle,
            dest: c_int,
            tag: c_int,
            comm: Handle,
            request: *mut Handle,
        ) -> Outcome<()> {
            let (comm, datatype) = (self::comm(comm)?, self::datatype(datatype)?);
            let buffer = Buffer::new(buf.cast(), count, &datatype);
            // SAFETY: the application keeps the buffer while the operation is active.
            let key = unsafe { process()?.send_init(buffer, dest, tag, &comm, Mode::$mode) }?;
            // SAFETY: the application gives an address to write to.
            unsafe { put_request(request, key) }
        }
    )*};
}

sends! {
    Standard: entry fn send, entry fn isend, entry fn send_init;
    Synchronous: entry fn ssend, entry fn issend, entry fn ssend_init;
    Ready: entry fn rsend, entry fn irsend, entry fn rsend_init;
    Buffered: entry fn bsend, entry fn ibsend, entry fn bsend_init;
}

#[inline]
pub(crate) unsafe fn recv(
    buf: *mut c_void,
    count: i64,
    datatype: Handle,
    source: c_int,
    tag: c_int,
    comm: Handle,
    status: *mut Status,
) -> Outcome<()> {
    let (comm, datatype) = (self::comm(comm)?, self::datatype(datatype)?);
    let buffer = Buffer::new(buf.cast(), count, &datatype);
    // SAFETY: the application gives a buffer of these elements.
    let found = unsafe { process()?.recv(buffer, source, tag, &comm) }?;
    // SAFETY: the application gives an address to write to, or none.
    unsafe { put_status(status, &found) };
    Ok(())
}

pub(crate) unsafe fn irecv(
    buf: *mut c_void,
    count: i64,
    datatype: Handle,
    source: c_int,
    tag: c_int,
    comm: Handle,
    request: *mut Handle,
) -> Outcome<()> {
    let (comm, datatype) = (self::comm(comm)?, self::datatype(datatype)?);
    let buffer = Buffer::new(buf.cast(), count, &datatype);
    // SAFETY: the application keeps the buffer until the request is complete.
    let key = unsafe { process()?.irecv(buffer, source, tag, &comm) }?;
    // SAFETY: the application gives an address to write to.
    unsafe { put_request(request, key) }
}

pub(crate) unsafe fn recv_init(
    buf: *mut c_void,
    count: i64,
    datatype: Handle,
    source: c_int,
    tag: c_int,
    comm: Handle,
    request: *mut Handle,
) -> Outcome<()> {
    let (comm, datatype) = (self::comm(comm)?, self::datatype(datatype)?);
    let buffer = Buffer::new(buf.cast(), count, &datatype);
    // SAFETY: the application keeps the buffer while the operation is active.
    let key = unsafe { process()?.recv_init(buffer, source, tag, &comm) }?;
    // SAFETY: the application gives an address to write to.
    unsafe { put_request(request, key) }
}

pub(crate) unsafe fn sendrecv(
    sendbuf: *const c_void,
    sendcount: i64,
    sendtype: Handle,
    dest: c_int,
    sendtag: c_int,
    recvbuf: *mut c_void,
    recvcount: i64,
    recvtype: Handle,
    source: c_int,
    recvtag: c_int,
    comm: Handle,
    status: *mut Status,
) -> Outcome<()> {
    let (comm, process) = (self::comm(comm)?, process()?);
    let (sendtype, recvtype) = (datatype(sendtype)?, datatype(recvtype)?);
    let from = Buffer::new(sendbuf.cast(), sendcount, &sendtype);
    let into = Buffer::new(recvbuf.cast(), recvcount, &recvtype);
    // SAFETY: the application gives buffers of these elements that do not overlap.
    let found = unsafe { process.sendrecv((from, dest, sendtag), (into, source, recvtag), &comm) }?;
    // SAFETY: the application gives an address to write to, or none.
    unsafe { put_status(status, &found) };
    Ok(())
}

pub(crate) unsafe fn isendrecv(
    sendbuf: *const c_void,
    sendcount: i64,
    sendtype: Handle,
    dest: c_int,
    sendtag: c_int,
    recvbuf: *mut c_void,
    recvcount: i64,
    recvtype: Handle,
    source: c_int,
    recvtag: c_int,
    comm: Handle,
    request: *mut Handle,
) -> Outcome<()> {
    let (comm, process) = (self::comm(comm)?, process()?);
    let (sendtype, recvtype) = (datatype(sendtype)?, datatype(recvtype)?);
    let from = Buffer::new(sendbuf.cast(), sendcount, &sendtype);
    let into = Buffer::new(recvbuf.cast(), recvcount, &recvtype);
    // SAFETY: the application keeps both buffers until the request is complete.
    let key = unsafe { process.isendrecv((from, dest, sendtag), (into, source, recvtag), &comm) }?;
    // SAFETY: the application gives an address to write to.
    unsafe { put_request(request, key) }
}

pub(crate) unsafe fn sendrecv_replace(
    buf: *mut c_void,
    count: i64,
    datatype: Handle,
    dest: c_int,
    sendtag: c_int,
    source: c_int,
    recvtag: c_int,
    comm: Handle,
    status: *mut Status,
) -> Outcome<()> {
    let (comm, datatype) = (self::comm(comm)?, self::datatype(datatype)?);
    let buffer = Buffer::new(buf.cast(), count, &datatype);
    let (to, from) = ((dest, sendtag), (source, recvtag));
    // SAFETY: the application gives a buffer of these elements.
    let found = unsafe { process()?.sendrecv_replace(buffer, to, from, &comm) }?;
    // SAFETY: the application gives an address to write to, or none.
    unsafe { put_status(status, &found) };
    Ok(())
}

pub(crate) unsafe fn isendrecv_replace(
    buf: *mut c_void,
    count: i64,
    datatype: Handle,
    dest: c_int,
    sendtag: c_int,
    source: c_int,
    recvtag: c_int,
    comm: Handle,
    request: *mut Handle,
) -> Outcome<()> {
    let (comm, datatype) = (self::comm(comm)?, self::datatype(datatype)?);
    let buffer = Buffer::new(buf.cast(), count, &datatype);
    let (to, from) = ((dest, sendtag), (source, recvtag));
    // SAFETY: the application keeps the buffer until the request is complete.
    let key = unsafe { process()?.isendrecv_replace(buffer, to, from, &comm) }?;
    // SAFETY: the application gives an address to write to.
    unsafe { put_request(request, key) }
}

pub(crate) unsafe fn probe(
    source: c_int,
    tag: c_int,
    comm: Handle,
    status: *mut Status,
) -> Outcome<()> {
    let found = process()?.probe(source, tag, &*self::comm(comm)?)?;
    // SAFETY: the application gives an address to write to, or none.
    unsafe { put_status(status, &found) };
    Ok(())
}

pub(crate) unsafe fn iprobe(
    source: c_int,
    tag: c_int,
    comm: Handle,
    flag: *mut c_int,
    status: *mut Status,
) -> Outcome<()> {
    let found = process()?.iprobe(source, tag, &*self::comm(comm)?)?;
    // SAFETY: the application gives an address to write to.
    unsafe { *flag = found.is_some().into() };
    if let Some(found) = found {
        // SAFETY: the application gives an address to write to, or none.
        unsafe { put_status(status, &found) };
    }
    Ok(())
}

/// The handle of a message.
fn of_message(message: Message) -> Handle {
    match message {
        Message::OfNobody => MPI_MESSAGE_NO_PROC,
        Message::Is(key) => handles::number(key.index(), key.generation() as usize),
    }
}

/// The message of a handle.
fn message(handle: Handle) -> Outcome<Message> {
    if handle == MPI_MESSAGE_NO_PROC {
        return Ok(Message::OfNobody);
    }
    let parts = handles::parts(handle);
    let key = match parts {
        Some((index, _)) => process()?.message_at(index)?,
        None => None,
    };
    let fits = |key: &cohost::proto::Key| {
        let generation = key.generation() as usize % handles::GENERATIONS;
        parts.is_some_and(|(_, expected)| expected == generation)
    };
    match key.filter(fits) {
        Some(key) => Ok(Message::Is(key)),
        None => cohost::mpi::failure::fail(
            cohost::mpi::failure::Class::Request,
            format!("no message has the handle {:#x}: it was received already", handle.0),
        ),
    }
}

pub(crate) unsafe fn mprobe(
    source: c_int,
    tag: c_int,
    comm: Handle,
    message: *mut Handle,
    status: *mut Status,
) -> Outcome<()> {
    let (found, about) = process()?.mprobe(source, tag, &*self::comm(comm)?)?;
    // SAFETY: the application gives an address to write to.
    unsafe { *message = of_message(found) };
    // SAFETY: the application gives an address to write to, or none.
    unsafe { put_status(status, &about) };
    Ok(())
}

pub(crate) unsafe fn improbe(
    source: c_int,
    tag: c_int,
    comm: Handle,
    flag: *mut c_int,
    message: *mut Handle,
    status: *mut Status,
) -> Outcome<()> {
    let found = process()?.improbe(source, tag, &*self::comm(comm)?)?;
    // SAFETY: the application gives an address to write to.
    unsafe { *flag = found.is_some().into() };
    // SAFETY: as above.
    unsafe { *message = found.map_or(MPI_MESSAGE_NULL, |(found, _)| of_message(found)) };
    if let Some((_, about)) = found {
        // SAFETY: the application gives an address to write to, or none.
        unsafe { put_status(status, &about) };
    }
    Ok(())
}

pub(crate) unsafe fn imrecv(
    buf: *mut c_void,
    count: i64,
    datatype: Handle,
    message: *mut Handle,
    request: *mut Handle,
) -> Outcome<()> {
    let datatype = self::datatype(datatype)?;
    let buffer = Buffer::new(buf.cast(), count, &datatype);
    // SAFETY: the application gives the address of a message.
    let taken = self::message(unsafe { *message })?;
    // SAFETY: the application keeps the buffer until the request is complete.
    let key = unsafe { process()?.imrecv(buffer, taken) }?;
    // SAFETY: the application gives an address to write to.
    unsafe { *message = MPI_MESSAGE_NULL };
    // SAFETY: as above.
    unsafe { put_request(request, key) }
}

pub(crate) unsafe fn mrecv(
    buf: *mut c_void,
    count: i64,
    datatype: Handle,
    message: *mut Handle,
    status: *mut Status,
) -> Outcome<()> {
    let datatype = self::datatype(datatype)?;
    let buffer = Buffer::new(buf.cast(), count, &datatype);
    // SAFETY: the application gives the address of a message.
    let taken = self::message(unsafe { *message })?;
    let process = process()?;
    // SAFETY: waited for at once.
    let key = unsafe { process.imrecv(buffer, taken) }?;
    // SAFETY: the application gives an address to write to.
    unsafe { *message = MPI_MESSAGE_NULL };
    let found = process.wait(key)?.outcome?;
    // SAFETY: the application gives an address to write to, or none.
    unsafe { put_status(status, &found) };
    Ok(())
}

macro_rules! partitioned {
    ($(entry fn $name:ident to $peer:ident, $buffer:ty;)*) => {$(
        pub(crate) unsafe fn $name(
            buf: $buffer,
            partitions: c_int,
            count: i64,
            datatype: Handle,
            $peer: c_int,
            tag: c_int,
            comm: Handle,
            _info: Handle,
            request: *mut Handle,
        ) -> Outcome<()> {
            let (comm, datatype) = (self::comm(comm)?, self::datatype(datatype)?);
            let buffer = Buffer::new(buf.cast(), count, &datatype);
            // SAFETY: the application keeps the buffer while the operation is active.
            let key = unsafe { process()?.$name(buffer, partitions, $peer, tag, &comm) }?;
            // SAFETY: the application gives an address to write to.
            unsafe { put_request(request, key) }
        }
    )*};
}

partitioned! {
    entry fn psend_init to dest, *const c_void;
    entry fn precv_init to source, *mut c_void;
}
