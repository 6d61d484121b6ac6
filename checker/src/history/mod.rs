//! Histories: what clients asked, what they were told, and when.
//!
//! An operation is two events, an invocation and a completion, and the system
//! acts on it at some instant between them:
//!
//! ```text
//! process 0   |---- enqueue a ----| ok
//! process 1        |---------- dequeue ----------| ok a
//! process 2            |---- enqueue b ----| info         nobody knows
//! process 3                |---- enqueue c ----| fail     it did not happen
//! process 4                     |---- dequeue ------ ...  still open
//!             ------------------------------------------> time
//! ```
//!
//! A completion is `ok`, `fail` or `info`. An operation that ended in `info` may
//! take effect at any later time, so its process is never used again; what it did
//! is *pending* for ever, exactly like an operation that is still open. These are
//! [Jepsen's](https://github.com/jepsen-io/history) words and field names.
//!
//! The order of the events is the order of real time. Equal times are fine: the
//! order of the lines decides. Checkers use nothing else, so clocks need not be
//! finer than the events are apart.
//!
//! On disk a history is JSON Lines; `docs/history-format.md` in the repository
//! describes it for those who write it with other programs.
//!
//! - [`Recorder`] builds a history during a run.
//! - [`History::read_from`] and [`History::write_to`] do what they say.
//! - [`History::operations`] pairs the events.
//! - [`HistoryError`] says what is wrong with a history, and in which line.

mod error;
mod event;
mod header;
mod json;
mod micro;
mod name;
mod operation;
mod places;
mod plain;
mod processes;
mod read;
mod recorder;
mod scan;
mod validate;
mod words;
mod write;

pub(crate) use error::{Field, in_words};
pub use error::{HistoryError, Problem, ReadError};
pub use event::{Event, EventKind, LIVENESS_DEADLINE, Process};
pub use header::{FORMAT, Header, Source, VERSION};
pub use json::Json;
pub use micro::MicroOperation;
pub(crate) use micro::{Text, micro_operations, plain_pair};
pub(crate) use operation::Operations;
pub use operation::{Operation, Outcome};
pub(crate) use places::{Place, Places};
pub(crate) use processes::PerProcess;
pub(crate) use read::memory_of;
pub use recorder::{Evidence, OperationId, Recorder};
pub(crate) use scan::{Scanner, plain_object, put};
pub(crate) use validate::Validator;

/// A recorded run.
///
/// Invariants, which every way to make one enforces:
/// - times never decrease;
/// - each completion belongs to an open invocation of the same process and the
///   same `f`;
/// - a process has at most one operation open, and none after an `info`;
/// - events of the nemesis are `info`;
/// - revisions are not negative.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    header: Header,
    events: Vec<Event>,
    /// Where in their lines the events are; empty when there is no file.
    places: Places,
    /// Index of the last event that is a [`LIVENESS_DEADLINE`].
    deadline: Option<usize>,
    /// See [`has_times`](Self::has_times).
    has_times: bool,
}

impl History {
    /// A history of these events. Their lines are numbered anew.
    ///
    /// # Errors
    /// When the events break a rule of histories; the error names the line that
    /// the event would have in a file.
    pub fn new(header: Header, mut events: Vec<Event>) -> Result<Self, HistoryError> {
        let mut validator = validate::Validator::default();
        for (index, event) in events.iter_mut().enumerate() {
            event.set_line(index + 2);
            validator
                .accept(event)
                .map_err(|problem| HistoryError::at(event.line(), problem))?;
        }
        Ok(Self {
            header,
            events,
            places: Places::default(),
            deadline: validator.deadline(),
            has_times: true,
        })
    }

    /// A history that was read from a file. The events keep their lines, and were
    /// accepted one by one.
    pub(crate) fn from_file(
        header: Header,
        events: Vec<Event>,
        places: Places,
        validator: &Validator,
    ) -> Self {
        Self {
            header,
            events,
            places,
            deadline: validator.deadline(),
            has_times: true,
        }
    }

    /// The same, in which times only number the events.
    pub(crate) fn without_times(mut self) -> Self {
        self.has_times = false;
        self
    }

    /// Whether the times are some that the history says: some formats have none, and some
    /// programs write none. Then each event is a nanosecond after the one before.
    pub fn has_times(&self) -> bool {
        self.has_times
    }

    /// Whether its events are less than half a microsecond apart on average, as those of a
    /// monitor that only counts are: then microseconds do not tell them apart.
    pub fn has_fine_times(&self) -> bool {
        const HALF_MICROSECOND: u64 = 500;
        let gaps = self.events.len().saturating_sub(1) as u64;
        match (self.events.first(), self.events.last()) {
            (Some(first), Some(last)) => last.time() - first.time() < gaps * HALF_MICROSECOND,
            _ => false,
        }
    }

    pub(crate) fn with_parameters(mut self, parameters: Json) -> Self {
        self.header = self.header.with_parameters(parameters);
        self
    }

    /// Adds the column to an error that a checker found in a history from a file.
    pub(crate) fn with_column(&self, mut error: HistoryError) -> HistoryError {
        if let Field::Header(name) = error.problem.field() {
            error.column = self.places.header(name).or(Some(1));
            return error;
        }
        let index = self
            .events
            .iter()
            .position(|event| event.line() == error.line);
        let place = index.and_then(|index| self.places.get(index));
        error.column = place.map(|place| {
            let value = match error.problem.field() {
                // So far the column is one of the value.
                Field::Value => place
                    .value
                    .map(|value| value + error.column.unwrap_or(1) - 1),
                _ => None,
            };
            // What an event lacks stands nowhere.
            value.or(place.f).unwrap_or(1)
        });
        error
    }

    /// Where the history comes from.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The events in the order in which they happened.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// Index of the last mark that says that everything had to be finished.
    pub(crate) fn deadline(&self) -> Option<usize> {
        self.deadline
    }

    /// Header and events by value, for instance to change some and make a
    /// [`History::new`] of them.
    pub fn into_parts(self) -> (Header, Vec<Event>) {
        (self.header, self.events)
    }
}
