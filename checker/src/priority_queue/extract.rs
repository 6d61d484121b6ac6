//! From events to values and the operations on them.

use std::borrow::Cow;

use rustc_hash::FxHashMap;

use crate::history::{Event, History, HistoryError, Operation, Outcome, Problem, Text};
use crate::verdict::{Class, Kind, Violation};

const FRESH: Kind = Kind {
    name: "VFresh",
    meaning: "a value was dequeued that had not been enqueued",
};
const REPEAT: Kind = Kind {
    name: "VRepeat",
    meaning: "a value was dequeued twice",
};
const PRIORITY: Kind = Kind {
    name: "PQ-priority",
    meaning: "a value left with another priority than it was enqueued with",
};

/// A queue's history, by value. Instants are indices of events.
pub(super) struct Queue<'h> {
    /// In the order of their invocations.
    pub(super) operations: Vec<Operation<'h>>,
    /// The values that certainly were enqueued.
    pub(super) items: Vec<Item<'h>>,
    /// Operations whose dequeue found nothing.
    pub(super) empties: Vec<usize>,
    /// Dequeues of unknown outcome, in the order of their invocations.
    pub(super) pending: Vec<usize>,
    /// How many events there are.
    pub(super) events: usize,
}

/// A value and the operations on it.
pub(super) struct Item<'h> {
    pub(super) value: Cow<'h, str>,
    pub(super) priority: i64,
    pub(super) enqueue: usize,
    pub(super) dequeue: Option<usize>,
}

impl<'h> Queue<'h> {
    /// Sorts the operations out, and finds the violations that show on the way.
    pub(super) fn of(history: &'h History) -> Result<(Self, Option<Violation>), HistoryError> {
        let mut queue = Self {
            operations: history.operations(),
            items: Vec::new(),
            empties: Vec::new(),
            pending: Vec::new(),
            events: history.events().len(),
        };
        let by_value = queue.take_enqueues()?;
        let fault = queue.take_dequeues(&by_value)?;
        drop(by_value);
        // Enqueues that need not have happened did not: a value more could only
        // forbid something.
        let operations = &queue.operations;
        queue.items.retain(|item| {
            item.dequeue.is_some() || operations[item.enqueue].outcome() == Outcome::Ok
        });
        Ok((queue, fault))
    }

    /// The value as it is shown to people.
    pub(super) fn show(&self, item: usize) -> String {
        let item = &self.items[item];
        show(&item.value, item.priority)
    }

    fn take_enqueues(&mut self) -> Result<FxHashMap<Cow<'h, str>, usize>, HistoryError> {
        let mut by_value: FxHashMap<Cow<'h, str>, usize> = FxHashMap::default();
        for (index, operation) in self.operations.iter().enumerate() {
            match operation.invoke.f.as_ref() {
                "enqueue" => {}
                "dequeue" => continue,
                other => return Err(unknown_operation(operation.invoke, other)),
            }
            let (value, priority) = pair(operation.invoke)?;
            if operation.outcome() == Outcome::Fail {
                continue;
            }
            if let Some(before) = by_value.insert(value.clone(), self.items.len()) {
                let since = self.operations[self.items[before].enqueue].invoke.line;
                let value = value.into_owned();
                let problem = Problem::EnqueuedTwice { value, since };
                return Err(HistoryError::at(operation.invoke.line, problem));
            }
            self.items.push(Item {
                value,
                priority,
                enqueue: index,
                dequeue: None,
            });
        }
        Ok(by_value)
    }

    fn take_dequeues(
        &mut self,
        by_value: &FxHashMap<Cow<'h, str>, usize>,
    ) -> Result<Option<Violation>, HistoryError> {
        let mut fault = None;
        for (index, operation) in self.operations.iter().enumerate() {
            if operation.invoke.f != "dequeue" {
                continue;
            }
            let Some(completion) = operation.ok() else {
                if operation.outcome() != Outcome::Fail {
                    self.pending.push(index);
                }
                continue;
            };
            if completion.value.is_null() {
                self.empties.push(index);
                continue;
            }
            let (value, priority) = pair(completion)?;
            let shown = show(&value, priority);
            let Some(item) = by_value.get(&value).map(|item| &mut self.items[*item]) else {
                fault = fault.or_else(|| Some(never_enqueued(operation, &shown)));
                continue;
            };
            let enqueue = &self.operations[item.enqueue];
            let found = if operation.completed < enqueue.invoked {
                let text = format!("{shown} had been dequeued before its enqueue began");
                Some((FRESH, text, vec![operation, enqueue]))
            } else if priority != item.priority {
                let text = format!(
                    "{} was dequeued with priority {priority}",
                    show(&item.value, item.priority)
                );
                Some((PRIORITY, text, vec![enqueue, operation]))
            } else if let Some(first) = item.dequeue {
                let first = &self.operations[first];
                let text = format!(
                    "{shown} was enqueued once but dequeued twice, by process {} and by process {}",
                    first.process(),
                    operation.process()
                );
                Some((REPEAT, text, vec![enqueue, first, operation]))
            } else {
                item.dequeue = Some(index);
                None
            };
            let violation =
                found.map(|(kind, text, of)| Violation::new(Class::Safety, kind, text, of));
            fault = fault.or(violation);
        }
        Ok(fault)
    }
}

/// `` `a` (priority 3) ``
fn show(value: &str, priority: i64) -> String {
    format!("`{value}` (priority {priority})")
}

fn never_enqueued<'h>(dequeue: &Operation<'h>, shown: &str) -> Violation {
    let sentence = format!("{shown} was dequeued, but nobody ever enqueued it");
    Violation::new(Class::Safety, FRESH, sentence, [dequeue])
}

fn unknown_operation(event: &Event, f: &str) -> HistoryError {
    let problem = Problem::UnknownOperation {
        model: "priority-queue",
        f: f.to_owned(),
        known: "enqueue and dequeue",
    };
    HistoryError::at(event.line, problem)
}

/// `[value, priority]`
fn pair(event: &Event) -> Result<(Cow<'_, str>, i64), HistoryError> {
    let parsed: Result<(Text<'_>, i64), _> = event.value.parse();
    parsed
        .map(|(Text(value), priority)| (value, priority))
        .map_err(|error| {
            let expected = "a list of a value (string or whole number) and a priority";
            HistoryError::value(event, expected, &error)
        })
}
