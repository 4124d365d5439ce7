//! The event loop: one epoll instance, one table of sockets, budgets on everything.

use super::connection::{Connection, Served, is_passing};
use super::dial::{Attempt, Dial};
use super::farewell::Lingering;
use super::hot::Hot;
use super::incoming::Incoming;
use super::listener::Listeners;
use super::silence;
use super::slots::{Key, Slots};
use super::{
    Down, HEADER_LEN, Identity, NetConfig, NetError, PeerCard, SendState, Sink, usable_addresses,
};
use mio::event::Event;
use mio::net::TcpStream;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::time::{Duration, Instant};

/// Reads from one connection before the next one has its turn.
const READS_PER_TURN: u32 = 8;
/// Events taken from the kernel at once.
const EVENTS_PER_POLL: usize = 256;
/// The token of everything that is only watched.
const WATCHED: Token = Token(usize::MAX / 2);
/// Token of what ends a poll from another thread; its index is no key's either.
const WAKER: Token = Token(WATCHED.0 - (1 << 32));

/// Everything that has a token.
pub(super) enum Slot {
    /// A caller that has not been committed to.
    Incoming(Incoming),
    /// A call of ours that has not been committed to.
    Attempt(Attempt),
    /// An established connection.
    Up(Box<Connection>),
    /// Closed here; the peer takes the last bytes.
    Lingering(Lingering),
}

/// The TCP side of one rank: its listening sockets and its connections.
///
/// Single threaded: the owner calls [`Net::poll`] (all events) or [`Net::poll_hot`] (one read of
/// the connection that is likely to answer), and passes in a [`Sink`] for what arrives.
pub struct Net {
    pub(super) identity: Identity,
    pub(super) size: u32,
    pub(super) config: NetConfig,
    pub(super) poll: Poll,
    events: Option<Events>,
    pub(super) listeners: Listeners,
    addresses: Vec<SocketAddr>,
    pub(super) slots: Slots<Slot>,
    /// Per rank, its established connection.
    pub(super) peers: Vec<Option<Key>>,
    pub(super) dials: BTreeMap<u32, Dial>,
    /// Per rank, the epoch that it published, as far as known.
    pub(super) epochs: HashMap<u32, u64>,
    /// Callers not committed to, oldest first.
    pub(super) incoming: VecDeque<Key>,
    /// Callers may be waiting in the kernel, not before this time.
    pub(super) accept_at: Option<Instant>,
    /// Connections that may have unread bytes.
    ready: VecDeque<Key>,
    paused: Vec<Key>,
    pub(super) lingering: Vec<Key>,
    pub(super) hot: Hot,
    /// Ends that happened outside of a poll.
    ended: Vec<(u32, Down)>,
    /// Number of the last call made.
    pub(super) counter: u64,
    /// A watched descriptor has become readable.
    woken: bool,
    /// When connections are next looked at for peers that vanished.
    pub(super) look_at: Option<Instant>,
}

impl Net {
    /// Starts to listen, as rank `identity.rank` of `size`.
    ///
    /// # Errors
    /// [`NetError::PortTaken`] and [`NetError::Listen`] when listening fails,
    /// [`NetError::Setting`] for settings that make no sense.
    pub fn bind(identity: Identity, size: u32, config: NetConfig) -> Result<Net, NetError> {
        check(&identity, size, &config)?;
        let queue = |source| NetError::Queue { source };
        let mut listeners = Listeners::bind(&config)?;
        let poll = Poll::new().map_err(queue)?;
        listeners.register(poll.registry()).map_err(queue)?;
        let local = usable_addresses().map_err(queue)?;
        let addresses = listeners.reachable(&local, config.bind);
        Ok(Net {
            identity,
            size,
            poll,
            events: Some(Events::with_capacity(EVENTS_PER_POLL)),
            listeners,
            addresses,
            slots: Slots::new(),
            peers: vec![None; size as usize],
            dials: BTreeMap::new(),
            epochs: HashMap::new(),
            incoming: VecDeque::new(),
            accept_at: None,
            ready: VecDeque::new(),
            paused: Vec::new(),
            lingering: Vec::new(),
            hot: Hot::default(),
            ended: Vec::new(),
            counter: 0,
            woken: false,
            look_at: None,
            config,
        })
    }

    /// The addresses to publish, best first: every address of every interface that is up, IPv4
    /// before IPv6, loopback last. A loopback address ([`std::net::IpAddr::is_loopback`]) serves
    /// peers in the same network namespace only; elsewhere it leads to somebody else or nobody,
    /// and is dropped since that one cannot prove to be this rank.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Tells the epoch by which callers that claim to be `card.rank` are checked. A connection
    /// with another life of that rank ends.
    pub fn accept_from(&mut self, card: &PeerCard) {
        if card.rank >= self.size {
            return;
        }
        self.epochs.insert(card.rank, card.epoch);
        let Some(key) = self.peers[card.rank as usize] else {
            return;
        };
        let Some(Slot::Up(connection)) = self.slots.get(key) else {
            return;
        };
        if connection.epoch != card.epoch {
            let why = format!("rank {} was restarted: this was its earlier life", card.rank);
            self.discard(key);
            self.peers[card.rank as usize] = None;
            self.ended.push((card.rank, Down::Fault(why)));
        }
    }

    /// Waits up to `timeout` (`None`: for ever) for something to happen, and handles all that is
    /// there within a budget per connection. Returns early, with false, at the net's own timers:
    /// call again. `now` is the time at the call.
    ///
    /// Returns whether bytes moved or events were reported.
    ///
    /// # Errors
    /// [`NetError::Queue`] when the kernel's event queue fails. Nothing that a peer does.
    pub fn poll<S: Sink>(
        &mut self,
        timeout: Option<Duration>,
        now: Instant,
        sink: &mut S,
    ) -> Result<bool, NetError> {
        let mut moved = self.report_ended(sink);
        moved |= self.run_timers(now, sink);
        self.resume(sink);
        let Some(mut events) = self.events.take() else {
            return Ok(false);
        };
        let wait = if moved { Some(Duration::ZERO) } else { self.wait_for(timeout, now) };
        let polled = self.poll.poll(&mut events, wait);
        if polled.is_ok() {
            for event in &events {
                moved |= self.handle(event, now, sink);
            }
        }
        self.events = Some(events);
        match polled {
            Err(source) if !is_passing(&source) => return Err(NetError::Queue { source }),
            _ => {}
        }
        moved |= self.accept_callers(now, sink);
        moved |= self.serve_ready(sink);
        moved |= self.report_ended(sink);
        Ok(moved)
    }

    /// One read from one of the connections used last, without asking the kernel what is ready:
    /// the shortest way for an answer that is expected. [`Net::poll`] must still be called now and
    /// then: this sees no new callers, no writability and no other connections.
    ///
    /// Returns whether bytes moved or events were reported.
    ///
    /// # Errors
    /// None at present.
    pub fn poll_hot<S: Sink>(&mut self, sink: &mut S) -> Result<bool, NetError> {
        if !self.ended.is_empty() {
            return Ok(self.report_ended(sink));
        }
        let Some(key) = self.hot.pick() else {
            return Ok(false);
        };
        let Some(Slot::Up(connection)) = self.slots.get_mut(key) else {
            self.hot.forget(key);
            return Ok(false);
        };
        let mut moved = false;
        match connection.serve(sink, 1, &mut moved) {
            Served::Idle | Served::More => {}
            Served::Paused => {
                if !std::mem::replace(&mut connection.queued, true) {
                    self.paused.push(key);
                }
            }
            Served::Ended(why) => {
                self.end(key, why, sink);
                return Ok(true);
            }
        }
        if moved {
            self.hot.touch(key);
        } else {
            self.hot.turn();
        }
        Ok(moved)
    }

    /// One attempt to send a frame from byte `*progress` (of header and payload together) on, with
    /// one system call and without copying a large payload. Begin with 0; while it says
    /// [`SendState::Blocked`] with `*progress > 0`, come back with the same frame and no other.
    ///
    /// # Errors
    /// [`NetError::NotConnected`]; [`NetError::Lost`] when the connection broke (the next poll
    /// delivers what the peer sent before, then reports it down); [`NetError::OutOfStep`] and
    /// [`NetError::BadFrame`] for frames that would corrupt the stream.
    pub fn send(
        &mut self,
        peer: u32,
        header: &[u8; HEADER_LEN],
        payload: &[u8],
        progress: &mut usize,
    ) -> Result<SendState, NetError> {
        let key = self.peers.get(peer as usize).copied().flatten();
        let key = key.ok_or(NetError::NotConnected { peer })?;
        let Some(Slot::Up(connection)) = self.slots.get_mut(key) else {
            return Err(NetError::NotConnected { peer });
        };
        let result = connection.send(header, payload, progress, self.config.max_payload);
        if connection.is_broken() {
            // Nothing may be readable, then no event comes: read to the end at the next poll.
            mark_ready(&mut self.ready, connection, key);
        }
        self.hot.touch(key);
        result
    }

    /// Is there a connection to `peer`?
    pub fn is_up(&self, peer: u32) -> bool {
        self.peers.get(peer as usize).is_some_and(Option::is_some)
    }

    /// Is a connection to `peer` being made?
    pub fn is_connecting(&self, peer: u32) -> bool {
        self.dials.contains_key(&peer)
    }

    /// The peers with a connection, in order of rank.
    pub fn peers_up(&self) -> impl Iterator<Item = u32> + '_ {
        (0..self.size).filter(|&peer| self.is_up(peer))
    }

    /// Did a send to `peer` say [`SendState::Blocked`] with no [`Sink::writable`] since?
    pub fn wants_write(&self, peer: u32) -> bool {
        let key = self.peers.get(peer as usize).copied().flatten();
        matches!(key.and_then(|key| self.slots.get(key)), Some(Slot::Up(c)) if c.blocked)
    }

    /// Lets a poll end, from now on, when this descriptor becomes readable too; it is never read
    /// here. The watch ends when the descriptor is closed.
    ///
    /// # Errors
    /// [`NetError::Queue`] when the kernel cannot wait for it.
    pub fn watch(&self, fd: BorrowedFd<'_>) -> Result<(), NetError> {
        let (registry, raw) = (self.poll.registry(), fd.as_raw_fd());
        let watched = registry.register(&mut SourceFd(&raw), WATCHED, Interest::READABLE);
        watched.map_err(|source| NetError::Queue { source })
    }

    /// What ends a poll from another thread. There can be one only.
    ///
    /// # Errors
    /// [`NetError::Queue`] when the kernel has none.
    pub fn waker(&self) -> Result<mio::Waker, NetError> {
        let waker = mio::Waker::new(self.poll.registry(), WAKER);
        waker.map_err(|source| NetError::Queue { source })
    }

    /// Whether a watched descriptor has become readable since this was asked last. It tells again
    /// only of what comes after all was read.
    pub fn take_woken(&mut self) -> bool {
        std::mem::take(&mut self.woken)
    }

    /// Takes an established connection out and tells the sink.
    pub(super) fn end<S: Sink>(&mut self, key: Key, why: Down, sink: &mut S) {
        let peer = match self.slots.get(key) {
            Some(Slot::Up(connection)) => connection.peer,
            _ => return,
        };
        self.discard(key);
        self.hot.forget(key);
        self.peers[peer as usize] = None;
        sink.down(peer, why);
    }

    /// Makes the caller or call under `key` the connection to `peer`.
    pub(super) fn establish<S: Sink>(
        &mut self,
        key: Key,
        peer: u32,
        epoch: u64,
        peer_counter: u64,
        sink: &mut S,
    ) {
        let config = &self.config;
        self.slots.replace(key, |slot| {
            let stream = match slot {
                Slot::Incoming(incoming) => incoming.stream,
                Slot::Attempt(attempt) => attempt.stream,
                other => return other,
            };
            Slot::Up(Box::new(Connection::new(stream, peer, epoch, peer_counter, config)))
        });
        self.peers[peer as usize] = Some(key);
        self.cancel_dial(peer);
        let longest = self.config.silence;
        let Some(Slot::Up(connection)) = self.slots.get_mut(key) else {
            return;
        };
        if let Some(longest) = longest {
            // A kernel that refuses leaves the connection as good as it was.
            let _ = silence::ask(&connection.stream, longest);
        }
        let unknown = SocketAddr::from(([0, 0, 0, 0], 0));
        let local = connection.stream.local_addr().unwrap_or(unknown);
        let remote = connection.stream.peer_addr().unwrap_or(unknown);
        // Its first frames may have come with the handshake's last event.
        mark_ready(&mut self.ready, connection, key);
        self.hot.touch(key);
        sink.up(peer, local, remote);
    }

    /// The connection under `key` has its turn in this poll, whatever the kernel says.
    pub(super) fn mark(&mut self, key: Key) {
        if let Some(Slot::Up(connection)) = self.slots.get_mut(key) {
            mark_ready(&mut self.ready, connection, key);
        }
    }

    /// Closes a socket without a word. Closing takes it out of the event queue.
    pub(super) fn discard(&mut self, key: Key) {
        self.slots.remove(key);
    }

    /// Registers a socket and gives it its key.
    pub(super) fn adopt(
        &mut self,
        mut stream: TcpStream,
        make: impl FnOnce(TcpStream) -> Slot,
    ) -> std::io::Result<Key> {
        let key = self.slots.next_key();
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut stream, key.token(), interest)?;
        Ok(self.slots.insert(make(stream)))
    }

    fn handle<S: Sink>(&mut self, event: &Event, now: Instant, sink: &mut S) -> bool {
        if self.listeners.owns(event.token()) {
            self.accept_at = Some(now);
            return false;
        }
        if event.token() == WAKER {
            return false;
        }
        if event.token() == WATCHED {
            self.woken = true;
            return false;
        }
        let key = Key::of(event.token());
        match self.slots.get_mut(key) {
            None => false,
            Some(Slot::Incoming(_)) => self.advance_incoming(key, sink),
            Some(Slot::Attempt(_)) => self.advance_attempt(key, now, sink),
            Some(Slot::Lingering(_)) => self.linger(key),
            Some(Slot::Up(connection)) => {
                connection.ending |= event.is_read_closed() || event.is_error();
                if event.is_readable() || connection.ending {
                    mark_ready(&mut self.ready, connection, key);
                }
                let room = event.is_writable() && std::mem::replace(&mut connection.blocked, false);
                if room {
                    sink.writable(connection.peer);
                }
                room
            }
        }
    }

    /// Gives each connection that may have bytes one turn.
    fn serve_ready<S: Sink>(&mut self, sink: &mut S) -> bool {
        let mut moved = false;
        for _ in 0..self.ready.len() {
            let Some(key) = self.ready.pop_front() else {
                break;
            };
            let Some(Slot::Up(connection)) = self.slots.get_mut(key) else {
                continue;
            };
            let mut moved_here = false;
            match connection.serve(sink, READS_PER_TURN, &mut moved_here) {
                Served::Idle => connection.queued = false,
                Served::More => self.ready.push_back(key),
                Served::Paused => self.paused.push(key),
                Served::Ended(why) => {
                    self.end(key, why, sink);
                    moved = true;
                }
            }
            if moved_here {
                moved = true;
                if self.slots.get(key).is_some() {
                    self.hot.touch(key);
                }
            }
        }
        moved
    }

    /// Paused connections whose peer is accepted again have their turn.
    fn resume<S: Sink>(&mut self, sink: &S) {
        let (slots, ready) = (&self.slots, &mut self.ready);
        self.paused.retain(|&key| match slots.get(key) {
            Some(Slot::Up(connection)) if !sink.accepting(connection.peer) => true,
            Some(_) => {
                ready.push_back(key);
                false
            }
            None => false,
        });
    }

    fn report_ended<S: Sink>(&mut self, sink: &mut S) -> bool {
        let ended = std::mem::take(&mut self.ended);
        let any = !ended.is_empty();
        for (peer, why) in ended {
            sink.down(peer, why);
        }
        any
    }

    fn run_timers<S: Sink>(&mut self, now: Instant, sink: &mut S) -> bool {
        self.drop_silent_callers(now);
        self.step_lingering(now);
        self.notice_silence(now);
        self.step_dials(now, sink)
    }

    /// Until when may we sleep?
    fn wait_for(&self, timeout: Option<Duration>, now: Instant) -> Option<Duration> {
        if !self.ready.is_empty() {
            return Some(Duration::ZERO);
        }
        let timers = self
            .accept_at
            .into_iter()
            .chain(self.next_linger_time(now))
            .chain(self.next_caller_deadline())
            .chain(self.look_at.filter(|_| self.peers_up().next().is_some()))
            .chain(self.next_dial_time());
        let timer = timers.min().map(|at| at.saturating_duration_since(now));
        match (timeout, timer) {
            (Some(timeout), Some(timer)) => Some(timeout.min(timer)),
            (timeout, timer) => timeout.or(timer),
        }
    }
}

impl AsRawFd for Net {
    /// The epoll descriptor: readable when [`Net::poll`] has something to do. For waiting on
    /// several things at once; everything else with it is net's own business.
    fn as_raw_fd(&self) -> RawFd {
        self.poll.as_raw_fd()
    }
}

fn mark_ready(ready: &mut VecDeque<Key>, connection: &mut Connection, key: Key) {
    if !std::mem::replace(&mut connection.queued, true) {
        ready.push_back(key);
    }
}

fn check(identity: &Identity, size: u32, config: &NetConfig) -> Result<(), NetError> {
    let (name, problem) = if identity.rank >= size {
        ("rank", format!("{} in a job of {size} ranks: ranks count from 0", identity.rank))
    } else if identity.epoch == 0 {
        ("epoch", "0 means none: draw another random number".to_owned())
    } else if !(1024..=1 << 30).contains(&config.receive_buffer) {
        let bytes = config.receive_buffer;
        ("receive_buffer", format!("{bytes} bytes: choose between 1 KiB and 1 GiB"))
    } else if config.socket_buffer.is_some_and(|bytes| bytes > 1 << 30) {
        ("socket_buffer", "more than 1 GiB: choose less, or leave it to the kernel".to_owned())
    } else if config.silence.is_some_and(|longest| longest < Duration::from_secs(1)) {
        ("silence", "less than 1 s: choose more, or none for no bound".to_owned())
    } else {
        return Ok(());
    };
    Err(NetError::Setting { name, problem })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_has_the_token_of_a_listener() {
        let slots: Slots<()> = Slots::new();
        for index in 0..2 {
            assert!(slots.get(Key::of(Token(usize::MAX - index))).is_none());
        }
    }

    #[test]
    fn the_token_of_what_is_watched_is_no_keys_and_no_listeners() {
        // Its index is the last there can be, of a table of 2^32 sockets.
        let last = WATCHED.0 & 0xffff_ffff;
        assert_eq!(last, u32::MAX as usize);
        let slots: Slots<()> = Slots::new();
        assert!(slots.get(Key::of(WATCHED)).is_none());
        assert!(slots.get(Key::of(WAKER)).is_none());
        const { assert!(usize::MAX - WATCHED.0 > 1 << 32) };
    }
}
