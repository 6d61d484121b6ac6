//! Reading JSON Lines.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, BufRead, Read as _};

use memchr::memchr;
use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde_json::value::RawValue;

use super::error::{Field, HistoryError, Problem, ReadError};
use super::places::start_of_value;
use super::plain;
use super::validate::Validator;
use super::{Event, EventKind, Header, History, Json, Place, Places, Process};
use crate::import::Held;

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
        Self::read_within(reader, |_| Ok(0))
    }

    /// As [`History::read_from`]; tells from time to time how far it is, and stops when
    /// that is refused. Otherwise it is told how many more events are to come, if that is known.
    pub(crate) fn read_within<E: From<ReadError>>(
        reader: impl BufRead,
        mut allow: impl FnMut(SoFar<'_>) -> Result<usize, E>,
    ) -> Result<Self, E> {
        let mut lines = Lines::new(reader);
        let mut places = Places::default();
        let header = match lines.next_line()? {
            None => {
                let error = HistoryError::in_column(1, 1, Problem::Empty);
                return Err(ReadError::from(error).into());
            }
            Some((line, text)) => {
                check_nesting(line, text)?;
                let model = column_of(text, Field::Header("model"));
                places.set_header(model, column_of(text, Field::Header("parameters")));
                Header::parse(text).map_err(|problem| in_line(line, text, problem))?
            }
        };
        let mut events = Vec::new();
        let mut bytes = 0;
        let mut more = 0;
        let mut validator = Validator::default();
        while let Some((line, text)) = lines.next_line()? {
            let (event, place) = match plain::event(line, text) {
                Some(plain) => plain,
                None => {
                    check_nesting(line, text)?;
                    parse_event(line, text).map_err(|problem| in_line(line, text, problem))?
                }
            };
            validator
                .accept(&event)
                .map_err(|problem| in_line(line, text, problem))?;
            bytes += memory_of(&event);
            if events.len() % ALLOW_EVERY == 0 {
                more = allow(SoFar {
                    line,
                    held: held(events.len(), bytes + validator.heap_bytes()),
                    bytes: lines.bytes,
                    model: &header.model,
                })?;
            }
            if events.len() == events.capacity() && events.len() >= GUESS_FROM {
                // A list that grows is copied: both are there until it is done.
                allow(SoFar {
                    line,
                    held: held(
                        events.len(),
                        bytes
                            + validator.heap_bytes()
                            + events.len() * (size_of::<Event>() + PLACE),
                    ),
                    bytes: lines.bytes,
                    model: &header.model,
                })?;
                // It is only a guess. What cannot be had now may not be needed.
                let room = (more + more / 16).max(events.len() / 4);
                events.try_reserve_exact(room).ok();
                places.reserve(room);
            }
            events.push(event);
            places.push(place);
        }
        if let Some(last) = events.last() {
            allow(SoFar {
                line: last.line(),
                held: held(events.len(), bytes + validator.heap_bytes()),
                bytes: lines.bytes,
                model: &header.model,
            })?;
        }
        Ok(Self::from_file(header, events, places, &validator))
    }
}

fn held(events: usize, bytes: usize) -> Held {
    Held { events, bytes }
}

/// How far a history was read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SoFar<'h> {
    pub(crate) line: usize,
    pub(crate) held: Held,
    /// How many bytes the lines had.
    pub(crate) bytes: u64,
    /// What the header says.
    pub(crate) model: &'h str,
}

/// After how many events the reader asks whether it may go on.
const ALLOW_EVERY: usize = 1 << 12;

/// From how many events on room is made for as many as are to come. Before that the part of a
/// packed file that was read tells little.
const GUESS_FROM: usize = 1 << 16;

/// What is kept of a place, in bytes.
const PLACE: usize = size_of::<Place>() / 4;

/// How much memory an event takes, in bytes: itself, its place, and what it has on the heap.
pub(crate) fn memory_of(event: &Event) -> usize {
    size_of::<Event>() + PLACE + event.heap_bytes()
}

/// An error with the column of what it is about.
fn in_line(line: usize, text: &str, mut problem: Problem) -> ReadError {
    // Of what is JSON, but not what is wanted, a parser says the end.
    if let Problem::Json { column, .. } = &mut problem
        && serde_json::from_str::<de::IgnoredAny>(text).is_ok()
    {
        *column = start_of_value(text, *column);
    }
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
pub(super) fn offset_in(text: &str, part: &str) -> usize {
    let offset = (part.as_ptr() as usize).wrapping_sub(text.as_ptr() as usize);
    if offset <= text.len() { offset } else { 0 }
}

/// The lines of a reader, each bounded in length, and valid UTF-8.
struct Lines<R> {
    reader: R,
    /// A line that does not lie in the reader's own buffer in one piece.
    buffer: Vec<u8>,
    /// How much of the reader's own buffer the last line took.
    passed: usize,
    line: usize,
    /// How many bytes the lines had so far.
    bytes: u64,
}

impl<R: BufRead> Lines<R> {
    fn new(reader: R) -> Self {
        Self {
            reader,
            buffer: Vec::new(),
            passed: 0,
            line: 0,
            bytes: 0,
        }
    }

    /// The next line that is not blank, with its number.
    fn next_line(&mut self) -> Result<Option<(usize, &str)>, ReadError> {
        loop {
            self.line += 1;
            let line = self.line;
            match self.advance() {
                Ok(true) => {}
                Ok(false) => return Ok(None),
                // What came before stands in the buffer, if it is of this line.
                Err(error) => return Err(cannot_read(line, self.buffer.len() + 1)(error)),
            }
            let bytes = self.current().map_err(cannot_read(line, 1))?;
            let is_blank = bytes.trim_ascii().is_empty() && bytes.len() <= LINE_BYTES_MAX;
            self.bytes += bytes.len() as u64;
            if !is_blank {
                break;
            }
        }
        let line = self.line;
        match check_line(self.current().map_err(cannot_read(line, 1))?) {
            Ok(text) => Ok(Some((line, text))),
            Err((problem, column)) => Err(HistoryError::in_column(line, column, problem).into()),
        }
    }

    /// Goes to the next line, if there is one.
    fn advance(&mut self) -> io::Result<bool> {
        self.reader.consume(std::mem::take(&mut self.passed));
        self.buffer.clear();
        let available = self.reader.fill_buf()?;
        let end = memchr(b'\n', &available[..available.len().min(LINE_BYTES_MAX)]);
        if let Some(end) = end {
            self.passed = end + 1;
            return Ok(true);
        }
        let mut limited = (&mut self.reader).take(LINE_BYTES_MAX as u64 + 1);
        Ok(limited.read_until(b'\n', &mut self.buffer)? > 0)
    }

    /// The bytes of the line, with its end.
    fn current(&mut self) -> io::Result<&[u8]> {
        if self.passed == 0 {
            return Ok(&self.buffer);
        }
        // Reads nothing: what was not consumed is still there.
        Ok(&self.reader.fill_buf()?[..self.passed])
    }
}

fn cannot_read(line: usize, column: usize) -> impl Fn(io::Error) -> ReadError {
    move |source| ReadError::Io {
        line,
        column,
        source,
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
    // The parser counts what stands behind a line break as another line.
    Ok(text.trim_end_matches(['\r', '\n']))
}

fn check_nesting(line: usize, text: &str) -> Result<(), ReadError> {
    match nested_too_deep(text.as_bytes()) {
        Some(offset) => {
            Err(HistoryError::in_column(line, offset + 1, Problem::NestedTooDeep).into())
        }
        None => Ok(()),
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
    let event = Event::new(fields.time, fields.process, fields.kind, &fields.f)
        .with_line(line)
        .with_client(fields.client)
        .with_value(fields.value.map_or(Json::NULL, Json::from_raw))
        .with_revision(fields.revision)
        .with_mod_revision(fields.mod_revision)
        .with_error(fields.error.as_deref());
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
    #[serde(borrow, default, deserialize_with = "even_null")]
    value: Option<&'a RawValue>,
    revision: Option<i64>,
    mod_revision: Option<i64>,
    error: Option<String>,
}

/// A `null` that is there has a place, too.
fn even_null<'de: 'a, 'a, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
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

    /// Lines of all kinds, usual and not, right and wrong.
    const LINES: &[&str] = &[
        r#"{"time":1,"process":0,"client":0,"type":"invoke","f":"enqueue","value":"a"}"#,
        r#" { "f" : "txn" , "value" : [ [ "r" , "x" , null ] , [] , {} , { "a" : -1 } ],"type":"ok","process":12,"time":0 } "#,
        r#"{"time":1,"process":"nemesis","type":"info","f":"kill","value":{"client":2},"error":null,"client":null}"#,
        r#"{"time":999999999999999999,"process":0,"type":"ok","f":"x","revision":7,"mod_revision":null}"#,
        r#"{"time":18446744073709551615,"process":0,"type":"ok","f":"x"}"#,
        r#"{"time":18446744073709551616,"process":0,"type":"ok","f":"x"}"#,
        r#"{"time":1,"process":0,"type":"fail","f":"x","revision":9223372036854775807,"error":"no"}"#,
        r#"{"time":1,"process":0,"type":"fail","f":"x","revision":9223372036854775808}"#,
        r#"{"time":1,"process":0,"type":"fail","f":"x","revision":-1}"#,
        r#"{"time":1,"process":0,"type":"ok","f":"x","value":1.5e3}"#,
        r#"{"time":1,"process":0,"type":"ok","f":"x","value":-0}"#,
        r#"{"time":1,"process":0,"type":"ok","f":"x","value":[true,false,0,10,-7]}"#,
        r#"{"time":1,"process":0,"type":"ok","f":"x","value":01}"#,
        r#"{"time":01,"process":0,"type":"ok","f":"x"}"#,
        r#"{"time":1.0,"process":0,"type":"ok","f":"x"}"#,
        r#"{"time":1,"process":-1,"type":"ok","f":"x"}"#,
        r#"{"time":1,"process":"0","type":"ok","f":"x"}"#,
        r#"{"time":1,"process":0,"type":"OK","f":"x"}"#,
        r#"{"time":1,"process":0,"type":"ok","f":"x\u0041","value":"\n"}"#,
        r#"{"time":1,"process":0,"type":"ok","f":"x","value":"\q"}"#,
        "{\"time\":1,\"process\":0,\"type\":\"ok\",\"f\":\"x\",\"value\":\"\t\"}",
        "{\"time\":1,\"process\":0,\r\"type\":\"ok\",\"f\":\"x\",\"value\":[1,\r2]}",
        r#"{"time":1,"process":0,"type":"ok","f":"größe","value":"ü"}"#,
        r#"{"time":1,"process":0,"type":"ok","f":"x","index":5}"#,
        r#"{"time":1,"time":1,"process":0,"type":"ok","f":"x"}"#,
        r#"{"time":1,"process":0,"type":"ok","f":"x","value":null,"value":1}"#,
        r#"{"time":1,"process":0,"type":"ok"}"#,
        r#"{"process":0,"type":"ok","f":"x"}"#,
        r#"{"time":1,"process":0,"type":"ok","f":null}"#,
        r#"{"time":1,"process":0,"type":"ok","f":"x",}"#,
        r#"{"time":1,"process":0,"type":"ok","f":"x"}}"#,
        r#"{"time":1,"process":0,"type":"ok","f":"x"} x"#,
        r#"{"time":1,"process":0,"type":"ok","f":"x","value":[1,]}"#,
        r#"{"time":1,"process":0,"type":"ok","f":"x","value":{"a":1,}}"#,
        r#"{"time":1,"process":0,"type":"ok","f":"x","value":{1:2}}"#,
        r#"{"time":1,"process":0,"type":"ok","f":"x","value":nul}"#,
        r#"{"time":1,"process":0,"type":"ok","f":"x","value":}"#,
        r#"{"time":1,"process":0,"type":"ok","f":"x","value":"a}"#,
        r#"{"time":1"#,
        "{}",
        "[]",
        "7",
    ];

    /// What the general parser makes of a line that the plain one reads, too.
    #[track_caller]
    fn agree(text: &str) -> bool {
        let Some((event, place)) = plain::event(7, text) else {
            return false;
        };
        let (other, other_place) = parse_event(7, text).expect(text);
        assert_eq!(event, other, "{text}");
        assert_eq!(place.f, other_place.f, "{text}");
        assert_eq!(place.value, other_place.value, "{text}");
        assert_eq!(nested_too_deep(text.as_bytes()), None);
        true
    }

    #[test]
    fn what_the_plain_reader_reads_the_general_one_reads_alike() {
        let read = LINES.iter().filter(|line| agree(line)).count();
        assert!(read >= 7, "only {read} lines are plain");
        // And so it is when any byte is another one, or the line ends there.
        for line in LINES {
            for at in (0..line.len()).filter(|at| line.is_char_boundary(*at)) {
                agree(&line[..at]);
                let Some(after) = line.get(at + 1..) else {
                    continue;
                };
                for byte in "\"\\{}[]:,0-19.enx \t\r".chars() {
                    agree(&format!("{}{byte}{after}", &line[..at]));
                    agree(&format!("{}{byte}{}", &line[..at], &line[at..]));
                }
            }
        }
    }

    #[test]
    fn what_most_programs_write_is_plain() {
        for line in &LINES[..4] {
            assert!(plain::event(7, line).is_some(), "{line}");
        }
    }

    #[test]
    fn a_value_as_deep_as_allowed_is_plain_and_a_deeper_one_is_not() {
        let nested = |depth: usize| {
            let value = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
            format!(r#"{{"time":1,"process":0,"type":"ok","f":"x","value":{value}}}"#)
        };
        assert!(agree(&nested(NESTING_MAX - 1)));
        assert!(plain::event(7, &nested(NESTING_MAX)).is_none());
        assert!(nested_too_deep(nested(NESTING_MAX).as_bytes()).is_some());
    }

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
