//! What is counted, as tools see it. Each handle of a tool looks at a variable on its own: it has
//! its own beginning, and may be stopped.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Group, Verbosity};
use crate::mpi::failure::{self, Outcome, fail};
use crate::tally::{Counter, Gauge, Tally};

/// What a variable means; with the values of the standard ABI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Class {
    /// How much there is now.
    Level = 2,
    /// How much there was at most.
    HighWatermark = 5,
    /// How often something happened.
    Counter = 7,
    /// A sum.
    Aggregate = 8,
}

#[derive(Clone, Copy, Debug)]
enum Source {
    Counter(fn(&Tally) -> &Counter),
    Level(fn(&Tally) -> &Gauge),
    Highest(fn(&Tally) -> &Gauge),
}

/// A variable.
#[derive(Debug)]
pub struct Variable {
    /// Its name; unique among those of its class.
    pub name: &'static str,
    /// What it says.
    pub description: &'static str,
    /// Whom it is for.
    pub verbosity: Verbosity,
    /// What it belongs to.
    pub group: Group,
    /// What it means.
    pub class: Class,
    source: Source,
}

impl Variable {
    /// Whether it is always there, so that it is never started, stopped or changed.
    #[must_use]
    pub fn is_continuous(&self) -> bool {
        matches!(self.source, Source::Level(_))
    }
}

macro_rules! traffic {
    ($name:literal, $class:ident, $description:literal, $tally:ident => $counter:expr) => {
        Variable {
            name: $name,
            description: $description,
            verbosity: Verbosity::UserBasic,
            group: Group::Paths,
            class: Class::$class,
            source: Source::Counter(|$tally| &$counter),
        }
    };
}

macro_rules! event {
    ($name:literal, $group:ident, $description:literal, $tally:ident => $counter:expr) => {
        Variable {
            name: $name,
            description: $description,
            verbosity: Verbosity::TunerBasic,
            group: Group::$group,
            class: Class::Counter,
            source: Source::Counter(|$tally| &$counter),
        }
    };
}

macro_rules! gauge {
    ($name:literal, $class:ident, $source:ident, $description:literal, $tally:ident => $gauge:expr) => {
        Variable {
            name: $name,
            description: $description,
            verbosity: Verbosity::UserDetail,
            group: Group::Memory,
            class: Class::$class,
            source: Source::$source(|$tally| &$gauge),
        }
    };
}

/// All variables. The list never changes.
pub const VARIABLES: &[Variable] = &[
    traffic!("cohost_ring_messages_sent", Counter,
        "Messages whose first frame went through a ring; collectives are made of messages",
        tally => tally.ring.sent.messages),
    traffic!("cohost_ring_bytes_sent", Aggregate,
        "Bytes of messages put into rings", tally => tally.ring.sent.bytes),
    traffic!("cohost_ring_messages_received", Counter,
        "Messages whose first frame came through a ring", tally => tally.ring.received.messages),
    traffic!("cohost_ring_bytes_received", Aggregate,
        "Bytes of messages taken out of rings", tally => tally.ring.received.bytes),
    traffic!("cohost_tcp_messages_sent", Counter,
        "Messages whose first frame went over TCP; collectives are made of messages",
        tally => tally.tcp.sent.messages),
    traffic!("cohost_tcp_bytes_sent", Aggregate,
        "Bytes of messages given to sockets", tally => tally.tcp.sent.bytes),
    traffic!("cohost_tcp_messages_received", Counter,
        "Messages whose first frame came over TCP", tally => tally.tcp.received.messages),
    traffic!("cohost_tcp_bytes_received", Aggregate,
        "Bytes of messages read from sockets", tally => tally.tcp.received.bytes),
    traffic!("cohost_self_messages_sent", Counter,
        "Messages of the rank to itself", tally => tally.own.sent.messages),
    traffic!("cohost_self_bytes_sent", Aggregate,
        "Bytes of messages of the rank to itself", tally => tally.own.sent.bytes),
    traffic!("cohost_self_messages_received", Counter,
        "Messages of the rank to itself that met their receive",
        tally => tally.own.received.messages),
    traffic!("cohost_self_bytes_received", Aggregate,
        "Bytes of messages of the rank to itself that met their receive",
        tally => tally.own.received.bytes),
    traffic!("cohost_loan_messages_sent", Counter,
        "Messages out of MPI_Alloc_mem that the receiver copied by itself",
        tally => tally.loans.sent.messages),
    traffic!("cohost_loan_bytes_sent", Aggregate,
        "Bytes of messages that the receiver copied by itself; they went through no path",
        tally => tally.loans.sent.bytes),
    traffic!("cohost_loan_messages_received", Counter,
        "Messages copied out of the sender's memory", tally => tally.loans.received.messages),
    traffic!("cohost_loan_bytes_received", Aggregate,
        "Bytes of messages copied out of the sender's memory",
        tally => tally.loans.received.bytes),
    gauge!("cohost_unexpected_messages", Level, Level,
        "Messages that came and have no receive yet", tally => tally.unexpected),
    gauge!("cohost_unexpected_bytes", Level, Level,
        "Bytes kept of messages that came and have no receive yet",
        tally => tally.unexpected_bytes),
    gauge!("cohost_unexpected_messages_max", HighWatermark, Highest,
        "Most messages at a time that had no receive yet", tally => tally.unexpected),
    gauge!("cohost_unexpected_bytes_max", HighWatermark, Highest,
        "Most bytes at a time kept of messages that had no receive yet",
        tally => tally.unexpected_bytes),
    event!("cohost_doorbells", Waiting,
        "Sleeping ranks woken by this one", tally => tally.doorbells),
    event!("cohost_sleeps", Waiting,
        "Times the rank went to sleep while it waited", tally => tally.sleeps),
    event!("cohost_yields", Waiting,
        "Times the rank gave the processor away while it waited", tally => tally.yields),
    event!("cohost_fallbacks", Paths,
        "Rings in use that were given up for TCP", tally => tally.fallbacks),
    event!("cohost_loans_declined", Paths,
        "Messages that could have been copied out of the sender's memory and were asked for instead",
        tally => tally.loans_declined),
    event!("cohost_frames_repeated", Paths,
        "Frames sent a second time because their path changed", tally => tally.repeated),
];

/// What a watermark is taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    /// Nothing was counted yet when it was started: all that was ever.
    Beginning,
    /// A mark of its own.
    Own(usize),
}

/// A watch of one handle.
#[derive(Clone, Copy, Debug)]
enum State {
    /// With this value.
    Stopped(u64),
    /// A counter that had this value when this one was 0.
    Counting(u64),
    /// A watermark.
    Marking(Mark),
}

/// A tool's look at a variable.
#[derive(Debug)]
pub struct Watch {
    variable: &'static Variable,
    state: Mutex<State>,
}

impl Watch {
    /// A look at this variable, stopped at 0.
    #[must_use]
    pub fn new(variable: &'static Variable) -> Self {
        Self { variable, state: Mutex::new(State::Stopped(0)) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it looks at.
    #[must_use]
    pub fn variable(&self) -> &'static Variable {
        self.variable
    }

    fn value(&self, state: State, tally: Option<&Tally>) -> u64 {
        match (self.variable.source, state) {
            (Source::Level(gauge), _) => tally.map_or(0, |tally| gauge(tally).level()),
            (Source::Counter(counter), State::Counting(zero)) => {
                tally.map_or(0, |tally| counter(tally).get()).wrapping_sub(zero)
            }
            (Source::Highest(gauge), State::Marking(mark)) => {
                let highest = |gauge: &Gauge| match mark {
                    Mark::Beginning => gauge.highest(),
                    Mark::Own(mark) => gauge.since(mark).unwrap_or(0),
                };
                tally.map_or(0, |tally| highest(gauge(tally)))
            }
            (_, State::Stopped(value)) => value,
            (_, State::Counting(_) | State::Marking(_)) => 0,
        }
    }

    /// Begins with this value.
    fn begin(&self, value: u64, tally: Option<&Tally>) -> State {
        match self.variable.source {
            Source::Counter(counter) => {
                let now = tally.map_or(0, |tally| counter(tally).get());
                State::Counting(now.wrapping_sub(value))
            }
            Source::Highest(gauge) => State::Marking(match tally {
                Some(tally) => Mark::Own(gauge(tally).mark()),
                None => Mark::Beginning,
            }),
            Source::Level(_) => State::Stopped(0),
        }
    }

    fn end(&self, state: State, tally: Option<&Tally>) {
        if let (Source::Highest(gauge), State::Marking(Mark::Own(mark)), Some(tally)) =
            (self.variable.source, state, tally)
        {
            gauge(tally).unmark(mark);
        }
    }

    fn not_continuous(&self) -> Outcome<()> {
        if self.variable.is_continuous() {
            let why = format!("{} always tells what is now", self.variable.name);
            return fail(failure::Class::TPvarNoStartstop, why);
        }
        Ok(())
    }

    /// Goes on from the value it has; a watermark begins at the level of now.
    ///
    /// # Errors
    /// When the variable cannot be started and stopped.
    pub fn start(&self, tally: Option<&Tally>) -> Outcome<()> {
        self.not_continuous()?;
        let mut state = self.state();
        if let State::Stopped(value) = *state {
            *state = self.begin(value, tally);
        }
        Ok(())
    }

    /// Keeps the value it has.
    ///
    /// # Errors
    /// When the variable cannot be started and stopped.
    pub fn stop(&self, tally: Option<&Tally>) -> Outcome<()> {
        self.not_continuous()?;
        let mut state = self.state();
        let value = self.value(*state, tally);
        self.end(*state, tally);
        *state = State::Stopped(value);
        Ok(())
    }

    /// The value.
    #[must_use]
    pub fn read(&self, tally: Option<&Tally>) -> u64 {
        let state = self.state();
        self.value(*state, tally)
    }

    /// Gives it the value to start with: 0, and the level of now for a watermark.
    ///
    /// # Errors
    /// When the variable cannot be changed.
    pub fn reset(&self, tally: Option<&Tally>) -> Outcome<()> {
        self.exchange(tally, failure::Class::TPvarNoWrite, None).map(|_| ())
    }

    /// Reads and resets at once: nothing is lost in between.
    ///
    /// # Errors
    /// When the variable cannot be changed.
    pub fn read_reset(&self, tally: Option<&Tally>) -> Outcome<u64> {
        self.exchange(tally, failure::Class::TPvarNoAtomic, None)
    }

    /// Sets the value.
    ///
    /// # Errors
    /// When the variable cannot be changed.
    pub fn write(&self, value: u64, tally: Option<&Tally>) -> Outcome<()> {
        self.exchange(tally, failure::Class::TPvarNoWrite, Some(value)).map(|_| ())
    }

    /// Sets a new value, and gives the one before.
    fn exchange(
        &self,
        tally: Option<&Tally>,
        class: failure::Class,
        value: Option<u64>,
    ) -> Outcome<u64> {
        let mut state = self.state();
        let before = match (self.variable.source, &mut *state) {
            (Source::Level(_), _) => {
                return fail(class, format!("{} can only be read", self.variable.name));
            }
            (Source::Counter(counter), State::Counting(zero)) => {
                let now = tally.map_or(0, |tally| counter(tally).get());
                let before = std::mem::replace(zero, now.wrapping_sub(value.unwrap_or(0)));
                now.wrapping_sub(before)
            }
            (Source::Highest(gauge), State::Marking(mark)) => {
                let Some(tally) = tally else { return Ok(0) };
                let gauge = gauge(tally);
                let value = value.unwrap_or_else(|| gauge.level());
                match *mark {
                    Mark::Own(mark) => gauge.set_mark(mark, value).unwrap_or(0),
                    Mark::Beginning => {
                        let own = gauge.mark();
                        *mark = Mark::Own(own);
                        gauge.set_mark(own, value);
                        gauge.highest()
                    }
                }
            }
            (_, State::Stopped(stopped)) => std::mem::replace(stopped, value.unwrap_or(0)),
            (_, State::Counting(_) | State::Marking(_)) => 0,
        };
        Ok(before)
    }

    /// Lets go of what it took.
    pub fn close(&self, tally: Option<&Tally>) {
        let mut state = self.state();
        self.end(*state, tally);
        *state = State::Stopped(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch(name: &str) -> Watch {
        Watch::new(VARIABLES.iter().find(|it| it.name == name).unwrap())
    }

    #[test]
    fn a_counter_counts_only_between_start_and_stop() {
        let (tally, watch) = (Tally::default(), watch("cohost_doorbells"));
        let count = || tally.doorbells.add(10);
        count();
        assert_eq!(watch.read(Some(&tally)), 0);
        watch.start(Some(&tally)).unwrap();
        watch.start(Some(&tally)).unwrap();
        count();
        assert_eq!(watch.read(Some(&tally)), 10);
        watch.stop(Some(&tally)).unwrap();
        count();
        assert_eq!(watch.read(Some(&tally)), 10);
        watch.start(Some(&tally)).unwrap();
        count();
        assert_eq!(watch.read_reset(Some(&tally)), Ok(20));
        assert_eq!(watch.read(Some(&tally)), 0);
        watch.write(5, Some(&tally)).unwrap();
        count();
        assert_eq!(watch.read(Some(&tally)), 15);
    }

    #[test]
    fn a_counter_started_before_the_job_counts_all_of_it() {
        let (tally, watch) = (Tally::default(), watch("cohost_sleeps"));
        watch.start(None).unwrap();
        assert_eq!(watch.read(None), 0);
        tally.sleeps.add(3);
        assert_eq!(watch.read(Some(&tally)), 3);
    }

    #[test]
    fn a_watermark_knows_the_highest_level_since_its_start() {
        let (tally, watch) = (Tally::default(), watch("cohost_unexpected_bytes_max"));
        let early = Watch::new(watch.variable());
        early.start(None).unwrap();
        let gauge = &tally.unexpected_bytes;
        gauge.rise(100);
        gauge.fall(90);
        watch.start(Some(&tally)).unwrap();
        assert_eq!((watch.read(Some(&tally)), early.read(Some(&tally))), (10, 100));
        gauge.rise(20);
        gauge.fall(30);
        watch.stop(Some(&tally)).unwrap();
        gauge.rise(200);
        assert_eq!((watch.read(Some(&tally)), early.read(Some(&tally))), (30, 200));
        gauge.fall(150);
        assert_eq!(early.read_reset(Some(&tally)), Ok(200));
        assert_eq!(early.read(Some(&tally)), 50);
    }

    #[test]
    fn a_level_tells_what_is_now_and_cannot_be_changed() {
        let (tally, watch) = (Tally::default(), watch("cohost_unexpected_messages"));
        tally.unexpected.rise(2);
        assert_eq!(watch.read(Some(&tally)), 2);
        let class = |outcome: Outcome<()>| outcome.unwrap_err().class;
        assert_eq!(class(watch.start(Some(&tally))), failure::Class::TPvarNoStartstop);
        assert_eq!(class(watch.write(1, Some(&tally))), failure::Class::TPvarNoWrite);
        assert_eq!(watch.read_reset(None).unwrap_err().class, failure::Class::TPvarNoAtomic);
    }
}
