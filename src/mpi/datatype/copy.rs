//! Copying between memory laid out as a [`Shape`] says and the packed stream, in either direction,
//! from any offset on.

use super::shape::{Node, Part, Shape};

/// Items that are copied together, run by run, when an item is a few runs.
const TILE: usize = 64;
/// Most runs of an item for which that is done.
const TILED_RUNS_MAX: usize = 16;

impl Shape {
    /// Copies bytes `from` and those after it, as many as `out` holds, of the packed stream of
    /// `count` items at `base`.
    ///
    /// # Panics
    /// When the part is not within the stream.
    ///
    /// # Safety
    /// Every byte that the type describes in `count` items at `base` is readable, and none of them
    /// is in `out`.
    #[inline]
    pub unsafe fn pack(&self, base: *const u8, count: usize, from: usize, out: &mut [u8]) {
        self.check(count, from, out.len());
        let copier = Copier::<true>;
        // SAFETY: the part is within the stream; the caller promises the rest.
        unsafe { copier.items(self, base.cast_mut(), from, out.as_mut_ptr(), out.len()) }
    }

    /// Copies `bytes` to where the packed stream of `count` items at `base` has them from `at` on.
    ///
    /// # Panics
    /// When the part is not within the stream.
    ///
    /// # Safety
    /// Every byte that the type describes in `count` items at `base` is writable, nobody else uses
    /// it, and none of them is in `bytes`.
    #[inline]
    pub unsafe fn unpack(&self, base: *mut u8, count: usize, at: usize, bytes: &[u8]) {
        self.check(count, at, bytes.len());
        let copier = Copier::<false>;
        // SAFETY: the part is within the stream; `bytes` is only read; the caller promises the rest.
        unsafe { copier.items(self, base, at, bytes.as_ptr().cast_mut(), bytes.len()) }
    }

    #[inline]
    fn check(&self, count: usize, from: usize, len: usize) {
        let total = self.item.size.saturating_mul(count);
        assert!(from <= total && len <= total - from, "a part outside the packed stream");
    }
}

/// The direction: out of memory into the stream, or back.
#[derive(Clone, Copy)]
struct Copier<const PACK: bool>;

/// Distances in memory and in the stream from one run to the next.
#[derive(Clone, Copy)]
struct Strides {
    mem: isize,
    packed: usize,
}

/// In all functions: `mem` is where the item (or its part) begins in memory, `packed` where the
/// next byte is in the stream. Addresses are computed with wrapping arithmetic, since a base may be
/// null (`MPI_BOTTOM`) or, with negative displacements, outside of what is used.
///
/// Safety of all: the bytes that the part describes at `mem` are valid for the direction, as many
/// bytes as are asked for are valid at `packed`, and the two do not overlap; `from + len` is at
/// most the size of what is copied.
impl<const PACK: bool> Copier<PACK> {
    #[inline]
    unsafe fn items(self, shape: &Shape, mem: *mut u8, from: usize, packed: *mut u8, len: usize) {
        if len > 0 {
            // SAFETY: by contract.
            unsafe { self.repeated(&shape.item, mem, shape.extent, from, packed, len) }
        }
    }

    /// One run.
    #[inline]
    unsafe fn run(self, mem: *mut u8, packed: *mut u8, len: usize) {
        if PACK {
            // SAFETY: by contract.
            unsafe { mem.copy_to_nonoverlapping(packed, len) }
        } else {
            // SAFETY: by contract.
            unsafe { packed.copy_to_nonoverlapping(mem, len) }
        }
    }

    /// Bytes `from..from + len` of copies of `part` at equal distances.
    unsafe fn repeated(
        self,
        part: &Part,
        mem: *mut u8,
        stride: isize,
        from: usize,
        mut packed: *mut u8,
        mut len: usize,
    ) {
        let place = |index: usize| mem.wrapping_offset(stride.wrapping_mul(index as isize));
        let (mut index, within) = (from / part.size, from % part.size);
        if within > 0 {
            let here = len.min(part.size - within);
            // SAFETY: `within + here` is at most the part's size.
            unsafe { self.some(part, place(index), within, packed, here) };
            (packed, len, index) = (packed.wrapping_add(here), len - here, index + 1);
        }
        let (whole, rest) = (len / part.size, len % part.size);
        if whole > 0 {
            // SAFETY: `whole` parts are within `len`.
            unsafe { self.many(part, place(index), stride, packed, whole) };
            (packed, index) = (packed.wrapping_add(whole * part.size), index + whole);
        }
        if rest > 0 {
            // SAFETY: `rest` is less than the part's size.
            unsafe { self.some(part, place(index), 0, packed, rest) };
        }
    }

    /// `count` whole copies of `part` at equal distances.
    unsafe fn many(self, part: &Part, mem: *mut u8, stride: isize, packed: *mut u8, count: usize) {
        let strides = Strides { mem: stride, packed: part.size };
        match &part.node {
            Node::Run => {
                let mem = mem.wrapping_offset(part.at);
                // SAFETY: by contract.
                unsafe { self.grid(mem, packed, strides, part.size, count) }
            }
            Node::Runs { starts, places } if places.len() <= TILED_RUNS_MAX => {
                let mem = mem.wrapping_offset(part.at);
                // SAFETY: by contract.
                unsafe { self.tiles(starts, places, mem, packed, strides, count) }
            }
            _ => {
                let (mut mem, mut packed) = (mem, packed);
                for _ in 0..count {
                    // SAFETY: by contract.
                    unsafe { self.some(part, mem, 0, packed, part.size) };
                    mem = mem.wrapping_offset(stride);
                    packed = packed.wrapping_add(part.size);
                }
            }
        }
    }

    /// `count` items of a few runs each: in tiles that fit in the cache, each run of all items in
    /// one loop.
    unsafe fn tiles(
        self,
        starts: &[usize],
        places: &[isize],
        mut mem: *mut u8,
        mut packed: *mut u8,
        strides: Strides,
        mut count: usize,
    ) {
        while count > 0 {
            let tile = count.min(TILE);
            for (ends, &place) in starts.windows(2).zip(places) {
                let (mem, packed) = (mem.wrapping_offset(place), packed.wrapping_add(ends[0]));
                // SAFETY: by contract.
                unsafe { self.grid(mem, packed, strides, ends[1] - ends[0], tile) };
            }
            mem = mem.wrapping_offset(strides.mem.wrapping_mul(tile as isize));
            packed = packed.wrapping_add(strides.packed * tile);
            count -= tile;
        }
    }

    /// Bytes `from..from + len` of one part.
    unsafe fn some(self, part: &Part, mem: *mut u8, from: usize, packed: *mut u8, len: usize) {
        let mem = mem.wrapping_offset(part.at);
        match &part.node {
            // SAFETY: by contract.
            Node::Run => unsafe { self.run(mem.wrapping_add(from), packed, len) },
            Node::Loop { stride, inner, .. } => {
                // SAFETY: by contract.
                unsafe { self.repeated(inner, mem, *stride, from, packed, len) }
            }
            Node::Blocks { len: block, places } => {
                // SAFETY: by contract.
                unsafe { self.blocks(*block, places, mem, from, packed, len) }
            }
            Node::Runs { starts, places } => {
                let copy = |at: usize, from, packed, len| {
                    let mem = mem.wrapping_offset(places[at]).wrapping_add(from);
                    // SAFETY: by contract.
                    unsafe { self.run(mem, packed, len) }
                };
                each(starts, from, packed, len, copy);
            }
            Node::Parts { starts, parts } => {
                // SAFETY: by contract.
                let copy = |at: usize, from, packed, len| unsafe {
                    self.some(&parts[at], mem, from, packed, len)
                };
                each(starts, from, packed, len, copy);
            }
        }
    }

    /// Bytes `from..from + len` of blocks of the same length.
    unsafe fn blocks(
        self,
        block: usize,
        places: &[isize],
        mem: *mut u8,
        from: usize,
        mut packed: *mut u8,
        mut len: usize,
    ) {
        let (mut index, within) = (from / block, from % block);
        if within > 0 {
            let here = len.min(block - within);
            let mem = mem.wrapping_offset(places[index]).wrapping_add(within);
            // SAFETY: within this block.
            unsafe { self.run(mem, packed, here) };
            (packed, len, index) = (packed.wrapping_add(here), len - here, index + 1);
        }
        let (whole, rest) = (len / block, len % block);
        // SAFETY: these blocks are within `len`.
        unsafe { self.scattered(block, &places[index..index + whole], mem, packed) };
        if rest > 0 {
            let mem = mem.wrapping_offset(places[index + whole]);
            // SAFETY: less than a block.
            unsafe { self.run(mem, packed.wrapping_add(whole * block), rest) };
        }
    }

    /// Whole blocks at any places. The common lengths are compiled in.
    unsafe fn scattered(self, block: usize, places: &[isize], mem: *mut u8, packed: *mut u8) {
        macro_rules! known {
            ($($len:literal)*) => {
                match block {
                    // SAFETY: by contract.
                    $($len => unsafe { self.scattered_of($len, places, mem, packed) },)*
                    // SAFETY: by contract.
                    _ => unsafe { self.scattered_of(block, places, mem, packed) },
                }
            };
        }
        known!(1 2 4 8 12 16 24 32 48 64);
    }

    #[inline(always)]
    unsafe fn scattered_of(self, len: usize, places: &[isize], mem: *mut u8, packed: *mut u8) {
        for (index, &place) in places.iter().enumerate() {
            let (mem, packed) = (mem.wrapping_offset(place), packed.wrapping_add(index * len));
            // SAFETY: by contract.
            unsafe { self.run(mem, packed, len) };
        }
    }

    /// `count` runs of `len` bytes at equal distances on both sides. The common lengths are
    /// compiled in, so that the loop has no calls in it.
    unsafe fn grid(
        self,
        mem: *mut u8,
        packed: *mut u8,
        strides: Strides,
        len: usize,
        count: usize,
    ) {
        if strides.mem == len as isize && strides.packed == len {
            // SAFETY: by contract; they touch on both sides.
            return unsafe { self.run(mem, packed, len * count) };
        }
        macro_rules! known {
            ($($len:literal)*) => {
                match len {
                    // SAFETY: by contract.
                    $($len => unsafe { self.grid_of($len, mem, packed, strides, count) },)*
                    // SAFETY: by contract.
                    _ => unsafe { self.grid_of(len, mem, packed, strides, count) },
                }
            };
        }
        known!(1 2 4 8 12 16 24 32 48 64);
    }

    #[inline(always)]
    unsafe fn grid_of(
        self,
        len: usize,
        mem: *mut u8,
        packed: *mut u8,
        strides: Strides,
        count: usize,
    ) {
        let (mut mem, mut packed) = (mem, packed);
        for _ in 0..count {
            // SAFETY: by contract.
            unsafe { self.run(mem, packed, len) };
            mem = mem.wrapping_offset(strides.mem);
            packed = packed.wrapping_add(strides.packed);
        }
    }
}

/// Calls `copy` for each of the pieces that begin at `starts` and have bytes in
/// `from..from + len`: its index, the first byte of it, where the packed bytes are, how many.
#[inline]
fn each(
    starts: &[usize],
    from: usize,
    mut packed: *mut u8,
    len: usize,
    mut copy: impl FnMut(usize, usize, *mut u8, usize),
) {
    let end = from + len;
    let mut from = from;
    let mut at = if from == 0 { 0 } else { starts.partition_point(|&start| start <= from) - 1 };
    while from < end {
        let here = end.min(starts[at + 1]) - from;
        copy(at, from - starts[at], packed, here);
        packed = packed.wrapping_add(here);
        from += here;
        at += 1;
    }
}
