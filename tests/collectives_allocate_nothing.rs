//! Blocking collectives of the full interface take no memory in the steady state: whatever their plans
//! need, they have from the call before.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use cohost::config::Config;
use cohost::launch::in_process;
use cohost::mpi::collective::{self, Items, Pieces, Place, Plan, Vectors};
use cohost::mpi::datatype::{Basic, Datatype};
use cohost::mpi::op::{BasicOp, Op};
use cohost::mpi::process::Process;

/// Counts what each thread takes.
struct Counting;

thread_local!(static TAKEN: Cell<u64> = const { Cell::new(0) });

// SAFETY: all is left to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        TAKEN.set(TAKEN.get() + 1);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const RANKS: u32 = 3;
const COUNT: i64 = 40;

/// Plans of one rank, on buffers that are long enough for each.
struct Calls<'a> {
    send: *mut u8,
    recv: *mut u8,
    datatype: &'a Datatype,
    op: &'a Op,
}

type Call = fn(&Calls<'_>, &Place<'_>) -> Plan;

impl Calls<'_> {
    fn items(&self, base: *mut u8) -> Items<'_> {
        Items { base, count: COUNT, datatype: self.datatype }
    }

    fn vectors(&self, in_place: bool) -> Vectors<'_> {
        let send = (!in_place).then_some(self.send.cast_const());
        Vectors { send, recv: self.recv, datatype: self.datatype, op: self.op }
    }

    const ALL: [(&'static str, Call); 8] = [
        ("barrier", |_, place| collective::barrier(place)),
        ("bcast", |it, place| {
            // SAFETY: both buffers are longer than any call needs, and outlive it.
            unsafe { collective::bcast(place, it.items(it.recv), 0) }.unwrap()
        }),
        ("allgather", |it, place| {
            let recv = Pieces::Equal(it.items(it.recv));
            // SAFETY: see above.
            unsafe { collective::allgather(place, Some(it.items(it.send)), recv) }.unwrap()
        }),
        ("alltoall", |it, place| {
            let send = Pieces::Equal(it.items(it.send));
            // SAFETY: see above.
            unsafe { collective::alltoall(place, Some(send), Pieces::Equal(it.items(it.recv))) }
                .unwrap()
        }),
        ("reduce", |it, place| {
            // SAFETY: see above.
            unsafe { collective::reduce(place, it.vectors(false), COUNT, 1) }.unwrap()
        }),
        ("allreduce", |it, place| {
            // SAFETY: see above.
            unsafe { collective::allreduce(place, it.vectors(false), COUNT) }.unwrap()
        }),
        ("allreduce in place", |it, place| {
            // SAFETY: see above.
            unsafe { collective::allreduce(place, it.vectors(true), COUNT) }.unwrap()
        }),
        ("scan", |it, place| {
            // SAFETY: see above.
            unsafe { collective::scan(place, it.vectors(false), COUNT) }.unwrap()
        }),
    ];
}

/// What this thread takes for the plans of the later of many calls. Messages that come before they are
/// waited for take memory of their own.
fn taken(process: &Process, call: Call) -> u64 {
    let mut memory = vec![0_i32; 2 * COUNT as usize * RANKS as usize];
    let (datatype, op) = (Datatype::of(Basic::Int), Op::Basic(BasicOp::Max));
    let send: *mut u8 = memory.as_mut_ptr().cast();
    let recv = send.wrapping_add(4 * COUNT as usize * RANKS as usize);
    let calls = Calls { send, recv, datatype: &datatype, op: &op };
    let run = || {
        let before = TAKEN.get();
        let plan = call(&calls, &process.world().place());
        let taken = TAKEN.get() - before;
        process.run_plan(plan).unwrap();
        taken
    };
    for _ in 0..20 {
        run();
    }
    (0..100).map(|_| run()).sum()
}

#[test]
fn the_same_collective_again_takes_no_memory() {
    std::thread::scope(|threads| {
        for start in in_process(RANKS) {
            threads.spawn(move || {
                let mut config = Config { host: Some(0), ..Config::default() };
                config.net.bind = cohost::net::BindPolicy::LoopbackOnly;
                let process = Process::join(start, config, false).unwrap();
                for (name, call) in Calls::ALL {
                    let taken = taken(&process, call);
                    assert_eq!(taken, 0, "{name}");
                }
                process.finalize().unwrap();
            });
        }
    });
}
