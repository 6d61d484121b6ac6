//! What can be wrong with a history.

use std::io;
use std::path::PathBuf;

use super::event::{Event, EventKind};
use super::header::{FORMAT, VERSION};
use super::places::start_of_value;
use super::read::{LINE_BYTES_MAX, NESTING_MAX};
use crate::told;

/// A history that cannot be checked, because it is malformed or contradicts
/// itself. This says nothing about the system under test.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}{}: {}", at_column(.column), told_of(.problem))]
pub struct HistoryError {
    /// Where, counted from 1.
    pub line: usize,
    /// Where in the line, in bytes counted from 1, when known.
    pub column: Option<usize>,
    /// What is wrong.
    pub problem: Problem,
}

impl HistoryError {
    /// The value of an event is not what its operation takes or returns.
    pub(crate) fn value(event: &Event, expected: &'static str, error: &serde_json::Error) -> Self {
        // The place that it names lies within the value, not within the file.
        let text = error.to_string();
        let detail = text.split(" at line ").next().unwrap_or_default();
        let problem = Problem::Value {
            f: event.f().to_string(),
            expected,
            detail: here_in_words(detail, expected),
        };
        Self {
            line: event.line(),
            // Of the value, until the history says where in the line that is.
            column: Some(start_of_value(
                event.value().as_str(),
                error.column().max(1),
            )),
            problem,
        }
    }

    pub(crate) fn in_column(line: usize, column: usize, problem: Problem) -> Self {
        Self {
            line,
            column: Some(column),
            problem,
        }
    }

    pub(crate) fn at(line: usize, problem: Problem) -> Self {
        let column = match &problem {
            Problem::Json { column, .. }
            | Problem::CutOff { column }
            | Problem::NotUtf8 { column } => Some(*column),
            _ => None,
        };
        Self {
            line,
            column,
            problem,
        }
    }
}

/// The part of a line that a problem is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    Line,
    Time,
    Process,
    Kind,
    F,
    Value,
    Revision,
    /// A field of the header.
    Header(&'static str),
}

impl Field {
    /// Its name in a line of a history.
    pub(crate) fn name(self) -> Option<&'static str> {
        Some(match self {
            Self::Line => return None,
            Self::Time => "time",
            Self::Process => "process",
            Self::Kind => "type",
            Self::F => "f",
            Self::Value => "value",
            Self::Revision => "revision",
            Self::Header(name) => name,
        })
    }
}

/// What no operation does when its process says an earlier time than before.
fn before_what(kind: EventKind) -> &'static str {
    match kind {
        EventKind::Invoke => "begin before the last one of its process has ended",
        _ => "end before it begins",
    }
}

/// With what it quotes no longer than a person reads.
fn told_of(problem: &Problem) -> String {
    told::sentence(&problem.to_string(), told::ERROR_MAX).into_owned()
}

fn at_column(column: &Option<usize>) -> String {
    column.map_or_else(String::new, |column| format!(", column {column}"))
}

/// Why a history could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The bytes could not be read.
    #[error("line {line}, column {column}: cannot read: {source}")]
    Io {
        /// The line that was being read, counted from 1.
        line: usize,
        /// The byte in the line that could not be had, counted from 1. Of packed bytes all
        /// that can be unpacked is before it.
        column: usize,
        /// What the reader said.
        source: io::Error,
    },
    /// The bytes are no history.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// One of several files could not be read.
    #[error("{}: cannot read: {source}", .file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// What the reader said.
        source: io::Error,
    },
    /// One of several files is no part of a history.
    #[error("{}: {error}", .file.display())]
    InFile {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        error: Box<HistoryError>,
    },
}

/// What is wrong with a line of a history.
///
/// Each text says what was found and, where that helps, what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// There is no line at all.
    #[error(
        "the file is empty, or has nothing but white space; a history begins with a header line"
    )]
    Empty,
    /// The first line is not a header.
    #[error(
        "this is not a history: the first line must be a header, a JSON object with \"format\":\"{FORMAT}\""
    )]
    NoHeader,
    /// The header is of another version.
    #[error(
        "the history has format version {found}, but only version {VERSION} is understood; check it with a release that knows that version"
    )]
    Version {
        /// What the header says.
        found: String,
    },
    /// The header's source is of an unknown kind.
    #[error("unknown kind of source {kind:?}; it must be \"simulation\", \"live\" or \"other\"")]
    SourceKind {
        /// What the header says.
        kind: String,
    },
    /// The header's source lacks a field.
    #[error("a source of kind {kind:?} needs the field {field:?}")]
    SourceField {
        /// The kind of source.
        kind: String,
        /// The field.
        field: &'static str,
    },
    /// The header's parameters are not an object.
    #[error("\"parameters\" must be a JSON object")]
    ParametersNoObject,
    /// A parameter that the model needs is missing or malformed.
    #[error("the model needs other parameters in the header: {detail}")]
    Parameters {
        /// What is missing or wrong.
        detail: String,
    },
    /// The operations do not tell what they are about.
    #[error("the operations do not tell which model they are for; name it, one of {known}")]
    NoModel {
        /// The names that are known.
        known: String,
    },
    /// The header names no known model.
    #[error(
        "the header names the unknown model {name:?}; known are {known}; if it is one of those under another name, give that one explicitly"
    )]
    UnknownModel {
        /// What the header says.
        name: String,
        /// The names that are known.
        known: String,
    },
    /// The line is not the JSON that is expected.
    #[error("{detail}")]
    Json {
        /// Where in the line.
        column: usize,
        /// What the parser says.
        detail: String,
    },
    /// The line ends too early.
    #[error(
        "the line ends in the middle of its JSON object; the file was probably cut off while it was written"
    )]
    CutOff {
        /// Where in the line.
        column: usize,
    },
    /// It is not what the format wants.
    #[error("{detail}")]
    Malformed {
        /// What stands there, and what should.
        detail: String,
    },
    /// The file says what it is about, and that is not the model that was asked for.
    #[error(
        "this file is of the format {format}, and a history of {says}; the model {model} cannot be read from it"
    )]
    OtherModel {
        /// The format.
        format: &'static str,
        /// What it says, as the name of a model.
        says: String,
        /// The model that was asked for.
        model: &'static str,
    },
    /// It is none of the formats that are known.
    #[error(
        "this is none of the formats that are recognized ({known}); if it is one all the same, name the format"
    )]
    Unrecognized {
        /// The names of the formats.
        known: String,
    },
    /// The line is not text.
    #[error("the line is not valid UTF-8, so this is not a history or it was damaged")]
    NotUtf8 {
        /// The first byte that is wrong.
        column: usize,
    },
    /// The line is longer than any event.
    #[error("the line is longer than {} MiB, which no event needs", LINE_BYTES_MAX >> 20)]
    LineTooLong,
    /// The line is nested deeper than any event.
    #[error("the line is nested more than {NESTING_MAX} levels deep")]
    NestedTooDeep,
    /// Time went back.
    #[error(
        "time goes back: {time} ns after {before} ns; events must be in the order in which they happened"
    )]
    TimeGoesBack {
        /// Time of this event in nanoseconds.
        time: u64,
        /// Time of the event before it in nanoseconds.
        before: u64,
    },
    /// The clock of one process went back, as no clock of a test does.
    #[error(
        "the time of process {process} goes back: {time} ns after {before} ns; an operation cannot {}",
        before_what(*.kind)
    )]
    OwnTimeGoesBack {
        /// The process.
        process: u64,
        /// Whether an operation begins or ends then.
        kind: EventKind,
        /// Time of this event in nanoseconds.
        time: u64,
        /// Time of the event of this process before it.
        before: u64,
    },
    /// A completion without an invocation.
    #[error("process {process} completes an operation ({kind}) but has none open")]
    NothingOpen {
        /// The process.
        process: u64,
        /// The kind of completion.
        kind: EventKind,
    },
    /// A completion of another operation.
    #[error("process {process} completes {found:?} but has {open:?} open since line {since}")]
    OtherOperation {
        /// The process.
        process: u64,
        /// What it completes.
        found: String,
        /// What it has open.
        open: String,
        /// Line of the open invocation.
        since: usize,
    },
    /// Two operations open at once.
    #[error(
        "process {process} invokes an operation while that of line {since} is still open; give each concurrent operation its own process"
    )]
    AlreadyOpen {
        /// The process.
        process: u64,
        /// Line of the open invocation.
        since: usize,
    },
    /// A process that ended is used again.
    #[error(
        "process {process} is used again after its unknown outcome in line {since}; give the client a new process"
    )]
    ProcessReused {
        /// The process.
        process: u64,
        /// Line of the `info`.
        since: usize,
    },
    /// The nemesis invokes or completes.
    #[error("an event of the nemesis must have the type \"info\", not \"{kind}\"")]
    NemesisKind {
        /// What the line says.
        kind: EventKind,
    },
    /// A revision below zero.
    #[error("the revision {revision} is negative")]
    NegativeRevision {
        /// What the line says.
        revision: i64,
    },
    /// An operation that the model does not know.
    #[error("the model {model} knows no operation {f:?}; it knows {known}")]
    UnknownOperation {
        /// The model.
        model: &'static str,
        /// What the line says.
        f: String,
        /// What the model knows.
        known: &'static str,
    },
    /// A value of the wrong shape.
    #[error("the value of {f:?} must be {expected}: {detail}")]
    Value {
        /// The operation.
        f: String,
        /// What was expected.
        expected: &'static str,
        /// What was found.
        detail: String,
    },
    /// A completion that contradicts its invocation.
    #[error("{f:?} was invoked with {invoked} in line {since} but completes with {found}")]
    ValueChanged {
        /// The operation.
        f: String,
        /// The value of the invocation.
        invoked: String,
        /// Line of the invocation.
        since: usize,
        /// The value of the completion.
        found: String,
    },
    /// An operation that is said to be done, and to have done nothing.
    #[error(
        "{f:?} completes with false: what did not happen ends with \"fail\", and what may be refused is a \"try-acquire\""
    )]
    DidNothing {
        /// The operation.
        f: String,
    },
    /// The same value is enqueued twice.
    #[error(
        "the value {value:?} was already enqueued in line {since}; the queue checker needs distinct values, so make them unique, for instance client and number"
    )]
    EnqueuedTwice {
        /// The value.
        value: String,
        /// Line of the first invocation.
        since: usize,
    },
    /// The same value is proposed twice in an election.
    #[error(
        "the value {value:?} was already proposed in line {since}; the election checker needs distinct values, so make them unique, for instance client and number"
    )]
    ProposedTwice {
        /// The value.
        value: String,
        /// Line of the first invocation.
        since: usize,
    },
    /// The same value is written twice.
    #[error(
        "the value {value:?} was already written to this key in line {since}; the etcd checker needs distinct values, so make them unique, for instance client and number"
    )]
    WrittenTwice {
        /// The value.
        value: String,
        /// Line of the first invocation.
        since: usize,
    },
    /// The same value is written twice to a key whose versions are told apart by it.
    #[error(
        "the value {value:?} was already written to {key:?} in line {since}; without known versions each write of a key needs a value of its own, for instance client and number"
    )]
    NotUnique {
        /// The key.
        key: String,
        /// The value.
        value: String,
        /// Line of the first invocation.
        since: usize,
    },
    /// The same lease is granted twice.
    #[error(
        "the lease {lease} was already asked for in line {since}; the etcd checker needs distinct leases"
    )]
    GrantedTwice {
        /// The lease.
        lease: i64,
        /// Line of the first invocation.
        since: usize,
    },
    /// The same name for two watches.
    #[error("there is a watch {watch} already, since line {since}; give each its own number")]
    WatchedTwice {
        /// The watch.
        watch: u64,
        /// Line of the first invocation.
        since: usize,
    },
    /// An answer without the revision of its header.
    #[error("the answer to {f:?} has no revision, but every answer of etcd has one in its header")]
    MissingRevision {
        /// The operation.
        f: String,
    },
    /// The record of the keys contradicts itself.
    #[error("the change of term {term}'s key at revision {revision} makes no sense: {detail}")]
    Record {
        /// The term.
        term: i64,
        /// The revision of the change.
        revision: i64,
        /// How.
        detail: &'static str,
    },
    /// A read that contradicts itself.
    #[error("the read of {key:?} contradicts itself: {detail}")]
    Read {
        /// The key.
        key: String,
        /// How.
        detail: &'static str,
    },
}

impl Problem {
    /// The part of the line that it is about.
    pub(crate) fn field(&self) -> Field {
        match self {
            Self::TimeGoesBack { .. } | Self::OwnTimeGoesBack { .. } => Field::Time,
            Self::NothingOpen { .. } | Self::AlreadyOpen { .. } | Self::ProcessReused { .. } => {
                Field::Process
            }
            Self::NemesisKind { .. } => Field::Kind,
            Self::OtherOperation { .. } | Self::UnknownOperation { .. } => Field::F,
            Self::NegativeRevision { .. } => Field::Revision,
            Self::Value { .. }
            | Self::ValueChanged { .. }
            | Self::DidNothing { .. }
            | Self::EnqueuedTwice { .. }
            | Self::ProposedTwice { .. }
            | Self::WrittenTwice { .. }
            | Self::NotUnique { .. }
            | Self::GrantedTwice { .. }
            | Self::WatchedTwice { .. }
            | Self::Record { .. }
            | Self::Read { .. } => Field::Value,
            Self::Version { .. } => Field::Header("version"),
            Self::SourceKind { .. } | Self::SourceField { .. } => Field::Header("source"),
            Self::ParametersNoObject | Self::Parameters { .. } => Field::Header("parameters"),
            Self::UnknownModel { .. } | Self::NoModel { .. } | Self::OtherModel { .. } => {
                Field::Header("model")
            }
            _ => Field::Line,
        }
    }

    pub(crate) fn json(error: &serde_json::Error) -> Self {
        let column = error.column().max(1);
        if error.is_eof() {
            return Self::CutOff { column };
        }
        let text = error.to_string();
        let detail = text.split(" at line ").next().unwrap_or(&text).to_owned();
        let detail = if error.is_syntax() {
            format!("this is not valid JSON: {detail}")
        } else {
            in_words(&detail)
        };
        Self::Json { column, detail }
    }
}

/// What a parser says of data that it does not expect, in words of people who do not know it.
pub(crate) fn in_words(text: &str) -> String {
    let words = || {
        if let Some(field) = text.strip_prefix("missing field ") {
            return Some(format!("the field {field} is missing"));
        }
        if let Some(field) = text.strip_prefix("duplicate field ") {
            return Some(format!("the field {field} occurs twice"));
        }
        let (variant, known) = text
            .strip_prefix("unknown variant ")?
            .split_once(EXPECTED)?;
        let known = known.trim_start_matches("one of ");
        Some(format!("{variant} is none of {known}"))
    };
    let unexpected = || {
        let (found, expected) = unexpected(text)?;
        Some(format!(
            "{found} stands where {} is expected",
            expected_in_words(expected)
        ))
    };
    words()
        .or_else(unexpected)
        .unwrap_or_else(|| text.to_owned())
}

/// The same where it has been said what is expected of the whole.
fn here_in_words(text: &str, of_whole: &str) -> String {
    match unexpected(text) {
        Some((found, expected)) if expected == of_whole => format!("here stands {found}"),
        Some((found, expected)) => {
            format!("here stands {found}, not {}", expected_in_words(expected))
        }
        None => in_words(text),
    }
}

const EXPECTED: &str = ", expected ";

/// What was found where something else was expected.
fn unexpected(text: &str) -> Option<(String, &str)> {
    let (found, expected) = text.split_once(EXPECTED)?;
    if let Some(length) = found.strip_prefix("invalid length ") {
        return Some((format!("a list of length {length}"), expected));
    }
    let found = found
        .strip_prefix("invalid type: ")
        .or_else(|| found.strip_prefix("invalid value: "))?;
    Some((found_in_words(found).to_owned(), expected))
}

fn found_in_words(found: &str) -> &str {
    match found {
        "map" => "an object",
        "sequence" => "a list",
        _ => ["integer ", "floating point ", "boolean ", "string "]
            .iter()
            .find_map(|kind| found.strip_prefix(kind))
            .unwrap_or(found),
    }
}

fn expected_in_words(expected: &str) -> String {
    if let Some(size) = expected.strip_prefix("a tuple of size ") {
        return format!("a list of {size} elements");
    }
    match expected {
        "u64" => "a whole number from 0 to 2^64 - 1",
        "u32" => "a whole number from 0 to 2^32 - 1",
        "i64" => "a whole number from -2^63 to 2^63 - 1",
        "i32" => "a whole number from -2^31 to 2^31 - 1",
        "a sequence" => "a list",
        "a map" => "an object",
        _ if expected.starts_with("struct ") => "an object",
        _ => expected,
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use super::{here_in_words, in_words};

    #[test]
    fn what_a_parser_says_is_put_in_words() {
        let told = [
            "unknown variant `start`, expected one of `invoke`, `ok`",
            "invalid value: integer `-5`, expected u64",
            "invalid type: map, expected a string",
            "invalid length 1, expected a tuple of size 2",
            "missing field `source`",
            "something else",
        ]
        .map(in_words);
        let expected = [
            "`start` is none of `invoke`, `ok`",
            "`-5` stands where a whole number from 0 to 2^64 - 1 is expected",
            "an object stands where a string is expected",
            "a list of length 1 stands where a list of 2 elements is expected",
            "the field `source` is missing",
            "something else",
        ];
        assert_eq!(told, expected);
        let told = here_in_words("invalid type: null, expected a string", "a string");
        assert_eq!(told, "here stands null");
        let told = here_in_words("invalid type: map, expected i64", "a list of numbers");
        let number = "a whole number from -2^63 to 2^63 - 1";
        assert_eq!(told, format!("here stands an object, not {number}"));
    }
}
