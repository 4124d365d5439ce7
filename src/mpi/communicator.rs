//! A communicator: a group of ranks and a context in which their messages match (MPI 5.0, 7).

use std::cell::{Cell, RefCell, RefMut};
use std::rc::Rc;

use zerocopy::IntoBytes;

use super::Error;
use super::collective::{Buffers, Combine, Run, Scratch, no_combine};
use super::reduce::{Reducible, reduce};
use super::scope::Scope;
use super::types::{Op, Path, PathEvent, PathInfo, Source, Status, Tag};
use crate::coll::{self, Blocks, Counts, Operands, Schedule, Shape};
use crate::link::Way;
use crate::progress::{Engine, Incoming, Outgoing};
use crate::proto::{Mode, Pattern, Received};

/// What all communicators of a rank have in common.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) engine: Rc<RefCell<Engine>>,
    /// Context of the next communicator; contexts come in pairs, the second for collectives.
    pub(super) next_context: Rc<Cell<u32>>,
    /// Host of each rank of the world, and the least number of cores of any.
    pub(super) hosts: Rc<[u32]>,
    pub(super) cores: Option<u32>,
}

/// A group of ranks that talk.
pub struct Communicator {
    shared: Shared,
    context: u32,
    rank: u32,
    /// World ranks by rank here.
    group: Rc<[u32]>,
    shape: Shape,
    /// Number of collective calls: their tag.
    calls: Cell<i32>,
    work: RefCell<Work>,
}

/// Memory kept between collective calls.
#[derive(Default)]
struct Work {
    schedule: Schedule,
    scratch: Scratch,
}

impl std::fmt::Debug for Communicator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Communicator {{ rank {} of {} }}", self.rank, self.size())
    }
}

impl Communicator {
    pub(super) fn new(shared: Shared, context: u32, rank: u32, group: Rc<[u32]>) -> Self {
        let hosts: Vec<u32> = group.iter().map(|&world| shared.hosts[world as usize]).collect();
        let shape = Shape::new(rank, &hosts, shared.cores);
        let (calls, work) = (Cell::new(0), RefCell::default());
        Self { shared, context, rank, group, shape, calls, work }
    }

    /// This rank.
    #[must_use]
    pub fn rank(&self) -> u32 {
        self.rank
    }

    /// Number of ranks.
    #[must_use]
    pub fn size(&self) -> u32 {
        self.group.len() as u32
    }

    pub(super) fn engine(&self) -> RefMut<'_, Engine> {
        self.shared.engine.borrow_mut()
    }

    pub(super) fn context(&self) -> u32 {
        self.context
    }

    #[inline]
    fn world_rank(&self, rank: u32) -> Result<u32, Error> {
        let world = self.group.get(rank as usize).copied();
        world.ok_or(Error::Rank { rank, size: self.size() })
    }

    /// The world rank to send to, after checking rank and tag.
    #[inline]
    pub(super) fn destination(&self, dest: u32, tag: i32) -> Result<u32, Error> {
        if tag < 0 {
            return Err(Error::Tag(tag));
        }
        self.world_rank(dest)
    }

    #[inline]
    pub(super) fn pattern(&self, source: Source, tag: Tag) -> Result<Pattern, Error> {
        let source = match source {
            Source::Any => None,
            Source::Rank(rank) => Some(self.world_rank(rank)?),
        };
        let tag = match tag {
            Tag::Any => None,
            Tag::Is(tag) if tag < 0 => return Err(Error::Tag(tag)),
            Tag::Is(tag) => Some(tag),
        };
        Ok(Pattern { context: self.context, source, tag })
    }

    #[inline]
    pub(super) fn status(&self, received: &Received) -> Status {
        let world = received.envelope.source;
        let same = self.group.get(world as usize) == Some(&world);
        let source =
            if same { Some(world as usize) } else { self.group.iter().position(|&w| w == world) };
        Status {
            source: source.unwrap_or(world as usize) as u32,
            tag: received.envelope.tag,
            len: received.len,
        }
    }

    /// Sends; returns when `buf` can be used again (`MPI_Send`).
    ///
    /// # Errors
    /// When the rank or tag is wrong, or the peer is gone.
    #[inline]
    pub fn send(&self, buf: &[u8], dest: u32, tag: i32) -> Result<(), Error> {
        let peer = self.destination(dest, tag)?;
        let mut engine = self.engine();
        if engine.send_now(peer, self.context, tag, buf)? {
            return Ok(());
        }
        // SAFETY: waited for below, within the borrow.
        let buffer = unsafe { Outgoing::new(buf.as_ptr(), buf.len()) };
        let key = engine.send(peer, self.context, tag, Mode::Standard, buffer)?;
        Ok(engine.wait_send(key)?)
    }

    /// Sends; returns when a receive has matched (`MPI_Ssend`).
    ///
    /// # Errors
    /// As for [`Communicator::send`].
    pub fn ssend(&self, buf: &[u8], dest: u32, tag: i32) -> Result<(), Error> {
        let peer = self.destination(dest, tag)?;
        let mut engine = self.engine();
        // SAFETY: waited for below, within the borrow.
        let buffer = unsafe { Outgoing::new(buf.as_ptr(), buf.len()) };
        let key = engine.send(peer, self.context, tag, Mode::Synchronous, buffer)?;
        Ok(engine.wait_send(key)?)
    }

    /// Receives one message (`MPI_Recv`).
    ///
    /// # Errors
    /// When the rank is wrong, the message is longer than `buf`, or the peer is gone.
    #[inline]
    pub fn recv(
        &self,
        buf: &mut [u8],
        source: impl Into<Source>,
        tag: impl Into<Tag>,
    ) -> Result<Status, Error> {
        let pattern = self.pattern(source.into(), tag.into())?;
        let mut engine = self.engine();
        // SAFETY: waited for below, within the exclusive borrow.
        let buffer = unsafe { Incoming::new(buf.as_mut_ptr(), buf.len()) };
        let key = engine.receive(pattern, buffer)?;
        let received = engine.wait_receive(key)?;
        Ok(self.status(&received))
    }

    /// Sends one message and receives another, in whichever order they go (`MPI_Sendrecv`).
    ///
    /// # Errors
    /// As for [`Communicator::send`] and [`Communicator::recv`].
    pub fn sendrecv(
        &self,
        send: &[u8],
        dest: u32,
        send_tag: i32,
        recv: &mut [u8],
        source: impl Into<Source>,
        recv_tag: impl Into<Tag>,
    ) -> Result<Status, Error> {
        self.scope(|scope| {
            let receive = scope.irecv(recv, source, recv_tag)?;
            let send = scope.isend(send, dest, send_tag)?;
            let status = scope.wait(receive)?;
            scope.wait(send)?;
            Ok(status)
        })
    }

    /// Waits for a message that could be received, without receiving it (`MPI_Probe`).
    ///
    /// # Errors
    /// When the rank is wrong, or the peer is gone.
    pub fn probe(&self, source: impl Into<Source>, tag: impl Into<Tag>) -> Result<Status, Error> {
        let pattern = self.pattern(source.into(), tag.into())?;
        let found = self.engine().wait_until(|engine| {
            let found = engine.probe(&pattern).map(Ok);
            found.or_else(|| engine.probe_hopeless(&pattern).map(Err))
        });
        Ok(self.status(&found?))
    }

    /// The message that could be received now, if any, making progress once (`MPI_Iprobe`).
    ///
    /// # Errors
    /// When the rank is wrong, or the peer is gone.
    pub fn iprobe(
        &self,
        source: impl Into<Source>,
        tag: impl Into<Tag>,
    ) -> Result<Option<Status>, Error> {
        let pattern = self.pattern(source.into(), tag.into())?;
        let mut engine = self.engine();
        engine.progress();
        if let Some(found) = engine.probe(&pattern) {
            return Ok(Some(self.status(&found)));
        }
        engine.probe_hopeless(&pattern).map_or(Ok(None), |error| Err(error.into()))
    }

    /// Nonblocking operations: all that `f` begins is complete when this returns.
    ///
    /// # Errors
    /// Those of `f`, or the first of an operation that `f` did not wait for.
    pub fn scope<'env, T>(
        &'env self,
        f: impl for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let scope = Scope::new(self);
        let value = f(&scope)?;
        scope.finish_all()?;
        Ok(value)
    }

    /// Builds a schedule and runs it.
    fn collective(
        &self,
        send: &[u8],
        recv: &mut [u8],
        combine: Combine<'_>,
        build: impl FnOnce(&Shape, &mut Schedule),
    ) -> Result<(), Error> {
        let tag = self.calls.get();
        self.calls.set(tag.checked_add(1).unwrap_or(0));
        let Work { schedule, scratch } = &mut *self.work.borrow_mut();
        schedule.clear();
        build(&self.shape, schedule);
        let buffers = Buffers::new(send, recv, scratch, schedule);
        let mut engine = self.engine();
        let context = self.context + 1;
        let run = Run { engine: &mut engine, group: &self.group, context, tag, buffers, combine };
        run.run(schedule)
    }

    fn check_root(&self, root: u32) -> Result<(), Error> {
        self.world_rank(root).map(|_| ())
    }

    /// `len` as that many equal blocks, one for each rank.
    fn block(&self, what: &'static str, len: usize) -> Result<usize, Error> {
        let size = self.size() as usize;
        if len.is_multiple_of(size) {
            return Ok(len / size);
        }
        let needed = format!("a multiple of {size} bytes (one block for each rank)");
        Err(Error::Length { what, found: len, needed })
    }

    fn check_blocks(
        &self,
        what: &'static str,
        counts: &[usize],
        displacements: &[usize],
        len: usize,
    ) -> Result<(), Error> {
        let size = self.size() as usize;
        for list in [counts, displacements] {
            if list.len() != size {
                let needed = format!("{size} entries (one for each rank)");
                return Err(Error::Length { what, found: list.len(), needed });
            }
        }
        for (rank, (&count, &displacement)) in counts.iter().zip(displacements).enumerate() {
            if displacement > len || count > len - displacement {
                return Err(Error::Block { what, rank, count, displacement, len });
            }
        }
        Ok(())
    }

    /// Returns when all ranks are here (`MPI_Barrier`).
    ///
    /// # Errors
    /// When a peer is gone.
    pub fn barrier(&self) -> Result<(), Error> {
        self.collective(&[], &mut [], &no_combine, coll::barrier)
    }

    /// Copies `buf` of `root` to all (`MPI_Bcast`).
    ///
    /// # Errors
    /// When the root is wrong, lengths differ, or a peer is gone.
    pub fn bcast(&self, buf: &mut [u8], root: u32) -> Result<(), Error> {
        self.check_root(root)?;
        let len = buf.len();
        self.collective(&[], buf, &no_combine, |shape, out| coll::bcast(shape, len, root, out))
    }

    /// Collects one block of each rank at `root` (`MPI_Gather`). `recv` counts there only.
    ///
    /// # Errors
    /// When the root or the lengths are wrong, or a peer is gone.
    pub fn gather(&self, send: &[u8], recv: &mut [u8], root: u32) -> Result<(), Error> {
        self.check_root(root)?;
        if self.rank == root {
            same("receive buffer of a gather", recv.len(), send.len() * self.group.len())?;
        }
        let block = send.len();
        self.collective(send, recv, &no_combine, |shape, out| {
            coll::gather(shape, block, root, false, out);
        })
    }

    /// As [`Communicator::gather`], with blocks of any length and place, in bytes (`MPI_Gatherv`).
    ///
    /// # Errors
    /// When the root, counts or displacements are wrong, or a peer is gone.
    pub fn gatherv(
        &self,
        send: &[u8],
        recv: &mut [u8],
        counts: &[usize],
        displs: &[usize],
        root: u32,
    ) -> Result<(), Error> {
        self.check_root(root)?;
        if self.rank == root {
            self.check_blocks("gatherv's receive side", counts, displs, recv.len())?;
            same("own block of a gatherv", send.len(), counts[root as usize])?;
        }
        let (bytes, blocks) = (send.len(), Blocks::Listed { counts, displs });
        self.collective(send, recv, &no_combine, |shape, out| {
            coll::gatherv(shape, bytes, blocks, root, false, out);
        })
    }

    /// Gives each rank its block of `send` of `root` (`MPI_Scatter`). `send` counts there only.
    ///
    /// # Errors
    /// When the root or the lengths are wrong, or a peer is gone.
    pub fn scatter(&self, send: &[u8], recv: &mut [u8], root: u32) -> Result<(), Error> {
        self.check_root(root)?;
        if self.rank == root {
            same("send buffer of a scatter", send.len(), recv.len() * self.group.len())?;
        }
        let block = recv.len();
        self.collective(send, recv, &no_combine, |shape, out| {
            coll::scatter(shape, block, root, false, out);
        })
    }

    /// As [`Communicator::scatter`], with blocks of any length and place, in bytes
    /// (`MPI_Scatterv`).
    ///
    /// # Errors
    /// When the root, counts or displacements are wrong, or a peer is gone.
    pub fn scatterv(
        &self,
        send: &[u8],
        counts: &[usize],
        displs: &[usize],
        recv: &mut [u8],
        root: u32,
    ) -> Result<(), Error> {
        self.check_root(root)?;
        if self.rank == root {
            self.check_blocks("scatterv's send side", counts, displs, send.len())?;
            same("own block of a scatterv", recv.len(), counts[root as usize])?;
        }
        let (bytes, blocks) = (recv.len(), Blocks::Listed { counts, displs });
        self.collective(send, recv, &no_combine, |shape, out| {
            coll::scatterv(shape, bytes, blocks, root, false, out);
        })
    }

    /// Collects one block of each rank at every rank (`MPI_Allgather`).
    ///
    /// # Errors
    /// When lengths are wrong, or a peer is gone.
    pub fn allgather(&self, send: &[u8], recv: &mut [u8]) -> Result<(), Error> {
        same("receive buffer of an allgather", recv.len(), send.len() * self.group.len())?;
        let block = send.len();
        self.collective(send, recv, &no_combine, |shape, out| {
            coll::allgather(shape, block, false, out);
        })
    }

    /// As [`Communicator::allgather`], with blocks of any length and place, in bytes
    /// (`MPI_Allgatherv`).
    ///
    /// # Errors
    /// When counts or displacements are wrong, or a peer is gone.
    pub fn allgatherv(
        &self,
        send: &[u8],
        recv: &mut [u8],
        counts: &[usize],
        displs: &[usize],
    ) -> Result<(), Error> {
        self.check_blocks("allgatherv's receive side", counts, displs, recv.len())?;
        same("own block of an allgatherv", send.len(), counts[self.rank as usize])?;
        let blocks = Blocks::Listed { counts, displs };
        self.collective(send, recv, &no_combine, |shape, out| {
            coll::allgatherv(shape, blocks, false, out);
        })
    }

    /// Gives each rank one block, and gets one of each (`MPI_Alltoall`).
    ///
    /// # Errors
    /// When lengths are wrong, or a peer is gone.
    pub fn alltoall(&self, send: &[u8], recv: &mut [u8]) -> Result<(), Error> {
        let block = self.block("the send buffer of an alltoall", send.len())?;
        same("receive buffer of an alltoall", recv.len(), send.len())?;
        self.collective(send, recv, &no_combine, |shape, out| {
            coll::alltoall(shape, block, false, out);
        })
    }

    /// As [`Communicator::alltoall`], with blocks of any length and place, in bytes
    /// (`MPI_Alltoallv`).
    ///
    /// # Errors
    /// When counts or displacements are wrong, or a peer is gone.
    pub fn alltoallv(
        &self,
        send: &[u8],
        send_counts: &[usize],
        send_displs: &[usize],
        recv: &mut [u8],
        recv_counts: &[usize],
        recv_displs: &[usize],
    ) -> Result<(), Error> {
        self.check_blocks("alltoallv's send side", send_counts, send_displs, send.len())?;
        self.check_blocks("alltoallv's receive side", recv_counts, recv_displs, recv.len())?;
        let me = self.rank as usize;
        same("own block of an alltoallv", send_counts[me], recv_counts[me])?;
        let from = Blocks::Listed { counts: send_counts, displs: send_displs };
        let into = Blocks::Listed { counts: recv_counts, displs: recv_displs };
        self.collective(send, recv, &no_combine, |shape, out| {
            coll::alltoallv(shape, from, into, false, out);
        })
    }

    fn reduction<T: Reducible>(
        &self,
        send: &[T],
        recv: &mut [T],
        op: Op,
        build: impl FnOnce(&Shape, Operands, &mut Schedule),
    ) -> Result<(), Error> {
        let operands = Operands {
            bytes: size_of_val(send),
            element_size: size_of::<T>(),
            commutative: true,
            in_place: false,
        };
        let combine = |from: *const u8, into: *mut u8, len: usize| {
            let count = len / size_of::<T>();
            debug_assert!(from.cast::<T>().is_aligned() && into.cast::<T>().is_aligned());
            // SAFETY: the executor checked the range; schedules cut at elements, so it is aligned.
            let from = unsafe { std::slice::from_raw_parts(from.cast::<T>(), count) };
            // SAFETY: as above, and the two do not overlap.
            let into = unsafe { std::slice::from_raw_parts_mut(into.cast::<T>(), count) };
            reduce(op, from, into);
        };
        self.collective(send.as_bytes(), recv.as_mut_bytes(), &combine, |shape, out| {
            build(shape, operands, out);
        })
    }

    /// Combines the vectors of all ranks at `root` (`MPI_Reduce`). `recv` counts there only.
    ///
    /// # Errors
    /// When the root or the lengths are wrong, or a peer is gone.
    pub fn reduce<T: Reducible>(
        &self,
        send: &[T],
        recv: &mut [T],
        op: Op,
        root: u32,
    ) -> Result<(), Error> {
        self.check_root(root)?;
        if self.rank == root {
            same("receive buffer of a reduce", recv.len(), send.len())?;
        }
        self.reduction(send, recv, op, |shape, operands, out| {
            coll::reduce(shape, operands, root, out);
        })
    }

    /// Combines the vectors of all ranks at every rank (`MPI_Allreduce`). All get the same bits.
    ///
    /// # Errors
    /// When lengths are wrong, or a peer is gone.
    pub fn allreduce<T: Reducible>(&self, send: &[T], recv: &mut [T], op: Op) -> Result<(), Error> {
        same("receive buffer of an allreduce", recv.len(), send.len())?;
        self.reduction(send, recv, op, coll::allreduce)
    }

    /// Combines the vectors of all ranks, and gives each rank `counts[rank]` elements of the
    /// result (`MPI_Reduce_scatter`).
    ///
    /// # Errors
    /// When counts or lengths are wrong, or a peer is gone.
    pub fn reduce_scatter<T: Reducible>(
        &self,
        send: &[T],
        recv: &mut [T],
        counts: &[usize],
        op: Op,
    ) -> Result<(), Error> {
        same("counts of a reduce_scatter", counts.len(), self.group.len())?;
        same("send buffer of a reduce_scatter", send.len(), counts.iter().sum())?;
        same("receive buffer of a reduce_scatter", recv.len(), counts[self.rank as usize])?;
        let bytes: Vec<usize> = counts.iter().map(|count| count * size_of::<T>()).collect();
        self.reduction(send, recv, op, |shape, operands, out| {
            coll::reduce_scatter(shape, operands, Counts::Listed(&bytes), out);
        })
    }

    /// Combines the vectors of the ranks up to and with this one (`MPI_Scan`).
    ///
    /// # Errors
    /// When lengths are wrong, or a peer is gone.
    pub fn scan<T: Reducible>(&self, send: &[T], recv: &mut [T], op: Op) -> Result<(), Error> {
        same("receive buffer of a scan", recv.len(), send.len())?;
        self.reduction(send, recv, op, coll::scan)
    }

    /// Combines the vectors of the ranks before this one; at rank 0 `recv` is left alone
    /// (`MPI_Exscan`).
    ///
    /// # Errors
    /// When lengths are wrong, or a peer is gone.
    pub fn exscan<T: Reducible>(&self, send: &[T], recv: &mut [T], op: Op) -> Result<(), Error> {
        same("receive buffer of an exscan", recv.len(), send.len())?;
        self.reduction(send, recv, op, coll::exscan)
    }

    /// The same group with a context of its own (`MPI_Comm_dup`). Collective.
    ///
    /// # Errors
    /// When a peer is gone.
    pub fn dup(&self) -> Result<Self, Error> {
        let context = self.agree_context()?;
        Ok(Self::new(self.shared.clone(), context, self.rank, Rc::clone(&self.group)))
    }

    /// One communicator for each color, ranks ordered by key, then by rank here; none for ranks
    /// without a color (`MPI_Comm_split`). Collective.
    ///
    /// # Errors
    /// When a peer is gone.
    pub fn split(&self, color: Option<u32>, key: i32) -> Result<Option<Self>, Error> {
        let context = self.agree_context()?;
        let mine = [color.map_or(-1, i64::from), i64::from(key)];
        let mut all = vec![[0_i64; 2]; self.group.len()];
        self.allgather(mine.as_bytes(), all.as_mut_slice().as_mut_bytes())?;
        let mut members: Vec<(i64, u32)> = (0..)
            .zip(&all)
            .filter(|(_, entry)| entry[0] == mine[0])
            .map(|(rank, entry)| (entry[1], rank))
            .collect();
        members.sort_unstable();
        if color.is_none() {
            return Ok(None);
        }
        let group: Rc<[u32]> = members.iter().map(|(_, r)| self.group[*r as usize]).collect();
        let rank = members.iter().position(|(_, r)| *r == self.rank).unwrap_or(0) as u32;
        Ok(Some(Self::new(self.shared.clone(), context, rank, group)))
    }

    /// A context that no member uses yet.
    fn agree_context(&self) -> Result<u32, Error> {
        let mut agreed = [0];
        self.allreduce(&[self.shared.next_context.get()], &mut agreed, Op::Max)?;
        self.shared.next_context.set(agreed[0] + 2);
        Ok(agreed[0])
    }

    /// The path to each rank, and why. Ranks never spoken to have none yet and are left out.
    #[must_use]
    pub fn peer_paths(&self) -> Vec<PathInfo> {
        let engine = self.engine();
        let links = engine.links();
        let info = |peer: u32| {
            if peer == self.group[self.rank as usize] {
                let reason = "this rank itself".to_owned();
                return Some(PathInfo { peer, path: Path::Loopback, reason });
            }
            let (way, reason) = links.way(peer);
            let path = match way {
                Way::Ring => Path::Ring,
                Way::Tcp => Path::Tcp,
                Way::None | Way::Lost => return None,
            };
            Some(PathInfo { peer, path, reason: reason.to_owned() })
        };
        self.group.iter().filter_map(|&peer| info(peer)).collect()
    }

    /// What happened to this rank's paths since it joined: rings given up, memory that went or came
    /// back; the newest 64.
    #[must_use]
    pub fn path_events(&self) -> Vec<PathEvent> {
        let engine = self.engine();
        let events = engine.links().journal().events();
        events.map(|event| PathEvent { at: event.at, what: event.what.clone() }).collect()
    }

    /// How this rank waits, for people.
    #[must_use]
    pub fn waiting_policy(&self) -> String {
        self.engine().waiting()
    }
}

fn same(what: &'static str, found: usize, needed: usize) -> Result<(), Error> {
    if found == needed {
        return Ok(());
    }
    Err(Error::Length { what, found, needed: needed.to_string() })
}
