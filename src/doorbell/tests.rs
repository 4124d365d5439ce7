//! The doorbell over real memory, between threads.

use super::*;
use crate::region::device::{Device, Memory, Wanted};
use crate::region::{Geometry, SectionLayout, heap, posix};

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
    assert_eq!(Ringer::new(&one, &zero_seen).unwrap().ring_if_armed(), Ring::Awake);
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
    assert_eq!(Ringer::new(&one, &zero_seen).unwrap().ring_if_armed(), Ring::Awake);
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
    assert_eq!(Ringer::new(&one, &zero_seen).unwrap().ring_if_armed(), Ring::Rung);
    assert_eq!(armed.sleep(LONG).unwrap(), Woken::TimedOut);
}

#[test]
fn a_peer_on_another_machine_is_rung_by_its_device_and_never_by_a_futex() {
    let (zero, one, zero_seen, one_seen) = pair();
    let mut sleeper = Sleeper::new(&zero, Policy::Interrupt);
    sleeper.add(&one_seen).unwrap();
    let fd = interrupt::eventfd().unwrap();
    sleeper.add_interrupt(fd.try_clone().unwrap().into());
    let mut ringer = Ringer::new(&one, &zero_seen).unwrap().over(fd.into());
    for _ in 0..3 {
        let armed = sleeper.arm();
        assert_eq!(ringer.ring_if_armed(), Ring::Rung);
        assert_eq!(ringer.ring_if_armed(), Ring::AlreadyRung);
        assert_eq!(armed.sleep(LONG).unwrap(), Woken::Rung);
        assert_eq!(ringer.ring_if_armed(), Ring::Awake);
    }
    // Its word may say anything; what cannot be rung gets a byte.
    zero.window().store_u32(ARMED_OFFSET, 99 << 2 | MARK_FUTEX);
    assert_eq!(ringer.ring_if_armed(), Ring::SendByte);
    let mut byte = Ringer::new(&one, &zero_seen).unwrap().over(Far::Byte);
    let armed = sleeper.arm();
    assert_eq!(byte.ring_if_armed(), Ring::SendByte);
    drop(armed);
}

#[test]
fn an_interrupt_that_never_comes_ends_with_the_sleeps_limit() {
    let (zero, _one, _, one_seen) = pair();
    let mut sleeper = Sleeper::new(&zero, Policy::Interrupt);
    sleeper.add(&one_seen).unwrap();
    sleeper.add_interrupt(interrupt::eventfd().unwrap().into());
    let armed = sleeper.arm();
    let short = Duration::from_millis(2);
    assert_eq!(armed.sleep(short).unwrap(), Woken::TimedOut);
}

#[test]
fn a_peer_that_sees_another_section_of_ours_sees_us_asleep_too() {
    let (zero, one, zero_seen, _) = pair();
    let also = heap::create(layout(2), 0).unwrap();
    let also_seen = heap::view(&also, 1).unwrap();
    let mut sleeper = Sleeper::new(&zero, Policy::TcpByte);
    sleeper.also(&also);
    let mut first = Ringer::new(&one, &zero_seen).unwrap();
    let mut second = Ringer::new(&one, &also_seen).unwrap();
    let armed = sleeper.arm();
    assert_eq!(first.ring_if_armed(), Ring::SendByte);
    assert_eq!(second.ring_if_armed(), Ring::SendByte);
    drop(armed);
    assert_eq!(first.ring_if_armed(), Ring::Awake);
    assert_eq!(second.ring_if_armed(), Ring::Awake);
}

#[test]
fn memory_of_a_device_is_never_slept_on_with_a_futex() {
    let wanted = Wanted { slots: Some(2), geometry: Geometry::MIN, ..Wanted::default() };
    let device = Device::open(Memory::heap(1 << 20), &wanted).unwrap();
    let (zero, one) = (device.claim().unwrap(), device.claim().unwrap());
    let one_seen = device.peer(one.identity(), 0).unwrap();
    let mut sleeper = Sleeper::new(&zero, Policy::Futex);
    assert!(matches!(sleeper.add(&one_seen), Err(DoorbellError::NoFutex)));
    sleeper.set_policy(Policy::None);
    sleeper.add(&one_seen).unwrap();
    sleeper.set_policy(Policy::Futex);
    assert_eq!(sleeper.policy(), Policy::TcpByte);
}

/// How the members of a test wake each other: a policy, an interrupt, and a ringer for each peer
/// with what is done when a byte is to be sent.
trait Wire: Sync {
    fn policy(&self) -> Policy {
        Policy::Futex
    }
    fn interrupt(&self, _me: u32) -> Option<Interrupt> {
        None
    }
    fn far(&self, ringer: Ringer, _peer: u32) -> Ringer {
        ringer
    }
    fn send_byte(&self, _peer: u32) {
        panic!("no byte was agreed on");
    }
}

struct ByFutex;

impl Wire for ByFutex {}

/// As a device has it: one interrupt for each member, whoever rings.
struct ByInterrupt(Vec<std::os::fd::OwnedFd>);

impl ByInterrupt {
    fn fd(&self, member: u32) -> std::os::fd::OwnedFd {
        self.0[member as usize].try_clone().unwrap()
    }
}

impl Wire for ByInterrupt {
    fn policy(&self) -> Policy {
        Policy::Interrupt
    }
    fn interrupt(&self, me: u32) -> Option<Interrupt> {
        Some(self.fd(me).into())
    }
    fn far(&self, ringer: Ringer, peer: u32) -> Ringer {
        ringer.over(self.fd(peer).into())
    }
    /// Rings came faster than any device can interrupt.
    fn send_byte(&self, peer: u32) {
        use std::io::Write;
        let mut byte = std::fs::File::from(self.fd(peer));
        byte.write_all(&1_u64.to_ne_bytes()).unwrap();
    }
}

/// Sleepers that count on being woken: a sleep that runs into its limit is a lost wake-up.
///
/// Each of `own` goes round with all others, and `seen(by, of)` is how one sees another.
fn go_round(
    own: &[OwnSection],
    seen: impl Fn(u32, &OwnSection) -> PeerSection + Sync,
    wire: &impl Wire,
) {
    const ROUNDS: u32 = 2000;
    // A word of the header's spare room as the simplest possible ring.
    const MESSAGE: usize = 48;
    let go = |own: &OwnSection, peers: &[PeerSection]| {
        let mut sleeper = Sleeper::new(own, Policy::None);
        sleeper.set_policy(wire.policy());
        if let Some(interrupt) = wire.interrupt(own.identity().index) {
            sleeper.add_interrupt(interrupt);
        }
        let mut ringers = vec![];
        for peer in peers {
            let index = peer.identity().index;
            sleeper.add(peer).unwrap();
            ringers.push((wire.far(Ringer::new(own, peer).unwrap(), index), index));
        }
        for round in 1..=ROUNDS {
            own.window().store_u32(MESSAGE, round);
            for (ringer, peer) in &mut ringers {
                if ringer.ring_if_armed() == Ring::SendByte {
                    wire.send_byte(*peer);
                }
            }
            let all = || peers.iter().all(|peer| peer.header().load_u32(MESSAGE) >= round);
            while !all() {
                let armed = sleeper.arm();
                if !all() {
                    assert_eq!(armed.sleep(LONG).unwrap(), Woken::Rung, "lost");
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for me in own {
            let index = me.identity().index;
            let others = own.iter().filter(|other| other.identity().index != index);
            let peers: Vec<_> = others.map(|other| seen(index, other)).collect();
            scope.spawn(move || go(me, &peers));
        }
    });
}

/// As many members as this kernel can let wait for each other, up to four.
fn members() -> u32 {
    if can_wait_on(3) { 4 } else { 2 }
}

#[test]
fn thousands_of_sleeps_over_sealed_memory_are_all_ended_by_their_peers() {
    for members in [2, members()] {
        let own: Vec<_> =
            (0..members).map(|i| posix::create_memfd(layout(members), i).unwrap()).collect();
        go_round(
            &own,
            |by, of| {
                let fd = of.fd().unwrap().try_clone_to_owned().unwrap();
                posix::adopt(fd, of.identity(), by).unwrap()
            },
            &ByFutex,
        );
    }
}

#[test]
fn thousands_of_sleeps_over_private_memory_are_all_ended_by_their_peers() {
    for members in [2, members()] {
        let own: Vec<_> = (0..members).map(|i| heap::create(layout(members), i).unwrap()).collect();
        go_round(&own, |by, of| heap::view(of, by).unwrap(), &ByFutex);
    }
}

#[test]
fn thousands_of_sleeps_over_a_device_are_all_ended_by_interrupts() {
    const MEMBERS: u32 = 3;
    let wanted = Wanted { slots: Some(MEMBERS), geometry: Geometry::MIN, ..Wanted::default() };
    let device = Device::open(Memory::heap(1 << 20), &wanted).unwrap();
    let own: Vec<_> = (0..MEMBERS).map(|_| device.claim().unwrap()).collect();
    let wire = ByInterrupt((0..MEMBERS).map(|_| interrupt::eventfd().unwrap()).collect());
    let seen = |by, of: &OwnSection| device.peer(of.identity(), by).unwrap();
    go_round(&own, seen, &wire);
}
