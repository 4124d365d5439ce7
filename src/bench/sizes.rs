//! Which message sizes are measured, and how often: IMB's policy.

use thiserror::Error;

use super::name::{Benchmark, Columns};

/// Most repetitions of one size.
pub const REPETITIONS_MAX: u64 = 1000;
/// Volume in bytes beyond which repetitions are reduced.
pub const VOLUME_BYTES: u64 = 40 << 20;
/// Largest message of the usual list, in bytes.
pub const DEFAULT_MAX_BYTES: u64 = 4 << 20;
/// Largest message that can be asked for, in bytes.
pub const BYTES_MAX: u64 = 1 << 30;
/// Bytes of one number in the reductions, which add 32-bit floats.
pub const FLOAT_BYTES: u64 = 4;
/// Most sizes in one list.
const SIZES_MAX: usize = 1000;

/// Why a list of sizes is none.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum SizesError {
    /// Not a number of bytes.
    #[error(
        "{0:?} is no message size: give bytes, or with K, M, G for 2^10, 2^20, 2^30, as in 0,8,64K,4M"
    )]
    NoSize(String),
    /// More than [`BYTES_MAX`].
    #[error("{0} bytes are more than {BYTES_MAX}, the largest message that is measured")]
    TooLarge(u64),
    /// Nothing, or far too many.
    #[error("{0} message sizes: give 1 to {SIZES_MAX}")]
    Count(usize),
}

/// Repetitions of a message of `bytes`: 1000, less where they would move more than 40 MiB, at least one.
#[must_use]
pub fn repetitions(bytes: u64) -> u64 {
    match VOLUME_BYTES.checked_div(bytes) {
        None => REPETITIONS_MAX,
        Some(n) => n.clamp(1, REPETITIONS_MAX),
    }
}

/// Repetitions before the clock starts: a tenth, as IMB does, at least two so that both directions are warm.
#[must_use]
pub fn warm_up(repetitions: u64) -> u64 {
    (repetitions / 10).max(2)
}

/// 0 and the powers of two up to `max` bytes.
#[must_use]
pub fn standard(max: u64) -> Vec<u64> {
    let powers = std::iter::successors(Some(1u64), |s| s.checked_mul(2));
    std::iter::once(0).chain(powers.take_while(|s| *s <= max.min(BYTES_MAX))).collect()
}

/// The sizes of `wanted` that make sense for `benchmark`: a barrier has one row, and reductions only take whole
/// floats, so IMB's tables for them go 0, 4, 8.
#[must_use]
pub fn for_benchmark(benchmark: Benchmark, wanted: &[u64]) -> Vec<u64> {
    if benchmark.columns() == Columns::Sync {
        return vec![0];
    }
    let whole = |s: &u64| !benchmark.reduces() || s.is_multiple_of(FLOAT_BYTES);
    wanted.iter().copied().filter(whole).collect()
}

/// Reads a list such as `0,8,64K,4M`.
///
/// # Errors
/// [`SizesError`] with the word that is no size.
pub fn parse_list(text: &str) -> Result<Vec<u64>, SizesError> {
    let sizes = text.split(',').map(parse).collect::<Result<Vec<_>, _>>()?;
    if sizes.is_empty() || sizes.len() > SIZES_MAX {
        return Err(SizesError::Count(sizes.len()));
    }
    Ok(sizes)
}

/// Reads one size such as `64K`.
///
/// # Errors
/// [`SizesError`] when it is none, or larger than [`BYTES_MAX`].
pub fn parse(word: &str) -> Result<u64, SizesError> {
    let none = || SizesError::NoSize(word.to_owned());
    let trimmed = word.trim();
    let (digits, shift) = match trimmed.chars().last() {
        Some('k' | 'K') => (&trimmed[..trimmed.len() - 1], 10),
        Some('m' | 'M') => (&trimmed[..trimmed.len() - 1], 20),
        Some('g' | 'G') => (&trimmed[..trimmed.len() - 1], 30),
        _ => (trimmed, 0),
    };
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(none());
    }
    let number: u64 = digits.parse().map_err(|_| none())?;
    let bytes = number.checked_mul(1 << shift).ok_or_else(none)?;
    if bytes > BYTES_MAX { Err(SizesError::TooLarge(bytes)) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repetitions_follow_imb() {
        let expected = [
            (0, 1000),
            (1, 1000),
            (32_768, 1000),
            (65_536, 640),
            (131_072, 320),
            (1_048_576, 40),
            (4_194_304, 10),
            (1 << 26, 1),
            (u64::MAX, 1),
        ];
        for (bytes, n) in expected {
            assert_eq!(repetitions(bytes), n, "{bytes} bytes");
        }
    }

    #[test]
    fn the_usual_list_is_zero_and_powers_of_two_to_4_mib() {
        let sizes = standard(DEFAULT_MAX_BYTES);
        assert_eq!(sizes.len(), 24);
        assert_eq!((sizes[0], sizes[1], sizes[23]), (0, 1, 4_194_304));
        assert_eq!(standard(0), [0]);
        assert_eq!(standard(100).last(), Some(&64));
    }

    #[test]
    fn reductions_take_whole_floats_and_a_barrier_one_row() {
        let sizes = standard(16);
        assert_eq!(for_benchmark(Benchmark::Allreduce, &sizes), [0, 4, 8, 16]);
        assert_eq!(for_benchmark(Benchmark::Bcast, &sizes), sizes);
        assert_eq!(for_benchmark(Benchmark::Barrier, &sizes), [0]);
    }

    #[test]
    fn sizes_are_read_with_their_suffix() {
        assert_eq!(parse_list("0,8,64K,4M"), Ok(vec![0, 8, 65_536, 4_194_304]));
        assert_eq!(parse("1g"), Ok(1 << 30));
    }

    #[test]
    fn what_is_no_size_is_named() {
        for word in
            ["", "K", "-1", "8x", "1e3", "é", "99999999999999999999", "18446744073709551615G"]
        {
            assert_eq!(parse(word), Err(SizesError::NoSize(word.to_owned())), "{word:?}");
        }
        assert!(parse_list("8,,16").is_err());
        assert_eq!(parse("2G"), Err(SizesError::TooLarge(1 << 31)));
        assert!(parse_list(&vec!["1"; 1001].join(",")).is_err());
    }
}
