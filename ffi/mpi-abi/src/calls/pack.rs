//! Packing and unpacking (MPI 5.0, 5.2 and 5.3).

use std::ffi::{CStr, c_char, c_void};

use cohost::mpi::datatype::Datatype;
use cohost::mpi::failure::{Class, Outcome, fail};

use crate::args::{Handle, OutNumber};
use crate::runtime::{Ref, comm, datatype};

/// A datatype that is committed, as packing wants it.
fn committed(handle: Handle) -> Outcome<Ref<Datatype>> {
    let found = datatype(handle)?;
    if !found.is_committed() {
        return fail(Class::Type, "the datatype is not committed: call MPI_Type_commit first");
    }
    Ok(found)
}

/// The stream: where the next byte goes or comes from, and how many are left.
struct Stream {
    at: *mut u8,
    left: usize,
    position: i64,
}

impl Stream {
    /// # Safety
    /// The address of the position is one that the call may read.
    unsafe fn at(start: *const c_void, size: i64, position: OutNumber) -> Outcome<Self> {
        // SAFETY: the caller's promise.
        let position = unsafe { position.get() };
        let (Ok(from), Ok(size)) = (usize::try_from(position), usize::try_from(size)) else {
            return fail(
                Class::Arg,
                format!("the position {position} in a buffer of {size} bytes"),
            );
        };
        let Some(left) = size.checked_sub(from) else {
            return fail(Class::Arg, format!("the position {from} is beyond the {size} bytes"));
        };
        Ok(Self { at: start.cast_mut().cast::<u8>().wrapping_add(from), left, position })
    }

    /// How many bytes are needed, if so many are left.
    fn need(&self, bytes: i64) -> Outcome<usize> {
        match usize::try_from(bytes) {
            Ok(bytes) if bytes == 0 || (bytes <= self.left && !self.at.is_null()) => Ok(bytes),
            _ => fail(Class::Truncate, format!("{bytes} packed bytes, but {} are left", self.left)),
        }
    }

    /// Moves the position on.
    ///
    /// # Safety
    /// The address of the position is one that the call may write to.
    unsafe fn advance(&self, position: OutNumber, bytes: usize) -> Outcome<()> {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        // SAFETY: the caller's promise.
        unsafe { position.put(self.position.saturating_add(bytes)) }
    }
}

pub(crate) unsafe fn pack(
    inbuf: *const c_void,
    incount: i64,
    datatype: Handle,
    outbuf: *mut c_void,
    outsize: i64,
    position: OutNumber,
    comm: Handle,
) -> Outcome<()> {
    self::comm(comm)?;
    let datatype = committed(datatype)?;
    // SAFETY: the application gives an address to read and write.
    let stream = unsafe { Stream::at(outbuf, outsize, position) }?;
    let bytes = stream.need(datatype.packed_size(incount)?)?;
    if bytes > 0 {
        let count = usize::try_from(incount).unwrap_or(0);
        // SAFETY: the application gives this much room, and uses it for nothing else.
        let out = unsafe { std::slice::from_raw_parts_mut(stream.at, bytes) };
        // SAFETY: the application gives a buffer of these items, which is not the other one.
        unsafe { datatype.pack(inbuf.cast(), count, 0, out) };
    }
    // SAFETY: as above.
    unsafe { stream.advance(position, bytes) }
}

pub(crate) unsafe fn unpack(
    inbuf: *const c_void,
    insize: i64,
    position: OutNumber,
    outbuf: *mut c_void,
    outcount: i64,
    datatype: Handle,
    comm: Handle,
) -> Outcome<()> {
    self::comm(comm)?;
    let datatype = committed(datatype)?;
    // SAFETY: the application gives an address to read and write.
    let stream = unsafe { Stream::at(inbuf, insize, position) }?;
    let bytes = stream.need(datatype.packed_size(outcount)?)?;
    if bytes > 0 {
        let count = usize::try_from(outcount).unwrap_or(0);
        // SAFETY: the application gives this many bytes.
        let packed = unsafe { std::slice::from_raw_parts(stream.at, bytes) };
        // SAFETY: the application gives a buffer of these items, which is not the other one.
        unsafe { datatype.unpack(outbuf.cast(), count, 0, packed) };
    }
    // SAFETY: as above.
    unsafe { stream.advance(position, bytes) }
}

pub(crate) unsafe fn pack_size(
    incount: i64,
    datatype: Handle,
    comm: Handle,
    size: OutNumber,
) -> Outcome<()> {
    self::comm(comm)?;
    let found = self::datatype(datatype)?.packed_size(incount)?;
    // SAFETY: the application gives an address to write to.
    unsafe { size.put(found) }
}

/// Fails for all representations but the only one.
///
/// # Safety
/// The address is null or that of a string that ends with a zero.
unsafe fn external32(datarep: *const c_char) -> Outcome<()> {
    // SAFETY: the caller's promise.
    let name = (!datarep.is_null()).then(|| unsafe { CStr::from_ptr(datarep) });
    if name == Some(c"external32") {
        return Ok(());
    }
    fail(Class::UnsupportedDatarep, format!("the representation is \"external32\", not {name:?}"))
}

pub(crate) unsafe fn pack_external(
    datarep: *const c_char,
    inbuf: *const c_void,
    incount: i64,
    datatype: Handle,
    outbuf: *mut c_void,
    outsize: i64,
    position: OutNumber,
) -> Outcome<()> {
    // SAFETY: the application gives a string.
    unsafe { external32(datarep) }?;
    let datatype = committed(datatype)?;
    // SAFETY: the application gives an address to read and write.
    let stream = unsafe { Stream::at(outbuf, outsize, position) }?;
    let mut bytes = stream.need(datatype.external_size(incount)?)?;
    if bytes > 0 {
        // SAFETY: the application gives this much room, and uses it for nothing else.
        let out = unsafe { std::slice::from_raw_parts_mut(stream.at, bytes) };
        // SAFETY: the application gives a buffer of these items, which is not the other one.
        bytes = unsafe { datatype.pack_external(inbuf.cast(), incount, out) }?;
    }
    // SAFETY: as above.
    unsafe { stream.advance(position, bytes) }
}

pub(crate) unsafe fn unpack_external(
    datarep: *const c_char,
    inbuf: *const c_void,
    insize: i64,
    position: OutNumber,
    outbuf: *mut c_void,
    outcount: i64,
    datatype: Handle,
) -> Outcome<()> {
    // SAFETY: the application gives a string.
    unsafe { external32(datarep) }?;
    let datatype = committed(datatype)?;
    // SAFETY: the application gives an address to read and write.
    let stream = unsafe { Stream::at(inbuf, insize, position) }?;
    let mut bytes = stream.need(datatype.external_size(outcount)?)?;
    if bytes > 0 {
        // SAFETY: the application gives this many bytes.
        let packed = unsafe { std::slice::from_raw_parts(stream.at, bytes) };
        // SAFETY: the application gives a buffer of these items, which is not the other one.
        bytes = unsafe { datatype.unpack_external(outbuf.cast(), outcount, packed) }?;
    }
    // SAFETY: as above.
    unsafe { stream.advance(position, bytes) }
}

pub(crate) unsafe fn pack_external_size(
    datarep: *const c_char,
    incount: i64,
    datatype: Handle,
    size: OutNumber,
) -> Outcome<()> {
    // SAFETY: the application gives a string.
    unsafe { external32(datarep) }?;
    let found = self::datatype(datatype)?.external_size(incount)?;
    // SAFETY: the application gives an address to write to.
    unsafe { size.put(found) }
}
