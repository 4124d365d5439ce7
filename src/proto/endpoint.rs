//! The endpoint: its peers, its tables, and what the outside calls.

use std::collections::VecDeque;
use std::sync::Arc;

use super::loan::Lent;
use super::matching::Matcher;
use super::receiving::{Open, Receive, ReceiveState, Unexpected};
use super::sending::{Send, SendState};
use super::stream::{Kept, Receiving, Sending};
use super::{
    Config, Error, Fault, Key, Limits, Mode, Offer, Pattern, ReceiveBuffer, Received, SendBuffer,
    Slots, Taken, control,
};
use crate::frame::{Header, Kind, Payload};
use crate::tally::Tally;

/// The paths to all peers, as the endpoint sees them.
pub trait Paths {
    /// How the path to this peer wants messages cut.
    fn limits(&self, peer: u32) -> Limits;
    /// Offers a frame to the path. See [`Offer`].
    fn offer(&mut self, peer: u32, header: &Header, payload: &[u8]) -> Offer;
}

/// Everything about one peer.
#[derive(Debug, Default)]
pub(super) struct Peer {
    pub(super) sending: Sending,
    pub(super) receiving: Receiving,
    /// Sends not begun, in order.
    pub(super) waiting: VecDeque<Key>,
    /// The send whose head is being cut into frames.
    pub(super) opening: Option<Key>,
    /// Rendezvous sends whose rest was asked for.
    pub(super) streams: VecDeque<Key>,
    /// It was a stream's turn last.
    pub(super) stream_last: bool,
    /// The peer asked for headers only.
    pub(super) throttled: bool,
    /// We asked the peer for headers only.
    pub(super) throttling: bool,
    /// What of this peer's waits unexpected.
    pub(super) unexpected_bytes: usize,
    pub(super) unexpected_count: usize,
    /// The message that `More` goes on with.
    pub(super) open: Option<Open>,
    /// The receive matched by a message whose first frame is still arriving, and its number.
    pub(super) early: Option<(u32, Key)>,
    pub(super) lost: Option<Arc<str>>,
}

/// One rank's side of the protocol. `S` and `R` are the buffers of sends and receives.
#[derive(Debug)]
pub struct Endpoint<S, R> {
    pub(super) rank: u32,
    pub(super) config: Config,
    pub(super) peers: Vec<Peer>,
    pub(super) sends: Slots<Send<S>>,
    pub(super) receives: Slots<Receive<R>>,
    pub(super) unexpected: Slots<Unexpected>,
    pub(super) matcher: Matcher,
    /// Receives of lent messages.
    pub(super) lent: Lent,
    /// Some peer failed, so that a receive from anyone may wait for ever.
    pub(super) failure: Option<(u32, Arc<str>)>,
    pub(super) tally: Arc<Tally>,
}

impl<S: SendBuffer, R: ReceiveBuffer> Endpoint<S, R> {
    /// The endpoint of `rank` among `size`.
    #[must_use]
    pub fn new(rank: u32, size: u32, config: Config) -> Self {
        Self {
            rank,
            config,
            peers: (0..size).map(|_| Peer::default()).collect(),
            sends: Slots::default(),
            receives: Slots::default(),
            unexpected: Slots::default(),
            matcher: Matcher::default(),
            lent: Lent::default(),
            failure: None,
            tally: Arc::default(),
        }
    }

    /// What is counted.
    #[must_use]
    pub fn tally(&self) -> &Arc<Tally> {
        &self.tally
    }

    /// Number of ranks.
    #[must_use]
    pub fn size(&self) -> u32 {
        self.peers.len() as u32
    }

    /// Sends a short message at once if nothing stands before it: the way of most messages. False
    /// when [`Endpoint::send`] must be used instead.
    ///
    /// # Errors
    /// When the peer does not exist or is lost.
    #[inline]
    pub fn send_now(
        &mut self,
        peer: u32,
        context: u32,
        tag: i32,
        bytes: &[u8],
        paths: &mut impl Paths,
    ) -> Result<bool, Error> {
        if peer == self.rank {
            return Ok(false);
        }
        let config = &self.config;
        let Some(to) = self.peers.get_mut(peer as usize) else {
            return Err(self.no_such_rank(peer));
        };
        let limits = paths.limits(peer);
        if to.lost.is_some()
            || to.throttled
            || bytes.len() > limits.eager_max.min(limits.piece(bytes.len()))
            || to.opening.is_some()
            || !to.waiting.is_empty()
            || !has_room(to, config)
        {
            return Ok(false);
        }
        let len = bytes.len() as u32;
        let header = Header {
            kind: Kind::Eager,
            context,
            tag,
            len,
            total: u64::from(len),
            ..Header::default()
        };
        let seq = to.sending.next() as u32;
        let offer = if to.sending.all_sent() {
            paths.offer(peer, &Header { seq, ..header }, bytes)
        } else {
            Offer::Later
        };
        // Kept after it was sent: a copy is off the message's way.
        let kept = if offer == Offer::Kept { Kept::Path } else { to.sending.copy_of(bytes) };
        to.sending.push(header, kept);
        if offer != Offer::Later {
            to.sending.mark_sent();
        }
        Ok(true)
    }

    /// Begins a send; [`Endpoint::pump`] moves it, [`Endpoint::test_send`] tells when it is
    /// complete.
    ///
    /// # Errors
    /// When the peer does not exist or is lost.
    pub fn send(
        &mut self,
        peer: u32,
        context: u32,
        tag: i32,
        mode: Mode,
        buffer: S,
    ) -> Result<Key, Error> {
        let Some(to) = self.peers.get(peer as usize) else {
            return Err(self.no_such_rank(peer));
        };
        if let Some(why) = &to.lost {
            return Err(Error::PeerLost { peer, why: Arc::clone(why) });
        }
        let key = self.sends.insert(Send::new(peer, context, tag, mode, buffer));
        if peer == self.rank {
            self.send_to_self(key);
        } else {
            self.peers[peer as usize].waiting.push_back(key);
        }
        Ok(key)
    }

    /// Posts a receive, or takes a message that waits for it.
    ///
    /// # Errors
    /// When the source does not exist, or is lost and nothing of it waits.
    pub fn receive(&mut self, pattern: Pattern, buffer: R) -> Result<Key, Error> {
        if let Some(source) = pattern.source
            && source as usize >= self.peers.len()
        {
            return Err(self.no_such_rank(source));
        }
        let waiting = self.matcher.take_waiting(&pattern);
        if waiting.is_none()
            && let Some(error) = self.hopeless(&pattern)
        {
            return Err(error);
        }
        let key = self.receives.insert(Receive { pattern, buffer, state: ReceiveState::Posted });
        match waiting {
            Some((envelope, number)) => self.adopt(key, envelope, Key(number)),
            None => self.matcher.post(pattern, key.0),
        }
        Ok(key)
    }

    /// Why a receive that matches nothing now never will.
    fn hopeless(&self, pattern: &Pattern) -> Option<Error> {
        match pattern.source {
            Some(peer) => {
                let why = self.peers[peer as usize].lost.as_ref()?;
                Some(Error::PeerLost { peer, why: Arc::clone(why) })
            }
            None => {
                let (peer, why) = self.failure.as_ref()?;
                Some(Error::PeerLost { peer: *peer, why: Arc::clone(why) })
            }
        }
    }

    /// The message that a receive with this pattern would take now (MPI 5.0, 3.8.1).
    #[must_use]
    pub fn probe(&self, pattern: &Pattern) -> Option<Received> {
        let (envelope, number) = self.matcher.peek_waiting(pattern)?;
        let len = self.unexpected.get(Key(number))?.total;
        Some(Received { envelope, len })
    }

    /// Takes the message that [`Endpoint::probe`] would find out of matching: only
    /// [`Endpoint::receive_taken`] gets it from then on (MPI 5.0, 3.8.2).
    pub fn take(&mut self, pattern: &Pattern) -> Option<(Received, Taken)> {
        let (envelope, number) = self.matcher.peek_waiting(pattern)?;
        let len = self.unexpected.get(Key(number))?.total;
        self.matcher.take_waiting(pattern);
        Some((Received { envelope, len }, Taken { envelope, waiting: Key(number) }))
    }

    /// Receives a message that was taken.
    ///
    /// # Errors
    /// When its sender was lost before all of it had come.
    pub fn receive_taken(&mut self, taken: Taken, buffer: R) -> Result<Key, Error> {
        let Taken { envelope, waiting } = taken;
        let peer = envelope.source;
        if self.unexpected.get(waiting).is_none() {
            let lost = self.peers.get(peer as usize).and_then(|from| from.lost.clone());
            let why = lost.unwrap_or_else(|| "the message was withdrawn".into());
            return Err(Error::PeerLost { peer, why });
        }
        let pattern =
            Pattern { context: envelope.context, source: Some(peer), tag: Some(envelope.tag) };
        let key = self.receives.insert(Receive { pattern, buffer, state: ReceiveState::Posted });
        self.adopt(key, envelope, waiting);
        Ok(key)
    }

    /// Whether a probe with this pattern can only fail.
    #[must_use]
    pub fn probe_hopeless(&self, pattern: &Pattern) -> Option<Error> {
        if let Some(source) = pattern.source
            && source as usize >= self.peers.len()
        {
            return Some(self.no_such_rank(source));
        }
        self.hopeless(pattern)
    }

    /// The outcome of a send that is complete; its key is stale from then on.
    #[inline]
    pub fn test_send(&mut self, key: Key) -> Option<Result<(), Error>> {
        match &self.sends.get(key)?.state {
            SendState::Done(_) => {}
            _ => return None,
        }
        match self.sends.remove(key)?.state {
            SendState::Done(outcome) => Some(outcome),
            _ => None,
        }
    }

    /// The outcome of a receive that is complete; its key is stale from then on.
    #[inline]
    pub fn test_receive(&mut self, key: Key) -> Option<Result<Received, Error>> {
        match &self.receives.get(key)?.state {
            ReceiveState::Done(_) => {}
            _ => return None,
        }
        match self.receives.remove(key)?.state {
            ReceiveState::Done(outcome) => Some(outcome),
            _ => None,
        }
    }

    /// Whether a send is complete (or its key stale), without taking the outcome.
    #[must_use]
    pub fn send_is_done(&self, key: Key) -> bool {
        self.sends.get(key).is_none_or(|send| matches!(send.state, SendState::Done(_)))
    }

    /// Whether a receive is complete (or its key stale), without taking the outcome.
    #[must_use]
    pub fn receive_is_done(&self, key: Key) -> bool {
        self.receives.get(key).is_none_or(|r| matches!(r.state, ReceiveState::Done(_)))
    }

    /// Offers the path to `peer` all frames there are, until it takes no more. True when it took
    /// any.
    pub fn pump(&mut self, peer: u32, paths: &mut impl Paths) -> bool {
        let mut moved = false;
        loop {
            match self.offer_next(peer, paths) {
                Some(Offer::Later) => return moved,
                Some(_) => moved = true,
                None if !self.number_next(peer, paths.limits(peer)) => return moved,
                None => {}
            }
        }
    }

    /// Offers the next numbered frame; `None` when all were taken.
    fn offer_next(&mut self, peer: u32, paths: &mut impl Paths) -> Option<Offer> {
        let to = self.peers.get_mut(peer as usize)?;
        let frame = to.sending.unsent()?;
        let len = frame.header.len as usize;
        let (payload, lent): (&[u8], _) = match &frame.kept {
            // What a path kept was copied before that path was given up.
            Kept::Empty | Kept::Path => (&[], None),
            Kept::Copy(bytes) => (bytes, None),
            Kept::User(key, offset) | Kept::Lent(key, offset) => match self.sends.get_mut(*key) {
                Some(send) => {
                    let lent = matches!(frame.kept, Kept::Lent(..)).then_some((*key, *offset));
                    (send.buffer.slice(*offset, len), lent)
                }
                // Complete, so the peer has it; its acknowledgement is on the way.
                None => return Some(Offer::Later),
            },
        };
        let offer = paths.offer(peer, &frame.header, payload);
        if let Some((key, offset)) = lent {
            let kept = match self.sends.get_mut(key) {
                Some(send) if offer != Offer::Kept => {
                    to.sending.copy_of(send.buffer.slice(offset, len))
                }
                _ => Kept::Path,
            };
            to.sending.keep_unsent(kept);
            self.give_back(key);
        }
        if offer != Offer::Later {
            self.peers[peer as usize].sending.mark_sent();
        }
        Some(offer)
    }

    /// The path to `peer` will not keep payloads any longer: `read` copies that of the frame with
    /// this number while it still can.
    pub fn reclaim(&mut self, peer: u32, read: impl FnMut(u32, &mut [u8])) {
        self.peers[peer as usize].sending.reclaim(read);
    }

    /// Whether there is anything to offer to `peer`, now or once it has acknowledged more.
    #[inline]
    #[must_use]
    pub fn has_work(&self, peer: u32) -> bool {
        let to = &self.peers[peer as usize];
        to.lost.is_none()
            && (!to.sending.all_sent()
                || to.opening.is_some()
                || !to.waiting.is_empty()
                || !to.streams.is_empty())
    }

    /// A frame has arrived from `peer`.
    ///
    /// # Errors
    /// When the peer broke the protocol; it must then be given up with [`Endpoint::lose`].
    #[inline]
    pub fn arrive<P: Payload>(
        &mut self,
        peer: u32,
        header: &Header,
        payload: &P,
    ) -> Result<(), Fault> {
        use super::stream::Order;
        let from = &mut self.peers[peer as usize];
        if from.receiving.arrive(header, payload, &self.config)? != Order::Now {
            return Ok(());
        }
        self.deliver(peer, header, payload)?;
        while let Some(held) = self.peers[peer as usize].receiving.take_held() {
            self.deliver(peer, &held.header, &&*held.payload)?;
        }
        Ok(())
    }

    pub(super) fn deliver<P: Payload>(
        &mut self,
        peer: u32,
        header: &Header,
        payload: &P,
    ) -> Result<(), Fault> {
        match header.kind {
            Kind::Eager | Kind::Rts => self.on_start(peer, header, payload),
            Kind::Lend => self.on_lend(peer, header, payload),
            Kind::More => self.on_more(peer, header, payload),
            Kind::Data => self.on_data(peer, header, payload),
            Kind::Cts => self.on_cts(peer, header),
            Kind::Fin => self.on_fin(peer, header),
            Kind::Cancel => self.on_cancel(peer, header),
            Kind::Cancelled => self.on_cancelled(peer, header),
            Kind::Throttle => {
                self.peers[peer as usize].throttled = header.head != 0;
                Ok(())
            }
        }
    }

    /// The peer has every frame before `next` (modulo 2^32).
    ///
    /// # Errors
    /// When such frames were never sent.
    #[inline]
    pub fn acknowledged(&mut self, peer: u32, next: u32) -> Result<(), Fault> {
        self.peers[peer as usize].sending.acknowledge(next)
    }

    /// Number (modulo 2^32) of the next frame expected of `peer`: what to acknowledge.
    #[inline]
    #[must_use]
    pub fn expected(&self, peer: u32) -> u32 {
        self.peers[peer as usize].receiving.next() as u32
    }

    /// Number (modulo 2^32) of the next frame to `peer` that its path has not taken.
    #[must_use]
    pub fn next_unsent(&self, peer: u32) -> u32 {
        let sending = &self.peers[peer as usize].sending;
        sending.unsent().map_or(sending.next() as u32, |frame| frame.header.seq)
    }

    /// Frames to `peer` that it has not acknowledged, and their bytes kept in copies.
    #[inline]
    #[must_use]
    pub fn kept(&self, peer: u32) -> (usize, usize) {
        self.peers[peer as usize].sending.kept()
    }

    /// The path to `peer` changed without warning: what it has not got, by its own word, goes out
    /// again on the new one.
    ///
    /// # Errors
    /// When it claims frames that were never sent.
    pub fn resume(&mut self, peer: u32, next: u32) -> Result<(), Fault> {
        let sending = &mut self.peers[peer as usize].sending;
        sending.acknowledge(next)?;
        self.tally.repeated.add(sending.rewind());
        Ok(())
    }

    /// Whether more may be taken from `peer`'s path now: back-pressure when too much of it waits.
    #[inline]
    #[must_use]
    pub fn accepting(&self, peer: u32) -> bool {
        let from = &self.peers[peer as usize];
        from.unexpected_bytes < self.config.unexpected_hard
            && from.unexpected_count < self.config.unexpected_count_max
    }

    /// Whether nothing sent to `peer` is unfinished or unacknowledged.
    #[must_use]
    pub fn is_quiet(&self, peer: u32) -> bool {
        let to = &self.peers[peer as usize];
        to.lost.is_some()
            || (to.sending.kept().0 == 0
                && to.waiting.is_empty()
                && to.opening.is_none()
                && to.streams.is_empty())
    }

    /// Messages that wait for a receive.
    #[must_use]
    pub fn unexpected_len(&self) -> usize {
        self.matcher.waiting()
    }

    /// Gives `peer` up: what depends on it completes with an error. `orderly` when it said
    /// goodbye, which does not concern receives from anyone.
    pub fn lose(&mut self, peer: u32, why: &str, orderly: bool) {
        let why: Arc<str> = why.into();
        let Some(to) = self.peers.get_mut(peer as usize) else {
            return;
        };
        if to.lost.is_some() {
            return;
        }
        to.lost = Some(Arc::clone(&why));
        to.waiting.clear();
        to.streams.clear();
        to.opening = None;
        to.open = None;
        let early = to.early.take();
        if !orderly && self.failure.is_none() {
            self.failure = Some((peer, Arc::clone(&why)));
        }
        let error = Error::PeerLost { peer, why };
        for (_, send) in self.sends.iter_mut() {
            if send.peer == peer && !matches!(send.state, SendState::Done(_)) {
                send.state = SendState::Done(Err(error.clone()));
            }
        }
        if let Some((_, key)) = early
            && let Some(receive) = self.receives.get_mut(key)
        {
            receive.state = ReceiveState::Done(Err(error.clone()));
        }
        self.fail_receives(peer, orderly, &error);
        self.forget_incomplete(peer);
    }

    fn fail_receives(&mut self, peer: u32, orderly: bool, error: &Error) {
        let mut withdrawn = Vec::new();
        for (key, receive) in self.receives.iter_mut() {
            let concerned = match &receive.state {
                ReceiveState::Posted => match receive.pattern.source {
                    Some(source) => source == peer,
                    None => !orderly,
                },
                ReceiveState::Arriving(arriving) => arriving.envelope.source == peer,
                ReceiveState::Done(_) => false,
            };
            if concerned {
                if matches!(receive.state, ReceiveState::Posted) {
                    withdrawn.push((receive.pattern, key));
                }
                receive.state = ReceiveState::Done(Err(error.clone()));
            }
        }
        for (pattern, key) in withdrawn {
            self.matcher.withdraw(&pattern, key.0);
        }
    }

    /// Withdraws a posted receive (MPI 5.0, 3.8.4). It completes either way.
    pub fn cancel_receive(&mut self, key: Key) {
        let Some(receive) = self.receives.get_mut(key) else {
            return;
        };
        if matches!(receive.state, ReceiveState::Posted)
            && self.matcher.withdraw(&receive.pattern, key.0)
        {
            receive.state = ReceiveState::Done(Err(Error::Cancelled));
        }
    }

    /// Asks to withdraw a send (MPI 5.0, 3.8.4). It completes either way.
    pub fn cancel_send(&mut self, key: Key) {
        let Some(send) = self.sends.get_mut(key) else {
            return;
        };
        let peer = send.peer;
        match send.state {
            SendState::Waiting => {
                send.state = SendState::Done(Err(Error::Cancelled));
                self.peers[peer as usize].waiting.retain(|&other| other != key);
            }
            SendState::Own => self.cancel_own(key),
            SendState::Rendezvous(_) => {
                let header = control(Kind::Cancel, key.0, 0, 0);
                self.peers[peer as usize].sending.push(header, Kept::Empty);
            }
            SendState::Eager { .. } | SendState::Done(_) => {}
        }
    }

    /// Forgets a send whose buffer is about to go, whatever became of it. What the peer has not
    /// got of it by then never comes: the pair is given up if that is in the middle of a message.
    pub fn abandon_send(&mut self, key: Key) {
        let Some(send) = self.sends.get(key) else {
            return;
        };
        let peer = send.peer;
        match send.state {
            SendState::Own => self.cancel_own(key),
            SendState::Waiting => self.peers[peer as usize].waiting.retain(|&other| other != key),
            SendState::Eager { .. } | SendState::Rendezvous(_) => {
                self.lose(peer, "a send to it was abandoned", false);
            }
            SendState::Done(_) => {}
        }
        self.sends.remove(key);
    }

    /// Forgets a receive whose buffer is about to go, whatever became of it.
    pub fn abandon_receive(&mut self, key: Key) {
        let Some(receive) = self.receives.get(key) else {
            return;
        };
        match receive.state {
            ReceiveState::Posted => {
                self.matcher.withdraw(&receive.pattern, key.0);
            }
            ReceiveState::Arriving(arriving) => {
                let peer = arriving.envelope.source;
                self.lose(peer, "a receive from it was abandoned", false);
            }
            ReceiveState::Done(_) => {}
        }
        self.receives.remove(key);
    }

    #[cold]
    pub(super) fn no_such_rank(&self, peer: u32) -> Error {
        Error::NoSuchRank { peer, size: self.peers.len() as u32 }
    }
}

/// Whether another frame may be kept for this peer.
#[inline]
pub(super) fn has_room(to: &Peer, config: &Config) -> bool {
    let (frames, bytes) = to.sending.kept();
    frames < config.kept_frames_max && bytes < config.kept_bytes_max
}
