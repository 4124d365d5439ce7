//! The life of a send.

use bytes::BytesMut;

use super::endpoint::{Peer, has_room};
use super::loan::Loan;
use super::receiving::Unexpected;
use super::stream::Kept;
use super::{Endpoint, Envelope, Error, Fault, Key, Limits, Mode, ReceiveBuffer, SendBuffer};
use crate::frame::{Header, Kind};

#[derive(Debug)]
pub(super) struct Send<S> {
    pub(super) peer: u32,
    context: u32,
    tag: i32,
    mode: Mode,
    pub(super) buffer: S,
    pub(super) state: SendState,
}

#[derive(Debug)]
pub(super) enum SendState {
    /// Not begun.
    Waiting,
    /// Being copied into frames; this many bytes are.
    Eager {
        offset: usize,
    },
    Rendezvous(Rendezvous),
    /// To ourselves, waiting for a receive.
    Own,
    Done(Result<(), Error>),
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Rendezvous {
    /// Bytes that go unasked.
    head: usize,
    /// Bytes put into frames.
    offset: usize,
    /// The receive that asked for the rest.
    asked_by: Option<u64>,
    /// The peer was told where the bytes are: it asks for them only if it cannot read them there.
    loan: Option<Loan>,
}

impl<S: SendBuffer> Send<S> {
    pub(super) fn new(peer: u32, context: u32, tag: i32, mode: Mode, buffer: S) -> Self {
        Self { peer, context, tag, mode, buffer, state: SendState::Waiting }
    }

    /// The next frame of the part that goes unasked, and whether that part ends with it.
    fn next_unasked(
        &mut self,
        key: Key,
        limits: Limits,
        first: bool,
    ) -> Option<(Header, Kept, bool)> {
        if let SendState::Rendezvous(Rendezvous { loan: Some(loan), .. }) = self.state {
            return Some((self.lend(key), Kept::Copy(loan.to_bytes().to_vec()), true));
        }
        let total = self.buffer.len();
        let piece = limits.piece(total);
        let (offset, end, eager) = match &mut self.state {
            SendState::Eager { offset } => (offset, total, true),
            SendState::Rendezvous(rendezvous) => (&mut rendezvous.offset, rendezvous.head, false),
            _ => return None,
        };
        let at = *offset;
        let len = (end - at).min(piece);
        *offset += len;
        let kept = match (len, eager) {
            (0, _) => Kept::Empty,
            (_, true) => Kept::Lent(key, at),
            (_, false) => Kept::User(key, at),
        };
        let kind = match (first, eager) {
            (false, _) => Kind::More,
            (true, true) => Kind::Eager,
            (true, false) => Kind::Rts,
        };
        let mut header = Header { kind, len: len as u32, ..Header::default() };
        if first {
            header.context = self.context;
            header.tag = self.tag;
            header.total = total as u64;
            if !eager {
                header.head = end as u32;
                header.id = key.0;
            }
        }
        Some((header, kept, at + len == end))
    }

    /// The frame that lends the whole message.
    #[cold]
    fn lend(&self, key: Key) -> Header {
        Header {
            kind: Kind::Lend,
            context: self.context,
            tag: self.tag,
            len: Loan::BYTES,
            total: self.buffer.len() as u64,
            id: key.0,
            ..Header::default()
        }
    }

    /// How it begins on a path with these limits.
    fn begin(&mut self, throttled: bool, limits: Limits) {
        let (total, eager) = (self.buffer.len(), self.mode == Mode::Standard && !throttled);
        let lends = total >= limits.loan_min;
        let loan = if lends { self.buffer.loan() } else { None };
        self.state = if loan.is_none() && eager && total <= limits.eager_max {
            SendState::Eager { offset: 0 }
        } else {
            let head = if throttled || loan.is_some() { 0 } else { total.min(limits.head_max) };
            SendState::Rendezvous(Rendezvous { head, offset: 0, asked_by: None, loan })
        };
    }
}

impl<S: SendBuffer, R: ReceiveBuffer> Endpoint<S, R> {
    /// Cuts and numbers one more frame for `peer`. False when there is none, or no room to keep it.
    pub(super) fn number_next(&mut self, peer: u32, limits: Limits) -> bool {
        let to = &mut self.peers[peer as usize];
        if to.lost.is_some() || !has_room(to, &self.config) {
            return false;
        }
        let begun = to.opening.is_some() || !to.waiting.is_empty();
        // Messages that begin and messages under way take turns.
        let stream_due = !begun || !to.stream_last;
        let stream = !to.streams.is_empty() && stream_due;
        to.stream_last = stream;
        if stream {
            self.number_data(peer, limits)
        } else if begun {
            self.number_unasked(peer, limits)
        } else {
            false
        }
    }

    fn number_unasked(&mut self, peer: u32, limits: Limits) -> bool {
        let to = &mut self.peers[peer as usize];
        let (key, first) = match (to.opening, to.waiting.pop_front()) {
            (Some(key), popped) => {
                if let Some(popped) = popped {
                    to.waiting.push_front(popped);
                }
                (key, false)
            }
            (None, Some(key)) => (key, true),
            (None, None) => return false,
        };
        let Some(send) = self.sends.get_mut(key) else {
            return true;
        };
        if first {
            send.begin(to.throttled, limits);
        }
        let Some((header, kept, last)) = send.next_unasked(key, limits, first) else {
            return true;
        };
        to.sending.push(header, kept);
        to.opening = (!last).then_some(key);
        if last {
            after_head(send, key, to);
        }
        true
    }

    /// A piece of an eager message was sent or copied; after the last one the buffer is free.
    pub(super) fn give_back(&mut self, key: Key) {
        let Some(send) = self.sends.get_mut(key) else {
            return;
        };
        if matches!(send.state, SendState::Eager { offset } if offset == send.buffer.len()) {
            send.state = SendState::Done(Ok(()));
        }
    }

    fn number_data(&mut self, peer: u32, limits: Limits) -> bool {
        let to = &mut self.peers[peer as usize];
        let Some(key) = to.streams.pop_front() else {
            return false;
        };
        let Some(send) = self.sends.get_mut(key) else {
            return true;
        };
        let total = send.buffer.len();
        let SendState::Rendezvous(rendezvous) = &mut send.state else {
            return true;
        };
        let Some(id) = rendezvous.asked_by else {
            return true;
        };
        let offset = rendezvous.offset;
        let len = (total - offset).min(limits.piece(total));
        let header = Header {
            kind: Kind::Data,
            total: offset as u64,
            id,
            len: len as u32,
            ..Header::default()
        };
        to.sending.push(header, Kept::User(key, offset));
        rendezvous.offset += len;
        if rendezvous.offset < total {
            to.streams.push_back(key);
        }
        true
    }

    /// A message to ourselves meets its receive here, or waits for it.
    pub(super) fn send_to_self(&mut self, key: Key) {
        let Some(send) = self.sends.get_mut(key) else {
            return;
        };
        let envelope = Envelope { context: send.context, source: self.rank, tag: send.tag };
        let total = send.buffer.len();
        self.tally.own.sent.frame(true, total);
        if let Some(receive) = self.matcher.take_posted(&envelope) {
            self.copy_own(key, Key(receive), envelope);
            return;
        }
        let mut unexpected = Unexpected { envelope, total, head: total, ..Unexpected::default() };
        if send.mode == Mode::Standard && total <= self.config.own_copy_max {
            unexpected.data = BytesMut::from(send.buffer.slice(0, total));
            send.state = SendState::Done(Ok(()));
        } else {
            unexpected.own = Some(key);
            send.state = SendState::Own;
        }
        let waiting = self.keep_unexpected(unexpected);
        self.matcher.wait(envelope, waiting.0);
    }

    pub(super) fn copy_own(&mut self, key: Key, receive: Key, envelope: Envelope) {
        let Some(send) = self.sends.get_mut(key) else {
            return;
        };
        let Some(receive) = self.receives.get_mut(receive) else {
            return;
        };
        let total = send.buffer.len();
        let len = total.min(receive.buffer.len());
        let step = send.buffer.slice_max().min(len).max(1);
        for at in (0..len).step_by(step) {
            let here = step.min(len - at);
            receive.buffer.fill(at, &send.buffer.slice(at, here), 0, here);
        }
        receive.finish(envelope, total);
        send.state = SendState::Done(Ok(()));
        self.tally.own.received.frame(true, total);
    }

    pub(super) fn cancel_own(&mut self, key: Key) {
        let found = self.unexpected.iter_mut().find(|(_, waiting)| waiting.own == Some(key));
        let Some((waiting, envelope)) = found.map(|(waiting, entry)| (waiting, entry.envelope))
        else {
            return;
        };
        self.matcher.forget_waiting(&envelope, waiting.0);
        self.release_unexpected(waiting);
        if let Some(send) = self.sends.get_mut(key) {
            send.state = SendState::Done(Err(Error::Cancelled));
        }
    }

    pub(super) fn on_cts(&mut self, peer: u32, header: &Header) -> Result<(), Fault> {
        let rendezvous = self.rendezvous(peer, header)?;
        let complete = rendezvous.offset == rendezvous.head;
        if rendezvous.asked_by.replace(header.total).is_some() {
            return Err(Fault::Unknown { kind: header.kind, id: header.id });
        }
        if complete {
            self.peers[peer as usize].streams.push_back(Key(header.id));
        }
        Ok(())
    }

    pub(super) fn on_fin(&mut self, peer: u32, header: &Header) -> Result<(), Fault> {
        let unknown = Fault::Unknown { kind: header.kind, id: header.id };
        let Rendezvous { offset, asked_by, loan, .. } = *self.rendezvous(peer, header)?;
        let send = self.sends.get_mut(Key(header.id)).ok_or(unknown)?;
        let borrowed = loan.is_some() && asked_by.is_none();
        if offset != send.buffer.len() && !borrowed {
            return Err(unknown);
        }
        if borrowed {
            self.tally.loans.sent.frame(true, send.buffer.len());
        }
        send.state = SendState::Done(Ok(()));
        Ok(())
    }

    pub(super) fn on_cancelled(&mut self, peer: u32, header: &Header) -> Result<(), Fault> {
        let key = Key(header.id);
        // Too late, or complete meanwhile: both are answers that an honest peer gives.
        if header.head == 0 || self.sends.get(key).is_none() {
            return Ok(());
        }
        self.rendezvous(peer, header)?;
        if let Some(send) = self.sends.get_mut(key) {
            send.state = SendState::Done(Err(Error::Cancelled));
        }
        Ok(())
    }

    /// The send that a peer's frame names, if it is a rendezvous with that peer.
    fn rendezvous(&mut self, peer: u32, header: &Header) -> Result<&mut Rendezvous, Fault> {
        match self.sends.get_mut(Key(header.id)) {
            Some(Send { peer: to, state: SendState::Rendezvous(rendezvous), .. })
                if *to == peer =>
            {
                Ok(rendezvous)
            }
            _ => Err(Fault::Unknown { kind: header.kind, id: header.id }),
        }
    }
}

fn after_head<S: SendBuffer>(send: &mut Send<S>, key: Key, to: &mut Peer) {
    match &send.state {
        // An empty message lends nothing that could be given back.
        SendState::Eager { .. } if send.buffer.is_empty() => send.state = SendState::Done(Ok(())),
        SendState::Rendezvous(rendezvous) if rendezvous.asked_by.is_some() => {
            to.streams.push_back(key);
        }
        _ => {}
    }
}
