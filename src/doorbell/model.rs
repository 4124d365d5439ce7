//! All interleavings of one sleeper and two senders, over a memory with store buffers: a store is
//! seen by its own thread at once and by the others some time later, and stores to different
//! words may become visible in any order (weaker than x86, as weak as needed here). A fence waits
//! until the buffer is empty; so does a system call.
//!
//! The steps are those of `Sleeper::arm`, the caller's look, `Armed::sleep` and
//! `Ringer::ring_if_armed`. A wake-up is lost when nobody can go on and the sleeper is not done.
//! Each rule of the protocol is also taken away once, to see that the model would notice.

use std::collections::HashSet;

const SENDERS: usize = 2;
/// Messages of each sender: enough for one before, during and after a sleep.
const MESSAGES: u8 = 2;

/// Words of the shared memory.
const ARMED: u8 = 0;
const fn data(sender: usize) -> u8 {
    1 + sender as u8
}
const fn bell(sender: usize) -> u8 {
    1 + (SENDERS + sender) as u8
}
const WORDS: usize = 1 + 2 * SENDERS;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Once {
    /// Each sleep is rung at most once by each sender.
    PerSleep,
    /// A sender rings whenever it sees the sleeper armed.
    Never,
    /// A sender rings its peer once in its life.
    PerLife,
}

#[derive(Clone, Copy, Debug)]
struct Rules {
    sleeper_fence: bool,
    sender_fence: bool,
    /// The bells are noted before arming; otherwise after the last look.
    seen_before_arming: bool,
    /// The sleeper waits on the senders' bells; otherwise on its own armed word.
    bells: bool,
    once: Once,
}

const PROTOCOL: Rules = Rules {
    sleeper_fence: true,
    sender_fence: true,
    seen_before_arming: true,
    bells: true,
    once: Once::PerSleep,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Sleeps {
    See,
    Arm,
    Fence,
    Look,
    SeeLate,
    Wait,
    Asleep,
    Disarm,
    Done,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Sends {
    Publish,
    Fence,
    Look,
    Bell,
    Wake,
    Done,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Sender {
    at: Sends,
    sent: u8,
    rung: u8,
    buffer: Vec<(u8, u8)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    memory: [u8; WORDS],
    at: Sleeps,
    sleep: u8,
    seen: [u8; SENDERS],
    consumed: [u8; SENDERS],
    buffer: Vec<(u8, u8)>,
    senders: [Sender; SENDERS],
}

fn read(memory: &[u8; WORDS], buffer: &[(u8, u8)], word: u8) -> u8 {
    let own = buffer.iter().rev().find(|(at, _)| *at == word);
    own.map_or(memory[word as usize], |(_, value)| *value)
}

/// Every state after one more of the buffered stores has become visible.
fn flushed(buffer: &[(u8, u8)]) -> impl Iterator<Item = (Vec<(u8, u8)>, (u8, u8))> {
    (0..buffer.len()).filter_map(|i| {
        let (word, value) = buffer[i];
        let oldest_of_its_word = buffer[..i].iter().all(|(at, _)| *at != word);
        oldest_of_its_word.then(|| {
            let mut rest = buffer.to_vec();
            rest.remove(i);
            (rest, (word, value))
        })
    })
}

impl State {
    fn start() -> Self {
        let sender = Sender { at: Sends::Publish, sent: 0, rung: 0, buffer: vec![] };
        Self {
            memory: [0; WORDS],
            at: Sleeps::See,
            sleep: 0,
            seen: [0; SENDERS],
            consumed: [0; SENDERS],
            buffer: vec![],
            senders: std::array::from_fn(|_| sender.clone()),
        }
    }

    fn next(&self, rules: Rules) -> Vec<Self> {
        let mut next = vec![];
        next.extend(self.sleeper_step(rules));
        for i in 0..SENDERS {
            next.extend(self.sender_step(rules, i));
            for (rest, (word, value)) in flushed(&self.senders[i].buffer) {
                let mut state = self.clone();
                state.senders[i].buffer = rest;
                state.memory[word as usize] = value;
                next.push(state);
            }
        }
        for (rest, (word, value)) in flushed(&self.buffer) {
            let mut state = self.clone();
            state.buffer = rest;
            state.memory[word as usize] = value;
            next.push(state);
        }
        next
    }

    fn see(&mut self) {
        self.seen = std::array::from_fn(|i| read(&self.memory, &self.buffer, bell(i)));
    }

    fn sleeper_step(&self, rules: Rules) -> Option<Self> {
        let mut state = self.clone();
        state.at = match self.at {
            Sleeps::See => {
                state.see();
                Sleeps::Arm
            }
            Sleeps::Arm => {
                state.sleep += 1;
                state.buffer.push((ARMED, state.sleep));
                if rules.sleeper_fence { Sleeps::Fence } else { Sleeps::Look }
            }
            Sleeps::Fence if self.buffer.is_empty() => Sleeps::Look,
            Sleeps::Look => {
                for i in 0..SENDERS {
                    state.consumed[i] = read(&self.memory, &self.buffer, data(i));
                }
                if state.consumed != self.consumed {
                    Sleeps::Disarm
                } else if rules.seen_before_arming {
                    Sleeps::Wait
                } else {
                    Sleeps::SeeLate
                }
            }
            Sleeps::SeeLate => {
                state.see();
                Sleeps::Wait
            }
            Sleeps::Wait if self.buffer.is_empty() => {
                let unchanged = if rules.bells {
                    (0..SENDERS).all(|i| self.memory[bell(i) as usize] == self.seen[i])
                } else {
                    self.memory[ARMED as usize] == self.sleep
                };
                if unchanged { Sleeps::Asleep } else { Sleeps::Disarm }
            }
            Sleeps::Disarm => {
                state.buffer.push((ARMED, 0));
                if self.consumed == [MESSAGES; SENDERS] { Sleeps::Done } else { Sleeps::See }
            }
            Sleeps::Fence | Sleeps::Wait | Sleeps::Asleep | Sleeps::Done => return None,
        };
        Some(state)
    }

    fn sender_step(&self, rules: Rules, i: usize) -> Option<Self> {
        let mut state = self.clone();
        let me = &self.senders[i];
        let after = if me.sent == MESSAGES { Sends::Done } else { Sends::Publish };
        state.senders[i].at = match me.at {
            Sends::Publish => {
                state.senders[i].sent += 1;
                state.senders[i].buffer.push((data(i), me.sent + 1));
                if rules.sender_fence { Sends::Fence } else { Sends::Look }
            }
            Sends::Fence if me.buffer.is_empty() => Sends::Look,
            Sends::Look => {
                let armed = read(&self.memory, &me.buffer, ARMED);
                let rung_already = match rules.once {
                    Once::PerSleep => armed == me.rung,
                    Once::Never => false,
                    Once::PerLife => me.rung != 0,
                };
                if armed == 0 || rung_already {
                    after
                } else {
                    state.senders[i].rung = armed;
                    Sends::Bell
                }
            }
            Sends::Bell => {
                let value = read(&self.memory, &me.buffer, bell(i)) + 1;
                if rules.bells {
                    state.senders[i].buffer.push((bell(i), value));
                }
                Sends::Wake
            }
            Sends::Wake if me.buffer.is_empty() => {
                if state.at == Sleeps::Asleep {
                    state.at = Sleeps::Disarm;
                }
                after
            }
            Sends::Fence | Sends::Wake | Sends::Done => return None,
        };
        Some(state)
    }
}

/// Goes through all states; how many there are, and one in which a wake-up is lost.
fn explore(rules: Rules) -> (usize, Option<State>) {
    let mut known = HashSet::from([State::start()]);
    let mut open = vec![State::start()];
    while let Some(state) = open.pop() {
        let next = state.next(rules);
        if next.is_empty() && state.at != Sleeps::Done {
            return (known.len(), Some(state));
        }
        for state in next {
            // Sleeps without end and without news are the caller's to avoid: it has timeouts.
            if state.sleep <= 4 * MESSAGES && known.insert(state.clone()) {
                open.push(state);
            }
        }
    }
    (known.len(), None)
}

fn loses_a_wake_up(rules: Rules) -> bool {
    explore(rules).1.is_some()
}

#[test]
fn no_wake_up_is_lost_in_any_interleaving() {
    let (states, lost) = explore(PROTOCOL);
    assert_eq!(lost, None);
    assert!(states > 1000, "only {states} states: the model does not interleave");
}

#[test]
fn ringing_more_often_than_once_loses_nothing_either() {
    assert!(!loses_a_wake_up(Rules { once: Once::Never, ..PROTOCOL }));
}

#[test]
fn without_the_sleepers_fence_a_wake_up_is_lost() {
    assert!(loses_a_wake_up(Rules { sleeper_fence: false, ..PROTOCOL }));
}

#[test]
fn without_the_senders_fence_a_wake_up_is_lost() {
    assert!(loses_a_wake_up(Rules { sender_fence: false, ..PROTOCOL }));
}

#[test]
fn noting_the_bells_after_the_look_loses_a_wake_up() {
    assert!(loses_a_wake_up(Rules { seen_before_arming: false, ..PROTOCOL }));
}

#[test]
fn a_futex_on_a_word_that_the_sender_cannot_change_loses_a_wake_up() {
    assert!(loses_a_wake_up(Rules { bells: false, ..PROTOCOL }));
}

#[test]
fn ringing_once_for_all_sleeps_loses_a_wake_up() {
    assert!(loses_a_wake_up(Rules { once: Once::PerLife, ..PROTOCOL }));
}
