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

/// A queue's history, by value.
///
/// Operations and items are named by their index; instants by the index of an
/// event, [`usize::MAX`] being never.
pub(super) struct Queue<'h> {
    /// In the order of their invocations.
    pub(super) operations: Vec<Operation<'h>>,
    /// The values that certainly were enqueued, in the order of the invocations.
    pub(super) items: Vec<Item<'h>>,
    /// Operations whose dequeue found nothing, in the order of their invocations.
    pub(super) empties: Vec<usize>,
    /// Dequeues of unknown outcome, in the order of their invocations.
    pub(super) pending_dequeues: Vec<usize>,
    /// What each event does.
    pub(super) roles: Vec<Role>,
}

/// A value and the operations on it.
pub(super) struct Item<'h> {
    pub(super) value: Cow<'h, str>,
    pub(super) enqueue: usize,
    pub(super) dequeue: Option<usize>,
}

/// What an event means to the queue.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Nothing, such as a fault, or an operation that failed.
    None,
    EnqueueInvoked(u32),
    EnqueueReturned(u32),
    DequeueInvoked(u32),
    DequeueReturned(u32),
    /// The number counts [`Queue::empties`].
    EmptyReturned(u32),
    PendingDequeueInvoked,
}

impl<'h> Queue<'h> {
    /// Sorts the operations out, and finds the violations that show on the way.
    pub(super) fn of(history: &'h History) -> Result<(Self, Option<Violation>), HistoryError> {
        let operations = history.operations();
        let mut queue = Self {
            items: Vec::with_capacity(operations.len() / 2 + 1),
            empties: Vec::new(),
            pending_dequeues: Vec::new(),
            roles: Vec::new(),
            operations,
        };
        let mut by_value = queue.take_enqueues()?;
        let fault = queue.take_dequeues(&mut by_value)?;
        drop(by_value);
        if fault.is_none() {
            queue.drop_unseen();
            queue.assign_roles(history.events().len());
        }
        Ok((queue, fault))
    }

    pub(super) fn enqueue(&self, item: usize) -> &Operation<'h> {
        &self.operations[self.items[item].enqueue]
    }

    pub(super) fn dequeue(&self, item: usize) -> Option<&Operation<'h>> {
        self.items[item]
            .dequeue
            .map(|operation| &self.operations[operation])
    }

    pub(super) fn enqueue_returned(&self, item: usize) -> usize {
        self.enqueue(item).returned()
    }

    pub(super) fn dequeue_invoked(&self, item: usize) -> usize {
        self.dequeue(item)
            .map_or(usize::MAX, |operation| operation.invoked)
    }

    pub(super) fn dequeue_returned(&self, item: usize) -> usize {
        self.dequeue(item)
            .map_or(usize::MAX, |operation| operation.completed)
    }

    /// The value as it is shown to people.
    pub(super) fn show(&self, item: usize) -> String {
        show(&self.items[item].value)
    }

    fn take_enqueues(&mut self) -> Result<FxHashMap<Cow<'h, str>, usize>, HistoryError> {
        let mut by_value =
            FxHashMap::with_capacity_and_hasher(self.operations.len() / 2 + 1, Default::default());
        for (index, operation) in self.operations.iter().enumerate() {
            match operation.invoke.f.as_ref() {
                "enqueue" => {}
                "dequeue" => continue,
                other => return Err(unknown_operation(operation.invoke, other)),
            }
            let value = text(operation.invoke)?;
            check_same_value(operation, &value)?;
            if operation.outcome() == Outcome::Fail {
                continue;
            }
            let item = self.items.len();
            if let Some(before) = by_value.insert(value.clone(), item) {
                let since = self.operations[self.items[before].enqueue].invoke.line;
                let problem = Problem::EnqueuedTwice {
                    value: value.into_owned(),
                    since,
                };
                return Err(HistoryError::at(operation.invoke.line, problem));
            }
            self.items.push(Item {
                value,
                enqueue: index,
                dequeue: None,
            });
        }
        Ok(by_value)
    }

    fn take_dequeues(
        &mut self,
        by_value: &mut FxHashMap<Cow<'h, str>, usize>,
    ) -> Result<Option<Violation>, HistoryError> {
        let mut fault = None;
        for (index, operation) in self.operations.iter().enumerate() {
            if operation.invoke.f != "dequeue" {
                continue;
            }
            let Some(completion) = operation.ok() else {
                if operation.outcome() != Outcome::Fail {
                    self.pending_dequeues.push(index);
                }
                continue;
            };
            if completion.value.is_null() {
                self.empties.push(index);
                continue;
            }
            let value = text(completion)?;
            let item = by_value.get(&value).map(|item| &mut self.items[*item]);
            let Some(item) = item else {
                fault = fault.or_else(|| Some(never_enqueued(&self.operations, operation, &value)));
                continue;
            };
            let enqueue = &self.operations[item.enqueue];
            if operation.completed < enqueue.invoked {
                fault = fault.or_else(|| Some(too_early(enqueue, operation, &value)));
            } else if let Some(first) = item.dequeue {
                let dequeues = [&self.operations[first], operation];
                fault = fault.or_else(|| Some(repeated(enqueue, dequeues, &value)));
            } else {
                item.dequeue = Some(index);
            }
        }
        Ok(fault)
    }

    /// Forgets enqueues that need not have happened.
    fn drop_unseen(&mut self) {
        let operations = &self.operations;
        self.items.retain(|item| {
            item.dequeue.is_some() || operations[item.enqueue].outcome() == Outcome::Ok
        });
    }

    fn assign_roles(&mut self, events: usize) {
        let mut roles = vec![Role::None; events];
        for (index, item) in (0_u32..).zip(&self.items) {
            let enqueue = &self.operations[item.enqueue];
            roles[enqueue.invoked] = Role::EnqueueInvoked(index);
            if let Some(role) = roles.get_mut(enqueue.returned()) {
                *role = Role::EnqueueReturned(index);
            }
            if let Some(dequeue) = item.dequeue.map(|operation| &self.operations[operation]) {
                roles[dequeue.invoked] = Role::DequeueInvoked(index);
                roles[dequeue.completed] = Role::DequeueReturned(index);
            }
        }
        for (index, empty) in (0_u32..).zip(&self.empties) {
            roles[self.operations[*empty].completed] = Role::EmptyReturned(index);
        }
        for pending in &self.pending_dequeues {
            roles[self.operations[*pending].invoked] = Role::PendingDequeueInvoked;
        }
        self.roles = roles;
    }
}

/// A value as it is shown to people.
fn show(value: &str) -> String {
    format!("`{value}`")
}

fn unknown_operation(event: &Event, f: &str) -> HistoryError {
    let problem = Problem::UnknownOperation {
        model: "fifo-queue",
        f: f.to_owned(),
        known: "enqueue and dequeue",
    };
    HistoryError::at(event.line, problem)
}

fn text(event: &Event) -> Result<Cow<'_, str>, HistoryError> {
    let parsed: Result<Text<'_>, _> = event.value.parse();
    parsed
        .map(|Text(text)| text)
        .map_err(|error| HistoryError::value(event, "a string or a whole number", &error))
}

/// A completion may repeat the value or leave it out, but not change it.
fn check_same_value(operation: &Operation<'_>, invoked: &str) -> Result<(), HistoryError> {
    let Some(completion) = operation.completion.filter(|event| !event.value.is_null()) else {
        return Ok(());
    };
    let found = text(completion)?;
    if found == invoked {
        return Ok(());
    }
    let since = operation.invoke.line;
    let (f, invoked, found) = (
        completion.f.to_string(),
        invoked.to_owned(),
        found.into_owned(),
    );
    Err(HistoryError::at(
        completion.line,
        Problem::ValueChanged {
            f,
            invoked,
            since,
            found,
        },
    ))
}

fn never_enqueued<'h>(
    operations: &[Operation<'h>],
    dequeue: &Operation<'h>,
    value: &str,
) -> Violation {
    let is_failed = |operation: &&Operation<'h>| {
        operation.invoke.f == "enqueue" && text(operation.invoke).is_ok_and(|text| text == value)
    };
    let failed = operations.iter().find(is_failed);
    let sentence = match failed {
        None => format!("{} was dequeued, but nobody ever enqueued it", show(value)),
        Some(_) => format!(
            "{} was dequeued, but its enqueue had failed and so did not happen",
            show(value)
        ),
    };
    Violation::new(
        Class::Safety,
        FRESH,
        sentence,
        failed.into_iter().chain([dequeue]),
    )
}

fn too_early<'h>(enqueue: &Operation<'h>, dequeue: &Operation<'h>, value: &str) -> Violation {
    let sentence = format!("{} had been dequeued before its enqueue began", show(value));
    Violation::new(Class::Safety, FRESH, sentence, [dequeue, enqueue])
}

fn repeated<'h>(enqueue: &Operation<'h>, dequeues: [&Operation<'h>; 2], value: &str) -> Violation {
    let [first, second] = dequeues.map(Operation::process);
    let sentence = format!(
        "{} was enqueued once but dequeued twice, by process {first} and by process {second}",
        show(value)
    );
    let witness = [enqueue, dequeues[0], dequeues[1]];
    Violation::new(Class::Safety, REPEAT, sentence, witness)
}
