//! How two ranks find each other, and that it is them.

use crate::support::*;
use cohost::net::{BindPolicy, Down, Net, NetConfig, NetError, PeerCard};
use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

fn both_up(r: &mut [&mut Rank]) -> bool {
    r[0].net.is_up(1) && r[1].net.is_up(0)
}

/// A loopback port where nobody listens: it was free a moment ago.
fn closed_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[test]
fn one_call_connects_both_sides_once() {
    let (a, b) = pair(config(), config());
    assert_eq!((a.memory.ups(1), b.memory.ups(0)), (1, 1));
    assert_eq!(a.net.peers_up().collect::<Vec<_>>(), [1]);
}

#[test]
fn ipv6_carries_frames_as_well() {
    let mut a = Rank::new(0, 2, config());
    let mut b = Rank::new(1, 2, config());
    let mut card = b.card();
    card.addresses.retain(SocketAddr::is_ipv6);
    if card.addresses.is_empty() {
        eprintln!("skipped: this machine has no IPv6 loopback");
        return;
    }
    a.connect(card);
    run(&mut [&mut a, &mut b], both_up);
    assert!(a.memory.remotes[&1].is_ipv6());
    deliver(&mut [&mut a, &mut b], 1, &header(STAGED, 5, 3), b"six");
    run(&mut [&mut a, &mut b], |r| r[1].memory.frames() == 1);
}

#[test]
fn dead_and_foreign_candidates_are_passed_over() {
    let mut a = Rank::new(0, 3, config());
    let mut b = Rank::new(1, 3, config());
    let mut impostor = Rank::new(2, 3, config());
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut card = b.card();
    let mut addresses = vec![closed_port(), impostor.card().addresses[0]];
    addresses.push(silent.local_addr().unwrap());
    addresses.append(&mut card.addresses);
    card.addresses = addresses;
    a.connect(card);
    run(&mut [&mut a, &mut b, &mut impostor], both_up);
    assert_eq!(impostor.memory.events, []);
    assert_eq!(a.memory.remotes[&1].port(), b.card().addresses[0].port());
}

#[test]
fn when_nobody_proves_to_be_the_peer_each_candidate_is_listed_with_its_reason() {
    let mut a = Rank::new(0, 3, config());
    let mut impostor = Rank::new(2, 3, config());
    let dead = closed_port();
    let addresses = vec![dead, impostor.card().addresses[0]];
    a.connect(PeerCard { rank: 1, epoch: 9, secret: [9; 16], addresses });
    run(&mut [&mut a, &mut impostor], |r| r[0].memory.down(1).is_some());
    let Some(Down::Unreachable(text)) = a.memory.down(1) else { panic!() };
    assert!(text.contains(&format!("{dead}: ")), "{text}");
    assert!(text.contains("refused: it is another rank (rank 2)"), "{text}");
    assert!(!a.net.is_connecting(1));
}

/// What rank 0 says of a peer that differs from its card as `change` says.
fn refusal(change: impl FnOnce(&mut PeerCard), job: u64) -> String {
    let mut own = identity(0);
    own.job = job;
    let mut a = Rank::with(own, 2, config());
    let mut b = Rank::new(1, 2, config());
    let mut card = b.card();
    change(&mut card);
    a.connect(card);
    run(&mut [&mut a, &mut b], |r| r[0].memory.down(1).is_some());
    assert_eq!(b.memory.events, []);
    match a.memory.down(1) {
        Some(Down::Unreachable(text)) => text,
        other => panic!("{other:?}"),
    }
}

#[test]
fn another_job_another_life_and_another_secret_are_refused_with_the_reason() {
    assert!(refusal(|_| {}, 5).contains("another job"));
    assert!(refusal(|card| card.epoch = 5, JOB).contains("restarted"));
    assert!(refusal(|card| card.secret = [5; 16], JOB).contains("proof"));
}

#[test]
fn a_caller_from_an_earlier_life_is_refused() {
    let mut a = Rank::new(0, 2, config());
    let mut b = Rank::new(1, 2, config());
    // The sink knows that rank 0 was restarted with another epoch.
    b.memory.cards.insert(0, PeerCard { epoch: 4242, ..a.card() });
    a.connect(b.card());
    run(&mut [&mut a, &mut b], |r| r[0].memory.down(1).is_some());
    let Some(Down::Unreachable(text)) = a.memory.down(1) else { panic!() };
    assert!(text.contains("newer life"), "{text}");
}

#[test]
fn a_restarted_peer_takes_the_place_of_its_earlier_life() {
    let (a, mut b) = pair(config(), config());
    let mut own = identity(0);
    own.epoch = 4242;
    let mut again = Rank::with(own, 2, config());
    b.memory.cards.insert(0, again.card());
    again.connect(b.card());
    run(&mut [&mut again, &mut b], both_up);
    let events = &b.memory.events;
    assert_eq!(*events, [Event::Up(0), Event::Down(0, Down::Reset), Event::Up(0)]);
    drop(a);
}

#[test]
fn a_card_of_a_new_life_ends_the_connection_with_the_old_one() {
    let (a, mut b) = pair(config(), config());
    b.net.accept_from(&PeerCard { epoch: 4242, ..a.card() });
    assert!(!b.net.is_up(0));
    run(&mut [&mut b], |r| r[0].memory.down(0).is_some());
    assert!(matches!(b.memory.down(0), Some(Down::Fault(_))));
}

#[test]
fn both_calling_at_once_end_with_one_connection_and_lose_nothing() {
    for round in 0..200_u64 {
        let mut a = Rank::new(0, 2, config());
        let mut b = Rank::new(1, 2, config());
        a.connect(b.card());
        // Different interleavings: up to seven polls of one side before the other calls.
        for _ in 0..round % 8 {
            a.net.poll(Some(Duration::ZERO), Instant::now(), &mut a.memory).unwrap();
            if round & 8 != 0 {
                b.net.poll(Some(Duration::ZERO), Instant::now(), &mut b.memory).unwrap();
            }
        }
        b.connect(a.card());
        let mut sent = [0_u64; 2];
        run(&mut [&mut a, &mut b], |r| {
            for me in 0..2 {
                let peer = 1 - me as u32;
                if sent[me] < 20 && r[me].net.is_up(peer) {
                    let mut progress = 0;
                    r[me].try_send(peer, &header(STAGED, sent[me], 0), &[], &mut progress);
                    sent[me] += 1;
                }
            }
            r[0].memory.frames() == 20 && r[1].memory.frames() == 20
        });
        // Nothing comes late either.
        for _ in 0..5 {
            a.poll();
            b.poll();
        }
        for (rank, peer) in [(&a, 1), (&b, 0)] {
            assert_eq!(rank.memory.ups(peer), 1, "round {round}");
            assert_eq!(rank.memory.down(peer), None, "round {round}");
            assert_eq!(rank.memory.numbers_from(peer), (0..20).collect::<Vec<_>>());
        }
    }
}

#[test]
fn both_calling_at_once_from_threads_end_with_one_connection() {
    for _ in 0..30 {
        let mut a = Rank::new(0, 2, config());
        let mut b = Rank::new(1, 2, config());
        let cards = (a.card(), b.card());
        let gate = std::sync::Barrier::new(2);
        let work = |rank: &mut Rank, card: PeerCard| {
            let peer = card.rank;
            gate.wait();
            rank.connect(card);
            run(&mut [rank], |r| r[0].net.is_up(peer));
            let mut progress = 0;
            rank.try_send(peer, &header(STAGED, 7, 0), &[], &mut progress);
            run(&mut [rank], |r| r[0].memory.frames() == 1);
            gate.wait();
            rank.poll();
            assert_eq!(rank.memory.ups(peer), 1);
            assert_eq!(rank.memory.down(peer), None);
            gate.wait();
        };
        std::thread::scope(|scope| {
            scope.spawn(|| work(&mut a, cards.1));
            scope.spawn(|| work(&mut b, cards.0));
        });
    }
}

#[test]
fn everybody_calling_everybody_makes_one_connection_per_pair() {
    const SIZE: u32 = 8;
    let mut ranks: Vec<Rank> = (0..SIZE).map(|rank| Rank::new(rank, SIZE, config())).collect();
    let cards: Vec<PeerCard> = ranks.iter().map(Rank::card).collect();
    for rank in &mut ranks {
        for card in &cards {
            if card.rank != rank.identity.rank {
                rank.connect(card.clone());
            }
        }
    }
    let mut all: Vec<&mut Rank> = ranks.iter_mut().collect();
    run(&mut all, |r| r.iter().all(|rank| rank.net.peers_up().count() == SIZE as usize - 1));
    for rank in &mut all {
        rank.poll();
        assert_eq!(rank.memory.events.len(), SIZE as usize - 1, "{:?}", rank.memory.events);
    }
}

#[test]
fn a_lost_connection_can_be_made_again_by_either_side() {
    for caller in 0..2 {
        let (mut a, mut b) = pair(config(), config());
        let cards = [a.card(), b.card()];
        // One side drops it without a word, and calls before the other has noticed.
        let side = if caller == 0 { &mut a } else { &mut b };
        side.net.close(1 - caller, false);
        side.connect(cards[1 - caller as usize].clone());
        let other = 1 - caller;
        run(&mut [&mut a, &mut b], |r| {
            r[caller as usize].memory.ups(other) == 2 && r[other as usize].memory.ups(caller) == 2
        });
        assert!(a.net.is_up(1) && b.net.is_up(0));
        deliver(&mut [&mut a, &mut b], 1, &header(STAGED, 1, 0), &[]);
        run(&mut [&mut a, &mut b], |r| r[1].memory.frames() == 1);
    }
}

#[test]
fn a_farewell_is_told_from_a_death_and_what_was_sent_before_arrives() {
    let (mut a, mut b) = pair(config(), config());
    let data = payload(1, 100_000);
    let mut progress = 0;
    a.try_send(1, &header(STAGED, 1, data.len()), &data, &mut progress);
    assert_eq!(progress, data.len() + 48);
    // The peer still sends when this side closes: that must not cut its own last frame off.
    let mut ignored = 0;
    b.try_send(0, &header(STAGED, 1, data.len()), &data, &mut ignored);
    a.net.close(1, true);
    assert!(!a.net.is_up(1));
    run(&mut [&mut a, &mut b], |r| r[1].memory.down(0).is_some() && r[0].net.lingering() == 0);
    assert_eq!(b.memory.down(0), Some(Down::Closed));
    assert_eq!(b.memory.numbers_from(0), [1]);
    assert_eq!(a.memory.down(1), None);

    let (a, mut b) = pair(config(), config());
    drop(a);
    run(&mut [&mut b], |r| r[0].memory.down(0).is_some());
    assert_eq!(b.memory.down(0), Some(Down::Reset));
}

#[test]
fn a_taken_port_is_named_with_a_remedy() {
    let first = Rank::new(0, 2, config());
    let port = first.net.addresses()[0].port();
    let config = NetConfig { bind: BindPolicy::Port(port), ..config() };
    let error = Net::bind(identity(1), 2, config).err().unwrap();
    assert!(matches!(error, NetError::PortTaken { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains(&port.to_string()) && text.contains("choose another port"), "{text}");
}

#[test]
fn wrong_settings_and_wrong_peers_are_refused_by_name() {
    let refused = |identity, config| Net::bind(identity, 2, config).err().unwrap().to_string();
    assert!(refused(identity(2), config()).contains("rank"));
    let mut unborn = identity(0);
    unborn.epoch = 0;
    assert!(refused(unborn, config()).contains("epoch"));
    let tiny = NetConfig { receive_buffer: 10, ..config() };
    assert!(refused(identity(0), tiny).contains("receive_buffer"));

    let mut a = Rank::new(0, 2, config());
    let now = Instant::now();
    let card = |rank| PeerCard { rank, epoch: 1, secret: [0; 16], addresses: Vec::new() };
    assert!(matches!(a.net.connect(card(0), now), Err(NetError::NoSuchPeer { .. })));
    assert!(matches!(a.net.connect(card(2), now), Err(NetError::NoSuchPeer { .. })));
    assert!(matches!(a.net.connect(card(1), now), Err(NetError::NoAddress { .. })));
    let sent = a.net.send(1, &header(STAGED, 0, 0), &[], &mut 0);
    assert!(matches!(sent, Err(NetError::NotConnected { peer: 1 })));
}

#[test]
fn a_call_waits_for_a_peer_that_is_computing() {
    let mut a =
        Rank::new(0, 2, NetConfig { connect_timeout: Duration::from_millis(50), ..config() });
    let mut b = Rank::new(1, 2, config());
    a.connect(b.card());
    // Time is an argument: an hour less a little passes in which rank 1 does not poll.
    let mut now = Instant::now();
    for _ in 0..100 {
        a.net.poll(Some(Duration::ZERO), now, &mut a.memory).unwrap();
        now += Duration::from_secs(30);
    }
    assert_eq!(a.memory.events, []);
    run(&mut [&mut a, &mut b], both_up);
}

#[test]
fn a_candidate_that_stays_silent_is_given_up_in_the_end() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let addresses = vec![silent.local_addr().unwrap()];
    let mut a = Rank::new(0, 2, config());
    a.connect(PeerCard { rank: 1, epoch: 9, secret: [9; 16], addresses });
    for _ in 0..5 {
        a.poll();
    }
    assert_eq!(a.memory.events, []);
    let late = Instant::now() + config().answer_timeout + Duration::from_secs(1);
    a.net.poll(Some(Duration::ZERO), late, &mut a.memory).unwrap();
    match a.memory.down(1) {
        Some(Down::Unreachable(text)) => assert!(text.contains("silent"), "{text}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_card_of_a_new_life_replaces_a_call_to_the_old_one() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut a = Rank::new(0, 2, config());
    let mut b = Rank::new(1, 2, config());
    let addresses = vec![silent.local_addr().unwrap()];
    a.connect(PeerCard { epoch: 1, addresses, ..b.card() });
    a.connect(b.card());
    run(&mut [&mut a, &mut b], both_up);
    assert_eq!(a.memory.events, [Event::Up(1)]);
}
