//! Communicators with a topology (MPI 5.0, 8.5). Ranks stay as they are: reordering is allowed,
//! not asked for.

use std::sync::Arc;

use super::Process;
use super::communicators::{hints, intra};
use crate::mpi::comm::{Comm, Traits};
use crate::mpi::failure::{Class, Outcome, fail};
use crate::mpi::topology::{Cart, DistGraph, Edges, Graph, Topology, from_words, to_words};

/// Bytes of an edge in a message.
const EDGE: usize = 12;

fn traits(comm: &Comm, topology: Topology) -> Traits {
    Traits { topology: Some(topology), ..Traits::plain(comm.errhandler()) }
}

impl Process {
    /// The first `size` ranks, with a topology.
    fn first_of(&self, comm: &Comm, size: u32, topology: Topology) -> Outcome<Option<Arc<Comm>>> {
        let members = comm.local().members().iter().take(size as usize).copied().collect();
        self.part_of(comm, members, traits(comm, topology))
    }

    /// A grid; none for ranks beyond it (`MPI_Cart_create`).
    ///
    /// # Errors
    /// `MPI_ERR_COMM` for an intercommunicator, and as for [`Cart::new`].
    pub fn cart_create(
        &self,
        comm: &Comm,
        dims: Vec<i32>,
        periods: Vec<bool>,
    ) -> Outcome<Option<Arc<Comm>>> {
        intra(comm)?;
        let cart = Cart::new(dims, periods, comm.size())?;
        self.first_of(comm, cart.size(), Topology::Cart(cart))
    }

    /// The part of the grid that this rank is in when only some dimensions remain
    /// (`MPI_Cart_sub`).
    ///
    /// # Errors
    /// `MPI_ERR_TOPOLOGY` when it is no grid.
    pub fn cart_sub(&self, comm: &Comm, remain: &[bool]) -> Outcome<Arc<Comm>> {
        let Some(Topology::Cart(cart)) = comm.topology.get() else {
            return fail(Class::Topology, "the communicator is no grid");
        };
        let (part, ranks) = cart.part(comm.rank().cast_signed(), remain)?;
        let world = |&rank: &i32| comm.local().world_rank(rank);
        let members = ranks.iter().map(world).collect::<Outcome<Arc<[u32]>>>()?;
        let made = self.part_of(comm, members, traits(comm, Topology::Cart(part)))?;
        made.map_or_else(|| fail(Class::Intern, "a rank is not in its part of the grid"), Ok)
    }

    /// A graph; none for ranks beyond it (`MPI_Graph_create`).
    ///
    /// # Errors
    /// `MPI_ERR_COMM` for an intercommunicator, and as for [`Graph::new`].
    pub fn graph_create(
        &self,
        comm: &Comm,
        index: Vec<i32>,
        edges: Vec<i32>,
    ) -> Outcome<Option<Arc<Comm>>> {
        intra(comm)?;
        let size = index.len() as u32;
        let graph = Graph::new(index, edges, comm.size())?;
        self.first_of(comm, size, Topology::Graph(graph))
    }

    /// A graph whose ranks each know their neighbors (`MPI_Dist_graph_create_adjacent`).
    ///
    /// # Errors
    /// `MPI_ERR_COMM` for an intercommunicator, `MPI_ERR_RANK`, `MPI_ERR_ARG`.
    pub fn dist_graph_create_adjacent(
        &self,
        comm: &Comm,
        graph: DistGraph,
        given: Vec<(String, String)>,
    ) -> Outcome<Arc<Comm>> {
        intra(comm)?;
        graph.check(comm.size())?;
        let grant = self.grant(self.all_of(comm)?, false)?;
        let traits = Traits { hints: hints(given), ..traits(comm, Topology::DistGraph(graph)) };
        self.found(grant, Arc::clone(comm.local()), None, traits)
    }

    /// A graph whose edges are given by any ranks (`MPI_Dist_graph_create`).
    ///
    /// # Errors
    /// As for [`Process::dist_graph_create_adjacent`].
    pub fn dist_graph_create(
        &self,
        comm: &Comm,
        mine: &Edges,
        given: Vec<(String, String)>,
    ) -> Outcome<Arc<Comm>> {
        intra(comm)?;
        mine.check(comm.size())?;
        let all = self.all_edges(comm, &to_words(&mine.edges))?;
        let rank = comm.rank().cast_signed();
        let graph = DistGraph::of(rank, &from_words(&all), mine.weighted);
        self.dist_graph_create_adjacent(comm, graph, given)
    }

    /// The edges that all ranks give, in the order of ranks.
    fn all_edges(&self, comm: &Comm, mine: &[u8]) -> Outcome<Vec<u8>> {
        let lens = self.allgather_bytes(comm, &(mine.len() as u64).to_ne_bytes())?;
        let len = |it: &[u8]| it.try_into().map_or(0, u64::from_ne_bytes) as usize;
        let lens: Vec<usize> = lens.chunks_exact(8).map(len).collect();
        let most = lens.iter().copied().max().unwrap_or(0).max(EDGE);
        if most * lens.len() <= 4 * lens.iter().sum::<usize>() {
            let mut padded = mine.to_vec();
            padded.resize(most, 0);
            let all = self.allgather_bytes(comm, &padded)?;
            let parts = all.chunks_exact(most).zip(&lens);
            return Ok(parts.flat_map(|(part, &len)| part[..len].to_vec()).collect());
        }
        // A few ranks give nearly all.
        let mut all = Vec::new();
        for (root, &len) in lens.iter().enumerate().filter(|(_, len)| **len > 0) {
            let root = root as u32;
            let mut part = if root == comm.rank() { mine.to_vec() } else { vec![0; len] };
            self.bcast_bytes(comm, &mut part, root)?;
            all.extend(part);
        }
        Ok(all)
    }
}
