//! Graphs of which every rank knows its own edges (MPI 5.0, 8.5.4): edges as they are given, by
//! anybody, and as the ranks at their ends keep them.

use super::DistGraph;
use crate::mpi::failure::{Class, Outcome, fail};

/// An edge, with its weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edge {
    /// Who sends.
    pub source: i32,
    /// Who receives.
    pub destination: i32,
    /// Its weight; 1 where none are given.
    pub weight: i32,
}

/// The edges that one rank gives (`MPI_Dist_graph_create`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edges {
    /// Of any ranks.
    pub edges: Vec<Edge>,
    /// Whether weights are given.
    pub weighted: bool,
}

impl Edges {
    /// Checks that all edges are between ranks, and have weights that may be.
    ///
    /// # Errors
    /// `MPI_ERR_RANK`, `MPI_ERR_ARG`.
    pub fn check(&self, size: u32) -> Outcome<()> {
        for edge in &self.edges {
            check_ranks(&[edge.source, edge.destination], size)?;
            check_weights(&[edge.weight])?;
        }
        Ok(())
    }
}

impl DistGraph {
    /// Checks that all neighbors are ranks, and all weights may be.
    ///
    /// # Errors
    /// `MPI_ERR_RANK`, `MPI_ERR_ARG`.
    pub fn check(&self, size: u32) -> Outcome<()> {
        check_ranks(&self.sources, size)?;
        check_ranks(&self.destinations, size)?;
        let weights = self.weights.as_ref();
        weights.map_or(Ok(()), |(into, out)| check_weights(into).and_then(|()| check_weights(out)))
    }

    /// What a rank keeps of all edges, in the order in which they were given: the same at both
    /// ends, so that the several edges of a pair are told apart alike.
    #[must_use]
    pub fn of(rank: i32, edges: &[Edge], weighted: bool) -> Self {
        let into: Vec<&Edge> = edges.iter().filter(|it| it.destination == rank).collect();
        let out: Vec<&Edge> = edges.iter().filter(|it| it.source == rank).collect();
        let weights = |edges: &[&Edge]| edges.iter().map(|it| it.weight).collect();
        Self {
            sources: into.iter().map(|it| it.source).collect(),
            destinations: out.iter().map(|it| it.destination).collect(),
            weights: weighted.then(|| (weights(&into), weights(&out))),
        }
    }
}

fn check_ranks(ranks: &[i32], size: u32) -> Outcome<()> {
    let strange = |it: &&i32| u32::try_from(**it).map_or(true, |rank| rank >= size);
    match ranks.iter().find(strange) {
        Some(rank) => fail(Class::Rank, format!("an edge of {rank}: no rank of the {size}")),
        None => Ok(()),
    }
}

fn check_weights(weights: &[i32]) -> Outcome<()> {
    match weights.iter().find(|it| **it < 0) {
        Some(weight) => fail(Class::Arg, format!("the weight {weight} is negative")),
        None => Ok(()),
    }
}

/// Edges as the bytes of a message.
pub(in crate::mpi) fn to_words(edges: &[Edge]) -> Vec<u8> {
    let words = edges.iter().flat_map(|it| [it.source, it.destination, it.weight]);
    words.flat_map(i32::to_ne_bytes).collect()
}

/// The edges of such bytes.
pub(in crate::mpi) fn from_words(bytes: &[u8]) -> Vec<Edge> {
    let word = |at: &[u8]| at.try_into().map_or(0, i32::from_ne_bytes);
    let edge = |at: &[u8]| Edge {
        source: word(&at[..4]),
        destination: word(&at[4..8]),
        weight: word(&at[8..12]),
    };
    bytes.chunks_exact(12).map(edge).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edge((source, destination, weight): (i32, i32, i32)) -> Edge {
        Edge { source, destination, weight }
    }

    #[test]
    fn each_end_keeps_its_edges_in_the_order_in_which_they_were_given() {
        let edges = [(0, 1, 5), (1, 0, 6), (0, 1, 7), (1, 1, 8)].map(edge);
        let kept = DistGraph::of(1, &edges, true);
        assert_eq!((&kept.sources[..], &kept.destinations[..]), (&[0, 0, 1][..], &[0, 1][..]));
        assert_eq!(kept.weights, Some((vec![5, 7, 8], vec![6, 8])));
        assert_eq!(DistGraph::of(0, &edges, false).weights, None);
        assert_eq!(from_words(&to_words(&edges)), edges);
    }

    #[test]
    fn edges_of_nobody_and_negative_weights_are_refused() {
        let check = |it| Edges { edges: vec![edge(it)], weighted: true }.check(2);
        assert_eq!(check((0, 1, 0)), Ok(()));
        assert_eq!(check((2, 1, 0)).unwrap_err().class, Class::Rank);
        assert_eq!(check((0, -1, 0)).unwrap_err().class, Class::Rank);
        assert_eq!(check((0, 1, -1)).unwrap_err().class, Class::Arg);
    }
}
