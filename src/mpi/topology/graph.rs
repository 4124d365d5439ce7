//! Graphs that every rank knows whole (MPI 5.0, 8.5.3).

use super::Graph;
use crate::mpi::failure::{Class, Outcome, fail};

impl Graph {
    /// A graph for at most `most` ranks.
    ///
    /// # Errors
    /// `MPI_ERR_TOPOLOGY` when it is larger, or its lists make no graph.
    pub fn new(index: Vec<i32>, edges: Vec<i32>, most: u32) -> Outcome<Self> {
        let nodes = index.len();
        if nodes > most as usize {
            let why = format!("a graph of {nodes} ranks in a communicator of {most}");
            return fail(Class::Topology, why);
        }
        let ascending = index.is_sorted() && index.first().is_none_or(|it| *it >= 0);
        if !ascending || index.last().is_some_and(|it| *it as usize != edges.len()) {
            let why = "the index must ascend from the first rank's degree to the number of edges";
            return fail(Class::Topology, why);
        }
        let strange = |it: &&i32| usize::try_from(**it).map_or(true, |rank| rank >= nodes);
        if let Some(edge) = edges.iter().find(strange) {
            return fail(Class::Topology, format!("an edge to {edge}: no rank of the {nodes}"));
        }
        Ok(Self { index, edges })
    }

    /// The neighbors of a rank; none of a rank that is not there.
    #[must_use]
    pub fn neighbors(&self, rank: u32) -> &[i32] {
        let at = rank as usize;
        let first =
            at.checked_sub(1).and_then(|at| self.index.get(at)).map_or(0, |it| *it as usize);
        let last = self.index.get(at).map_or(first, |it| *it as usize);
        self.edges.get(first..last).unwrap_or(&[])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbors_lie_between_two_entries_of_the_index() {
        let graph = Graph::new(vec![2, 3, 4, 6], vec![1, 3, 0, 3, 0, 2], 4).unwrap();
        let all: Vec<_> = (0..4).map(|rank| graph.neighbors(rank).to_vec()).collect();
        assert_eq!(all, [vec![1, 3], vec![0], vec![3], vec![0, 2]]);
        assert_eq!(graph.neighbors(4), [0_i32; 0]);
    }

    #[test]
    fn lists_that_make_no_graph_are_refused() {
        for (index, edges) in [
            (vec![1, 0], vec![1]),
            (vec![-1, 0], vec![]),
            (vec![1, 2], vec![0]),
            (vec![1, 2], vec![0, 2]),
            (vec![1, 2], vec![0, -1]),
            (vec![0; 5], vec![]),
        ] {
            assert_eq!(Graph::new(index, edges, 4).unwrap_err().class, Class::Topology);
        }
    }
}
