//! Messages that the receiver reads in the sender's memory: lent to peers whose frames go through a
//! ring in memory of this kernel, and borrowed from those.

use super::Links;
use super::control::Control;
pub use super::share::{Lent, Wanted};
use crate::frame::Payload;
use crate::region::access::Remote;

/// Bytes of a message in its sender's memory. They can only be copied.
#[derive(Debug)]
pub struct Lendable(Remote);

impl Payload for Lendable {
    #[inline]
    fn len(&self) -> usize {
        self.0.len()
    }

    #[inline]
    fn copy_to(&self, offset: usize, into: &mut [u8]) {
        self.0.copy_out(offset, into);
    }
}

impl Links {
    /// Lends bytes to a peer, if it can read them where they are.
    pub fn lend(&mut self, peer: u32, bytes: (*const u8, usize)) -> Option<Lent> {
        if !self.is_ring(peer) {
            return None;
        }
        self.share.lend(peer, &self.cards[peer as usize], bytes)
    }

    /// What a peer lends, if it is there and as long as it says.
    pub fn borrow(&mut self, peer: u32, wanted: &Wanted) -> Option<Lendable> {
        if !self.is_ring(peer) {
            return None;
        }
        self.share.borrow(peer, wanted).map(Lendable)
    }

    /// Tells those who have it what memory of ours is gone. Cheap when there is nothing to tell.
    pub fn say_returned(&mut self) {
        for (peer, name) in self.share.returned() {
            self.say(peer, &Control::Return(name));
        }
    }
}
