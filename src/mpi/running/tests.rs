use super::*;
use crate::coll::{self, Blocks, Operands};
use crate::config::Config;
use crate::launch::in_process;
use crate::link::select::PathPolicy;
use crate::mpi::communicator::Communicator;
use crate::mpi::job::Job;

/// Runs `body` in `n` ranks over rings or TCP.
fn job(n: u32, path: PathPolicy, body: impl Fn(&Communicator) + Sync) {
    std::thread::scope(|threads| {
        for start in in_process(n) {
            let body = &body;
            threads.spawn(move || {
                let mut config = Config { path, host: Some(0), ..Config::default() };
                config.net.bind = crate::net::BindPolicy::LoopbackOnly;
                let job = Job::connect(start, config).unwrap();
                body(job.world());
                job.finalize().unwrap();
            });
        }
    });
}

fn shape(world: &Communicator) -> coll::Shape {
    coll::Shape::new(world.rank(), &vec![0; world.size() as usize], None)
}

/// Messages with this tag, apart from those of the library's own calls.
fn route(world: &Communicator, tag: i32) -> Route {
    Route { group: (0..world.size()).collect(), context: 0x4000, tag }
}

fn add() -> Combine {
    Combine::Function(Arc::new(|from, into, len, _| {
        for i in 0..len / 8 {
            // SAFETY: within the ranges, which schedules cut at elements.
            let from = unsafe { from.cast::<u64>().wrapping_add(i).read_unaligned() };
            let into = into.cast::<u64>().wrapping_add(i);
            // SAFETY: as above.
            let sum = unsafe { into.read_unaligned() } + from;
            // SAFETY: as above.
            unsafe { into.write_unaligned(sum) };
        }
    }))
}

/// An alltoall of one block for each rank; the buffers outlive it in the caller.
fn alltoall(world: &Communicator, tag: i32, send: &[u8], recv: &mut [u8]) -> Running {
    let mut work = Work::take();
    let blocks = Blocks::Equal(send.len() / world.size() as usize);
    coll::alltoallv(&shape(world), blocks, blocks, false, &mut work.schedule);
    let (send, recv) = ((send.as_ptr(), send.len()), (recv.as_mut_ptr(), recv.len()));
    // SAFETY: the callers finish it before they touch or free the buffers.
    unsafe { Running::new(work, route(world, tag), send, recv, None) }
}

fn block(from: u32, to: u32, len: usize) -> Vec<u8> {
    (0..len as u32).map(|i| (i * 7 + from * 31 + to * 5) as u8).collect()
}

fn outgoing(world: &Communicator, salt: u32, len: usize) -> Vec<u8> {
    (0..world.size()).flat_map(|to| block(world.rank() + salt, to, len)).collect()
}

fn wanted(world: &Communicator, salt: u32, len: usize) -> Vec<u8> {
    (0..world.size()).flat_map(|from| block(from + salt, world.rank(), len)).collect()
}

#[test]
fn collectives_under_way_at_once_keep_apart_and_end_in_any_order() {
    for path in [PathPolicy::Ring, PathPolicy::Tcp] {
        job(4, path, |world| {
            const LEN: usize = 100_000;
            let sends: Vec<_> = (0..5).map(|salt| outgoing(world, salt, LEN)).collect();
            let mut recvs = vec![vec![0; 4 * LEN]; 5];
            let pairs = sends.iter().zip(&mut recvs).zip(0..);
            let mut running: Vec<_> =
                pairs.map(|((send, recv), tag)| alltoall(world, tag, send, recv)).collect();
            let mut engine = world.engine();
            // Each rank begins and looks in another order.
            running.rotate_left(world.rank() as usize);
            while running.iter().any(|one| !one.is_over()) {
                for one in &mut running {
                    if let Some(outcome) = one.advance(&mut engine) {
                        outcome.unwrap();
                    }
                }
                engine.progress();
            }
            for (salt, recv) in recvs.iter().enumerate() {
                assert!(*recv == wanted(world, salt as u32, LEN), "collective {salt}");
            }
        });
    }
}

#[test]
fn a_collective_run_again_takes_what_is_in_the_buffers_then() {
    job(3, PathPolicy::Ring, |world| {
        let mut value = vec![0_u64; 5000];
        let mut sum = vec![0_u64; 5000];
        let bytes = 8 * value.len();
        let operands = Operands { bytes, element_size: 8, commutative: true, in_place: false };
        let mut work = Work::take();
        coll::allreduce(&shape(world), operands, &mut work.schedule);
        let (send, recv) = (value.as_mut_ptr(), sum.as_mut_ptr());
        let buffers = ((send.cast_const().cast(), bytes), (recv.cast(), bytes));
        // SAFETY: both vectors live longer, and are touched only between runs.
        let mut running =
            unsafe { Running::new(work, route(world, 0), buffers.0, buffers.1, Some(add())) };
        for round in 0..50_u64 {
            for i in 0..5000 {
                // SAFETY: within the vector, and no run is under way.
                unsafe { send.wrapping_add(i).write(round * i as u64 + u64::from(world.rank())) };
            }
            running.restart();
            running.wait(&mut world.engine()).unwrap();
            // SAFETY: as above.
            let right = (0..5000)
                .all(|i| unsafe { recv.wrapping_add(i).read() } == 3 * round * i as u64 + 3);
            assert!(right, "round {round}");
        }
    });
}

#[test]
fn a_message_too_long_or_too_short_is_an_error_here_and_the_others_go_on() {
    for wrong in [50, 70] {
        job(3, PathPolicy::Ring, |world| {
            let mine = if world.rank() == 0 { wrong } else { 60 };
            let mut recv = vec![0; 3 * mine];
            let send = vec![0; 3 * mine];
            let outcome = alltoall(world, 0, &send, &mut recv).wait(&mut world.engine());
            let error = outcome.unwrap_err();
            let truncated = matches!(error, Error::Message(_));
            let short = matches!(error, Error::Mismatch { .. });
            // Rank 0 sends what is too long for the others exactly when theirs is too short for it.
            let expected = if (wrong == 70) == (world.rank() != 0) { truncated } else { short };
            assert!(expected, "rank {}: {error}", world.rank());
            let outcome = alltoall(world, 1, &[1; 3], &mut [0; 3]).wait(&mut world.engine());
            outcome.unwrap();
        });
    }
}

#[test]
fn what_was_given_up_leaves_the_engine_free_for_more() {
    job(2, PathPolicy::Ring, |world| {
        let mut room = vec![0; 200_000];
        if world.rank() == 0 {
            // Nobody else comes to this one.
            let mut running = alltoall(world, 7, &[1; 2], &mut room[..2]);
            assert!(running.advance(&mut world.engine()).is_none());
            running.abandon(&mut world.engine());
            assert!(running.is_over());
        }
        world.barrier().unwrap();
        let send = outgoing(world, 0, 100_000);
        alltoall(world, 8, &send, &mut room).wait(&mut world.engine()).unwrap();
        assert!(room == wanted(world, 0, 100_000));
    });
}

#[test]
fn an_empty_collective_with_null_buffers_is_over_at_once() {
    job(2, PathPolicy::Ring, |world| {
        let (send, recv) = ((std::ptr::null(), 0), (std::ptr::null_mut(), 0));
        // SAFETY: no bytes.
        let mut running = unsafe { Running::new(Work::take(), route(world, 0), send, recv, None) };
        assert!(matches!(running.advance(&mut world.engine()), Some(Ok(()))));
    });
}
