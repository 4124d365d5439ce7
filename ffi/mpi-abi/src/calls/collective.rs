//! Collective calls: blocking, nonblocking and persistent (MPI 5.0, 6).

use std::ffi::{c_int, c_void};

use cohost::mpi::collective::{self, Items, Pieces, Place, Plan, Vectors};
use cohost::mpi::datatype::Datatype;
use cohost::mpi::failure::{Class, Outcome, fail};

use super::op::operation;
use crate::args::{Handle, Numbers};
use crate::constants::{MPI_IN_PLACE, MPI_PROC_NULL, MPI_ROOT};
use crate::runtime::{comm, datatype, process, put_request};

/// Whether a buffer is `MPI_IN_PLACE`.
fn in_place(buffer: *const c_void) -> bool {
    buffer as usize == MPI_IN_PLACE
}

/// Refuses `MPI_IN_PLACE` where the standard has no meaning for it.
fn refuse_in_place(buffer: *const c_void) -> Outcome<()> {
    if in_place(buffer) {
        return fail(Class::Buffer, "MPI_IN_PLACE cannot be used for this buffer");
    }
    Ok(())
}

/// Whether this rank is the root, so that the root's arguments count here.
fn is_root(place: &Place<'_>, root: c_int) -> bool {
    if place.is_inter() { root == MPI_ROOT } else { u32::try_from(root) == Ok(place.rank) }
}

/// Whether this rank stands by while one of its group is the root, so that no argument counts here.
fn stands_by(place: &Place<'_>, root: c_int) -> bool {
    place.is_inter() && root == MPI_PROC_NULL
}

/// Ranks whose blocks a call of all to all has here.
fn peers(place: &Place<'_>) -> usize {
    (if place.is_inter() { place.remote_size() } else { place.local_size }) as usize
}

fn items(base: *const c_void, count: i64, datatype: &Datatype) -> Items<'_> {
    Items { base: base.cast_mut().cast(), count, datatype }
}

/// Counts, displacements and types of one block for each peer.
struct Lists {
    counts: Vec<i64>,
    displs: Vec<i64>,
    datatypes: Vec<Datatype>,
}

impl Lists {
    /// Of `len` blocks.
    ///
    /// # Safety
    /// The arrays have that length.
    unsafe fn read(counts: Numbers, displs: Numbers, len: usize) -> Self {
        // SAFETY: the caller's promise.
        let counts = unsafe { counts.to_vec(len) };
        // SAFETY: as above.
        let displs = unsafe { displs.to_vec(len) };
        Self { counts, displs, datatypes: Vec::new() }
    }

    /// The same, with a type for each.
    ///
    /// # Safety
    /// The arrays have that length.
    unsafe fn mixed(
        counts: Numbers,
        displs: Numbers,
        types: *const Handle,
        len: usize,
    ) -> Outcome<Self> {
        // SAFETY: the caller's promise.
        let mut lists = unsafe { Self::read(counts, displs, len) };
        for at in 0..len {
            // SAFETY: as above.
            let handle = unsafe { *types.wrapping_add(at) };
            // The type of an empty block may be anything.
            let datatype = match datatype(handle) {
                Err(_) if lists.counts[at] == 0 => byte().clone(),
                found => (*found?).clone(),
            };
            lists.datatypes.push(datatype);
        }
        Ok(lists)
    }

    fn listed<'a>(&'a self, base: *const c_void, datatype: &'a Datatype) -> Pieces<'a> {
        let base = base.cast_mut().cast();
        Pieces::Listed { base, counts: &self.counts, displs: &self.displs, datatype }
    }

    fn of_types(&self, base: *const c_void) -> Pieces<'_> {
        let base = base.cast_mut().cast();
        Pieces::Mixed {
            base,
            counts: &self.counts,
            displs: &self.displs,
            datatypes: &self.datatypes,
        }
    }
}

fn byte() -> &'static Datatype {
    Datatype::predefined(cohost::mpi::datatype::Basic::Byte)
}

/// From one function that makes a plan, the three calls that use it.
macro_rules! collectives {
    ($(
        entry fn $blocking:ident, entry fn $nonblocking:ident, entry fn $persistent:ident
        ($place:ident; $($argument:ident: $kind:ty),*) $plan:block
    )*) => {$(
        pub(crate) unsafe fn $blocking($($argument: $kind,)* comm: Handle) -> Outcome<()> {
            let comm = self::comm(comm)?;
            let $place = &comm.place();
            let plan = || -> Outcome<Plan> { $plan };
            process()?.run_plan(plan()?)
        }

        pub(crate) unsafe fn $nonblocking(
            $($argument: $kind,)*
            comm: Handle,
            request: *mut Handle,
        ) -> Outcome<()> {
            let comm = self::comm(comm)?;
            let $place = &comm.place();
            let plan = || -> Outcome<Plan> { $plan };
            let key = process()?.begin_plan(plan()?, &comm)?;
            // SAFETY: the application gives an address to write to.
            unsafe { put_request(request, key) }
        }

        pub(crate) unsafe fn $persistent(
            $($argument: $kind,)*
            comm: Handle,
            _info: Handle,
            request: *mut Handle,
        ) -> Outcome<()> {
            let comm = self::comm(comm)?;
            let $place = &comm.place();
            let plan = || -> Outcome<Plan> { $plan };
            let key = process()?.prepare_plan(plan()?, &comm)?;
            // SAFETY: the application gives an address to write to.
            unsafe { put_request(request, key) }
        }
    )*};
}

// In all of them: the application gives buffers as the arguments say, and keeps them until the call
// is over; in arrays it gives as many entries as there are ranks (or neighbors).
collectives! {
    entry fn barrier, entry fn ibarrier, entry fn barrier_init (place;) {
        Ok(collective::barrier(place))
    }

    entry fn bcast, entry fn ibcast, entry fn bcast_init
    (place; buffer: *mut c_void, count: i64, datatype: Handle, root: c_int) {
        if stands_by(place, root) {
            return Ok(collective::nothing(place));
        }
        refuse_in_place(buffer)?;
        let datatype = self::datatype(datatype)?;
        // SAFETY: see above.
        unsafe { collective::bcast(place, items(buffer, count, &datatype), root) }
    }

    entry fn gather, entry fn igather, entry fn gather_init
    (place; sendbuf: *const c_void, sendcount: i64, sendtype: Handle,
     recvbuf: *mut c_void, recvcount: i64, recvtype: Handle, root: c_int) {
        if stands_by(place, root) {
            return Ok(collective::nothing(place));
        }
        let at_root = is_root(place, root);
        let only_receives = place.is_inter() && at_root;
        let sends = !in_place(sendbuf) && !only_receives;
        let sendtype = sends.then(|| datatype(sendtype)).transpose()?;
        let recvtype = at_root.then(|| datatype(recvtype)).transpose()?;
        let send = sendtype.as_ref().map(|it| items(sendbuf, sendcount, it));
        let recv = recvtype.as_ref().map(|it| items(recvbuf, recvcount, it));
        // SAFETY: see above.
        unsafe { collective::gather(place, send, recv, root) }
    }

    entry fn gatherv, entry fn igatherv, entry fn gatherv_init
    (place; sendbuf: *const c_void, sendcount: i64, sendtype: Handle,
     recvbuf: *mut c_void, recvcounts: Numbers, displs: Numbers, recvtype: Handle, root: c_int) {
        if stands_by(place, root) {
            return Ok(collective::nothing(place));
        }
        let at_root = is_root(place, root);
        let only_receives = place.is_inter() && at_root;
        let sends = !in_place(sendbuf) && !only_receives;
        let sendtype = sends.then(|| datatype(sendtype)).transpose()?;
        let recvtype = at_root.then(|| datatype(recvtype)).transpose()?;
        let send = sendtype.as_ref().map(|it| items(sendbuf, sendcount, it));
        // SAFETY: see above.
        let lists = at_root.then(|| unsafe { Lists::read(recvcounts, displs, peers(place)) });
        let recv = lists.as_ref().zip(recvtype.as_ref());
        let recv = recv.map(|(lists, it)| lists.listed(recvbuf, it));
        // SAFETY: see above.
        unsafe { collective::gatherv(place, send, recv, root) }
    }

    entry fn scatter, entry fn iscatter, entry fn scatter_init
    (place; sendbuf: *const c_void, sendcount: i64, sendtype: Handle,
     recvbuf: *mut c_void, recvcount: i64, recvtype: Handle, root: c_int) {
        if stands_by(place, root) {
            return Ok(collective::nothing(place));
        }
        let at_root = is_root(place, root);
        let only_sends = place.is_inter() && at_root;
        let receives = !in_place(recvbuf) && !only_sends;
        let sendtype = at_root.then(|| datatype(sendtype)).transpose()?;
        let recvtype = receives.then(|| datatype(recvtype)).transpose()?;
        let send = sendtype.as_ref().map(|it| items(sendbuf, sendcount, it));
        let recv = recvtype.as_ref().map(|it| items(recvbuf, recvcount, it));
        // SAFETY: see above.
        unsafe { collective::scatter(place, send, recv, root) }
    }

    entry fn scatterv, entry fn iscatterv, entry fn scatterv_init
    (place; sendbuf: *const c_void, sendcounts: Numbers, displs: Numbers, sendtype: Handle,
     recvbuf: *mut c_void, recvcount: i64, recvtype: Handle, root: c_int) {
        if stands_by(place, root) {
            return Ok(collective::nothing(place));
        }
        let at_root = is_root(place, root);
        let only_sends = place.is_inter() && at_root;
        let receives = !in_place(recvbuf) && !only_sends;
        let sendtype = at_root.then(|| datatype(sendtype)).transpose()?;
        let recvtype = receives.then(|| datatype(recvtype)).transpose()?;
        // SAFETY: see above.
        let lists = at_root.then(|| unsafe { Lists::read(sendcounts, displs, peers(place)) });
        let send = lists.as_ref().zip(sendtype.as_ref());
        let send = send.map(|(lists, it)| lists.listed(sendbuf, it));
        let recv = recvtype.as_ref().map(|it| items(recvbuf, recvcount, it));
        // SAFETY: see above.
        unsafe { collective::scatterv(place, send, recv, root) }
    }

    entry fn allgather, entry fn iallgather, entry fn allgather_init
    (place; sendbuf: *const c_void, sendcount: i64, sendtype: Handle,
     recvbuf: *mut c_void, recvcount: i64, recvtype: Handle) {
        refuse_in_place(recvbuf)?;
        let sendtype = (!in_place(sendbuf)).then(|| datatype(sendtype)).transpose()?;
        let recvtype = datatype(recvtype)?;
        let send = sendtype.as_ref().map(|it| items(sendbuf, sendcount, it));
        let recv = Pieces::Equal(items(recvbuf, recvcount, &recvtype));
        // SAFETY: see above.
        unsafe { collective::allgather(place, send, recv) }
    }

    entry fn allgatherv, entry fn iallgatherv, entry fn allgatherv_init
    (place; sendbuf: *const c_void, sendcount: i64, sendtype: Handle,
     recvbuf: *mut c_void, recvcounts: Numbers, displs: Numbers, recvtype: Handle) {
        refuse_in_place(recvbuf)?;
        let sendtype = (!in_place(sendbuf)).then(|| datatype(sendtype)).transpose()?;
        let recvtype = datatype(recvtype)?;
        let send = sendtype.as_ref().map(|it| items(sendbuf, sendcount, it));
        // SAFETY: see above.
        let lists = unsafe { Lists::read(recvcounts, displs, peers(place)) };
        // SAFETY: see above.
        unsafe { collective::allgather(place, send, lists.listed(recvbuf, &recvtype)) }
    }

    entry fn alltoall, entry fn ialltoall, entry fn alltoall_init
    (place; sendbuf: *const c_void, sendcount: i64, sendtype: Handle,
     recvbuf: *mut c_void, recvcount: i64, recvtype: Handle) {
        refuse_in_place(recvbuf)?;
        let sendtype = (!in_place(sendbuf)).then(|| datatype(sendtype)).transpose()?;
        let recvtype = datatype(recvtype)?;
        if recvcount == 0 && (sendcount == 0 || sendtype.is_none()) && !place.is_inter() {
            return collective::empty(place, &[sendtype.as_deref().unwrap_or(&recvtype), &recvtype]);
        }
        let send = sendtype.as_ref().map(|it| Pieces::Equal(items(sendbuf, sendcount, it)));
        let recv = Pieces::Equal(items(recvbuf, recvcount, &recvtype));
        // SAFETY: see above.
        unsafe { collective::alltoall(place, send, recv) }
    }

    entry fn alltoallv, entry fn ialltoallv, entry fn alltoallv_init
    (place; sendbuf: *const c_void, sendcounts: Numbers, sdispls: Numbers, sendtype: Handle,
     recvbuf: *mut c_void, recvcounts: Numbers, rdispls: Numbers, recvtype: Handle) {
        refuse_in_place(recvbuf)?;
        let sendtype = (!in_place(sendbuf)).then(|| datatype(sendtype)).transpose()?;
        let recvtype = datatype(recvtype)?;
        // SAFETY: see above.
        let from = sendtype.is_some().then(|| unsafe { Lists::read(sendcounts, sdispls, peers(place)) });
        let send = from.as_ref().zip(sendtype.as_ref());
        let send = send.map(|(lists, it)| lists.listed(sendbuf, it));
        // SAFETY: see above.
        let into = unsafe { Lists::read(recvcounts, rdispls, peers(place)) };
        // SAFETY: see above.
        unsafe { collective::alltoall(place, send, into.listed(recvbuf, &recvtype)) }
    }

    entry fn alltoallw, entry fn ialltoallw, entry fn alltoallw_init
    (place; sendbuf: *const c_void, sendcounts: Numbers, sdispls: Numbers,
     sendtypes: *const Handle, recvbuf: *mut c_void, recvcounts: Numbers, rdispls: Numbers,
     recvtypes: *const Handle) {
        refuse_in_place(recvbuf)?;
        let len = peers(place);
        let from = if in_place(sendbuf) {
            None
        } else {
            // SAFETY: see above.
            Some(unsafe { Lists::mixed(sendcounts, sdispls, sendtypes, len) }?)
        };
        let send = from.as_ref().map(|lists| lists.of_types(sendbuf));
        // SAFETY: see above.
        let into = unsafe { Lists::mixed(recvcounts, rdispls, recvtypes, len) }?;
        // SAFETY: see above.
        unsafe { collective::alltoall(place, send, into.of_types(recvbuf)) }
    }

    entry fn reduce, entry fn ireduce, entry fn reduce_init
    (place; sendbuf: *const c_void, recvbuf: *mut c_void, count: i64, datatype: Handle,
     op: Handle, root: c_int) {
        if stands_by(place, root) {
            return Ok(collective::nothing(place));
        }
        let (datatype, op) = (self::datatype(datatype)?, operation(op)?);
        let vectors = vectors(sendbuf, recvbuf, &datatype, &op);
        // SAFETY: see above.
        unsafe { collective::reduce(place, vectors, count, root) }
    }

    entry fn allreduce, entry fn iallreduce, entry fn allreduce_init
    (place; sendbuf: *const c_void, recvbuf: *mut c_void, count: i64, datatype: Handle,
     op: Handle) {
        refuse_in_place(recvbuf)?;
        let (datatype, op) = (self::datatype(datatype)?, operation(op)?);
        let vectors = vectors(sendbuf, recvbuf, &datatype, &op);
        // SAFETY: see above.
        unsafe { collective::allreduce(place, vectors, count) }
    }

    entry fn reduce_scatter, entry fn ireduce_scatter, entry fn reduce_scatter_init
    (place; sendbuf: *const c_void, recvbuf: *mut c_void, recvcounts: Numbers, datatype: Handle,
     op: Handle) {
        refuse_in_place(recvbuf)?;
        let (datatype, op) = (self::datatype(datatype)?, operation(op)?);
        let vectors = vectors(sendbuf, recvbuf, &datatype, &op);
        // SAFETY: see above.
        let counts = unsafe { recvcounts.to_vec(place.local_size as usize) };
        // SAFETY: see above.
        unsafe { collective::reduce_scatter(place, vectors, &counts) }
    }

    entry fn reduce_scatter_block, entry fn ireduce_scatter_block,
    entry fn reduce_scatter_block_init
    (place; sendbuf: *const c_void, recvbuf: *mut c_void, recvcount: i64, datatype: Handle,
     op: Handle) {
        refuse_in_place(recvbuf)?;
        let (datatype, op) = (self::datatype(datatype)?, operation(op)?);
        let vectors = vectors(sendbuf, recvbuf, &datatype, &op);
        // SAFETY: see above.
        unsafe { collective::reduce_scatter_block(place, vectors, recvcount) }
    }

    entry fn scan, entry fn iscan, entry fn scan_init
    (place; sendbuf: *const c_void, recvbuf: *mut c_void, count: i64, datatype: Handle,
     op: Handle) {
        refuse_in_place(recvbuf)?;
        let (datatype, op) = (self::datatype(datatype)?, operation(op)?);
        let vectors = vectors(sendbuf, recvbuf, &datatype, &op);
        // SAFETY: see above.
        unsafe { collective::scan(place, vectors, count) }
    }

    entry fn exscan, entry fn iexscan, entry fn exscan_init
    (place; sendbuf: *const c_void, recvbuf: *mut c_void, count: i64, datatype: Handle,
     op: Handle) {
        refuse_in_place(recvbuf)?;
        let (datatype, op) = (self::datatype(datatype)?, operation(op)?);
        let vectors = vectors(sendbuf, recvbuf, &datatype, &op);
        // SAFETY: see above.
        unsafe { collective::exscan(place, vectors, count) }
    }

    entry fn neighbor_allgather, entry fn ineighbor_allgather, entry fn neighbor_allgather_init
    (place; sendbuf: *const c_void, sendcount: i64, sendtype: Handle,
     recvbuf: *mut c_void, recvcount: i64, recvtype: Handle) {
        refuse_in_place(sendbuf)?;
        refuse_in_place(recvbuf)?;
        let (sendtype, recvtype) = (datatype(sendtype)?, datatype(recvtype)?);
        let send = items(sendbuf, sendcount, &sendtype);
        let recv = Pieces::Equal(items(recvbuf, recvcount, &recvtype));
        // SAFETY: see above.
        unsafe { collective::neighbor_allgather(place, send, recv) }
    }

    entry fn neighbor_allgatherv, entry fn ineighbor_allgatherv, entry fn neighbor_allgatherv_init
    (place; sendbuf: *const c_void, sendcount: i64, sendtype: Handle,
     recvbuf: *mut c_void, recvcounts: Numbers, displs: Numbers, recvtype: Handle) {
        refuse_in_place(sendbuf)?;
        refuse_in_place(recvbuf)?;
        let (sendtype, recvtype) = (datatype(sendtype)?, datatype(recvtype)?);
        let send = items(sendbuf, sendcount, &sendtype);
        // SAFETY: see above.
        let lists = unsafe { Lists::read(recvcounts, displs, sources(place)) };
        // SAFETY: see above.
        unsafe { collective::neighbor_allgather(place, send, lists.listed(recvbuf, &recvtype)) }
    }

    entry fn neighbor_alltoall, entry fn ineighbor_alltoall, entry fn neighbor_alltoall_init
    (place; sendbuf: *const c_void, sendcount: i64, sendtype: Handle,
     recvbuf: *mut c_void, recvcount: i64, recvtype: Handle) {
        refuse_in_place(sendbuf)?;
        refuse_in_place(recvbuf)?;
        let (sendtype, recvtype) = (datatype(sendtype)?, datatype(recvtype)?);
        let send = Pieces::Equal(items(sendbuf, sendcount, &sendtype));
        let recv = Pieces::Equal(items(recvbuf, recvcount, &recvtype));
        // SAFETY: see above.
        unsafe { collective::neighbor_alltoall(place, send, recv) }
    }

    entry fn neighbor_alltoallv, entry fn ineighbor_alltoallv, entry fn neighbor_alltoallv_init
    (place; sendbuf: *const c_void, sendcounts: Numbers, sdispls: Numbers, sendtype: Handle,
     recvbuf: *mut c_void, recvcounts: Numbers, rdispls: Numbers, recvtype: Handle) {
        refuse_in_place(sendbuf)?;
        refuse_in_place(recvbuf)?;
        let (sendtype, recvtype) = (datatype(sendtype)?, datatype(recvtype)?);
        // SAFETY: see above.
        let from = unsafe { Lists::read(sendcounts, sdispls, destinations(place)) };
        // SAFETY: see above.
        let into = unsafe { Lists::read(recvcounts, rdispls, sources(place)) };
        let (send, recv) = (from.listed(sendbuf, &sendtype), into.listed(recvbuf, &recvtype));
        // SAFETY: see above.
        unsafe { collective::neighbor_alltoall(place, send, recv) }
    }

    entry fn neighbor_alltoallw, entry fn ineighbor_alltoallw, entry fn neighbor_alltoallw_init
    (place; sendbuf: *const c_void, sendcounts: Numbers, sdispls: Numbers,
     sendtypes: *const Handle, recvbuf: *mut c_void, recvcounts: Numbers, rdispls: Numbers,
     recvtypes: *const Handle) {
        refuse_in_place(sendbuf)?;
        refuse_in_place(recvbuf)?;
        // SAFETY: see above.
        let from = unsafe { Lists::mixed(sendcounts, sdispls, sendtypes, destinations(place)) }?;
        // SAFETY: see above.
        let into = unsafe { Lists::mixed(recvcounts, rdispls, recvtypes, sources(place)) }?;
        let (send, recv) = (from.of_types(sendbuf), into.of_types(recvbuf));
        // SAFETY: see above.
        unsafe { collective::neighbor_alltoall(place, send, recv) }
    }
}

fn vectors<'a>(
    sendbuf: *const c_void,
    recvbuf: *mut c_void,
    datatype: &'a Datatype,
    op: &'a cohost::mpi::op::Op,
) -> Vectors<'a> {
    let send = (!in_place(sendbuf)).then_some(sendbuf.cast());
    Vectors { send, recv: recvbuf.cast(), datatype, op }
}

/// Neighbors that this rank receives of.
fn sources(place: &Place<'_>) -> usize {
    place.neighbors.as_ref().map_or(0, |neighbors| neighbors.sources.len())
}

/// Neighbors that this rank sends to.
fn destinations(place: &Place<'_>) -> usize {
    place.neighbors.as_ref().map_or(0, |neighbors| neighbors.destinations.len())
}
