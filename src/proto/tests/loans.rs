//! Messages that are lent: taken, asked for instead, too long, withdrawn, or of somebody gone.

use super::*;

fn lending_pair() -> World {
    let mut world = pair();
    world.sky.limits.loan_min = 200;
    world
}

#[test]
fn a_lent_message_is_one_frame_and_is_done_when_the_receiver_has_copied_it() {
    let mut world = lending_pair();
    let message = body(0, 0, 0, 700);
    let send = world.ends[0].send(1, 1, 0, Mode::Standard, message.clone()).unwrap();
    world.pump(0);
    assert_eq!(world.sky.flights.values().map(VecDeque::len).sum::<usize>(), 1);
    while world.land(0, 1, 0) || world.land(0, 1, 1) {}
    assert_eq!(world.ends[1].peers[0].unexpected_bytes, 0, "nothing is kept of what is lent");
    assert_eq!(world.ends[1].probe(&exact(0, 0)).unwrap().len, 700);
    assert_eq!(world.ends[1].due(), None);
    let buffer = room(700);
    let receive = world.ends[1].receive(exact(0, 0), buffer.clone()).unwrap();
    let due = world.ends[1].due().unwrap();
    assert_eq!((due.loan, due.total, due.at, due.wanted), (message.loan().unwrap(), 700, 0, 700));
    world.ends[1].borrowed(due.key, &&message[..300]);
    assert_eq!(world.ends[1].due().unwrap().at, 300);
    assert!(world.ends[1].test_receive(receive).is_none() && !world.ends[0].send_is_done(send));
    world.ends[1].borrowed(due.key, &&message[300..]);
    assert!(world.ends[1].test_receive(receive).unwrap().is_ok());
    assert_eq!((buffer.0.borrow().clone(), world.ends[1].due()), (message, None));
    world.settle();
    assert_eq!(world.ends[0].test_send(send), Some(Ok(())));
}

#[test]
fn a_loan_that_cannot_be_taken_is_asked_for_from_its_beginning() {
    for before in [0, 10, 699] {
        let mut world = lending_pair();
        let message = body(0, 0, 0, 700);
        let buffer = room(800);
        let receive = world.ends[1].receive(exact(0, 0), buffer.clone()).unwrap();
        let send = world.ends[0].send(1, 1, 0, Mode::Synchronous, message.clone()).unwrap();
        world.pump(0);
        while world.land(0, 1, 0) || world.land(0, 1, 1) {}
        let due = world.ends[1].due().unwrap();
        world.ends[1].borrowed(due.key, &&vec![0xee; before][..]);
        world.ends[1].decline(due.key);
        world.ends[1].decline(due.key);
        world.settle();
        assert_eq!(world.ends[1].test_receive(receive).unwrap().unwrap().len, 700);
        assert_eq!(buffer.0.borrow()[..700], message);
        assert_eq!(world.ends[0].test_send(send), Some(Ok(())));
        assert_eq!(world.ends[1].tally().loans_declined.get(), 1);
    }
}

#[test]
fn a_lent_message_that_does_not_fit_is_an_error_that_keeps_its_beginning() {
    for len in [0, 20] {
        let mut world = lending_pair();
        let buffer = room(len);
        let receive = world.ends[1].receive(exact(0, 0), buffer.clone()).unwrap();
        let message = body(0, 0, 0, 700);
        let send = world.ends[0].send(1, 1, 0, Mode::Standard, message.clone()).unwrap();
        world.settle();
        let outcome = world.ends[1].test_receive(receive).unwrap();
        assert!(matches!(outcome, Err(Error::Truncated { received, .. }) if received.len == 700));
        assert_eq!(buffer.0.borrow()[..], message[..len]);
        assert_eq!(world.ends[0].test_send(send), Some(Ok(())));
        // Who lent and who borrowed count the same, also when nothing was copied.
        let [lent, borrowed] = [0, 1].map(|at: usize| &world.ends[at].tally().loans);
        assert_eq!(lent.sent.messages.get(), borrowed.received.messages.get());
        assert!(len > 0 || lent.sent.messages.get() == 1);
    }
}

#[test]
fn a_lent_message_can_be_withdrawn_until_it_is_matched() {
    let mut world = lending_pair();
    let send = world.ends[0].send(1, 1, 0, Mode::Standard, body(0, 0, 0, 700)).unwrap();
    world.settle();
    world.ends[0].cancel_send(send);
    world.settle();
    assert_eq!(world.ends[0].test_send(send), Some(Err(Error::Cancelled)));
    assert_eq!((world.ends[1].unexpected_len(), world.ends[1].due()), (0, None));
}

#[test]
fn nothing_is_read_of_a_lender_that_was_lost() {
    let mut world = lending_pair();
    let receive = world.ends[1].receive(exact(0, 0), room(700)).unwrap();
    world.ends[0].send(1, 1, 0, Mode::Standard, body(0, 0, 0, 700)).unwrap();
    world.ends[0].send(1, 1, 1, Mode::Standard, body(0, 1, 0, 700)).unwrap();
    world.pump(0);
    while world.land(0, 1, 0) || world.land(0, 1, 1) {}
    assert!(world.ends[1].any_due());
    world.ends[1].lose(0, "gone", false);
    assert_eq!(world.ends[1].due(), None);
    assert!(world.ends[1].test_receive(receive).unwrap().is_err());
    assert!(world.ends[1].receive(exact(0, 1), room(700)).is_err());
}

#[test]
fn a_lend_frame_that_says_no_place_is_a_fault() {
    for len in [0, 15, 17, 60] {
        let mut world = pair();
        let header = Header { kind: Kind::Lend, context: 1, total: 300, len, ..Header::default() };
        let payload = vec![1; len as usize];
        assert_eq!(world.ends[0].arrive(1, &header, &&payload[..]), Err(Fault::Loan));
    }
}
