//! What a collective asks of its executor: a list of posts, waits, copies and reductions for one rank.
//!
//! Contract between builder and executor:
//! * Steps run in order. `Send` and `Recv` post and return; `Copy` and `Reduce` are done when passed.
//! * `Wait` completes everything posted so far. A finished schedule never ends with posts outstanding.
//! * All messages of one collective call carry the same tag, so messages of a pair match in posting
//!   order; builders emit them in the same order on both sides.
//! * No step touches bytes that an outstanding `Recv` will write, nor writes bytes that an outstanding
//!   `Send` still reads. `from` and `into` of one step never overlap. So an executor may read straight
//!   from, and receive straight into, the buffers.
//! * Nobody sends to itself. A message of length zero appears only as a signal (barrier).
//! * `Reduce` covers whole elements, at offsets that are a multiple of the element size from the start
//!   of the user's buffer, or from a 64-byte boundary of the scratch buffer. An executor whose scratch
//!   buffer is aligned to 64 bytes therefore sees aligned elements only.

/// The three buffers a step may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Buf {
    /// The user's send buffer, only ever read. Never named when the call is in place.
    Send,
    /// The user's receive buffer. Also the one buffer of a broadcast.
    Recv,
    /// One buffer of `Schedule::scratch_len` bytes, aligned to `SCRATCH_ALIGN`, content undefined.
    Scratch,
}

/// Boundary, in bytes, on which the executor places the scratch buffer, and builders their parts of it.
pub const SCRATCH_ALIGN: usize = 64;

/// A range of bytes of one buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    /// Which buffer.
    pub buf: Buf,
    /// First byte.
    pub offset: usize,
    /// Number of bytes.
    pub len: usize,
}

impl Slice {
    /// `len` bytes of `buf` from `offset` on.
    pub fn new(buf: Buf, offset: usize, len: usize) -> Slice {
        Slice { buf, offset, len }
    }

    /// The empty slice, sent as a signal.
    pub fn empty() -> Slice {
        Slice::new(Buf::Scratch, 0, 0)
    }

    /// `len` bytes from `offset` bytes after the start of this slice. The caller keeps inside.
    pub fn part(self, offset: usize, len: usize) -> Slice {
        debug_assert!(offset + len <= self.len, "part {offset}+{len} of {self:?}");
        Slice::new(self.buf, self.offset + offset, len)
    }

    /// Whether the two have a byte in common.
    pub fn overlaps(self, other: Slice) -> bool {
        self.buf == other.buf
            && self.len > 0
            && other.len > 0
            && self.offset < other.offset + other.len
            && other.offset < self.offset + self.len
    }
}

/// One step of one rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Post a send of `from` to `peer`, a rank of the communicator.
    Send {
        /// Destination rank.
        peer: u32,
        /// Bytes to send; unchanged until the next `Wait`.
        from: Slice,
    },
    /// Post a receive of exactly `into.len` bytes from `peer`.
    Recv {
        /// Source rank.
        peer: u32,
        /// Where the bytes go; untouched by others until the next `Wait`.
        into: Slice,
    },
    /// Everything posted so far completes: the end of a round.
    Wait,
    /// Copy bytes; both have the same length and do not overlap.
    Copy {
        /// Source.
        from: Slice,
        /// Destination.
        into: Slice,
    },
    /// `into = from op into` when `from_left`, else `into = into op from`, element by element.
    Reduce {
        /// The operand that is only read.
        from: Slice,
        /// The operand that is replaced by the result.
        into: Slice,
        /// Whether `from` is the left operand; matters when the operation does not commute.
        from_left: bool,
    },
}

/// The steps of one rank in one collective call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schedule {
    /// In order of execution.
    pub steps: Vec<Step>,
    /// Bytes of scratch buffer that the steps name.
    pub scratch_len: usize,
    /// Posts since the last wait.
    outstanding: usize,
}

impl Schedule {
    /// An empty schedule.
    pub fn new() -> Schedule {
        Schedule::default()
    }

    /// Empties the schedule and keeps its allocation, so that building the next small one allocates nothing.
    pub fn clear(&mut self) {
        self.steps.clear();
        self.scratch_len = 0;
        self.outstanding = 0;
    }

    /// Sends and receives posted since the last wait; 0 in a finished schedule.
    pub fn outstanding(&self) -> usize {
        self.outstanding
    }

    /// The largest number of sends and receives that are in flight at once.
    pub fn most_outstanding(&self) -> usize {
        let (mut now, mut most) = (0, 0);
        for step in &self.steps {
            match step {
                Step::Send { .. } | Step::Recv { .. } => now += 1,
                Step::Wait => now = 0,
                Step::Copy { .. } | Step::Reduce { .. } => {}
            }
            most = most.max(now);
        }
        most
    }

    /// Number of rounds: each is a point where this rank may have to be scheduled again.
    pub fn rounds(&self) -> usize {
        self.steps.iter().filter(|step| matches!(step, Step::Wait)).count()
    }

    /// Posts a send, unless there is nothing to send.
    pub(super) fn send(&mut self, peer: u32, from: Slice) {
        if from.len > 0 {
            self.post(Step::Send { peer, from });
        }
    }

    /// Posts a receive, unless there is nothing to receive.
    pub(super) fn recv(&mut self, peer: u32, into: Slice) {
        if into.len > 0 {
            self.post(Step::Recv { peer, into });
        }
    }

    /// Posts an empty message, which says only that this rank came here.
    pub(super) fn signal(&mut self, peer: u32) {
        self.post(Step::Send { peer, from: Slice::empty() });
    }

    /// Posts the receive of an empty message.
    pub(super) fn await_signal(&mut self, peer: u32) {
        self.post(Step::Recv { peer, into: Slice::empty() });
    }

    fn post(&mut self, step: Step) {
        self.outstanding += 1;
        self.steps.push(step);
    }

    /// Ends the round, if anything was posted in it.
    pub(super) fn wait(&mut self) {
        if self.outstanding > 0 {
            self.outstanding = 0;
            self.steps.push(Step::Wait);
        }
    }

    /// Copies, unless the bytes are already there.
    pub(super) fn copy(&mut self, from: Slice, into: Slice) {
        debug_assert_eq!(from.len, into.len);
        if from.len > 0 && from != into {
            self.steps.push(Step::Copy { from, into });
        }
    }

    /// Reduces, unless there are no elements.
    pub(super) fn reduce(&mut self, from: Slice, into: Slice, from_left: bool) {
        debug_assert_eq!(from.len, into.len);
        if from.len > 0 {
            self.steps.push(Step::Reduce { from, into, from_left });
        }
    }

    /// Reserves `len` bytes of scratch buffer, on a `SCRATCH_ALIGN` boundary.
    pub(super) fn scratch(&mut self, len: usize) -> Slice {
        let offset = self.scratch_len.next_multiple_of(SCRATCH_ALIGN);
        self.scratch_len = offset + len;
        Slice::new(Buf::Scratch, offset, len)
    }
}
