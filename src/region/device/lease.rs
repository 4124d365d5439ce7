//! Leases on the slots of a device: who has which, and who is gone.
//!
//! A lease is a line with its owner's random epoch (0: free) and a counter that the owner keeps
//! counting up, by a thread of its own, so that a rank that computes for an hour keeps its slot.
//! A slot is taken by one compare-and-swap of the epoch, from 0 or from that of an owner whose
//! counter stood still for the whole lease time under our own eyes. It is given back by another,
//! from our epoch to 0, when the last window onto the section is gone.
//!
//! Seeming dead is not being dead: an owner that was suspended for longer wakes up, finds another
//! epoch in its line, and knows that its section is no longer its own ([`Lease::is_lost`]). What
//! it wrote in between is for its successor's peers what anything of a peer's is: untrusted.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

use super::DeviceError;
use super::layout::{BEAT, BELL, CLAIM_OFFSET, DeviceLayout, EPOCH, LeaseTime, PULSE_OFFSET};
use super::patience::Patience;
use crate::region::access::{Held, LINE, Local};
use crate::region::layout::MAGIC_OFFSET;

/// The lease on a slot of ours.
#[derive(Debug)]
pub(crate) struct Lease {
    /// The device's header page and this slot's line in the table behind it.
    page: Local,
    line: Local,
    claim: u64,
    epoch: u64,
    lost: AtomicBool,
    stopped: Mutex<bool>,
    stop: Condvar,
}

impl Lease {
    /// Whether the slot is somebody else's by now, or the whole device is. Sticky.
    pub(crate) fn is_lost(&self) -> bool {
        if self.lost.load(Ordering::Relaxed) {
            return true;
        }
        let ours = self.line.load_u64(EPOCH) == self.epoch
            && self.page.load_u64(CLAIM_OFFSET) == self.claim;
        if !ours {
            self.lost.store(true, Ordering::Relaxed);
        }
        !ours
    }

    /// Shows that we live. Adding leaves a changed word even where a suspended owner and its
    /// successor both write it.
    fn beat(&self) -> bool {
        if self.is_lost() {
            return false;
        }
        self.line.add_u64(BEAT, 1);
        self.page.add_u64(PULSE_OFFSET, 1);
        true
    }

    fn beat_until_stopped(&self, every: std::time::Duration) {
        let mut stopped = self.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        while !*stopped && self.beat() {
            stopped =
                self.stop.wait_timeout(stopped, every).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// Keeps a lease alive until the last window onto its section is dropped, then gives it back.
#[derive(Debug)]
pub(super) struct Guard {
    lease: Arc<Lease>,
    /// The section in the slot.
    section: Local,
    heart: Option<JoinHandle<()>>,
    process: u32,
}

impl Held for Guard {}

impl Guard {
    /// Starts the heart of a slot that was just taken.
    pub(super) fn start(
        page: Local,
        line: Local,
        section: Local,
        (claim, epoch): (u64, u64),
        time: LeaseTime,
    ) -> io::Result<Self> {
        let lease = Arc::new(Lease {
            page,
            line,
            claim,
            epoch,
            lost: AtomicBool::new(false),
            stopped: Mutex::new(false),
            stop: Condvar::new(),
        });
        // From here on the slot is given back whatever happens.
        let mut guard =
            Self { lease: Arc::clone(&lease), section, heart: None, process: std::process::id() };
        let heart = std::thread::Builder::new()
            .name("cohost-lease".to_owned())
            // It does next to nothing, and small guests have many ranks.
            .stack_size(64 * 1024)
            .spawn(move || lease.beat_until_stopped(time.beat()))?;
        guard.heart = Some(heart);
        Ok(guard)
    }

    pub(super) fn lease(&self) -> Arc<Lease> {
        Arc::clone(&self.lease)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if std::process::id() != self.process {
            // A forked child inherits this value, but neither the thread nor the lease.
            return;
        }
        *self.lease.stopped.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.lease.stop.notify_all();
        if let Some(heart) = self.heart.take() {
            let _ = heart.join();
        }
        if self.lease.is_lost() {
            return;
        }
        // What is left behind is no section any more.
        self.section.store_u64(MAGIC_OFFSET, 0);
        // Fails when the slot was taken from us, and then is not ours to give.
        let _ = self.lease.line.exchange_u64(EPOCH, self.lease.epoch, 0);
    }
}

/// What was seen of a slot that somebody has.
#[derive(Clone, Copy)]
struct Sight {
    epoch: u64,
    beat: u64,
    alive: bool,
}

/// The slots of a device, for whoever wants one. `device` is a window onto all of it.
#[derive(Debug)]
pub(super) struct Table<'a> {
    device: &'a Local,
    layout: &'a DeviceLayout,
}

impl<'a> Table<'a> {
    pub(super) fn new(device: &'a Local, layout: &'a DeviceLayout) -> Self {
        Self { device, layout }
    }

    /// The line of a slot.
    pub(super) fn line(&self, slot: u32) -> Result<Local, DeviceError> {
        let offset = self.layout.lease_offset(slot).map_err(crate::region::RegionError::from)?;
        Ok(self.device.sub(offset, LINE))
    }

    /// Takes a slot for `epoch`: a free one at once, otherwise one whose owner does not move for
    /// the lease time.
    pub(super) fn take(
        &self,
        epoch: u64,
        time: LeaseTime,
        place: &str,
    ) -> Result<u32, DeviceError> {
        let lines: Vec<Local> =
            (0..self.layout.slots()).map(|slot| self.line(slot)).collect::<Result<_, _>>()?;
        let mut sights: Vec<Option<Sight>> = vec![None; lines.len()];
        let mut patience = Patience::new(time.span());
        loop {
            for (slot, (line, sight)) in (0..).zip(lines.iter().zip(&mut sights)) {
                let found = line.load_u64(EPOCH);
                if found == 0 && taken(line, 0, epoch) {
                    return Ok(slot);
                }
                look(line, sight);
            }
            let all_live = sights.iter().flatten().filter(|sight| sight.alive).count();
            if all_live == lines.len() || !patience.wait() {
                break;
            }
        }
        for (slot, (line, sight)) in (0..).zip(lines.iter().zip(sights)) {
            // One more look: the last was a step ago.
            if let Some(sight) = sight
                && !sight.alive
                && line.load_u64(BEAT) == sight.beat
                && taken(line, sight.epoch, epoch)
            {
                return Ok(slot);
            }
        }
        Err(DeviceError::Full { place: place.to_owned(), slots: self.layout.slots() })
    }
}

/// Notes whether the owner of a slot has moved since the slot was seen first.
fn look(line: &Local, sight: &mut Option<Sight>) {
    // The counter after the epoch: a successor's counter is not taken for its predecessor's.
    let (epoch, beat) = (line.load_u64(EPOCH), line.load_u64(BEAT));
    match sight {
        Some(seen) => seen.alive |= (epoch, beat) != (seen.epoch, seen.beat),
        None => {
            *sight = Some(Sight { epoch, beat, alive: false });
        }
    }
}

/// Takes a slot from `old`, if nobody was faster.
fn taken(line: &Local, old: u64, epoch: u64) -> bool {
    if line.exchange_u64(EPOCH, old, epoch).is_err() {
        return false;
    }
    // Whoever watches sees us move at once.
    line.add_u64(BEAT, 1);
    line.store_u64(BELL, 0);
    true
}
