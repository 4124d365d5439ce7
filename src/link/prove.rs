//! The proof that two ranks share memory, as a small state machine without I/O.
//!
//! Each side leaves a fresh random challenge in its own section and offers that section over TCP.
//! The other side maps it, reads the challenge and echoes it over TCP. Who gets its own challenge
//! back knows that the peer reads the very memory it wrote; who has also read the peer's knows it
//! both ways, and says so (`Ready`). The ring is used once both have said it. Identifiers prove
//! nothing here: a clone or a copied region answers with an old challenge, or none.

use std::time::{Duration, Instant};

/// How long the memory that a peer has offered may take to come before TCP is used.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing yet.
    Wait,
    /// Tell the peer that we read from the ring from now on.
    SayReady,
    /// Both are ready.
    Use,
    /// The peer's answer was wrong.
    Refuse(&'static str),
}

/// A proof under way.
#[derive(Debug)]
pub struct Proof {
    challenge: [u8; 16],
    deadline: Option<Instant>,
    read_theirs: bool,
    read_ours: bool,
    said_ready: bool,
    heard_ready: bool,
}

impl Proof {
    /// Begins, with a challenge that was never used before.
    #[must_use]
    pub fn new(challenge: [u8; 16]) -> Self {
        Self {
            challenge,
            deadline: None,
            read_theirs: false,
            read_ours: false,
            said_ready: false,
            heard_ready: false,
        }
    }

    /// What the peer must find in our section.
    #[must_use]
    pub fn challenge(&self) -> &[u8; 16] {
        &self.challenge
    }

    /// Whether memory that was offered has not come for too long; the first call starts the clock.
    /// A peer that says nothing is waited for: it may compute, or be stopped, for any time, and its
    /// connection tells when it died.
    pub fn overdue(&mut self, now: Instant) -> bool {
        now >= *self.deadline.get_or_insert(now + DEADLINE)
    }

    /// We mapped the peer's section and echoed its challenge.
    pub fn read_theirs(&mut self) -> Next {
        self.read_theirs = true;
        self.next()
    }

    /// The peer echoed this.
    pub fn echoed(&mut self, nonce_untrusted: &[u8; 16]) -> Next {
        if *nonce_untrusted != self.challenge {
            return Next::Refuse("the challenge came back wrong: the memory is not the same");
        }
        self.read_ours = true;
        self.next()
    }

    /// The peer says that it is ready.
    pub fn heard_ready(&mut self) -> Next {
        if self.heard_ready {
            return Next::Refuse("the peer was ready twice");
        }
        self.heard_ready = true;
        self.next()
    }

    fn next(&mut self) -> Next {
        if self.read_theirs && self.read_ours && !self.said_ready {
            self.said_ready = true;
            return Next::SayReady;
        }
        self.settled()
    }

    /// After [`Next::SayReady`] was carried out: whether the peer was ready before us.
    pub fn settled(&self) -> Next {
        if self.said_ready && self.heard_ready { Next::Use } else { Next::Wait }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proof() -> Proof {
        Proof::new([7; 16])
    }

    #[test]
    fn the_ring_is_used_after_both_read_and_both_said_so_in_any_order() {
        let mut orders = vec![[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
        for order in orders.drain(..) {
            let mut proof = proof();
            let mut used = 0;
            let mut said = 0;
            for event in order {
                let next = match event {
                    0 => proof.read_theirs(),
                    1 => proof.echoed(&[7; 16]),
                    _ => proof.heard_ready(),
                };
                let next = if next == Next::SayReady {
                    said += 1;
                    proof.settled()
                } else {
                    next
                };
                used += usize::from(next == Next::Use);
            }
            assert_eq!((said, used), (1, 1), "{order:?}");
        }
    }

    #[test]
    fn a_wrong_echo_is_refused() {
        assert!(matches!(proof().echoed(&[8; 16]), Next::Refuse(_)));
    }

    #[test]
    fn memory_that_never_comes_is_not_waited_for_without_end() {
        let now = Instant::now();
        let mut proof = proof();
        assert!(!proof.overdue(now));
        assert!(!proof.overdue(now + DEADLINE / 2));
        assert!(proof.overdue(now + DEADLINE));
    }

    #[test]
    fn a_peer_that_is_busy_for_long_before_it_offers_anything_is_waited_for() {
        let late = Instant::now() + 100 * DEADLINE;
        assert!(!proof().overdue(late), "only the offer starts the clock");
    }
}
