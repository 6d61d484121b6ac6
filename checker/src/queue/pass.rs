//! From events to values and the operations on them, in one pass.

use rustc_hash::FxHashSet;

use super::item::Item;
use super::values::{Call, Shape, Values};
use crate::history::{
    Event, EventKind, History, HistoryError, Operation, Outcome, PerProcess, Problem, Process,
};
use crate::index::{Index, number};
use crate::names::Finder;
use crate::verdict::{Class, Counts, Kind, Violation};

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

/// Sorts the operations out, and finds the violations that show on the way.
pub(super) fn over<'h, S: Shape>(
    history: &'h History,
) -> Result<(Values<'h, S>, Option<Violation>), HistoryError> {
    match Pass::new(history, None).run() {
        Ok(done) => Ok(done),
        Err(Stop::Refused(error)) => Err(error),
        Err(Stop::Doubt) => {
            let failed = Some(failed_enqueues(history));
            Pass::new(history, failed).run().map_err(|stop| match stop {
                Stop::Refused(error) => error,
                Stop::Doubt => unreachable!("it is known which enqueues fail"),
            })
        }
    }
}

/// The events that began them.
fn failed_enqueues(history: &History) -> FxHashSet<usize> {
    let operations = history.operations().into_iter();
    let failed = operations.filter(|operation| operation.outcome() == Outcome::Fail);
    failed.map(|operation| operation.invoked).collect()
}

/// Why a pass ends early.
enum Stop {
    Refused(HistoryError),
    /// What an event means depends on whether an enqueue fails later.
    Doubt,
}

impl From<HistoryError> for Stop {
    fn from(error: HistoryError) -> Self {
        Self::Refused(error)
    }
}

/// An operation that has not ended.
#[derive(Clone, Copy)]
struct Open {
    invoked: u32,
    what: What,
    /// Of an enqueue, unless it is known to fail.
    item: Index,
}

/// As wide as what stands beside it: a byte that was just written cannot be read together with
/// others without waiting for it.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
enum What {
    Enqueue,
    Dequeue,
}

struct Pass<'h, S: Shape> {
    values: Values<'h, S>,
    by_value: Finder,
    open: PerProcess<Option<Open>>,
    /// The enqueues that fail, by the events that began them, if somebody had to know.
    failed: Option<FxHashSet<usize>>,
    faults: First,
    /// Of the dequeues whose value was not known when they returned, the one that was
    /// invoked first.
    unknown: Option<Call>,
}

impl<'h, S: Shape> Pass<'h, S> {
    fn new(history: &'h History, failed: Option<FxHashSet<usize>>) -> Self {
        Self {
            values: Values::new(history),
            by_value: Finder::with_capacity(history.events().len() / 4 + 1),
            open: PerProcess::default(),
            failed,
            faults: First::default(),
            unknown: None,
        }
    }

    fn run(mut self) -> Result<(Values<'h, S>, Option<Violation>), Stop> {
        for (index, event) in self.values.history.events().iter().enumerate() {
            let Process::Number(process) = event.process() else {
                continue;
            };
            if event.kind() == EventKind::Invoke {
                let open = self.begin(index, event)?;
                *self.open.of(process) = Some(open);
            } else if let Some(open) = self.open.of(process).take() {
                self.end(open, index, event)?;
            }
        }
        if let Some(call) = self.unknown {
            let fault = self.never_enqueued(call)?;
            self.faults.add(fault);
        }
        self.take_open();
        Ok((self.values, self.faults.0.map(|(_, violation)| violation)))
    }

    fn begin(&mut self, index: usize, event: &'h Event) -> Result<Open, Stop> {
        let (what, item) = match event.f() {
            "enqueue" => (What::Enqueue, self.begin_enqueue(index, event)?),
            "dequeue" => (What::Dequeue, Index::NONE),
            other => return Err(unknown_operation(event, S::MODEL, other).into()),
        };
        self.counts(what).open += 1;
        let invoked = number(index);
        Ok(Open {
            invoked,
            what,
            item,
        })
    }

    fn counts(&mut self, what: What) -> &mut Counts {
        let [enqueues, dequeues] = &mut self.values.counts;
        match what {
            What::Enqueue => enqueues,
            What::Dequeue => dequeues,
        }
    }

    fn begin_enqueue(&mut self, index: usize, event: &'h Event) -> Result<Index, Stop> {
        let (value, priority) = S::read(event)?;
        let failed = self.failed.as_ref();
        if failed.is_some_and(|failed| failed.contains(&index)) {
            return Ok(Index::NONE);
        }
        let item = self.values.items.len();
        let value_of = |item: u32| self.values.value(item as usize);
        if let Some(before) = self.by_value.insert(&value, number(item), value_of) {
            if self.failed.is_none() {
                return Err(Stop::Doubt);
            }
            let since = self.values.enqueued(before as usize).line();
            let value = value.into_owned();
            let problem = Problem::EnqueuedTwice { value, since };
            return Err(HistoryError::at(event.line(), problem).into());
        }
        self.values.items.push(Item::new(priority, index));
        Ok(Index::of(item))
    }

    fn end(&mut self, open: Open, index: usize, event: &'h Event) -> Result<(), Stop> {
        let counts = self.counts(open.what);
        counts.open -= 1;
        *match event.kind() {
            EventKind::Ok => &mut counts.ok,
            EventKind::Fail => &mut counts.fail,
            EventKind::Info | EventKind::Invoke => &mut counts.info,
        } += 1;
        let invoked = open.invoked as usize;
        if open.what == What::Enqueue {
            S::check_end(&self.values.history.events()[invoked], event)?;
            match (open.item.get(), event.kind()) {
                (Some(item), EventKind::Ok) => self.values.items[item].acknowledge(index),
                (Some(item), EventKind::Fail) => self.fail_enqueue(item)?,
                _ => {}
            }
            return Ok(());
        }
        let call = Call {
            invoked: open.invoked,
            returned: number(index),
        };
        match event.kind() {
            EventKind::Ok if event.value().is_null() => self.values.empties.push(call),
            EventKind::Ok => self.end_dequeue(call, event)?,
            EventKind::Fail => {}
            EventKind::Info | EventKind::Invoke => self.values.pending.push(invoked),
        }
        Ok(())
    }

    /// The value did not come after all.
    fn fail_enqueue(&mut self, item: usize) -> Result<(), Stop> {
        if self.values.items[item].is_dequeued() {
            return Err(Stop::Doubt);
        }
        let value = self.values.value(item);
        self.by_value.remove(&value, |other| other as usize == item);
        Ok(())
    }

    /// Mostly a value is dequeued not long after it was enqueued. So what it is, is best
    /// found out at once, while all that has to do with it is at hand.
    fn end_dequeue(&mut self, call: Call, event: &'h Event) -> Result<(), Stop> {
        let (value, priority) = S::read(event)?;
        let values = &self.values;
        // Mostly the texts are the same, which takes less time to see.
        let is_it = |item: u32| {
            let item = item as usize;
            values.enqueued(item).value() == event.value() || values.value(item) == value
        };
        let Some(item) = self.by_value.find(&value, is_it) else {
            let calls = self.unknown.into_iter().chain([call]);
            self.unknown = calls.min_by_key(|call| call.invoked);
            return Ok(());
        };
        if let Some(fault) = self.take(item as usize, priority, call) {
            self.faults.add(fault);
        }
        Ok(())
    }

    /// Somebody got this item, with this priority. Returns what is wrong with that.
    fn take(&mut self, item: usize, priority: S::Priority, call: Call) -> Option<Fault> {
        let known = self.values.items[item];
        if known.priority == priority && !known.is_dequeued() {
            self.values.items[item].take(call.invoked(), Some(call.returned()));
            return None;
        }
        let (values, shown) = (&self.values, self.values.show(item));
        let dequeue = values.operation(call.invoked());
        if known.priority != priority {
            let line = values.enqueued(item).line();
            let text = format!(
                "{shown}, enqueued in line {line}, was dequeued with priority {priority:?}"
            );
            return Some(fault(PRIORITY, text, &[dequeue]));
        }
        let other = values.dequeue(item)?;
        let [first, second] = if dequeue.invoked < other.invoked {
            [dequeue, other]
        } else {
            [other, dequeue]
        };
        let text = format!(
            "{shown} was enqueued once but dequeued twice, by process {} and by process {}",
            first.process(),
            second.process()
        );
        // The first was right.
        self.values.items[item].take(first.invoked, Some(first.completed));
        Some(fault(REPEAT, text, &[first, second]))
    }

    /// A value was dequeued that nobody had begun to enqueue.
    fn never_enqueued(&self, call: Call) -> Result<Fault, HistoryError> {
        let values = &self.values;
        let (value, priority) = S::read(&values.history.events()[call.returned()])?;
        let shown = S::show(&value, priority);
        let dequeue = values.operation(call.invoked());
        let is_it = |item: u32| values.value(item as usize) == value;
        if let Some(item) = self.by_value.find(&value, is_it) {
            let line = values.enqueued(item as usize).line();
            let text = format!("{shown} had been dequeued before its enqueue began in line {line}");
            return Ok(fault(FRESH, text, &[dequeue]));
        }
        let is_it = |enqueue: &Operation<'h>| {
            S::read(enqueue.invoke).is_ok_and(|enqueued| enqueued == (value.clone(), priority))
        };
        // Of these, only one that began in time would explain it, had it happened.
        let failed = values.failed_enqueues().filter(is_it);
        let mut of: Vec<Operation<'h>> = failed
            .filter(|enqueue| enqueue.invoked < call.returned())
            .collect();
        let text = match of.as_slice() {
            [] => format!("{shown} was dequeued, but nobody ever enqueued it"),
            [_] => {
                format!("{shown} was dequeued, but its enqueue had failed and so did not happen")
            }
            _ => format!("{shown} was dequeued, but its enqueues had failed and so did not happen"),
        };
        of.push(dequeue);
        Ok(fault(FRESH, text, &of))
    }

    /// What has not ended is of unknown outcome.
    fn take_open(&mut self) {
        let values = &mut self.values;
        for open in std::mem::take(&mut self.open).into_values().flatten() {
            values.open.push(open.invoked as usize);
            if open.what == What::Dequeue {
                values.pending.push(open.invoked as usize);
            }
        }
        values.open.sort_unstable();
        values.pending.sort_unstable();
    }
}

/// What is wrong with an operation, by the event that began it.
type Fault = (usize, Violation);

/// What is wrong with the last of these operations.
fn fault(kind: Kind, text: String, of: &[Operation<'_>]) -> Fault {
    let last = of.last().map_or(0, |operation| operation.invoked);
    (last, Violation::new(Class::Safety, kind, text, of))
}

/// Of what is wrong, that which is wrong with the operation that was invoked first.
#[derive(Default)]
struct First(Option<Fault>);

impl First {
    fn add(&mut self, fault: Fault) {
        let first = self.0.take().into_iter().chain([fault]);
        self.0 = first.min_by_key(|(invoked, _)| *invoked);
    }
}

fn unknown_operation(event: &Event, model: &'static str, f: &str) -> HistoryError {
    let problem = Problem::UnknownOperation {
        model,
        f: f.to_owned(),
        known: if event.f() == "drain" {
            "enqueue and dequeue: write a drain as the dequeues that it did"
        } else {
            "enqueue and dequeue"
        },
    };
    HistoryError::at(event.line(), problem)
}

#[cfg(test)]
mod tests {
    use crate::history::{Event, EventKind, Header, History, Process, Source};
    use crate::queue::check;

    /// Each event is a process, how the event ends its operation, and the operation.
    fn verdict(events: &[(u64, EventKind, &str, &str)]) -> String {
        let events = events.iter().map(|(process, kind, f, value)| {
            let event = Event::new(0, Process::Number(*process), *kind, f);
            event.with_value(Some(*value).filter(|value| !value.is_empty()))
        });
        let description = "made up".to_owned();
        let header = Header::new("queue", "fifo-queue", Source::Other { description });
        let history = History::new(header, events.collect()).unwrap();
        match check(&history) {
            Ok(verdict) => verdict.to_string().lines().take(2).collect(),
            Err(error) => format!("{error:?}"),
        }
    }

    use EventKind::{Fail, Info, Invoke, Ok as Done};

    #[test]
    fn a_value_may_be_enqueued_again_once_its_enqueue_failed() {
        for in_between in [true, false] {
            let mut events = vec![
                (0, Invoke, "enqueue", "a"),
                (0, Fail, "enqueue", "a"),
                (1, Invoke, "enqueue", "a"),
                (1, Done, "enqueue", "a"),
                (2, Invoke, "dequeue", ""),
                (2, Done, "dequeue", "a"),
            ];
            // Or the first one fails only when all is over.
            if !in_between {
                events[1..].rotate_left(1);
            }
            let found = verdict(&events);
            assert!(found.starts_with("valid: 3 operations"), "{found}");
            events.retain(|(_, kind, ..)| *kind != Fail);
            let found = verdict(&events);
            assert!(found.contains("EnqueuedTwice"), "{found}");
        }
    }

    #[test]
    fn what_was_not_enqueued_in_the_end_cannot_be_dequeued() {
        let mut events = [
            (0, Invoke, "enqueue", "a"),
            (1, Invoke, "dequeue", ""),
            (1, Done, "dequeue", "a"),
            (0, Fail, "enqueue", "a"),
        ];
        let found = verdict(&events);
        assert!(found.contains("its enqueue had failed"), "{found}");
        events[1..].rotate_right(1);
        let found = verdict(&events);
        assert!(found.contains("its enqueue had failed"), "{found}");
        events[1].1 = Info;
        let found = verdict(&events);
        assert!(found.starts_with("valid: 2 operations"), "{found}");
    }

    #[test]
    fn of_two_dequeues_the_first_is_right_whichever_returned_first() {
        let found = verdict(&[
            (0, Invoke, "enqueue", "a"),
            (0, Done, "enqueue", ""),
            (1, Invoke, "dequeue", ""),
            (2, Invoke, "dequeue", ""),
            (2, Done, "dequeue", "a"),
            (1, Done, "dequeue", "a"),
        ]);
        assert!(found.contains("by process 1 and by process 2"), "{found}");
    }
}
