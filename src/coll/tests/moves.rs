//! Collectives that move bytes and combine nothing.

use super::super::allgather::{AllgatherAlgorithm, allgather_with};
use super::super::alltoall::{AlltoallAlgorithm, alltoall_with};
use super::super::barrier::{BarrierAlgorithm, barrier_with};
use super::super::bcast::{BcastAlgorithm, bcast_with};
use super::super::gather::{GatherAlgorithm, gather_with};
use super::super::scatter::{ScatterAlgorithm, scatter_with};
use super::super::{self as coll, Blocks};
use super::{Rng, for_many_seeds};

/// A length of a few bytes, often none.
fn length(rng: &mut Rng) -> usize {
    if rng.below(6) == 0 { 0 } else { 1 + rng.below(40) }
}

/// Blocks in random order with gaps between them: lengths, displacements, and the length of it all.
fn layout(rng: &mut Rng, counts: &[usize]) -> (Vec<usize>, usize) {
    let mut order: Vec<usize> = (0..counts.len()).collect();
    if rng.coin() {
        order.sort_by_cached_key(|_| rng.next());
    }
    let gaps = rng.coin();
    let mut displs = vec![0; counts.len()];
    let mut end = 0;
    for i in order {
        end += if gaps { rng.below(4) } else { 0 };
        displs[i] = end;
        end += counts[i];
    }
    (displs, end)
}

fn buffers(rng: &mut Rng, lens: impl IntoIterator<Item = usize>) -> Vec<Vec<u8>> {
    lens.into_iter().map(|len| rng.bytes(len)).collect()
}

#[test]
fn nobody_leaves_a_barrier_before_everybody_came() {
    use BarrierAlgorithm::{Dissemination, Linear, TwoLevel};
    for_many_seeds(|world, _| {
        let shape = world.shape(0);
        for algorithm in [Linear, Dissemination, TwoLevel, coll::choose::barrier(&shape)] {
            let build =
                |shape: &coll::Shape, s: &mut coll::Schedule| barrier_with(algorithm, shape, s);
            let op = super::sim::NO_OPERATION;
            world.check(
                "barrier",
                op,
                build,
                |_| (vec![], vec![]),
                |outcome| {
                    let last_in = outcome.times.iter().map(|t| t.0).max().unwrap_or(0);
                    let first_out = outcome.times.iter().map(|t| t.1).min().unwrap_or(0);
                    match world.size() == 1 || last_in <= first_out {
                        true => Ok(()),
                        false => Err(format!("{algorithm:?}: {:?}", outcome.times)),
                    }
                },
            );
        }
    });
}

#[test]
fn a_broadcast_gives_everyone_the_bytes_of_the_root() {
    use BcastAlgorithm::{Binomial, Chain, Linear, ScatterAllgather, TwoLevel};
    for_many_seeds(|world, rng| {
        let bytes = length(rng);
        let root = rng.below(world.size());
        let recv = buffers(rng, vec![bytes; world.size()]);
        let wanted = vec![recv[root].clone(); world.size()];
        let nothing = vec![vec![]; world.size()];
        let chain = Chain { segment: 1 + rng.below(9) };
        for algorithm in [Linear, Binomial, ScatterAllgather, chain, TwoLevel] {
            let build = |shape: &coll::Shape, s: &mut coll::Schedule| {
                bcast_with(algorithm, shape, bytes, root as u32, s);
            };
            let name = format!("bcast {algorithm:?} root {root} bytes {bytes}");
            world.check_moves(&name, build, &nothing, &recv, &wanted);
        }
    });
}

#[test]
fn a_gather_puts_every_block_in_its_place_at_the_root_and_touches_nobody_else() {
    use GatherAlgorithm::{Binomial, Linear, TwoLevel};
    for_many_seeds(|world, rng| {
        let (n, block) = (world.size(), length(rng));
        let (root, in_place) = (rng.below(n), rng.coin());
        let mut send = buffers(rng, vec![block; n]);
        let mut recv = vec![vec![]; n];
        recv[root] = rng.bytes(n * block);
        let mut wanted = recv.clone();
        if in_place {
            send[root] = recv[root][root * block..][..block].to_vec();
        }
        wanted[root] = send.concat();
        if in_place {
            send[root].clear();
        }
        for algorithm in [Linear, Binomial, TwoLevel] {
            let build = |shape: &coll::Shape, s: &mut coll::Schedule| {
                gather_with(algorithm, shape, block, root as u32, in_place, s);
            };
            let name = format!("gather {algorithm:?} root {root} block {block} {in_place}");
            world.check_moves(&name, build, &send, &recv, &wanted);
        }
    });
}

#[test]
fn a_scatter_gives_everyone_its_block_of_the_root() {
    use ScatterAlgorithm::{Binomial, Linear, TwoLevel};
    for_many_seeds(|world, rng| {
        let (n, block) = (world.size(), length(rng));
        let (root, in_place) = (rng.below(n), rng.coin());
        let mut send = vec![vec![]; n];
        send[root] = rng.bytes(n * block);
        let mut recv = buffers(rng, vec![block; n]);
        let mut wanted: Vec<Vec<u8>> =
            (0..n).map(|r| send[root][r * block..][..block].to_vec()).collect();
        if in_place {
            recv[root].clear();
            wanted[root].clear();
        }
        for algorithm in [Linear, Binomial, TwoLevel] {
            let build = |shape: &coll::Shape, s: &mut coll::Schedule| {
                scatter_with(algorithm, shape, block, root as u32, in_place, s);
            };
            let name = format!("scatter {algorithm:?} root {root} block {block} {in_place}");
            world.check_moves(&name, build, &send, &recv, &wanted);
        }
    });
}

#[test]
fn gatherv_and_scatterv_use_the_layout_of_the_root_and_leave_its_gaps_alone() {
    for_many_seeds(|world, rng| {
        let n = world.size();
        let (root, in_place) = (rng.below(n), rng.coin());
        let counts: Vec<usize> = (0..n).map(|_| length(rng)).collect();
        let (displs, end) = layout(rng, &counts);
        let at = |r: usize| displs[r]..displs[r] + counts[r];
        let blocks = |shape: &coll::Shape| match shape.rank() as usize == root {
            true => Blocks::Listed { counts: &counts, displs: &displs },
            false => Blocks::Listed { counts: &[], displs: &[] },
        };

        let mut parts = buffers(rng, counts.iter().copied());
        let mut whole = vec![vec![]; n];
        whole[root] = rng.bytes(end);
        let mut gathered = whole.clone();
        for r in (0..n).filter(|&r| !in_place || r != root) {
            gathered[root][at(r)].copy_from_slice(&parts[r]);
        }
        let mut scattered: Vec<Vec<u8>> = (0..n).map(|r| whole[root][at(r)].to_vec()).collect();
        if in_place {
            parts[root].clear();
            scattered[root].clear();
        }
        let root = root as u32;
        let build = |shape: &coll::Shape, s: &mut coll::Schedule| {
            let bytes = counts[shape.rank() as usize];
            coll::gatherv(shape, bytes, blocks(shape), root, in_place, s);
        };
        world.check_moves("gatherv", build, &parts, &whole, &gathered);
        let build = |shape: &coll::Shape, s: &mut coll::Schedule| {
            let bytes = counts[shape.rank() as usize];
            coll::scatterv(shape, bytes, blocks(shape), root, in_place, s);
        };
        world.check_moves("scatterv", build, &whole, &parts, &scattered);
    });
}

#[test]
fn an_allgather_puts_every_block_in_its_place_everywhere() {
    use AllgatherAlgorithm::{Bruck, Linear, RecursiveDoubling, Ring, TwoLevel};
    for_many_seeds(|world, rng| {
        let (n, in_place, equal) = (world.size(), rng.coin(), rng.coin());
        let block = length(rng);
        let counts: Vec<usize> = match equal {
            true => vec![block; n],
            false => (0..n).map(|_| length(rng)).collect(),
        };
        // Lengths are the same everywhere, displacements are each rank's own business.
        let layouts: Vec<(Vec<usize>, usize)> = match equal {
            true => vec![((0..n).map(|r| r * block).collect(), n * block); n],
            false => (0..n).map(|_| layout(rng, &counts)).collect(),
        };
        let blocks = |r: u32| match equal {
            true => Blocks::Equal(block),
            false => Blocks::Listed { counts: &counts, displs: &layouts[r as usize].0 },
        };
        let send = buffers(rng, counts.iter().copied());
        let mut recv = buffers(rng, layouts.iter().map(|(_, end)| *end));
        let mut wanted = recv.clone();
        for r in 0..n {
            for from in 0..n {
                let at = layouts[r].0[from]..layouts[r].0[from] + counts[from];
                wanted[r][at.clone()].copy_from_slice(&send[from]);
                if in_place && r == from {
                    recv[r][at].copy_from_slice(&send[from]);
                }
            }
        }
        let send = if in_place { vec![vec![]; n] } else { send };
        for algorithm in [Linear, RecursiveDoubling, Bruck, Ring, TwoLevel] {
            if algorithm.suits(&world.shape(0), &blocks(0)) {
                let build = |shape: &coll::Shape, s: &mut coll::Schedule| {
                    allgather_with(algorithm, shape, blocks(shape.rank()), in_place, s);
                };
                let name = format!("allgather {algorithm:?} counts {counts:?} {in_place}");
                world.check_moves(&name, build, &send, &recv, &wanted);
            }
        }
        let build = |shape: &coll::Shape, s: &mut coll::Schedule| match equal {
            true => coll::allgather(shape, block, in_place, s),
            false => coll::allgatherv(shape, blocks(shape.rank()), in_place, s),
        };
        world.check_moves("allgather as chosen", build, &send, &recv, &wanted);
    });
}

#[test]
fn an_alltoall_transposes_the_blocks() {
    use AlltoallAlgorithm::{Bruck, Spread, TwoLevel};
    for_many_seeds(|world, rng| {
        let (n, block, in_place) = (world.size(), length(rng), rng.coin());
        let mut send = buffers(rng, vec![n * block; n]);
        let mut recv = buffers(rng, vec![n * block; n]);
        let wanted: Vec<Vec<u8>> = (0..n)
            .map(|r| send.iter().flat_map(|s| &s[r * block..][..block]).copied().collect())
            .collect();
        if in_place {
            recv = send;
            send = vec![vec![]; n];
        }
        let window = 1 + rng.below(20);
        let chosen = coll::choose::alltoall(&world.shape(0), block);
        for algorithm in [Spread { window }, Bruck, TwoLevel, chosen] {
            let build = |shape: &coll::Shape, s: &mut coll::Schedule| {
                alltoall_with(algorithm, shape, block, in_place, s);
            };
            let name = format!("alltoall {algorithm:?} block {block} {in_place}");
            world.check_moves(&name, build, &send, &recv, &wanted);
        }
    });
}

#[test]
fn an_alltoallv_moves_every_block_between_layouts_of_each_ranks_own() {
    for_many_seeds(|world, rng| {
        let (n, in_place) = (world.size(), rng.coin());
        let mut counts: Vec<Vec<usize>> =
            (0..n).map(|_| (0..n).map(|_| length(rng)).collect()).collect();
        if in_place {
            (0..n).for_each(|a| (0..a).for_each(|b| counts[a][b] = counts[b][a]));
        }
        let wanted_counts: Vec<Vec<usize>> =
            (0..n).map(|r| (0..n).map(|from| counts[from][r]).collect()).collect();
        let from: Vec<_> = counts.iter().map(|c| layout(rng, c)).collect();
        let into: Vec<_> = wanted_counts.iter().map(|c| layout(rng, c)).collect();
        let mut send = buffers(rng, from.iter().map(|l| l.1));
        let recv = buffers(rng, into.iter().map(|l| l.1));
        let mut wanted = recv.clone();
        for (a, b) in (0..n).flat_map(|a| (0..n).map(move |b| (a, b))) {
            let place = into[b].0[a]..into[b].0[a] + counts[a][b];
            let block = match in_place {
                true => &recv[a][into[a].0[b]..][..counts[a][b]],
                false => &send[a][from[a].0[b]..][..counts[a][b]],
            };
            wanted[b][place].copy_from_slice(block);
        }
        if in_place {
            send.iter_mut().for_each(Vec::clear);
        }
        let build = |shape: &coll::Shape, s: &mut coll::Schedule| {
            let r = shape.rank() as usize;
            let from = Blocks::Listed { counts: &counts[r], displs: &from[r].0 };
            let into = Blocks::Listed { counts: &wanted_counts[r], displs: &into[r].0 };
            coll::alltoallv(shape, from, into, in_place, s);
        };
        world.check_moves("alltoallv", build, &send, &recv, &wanted);
    });
}
