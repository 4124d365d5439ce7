//! Interrupts between machines: used when they come, and not missed when they do not. The device
//! that can interrupt is played: its registers reach eventfds of the other ranks, or nobody.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cohost::config::Config;
use cohost::link::select::PathPolicy;
use cohost::mpi::Op;
use cohost::region::vfio::Registers;
use cohost::{Communicator, Error};

use super::support::{BYTES, Shelf, on_machine, pattern, run, way};

/// What connects the devices of all machines, as a server of doorbells does.
#[derive(Debug, Default)]
struct Exchange {
    /// By number of the guest.
    lines: Mutex<HashMap<u32, OwnedFd>>,
    /// Writes to a doorbell register.
    written: AtomicU64,
    swallows: AtomicBool,
}

impl Exchange {
    fn ring(&self, guest: u32) {
        if let Some(line) = self.lines.lock().unwrap().get(&guest) {
            let one = 1_u64.to_ne_bytes();
            // SAFETY: eight bytes that are valid for the call.
            unsafe { libc::write(std::os::fd::AsRawFd::as_raw_fd(line), one.as_ptr().cast(), 8) };
        }
    }

    fn written(&self) -> u64 {
        self.written.load(Ordering::SeqCst)
    }
}

/// The device as one guest has it.
#[derive(Debug)]
struct Seat {
    exchange: Arc<Exchange>,
    guest: u32,
}

impl Registers for Seat {
    fn vectors(&self) -> u32 {
        1
    }

    fn read(&self, register: u64) -> io::Result<u32> {
        // IVPosition.
        if register == 8 { Ok(self.guest) } else { Err(io::ErrorKind::InvalidInput.into()) }
    }

    fn write(&self, register: u64, value: u32) -> io::Result<()> {
        assert_eq!(register, 12, "the doorbell is the one register that is written");
        self.exchange.written.fetch_add(1, Ordering::SeqCst);
        if !self.exchange.swallows.load(Ordering::SeqCst) {
            self.exchange.ring(value >> 16);
        }
        Ok(())
    }

    fn route(&self, _: u32, eventfd: BorrowedFd<'_>) -> io::Result<()> {
        let line = eventfd.as_fd().try_clone_to_owned()?;
        self.exchange.lines.lock().unwrap().insert(self.guest, line);
        Ok(())
    }
}

fn seated(rank: u32, device: &Path, exchange: &Arc<Exchange>) -> Config {
    let seat = Seat { exchange: Arc::clone(exchange), guest: 10 + rank };
    Config { path: PathPolicy::Ring, registers: Some(Arc::new(seat)), ..on_machine(rank, device) }
}

/// Messages with pauses in which both ranks fall asleep, until both say that it is enough.
fn with_pauses(world: &Communicator, enough: impl Fn(&Communicator) -> bool) -> Result<(), Error> {
    let (me, peer) = (world.rank(), 1 - world.rank());
    let mut both = [0_u8];
    let mut round = 0;
    while both[0] == 0 {
        let (mine, theirs) = (pattern(700, round * 2 + me), pattern(700, round * 2 + peer));
        std::thread::sleep(Duration::from_millis(u64::from(me) * 3));
        world.send(&mine, peer, 1)?;
        let mut got = vec![0; 700];
        world.recv(&mut got, peer, 1)?;
        assert!(got == theirs, "round {round}");
        world.allreduce(&[u8::from(enough(world))], &mut both, Op::Min)?;
        round += 1;
    }
    assert_eq!(way(world, peer).0, "ring");
    Ok(())
}

#[test]
fn a_rank_that_sleeps_is_woken_by_an_interrupt_of_the_device() {
    let shelf = Shelf::new();
    let (device, exchange) = (shelf.device("region", BYTES), Arc::default());
    run(
        2,
        |rank| seated(rank, &device, &exchange),
        |world| {
            let by_interrupt = |world: &Communicator| {
                world.waiting_policy().contains("; woken by MSI-X interrupts (")
            };
            // Rank 1 hardly waits, and may never have slept.
            let slept = |world: &Communicator| world.rank() == 1 || by_interrupt(world);
            with_pauses(world, |world| exchange.written() > 30 && slept(world))?;
            assert!(way(world, 1 - world.rank()).1.contains("rung by MSI-X"));
            Ok(())
        },
    );
}

#[test]
fn interrupts_that_never_come_are_not_asked_for() {
    let shelf = Shelf::new();
    let (device, exchange) = (shelf.device("region", BYTES), Arc::<Exchange>::default());
    exchange.swallows.store(true, Ordering::SeqCst);
    let rounds = AtomicU64::new(0);
    run(
        2,
        |rank| seated(rank, &device, &exchange),
        |world| {
            with_pauses(world, |_| rounds.fetch_add(1, Ordering::SeqCst) > 40)?;
            let said = world.waiting_policy();
            assert!(said.contains("TCP bytes instead of MSI-X interrupts (none was"), "{said}");
            Ok(())
        },
    );
    assert_eq!(exchange.written(), 2, "each said hello, and nothing more");
}

#[test]
fn interrupts_that_stop_coming_delay_and_lose_nothing() {
    let shelf = Shelf::new();
    let (device, exchange) = (shelf.device("region", BYTES), Arc::<Exchange>::default());
    let is_deaf = |world: &Communicator| world.waiting_policy().contains("TCP bytes instead of");
    run(
        2,
        |rank| seated(rank, &device, &exchange),
        |world| {
            with_pauses(world, |_| exchange.written() > 10)?;
            exchange.swallows.store(true, Ordering::SeqCst);
            // Only rank 0 waits long enough to notice for certain.
            with_pauses(world, |world| world.rank() == 1 || is_deaf(world))?;
            let rounds = AtomicU64::new(0);
            with_pauses(world, |_| rounds.fetch_add(1, Ordering::SeqCst) > 5)
        },
    );
}

#[test]
fn interrupts_that_mean_nothing_do_no_harm() {
    let shelf = Shelf::new();
    let (device, exchange) = (shelf.device("region", BYTES), Arc::<Exchange>::default());
    let over = AtomicBool::new(false);
    std::thread::scope(|threads| {
        threads.spawn(|| {
            while !over.load(Ordering::SeqCst) {
                for guest in [10, 11, 12] {
                    exchange.ring(guest);
                }
                std::thread::sleep(Duration::from_micros(300));
            }
        });
        let rounds = AtomicU64::new(0);
        run(
            2,
            |rank| seated(rank, &device, &exchange),
            |world| with_pauses(world, |_| rounds.fetch_add(1, Ordering::SeqCst) > 60),
        );
        over.store(true, Ordering::SeqCst);
    });
}
