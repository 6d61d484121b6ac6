//! Authorities that are URLs.
//!
//! A client of etcd's that was given `http://127.0.0.1:2379` says so in `:authority`
//! too, if it is Go's before 3.5. Go's server does not mind. HTTP/2 knows no such
//! authority, though, and the server here refuses it (`PROTOCOL_ERROR`) before
//! anybody is asked. So it is altered on its way in: nobody reads it, and what takes
//! its place is as long, so that lengths, and the table of headers that both sides
//! keep (HPACK, RFC 7541), stay as they were.

use bytes::{Buf as _, BytesMut};
use tokio::io::ReadBuf;

/// What each HTTP/2 connection begins with.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const FRAME_HEADER: usize = 9;
/// The greatest frame that the server takes, because it asks for no greater ones.
const FRAME_MAX: usize = 1 << 14;
const TYPE_HEADERS: u8 = 1;
const FLAG_PADDED: u8 = 0x8;
const FLAG_PRIORITY: u8 = 0x20;
/// `:authority` in the static table of HPACK.
const AUTHORITY: usize = 1;

const URL: &[u8; 7] = b"http://";
const ALTERED: &[u8; 7] = b"httpB--";
/// The same two in HPACK's Huffman code (RFC 7541, appendix B): `:` and `B` have
/// seven bits, `/` and `-` six.
const URL_CODE: u64 = huffman([
    (0x27, 6),
    (0x9, 5),
    (0x9, 5),
    (0x2b, 6),
    (0x5c, 7),
    (0x18, 6),
    (0x18, 6),
]);
const ALTERED_CODE: u64 = huffman([
    (0x27, 6),
    (0x9, 5),
    (0x9, 5),
    (0x2b, 6),
    (0x5d, 7),
    (0x16, 6),
    (0x16, 6),
]);
const CODE_BITS: u32 = 41;

/// Codes one after the other, from the highest bit on.
const fn huffman(codes: [(u64, u32); 7]) -> u64 {
    let (mut all, mut used, mut next) = (0, 0, 0);
    while next < codes.len() {
        let (code, bits) = codes[next];
        used += bits;
        all |= code << (u64::BITS - used);
        next += 1;
    }
    all
}

/// What a client has sent, on its way to the server.
#[derive(Default)]
pub(super) struct Authorities {
    arrived: BytesMut,
    /// So many of these bytes can be handed on.
    ready: usize,
    /// So many of those that follow concern nobody here.
    passing: usize,
    has_begun: bool,
}

impl Authorities {
    /// Takes what has arrived.
    pub(super) fn take(&mut self, bytes: &[u8]) {
        self.arrived.extend_from_slice(bytes);
        while self.advance() {}
    }

    /// Hands on what can be; whether that is anything.
    pub(super) fn give(&mut self, buffer: &mut ReadBuf<'_>) -> bool {
        let length = self.ready.min(buffer.remaining());
        buffer.put_slice(&self.arrived[..length]);
        self.arrived.advance(length);
        self.ready -= length;
        length > 0
    }

    /// Looks at the next piece; whether there was one.
    fn advance(&mut self) -> bool {
        let ahead = &mut self.arrived[self.ready..];
        if self.passing > 0 {
            let length = self.passing.min(ahead.len());
            self.passing -= length;
            self.ready += length;
            return length > 0;
        }
        if !self.has_begun {
            return self.begin();
        }
        let Some((header, rest)) = ahead.split_at_mut_checked(FRAME_HEADER) else {
            return false;
        };
        let length =
            usize::from(header[0]) << 16 | usize::from(header[1]) << 8 | usize::from(header[2]);
        let (kind, flags) = (header[3], header[4]);
        if kind == TYPE_HEADERS && length <= FRAME_MAX {
            let Some(payload) = rest.get_mut(..length) else {
                return false;
            };
            if let Some(fields) = fields_of(payload, flags) {
                alter(fields);
            }
        }
        self.passing = FRAME_HEADER + length;
        true
    }

    /// Before HTTP/1 there is no preface, and nothing to be done.
    fn begin(&mut self) -> bool {
        let length = self.arrived.len().min(PREFACE.len());
        let is_http2 = self.arrived[..length] == PREFACE[..length];
        if is_http2 && length < PREFACE.len() {
            return false;
        }
        self.has_begun = true;
        self.passing = if is_http2 { length } else { usize::MAX };
        true
    }
}

/// The fields in a frame of the type HEADERS.
fn fields_of(payload: &mut [u8], flags: u8) -> Option<&mut [u8]> {
    let padding = if flags & FLAG_PADDED == 0 {
        0
    } else {
        usize::from(*payload.first()?)
    };
    let start =
        usize::from(flags & FLAG_PADDED != 0) + if flags & FLAG_PRIORITY == 0 { 0 } else { 5 };
    let end = payload.len().checked_sub(padding)?;
    payload.get_mut(start..end)
}

/// Alters authorities that are URLs. What is not understood stays as it is: to refuse
/// it is the server's business.
fn alter(fields: &mut [u8]) -> Option<()> {
    let mut at = 0;
    while at < fields.len() {
        let first = fields[at];
        if first & 0x80 != 0 {
            // A field of the table.
            integer(fields, &mut at, 7)?;
        } else if first & 0xe0 == 0x20 {
            // The size of the table.
            integer(fields, &mut at, 5)?;
        } else {
            let name = integer(fields, &mut at, if first & 0x40 != 0 { 6 } else { 4 })?;
            if name == 0 {
                string(fields, &mut at)?;
            }
            let is_coded = fields.get(at)? & 0x80 != 0;
            let value = string(fields, &mut at)?;
            if name == AUTHORITY && is_coded {
                alter_coded(value);
            } else if name == AUTHORITY && value.starts_with(URL) {
                value[..ALTERED.len()].copy_from_slice(ALTERED);
            }
        }
    }
    Some(())
}

fn alter_coded(value: &mut [u8]) {
    let Some(head) = value.first_chunk_mut::<6>() else {
        return;
    };
    let mut bytes = [0; 8];
    bytes[..6].copy_from_slice(head);
    let code = u64::from_be_bytes(bytes);
    if (code ^ URL_CODE) >> (u64::BITS - CODE_BITS) == 0 {
        let altered = code ^ URL_CODE ^ ALTERED_CODE;
        head.copy_from_slice(&altered.to_be_bytes()[..6]);
    }
}

/// An integer of which the first byte has so many bits (RFC 7541, 5.1).
fn integer(bytes: &[u8], at: &mut usize, bits: u32) -> Option<usize> {
    let most = (1 << bits) - 1;
    let first = usize::from(*bytes.get(*at)?) & most;
    *at += 1;
    if first < most {
        return Some(first);
    }
    let mut value = first;
    for shift in [0, 7, 14, 21] {
        let next = usize::from(*bytes.get(*at)?);
        *at += 1;
        value += (next & 0x7f) << shift;
        if next & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// The bytes of a string (RFC 7541, 5.2).
fn string<'a>(bytes: &'a mut [u8], at: &mut usize) -> Option<&'a mut [u8]> {
    let length = integer(bytes, at, 7)?;
    let start = *at;
    *at = start.checked_add(length)?;
    bytes.get_mut(start..*at)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `http://127.0.0.1:2379` in HPACK's Huffman code, as Go's client sends it.
    const CODED: [u8; 15] = [
        0x9d, 0x29, 0xae, 0xe3, 0x0c, 0x04, 0x4e, 0xae, 0x05, 0xc0, 0xb8, 0x6e, 0x09, 0x97, 0x5f,
    ];

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, 1], payload].concat()
    }

    /// `:method POST`, the size of the table, the authority, a field with a name of
    /// its own.
    fn fields(authority: &[u8], is_coded: bool) -> Vec<u8> {
        let length = u8::try_from(authority.len()).unwrap() | if is_coded { 0x80 } else { 0 };
        let mut fields = vec![0x83, 0x3f, 0xe1, 0x1f, 0x41, length];
        fields.extend(authority);
        fields.extend([0x40, 2, b't', b'e', 8]);
        fields.extend(b"trailers");
        fields
    }

    /// What comes out if `sent` comes in pieces of a length.
    fn passed(sent: &[u8], piece: usize) -> Vec<u8> {
        let mut authorities = Authorities::default();
        let mut out = Vec::new();
        for bytes in sent.chunks(piece) {
            authorities.take(bytes);
            let mut room = [0; 5];
            let mut buffer = ReadBuf::new(&mut room);
            while authorities.give(&mut buffer) {
                out.extend_from_slice(buffer.filled());
                buffer.clear();
            }
        }
        out
    }

    #[test]
    fn an_authority_that_is_a_url_is_altered_and_nothing_else() {
        let data = frame(0, 0, b"http://data \x41\x07http://");
        let padded = [&[3][..], &[0; 5], &fields(b"http://h:1", false), &[0; 3]].concat();
        let sent = [
            PREFACE,
            &frame(4, 0, &[]),
            &frame(TYPE_HEADERS, 4, &fields(b"http://127.0.0.1:2379", false)),
            &data,
            &frame(TYPE_HEADERS, 4, &fields(b"127.0.0.1:2379", false)),
            &frame(TYPE_HEADERS, 4 | FLAG_PADDED | FLAG_PRIORITY, &padded),
        ]
        .concat();
        let expected = [
            PREFACE,
            &frame(4, 0, &[]),
            &frame(TYPE_HEADERS, 4, &fields(b"httpB--127.0.0.1:2379", false)),
            &data,
            &frame(TYPE_HEADERS, 4, &fields(b"127.0.0.1:2379", false)),
            &frame(TYPE_HEADERS, 4 | FLAG_PADDED | FLAG_PRIORITY, &{
                let altered = fields(b"httpB--h:1", false);
                [&[3][..], &[0; 5], &altered, &[0; 3]].concat()
            }),
        ]
        .concat();
        for piece in [1, 2, 7, 30, sent.len()] {
            assert_eq!(passed(&sent, piece), expected, "in pieces of {piece}");
        }
    }

    #[test]
    fn in_huffman_code_only_the_bits_of_the_scheme_change() {
        let sent = [PREFACE, &frame(TYPE_HEADERS, 4, &fields(&CODED, true))].concat();
        let out = passed(&sent, sent.len());
        let at = sent.len() - CODED.len() - 13;
        assert_eq!(out[..at], sent[..at]);
        assert_eq!(out[at + 6..], sent[at + 6..]);
        let code = |bytes: &[u8]| u64::from_be_bytes(bytes[at..at + 8].try_into().unwrap());
        assert_eq!(code(&sent) ^ code(&out), URL_CODE ^ ALTERED_CODE);
    }

    #[test]
    fn what_is_no_http2_or_makes_no_sense_passes_unchanged() {
        let broken = frame(TYPE_HEADERS, 4, &[0x41, 0x7f, 0xff, 0xff]);
        let short = frame(TYPE_HEADERS, FLAG_PADDED, &[9]);
        for sent in [
            b"GET /health HTTP/1.1\r\n\r\n".to_vec(),
            b"PUT / HTTP/1.1\r\nhost: http://a\r\n\r\n".to_vec(),
            [PREFACE, &broken, &short].concat(),
        ] {
            for piece in [1, 3, sent.len()] {
                assert_eq!(passed(&sent, piece), sent);
            }
        }
    }
}
