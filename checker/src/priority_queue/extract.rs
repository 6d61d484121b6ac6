//! From events to values and the operations on them.

use std::borrow::Cow;

use serde::Deserialize;

use crate::history::{Event, History, HistoryError, Operation, Outcome, Problem, Text, plain_pair};
use crate::keyed::parameters;
use crate::names::Finder;
use crate::queue::Ties;
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

#[derive(Deserialize, Default)]
struct Parameters {
    #[serde(default)]
    ties: Ties,
}

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
    pub(super) ties: Ties,
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
        let operations = history.operations();
        let Parameters { ties } = parameters(history)?;
        let mut queue = Self {
            ties,
            items: Vec::with_capacity(operations.len() / 2 + 1),
            operations,
            empties: Vec::new(),
            pending: Vec::new(),
            events: history.events().len(),
        };
        let (by_value, dequeues) = queue.take_enqueues()?;
        let fault = queue.take_dequeues(&by_value, &dequeues)?;
        drop((by_value, dequeues));
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
                    let found = operation.ok().and_then(|ok| plain_pair(ok.value()));
                    let found = found.and_then(|(value, priority)| {
                        Some((self.find(&by_value, value)?, priority))
                    });
                    dequeues.push(Dequeue {
                        operation: number(index),
                        found,
                    });
                    continue;
                }
                other => return Err(unknown_operation(operation.invoke, other)),
            }
            let (value, priority) = pair(operation.invoke)?;
            if operation.outcome() == Outcome::Fail {
                continue;
            }
            let value_of = |item: u32| &*self.items[item as usize].value;
            if let Some(before) = by_value.insert(&value, number(self.items.len()), value_of) {
                let since = self.operations[self.items[before as usize].enqueue]
                    .invoke
                    .line();
                let value = value.into_owned();
                let problem = Problem::EnqueuedTwice { value, since };
                return Err(HistoryError::at(operation.invoke.line(), problem));
            }
            self.items.push(Item {
                value,
                priority,
                enqueue: index,
                dequeue: None,
            });
        }
        Ok((by_value, dequeues))
    }

    fn find(&self, by_value: &Finder, value: &str) -> Option<u32> {
        by_value.find(value, |item| &*self.items[item as usize].value)
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
            if let Some((item, priority)) = dequeue.found {
                let violation = self.take_dequeue(item, priority, index);
                fault = fault.or(violation);
                continue;
            }
            let Some(completion) = operation.ok() else {
                if operation.outcome() != Outcome::Fail {
                    self.pending.push(index);
                }
                continue;
            };
            if completion.value().is_null() {
                self.empties.push(index);
                continue;
            }
            let (value, priority) = pair(completion)?;
            let violation = match self.find(by_value, &value) {
                Some(item) => self.take_dequeue(item, priority, index),
                None => Some(never_enqueued(operation, &show(&value, priority))),
            };
            fault = fault.or(violation);
        }
        Ok(fault)
    }

    /// The operation of this index dequeued this item with this priority. Returns what is
    /// wrong with that.
    fn take_dequeue(&mut self, item: u32, priority: i64, index: usize) -> Option<Violation> {
        let item = &mut self.items[item as usize];
        let (enqueue, operation) = (&self.operations[item.enqueue], &self.operations[index]);
        let shown = || show(&item.value, priority);
        let (kind, text, of) = if operation.completed < enqueue.invoked {
            let text = format!("{} had been dequeued before its enqueue began", shown());
            (FRESH, text, vec![operation, enqueue])
        } else if priority != item.priority {
            let text = format!(
                "{} was dequeued with priority {priority}",
                show(&item.value, item.priority)
            );
            (PRIORITY, text, vec![enqueue, operation])
        } else if let Some(first) = item.dequeue {
            let first = &self.operations[first];
            let text = format!(
                "{} was enqueued once but dequeued twice, by process {} and by process {}",
                shown(),
                first.process(),
                operation.process()
            );
            (REPEAT, text, vec![enqueue, first, operation])
        } else {
            item.dequeue = Some(index);
            return None;
        };
        Some(Violation::new(Class::Safety, kind, text, of))
    }
}

/// A dequeue, by its operation, and the item and priority that it got, if the item was
/// known already when it was invoked.
struct Dequeue {
    operation: u32,
    found: Option<(u32, i64)>,
}

/// Operations and items are numbered by 32 bits: more do not fit into memory.
fn number(index: usize) -> u32 {
    u32::try_from(index).expect("fewer than 2^32 operations")
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
    HistoryError::at(event.line(), problem)
}

/// `[value, priority]`
fn pair(event: &Event) -> Result<(Cow<'_, str>, i64), HistoryError> {
    if let Some((value, priority)) = plain_pair(event.value()) {
        return Ok((Cow::Borrowed(value), priority));
    }
    let parsed: Result<(Text<'_>, i64), _> = event.value().parse();
    parsed
        .map(|(Text(value), priority)| (value, priority))
        .map_err(|error| {
            let expected = "a list of a value (string or whole number) and a priority";
            HistoryError::value(event, expected, &error)
        })
}
