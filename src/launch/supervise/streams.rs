//! The streams between the launcher and its ranks: PMI-1, output, typed input.

use std::os::fd::{AsRawFd, OwnedFd};

use super::super::outcome::FailureCause;
use super::super::output::{LastWords, Lines};
use super::super::server::Action;
use super::super::sys;
use super::Job;

/// The launcher's ends of one rank's streams, not blocking.
pub(in crate::launch) struct RankStreams {
    pub(in crate::launch) pmi: OwnedFd,
    pub(in crate::launch) out: OwnedFd,
    pub(in crate::launch) err: OwnedFd,
}

/// What the launcher knows of one rank.
pub(super) struct Rank {
    pub(super) pmi: Option<OwnedFd>,
    /// Answers not yet sent.
    pub(super) answers: Vec<u8>,
    pub(super) out: Option<OwnedFd>,
    pub(super) err: Option<OwnedFd>,
    pub(super) out_lines: Lines,
    pub(super) err_lines: Lines,
    pub(super) last_words: LastWords,
    /// Exit code, 128 + signal for a signal, once it has ended.
    pub(super) ended: Option<i32>,
}

impl Rank {
    pub(super) fn new(streams: RankStreams) -> Self {
        Self {
            pmi: Some(streams.pmi),
            answers: Vec::new(),
            out: Some(streams.out),
            err: Some(streams.err),
            out_lines: Lines::default(),
            err_lines: Lines::default(),
            last_words: LastWords::default(),
            ended: None,
        }
    }
}

impl Job {
    /// Passes on what was typed at the terminal.
    pub(super) fn take_typed(&mut self) {
        let Some(keeper) = &mut self.keeper else {
            return;
        };
        let Some(typed) = &keeper.typed else { return };
        let mut buffer = [0; 4096];
        let passed = match sys::read(0, &mut buffer) {
            Ok(0) | Err(_) => false,
            Ok(count) => {
                // A full pipe takes no more: what a rank does not read in time is dropped.
                let sent = sys::write(typed.as_raw_fd(), buffer.get(..count).unwrap_or_default());
                !matches!(sent, Err(error) if error.kind() != std::io::ErrorKind::WouldBlock)
            }
        };
        if !passed {
            keeper.typed = None;
        }
    }

    /// Reads requests of a rank. True when there may be more.
    pub(super) fn read_pmi(&mut self, index: usize) -> bool {
        let Some(rank) = self.ranks.get_mut(index) else {
            return false;
        };
        let Some(bytes) = read_piece(&mut rank.pmi) else {
            return false;
        };
        for action in self.server.receive(index as u32, &bytes) {
            match action {
                Action::Reply(to, line) => {
                    if let Some(rank) = self.ranks.get_mut(to as usize) {
                        rank.answers.extend(line.into_bytes());
                    }
                    self.send_answers(to as usize);
                }
                Action::Abort { rank, code, message } => {
                    self.suspect(rank as usize, FailureCause::Abort { code, message });
                }
                Action::Nonsense(rank, error) => {
                    self.suspect(rank as usize, FailureCause::Nonsense(error.to_string()));
                }
            }
        }
        self.check_barrier();
        true
    }

    pub(super) fn send_answers(&mut self, index: usize) {
        let Some(rank) = self.ranks.get_mut(index) else {
            return;
        };
        let Some(pmi) = &rank.pmi else { return };
        match sys::send(pmi.as_raw_fd(), &rank.answers) {
            Ok(count) => drop(rank.answers.drain(..count)),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            // Gone or closed: its exit tells the rest.
            Err(_) => rank.answers.clear(),
        }
    }

    /// Reads a rank's standard output. True when there may be more.
    pub(super) fn read_out(&mut self, index: usize) -> bool {
        // With one rank there is nothing to mix: prompts pass at once.
        let at_once = self.ranks.len() == 1;
        let Some(rank) = self.ranks.get_mut(index) else {
            return false;
        };
        let (number, tagged) = (index as u32, self.tagged);
        match read_piece(&mut rank.out) {
            Some(bytes) if self.capture && index == 0 => self.captured.extend(bytes),
            Some(bytes) => {
                rank.out_lines.forward(number, &bytes, at_once, tagged, &mut self.out);
            }
            None => {
                if rank.out.is_none() {
                    rank.out_lines.finish(number, tagged, &mut self.out);
                }
                return false;
            }
        }
        true
    }

    /// Reads a rank's standard error. True when there may be more.
    pub(super) fn read_err(&mut self, index: usize) -> bool {
        let at_once = self.ranks.len() == 1;
        let Some(rank) = self.ranks.get_mut(index) else {
            return false;
        };
        let (number, tagged) = (index as u32, self.tagged);
        match read_piece(&mut rank.err) {
            Some(bytes) => {
                rank.last_words.hear(&bytes);
                rank.err_lines.forward(number, &bytes, at_once, tagged, &mut self.err);
                true
            }
            None => {
                if rank.err.is_none() {
                    rank.err_lines.finish(number, tagged, &mut self.err);
                }
                false
            }
        }
    }
}

/// Reads once. `None` when there is nothing now, or ever: then the stream is closed too.
fn read_piece(stream: &mut Option<OwnedFd>) -> Option<Vec<u8>> {
    let fd = stream.as_ref()?.as_raw_fd();
    let mut buffer = [0; 16 * 1024];
    match sys::read(fd, &mut buffer) {
        Ok(count @ 1..) => Some(buffer.get(..count).unwrap_or_default().to_vec()),
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => None,
        Ok(_) | Err(_) => {
            *stream = None;
            None
        }
    }
}
