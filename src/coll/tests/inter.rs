//! Collectives of two groups: every rank of one gets what the standard says the ranks of the other give.

use super::super::inter::{self, Inter, Root};
use super::super::{Blocks, Counts, Operands, Schedule, Step};
use super::reductions::{SIZE, compose, sum};
use super::{Combine, MODES, Outcome, Rank, Rng, World, for_many_seeds, same, sim};

/// Two groups of random sizes.
struct Pair {
    groups: [World; 2],
}

impl Pair {
    fn random(rng: &mut Rng) -> Pair {
        Pair { groups: [World::random(rng), World::random(rng)] }
    }

    fn sizes(&self) -> [usize; 2] {
        [self.groups[0].size(), self.groups[1].size()]
    }

    /// Every rank as group and rank in it.
    fn ranks(&self) -> impl Iterator<Item = (usize, usize)> {
        let [a, b] = self.sizes();
        (0..a).map(|r| (0, r)).chain((0..b).map(|r| (1, r)))
    }

    /// Runs the schedules of all ranks of both groups; results of the first group come first.
    fn check(
        &self,
        name: &str,
        operation: (usize, Combine),
        build: impl Fn(usize, &Inter<'_>, &mut Schedule),
        buffers: impl Fn(usize, usize) -> (Vec<u8>, Vec<u8>),
        wanted: impl Fn(&Outcome) -> Result<(), String>,
    ) {
        for mode in MODES {
            let ranks = self.ranks().map(|(group, rank)| {
                let local = self.groups[group].shape(rank);
                let remote_size = self.sizes()[1 - group] as u32;
                let mut schedule = Schedule::new();
                build(group, &Inter { local: &local, remote_size }, &mut schedule);
                self.renumber(group, &mut schedule);
                let (send, recv) = buffers(group, rank);
                Rank { schedule, send, recv }
            });
            let result = sim::run(ranks.collect(), operation, mode, self.groups[0].seed);
            if let Err(error) = result.and_then(|outcome| wanted(&outcome)) {
                panic!("{name}, {mode:?}, sizes {:?}: {error}", self.sizes());
            }
        }
    }

    /// Peers as the simulation numbers them: the first group, then the second.
    fn renumber(&self, group: usize, schedule: &mut Schedule) {
        let [a, b] = self.sizes().map(|size| size as u32);
        for step in &mut schedule.steps {
            if let Step::Send { peer, .. } | Step::Recv { peer, .. } = step
                && group == 1
            {
                *peer = if *peer < b { *peer + a } else { *peer - b };
            }
        }
    }

    /// A root in one of the groups, and what each rank calls it.
    fn root(&self, rng: &mut Rng) -> (usize, usize, impl Fn(usize, u32) -> Root + use<>) {
        let group = rng.below(2);
        let root = rng.below(self.sizes()[group]);
        let name = move |of: usize, rank: u32| match of == group {
            true if rank as usize == root => Root::Me,
            true => Root::Nobody,
            false => Root::Remote(root as u32),
        };
        (group, root, name)
    }
}

fn pairs(claim: impl Fn(&Pair, &mut Rng) + std::panic::RefUnwindSafe) {
    for_many_seeds(|_, rng| claim(&Pair::random(rng), rng));
}

/// Bytes that one rank has for another.
fn message(from: (usize, usize), to: (usize, usize), len: usize) -> Vec<u8> {
    let first = from.0 * 101 + from.1 * 7 + to.0 * 53 + to.1 * 3;
    (0..len).map(|i| (first + i) as u8).collect()
}

fn packed(counts: &[usize]) -> Vec<usize> {
    (0..counts.len()).map(|i| counts[..i].iter().sum()).collect()
}

#[test]
fn nobody_leaves_a_barrier_of_two_groups_before_everybody_came() {
    pairs(|pair, _| {
        let build = |_, inter: &Inter<'_>, s: &mut Schedule| inter::barrier(inter, s);
        let buffers = |_, _| (vec![], vec![]);
        pair.check("barrier", sim::NO_OPERATION, build, buffers, |outcome| {
            let last_in = outcome.times.iter().map(|t| t.0).max();
            let first_out = outcome.times.iter().map(|t| t.1).min();
            if last_in <= first_out { Ok(()) } else { Err(format!("{:?}", outcome.times)) }
        });
    });
}

#[test]
fn a_broadcast_reaches_all_of_the_other_group_and_none_of_the_roots() {
    pairs(|pair, rng| {
        let (group, root, name) = pair.root(rng);
        let bytes = rng.below(40);
        let buffers = |g, r| (vec![], message((g, r), (0, 0), bytes));
        let build = |g, inter: &Inter<'_>, s: &mut Schedule| {
            inter::bcast(inter, bytes, name(g, inter.local.rank()), s);
        };
        let of = |(g, r)| if g == group { (g, r) } else { (group, root) };
        let wanted: Vec<_> = pair.ranks().map(|at| message(of(at), (0, 0), bytes)).collect();
        pair.check("bcast", sim::NO_OPERATION, build, buffers, |o| same(o, &wanted));
    });
}

#[test]
fn gatherv_and_scatterv_move_between_the_root_and_the_other_group() {
    pairs(|pair, rng| {
        let (group, root, name) = pair.root(rng);
        let counts: Vec<_> = (0..pair.sizes()[1 - group]).map(|_| rng.below(9)).collect();
        let displs = packed(&counts);
        let blocks = Blocks::Listed { counts: &counts, displs: &displs };
        let all = counts.iter().enumerate();
        let all: Vec<u8> =
            all.flat_map(|(r, len)| message((1 - group, r), (group, root), *len)).collect();
        let block = |r: usize| all[displs[r]..][..counts[r]].to_vec();
        let is_root = |at| at == (group, root);
        let bytes = |g: usize, rank: u32| if g == group { 0 } else { counts[rank as usize] };

        let build = |g, inter: &Inter<'_>, s: &mut Schedule| {
            let rank = inter.local.rank();
            inter::gatherv(inter, bytes(g, rank), blocks, name(g, rank), s);
        };
        let buffers = |g, r| match is_root((g, r)) {
            true => (vec![], vec![0; all.len()]),
            false if g == group => (vec![], vec![]),
            false => (block(r), vec![]),
        };
        let wanted: Vec<_> =
            pair.ranks().map(|at| if is_root(at) { all.clone() } else { vec![] }).collect();
        pair.check("gatherv", sim::NO_OPERATION, build, buffers, |o| same(o, &wanted));

        let build = |g, inter: &Inter<'_>, s: &mut Schedule| {
            let rank = inter.local.rank();
            inter::scatterv(inter, bytes(g, rank), blocks, name(g, rank), s);
        };
        let buffers = |g, r: usize| match is_root((g, r)) {
            true => (all.clone(), vec![]),
            false if g == group => (vec![], vec![]),
            false => (vec![], vec![0; counts[r]]),
        };
        let result = |(g, r)| if g == group { vec![] } else { block(r) };
        let wanted: Vec<_> = pair.ranks().map(result).collect();
        pair.check("scatterv", sim::NO_OPERATION, build, buffers, |o| same(o, &wanted));
    });
}

#[test]
fn allgatherv_and_alltoallv_move_from_each_group_to_the_other() {
    pairs(|pair, rng| {
        let sizes = pair.sizes();
        let own: [Vec<usize>; 2] = sizes.map(|n| (0..n).map(|_| rng.below(9)).collect());
        let build = |g: usize, inter: &Inter<'_>, s: &mut Schedule| {
            let counts = &own[1 - g];
            let blocks = Blocks::Listed { counts, displs: &packed(counts) };
            inter::allgatherv(inter, own[g][inter.local.rank() as usize], blocks, s);
        };
        let given = |(g, r): (usize, usize)| message((g, r), (0, 0), own[g][r]);
        let gathered =
            |g: usize| -> Vec<u8> { (0..sizes[g]).flat_map(|r| given((g, r))).collect() };
        let buffers = |g: usize, r| (given((g, r)), vec![0; gathered(1 - g).len()]);
        let wanted: Vec<_> = pair.ranks().map(|(g, _)| gathered(1 - g)).collect();
        pair.check("allgatherv", sim::NO_OPERATION, build, buffers, |o| same(o, &wanted));

        // Between each pair another length, from the first group's rank to the second's and back.
        let table: Vec<[usize; 2]> =
            (0..sizes[0] * sizes[1]).map(|_| [rng.below(5), rng.below(5)]).collect();
        let len = |g: usize, r: usize, other: usize| match g {
            0 => table[r * sizes[1] + other][0],
            _ => table[other * sizes[1] + r][1],
        };
        let sent = |g: usize, r: usize| -> Vec<usize> {
            (0..sizes[1 - g]).map(|other| len(g, r, other)).collect()
        };
        let came = |g: usize, r: usize| -> Vec<usize> {
            (0..sizes[1 - g]).map(|other| len(1 - g, other, r)).collect()
        };
        let build = |g: usize, inter: &Inter<'_>, s: &mut Schedule| {
            let r = inter.local.rank() as usize;
            let (sent, came) = (sent(g, r), came(g, r));
            let from = Blocks::Listed { counts: &sent, displs: &packed(&sent) };
            let into = Blocks::Listed { counts: &came, displs: &packed(&came) };
            inter::alltoallv(inter, from, into, s);
        };
        let give = |g: usize, r: usize| -> Vec<u8> {
            let lens = sent(g, r).into_iter().enumerate();
            lens.flat_map(|(other, len)| message((g, r), (1 - g, other), len)).collect()
        };
        let take = |g: usize, r: usize| -> Vec<u8> {
            let lens = came(g, r).into_iter().enumerate();
            lens.flat_map(|(other, len)| message((1 - g, other), (g, r), len)).collect()
        };
        let buffers = |g, r| (give(g, r), vec![0; take(g, r).len()]);
        let wanted: Vec<_> = pair.ranks().map(|(g, r)| take(g, r)).collect();
        pair.check("alltoallv", sim::NO_OPERATION, build, buffers, |o| same(o, &wanted));
    });
}

#[test]
fn reductions_give_each_group_the_operands_of_the_other_combined_in_order() {
    pairs(|pair, rng| {
        let commutative = rng.coin();
        let combine: Combine = if commutative { sum } else { compose };
        let sizes = pair.sizes();
        // The same number of elements is cut among the ranks of either group.
        let elements = rng.below(2 * sizes[0] * sizes[1]);
        let bytes = elements * SIZE;
        let operands = Operands { bytes, element_size: SIZE, commutative, in_place: false };
        let vectors: [Vec<Vec<u8>>; 2] = sizes.map(|n| (0..n).map(|_| rng.bytes(bytes)).collect());
        let combined = [0, 1].map(|g: usize| {
            let next = |a: Vec<u8>, b: &Vec<u8>| -> Vec<u8> {
                a.chunks(SIZE).zip(b.chunks(SIZE)).flat_map(|(a, b)| combine(a, b)).collect()
            };
            vectors[g][1..].iter().fold(vectors[g][0].clone(), next)
        });

        let (group, root, name) = pair.root(rng);
        let build = |g, inter: &Inter<'_>, s: &mut Schedule| {
            inter::reduce(inter, operands, name(g, inter.local.rank()), s);
        };
        let room = |at| if at == (group, root) { vec![0; bytes] } else { vec![] };
        let buffers = |g: usize, r: usize| {
            (if g == group { vec![] } else { vectors[g][r].clone() }, room((g, r)))
        };
        let result = |at| if at == (group, root) { combined[1 - group].clone() } else { vec![] };
        let wanted: Vec<_> = pair.ranks().map(result).collect();
        pair.check("reduce", (SIZE, combine), build, buffers, |o| same(o, &wanted));

        let build = |_, inter: &Inter<'_>, s: &mut Schedule| inter::allreduce(inter, operands, s);
        let buffers = |g: usize, r: usize| (vectors[g][r].clone(), vec![0; bytes]);
        let wanted: Vec<_> = pair.ranks().map(|(g, _)| combined[1 - g].clone()).collect();
        pair.check("allreduce", (SIZE, combine), build, buffers, |o| same(o, &wanted));

        let cut = |g: usize| -> Vec<usize> {
            let n = sizes[g];
            (0..n).map(|r| SIZE * (elements / n + usize::from(r < elements % n))).collect()
        };
        let build = |g, inter: &Inter<'_>, s: &mut Schedule| {
            inter::reduce_scatter(inter, operands, Counts::Listed(&cut(g)), s);
        };
        let buffers = |g: usize, r: usize| (vectors[g][r].clone(), vec![0; cut(g)[r]]);
        let result =
            |(g, r): (usize, usize)| combined[1 - g][packed(&cut(g))[r]..][..cut(g)[r]].to_vec();
        let wanted: Vec<_> = pair.ranks().map(result).collect();
        pair.check("reduce_scatter", (SIZE, combine), build, buffers, |o| same(o, &wanted));
    });
}
