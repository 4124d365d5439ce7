//! Neighborhood collectives on random graphs with parallel edges and loops, and on grids so narrow that
//! both neighbors of a dimension are one rank.

use super::super::neighbor::{self, Neighbors};
use super::super::{Blocks, Schedule};
use super::{Rng, World, for_many_seeds};

/// The neighbors of every rank.
struct Graph {
    sources: Vec<Vec<Option<u32>>>,
    destinations: Vec<Vec<Option<u32>>>,
    grid: bool,
}

impl Graph {
    fn random(world: &World, rng: &mut Rng) -> Graph {
        let n = world.size();
        let (mut sources, mut destinations) = (vec![vec![]; n], vec![vec![]; n]);
        for _ in 0..rng.below(4 * n) {
            let (from, to) = (rng.below(n), rng.below(n));
            destinations[from].push(Some(to as u32));
            let at = rng.below(sources[to].len() + 1);
            sources[to].insert(at, Some(from as u32));
        }
        Graph { sources, destinations, grid: false }
    }

    fn of_grid(dims: &[usize], periodic: &[bool]) -> Graph {
        let n: usize = dims.iter().product();
        let neighbors = |rank: usize| -> Vec<Option<u32>> {
            let stride = |d: usize| -> usize { dims[d + 1..].iter().product() };
            let shifted = |d: usize, up: bool| {
                let (stride, size) = (stride(d), dims[d]);
                let at = rank / stride % size;
                let inside = if up { at + 1 < size } else { at > 0 };
                let by = if up { 1 } else { size - 1 };
                let to = (at + by) % size;
                (periodic[d] || inside).then(|| (rank - at * stride + to * stride) as u32)
            };
            (0..dims.len()).flat_map(|d| [shifted(d, false), shifted(d, true)]).collect()
        };
        let all: Vec<_> = (0..n).map(neighbors).collect();
        Graph { sources: all.clone(), destinations: all, grid: true }
    }

    fn of(&self, rank: u32) -> Neighbors<'_> {
        let r = rank as usize;
        let (sources, destinations) = (&self.sources[r], &self.destinations[r]);
        Neighbors { rank, sources, destinations, grid: self.grid }
    }

    /// The rank and send block that belong to a receive block: in a grid the opposite one of the
    /// neighbor, in a graph the edge that is as many among those of this pair.
    fn origin(&self, rank: usize, i: usize) -> Option<(usize, usize)> {
        let source = self.sources[rank][i]? as usize;
        if self.grid {
            return Some((source, i ^ 1));
        }
        let before = self.sources[rank][..i].iter().filter(|s| **s == Some(source as u32)).count();
        let out = self.destinations[source].iter().enumerate();
        let mut out = out.filter(|(_, to)| **to == Some(rank as u32));
        Some((source, out.nth(before).unwrap().0))
    }

    fn check(&self, world: &World, rng: &mut Rng) {
        let n = self.sources.len();
        let own: Vec<Vec<u8>> = (0..n)
            .map(|_| {
                let len = rng.below(9);
                rng.bytes(len)
            })
            .collect();
        let untouched = |len: usize| vec![0xa5; len];
        let gathered = |r: usize, i: usize| match self.origin(r, i) {
            Some((source, _)) => own[source].clone(),
            None => untouched(3),
        };
        let results = |block: &dyn Fn(usize, usize) -> Vec<u8>| -> Vec<Vec<Vec<u8>>> {
            (0..n).map(|r| (0..self.sources[r].len()).map(|i| block(r, i)).collect()).collect()
        };
        let wanted = results(&gathered);
        let flat =
            |all: &[Vec<Vec<u8>>]| -> Vec<Vec<u8>> { all.iter().map(|b| b.concat()).collect() };
        let room = |all: &[Vec<Vec<u8>>]| -> Vec<Vec<u8>> {
            flat(all).iter().map(|bytes| untouched(bytes.len())).collect()
        };
        let build = |shape: &super::Shape, s: &mut Schedule| {
            let r = shape.rank() as usize;
            let (counts, displs) = listed(&wanted[r]);
            let blocks = Blocks::Listed { counts: &counts, displs: &displs };
            neighbor::allgatherv(&self.of(r as u32), own[r].len(), blocks, s);
        };
        world.check_moves("allgatherv", build, &own, &room(&wanted), &flat(&wanted));

        let edges = self.destinations.iter().map(Vec::len);
        let sent: Vec<Vec<Vec<u8>>> = edges
            .map(|count| {
                let lens: Vec<usize> = (0..count).map(|_| rng.below(9)).collect();
                lens.into_iter().map(|len| rng.bytes(len)).collect()
            })
            .collect();
        let taken = |r: usize, i: usize| match self.origin(r, i) {
            Some((source, out)) => sent[source][out].clone(),
            None => untouched(2),
        };
        let wanted = results(&taken);
        let build = |shape: &super::Shape, s: &mut Schedule| {
            let r = shape.rank() as usize;
            let (from, into) = (listed(&sent[r]), listed(&wanted[r]));
            let from = Blocks::Listed { counts: &from.0, displs: &from.1 };
            let into = Blocks::Listed { counts: &into.0, displs: &into.1 };
            neighbor::alltoallv(&self.of(r as u32), from, into, s);
        };
        world.check_moves("alltoallv", build, &flat(&sent), &room(&wanted), &flat(&wanted));
    }
}

fn listed(blocks: &[Vec<u8>]) -> (Vec<usize>, Vec<usize>) {
    let counts: Vec<usize> = blocks.iter().map(Vec::len).collect();
    let displs = (0..counts.len()).map(|i| counts[..i].iter().sum()).collect();
    (counts, displs)
}

#[test]
fn neighbors_in_a_graph_get_each_edges_block_in_order() {
    for_many_seeds(|world, rng| Graph::random(world, rng).check(world, rng));
}

#[test]
fn in_a_grid_what_goes_down_comes_from_above() {
    for_many_seeds(|_, rng| {
        let dims: Vec<usize> = (0..1 + rng.below(3)).map(|_| 1 + rng.below(3)).collect();
        let periodic: Vec<bool> = dims.iter().map(|_| rng.below(3) > 0).collect();
        let n = dims.iter().product();
        let world = World { hosts: vec![0; n], cores: None, seed: rng.next() };
        Graph::of_grid(&dims, &periodic).check(&world, rng);
    });
}
