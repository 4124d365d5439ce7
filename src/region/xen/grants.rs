//! Grants by the devices of Linux: `/dev/xen/gntalloc` gives pages of ours to another domain,
//! `/dev/xen/gntdev` maps pages given to us. Source: `include/uapi/xen/gntalloc.h` and `gntdev.h`.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;

use memmap2::{MmapOptions, MmapRaw};

use crate::region::access::{Held, Mapping};
use crate::region::ioctl;
use crate::region::layout::PAGE;

const GROUP: u8 = b'G';
/// Bytes before the references in `ioctl_gntalloc_alloc_gref` (domain `u16`, flags `u16`, count
/// `u32`, index `u64`) and in `ioctl_gntdev_map_grant_ref` (count `u32`, padding, index `u64`).
const HEAD: usize = 16;
/// Offset of the index in both.
const INDEX: usize = 8;
/// Both structures are declared with one reference, and padded to 8 bytes.
const DECLARED: usize = 24;
const ALLOC: libc::Ioctl = ioctl::number(GROUP, 5, DECLARED);
const DEALLOC: libc::Ioctl = ioctl::number(GROUP, 6, size_of::<Range>());
const MAP: libc::Ioctl = ioctl::number(GROUP, 0, DECLARED);
const UNMAP: libc::Ioctl = ioctl::number(GROUP, 1, size_of::<Range>());

/// `ioctl_gntalloc_dealloc_gref` and `ioctl_gntdev_unmap_grant_ref`: the same shape.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
struct Range {
    index: u64,
    count: u32,
    padding: u32,
}

/// The structure of a call that has references behind its head, aligned as the kernel wants it.
struct Message(Vec<u64>);

impl Message {
    fn new(bytes: usize) -> Self {
        Self(vec![0; bytes.max(DECLARED).div_ceil(8)])
    }

    fn put(&mut self, offset: usize, bytes: &[u8]) {
        for (at, byte) in (offset..).zip(bytes) {
            let word = &mut self.0[at / 8];
            let mut inside = word.to_ne_bytes();
            inside[at % 8] = *byte;
            *word = u64::from_ne_bytes(inside);
        }
    }

    fn u32_at(&self, offset: usize) -> u32 {
        let bytes = self.0[offset / 8].to_ne_bytes();
        let half = &bytes[offset % 8..];
        u32::from_ne_bytes([half[0], half[1], half[2], half[3]])
    }

    fn index(&self) -> u64 {
        self.0[INDEX / 8]
    }

    /// What [`ALLOC`] takes: read-only for the domain, which is what no flag means.
    fn alloc(domain: u16, count: u32) -> Self {
        let mut message = Self::new(HEAD + 4 * count as usize);
        message.put(0, &domain.to_ne_bytes());
        message.put(4, &count.to_ne_bytes());
        message
    }

    /// What [`MAP`] takes.
    fn map(domain: u16, references: &[u32]) -> Self {
        let mut message = Self::new(HEAD + 8 * references.len());
        message.put(0, &(references.len() as u32).to_ne_bytes());
        for (i, reference) in references.iter().enumerate() {
            message.put(HEAD + 8 * i, &u32::from(domain).to_ne_bytes());
            message.put(HEAD + 8 * i + 4, &reference.to_ne_bytes());
        }
        message
    }
}

/// Takes grants back, or their mapping, once the memory is unmapped here. The kernel keeps pages
/// that the other side still maps until it lets go, so neither side has to wait for the other.
#[derive(Debug)]
struct Undo {
    file: File,
    request: libc::Ioctl,
    range: Range,
}

impl Held for Undo {}

impl Drop for Undo {
    fn drop(&mut self) {
        // SAFETY: both requests read a `Range` and keep nothing. What fails here is done by the
        // close of the file that follows.
        let _ = unsafe { ioctl::call(self.file.as_fd(), self.request, &mut self.range) };
    }
}

/// Pages that are ours, zeroed, and readable for `domain`: the mapping, and a reference for each.
pub(super) fn give(gntalloc: File, domain: u16, pages: u32) -> io::Result<(Mapping, Vec<u32>)> {
    let mut message = Message::alloc(domain, pages);
    // SAFETY: the message has room for the references of all its pages, which is what the call
    // writes besides the index.
    unsafe { ioctl::call(gntalloc.as_fd(), ALLOC, message.0.as_mut_slice()) }?;
    let references = (0..pages as usize).map(|i| message.u32_at(HEAD + 4 * i)).collect();
    let undo = Undo { file: gntalloc, request: DEALLOC, range: range(&message, pages) };
    let map = MmapOptions::new()
        .offset(message.index())
        .len(pages as usize * PAGE)
        .map_raw(&undo.file)?;
    Ok((held(map, undo), references))
}

/// Maps pages that `domain` has given to us, read-only. The hypervisor refuses references that
/// were given to nobody, or to others.
pub(super) fn take(gntdev: File, domain: u16, references: &[u32]) -> io::Result<Mapping> {
    let mut message = Message::map(domain, references);
    // SAFETY: the call reads as many references as the message says it has, and writes the index.
    unsafe { ioctl::call(gntdev.as_fd(), MAP, message.0.as_mut_slice()) }?;
    let undo =
        Undo { file: gntdev, request: UNMAP, range: range(&message, references.len() as u32) };
    let map = MmapOptions::new()
        .offset(message.index())
        .len(references.len() * PAGE)
        .map_raw_read_only(&undo.file)?;
    Ok(held(map, undo))
}

fn range(message: &Message, count: u32) -> Range {
    Range { index: message.index(), count, padding: 0 }
}

fn held(map: MmapRaw, undo: Undo) -> Mapping {
    Mapping::held(map, Box::new(undo))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_those_of_the_kernels_headers() {
        // Compiled from xen/gntalloc.h and xen/gntdev.h on x86-64.
        assert_eq!(ALLOC, 0x0018_4705);
        assert_eq!(DEALLOC, 0x0010_4706);
        assert_eq!(MAP, 0x0018_4700);
        assert_eq!(UNMAP, 0x0010_4701);
    }

    #[test]
    fn a_request_for_pages_has_the_fields_where_the_kernel_looks_for_them() {
        let message = Message::alloc(7, 3);
        let bytes: Vec<u8> = message.0.iter().flat_map(|word| word.to_ne_bytes()).collect();
        assert_eq!(bytes.len(), 32);
        assert_eq!(bytes[..4], [7, 0, 0, 0]);
        assert_eq!(bytes[4..8], 3_u32.to_ne_bytes());
    }

    #[test]
    fn references_to_map_name_their_domain_one_by_one() {
        let message = Message::map(5, &[100, 200]);
        assert_eq!(message.u32_at(0), 2);
        let at = |i: usize| (message.u32_at(16 + 8 * i), message.u32_at(20 + 8 * i));
        assert_eq!((at(0), at(1)), ((5, 100), (5, 200)));
        assert_eq!(message.0.len() * 8, 32);
    }

    #[test]
    fn what_is_no_xen_device_is_an_error() {
        let null = || File::options().read(true).write(true).open("/dev/null").unwrap();
        assert!(give(null(), 1, 1).is_err());
        assert!(take(null(), 1, &[1]).is_err());
    }
}
