//! Plans in jobs of threads, with items in one run and in pieces, against what the standard says each rank
//! gets.

use super::*;
use crate::coll::Shape;
use crate::config::Config;
use crate::launch::in_process;
use crate::link::select::PathPolicy;
use crate::mpi::communicator::Communicator;
use crate::mpi::datatype::{Basic, Datatype, Form};
use crate::mpi::failure::{Class, Outcome};
use crate::mpi::job::Job;
use crate::mpi::op::{BasicOp, Op};

mod moving;
mod reducing;

/// Runs `body` in `n` ranks over rings.
fn job(n: u32, body: impl Fn(&Communicator) + Sync) {
    std::thread::scope(|threads| {
        for start in in_process(n) {
            let body = &body;
            threads.spawn(move || {
                let mut config =
                    Config { path: PathPolicy::Ring, host: Some(0), ..Config::default() };
                config.net.bind = crate::net::BindPolicy::LoopbackOnly;
                let job = Job::connect(start, config).unwrap();
                body(job.world());
                job.finalize().unwrap();
            });
        }
    });
}

/// A communicator would lend it.
fn lent<T>(it: T) -> &'static T {
    Box::leak(Box::new(it))
}

/// The whole world.
fn whole(world: &Communicator) -> Place<'static> {
    let size = world.size();
    Place {
        shape: lent(Shape::new(world.rank(), &vec![0; size as usize], None)),
        group: lent((0..size).collect()),
        local_size: size,
        rank: world.rank(),
        context: 0x4000,
        tag: 0,
        neighbors: None,
    }
}

/// Two groups: the first `first` ranks, and the others.
fn halves(world: &Communicator, first: u32) -> Place<'static> {
    let (rank, size) = (world.rank(), world.size());
    let (local, remote) =
        if rank < first { (0..first, first..size) } else { (first..size, 0..first) };
    let local_size = local.len() as u32;
    Place {
        shape: lent(Shape::new(rank - local.start, &vec![0; local.len()], None)),
        rank: rank - local.start,
        group: lent(local.chain(remote).collect()),
        local_size,
        ..whole(world)
    }
}

/// Integers; pairs of them with a gap inside and behind; the same backwards, the last item first.
fn types() -> [Datatype; 3] {
    let int = Datatype::of(Basic::Int);
    let gap = Datatype::vector(2, 1, 2, &int, Form::Int).unwrap();
    let wide = Datatype::resized(&gap, 0, 16, Form::Int).unwrap();
    let backwards = Datatype::resized(&gap, -4, -16, Form::Int).unwrap();
    for datatype in [&wide, &backwards] {
        datatype.commit();
    }
    [int, wide, backwards]
}

const RUBBISH: i32 = -77;

/// A buffer in the middle of more memory, all of it rubbish at first.
struct Memory(Vec<i32>);

impl Memory {
    fn new() -> Self {
        Self(vec![RUBBISH; 4000])
    }

    fn base(&mut self) -> *mut u8 {
        self.0[2000..].as_mut_ptr().cast()
    }

    /// Values from item `at` on.
    fn put(&mut self, datatype: &Datatype, at: i64, values: &[i32]) {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let count = bytes.len() / datatype.size() as usize;
        let base = self.0.as_mut_ptr().wrapping_add(2000).cast::<u8>();
        let base = base.wrapping_offset((at * datatype.extent()) as isize);
        // SAFETY: items in the middle of the memory.
        unsafe { datatype.unpack(base, count, 0, &bytes) };
    }

    fn with(datatype: &Datatype, values: &[i32]) -> Self {
        let mut memory = Self::new();
        memory.put(datatype, 0, values);
        memory
    }

    /// Whether it is as after these `put`s and not otherwise touched.
    #[track_caller]
    fn assert(&self, what: &str, datatype: &Datatype, puts: &[(i64, &[i32])]) {
        let mut wanted = Self::new();
        for (at, values) in puts {
            wanted.put(datatype, *at, values);
        }
        let wrong = self.0.iter().zip(&wanted.0).position(|(a, b)| a != b);
        let wrong = wrong.map(|i| (i as i64 - 2000, self.0[i], wanted.0[i]));
        assert_eq!(wrong, None, "{what} ({}): place, found, wanted", datatype.extent());
    }
}

/// Ints of one item.
fn ints(datatype: &Datatype) -> usize {
    datatype.size() as usize / 4
}

fn items<'a>(memory: &mut Memory, count: usize, datatype: &'a Datatype) -> Items<'a> {
    Items { base: memory.base(), count: count as i64, datatype }
}

/// The values that one rank has for another.
fn block(from: u32, to: u32, len: usize) -> Vec<i32> {
    (0..len as i32).map(|i| (from * 1000 + to * 100) as i32 + i).collect()
}

#[track_caller]
fn run(world: &Communicator, plan: Outcome<Plan>) {
    plan.unwrap().wait(&mut world.engine()).unwrap();
}

fn class(plan: Outcome<Plan>) -> Option<Class> {
    plan.err().map(|failure| failure.class)
}

#[test]
fn a_plan_can_be_sent_to_another_thread() {
    fn assert_send<T: Send>() {}
    assert_send::<Plan>();
}

#[test]
#[allow(clippy::multiple_unsafe_ops_per_block, reason = "all for the one reason")]
fn wrong_arguments_are_refused_with_the_class_of_the_standard() {
    job(2, |world| {
        let place = whole(world);
        let [int, wide, _] = types();
        let raw = Datatype::vector(2, 1, 2, &int, Form::Int).unwrap();
        let (mut a, mut b) = (Memory::new(), Memory::new());
        let good = items(&mut a, 2, &int);
        let other = items(&mut b, 2, &int);
        let negative = Items { count: -1, ..good };
        let null = Items { base: std::ptr::null_mut(), ..good };
        let me = world.rank() as i32;
        // SAFETY: the memory outlives the plans, none of which runs.
        unsafe {
            assert_eq!(class(bcast(&place, negative, 0)), Some(Class::Count));
            assert_eq!(class(bcast(&place, null, 0)), Some(Class::Buffer));
            assert_eq!(
                class(bcast(&place, Items { datatype: &raw, ..good }, 0)),
                Some(Class::Type)
            );
            for root in [-1, 2, -4] {
                assert_eq!(class(bcast(&place, good, root)), Some(Class::Root));
            }
            let in_place_elsewhere = gather(&place, None, Some(other), 1 - me);
            assert_eq!(class(in_place_elsewhere), Some(Class::Buffer));
            let aliased = allgather(&place, Some(good), Pieces::Equal(good));
            assert_eq!(class(aliased), Some(Class::Buffer));
            let longer = Items { count: 3, ..good };
            let truncated = allgather(&place, Some(longer), Pieces::Equal(other));
            assert_eq!(class(truncated), Some(Class::Truncate));
            assert_eq!(
                class(neighbor_allgather(&place, good, Pieces::Equal(other))),
                Some(Class::Topology)
            );
            let sum = Op::Basic(BasicOp::Sum);
            let vectors =
                Vectors { send: Some(good.base), recv: other.base, datatype: &wide, op: &sum };
            assert_eq!(class(allreduce(&place, vectors, 2)), Some(Class::Op));
            let vectors = Vectors { datatype: &int, ..vectors };
            assert_eq!(class(allreduce(&place, vectors, -2)), Some(Class::Count));
            assert_eq!(class(scan(&halves(world, 1), vectors, 2)), Some(Class::Comm));
            let in_place = Vectors { send: None, ..vectors };
            assert_eq!(class(allreduce(&halves(world, 1), in_place, 2)), Some(Class::Buffer));
        }
    });
}

#[test]
fn a_message_longer_than_expected_is_truncated_in_a_broadcast() {
    job(2, |world| {
        let [int, ..] = types();
        let mut memory = Memory::with(&int, &[1, 2, 3]);
        let count = if world.rank() == 0 { 3 } else { 2 };
        // SAFETY: the memory outlives the plan.
        let plan = unsafe { bcast(&whole(world), items(&mut memory, count, &int), 0) };
        let outcome = plan.unwrap().wait(&mut world.engine());
        let wanted = (world.rank() == 1).then_some(Class::Truncate);
        assert_eq!(outcome.err().map(|failure| failure.class), wanted);
    });
}

#[test]
fn a_plan_that_runs_again_packs_and_unpacks_again() {
    job(3, |world| {
        let [_, wide, backwards] = types();
        let (me, place) = (world.rank(), whole(world));
        let (mut from, mut into) = (Memory::new(), Memory::new());
        let (send, recv) = (items(&mut from, 2, &wide), items(&mut into, 2, &backwards));
        // SAFETY: both outlive the plan, and are touched between runs only.
        let mut plan = unsafe { allgather(&place, Some(send), Pieces::Equal(recv)) }.unwrap();
        for round in 0..5 {
            from.put(&wide, 0, &block(me, round, 4));
            plan.restart();
            assert!(!plan.is_over());
            plan.wait(&mut world.engine()).unwrap();
            assert!(plan.is_over());
            let all: Vec<i32> = (0..3).flat_map(|rank| block(rank, round, 4)).collect();
            into.assert("allgather", &backwards, &[(0, &all)]);
        }
    });
}
