//! Opening what may be compressed.

use std::io::{self, BufRead, BufReader, Read};

use super::{Budget, Format, ImportError, TooLarge, read_bytes, read_lines, unrecognized};
use crate::history::{History, ReadError};

/// How much of a text is looked at to recognize its format, in bytes.
pub(super) const BEGINNING: usize = 1 << 16;

/// How the bytes of a file are packed, which their beginning says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip, of one member or several.
    Gzip,
    /// Zstandard, of one frame or several.
    Zstd,
}

impl Compression {
    /// How bytes that begin like that are packed.
    pub fn recognize(beginning: &[u8]) -> Self {
        match beginning {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            _ => Self::None,
        }
    }
}

/// A text, unpacked, whose beginning was read.
pub struct Opened<'r> {
    reader: BufReader<Box<dyn Read + 'r>>,
    beginning: Vec<u8>,
    compression: Compression,
    /// How many bytes the text has, if that is known.
    length: Option<u64>,
}

impl<'r> Opened<'r> {
    /// Looks at the beginning of what `reader` gives.
    ///
    /// # Errors
    /// When it cannot be read or unpacked.
    pub fn new(reader: impl Read + 'r) -> Result<Self, ImportError> {
        let mut packed = BufReader::with_capacity(BEGINNING, reader);
        let beginning = packed.fill_buf().map_err(|error| cannot_read(1, error))?;
        let compression = Compression::recognize(beginning);
        let unpacked: Box<dyn Read + 'r> = match compression {
            Compression::None => Box::new(packed),
            Compression::Gzip => Box::new(Unpacked {
                reader: flate2::bufread::MultiGzDecoder::new(packed),
                name: "gzip",
            }),
            Compression::Zstd => Box::new(Unpacked {
                reader: Frames {
                    packed: Some(packed),
                    frame: None,
                },
                name: "zstd",
            }),
        };
        let mut reader = BufReader::with_capacity(BEGINNING, unpacked);
        let mut beginning = Vec::new();
        let mut limited = (&mut reader).take(BEGINNING as u64);
        let read = limited.read_to_end(&mut beginning);
        read.map_err(|error| cannot_read(lines(&beginning) + 1, error))?;
        Ok(Self {
            reader,
            beginning,
            compression,
            length: None,
        })
    }

    /// The reader gives so many bytes, as the length of a file says. To know it makes
    /// reading faster; it need not be exact.
    #[must_use]
    pub fn with_length(mut self, bytes: u64) -> Self {
        self.length = Some(bytes).filter(|_| self.compression == Compression::None);
        self
    }

    /// What it is, if it is anything that is known.
    pub fn format(&self) -> Option<Format> {
        Format::recognize(&self.beginning)
    }

    /// Whether it looks like a history: of a format that is known, and if it is our
    /// own, with its header.
    pub fn is_history(&self) -> bool {
        match self.format() {
            Some(Format::Jsonl) => {
                let end = self.beginning.iter().position(|byte| *byte == b'\n');
                let line = &self.beginning[..end.unwrap_or(self.beginning.len())];
                let mark = crate::history::FORMAT.as_bytes();
                line.windows(mark.len()).any(|window| window == mark)
            }
            Some(_) => true,
            None => false,
        }
    }

    /// How it was packed.
    pub fn compression(&self) -> Compression {
        self.compression
    }

    /// Reads the history, in the format that is named or else recognized.
    ///
    /// # Errors
    /// When it is no history of that format, contradicts itself, cannot be read, or
    /// needs more memory than the budget allows.
    pub fn read(
        self,
        format: Option<Format>,
        budget: Budget,
    ) -> Result<(Format, History), ImportError> {
        let Some(format) = format.or_else(|| self.format()) else {
            return Err(unrecognized(&self.beginning).into());
        };
        let text = self.beginning.as_slice().chain(self.reader);
        if format == Format::Jsonl {
            let lines = BufReader::with_capacity(BEGINNING, text);
            return Ok((format, read_lines(lines, self.length, budget)?));
        }
        let bytes = whole_text(text, self.length, budget)?;
        read_bytes(&bytes, Some(format), budget)
    }
}

/// How much of a text of unknown length is read at a time.
const CHUNK: usize = 4 << 20;

/// Reads all of a text. A buffer that grows is copied, and takes twice its size while it is;
/// so when the length is not known, pieces are put together that are given back one by one.
fn whole_text(
    mut text: impl Read,
    length: Option<u64>,
    budget: Budget,
) -> Result<Vec<u8>, ImportError> {
    let limit = budget.text_max();
    let too_large = |needed| TooLarge {
        line: 0,
        needed,
        limit,
    };
    if let Some(length) = length.filter(|length| *length > limit) {
        return Err(too_large(length).into());
    }
    let chunk = |length: u64| usize::try_from(length).unwrap_or(CHUNK).max(1);
    let mut capacity = length.map_or(CHUNK, chunk);
    let (mut pieces, mut bytes): (Vec<Vec<u8>>, u64) = (Vec::new(), 0);
    loop {
        // It is only a guess. What cannot be had now may not be needed.
        let mut piece = Vec::new();
        piece.try_reserve_exact(capacity).ok();
        let read = (&mut text).take(capacity as u64).read_to_end(&mut piece);
        let read = read.map_err(|error| {
            let before: usize = pieces.iter().map(|piece| lines(piece)).sum();
            cannot_read(before + lines(&piece) + 1, error)
        })? as u64;
        bytes += read;
        if bytes > limit {
            return Err(too_large(bytes).into());
        }
        if read > 0 {
            pieces.push(piece);
        }
        if read < capacity as u64 {
            break;
        }
        capacity = CHUNK;
    }
    if pieces.len() <= 1 {
        return Ok(pieces.pop().unwrap_or_default());
    }
    let mut whole = Vec::with_capacity(chunk(bytes));
    for piece in pieces {
        whole.extend_from_slice(&piece);
    }
    Ok(whole)
}

/// How many lines end in a text.
fn lines(text: &[u8]) -> usize {
    memchr::memchr_iter(b'\n', text).count()
}

fn cannot_read(line: usize, source: io::Error) -> ImportError {
    ReadError::Io { line, source }.into()
}

/// Unpacks, and says in plain words why it cannot.
struct Unpacked<R> {
    reader: R,
    name: &'static str,
}

impl<R: Read> Read for Unpacked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reader.read(buffer).map_err(|error| {
            let said = error.to_string();
            let is_cut = error.kind() == io::ErrorKind::UnexpectedEof
                || ["incomplete", "UnexpectedEof", "NotEnoughBytes"]
                    .iter()
                    .any(|sign| said.contains(sign));
            let is_packing = is_cut
                || matches!(
                    error.kind(),
                    io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::Other
                );
            let name = self.name;
            let detail = match (is_packing, is_cut) {
                (false, _) => return error,
                (_, true) => format!("the {name} data ends too early, or is damaged"),
                (_, false) => format!("the {name} data is damaged"),
            };
            io::Error::new(io::ErrorKind::InvalidData, detail)
        })
    }
}

/// One frame of Zstandard after the other.
struct Frames<R: BufRead> {
    packed: Option<R>,
    frame: Option<Frame<R>>,
}

type Frame<R> = ruzstd::decoding::StreamingDecoder<R, ruzstd::decoding::FrameDecoder>;

impl<R: BufRead> Read for Frames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(frame) = &mut self.frame {
                let read = frame.read(buffer)?;
                if read > 0 || buffer.is_empty() {
                    return Ok(read);
                }
            }
            if let Some(frame) = self.frame.take() {
                self.packed = Some(frame.into_inner());
            }
            let Some(mut packed) = self.packed.take() else {
                return Ok(0);
            };
            if packed.fill_buf()?.is_empty() {
                return Ok(0);
            }
            let frame = Frame::new(packed)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
            self.frame = Some(frame);
        }
    }
}
