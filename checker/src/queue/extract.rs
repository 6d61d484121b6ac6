//! From events to values and the operations on them.

use std::borrow::Cow;

use crate::history::{Event, History, HistoryError, Operation, Outcome, Problem};
use crate::names::Finder;
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
    pub(super) items: Vec<Item>,
    /// Operations whose dequeue found nothing, in the order of their invocations.
    pub(super) empties: Vec<usize>,
    /// Dequeues of unknown outcome, in the order of their invocations.
    pub(super) pending_dequeues: Vec<usize>,
    /// What each event does.
    pub(super) roles: Vec<Role>,
    /// When each item came and went; parallel to `items`.
    spans: Vec<Span>,
}

/// The events of the operations on a value, [`NEVER`] being none.
struct Span {
    enqueue_returned: u32,
    dequeue_invoked: u32,
    dequeue_returned: u32,
}

const NEVER: u32 = u32::MAX;

/// The index of an event as it is kept in a [`Span`].
fn kept(event: usize) -> u32 {
    u32::try_from(event).unwrap_or(NEVER)
}

/// The index of an event from a [`Span`], [`usize::MAX`] being none.
fn event(kept: u32) -> usize {
    if kept == NEVER {
        usize::MAX
    } else {
        kept as usize
    }
}

/// The operations on a value.
pub(super) struct Item {
    pub(super) enqueue: u32,
    pub(super) dequeue: Option<u32>,
}

/// A dequeue, by its operation, and the item that it got, if that was known already
/// when it was invoked.
struct Dequeue {
    operation: u32,
    item: Option<u32>,
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
            spans: Vec::new(),
            operations,
        };
        let (by_value, dequeues) = queue.take_enqueues()?;
        let fault = queue.take_dequeues(&by_value, &dequeues)?;
        drop((by_value, dequeues));
        if fault.is_none() {
            queue.drop_unseen();
            queue.assign_roles(history.events().len());
        }
        Ok((queue, fault))
    }

    pub(super) fn enqueue(&self, item: usize) -> &Operation<'h> {
        &self.operations[self.items[item].enqueue as usize]
    }

    pub(super) fn dequeue(&self, item: usize) -> Option<&Operation<'h>> {
        self.items[item]
            .dequeue
            .map(|operation| &self.operations[operation as usize])
    }

    pub(super) fn enqueue_returned(&self, item: usize) -> usize {
        event(self.spans[item].enqueue_returned)
    }

    pub(super) fn dequeue_invoked(&self, item: usize) -> usize {
        event(self.spans[item].dequeue_invoked)
    }

    pub(super) fn dequeue_returned(&self, item: usize) -> usize {
        event(self.spans[item].dequeue_returned)
    }

    /// Whether somebody certainly got it.
    pub(super) fn is_dequeued(&self, item: usize) -> bool {
        self.spans[item].dequeue_invoked != NEVER
    }

    /// The value as it is shown to people.
    pub(super) fn show(&self, item: usize) -> String {
        show(&self.value(item))
    }

    fn value(&self, item: usize) -> Cow<'h, str> {
        let value = self.enqueue(item).invoke.value().text();
        value.expect("it was looked at when the item was made")
    }

    /// Returns where the items are found by their values, and the dequeues.
    ///
    /// Mostly a value is dequeued not long after it was enqueued. So what it is, is best
    /// found out at once, while all that has to do with it is at hand.
    fn take_enqueues(&mut self) -> Result<(Finder, Vec<Dequeue>), HistoryError> {
        let mut by_value = Finder::with_capacity(self.operations.len() / 2 + 1);
        let mut dequeues = Vec::with_capacity(self.operations.len() / 2 + 1);
        for (index, operation) in self.operations.iter().enumerate() {
            match operation.f() {
                "enqueue" => {}
                "dequeue" => {
                    let value = operation.ok().and_then(|ok| ok.value().text().ok());
                    let item = value.and_then(|value| self.find(&by_value, &value));
                    dequeues.push(Dequeue {
                        operation: number(index),
                        item,
                    });
                    continue;
                }
                other => return Err(unknown_operation(operation.invoke, other)),
            }
            let value = text(operation.invoke)?;
            check_same_value(operation, &value)?;
            if operation.outcome() == Outcome::Fail {
                continue;
            }
            let item = number(self.items.len());
            let value_of = |item: u32| self.value(item as usize);
            if let Some(before) = by_value.insert(&value, item, value_of) {
                let since = self.enqueue(before as usize).invoke.line();
                let problem = Problem::EnqueuedTwice {
                    value: value.into_owned(),
                    since,
                };
                return Err(HistoryError::at(operation.invoke.line(), problem));
            }
            self.items.push(Item {
                enqueue: number(index),
                dequeue: None,
            });
        }
        Ok((by_value, dequeues))
    }

    fn take_dequeues(
        &mut self,
        by_value: &Finder,
        dequeues: &[Dequeue],
    ) -> Result<Option<Violation>, HistoryError> {
        let mut fault = None;
        for dequeue in dequeues {
            let index = dequeue.operation as usize;
            let operation = &self.operations[index];
            if let Some(item) = dequeue.item {
                let violation = self.take_dequeue(item, index);
                fault = fault.or(violation);
                continue;
            }
            let Some(completion) = operation.ok() else {
                if operation.outcome() != Outcome::Fail {
                    self.pending_dequeues.push(index);
                }
                continue;
            };
            if completion.value().is_null() {
                self.empties.push(index);
                continue;
            }
            let value = text(completion)?;
            let violation = match self.find(by_value, &value) {
                Some(item) => self.take_dequeue(item, index),
                None => Some(never_enqueued(&self.operations, operation, &value)),
            };
            fault = fault.or(violation);
        }
        Ok(fault)
    }

    /// The operation of this index dequeued this item. Returns what is wrong with that.
    fn take_dequeue(&mut self, item: u32, index: usize) -> Option<Violation> {
        let enqueue = self.enqueue(item as usize);
        let operation = &self.operations[index];
        let value = || self.value(item as usize);
        if operation.completed < enqueue.invoked {
            return Some(too_early(enqueue, operation, &value()));
        }
        if let Some(first) = self.dequeue(item as usize) {
            return Some(repeated(enqueue, [first, operation], &value()));
        }
        self.items[item as usize].dequeue = Some(number(index));
        None
    }

    fn find(&self, by_value: &Finder, value: &str) -> Option<u32> {
        by_value.find(value, |item| self.value(item as usize))
    }

    /// Forgets enqueues that need not have happened.
    fn drop_unseen(&mut self) {
        let operations = &self.operations;
        self.items.retain(|item| {
            item.dequeue.is_some() || operations[item.enqueue as usize].outcome() == Outcome::Ok
        });
    }

    fn assign_roles(&mut self, events: usize) {
        let mut roles = vec![Role::None; events];
        let mut spans = Vec::with_capacity(self.items.len());
        for (index, item) in (0_u32..).zip(&self.items) {
            let enqueue = &self.operations[item.enqueue as usize];
            roles[enqueue.invoked] = Role::EnqueueInvoked(index);
            if let Some(role) = roles.get_mut(enqueue.returned()) {
                *role = Role::EnqueueReturned(index);
            }
            let dequeue = item.dequeue;
            let dequeue = dequeue.map(|operation| &self.operations[operation as usize]);
            if let Some(dequeue) = dequeue {
                roles[dequeue.invoked] = Role::DequeueInvoked(index);
                roles[dequeue.completed] = Role::DequeueReturned(index);
            }
            spans.push(Span {
                enqueue_returned: kept(enqueue.returned()),
                dequeue_invoked: dequeue.map_or(NEVER, |dequeue| kept(dequeue.invoked)),
                dequeue_returned: dequeue.map_or(NEVER, |dequeue| kept(dequeue.completed)),
            });
        }
        for (index, empty) in (0_u32..).zip(&self.empties) {
            roles[self.operations[*empty].completed] = Role::EmptyReturned(index);
        }
        for pending in &self.pending_dequeues {
            roles[self.operations[*pending].invoked] = Role::PendingDequeueInvoked;
        }
        self.roles = roles;
        self.spans = spans;
    }
}

/// Operations and items are numbered by 32 bits: more do not fit into memory.
fn number(index: usize) -> u32 {
    u32::try_from(index).expect("fewer than 2^32 operations")
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
    HistoryError::at(event.line(), problem)
}

fn text(event: &Event) -> Result<Cow<'_, str>, HistoryError> {
    let text = event.value().text();
    text.map_err(|error| HistoryError::value(event, "a string or a whole number", &error))
}

/// A completion may repeat the value or leave it out, but not change it.
fn check_same_value(operation: &Operation<'_>, invoked: &str) -> Result<(), HistoryError> {
    let is_told =
        |event: &&Event| !event.value().is_null() && event.value() != operation.invoke.value();
    let Some(completion) = operation.completion.filter(is_told) else {
        return Ok(());
    };
    let found = text(completion)?;
    if found == invoked {
        return Ok(());
    }
    let since = operation.invoke.line();
    let (f, invoked, found) = (
        completion.f().to_string(),
        invoked.to_owned(),
        found.into_owned(),
    );
    Err(HistoryError::at(
        completion.line(),
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
        operation.f() == "enqueue" && text(operation.invoke).is_ok_and(|text| text == value)
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
