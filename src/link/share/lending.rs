//! Memory lent to processes of the same machine, and borrowed from them.
//!
//! A name stands for a chunk between two ranks: random, drawn by the owner for this reader alone. It
//! goes with the descriptor into the reader's mailbox, and only after that with a message into the
//! ring. A letter says whatever its writer likes; but nobody else knows a name before the owner's own
//! letter lies in the mailbox, and the first letter with a name counts.

use std::collections::{HashMap, HashSet, VecDeque};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;

use crate::region::access::Remote;
use crate::region::lending::{Borrowed, CHUNKS_MAX, Chunk, Store};
use crate::region::pass::{PassError, Sent};

/// Letters of one rank that wait for their messages; there are hardly ever two. With more than these
/// somebody plays tricks, and nothing new is borrowed of that rank any more.
const LETTERS_MAX: usize = 8;
/// Bytes of chunks mapped of one peer: addresses, not memory.
const MAPPED_MAX: u64 = 1 << 40;

/// How far a chunk has come on its way to a reader.
#[derive(Debug)]
enum Handing {
    Named(u64),
    /// Its mailbox was full this often.
    Tried(u32),
}

/// A message that can be lent. Its memory stays for as long as this does.
#[derive(Debug)]
pub struct Lent {
    /// Name of the chunk between the two.
    pub name: u64,
    /// Offset of the message in it.
    pub offset: u64,
    #[allow(dead_code, reason = "held so that the memory stays mapped")]
    chunk: Arc<Chunk>,
}

/// What is wanted of a lent message. All of it is the peer's word but `at` and `len`.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// Name of the chunk.
    pub name: u64,
    /// Offset of the message in it.
    pub offset: u64,
    /// Bytes of the message.
    pub total: usize,
    /// First byte of it that is wanted now, and how many.
    pub at: usize,
    /// See `at`.
    pub len: usize,
}

/// Both directions, of all peers on this machine.
#[derive(Debug)]
pub(super) struct Lending {
    store: Arc<Store>,
    /// By reader and number of the chunk.
    names: HashMap<(u32, u64), Handing>,
    /// By owner and name.
    borrowed: HashMap<(u32, u64), Borrowed>,
    letters: VecDeque<(u32, u64, OwnedFd)>,
    /// Whose letters are not taken any more.
    deaf: HashSet<u32>,
}

impl Lending {
    /// For one of `members` ranks of this machine.
    pub(super) fn new(members: u32) -> Self {
        Self {
            store: Arc::new(Store::new(Store::fair_len(members))),
            names: HashMap::new(),
            borrowed: HashMap::new(),
            letters: VecDeque::new(),
            deaf: HashSet::new(),
        }
    }

    pub(super) fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// Lends bytes to a peer if they are of our store. `hand_over` sends a chunk there under a name,
    /// which is done once.
    pub(super) fn lend(
        &mut self,
        rank: u32,
        bytes: (*const u8, usize),
        hand_over: impl FnOnce(u64, BorrowedFd<'_>) -> Result<Sent, PassError>,
    ) -> Option<Lent> {
        let (chunk, offset) = self.store.find(bytes.0, bytes.1)?;
        let handing = self.names.entry((rank, chunk.id())).or_insert(Handing::Tried(0));
        let tried = match handing {
            Handing::Named(name) => return Some(Lent { name: *name, offset, chunk }),
            Handing::Tried(times) => {
                *times = times.saturating_add(1);
                *times
            }
        };
        // A mailbox that is full is tried again less and less often.
        if !tried.is_power_of_two() {
            return None;
        }
        let name = getrandom::u64().ok()?;
        match hand_over(name, chunk.fd()) {
            Ok(Sent::Delivered) => {
                *handing = Handing::Named(name);
                Some(Lent { name, offset, chunk })
            }
            Ok(Sent::TryLater) | Err(_) => None,
        }
    }

    /// A chunk has come by letter.
    pub(super) fn arrived(&mut self, rank: u32, name: u64, fd: OwnedFd) {
        let waiting = self.letters.iter().filter(|(from, ..)| *from == rank).count();
        if waiting >= LETTERS_MAX {
            self.deaf.insert(rank);
        }
        if !self.deaf.contains(&rank) {
            self.letters.push_back((rank, name, fd));
        }
    }

    /// Whether a chunk is here, or its letter is.
    pub(super) fn knows(&self, rank: u32, name: u64) -> bool {
        self.borrowed.contains_key(&(rank, name)) || self.letter(rank, name).is_some()
    }

    fn letter(&self, rank: u32, name: u64) -> Option<usize> {
        self.letters.iter().position(|(from, named, _)| (*from, *named) == (rank, name))
    }

    /// The bytes of a message that a peer lends us, if they are what it says and can be read.
    pub(super) fn borrow(&mut self, rank: u32, wanted: &Wanted) -> Option<Remote> {
        let key = (rank, wanted.name);
        if !self.borrowed.contains_key(&key) {
            self.open(key)?;
        }
        let chunk = self.borrowed.get_mut(&key)?;
        let end = wanted.offset.checked_add(wanted.total as u64)?;
        let inside = wanted.at.checked_add(wanted.len)? <= wanted.total;
        if end > chunk.len() as u64 || !inside {
            return None;
        }
        chunk.part(wanted.offset + wanted.at as u64, wanted.len)
    }

    fn open(&mut self, key: (u32, u64)) -> Option<()> {
        let (.., fd) = self.letters.remove(self.letter(key.0, key.1)?)?;
        let chunk = Borrowed::adopt(fd).ok()?;
        let of_peer = self.borrowed.iter().filter(|((rank, _), _)| *rank == key.0);
        let (count, len) =
            of_peer.fold((0, 0), |(count, len), (_, it)| (count + 1, len + it.len() as u64));
        // Those that its owner has let go of meanwhile may still be here.
        if count >= 2 * CHUNKS_MAX || len + chunk.len() as u64 > MAPPED_MAX {
            return None;
        }
        self.borrowed.insert(key, chunk);
        Some(())
    }

    /// A peer takes a chunk back.
    pub(super) fn take_back(&mut self, rank: u32, name: u64) {
        self.borrowed.remove(&(rank, name));
        self.letters.retain(|(from, named, _)| (*from, *named) != (rank, name));
    }

    /// Chunks of ours that are gone, by who has them and under which name.
    pub(super) fn returned(&mut self) -> Vec<(u32, u64)> {
        if !self.store.any_gone() {
            return Vec::new();
        }
        let gone = self.store.take_gone();
        let mut named = Vec::new();
        self.names.retain(|(rank, chunk), handing| {
            let is_gone = gone.contains(chunk);
            if let (true, Handing::Named(name)) = (is_gone, handing) {
                named.push((*rank, *name));
            }
            !is_gone
        });
        named
    }

    /// Nothing is lent to a peer any more, or borrowed from it.
    pub(super) fn forget(&mut self, rank: u32) {
        self.names.retain(|(reader, _), _| *reader != rank);
        self.borrowed.retain(|(owner, _), _| *owner != rank);
        self.letters.retain(|(from, ..)| *from != rank);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    /// Two ranks, 0 and 1, and what rank 0 has sent to the other's mailbox.
    fn pair() -> (Lending, Lending) {
        (Lending::new(2), Lending::new(2))
    }

    fn wanted(lent: &Lent, total: usize) -> Wanted {
        Wanted { name: lent.name, offset: lent.offset, total, at: 0, len: total }
    }

    /// Lends bytes of rank 0 to rank 1, who gets the letter.
    fn lend(from: &mut Lending, to: &mut Lending, at: *const u8, len: usize) -> Option<Lent> {
        from.lend(1, (at, len), |name, fd| {
            to.arrived(0, name, fd.try_clone_to_owned().unwrap());
            Ok(Sent::Delivered)
        })
    }

    fn bytes(lending: &Lending, len: usize, value: u8) -> *const u8 {
        let at = lending.store.take(len, 64).unwrap();
        // SAFETY: just taken, and of that length.
        unsafe { at.as_ptr().write_bytes(value, len) };
        at.as_ptr()
    }

    #[test]
    fn a_chunk_is_handed_over_once_and_read_by_its_name() {
        let (mut one, mut two) = pair();
        let at = bytes(&one, MIB, 3);
        let lent = lend(&mut one, &mut two, at, MIB).unwrap();
        let mut out = vec![0; MIB];
        two.borrow(0, &wanted(&lent, MIB)).unwrap().copy_out(0, &mut out);
        assert!(out.iter().all(|&byte| byte == 3) && two.letters.is_empty());
        let again = one.lend(1, (at, 10), |_, _| panic!("it was handed over")).unwrap();
        assert_eq!(again.name, lent.name);
        assert!(lend(&mut one, &mut two, out.as_ptr(), 10).is_none());
    }

    #[test]
    fn what_is_lent_to_nobody_or_by_another_or_is_too_long_is_refused() {
        let (mut one, mut two) = pair();
        let at = bytes(&one, MIB, 3);
        let lent = lend(&mut one, &mut two, at, MIB).unwrap();
        let good = wanted(&lent, MIB);
        for (rank, bad) in [
            (2, good),
            (0, Wanted { name: lent.name ^ 1, ..good }),
            (0, Wanted { offset: u64::MAX, ..good }),
            (0, Wanted { offset: u64::MAX - 5, total: 10, len: 10, ..good }),
            (0, Wanted { total: usize::MAX, ..good }),
            (0, Wanted { total: 5 * MIB, ..good }),
            (0, Wanted { at: MIB, len: 1, ..good }),
            (0, Wanted { at: usize::MAX, len: usize::MAX, ..good }),
        ] {
            assert!(two.borrow(rank, &bad).is_none(), "{rank} {bad:?}");
        }
        assert!(two.borrow(0, &good).is_some());
    }

    #[test]
    fn the_first_letter_with_a_name_counts_and_a_later_forgery_does_not() {
        let (mut one, mut two) = pair();
        let at = bytes(&one, MIB, 3);
        let lent = lend(&mut one, &mut two, at, MIB).unwrap();
        let forger = Lending::new(2);
        let (chunk, _) = forger.store.find(bytes(&forger, MIB, 9), MIB).unwrap();
        two.arrived(0, lent.name, chunk.fd().try_clone_to_owned().unwrap());
        let mut out = [0; 8];
        two.borrow(0, &wanted(&lent, MIB)).unwrap().copy_out(0, &mut out);
        assert_eq!(out, [3; 8]);
    }

    #[test]
    fn a_flood_of_letters_ends_borrowing_of_that_rank_and_takes_bounded_room() {
        let (mut one, mut two) = pair();
        let at = bytes(&one, MIB, 3);
        let (chunk, _) = one.store.find(at, 1).unwrap();
        let mut flood = |rank| {
            for name in 0..2 * LETTERS_MAX as u64 {
                two.arrived(rank, name, chunk.fd().try_clone_to_owned().unwrap());
            }
        };
        flood(5);
        flood(6);
        assert_eq!(two.letters.len(), 2 * LETTERS_MAX);
        let lent = lend(&mut one, &mut two, at, MIB).unwrap();
        assert!(two.borrow(0, &wanted(&lent, MIB)).is_some());
        // Whoever writes in its name can stop a rank's lending, and nothing else.
        two.forget(5);
        two.arrived(5, lent.name, chunk.fd().try_clone_to_owned().unwrap());
        assert!(two.borrow(5, &wanted(&lent, MIB)).is_none() && two.letters.len() == LETTERS_MAX);
    }

    #[test]
    fn a_full_mailbox_is_tried_again_seldom() {
        let mut one = Lending::new(2);
        let at = bytes(&one, MIB, 3);
        let mut tried = 0;
        for _ in 0..1000 {
            let lent = one.lend(1, (at, MIB), |_, _| {
                tried += 1;
                Ok(Sent::TryLater)
            });
            assert!(lent.is_none());
        }
        assert_eq!(tried, 10);
    }

    #[test]
    fn a_chunk_that_is_gone_is_taken_back_from_who_has_it() {
        let (mut one, mut two) = pair();
        let at = bytes(&one, 96 * MIB, 3);
        let lent = lend(&mut one, &mut two, at, MIB).unwrap();
        assert!(two.borrow(0, &wanted(&lent, MIB)).is_some());
        assert!(one.returned().is_empty());
        // SAFETY: nobody uses it any more.
        assert!(unsafe { one.store.give_back(at) });
        assert_eq!(one.returned(), [(1, lent.name)]);
        assert!(one.returned().is_empty() && one.names.is_empty());
        two.take_back(0, lent.name);
        assert!(two.borrow(0, &wanted(&lent, MIB)).is_none() && two.borrowed.is_empty());
    }
}
