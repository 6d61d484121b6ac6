//! The values of a queue, and the operations on them.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::fmt::Debug;

use super::item::Item;
use super::linearization::Interval;
use super::pass;
use crate::history::{Event, History, HistoryError, Operation, Operations, Outcome};
use crate::liveness::Deadline;
use crate::verdict::{Counts, Summary, Violation};

/// What a queue's values are like.
pub(crate) trait Shape {
    /// What tells which of them leave first, besides the order in which they came.
    type Priority: Copy + PartialEq + Debug;

    /// The name of the queue's model.
    const MODEL: &'static str;

    /// The value of an event that has one.
    fn read(event: &Event) -> Result<(Cow<'_, str>, Self::Priority), HistoryError>;

    /// A value as it is shown to people.
    fn show(value: &str, priority: Self::Priority) -> String;

    /// Whether the end of an enqueue may be this one.
    fn check_end(_invoke: &Event, _end: &Event) -> Result<(), HistoryError> {
        Ok(())
    }
}

/// A queue's history, by value.
///
/// Operations are named by the event that began them.
pub(crate) struct Values<'h, S: Shape> {
    pub(crate) history: &'h History,
    /// The values that certainly were enqueued, in the order of the invocations.
    pub(crate) items: Vec<Item<S::Priority>>,
    /// Dequeues that found nothing.
    pub(crate) empties: Vec<Call>,
    /// Dequeues of unknown outcome, in the order of their invocations.
    pub(crate) pending: Vec<usize>,
    /// Operations that did not end, in the order of their invocations.
    pub(crate) open: Vec<usize>,
    /// How enqueues and dequeues ended.
    pub(super) counts: [Counts; 2],
    operations: OnceCell<Operations<'h>>,
}

/// An operation that returned, by its events.
#[derive(Clone, Copy)]
pub(crate) struct Call {
    pub(super) invoked: u32,
    pub(super) returned: u32,
}

impl Call {
    pub(crate) fn invoked(self) -> usize {
        self.invoked as usize
    }

    pub(crate) fn returned(self) -> usize {
        self.returned as usize
    }
}

impl<'h, S: Shape> Values<'h, S> {
    /// Sorts the operations out, and finds the violations that show on the way.
    pub(crate) fn of(history: &'h History) -> Result<(Self, Option<Violation>), HistoryError> {
        let (mut values, violation) = pass::over(history)?;
        // Enqueues that need not have happened did not: a value more could only
        // forbid something.
        values.items.retain(Item::is_certain);
        Ok((values, violation))
    }

    pub(super) fn new(history: &'h History) -> Self {
        Self {
            history,
            items: Vec::with_capacity(history.events().len() / 4 + 1),
            empties: Vec::new(),
            pending: Vec::new(),
            open: Vec::new(),
            counts: Default::default(),
            operations: OnceCell::new(),
        }
    }

    /// The operations, which only those need who find a fault.
    fn operations(&self) -> &Operations<'h> {
        self.operations.get_or_init(|| Operations::of(self.history))
    }

    /// Among all operations, the index of the one that began at this event.
    pub(crate) fn index_of(&self, invoked: usize) -> usize {
        self.operations().invoked_at(invoked)
    }

    pub(crate) fn operation(&self, invoked: usize) -> Operation<'h> {
        self.operations().get(self.index_of(invoked))
    }

    /// When the operation that began at this event can have happened.
    pub(crate) fn interval(&self, invoked: usize) -> Interval {
        Interval::of(self.index_of(invoked), &self.operation(invoked))
    }

    pub(super) fn failed_enqueues(&self) -> impl Iterator<Item = Operation<'h>> {
        let is_failed = |operation: &Operation<'h>| {
            operation.outcome() == Outcome::Fail && operation.f() == "enqueue"
        };
        self.operations().iter().filter(is_failed)
    }

    pub(crate) fn enqueue(&self, item: usize) -> Operation<'h> {
        self.operation(self.items[item].enqueue_invoked())
    }

    pub(crate) fn dequeue(&self, item: usize) -> Option<Operation<'h>> {
        let invoked = self.items[item].dequeue()?;
        Some(self.operation(invoked))
    }

    /// What was said to be enqueued.
    pub(super) fn enqueued(&self, item: usize) -> &'h Event {
        &self.history.events()[self.items[item].enqueue_invoked()]
    }

    pub(super) fn value(&self, item: usize) -> Cow<'h, str> {
        let (value, _) = S::read(self.enqueued(item)).expect("it was read before");
        value
    }

    /// The value as it is shown to people.
    pub(crate) fn show(&self, item: usize) -> String {
        S::show(&self.value(item), self.items[item].priority)
    }

    /// How many dequeues of unknown outcome began before this event and have ended.
    pub(crate) fn ended_before(&self, event: usize) -> usize {
        let pending = self.pending.iter().take_while(|invoked| **invoked < event);
        pending
            .filter(|invoked| self.open.binary_search(invoked).is_err())
            .count()
    }

    /// The operations that had to finish by then and are still open.
    pub(crate) fn overdue(&self, deadline: &Deadline) -> Vec<Operation<'h>> {
        deadline.overdue(self.open.iter().map(|invoked| self.operation(*invoked)))
    }

    /// What is said of a valid history.
    pub(crate) fn summary(&self) -> Summary {
        let [enqueues, dequeues] = self.counts;
        Summary::of_counts([("enqueue", enqueues), ("dequeue", dequeues)])
    }
}
