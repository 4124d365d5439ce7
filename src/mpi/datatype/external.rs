//! The representation `external32` (MPI 5.0, 14.5.2): big-endian, of the same sizes everywhere.

use super::Datatype;
use crate::mpi::failure::Outcome;

impl Datatype {
    /// Bytes of `count` items in `external32`.
    ///
    /// # Errors
    /// When they are more than can be counted.
    pub fn external_size(&self, _count: i64) -> Outcome<i64> {
        todo!("external32")
    }

    /// Appends `count` items at `base` to `out`, as `external32`.
    ///
    /// # Errors
    /// When a value has no place in the representation.
    ///
    /// # Safety
    /// As for [`Datatype::pack`].
    pub unsafe fn pack_external(
        &self,
        _base: *const u8,
        _count: i64,
        _out: &mut [u8],
    ) -> Outcome<()> {
        todo!("external32")
    }

    /// Takes `count` items out of `external32` bytes to `base`.
    ///
    /// # Errors
    /// When a value has no place in memory's representation, or the bytes are too few.
    ///
    /// # Safety
    /// As for [`Datatype::unpack`].
    pub unsafe fn unpack_external(
        &self,
        _base: *mut u8,
        _count: i64,
        _bytes: &[u8],
    ) -> Outcome<()> {
        todo!("external32")
    }
}
