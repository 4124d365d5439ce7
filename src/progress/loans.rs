//! Messages out of memory that the receiver can read: lent by the sender, copied by the receiver.

use super::{Engine, LOAN_MIN, Outgoing};
use crate::link::lend::Wanted;

/// Bytes copied before the next look at what else there is.
const BUDGET: usize = 4 << 20;
/// Bytes copied at a time.
const PIECE: usize = 1 << 20;

impl Engine {
    /// Lets a send say where its bytes are, if its peer can read them there.
    #[inline]
    pub(super) fn lend(&mut self, peer: u32, buffer: &mut Outgoing) {
        if let Some(range) = buffer.range()
            && range.1 >= LOAN_MIN
            && peer != self.me
            && peer < self.size()
            && let Some(lent) = self.links.lend(peer, range)
        {
            buffer.lend(lent);
        }
    }

    /// Copies what peers have lent, within a budget; asks for what cannot be copied.
    pub(super) fn take_loans(&mut self) -> bool {
        let mut left = BUDGET;
        let mut moved = false;
        while left > 0
            && let Some(due) = self.endpoint.due()
        {
            let len = due.wanted.min(PIECE);
            let (name, offset) = (due.loan.name, due.loan.offset);
            let wanted = Wanted { name, offset, total: due.total, at: due.at, len };
            match self.links.borrow(due.peer, &wanted) {
                Some(bytes) => self.endpoint.borrowed(due.key, &bytes),
                None => self.endpoint.decline(due.key),
            }
            left = left.saturating_sub(len);
            moved = true;
            if self.endpoint.has_work(due.peer) {
                self.push(due.peer);
            }
        }
        moved
    }
}
