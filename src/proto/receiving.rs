//! The life of a receive, and of a message that came before it.

use bytes::BytesMut;

use super::loan::Loan;
use super::stream::Kept;
use super::{
    Endpoint, Envelope, Error, Fault, Key, Pattern, ReceiveBuffer, Received, SendBuffer, control,
};
use crate::frame::{Header, Kind, Payload};

#[derive(Debug)]
pub(super) struct Receive<R> {
    pub(super) pattern: Pattern,
    pub(super) buffer: R,
    pub(super) state: ReceiveState,
}

#[derive(Debug)]
pub(super) enum ReceiveState {
    Posted,
    Arriving(Arriving),
    Done(Result<Received, Error>),
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Arriving {
    pub(super) envelope: Envelope,
    pub(super) total: usize,
    pub(super) got: usize,
    /// Bytes that come unasked.
    head: usize,
    /// The send that waits for `Fin`.
    pub(super) send: Option<u64>,
    /// Where the message is, as long as it is not asked for.
    pub(super) loan: Option<Loan>,
}

/// A message, or its beginning, that no receive has matched yet.
#[derive(Debug)]
pub(super) struct Unexpected {
    pub(super) envelope: Envelope,
    pub(super) total: usize,
    pub(super) head: usize,
    pub(super) data: BytesMut,
    /// The peer's send that waits for `Fin`.
    pub(super) send: Option<u64>,
    /// Where the message is, when it is lent.
    pub(super) loan: Option<Loan>,
    /// Our own send to ourselves.
    pub(super) own: Option<Key>,
}

impl Default for Unexpected {
    fn default() -> Self {
        let envelope = Envelope { context: 0, source: 0, tag: 0 };
        let data = BytesMut::new();
        Self { envelope, total: 0, head: 0, data, send: None, loan: None, own: None }
    }
}

/// A payload that is where it belongs already.
struct Placed(usize);

impl Payload for Placed {
    fn len(&self) -> usize {
        self.0
    }

    fn copy_to(&self, _: usize, _: &mut [u8]) {}
}

/// The message whose unasked part is arriving.
#[derive(Clone, Copy, Debug)]
pub(super) enum Open {
    Receive(Key),
    Unexpected(Key),
}

/// What a waiting eager message costs beside its bytes, so that a flood of empty ones counts too.
/// A rendezvous holds its sender back by itself.
const EAGER_COST: usize = 128;

impl Unexpected {
    fn cost(&self) -> usize {
        self.data.len() + if self.send.is_none() { EAGER_COST } else { 0 }
    }
}

impl<R: ReceiveBuffer> Receive<R> {
    pub(super) fn finish(&mut self, envelope: Envelope, total: usize) {
        let received = Received { envelope, len: total };
        let room = self.buffer.len();
        self.state = ReceiveState::Done(if total <= room {
            Ok(received)
        } else {
            Err(Error::Truncated { received, room })
        });
    }

    /// Bytes of the message that have arrived.
    fn arrived(&self) -> Option<usize> {
        match &self.state {
            ReceiveState::Arriving(arriving) => Some(arriving.got),
            _ => None,
        }
    }

    /// Takes the bytes that are due next; what does not fit is dropped.
    #[inline]
    fn take<P: Payload>(&mut self, at: usize, payload: &P) {
        let room = self.buffer.len().saturating_sub(at);
        let len = payload.len().min(room);
        if len > 0 {
            self.buffer.fill(at, payload, 0, len);
        }
    }
}

impl<S: SendBuffer, R: ReceiveBuffer> Endpoint<S, R> {
    /// A message begins.
    #[inline]
    pub(super) fn on_start<P: Payload>(
        &mut self,
        peer: u32,
        header: &Header,
        payload: &P,
    ) -> Result<(), Fault> {
        self.start(peer, header, payload, None)
    }

    #[inline]
    pub(super) fn start<P: Payload>(
        &mut self,
        peer: u32,
        header: &Header,
        payload: &P,
        loan: Option<Loan>,
    ) -> Result<(), Fault> {
        let envelope = Envelope { context: header.context, source: peer, tag: header.tag };
        let (total, head) = self.check_start(peer, header, payload.len())?;
        let send = (header.kind != Kind::Eager).then_some(header.id);
        let early = self.peers[peer as usize].early.take().map(|(_, key)| key.0);
        if let Some(number) = early.or_else(|| self.matcher.take_posted(&envelope)) {
            let arriving = Arriving { envelope, total, got: 0, head, send, loan };
            self.begin(Key(number), peer, arriving, payload);
            return Ok(());
        }
        let mut data = BytesMut::zeroed(payload.len());
        payload.copy_to(0, &mut data);
        let entry = Unexpected { envelope, total, head, data, send, loan, own: None };
        let cost = entry.cost();
        let key = self.keep_unexpected(entry);
        self.matcher.wait(envelope, key.0);
        let from = &mut self.peers[peer as usize];
        from.unexpected_count += 1;
        from.unexpected_bytes += cost;
        from.open = (payload.len() < head).then_some(Open::Unexpected(key));
        self.throttle(peer);
        Ok(())
    }

    /// Checks what a message says of itself; gives its length and the part that comes unasked.
    #[inline]
    fn check_start(&self, peer: u32, header: &Header, len: usize) -> Result<(usize, usize), Fault> {
        if self.peers[peer as usize].open.is_some() {
            return Err(Fault::OutOfTurn(header.kind));
        }
        let unasked =
            if header.kind == Kind::Eager { header.total } else { u64::from(header.head) };
        let too_long = Fault::TooLong(unasked);
        let total = usize::try_from(header.total).map_err(|_| too_long)?;
        let head = usize::try_from(unasked).map_err(|_| too_long)?;
        if head > self.config.unasked_max
            || head > total
            || len > head
            || total > isize::MAX as usize
        {
            return Err(too_long);
        }
        Ok((total, head))
    }

    /// A receive meets its message, of which `payload` are the first bytes.
    #[inline]
    fn begin<P: Payload>(&mut self, key: Key, peer: u32, mut arriving: Arriving, payload: &P) {
        let Some(receive) = self.receives.get_mut(key) else {
            return;
        };
        if arriving.loan.is_some() {
            receive.state = ReceiveState::Arriving(arriving);
            self.meet_loan(key, peer, &arriving);
            return;
        }
        // Ask before copying: the sender goes on meanwhile.
        if arriving.head < arriving.total {
            let header = control(Kind::Cts, arriving.send.unwrap_or(0), key.0, 0);
            self.peers[peer as usize].sending.push(header, Kept::Empty);
        }
        receive.take(0, payload);
        arriving.got = payload.len();
        if arriving.got < arriving.head {
            self.peers[peer as usize].open = Some(Open::Receive(key));
        }
        receive.state = ReceiveState::Arriving(arriving);
        if arriving.got == arriving.total {
            self.complete(key, peer);
        }
    }

    pub(super) fn complete(&mut self, key: Key, peer: u32) {
        let Some(receive) = self.receives.get_mut(key) else {
            return;
        };
        let ReceiveState::Arriving(arriving) = receive.state else {
            return;
        };
        receive.finish(arriving.envelope, arriving.total);
        if let Some(id) = arriving.send {
            let header = control(Kind::Fin, id, 0, 0);
            self.peers[peer as usize].sending.push(header, Kept::Empty);
        }
    }

    /// A posted receive takes a message that waited for it.
    pub(super) fn adopt(&mut self, key: Key, envelope: Envelope, waiting: Key) {
        let Some(entry) = self.release_unexpected(waiting) else {
            return;
        };
        if let Some(own) = entry.own {
            self.copy_own(own, key, envelope);
            return;
        }
        let peer = envelope.source;
        if peer != self.rank {
            let from = &mut self.peers[peer as usize];
            from.unexpected_count -= 1;
            from.unexpected_bytes -= entry.cost();
            if from.open.is_some_and(|open| open.is(waiting)) {
                from.open = None;
            }
        } else {
            self.tally.own.received.frame(true, entry.total);
        }
        let Unexpected { total, head, data, send, loan, .. } = entry;
        let arriving = Arriving { envelope, total, got: 0, head, send, loan };
        self.begin(key, peer, arriving, &&*data);
        self.throttle(peer);
    }

    pub(super) fn on_more<P: Payload>(
        &mut self,
        peer: u32,
        header: &Header,
        payload: &P,
    ) -> Result<(), Fault> {
        let from = &mut self.peers[peer as usize];
        let out_of_turn = Fault::OutOfTurn(header.kind);
        match from.open.ok_or(out_of_turn)? {
            Open::Receive(key) => {
                let receive = self.receives.get_mut(key).ok_or(out_of_turn)?;
                let ReceiveState::Arriving(arriving) = &mut receive.state else {
                    return Err(out_of_turn);
                };
                let at = arriving.got;
                if payload.len() > arriving.head - at || payload.is_empty() {
                    return Err(Fault::TooLong(payload.len() as u64));
                }
                arriving.got += payload.len();
                let (complete, ended) =
                    (arriving.got == arriving.total, arriving.got == arriving.head);
                receive.take(at, payload);
                if ended {
                    from.open = None;
                }
                if complete {
                    self.complete(key, peer);
                }
            }
            Open::Unexpected(key) => {
                let entry = self.unexpected.get_mut(key).ok_or(out_of_turn)?;
                let at = entry.data.len();
                if payload.len() > entry.head - at || payload.is_empty() {
                    return Err(Fault::TooLong(payload.len() as u64));
                }
                entry.data.resize(at + payload.len(), 0);
                payload.copy_to(0, &mut entry.data[at..]);
                if entry.data.len() == entry.head {
                    from.open = None;
                }
                from.unexpected_bytes += payload.len();
                self.tally.unexpected_bytes.rise(payload.len() as u64);
                self.throttle(peer);
            }
        }
        Ok(())
    }

    pub(super) fn on_data<P: Payload>(
        &mut self,
        peer: u32,
        header: &Header,
        payload: &P,
    ) -> Result<(), Fault> {
        let at = self.check_data(peer, header, payload.len())?;
        let key = Key(header.id);
        let Some(receive) = self.receives.get_mut(key) else {
            return Ok(());
        };
        receive.take(at, payload);
        self.count_data(peer, key, payload.len());
        Ok(())
    }

    fn count_data(&mut self, peer: u32, key: Key, len: usize) {
        let Some(receive) = self.receives.get_mut(key) else {
            return;
        };
        let ReceiveState::Arriving(arriving) = &mut receive.state else {
            return;
        };
        arriving.got += len;
        if arriving.got == arriving.total {
            self.complete(key, peer);
        }
    }

    /// Checks that a piece belongs to a receive that waits for it, and where it goes.
    fn check_data(&self, peer: u32, header: &Header, len: usize) -> Result<usize, Fault> {
        let unknown = Fault::Unknown { kind: header.kind, id: header.id };
        let receive = self.receives.get(Key(header.id)).ok_or(unknown)?;
        let ReceiveState::Arriving(arriving) = &receive.state else {
            return Err(unknown);
        };
        // What is lent was not asked for.
        if arriving.envelope.source != peer || arriving.send.is_none() || arriving.loan.is_some() {
            return Err(unknown);
        }
        let expected = arriving.got as u64;
        if header.total != expected || arriving.got < arriving.head {
            return Err(Fault::Offset { offset: header.total, expected });
        }
        if len > arriving.total - arriving.got || len == 0 {
            return Err(Fault::TooLong(len as u64));
        }
        Ok(arriving.got)
    }

    /// Where the payload of a frame that is about to arrive can be put directly: the receive's
    /// buffer and the offset in it. `None` when the frame must be gathered first. A message that
    /// begins is matched here already. Call [`Endpoint::arrived_directly`] when it is all there.
    pub fn direct(&mut self, peer: u32, header: &Header) -> Option<(&mut R, usize)> {
        let from = self.peers.get(peer as usize)?;
        if header.seq != from.receiving.next() as u32 {
            return None;
        }
        let len = header.len as usize;
        let (key, at) = match header.kind {
            Kind::Data => (Key(header.id), self.check_data(peer, header, len).ok()?),
            Kind::More => match from.open? {
                Open::Receive(key) => (key, self.receives.get(key)?.arrived()?),
                Open::Unexpected(_) => return None,
            },
            Kind::Eager | Kind::Rts => (self.match_early(peer, header)?, 0),
            _ => return None,
        };
        let receive = self.receives.get_mut(key)?;
        let fits = len <= receive.buffer.len().saturating_sub(at);
        fits.then_some((&mut receive.buffer, at))
    }

    /// Matches a message whose first frame is still arriving. Asked again, it gives the same
    /// receive; so does the frame itself when it is complete.
    fn match_early(&mut self, peer: u32, header: &Header) -> Option<Key> {
        if let Some((seq, key)) = self.peers[peer as usize].early {
            return (seq == header.seq).then_some(key);
        }
        self.check_start(peer, header, header.len as usize).ok()?;
        let envelope = Envelope { context: header.context, source: peer, tag: header.tag };
        let key = Key(self.matcher.take_posted(&envelope)?);
        self.peers[peer as usize].early = Some((header.seq, key));
        Some(key)
    }

    /// The payload of a frame for which [`Endpoint::direct`] gave a place is all there.
    ///
    /// # Errors
    /// As for [`Endpoint::arrive`].
    pub fn arrived_directly(&mut self, peer: u32, header: &Header) -> Result<(), Fault> {
        self.arrive(peer, header, &Placed(header.len as usize))
    }

    pub(super) fn on_cancel(&mut self, peer: u32, header: &Header) -> Result<(), Fault> {
        let open = self.peers[peer as usize].open;
        let found = self.unexpected.iter_mut().find(|(key, entry)| {
            entry.send == Some(header.id)
                && entry.envelope.source == peer
                && !open.is_some_and(|open| open.is(*key))
        });
        let found = found.map(|(key, entry)| (key, entry.envelope, entry.cost()));
        if let Some((key, envelope, bytes)) = found {
            self.matcher.forget_waiting(&envelope, key.0);
            self.release_unexpected(key);
            let from = &mut self.peers[peer as usize];
            from.unexpected_count -= 1;
            from.unexpected_bytes -= bytes;
        }
        let answer = control(Kind::Cancelled, header.id, 0, u32::from(found.is_some()));
        self.peers[peer as usize].sending.push(answer, Kept::Empty);
        Ok(())
    }

    pub(super) fn keep_unexpected(&mut self, entry: Unexpected) -> Key {
        self.tally.unexpected.rise(1);
        self.tally.unexpected_bytes.rise(entry.data.len() as u64);
        self.unexpected.insert(entry)
    }

    pub(super) fn release_unexpected(&mut self, key: Key) -> Option<Unexpected> {
        let entry = self.unexpected.remove(key)?;
        self.tally.unexpected.fall(1);
        self.tally.unexpected_bytes.fall(entry.data.len() as u64);
        Some(entry)
    }

    /// Asks the peer for headers only when too much of it waits, and lifts that again.
    #[inline]
    fn throttle(&mut self, peer: u32) {
        let from = &mut self.peers[peer as usize];
        let wanted = if from.throttling {
            from.unexpected_bytes > self.config.unexpected_soft / 2
        } else {
            from.unexpected_bytes > self.config.unexpected_soft
        };
        if wanted != from.throttling {
            from.throttling = wanted;
            let header = control(Kind::Throttle, 0, 0, u32::from(wanted));
            from.sending.push(header, Kept::Empty);
        }
    }

    /// A lost peer's messages that are not all there can never be received.
    pub(super) fn forget_incomplete(&mut self, peer: u32) {
        let gone: Vec<_> = self
            .unexpected
            .iter_mut()
            .filter(|(_, entry)| {
                entry.envelope.source == peer
                    && entry.own.is_none()
                    && entry.data.len() < entry.total
            })
            .map(|(key, entry)| (key, entry.envelope, entry.cost()))
            .collect();
        for (key, envelope, bytes) in gone {
            self.matcher.forget_waiting(&envelope, key.0);
            self.release_unexpected(key);
            let from = &mut self.peers[peer as usize];
            from.unexpected_count -= 1;
            from.unexpected_bytes -= bytes;
        }
    }
}

impl Open {
    fn is(&self, waiting: Key) -> bool {
        matches!(self, Self::Unexpected(key) if *key == waiting)
    }
}
