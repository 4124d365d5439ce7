//! Process topologies: who is whose neighbor (MPI 5.0, 8).

mod cart;
mod dims;
mod dist;
mod graph;

pub use dims::balance;
pub use dist::{Edge, Edges};
pub(super) use dist::{from_words, to_words};

use super::collective::Neighborhood;

/// The topology of a communicator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Topology {
    /// A grid.
    Cart(Cart),
    /// A graph that every rank knows whole.
    Graph(Graph),
    /// A graph of which every rank knows its own edges.
    DistGraph(DistGraph),
}

/// A grid of ranks, in row-major order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cart {
    /// Ranks along each dimension.
    pub dims: Vec<i32>,
    /// Whether each dimension closes into a ring.
    pub periods: Vec<bool>,
}

/// A graph that every rank knows whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Graph {
    /// Number of edges of the ranks up to and with each.
    pub index: Vec<i32>,
    /// The neighbors of rank 0, of rank 1, and so on.
    pub edges: Vec<i32>,
}

/// The edges of this rank.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DistGraph {
    /// Whom this rank receives of.
    pub sources: Vec<i32>,
    /// Whom this rank sends to.
    pub destinations: Vec<i32>,
    /// Weights of both, if any were given.
    pub weights: Option<(Vec<i32>, Vec<i32>)>,
}

impl Topology {
    /// The neighbors of a rank, in the order of its blocks in neighborhood collectives.
    #[must_use]
    pub fn neighborhood(&self, rank: u32) -> Neighborhood {
        let ranks = |list: &[i32]| list.iter().map(|&it| u32::try_from(it).ok()).collect();
        match self {
            Self::Cart(cart) => cart.neighborhood(rank),
            Self::Graph(graph) => {
                let neighbors: Vec<_> = ranks(graph.neighbors(rank));
                let (sources, destinations) = (neighbors.clone(), neighbors);
                Neighborhood { sources, destinations, grid: false }
            }
            Self::DistGraph(graph) => {
                let (sources, destinations) = (ranks(&graph.sources), ranks(&graph.destinations));
                Neighborhood { sources, destinations, grid: false }
            }
        }
    }
}
