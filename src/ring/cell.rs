//! What a cell holds: eight words, the first of which is the flag.
//!
//! | word | bits | meaning |
//! |---|---|---|
//! | 0 | 0..16 | lap |
//! |   | 16..24 | kind |
//! |   | 24..32 | inline payload length, or 255: words 2 to 4 are a long header |
//! |   | 32..64 | context |
//! | 1 | 0..32, 32..64 | tag, sequence number |
//! | 2..8 | | inline payload; or length and head, total, id, and the writer's note of the offset |

use crate::frame::{Header, Kind};

use super::RingFault;

/// The longest payload that fits beside a short header in one cell.
pub const INLINE_MAX: usize = 48;

const LONG: u8 = 255;

/// Words of a cell after the flag.
pub(super) type Body = [u64; 7];

/// Whether the frame fits one cell: only the start of a complete eager message does.
#[inline]
pub(super) fn is_inline(header: &Header) -> bool {
    header.kind == Kind::Eager
        && header.len as usize <= INLINE_MAX
        && header.total == u64::from(header.len)
}

/// The flag word of a frame.
#[inline]
pub(super) fn flag(header: &Header, lap: u16, inline: bool) -> u64 {
    let len = if inline { header.len as u8 } else { LONG };
    u64::from(lap)
        | (u64::from(header.kind as u8) << 16)
        | (u64::from(len) << 24)
        | (u64::from(header.context) << 32)
}

#[inline]
fn tag_and_seq(header: &Header) -> u64 {
    u64::from(header.tag.cast_unsigned()) | (u64::from(header.seq) << 32)
}

/// The words after the flag, payload inside.
#[inline]
pub(super) fn inline_body(header: &Header, payload: &[u8]) -> Body {
    let mut body = [0; 7];
    body[0] = tag_and_seq(header);
    let mut padded = [0; INLINE_MAX];
    padded[..payload.len()].copy_from_slice(payload);
    for (word, eight) in body[1..].iter_mut().zip(padded.as_chunks().0) {
        *word = u64::from_le_bytes(*eight);
    }
    body
}

/// The words after the flag, for a frame whose payload lies in the bulk buffer at `offset`. The
/// reader computes that offset by itself; it stands here for the writer, who may want it back.
#[inline]
pub(super) fn long_body(header: &Header, offset: usize) -> Body {
    [
        tag_and_seq(header),
        u64::from(header.len) | (u64::from(header.head) << 32),
        header.total,
        header.id,
        offset as u64,
        0,
        0,
    ]
}

/// Where the payload of a cell that we wrote ourselves is.
pub(super) enum Own {
    /// In these words of the cell.
    Inline([u64; 6]),
    /// In the bulk buffer, from this offset on.
    Bulk(usize),
}

/// Looks at a cell of our own again.
pub(super) fn own_payload(flag: u64, body: &Body) -> Own {
    if (flag >> 24) as u8 == LONG {
        return Own::Bulk(usize::try_from(body[4]).unwrap_or(0));
    }
    let [_, words @ ..] = *body;
    Own::Inline(words)
}

/// Reads a cell. `flag` was read once, and so were the words of `body`.
#[inline]
pub(super) fn decode(
    flag: u64,
    body: &Body,
    payload_max: usize,
) -> Result<(Header, bool), RingFault> {
    let kind_untrusted = (flag >> 16) as u8;
    let len_untrusted = (flag >> 24) as u8;
    let inline = len_untrusted != LONG;
    let len = if inline { u32::from(len_untrusted) } else { body[1] as u32 };
    let max = if inline { INLINE_MAX } else { payload_max };
    let bad = RingFault::Cell { kind: kind_untrusted, len };
    let kind = Kind::from_u8(kind_untrusted).ok_or(bad)?;
    if len as usize > max || (inline && kind != Kind::Eager) {
        return Err(bad);
    }
    let mut header = Header {
        kind,
        context: (flag >> 32) as u32,
        tag: (body[0] as u32).cast_signed(),
        seq: (body[0] >> 32) as u32,
        len,
        ..Header::default()
    };
    if inline {
        header.total = u64::from(len);
    } else {
        header.head = (body[1] >> 32) as u32;
        header.total = body[2];
        header.id = body[3];
    }
    Ok((header, inline))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_short_frame_survives_its_cell(context: u32, tag: i32, seq: u32, bytes in proptest::collection::vec(any::<u8>(), 0..=48)) {
            let len = bytes.len() as u32;
            let header = Header { context, tag, seq, len, total: u64::from(len), ..Header::default() };
            prop_assert!(is_inline(&header));
            let body = inline_body(&header, &bytes);
            let (back, inline) = decode(flag(&header, 3, true), &body, 4096).unwrap();
            prop_assert!(inline);
            prop_assert_eq!(back, header);
            let mut raw = Vec::new();
            for word in &body[1..] { raw.extend_from_slice(&word.to_le_bytes()); }
            prop_assert_eq!(&raw[..bytes.len()], &bytes[..]);
        }

        #[test]
        fn a_long_frame_survives_its_cell(context: u32, tag: i32, seq: u32, len in 0..=4096_u32, head: u32, total: u64, id: u64) {
            let header = Header { kind: Kind::Rts, context, tag, seq, len, head, total, id };
            let (back, inline) = decode(flag(&header, 3, false), &long_body(&header, 64), 4096).unwrap();
            prop_assert!(!inline);
            prop_assert_eq!(back, header);
        }

        #[test]
        fn any_words_are_a_frame_within_bounds_or_refused(flag: u64, body: [u64; 7]) {
            if let Ok((header, inline)) = decode(flag, &body, 4096) {
                let max = if inline { 48 } else { 4096 };
                prop_assert!(header.len as usize <= max);
            }
        }
    }
}
