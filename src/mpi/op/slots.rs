//! Where the items of a vector lie while it is reduced: so that any range of whole items can be sent,
//! received and handed to a function of the application.

use super::super::datatype::Datatype;
use super::super::failure::{Class, Outcome, fail};

/// Strictest alignment of a type.
const ALIGN_MAX: i64 = 16;
/// Start of slots that are apart.
const LINE: i64 = 64;

/// The layout of a vector under reduction: one slot of equal length for each item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slots {
    /// Length of a slot in bytes, at least 1.
    pub bytes: usize,
    /// From the start of a slot to the address of its item, to which the type's displacements are added.
    pub base: isize,
    /// Whether the items do not lie an extent apart, and the function is called for each alone: the type
    /// has items that overlap their neighbours, or starts where alignment would be lost.
    pub apart: bool,
}

impl Slots {
    /// The slots for items of this type.
    ///
    /// # Errors
    /// Class `Type` when an item spans more than memory has.
    #[inline]
    pub fn of(datatype: &Datatype) -> Outcome<Self> {
        let (lb, extent) = (datatype.lb(), datatype.extent());
        let (data, span) = (datatype.true_lb(), datatype.true_extent());
        let inside = extent > 0 && lb <= data && data + span <= lb + extent;
        if inside && lb % ALIGN_MAX == 0 {
            return Ok(Self { bytes: extent as usize, base: -lb as isize, apart: false });
        }
        let lead = data.rem_euclid(LINE);
        let Some(bytes) = span.checked_add(lead + LINE) else {
            return fail(Class::Type, "an item of the datatype spans more than memory has");
        };
        let bytes = (bytes - 1) / LINE * LINE;
        Ok(Self { bytes: bytes.max(LINE) as usize, base: (lead - data) as isize, apart: true })
    }

    /// Whether items in the application's own buffer lie so.
    #[must_use]
    #[inline]
    pub fn direct(&self, datatype: &Datatype) -> bool {
        !self.apart && (datatype.is_dense() || datatype.basic().is_some())
    }
}
