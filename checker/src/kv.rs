//! A map from keys to values, without revisions.
//!
//! # The question
//!
//! Clients `get`, `put`, `append`, `delete` and `cas` keys. Is there an order of all
//! operations, each at some instant between its invocation and its return, that a map can
//! do?
//!
//! ```text
//! put a x      |-----|
//! append a y            |---------|
//! append a z              |-----|
//! get a -> xyz                       |---|      y was appended first
//! get a -> xzy                              |---|      and stays first: no order
//! ```
//!
//! # The answer
//!
//! Keys are independent of each other, so each is checked by itself. The state of a key is
//! its value, or that it is absent, and a [search](crate::search) remembers where it has
//! been: O(n 2^k) at worst for puts, and O(n k!) for appends, for k changes of one key
//! that overlap. Gets do not branch.
//!
//! etcd's own requests have revisions, and with them the check is linear: that is
//! [`etcd`](crate::etcd).
//!
//! # Pending operations
//!
//! An operation that failed did not happen. A change of unknown outcome may take effect at
//! any time after its invocation, or never; a get of unknown outcome says nothing. All
//! that is exact.
//!
//! The twin in `tests/`, which tries all orders, agrees on many small random histories.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::history::{History, HistoryError, Operation};
use crate::keyed::{Keyed, parameters, text, unknown_operation};
use crate::names::Names;
use crate::object::{self, Object};
use crate::search::{Budget, Sequential};
use crate::verdict::Verdict;

/// Decides whether the history is that of a map.
///
/// Operations have `{"key": .., "value": ..}`: `put` and `append` with a value, `get` and
/// `delete` without, `cas` with a list of the old and the new one. The result of `get` is
/// the value, or null when there is none; that of `cas` is `false` when the key had
/// another value.
///
/// # Errors
/// When an event is no such operation.
pub fn check(history: &History, budget: &Budget) -> Result<Verdict, HistoryError> {
    object::check::<Map<'_>>(history, budget)
}

/// A value, or none: the key is absent.
pub(crate) type Value = Option<Arc<str>>;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Ask {
    Get,
    Put(Value),
    Append(Arc<str>),
    CompareAndSet { old: Value, new: Value },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Answer {
    Got(Value),
    Compared(bool),
}

pub(crate) struct Map<'h> {
    keys: Names<'h>,
    /// What absent keys are taken for.
    absent: Value,
}

#[derive(Deserialize, Default)]
struct Parameters<'h> {
    #[serde(borrow, default)]
    absent: Option<&'h RawValue>,
}

impl<'h> Object<'h> for Map<'h> {
    fn of(history: &'h History) -> Result<Self, HistoryError> {
        let parameters: Parameters<'h> = parameters(history)?;
        Ok(Self {
            keys: Names::default(),
            absent: parameters.absent.and_then(|absent| value(absent.get())),
        })
    }

    fn call(
        &mut self,
        operation: &Operation<'h>,
    ) -> Result<((u32, Ask), Option<Answer>), HistoryError> {
        const KNOWN: &str = "get, put, append, delete and cas";
        let event = operation.invoke;
        let keyed = Keyed::of(event)?;
        let ok = operation.ok().map(Keyed::of).transpose()?;
        let (ask, answer) = match event.f.as_ref() {
            "get" => {
                let got = ok.map(|ok| Answer::Got(self.or_absent(value(ok.value))));
                (Ask::Get, got)
            }
            "put" => (Ask::Put(self.or_absent(value(keyed.value))), None),
            "append" => (Ask::Append(value(keyed.value).unwrap_or_default()), None),
            "delete" => (Ask::Put(self.absent.clone()), None),
            "cas" => {
                let (old, new): (&RawValue, &RawValue) =
                    keyed.parse(event, "a list of the old and the new value")?;
                let old = self.or_absent(value(old.get()));
                let new = self.or_absent(value(new.get()));
                let answer = ok.map(|ok| Answer::Compared(!ok.is_false()));
                (Ask::CompareAndSet { old, new }, answer)
            }
            _ => return Err(unknown_operation(event, "kv", KNOWN)),
        };
        let is_alone = matches!(event.f.as_ref(), "get" | "delete");
        let key = match keyed.key {
            Some(key) => key,
            // A key alone.
            None if is_alone => keyed.parse::<crate::history::Text<'h>>(event, "a key")?.0,
            None => {
                let expected = "an object with a \"key\" and a \"value\"";
                return Err(keyed
                    .parse::<NoValue>(event, expected)
                    .err()
                    .unwrap_or_else(|| unknown_operation(event, "kv", KNOWN)));
            }
        };
        Ok(((self.keys.number(key), ask), answer))
    }
}

impl Map<'_> {
    fn or_absent(&self, value: Value) -> Value {
        value.or_else(|| self.absent.clone())
    }
}

/// What nothing can be parsed as that is no object.
#[derive(Deserialize)]
struct NoValue {
    #[serde(rename = "key")]
    _key: String,
}

fn value(json: &str) -> Value {
    text(json).map(Arc::from)
}

impl Sequential for Map<'_> {
    type State = Value;
    type Input = (u32, Ask);
    type Output = Answer;
    type Part = u32;

    fn part(&self, (key, _): &Self::Input) -> u32 {
        *key
    }

    fn initial(&self, _: &u32) -> Value {
        self.absent.clone()
    }

    fn step(
        &self,
        state: &Value,
        (_, ask): &Self::Input,
        output: Option<&Answer>,
    ) -> impl IntoIterator<Item = Value> {
        match (ask, output) {
            (Ask::Get, Some(Answer::Got(value))) => (value == state).then(|| state.clone()),
            (Ask::Get, _) => Some(state.clone()),
            (Ask::Put(value), _) => Some(value.clone()),
            (Ask::Append(more), _) => {
                let before = state.as_deref().unwrap_or_default();
                Some(Some(Arc::from([before, more].concat())))
            }
            (Ask::CompareAndSet { old, new }, Some(Answer::Compared(matched))) => {
                let next = if *matched { new } else { state };
                (*matched == (old == state)).then(|| next.clone())
            }
            (Ask::CompareAndSet { old, new }, _) => {
                Some(if old == state { new } else { state }.clone())
            }
        }
    }

    fn only_reads(&self, (_, ask): &Self::Input, output: Option<&Answer>) -> bool {
        *ask == Ask::Get || output == Some(&Answer::Compared(false))
    }

    fn heap_bytes(&self, state: &Value) -> usize {
        state
            .as_ref()
            .map_or(0, |text| text.len() + 2 * size_of::<usize>())
    }

    fn show(&self, state: &Value) -> String {
        match state {
            None => "no value".to_owned(),
            Some(value) => format!("the value {value:?}"),
        }
    }
}
