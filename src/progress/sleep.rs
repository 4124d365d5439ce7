//! Sleeping, and what ends it: a futex on this machine, else sockets and interrupts together.

use std::time::{Duration, Instant};

use super::Engine;
use crate::doorbell::Policy;

impl Engine {
    /// Sleeps until a peer rings, a socket has something, or the time is over. True when a socket
    /// had something; what is in the rings is for the next pass to see.
    #[cold]
    pub(super) fn sleep(&mut self, longest: Duration) -> bool {
        self.links.tally.sleeps.add(1);
        self.meet_strangers();
        self.links.acknowledge_all();
        self.links.flush(&mut self.net);
        let sockets =
            self.links.tcp_peers() > 0 || self.links.unsettled() || self.links.inputs.is_empty();
        let (share, net) = (self.links.share(), &self.net);
        let sleeper = share.take_sleeper();
        share.watch_by(|fd| net.watch(fd).is_ok());
        let Some(mut sleeper) = sleeper else {
            return self.poll_net(longest, Instant::now());
        };
        let by_interrupt = sleeper.has_far() && share.bells_work();
        sleeper.set_policy(if by_interrupt {
            Policy::Interrupt
        } else {
            Policy::choose(self.links.inputs.len(), sockets)
        });
        let by_futex = sleeper.policy() == Policy::Futex;
        let armed = sleeper.arm();
        let mut moved = false;
        if self.any_ring_ready() {
            drop(armed);
        } else if by_futex {
            // A futex that fails is a nap that ends at once; the loop above goes on.
            let _ = armed.sleep_or(self.kick.as_deref(), longest);
        } else {
            let before = self.links.share().times_rung();
            moved = self.poll_net(longest, Instant::now());
            drop(armed);
            let quiet = !moved && self.links.share().times_rung() == before;
            if by_interrupt && quiet && self.any_ring_ready() {
                self.links.share().slept_through();
            }
        }
        self.links.share().put_back(sleeper);
        self.net_due.soon();
        moved
    }

    fn any_ring_ready(&self) -> bool {
        self.links.inputs.iter().any(|input| input.consumer.ready())
    }

    /// How this rank waits, for people.
    #[must_use]
    pub fn waiting(&self) -> String {
        let bells = self.links.bells();
        let divided = if bells.is_empty() { "" } else { "; " };
        format!("{}{divided}{bells}", self.waiter.describe())
    }

    /// Makes contact with those a receive waits for: without a connection nothing would tell that
    /// they died. Only before a sleep, since most of them speak first.
    fn meet_strangers(&mut self) {
        while let Some(peer) = self.strangers.pop() {
            if let Err(why) = self.links.contact(peer, &mut self.net) {
                self.lose(peer, &why, false);
            }
        }
    }
}
