//! What each event means to the queue.

use std::borrow::Cow;

use super::values::{Shape, Values};
use crate::history::{Event, History, HistoryError, Problem};
use crate::index::Index;
use crate::verdict::Violation;

/// Values that leave in the order in which they came.
pub(super) struct Fifo;

impl Shape for Fifo {
    type Priority = ();

    const MODEL: &'static str = "fifo-queue";

    fn read(event: &Event) -> Result<(Cow<'_, str>, ()), HistoryError> {
        let text = event.value().text();
        text.map(|text| (text, ()))
            .map_err(|error| HistoryError::value(event, "a string or a whole number", &error))
    }

    fn show(value: &str, (): ()) -> String {
        format!("`{value}`")
    }

    /// It may repeat the value or leave it out, but not change it.
    fn check_end(invoke: &Event, end: &Event) -> Result<(), HistoryError> {
        if end.value().is_null() || end.value() == invoke.value() {
            return Ok(());
        }
        let ((found, ()), (invoked, ())) = (Self::read(end)?, Self::read(invoke)?);
        if found == invoked {
            return Ok(());
        }
        let problem = Problem::ValueChanged {
            f: end.f().to_owned(),
            invoked: invoked.into_owned(),
            since: invoke.line(),
            found: found.into_owned(),
        };
        Err(HistoryError::at(end.line(), problem))
    }
}

/// A queue's history, by value and by event.
pub(super) struct Queue<'h> {
    pub(super) values: Values<'h, Fifo>,
    /// What each event has to do with: the items come first, then the empties, then the
    /// pending dequeues.
    subjects: Vec<Index>,
}

/// What an event means to the queue.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Nothing, such as a fault, or an operation that failed.
    None,
    EnqueueInvoked(usize),
    EnqueueReturned(usize),
    DequeueInvoked(usize),
    DequeueReturned(usize),
    /// The number counts [`Values::empties`].
    EmptyReturned(usize),
    PendingDequeueInvoked,
}

impl<'h> Queue<'h> {
    /// Sorts the operations out, and finds the violations that show on the way.
    pub(super) fn of(history: &'h History) -> Result<(Self, Option<Violation>), HistoryError> {
        let (values, fault) = Values::of(history)?;
        let subjects = subjects(&values);
        Ok((Self { values, subjects }, fault))
    }

    /// What each event does, one after the other.
    pub(super) fn roles(&self) -> impl Iterator<Item = Role> {
        (0..self.subjects.len()).map(|event| self.role(event))
    }

    /// What this event does.
    pub(super) fn role(&self, event: usize) -> Role {
        let Some(subject) = self.subjects[event].get() else {
            return Role::None;
        };
        if let Some(other) = subject.checked_sub(self.values.items.len()) {
            return if other < self.values.empties.len() {
                Role::EmptyReturned(other)
            } else {
                Role::PendingDequeueInvoked
            };
        }
        let item = &self.values.items[subject];
        if event == item.enqueue_invoked() {
            Role::EnqueueInvoked(subject)
        } else if event == item.enqueue_returned() {
            Role::EnqueueReturned(subject)
        } else if event == item.dequeue_invoked() {
            Role::DequeueInvoked(subject)
        } else {
            Role::DequeueReturned(subject)
        }
    }
}

fn subjects(values: &Values<'_, Fifo>) -> Vec<Index> {
    let mut subjects = vec![Index::NONE; values.history.events().len()];
    for (index, item) in values.items.iter().enumerate() {
        for event in item.events() {
            subjects[event] = Index::of(index);
        }
    }
    let mut others = values.items.len()..;
    for (empty, other) in values.empties.iter().zip(&mut others) {
        subjects[empty.returned()] = Index::of(other);
    }
    for (pending, other) in values.pending.iter().zip(&mut others) {
        subjects[*pending] = Index::of(other);
    }
    subjects
}
