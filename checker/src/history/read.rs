//! Reading JSON Lines.

use std::borrow::Cow;
use std::fmt;
use std::io::{BufRead, Read};

use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde_json::value::RawValue;

use super::error::{HistoryError, Problem, ReadError};
use super::event::known_name;
use super::validate::Validator;
use super::{Event, EventKind, Header, History, Json, Process};

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
        let mut lines = Lines::new(reader);
        let header = match lines.next_line()? {
            None => return Err(HistoryError::at(1, Problem::Empty).into()),
            Some((line, text)) => {
                Header::parse(text).map_err(|problem| HistoryError::at(line, problem))?
            }
        };
        let mut events = Vec::new();
        let mut validator = Validator::default();
        while let Some((line, text)) = lines.next_line()? {
            let event = parse_event(line, text)
                .and_then(|event| validator.accept(&event).map(|()| event))
                .map_err(|problem| HistoryError::at(line, problem))?;
            events.push(event);
        }
        Ok(Self { header, events })
    }
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
            Err(problem) => Err(HistoryError::at(self.line, problem).into()),
        }
    }
}

fn check_line(bytes: &[u8]) -> Result<&str, Problem> {
    if bytes.len() > LINE_BYTES_MAX {
        return Err(Problem::LineTooLong);
    }
    let text = std::str::from_utf8(bytes).map_err(|error| Problem::NotUtf8 {
        column: error.valid_up_to() + 1,
    })?;
    if nested_too_deep(bytes) {
        return Err(Problem::NestedTooDeep);
    }
    Ok(text)
}

/// Whether brackets are open deeper than [`NESTING_MAX`] anywhere.
fn nested_too_deep(bytes: &[u8]) -> bool {
    let is_opening = |byte: &&u8| matches!(byte, b'[' | b'{');
    // Almost every line has too few brackets to be deep, and counting is cheap.
    if bytes.iter().filter(is_opening).count() <= NESTING_MAX {
        return false;
    }
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in bytes {
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
            return true;
        }
    }
    false
}

fn parse_event(line: usize, text: &str) -> Result<Event, Problem> {
    let fields: EventLine<'_> =
        serde_json::from_str(text).map_err(|error| Problem::json(&error))?;
    Ok(Event {
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
    })
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
        assert!(!nested_too_deep(text.as_bytes()));
        let deep = "[".repeat(NESTING_MAX + 1);
        assert!(nested_too_deep(deep.as_bytes()));
        let wide = "[]".repeat(1000);
        assert!(!nested_too_deep(wide.as_bytes()));
    }
}
