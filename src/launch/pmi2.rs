//! A rank's side of PMI-2.

use super::connection::{Connection, Entries, accepted, get_whole, put_whole, unexpected};
use super::identity::environment;
use super::wire::{self, Message};
use super::{Kvs, LaunchError, check_entry, wire2};

/// Bytes of value in one entry: what Slurm and Hydra take, less some.
const ROOM: usize = 1000;

/// A connection to a PMI-2 service.
pub(super) struct Pmi2 {
    connection: Connection,
    job: String,
}

/// A rank that has joined: its connection, and what the service says of it.
pub(super) struct Joined {
    pub(super) client: Pmi2,
    pub(super) rank: u32,
    pub(super) size: u32,
}

impl Pmi2 {
    /// The greeting (still a line), `fullinit`, and the name of the job. `claims` is what the
    /// environment says of this rank, as Slurm wants to hear it again.
    pub(super) fn greet(
        mut connection: Connection,
        claims: &[(&str, &str)],
    ) -> Result<Joined, LaunchError> {
        connection.send("cmd=init pmi_version=2 pmi_subversion=0\n", "init")?;
        let answer = connection.read_line("init")?;
        if answer.command() != "response_to_init" {
            return Err(unexpected("response_to_init", &answer).into());
        }
        if answer.number::<u32>("pmi_version") != Ok(2) {
            let reason = format!("it does not speak PMI-2, but said `{}`", answer.summary());
            return Err(LaunchError::Refused { request: "init".to_owned(), reason });
        }
        accepted("init", answer)?;
        let mut client = Self { connection, job: String::new() };
        let mut pairs = claims.to_vec();
        pairs.push(("threaded", "FALSE"));
        let answer = client.call("fullinit", &pairs)?;
        let (rank, size) = (answer.number::<u32>("rank")?, answer.number::<u32>("size")?);
        if rank >= size {
            return Err(environment(format!("the launcher gave rank {rank} of size {size}")));
        }
        client.job = client.call("job-getid", &[])?.require("jobid")?.to_owned();
        Ok(Joined { client, rank, size })
    }

    /// The name of the job.
    pub(super) fn job(&self) -> &str {
        &self.job
    }

    fn call(&mut self, command: &str, pairs: &[(&str, &str)]) -> Result<Message, LaunchError> {
        let message = self.ask(command, pairs)?;
        accepted(command, message)
    }

    /// Like [`Self::call`], whatever the result code.
    fn ask(&mut self, command: &str, pairs: &[(&str, &str)]) -> Result<Message, LaunchError> {
        self.connection.send(&wire2::encode(command, pairs), command)?;
        let message = self.connection.read_frame(command)?;
        let expected = format!("{command}-response");
        match message.command() == expected {
            true => Ok(message),
            false => Err(unexpected(&expected, &message).into()),
        }
    }
}

impl Entries for Pmi2 {
    fn put_entry(&mut self, key: &str, value: &str) -> Result<(), LaunchError> {
        self.call("kvs-put", &[("key", key), ("value", value)]).map(drop)
    }

    fn get_entry(&mut self, key: &str) -> Result<Option<String>, LaunchError> {
        let job = self.job.clone();
        let answer = self.ask("kvs-get", &[("jobid", &job), ("srcid", "-1"), ("key", key)])?;
        let missing = answer.result_code() != 0 || answer.get("found") == Some("FALSE");
        match missing {
            true => Ok(None),
            false => Ok(Some(answer.require("value")?.to_owned())),
        }
    }

    fn room(&self, _key: &str) -> usize {
        ROOM
    }
}

impl Kvs for Pmi2 {
    /// Escaped, because not every service keeps a `;` that is written twice.
    fn put(&mut self, key: &str, value: &str) -> Result<(), LaunchError> {
        check_entry(key, value)?;
        put_whole(self, key, &escape(value))
    }

    fn get(&mut self, key: &str) -> Result<Option<String>, LaunchError> {
        Ok(get_whole(self, key)?.map(|value| wire::unescape(&value)))
    }

    fn barrier(&mut self) -> Result<(), LaunchError> {
        self.call("kvs-fence", &[]).map(drop)
    }

    fn abort(&mut self, code: i32, message: &str) {
        let reason: String = wire::escape(message).chars().take(600).collect();
        let code = code.to_string();
        let pairs = [("isworld", "TRUE"), ("msg", reason.as_str()), ("exitcode", code.as_str())];
        // The caller exits next; a launcher that is gone already needs no notice.
        let _ = self.connection.send(&wire2::encode("abort", &pairs), "abort");
    }

    fn finalize(&mut self) -> Result<(), LaunchError> {
        self.call("finalize", &[]).map(drop)
    }
}

/// Without `;`, in a way that [`wire::unescape`] undoes.
fn escape(text: &str) -> String {
    text.replace('%', "%25").replace(';', "%3b")
}

#[cfg(test)]
mod tests {
    use super::super::server::{Action, Server};
    use super::*;
    use proptest::prelude::*;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    /// A service for one rank; `answer` may change what it says.
    fn serve(mut stream: UnixStream, answer: impl Fn(String) -> String) {
        let mut server = Server::new("9.0".into(), 1);
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            for action in server.receive(0, buffer.get(..count).unwrap()) {
                let Action::Reply(_, text) = action else { panic!("{action:?}") };
                stream.write_all(answer(text).as_bytes()).unwrap();
            }
        }
    }

    #[test]
    fn values_of_every_length_and_with_semicolons_come_back() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let service = std::thread::spawn(move || serve(theirs, |text| text));
        let joined = Pmi2::greet(Connection::new(ours.into()), &[("pmirank", "0")]).unwrap();
        assert_eq!((joined.rank, joined.size), (0, 1));
        let mut client = joined.client;
        assert_eq!(client.job(), "9.0");
        let key = "k".repeat(super::super::MAX_USER_KEY);
        for value in ["v".to_owned(), "v".repeat(900), ";%".repeat(512), "~parts~2".to_owned()] {
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
    fn a_service_without_pmi_2_is_an_error_that_says_so() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(b"cmd=response_to_init pmi_version=1 pmi_subversion=1 rc=-1\n").unwrap();
        let error = Pmi2::greet(Connection::new(ours.into()), &[]).err().unwrap().to_string();
        assert!(error.contains("does not speak PMI-2"), "{error}");
    }

    #[test]
    fn a_rank_outside_the_job_is_refused() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let lie = |text: String| text.replace("size=1;", "size=0;");
        let service = std::thread::spawn(move || serve(theirs, lie));
        let error = Pmi2::greet(Connection::new(ours.into()), &[]).err().unwrap().to_string();
        assert!(error.contains("rank 0 of size 0"), "{error}");
        service.join().unwrap();
    }

    proptest! {
        #[test]
        fn whatever_the_launcher_answers_the_client_returns(
            welcome in any::<bool>(), answer in proptest::collection::vec(any::<u8>(), 0..200))
        {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            if welcome {
                theirs.write_all(b"cmd=response_to_init pmi_version=2 pmi_subversion=0 rc=0\n").unwrap();
            }
            theirs.write_all(&answer).unwrap();
            theirs.shutdown(std::net::Shutdown::Write).unwrap();
            prop_assert!(Pmi2::greet(Connection::new(ours.into()), &[]).is_err());
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            theirs.write_all(&answer).unwrap();
            theirs.shutdown(std::net::Shutdown::Write).unwrap();
            let connection = Connection::new(ours.into());
            let mut client = Pmi2 { connection, job: String::new() };
            let _ = (client.get("k"), client.put("k", "v"), client.barrier(), client.finalize());
        }
    }
}
