//! What wakes this rank from other machines: interrupts of devices, event channels of peers. The
//! engine waits for them together with its sockets, and asks here whether to count on them.

use std::os::fd::BorrowedFd;

use crate::doorbell::{Hearing, Interrupt};

/// Who rings by an interrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum From {
    /// All that share the device with this id.
    Device(u64),
    /// This rank.
    Peer(u32),
}

#[derive(Debug)]
struct Source {
    from: From,
    interrupt: Interrupt,
    /// Whether the engine waits for it already.
    watched: bool,
}

/// All interrupts.
#[derive(Debug, Default)]
pub(super) struct Bells {
    sources: Vec<Source>,
    hearing: Hearing,
}

impl Bells {
    pub(super) fn add(&mut self, from: From, interrupt: Interrupt) {
        self.sources.push(Source { from, interrupt, watched: false });
    }

    /// Closes what came from there.
    pub(super) fn remove(&mut self, from: From) {
        self.sources.retain(|source| source.from != from);
    }

    /// Shows each interrupt once to who will wait for it; one that cannot be waited for is dropped,
    /// and never heard.
    pub(super) fn watch_by(&mut self, mut watch: impl FnMut(BorrowedFd<'_>) -> bool) {
        self.sources.retain_mut(|source| {
            source.watched = source.watched || watch(source.interrupt.fd());
            source.watched
        });
    }

    /// Takes what has come.
    pub(super) fn rung(&mut self) {
        // All of them: each tells only of what comes after it was read.
        let taken = self.sources.iter().filter(|source| source.interrupt.drain()).count();
        if taken > 0 {
            self.hearing.rung();
        }
    }

    pub(super) fn times_rung(&self) -> u64 {
        self.hearing.heard()
    }

    pub(super) fn slept_through(&mut self) {
        self.hearing.slept_through();
    }

    /// Whether to be woken by interrupts.
    pub(super) fn work(&self) -> bool {
        !self.sources.is_empty() && self.hearing.works()
    }

    /// For people; empty when there are none.
    pub(super) fn describe(&self) -> String {
        let kind = match self.sources.first() {
            None => return String::new(),
            Some(Source { from: From::Device(_), .. }) => "MSI-X interrupts",
            Some(Source { from: From::Peer(_), .. }) => "event channels",
        };
        let instead = if self.work() { "" } else { "TCP bytes instead of " };
        format!("woken by {instead}{kind} ({})", self.hearing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixDatagram;

    /// An interrupt that anybody can count up.
    fn line() -> (UnixDatagram, Interrupt) {
        let (near, far) = UnixDatagram::pair().unwrap();
        far.set_nonblocking(true).unwrap();
        (near, std::os::fd::OwnedFd::from(far).into())
    }

    #[test]
    fn interrupts_are_counted_on_once_one_was_heard() {
        let mut bells = Bells::default();
        assert_eq!((bells.work(), bells.describe()), (false, String::new()));
        let (line, interrupt) = line();
        bells.add(From::Device(7), interrupt);
        bells.rung();
        assert!(!bells.work(), "nothing had come");
        assert!(bells.describe().contains("TCP bytes instead of MSI-X"), "{}", bells.describe());
        line.send(&[1; 8]).unwrap();
        bells.rung();
        assert!(bells.work(), "{}", bells.describe());
        bells.remove(From::Peer(7));
        assert!(bells.work(), "that was somebody else's");
        bells.remove(From::Device(7));
        assert!(!bells.work(), "there is nothing left to be heard");
    }

    #[test]
    fn each_is_shown_once_and_what_cannot_be_waited_for_is_dropped() {
        let mut bells = Bells::default();
        let ((_a, first), (_b, second)) = (line(), line());
        bells.add(From::Peer(1), first);
        bells.watch_by(|_| true);
        bells.add(From::Peer(2), second);
        let mut shown = 0;
        bells.watch_by(|_| {
            shown += 1;
            false
        });
        assert_eq!((shown, bells.sources.len()), (1, 1));
    }
}
