//! The running result of a reduction at one rank.
//!
//! The first operand stays in the user's send buffer: what arrives is received into the place of the result
//! and the operand is reduced into it, so that the usual case copies nothing and needs no scratch buffer.

use super::{Schedule, Slice};
use std::ops::Range;

/// What reductions need to know of their vector.
#[derive(Clone, Copy, Debug)]
pub struct Operands {
    /// Length of the vector in bytes, a multiple of `element_size`.
    pub bytes: usize,
    /// Length of an element in bytes; vectors are cut between elements only.
    pub element_size: usize,
    /// Whether the operation commutes. If not, operands are combined in the order of ranks.
    pub commutative: bool,
    /// Whether the operand is taken from the receive buffer (`MPI_IN_PLACE`).
    pub in_place: bool,
}

/// Where the value so far is, and where the result belongs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Accumulator {
    /// The value so far; only ever read unless it is at home.
    value: Slice,
    /// Where the result goes; reserved in the scratch buffer when first needed, if not given.
    home: Option<Slice>,
    /// Room for one message of the same length, reserved when first needed.
    room: Option<Slice>,
}

impl Accumulator {
    /// `operand` is this rank's own. The result goes to `home`; `None` at ranks that only help.
    pub(super) fn new(operand: Slice, home: Option<Slice>) -> Accumulator {
        Accumulator { value: operand, home, room: None }
    }

    /// The value so far.
    pub(super) fn value(&self) -> Slice {
        self.value
    }

    /// Bytes of the whole vector.
    pub(super) fn len(&self) -> usize {
        self.value.len
    }

    /// Where the result belongs.
    pub(super) fn home(&mut self, schedule: &mut Schedule) -> Slice {
        *self.home.get_or_insert_with(|| schedule.scratch(self.value.len))
    }

    /// Copies the value home if it is not there yet.
    pub(super) fn settle(&mut self, schedule: &mut Schedule) {
        let home = self.home(schedule);
        schedule.copy(self.value, home);
        self.value = home;
    }

    /// Notes that the value is in `home` now, put there by steps of the caller's own.
    pub(super) fn settled(&mut self, home: Slice) {
        self.value = home;
        self.home = Some(home);
    }

    /// Receives the value from `peer`, in place of this rank's own.
    pub(super) fn replace(&mut self, schedule: &mut Schedule, peer: u32) {
        let home = self.home(schedule);
        schedule.recv(peer, home);
        schedule.wait();
        self.value = home;
    }

    /// Receives a vector from `peer` and combines it. `peer_left`: the peer's is the left operand.
    pub(super) fn absorb(&mut self, schedule: &mut Schedule, peer: u32, peer_left: bool) {
        self.exchange(schedule, peer, 0..0, 0..self.value.len, peer_left);
    }

    /// Sends the bytes `give` to `peer` and combines what comes from it with the bytes `keep`. Only those
    /// hold the value afterwards.
    pub(super) fn exchange(
        &mut self,
        schedule: &mut Schedule,
        peer: u32,
        give: Range<usize>,
        keep: Range<usize>,
        peer_left: bool,
    ) {
        let give = self.value.part(give.start, give.len());
        self.shift(schedule, (peer, give), (peer, keep), peer_left);
        self.value = self.home(schedule);
    }

    /// Like `exchange`, with two peers, and the value of all other bytes stays where it is: one step of a
    /// ring, in which each part is combined once.
    pub(super) fn shift(
        &mut self,
        schedule: &mut Schedule,
        (to, give): (u32, Slice),
        (from, keep): (u32, Range<usize>),
        peer_left: bool,
    ) {
        let home = self.home(schedule);
        schedule.send(to, give);
        let mine = self.value.part(keep.start, keep.len());
        let result = home.part(keep.start, keep.len());
        if self.value == home {
            let arrived = self.room(schedule, keep.len());
            schedule.recv(from, arrived);
            schedule.wait();
            schedule.reduce(arrived, result, peer_left);
        } else {
            schedule.recv(from, result);
            schedule.wait();
            schedule.reduce(mine, result, !peer_left);
        }
    }

    fn room(&mut self, schedule: &mut Schedule, len: usize) -> Slice {
        match self.room {
            Some(room) if room.len >= len => room.part(0, len),
            _ => {
                let room = schedule.scratch(len);
                self.room = Some(room);
                room
            }
        }
    }
}
