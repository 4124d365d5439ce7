//! The buffers of a collective call: used where they lie if each block is one run of bytes, else through
//! staging in which each block is packed.

use crate::coll::Blocks;
use crate::mpi::datatype::Datatype;
use crate::mpi::failure::{Class, Outcome, fail};
use crate::mpi::op::Slots;

/// Items in a buffer.
#[derive(Clone, Copy, Debug)]
pub struct Items<'a> {
    /// Address of the buffer.
    pub base: *mut u8,
    /// Number of items.
    pub count: i64,
    /// What they are.
    pub datatype: &'a Datatype,
}

/// One block for each peer, in one buffer.
#[derive(Clone, Copy, Debug)]
pub enum Pieces<'a> {
    /// As many items for each, one block after the other.
    Equal(Items<'a>),
    /// Counts and displacements in items.
    Listed {
        /// Address of the buffer.
        base: *mut u8,
        /// Items of each block.
        counts: &'a [i64],
        /// Where each block begins, in extents of the type.
        displs: &'a [i64],
        /// What they are.
        datatype: &'a Datatype,
    },
    /// Counts in items and displacements in bytes, with a type for each.
    Mixed {
        /// Address of the buffer.
        base: *mut u8,
        /// Items of each block.
        counts: &'a [i64],
        /// Where each block begins, in bytes.
        displs: &'a [i64],
        /// What they are.
        datatypes: &'a [Datatype],
    },
}

/// Memory in lines, for its alignment.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
struct Line([u8; 64]);

/// One side of a call, as the schedule sees it.
#[derive(Debug)]
pub(super) struct Side {
    base: *mut u8,
    len: usize,
    /// The length of the blocks, if they lie one after the other and are equal.
    equal: Option<usize>,
    /// What one run of bytes does not need.
    apart: Option<Box<Apart>>,
}

/// What a side needs whose blocks are listed, or go through staging.
#[derive(Debug, Default)]
struct Apart {
    counts: Vec<usize>,
    displs: Vec<usize>,
    stage: Vec<Line>,
    parts: Vec<Part>,
}

/// A block of the application's and its place in the staging.
#[derive(Debug)]
struct Part {
    base: *mut u8,
    count: usize,
    datatype: Datatype,
    at: usize,
    len: usize,
    /// For reductions: not packed, but one slot for each item.
    slots: Option<Slots>,
    load: bool,
    store: bool,
    /// Items of a vector that are written back.
    stored: usize,
}

impl<'a> Items<'a> {
    /// Checks what can be checked of any buffer; gives the bytes of its data.
    #[inline]
    pub(super) fn check(&self) -> Outcome<usize> {
        if !self.datatype.is_committed() {
            return fail(
                Class::Type,
                "the datatype is not committed: call MPI_Type_commit before it is used",
            );
        }
        let bytes = self.datatype.packed_size(self.count)?;
        if bytes > 0 && self.base.is_null() && self.datatype.basic().is_some() {
            return fail(Class::Buffer, "the buffer is a null pointer, and the count is not zero");
        }
        match usize::try_from(bytes) {
            Ok(bytes) => Ok(bytes),
            Err(_) => fail(Class::Count, format!("{} items: too many", self.count)),
        }
    }

    /// The run of bytes that they are, if they are one.
    #[inline]
    fn run(&self) -> Option<*mut u8> {
        let (at, _) = self.datatype.run(self.count)?;
        Some(self.base.wrapping_offset(at as isize))
    }
}

impl<'a> Pieces<'a> {
    /// The block of a peer.
    fn get(&self, i: usize) -> Items<'a> {
        let at = |base: *mut u8, items: i64, extent: i64| {
            base.wrapping_offset(items.wrapping_mul(extent) as isize)
        };
        match *self {
            Pieces::Equal(Items { base, count, datatype }) => {
                let extent = datatype.extent();
                Items { base: at(base, count.wrapping_mul(i as i64), extent), count, datatype }
            }
            Pieces::Listed { base, counts, displs, datatype } => {
                Items { base: at(base, displs[i], datatype.extent()), count: counts[i], datatype }
            }
            Pieces::Mixed { base, counts, displs, datatypes } => {
                Items { base: at(base, displs[i], 1), count: counts[i], datatype: &datatypes[i] }
            }
        }
    }

    /// Whether each list has an entry for each of `n` peers.
    fn check_lists(&self, n: usize) -> Outcome<()> {
        let shortest = match self {
            Pieces::Equal(_) => n,
            Pieces::Listed { counts, displs, .. } => counts.len().min(displs.len()),
            Pieces::Mixed { counts, displs, datatypes, .. } => {
                counts.len().min(displs.len()).min(datatypes.len())
            }
        };
        if shortest < n {
            return fail(Class::Arg, format!("lists of {shortest} entries, and {n} are needed"));
        }
        Ok(())
    }
}

impl Side {
    /// No buffer.
    #[inline]
    pub(super) fn nothing() -> Self {
        Self { base: std::ptr::null_mut(), len: 0, equal: None, apart: None }
    }

    /// One block.
    pub(super) fn one(items: Items<'_>) -> Outcome<Self> {
        Self::of(&Pieces::Equal(items), 1)
    }

    /// A block for each of `n` peers.
    pub(super) fn of(pieces: &Pieces<'_>, n: usize) -> Outcome<Self> {
        pieces.check_lists(n)?;
        if let Pieces::Equal(items) = pieces {
            let block = items.check()?;
            let Some(len) = block.checked_mul(n) else {
                return fail(Class::Count, format!("{n} blocks of {block} bytes: too many"));
            };
            let dense = items.datatype.is_dense() || block == 0 || n == 1;
            if let Some(base) = items.run().filter(|_| dense) {
                return Ok(Self { base, len, equal: Some(block), ..Self::nothing() });
            }
        }
        let blocks: Vec<Items<'_>> = (0..n).map(|i| pieces.get(i)).collect();
        let counts = blocks.iter().map(Items::check).collect::<Outcome<Vec<usize>>>()?;
        let runs: Option<Vec<*mut u8>> = blocks.iter().map(Items::run).collect();
        let equal = match pieces {
            Pieces::Equal(_) => counts.first().copied(),
            _ => None,
        };
        match runs {
            Some(runs) if equal.is_none() => Ok(Self::direct(counts, &runs)),
            _ => Ok(Self { equal, ..Self::packed(counts, &blocks) }),
        }
    }

    /// Blocks where they are, counted from the lowest address.
    fn direct(counts: Vec<usize>, runs: &[*mut u8]) -> Self {
        let used = || runs.iter().zip(&counts).filter(|(_, len)| **len > 0);
        let Some(base) = used().map(|(at, _)| at.addr()).min() else {
            return Self::nothing().listed(vec![0; counts.len()], counts);
        };
        let end = used().map(|(at, len)| at.addr() + len).max().unwrap_or(base);
        let lowest = used().map(|(at, _)| *at).find(|at| at.addr() == base);
        let displ = |(at, len): (&*mut u8, &usize)| if *len > 0 { at.addr() - base } else { 0 };
        let displs = runs.iter().zip(&counts).map(displ).collect();
        let base_at = lowest.unwrap_or(std::ptr::null_mut());
        Self { base: base_at, len: end - base, ..Self::nothing() }.listed(displs, counts)
    }

    fn listed(mut self, displs: Vec<usize>, counts: Vec<usize>) -> Self {
        let apart = self.apart.get_or_insert_default();
        (apart.displs, apart.counts) = (displs, counts);
        self
    }

    /// Blocks packed one after the other.
    fn packed(counts: Vec<usize>, blocks: &[Items<'_>]) -> Self {
        let (mut displs, mut parts, mut end) = (Vec::new(), Vec::new(), 0);
        for (items, &len) in blocks.iter().zip(&counts) {
            displs.push(end);
            parts.push(Part {
                base: items.base,
                count: items.count as usize,
                datatype: items.datatype.clone(),
                at: end,
                len,
                slots: None,
                load: false,
                store: false,
                stored: usize::MAX,
            });
            end += len;
        }
        Self::staged(end, parts).listed(displs, counts)
    }

    /// A vector that is reduced: one slot for each item.
    #[inline]
    pub(super) fn vector(items: Items<'_>, slots: Slots) -> Outcome<Self> {
        items.check()?;
        let count = items.count as usize;
        let Some(len) = slots.bytes.checked_mul(count).filter(|len| *len < isize::MAX as usize)
        else {
            return fail(Class::Count, format!("{count} items of {} bytes: too many", slots.bytes));
        };
        if slots.direct(items.datatype) {
            let base = items.base.wrapping_offset(-slots.base);
            return Ok(Self { base, len, equal: Some(len), ..Self::nothing() });
        }
        let part = Part {
            base: items.base,
            count,
            datatype: items.datatype.clone(),
            at: 0,
            len,
            slots: Some(slots),
            load: false,
            store: false,
            stored: usize::MAX,
        };
        Ok(Self { equal: Some(len), ..Self::staged(len, vec![part]) })
    }

    /// These parts of `len` bytes of staging.
    fn staged(len: usize, parts: Vec<Part>) -> Self {
        let mut stage = vec![Line([0; 64]); len.div_ceil(64)];
        let base = stage.as_mut_ptr().cast();
        let apart = Apart { stage, parts, ..Apart::default() };
        Self { base, len, equal: None, apart: Some(Box::new(apart)) }
    }

    fn parts(&self) -> &[Part] {
        self.apart.as_ref().map_or(&[], |apart| &apart.parts)
    }

    fn parts_mut(&mut self) -> &mut [Part] {
        self.apart.as_mut().map_or(&mut [], |apart| &mut apart.parts)
    }

    /// Staging is filled from the buffer before the collective begins.
    #[inline]
    pub(super) fn loaded(mut self) -> Self {
        self.parts_mut().iter_mut().for_each(|part| part.load = true);
        self
    }

    /// The buffer is filled from staging when the collective is over.
    #[inline]
    pub(super) fn stored(mut self) -> Self {
        self.parts_mut().iter_mut().for_each(|part| part.store = true);
        self
    }

    /// The block of this peer stays as it is.
    pub(super) fn except(mut self, peer: usize) -> Self {
        if let Some(part) = self.parts_mut().get_mut(peer) {
            (part.load, part.store) = (false, false);
        }
        self
    }

    /// Only this many items of the vector are written back.
    pub(super) fn stored_first(mut self, count: usize) -> Self {
        self.parts_mut().iter_mut().for_each(|part| part.stored = part.stored.min(count));
        self
    }

    /// Address and length, as the schedule's buffer.
    pub(super) fn range(&self) -> (*mut u8, usize) {
        (self.base, self.len)
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Where each peer's block lies.
    pub(super) fn blocks(&self) -> Blocks<'_> {
        match (self.equal, &self.apart) {
            (Some(len), _) => Blocks::Equal(len),
            (None, Some(apart)) => Blocks::Listed { counts: &apart.counts, displs: &apart.displs },
            (None, None) => Blocks::Listed { counts: &[], displs: &[] },
        }
    }

    /// Bytes of a peer's block.
    pub(super) fn block(&self, peer: usize) -> usize {
        let listed = || self.apart.as_ref()?.counts.get(peer).copied();
        self.equal.or_else(listed).unwrap_or(0)
    }

    /// Bytes of each block, if they are equal and one after the other.
    pub(super) fn equal(&self) -> Option<usize> {
        self.equal
    }

    /// Whether there is no staging to be written back.
    #[inline]
    pub(super) fn is_plain(&self) -> bool {
        self.apart.is_none()
    }

    /// Whether two sides used in place are one run each and have bytes in common.
    pub(super) fn overlaps(&self, other: &Side) -> bool {
        let plain = |side: &Side| side.equal.is_some() && side.parts().is_empty() && side.len > 0;
        let end = |side: &Side| side.base.addr() + side.len;
        plain(self)
            && plain(other)
            && self.base.addr() < end(other)
            && other.base.addr() < end(self)
    }

    /// Copies from the buffer into the staging.
    pub(super) fn load(&mut self) {
        for part in self.parts().iter().filter(|part| part.load) {
            part.load(self.base.wrapping_add(part.at));
        }
    }

    /// Copies from the staging into the buffer.
    pub(super) fn store(&mut self) {
        for part in self.parts().iter().filter(|part| part.store) {
            part.store(self.base.wrapping_add(part.at));
        }
    }

    /// Never gives the staging back.
    pub(super) fn leak(&mut self) {
        if let Some(apart) = &mut self.apart {
            std::mem::forget(std::mem::take(&mut apart.stage));
        }
    }
}

impl Part {
    /// Runs of items as the application has them and as the slots have them: address, address, items.
    fn slotted(
        &self,
        count: usize,
        slots: Slots,
        stage: *mut u8,
    ) -> impl Iterator<Item = (*mut u8, *mut u8, usize)> {
        let (runs, each) = if slots.apart { (count, 1) } else { (1, count) };
        let (extent, base) = (self.datatype.extent() as isize, self.base);
        (0..runs).map(move |i| {
            let slot = stage.wrapping_add(i * slots.bytes).wrapping_offset(slots.base);
            (base.wrapping_offset(extent.wrapping_mul(i as isize)), slot, each)
        })
    }

    fn load(&self, stage: *mut u8) {
        let Some(slots) = self.slots else {
            // SAFETY: the part of the staging is as long as the packed block.
            let out = unsafe { std::slice::from_raw_parts_mut(stage, self.len) };
            // SAFETY: the buffer is readable by the contract of plans.
            return unsafe { self.datatype.pack(self.base, self.count, 0, out) };
        };
        for (base, slot, count) in self.slotted(self.count, slots, stage) {
            self.copy(base, slot, count);
        }
    }

    fn store(&self, stage: *mut u8) {
        let Some(slots) = self.slots else {
            // SAFETY: as in `load`.
            let bytes = unsafe { std::slice::from_raw_parts(stage, self.len) };
            // SAFETY: the buffer is writable by the contract of plans.
            return unsafe { self.datatype.unpack(self.base, self.count, 0, bytes) };
        };
        for (base, slot, count) in self.slotted(self.count.min(self.stored), slots, stage) {
            self.copy(slot, base, count);
        }
    }

    /// Copies items that lie alike at both addresses, and nothing between them.
    fn copy(&self, from: *mut u8, into: *mut u8, count: usize) {
        let mut packed = vec![0; self.datatype.size() as usize * count];
        // SAFETY: items of the application's buffer or of slots, by the contract of plans.
        unsafe { self.datatype.pack(from, count, 0, &mut packed) };
        // SAFETY: as above.
        unsafe { self.datatype.unpack(into, count, 0, &packed) };
    }
}
