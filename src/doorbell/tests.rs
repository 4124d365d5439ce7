//! The doorbell over real memory, between threads.

use super::*;
use crate::region::{Geometry, SectionLayout, heap, posix};
use std::os::fd::BorrowedFd;

const LONG: Duration = Duration::from_secs(60);

fn layout(members: u32) -> SectionLayout {
    SectionLayout::new(members, Geometry::MIN).unwrap()
}

/// Sections of members 0 and 1, and each as the other sees it.
fn pair() -> (OwnSection, OwnSection, PeerSection, PeerSection) {
    let zero = heap::create(layout(2), 0).unwrap();
    let one = heap::create(layout(2), 1).unwrap();
    let zero_seen = heap::view(&zero, 1).unwrap();
    let one_seen = heap::view(&one, 0).unwrap();
    (zero, one, zero_seen, one_seen)
}

#[test]
fn only_an_armed_doorbell_is_rung_and_once_per_sleep() {
    let (zero, one, zero_seen, one_seen) = pair();
    let mut sleeper = Sleeper::new(&zero, Policy::Futex);
    sleeper.add(&one_seen).unwrap();
    let mut ringer = Ringer::new(&one, &zero_seen).unwrap();
    assert_eq!(ringer.ring_if_armed(), Ring::Awake);
    for _ in 0..3 {
        let armed = sleeper.arm();
        assert_eq!(ringer.ring_if_armed(), Ring::Rung);
        assert_eq!(ringer.ring_if_armed(), Ring::AlreadyRung);
        // Rung between arming and sleeping: the sleep does not begin.
        assert_eq!(armed.sleep(LONG).unwrap(), Woken::Rung);
        assert_eq!(ringer.ring_if_armed(), Ring::Awake);
    }
}

#[test]
fn finding_work_while_armed_disarms() {
    let (zero, one, zero_seen, _) = pair();
    let mut sleeper = Sleeper::new(&zero, Policy::Futex);
    drop(sleeper.arm());
    assert_eq!(
        Ringer::new(&one, &zero_seen).unwrap().ring_if_armed(),
        Ring::Awake
    );
}

#[test]
fn a_peer_that_polls_sockets_asks_for_a_byte() {
    let (zero, one, zero_seen, _) = pair();
    let mut sleeper = Sleeper::new(&zero, Policy::TcpByte);
    let mut ringer = Ringer::new(&one, &zero_seen).unwrap();
    let armed = sleeper.arm();
    assert_eq!(ringer.ring_if_armed(), Ring::SendByte);
    assert_eq!(ringer.ring_if_armed(), Ring::AlreadyRung);
    assert!(matches!(armed.sleep(LONG), Err(DoorbellError::PollInstead)));
    assert_eq!(ringer.ring_if_armed(), Ring::Awake);
}

#[test]
fn without_a_doorbell_nobody_rings_and_naps_are_short() {
    let (zero, one, zero_seen, _) = pair();
    let mut sleeper = Sleeper::new(&zero, Policy::None);
    let armed = sleeper.arm();
    assert_eq!(
        Ringer::new(&one, &zero_seen).unwrap().ring_if_armed(),
        Ring::Awake
    );
    assert_eq!(armed.sleep(LONG).unwrap(), Woken::TimedOut);
}

#[test]
fn every_value_of_a_peers_armed_word_means_something() {
    let (zero, one, zero_seen, _) = pair();
    let mut ringer = Ringer::new(&one, &zero_seen).unwrap();
    for word in (0..=0xff).chain(u32::MAX - 0xff..=u32::MAX) {
        zero.window().store_u32(ARMED_OFFSET, word);
        let expected = match word & 3 {
            0 => Ring::Awake,
            1 => Ring::Rung,
            _ => Ring::SendByte,
        };
        assert_eq!(ringer.ring_if_armed(), expected, "{word:#x}");
    }
}

#[test]
fn a_futex_is_chosen_only_where_it_can_work() {
    assert_eq!(Policy::choose(1, false), Policy::Futex);
    assert_eq!(Policy::choose(1, true), Policy::TcpByte);
    assert_eq!(Policy::choose(0, false), Policy::TcpByte);
    assert_eq!(Policy::choose(WAIT_MAX + 1, false), Policy::TcpByte);
}

#[test]
fn a_bell_no_longer_listened_to_does_not_wake() {
    let (zero, one, zero_seen, one_seen) = pair();
    let mut sleeper = Sleeper::new(&zero, Policy::Futex);
    sleeper.add(&one_seen).unwrap();
    sleeper.remove(1);
    let armed = sleeper.arm();
    assert_eq!(
        Ringer::new(&one, &zero_seen).unwrap().ring_if_armed(),
        Ring::Rung
    );
    assert_eq!(armed.sleep(LONG).unwrap(), Woken::TimedOut);
}

fn duplicate(fd: BorrowedFd<'_>) -> std::os::fd::OwnedFd {
    fd.try_clone_to_owned().unwrap()
}

/// Sleepers that count on being woken: a sleep that runs into its limit is a lost wake-up.
#[test]
fn thousands_of_sleeps_over_sealed_memory_are_all_ended_by_their_peers() {
    const ROUNDS: u32 = 3000;
    let members = if can_wait_on(2) { 3 } else { 2 };
    let own: Vec<_> = (0..members)
        .map(|i| posix::create_memfd(layout(members), i).unwrap())
        .collect();
    let seen = |by: u32, of: u32| {
        let own = &own[of as usize];
        posix::adopt(duplicate(own.fd().unwrap()), own.identity(), by).unwrap()
    };
    // A word of the header's spare room as the simplest possible ring.
    const MESSAGE: usize = 48;
    std::thread::scope(|scope| {
        for me in 0..members {
            let peers: Vec<_> = (0..members)
                .filter(|&of| of != me)
                .map(|of| seen(me, of))
                .collect();
            let own = &own[me as usize];
            scope.spawn(move || {
                let mut sleeper = Sleeper::new(own, Policy::Futex);
                let mut ringers = vec![];
                for peer in &peers {
                    sleeper.add(peer).unwrap();
                    ringers.push(Ringer::new(own, peer).unwrap());
                }
                for round in 1..=ROUNDS {
                    own.window().store_u32(MESSAGE, round);
                    for ringer in &mut ringers {
                        ringer.ring_if_armed();
                    }
                    let all = || peers.iter().all(|p| p.header().load_u32(MESSAGE) >= round);
                    while !all() {
                        let armed = sleeper.arm();
                        if !all() {
                            assert_eq!(armed.sleep(LONG).unwrap(), Woken::Rung, "lost");
                        }
                    }
                }
            });
        }
    });
}
