//! Authorities that are no addresses.
//!
//! What a client of etcd's says in `:authority` may be anything: `http://127.0.0.1:2379` or
//! `#initially=[127.0.0.1:2379]`, if it is Go's of some release. Go's server does not mind.
//! HTTP/2 knows no such authorities, though, and the server here refuses them
//! (`PROTOCOL_ERROR`) before anybody is asked. So each is replaced on its way in, for nobody
//! reads it. What takes its place is as long, in letters and in bytes, so that the table of
//! headers that both sides keep (HPACK, RFC 7541) stays as it was. An empty one has no place,
//! and is refused.

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

/// How many letters HPACK's Huffman code has of each length in bits (RFC 7541, appendix B).
/// Letters of a length have consecutive codes, behind those of the lengths before.
const LETTERS: [u32; 31] = [
    0, 0, 0, 0, 0, 10, 26, 32, 6, 0, 5, 3, 2, 6, 2, 3, 0, 0, 0, 3, 8, 13, 26, 29, 12, 4, 15, 19,
    29, 0, 4,
];
/// The codes of `a`, `b`, `j` and `X`, which have 5 to 8 bits.
const SHORT: [u8; 4] = [0x3, 0x23, 0x74, 0xfc];
const SHORTEST: usize = 5;

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

/// Replaces authorities. What is not understood stays as it is: to refuse it is the
/// server's business.
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
                replace_coded(value);
            } else if name == AUTHORITY {
                value.fill(b'a');
            }
        }
    }
    Some(())
}

/// Replaces a string by one of as many letters that fills the same bytes.
fn replace_coded(value: &mut [u8]) -> Option<()> {
    let letters = letters_of(value)?;
    let bits = 8 * value.len();
    let (each, more) = (bits.checked_div(letters)?, bits % letters);
    let lengths = (0..letters).map(|letter| each + usize::from(letter < more));
    let mut at = 0;
    let mut replaced = vec![0; value.len()];
    for length in lengths {
        let code = SHORT.get(length.checked_sub(SHORTEST)?)?;
        for bit in (0..length).rev() {
            replaced[at / 8] |= (code >> bit & 1) << (7 - at % 8);
            at += 1;
        }
    }
    value.copy_from_slice(&replaced);
    Some(())
}

/// How many letters a string in Huffman code has; what is left at its end is padding.
fn letters_of(value: &[u8]) -> Option<usize> {
    let bits = value
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |bit| u32::from(byte >> bit & 1)));
    let (mut letters, mut length) = (0, 0);
    // The code so far, counted from the first one of its length.
    let mut code = 0;
    for bit in bits {
        length += 1;
        code = code << 1 | bit;
        let count = *LETTERS.get(length)?;
        if code < count {
            letters += 1;
            (length, code) = (0, 0);
        } else {
            code -= count;
        }
    }
    Some(letters)
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
    fn authorities_are_replaced_and_nothing_else() {
        let data = frame(0, 0, b"http://data \x41\x07http://");
        let padded =
            |authority: &[u8]| [&[3][..], &[0; 5], &fields(authority, false), &[0; 3]].concat();
        let flags = 4 | FLAG_PADDED | FLAG_PRIORITY;
        let sent = |all: [&[u8]; 4]| {
            let [url, address, path, words] = all;
            [
                PREFACE,
                &frame(4, 0, &[]),
                &frame(TYPE_HEADERS, 4, &fields(url, false)),
                &data,
                &frame(TYPE_HEADERS, 4, &fields(address, false)),
                &frame(TYPE_HEADERS, flags, &padded(path)),
                &frame(TYPE_HEADERS, 4, &fields(words, false)),
            ]
            .concat()
        };
        let given = sent([b"http://127.0.0.1:2379", b"127.0.0.1:1", b"a/b", b"x y"]);
        let expected = sent([&[b'a'; 21], &[b'a'; 11], b"aaa", b"aaa"]);
        for piece in [1, 2, 7, 30, given.len()] {
            assert_eq!(passed(&given, piece), expected, "in pieces of {piece}");
        }
    }

    #[test]
    fn in_huffman_code_letters_and_bytes_stay_as_many() {
        // `www.example.com` (RFC 7541, C.4.1), and a code of 28 bits among short ones.
        let example = [
            0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff,
        ];
        let long = [0xff, 0xff, 0xfe, 0x20, 0, 0, 0, 0];
        for (value, letters) in [(&CODED[..], 21), (&example, 15), (&long, 8), (&[], 0)] {
            assert_eq!(letters_of(value), Some(letters));
            let mut replaced = value.to_vec();
            replace_coded(&mut replaced);
            assert_eq!(letters_of(&replaced), Some(letters));
        }
        // Nine letters of six bits, after six of seven.
        let mut replaced = example;
        replace_coded(&mut replaced);
        assert_eq!(replaced[..6], [0xe9, 0xd3, 0xa7, 0x4e, 0x9d, 0x23]);
        let sent = [PREFACE, &frame(TYPE_HEADERS, 4, &fields(&CODED, true))].concat();
        let out = passed(&sent, sent.len());
        let at = sent.len() - CODED.len() - 13;
        assert_eq!(out[..at], sent[..at]);
        assert_ne!(out[at..at + CODED.len()], CODED);
        assert_eq!(out[at + CODED.len()..], sent[at + CODED.len()..]);
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
