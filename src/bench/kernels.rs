//! The operations themselves, as IMB-MPI1 has them, and the loop that times them.
//!
//! Point-to-point benchmarks and Barrier are timed as a whole loop; collectives are timed one by one with an
//! untimed barrier between, so that a fast root cannot run ahead. The root is rank 0. Reductions add floats.

use std::time::{Duration, Instant};

use super::buffers::{
    Buffer, Mark, off_cache_bytes, write_pattern, write_summands, wrong_bytes, wrong_sums,
};
use super::name::Benchmark;
use crate::mpi::{Communicator, Error, Op};

/// Messages to the right (or the only ones), and to the left.
const RIGHT: i32 = 1;
const LEFT: i32 = 2;
const ROOT: u32 = 0;
/// What a receive buffer holds before each checked repetition.
const POISON: u8 = 0xa5;

/// One benchmark at one size on one rank, ready to run.
pub(super) struct Kernel<'a> {
    comm: &'a Communicator,
    benchmark: Benchmark,
    /// Message size.
    bytes: usize,
    rank: u32,
    /// Ranks taking part.
    active: u32,
    check: bool,
    send: Buffer,
    recv: Buffer,
    /// Of the v-forms: every block is `bytes` long. For the reduction's shares: floats of each rank.
    counts: Vec<usize>,
    displs: Vec<usize>,
}

/// What a loop took on this rank.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Loop {
    /// Time of the operations alone.
    pub(super) time: Duration,
    /// Wrong bytes received, when checking.
    pub(super) defects: u64,
}

impl<'a> Kernel<'a> {
    pub(super) fn new(
        comm: &'a Communicator,
        benchmark: Benchmark,
        bytes: usize,
        check: bool,
        off_cache: bool,
    ) -> Kernel<'a> {
        let active = benchmark.active_ranks(comm.size());
        let n = active as usize;
        let (send, recv) = buffer_bytes(benchmark, n, comm.rank() as usize, bytes);
        let counts: Vec<usize> = match benchmark {
            Benchmark::ReduceScatter => (0..n).map(|r| share(bytes / 4, n, r)).collect(),
            _ => vec![bytes; n],
        };
        let displs = counts.iter().scan(0, |at, count| Some(std::mem::replace(at, *at + count)));
        let cycle = if off_cache { off_cache_bytes() } else { 0 };
        let displs = displs.collect();
        let (mut send, mut recv) = (Buffer::new(send, cycle), Buffer::new(recv, cycle));
        send.fill(1);
        recv.fill(POISON);
        let rank = comm.rank();
        Kernel { comm, benchmark, bytes, rank, active, check, send, recv, counts, displs }
    }

    /// Whether this rank takes part; the others only wait.
    pub(super) fn is_active(&self) -> bool {
        self.rank < self.active
    }

    /// Runs `repetitions` operations; every active rank calls it with the same number.
    pub(super) fn run(&mut self, repetitions: u64) -> Result<Loop, Error> {
        if !self.is_collective() && !self.check {
            let begun = Instant::now();
            for repetition in 0..repetitions {
                self.operate(repetition)?;
            }
            return Ok(Loop { time: begun.elapsed(), defects: 0 });
        }
        let mut outcome = Loop::default();
        for repetition in 0..repetitions {
            if self.check {
                self.prepare(repetition);
            }
            let begun = Instant::now();
            self.operate(repetition)?;
            outcome.time += begun.elapsed();
            if self.check {
                outcome.defects += self.verify(repetition);
            }
            if self.is_collective() {
                self.comm.barrier()?;
            }
        }
        Ok(outcome)
    }

    /// Operations that the table's time stands for, in one repetition: PingPong shows half a round trip.
    pub(super) fn parts(&self) -> f64 {
        if self.benchmark == Benchmark::PingPong && self.active == 2 { 2.0 } else { 1.0 }
    }

    fn is_collective(&self) -> bool {
        !matches!(
            self.benchmark,
            Benchmark::PingPong
                | Benchmark::PingPing
                | Benchmark::Sendrecv
                | Benchmark::Exchange
                | Benchmark::Barrier
        )
    }

    fn right(&self) -> u32 {
        (self.rank + 1) % self.active
    }

    fn left(&self) -> u32 {
        (self.rank + self.active - 1) % self.active
    }

    #[inline]
    fn operate(&mut self, i: u64) -> Result<(), Error> {
        match self.benchmark {
            Benchmark::PingPong if self.active == 2 => self.ping_pong(i),
            Benchmark::PingPing => self.ping_ping(i),
            // With one rank, PingPong is a message to oneself.
            Benchmark::PingPong | Benchmark::Sendrecv => {
                let (right, left) = (self.right(), self.left());
                let (send, recv) = (self.send.bytes(i), self.recv.bytes_mut(i));
                self.comm.sendrecv(send, right, RIGHT, recv, left, RIGHT).map(drop)
            }
            Benchmark::Exchange => self.exchange(i),
            Benchmark::Barrier => self.comm.barrier(),
            _ => self.collective(i),
        }
    }

    #[inline]
    fn ping_pong(&mut self, i: u64) -> Result<(), Error> {
        let peer = 1 - self.rank;
        if self.rank == 0 {
            self.comm.send(self.send.bytes(i), peer, RIGHT)?;
            self.comm.recv(self.recv.bytes_mut(i), peer, RIGHT)?;
        } else {
            self.comm.recv(self.recv.bytes_mut(i), peer, RIGHT)?;
            self.comm.send(self.send.bytes(i), peer, RIGHT)?;
        }
        Ok(())
    }

    fn ping_ping(&mut self, i: u64) -> Result<(), Error> {
        let (right, left) = (self.right(), self.left());
        let (send, recv) = (self.send.bytes(i), self.recv.bytes_mut(i));
        // The end of the scope completes all requests.
        self.comm.scope(move |scope| {
            let _ = scope.isend(send, right, RIGHT)?;
            let _ = scope.irecv(recv, left, RIGHT)?;
            Ok(())
        })
    }

    fn exchange(&mut self, i: u64) -> Result<(), Error> {
        let (right, left, bytes) = (self.right(), self.left(), self.bytes);
        let send = self.send.bytes(i);
        let (from_left, from_right) = self.recv.bytes_mut(i).split_at_mut(bytes);
        self.comm.scope(move |scope| {
            let _ = scope.isend(send, right, RIGHT)?;
            let _ = scope.isend(send, left, LEFT)?;
            let _ = scope.irecv(from_left, left, RIGHT)?;
            let _ = scope.irecv(from_right, right, LEFT)?;
            Ok(())
        })
    }

    fn collective(&mut self, i: u64) -> Result<(), Error> {
        let comm = self.comm;
        let (counts, displs) = (&self.counts[..], &self.displs[..]);
        let (send, recv) = (&mut self.send, &mut self.recv);
        match self.benchmark {
            Benchmark::Alltoall => comm.alltoall(send.bytes(i), recv.bytes_mut(i)),
            Benchmark::Alltoallv => {
                comm.alltoallv(send.bytes(i), counts, displs, recv.bytes_mut(i), counts, displs)
            }
            Benchmark::Allreduce => comm.allreduce(send.floats(i), recv.floats_mut(i), Op::Sum),
            Benchmark::Reduce => comm.reduce(send.floats(i), recv.floats_mut(i), Op::Sum, ROOT),
            Benchmark::ReduceScatter => {
                comm.reduce_scatter(send.floats(i), recv.floats_mut(i), counts, Op::Sum)
            }
            Benchmark::Bcast if self.rank == ROOT => comm.bcast(send.bytes_mut(i), ROOT),
            Benchmark::Bcast => comm.bcast(recv.bytes_mut(i), ROOT),
            Benchmark::Allgather => comm.allgather(send.bytes(i), recv.bytes_mut(i)),
            Benchmark::Allgatherv => {
                comm.allgatherv(send.bytes(i), recv.bytes_mut(i), counts, displs)
            }
            Benchmark::Gather => comm.gather(send.bytes(i), recv.bytes_mut(i), ROOT),
            Benchmark::Scatter => comm.scatter(send.bytes(i), recv.bytes_mut(i), ROOT),
            Benchmark::PingPong
            | Benchmark::PingPing
            | Benchmark::Sendrecv
            | Benchmark::Exchange
            | Benchmark::Barrier => Ok(()),
        }
    }

    /// Writes what this repetition sends, and spoils what it will receive.
    fn prepare(&mut self, i: u64) {
        self.recv.bytes_mut(i).fill(POISON);
        let rank = self.rank;
        if self.benchmark.reduces() {
            write_summands(self.send.floats_mut(i), rank, i);
        } else if self.sends_blocks() && self.bytes > 0 {
            for (to, block) in (0..).zip(self.send.bytes_mut(i).chunks_exact_mut(self.bytes)) {
                write_pattern(block, Mark { from: rank, to, repetition: i });
            }
        } else {
            write_pattern(
                self.send.bytes_mut(i),
                Mark { from: rank, to: Mark::ALL, repetition: i },
            );
        }
    }

    /// Whether every receiver gets a block of its own.
    fn sends_blocks(&self) -> bool {
        matches!(self.benchmark, Benchmark::Alltoall | Benchmark::Alltoallv | Benchmark::Scatter)
    }

    /// Counts the wrong bytes among those received.
    fn verify(&self, i: u64) -> u64 {
        if self.benchmark.reduces() {
            return match self.benchmark {
                Benchmark::Reduce if self.rank != ROOT => 0,
                Benchmark::ReduceScatter => {
                    let first = self.displs[self.rank as usize];
                    wrong_sums(self.recv.floats(i), first, self.active, i)
                }
                _ => wrong_sums(self.recv.floats(i), 0, self.active, i),
            };
        }
        let to = if self.sends_blocks() { self.rank } else { Mark::ALL };
        let received = self.recv.bytes(i);
        let blocks = received.chunks_exact(self.bytes.max(1));
        let senders = self.senders();
        let wrong = |(from, block)| wrong_bytes(block, Mark { from, to, repetition: i });
        senders.into_iter().zip(blocks).map(wrong).sum()
    }

    /// Ranks whose blocks lie in the receive buffer, in order.
    fn senders(&self) -> Vec<u32> {
        match self.benchmark {
            Benchmark::PingPong | Benchmark::PingPing | Benchmark::Sendrecv => vec![self.left()],
            Benchmark::Exchange => vec![self.left(), self.right()],
            // The root of a broadcast receives nothing.
            Benchmark::Bcast if self.rank == ROOT => vec![],
            Benchmark::Bcast | Benchmark::Scatter => vec![ROOT],
            Benchmark::Gather if self.rank != ROOT => vec![],
            _ => (0..self.active).collect(),
        }
    }
}

/// Bytes that `rank` of `n` active ranks sends from and receives into.
fn buffer_bytes(benchmark: Benchmark, n: usize, rank: usize, bytes: usize) -> (usize, usize) {
    let blocks = n.saturating_mul(bytes);
    let of_root = if rank == ROOT as usize { blocks } else { 0 };
    match benchmark {
        Benchmark::Exchange => (bytes, bytes.saturating_mul(2)),
        Benchmark::Alltoall | Benchmark::Alltoallv => (blocks, blocks),
        Benchmark::Allgather | Benchmark::Allgatherv => (bytes, blocks),
        Benchmark::Gather => (bytes, of_root),
        Benchmark::Scatter => (of_root, bytes),
        Benchmark::ReduceScatter => (bytes, 4 * share(bytes / 4, n, rank)),
        Benchmark::Barrier => (0, 0),
        _ => (bytes, bytes),
    }
}

/// Bytes of the buffers of all ranks of a job together.
pub(super) fn memory_bytes(benchmark: Benchmark, ranks: u32, bytes: u64, off_cache: bool) -> u64 {
    let length = usize::try_from(bytes).unwrap_or(usize::MAX);
    let n = benchmark.active_ranks(ranks) as usize;
    let cycle = if off_cache { off_cache_bytes() } else { 0 };
    // Waiting ranks make buffers too.
    let of_rank = |rank: usize| {
        let (send, recv) = buffer_bytes(benchmark, n, rank, length);
        (send.max(cycle) as u64).saturating_add(recv.max(cycle) as u64)
    };
    (0..ranks as usize).map(of_rank).fold(0, u64::saturating_add)
}

/// How many of `total` floats `rank` of `n` gets: as equal as can be, the first ones one more.
fn share(total: usize, n: usize, rank: usize) -> usize {
    total / n + usize::from(rank < total % n)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_of_a_job_is_that_of_all_its_ranks() {
        let of = |b: Benchmark, bytes: u64| memory_bytes(b, 8, bytes, false);
        assert_eq!(of(Benchmark::Alltoall, 1 << 20), 128 << 20);
        assert_eq!(of(Benchmark::PingPong, 1 << 20), 16 << 20);
        assert_eq!(of(Benchmark::Gather, 1 << 20), 16 << 20);
        assert_eq!(of(Benchmark::ReduceScatter, 1 << 20), 9 << 20);
        assert_eq!(of(Benchmark::Barrier, 0), 0);
        assert_eq!(of(Benchmark::Alltoall, u64::MAX), u64::MAX);
    }

    #[test]
    fn shares_add_up_and_differ_by_one_at_most() {
        for (total, n) in [(0, 3), (1, 4), (10, 4), (1024, 7)] {
            let shares: Vec<_> = (0..n).map(|r| share(total, n, r)).collect();
            assert_eq!(shares.iter().sum::<usize>(), total);
            assert!(shares.iter().max().unwrap() - shares.iter().min().unwrap() <= 1);
        }
    }
}
