//! Process topologies (MPI 5.0, 8).

use std::ffi::c_int;
use std::sync::Arc;

use cohost::mpi::comm::Comm;
use cohost::mpi::failure::{Class, Outcome, fail};
use cohost::mpi::topology::{Cart, DistGraph, Edge, Edges, Graph, Topology, balance};

use super::comm::put_comm;
use super::info::entries;
use crate::args::Handle;
use crate::constants::{
    MPI_CART, MPI_DIST_GRAPH, MPI_GRAPH, MPI_PROC_NULL, MPI_UNDEFINED, MPI_UNWEIGHTED,
    MPI_WEIGHTS_EMPTY,
};
use crate::memory::{list, put, put_list};
use crate::runtime::{Ref, comm, process};

/// A communicator with a topology.
struct Holder(Ref<Arc<Comm>>);

impl Holder {
    fn get(handle: Handle) -> Outcome<Self> {
        comm(handle).map(Self)
    }

    fn cart(&self) -> Outcome<&Cart> {
        match self.0.topology.get() {
            Some(Topology::Cart(cart)) => Ok(cart),
            _ => fail(Class::Topology, "the communicator is no grid: see MPI_Cart_create"),
        }
    }

    fn graph(&self) -> Outcome<&Graph> {
        match self.0.topology.get() {
            Some(Topology::Graph(graph)) => Ok(graph),
            _ => fail(Class::Topology, "the communicator is no graph: see MPI_Graph_create"),
        }
    }

    fn dist_graph(&self) -> Outcome<&DistGraph> {
        match self.0.topology.get() {
            Some(Topology::DistGraph(graph)) => Ok(graph),
            _ => fail(
                Class::Topology,
                "the communicator is no distributed graph: see MPI_Dist_graph_create",
            ),
        }
    }
}

/// That an array has room for what is written to it.
fn room(given: c_int, needed: usize) -> Outcome<()> {
    match usize::try_from(given) {
        Ok(given) if given >= needed => Ok(()),
        _ => fail(Class::Arg, format!("an array of {given} for {needed} values")),
    }
}

/// # Safety
/// There are as many logicals at the address.
unsafe fn logicals(at: *const c_int, len: c_int) -> Outcome<Vec<bool>> {
    // SAFETY: the caller's promise.
    let all = unsafe { list(at, len) }?;
    Ok(all.into_iter().map(|it| it != 0).collect())
}

pub(crate) unsafe fn dims_create(nnodes: c_int, ndims: c_int, dims: *mut c_int) -> Outcome<()> {
    if ndims < 0 {
        return fail(Class::Dims, format!("{ndims} dimensions"));
    }
    // SAFETY: the application gives an array of this length.
    let mut all = unsafe { list(dims, ndims) }?;
    balance(nnodes, &mut all)?;
    // SAFETY: as above.
    unsafe { put_list(dims, &all, all.len()) };
    Ok(())
}

/// # Safety
/// The arrays are of this length.
unsafe fn grid(
    ndims: c_int,
    dims: *const c_int,
    periods: *const c_int,
) -> Outcome<(Vec<c_int>, Vec<bool>)> {
    if ndims < 0 {
        return fail(Class::Dims, format!("{ndims} dimensions"));
    }
    // SAFETY: the caller's promise.
    let dims = unsafe { list(dims, ndims) }?;
    // SAFETY: as above.
    Ok((dims, unsafe { logicals(periods, ndims) }?))
}

pub(crate) unsafe fn cart_create(
    comm_old: Handle,
    ndims: c_int,
    dims: *const c_int,
    periods: *const c_int,
    _reorder: bool,
    comm_cart: *mut Handle,
) -> Outcome<()> {
    let comm = comm(comm_old)?;
    // SAFETY: the application gives arrays of this length.
    let (dims, periods) = unsafe { grid(ndims, dims, periods) }?;
    let made = process()?.cart_create(&comm, dims, periods)?;
    // SAFETY: the application gives an address to write to.
    unsafe { put_comm(comm_cart, made) }
}

pub(crate) unsafe fn cart_map(
    comm: Handle,
    ndims: c_int,
    dims: *const c_int,
    periods: *const c_int,
    newrank: *mut c_int,
) -> Outcome<()> {
    let comm = self::comm(comm)?;
    // SAFETY: the application gives arrays of this length.
    let (dims, periods) = unsafe { grid(ndims, dims, periods) }?;
    let cart = Cart::new(dims, periods, comm.size())?;
    // SAFETY: the application gives an address to write to.
    unsafe { put(newrank, mapped(&comm, cart.size())) };
    Ok(())
}

/// The rank in a topology of the first `size` ranks.
fn mapped(comm: &Comm, size: u32) -> c_int {
    if comm.rank() < size { comm.rank().cast_signed() } else { MPI_UNDEFINED }
}

pub(crate) unsafe fn cart_sub(
    comm: Handle,
    remain_dims: *const c_int,
    newcomm: *mut Handle,
) -> Outcome<()> {
    let holder = Holder::get(comm)?;
    let ndims = holder.cart()?.dims.len() as c_int;
    // SAFETY: the application gives an array of as many as there are dimensions.
    let remain = unsafe { logicals(remain_dims, ndims) }?;
    let made = process()?.cart_sub(&holder.0, &remain)?;
    // SAFETY: the application gives an address to write to.
    unsafe { put_comm(newcomm, Some(made)) }
}

pub(crate) unsafe fn cartdim_get(comm: Handle, ndims: *mut c_int) -> Outcome<()> {
    let value = Holder::get(comm)?.cart()?.dims.len() as c_int;
    // SAFETY: the application gives an address to write to.
    unsafe { put(ndims, value) };
    Ok(())
}

pub(crate) unsafe fn cart_get(
    comm: Handle,
    maxdims: c_int,
    dims: *mut c_int,
    periods: *mut c_int,
    coords: *mut c_int,
) -> Outcome<()> {
    let holder = Holder::get(comm)?;
    let cart = holder.cart()?;
    let count = cart.dims.len();
    room(maxdims, count)?;
    let mine = cart.coords(holder.0.rank().cast_signed())?;
    let closed: Vec<c_int> = cart.periods.iter().map(|&it| it.into()).collect();
    for (at, values) in [(dims, &cart.dims), (periods, &closed), (coords, &mine)] {
        // SAFETY: the application gives arrays of this length.
        unsafe { put_list(at, values, count) };
    }
    Ok(())
}

pub(crate) unsafe fn cart_rank(
    comm: Handle,
    coords: *const c_int,
    rank: *mut c_int,
) -> Outcome<()> {
    let holder = Holder::get(comm)?;
    let cart = holder.cart()?;
    // SAFETY: the application gives an array of as many as there are dimensions.
    let coords = unsafe { list(coords, cart.dims.len() as c_int) }?;
    let value = cart.rank(&coords)?;
    // SAFETY: the application gives an address to write to.
    unsafe { put(rank, value) };
    Ok(())
}

pub(crate) unsafe fn cart_coords(
    comm: Handle,
    rank: c_int,
    maxdims: c_int,
    coords: *mut c_int,
) -> Outcome<()> {
    let found = Holder::get(comm)?.cart()?.coords(rank)?;
    room(maxdims, found.len())?;
    // SAFETY: the application gives an array of this length.
    unsafe { put_list(coords, &found, found.len()) };
    Ok(())
}

pub(crate) unsafe fn cart_shift(
    comm: Handle,
    direction: c_int,
    disp: c_int,
    rank_source: *mut c_int,
    rank_dest: *mut c_int,
) -> Outcome<()> {
    let holder = Holder::get(comm)?;
    let me = holder.0.rank().cast_signed();
    let (source, dest) = holder.cart()?.shift(me, direction, disp)?;
    // SAFETY: the application gives an address to write to.
    unsafe { put(rank_source, source.unwrap_or(MPI_PROC_NULL)) };
    // SAFETY: as above.
    unsafe { put(rank_dest, dest.unwrap_or(MPI_PROC_NULL)) };
    Ok(())
}

/// # Safety
/// The arrays are as the call that takes them says.
unsafe fn lists(
    nnodes: c_int,
    index: *const c_int,
    edges: *const c_int,
) -> Outcome<(Vec<c_int>, Vec<c_int>)> {
    // SAFETY: the caller's promise.
    let index = unsafe { list(index, nnodes) }?;
    let count = index.last().copied().unwrap_or(0);
    if count < 0 {
        return fail(Class::Topology, "the last entry of the index is negative");
    }
    // SAFETY: the index ends with the number of edges.
    Ok((index, unsafe { list(edges, count) }?))
}

pub(crate) unsafe fn graph_create(
    comm_old: Handle,
    nnodes: c_int,
    index: *const c_int,
    edges: *const c_int,
    _reorder: bool,
    comm_graph: *mut Handle,
) -> Outcome<()> {
    let comm = comm(comm_old)?;
    // SAFETY: the application gives the arrays of a graph.
    let (index, edges) = unsafe { lists(nnodes, index, edges) }?;
    let made = process()?.graph_create(&comm, index, edges)?;
    // SAFETY: the application gives an address to write to.
    unsafe { put_comm(comm_graph, made) }
}

pub(crate) unsafe fn graph_map(
    comm: Handle,
    nnodes: c_int,
    index: *const c_int,
    edges: *const c_int,
    newrank: *mut c_int,
) -> Outcome<()> {
    let comm = self::comm(comm)?;
    // SAFETY: the application gives the arrays of a graph.
    let (index, edges) = unsafe { lists(nnodes, index, edges) }?;
    let size = index.len() as u32;
    Graph::new(index, edges, comm.size())?;
    // SAFETY: the application gives an address to write to.
    unsafe { put(newrank, mapped(&comm, size)) };
    Ok(())
}

pub(crate) unsafe fn graphdims_get(
    comm: Handle,
    nnodes: *mut c_int,
    nedges: *mut c_int,
) -> Outcome<()> {
    let holder = Holder::get(comm)?;
    let graph = holder.graph()?;
    // SAFETY: the application gives an address to write to.
    unsafe { put(nnodes, graph.index.len() as c_int) };
    // SAFETY: as above.
    unsafe { put(nedges, graph.edges.len() as c_int) };
    Ok(())
}

pub(crate) unsafe fn graph_get(
    comm: Handle,
    maxindex: c_int,
    maxedges: c_int,
    index: *mut c_int,
    edges: *mut c_int,
) -> Outcome<()> {
    let holder = Holder::get(comm)?;
    let graph = holder.graph()?;
    for (at, most, values) in [(index, maxindex, &graph.index), (edges, maxedges, &graph.edges)] {
        room(most, values.len())?;
        // SAFETY: the application gives an array of this length.
        unsafe { put_list(at, values, values.len()) };
    }
    Ok(())
}

/// The neighbors of a rank in a graph.
fn neighbors_of(holder: &Holder, rank: c_int) -> Outcome<&[c_int]> {
    let graph = holder.graph()?;
    match u32::try_from(rank) {
        Ok(rank) if (rank as usize) < graph.index.len() => Ok(graph.neighbors(rank)),
        _ => fail(Class::Rank, format!("rank {rank} is not in the graph")),
    }
}

pub(crate) unsafe fn graph_neighbors_count(
    comm: Handle,
    rank: c_int,
    nneighbors: *mut c_int,
) -> Outcome<()> {
    let holder = Holder::get(comm)?;
    let count = neighbors_of(&holder, rank)?.len() as c_int;
    // SAFETY: the application gives an address to write to.
    unsafe { put(nneighbors, count) };
    Ok(())
}

pub(crate) unsafe fn graph_neighbors(
    comm: Handle,
    rank: c_int,
    maxneighbors: c_int,
    neighbors: *mut c_int,
) -> Outcome<()> {
    let holder = Holder::get(comm)?;
    let found = neighbors_of(&holder, rank)?;
    room(maxneighbors, found.len())?;
    // SAFETY: the application gives an array of this length.
    unsafe { put_list(neighbors, found, found.len()) };
    Ok(())
}

/// Weights of as many edges; none for `MPI_UNWEIGHTED`.
///
/// # Safety
/// The address is one of the two constants, or there are as many weights.
unsafe fn weights(at: *const c_int, len: c_int) -> Outcome<Option<Vec<c_int>>> {
    match at as usize {
        MPI_UNWEIGHTED => Ok(None),
        MPI_WEIGHTS_EMPTY if len == 0 => Ok(Some(Vec::new())),
        MPI_WEIGHTS_EMPTY => fail(Class::Arg, "MPI_WEIGHTS_EMPTY is for no edges"),
        // SAFETY: the caller's promise.
        _ => unsafe { list(at, len) }.map(Some),
    }
}

pub(crate) unsafe fn dist_graph_create_adjacent(
    comm_old: Handle,
    indegree: c_int,
    sources: *const c_int,
    sourceweights: *const c_int,
    outdegree: c_int,
    destinations: *const c_int,
    destweights: *const c_int,
    info: Handle,
    _reorder: bool,
    comm_dist_graph: *mut Handle,
) -> Outcome<()> {
    let (comm, hints) = (comm(comm_old)?, entries(info)?);
    // SAFETY: the application gives arrays of these lengths.
    let into = unsafe { weights(sourceweights, indegree) }?;
    // SAFETY: as above.
    let out = unsafe { weights(destweights, outdegree) }?;
    if into.is_some() != out.is_some() {
        return fail(Class::Arg, "weights are given for one direction only");
    }
    // SAFETY: as above.
    let sources = unsafe { list(sources, indegree) }?;
    // SAFETY: as above.
    let destinations = unsafe { list(destinations, outdegree) }?;
    let graph = DistGraph { sources, destinations, weights: into.zip(out) };
    let made = process()?.dist_graph_create_adjacent(&comm, graph, hints)?;
    // SAFETY: the application gives an address to write to.
    unsafe { put_comm(comm_dist_graph, Some(made)) }
}

pub(crate) unsafe fn dist_graph_create(
    comm_old: Handle,
    n: c_int,
    sources: *const c_int,
    degrees: *const c_int,
    destinations: *const c_int,
    weights: *const c_int,
    info: Handle,
    _reorder: bool,
    comm_dist_graph: *mut Handle,
) -> Outcome<()> {
    let (comm, hints) = (comm(comm_old)?, entries(info)?);
    // SAFETY: the application gives arrays of this length.
    let sources = unsafe { list(sources, n) }?;
    // SAFETY: as above.
    let degrees = unsafe { list(degrees, n) }?;
    let sum = |sum: c_int, &degree: &c_int| sum.checked_add(degree).filter(|_| degree >= 0);
    let Some(count) = degrees.iter().try_fold(0, sum) else {
        return fail(Class::Arg, "a degree is negative, or all together are too many");
    };
    // SAFETY: the degrees say how many there are.
    let destinations = unsafe { list(destinations, count) }?;
    // SAFETY: as above.
    let given = unsafe { self::weights(weights, count) }?;
    let repeated = sources.iter().zip(&degrees);
    let sources = repeated.flat_map(|(&source, &degree)| (0..degree).map(move |_| source));
    let weight = |at: usize| given.as_ref().map_or(1, |given| given[at]);
    let edge = |(at, (source, &destination))| Edge { source, destination, weight: weight(at) };
    let edges = sources.zip(&destinations).enumerate().map(edge).collect();
    let mine = Edges { edges, weighted: given.is_some() };
    let made = process()?.dist_graph_create(&comm, &mine, hints)?;
    // SAFETY: the application gives an address to write to.
    unsafe { put_comm(comm_dist_graph, Some(made)) }
}

pub(crate) unsafe fn dist_graph_neighbors_count(
    comm: Handle,
    indegree: *mut c_int,
    outdegree: *mut c_int,
    weighted: *mut c_int,
) -> Outcome<()> {
    let holder = Holder::get(comm)?;
    let graph = holder.dist_graph()?;
    // SAFETY: the application gives an address to write to.
    unsafe { put(indegree, graph.sources.len() as c_int) };
    // SAFETY: as above.
    unsafe { put(outdegree, graph.destinations.len() as c_int) };
    // SAFETY: as above.
    unsafe { put(weighted, graph.weights.is_some().into()) };
    Ok(())
}

pub(crate) unsafe fn dist_graph_neighbors(
    comm: Handle,
    maxindegree: c_int,
    sources: *mut c_int,
    sourceweights: *mut c_int,
    maxoutdegree: c_int,
    destinations: *mut c_int,
    destweights: *mut c_int,
) -> Outcome<()> {
    let holder = Holder::get(comm)?;
    let graph = holder.dist_graph()?;
    let (Ok(most_in), Ok(most_out)) = (usize::try_from(maxindegree), usize::try_from(maxoutdegree))
    else {
        return fail(Class::Arg, "the room for neighbors is negative");
    };
    // SAFETY: the application gives an array of this length.
    unsafe { put_list(sources, &graph.sources, most_in) };
    // SAFETY: as above.
    unsafe { put_list(destinations, &graph.destinations, most_out) };
    let Some((into, out)) = &graph.weights else { return Ok(()) };
    for (at, values, most) in [(sourceweights, into, most_in), (destweights, out, most_out)] {
        if ![MPI_UNWEIGHTED, MPI_WEIGHTS_EMPTY].contains(&(at as usize)) {
            // SAFETY: as above.
            unsafe { put_list(at, values, most) };
        }
    }
    Ok(())
}

pub(crate) unsafe fn topo_test(comm: Handle, status: *mut c_int) -> Outcome<()> {
    let kind = match Holder::get(comm)?.0.topology.get() {
        None => MPI_UNDEFINED,
        Some(Topology::Cart(_)) => MPI_CART,
        Some(Topology::Graph(_)) => MPI_GRAPH,
        Some(Topology::DistGraph(_)) => MPI_DIST_GRAPH,
    };
    // SAFETY: the application gives an address to write to.
    unsafe { put(status, kind) };
    Ok(())
}
