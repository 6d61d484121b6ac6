//! Reading JSON Lines.

use std::borrow::Cow;
use std::fmt;
use std::io::{BufRead, Read};

use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde_json::value::RawValue;

use super::error::{Field, HistoryError, Problem, ReadError};
use super::event::known_name;
use super::validate::Validator;
use super::{Event, EventKind, Header, History, Json, Place, Places, Process};

/// The longest line that is read.
pub(super) const LINE_BYTES_MAX: usize = 16 << 20;

/// How deep a line may be nested.
pub(super) const NESTING_MAX: usize = 100;

impl History {
    /// Reads a history: a header line, then one line for each event. Lines that
    /// hold only white space are skipped, unknown fields are ignored.
    ///
    /// At most one line is held in memory besides the events themselves.
    ///
    /// # Errors
    /// When the bytes cannot be read, are no history, or describe something that
    /// cannot have happened, such as a completion without an invocation. The
    /// error names the line.
    pub fn read_from(reader: impl BufRead) -> Result<Self, ReadError> {
        Self::read_within(reader, |_, _| Ok(()))
    }

    /// As [`History::read_from`]; tells the lines and the bytes of memory that the
    /// events took so far from time to time, and stops when that is refused.
    pub(crate) fn read_within<E: From<ReadError>>(
        reader: impl BufRead,
        mut allow: impl FnMut(usize, usize) -> Result<(), E>,
    ) -> Result<Self, E> {
        let mut lines = Lines::new(reader);
        let mut places = Places::default();
        let header = match lines.next_line()? {
            None => {
                let error = HistoryError::in_column(1, 1, Problem::Empty);
                return Err(ReadError::from(error).into());
            }
            Some((line, text)) => {
                let model = column_of(text, Field::Header("model"));
                places.set_header(model, column_of(text, Field::Header("parameters")));
                Header::parse(text).map_err(|problem| in_line(line, text, problem))?
            }
        };
        let mut events = Vec::new();
        let mut bytes = 0;
        let mut validator = Validator::default();
        while let Some((line, text)) = lines.next_line()? {
            let (event, place) = parse_event(line, text)
                .and_then(|(event, place)| validator.accept(&event).map(|()| (event, place)))
                .map_err(|problem| in_line(line, text, problem))?;
            bytes += memory_of(&event);
            if events.len() % ALLOW_EVERY == 0 {
                allow(line, bytes)?;
            }
            events.push(event);
            places.push(place);
        }
        if let Some(last) = events.last() {
            allow(last.line, bytes)?;
        }
        Ok(Self::from_file(header, events, places))
    }
}

/// After how many events the reader asks whether it may go on.
const ALLOW_EVERY: usize = 1 << 12;

/// About how much memory an event takes, in bytes: itself, its place, its entry
/// in the list of operations, and what it has on the heap.
pub(crate) fn memory_of(event: &Event) -> usize {
    let heap = |length: usize| if length == 0 { 0 } else { length.max(8) + 16 };
    let value = if event.value.is_null() {
        0
    } else {
        heap(event.value.as_str().len())
    };
    let f = match &event.f {
        Cow::Borrowed(_) => 0,
        Cow::Owned(text) => heap(text.len()),
    };
    let error = event.error.as_ref().map_or(0, |text| heap(text.len()));
    size_of::<Event>() + size_of::<Place>() / 4 + 24 + value + f + error
}

/// An error with the column of what it is about.
fn in_line(line: usize, text: &str, problem: Problem) -> ReadError {
    let error = HistoryError::at(line, problem);
    let column = error
        .column
        .or_else(|| column_of(text, error.problem.field()));
    HistoryError {
        column: column.or(Some(1)),
        ..error
    }
    .into()
}

/// Where the value of a field begins in a line that is a JSON object.
fn column_of(text: &str, field: Field) -> Option<usize> {
    let fields: rustc_hash::FxHashMap<&str, &RawValue> = serde_json::from_str(text).ok()?;
    let is_there = |name: &&str| fields.contains_key(name);
    let name = match field {
        Field::Revision => Some("mod_revision"),
        field => field.name(),
    };
    let raw = fields.get(name.filter(is_there).or(field.name())?)?;
    Some(offset_in(text, raw.get()) + 1)
}

/// Where `part`, which was borrowed from `text`, begins in it.
fn offset_in(text: &str, part: &str) -> usize {
    let offset = (part.as_ptr() as usize).wrapping_sub(text.as_ptr() as usize);
    if offset <= text.len() { offset } else { 0 }
}

/// The lines of a reader, each bounded in length and depth, and valid UTF-8.
struct Lines<R> {
    reader: R,
    buffer: Vec<u8>,
    line: usize,
}

impl<R: BufRead> Lines<R> {
    fn new(reader: R) -> Self {
        Self {
            reader,
            buffer: Vec::new(),
            line: 0,
        }
    }

    /// The next line that is not blank, with its number.
    fn next_line(&mut self) -> Result<Option<(usize, &str)>, ReadError> {
        loop {
            self.line += 1;
            self.buffer.clear();
            let mut limited = (&mut self.reader).take(LINE_BYTES_MAX as u64 + 1);
            let length = limited
                .read_until(b'\n', &mut self.buffer)
                .map_err(|source| ReadError::Io {
                    line: self.line,
                    source,
                })?;
            if length == 0 {
                return Ok(None);
            }
            let is_blank = self.buffer.trim_ascii().is_empty();
            if !is_blank || self.buffer.len() > LINE_BYTES_MAX {
                break;
            }
        }
        match check_line(&self.buffer) {
            Ok(text) => Ok(Some((self.line, text))),
            Err((problem, column)) => {
                Err(HistoryError::in_column(self.line, column, problem).into())
            }
        }
    }
}

/// The line as text, or what is wrong with it and in which column.
fn check_line(bytes: &[u8]) -> Result<&str, (Problem, usize)> {
    if bytes.len() > LINE_BYTES_MAX {
        return Err((Problem::LineTooLong, LINE_BYTES_MAX + 1));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let column = error.valid_up_to() + 1;
        (Problem::NotUtf8 { column }, column)
    })?;
    match nested_too_deep(bytes) {
        Some(offset) => Err((Problem::NestedTooDeep, offset + 1)),
        // The parser counts what stands behind a line break as another line.
        None => Ok(text.trim_end_matches(['\r', '\n'])),
    }
}

/// Where brackets are first open deeper than [`NESTING_MAX`].
fn nested_too_deep(bytes: &[u8]) -> Option<usize> {
    let is_opening = |byte: &&u8| matches!(byte, b'[' | b'{');
    // Almost every line has too few brackets to be deep, and counting is cheap.
    if bytes.iter().filter(is_opening).count() <= NESTING_MAX {
        return None;
    }
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for (offset, byte) in bytes.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > NESTING_MAX {
            return Some(offset);
        }
    }
    None
}

fn parse_event(line: usize, text: &str) -> Result<(Event, Place), Problem> {
    let fields: EventLine<'_> =
        serde_json::from_str(text).map_err(|error| Problem::json(&error))?;
    let place = Place {
        f: match &fields.f {
            // The column of the quotation mark.
            Cow::Borrowed(f) => Some(offset_in(text, f)),
            Cow::Owned(_) => None,
        },
        value: fields.value.map(|raw| offset_in(text, raw.get()) + 1),
    };
    let event = Event {
        line,
        time: fields.time,
        process: fields.process,
        client: fields.client,
        kind: fields.kind,
        f: known_name(fields.f),
        value: fields
            .value
            .map_or(Json::NULL, |raw| Json::from_raw(raw.to_owned())),
        revision: fields.revision,
        mod_revision: fields.mod_revision,
        error: fields.error,
    };
    Ok((event, place))
}

#[derive(serde::Deserialize)]
struct EventLine<'a> {
    time: u64,
    process: Process,
    client: Option<u64>,
    #[serde(rename = "type")]
    kind: EventKind,
    #[serde(borrow)]
    f: Cow<'a, str>,
    #[serde(borrow)]
    value: Option<&'a RawValue>,
    revision: Option<i64>,
    mod_revision: Option<i64>,
    error: Option<String>,
}

impl<'de> Deserialize<'de> for Process {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ProcessVisitor)
    }
}

struct ProcessVisitor;

impl Visitor<'_> for ProcessVisitor {
    type Value = Process;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a process: a whole number, or \"nemesis\"")
    }

    fn visit_u64<E>(self, number: u64) -> Result<Process, E> {
        Ok(Process::Number(number))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Process, E> {
        match text {
            "nemesis" => Ok(Process::Nemesis),
            other => Err(E::invalid_value(de::Unexpected::Str(other), &self)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_in_strings_are_not_depth() {
        let text = format!("\"\\\"{}\"", "[".repeat(1000));
        assert_eq!(nested_too_deep(text.as_bytes()), None);
        let deep = "[".repeat(NESTING_MAX + 1);
        assert_eq!(nested_too_deep(deep.as_bytes()), Some(NESTING_MAX));
        let wide = "[]".repeat(1000);
        assert_eq!(nested_too_deep(wide.as_bytes()), None);
    }
}
