//! The constructors of MPI 5.0, 5.1.2 to 5.1.9 but those of arrays (`grid.rs`).

use std::sync::Arc;

use super::bounds::{Bounds, checked};
use super::shape::{Part, Runs};
use super::{Basic, Combiner, Contents, Datatype, Form, Origin, Parts, Signature};
use crate::mpi::attributes::Attributes;
use crate::mpi::failure::{Class, Outcome, fail};

/// Bounds and layout, which are built by the same steps.
#[derive(Clone, Debug)]
pub(super) struct Laid {
    pub(super) bounds: Bounds,
    pub(super) part: Part,
}

impl Laid {
    pub(super) const EMPTY: Self = Self { bounds: Bounds::EMPTY, part: Part::EMPTY };

    pub(super) fn of(old: &Datatype) -> Self {
        Self { bounds: old.0.bounds, part: old.0.shape.item.clone() }
    }

    /// `count` copies, each `stride` bytes after the one before.
    pub(super) fn repeated(&self, count: i64, stride: i64) -> Outcome<Self> {
        let bounds = self.bounds.repeated(count, stride)?;
        Ok(Self { bounds, part: self.part.repeated(count, stride) })
    }

    pub(super) fn shifted(&self, by: i64) -> Outcome<Self> {
        Ok(Self { bounds: self.bounds.shifted(by)?, part: self.part.shifted(by) })
    }

    pub(super) fn and(self, other: Self) -> Outcome<Self> {
        let bounds = self.bounds.and(other.bounds)?;
        Ok(Self { bounds, part: Part::sequence([self.part, other.part].into_iter()) })
    }

    /// Blocks of items of `old`: how many items in each, and where it begins in bytes.
    fn blocks(old: &Datatype, blocks: impl Iterator<Item = (i64, i64)> + Clone) -> Outcome<Self> {
        let item = Self::of(old);
        let mut bounds = Bounds::EMPTY;
        for (len, at) in blocks.clone().filter(|(len, _)| *len > 0) {
            bounds = bounds.and(item.bounds.repeated(len, old.extent())?.shifted(at)?)?;
        }
        let part = if old.is_dense() {
            let mut runs = Runs::default();
            for (len, at) in blocks {
                runs.push((at + old.lb()) as isize, (len * old.size()) as usize);
            }
            runs.finish()
        } else {
            let block = |(len, at)| item.part.repeated(len, old.extent()).shifted(at);
            Part::sequence(blocks.map(block))
        };
        Ok(Self { bounds, part })
    }

    /// The type that has this layout and is made of `old` only.
    pub(super) fn into_type(self, old: &Datatype, contents: Contents) -> Outcome<Datatype> {
        let Self { bounds, part: shape } = self;
        let times = bounds.size.checked_div(old.size()).unwrap_or(0);
        let signature = old.0.signature.repeated(times);
        let unit = old.0.unit.map(|(basic, count)| (basic, count * times));
        let origin = Origin::default();
        Datatype::new(Parts { origin, bounds, shape, signature, unit, contents })
    }
}

/// A named type.
pub(super) fn predefined(basic: Basic) -> Datatype {
    let contents = Contents::new(Combiner::Named);
    let origin = Origin { basic: Some(basic), pair: basic.pair(), predefined: true };
    let laid = match basic.pair() {
        Some((first, at, second)) => pair(first, at, second),
        None => scalar(basic),
    };
    let Laid { bounds, part: shape } = laid;
    let signature = Signature::of(basic);
    let unit = Some((basic, 1));
    let Ok(made) = Datatype::new(Parts { origin, bounds, shape, signature, unit, contents }) else {
        unreachable!("predefined types are small")
    };
    made
}

fn scalar(basic: Basic) -> Laid {
    let (size, align) = (basic.size(), basic.align());
    let bounds = Bounds::of_data(size, size, align);
    Laid { bounds, part: Part::run_of(0, size as usize) }
}

/// A structure of two values.
pub(super) fn pair(first: Basic, at: i64, second: Basic) -> Laid {
    let (one, other) = (scalar(first), scalar(second));
    let size = first.size() + second.size();
    let align = first.align().max(second.align());
    let bounds = Bounds::of_data(size, at + second.size(), align);
    let parts = [one.part, other.part.shifted(at)];
    Laid { bounds, part: Part::sequence(parts.into_iter()) }
}

fn not_negative(what: &str, values: &[i64]) -> Outcome<()> {
    match values.iter().find(|&&value| value < 0) {
        Some(value) => fail(Class::Count, format!("the {what} {value} is negative")),
        None => Ok(()),
    }
}

fn same_length(lengths: usize, displacements: usize) -> Outcome<()> {
    if lengths != displacements {
        let why = format!("{lengths} block lengths, but {displacements} displacements");
        return fail(Class::Arg, why);
    }
    Ok(())
}

/// Displacements in bytes of those in items.
fn in_bytes(displacements: &[i64], old: &Datatype) -> Outcome<Vec<i64>> {
    displacements.iter().map(|at| checked(at.checked_mul(old.extent()))).collect()
}

impl Datatype {
    /// `MPI_Type_contiguous`: items one after another.
    ///
    /// # Errors
    /// When the count is negative or the type gets too large.
    pub fn contiguous(count: i64, old: &Self, form: Form) -> Outcome<Self> {
        not_negative("count", &[count])?;
        let contents = Contents::new(Combiner::Contiguous);
        let contents = contents.counts(form, &[count])?.types(std::slice::from_ref(old));
        Laid::of(old).repeated(count, old.extent())?.into_type(old, contents)
    }

    /// `MPI_Type_vector`: `count` blocks, `stride` items from one to the next.
    ///
    /// # Errors
    /// When a count is negative or the type gets too large.
    pub fn vector(
        count: i64,
        blocklength: i64,
        stride: i64,
        old: &Self,
        form: Form,
    ) -> Outcome<Self> {
        let contents =
            Contents::new(Combiner::Vector).counts(form, &[count, blocklength, stride])?;
        let bytes = if count > 1 { checked(stride.checked_mul(old.extent()))? } else { 0 };
        Self::blocks_at_stride(count, blocklength, bytes, old, contents)
    }

    /// `MPI_Type_create_hvector`: `count` blocks, `stride` bytes from one to the next.
    ///
    /// # Errors
    /// When a count is negative or the type gets too large.
    pub fn hvector(
        count: i64,
        blocklength: i64,
        stride: i64,
        old: &Self,
        form: Form,
    ) -> Outcome<Self> {
        let contents = Contents::new(Combiner::Hvector).counts(form, &[count, blocklength])?;
        let contents = contents.bytes(form, &[stride]);
        Self::blocks_at_stride(count, blocklength, stride, old, contents)
    }

    fn blocks_at_stride(
        count: i64,
        blocklength: i64,
        stride: i64,
        old: &Self,
        contents: Contents,
    ) -> Outcome<Self> {
        not_negative("count", &[count])?;
        not_negative("block length", &[blocklength])?;
        let contents = contents.types(std::slice::from_ref(old));
        let block = Laid::of(old).repeated(blocklength, old.extent())?;
        block.repeated(count, stride)?.into_type(old, contents)
    }

    /// `MPI_Type_indexed`: blocks of any length, at displacements in items.
    ///
    /// # Errors
    /// When a length is negative or the type gets too large.
    pub fn indexed(
        blocklengths: &[i64],
        displacements: &[i64],
        old: &Self,
        form: Form,
    ) -> Outcome<Self> {
        let contents = Contents::new(Combiner::Indexed).len(form, blocklengths.len())?;
        let contents = contents.counts(form, blocklengths)?.counts(form, displacements)?;
        Self::blocks_at(blocklengths, &in_bytes(displacements, old)?, old, contents)
    }

    /// `MPI_Type_create_hindexed`: blocks of any length, at displacements in bytes.
    ///
    /// # Errors
    /// When a length is negative or the type gets too large.
    pub fn hindexed(
        blocklengths: &[i64],
        displacements: &[i64],
        old: &Self,
        form: Form,
    ) -> Outcome<Self> {
        let contents = Contents::new(Combiner::Hindexed).len(form, blocklengths.len())?;
        let contents = contents.counts(form, blocklengths)?.bytes(form, displacements);
        Self::blocks_at(blocklengths, displacements, old, contents)
    }

    fn blocks_at(lengths: &[i64], bytes: &[i64], old: &Self, contents: Contents) -> Outcome<Self> {
        same_length(lengths.len(), bytes.len())?;
        not_negative("block length", lengths)?;
        let blocks = lengths.iter().copied().zip(bytes.iter().copied());
        let contents = contents.types(std::slice::from_ref(old));
        Laid::blocks(old, blocks)?.into_type(old, contents)
    }

    /// `MPI_Type_create_indexed_block`: blocks of one length, at displacements in items.
    ///
    /// # Errors
    /// When the length is negative or the type gets too large.
    pub fn indexed_block(
        blocklength: i64,
        displacements: &[i64],
        old: &Self,
        form: Form,
    ) -> Outcome<Self> {
        let contents = Contents::new(Combiner::IndexedBlock).len(form, displacements.len())?;
        let contents = contents.counts(form, &[blocklength])?.counts(form, displacements)?;
        Self::same_blocks_at(blocklength, &in_bytes(displacements, old)?, old, contents)
    }

    /// `MPI_Type_create_hindexed_block`: blocks of one length, at displacements in bytes.
    ///
    /// # Errors
    /// When the length is negative or the type gets too large.
    pub fn hindexed_block(
        blocklength: i64,
        displacements: &[i64],
        old: &Self,
        form: Form,
    ) -> Outcome<Self> {
        let contents = Contents::new(Combiner::HindexedBlock).len(form, displacements.len())?;
        let contents = contents.counts(form, &[blocklength])?.bytes(form, displacements);
        Self::same_blocks_at(blocklength, displacements, old, contents)
    }

    fn same_blocks_at(len: i64, bytes: &[i64], old: &Self, contents: Contents) -> Outcome<Self> {
        not_negative("block length", &[len])?;
        let contents = contents.types(std::slice::from_ref(old));
        Laid::blocks(old, bytes.iter().map(|&at| (len, at)))?.into_type(old, contents)
    }

    /// `MPI_Type_create_struct`: blocks of any types, at displacements in bytes.
    ///
    /// # Errors
    /// When the arrays differ in length, a length is negative, or the type gets too large.
    pub fn structure(
        blocklengths: &[i64],
        displacements: &[i64],
        types: &[Self],
        form: Form,
    ) -> Outcome<Self> {
        same_length(blocklengths.len(), displacements.len())?;
        same_length(blocklengths.len(), types.len())?;
        not_negative("block length", blocklengths)?;
        let contents = Contents::new(Combiner::Struct).len(form, blocklengths.len())?;
        let contents = contents.counts(form, blocklengths)?.bytes(form, displacements);
        let contents = contents.types(types);
        let blocks = || {
            let all = blocklengths.iter().zip(displacements).zip(types);
            all.filter(|((len, _), _)| **len > 0).map(|((len, at), old)| (*len, *at, old))
        };
        let mut bounds = Bounds::EMPTY;
        for (len, at, old) in blocks() {
            bounds = bounds.and(old.0.bounds.repeated(len, old.extent())?.shifted(at)?)?;
        }
        let part = |(len, at, old): (i64, i64, &Self)| {
            old.0.shape.item.repeated(len, old.extent()).shifted(at)
        };
        let shape = Part::sequence(blocks().map(part));
        let signature =
            Signature::sequence(blocks().map(|(len, _, old)| old.0.signature.repeated(len)));
        let unit = common_unit(blocks().map(|(len, _, old)| (len, old)));
        let origin = Origin::default();
        Self::new(Parts { origin, bounds, shape, signature, unit, contents })
    }

    /// `MPI_Type_create_resized`: the same data with other bounds.
    ///
    /// # Errors
    /// When the upper bound cannot be counted.
    pub fn resized(old: &Self, lb: i64, extent: i64, form: Form) -> Outcome<Self> {
        let contents = Contents::new(Combiner::Resized).bytes(form, &[lb, extent]);
        let contents = contents.types(std::slice::from_ref(old));
        let mut laid = Laid::of(old);
        laid.bounds.marks = Some((lb, checked(lb.checked_add(extent))?));
        Self::new(laid.parts_of_one(old, Origin::default(), contents))
    }

    /// `MPI_Type_dup`: the same type, in the same state of commitment. It has no name.
    #[must_use]
    pub fn dup(&self) -> Self {
        self.dup_with(Attributes::default())
    }

    /// The same, with these attributes: what [`Attributes::copy`] gave.
    #[must_use]
    pub fn dup_with(&self, attributes: Attributes) -> Self {
        let contents = Contents::new(Combiner::Dup).types(std::slice::from_ref(self));
        let mut copy = self.like(Origin { predefined: false, ..self.0.origin }, contents);
        if let Some(shared) = Arc::get_mut(&mut copy.0) {
            shared.attributes = attributes;
        }
        copy
    }

    /// A type made by the same constructor from the same arguments, with nothing hung on it: what
    /// `MPI_Type_get_contents` hands out, to be freed on its own.
    #[must_use]
    pub fn again(&self) -> Self {
        self.like(self.0.origin, self.0.contents.clone())
    }

    fn like(&self, origin: Origin, contents: Contents) -> Self {
        let Ok(copy) = Self::new(Laid::of(self).parts_of_one(self, origin, contents)) else {
            unreachable!("the original has the same bounds")
        };
        if self.is_committed() {
            copy.commit();
        }
        copy
    }
}

impl Laid {
    /// The same data as `old` has, item by item.
    pub(super) fn parts_of_one(self, old: &Datatype, origin: Origin, contents: Contents) -> Parts {
        let Self { bounds, part: shape } = self;
        let (signature, unit) = (old.0.signature.clone(), old.0.unit);
        Parts { origin, bounds, shape, signature, unit, contents }
    }
}

/// The named type that all are made of, if there is only one.
fn common_unit<'a>(blocks: impl Iterator<Item = (i64, &'a Datatype)>) -> Option<(Basic, i64)> {
    let mut common = None;
    for (len, old) in blocks.filter(|(_, old)| old.size() > 0) {
        let (basic, count) = old.0.unit?;
        let before = match common {
            Some((other, before)) if other == basic => before,
            Some(_) => return None,
            None => 0,
        };
        common = Some((basic, before + len * count));
    }
    common
}
