//! Opening what may be compressed.

use std::cell::Cell;
use std::io::{self, BufRead, BufReader, Read};
use std::rc::Rc;

use super::text::{BYTE_ORDER_MARK, Place, end_of};
use super::unpack::{Gzip, Zstd};
use super::{
    Budget, Format, ImportError, TooLarge, jepsen_log, read_bytes, read_lines, unrecognized,
};
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
    packed: Packed,
}

/// How far a file was read, which may be packed.
#[derive(Clone, Default)]
pub(super) struct Packed {
    read: Rc<Cell<u64>>,
    /// How many bytes the file has, if that is known.
    length: Option<u64>,
    /// How many bytes the decoder holds.
    unpacking: Rc<Cell<u64>>,
}

impl Packed {
    /// So many bytes of so many.
    pub(super) fn reached(&self) -> Option<(u64, u64)> {
        // Half of what was read at once is mostly not unpacked yet.
        let ahead = BEGINNING as u64 / 2;
        Some((self.read.get().saturating_sub(ahead), self.length?))
    }

    pub(super) fn unpacking(&self) -> u64 {
        self.unpacking.get()
    }

    /// What the whole takes if what was read so far took that, going by the bytes.
    fn of_whole(&self, taken: u64) -> u64 {
        self.reached().map_or(taken, |(read, length)| {
            (taken as f64 * (length as f64 / read.max(1) as f64).max(1.0)) as u64
        })
    }
}

/// Counts what is read.
struct Counted<R> {
    reader: R,
    count: Rc<Cell<u64>>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        self.count.set(self.count.get() + read as u64);
        Ok(read)
    }
}

impl<'r> Opened<'r> {
    /// Looks at the beginning of what `reader` gives.
    ///
    /// # Errors
    /// When it cannot be read or unpacked.
    pub fn new(reader: impl Read + 'r) -> Result<Self, ImportError> {
        let place = Packed::default();
        let counted = Counted {
            reader,
            count: Rc::clone(&place.read),
        };
        let mut packed = BufReader::with_capacity(BEGINNING, counted);
        let beginning = packed.fill_buf();
        let beginning = beginning.map_err(|error| cannot_read(Place::FIRST, error))?;
        let compression = Compression::recognize(beginning);
        let unpacked: Box<dyn Read + 'r> = match compression {
            Compression::None => Box::new(packed),
            Compression::Gzip => Box::new(Gzip::new(packed)),
            Compression::Zstd => Box::new(Zstd::new(packed, Rc::clone(&place.unpacking))),
        };
        let mut reader = BufReader::with_capacity(BEGINNING, unpacked);
        let mut beginning = Vec::new();
        let mut limited = (&mut reader).take(BEGINNING as u64);
        let read = limited.read_to_end(&mut beginning);
        read.map_err(|error| cannot_read(end_of(Place::FIRST, &beginning), error))?;
        if beginning.starts_with(BYTE_ORDER_MARK) {
            beginning.drain(..BYTE_ORDER_MARK.len());
        }
        Ok(Self {
            reader,
            beginning,
            compression,
            packed: place,
        })
    }

    /// The reader gives so many bytes, as the length of a file says. To know it makes
    /// reading faster, and lets it say how much memory all would take; it need not be exact.
    #[must_use]
    pub fn with_length(mut self, bytes: u64) -> Self {
        self.packed.length = Some(bytes);
        self
    }

    /// How many bytes the text has, if that is known.
    fn length(&self) -> Option<u64> {
        let length = self.packed.length;
        length.filter(|_| self.compression == Compression::None)
    }

    /// What it is, if it is anything that is known.
    pub fn format(&self) -> Option<Format> {
        Format::recognize(&self.beginning)
    }

    /// Whether it looks like a history: of a format that is known, and if it is our
    /// own, with its header. A log of Jepsen's is read until it tells of an operation, which
    /// may come late; what cannot be read so far is for the one who reads it to say.
    pub fn is_history(self) -> bool {
        match self.format() {
            Some(Format::Jsonl) => {
                let end = self.beginning.iter().position(|byte| *byte == b'\n');
                let line = &self.beginning[..end.unwrap_or(self.beginning.len())];
                let mark = crate::history::FORMAT.as_bytes();
                line.windows(mark.len()).any(|window| window == mark)
            }
            Some(Format::JepsenLog) => {
                let text = self.beginning.as_slice().chain(self.reader);
                jepsen_log::has_event(text).unwrap_or(true)
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
        let length = self.length();
        let text = self.beginning.as_slice().chain(self.reader);
        if format == Format::Jsonl {
            let lines = BufReader::with_capacity(BEGINNING, text);
            let history = read_lines(lines, length, &self.packed, budget)?;
            return Ok((format, history));
        }
        let bytes = whole_text(text, length, &self.packed, budget)?;
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
    packed: &Packed,
    budget: Budget,
) -> Result<Vec<u8>, ImportError> {
    let limit = budget.text_max();
    if let Some(length) = length.filter(|length| *length > limit) {
        return Err(TooLarge::text(length, limit).into());
    }
    let chunk = |length: u64| usize::try_from(length).unwrap_or(CHUNK).max(1);
    let mut capacity = length.map_or(CHUNK, chunk);
    let (mut pieces, mut bytes): (Vec<Vec<u8>>, u64) = (Vec::new(), 0);
    let mut end = Place::FIRST;
    loop {
        // It is only a guess. What cannot be had now may not be needed.
        let mut piece = Vec::new();
        piece.try_reserve_exact(capacity).ok();
        let read = (&mut text).take(capacity as u64).read_to_end(&mut piece);
        end = end_of(end, &piece);
        let read = read.map_err(|error| cannot_read(end, error))? as u64;
        bytes += read;
        if bytes + packed.unpacking() > limit {
            return Err(TooLarge::text(packed.of_whole(bytes), limit).into());
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

fn cannot_read(place: Place, source: io::Error) -> ImportError {
    let Place { line, column } = place;
    ReadError::Io {
        line,
        column,
        source,
    }
    .into()
}
