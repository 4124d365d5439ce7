//! What a section says of itself in its header.

use std::io;

use super::RegionError;
use super::access::{Local, Remote};
use super::layout::{
    BULK_OFFSET, CELLS_OFFSET, EPOCH_OFFSET, INDEX_OFFSET, MAGIC, MAGIC_OFFSET, MEMBERS_OFFSET,
    SectionLayout, TOTAL_OFFSET, VERSION, VERSION_OFFSET,
};

/// What a section says of itself, and what a peer expects it to say. The owner publishes index and
/// epoch by another way (the launcher's key-value store); the layout each computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Where everything lies.
    pub layout: SectionLayout,
    /// The owner's member index on its host.
    pub index: u32,
    /// Drawn at random for each section, so that a restarted owner is not taken for the old one.
    pub epoch: u64,
}

impl Identity {
    /// The identity of a new section, with a fresh epoch.
    pub(super) fn fresh(layout: SectionLayout, index: u32) -> Result<Self, RegionError> {
        layout.bell_offset(index)?;
        let epoch = getrandom::u64().map_err(|error| {
            RegionError::system("getrandom", "the kernel")(io::Error::other(error.to_string()))
        })?;
        Ok(Self { layout, index, epoch })
    }

    /// The header's fields behind the magic: name, value, offset, and whether it has 64 bits.
    fn fields(&self) -> [(&'static str, u64, usize, bool); 7] {
        let geometry = self.layout.geometry();
        [
            ("version", u64::from(VERSION), VERSION_OFFSET, false),
            ("epoch", self.epoch, EPOCH_OFFSET, true),
            ("member count", u64::from(self.layout.members()), MEMBERS_OFFSET, false),
            ("member index", u64::from(self.index), INDEX_OFFSET, false),
            ("cell count", u64::from(geometry.cells), CELLS_OFFSET, false),
            ("bulk bytes", u64::from(geometry.bulk), BULK_OFFSET, false),
            ("length", self.layout.total_bytes() as u64, TOTAL_OFFSET, true),
        ]
    }

    pub(super) fn write(&self, header: &Local) {
        for (_, value, offset, wide) in self.fields() {
            if wide {
                header.store_u64(offset, value);
            } else {
                // Every narrow field is a `u32` that `fields` has widened.
                header.store_u32(offset, value as u32);
            }
        }
        header.store_u64(MAGIC_OFFSET, MAGIC);
    }

    pub(super) fn check(&self, header: &Remote, place: &str) -> Result<(), RegionError> {
        let wrong = |field, found, expected| RegionError::WrongHeader {
            place: place.to_owned(),
            field,
            found,
            expected,
        };
        let magic = header.load_u64(MAGIC_OFFSET);
        if magic != MAGIC {
            return Err(wrong("magic number", magic, MAGIC));
        }
        for (field, expected, offset, wide) in self.fields() {
            let found =
                if wide { header.load_u64(offset) } else { u64::from(header.load_u32(offset)) };
            if found != expected {
                return Err(wrong(field, found, expected));
            }
        }
        Ok(())
    }
}
