//! Ranks elsewhere, played by children of this process.

use std::io::{PipeReader, Read};
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};

use super::*;
use crate::launch::FailureCause;

/// A child whose machine can be pretended to be gone.
struct Far {
    child: Mutex<Child>,
    /// Its standard input: closed with it, as the sign of its end.
    ended: PipeReader,
    gone: bool,
}

impl RemoteProcess for Far {
    fn ended_fd(&self) -> BorrowedFd<'_> {
        self.ended.as_fd()
    }

    fn ended(&self) -> Option<RemoteEnd> {
        use std::os::unix::process::ExitStatusExt;
        if self.gone {
            return Some(RemoteEnd::Lost("the plug was pulled".into()));
        }
        let status = self.child.lock().unwrap().try_wait().unwrap()?;
        let signal = status.signal().map(RemoteEnd::Signal);
        signal.or_else(|| status.code().map(RemoteEnd::Code))
    }

    fn signal(&self, signal: u8) {
        let pid = self.child.lock().unwrap().id();
        let _ = sys::kill(pid as i32, c_int::from(signal));
    }
}

impl Drop for Far {
    fn drop(&mut self) {
        let mut child = self.child.lock().unwrap();
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// Starts a shell script as a rank; PMI is its standard input.
fn far(start: RemoteStart, script: &str, gone: bool) -> RemoteRank<'static> {
    let (theirs, pmi) = sys::socketpair().unwrap();
    let (ended, not_yet) = std::io::pipe().unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", script]).envs(start.env);
    command.stdin(theirs).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop((command, not_yet));
    let (out, err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let process = Box::new(Far { child: Mutex::new(child), ended, gone });
    let place = format!("guest h{}v{}", start.place.host, start.place.vm);
    RemoteRank { pmi, out: out.into(), err: err.into(), place, process }
}

fn options(layout: &str) -> RunOptions {
    let layout: crate::launch::Layout = layout.parse().unwrap();
    RunOptions {
        ranks: layout.ranks(1) as u32,
        layout: Some(layout),
        capture_rank0: true,
        ..RunOptions::default()
    }
}

fn outcome(layout: &str, script: &str, lost: Option<u32>) -> Outcome {
    let start = &mut |start: RemoteStart| {
        let gone = lost == Some(start.rank);
        Ok(far(start, script, gone))
    };
    run_remote(&options(layout), start).unwrap()
}

#[test]
fn ranks_elsewhere_know_their_place_and_speak_pmi() {
    let script = "echo cmd=barrier_in >&0; read answer; \
                  echo \"$PMI_RANK of $PMI_SIZE, $COHOST_HOST.$COHOST_VM: $answer\"";
    let outcome = outcome("2x1", script, None);
    let said = String::from_utf8(outcome.captured).unwrap();
    assert_eq!((outcome.exit_code, outcome.failed), (0, None));
    assert_eq!(said, "0 of 2, 0.0: cmd=barrier_out rc=0\n");
}

#[test]
fn a_rank_that_fails_elsewhere_is_named_with_its_place_and_ends_the_others() {
    let script = "[ $PMI_RANK = 1 ] && { echo oh >&2; exit 7; }; exec sleep 1000";
    let outcome = outcome("1x3", script, None);
    let failure = outcome.failed.unwrap();
    assert_eq!((outcome.exit_code, failure.rank), (7, 1));
    assert_eq!((failure.place.as_str(), failure.last_words.as_str()), ("guest h0v1", "oh"));
    assert!(failure.obituary(3).starts_with("cohost: rank 1 in guest h0v1 exited with code 7"));
}

#[test]
fn a_machine_that_is_gone_ends_the_job_with_the_reason() {
    let outcome = outcome("1x2", "exec sleep 1000", Some(1));
    let failure = outcome.failed.unwrap();
    assert_eq!((outcome.exit_code, failure.rank), (1, 1));
    assert_eq!(failure.cause, FailureCause::Lost("the plug was pulled".into()));
    assert!(failure.obituary(2).contains("guest h0v1 was lost: the plug was pulled"));
}

#[test]
fn a_rank_that_cannot_be_started_is_named_and_those_before_it_end() {
    let mut seen = None;
    let error = run_remote(&options("1x2"), &mut |start| {
        if start.rank == 1 {
            return Err("no such guest".into());
        }
        let rank = far(start, "exec sleep 1000", false);
        let mut end = std::io::PipeReader::from(rank.out);
        let out = end.try_clone().unwrap().into();
        // The launcher makes the pipe, which both ends of this copy share, nonblocking.
        seen = Some(std::thread::spawn(move || {
            for _ in 0..1000 {
                match end.read(&mut [0; 64]) {
                    Ok(count) => return Some(count),
                    Err(_) => std::thread::sleep(std::time::Duration::from_millis(10)),
                }
            }
            None
        }));
        Ok(RemoteRank { out, ..rank })
    });
    let text = error.unwrap_err().to_string();
    assert!(text.contains("rank 1") && text.contains("no such guest"), "{text}");
    // It ends since the first rank's process was killed.
    assert_eq!(seen.unwrap().join().unwrap(), Some(0));
}
