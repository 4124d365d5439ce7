//! The one matching queue: which receive takes which message (MPI 5.0, 3.5).
//!
//! Receives that name source and tag, and messages that wait, lie in bins by a hash of context,
//! source and tag, so that both are found in constant time however many wait. Receives with a
//! wildcard lie in a list of their own; a number of arrival decides between the two. Waiting
//! messages are also linked by arrival, in a list of their context and perhaps a few others, for
//! wildcards to walk.

use std::collections::VecDeque;

const NONE: u32 = u32::MAX;
const BINS_MIN: usize = 64;
/// Bits of the number of lists by arrival. Contexts in use at once are few; two in one list cost
/// wildcards a longer walk, and nothing else.
const CONTEXT_BITS: u32 = 7;

/// What a message says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Envelope {
    /// Communicator and purpose.
    pub context: u32,
    /// Rank that sent it, in the world.
    pub source: u32,
    /// Its tag.
    pub tag: i32,
}

/// What a receive asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// Communicator and purpose; never a wildcard.
    pub context: u32,
    /// Rank in the world, or any.
    pub source: Option<u32>,
    /// Tag, or any.
    pub tag: Option<i32>,
}

impl Pattern {
    /// Whether the message fits.
    #[inline]
    #[must_use]
    pub fn accepts(&self, envelope: &Envelope) -> bool {
        self.context == envelope.context
            && self.source.is_none_or(|source| source == envelope.source)
            && self.tag.is_none_or(|tag| tag == envelope.tag)
    }

    #[inline]
    fn exact(&self) -> Option<Envelope> {
        Some(Envelope { context: self.context, source: self.source?, tag: self.tag? })
    }
}

#[inline]
fn hash(envelope: &Envelope) -> usize {
    let mixed = u64::from(envelope.context).wrapping_mul(0x9e37_79b9_7f4a_7c15)
        ^ u64::from(envelope.source).wrapping_mul(0xc2b2_ae3d_27d4_eb4f)
        ^ u64::from(envelope.tag.cast_unsigned()).wrapping_mul(0x1656_67b1_9e37_79f9);
    (mixed ^ (mixed >> 29)) as usize
}

/// Which list by arrival a context has.
#[inline]
fn list_of(context: u32) -> usize {
    (context.wrapping_mul(0x9e37_79b1) >> (u32::BITS - CONTEXT_BITS)) as usize
}

#[derive(Clone, Copy, Debug)]
struct Ends {
    head: u32,
    tail: u32,
}

const EMPTY: Ends = Ends { head: NONE, tail: NONE };

#[derive(Clone, Copy, Debug)]
struct Link {
    prev: u32,
    next: u32,
}

/// Which of the two lists of a node.
#[derive(Clone, Copy)]
enum By {
    Bin,
    Context,
}

#[derive(Debug)]
struct Node {
    envelope: Envelope,
    order: u64,
    value: u64,
    links: [Link; 2],
}

/// Entries found by envelope in constant time, first come first.
#[derive(Debug)]
struct Bins {
    nodes: Vec<Node>,
    free: Vec<u32>,
    bins: Vec<Ends>,
}

impl Bins {
    fn new() -> Self {
        Self { nodes: Vec::new(), free: Vec::new(), bins: vec![EMPTY; BINS_MIN] }
    }

    fn len(&self) -> usize {
        self.nodes.len() - self.free.len()
    }

    #[inline]
    fn bin(&self, envelope: &Envelope) -> usize {
        hash(envelope) & (self.bins.len() - 1)
    }

    fn insert(&mut self, envelope: Envelope, order: u64, value: u64) -> u32 {
        if self.len() >= self.bins.len() * 2 {
            self.grow();
        }
        let node = Node { envelope, order, value, links: [Link { prev: NONE, next: NONE }; 2] };
        let index = if let Some(index) = self.free.pop() {
            self.nodes[index as usize] = node;
            index
        } else {
            self.nodes.push(node);
            (self.nodes.len() - 1) as u32
        };
        let bin = self.bin(&envelope);
        append(&mut self.nodes, &mut self.bins[bin], By::Bin, index);
        index
    }

    #[inline]
    fn find(&self, envelope: &Envelope) -> Option<u32> {
        let mut at = self.bins[self.bin(envelope)].head;
        while at != NONE {
            let node = &self.nodes[at as usize];
            if node.envelope == *envelope {
                return Some(at);
            }
            at = node.links[By::Bin as usize].next;
        }
        None
    }

    fn remove(&mut self, index: u32) -> u64 {
        let bin = self.bin(&self.nodes[index as usize].envelope);
        unlink(&mut self.nodes, &mut self.bins[bin], By::Bin, index);
        self.free.push(index);
        self.nodes[index as usize].value
    }

    fn grow(&mut self) {
        let old = std::mem::take(&mut self.bins);
        self.bins = vec![EMPTY; old.len() * 2];
        for ends in old {
            let mut at = ends.head;
            while at != NONE {
                let next = self.nodes[at as usize].links[By::Bin as usize].next;
                let bin = self.bin(&self.nodes[at as usize].envelope);
                append(&mut self.nodes, &mut self.bins[bin], By::Bin, at);
                at = next;
            }
        }
    }
}

fn append(nodes: &mut [Node], ends: &mut Ends, by: By, index: u32) {
    nodes[index as usize].links[by as usize] = Link { prev: ends.tail, next: NONE };
    if ends.tail == NONE {
        ends.head = index;
    } else {
        nodes[ends.tail as usize].links[by as usize].next = index;
    }
    ends.tail = index;
}

fn unlink(nodes: &mut [Node], ends: &mut Ends, by: By, index: u32) {
    let Link { prev, next } = nodes[index as usize].links[by as usize];
    if prev == NONE {
        ends.head = next;
    } else {
        nodes[prev as usize].links[by as usize].next = next;
    }
    if next == NONE {
        ends.tail = prev;
    } else {
        nodes[next as usize].links[by as usize].prev = prev;
    }
}

#[derive(Debug)]
struct Wild {
    order: u64,
    pattern: Pattern,
    value: u64,
}

/// Receives posted and messages waiting. Values are the caller's own numbers.
#[derive(Debug)]
pub struct Matcher {
    exact: Bins,
    wild: VecDeque<Wild>,
    waiting: Bins,
    by_context: [Ends; 1 << CONTEXT_BITS],
    order: u64,
}

impl Default for Matcher {
    fn default() -> Self {
        Self {
            exact: Bins::new(),
            wild: VecDeque::new(),
            waiting: Bins::new(),
            by_context: [EMPTY; 1 << CONTEXT_BITS],
            order: 0,
        }
    }
}

impl Matcher {
    /// Posts a receive that no waiting message fits (ask [`Matcher::take_waiting`] first).
    #[inline]
    pub fn post(&mut self, pattern: Pattern, value: u64) {
        self.order += 1;
        match pattern.exact() {
            Some(envelope) => {
                self.exact.insert(envelope, self.order, value);
            }
            None => self.wild.push_back(Wild { order: self.order, pattern, value }),
        }
    }

    /// Takes the receive posted first among those that accept the message.
    #[inline]
    pub fn take_posted(&mut self, envelope: &Envelope) -> Option<u64> {
        let exact = self.exact.find(envelope);
        if !self.wild.is_empty()
            && let Some(at) = self.wild.iter().position(|wild| wild.pattern.accepts(envelope))
        {
            let earlier =
                exact.is_none_or(|i| self.exact.nodes[i as usize].order > self.wild[at].order);
            if earlier {
                return self.wild.remove(at).map(|wild| wild.value);
            }
        }
        exact.map(|index| self.exact.remove(index))
    }

    /// Withdraws a posted receive. False when it was matched already.
    pub fn withdraw(&mut self, pattern: &Pattern, value: u64) -> bool {
        let Some(envelope) = pattern.exact() else {
            let at = self.wild.iter().position(|wild| wild.value == value);
            return at.and_then(|at| self.wild.remove(at)).is_some();
        };
        let mut at = self.exact.bins[self.exact.bin(&envelope)].head;
        while at != NONE {
            let node = &self.exact.nodes[at as usize];
            if node.value == value {
                self.exact.remove(at);
                return true;
            }
            at = node.links[By::Bin as usize].next;
        }
        false
    }

    /// Lets a message wait that no posted receive accepts (ask [`Matcher::take_posted`] first).
    pub fn wait(&mut self, envelope: Envelope, value: u64) {
        self.order += 1;
        let index = self.waiting.insert(envelope, self.order, value);
        let ends = &mut self.by_context[list_of(envelope.context)];
        append(&mut self.waiting.nodes, ends, By::Context, index);
    }

    #[inline]
    fn find_waiting(&self, pattern: &Pattern) -> Option<u32> {
        if self.waiting.len() == 0 {
            return None;
        }
        if let Some(envelope) = pattern.exact() {
            return self.waiting.find(&envelope);
        }
        let mut at = self.by_context[list_of(pattern.context)].head;
        while at != NONE {
            let node = &self.waiting.nodes[at as usize];
            if pattern.accepts(&node.envelope) {
                return Some(at);
            }
            at = node.links[By::Context as usize].next;
        }
        None
    }

    /// The message that arrived first among those the pattern accepts.
    #[must_use]
    pub fn peek_waiting(&self, pattern: &Pattern) -> Option<(Envelope, u64)> {
        let index = self.find_waiting(pattern)?;
        let node = &self.waiting.nodes[index as usize];
        Some((node.envelope, node.value))
    }

    /// Takes the message that arrived first among those the pattern accepts.
    #[inline]
    pub fn take_waiting(&mut self, pattern: &Pattern) -> Option<(Envelope, u64)> {
        let index = self.find_waiting(pattern)?;
        Some(self.remove_waiting(index))
    }

    /// Takes a waiting message by its value. False when it is not waiting.
    pub fn forget_waiting(&mut self, envelope: &Envelope, value: u64) -> bool {
        let mut at = self.waiting.bins[self.waiting.bin(envelope)].head;
        while at != NONE {
            let node = &self.waiting.nodes[at as usize];
            if node.value == value {
                self.remove_waiting(at);
                return true;
            }
            at = node.links[By::Bin as usize].next;
        }
        false
    }

    fn remove_waiting(&mut self, index: u32) -> (Envelope, u64) {
        let envelope = self.waiting.nodes[index as usize].envelope;
        let value = self.waiting.remove(index);
        let ends = &mut self.by_context[list_of(envelope.context)];
        unlink(&mut self.waiting.nodes, ends, By::Context, index);
        (envelope, value)
    }

    /// Number of messages waiting.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Act {
        Arrive(Envelope),
        Receive(Pattern),
        Withdraw(usize),
    }

    fn envelope() -> impl Strategy<Value = Envelope> {
        // The last two have one list by arrival.
        let twin = (1..).find(|context| list_of(*context) == list_of(0)).unwrap_or(0);
        let contexts = [1, 0, twin];
        (0..3_usize, 0..3_u32, 0..40_i32).prop_map(move |(context, source, tag)| Envelope {
            context: contexts[context],
            source,
            tag: tag / 10,
        })
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![
            envelope().prop_map(Act::Arrive),
            (envelope(), any::<bool>(), any::<bool>()).prop_map(|(e, any_source, any_tag)| {
                Act::Receive(Pattern {
                    context: e.context,
                    source: (!any_source).then_some(e.source),
                    tag: (!any_tag).then_some(e.tag),
                })
            }),
            (0..64_usize).prop_map(Act::Withdraw),
        ]
    }

    /// The rule of the standard, as two lists searched from the front.
    #[derive(Default)]
    struct Oracle {
        posted: Vec<(Pattern, u64)>,
        waiting: Vec<(Envelope, u64)>,
    }

    impl Oracle {
        fn arrive(&mut self, envelope: Envelope, value: u64) -> Option<u64> {
            let at = self.posted.iter().position(|(pattern, _)| pattern.accepts(&envelope));
            let Some(at) = at else {
                self.waiting.push((envelope, value));
                return None;
            };
            Some(self.posted.remove(at).1)
        }

        fn receive(&mut self, pattern: Pattern, value: u64) -> Option<u64> {
            let at = self.waiting.iter().position(|(envelope, _)| pattern.accepts(envelope));
            let Some(at) = at else {
                self.posted.push((pattern, value));
                return None;
            };
            Some(self.waiting.remove(at).1)
        }
    }

    proptest! {
        #[test]
        fn matching_follows_the_standards_two_lists(acts in proptest::collection::vec(act(), 0..600)) {
            let (mut matcher, mut oracle) = (Matcher::default(), Oracle::default());
            for (value, act) in (0..).zip(acts) {
                match act {
                    Act::Arrive(envelope) => {
                        let got = matcher.take_posted(&envelope);
                        if got.is_none() {
                            matcher.wait(envelope, value);
                        }
                        prop_assert_eq!(got, oracle.arrive(envelope, value));
                    }
                    Act::Receive(pattern) => {
                        let peeked = matcher.peek_waiting(&pattern);
                        let got = matcher.take_waiting(&pattern);
                        prop_assert_eq!(peeked, got);
                        if got.is_none() {
                            matcher.post(pattern, value);
                        }
                        prop_assert_eq!(got.map(|(_, value)| value), oracle.receive(pattern, value));
                    }
                    Act::Withdraw(at) if at < oracle.posted.len() => {
                        let (pattern, value) = oracle.posted.remove(at);
                        prop_assert!(matcher.withdraw(&pattern, value));
                        prop_assert!(!matcher.withdraw(&pattern, value));
                    }
                    Act::Withdraw(_) => {}
                }
                prop_assert_eq!(matcher.waiting(), oracle.waiting.len());
            }
        }
    }

    #[test]
    fn a_thousand_waiting_messages_are_found_by_tag_in_any_order() {
        let mut matcher = Matcher::default();
        let envelope = |tag| Envelope { context: 1, source: 0, tag };
        for tag in 0..1000 {
            matcher.wait(envelope(tag), tag as u64);
        }
        for tag in (0..1000).rev() {
            let pattern = Pattern { context: 1, source: Some(0), tag: Some(tag) };
            assert_eq!(matcher.take_waiting(&pattern), Some((envelope(tag), tag as u64)));
        }
        assert_eq!(matcher.waiting(), 0);
    }
}
