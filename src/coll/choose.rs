//! Which algorithm when: by size, number of ranks and locality. Pure, and made only of what is the same at
//! every rank, since ranks that choose differently wait for each other for ever.
//!
//! Sizes at which to change are those of Thakur, Rabenseifner, Gropp 2005 and of MPICH where we have no
//! measurement of our own. A host is crowded when it has more ranks than cores; then each round costs a
//! context switch for every rank, which is more than many small messages, and few rounds win.

use super::Shape;
use super::accumulate::Operands;
use super::allgather::AllgatherAlgorithm;
use super::allreduce::AllreduceAlgorithm;
use super::alltoall::AlltoallAlgorithm;
use super::barrier::BarrierAlgorithm;
use super::bcast::BcastAlgorithm;
use super::gather::GatherAlgorithm;
use super::reduce::ReduceAlgorithm;
use super::reduce_scatter::ReduceScatterAlgorithm;
use super::scatter::ScatterAlgorithm;

/// Partners with which one rank has messages in flight at once where all could be posted. Bounds what
/// arrives unexpected, and the search for a match, without costing rounds at common sizes.
pub const POSTS_IN_FLIGHT: usize = 32;

/// One round among this many ranks is `n * (n - 1)` small messages, still cheaper than switching `log2 n`
/// times between ranks that share cores; beyond, the square wins.
const LINEAR_RANKS: u32 = 16;
/// Largest message, in bytes, of which one rank handles a copy for each other: a few microseconds.
const LINEAR_BYTES: usize = 4096;

/// Below, a broadcast is bound by latency (MPICH: 12 KiB).
const BCAST_SHORT: usize = 12 * 1024;
/// From here on a broadcast between hosts is worth a pipeline.
const BCAST_CHAIN: usize = 512 * 1024;
/// Segment of the pipeline: half a millisecond on 1 Gbit/s, so that starting it costs little of the whole.
const CHAIN_SEGMENT: usize = 64 * 1024;
/// Scatter and allgather cost more rounds than they save with fewer ranks (MPICH: 8).
const SCATTER_ALLGATHER_RANKS: u32 = 8;

/// Below, a reduction is bound by latency (MPICH: 2 KiB).
const REDUCE_SHORT: usize = 2 * 1024;
/// Up to here the wire between hosts is shared best by one rank of each: fewer messages, same bytes.
const REDUCE_TWO_LEVEL: usize = 32 * 1024;
/// From here on bandwidth counts alone, and a ring talks to neighbours only.
const ALLREDUCE_RING: usize = 1024 * 1024;
/// From here on each block of a reduce-scatter should travel once (MPICH: 512 KiB).
const REDUCE_SCATTER_LONG: usize = 512 * 1024;

/// All blocks together: below, an allgather is bound by latency (MPICH: 80 KiB).
const ALLGATHER_SHORT: usize = 80 * 1024;
/// Blocks below this are worth being copied on the way of a gather or scatter.
const GATHER_SHORT: usize = 2 * 1024;
/// From this many ranks on, Bruck's fewer messages pay for its copies (MPICH: 256 bytes, 8 ranks; posting
/// all at once is cheap over shared memory, so later here).
const BRUCK_RANKS: u32 = 32;
/// Largest block, in bytes, for Bruck's algorithm.
const BRUCK_BYTES: usize = 256;
/// Largest block, in bytes, that goes through one rank of each host: there it is copied four times.
const ALLTOALL_TWO_LEVEL: usize = 512;
/// Largest block, in bytes, for posting to all at once.
const ALLTOALL_SHORT: usize = 32 * 1024;
/// Partners at a time for large blocks: enough to keep the path busy and ranks runnable.
const ALLTOALL_WINDOW: usize = 8;

/// Whether ranks share one host's cores and are few enough to deal with each other directly. Shared memory
/// moves as many bytes whatever the order, so even for long messages the rounds decide.
fn few_rounds(shape: &Shape) -> bool {
    shape.crowded() && shape.size() <= LINEAR_RANKS && !shape.two_levels()
}

/// Whether one round over all ranks is best.
fn one_round(shape: &Shape, bytes: usize) -> bool {
    few_rounds(shape) && bytes <= LINEAR_BYTES
}

/// Inside one host: whether one rank should talk to each of `ranks` itself rather than along a tree.
pub(super) fn flat_tree(shape: &Shape, ranks: usize, bytes: usize) -> bool {
    shape.crowded() && ranks <= LINEAR_RANKS as usize && bytes <= LINEAR_BYTES
}

/// For a barrier.
pub fn barrier(shape: &Shape) -> BarrierAlgorithm {
    if shape.two_levels() {
        BarrierAlgorithm::TwoLevel
    } else if one_round(shape, 0) {
        BarrierAlgorithm::Linear
    } else {
        BarrierAlgorithm::Dissemination
    }
}

/// For a broadcast of `bytes` bytes.
pub fn bcast(shape: &Shape, bytes: usize) -> BcastAlgorithm {
    let several = shape.size() > 2;
    if one_round(shape, bytes) {
        BcastAlgorithm::Linear
    } else if several && shape.host_count() > 1 && bytes >= BCAST_CHAIN {
        BcastAlgorithm::Chain { segment: CHAIN_SEGMENT }
    } else if shape.two_levels() {
        BcastAlgorithm::TwoLevel
    } else if shape.crowded() || shape.size() < SCATTER_ALLGATHER_RANKS || bytes <= BCAST_SHORT {
        // The tree moves as many bytes in all as any other, in the fewest rounds.
        BcastAlgorithm::Binomial
    } else {
        BcastAlgorithm::ScatterAllgather
    }
}

/// Whether a vector is long enough to be cut into a part for each rank.
fn divisible(shape: &Shape, operands: &Operands) -> bool {
    operands.bytes / operands.element_size.max(1) >= shape.size() as usize
}

/// For a reduction to one rank.
pub fn reduce(shape: &Shape, operands: &Operands) -> ReduceAlgorithm {
    let two_level = shape.two_levels() && ReduceAlgorithm::TwoLevel.suits(shape, operands);
    if one_round(shape, operands.bytes) {
        ReduceAlgorithm::Linear
    } else if two_level && operands.bytes <= REDUCE_TWO_LEVEL {
        ReduceAlgorithm::TwoLevel
    } else if operands.bytes <= REDUCE_SHORT || !divisible(shape, operands) {
        ReduceAlgorithm::Binomial
    } else {
        ReduceAlgorithm::Rabenseifner
    }
}

/// For an allreduce.
pub fn allreduce(shape: &Shape, operands: &Operands) -> AllreduceAlgorithm {
    let two_level = shape.two_levels() && AllreduceAlgorithm::TwoLevel.suits(shape, operands);
    if one_round(shape, operands.bytes) {
        AllreduceAlgorithm::Linear
    } else if two_level && operands.bytes <= REDUCE_TWO_LEVEL {
        AllreduceAlgorithm::TwoLevel
    } else if operands.bytes <= REDUCE_SHORT || !divisible(shape, operands) {
        AllreduceAlgorithm::RecursiveDoubling
    } else if operands.commutative && !few_rounds(shape) && operands.bytes >= ALLREDUCE_RING {
        AllreduceAlgorithm::Ring
    } else {
        AllreduceAlgorithm::Rabenseifner
    }
}

/// For a reduce-scatter; `operands.bytes` is the whole vector.
pub fn reduce_scatter(shape: &Shape, operands: &Operands) -> ReduceScatterAlgorithm {
    if !operands.commutative || one_round(shape, operands.bytes) {
        ReduceScatterAlgorithm::Linear
    } else if operands.bytes < REDUCE_SCATTER_LONG || few_rounds(shape) {
        ReduceScatterAlgorithm::RecursiveHalving
    } else {
        ReduceScatterAlgorithm::Pairwise
    }
}

/// For a gather of `block` bytes from each rank.
pub fn gather(shape: &Shape, block: usize) -> GatherAlgorithm {
    if block > GATHER_SHORT || one_round(shape, block) {
        GatherAlgorithm::Linear
    } else if shape.two_levels() {
        GatherAlgorithm::TwoLevel
    } else if shape.size() <= LINEAR_RANKS {
        GatherAlgorithm::Linear
    } else {
        GatherAlgorithm::Binomial
    }
}

/// For a scatter of `block` bytes to each rank.
pub fn scatter(shape: &Shape, block: usize) -> ScatterAlgorithm {
    match gather(shape, block) {
        GatherAlgorithm::Linear => ScatterAlgorithm::Linear,
        GatherAlgorithm::Binomial => ScatterAlgorithm::Binomial,
        GatherAlgorithm::TwoLevel => ScatterAlgorithm::TwoLevel,
    }
}

/// For an allgather of `total` bytes from all ranks together.
pub fn allgather(shape: &Shape, total: usize) -> AllgatherAlgorithm {
    match allgatherv(shape, total) {
        AllgatherAlgorithm::Linear if few_rounds(shape) => AllgatherAlgorithm::Linear,
        AllgatherAlgorithm::Linear if shape.size().is_power_of_two() => {
            AllgatherAlgorithm::RecursiveDoubling
        }
        AllgatherAlgorithm::Linear => AllgatherAlgorithm::Bruck,
        other => other,
    }
}

/// For an allgatherv of `total` bytes from all ranks together.
pub fn allgatherv(shape: &Shape, total: usize) -> AllgatherAlgorithm {
    if few_rounds(shape) {
        AllgatherAlgorithm::Linear
    } else if total > ALLGATHER_SHORT {
        AllgatherAlgorithm::Ring
    } else if shape.two_levels() {
        AllgatherAlgorithm::TwoLevel
    } else {
        AllgatherAlgorithm::Linear
    }
}

/// For an alltoall of `block` bytes to each rank.
pub fn alltoall(shape: &Shape, block: usize) -> AlltoallAlgorithm {
    if shape.two_levels() && block <= ALLTOALL_TWO_LEVEL {
        AlltoallAlgorithm::TwoLevel
    } else if shape.size() >= BRUCK_RANKS && block <= BRUCK_BYTES {
        AlltoallAlgorithm::Bruck
    } else if block <= ALLTOALL_SHORT {
        AlltoallAlgorithm::Spread { window: POSTS_IN_FLIGHT }
    } else {
        AlltoallAlgorithm::Spread { window: ALLTOALL_WINDOW }
    }
}
