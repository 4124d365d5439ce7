//! What the ranks write, on its way out: whole lines, never mixed, never blocking the launcher.

use std::collections::VecDeque;
use std::os::fd::RawFd;

use super::sys;

/// A line longer than this, in bytes, is passed on in pieces.
const MAX_WHOLE_LINE: usize = 1 << 20;

/// Bytes waiting to be written beyond which the ranks are no longer read from.
const FULL: usize = 1 << 20;

/// A pipe that is ready takes this many bytes at once without blocking (PIPE_BUF).
const PIECE: usize = 4096;

/// Bytes of standard error kept as a rank's last words.
const LAST_WORDS: usize = 4096;

/// Lines of them that are shown.
const LAST_LINES: usize = 10;

/// The launcher's standard output or standard error.
pub(super) struct Sink {
    fd: RawFd,
    queue: VecDeque<u8>,
    /// Nobody reads it any more.
    broken: bool,
    /// The rank whose unfinished line was passed on last.
    unfinished: Option<u32>,
}

impl Sink {
    pub(super) fn new(fd: RawFd) -> Self {
        Self { fd, queue: VecDeque::new(), broken: false, unfinished: None }
    }

    pub(super) fn is_full(&self) -> bool {
        self.queue.len() >= FULL
    }

    pub(super) fn is_broken(&self) -> bool {
        self.broken
    }

    /// The descriptor to wait for, while something is waiting to be written.
    pub(super) fn wants(&self) -> Option<RawFd> {
        (!self.broken && !self.queue.is_empty()).then_some(self.fd)
    }

    /// Adds a line (or the piece of one) of a rank.
    fn add(&mut self, rank: u32, tagged: bool, piece: &[u8]) {
        if self.broken || piece.is_empty() {
            return;
        }
        let continued = self.unfinished == Some(rank);
        if self.unfinished.is_some() && !continued {
            self.queue.push_back(b'\n');
        }
        if tagged && !continued {
            self.queue.extend(format!("[{rank}] ").into_bytes());
        }
        self.queue.extend(piece);
        self.unfinished = (piece.last() != Some(&b'\n')).then_some(rank);
    }

    /// Adds a message of the launcher's own.
    pub(super) fn say(&mut self, text: &str) {
        if self.broken {
            return;
        }
        if self.unfinished.take().is_some() {
            self.queue.push_back(b'\n');
        }
        self.queue.extend(text.bytes());
    }

    /// Writes what fits now; to be called when the descriptor is ready.
    pub(super) fn write_some(&mut self) {
        let (first, _) = self.queue.as_slices();
        let piece = first.get(..first.len().min(PIECE)).unwrap_or_default();
        match sys::write(self.fd, piece) {
            Ok(count) => drop(self.queue.drain(..count)),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => self.give_up(),
        }
    }

    /// Forgets what was not written, and all that is still to come.
    pub(super) fn give_up(&mut self) {
        self.broken = true;
        self.queue = VecDeque::new();
    }
}

/// One stream of a rank, cut into lines.
#[derive(Default)]
pub(super) struct Lines {
    pending: Vec<u8>,
}

impl Lines {
    /// Passes on the lines that `bytes` completes. With `at_once`, unfinished ones too.
    pub(super) fn forward(
        &mut self,
        rank: u32,
        bytes: &[u8],
        at_once: bool,
        tagged: bool,
        sink: &mut Sink,
    ) {
        self.pending.extend_from_slice(bytes);
        let whole = match self.pending.iter().rposition(|&byte| byte == b'\n') {
            _ if at_once || self.pending.len() > MAX_WHOLE_LINE => self.pending.len(),
            Some(end) => end + 1,
            None => return,
        };
        let lines: Vec<u8> = self.pending.drain(..whole).collect();
        for line in lines.split_inclusive(|&byte| byte == b'\n') {
            sink.add(rank, tagged, line);
        }
    }

    /// Passes on an unfinished last line.
    pub(super) fn finish(&mut self, rank: u32, tagged: bool, sink: &mut Sink) {
        self.forward(rank, &[], true, tagged, sink);
    }
}

/// The end of what a rank wrote to standard error.
#[derive(Default)]
pub(super) struct LastWords {
    bytes: VecDeque<u8>,
}

impl LastWords {
    pub(super) fn hear(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
        let excess = self.bytes.len().saturating_sub(LAST_WORDS);
        self.bytes.drain(..excess);
    }

    /// The last lines, without anything that could move a terminal's cursor.
    pub(super) fn text(&self) -> String {
        let bytes: Vec<u8> = self.bytes.iter().copied().collect();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().collect();
        let last = lines.get(lines.len().saturating_sub(LAST_LINES)..).unwrap_or_default();
        let clean = |line: &&str| line.replace(|c: char| c.is_control() && c != '\t', "?");
        last.iter().map(clean).collect::<Vec<_>>().join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(sink: &Sink) -> String {
        String::from_utf8(sink.queue.iter().copied().collect()).unwrap()
    }

    #[test]
    fn half_lines_of_two_ranks_are_not_mixed() {
        let mut sink = Sink::new(-1);
        let (mut a, mut b) = (Lines::default(), Lines::default());
        a.forward(0, b"one ", false, true, &mut sink);
        b.forward(1, b"two\nth", false, true, &mut sink);
        a.forward(0, b"more\n", false, true, &mut sink);
        b.finish(1, true, &mut sink);
        a.forward(0, b"end\n", false, true, &mut sink);
        assert_eq!(text(&sink), "[1] two\n[0] one more\n[1] th\n[0] end\n");
    }

    #[test]
    fn a_prompt_passes_at_once_when_asked_for() {
        let mut sink = Sink::new(-1);
        let mut lines = Lines::default();
        lines.forward(0, b"name? ", true, false, &mut sink);
        lines.forward(0, b"x", true, false, &mut sink);
        assert_eq!(text(&sink), "name? x");
        sink.say("cohost: bye\n");
        assert_eq!(text(&sink), "name? x\ncohost: bye\n");
    }

    #[test]
    fn a_line_without_end_does_not_grow_the_launcher() {
        let mut sink = Sink::new(-1);
        let mut lines = Lines::default();
        for _ in 0..40 {
            lines.forward(0, &[b'x'; 65536], false, false, &mut sink);
            assert!(lines.pending.len() <= MAX_WHOLE_LINE);
        }
        assert!(sink.is_full());
    }

    #[test]
    fn the_last_words_are_the_last_lines_and_harmless() {
        let mut words = LastWords::default();
        (0..5000).for_each(|i| words.hear(format!("line {i}\n").as_bytes()));
        words.hear(b"\x1b[2Jbye");
        let text = words.text();
        assert_eq!(text.lines().count(), LAST_LINES);
        assert!(text.ends_with("line 4999\n?[2Jbye"), "{text}");
        assert_eq!(LastWords::default().text(), "");
    }

    proptest! {
        #[test]
        fn every_line_comes_out_whole_whatever_the_cuts(
            texts in proptest::collection::vec("[a-z]{0,8}\n", 1..20), cut in 1usize..6)
        {
            let mut sink = Sink::new(-1);
            let mut streams = [Lines::default(), Lines::default()];
            let bytes: Vec<u8> = texts.concat().into_bytes();
            for piece in bytes.chunks(cut) {
                for (rank, lines) in streams.iter_mut().enumerate() {
                    lines.forward(rank as u32, piece, false, true, &mut sink);
                }
            }
            let out = text(&sink);
            for rank in 0..2 {
                let tag = format!("[{rank}] ");
                let own: String = out.split_inclusive('\n').filter_map(|l| l.strip_prefix(&tag)).collect();
                prop_assert_eq!(own, texts.concat());
            }
        }
    }
}
