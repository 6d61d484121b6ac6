//! Lines of events as almost every program writes them, read without a general parser.
//!
//! Such a line is an object of known fields, each there once, of whole numbers and of
//! strings without escapes, in any order and with white space where JSON has it. Of
//! anything else, malformed lines above all, nothing is said here: the general parser
//! reads them, and finds the words for what is wrong. What is read here, it reads
//! alike; the tests hold both against each other.

use super::read::offset_in;
use super::scan::{Scanner, put};
use super::{Event, EventKind, Json, Place, Process};

/// The event of a line, unless there is anything unusual in it.
pub(super) fn event(line: usize, text: &str) -> Option<(Event, Place)> {
    let mut scanner = Scanner::new(text);
    let fields = Fields::scan(&mut scanner)?;
    let (f, value) = (fields.f?, fields.value);
    let place = Place {
        f: Some(offset_in(text, f)),
        value: value.map(|value| offset_in(text, value) + 1),
    };
    let event = Event::new(fields.time?, fields.process?, fields.kind?, f)
        .with_line(line)
        .with_client(fields.client.flatten())
        .with_value(value.map_or(Json::NULL, Json::from_line))
        .with_revision(fields.revision.flatten())
        .with_mod_revision(fields.mod_revision.flatten())
        .with_error(fields.error.flatten());
    Some((event, place))
}

/// What was found so far; of those that may be `null`, whether they were.
#[derive(Default)]
struct Fields<'t> {
    time: Option<u64>,
    process: Option<Process>,
    kind: Option<EventKind>,
    f: Option<&'t str>,
    client: Option<Option<u64>>,
    value: Option<&'t str>,
    revision: Option<Option<i64>>,
    mod_revision: Option<Option<i64>>,
    error: Option<Option<&'t str>>,
}

impl<'t> Fields<'t> {
    fn scan(scanner: &mut Scanner<'t>) -> Option<Self> {
        let mut fields = Self::default();
        scanner.skip_space();
        scanner.object(|name, scanner| fields.scan_value(name, scanner))?;
        scanner.skip_space();
        scanner.is_at_end().then_some(fields)
    }

    fn scan_value(&mut self, name: &str, scanner: &mut Scanner<'t>) -> Option<()> {
        match name {
            "time" => put(&mut self.time, scanner.number()?),
            "process" => put(&mut self.process, process(scanner)?),
            "type" => put(&mut self.kind, kind(scanner.string()?)?),
            "f" => put(&mut self.f, scanner.string()?),
            "client" => put(&mut self.client, scanner.or_null(Scanner::number)?),
            "value" => put(&mut self.value, scanner.any()?),
            "revision" => put(&mut self.revision, scanner.or_null(Scanner::signed)?),
            "mod_revision" => put(&mut self.mod_revision, scanner.or_null(Scanner::signed)?),
            "error" => put(&mut self.error, scanner.or_null(Scanner::string)?),
            _ => None,
        }
    }
}

fn process(scanner: &mut Scanner<'_>) -> Option<Process> {
    if scanner.peek()? == b'"' {
        return (scanner.string()? == "nemesis").then_some(Process::Nemesis);
    }
    scanner.number().map(Process::Number)
}

fn kind(name: &str) -> Option<EventKind> {
    Some(match name {
        "invoke" => EventKind::Invoke,
        "ok" => EventKind::Ok,
        "fail" => EventKind::Fail,
        "info" => EventKind::Info,
        _ => return None,
    })
}
