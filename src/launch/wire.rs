//! PMI-1 on the wire: lines of `key=value` words over a stream, in the dialects of MPICH's Hydra and
//! of Slurm. Also the cutting of a stream into lines, or into the frames of PMI-2 (`wire2.rs`).
//!
//! Parsing is total: any bytes give a message or an error, in bounded memory. It is liberal where the
//! dialects differ: words in any order, `rc` absent or present, runs of blanks, a carriage return.

/// Longest line accepted, in bytes without the newline. The longest legal one carries a key of 64
/// and a value of 1024 bytes.
pub const MAX_LINE: usize = 16 * 1024;

/// Longest request sent, newline included. Slurm takes each request with one read of 1024 bytes.
pub const MAX_REQUEST: usize = 1024;

/// Longest value of one entry, in bytes, as Hydra and Slurm have it.
pub const MAX_VALUE: usize = 1024;

/// Longest key of one entry, in bytes, as Hydra and Slurm have it.
pub const MAX_KEY: usize = 64;

/// Digits before each frame of PMI-2.
const LENGTH_DIGITS: usize = 6;

/// Bytes that are no message of PMI-1 or PMI-2.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// More than 16 KiB in one line or frame.
    #[error("a line or frame of more than {MAX_LINE} bytes")]
    Overlong,
    /// The stream ended inside a line.
    #[error("the stream ended inside a line, after {0} bytes")]
    Truncated(usize),
    /// A frame of PMI-2 that does not begin with its length.
    #[error("a frame that does not begin with its length in six digits")]
    BadLength,
    /// Bytes that are not printable UTF-8.
    #[error("a line that is not text")]
    NotText,
    /// A line without `cmd=`.
    #[error("a line that names no command: `{0}`")]
    NoCommand(String),
    /// An answer to another question.
    #[error("expected `{expected}`, got `{got}`")]
    Unexpected {
        /// The command expected.
        expected: String,
        /// The line received, shortened.
        got: String,
    },
    /// A field is missing or has an impossible value.
    #[error("`{command}` has no usable `{field}`")]
    BadField {
        /// The command received.
        command: String,
        /// The field.
        field: &'static str,
    },
}

/// One line, taken apart. Holds at least the field `cmd` (or `mcmd`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    fields: Vec<(String, String)>,
}

impl Message {
    /// Takes one line apart (without its newline).
    pub fn parse(line: &[u8]) -> Result<Self, WireError> {
        if line.len() > MAX_LINE {
            return Err(WireError::Overlong);
        }
        let text = std::str::from_utf8(line).map_err(|_| WireError::NotText)?;
        let text = text.trim_matches([' ', '\t', '\r', '\0']);
        if text.chars().any(|c| c.is_control() && c != '\t') {
            return Err(WireError::NotText);
        }
        let mut fields: Vec<(String, String)> = Vec::new();
        for word in text.split([' ', '\t']).filter(|word| !word.is_empty()) {
            match (word.split_once('='), fields.last_mut()) {
                (Some((key, value)), _) => fields.push((key.to_owned(), value.to_owned())),
                // Explanations (`msg=no such key`) are not quoted: the word belongs to the last value.
                (None, Some((_, value))) => {
                    value.push(' ');
                    value.push_str(word);
                }
                (None, None) => return Err(WireError::NoCommand(shorten(text))),
            }
        }
        Self::of(fields).ok_or_else(|| WireError::NoCommand(shorten(text)))
    }

    /// A message of these fields; `None` when none of them names a command.
    pub(super) fn of(fields: Vec<(String, String)>) -> Option<Self> {
        let message = Self { fields };
        message.get("cmd").or(message.get("mcmd")).is_some().then_some(message)
    }

    /// The command: the value of `cmd` (or `mcmd`).
    pub fn command(&self) -> &str {
        self.get("cmd").or(self.get("mcmd")).unwrap_or_default()
    }

    /// The first field of this name.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.fields.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
    }

    /// A field that must be there.
    pub fn require(&self, field: &'static str) -> Result<&str, WireError> {
        self.get(field).ok_or_else(|| self.bad(field))
    }

    /// A number that must be there.
    pub fn number<T: std::str::FromStr>(&self, field: &'static str) -> Result<T, WireError> {
        self.require(field)?.parse().map_err(|_| self.bad(field))
    }

    /// The error that `field` is missing or impossible.
    fn bad(&self, field: &'static str) -> WireError {
        WireError::BadField { command: shorten(self.command()), field }
    }

    /// Result code: `rc`, 0 when absent (Hydra leaves it out of some answers).
    pub fn result_code(&self) -> i64 {
        self.get("rc").map_or(0, |rc| rc.parse().unwrap_or(-1))
    }

    /// The line again, shortened, for error messages.
    pub fn summary(&self) -> String {
        let words: Vec<String> = self.fields.iter().map(|(k, v)| format!("{k}={v}")).collect();
        shorten(&words.join(" "))
    }
}

/// At most 80 characters of `text`.
pub(super) fn shorten(text: &str) -> String {
    let mut short: String = text.chars().take(80).collect();
    if short.len() < text.len() {
        short.push_str("...");
    }
    short
}

/// Free text as one word: everything but letters, digits and `-._` becomes `%xx`.
pub(super) fn escape(text: &str) -> String {
    let mut word = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => word.push(byte as char),
            _ => word.push_str(&format!("%{byte:02x}")),
        }
    }
    word
}

/// Undoes [`escape`]; what was never escaped stays as it is.
pub(super) fn unescape(word: &str) -> String {
    let bytes = word.as_bytes();
    let mut text = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&first, tail)) = rest.split_first() {
        let code = tail.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        let code = code.filter(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()));
        match (first, code.and_then(|hex| u8::from_str_radix(hex, 16).ok())) {
            (b'%', Some(byte)) => {
                text.push(byte);
                rest = tail.get(2..).unwrap_or_default();
            }
            _ => {
                text.push(first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// Cuts a stream into lines or frames, refusing those of more than [`MAX_LINE`] bytes.
#[derive(Debug, Default)]
pub struct LineBuffer {
    pending: Vec<u8>,
    taken: usize,
}

impl LineBuffer {
    /// Adds bytes as they came.
    pub fn push(&mut self, bytes: &[u8]) {
        self.pending.drain(..self.taken);
        self.taken = 0;
        self.pending.extend_from_slice(bytes);
    }

    /// The next complete line without its newline; `None` when there is none yet.
    pub fn next_line(&mut self) -> Result<Option<Vec<u8>>, WireError> {
        let rest = self.pending.get(self.taken..).unwrap_or_default();
        match rest.iter().position(|&byte| byte == b'\n') {
            Some(end) if end > MAX_LINE => Err(WireError::Overlong),
            Some(end) => {
                let line = rest.get(..end).unwrap_or_default().to_vec();
                self.taken += end + 1;
                Ok(Some(line))
            }
            None if rest.len() > MAX_LINE => Err(WireError::Overlong),
            None => Ok(None),
        }
    }

    /// The payload of the next complete frame of PMI-2: six digits of length (blanks and zeros may
    /// stand before), then that many bytes. `None` when there is none yet.
    pub fn next_frame(&mut self) -> Result<Option<Vec<u8>>, WireError> {
        let rest = self.pending.get(self.taken..).unwrap_or_default();
        let Some((length, rest)) = rest.split_at_checked(LENGTH_DIGITS) else {
            return Ok(None);
        };
        let digits = length.trim_ascii();
        let number = std::str::from_utf8(digits).ok().filter(|text| !text.starts_with('+'));
        let length: usize =
            number.and_then(|text| text.parse().ok()).ok_or(WireError::BadLength)?;
        if length > MAX_LINE {
            return Err(WireError::Overlong);
        }
        let Some(payload) = rest.get(..length) else {
            return Ok(None);
        };
        let payload = payload.to_vec();
        self.taken += LENGTH_DIGITS + length;
        Ok(Some(payload))
    }

    /// To be called at the end of the stream: an error when it ended inside a line or frame.
    pub fn finish(&self) -> Result<(), WireError> {
        match self.pending.len().saturating_sub(self.taken) {
            0 => Ok(()),
            left => Err(WireError::Truncated(left)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn both_dialects_of_the_same_answer_mean_the_same() {
        let hydra = Message::parse(b"cmd=get_result rc=0 msg=success value=a=b").unwrap();
        let slurm = Message::parse(b"cmd=get_result  rc=0 value=a=b \r").unwrap();
        for message in [&hydra, &slurm] {
            assert_eq!(message.command(), "get_result");
            assert_eq!(message.result_code(), 0);
            assert_eq!(message.get("value"), Some("a=b"));
        }
        assert_eq!(Message::parse(b"cmd=barrier_out").unwrap().result_code(), 0);
        assert_ne!(Message::parse(b"cmd=put_result rc=zero").unwrap().result_code(), 0);
    }

    #[test]
    fn an_unquoted_explanation_stays_whole() {
        let message = Message::parse(b"cmd=get_result rc=1 msg=no such key").unwrap();
        assert_eq!(message.get("msg"), Some("no such key"));
    }

    #[test]
    fn nonsense_is_an_error_that_says_which() {
        assert_eq!(Message::parse(b"\xff\xfe"), Err(WireError::NotText));
        assert_eq!(Message::parse(b"cmd=\x1b[2J"), Err(WireError::NotText));
        assert!(matches!(Message::parse(b""), Err(WireError::NoCommand(_))));
        assert!(matches!(Message::parse(b"hello"), Err(WireError::NoCommand(_))));
        assert!(matches!(Message::parse(b"rc=0"), Err(WireError::NoCommand(_))));
        assert_eq!(Message::parse(&vec![b'x'; MAX_LINE + 1]), Err(WireError::Overlong));
        let message = Message::parse(b"cmd=maxes vallen_max=-3").unwrap();
        assert!(message.number::<u32>("vallen_max").is_err());
        assert!(message.require("keylen_max").is_err());
    }

    #[test]
    fn a_line_without_end_is_refused_in_bounded_memory() {
        let mut lines = LineBuffer::default();
        lines.push(&vec![b'a'; MAX_LINE]);
        assert_eq!(lines.next_line(), Ok(None));
        lines.push(b"a");
        assert_eq!(lines.next_line(), Err(WireError::Overlong));
    }

    #[test]
    fn a_stream_that_ends_inside_a_line_is_truncated() {
        let mut lines = LineBuffer::default();
        lines.push(b"cmd=init\ncmd=ba");
        assert_eq!(lines.next_line(), Ok(Some(b"cmd=init".to_vec())));
        assert_eq!(lines.next_line(), Ok(None));
        assert_eq!(lines.finish(), Err(WireError::Truncated(6)));
    }

    proptest! {
        #[test]
        fn any_bytes_give_a_message_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(message) = Message::parse(&bytes) {
                prop_assert!(message.get("cmd").or(message.get("mcmd")).is_some());
                let _ = (message.result_code(), message.summary(), message.number::<u16>("size").is_ok());
            }
        }

        #[test]
        fn lines_come_out_as_they_went_in_however_they_are_cut(
            lines in proptest::collection::vec("[ -~]{0,40}", 0..12), cut in 1usize..9)
        {
            let stream: Vec<u8> = lines.iter().flat_map(|l| format!("{l}\n").into_bytes()).collect();
            let mut buffer = LineBuffer::default();
            let mut out = Vec::new();
            for piece in stream.chunks(cut) {
                buffer.push(piece);
                while let Some(line) = buffer.next_line().unwrap() {
                    out.push(String::from_utf8(line).unwrap());
                }
            }
            prop_assert_eq!(buffer.finish(), Ok(()));
            prop_assert_eq!(out, lines);
        }

        #[test]
        fn escaped_text_is_one_word_and_comes_back(text in any::<String>()) {
            let word = escape(&text);
            prop_assert!(!word.contains([' ', '=', '\n', '\t']));
            prop_assert_eq!(unescape(&word), text);
        }

        #[test]
        fn unescaping_anything_never_panics(text in any::<String>()) {
            let _ = unescape(&text);
        }
    }
}
