//! A client of QEMU's machine protocol (QMP): JSON texts, one to a line, over a unix socket.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::LabError;

/// How long QEMU may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// The longest answer that is read, in bytes.
const MAX_LINE: u64 = 1 << 20;

/// A connection to a monitor that takes commands.
#[derive(Debug)]
pub(crate) struct Monitor {
    stream: BufReader<UnixStream>,
    /// Events that came while something else was waited for, by name and data.
    events: Vec<(String, Value)>,
}

impl Monitor {
    /// Connects to the socket `name` in `dir`, waiting for it to appear.
    pub(crate) fn connect(dir: &Path, name: &str) -> Result<Monitor, LabError> {
        let fail = |reason: String| LabError::Monitor {
            command: format!("(connecting to {name})"),
            reason,
        };
        let begun = Instant::now();
        let stream = loop {
            match connect_in(dir, name) {
                Ok(stream) => break stream,
                Err(error) if begun.elapsed() > PATIENCE => return Err(fail(error.to_string())),
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        };
        let ready = stream.set_read_timeout(Some(PATIENCE));
        ready.map_err(|error| fail(error.to_string()))?;
        let mut monitor = Monitor { stream: BufReader::new(stream), events: Vec::new() };
        let greeting = monitor.read("(greeting)")?;
        if greeting.get("QMP").is_none() {
            return Err(fail(format!("it greets with {greeting}")));
        }
        monitor.command("qmp_capabilities", json!({}))?;
        Ok(monitor)
    }

    /// Sends a command and returns what it returns.
    pub(crate) fn command(&mut self, name: &str, arguments: Value) -> Result<Value, LabError> {
        let text = json!({ "execute": name, "arguments": arguments });
        let sent = self.stream.get_mut().write_all(format!("{text}\n").as_bytes());
        sent.map_err(|error| refused(name, error.to_string()))?;
        loop {
            let mut answer = self.read(name)?;
            if let Some(value) = answer.get_mut("return") {
                return Ok(value.take());
            }
            if let Some(error) = answer.get("error") {
                let text = error.get("desc").and_then(Value::as_str).unwrap_or("no reason");
                return Err(refused(name, text.to_owned()));
            }
            self.keep_event(answer);
        }
    }

    /// Waits for an event whose data has `key` with this value, at most so long.
    pub(crate) fn wait_event(
        &mut self,
        event: &str,
        key: &str,
        value: &str,
        limit: Duration,
    ) -> Result<(), LabError> {
        let begun = Instant::now();
        loop {
            let wanted = |(name, data): &(String, Value)| {
                name == event && data.get(key).and_then(Value::as_str) == Some(value)
            };
            if let Some(place) = self.events.iter().position(wanted) {
                self.events.remove(place);
                return Ok(());
            }
            if begun.elapsed() > limit {
                let reason = format!("no event {event} for {value} within {} s", limit.as_secs());
                return Err(refused(event, reason));
            }
            let answer = self.read(event)?;
            self.keep_event(answer);
        }
    }

    fn keep_event(&mut self, answer: Value) {
        let name = answer.get("event").and_then(Value::as_str);
        if let Some(name) = name {
            let data = answer.get("data").cloned().unwrap_or_default();
            self.events.push((name.to_owned(), data));
        }
    }

    fn read(&mut self, during: &str) -> Result<Value, LabError> {
        let mut line = Vec::new();
        let mut limited = (&mut self.stream).take(MAX_LINE);
        let read = limited.read_until(b'\n', &mut line);
        match read {
            Err(error) => Err(refused(during, error.to_string())),
            Ok(0) => Err(refused(during, "QEMU has closed its monitor".into())),
            Ok(_) => serde_json::from_slice(&line)
                .map_err(|error| refused(during, format!("not understood: {error}"))),
        }
    }
}

fn refused(command: &str, reason: String) -> LabError {
    LabError::Monitor { command: command.to_owned(), reason }
}

/// Connects by way of an open folder: the paths of sockets may have 107 bytes, and a user's
/// folder may be longer.
fn connect_in(dir: &Path, name: &str) -> std::io::Result<UnixStream> {
    let dir = std::fs::File::open(dir)?;
    UnixStream::connect(format!("/proc/self/fd/{}/{name}", dir.as_raw_fd()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    /// A monitor that says these lines, each after one line from the client but for the first.
    fn fake(lines: &'static [&'static str]) -> (tempfile::TempDir, std::thread::JoinHandle<()>) {
        let dir = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(dir.path().join("qmp")).unwrap();
        let thread = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = BufReader::new(stream.try_clone().unwrap()).lines();
            for (n, text) in lines.iter().enumerate() {
                if n > 0 && asked.next().is_none() {
                    return;
                }
                stream.write_all(text.as_bytes()).unwrap();
            }
            // Closed after the last question, not before it.
            let _ = asked.next();
        });
        (dir, thread)
    }

    const GREETING: &str = "{\"QMP\": {\"version\": {}}}\n";
    const DELETED: &str = concat!(
        "{\"event\": \"DEVICE_DELETED\", \"data\": {\"device\": \"d0\"}}\n",
        "{\"return\": {}}\n"
    );
    const REFUSED: &str = "{\"error\": {\"desc\": \"ivshmem is plugged\"}}\n";
    const DONE: &str = "{\"return\": {}}\n";

    #[test]
    fn an_event_that_comes_before_the_answer_is_not_lost() {
        let (dir, thread) = fake(&[GREETING, DONE, DELETED]);
        let mut monitor = Monitor::connect(dir.path(), "qmp").unwrap();
        monitor.command("device_del", json!({ "id": "d0" })).unwrap();
        let limit = Duration::from_secs(5);
        monitor.wait_event("DEVICE_DELETED", "device", "d0", limit).unwrap();
        drop(monitor);
        thread.join().unwrap();
    }

    #[test]
    fn refusals_nonsense_and_silence_are_errors_that_name_the_command() {
        let scripts: [(&'static [&'static str], &str); 3] = [
            (&[GREETING, DONE, REFUSED], "plugged"),
            (&[GREETING, DONE, "nonsense\n"], "understood"),
            (&[GREETING, DONE], "closed"),
        ];
        for (script, word) in scripts {
            let (dir, thread) = fake(script);
            let mut monitor = Monitor::connect(dir.path(), "qmp").unwrap();
            let text = monitor.command("migrate", json!({})).unwrap_err().to_string();
            assert!(text.contains("migrate") && text.contains(word), "{text}");
            drop(monitor);
            thread.join().unwrap();
        }
    }
}
