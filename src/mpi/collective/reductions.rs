//! Plans of the collectives that combine vectors (MPI 5.0, 6.9 to 6.11).

use super::moves::{check_apart, refuse_in_place};
use super::plan::{Place, Plan};
use super::sides::{Items, Side};
use crate::coll::{self, Counts, Operands, Root, inter};
use crate::mpi::datatype::Datatype;
use crate::mpi::failure::{Class, Outcome, fail};
use crate::mpi::op::{Op, Slots};
use crate::mpi::running::Work;

/// The vectors of one rank in a reduction.
#[derive(Clone, Copy, Debug)]
pub struct Vectors<'a> {
    /// The operand; none when it is where the result goes (`MPI_IN_PLACE`).
    pub send: Option<*const u8>,
    /// Where the result goes, where there is one.
    pub recv: *mut u8,
    /// What both are made of.
    pub datatype: &'a Datatype,
    /// How they are combined.
    pub op: &'a Op,
}

/// A reduction being made ready.
struct Call<'a> {
    place: &'a Place<'a>,
    vectors: Vectors<'a>,
    slots: Slots,
    operands: Operands,
    work: Work,
}

impl<'a> Call<'a> {
    #[inline]
    fn new(place: &'a Place<'a>, vectors: Vectors<'a>, count: i64) -> Outcome<Self> {
        if count < 0 {
            return fail(Class::Count, format!("the count {count} is negative"));
        }
        let slots = Slots::of(vectors.datatype)?;
        let Some(bytes) = slots.bytes.checked_mul(count as usize) else {
            return fail(Class::Count, format!("{count} items of {} bytes: too many", slots.bytes));
        };
        let operands = Operands {
            bytes,
            element_size: slots.bytes,
            commutative: vectors.op.commutes(),
            in_place: vectors.send.is_none(),
        };
        if vectors.send.is_none() && place.is_inter() {
            return refuse_in_place(place);
        }
        Ok(Self { place, vectors, slots, operands, work: Work::take() })
    }

    #[inline]
    fn side(&self, base: *mut u8, bytes: usize) -> Outcome<Side> {
        let count = (bytes / self.slots.bytes) as i64;
        Side::vector(Items { base, count, datatype: self.vectors.datatype }, self.slots)
    }

    /// The operand's side; none in place.
    #[inline]
    fn send(&self) -> Outcome<Side> {
        match self.vectors.send {
            Some(base) => Ok(self.side(base.cast_mut(), self.operands.bytes)?.loaded()),
            None => Ok(Side::nothing()),
        }
    }

    /// The side of a result of `bytes` bytes, which in place holds the whole operand before.
    #[inline]
    fn recv(&self, bytes: usize) -> Outcome<Side> {
        if self.operands.in_place {
            let whole = self.side(self.vectors.recv, self.operands.bytes)?;
            return Ok(whole.loaded().stored());
        }
        Ok(self.side(self.vectors.recv, bytes)?.stored())
    }

    /// # Safety
    /// As for [`reduce`].
    #[inline]
    unsafe fn plan(self, send: Side, recv: Side) -> Outcome<Plan> {
        check_apart(&send, &recv)?;
        let combine = self.vectors.op.combiner(self.vectors.datatype)?;
        // SAFETY: by the contract of this function.
        Ok(unsafe { Plan::new(self.place, self.work, send, recv, Some(combine)) })
    }
}

/// `MPI_Reduce`. Only the root has a result, and only it may be in place.
///
/// # Errors
/// When the root, the count, the datatype or the operation are wrong, or buffers overlap.
///
/// # Safety
/// Until the plan is over or abandoned, and again in each run, the operand is readable and unchanged and the
/// room for the result writable and used by nobody else.
pub unsafe fn reduce(
    place: &Place<'_>,
    vectors: Vectors<'_>,
    count: i64,
    root: i32,
) -> Outcome<Plan> {
    let root = place.root(root)?;
    let at_root = place.is_root(root);
    if vectors.send.is_none() && !at_root && root != Root::Nobody {
        return refuse_in_place(place);
    }
    let takes_part = matches!(root, Root::Remote(_));
    // Who only takes the result, or nothing, of an intercommunicator has no operand.
    let operand = if takes_part { vectors.send } else { Some(std::ptr::null()) };
    let mut call = Call::new(place, Vectors { send: operand, ..vectors }, count)?;
    let send = if takes_part { call.send()? } else { Side::nothing() };
    let recv = if at_root { call.recv(call.operands.bytes)? } else { Side::nothing() };
    match (place.inter(), root) {
        (Some(inter), root) => inter::reduce(&inter, call.operands, root, &mut call.work.schedule),
        (None, Root::Remote(root)) => {
            coll::reduce(place.shape, call.operands, root, &mut call.work.schedule);
        }
        (None, _) => {}
    }
    // SAFETY: by the contract of this function.
    unsafe { call.plan(send, recv) }
}

/// `MPI_Allreduce`.
///
/// # Errors
/// As for [`reduce`].
///
/// # Safety
/// As for [`reduce`].
#[inline]
pub unsafe fn allreduce(place: &Place<'_>, vectors: Vectors<'_>, count: i64) -> Outcome<Plan> {
    let mut call = Call::new(place, vectors, count)?;
    let (send, recv) = (call.send()?, call.recv(call.operands.bytes)?);
    match place.inter() {
        Some(inter) => inter::allreduce(&inter, call.operands, &mut call.work.schedule),
        None => coll::allreduce(place.shape, call.operands, &mut call.work.schedule),
    }
    // SAFETY: by the contract of this function.
    unsafe { call.plan(send, recv) }
}

/// `MPI_Reduce_scatter`: `counts` items of the result for each rank of the local group.
///
/// # Errors
/// As for [`reduce`].
///
/// # Safety
/// As for [`reduce`].
pub unsafe fn reduce_scatter(
    place: &Place<'_>,
    vectors: Vectors<'_>,
    counts: &[i64],
) -> Outcome<Plan> {
    let size = place.local_size as usize;
    if counts.len() < size {
        let found = counts.len();
        return fail(Class::Arg, format!("{found} counts, and {size} are needed"));
    }
    let counts = &counts[..size];
    if let Some(count) = counts.iter().find(|count| **count < 0) {
        return fail(Class::Count, format!("the count {count} is negative"));
    }
    let Some(total) = counts.iter().try_fold(0_i64, |sum, count| sum.checked_add(*count)) else {
        return fail(Class::Count, "the counts together are too many");
    };
    let call = Call::new(place, vectors, total)?;
    let bytes: Vec<usize> = counts.iter().map(|&n| n as usize * call.slots.bytes).collect();
    // SAFETY: the contract is the same.
    unsafe { scattered(call, Counts::Listed(&bytes), counts[place.rank as usize] as usize) }
}

/// `MPI_Reduce_scatter_block`: `count` items of the result for each rank of the local group.
///
/// # Errors
/// As for [`reduce`].
///
/// # Safety
/// As for [`reduce`].
pub unsafe fn reduce_scatter_block(
    place: &Place<'_>,
    vectors: Vectors<'_>,
    count: i64,
) -> Outcome<Plan> {
    let Some(total) = count.checked_mul(i64::from(place.local_size)) else {
        return fail(Class::Count, format!("the count {count} for each rank is too large"));
    };
    let call = Call::new(place, vectors, total)?;
    let block = count as usize * call.slots.bytes;
    // SAFETY: the contract is the same.
    unsafe { scattered(call, Counts::Equal(block), count as usize) }
}

unsafe fn scattered(mut call: Call<'_>, counts: Counts<'_>, own: usize) -> Outcome<Plan> {
    let place = call.place;
    // In place the operand is longer than the result, which alone is written back.
    let (send, recv) = (call.send()?, call.recv(own * call.slots.bytes)?);
    let recv = recv.stored_first(own);
    match place.inter() {
        Some(inter) => {
            inter::reduce_scatter(&inter, call.operands, counts, &mut call.work.schedule);
        }
        None => {
            coll::reduce_scatter(place.shape, call.operands, counts, &mut call.work.schedule);
        }
    }
    // SAFETY: by the contract of this function.
    unsafe { call.plan(send, recv) }
}

fn refuse_inter(place: &Place<'_>) -> Outcome<()> {
    if place.is_inter() {
        return fail(Class::Comm, "an intercommunicator has no order of ranks to scan in");
    }
    Ok(())
}

/// `MPI_Scan`.
///
/// # Errors
/// As for [`reduce`], and in an intercommunicator.
///
/// # Safety
/// As for [`reduce`].
pub unsafe fn scan(place: &Place<'_>, vectors: Vectors<'_>, count: i64) -> Outcome<Plan> {
    refuse_inter(place)?;
    let mut call = Call::new(place, vectors, count)?;
    let (send, recv) = (call.send()?, call.recv(call.operands.bytes)?);
    coll::scan(place.shape, call.operands, &mut call.work.schedule);
    // SAFETY: by the contract of this function.
    unsafe { call.plan(send, recv) }
}

/// `MPI_Exscan`. The result of rank 0 is left as it is.
///
/// # Errors
/// As for [`scan`].
///
/// # Safety
/// As for [`reduce`].
pub unsafe fn exscan(place: &Place<'_>, vectors: Vectors<'_>, count: i64) -> Outcome<Plan> {
    refuse_inter(place)?;
    let mut call = Call::new(place, vectors, count)?;
    let send = call.send()?;
    let recv = match place.rank {
        0 if !call.operands.in_place => Side::nothing(),
        0 => call.recv(call.operands.bytes)?.except(0),
        _ => call.recv(call.operands.bytes)?,
    };
    // In place, rank 0 gives its vector although it takes none.
    let recv = if place.rank == 0 { recv.loaded() } else { recv };
    coll::exscan(place.shape, call.operands, &mut call.work.schedule);
    // SAFETY: by the contract of this function.
    unsafe { call.plan(send, recv) }
}
