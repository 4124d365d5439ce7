//! Process topologies: who is whose neighbor (MPI 5.0, 8).

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

/// The rank of a number of the application; none for `MPI_PROC_NULL`.
fn rank(number: i32) -> Option<u32> {
    u32::try_from(number).ok()
}

impl Topology {
    /// The neighbors of a rank, in the order of the neighborhood collectives (MPI 5.0, 8.6).
    #[must_use]
    pub fn neighborhood(&self, me: u32) -> Neighborhood {
        match self {
            Self::Cart(cart) => cart.neighborhood(me),
            Self::Graph(graph) => {
                let all: Vec<_> = graph.neighbors(me).iter().map(|&number| rank(number)).collect();
                Neighborhood { sources: all.clone(), destinations: all, grid: false }
            }
            Self::DistGraph(graph) => Neighborhood {
                sources: graph.sources.iter().map(|&number| rank(number)).collect(),
                destinations: graph.destinations.iter().map(|&number| rank(number)).collect(),
                grid: false,
            },
        }
    }
}

impl Graph {
    /// The neighbors of a rank.
    #[must_use]
    pub fn neighbors(&self, me: u32) -> &[i32] {
        let place = |end: Option<&i32>| end.and_then(|&end| usize::try_from(end).ok()).unwrap_or(0);
        let me = me as usize;
        let from = me.checked_sub(1).map_or(0, |before| place(self.index.get(before)));
        self.edges.get(from..place(self.index.get(me))).unwrap_or(&[])
    }
}

impl Cart {
    /// The coordinates of a rank.
    #[must_use]
    pub fn coords(&self, me: u32) -> Vec<i32> {
        let mut rest = me.cast_signed();
        let mut coords = vec![0; self.dims.len()];
        for (coord, &dim) in coords.iter_mut().zip(&self.dims).rev() {
            *coord = rest % dim;
            rest /= dim;
        }
        coords
    }

    /// The rank at these coordinates; none outside of a grid that does not close into a ring there.
    #[must_use]
    pub fn rank_at(&self, coords: &[i32]) -> Option<u32> {
        let mut at = 0_i64;
        for ((&coord, &dim), &period) in coords.iter().zip(&self.dims).zip(&self.periods) {
            let inside = (0..dim).contains(&coord);
            if !inside && !period {
                return None;
            }
            at = at * i64::from(dim) + i64::from(coord.rem_euclid(dim));
        }
        u32::try_from(at).ok()
    }

    /// The rank so many steps away along a dimension.
    #[must_use]
    pub fn neighbor(&self, me: u32, dimension: usize, steps: i32) -> Option<u32> {
        let mut coords = self.coords(me);
        coords[dimension] = coords[dimension].checked_add(steps)?;
        self.rank_at(&coords)
    }

    fn neighborhood(&self, me: u32) -> Neighborhood {
        let dimensions = 0..self.dims.len();
        let both = |at| [self.neighbor(me, at, -1), self.neighbor(me, at, 1)];
        let all: Vec<_> = dimensions.flat_map(both).collect();
        Neighborhood { sources: all.clone(), destinations: all, grid: true }
    }
}
