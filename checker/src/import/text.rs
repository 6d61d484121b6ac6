//! A text that is read from its beginning to its end, and the place reached.

use crate::history::{HistoryError, Problem};

/// A place in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The line, counted from 1.
    pub(super) line: usize,
    /// The byte in the line, counted from 1.
    pub(super) column: usize,
}

impl Place {
    pub(super) const FIRST: Self = Self { line: 1, column: 1 };
}

/// What some editors put in front of a text. It says nothing, and is no column.
pub(super) const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// A text without that.
pub(super) fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes)
}

/// What is wrong with a text; boxed, since results with it are everywhere.
#[derive(Debug)]
pub(super) struct Fault(Box<HistoryError>);

impl Fault {
    pub(super) fn at(place: Place, problem: Problem) -> Self {
        Self(Box::new(HistoryError::in_column(
            place.line,
            place.column,
            problem,
        )))
    }

    /// Something is wrong that needs no name of its own.
    pub(super) fn malformed(place: Place, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self::at(place, Problem::Malformed { detail })
    }

    pub(super) fn error(self) -> HistoryError {
        *self.0
    }
}

/// The text, and how far it was read.
pub(super) struct Text<'a> {
    text: &'a str,
    offset: usize,
    line: usize,
    /// The offset at which the line begins.
    line_start: usize,
    /// What comes before the text in its first line.
    column: usize,
}

impl<'a> Text<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Result<Self, Fault> {
        Ok(Self::at(utf8(bytes)?, Place::FIRST))
    }

    pub(super) fn at(text: &'a str, place: Place) -> Self {
        Self {
            text,
            offset: 0,
            line: place.line,
            line_start: 0,
            column: place.column - 1,
        }
    }

    pub(super) fn rest(&self) -> &'a str {
        &self.text[self.offset..]
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.offset).copied()
    }

    pub(super) fn offset(&self) -> usize {
        self.offset
    }

    /// Goes on by so many bytes.
    pub(super) fn advance(&mut self, bytes: usize) {
        let end = (self.offset + bytes).min(self.text.len());
        let passed = &self.text.as_bytes()[self.offset..end];
        if passed.contains(&b'\n') {
            self.line += passed.iter().filter(|byte| **byte == b'\n').count();
            let last = passed.iter().rposition(|byte| *byte == b'\n');
            self.line_start = self.offset + last.map_or(0, |last| last + 1);
            self.column = 0;
        }
        self.offset = end;
    }

    pub(super) fn place(&self) -> Place {
        Place {
            line: self.line,
            column: self.offset - self.line_start + self.column + 1,
        }
    }

    pub(super) fn fault(&self, problem: Problem) -> Fault {
        Fault::at(self.place(), problem)
    }

    pub(super) fn wrong(&self, detail: impl Into<String>) -> Fault {
        Fault::malformed(self.place(), detail)
    }
}

/// The bytes as text.
pub(super) fn utf8(bytes: &[u8]) -> Result<&str, Fault> {
    std::str::from_utf8(bytes).map_err(|error| {
        let place = place_of(bytes, error.valid_up_to());
        let column = place.column;
        Fault::at(place, Problem::NotUtf8 { column })
    })
}

/// The place of a byte.
pub(super) fn place_of(bytes: &[u8], offset: usize) -> Place {
    end_of(Place::FIRST, &bytes[..offset.min(bytes.len())])
}

/// The place behind bytes that begin there.
pub(super) fn end_of(start: Place, bytes: &[u8]) -> Place {
    match memchr::memrchr(b'\n', bytes) {
        Some(last) => Place {
            line: start.line + memchr::memchr_iter(b'\n', bytes).count(),
            column: bytes.len() - last,
        },
        None => Place {
            column: start.column + bytes.len(),
            ..start
        },
    }
}
