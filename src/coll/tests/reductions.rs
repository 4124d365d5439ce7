//! Collectives that combine: with an operation that commutes, and with one for which the order matters.

use super::super::allreduce::{AllreduceAlgorithm, allreduce_with};
use super::super::reduce::{ReduceAlgorithm, reduce_with};
use super::super::reduce_scatter::{ReduceScatterAlgorithm, reduce_scatter_with};
use super::super::{self as coll, Counts, Operands, Schedule, Shape};
use super::{Combine, Rng, World, for_many_seeds, same};

/// Bytes of an element.
pub(super) const SIZE: usize = 8;

pub(super) fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |n, &b| n << 8 | u64::from(b))
}

/// Commutes and associates.
pub(super) fn sum(a: &[u8], b: &[u8]) -> [u8; SIZE] {
    number(a).wrapping_add(number(b)).to_le_bytes()
}

/// Composition of affine maps modulo a prime: associates, does not commute.
pub(super) fn compose(f: &[u8], g: &[u8]) -> [u8; SIZE] {
    const PRIME: u128 = 4_294_967_291;
    let half = |bytes: &[u8]| u128::from(number(bytes));
    let (fa, fb, ga, gb) = (half(&f[..4]), half(&f[4..]), half(&g[..4]), half(&g[4..]));
    let (a, b) = (fa * ga % PRIME, (fa * gb + fb) % PRIME);
    ((b << 32 | a) as u64).to_le_bytes()
}

/// Neither commutes nor associates, as rounding does not, only worse.
fn scramble(a: &[u8], b: &[u8]) -> [u8; SIZE] {
    number(a).wrapping_mul(31).wrapping_add(number(b).rotate_left(7)).to_le_bytes()
}

/// Random vectors, one for each rank, and how to combine them.
struct Vectors {
    operands: Operands,
    combine: Combine,
    vectors: Vec<Vec<u8>>,
}

impl Vectors {
    fn random(world: &World, rng: &mut Rng, elements: usize) -> Vectors {
        let commutative = rng.coin();
        let bytes = elements * SIZE;
        let operands = Operands { bytes, element_size: SIZE, commutative, in_place: rng.coin() };
        let vectors = (0..world.size()).map(|_| rng.bytes(bytes)).collect();
        Vectors { operands, combine: if commutative { sum } else { compose }, vectors }
    }

    /// The vectors of the first `count` ranks, combined from the left.
    fn of_first(&self, count: usize) -> Vec<u8> {
        let mut result = self.vectors[0].clone();
        for vector in &self.vectors[1..count] {
            let pairs = result.chunks(SIZE).zip(vector.chunks(SIZE));
            result = pairs.flat_map(|(a, b)| (self.combine)(a, b)).collect();
        }
        result
    }

    /// A rank's buffers when its result has `bytes` bytes, filled with rubbish.
    fn buffers(&self, r: usize, in_place: bool, bytes: usize) -> (Vec<u8>, Vec<u8>) {
        match in_place {
            true => (vec![], self.vectors[r].clone()),
            false => (self.vectors[r].clone(), rubbish(bytes)),
        }
    }
}

fn rubbish(bytes: usize) -> Vec<u8> {
    vec![0xa5; bytes]
}

/// From nothing to a few for each rank.
fn elements(rng: &mut Rng) -> usize {
    [0, 1, rng.below(8), rng.below(60)][rng.below(4)]
}

#[test]
fn a_reduction_leaves_the_operands_combined_in_order_at_the_root() {
    use ReduceAlgorithm::{Binomial, Linear, Rabenseifner, TwoLevel};
    for_many_seeds(|world, rng| {
        let count = elements(rng);
        let v = Vectors::random(world, rng, count);
        let root = rng.below(world.size());
        let mut wanted = vec![vec![]; world.size()];
        wanted[root] = v.of_first(world.size());
        let chosen = coll::choose::reduce(&world.shape(0), &v.operands);
        for algorithm in [Linear, Binomial, Rabenseifner, TwoLevel, chosen] {
            if !algorithm.suits(&world.shape(0), &v.operands) {
                continue;
            }
            let name = format!("reduce {algorithm:?} root {root} {:?}", v.operands);
            let build = |shape: &Shape, s: &mut Schedule| {
                reduce_with(algorithm, shape, v.operands, root as u32, s);
            };
            let buffers = |r| match r == root {
                true => v.buffers(r, v.operands.in_place, v.operands.bytes),
                false => (v.vectors[r].clone(), vec![]),
            };
            world.check(&name, (SIZE, v.combine), build, buffers, |o| same(o, &wanted));
        }
    });
}

const ALLREDUCE: [AllreduceAlgorithm; 5] = [
    AllreduceAlgorithm::Linear,
    AllreduceAlgorithm::RecursiveDoubling,
    AllreduceAlgorithm::Rabenseifner,
    AllreduceAlgorithm::Ring,
    AllreduceAlgorithm::TwoLevel,
];

#[test]
fn an_allreduce_leaves_the_operands_combined_in_order_everywhere() {
    for_many_seeds(|world, rng| {
        let count = elements(rng);
        let v = Vectors::random(world, rng, count);
        let wanted = vec![v.of_first(world.size()); world.size()];
        let chosen = coll::choose::allreduce(&world.shape(0), &v.operands);
        for algorithm in ALLREDUCE.into_iter().chain([chosen]) {
            if !algorithm.suits(&world.shape(0), &v.operands) {
                continue;
            }
            let name = format!("allreduce {algorithm:?} {:?}", v.operands);
            let build =
                |shape: &Shape, s: &mut Schedule| allreduce_with(algorithm, shape, v.operands, s);
            let buffers = |r| v.buffers(r, v.operands.in_place, v.operands.bytes);
            world.check(&name, (SIZE, v.combine), build, buffers, |o| same(o, &wanted));
        }
    });
}

#[test]
fn an_allreduce_leaves_the_same_bits_everywhere_though_the_operation_does_not_associate() {
    for_many_seeds(|world, rng| {
        let count = elements(rng);
        let v = Vectors::random(world, rng, count);
        for algorithm in ALLREDUCE {
            if !algorithm.suits(&world.shape(0), &v.operands) {
                continue;
            }
            let build =
                |shape: &Shape, s: &mut Schedule| allreduce_with(algorithm, shape, v.operands, s);
            let buffers = |r| v.buffers(r, v.operands.in_place, v.operands.bytes);
            world.check(&format!("{algorithm:?}"), (SIZE, scramble), build, buffers, |o| {
                same(o, &vec![o.recv[0].clone(); world.size()])
            });
        }
    });
}

#[test]
fn a_reduce_scatter_leaves_each_rank_its_block_of_the_result() {
    use ReduceScatterAlgorithm::{Linear, Pairwise, RecursiveHalving};
    for_many_seeds(|world, rng| {
        let n = world.size();
        let equal = rng.coin();
        let block = SIZE * rng.below(6);
        let counts: Vec<usize> = match equal {
            true => vec![block; n],
            false => (0..n).map(|_| SIZE * rng.below(6) * rng.below(2)).collect(),
        };
        let v = Vectors::random(world, rng, counts.iter().sum::<usize>() / SIZE);
        let whole = v.of_first(n);
        let start = |r: usize| counts[..r].iter().sum::<usize>();
        let chosen = coll::choose::reduce_scatter(&world.shape(0), &v.operands);
        for algorithm in [Linear, Pairwise, RecursiveHalving, chosen] {
            if !algorithm.suits(&v.operands) {
                continue;
            }
            let name = format!("reduce_scatter {algorithm:?} {counts:?} {:?}", v.operands);
            let build = |shape: &Shape, s: &mut Schedule| {
                let counts = if equal { Counts::Equal(block) } else { Counts::Listed(&counts) };
                reduce_scatter_with(algorithm, shape, v.operands, counts, s);
            };
            let buffers = |r: usize| v.buffers(r, v.operands.in_place, counts[r]);
            world.check(&name, (SIZE, v.combine), build, buffers, |outcome| {
                // In place, what is behind the block of the result stays: programs look at it.
                let wanted = |r: usize| {
                    let mut all = v.buffers(r, v.operands.in_place, counts[r]).1;
                    all[..counts[r]].copy_from_slice(&whole[start(r)..][..counts[r]]);
                    all
                };
                let wrong = |r: &usize| outcome.recv[*r] != wanted(*r);
                match (0..n).find(wrong) {
                    Some(r) => Err(format!("rank {r} has {:?} of {whole:?}", outcome.recv[r])),
                    None => Ok(()),
                }
            });
        }
    });
}

#[test]
fn a_scan_combines_up_to_each_rank_and_an_exscan_up_to_the_one_before() {
    for_many_seeds(|world, rng| {
        let count = elements(rng);
        let v = Vectors::random(world, rng, count);
        let (n, in_place) = (world.size(), v.operands.in_place);
        let buffers = |r| v.buffers(r, in_place, v.operands.bytes);
        let inclusive: Vec<_> = (1..=n).map(|count| v.of_first(count)).collect();
        let build = |shape: &Shape, s: &mut Schedule| coll::scan(shape, v.operands, s);
        world.check("scan", (SIZE, v.combine), build, buffers, |o| same(o, &inclusive));
        let mut exclusive = vec![buffers(0).1];
        exclusive.extend(inclusive[..n - 1].iter().cloned());
        let build = |shape: &Shape, s: &mut Schedule| coll::exscan(shape, v.operands, s);
        world.check("exscan", (SIZE, v.combine), build, buffers, |o| same(o, &exclusive));
    });
}
