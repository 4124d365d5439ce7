//! A rank's side of PMI-1.

use super::connection::{Connection, Entries, accepted, get_whole, put_whole, unexpected};
use super::identity::environment;
use super::wire::{self, MAX_REQUEST, Message};
use super::{Kvs, LaunchError, check_entry};

/// A connection to a PMI-1 service.
pub(super) struct Pmi1 {
    connection: Connection,
    job: String,
}

/// What the service says to the greeting.
pub(super) enum Greeting {
    Welcome(Pmi1),
    /// It speaks PMI-2 only.
    Other(Connection),
}

impl Pmi1 {
    pub(super) fn new(connection: Connection) -> Self {
        Self { connection, job: String::new() }
    }

    /// The connection, to speak something else over it.
    pub(super) fn into_connection(self) -> Connection {
        self.connection
    }

    /// The handshake over `PMI_PORT`: our id for rank and size.
    pub(super) fn introduce(&mut self, id: u32) -> Result<(u32, u32), LaunchError> {
        self.connection.send(&format!("cmd=initack pmiid={id}\n"), "initack")?;
        let (mut rank, mut size) = (None, None);
        // Hydra answers initack, then sets size, rank and debug, in this order; debug is the last.
        loop {
            let message = self.connection.read_line("initack")?;
            match message.command() {
                "initack" if message.result_code() == 0 => {}
                "set" => {
                    if message.get("size").is_some() {
                        size = Some(message.number::<u32>("size")?);
                    } else if message.get("rank").is_some() {
                        rank = Some(message.number::<u32>("rank")?);
                    } else if message.get("debug").is_some() {
                        break;
                    }
                }
                _ => return Err(unexpected("set", &message).into()),
            }
        }
        match (rank, size) {
            (Some(rank), Some(size)) if rank < size => Ok((rank, size)),
            _ => Err(environment(format!("the launcher gave rank {rank:?} of size {size:?}"))),
        }
    }

    /// `init`, and the name of the job; the connection again when the service wants PMI-2.
    pub(super) fn greet(mut self) -> Result<Greeting, LaunchError> {
        let request = "cmd=init pmi_version=1 pmi_subversion=1";
        let answer = self.ask(request, "response_to_init")?;
        if answer.result_code() != 0 && answer.number::<u32>("pmi_version") == Ok(2) {
            return Ok(Greeting::Other(self.connection));
        }
        accepted("init", answer)?;
        let answer = self.call("cmd=get_my_kvsname", "my_kvsname")?;
        self.job = answer.require("kvsname")?.to_owned();
        Ok(Greeting::Welcome(self))
    }

    /// The name of the job.
    pub(super) fn job(&self) -> &str {
        &self.job
    }

    /// Sends a request and reads its answer, which must be the command `answer`, with `rc` 0.
    fn call(&mut self, request: &str, answer: &str) -> Result<Message, LaunchError> {
        let message = self.ask(request, answer)?;
        accepted(command_of(request), message)
    }

    /// Like [`Self::call`], whatever the result code.
    fn ask(&mut self, request: &str, answer: &str) -> Result<Message, LaunchError> {
        let command = command_of(request);
        self.connection.send(&format!("{request}\n"), command)?;
        let message = self.connection.read_line(command)?;
        match message.command() == answer {
            true => Ok(message),
            false => Err(unexpected(answer, &message).into()),
        }
    }
}

fn command_of(request: &str) -> &str {
    request.split(' ').next().unwrap_or_default().trim_start_matches("cmd=")
}

impl Entries for Pmi1 {
    fn put_entry(&mut self, key: &str, value: &str) -> Result<(), LaunchError> {
        let request = format!("cmd=put kvsname={} key={key} value={value}", self.job);
        self.call(&request, "put_result").map(drop)
    }

    fn get_entry(&mut self, key: &str) -> Result<Option<String>, LaunchError> {
        let request = format!("cmd=get kvsname={} key={key}", self.job);
        let answer = self.ask(&request, "get_result")?;
        match answer.result_code() {
            0 => Ok(Some(answer.require("value")?.to_owned())),
            _ => Ok(None),
        }
    }

    fn room(&self, key: &str) -> usize {
        let frame = "cmd=put kvsname= key=~00 value=\n".len() + self.job.len() + key.len();
        // 64 in the worst case: a name of a job longer than any launcher's still makes progress.
        MAX_REQUEST.saturating_sub(frame).max(64)
    }
}

impl Kvs for Pmi1 {
    fn put(&mut self, key: &str, value: &str) -> Result<(), LaunchError> {
        check_entry(key, value)?;
        put_whole(self, key, value)
    }

    fn get(&mut self, key: &str) -> Result<Option<String>, LaunchError> {
        get_whole(self, key)
    }

    fn barrier(&mut self) -> Result<(), LaunchError> {
        self.call("cmd=barrier_in", "barrier_out").map(drop)
    }

    fn abort(&mut self, code: i32, message: &str) {
        let reason: String = wire::escape(message).chars().take(600).collect();
        let request = format!("cmd=abort exitcode={code} error_msg={reason}\n");
        // The caller exits next; a launcher that is gone already needs no notice.
        let _ = self.connection.send(&request, "abort");
    }

    fn finalize(&mut self) -> Result<(), LaunchError> {
        self.call("cmd=finalize", "finalize_ack").map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::super::MAX_USER_KEY;
    use super::super::connection::PARTS;
    use super::super::server::{Action, Server};
    use super::super::wire::WireError;
    use super::*;
    use proptest::prelude::*;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    fn client(stream: UnixStream) -> Pmi1 {
        Pmi1::new(Connection::new(stream.into()))
    }

    fn welcome(client: Pmi1) -> Pmi1 {
        match client.greet().unwrap() {
            Greeting::Welcome(client) => client,
            Greeting::Other(_) => panic!("PMI-2 was asked for"),
        }
    }

    /// A service for one rank that answers like Slurm: one read of 1024 bytes is one request.
    fn slurm_like(mut stream: UnixStream) {
        let mut server = Server::new("9.0".into(), 1);
        let mut buffer = [0; MAX_REQUEST];
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            assert_eq!(buffer[count - 1], b'\n', "a request did not fit into one read");
            for action in server.receive(0, &buffer[..count]) {
                let Action::Reply(_, line) = action else { panic!("{action:?}") };
                stream.write_all(line.replace(" msg=success", "").as_bytes()).unwrap();
            }
        }
    }

    #[test]
    fn values_of_every_length_pass_a_service_with_short_requests() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let service = std::thread::spawn(move || slurm_like(theirs));
        let mut client = welcome(client(ours));
        assert_eq!(client.job, "9.0");
        let key = "k".repeat(MAX_USER_KEY);
        for value in ["v".to_owned(), "v".repeat(900), "v".repeat(1024), format!("{PARTS}2")] {
            client.put(&key, &value).unwrap();
            client.barrier().unwrap();
            assert_eq!(client.get(&key).unwrap().as_deref(), Some(value.as_str()));
        }
        assert_eq!(client.get("absent").unwrap(), None);
        client.finalize().unwrap();
        drop(client);
        service.join().unwrap();
    }

    #[test]
    fn a_launcher_that_goes_away_is_an_error_that_says_so() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        drop(theirs);
        assert!(matches!(client(ours).barrier(), Err(LaunchError::Gone { .. })));
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(b"cmd=barr").unwrap();
        theirs.shutdown(std::net::Shutdown::Write).unwrap();
        let error = client(ours).barrier().unwrap_err();
        assert!(matches!(error, LaunchError::Wire(WireError::Truncated(8))), "{error}");
    }

    proptest! {
        #[test]
        fn whatever_the_launcher_answers_the_client_returns(
            answer in proptest::collection::vec(any::<u8>(), 0..200))
        {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            theirs.write_all(&answer).unwrap();
            theirs.shutdown(std::net::Shutdown::Write).unwrap();
            let mut client = client(ours);
            let _ = (client.get("k"), client.introduce(0), client.barrier(), client.greet());
        }
    }
}
