//! Events: one line of a history each.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::name::{Known, Name};
use super::{Json, words};

/// One event of a run: an operation begins, an operation ends, or the
/// environment did something.
///
/// ```
/// use etcd_checker::history::{Event, EventKind, Json, Process};
///
/// let event = Event::new(1_000, Process::Number(3), EventKind::Ok, "dequeue")
///     .with_client(7)
///     .with_value("a")
///     .with_revision(12);
/// assert_eq!(event.value(), &Json::from("a"));
/// assert_eq!(event.client(), Some(7));
/// assert_eq!(event.error(), None);
/// ```
#[derive(Clone)]
pub struct Event {
    value: Json,
    time: u64,
    /// Means nothing unless `has_revision`.
    revision: i64,
    rare: Option<Box<Rare>>,
    /// The environment has none, here nor in `rare`.
    process: Small,
    client: Small,
    /// The lower bits of the line.
    line: u32,
    line_high: u8,
    /// None when it stands in `rare`.
    name: Option<Known>,
    kind: EventKind,
    has_revision: bool,
}

// Histories have millions of events, and a checker looks at each more than once.
const _: () = assert!(size_of::<Event>() <= 64);

/// What few events have, and what has no room in the others.
#[derive(Clone, Default)]
struct Rare {
    name: Option<Box<str>>,
    process: Option<u64>,
    client: Option<u64>,
    mod_revision: Option<i64>,
    error: Option<Box<str>>,
}

/// A number that is almost always there and small.
#[derive(Clone, Copy)]
struct Small(u32);

impl Small {
    /// There is none, or it is large and stands elsewhere.
    const ELSEWHERE: Self = Self(u32::MAX);

    fn of(number: Option<u64>) -> Self {
        let small = number.and_then(|number| u32::try_from(number).ok());
        small.map_or(Self::ELSEWHERE, Self)
    }

    fn get(self) -> Option<u64> {
        (self.0 != Self::ELSEWHERE.0).then_some(u64::from(self.0))
    }
}

impl Event {
    /// An event after so many nanoseconds of the run, of the operation, or the kind of
    /// fault, that is called `f`. Its value is `null`.
    pub fn new(time: u64, process: Process, kind: EventKind, f: &str) -> Self {
        let (name, other) = match Name::from(f) {
            Name::Known(known) => (Some(known), None),
            Name::Other(other) => (None, Some(other)),
        };
        let number = match process {
            Process::Number(number) => Some(number),
            Process::Nemesis => None,
        };
        let mut event = Self {
            value: Json::NULL,
            time,
            revision: 0,
            rare: None,
            process: Small::of(number),
            client: Small::ELSEWHERE,
            line: 0,
            line_high: 0,
            name,
            kind,
            has_revision: false,
        };
        if other.is_some() {
            event.rare().name = other;
        }
        if event.process.get() != number {
            event.rare().process = number;
        }
        event
    }

    /// The same with this argument or result.
    #[must_use]
    pub fn with_value(mut self, value: impl Into<Json>) -> Self {
        self.set_value(value);
        self
    }

    /// The same by this logical client.
    #[must_use]
    pub fn with_client(mut self, client: impl Into<Option<u64>>) -> Self {
        self.set_client(client);
        self
    }

    /// The same at this revision of etcd.
    #[must_use]
    pub fn with_revision(mut self, revision: impl Into<Option<i64>>) -> Self {
        self.set_revision(revision);
        self
    }

    /// The same with this mod revision of the item that was dequeued.
    #[must_use]
    pub fn with_mod_revision(mut self, revision: impl Into<Option<i64>>) -> Self {
        let revision = revision.into();
        if revision.is_some() || self.rare.is_some() {
            self.rare().mod_revision = revision;
        }
        self
    }

    /// The same with this reason why the operation failed, or is unknown.
    #[must_use]
    pub fn with_error<'a>(mut self, error: impl Into<Option<&'a str>>) -> Self {
        let error = error.into();
        if error.is_some() || self.rare.is_some() {
            self.rare().error = error.map(Box::from);
        }
        self
    }

    /// The same in this line.
    pub(crate) fn with_line(mut self, line: usize) -> Self {
        self.set_line(line);
        self
    }

    /// Gives it another argument or result.
    pub fn set_value(&mut self, value: impl Into<Json>) {
        self.value = value.into();
    }

    /// Makes it another end of its operation.
    pub fn set_kind(&mut self, kind: EventKind) {
        self.kind = kind;
    }

    /// Gives it another logical client, or none.
    pub fn set_client(&mut self, client: impl Into<Option<u64>>) {
        let client = client.into();
        self.client = Small::of(client);
        let large = client.filter(|_| self.client.get().is_none());
        if large.is_some() || self.rare.is_some() {
            self.rare().client = large;
        }
    }

    /// Gives it another revision of etcd, or none.
    pub fn set_revision(&mut self, revision: impl Into<Option<i64>>) {
        let revision = revision.into();
        self.has_revision = revision.is_some();
        self.revision = revision.unwrap_or_default();
    }

    pub(crate) fn set_line(&mut self, line: usize) {
        let line = line as u64;
        self.line = line as u32;
        // A file of 2^40 lines has no room on any disk.
        self.line_high = (line >> u32::BITS) as u8;
    }

    fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    /// Argument or result; its shape depends on the model.
    pub fn value(&self) -> &Json {
        &self.value
    }

    /// The operation, such as `enqueue`, or the kind of fault.
    pub fn f(&self) -> &str {
        let other = || self.rare.as_ref()?.name.as_deref();
        let known = self.name.map(Known::as_str);
        known.or_else(other).unwrap_or_default()
    }

    /// What it is called, if many are called so.
    pub(super) fn known_name(&self) -> Option<Known> {
        self.name
    }

    pub(crate) fn name(&self) -> Name {
        match self.name {
            Some(known) => Name::Known(known),
            None => Name::from(self.f()),
        }
    }

    /// Which end of an operation this is.
    pub fn kind(&self) -> EventKind {
        self.kind
    }

    /// Who.
    pub fn process(&self) -> Process {
        let large = || self.rare.as_ref()?.process;
        let number = self.process.get().or_else(large);
        number.map_or(Process::Nemesis, Process::Number)
    }

    /// The etcd revision that the operation took, or read at.
    pub fn revision(&self) -> Option<i64> {
        self.has_revision.then_some(self.revision)
    }

    /// Line of the file, counted from 1. The header is line 1.
    pub fn line(&self) -> usize {
        (usize::from(self.line_high) << u32::BITS) | self.line as usize
    }

    /// Nanoseconds since the start of the run.
    pub fn time(&self) -> u64 {
        self.time
    }

    /// The logical client behind the process, when known. It survives the
    /// change of process that follows an unknown outcome.
    pub fn client(&self) -> Option<u64> {
        let large = || self.rare.as_ref()?.client;
        self.client.get().or_else(large)
    }

    /// Queue: the mod revision of the item that was dequeued.
    pub fn mod_revision(&self) -> Option<i64> {
        self.rare.as_ref()?.mod_revision
    }

    /// Why the operation failed, or why its outcome is unknown.
    pub fn error(&self) -> Option<&str> {
        self.rare.as_ref()?.error.as_deref()
    }

    /// The value for people: the reads and writes of a transaction in words,
    /// anything else as the JSON that it is.
    pub fn value_text(&self) -> String {
        let text = self.value.as_str();
        let is_asked = self.kind == EventKind::Invoke;
        words::of_micro_operations(text, is_asked).unwrap_or_else(|| text.to_owned())
    }

    /// How much memory the event has on the heap, in bytes.
    pub(crate) fn heap_bytes(&self) -> usize {
        let text = |text: &Option<Box<str>>| text.as_ref().map_or(0, |text| allocated(text.len()));
        let rare = self.rare.as_ref().map_or(0, |rare| {
            allocated(size_of::<Rare>()) + text(&rare.name) + text(&rare.error)
        });
        allocated(self.value.heap_bytes()) + rare
    }
}

/// About how much memory it takes to allocate so many bytes.
fn allocated(bytes: usize) -> usize {
    if bytes == 0 { 0 } else { bytes.max(8) + 16 }
}

impl PartialEq for Event {
    fn eq(&self, other: &Self) -> bool {
        let who = |event: &Self| (event.process(), event.client(), event.line());
        let what = |event: &Self| (event.time, event.kind, event.revision());
        let rest = |event: &Self| event.mod_revision();
        who(self) == who(other)
            && what(self) == what(other)
            && rest(self) == rest(other)
            && (self.f(), self.error(), &self.value) == (other.f(), other.error(), &other.value)
    }
}

impl Eq for Event {}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("line", &self.line())
            .field("time", &self.time)
            .field("process", &self.process())
            .field("client", &self.client())
            .field("kind", &self.kind)
            .field("f", &self.f())
            .field("value", &self.value)
            .field("revision", &self.revision())
            .field("mod_revision", &self.mod_revision())
            .field("error", &self.error())
            .finish()
    }
}

/// Who does an operation: a thread of control with at most one operation open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Process {
    /// A client's process. Never used again after an unknown outcome.
    Number(u64),
    /// The environment: faults, and marks such as
    /// [`LIVENESS_DEADLINE`].
    Nemesis,
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "process {number}"),
            Self::Nemesis => f.write_str("the nemesis"),
        }
    }
}

/// Which end of an operation an event is, in Jepsen's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EventKind {
    /// The operation begins.
    Invoke,
    /// It happened, between the two events.
    Ok,
    /// It certainly did not happen, and never will.
    Fail,
    /// Nobody knows: it may have happened, may happen later, or never.
    /// Also the kind of every event of the nemesis.
    Info,
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Invoke => "invoke",
            Self::Ok => "ok",
            Self::Fail => "fail",
            Self::Info => "info",
        })
    }
}

/// Name of the nemesis event that says: every operation invoked before this
/// mark has had the time to finish. What is still open at the end of the
/// history then breaks liveness.
///
/// Its value may be an object with `bound_ns`, the time that was allowed since
/// the last fault healed.
pub const LIVENESS_DEADLINE: &str = "liveness-deadline";

#[cfg(test)]
mod tests {
    use super::*;

    fn event(process: Process, f: &str) -> Event {
        Event::new(5, process, EventKind::Ok, f)
    }

    #[test]
    fn what_was_put_in_comes_out_whether_it_is_usual_or_not() {
        let large = u64::from(u32::MAX);
        for number in [0, 1, large - 1, large, large + 1, u64::MAX] {
            let process = Process::Number(number);
            for f in ["enqueue", "of my own"] {
                let event = event(process, f)
                    .with_client(number)
                    .with_error("lost")
                    .with_mod_revision(3)
                    .with_line(number as usize >> 24);
                assert_eq!((event.process(), event.f()), (process, f));
                assert_eq!(event.client(), Some(number));
                assert_eq!(event.error(), Some("lost"));
                assert_eq!(event.mod_revision(), Some(3));
                assert_eq!(event.line(), number as usize >> 24);
            }
        }
        assert_eq!(event(Process::Nemesis, "x").process(), Process::Nemesis);
    }

    #[test]
    fn what_is_taken_away_is_gone() {
        let bare = event(Process::Number(1), "enqueue");
        let full = bare
            .clone()
            .with_client(u64::MAX)
            .with_revision(i64::MIN)
            .with_mod_revision(i64::MAX)
            .with_error("");
        assert_eq!(full.revision(), Some(i64::MIN));
        assert_eq!(full.error(), Some(""));
        assert_ne!(full, bare);
        let bare_again = full
            .with_client(None)
            .with_revision(None)
            .with_mod_revision(None)
            .with_error(None);
        assert_eq!(bare_again, bare);
        assert_eq!(bare_again.client(), None);
    }

    #[test]
    fn events_differ_in_anything() {
        let one = event(Process::Number(1), "enqueue");
        let others = [
            event(Process::Number(2), "enqueue"),
            event(Process::Number(1), "dequeue"),
            event(Process::Number(1), "other"),
            Event::new(6, one.process(), one.kind(), one.f()),
            Event::new(5, one.process(), EventKind::Info, one.f()),
            one.clone().with_value("a"),
            one.clone().with_client(0),
            one.clone().with_revision(0),
            one.clone().with_mod_revision(0),
            one.clone().with_error(""),
            one.clone().with_line(1),
        ];
        assert_eq!(one, one.clone());
        for other in others {
            assert_ne!(one, other);
        }
    }
}
