//! The reading side of a ring. It trusts nothing in it.

use crate::frame::{Header, Payload};
use crate::region::Life;
use crate::region::access::{Local, Remote};

use super::{CELL_LEN, CONTROL_BULK, CONTROL_CELLS, RingFault, Size, cell, cursor};

/// The reading side of a ring.
#[derive(Debug)]
pub struct Consumer {
    cells: Remote,
    bulk: Remote,
    control: Local,
    size: Size,
    cell_at: u64,
    bulk_at: u64,
    cells_published: u64,
    bulk_published: u64,
    /// For memory that can vanish.
    life: Option<Life>,
}

/// A frame that has arrived. Give it back with [`Consumer::release`] once its payload was copied.
#[derive(Debug)]
pub struct Incoming {
    /// Its header, checked as far as this layer can.
    pub header: Header,
    body: cell::Body,
    inline: bool,
    place: cursor::Place,
}

/// Where the payload of a frame is: in a private copy of its cell, or still in shared memory.
#[derive(Debug)]
pub struct RingPayload<'a> {
    incoming: &'a Incoming,
    bulk: &'a Remote,
}

impl RingPayload<'_> {
    /// Whether it was copied out of shared memory already.
    #[must_use]
    pub fn is_private(&self) -> bool {
        self.incoming.inline || self.incoming.header.len == 0
    }
}

impl Payload for RingPayload<'_> {
    #[inline]
    fn len(&self) -> usize {
        self.incoming.header.len as usize
    }

    #[inline]
    fn copy_to(&self, offset: usize, into: &mut [u8]) {
        if !self.incoming.inline {
            self.bulk.copy_out(self.incoming.place.offset + offset, into);
            return;
        }
        let words = &self.incoming.body[1..];
        if offset == 0 && into.len() == 8 {
            into.copy_from_slice(&words[0].to_le_bytes());
            return;
        }
        let mut bytes = [0; cell::INLINE_MAX];
        for (eight, word) in bytes.as_chunks_mut().0.iter_mut().zip(words) {
            *eight = word.to_le_bytes();
        }
        into.copy_from_slice(&bytes[offset..offset + into.len()]);
    }
}

impl Consumer {
    /// A consumer at the beginning of a fresh ring: `cells` and `bulk` are the producer's,
    /// `control` is our own control block, zero.
    #[must_use]
    pub fn new(cells: Remote, bulk: Remote, control: Local, size: Size) -> Self {
        debug_assert!(size.cells.is_power_of_two() && size.bulk.is_power_of_two());
        Self {
            cells,
            bulk,
            control,
            size,
            cell_at: 0,
            bulk_at: 0,
            cells_published: 0,
            bulk_published: 0,
            life: None,
        }
    }

    /// The same in memory that can vanish: what is read of it counts only as long as `life` lasts.
    #[must_use]
    pub fn within(self, life: Life) -> Self {
        Self { life: Some(life), ..self }
    }

    /// Whether a payload must be checked with [`Consumer::check`] once it was copied, and before it
    /// is used.
    #[inline]
    #[must_use]
    pub fn can_vanish(&self) -> bool {
        self.life.is_some()
    }

    /// Checks that all that was read until now was there.
    ///
    /// # Errors
    /// [`RingFault::Vanished`].
    #[inline]
    pub fn check(&self) -> Result<(), RingFault> {
        match &self.life {
            Some(life) if !life.lasts() => Err(RingFault::Vanished),
            _ => Ok(()),
        }
    }

    /// Whether a frame is waiting. One acquire load.
    #[inline(always)]
    #[must_use]
    pub fn ready(&self) -> bool {
        let flag = self.cells.load_u64(self.cell_offset());
        flag as u16 == cursor::lap(self.cell_at, self.size.cells)
    }

    /// The next frame, if one has arrived.
    ///
    /// # Errors
    /// When the cell means nothing, or its memory is gone.
    #[inline]
    pub fn peek(&self) -> Result<Option<Incoming>, RingFault> {
        let offset = self.cell_offset();
        // SYNC POINT: pairs with the release store in `Local::publish_words`.
        let flag = self.cells.load_u64(offset);
        if flag as u16 != cursor::lap(self.cell_at, self.size.cells) {
            return Ok(None);
        }
        let body: cell::Body = self.cells.load_words(offset + 8);
        self.check()?;
        let (header, inline) = cell::decode(flag, &body, self.size.payload_max())?;
        let place = if inline || header.len == 0 {
            cursor::Place { offset: 0, next: self.bulk_at }
        } else {
            cursor::place(self.bulk_at, header.len as usize, self.size.bulk)
        };
        Ok(Some(Incoming { header, body, inline, place }))
    }

    /// The payload of a frame from [`Consumer::peek`].
    #[inline]
    #[must_use]
    pub fn payload<'a>(&'a self, incoming: &'a Incoming) -> RingPayload<'a> {
        RingPayload { incoming, bulk: &self.bulk }
    }

    /// Takes the frame off the ring; its room goes back to the producer with the next
    /// [`Consumer::publish`], which happens by itself when a quarter of the cells or an eighth of
    /// the bulk buffer is unpublished; true when it did, since the producer may wait for that.
    #[inline]
    pub fn release(&mut self, incoming: Incoming) -> bool {
        self.cell_at += 1;
        self.bulk_at = incoming.place.next;
        let cells_due = self.cell_at - self.cells_published >= u64::from(self.size.cells / 4);
        let bulk_due = self.bulk_at - self.bulk_published >= u64::from(self.size.bulk / 8);
        if cells_due || bulk_due {
            self.publish();
        }
        cells_due || bulk_due
    }

    /// Tells the producer how far we have read.
    #[inline]
    pub fn publish(&mut self) {
        if self.cell_at == self.cells_published {
            return;
        }
        // SYNC POINT: pairs with `Producer::refresh`.
        self.control.store_u64(CONTROL_BULK, self.bulk_at);
        self.control.store_u64(CONTROL_CELLS, self.cell_at);
        self.cells_published = self.cell_at;
        self.bulk_published = self.bulk_at;
    }

    /// Frames taken since the ring began.
    #[must_use]
    pub fn taken(&self) -> u64 {
        self.cell_at
    }

    #[inline(always)]
    fn cell_offset(&self) -> usize {
        (self.cell_at & u64::from(self.size.cells - 1)) as usize * CELL_LEN
    }
}
