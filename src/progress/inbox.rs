//! What arrives over TCP, on its way to the endpoint.

use std::collections::VecDeque;
use std::net::SocketAddr;

use super::buffers::{Incoming, Outgoing};
use crate::frame::Header;
use crate::link::control::{self, Control};
use crate::link::{Links, Then};
use crate::net::{Down, HEADER_LEN, PeerCard, Placement, Sink};
use crate::proto::Endpoint;

/// Payloads from this length on, in bytes, go straight to their place where there is one; a copy of
/// shorter ones costs less than the extra read.
const DIRECT_MIN: u32 = 4 << 10;

type Wire = [u8; HEADER_LEN];

pub(super) struct Inbox<'a> {
    pub(super) endpoint: &'a mut Endpoint<Outgoing, Incoming>,
    pub(super) links: &'a mut Links,
    pub(super) then: &'a mut VecDeque<(u32, Then)>,
    pub(super) pending: &'a mut Vec<u32>,
}

impl Inbox<'_> {
    /// Reads a frame's header and takes the acknowledgement in it.
    fn open(&mut self, peer: u32, wire: &Wire) -> Result<Header, String> {
        let (header, ack) = Header::from_wire(wire).ok_or("a frame of no known kind")?;
        self.endpoint.acknowledged(peer, ack).map_err(|fault| fault.to_string())?;
        Ok(header)
    }

    /// After a frame: what is to be acknowledged, and what is to be answered.
    fn close(&mut self, peer: u32, header: &Header) {
        let bytes = header.len as usize;
        self.links.tally.tcp.received.frame(header.begins(), bytes);
        self.links.received(peer, self.endpoint.expected(peer), Some(bytes));
        if self.endpoint.has_work(peer) && !self.pending.contains(&peer) {
            self.pending.push(peer);
        }
    }
}

impl Sink for Inbox<'_> {
    fn up(&mut self, peer: u32, _: SocketAddr, _: SocketAddr) {
        let then = self.links.on_up(peer);
        self.then.push_back((peer, then));
    }

    fn down(&mut self, peer: u32, why: Down) {
        let (why, orderly) = match why {
            Down::Closed => ("it has left the job".to_owned(), true),
            Down::Reset => {
                ("its connection broke: the process or its machine died".to_owned(), false)
            }
            Down::Fault(why) => (format!("it broke the protocol: {why}"), false),
            Down::Unreachable(why) => (format!("no connection could be made: {why}"), false),
        };
        self.then.push_back((peer, Then::Gone { why, orderly }));
    }

    fn writable(&mut self, peer: u32) {
        if self.endpoint.has_work(peer) && !self.pending.contains(&peer) {
            self.pending.push(peer);
        }
    }

    fn place(&mut self, peer: u32, wire: &Wire) -> Result<Placement, String> {
        if wire[0] >= control::FIRST {
            return Ok(Placement::Staged);
        }
        let (header, _) = Header::from_wire(wire).ok_or("a frame of no known kind")?;
        let range = |(room, _): (&mut Incoming, usize)| room.is_range();
        if header.len < DIRECT_MIN || !self.endpoint.direct(peer, &header).is_some_and(range) {
            return Ok(Placement::Staged);
        }
        self.links.set_arriving(peer, Some(header));
        Ok(Placement::Direct)
    }

    fn frame(&mut self, peer: u32, wire: &Wire, payload: &[u8]) -> Result<(), String> {
        if wire[0] >= control::FIRST {
            let (control, ack) =
                Control::decode(wire, payload).ok_or("a control message that means nothing")?;
            self.endpoint.acknowledged(peer, ack).map_err(|fault| fault.to_string())?;
            let then = self.links.on_control(peer, control);
            self.then.push_back((peer, then));
            return Ok(());
        }
        let header = self.open(peer, wire)?;
        self.endpoint.arrive(peer, &header, &payload).map_err(|fault| fault.to_string())?;
        self.close(peer, &header);
        Ok(())
    }

    fn direct_buffer(&mut self, peer: u32, offset: usize) -> &mut [u8] {
        let header = self.links.arriving(peer);
        match header.and_then(|header| self.endpoint.direct(peer, &header)) {
            Some((buffer, at)) => buffer.tail(at + offset),
            None => {
                self.links.set_arriving(peer, None);
                self.links.discard()
            }
        }
    }

    fn direct_done(&mut self, peer: u32, wire: &Wire) -> Result<(), String> {
        let header = self.open(peer, wire)?;
        if self.links.arriving(peer) != Some(header) {
            return Err("a receive ended while its message was arriving".to_owned());
        }
        self.endpoint.arrived_directly(peer, &header).map_err(|fault| fault.to_string())?;
        self.close(peer, &header);
        Ok(())
    }

    fn accepting(&self, peer: u32) -> bool {
        self.endpoint.accepting(peer)
    }

    fn card_of(&mut self, peer: u32) -> Option<PeerCard> {
        ((peer as usize) < self.links.cards().len()).then(|| self.links.net_card(peer))
    }
}
