//! The public entries, which choose: right at the sizes where the choice changes, and the same everywhere.

use super::super::{self as coll, Counts, Operands, Schedule, Shape, choose};
use super::{Combine, World};

/// Around the thresholds of `choose.rs`: latency, one level or two, tree or pipeline, ring.
const SIZES: [usize; 8] = [8, 2048, 4104, 16_000, 40_000, 90_000, 530_000, 1_100_000];

/// Adds 8-byte numbers.
fn sum(a: &[u8], b: &[u8]) -> [u8; 8] {
    let number = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().unwrap());
    number(a).wrapping_add(number(b)).to_le_bytes()
}

fn worlds() -> Vec<World> {
    let one = vec![0; 5];
    let two = vec![0, 1, 0, 0, 1];
    let each_its_own = vec![0, 1, 2, 3, 4];
    let hosts = [one, two, each_its_own];
    let with_cores = |cores| hosts.iter().map(move |hosts| (hosts.clone(), cores));
    let all = with_cores(Some(2)).chain(with_cores(None));
    all.map(|(hosts, cores)| World { hosts, cores, seed: 7 }).collect()
}

fn pattern(rank: usize, bytes: usize) -> Vec<u8> {
    (0..bytes).map(|i| (i * 7 + rank * 13 + i / 251) as u8).collect()
}

#[test]
fn whatever_is_chosen_for_moving_bytes_is_right() {
    for (world, total) in worlds().iter().flat_map(|w| SIZES.map(move |total| (w, total))) {
        let n = world.size();
        let nothing = vec![vec![]; n];
        let recv: Vec<_> = (0..n).map(|r| pattern(r, total)).collect();
        let wanted = vec![recv[3].clone(); n];
        let bcast = |shape: &Shape, s: &mut Schedule| coll::bcast(shape, total, 3, s);
        world.check_moves("bcast", bcast, &nothing, &recv, &wanted);

        let block = total / n;
        let own: Vec<_> = (0..n).map(|r| pattern(r, block)).collect();
        let room = vec![vec![0; block * n]; n];
        let allgather = |shape: &Shape, s: &mut Schedule| coll::allgather(shape, block, false, s);
        world.check_moves("allgather", allgather, &own, &room, &vec![own.concat(); n]);

        let send: Vec<_> = (0..n).map(|r| pattern(r, block * n)).collect();
        let part = |from: usize, to: usize| send[from][to * block..][..block].to_vec();
        let transposed: Vec<Vec<u8>> =
            (0..n).map(|to| (0..n).flat_map(|from| part(from, to)).collect()).collect();
        let alltoall = |shape: &Shape, s: &mut Schedule| coll::alltoall(shape, block, false, s);
        world.check_moves("alltoall", alltoall, &send, &room, &transposed);

        let mut gathered = nothing.clone();
        gathered[2] = own.concat();
        let mut at_root = nothing.clone();
        at_root[2] = vec![0; block * n];
        let gather = |shape: &Shape, s: &mut Schedule| coll::gather(shape, block, 2, false, s);
        world.check_moves("gather", gather, &own, &at_root, &gathered);
        let blocks = vec![vec![0; block]; n];
        let scatter = |shape: &Shape, s: &mut Schedule| coll::scatter(shape, block, 2, false, s);
        world.check_moves("scatter", scatter, &gathered, &blocks, &own);
    }
}

#[test]
fn whatever_is_chosen_for_reductions_is_right() {
    for (world, bytes) in worlds().iter().flat_map(|w| SIZES.map(move |bytes| (w, bytes))) {
        let n = world.size();
        let bytes = bytes / (8 * n) * (8 * n);
        let vectors: Vec<_> = (0..n).map(|r| pattern(r, bytes)).collect();
        let add = |a: Vec<u8>, b: &Vec<u8>| -> Vec<u8> {
            a.chunks(8).zip(b.chunks(8)).flat_map(|(a, b)| sum(a, b)).collect()
        };
        let total = vectors[1..].iter().fold(vectors[0].clone(), add);
        let operation: (usize, Combine) = (8, sum);
        for commutative in [false, true] {
            let operands = Operands { bytes, element_size: 8, commutative, in_place: false };
            let buffers = |r: usize| (vectors[r].clone(), vec![0; bytes]);
            let build = |shape: &Shape, s: &mut Schedule| coll::allreduce(shape, operands, s);
            let all = vec![total.clone(); n];
            world.check("allreduce", operation, build, buffers, |o| super::same(o, &all));

            let mut root = vec![vec![0; bytes]; n];
            root[4] = total.clone();
            let build = |shape: &Shape, s: &mut Schedule| coll::reduce(shape, operands, 4, s);
            world.check("reduce", operation, build, buffers, |o| super::same(o, &root));

            let block = bytes / n;
            let parts: Vec<_> = (0..n).map(|r| total[r * block..][..block].to_vec()).collect();
            let buffers = |r: usize| (vectors[r].clone(), vec![0; block]);
            let build = |shape: &Shape, s: &mut Schedule| {
                coll::reduce_scatter(shape, operands, Counts::Equal(block), s);
            };
            world.check("reduce_scatter", operation, build, buffers, |o| super::same(o, &parts));
        }
    }
}

#[test]
fn every_rank_makes_the_same_choice() {
    for (world, bytes) in worlds().iter().flat_map(|w| SIZES.map(move |bytes| (w, bytes))) {
        let operands =
            Operands { bytes, element_size: 8, commutative: bytes % 3 == 0, in_place: false };
        let choices = |rank| {
            let shape = world.shape(rank);
            let reductions = (
                choose::reduce(&shape, &operands),
                choose::allreduce(&shape, &operands),
                choose::reduce_scatter(&shape, &operands),
            );
            let moves = (
                choose::bcast(&shape, bytes),
                choose::gather(&shape, bytes),
                choose::scatter(&shape, bytes),
                choose::allgather(&shape, bytes),
                choose::allgatherv(&shape, bytes),
                choose::alltoall(&shape, bytes),
            );
            (choose::barrier(&shape), reductions, moves)
        };
        for rank in 1..world.size() {
            assert_eq!(choices(rank), choices(0));
        }
    }
}
