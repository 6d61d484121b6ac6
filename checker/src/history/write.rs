//! Writing JSON Lines.

use std::io::{self, Write};

use serde::ser::{Serialize, Serializer};

use super::{Event, EventKind, Header, History, Json, Process};

impl History {
    /// Writes the history so that [`History::read_from`] gives it back.
    ///
    /// The bytes depend on nothing but the history. Give a buffered writer: there
    /// is one call or more for each line.
    ///
    /// # Errors
    /// When `writer` fails.
    pub fn write_to(&self, mut writer: impl Write) -> io::Result<()> {
        self.header.write_line(&mut writer)?;
        for event in &self.events {
            event.write_line(&mut writer)?;
        }
        writer.flush()
    }
}

impl Header {
    /// Writes the header line, its end included. For those who write the events
    /// as they come; see [`Event::write_line`].
    ///
    /// # Errors
    /// When `writer` fails.
    pub fn write_line(&self, mut writer: impl Write) -> io::Result<()> {
        writer.write_all(self.to_line()?.as_bytes())?;
        writer.write_all(b"\n")
    }
}

impl Event {
    /// Writes the event's line, its end included.
    ///
    /// # Errors
    /// When `writer` fails.
    pub fn write_line(&self, mut writer: impl Write) -> io::Result<()> {
        serde_json::to_writer(&mut writer, &EventOut::of(self))?;
        writer.write_all(b"\n")
    }
}

/// The fields in the order in which they are written.
#[derive(serde::Serialize)]
struct EventOut<'a> {
    time: u64,
    process: Process,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<u64>,
    #[serde(rename = "type")]
    kind: EventKind,
    f: &'a str,
    value: &'a Json,
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mod_revision: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

impl<'a> EventOut<'a> {
    fn of(event: &'a Event) -> Self {
        Self {
            time: event.time(),
            process: event.process(),
            client: event.client(),
            kind: event.kind(),
            f: event.f(),
            value: event.value(),
            revision: event.revision(),
            mod_revision: event.mod_revision(),
            error: event.error(),
        }
    }
}

impl Serialize for Process {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Number(number) => serializer.serialize_u64(*number),
            Self::Nemesis => serializer.serialize_str("nemesis"),
        }
    }
}
