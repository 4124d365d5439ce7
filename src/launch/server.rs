//! The PMI service of `cohost run`, as a state machine: bytes of a rank in, actions out. Here: PMI-1,
//! and what both versions share; in `server2.rs`: PMI-2.
//!
//! No I/O and no clock. Whatever a rank sends, memory stays bounded and the other ranks are served.

use std::collections::HashMap;

use super::server2::{Waiting, reply};
use super::wire::{self, LineBuffer, Message, WireError};

/// Bytes of keys and values that one job may publish.
const MAX_SPACE: usize = 64 << 20;

/// What the launcher has to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Send this line (newline included) or frame to a rank.
    Reply(u32, String),
    /// A rank asked for the end of the job.
    Abort { rank: u32, code: i32, message: String },
    /// A rank sent what is neither PMI-1 nor PMI-2; it is not listened to any more.
    Nonsense(u32, WireError),
}

/// Where a rank stands with the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Membership {
    /// Has not said `init`.
    Outside,
    /// Between `init` and `finalize`.
    Joined,
    /// Has said `finalize`.
    Finalized,
}

#[derive(Debug)]
pub(super) struct Client {
    lines: LineBuffer,
    membership: Membership,
    at_barrier: bool,
    /// It speaks PMI-2, in frames.
    framed: bool,
    /// The mark of its PMI-2 barrier.
    pub(super) fence_thread: Option<String>,
    /// It waits for an attribute.
    pub(super) waiting: Option<Waiting>,
    /// Which of the job's programs it runs.
    program: u32,
    /// Inside a request of several lines (`mcmd=` ... `endcmd`).
    in_block: bool,
    /// Not to be listened to: it sent nonsense.
    deaf: bool,
    exited: bool,
}

/// The service of one job.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) job: String,
    pub(super) entries: HashMap<String, String>,
    /// What ranks of one machine tell each other by PMI-2.
    pub(super) attributes: HashMap<String, String>,
    bytes: usize,
    pub(super) clients: Vec<Client>,
}

impl Server {
    pub(super) fn new(job: String, size: u32) -> Self {
        let client = || Client {
            lines: LineBuffer::default(),
            membership: Membership::Outside,
            at_barrier: false,
            framed: false,
            fence_thread: None,
            waiting: None,
            program: 0,
            in_block: false,
            deaf: false,
            exited: false,
        };
        let clients = (0..size).map(|_| client()).collect();
        Self { job, entries: HashMap::new(), attributes: HashMap::new(), bytes: 0, clients }
    }

    /// Notes that `rank` runs the job's program of this number.
    pub(super) fn runs(&mut self, rank: u32, program: u32) {
        if let Some(client) = self.clients.get_mut(rank as usize) {
            client.program = program;
        }
    }

    /// The number of the program that `rank` runs.
    pub(super) fn appnum(&self, rank: u32) -> u32 {
        self.clients.get(rank as usize).map_or(0, |client| client.program)
    }

    /// Where `rank` stands.
    pub(super) fn membership(&self, rank: u32) -> Membership {
        self.clients.get(rank as usize).map_or(Membership::Outside, |client| client.membership)
    }

    /// Notes that the process of `rank` has ended.
    pub(super) fn exited(&mut self, rank: u32) {
        if let Some(client) = self.clients.get_mut(rank as usize) {
            client.exited = true;
            client.at_barrier = false;
        }
    }

    /// The lowest rank that has exited while others wait for it at a barrier, and how many wait.
    pub(super) fn missing_at_barrier(&self) -> Option<(u32, usize)> {
        let waiting = self.clients.iter().filter(|client| client.at_barrier).count();
        let gone = self.clients.iter().position(|client| client.exited)?;
        (waiting > 0).then_some((gone as u32, waiting))
    }

    /// Takes bytes that `rank` has sent.
    pub(super) fn receive(&mut self, rank: u32, bytes: &[u8]) -> Vec<Action> {
        let mut actions = Vec::new();
        let Some(client) = self.clients.get_mut(rank as usize).filter(|client| !client.deaf) else {
            return actions;
        };
        client.lines.push(bytes);
        loop {
            let (framed, piece) = match self.clients.get_mut(rank as usize) {
                Some(client) if client.framed => (true, client.lines.next_frame()),
                Some(client) => (false, client.lines.next_line()),
                None => return actions,
            };
            let outcome = match piece {
                Ok(Some(frame)) if framed => self.take_frame(rank, &frame, &mut actions),
                Ok(Some(line)) => self.take_line(rank, &line, &mut actions),
                Ok(None) => return actions,
                Err(error) => Err(error),
            };
            if let Err(error) = outcome {
                if let Some(client) = self.clients.get_mut(rank as usize) {
                    client.deaf = true;
                }
                actions.push(Action::Nonsense(rank, error));
                return actions;
            }
        }
    }

    fn take_line(
        &mut self,
        rank: u32,
        line: &[u8],
        actions: &mut Vec<Action>,
    ) -> Result<(), WireError> {
        let Some(client) = self.clients.get_mut(rank as usize) else {
            return Ok(());
        };
        if client.in_block {
            if line.trim_ascii() == b"endcmd" {
                client.in_block = false;
                let refusal = "cmd=spawn_result rc=-1 status=-1 msg=spawning_is_not_supported\n";
                actions.push(Action::Reply(rank, refusal.to_owned()));
            }
            return Ok(());
        }
        let message = Message::parse(line)?;
        if message.get("mcmd").is_some() {
            client.in_block = true;
            return Ok(());
        }
        match message.command() {
            "barrier_in" => self.barrier(rank, actions),
            "abort" => actions.push(Action::Abort {
                rank,
                code: message.number("exitcode").unwrap_or(1),
                message: wire::unescape(message.get("error_msg").unwrap_or_default()),
            }),
            _ => {
                let answer = self.answer(rank, &message)?;
                actions.push(Action::Reply(rank, format!("{answer}\n")));
            }
        }
        Ok(())
    }

    pub(super) fn barrier(&mut self, rank: u32, actions: &mut Vec<Action>) {
        if let Some(client) = self.clients.get_mut(rank as usize) {
            client.at_barrier = true;
        }
        if self.clients.iter().all(|client| client.at_barrier) {
            for (rank, client) in self.clients.iter_mut().enumerate() {
                client.at_barrier = false;
                let done = vec![("rc".to_owned(), "0".to_owned())];
                let answer = match client.framed {
                    true => reply("kvs-fence", &client.fence_thread.take(), &done),
                    false => "cmd=barrier_out rc=0\n".to_owned(),
                };
                actions.push(Action::Reply(rank as u32, answer));
            }
        }
    }

    /// The one-line answer to a request that concerns its sender only.
    fn answer(&mut self, rank: u32, message: &Message) -> Result<String, WireError> {
        let job = &self.job;
        Ok(match message.command() {
            "init" => {
                let version = message.number::<u32>("pmi_version");
                if let (Ok(2), Some(client)) = (&version, self.clients.get_mut(rank as usize)) {
                    client.framed = true;
                    // It joins by `fullinit`.
                    return Ok(
                        "cmd=response_to_init pmi_version=2 pmi_subversion=0 rc=0".to_owned()
                    );
                }
                self.set_membership(rank, Membership::Joined);
                match version {
                    Ok(1) => "cmd=response_to_init pmi_version=1 pmi_subversion=1 rc=0".to_owned(),
                    _ => "cmd=response_to_init pmi_version=1 pmi_subversion=1 rc=-1".to_owned(),
                }
            }
            "finalize" => {
                self.set_membership(rank, Membership::Finalized);
                "cmd=finalize_ack rc=0".to_owned()
            }
            "get_maxes" => format!(
                "cmd=maxes kvsname_max=256 keylen_max={} vallen_max={}",
                wire::MAX_KEY,
                wire::MAX_VALUE
            ),
            "get_appnum" => format!("cmd=appnum appnum={}", self.appnum(rank)),
            "get_universe_size" => format!("cmd=universe_size size={}", self.clients.len()),
            "get_my_kvsname" => format!("cmd=my_kvsname kvsname={job}"),
            "put" => match self.put(message)? {
                Ok(()) => "cmd=put_result rc=0 msg=success".to_owned(),
                Err(reason) => format!("cmd=put_result rc=-1 msg={reason}"),
            },
            "get" => match self.entries.get(message.require("key")?) {
                Some(value) => format!("cmd=get_result rc=0 msg=success value={value}"),
                None => "cmd=get_result rc=-1 msg=key_not_found value=unknown".to_owned(),
            },
            "publish_name" => "cmd=publish_result rc=-1 info=not_supported".to_owned(),
            "unpublish_name" => "cmd=unpublish_result rc=-1 info=not_supported".to_owned(),
            "lookup_name" => "cmd=lookup_result rc=-1 info=not_supported".to_owned(),
            other => format!("cmd={}_result rc=-1 msg=unknown_command", wire::escape(other)),
        })
    }

    pub(super) fn set_membership(&mut self, rank: u32, membership: Membership) {
        if let Some(client) = self.clients.get_mut(rank as usize) {
            client.membership = membership;
        }
    }

    /// Keeps an entry, or says why not.
    pub(super) fn put(&mut self, message: &Message) -> Result<Result<(), &'static str>, WireError> {
        let (key, value) = (message.require("key")?, message.require("value")?);
        Ok(if key.len() > wire::MAX_KEY {
            Err("key_too_long")
        } else if value.len() > wire::MAX_VALUE {
            Err("value_too_long")
        } else if !self.take_space(key.len() + value.len()) {
            Err("space_full")
        } else {
            if let Some(old) = self.entries.insert(key.to_owned(), value.to_owned()) {
                self.bytes -= key.len() + old.len();
            }
            Ok(())
        })
    }

    /// Counts bytes that are to be kept; false when there is no room for them.
    pub(super) fn take_space(&mut self, bytes: usize) -> bool {
        let fits = self.bytes + bytes <= MAX_SPACE;
        self.bytes += if fits { bytes } else { 0 };
        fits
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn replies(actions: Vec<Action>) -> Vec<(u32, String)> {
        let reply = |action| match action {
            Action::Reply(rank, line) => (rank, line),
            other => panic!("{other:?}"),
        };
        actions.into_iter().map(reply).collect()
    }

    #[test]
    fn a_barrier_answers_everyone_when_the_last_has_come() {
        let mut server = Server::new("job".into(), 3);
        assert_eq!(server.receive(2, b"cmd=barrier_in\n"), []);
        assert_eq!(server.receive(0, b"cmd=barr"), []);
        assert_eq!(server.receive(0, b"ier_in\n"), []);
        let out = replies(server.receive(1, b"cmd=barrier_in\n"));
        assert_eq!(out.iter().map(|(rank, _)| *rank).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(server.receive(1, b"cmd=barrier_in\n"), []);
    }

    #[test]
    fn a_rank_that_exits_is_missed_at_the_barrier() {
        let mut server = Server::new("job".into(), 3);
        server.exited(1);
        assert_eq!(server.missing_at_barrier(), None);
        server.receive(0, b"cmd=barrier_in\n");
        assert_eq!(server.missing_at_barrier(), Some((1, 1)));
    }

    #[test]
    fn limits_are_refused_and_the_rank_goes_on() {
        let mut server = Server::new("job".into(), 1);
        let long = format!("cmd=put kvsname=job key=k value={}\n", "v".repeat(1025));
        assert!(replies(server.receive(0, long.as_bytes()))[0].1.contains("rc=-1"));
        let fits = format!("cmd=put kvsname=job key=k value={}\n", "v".repeat(1024));
        assert!(replies(server.receive(0, fits.as_bytes()))[0].1.contains("rc=0"));
        assert!(replies(server.receive(0, b"cmd=dance\n"))[0].1.contains("rc=-1"));
        let spawn = b"mcmd=spawn\nnprocs=1\nexecname=/bin/true\nendcmd\n";
        assert!(replies(server.receive(0, spawn))[0].1.starts_with("cmd=spawn_result rc=-1"));
        assert!(replies(server.receive(0, b"cmd=get kvsname=job key=no\n"))[0].1.contains("rc=-1"));
    }

    #[test]
    fn nonsense_is_reported_once_and_not_listened_to_again() {
        let mut server = Server::new("job".into(), 2);
        assert!(matches!(server.receive(0, b"GET / HTTP\n")[..], [Action::Nonsense(0, _)]));
        assert_eq!(server.receive(0, b"cmd=get_maxes\n"), []);
        assert_eq!(server.receive(7, b"cmd=get_maxes\n"), []);
        assert_eq!(server.receive(1, b"cmd=get_maxes\n").len(), 1);
    }

    #[test]
    fn an_abort_brings_its_code_and_its_words() {
        let mut server = Server::new("job".into(), 1);
        let line = format!("cmd=abort exitcode=7 error_msg={}\n", wire::escape("no more disk"));
        let expected = Action::Abort { rank: 0, code: 7, message: "no more disk".into() };
        assert_eq!(server.receive(0, line.as_bytes()), [expected]);
    }

    proptest! {
        #[test]
        fn no_stream_makes_the_service_panic_or_starves_another_rank(
            pieces in proptest::collection::vec(
                prop_oneof![
                    proptest::collection::vec(any::<u8>(), 0..40),
                    Just(b"cmd=put key=a value=b\n".to_vec()), Just(b"cmd=barrier_in\n".to_vec()),
                    Just(b"mcmd=spawn\n".to_vec()), Just(b"endcmd\n".to_vec()),
                    Just(b"cmd=init pmi_version=9\n".to_vec()), Just(b"cmd=get\n".to_vec()),
                ], 0..30))
        {
            let mut server = Server::new("job".into(), 2);
            for piece in &pieces {
                server.receive(0, piece);
            }
            prop_assert_eq!(server.receive(1, b"cmd=get_maxes\n").len(), 1);
        }
    }
}
