//! Every algorithm of every collective against what the standard says it computes, on random shapes, placements,
//! roots and lengths, with sends that complete at once and sends that wait for their receiver. A failure names
//! its seed; `COHOST_COLL_SEED=n` runs that one alone, `COHOST_COLL_CASES=n` sets the number of seeds.

mod chosen;
mod inter;
mod moves;
mod neighbors;
mod reductions;

use super::sim::{self, Combine, MODES, Outcome, Rank, Rng};
use super::{Schedule, Shape};

/// One random communicator.
struct World {
    hosts: Vec<u32>,
    cores: Option<u32>,
    seed: u64,
}

impl World {
    fn random(rng: &mut Rng) -> World {
        let n = 1 + rng.below(17);
        let host_count = 1 + rng.below(4);
        let mut hosts: Vec<u32> = (0..n).map(|_| 10 * rng.below(host_count) as u32).collect();
        if rng.coin() {
            hosts.sort();
        }
        let cores = [None, Some(1), Some(2), Some(64)][rng.below(4)];
        World { hosts, cores, seed: rng.next() }
    }

    fn size(&self) -> usize {
        self.hosts.len()
    }

    fn shape(&self, rank: usize) -> Shape {
        Shape::new(rank as u32, &self.hosts, self.cores)
    }

    /// Builds and runs in all modes; `buffers` gives a rank's send and receive buffer, `wanted` judges.
    fn check(
        &self,
        name: &str,
        operation: (usize, Combine),
        build: impl Fn(&Shape, &mut Schedule),
        buffers: impl Fn(usize) -> (Vec<u8>, Vec<u8>),
        wanted: impl Fn(&Outcome) -> Result<(), String>,
    ) {
        for mode in MODES {
            let ranks = (0..self.size()).map(|r| {
                let mut schedule = Schedule::new();
                build(&self.shape(r), &mut schedule);
                assert_eq!(schedule.outstanding(), 0, "{name}: rank {r}");
                if name != "barrier" {
                    assert!(!schedule.steps.iter().any(is_empty), "{name}: {:?}", schedule.steps);
                }
                let (send, recv) = buffers(r);
                Rank { schedule, send, recv }
            });
            let result = sim::run(ranks.collect(), operation, mode, self.seed);
            if let Err(error) = result.and_then(|outcome| wanted(&outcome)) {
                panic!("{name}, {mode:?}, hosts {:?}, cores {:?}: {error}", self.hosts, self.cores);
            }
        }
    }

    /// For collectives that only move bytes.
    fn check_moves(
        &self,
        name: &str,
        build: impl Fn(&Shape, &mut Schedule),
        send: &[Vec<u8>],
        recv: &[Vec<u8>],
        wanted: &[Vec<u8>],
    ) {
        let buffers = |r: usize| (send[r].clone(), recv[r].clone());
        self.check(name, sim::NO_OPERATION, build, buffers, |outcome| same(outcome, wanted));
    }
}

fn is_empty(step: &super::Step) -> bool {
    use super::Step::{Copy, Recv, Reduce, Send, Wait};
    match step {
        Send { from, .. } | Copy { from, .. } | Reduce { from, .. } => from.len == 0,
        Recv { into, .. } => into.len == 0,
        Wait => false,
    }
}

/// Whether the receive buffers are as wanted, to the last byte between and behind the blocks.
fn same(outcome: &Outcome, wanted: &[Vec<u8>]) -> Result<(), String> {
    match (0..wanted.len()).find(|&r| outcome.recv[r] != wanted[r]) {
        Some(r) => Err(format!("rank {r} has {:?}, wants {:?}", outcome.recv[r], wanted[r])),
        None => Ok(()),
    }
}

/// Runs `claim` for many seeds, and names the one that fails.
fn for_many_seeds(claim: impl Fn(&World, &mut Rng) + std::panic::RefUnwindSafe) {
    let variable = |name| std::env::var(name).ok().and_then(|v| v.parse::<u64>().ok());
    let cases = variable("COHOST_COLL_CASES").unwrap_or(300);
    let seeds = match variable("COHOST_COLL_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..cases,
    };
    for seed in seeds {
        let run = std::panic::catch_unwind(|| {
            let mut rng = Rng(seed);
            let world = World::random(&mut rng);
            claim(&world, &mut rng);
        });
        if let Err(cause) = run {
            eprintln!("COHOST_COLL_SEED={seed} fails");
            std::panic::resume_unwind(cause);
        }
    }
}

#[test]
fn a_small_alltoall_or_allreduce_on_a_crowded_host_is_one_round() {
    let shape = Shape::new(3, &[0; 8], Some(2));
    let mut schedule = Schedule::new();
    super::alltoall(&shape, 8, false, &mut schedule);
    assert_eq!((schedule.rounds(), schedule.most_outstanding()), (1, 14));
    schedule.clear();
    let operands =
        super::Operands { bytes: 8, element_size: 8, commutative: false, in_place: false };
    super::allreduce(&shape, operands, &mut schedule);
    assert_eq!(schedule.rounds(), 1);
    schedule.clear();
    super::barrier(&shape, &mut schedule);
    assert_eq!(schedule.rounds(), 1);
}

#[test]
fn a_small_alltoall_of_two_hosts_is_one_message_between_them() {
    let hosts = [0, 0, 0, 0, 1, 1, 1, 1];
    let crossing = |rank: u32| {
        let mut schedule = Schedule::new();
        super::alltoall(&Shape::new(rank, &hosts, Some(2)), 8, false, &mut schedule);
        let crosses = |step: &&super::Step| match step {
            super::Step::Send { peer, .. } => hosts[*peer as usize] != hosts[rank as usize],
            _ => false,
        };
        schedule.steps.iter().filter(crosses).count()
    };
    assert_eq!((0..8).map(crossing).sum::<usize>(), 2);
}

#[test]
fn a_large_alltoall_keeps_a_bounded_number_of_messages_in_flight() {
    let shape = Shape::new(0, &[0; 200], None);
    let mut schedule = Schedule::new();
    super::alltoall(&shape, 1 << 20, false, &mut schedule);
    assert!(schedule.most_outstanding() <= 16);
    assert_eq!(schedule.scratch_len, 0);
}

#[test]
fn building_a_second_small_schedule_allocates_nothing() {
    let shape = Shape::new(1, &[0, 0, 1, 1], Some(1));
    let mut schedule = Schedule::new();
    super::alltoall(&shape, 8, false, &mut schedule);
    let before = (schedule.steps.as_ptr(), schedule.steps.capacity());
    let first = schedule.clone();
    schedule.clear();
    super::alltoall(&shape, 8, false, &mut schedule);
    assert_eq!(before, (schedule.steps.as_ptr(), schedule.steps.capacity()));
    assert_eq!(first, schedule);
}

#[test]
fn an_alltoall_or_allreduce_of_nothing_sends_nothing() {
    let shape = Shape::new(1, &[0, 0, 1, 1], Some(2));
    let mut schedule = Schedule::new();
    super::alltoall(&shape, 0, false, &mut schedule);
    super::allreduce(
        &shape,
        super::Operands { bytes: 0, element_size: 8, commutative: true, in_place: false },
        &mut schedule,
    );
    assert!(schedule.steps.is_empty(), "{:?}", schedule.steps);
}
