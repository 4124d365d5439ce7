//! Waking a peer that sleeps, and sleeping until a peer wakes us.
//!
//! The contract, in the order in which a rank does it:
//!
//! | sleeper | sender |
//! |---|---|
//! | [`Sleeper::arm`]: notes its peers' bells, then says in its own section that it sleeps | writes its message, publishes it with a release store |
//! | looks into all rings once more | [`Ringer::ring_if_armed`]: looks at the sleeper's word |
//! | nothing there: [`Armed::sleep`]; something there: drops the [`Armed`] | armed, and this sleep not rung yet: rings its own bell |
//!
//! Each side first writes and then reads what the other has written, with a sequentially
//! consistent fence in between; so at least one of them sees the other, and no wake-up is lost
//! (`model.rs` goes through all interleavings). Only an armed doorbell is rung, and once per sleep:
//! a peer that says "asleep" for ever costs one ring.
//!
//! **Why the bell is the sender's.** A futex sleeps only if its word still has the value seen
//! before. The sleeper's own word cannot serve: its peers, who map it read-only, cannot change it,
//! and a wake that comes between the last look and the sleep would be lost. So the sender counts
//! up a word in *its* section, one per peer, and the sleeper waits on all its peers' words at once.
//! A bell word says nothing but "look again"; whatever it holds is harmless.
//!
//! **Peers on other machines** cannot be woken by a futex, and not even those on this one when the
//! memory is a device's: the kernel knows no futex there. They are rung through the device
//! ([`ivshmem`], [`xen`]) where it can interrupt, or by the TCP byte. An interrupt, too, only says
//! "look again"; a lost one ends with the sleep's time limit, a spurious one with a look.
//!
//! This folder may use [`crate::region`]. It must never read a ring or a socket: whether there is
//! work is the caller's question.

mod barrier;
mod futex;
mod hearing;
mod interrupt;
pub mod ivshmem;
#[cfg(test)]
mod model;
mod none;
pub mod xen;

use std::sync::atomic::{AtomicU32, Ordering, compiler_fence, fence};
use std::time::{Duration, Instant};

use crate::region::access::{Local, Remote};
use crate::region::layout::{ARMED_OFFSET, BARRIER_OFFSET};
use crate::region::{LayoutError, OwnSection, PeerSection, Protection};

use interrupt::FarRinger;

pub use futex::{WAIT_MAX, can_wait_on};
pub use hearing::Hearing;
pub use interrupt::{Far, Interrupt};

/// How a rank wants to be woken. It chooses for itself; what it writes into its armed word tells
/// its peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// A futex on the peers' bells: all peers that matter are on this machine.
    Futex,
    /// A byte on the TCP control connection: works with any mixture of peers, because the sleeper
    /// polls its sockets. The progress engine sends and reads the byte.
    TcpByte,
    /// An interrupt of a device, from peers on other machines: the sleeper polls descriptors
    /// ([`Sleeper::interrupts`]), its own or with its sockets. Peers without such a doorbell to us
    /// send the byte.
    Interrupt,
    /// Never asleep for longer than a nap; nobody rings.
    None,
}

impl Policy {
    /// The best policy for a rank with `ring_peers` on this machine and, when `sockets` is set,
    /// sockets that must wake it too.
    #[must_use]
    pub fn choose(ring_peers: usize, sockets: bool) -> Self {
        if !sockets && can_wait_on(ring_peers) { Self::Futex } else { Self::TcpByte }
    }

    /// What an armed word of this policy holds in its lowest two bits; 0 is "awake".
    fn mark(self) -> u32 {
        match self {
            Self::None => 0,
            Self::Futex => MARK_FUTEX,
            Self::TcpByte => MARK_BYTE,
            Self::Interrupt => MARK_INTERRUPT,
        }
    }
}

const MARK_BITS: u32 = 2;
const MARK: u32 = (1 << MARK_BITS) - 1;
const MARK_FUTEX: u32 = 1;
const MARK_BYTE: u32 = 2;
const MARK_INTERRUPT: u32 = 3;

/// Why a sleep did not happen.
#[derive(Debug, thiserror::Error)]
pub enum DoorbellError {
    /// The system refused; sleep another way (sockets, naps) from now on.
    #[error("sleeping on a futex failed: {0}; wake-ups go over the TCP control connection instead")]
    Futex(#[source] std::io::Error),
    /// The system refused to wait for interrupts.
    #[error("waiting for interrupts failed: {0}; use the TCP control connection instead")]
    Interrupt(#[source] std::io::Error),
    /// [`Policy::TcpByte`] sleeps in the poll of the sockets, which is not here.
    #[error("a rank that is woken by a TCP byte sleeps by polling its sockets while armed")]
    PollInstead,
    /// The peer's memory is a device's.
    #[error("a futex cannot wait for memory of a device; use the TCP byte or interrupts")]
    NoFutex,
    /// More peers than a futex can wait for.
    #[error("a futex waits for at most {WAIT_MAX} peers on this machine; use the TCP byte")]
    TooManyPeers,
    /// A peer that is not in the layout.
    #[error(transparent)]
    Layout(#[from] LayoutError),
}

/// Why a sleep ended. In every case the caller looks into its rings again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// A peer rang, before or during the sleep; or a signal came. Not a promise of work.
    Rung,
    /// The time is over.
    TimedOut,
}

/// What ringing came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ring {
    /// The peer is awake.
    Awake,
    /// This sleep has been rung already, by us.
    AlreadyRung,
    /// The peer's futex was rung, or its device.
    Rung,
    /// The peer wants a byte on the TCP control connection: the caller must send it.
    SendByte,
}

/// One bell that a sleeper listens to: a word in a peer's section.
#[derive(Clone, Debug)]
pub struct Bell {
    peer: u32,
    header: Remote,
    offset: usize,
    /// The value before arming.
    seen: u32,
    /// Whether the kernel can wait for this word.
    futex: bool,
}

impl Bell {
    /// The bell that the owner of this section has for us.
    ///
    /// # Errors
    /// When we have no place in it.
    pub fn of(peer: &PeerSection) -> Result<Self, LayoutError> {
        // Device memory has no page that a futex could be keyed by.
        let futex = !matches!(peer.protection(), Protection::Device | Protection::Hypervisor);
        let offset = peer.identity().layout.bell_offset(peer.me())?;
        let (peer, header) = (peer.identity().index, peer.header().clone());
        Ok(Self { peer, header, offset, seen: 0, futex })
    }
}

/// The sleeping side of a rank's doorbell.
#[derive(Debug)]
pub struct Sleeper {
    /// Our sections: one, or one for each peer where no section can be seen by all.
    own: Vec<Local>,
    interrupts: Vec<Interrupt>,
    policy: Policy,
    /// Counts sleeps, so that peers ring each only once. 30 bits; a peer that misses 2^30 sleeps
    /// and returns at the very same number would find it "already rung", which a sleep's time
    /// limit ends.
    sleeps: u32,
    bells: Vec<Bell>,
}

impl Sleeper {
    /// The doorbell of the owner of `section`.
    #[must_use]
    pub fn new(section: &OwnSection, policy: Policy) -> Self {
        Self::prepare(section);
        Self {
            own: vec![section.window().clone()],
            interrupts: Vec::new(),
            policy,
            sleeps: 0,
            bells: Vec::new(),
        }
    }

    /// Says in a section of ours how its owner sleeps, before the first peer looks.
    pub fn prepare(section: &OwnSection) {
        let own = section.window();
        own.store_u32(ARMED_OFFSET, 0);
        // `arm` has a barrier executed for those senders that are registered too.
        own.store_u32(BARRIER_OFFSET, u32::from(barrier::register()));
    }

    /// Says "asleep" in these sections from now on, and listens to these bells, instead of any
    /// before. With the policy none, which is the one outside of a sleep.
    pub fn renew<'a>(
        &mut self,
        own: impl Iterator<Item = &'a OwnSection>,
        bells: impl Iterator<Item = &'a Bell>,
    ) {
        self.policy = Policy::None;
        self.own = own.map(|section| section.window().clone()).collect();
        self.bells = bells.cloned().collect();
    }

    /// How this rank is woken.
    #[must_use]
    pub fn policy(&self) -> Policy {
        self.policy
    }

    /// Changes how this rank is woken, from the next sleep on. Where a futex cannot work, because a
    /// peer's memory is a device's, it is the TCP byte instead: see [`Self::policy`].
    pub fn set_policy(&mut self, policy: Policy) {
        self.policy = match policy {
            Policy::Futex if self.bells.iter().any(|bell| !bell.futex) => Policy::TcpByte,
            other => other,
        };
    }

    /// Whether any bell that we listen to is on another machine.
    #[must_use]
    pub fn has_far(&self) -> bool {
        self.bells.iter().any(|bell| !bell.futex)
    }

    /// Says "asleep" in one more section of ours, for a peer that sees no other.
    pub fn also(&mut self, section: &OwnSection) {
        Self::prepare(section);
        self.own.push(section.window().clone());
    }

    /// Is woken by this interrupt too, from now on.
    pub fn add_interrupt(&mut self, interrupt: Interrupt) {
        self.interrupts.push(interrupt);
    }

    /// What wakes us with [`Policy::Interrupt`], for those who poll it with their sockets.
    #[must_use]
    pub fn interrupts(&self) -> &[Interrupt] {
        &self.interrupts
    }

    /// Listens to a peer's bell from now on.
    ///
    /// # Errors
    /// [`DoorbellError::TooManyPeers`] when the policy is [`Policy::Futex`] and this machine cannot
    /// wait for one more.
    pub fn add(&mut self, peer: &PeerSection) -> Result<(), DoorbellError> {
        let bell = Bell::of(peer)?;
        if self.policy == Policy::Futex {
            if !bell.futex {
                return Err(DoorbellError::NoFutex);
            }
            if !can_wait_on(self.bells.len() + 1) {
                return Err(DoorbellError::TooManyPeers);
            }
        }
        self.bells.push(bell);
        Ok(())
    }

    /// Listens no more to the bell of member `peer`.
    pub fn remove(&mut self, peer: u32) {
        self.bells.retain(|bell| bell.peer != peer);
    }

    /// Says that we are about to sleep. The caller must look for work after this, and may sleep
    /// only when there is none.
    pub fn arm(&mut self) -> Armed<'_> {
        for bell in &mut self.bells {
            // Before arming: whoever sees us armed counts up from here.
            bell.seen = bell.header.load_u32(bell.offset);
        }
        self.sleeps = self.sleeps.wrapping_add(1);
        let mark = self.policy.mark();
        let word = if mark == 0 { 0 } else { self.sleeps << MARK_BITS | mark };
        for own in &self.own {
            own.store_u32(ARMED_OFFSET, word);
        }
        // SYNC POINT: pairs with the fence in `Ringer::ring_if_armed`, and executes one for those
        // who have none. Our word before our look into the rings, there the message before the
        // look at our word: one sees the other.
        fence(Ordering::SeqCst);
        if mark != 0 && barrier::register() && !barrier::everywhere() {
            // Cannot fail once registered; if it does, new senders must use fences, and those
            // that already chose are caught by the time limit of sleeps.
            for own in &self.own {
                own.store_u32(BARRIER_OFFSET, 0);
            }
        }
        Armed { sleeper: self }
    }
}

/// What ends a sleep on a futex from another thread of the same process.
#[derive(Debug, Default)]
pub struct Kick(AtomicU32);

impl Kick {
    /// Ends the sleep, or the next one if there is none now.
    pub fn kick(&self) {
        if self.0.swap(1, Ordering::SeqCst) == 0 {
            futex::wake(self.0.as_ptr());
        }
    }
}

/// A rank that has said it is asleep; dropping it says that it is awake again.
#[derive(Debug)]
#[must_use = "look for work while armed, then sleep or drop"]
pub struct Armed<'a> {
    sleeper: &'a Sleeper,
}

impl Armed<'_> {
    /// Sleeps until a peer rings or `timeout` is over. Returns at once when a peer has rung since
    /// arming.
    ///
    /// # Errors
    /// When the policy sleeps elsewhere, or the system refuses.
    pub fn sleep(self, timeout: Duration) -> Result<Woken, DoorbellError> {
        self.sleep_or(None, timeout)
    }

    /// The same, and until it is kicked, if it sleeps on a futex. A kick from before ends it too.
    ///
    /// # Errors
    /// As for [`Armed::sleep`].
    pub fn sleep_or(self, kick: Option<&Kick>, timeout: Duration) -> Result<Woken, DoorbellError> {
        match self.sleeper.policy {
            Policy::Futex => {
                let woken = futex::wait_or(&self.sleeper.bells, kick.map(|kick| &kick.0), timeout);
                if let Some(Kick(word)) = kick {
                    word.store(0, Ordering::SeqCst);
                }
                woken
            }
            Policy::TcpByte => Err(DoorbellError::PollInstead),
            Policy::Interrupt => interrupt::wait(&self.sleeper.interrupts, timeout),
            Policy::None => Ok(none::nap(timeout)),
        }
    }
}

impl Drop for Armed<'_> {
    fn drop(&mut self) {
        for own in &self.sleeper.own {
            own.store_u32(ARMED_OFFSET, 0);
        }
    }
}

/// The ringing side: how this rank wakes one peer.
#[derive(Debug)]
pub struct Ringer {
    own: Local,
    bell: usize,
    peer: Remote,
    /// The armed word of the sleep that was rung last; 0 before the first.
    rung: u32,
    /// The peer executes the barrier for us when it goes to sleep.
    barrier_there: bool,
    /// How it is rung when it is on another machine.
    far: Option<FarRinger>,
}

impl Ringer {
    /// How the owner of `own` wakes the owner of `peer`.
    ///
    /// # Errors
    /// When the peer has no place in our section.
    pub fn new(own: &OwnSection, peer: &PeerSection) -> Result<Self, LayoutError> {
        let bell = own.identity().layout.bell_offset(peer.identity().index)?;
        Ok(Self {
            own: own.window().clone(),
            bell,
            peer: peer.header().clone(),
            rung: 0,
            barrier_there: peer.is_on_this_kernel()
                && peer.header().load_u32(BARRIER_OFFSET) == 1
                && barrier::register(),
            far: None,
        })
    }

    /// The same for a peer on another machine, which is rung by `far` and never by a futex.
    #[must_use]
    pub fn over(mut self, far: Far) -> Self {
        self.far = Some(FarRinger::new(far));
        self
    }

    /// How the peer is rung, for people.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        self.far.as_ref().map_or("futex", FarRinger::kind)
    }

    /// Rings once whether the peer sleeps or not, so that it hears what an interrupt of ours is
    /// like, and counts on them if it is heard at all. Never by a byte.
    pub fn greet(&mut self) {
        if let Some(far) = &mut self.far {
            far.ring(Instant::now());
        }
    }

    /// Wakes the peer if it sleeps. To be called after publishing a message or a position it may
    /// wait for. One load when the peer is awake.
    #[inline]
    pub fn ring_if_armed(&mut self) -> Ring {
        // SYNC POINT: pairs with the fence in `Sleeper::arm`, or is executed by it.
        if self.barrier_there {
            compiler_fence(Ordering::SeqCst);
        } else {
            fence(Ordering::SeqCst);
        }
        // Fetched once; every value means something.
        let word_untrusted = self.peer.load_u32(ARMED_OFFSET);
        if word_untrusted & MARK == 0 {
            return Ring::Awake;
        }
        self.ring(word_untrusted)
    }

    #[cold]
    fn ring(&mut self, word: u32) -> Ring {
        if word == self.rung {
            return Ring::AlreadyRung;
        }
        self.rung = word;
        if let Some(far) = &mut self.far {
            let rung = word & MARK == MARK_INTERRUPT && far.ring(Instant::now());
            return if rung { Ring::Rung } else { Ring::SendByte };
        }
        if word & MARK != MARK_FUTEX {
            // A mark that we do not know means a peer we do not know how to wake: the byte always
            // works.
            return Ring::SendByte;
        }
        // We alone write this word. The kernel orders the store before the wake.
        self.own.store_u32(self.bell, self.own.load_u32(self.bell).wrapping_add(1));
        futex::wake(self.own.futex_word(self.bell));
        Ring::Rung
    }
}

#[cfg(test)]
mod tests;
