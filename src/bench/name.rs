//! The benchmarks by name, and what IMB-MPI1 fixes for each: the columns of its table, how throughput is
//! counted, and which ranks take part.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// One benchmark, with IMB-MPI1's meaning of the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Benchmark {
    /// Rank 0 sends, rank 1 answers; the time is half the round trip.
    PingPong,
    /// Ranks 0 and 1 send to each other at once.
    PingPing,
    /// Every rank sends to the right and receives from the left.
    Sendrecv,
    /// Every rank exchanges with both neighbours.
    Exchange,
    /// Every rank sends a block to every rank.
    Alltoall,
    /// The same with counts and displacements.
    Alltoallv,
    /// Sum of floats, known to all.
    Allreduce,
    /// Sum of floats, known to rank 0.
    Reduce,
    /// Sum of floats, each rank knows its share.
    ReduceScatter,
    /// From rank 0 to all.
    Bcast,
    /// A block of every rank to every rank.
    Allgather,
    /// The same with counts and displacements.
    Allgatherv,
    /// A block of every rank to rank 0.
    Gather,
    /// A block from rank 0 to every rank.
    Scatter,
    /// All wait for all; no data.
    Barrier,
}

/// What a table shows, as in IMB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Columns {
    /// `#bytes #repetitions t[usec] Mbytes/sec`
    Time,
    /// `#bytes #repetitions t_min[usec] t_max[usec] t_avg[usec] Mbytes/sec`
    RangeAndRate,
    /// `#bytes #repetitions t_min[usec] t_max[usec] t_avg[usec]`
    Range,
    /// `#repetitions t_min[usec] t_max[usec] t_avg[usec]`
    Sync,
}

/// A name that is no benchmark.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("no benchmark is called {name:?}; known are {known}", known = known_names())]
pub struct UnknownBenchmark {
    /// What was asked for.
    pub name: String,
}

impl Benchmark {
    /// All of them, in the order in which they are listed.
    pub const ALL: [Benchmark; 15] = [
        Benchmark::PingPong,
        Benchmark::PingPing,
        Benchmark::Sendrecv,
        Benchmark::Exchange,
        Benchmark::Alltoall,
        Benchmark::Alltoallv,
        Benchmark::Allreduce,
        Benchmark::Reduce,
        Benchmark::ReduceScatter,
        Benchmark::Bcast,
        Benchmark::Allgather,
        Benchmark::Allgatherv,
        Benchmark::Gather,
        Benchmark::Scatter,
        Benchmark::Barrier,
    ];

    /// The name as IMB spells it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Benchmark::PingPong => "PingPong",
            Benchmark::PingPing => "PingPing",
            Benchmark::Sendrecv => "Sendrecv",
            Benchmark::Exchange => "Exchange",
            Benchmark::Alltoall => "Alltoall",
            Benchmark::Alltoallv => "Alltoallv",
            Benchmark::Allreduce => "Allreduce",
            Benchmark::Reduce => "Reduce",
            Benchmark::ReduceScatter => "Reduce_scatter",
            Benchmark::Bcast => "Bcast",
            Benchmark::Allgather => "Allgather",
            Benchmark::Allgatherv => "Allgatherv",
            Benchmark::Gather => "Gather",
            Benchmark::Scatter => "Scatter",
            Benchmark::Barrier => "Barrier",
        }
    }

    /// The columns of its table.
    #[must_use]
    pub fn columns(self) -> Columns {
        match self {
            Benchmark::PingPong | Benchmark::PingPing => Columns::Time,
            Benchmark::Sendrecv | Benchmark::Exchange => Columns::RangeAndRate,
            Benchmark::Barrier => Columns::Sync,
            _ => Columns::Range,
        }
    }

    /// Ranks that take part in a job of `size`; the others wait in a barrier, as IMB's do.
    #[must_use]
    pub fn active_ranks(self, size: u32) -> u32 {
        if self.columns() == Columns::Time { size.min(2) } else { size }
    }

    /// Whether it adds numbers, so that sizes are whole floats.
    #[must_use]
    pub fn reduces(self) -> bool {
        matches!(self, Benchmark::Allreduce | Benchmark::Reduce | Benchmark::ReduceScatter)
    }

    /// Messages of the table's size counted for the throughput among `active` ranks. For point-to-point
    /// benchmarks this is IMB's factor (1, 1, 2, 4). IMB prints none for collectives; for them it is the
    /// accumulated volume: what has to cross from one rank to another, whatever the algorithm.
    #[must_use]
    pub fn messages_counted(self, active: u32) -> f64 {
        let n = f64::from(active);
        match self {
            Benchmark::PingPong | Benchmark::PingPing => 1.0,
            Benchmark::Sendrecv => 2.0,
            Benchmark::Exchange => 4.0,
            Benchmark::Alltoall | Benchmark::Alltoallv => n * (n - 1.0),
            Benchmark::Allgather | Benchmark::Allgatherv => n * (n - 1.0),
            Benchmark::Allreduce => 2.0 * (n - 1.0),
            Benchmark::Reduce | Benchmark::ReduceScatter | Benchmark::Bcast => n - 1.0,
            Benchmark::Gather | Benchmark::Scatter => n - 1.0,
            Benchmark::Barrier => 0.0,
        }
    }

    /// Throughput in MB/s (10^6 bytes) of messages of `bytes` in `t_us` microseconds; 0 when no time passed.
    #[must_use]
    pub fn mbytes_per_s(self, active: u32, bytes: u64, t_us: f64) -> f64 {
        if t_us > 0.0 { self.messages_counted(active) * bytes as f64 / t_us } else { 0.0 }
    }
}

/// The list of known names, for help and complaints.
#[must_use]
pub fn known_names() -> String {
    Benchmark::ALL.map(Benchmark::name).join(", ")
}

impl fmt::Display for Benchmark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Benchmark {
    type Err = UnknownBenchmark;

    fn from_str(name: &str) -> Result<Benchmark, UnknownBenchmark> {
        let known = Benchmark::ALL.into_iter().find(|b| b.name().eq_ignore_ascii_case(name));
        known.ok_or_else(|| UnknownBenchmark { name: name.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_in_any_case() {
        for benchmark in Benchmark::ALL {
            assert_eq!(benchmark.name().to_uppercase().parse(), Ok(benchmark));
            assert_eq!(benchmark.name().to_lowercase().parse(), Ok(benchmark));
        }
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_known_ones() {
        let error = "pingpung".parse::<Benchmark>().unwrap_err().to_string();
        assert!(error.contains("\"pingpung\""), "{error}");
        for benchmark in Benchmark::ALL {
            assert!(error.contains(benchmark.name()), "{error}");
        }
        assert!("".parse::<Benchmark>().is_err());
    }

    #[test]
    fn throughput_counts_as_imb_does() {
        let rate = |b: Benchmark| b.mbytes_per_s(2, 1_000_000, 1000.0);
        assert_eq!(rate(Benchmark::PingPong), 1000.0);
        assert_eq!(rate(Benchmark::PingPing), 1000.0);
        assert_eq!(rate(Benchmark::Sendrecv), 2000.0);
        assert_eq!(rate(Benchmark::Exchange), 4000.0);
        assert_eq!(Benchmark::PingPong.mbytes_per_s(2, 8, 0.0), 0.0);
    }

    #[test]
    fn only_two_ranks_play_ping_pong() {
        assert_eq!(Benchmark::PingPong.active_ranks(8), 2);
        assert_eq!(Benchmark::PingPing.active_ranks(1), 1);
        assert_eq!(Benchmark::Alltoall.active_ranks(8), 8);
    }
}
