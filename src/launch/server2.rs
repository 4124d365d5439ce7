//! What the service of `server.rs` answers to ranks that speak PMI-2.

use super::server::{Action, Membership, Server};
use super::wire::{self, Message, WireError};
use super::wire2;

/// Bytes of an attribute of this machine, key and value; they count in the job's space too.
const MAX_ATTRIBUTE: usize = wire::MAX_KEY + wire::MAX_VALUE;

/// A rank that waits for an attribute that another one is to put.
#[derive(Debug)]
pub(super) struct Waiting {
    key: String,
    thread: Option<String>,
}

impl Server {
    /// Takes one frame of `rank`.
    pub(super) fn take_frame(
        &mut self,
        rank: u32,
        payload: &[u8],
        actions: &mut Vec<Action>,
    ) -> Result<(), WireError> {
        let message = wire2::parse(payload)?;
        // A client with several threads marks its requests, and its answers must carry the mark.
        let thread = message.get("thrid").map(str::to_owned);
        match message.command() {
            "kvs-fence" => {
                if let Some(client) = self.clients.get_mut(rank as usize) {
                    client.fence_thread = thread;
                }
                self.barrier(rank, actions);
            }
            "abort" => actions.push(Action::Abort {
                rank,
                code: message.number("exitcode").unwrap_or(1),
                message: wire::unescape(message.get("msg").unwrap_or_default()),
            }),
            "info-getnodeattr" => self.get_attribute(rank, &message, thread, actions)?,
            "info-putnodeattr" => {
                let pairs = self.put_attribute(&message)?;
                actions.push(Action::Reply(rank, response(&message, &thread, &pairs)));
                self.wake_waiting(actions);
            }
            _ => {
                let pairs = self.answer_frame(rank, &message)?;
                actions.push(Action::Reply(rank, response(&message, &thread, &pairs)));
            }
        }
        Ok(())
    }

    /// The answer to a request that concerns its sender only.
    fn answer_frame(&mut self, rank: u32, message: &Message) -> Result<Pairs, WireError> {
        Ok(match message.command() {
            "fullinit" => {
                self.set_membership(rank, Membership::Joined);
                let appnum = self.appnum(rank);
                pairs(&[
                    ("pmi-version", "2"),
                    ("pmi-subversion", "0"),
                    ("rank", &rank.to_string()),
                    ("size", &self.clients.len().to_string()),
                    ("appnum", &appnum.to_string()),
                    ("debugged", "FALSE"),
                    ("pmiverbose", "FALSE"),
                    ("rc", "0"),
                ])
            }
            "finalize" => {
                self.set_membership(rank, Membership::Finalized);
                pairs(&[("rc", "0")])
            }
            "job-getid" => pairs(&[("jobid", &self.job), ("rc", "0")]),
            "kvs-put" => match self.put(message)? {
                Ok(()) => pairs(&[("rc", "0")]),
                Err(reason) => pairs(&[("rc", "1"), ("errmsg", reason)]),
            },
            "kvs-get" => found(self.entries.get(message.require("key")?)),
            "info-getjobattr" => match message.require("key")? {
                "universeSize" => found(Some(&self.clients.len().to_string())),
                _ => found(None),
            },
            _ => pairs(&[("rc", "1"), ("errmsg", "not_supported")]),
        })
    }

    fn put_attribute(&mut self, message: &Message) -> Result<Pairs, WireError> {
        let (key, value) = (message.require("key")?, message.require("value")?);
        let bytes = key.len() + value.len();
        if bytes > MAX_ATTRIBUTE || !self.take_space(bytes) {
            return Ok(pairs(&[("rc", "1"), ("errmsg", "space_full")]));
        }
        self.attributes.insert(key.to_owned(), value.to_owned());
        Ok(pairs(&[("rc", "0")]))
    }

    fn get_attribute(
        &mut self,
        rank: u32,
        message: &Message,
        thread: Option<String>,
        actions: &mut Vec<Action>,
    ) -> Result<(), WireError> {
        let key = message.require("key")?.to_owned();
        let wait = matches!(message.get("wait").or(message.get("waitfor")), Some("TRUE"));
        let client = self.clients.get_mut(rank as usize);
        match (self.attributes.get(&key), client) {
            // One for each rank: a second request before the first is answered is not to be kept.
            (None, Some(client)) if wait && client.waiting.is_none() => {
                client.waiting = Some(Waiting { key, thread });
            }
            (value, _) => {
                actions.push(Action::Reply(rank, response(message, &thread, &found(value))));
            }
        }
        Ok(())
    }

    /// Answers the ranks whose attribute is there now.
    fn wake_waiting(&mut self, actions: &mut Vec<Action>) {
        for (rank, client) in self.clients.iter_mut().enumerate() {
            let Some(waiting) = &client.waiting else { continue };
            let Some(value) = self.attributes.get(&waiting.key) else { continue };
            let reply = reply("info-getnodeattr", &waiting.thread, &found(Some(value)));
            actions.push(Action::Reply(rank as u32, reply));
            client.waiting = None;
        }
    }
}

type Pairs = Vec<(String, String)>;

fn pairs(pairs: &[(&str, &str)]) -> Pairs {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn found(value: Option<&String>) -> Pairs {
    match value {
        Some(value) => pairs(&[("found", "TRUE"), ("value", value), ("rc", "0")]),
        None => pairs(&[("found", "FALSE"), ("rc", "0")]),
    }
}

fn response(message: &Message, thread: &Option<String>, pairs: &Pairs) -> String {
    // A name that would be too long or odd to repeat is none that anybody waits for.
    let command = wire::shorten(&wire::escape(message.command()));
    reply(&command, thread, pairs)
}

/// The frame that answers `command`.
pub(super) fn reply(command: &str, thread: &Option<String>, pairs: &Pairs) -> String {
    let mut all: Vec<(&str, &str)> = Vec::new();
    all.extend(thread.as_deref().map(|thread| ("thrid", thread)));
    all.extend(pairs.iter().map(|(key, value)| (key.as_str(), value.as_str())));
    wire2::encode(&format!("{command}-response"), &all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn joined(size: u32) -> Server {
        let mut server = Server::new("job".into(), size);
        for rank in 0..size {
            let welcome = server.receive(rank, b"cmd=init pmi_version=2 pmi_subversion=0\n");
            let line = "cmd=response_to_init pmi_version=2 pmi_subversion=0 rc=0\n";
            assert_eq!(welcome, [Action::Reply(rank, line.to_owned())]);
            let answer = ask(&mut server, rank, "fullinit", &[]).unwrap();
            assert_eq!(answer.number::<u32>("rank"), Ok(rank));
            assert_eq!(server.membership(rank), Membership::Joined);
        }
        server
    }

    /// The one answer to a request; `None` when there is none yet.
    fn ask(
        server: &mut Server,
        rank: u32,
        command: &str,
        pairs: &[(&str, &str)],
    ) -> Option<Message> {
        let actions = server.receive(rank, wire2::encode(command, pairs).as_bytes());
        let [Action::Reply(to, frame)] = &actions[..] else { return None };
        assert_eq!(*to, rank);
        Some(wire2::parse(&frame.as_bytes()[6..]).unwrap())
    }

    #[test]
    fn what_one_rank_put_is_there_for_the_others_after_the_fence() {
        let mut server = joined(2);
        let put = ask(&mut server, 0, "kvs-put", &[("key", "k"), ("value", "a;b=c")]).unwrap();
        assert_eq!(put.result_code(), 0);
        assert_eq!(ask(&mut server, 0, "kvs-fence", &[]), None);
        let done = server.receive(1, wire2::encode("kvs-fence", &[("thrid", "7")]).as_bytes());
        assert_eq!(done.len(), 2);
        assert!(
            done.iter()
                .any(|it| matches!(it, Action::Reply(1, frame) if frame.contains("thrid=7;")))
        );
        let got = ask(&mut server, 1, "kvs-get", &[("jobid", "job"), ("key", "k")]).unwrap();
        assert_eq!(got.get("value"), Some("a;b=c"));
        let none = ask(&mut server, 1, "kvs-get", &[("key", "x")]).unwrap();
        assert_eq!(none.get("found"), Some("FALSE"));
    }

    #[test]
    fn ranks_of_both_versions_meet_at_one_barrier() {
        let mut server = Server::new("job".into(), 2);
        server.receive(0, b"cmd=init pmi_version=2 pmi_subversion=0\n");
        server.receive(1, b"cmd=init pmi_version=1 pmi_subversion=1\n");
        assert_eq!(ask(&mut server, 0, "kvs-fence", &[]), None);
        let done = server.receive(1, b"cmd=barrier_in\n");
        let frame = wire2::encode("kvs-fence-response", &[("rc", "0")]);
        let line = "cmd=barrier_out rc=0\n".to_owned();
        assert_eq!(done, [Action::Reply(0, frame), Action::Reply(1, line)]);
    }

    #[test]
    fn an_attribute_of_the_machine_is_waited_for() {
        let mut server = joined(2);
        let wanted = [("key", "shm"), ("wait", "TRUE")];
        assert_eq!(ask(&mut server, 1, "info-getnodeattr", &wanted), None);
        let none = ask(&mut server, 0, "info-getnodeattr", &[("key", "shm")]).unwrap();
        assert_eq!(none.get("found"), Some("FALSE"));
        let put = wire2::encode("info-putnodeattr", &[("key", "shm"), ("value", "/x")]);
        let done = server.receive(0, put.as_bytes());
        assert_eq!(done.len(), 2);
        assert!(matches!(&done[1], Action::Reply(1, frame) if frame.contains("value=/x;")));
    }

    #[test]
    fn what_is_not_served_is_refused_and_the_rank_goes_on() {
        let mut server = joined(1);
        for command in ["spawn", "name-publish", "dance"] {
            assert_ne!(ask(&mut server, 0, command, &[]).unwrap().result_code(), 0);
        }
        let long = "v".repeat(wire::MAX_VALUE + 1);
        let put = ask(&mut server, 0, "kvs-put", &[("key", "k"), ("value", &long)]).unwrap();
        assert_ne!(put.result_code(), 0);
        let abort = wire2::encode("abort", &[("msg", "no%20disk"), ("exitcode", "7")]);
        let expected = Action::Abort { rank: 0, code: 7, message: "no disk".into() };
        assert_eq!(server.receive(0, abort.as_bytes()), [expected]);
    }

    proptest! {
        #[test]
        fn no_stream_makes_the_service_panic_or_starves_another_rank(
            pieces in proptest::collection::vec(
                prop_oneof![
                    proptest::collection::vec(any::<u8>(), 0..40),
                    Just(wire2::encode("kvs-put", &[("key", "a"), ("value", "b")]).into_bytes()),
                    Just(wire2::encode("kvs-fence", &[("thrid", "1")]).into_bytes()),
                    Just(wire2::encode("info-getnodeattr", &[("key", "a"), ("wait", "TRUE")]).into_bytes()),
                    Just(wire2::encode("info-putnodeattr", &[("key", "a")]).into_bytes()),
                    Just(b"cmd=init pmi_version=2\n".to_vec()), Just(b"     3cmd".to_vec()),
                ], 0..30))
        {
            let mut server = joined(2);
            for piece in &pieces {
                server.receive(0, piece);
            }
            prop_assert!(ask(&mut server, 1, "job-getid", &[]).is_some());
        }
    }
}
