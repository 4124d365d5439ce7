//! Sends, receives and probes as the engine takes them: begun, asked after, withdrawn, waited for.

use super::{COLLECT_EVERY, Engine, Incoming, Outgoing, Ways, ways};
use crate::proto::{Error, Key, Mode, Pattern, Received, Taken};

impl Engine {
    /// Sends a short message at once, if that is possible. False when [`Engine::send`] is to be
    /// used.
    ///
    /// # Errors
    /// When the peer does not exist.
    #[inline]
    pub fn send_now(
        &mut self,
        peer: u32,
        context: u32,
        tag: i32,
        bytes: &[u8],
    ) -> Result<bool, Error> {
        let done = self.endpoint.send_now(peer, context, tag, bytes, ways!(self))?;
        if done {
            let kept = self.endpoint.kept(peer).0;
            if kept.is_multiple_of(COLLECT_EVERY) {
                self.collect(peer);
            }
            if self.endpoint.has_work(peer) {
                // It waits behind something: now, since the caller may not come back soon.
                self.push(peer);
            }
        }
        Ok(done)
    }

    /// Begins a send.
    ///
    /// # Errors
    /// When the peer does not exist or is gone.
    pub fn send(
        &mut self,
        peer: u32,
        context: u32,
        tag: i32,
        mode: Mode,
        mut buffer: Outgoing,
    ) -> Result<Key, Error> {
        self.lend(peer, &mut buffer);
        let key = self.endpoint.send(peer, context, tag, mode, buffer)?;
        if peer != self.me {
            self.push(peer);
        }
        Ok(key)
    }

    /// Posts a receive.
    ///
    /// # Errors
    /// When the source does not exist, or is gone and nothing of it waits.
    #[inline]
    pub fn receive(&mut self, pattern: Pattern, buffer: Incoming) -> Result<Key, Error> {
        let waiting = self.endpoint.unexpected_len();
        let key = self.endpoint.receive(pattern, buffer)?;
        if self.endpoint.unexpected_len() != waiting {
            // A waiting message was taken: its sender may be owed an answer.
            if self.endpoint.any_due() {
                self.take_loans();
            }
            self.push_answers();
        } else if let Some(peer) = pattern.source
            && peer != self.me
            && self.links.is_stranger(peer)
        {
            self.strangers.push(peer);
        }
        Ok(key)
    }

    /// The message that a receive with this pattern would take.
    #[must_use]
    pub fn probe(&self, pattern: &Pattern) -> Option<Received> {
        self.endpoint.probe(pattern)
    }

    /// Whether a probe with this pattern can only fail.
    #[must_use]
    pub fn probe_hopeless(&self, pattern: &Pattern) -> Option<Error> {
        self.endpoint.probe_hopeless(pattern)
    }

    /// Takes a waiting message out of matching.
    pub fn take(&mut self, pattern: &Pattern) -> Option<(Received, Taken)> {
        self.endpoint.take(pattern)
    }

    /// Receives a message that was taken.
    ///
    /// # Errors
    /// When its sender was lost.
    pub fn receive_taken(&mut self, taken: Taken, buffer: Incoming) -> Result<Key, Error> {
        let key = self.endpoint.receive_taken(taken, buffer)?;
        if self.endpoint.any_due() {
            self.take_loans();
        }
        self.push_answers();
        Ok(key)
    }

    /// The outcome of a send, if it is complete.
    #[inline]
    pub fn test_send(&mut self, key: Key) -> Option<Result<(), Error>> {
        self.endpoint.test_send(key)
    }

    /// The outcome of a receive, if it is complete.
    #[inline]
    pub fn test_receive(&mut self, key: Key) -> Option<Result<Received, Error>> {
        self.endpoint.test_receive(key)
    }

    /// Whether a send is complete.
    #[must_use]
    pub fn send_is_done(&self, key: Key) -> bool {
        self.endpoint.send_is_done(key)
    }

    /// Whether a receive is complete.
    #[must_use]
    pub fn receive_is_done(&self, key: Key) -> bool {
        self.endpoint.receive_is_done(key)
    }

    /// Forgets a send whose buffer is about to go; the peer may never get all of it.
    pub fn abandon_send(&mut self, key: Key) {
        self.endpoint.abandon_send(key);
    }

    /// Forgets a receive whose buffer is about to go.
    pub fn abandon_receive(&mut self, key: Key) {
        self.endpoint.abandon_receive(key);
    }

    /// Withdraws a receive; it completes either way.
    pub fn cancel_receive(&mut self, key: Key) {
        self.endpoint.cancel_receive(key);
    }

    /// Asks to withdraw a send; it completes either way.
    pub fn cancel_send(&mut self, key: Key) {
        self.endpoint.cancel_send(key);
        self.push_answers();
    }

    /// Waits for a send.
    ///
    /// # Errors
    /// Those of the send.
    #[inline]
    pub fn wait_send(&mut self, key: Key) -> Result<(), Error> {
        self.wait_until(|engine| engine.endpoint.test_send(key))
    }

    /// Waits for a receive.
    ///
    /// # Errors
    /// Those of the receive.
    #[inline]
    pub fn wait_receive(&mut self, key: Key) -> Result<Received, Error> {
        self.wait_until(|engine| engine.endpoint.test_receive(key))
    }
}
