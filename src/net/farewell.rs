//! Closing: with a farewell, so that the peer can tell it from a death, or without.

use super::connection::{farewell, is_passing, say_rest};
use super::engine::{Net, Slot};
use super::slots::Key;
use mio::net::TcpStream;
use std::io::Read;
use std::time::Instant;

/// Reads per poll of what is thrown away, from a connection that was closed here.
const LINGER_READS: u32 = 64;

/// A connection that was closed by the caller, kept until the peer has all that was sent: closing
/// a socket with unread bytes would cut off what the peer has not taken yet.
pub(super) struct Lingering {
    stream: TcpStream,
    said: usize,
    until: Option<Instant>,
    /// There may be unread bytes: no event will tell.
    more: bool,
}

impl Lingering {
    fn new(stream: TcpStream) -> Self {
        Lingering { stream, said: 0, until: None, more: true }
    }
}

impl Net {
    /// Closes the connection to `peer`, or stops calling it; [`Sink::down`](super::Sink::down) is not called for it.
    /// With `say_farewell` the peer is told that this is on purpose ([`Down::Closed`](super::Down::Closed) there, else
    /// [`Down::Reset`](super::Down::Reset)), and what was sent before still arrives as long as this net is polled
    /// until [`Net::lingering`] is 0. A frame sent in part makes a farewell impossible.
    pub fn close(&mut self, peer: u32, say_farewell: bool) {
        self.cancel_dial(peer);
        let Some(place) = self.peers.get_mut(peer as usize) else {
            return;
        };
        let Some(key) = place.take() else { return };
        self.hot.forget(key);
        let whole = match self.slots.get(key) {
            Some(Slot::Up(connection)) => connection.is_between_frames(),
            _ => false,
        };
        if !say_farewell || !whole {
            self.discard(key);
            return;
        }
        self.slots.replace(key, |slot| match slot {
            Slot::Up(connection) => Slot::Lingering(Lingering::new(connection.stream)),
            other => other,
        });
        self.lingering.push(key);
        self.linger(key);
    }

    /// Connections closed with a farewell whose peers have not taken everything yet.
    pub fn lingering(&self) -> usize {
        self.lingering.len()
    }

    /// Drives what lingers, up to its deadline.
    pub(super) fn step_lingering(&mut self, now: Instant) {
        for key in self.lingering.clone() {
            let limit = now + self.config.handshake_timeout;
            let Some(Slot::Lingering(lingering)) = self.slots.get_mut(key) else {
                continue;
            };
            if *lingering.until.get_or_insert(limit) <= now {
                self.discard(key);
            } else if lingering.more {
                self.linger(key);
            }
        }
        let slots = &self.slots;
        self.lingering.retain(|&key| slots.get(key).is_some());
    }

    pub(super) fn next_linger_time(&self, now: Instant) -> Option<Instant> {
        let times = self.lingering.iter().filter_map(|&key| match self.slots.get(key) {
            Some(Slot::Lingering(lingering)) if lingering.more => Some(now),
            Some(Slot::Lingering(lingering)) => lingering.until,
            _ => None,
        });
        times.min()
    }

    /// Says what is left of a farewell and throws away what the peer still sends.
    pub(super) fn linger(&mut self, key: Key) -> bool {
        let Some(Slot::Lingering(lingering)) = self.slots.get_mut(key) else {
            return false;
        };
        let said = say_rest(&lingering.stream, &farewell(), &mut lingering.said);
        let mut waste = [0; 4096];
        let mut over = said.is_err();
        lingering.more = !over;
        for _ in 0..LINGER_READS {
            if over || !lingering.more {
                break;
            }
            match lingering.stream.read(&mut waste) {
                Ok(0) => over = true,
                Ok(_) => {}
                Err(error) if is_passing(&error) => lingering.more = false,
                Err(_) => over = true,
            }
        }
        if over {
            self.discard(key);
            self.lingering.retain(|&other| other != key);
        }
        over
    }
}
