//! From what a reader found to a history.

use rustc_hash::FxHashMap;

use super::memory::{Budget, Held};
use super::text::{Fault, Place};
use super::{ImportError, models};
use crate::history::{self, Event, EventKind, Header, History, Json, Places, Process, Validator};

/// Numbers of processes whose own ones are negative or too large begin here.
const NAMED_FROM: u64 = 1 << 40;

/// After how many events the collector asks whether it may go on.
const ALLOW_EVERY: usize = 1 << 12;

/// About what is kept of a process, in bytes.
const PROCESS: usize = 2 * size_of::<(u64, u64)>();

/// Gathers events, and enforces the rules of histories.
pub(super) struct Collector<'b> {
    budget: &'b mut Budget,
    validator: Validator,
    events: Vec<Event>,
    places: Places,
    time: u64,
    /// Whether any event has told a time.
    has_times: bool,
    /// The last time that each process has told.
    told: FxHashMap<u64, u64>,
    names: FxHashMap<String, u64>,
    memory: usize,
    /// The events that wait to be added.
    waiting: Held,
}

/// Where the parts of an event are.
#[derive(Clone, Copy, Debug)]
pub(super) struct EventPlace {
    pub(super) event: Place,
    pub(super) process: Place,
    pub(super) f: Place,
    pub(super) value: Place,
    pub(super) time: Place,
}

impl EventPlace {
    pub(super) fn all(event: Place) -> Self {
        Self {
            event,
            process: event,
            f: event,
            value: event,
            time: event,
        }
    }
}

/// An event as a reader found it.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) process: Process,
    pub(super) client: Option<u64>,
    pub(super) kind: EventKind,
    pub(super) f: String,
    /// A JSON text.
    pub(super) value: Json,
    /// Nanoseconds, if it says.
    pub(super) time: Option<u64>,
    pub(super) revision: Option<i64>,
    pub(super) error: Option<String>,
}

impl<'b> Collector<'b> {
    pub(super) fn new(budget: &'b mut Budget) -> Self {
        Self {
            budget,
            validator: Validator::default(),
            events: Vec::new(),
            places: Places::default(),
            time: 0,
            has_times: false,
            told: FxHashMap::default(),
            names: FxHashMap::default(),
            memory: 0,
            waiting: Held::default(),
        }
    }

    /// The model is named there in the first line.
    pub(super) fn model_at(&mut self, column: usize) {
        self.places.set_header(Some(column), None);
    }

    /// So many events are to come.
    pub(super) fn reserve(&mut self, events: usize) {
        // It is only a guess. What cannot be had now may not be needed.
        self.events.try_reserve_exact(events).ok();
        self.places.reserve(events);
    }

    /// So much of the text was read, of so much.
    pub(super) fn reached(&mut self, done: usize, all: usize) {
        self.budget.reached(done as u64, all as u64);
    }

    /// The number of a process whose own one is negative or too large.
    pub(super) fn process_named(&mut self, name: &str) -> Process {
        if let Some(number) = self.names.get(name) {
            return Process::Number(*number);
        }
        let number = NAMED_FROM + self.names.len() as u64;
        self.names.insert(name.to_owned(), number);
        Process::Number(number)
    }

    /// Adds the next event. The order of events is that in which they come; a time
    /// that goes back, as those of several threads do, is taken for no time. That of one
    /// process cannot.
    pub(super) fn push(&mut self, place: EventPlace, found: Found) -> Result<(), ImportError> {
        if let (Process::Number(process), Some(time)) = (found.process, found.time)
            && let Some(before) = self.told.insert(process, time)
            && time < before
        {
            let problem = history::Problem::OwnTimeGoesBack {
                process,
                kind: found.kind,
                time,
                before,
            };
            return Err(Fault::at(place.time, problem).into());
        }
        self.has_times |= found.time.is_some();
        self.time = found.time.unwrap_or(self.time + 1).max(self.time);
        let event = Event::new(self.time, found.process, found.kind, &found.f)
            .with_line(place.event.line)
            .with_client(found.client)
            .with_value(found.value)
            .with_revision(found.revision)
            .with_error(found.error.as_deref());
        self.validator.accept(&event).map_err(|problem| {
            let at = match problem.field() {
                history::Field::Process => place.process,
                history::Field::F => place.f,
                _ => place.event,
            };
            ImportError::from(Fault::at(at, problem))
        })?;
        self.memory += history::memory_of(&event);
        let events = self.events.len();
        if events == self.events.capacity() && events >= ALLOW_EVERY {
            // A list that grows is copied: both are there until it is done.
            self.allow(event.line(), events * size_of::<Event>())?;
            let more = self.budget.more(events);
            self.reserve((more + more / 16).max(events / 4));
        } else if events.is_multiple_of(ALLOW_EVERY) {
            self.allow(event.line(), 0)?;
        }
        self.events.push(event);
        self.places.push(history::Place {
            f: (place.f.line == place.event.line).then_some(place.f.column),
            value: (place.value.line == place.event.line).then_some(place.value.column),
        });
        Ok(())
    }

    /// An event that waits to be added.
    pub(super) fn waits(&mut self, line: usize, found: &Found) -> Result<(), ImportError> {
        self.waiting.events += 1;
        self.waiting.bytes += size_of::<(EventPlace, Found)>() + found.f.len();
        self.waiting.bytes += found.value.as_str().len();
        match self.waiting.events.is_multiple_of(ALLOW_EVERY) {
            // Each gets an invocation with the same value.
            true => self.allow(line, 2 * self.waiting.bytes),
            false => Ok(()),
        }
    }

    /// What waited is added now.
    pub(super) fn waited(&mut self) {
        self.waiting = Held::default();
    }

    /// Asks whether it may go on with so many bytes besides; if not, what the whole takes
    /// depends on the model.
    fn allow(&mut self, line: usize, besides: usize) -> Result<(), ImportError> {
        let held = Held {
            events: self.events.len(),
            bytes: self.memory
                + self.told.capacity() * PROCESS
                + self.validator.heap_bytes()
                + besides,
        };
        if self.budget.allow(line, held).is_ok() {
            return Ok(());
        }
        if let Some(model) = models::guess(&self.events).and_then(|name| name.parse().ok()) {
            self.budget.about(model);
        }
        Ok(self.budget.allow(line, held)?)
    }

    pub(super) fn events(&self) -> &[Event] {
        &self.events
    }

    pub(super) fn set_value(&mut self, event: usize, value: Json) {
        self.events[event].set_value(value);
    }

    /// The value of an event is not what it must be.
    pub(super) fn wrong_value(&self, event: usize, detail: &str) -> Fault {
        let place = self.places.get(event).unwrap_or_default();
        let at = Place {
            line: self.events[event].line(),
            column: place.value.unwrap_or(1),
        };
        Fault::malformed(at, detail)
    }

    /// All that was added.
    pub(super) fn finish(self, header: Header) -> History {
        let history = History::from_file(header, self.events, self.places, &self.validator);
        if self.has_times {
            history
        } else {
            history.without_times()
        }
    }
}
