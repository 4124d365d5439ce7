//! Parts of arrays: `MPI_Type_create_subarray` and `MPI_Type_create_darray`.

use super::bounds::checked;
use super::construct::Laid;
use super::{Combiner, Contents, Datatype, Form};
use crate::mpi::failure::{Class, Outcome, fail};

/// Which dimension of an array is the one of neighbours in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Order {
    /// The last, as in C.
    C = 12,
    /// The first, as in Fortran.
    Fortran = 15,
}

impl Order {
    /// The order of this value of the standard ABI.
    ///
    /// # Errors
    /// When it is none.
    pub fn of(value: i32) -> Outcome<Self> {
        match value {
            12 => Ok(Self::C),
            15 => Ok(Self::Fortran),
            _ => fail(Class::Arg, format!("{value} is no order: MPI_ORDER_C or MPI_ORDER_FORTRAN")),
        }
    }

    /// All dimensions, that of neighbours first.
    fn dims(self, count: usize) -> impl Iterator<Item = usize> {
        (0..count).map(move |at| if self == Order::C { count - 1 - at } else { at })
    }
}

const NONE: i32 = 16;
const BLOCK: i32 = 17;
const CYCLIC: i32 = 18;
const DEFAULT: i32 = 19;

/// The arguments of `MPI_Type_create_darray`, as the standard names them.
#[derive(Clone, Copy, Debug)]
pub struct Darray<'a> {
    /// Processes of the grid.
    pub size: i32,
    /// Which of them the part is of.
    pub rank: i32,
    /// Items of the whole array, per dimension.
    pub gsizes: &'a [i64],
    /// How each dimension is distributed: values of the standard ABI.
    pub distribs: &'a [i32],
    /// Block lengths, or `MPI_DISTRIBUTE_DFLT_DARG`.
    pub dargs: &'a [i32],
    /// Processes per dimension.
    pub psizes: &'a [i32],
    /// Which dimension is the one of neighbours.
    pub order: Order,
}

impl Datatype {
    /// `MPI_Type_create_subarray`: a rectangular part of an array.
    ///
    /// # Errors
    /// When the part is not within the array, or the array is too large.
    pub fn subarray(
        sizes: &[i64],
        subsizes: &[i64],
        starts: &[i64],
        order: Order,
        old: &Self,
        form: Form,
    ) -> Outcome<Self> {
        let ndims = sizes.len();
        if ndims == 0 || subsizes.len() != ndims || starts.len() != ndims {
            return fail(Class::Arg, "an array has at least one dimension, and a range in each");
        }
        for dim in 0..ndims {
            let (size, sub, start) = (sizes[dim], subsizes[dim], starts[dim]);
            if size < 1 || sub < 1 || sub > size || start < 0 || start > size - sub {
                let why =
                    format!("dimension {dim}: {sub} items from {start} on are not within {size}");
                return fail(Class::Arg, why);
            }
        }
        let contents = Contents::new(Combiner::Subarray).plain(&[ndims as i32]);
        let contents =
            contents.counts(form, sizes)?.counts(form, subsizes)?.counts(form, starts)?;
        let contents = contents.plain(&[order as i32]).types(std::slice::from_ref(old));
        let mut stride = old.extent();
        let mut laid = Laid::of(old);
        for dim in order.dims(ndims) {
            let at = checked(starts[dim].checked_mul(stride))?;
            laid = laid.repeated(subsizes[dim], stride)?.shifted(at)?;
            stride = checked(stride.checked_mul(sizes[dim]))?;
        }
        laid.bounds.marks = Some((0, stride));
        laid.into_type(old, contents)
    }

    /// `MPI_Type_create_darray`: what one process has of an array distributed over a grid.
    ///
    /// # Errors
    /// When the arguments contradict each other, or the array is too large.
    pub fn darray(part: &Darray<'_>, old: &Self, form: Form) -> Outcome<Self> {
        let Darray { size, rank, gsizes, distribs, dargs, psizes, order } = *part;
        part.check()?;
        let contents = Contents::new(Combiner::Darray).plain(&[size, rank, gsizes.len() as i32]);
        let contents = contents.counts(form, gsizes)?.plain(distribs).plain(dargs).plain(psizes);
        let contents = contents.plain(&[order as i32]).types(std::slice::from_ref(old));
        let coordinates = part.coordinates();
        let mut stride = old.extent();
        let mut laid = Laid::of(old);
        for dim in order.dims(gsizes.len()) {
            laid = part.share(dim, coordinates[dim])?.of(&laid, stride)?;
            stride = checked(stride.checked_mul(gsizes[dim]))?;
        }
        laid.bounds.marks = Some((0, stride));
        laid.into_type(old, contents)
    }
}

/// What a process has of one dimension: every `period` indices `block` of them, from `start` to
/// before `end`.
struct Share {
    start: i64,
    block: i64,
    period: i64,
    end: i64,
}

impl Share {
    fn of(&self, inner: &Laid, stride: i64) -> Outcome<Laid> {
        let Self { start, block, period, end } = *self;
        if start >= end {
            return Ok(Laid::EMPTY);
        }
        let (whole, rest) = ((end - start) / period, (end - start) % period);
        let (whole, rest) = if rest >= block { (whole + 1, 0) } else { (whole, rest) };
        let far = |index: i64| checked(index.checked_mul(stride));
        let jump = if whole > 1 { far(period)? } else { 0 };
        let mut laid = inner.repeated(block.min(end - start), stride)?.repeated(whole, jump)?;
        if rest > 0 {
            let last = inner.repeated(rest, stride)?;
            laid = laid.and(last.shifted(far(whole * period)?)?)?;
        }
        laid.shifted(far(start)?)
    }
}

impl Darray<'_> {
    fn check(&self) -> Outcome<()> {
        let ndims = self.gsizes.len();
        let lengths = [self.distribs.len(), self.dargs.len(), self.psizes.len()];
        if ndims == 0 || lengths != [ndims; 3] {
            return fail(Class::Arg, "an array has at least one dimension, all described alike");
        }
        if self.size < 1 || !(0..self.size).contains(&self.rank) {
            let (rank, size) = (self.rank, self.size);
            return fail(Class::Arg, format!("no rank {rank} in a grid of {size} processes"));
        }
        if let Some(size) = self.gsizes.iter().find(|&&size| size < 1) {
            return fail(Class::Arg, format!("a dimension of {size} items"));
        }
        let grid = self.psizes.iter().try_fold(1_i64, |product, &psize| {
            if psize < 1 { None } else { product.checked_mul(i64::from(psize)) }
        });
        if grid != Some(i64::from(self.size)) {
            let why = format!("a grid of {:?} is not of {} processes", self.psizes, self.size);
            return fail(Class::Arg, why);
        }
        Ok(())
    }

    /// Where the rank is in the grid: the last dimension counts fastest, whatever the order.
    fn coordinates(&self) -> Vec<i64> {
        let mut rest = self.rank;
        let mut coordinates: Vec<_> = self
            .psizes
            .iter()
            .rev()
            .map(|&psize| {
                let here = i64::from(rest % psize);
                rest /= psize;
                here
            })
            .collect();
        coordinates.reverse();
        coordinates
    }

    fn share(&self, dim: usize, at: i64) -> Outcome<Share> {
        let (items, processes) = (self.gsizes[dim], i64::from(self.psizes[dim]));
        let darg = self.dargs[dim];
        if self.distribs[dim] != NONE && darg != DEFAULT && darg < 1 {
            return fail(Class::Arg, format!("dimension {dim}: blocks of {darg} items"));
        }
        let given = (darg != DEFAULT).then_some(i64::from(darg));
        match self.distribs[dim] {
            NONE if processes == 1 => {
                Ok(Share { start: 0, block: items, period: items, end: items })
            }
            NONE => fail(
                Class::Arg,
                format!("dimension {dim} is not distributed, yet has {processes} processes"),
            ),
            BLOCK => {
                let block = given.unwrap_or((items - 1) / processes + 1);
                if block.checked_mul(processes).is_some_and(|all| all < items) {
                    let why = format!(
                        "dimension {dim}: {processes} blocks of {block} do not hold {items} items"
                    );
                    return fail(Class::Arg, why);
                }
                let start = block.saturating_mul(at).min(items);
                let end = start.saturating_add(block).min(items);
                Ok(Share { start, block, period: block, end })
            }
            CYCLIC => {
                let block = given.unwrap_or(1);
                let (start, period) = (block * at, block * processes);
                Ok(Share { start, block, period, end: items })
            }
            other => fail(Class::Arg, format!("{other} is no distribution")),
        }
    }
}
