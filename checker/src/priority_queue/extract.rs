//! The values of a priority queue.

use std::borrow::Cow;

use serde::Deserialize;

use crate::history::{Event, History, HistoryError, Text, plain_pair};
use crate::keyed::parameters;
use crate::queue::{Shape, Ties, Values};
use crate::verdict::Violation;

#[derive(Deserialize, Default)]
struct Parameters {
    #[serde(default)]
    ties: Ties,
}

/// Values of which the smallest number leaves first.
pub(super) struct Prioritized;

pub(super) type Item = crate::queue::Item<i64>;

impl Shape for Prioritized {
    type Priority = i64;

    const MODEL: &'static str = "priority-queue";

    /// `[value, priority]`
    fn read(event: &Event) -> Result<(Cow<'_, str>, i64), HistoryError> {
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

    /// `` `a` (priority 3) ``
    fn show(value: &str, priority: i64) -> String {
        format!("`{value}` (priority {priority})")
    }
}

/// A queue's history, by value. Instants are indices of events.
pub(super) struct Queue<'h> {
    /// The items are in the order of their priorities, and then of their invocations.
    pub(super) values: Values<'h, Prioritized>,
    pub(super) ties: Ties,
}

impl<'h> Queue<'h> {
    /// Sorts the operations out, and finds the violations that show on the way.
    pub(super) fn of(history: &'h History) -> Result<(Self, Option<Violation>), HistoryError> {
        let Parameters { ties } = parameters(history)?;
        let (mut values, fault) = Values::of(history)?;
        // There are few priorities, so sorting takes few steps.
        values.items.sort_by_key(|item: &Item| item.priority);
        Ok((Self { values, ties }, fault))
    }

    /// How many events there are.
    pub(super) fn events(&self) -> usize {
        self.values.history.events().len()
    }
}
