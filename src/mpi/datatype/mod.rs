//! Datatypes (MPI 5.0, chapter 5): what an item in a buffer is made of and where its bytes lie.
//!
//! Pure: no engine, no handles, no communicators. A [`Datatype`] knows its bounds
//! (`bounds.rs`), its layout in memory (`shape.rs`: nested loops with random access by the offset
//! in the packed stream), its signature (`signature.rs`: which basic types come in which order)
//! and how it was made ([`Contents`]). All of it is computed once, by the constructor, from the
//! same parts of the older types.

mod basic;
mod bounds;
mod construct;
mod contents;
mod copy;
mod external;
mod fortran;
mod grid;
mod pairs;
mod shape;
mod signature;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, PoisonError, RwLock};

pub use basic::{Basic, Group};
use bounds::Bounds;
pub use contents::{Combiner, Contents, Form};
pub use fortran::TypeClass;
pub use grid::{Darray, Order};
pub use shape::Shape;
use signature::Signature;

use super::attributes::Attributes;
use super::failure::{Class, Outcome, fail};
use crate::progress::Layout;

/// Longest name of a type, in bytes without the zero.
pub const NAME_MAX: usize = 127;

/// A datatype. Clones are the same type: same name, same state, same handle.
#[derive(Clone, Debug)]
pub struct Datatype(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    origin: Origin,
    bounds: Bounds,
    lb: i64,
    extent: i64,
    dense: bool,
    shape: Arc<Shape>,
    signature: Signature,
    /// The one predefined type all of it is made of, and how many.
    unit: Option<(Basic, i64)>,
    contents: Contents,
    committed: AtomicBool,
    name: RwLock<Option<String>>,
    handle: AtomicUsize,
    attributes: Attributes,
}

/// What a type has of predefined types.
#[derive(Clone, Copy, Debug, Default)]
struct Origin {
    /// The named type that it is, or is a copy of.
    basic: Option<Basic>,
    /// The value, where its index lies, and the index, if it is a pair or a copy of one.
    pair: Option<(Basic, i64, Basic)>,
    /// Predefined types are committed from the beginning and cannot be freed.
    predefined: bool,
}

/// What a constructor computes of a new type.
struct Parts {
    origin: Origin,
    bounds: Bounds,
    shape: shape::Part,
    signature: Signature,
    unit: Option<(Basic, i64)>,
    contents: Contents,
}

/// Predefined types by handle, from the first handle on; none where a handle is no type.
static PREDEFINED: LazyLock<Vec<Option<Datatype>>> = LazyLock::new(|| {
    let mut all = vec![None; LAST - FIRST + 1];
    for &basic in Basic::ALL {
        all[basic.handle() - FIRST] = Some(construct::predefined(basic));
    }
    all
});
const FIRST: usize = Basic::Aint as usize;
const LAST: usize = Basic::Complex32 as usize;

impl Datatype {
    /// A predefined type.
    #[must_use]
    pub fn of(basic: Basic) -> Self {
        Self::predefined(basic).clone()
    }

    /// A predefined type, by reference: costs no count.
    #[inline]
    #[must_use]
    pub fn predefined(basic: Basic) -> &'static Self {
        match Self::by_handle(basic.handle()) {
            Some(datatype) => datatype,
            None => unreachable!("{basic:?} is a type without a place"),
        }
    }

    /// The predefined type of this handle of the standard ABI.
    #[inline]
    #[must_use]
    pub fn by_handle(handle: usize) -> Option<&'static Self> {
        PREDEFINED.get(handle.wrapping_sub(FIRST))?.as_ref()
    }

    fn new(parts: Parts) -> Outcome<Self> {
        let Parts { origin, bounds, shape, signature, unit, contents } = parts;
        let (lb, extent) = (bounds.lb(), bounds.extent()?);
        let dense = extent == bounds.size
            && shape.run().is_some_and(|(at, len)| (at as i64, len as i64) == (lb, bounds.size));
        let named = if contents.combiner == Combiner::Named { origin.basic } else { None };
        Ok(Self(Arc::new(Shared {
            origin,
            lb,
            extent,
            dense,
            shape: Arc::new(Shape::new(shape, extent)),
            bounds: bounds.padded(extent),
            signature,
            unit,
            contents,
            committed: AtomicBool::new(origin.predefined),
            name: RwLock::new(None),
            attributes: Attributes::default(),
            handle: AtomicUsize::new(named.map_or(0, Basic::handle)),
        })))
    }

    /// Whether both are the same type, as handles are the same.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Room for the handle that the C interface gave this type; 0 is none. Named types hold their
    /// handle of the standard ABI.
    #[must_use]
    pub fn handle(&self) -> &AtomicUsize {
        &self.0.handle
    }

    /// What applications and libraries hang on it.
    #[must_use]
    pub fn attributes(&self) -> &Attributes {
        &self.0.attributes
    }

    /// Makes it usable in communication.
    pub fn commit(&self) {
        self.0.committed.store(true, Ordering::Release);
    }

    /// Whether it is usable in communication.
    #[inline]
    #[must_use]
    pub fn is_committed(&self) -> bool {
        self.0.committed.load(Ordering::Acquire)
    }

    /// Whether it is predefined, named or not, and so cannot be freed.
    #[must_use]
    pub fn is_predefined(&self) -> bool {
        self.0.origin.predefined
    }

    /// The named type that this is, or is a copy of.
    #[inline]
    #[must_use]
    pub fn basic(&self) -> Option<Basic> {
        self.0.origin.basic
    }

    /// The value, where its index lies, and the index, if this is a pair or a copy of one. Pairs
    /// without a name are no [`Datatype::basic`].
    #[must_use]
    pub fn pair(&self) -> Option<(Basic, i64, Basic)> {
        self.0.origin.pair
    }

    /// The one named type that all of this type is made of, and how many; a pair counts as one.
    #[must_use]
    pub fn signature_unit(&self) -> Option<(Basic, i64)> {
        self.0.unit
    }

    /// Bytes of data of one item.
    #[inline]
    #[must_use]
    pub fn size(&self) -> i64 {
        self.0.bounds.size
    }

    /// Lower bound, in bytes.
    #[inline]
    #[must_use]
    pub fn lb(&self) -> i64 {
        self.0.lb
    }

    /// Bytes from one item to the next.
    #[inline]
    #[must_use]
    pub fn extent(&self) -> i64 {
        self.0.extent
    }

    /// Where the first byte of data is.
    #[must_use]
    pub fn true_lb(&self) -> i64 {
        self.0.bounds.data.map_or(0, |(from, _)| from)
    }

    /// Bytes from the first byte of data to the end of the last.
    #[must_use]
    pub fn true_extent(&self) -> i64 {
        self.0.bounds.data.map_or(0, |(from, to)| to - from)
    }

    /// Whether any number of items at `base` is one run of bytes from `base + lb` on, the size of an
    /// item being its extent.
    #[inline]
    #[must_use]
    pub fn is_dense(&self) -> bool {
        self.0.dense
    }

    /// The one run of bytes that `count` items are, as distance from the buffer's address and
    /// length. More than [`Datatype::is_dense`] knows: a single item may be one run although its
    /// neighbours are not beside it.
    #[inline]
    #[must_use]
    pub fn run(&self, count: i64) -> Option<(i64, i64)> {
        if self.0.dense {
            return self.size().checked_mul(count).map(|len| (self.0.lb, len));
        }
        self.run_of_pieces(count)
    }

    /// The same for a type whose items are not dense.
    fn run_of_pieces(&self, count: i64) -> Option<(i64, i64)> {
        if count == 0 || self.size() == 0 {
            return Some((0, 0));
        }
        let (at, len) = self.0.shape.run()?;
        (count == 1).then_some((at as i64, len as i64))
    }

    /// Bytes of the packed stream of `count` items.
    ///
    /// # Errors
    /// When they are more than can be counted.
    #[inline]
    pub fn packed_size(&self, count: i64) -> Outcome<i64> {
        match self.size().checked_mul(count) {
            Some(bytes) if count >= 0 => Ok(bytes),
            Some(_) => fail(Class::Count, format!("the count {count} is negative")),
            None => fail(Class::Count, format!("{count} items of {} bytes: too many", self.size())),
        }
    }

    /// The layout of its items in memory.
    #[inline]
    #[must_use]
    pub fn shape(&self) -> &Arc<Shape> {
        &self.0.shape
    }

    /// The layout, as the engine wants it.
    #[must_use]
    pub fn layout(&self) -> Arc<dyn Layout> {
        self.0.shape.clone()
    }

    /// Copies a part of the packed stream of `count` items out of memory; see [`Shape::pack`].
    ///
    /// # Safety
    /// As for [`Shape::pack`].
    #[inline]
    pub unsafe fn pack(&self, base: *const u8, count: usize, from: usize, out: &mut [u8]) {
        // SAFETY: the caller's promise is the same.
        unsafe { self.0.shape.pack(base, count, from, out) }
    }

    /// Copies a part of the packed stream of `count` items into memory; see [`Shape::unpack`].
    ///
    /// # Safety
    /// As for [`Shape::unpack`].
    #[inline]
    pub unsafe fn unpack(&self, base: *mut u8, count: usize, at: usize, bytes: &[u8]) {
        // SAFETY: the caller's promise is the same.
        unsafe { self.0.shape.unpack(base, count, at, bytes) }
    }

    /// Whole items in this many bytes; none when the bytes end within an item (`MPI_UNDEFINED`).
    #[must_use]
    pub fn count_in(&self, bytes: i64) -> Option<i64> {
        match self.size() {
            0 => (bytes == 0).then_some(0),
            size => (bytes % size == 0).then_some(bytes / size),
        }
    }

    /// Basic elements in this many bytes; none when the bytes end within one (`MPI_UNDEFINED`).
    #[must_use]
    pub fn elements_in(&self, bytes: i64) -> Option<i64> {
        self.0.signature.elements_in(bytes)
    }

    /// Bytes that this many basic elements have; none when they cannot be counted.
    #[must_use]
    pub fn bytes_of_elements(&self, elements: i64) -> Option<i64> {
        self.0.signature.bytes_of(elements)
    }

    /// How it was made. Named types have a combiner only, and must not be asked for contents.
    #[must_use]
    pub fn contents(&self) -> &Contents {
        &self.0.contents
    }

    /// Its name: that of the standard, or the one given to it; empty when it has none.
    #[must_use]
    pub fn name(&self) -> String {
        let name = self.0.name.read().unwrap_or_else(PoisonError::into_inner);
        let named = || match self.0.origin.basic {
            Some(basic) if self.0.contents.combiner == Combiner::Named => basic.name().to_owned(),
            _ => String::new(),
        };
        name.clone().unwrap_or_else(named)
    }

    /// Gives it a name, of at most [`NAME_MAX`] bytes.
    ///
    /// # Errors
    /// When the name is longer.
    pub fn set_name(&self, name: &str) -> Outcome<()> {
        if name.len() > NAME_MAX {
            return fail(Class::Arg, format!("a name of more than {NAME_MAX} bytes"));
        }
        *self.0.name.write().unwrap_or_else(PoisonError::into_inner) = Some(name.to_owned());
        Ok(())
    }
}
