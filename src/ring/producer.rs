//! The writing side of a ring. It owns the cells and the bulk buffer, and reads the consumer's
//! positions only when it runs out of room.

use crate::frame::Header;
use crate::region::access::{Local, Remote};

use super::{CELL_LEN, CONTROL_BULK, CONTROL_CELLS, RingFault, Size, cell, cursor};

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// It is in the ring.
    Done,
    /// There is no room now.
    Full,
}

/// The writing side of a ring.
#[derive(Debug)]
pub struct Producer {
    cells: Local,
    bulk: Local,
    peer_control: Remote,
    size: Size,
    /// Cells and bulk bytes written.
    cell_at: u64,
    bulk_at: u64,
    /// The consumer's positions as last seen and accepted.
    cells_read: u64,
    bulk_read: u64,
}

impl Producer {
    /// A producer at the beginning of a fresh ring: `cells` and `bulk` are ours and zero,
    /// `peer_control` is the consumer's control block.
    #[must_use]
    pub fn new(cells: Local, bulk: Local, peer_control: Remote, size: Size) -> Self {
        debug_assert!(size.cells.is_power_of_two() && size.bulk.is_power_of_two());
        Self {
            cells,
            bulk,
            peer_control,
            size,
            cell_at: 0,
            bulk_at: 0,
            cells_read: 0,
            bulk_read: 0,
        }
    }

    /// The longest payload of one frame, in bytes.
    #[must_use]
    pub fn payload_max(&self) -> usize {
        self.size.payload_max()
    }

    /// Writes one frame, if there is room.
    ///
    /// # Errors
    /// When the consumer's positions are impossible.
    #[inline]
    pub fn push(&mut self, header: &Header, payload: &[u8]) -> Result<Pushed, RingFault> {
        debug_assert_eq!(header.len as usize, payload.len());
        if self.cell_at - self.cells_read >= u64::from(self.size.cells) {
            self.refresh()?;
            if self.cell_at - self.cells_read >= u64::from(self.size.cells) {
                return Ok(Pushed::Full);
            }
        }
        let inline = cell::is_inline(header);
        let body = if inline {
            cell::inline_body(header, payload)
        } else {
            let Some(offset) = self.push_bulk(payload)? else {
                return Ok(Pushed::Full);
            };
            cell::long_body(header, offset)
        };
        let lap = cursor::lap(self.cell_at, self.size.cells);
        self.cells.publish_words(self.cell_offset(), cell::flag(header, lap, inline), &body);
        self.cell_at += 1;
        Ok(Pushed::Done)
    }

    /// Copies a payload in, if there is room; gives its offset.
    fn push_bulk(&mut self, payload: &[u8]) -> Result<Option<usize>, RingFault> {
        if payload.is_empty() {
            return Ok(Some(0));
        }
        let place = cursor::place(self.bulk_at, payload.len(), self.size.bulk);
        if place.next - self.bulk_read > u64::from(self.size.bulk) {
            self.refresh()?;
            if place.next - self.bulk_read > u64::from(self.size.bulk) {
                return Ok(None);
            }
        }
        self.bulk.copy_in(place.offset, payload);
        self.bulk_at = place.next;
        Ok(Some(place.offset))
    }

    /// Copies the payload of the frame at `position` (frames since the ring began) back out. It is
    /// there until the consumer was seen to have taken it; then the bytes are arbitrary.
    pub fn recall(&self, position: u64, into: &mut [u8]) {
        let at = (position & u64::from(self.size.cells - 1)) as usize * CELL_LEN;
        let body = self.cells.load_words(at + 8);
        match cell::own_payload(self.cells.load_u64(at), &body) {
            cell::Own::Bulk(offset) if offset + into.len() <= self.bulk.len() => {
                self.bulk.copy_out(offset, into);
            }
            cell::Own::Inline(words) if into.len() <= cell::INLINE_MAX => {
                for (bytes, word) in into.chunks_mut(8).zip(words) {
                    bytes.copy_from_slice(&word.to_le_bytes()[..bytes.len()]);
                }
            }
            // Overwritten by a frame of another kind: taken long ago.
            _ => {}
        }
    }

    fn cell_offset(&self) -> usize {
        (self.cell_at & u64::from(self.size.cells - 1)) as usize * CELL_LEN
    }

    /// Reads the consumer's positions, each once.
    ///
    /// # Errors
    /// When they are impossible.
    #[inline]
    pub fn refresh(&mut self) -> Result<(), RingFault> {
        // SYNC POINT: pairs with `Consumer::publish`; the consumer's reads of what it gives back
        // happen before we overwrite it.
        let bulk_untrusted = self.peer_control.load_u64(CONTROL_BULK);
        let cells_untrusted = self.peer_control.load_u64(CONTROL_CELLS);
        self.cells_read = cursor::accept(cells_untrusted, self.cells_read, self.cell_at)?;
        self.bulk_read = cursor::accept(bulk_untrusted, self.bulk_read, self.bulk_at)?;
        Ok(())
    }

    /// Frames that the consumer had taken when its position was last read.
    #[inline]
    #[must_use]
    pub fn taken(&self) -> u64 {
        self.cells_read
    }
}
