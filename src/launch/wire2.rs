//! PMI-2 on the wire: frames of six digits of length and `key=value;` pairs, in the dialects of
//! MPICH's Hydra and of Slurm. A `;` inside a value is written twice.
//!
//! Parsing is total, like that of `wire.rs`; cutting the stream into frames is
//! [`super::wire::LineBuffer::next_frame`].

use super::wire::{MAX_LINE, Message, WireError, shorten};

/// A whole frame.
pub(super) fn encode(command: &str, pairs: &[(&str, &str)]) -> String {
    let mut payload = format!("cmd={command};");
    for (key, value) in pairs {
        payload.push_str(&format!("{key}={};", value.replace(';', ";;")));
    }
    format!("{:6}{payload}", payload.len())
}

/// Takes the payload of one frame apart.
pub(super) fn parse(payload: &[u8]) -> Result<Message, WireError> {
    if payload.len() > MAX_LINE {
        return Err(WireError::Overlong);
    }
    let text = std::str::from_utf8(payload).map_err(|_| WireError::NotText)?;
    let text = text.trim_matches(['\0', '\n', '\r', ' ']);
    if text.chars().any(|c| c.is_control() && c != '\t') {
        return Err(WireError::NotText);
    }
    let mut fields = Vec::new();
    for pair in pairs(text).into_iter().filter(|pair| !pair.is_empty()) {
        let (key, value) =
            pair.split_once('=').ok_or_else(|| WireError::NoCommand(shorten(text)))?;
        fields.push((key.to_owned(), value.to_owned()));
    }
    Message::of(fields).ok_or_else(|| WireError::NoCommand(shorten(text)))
}

/// The texts between single semicolons, with doubled ones made single.
fn pairs(text: &str) -> Vec<String> {
    let mut all = vec![String::new()];
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match (c, all.last_mut()) {
            (';', Some(last)) if rest.peek() == Some(&';') => {
                rest.next();
                last.push(';');
            }
            (';', _) => all.push(String::new()),
            (c, Some(last)) => last.push(c),
            (_, None) => {}
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::super::wire::LineBuffer;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn both_dialects_of_the_same_answer_mean_the_same() {
        let hydra = parse(b"cmd=kvs-get-response;found=TRUE;value=a=b;rc=0;").unwrap();
        let slurm = parse(b"cmd=kvs-get-response;rc=0;found=TRUE;value=a=b").unwrap();
        for message in [&hydra, &slurm] {
            assert_eq!(message.command(), "kvs-get-response");
            assert_eq!((message.result_code(), message.get("value")), (0, Some("a=b")));
        }
    }

    #[test]
    fn nonsense_is_an_error_that_says_which() {
        assert_eq!(parse(b"\xff\xfe"), Err(WireError::NotText));
        assert_eq!(parse(b"cmd=\x1b[2J;"), Err(WireError::NotText));
        for nameless in [&b""[..], b"hello", b"rc=0;", b"cmd=x;hello;"] {
            assert!(matches!(parse(nameless), Err(WireError::NoCommand(_))));
        }
        assert_eq!(parse(&vec![b'x'; MAX_LINE + 1]), Err(WireError::Overlong));
    }

    #[test]
    fn a_length_that_is_none_is_refused_in_bounded_memory() {
        for bad in [&b"GET / HTTP"[..], b"-00012cmd=", b"      cmd=", b"12 4  cmd="] {
            let mut frames = LineBuffer::default();
            frames.push(bad);
            assert_eq!(frames.next_frame(), Err(WireError::BadLength), "{bad:?}");
        }
        let mut frames = LineBuffer::default();
        frames.push(b"999999");
        assert_eq!(frames.next_frame(), Err(WireError::Overlong));
    }

    proptest! {
        #[test]
        fn any_bytes_give_a_message_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(message) = parse(&bytes) {
                prop_assert!(message.get("cmd").is_some());
                let _ = (message.result_code(), message.summary());
            }
            let mut frames = LineBuffer::default();
            frames.push(&bytes);
            while let Ok(Some(frame)) = frames.next_frame() {
                prop_assert!(frame.len() <= MAX_LINE);
            }
        }

        #[test]
        fn frames_come_out_as_they_went_in_however_they_are_cut(
            values in proptest::collection::vec("[!-:<-~]?[ -~]{0,40}[!-:<-~]", 1..12), cut in 1usize..9)
        {
            let stream: String =
                values.iter().map(|value| encode("kvs-put", &[("key", "k"), ("value", value)])).collect();
            let mut frames = LineBuffer::default();
            let mut out = Vec::new();
            for piece in stream.as_bytes().chunks(cut) {
                frames.push(piece);
                while let Some(frame) = frames.next_frame().unwrap() {
                    out.push(parse(&frame).unwrap().get("value").unwrap_or_default().to_owned());
                }
            }
            prop_assert_eq!(frames.finish(), Ok(()));
            prop_assert_eq!(out, values);
        }
    }
}
