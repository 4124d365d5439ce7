//! The format of the connection between lab and agent. Every function is total: any bytes give
//! a value or an error, and nothing a peer says makes this side allocate more than a frame.
//!
//! The client sends [`HELLO`] and the token (32 hexadecimal digits), the agent answers with
//! [`Channel::Ready`]. From there both send frames: channel (1 byte), length (4 bytes, little
//! endian, at most [`MAX_PAYLOAD`]), payload. An empty frame on a data channel ends that channel.
//! Data channels have a window of [`WINDOW`] bytes each, opened again by [`Channel::Credit`], so
//! that one whose reader is slow (a rank that does not read its input) never stops another (its
//! PMI connection).

use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// What a client says first.
pub const HELLO: &[u8; 8] = b"COHOSTA1";
/// Bytes before a payload.
pub const HEADER: usize = 5;
/// The longest payload, in bytes.
pub const MAX_PAYLOAD: usize = 64 * 1024;
/// Bytes that may be under way on one data channel and direction.
pub const WINDOW: usize = 256 * 1024;

/// Why bytes of the other side were refused. The connection ends with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A channel that this version does not know.
    #[error("unknown channel {0}; is the guest's program of another version?")]
    Channel(u8),
    /// A payload longer than [`MAX_PAYLOAD`].
    #[error("a frame of {0} bytes, at most 65536 are allowed")]
    TooLong(usize),
    /// A payload that does not decode.
    #[error("a malformed {0} frame")]
    Malformed(&'static str),
    /// More data than the window allows.
    #[error("more data than was allowed on channel {0:?}")]
    Window(Channel),
    /// A command line and environment that fit in no frame.
    #[error(
        "program, arguments and environment are {0} bytes, at most 65536 are allowed; pass less in the environment"
    )]
    StartTooLong(usize),
}

/// What a frame is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Channel {
    /// Agent: the token was right.
    Ready = 0,
    /// Client: start this program ([`Start`]).
    Start = 1,
    /// Client: data for the program's standard input.
    Stdin = 2,
    /// Agent: data from its standard output.
    Stdout = 3,
    /// Agent: data from its standard error.
    Stderr = 4,
    /// Both: data of its PMI connection.
    Pmi = 5,
    /// Agent: how the program ended ([`Ended`]).
    Exit = 6,
    /// Client: signals to send to the program and its children, one byte each.
    Signal = 7,
    /// Agent: why the program could not be started.
    Failed = 8,
    /// Both: so many more bytes may be sent on a channel (channel, 4 bytes little endian).
    Credit = 9,
    /// Agent: the program runs.
    Started = 10,
}

impl TryFrom<u8> for Channel {
    type Error = FrameError;

    fn try_from(byte: u8) -> Result<Channel, FrameError> {
        use Channel::*;
        let all = [Ready, Start, Stdin, Stdout, Stderr, Pmi, Exit, Signal, Failed, Credit, Started];
        let found = all.get(usize::from(byte));
        found.copied().ok_or(FrameError::Channel(byte))
    }
}

/// Appends a frame. The caller splits what is longer than [`MAX_PAYLOAD`].
pub(crate) fn encode(channel: Channel, payload: &[u8], out: &mut impl Extend<u8>) {
    debug_assert!(payload.len() <= MAX_PAYLOAD);
    let length = payload.len() as u32;
    out.extend([channel as u8]);
    out.extend(length.to_le_bytes());
    out.extend(payload.iter().copied());
}

/// Channel, payload, and how many bytes it took in all.
pub type Frame<'a> = (Channel, &'a [u8], usize);

/// The first frame in `bytes`; nothing when it is not all there.
pub fn decode(bytes: &[u8]) -> Result<Option<Frame<'_>>, FrameError> {
    let Some(header) = bytes.first_chunk::<HEADER>() else {
        return Ok(None);
    };
    let [channel, length @ ..] = *header;
    let channel = Channel::try_from(channel)?;
    let length = u32::from_le_bytes(length) as usize;
    if length > MAX_PAYLOAD {
        return Err(FrameError::TooLong(length));
    }
    let payload = bytes.get(HEADER..HEADER + length);
    Ok(payload.map(|payload| (channel, payload, HEADER + length)))
}

/// The payload of a [`Channel::Credit`] frame.
pub(crate) fn encode_credit(channel: Channel, bytes: usize) -> [u8; 5] {
    let mut payload = [channel as u8; 5];
    payload[1..].copy_from_slice(&(bytes as u32).to_le_bytes());
    payload
}

/// The channel and number of bytes of a [`Channel::Credit`] frame.
pub(crate) fn decode_credit(payload: &[u8]) -> Result<(Channel, usize), FrameError> {
    let [channel, bytes @ ..] =
        *<&[u8; 5]>::try_from(payload).map_err(|_| FrameError::Malformed("credit"))?;
    Ok((Channel::try_from(channel)?, u32::from_le_bytes(bytes) as usize))
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// With this exit code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

impl Ended {
    pub(crate) fn encode(self) -> [u8; 5] {
        let (kind, value) = match self {
            Ended::Code(value) => (0, value),
            Ended::Signal(value) => (1, value),
        };
        let mut payload = [kind; 5];
        payload[1..].copy_from_slice(&value.to_le_bytes());
        payload
    }

    pub(crate) fn decode(payload: &[u8]) -> Result<Ended, FrameError> {
        let [kind, value @ ..] =
            *<&[u8; 5]>::try_from(payload).map_err(|_| FrameError::Malformed("exit"))?;
        match (kind, i32::from_le_bytes(value)) {
            (0, code) => Ok(Ended::Code(code)),
            (1, signal) => Ok(Ended::Signal(signal)),
            _ => Err(FrameError::Malformed("exit")),
        }
    }
}

/// A program to be started in a guest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Start {
    /// The program: a path in the guest, or a name looked for in the guest's `PATH`.
    pub program: OsString,
    /// Its arguments, without its name.
    pub args: Vec<OsString>,
    /// Variables added to the agent's environment.
    pub env: Vec<(OsString, OsString)>,
    /// Whether it gets a PMI connection, its number in `PMI_FD`.
    pub pmi: bool,
}

impl Start {
    /// The payload of a [`Channel::Start`] frame.
    pub(crate) fn encode(&self) -> Result<Vec<u8>, FrameError> {
        let mut out = vec![u8::from(self.pmi)];
        let pairs = self.env.iter().flat_map(|(name, value)| [name, value]);
        let texts: Vec<&OsString> =
            [&self.program].into_iter().chain(&self.args).chain(pairs).collect();
        let total = 5 + texts.iter().map(|text| text.len() + 2).sum::<usize>();
        if total > MAX_PAYLOAD {
            return Err(FrameError::StartTooLong(total));
        }
        // Neither count can overflow: each text takes two bytes of a payload of 65,536.
        out.extend((self.args.len() as u16).to_le_bytes());
        out.extend((self.env.len() as u16).to_le_bytes());
        for text in texts {
            out.extend((text.len() as u16).to_le_bytes());
            out.extend(text.as_bytes());
        }
        Ok(out)
    }

    /// Reads the payload of a [`Channel::Start`] frame.
    pub(crate) fn decode(payload: &[u8]) -> Result<Start, FrameError> {
        Start::parse(payload).ok_or(FrameError::Malformed("start"))
    }

    fn parse(payload: &[u8]) -> Option<Start> {
        let (&flags, mut rest) = payload.split_first()?;
        let args = number(&mut rest)?;
        let env = number(&mut rest)?;
        // Each text takes at least two bytes: counts are bounded before anything is allocated.
        if flags > 1 || (args + 2 * env) * 2 > rest.len() {
            return None;
        }
        let start = Start {
            program: text(&mut rest)?,
            args: (0..args).map(|_| text(&mut rest)).collect::<Option<_>>()?,
            env: (0..env)
                .map(|_| Some((text(&mut rest)?, text(&mut rest)?)))
                .collect::<Option<_>>()?,
            pmi: flags == 1,
        };
        rest.is_empty().then_some(start)
    }
}

fn number(rest: &mut &[u8]) -> Option<usize> {
    let (bytes, after) = rest.split_first_chunk::<2>()?;
    *rest = after;
    Some(usize::from(u16::from_le_bytes(*bytes)))
}

/// A text without zeros, which no program can be given.
fn text(rest: &mut &[u8]) -> Option<OsString> {
    let length = number(rest)?;
    let (bytes, after) = rest.split_at_checked(length)?;
    *rest = after;
    (!bytes.contains(&0)).then(|| OsString::from_vec(bytes.to_vec()))
}

/// The secret that lets a client use an agent: 128 random bits, as 32 hexadecimal digits.
#[derive(Clone, PartialEq, Eq)]
pub struct Token([u8; 32]);

impl Token {
    /// A fresh one.
    pub fn random() -> Result<Token, crate::LabError> {
        let mut bits = [0; 16];
        getrandom::fill(&mut bits)
            .map_err(|error| crate::LabError::io("random numbers", std::io::Error::other(error)))?;
        let mut digits = [0; 32];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(bits) {
            pair.copy_from_slice(format!("{byte:02x}").as_bytes());
        }
        Ok(Token(digits))
    }

    /// A token from its digits; nothing when these are not 32 hexadecimal ones.
    pub fn parse(digits: &str) -> Option<Token> {
        let digits: [u8; 32] = digits.as_bytes().try_into().ok()?;
        digits.iter().all(u8::is_ascii_hexdigit).then_some(Token(digits))
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// Compares without telling by the time it takes where the difference is.
    pub(crate) fn matches(&self, other: &[u8]) -> bool {
        other.len() == self.0.len()
            && self.0.iter().zip(other).fold(0, |acc, (a, b)| acc | (a ^ b)) == 0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn os() -> impl Strategy<Value = OsString> {
        prop::collection::vec(1..=255_u8, 0..40).prop_map(OsString::from_vec)
    }

    proptest! {
        #[test]
        fn a_program_to_start_survives_the_way(
            program in os(),
            args in prop::collection::vec(os(), 0..5),
            env in prop::collection::vec((os(), os()), 0..5),
            pmi: bool,
        ) {
            let start = Start { program, args, env, pmi };
            prop_assert_eq!(Start::decode(&start.encode().unwrap()), Ok(start));
        }

        #[test]
        fn any_bytes_decode_to_a_value_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(Some((_, payload, used))) = decode(&bytes) {
                prop_assert_eq!(payload.len() + HEADER, used);
                prop_assert!(used <= bytes.len());
            }
            if let Ok(start) = Start::decode(&bytes) {
                prop_assert_eq!(start.encode().unwrap(), bytes.clone());
            }
            let _ = Ended::decode(&bytes);
            let _ = decode_credit(&bytes);
        }
    }

    #[test]
    fn a_frame_cut_anywhere_is_waited_for() {
        let mut bytes = Vec::new();
        encode(Channel::Stdout, b"hello", &mut bytes);
        for cut in 0..bytes.len() {
            assert_eq!(decode(&bytes[..cut]), Ok(None));
        }
        assert_eq!(decode(&bytes), Ok(Some((Channel::Stdout, &b"hello"[..], 10))));
    }

    #[test]
    fn unknown_channels_and_overlong_frames_are_refused_before_they_arrive() {
        assert_eq!(decode(&[11, 0, 0, 0, 0]), Err(FrameError::Channel(11)));
        let long = [3, 1, 0, 1, 0];
        assert_eq!(decode(&long), Err(FrameError::TooLong(65_537)));
    }

    #[test]
    fn a_command_line_too_long_for_a_frame_is_refused_with_its_size() {
        let start = Start { args: vec![OsString::from("x".repeat(70_000))], ..Start::default() };
        assert!(matches!(start.encode(), Err(FrameError::StartTooLong(n)) if n > 70_000));
    }

    #[test]
    fn only_the_whole_token_matches() {
        let token = Token::random().unwrap();
        assert!(token.matches(token.as_str().as_bytes()));
        assert!(!token.matches(&token.as_str().as_bytes()[..31]));
        assert!(!token.matches(&[b'0'; 32]) || token.as_str() == "0".repeat(32));
        assert_eq!(Token::parse(token.as_str()), Some(token));
        assert_eq!(Token::parse("xyz"), None);
    }
}
