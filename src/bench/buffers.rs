//! Message buffers: aligned to cache lines, cycled through memory when data is to come from outside the cache,
//! and filled with a pattern of which every byte depends on sender, receiver and repetition, so that a byte that
//! is lost, stale or someone else's is found.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Bytes of a cache line; buffers and strides are multiples of it.
const LINE: usize = 64;
/// Assumed size of the last-level cache when the kernel does not tell, in bytes.
const CACHE_BYTES_DEFAULT: usize = 32 << 20;
/// Largest area cycled through, in bytes for each buffer: two of them for each rank must fit into memory.
const CYCLE_BYTES_MAX: usize = 128 << 20;

#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(64))]
struct Line([u8; LINE]);

/// One buffer that holds a message of some size at one or, off the cache, at many places.
pub(super) struct Buffer {
    lines: Vec<Line>,
    /// Bytes of one place that are in use.
    used: usize,
    /// Distance of two places.
    stride: usize,
    places: usize,
}

impl Buffer {
    /// Room for `used` bytes, at as many places as `cycle_bytes` holds, at least one.
    pub(super) fn new(used: usize, cycle_bytes: usize) -> Buffer {
        let stride = used.next_multiple_of(LINE).max(LINE);
        let places = (cycle_bytes / stride).max(1);
        Buffer { lines: vec![Line([0; LINE]); places * stride / LINE], used, stride, places }
    }

    fn start(&self, repetition: u64) -> usize {
        if self.places == 1 {
            return 0;
        }
        // The remainder is below `places`, which is a usize.
        (repetition % self.places as u64) as usize * self.stride
    }

    /// The bytes of this repetition.
    #[inline]
    pub(super) fn bytes(&self, repetition: u64) -> &[u8] {
        let start = self.start(repetition);
        &self.lines.as_bytes()[start..start + self.used]
    }

    /// The bytes of this repetition, to be written.
    #[inline]
    pub(super) fn bytes_mut(&mut self, repetition: u64) -> &mut [u8] {
        let start = self.start(repetition);
        &mut self.lines.as_mut_bytes()[start..start + self.used]
    }

    /// The same bytes as floats; empty when they are not whole ones.
    #[inline]
    pub(super) fn floats(&self, repetition: u64) -> &[f32] {
        <[f32]>::ref_from_bytes(self.bytes(repetition)).unwrap_or_default()
    }

    /// The same bytes as floats, to be written; empty when they are not whole ones.
    #[inline]
    pub(super) fn floats_mut(&mut self, repetition: u64) -> &mut [f32] {
        <[f32]>::mut_from_bytes(self.bytes_mut(repetition)).unwrap_or_default()
    }

    /// Fills everything, so that no page is touched for the first time under the clock.
    pub(super) fn fill(&mut self, value: u8) {
        self.lines.as_mut_bytes().fill(value);
    }
}

/// How many bytes to cycle through so that a message is not in the cache when its turn comes again.
pub(super) fn off_cache_bytes() -> usize {
    let path = "/sys/devices/system/cpu/cpu0/cache/index3/size";
    let told = std::fs::read_to_string(path).ok().and_then(|text| parse_cache_size(&text));
    told.unwrap_or(CACHE_BYTES_DEFAULT).saturating_mul(2).min(CYCLE_BYTES_MAX)
}

/// Reads sysfs's `32768K`.
fn parse_cache_size(text: &str) -> Option<usize> {
    let text = text.trim();
    match text.strip_suffix('K') {
        Some(kib) => kib.parse::<usize>().ok()?.checked_mul(1024),
        None => text.strip_suffix('M')?.parse::<usize>().ok()?.checked_mul(1 << 20),
    }
}

/// Whose bytes, for whom, in which repetition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    /// Sending rank.
    pub(super) from: u32,
    /// Receiving rank, or [`Mark::ALL`].
    pub(super) to: u32,
    /// Repetition, from 0.
    pub(super) repetition: u64,
}

impl Mark {
    /// Receiver of a block that goes to every rank alike.
    pub(super) const ALL: u32 = u32::MAX;

    fn seed(self) -> u64 {
        let ranks = u64::from(self.from) << 32 | u64::from(self.to);
        mix(ranks ^ mix(self.repetition.wrapping_add(1)))
    }

    fn stream(self) -> impl Iterator<Item = u8> {
        let seed = self.seed();
        (0u64..).flat_map(move |word| mix(seed.wrapping_add(word)).to_le_bytes())
    }
}

/// Spreads every bit of `x` over all bits (the finaliser of SplitMix64).
fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Writes the pattern of `mark`.
pub(super) fn write_pattern(bytes: &mut [u8], mark: Mark) {
    for (byte, value) in bytes.iter_mut().zip(mark.stream()) {
        *byte = value;
    }
}

/// Counts the bytes that are not the pattern of `mark`.
pub(super) fn wrong_bytes(bytes: &[u8], mark: Mark) -> u64 {
    bytes.iter().zip(mark.stream()).filter(|(byte, value)| **byte != *value).count() as u64
}

/// The number that `rank` contributes at `index`: small and whole, so that sums of floats are exact for up to
/// 2^17 ranks, in whatever order they are added.
pub(super) fn summand(rank: u32, index: usize, repetition: u64) -> f32 {
    let word = mix(u64::from(rank) ^ mix(index as u64) ^ mix(repetition).rotate_left(7));
    f32::from(word.to_le_bytes()[0] >> 1)
}

/// Writes what `rank` contributes to a sum.
pub(super) fn write_summands(floats: &mut [f32], rank: u32, repetition: u64) {
    for (index, value) in floats.iter_mut().enumerate() {
        *value = summand(rank, index, repetition);
    }
}

/// Counts the bytes of wrong sums over `ranks` ranks; `first` is the index of the first float.
pub(super) fn wrong_sums(floats: &[f32], first: usize, ranks: u32, repetition: u64) -> u64 {
    let expected =
        |index: usize| -> f32 { (0..ranks).map(|r| summand(r, index, repetition)).sum() };
    let wrong = floats.iter().enumerate().filter(|(i, v)| **v != expected(first + *i)).count();
    wrong as u64 * size_of::<f32>() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARK: Mark = Mark { from: 1, to: 2, repetition: 3 };

    #[test]
    fn every_changed_byte_is_found() {
        let mut bytes = vec![0; 1003];
        write_pattern(&mut bytes, MARK);
        assert_eq!(wrong_bytes(&bytes, MARK), 0);
        for i in 0..bytes.len() {
            bytes[i] ^= 1;
            assert_eq!(wrong_bytes(&bytes, MARK), 1, "byte {i}");
            bytes[i] ^= 1;
        }
    }

    #[test]
    fn bytes_of_another_sender_receiver_or_repetition_are_found() {
        let mut bytes = vec![0; 1024];
        write_pattern(&mut bytes, MARK);
        for other in
            [Mark { from: 2, ..MARK }, Mark { to: 1, ..MARK }, Mark { repetition: 2, ..MARK }]
        {
            assert!(wrong_bytes(&bytes, other) > 900, "{other:?}");
        }
        bytes.rotate_left(8);
        assert!(wrong_bytes(&bytes, MARK) > 900);
    }

    #[test]
    fn sums_are_checked_at_their_place() {
        let (ranks, count) = (5, 100);
        let mut sum = vec![0f32; count];
        for rank in 0..ranks {
            let mut mine = vec![0f32; count];
            write_summands(&mut mine, rank, 9);
            sum.iter_mut().zip(&mine).for_each(|(s, m)| *s += m);
        }
        assert_eq!(wrong_sums(&sum, 0, ranks, 9), 0);
        assert_eq!(wrong_sums(&sum[40..], 40, ranks, 9), 0);
        assert!(wrong_sums(&sum[40..], 0, ranks, 9) > 0);
        sum[7] += 1.0;
        assert_eq!(wrong_sums(&sum, 0, ranks, 9), 4);
    }

    #[test]
    fn places_do_not_overlap_and_stay_aligned() {
        let mut buffer = Buffer::new(100, 1024);
        assert_eq!(buffer.places, 8);
        for i in 0..8 {
            buffer.bytes_mut(i).fill(i as u8);
        }
        for i in 0..8u64 {
            assert!(buffer.bytes(i + 8).iter().all(|b| *b == i as u8));
            assert_eq!(buffer.bytes(i).as_ptr() as usize % LINE, 0);
            assert_eq!(buffer.floats(i).len(), 25);
        }
    }

    #[test]
    fn without_cycling_there_is_one_place() {
        let buffer = Buffer::new(0, 0);
        assert_eq!((buffer.places, buffer.bytes(5).len(), buffer.floats(5).len()), (1, 0, 0));
        assert_eq!(Buffer::new(1 << 20, 0).bytes(77).len(), 1 << 20);
    }

    #[test]
    fn cache_sizes_are_read_as_sysfs_writes_them() {
        assert_eq!(parse_cache_size("32768K\n"), Some(32 << 20));
        assert_eq!(parse_cache_size("8M"), Some(8 << 20));
        assert_eq!(parse_cache_size("much"), None);
        assert!(off_cache_bytes() <= CYCLE_BYTES_MAX);
    }
}
