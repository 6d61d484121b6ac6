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
//! that overlap before anybody looks. Gets do not branch. Values that no answer begins with
//! are all the same to those who ask, and what does not begin as the next get has it is not
//! gone on from; so appends of which each is another text hardly branch.
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

use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::anomaly;
use crate::history::{History, HistoryError, Operation};
use crate::keyed::{Keyed, parameters, text, unknown_operation};
use crate::names::Names;
use crate::object::{self, Object};
use crate::register::{self, Act};
use crate::search::{Budget, Call, Failure, Kept, NON_LINEARIZABLE, Named, Others, Sequential};
use crate::verdict::{Kind, Verdict};
use crate::writers::Writers;

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

/// What a key has, as far as it matters.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Held {
    Value(Value),
    /// A value that no answer begins with. So nobody sees it, whatever is appended.
    Unseen,
}

pub(crate) struct Map<'h> {
    keys: Names<'h>,
    /// For each key the values that answers tell of.
    told: Vec<BTreeSet<Arc<str>>>,
    /// What absent keys are taken for.
    absent: Value,
    /// Whether values that nobody saw are told apart.
    is_plain: bool,
    writers: Writers,
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
            told: Vec::new(),
            absent: parameters.absent.and_then(|absent| value(absent.get())),
            is_plain: false,
            writers: Writers::default(),
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
        let (ask, answer) = match event.f() {
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
        let is_alone = matches!(event.f(), "get" | "delete");
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
        let key = self.keys.number(key);
        if ask != Ask::Get {
            self.writers.note(operation);
        }
        self.tell(key, &ask, answer.as_ref());
        Ok(((key, ask), answer))
    }

    fn plain(&self) -> Option<Self> {
        Some(Self {
            keys: Names::default(),
            told: Vec::new(),
            absent: self.absent.clone(),
            is_plain: true,
            writers: Writers::default(),
        })
    }

    /// What was written only later is told with who wrote it.
    fn named(&self, calls: &[Call<(u32, Ask), Answer>], failure: &Failure) -> Named {
        let refuted = &calls[failure.refuted];
        self.writers.named(self.kind(calls, failure), refuted, || {
            let met = met(refuted)?;
            let shown = met.as_ref().map(|text| format!("`{text}`"));
            let shown = shown.unwrap_or_else(|| "no value".to_owned());
            Some((shown, writes(calls, refuted.input.0, met)))
        })
    }

    fn kind(&self, calls: &[Call<(u32, Ask), Answer>], failure: &Failure) -> Kind {
        kind(self, calls, failure)
    }
}

impl Map<'_> {
    /// Notes the value that an answer tells of, if it does.
    fn tell(&mut self, key: u32, ask: &Ask, answer: Option<&Answer>) {
        let told = match (ask, answer) {
            (_, Some(Answer::Got(value))) => value.clone(),
            // Whether it was the old one, though nobody may know the answer.
            (Ask::CompareAndSet { old, .. }, _) => old.clone(),
            _ => None,
        };
        let key = key as usize;
        if self.told.len() <= key {
            self.told.resize_with(key + 1, BTreeSet::new);
        }
        self.told[key].extend(told);
    }

    /// This value, if anybody may see it, or what becomes of it.
    fn held(&self, key: u32, value: Value) -> Held {
        let Some(text) = &value else {
            return Held::Value(None);
        };
        if self.is_plain {
            return Held::Value(value);
        }
        let told = &self.told[key as usize];
        let first = told
            .range::<str, _>((Bound::Included(text.as_ref()), Bound::Unbounded))
            .next();
        let is_seen = first.is_some_and(|told| told.starts_with(text.as_ref()));
        if is_seen {
            Held::Value(value)
        } else {
            Held::Unseen
        }
    }

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

/// Where values get longer, nobody can tell which of them there have been.
fn kind(map: &Map<'_>, calls: &[Call<(u32, Ask), Answer>], failure: &Failure) -> Kind {
    let refuted = &calls[failure.refuted];
    let (key, ask) = &refuted.input;
    if refuted.output == Some(Answer::Compared(false)) {
        return anomaly::SPURIOUS_FAILURE;
    }
    let Some(seen) = met(refuted) else {
        return NON_LINEARIZABLE;
    };
    let mut of_key = calls.iter().filter(|call| call.input.0 == *key);
    if of_key.any(|call| matches!(call.input.1, Ask::Append(_))) {
        return NON_LINEARIZABLE;
    }
    let writes = writes(calls, *key, seen);
    let was_first = *seen == map.absent;
    match ask {
        Ask::CompareAndSet { .. } => anomaly::wrong_comparison(refuted, was_first, writes),
        _ => anomaly::wrong_read(refuted, was_first, writes),
    }
}

/// The value that a call found, or that its comparison held for.
fn met(call: &Call<(u32, Ask), Answer>) -> Option<&Value> {
    match (&call.input.1, &call.output) {
        (Ask::Get, Some(Answer::Got(value))) => Some(value),
        (Ask::CompareAndSet { .. }, Some(Answer::Compared(false))) => None,
        (Ask::CompareAndSet { old, .. }, _) => Some(old),
        _ => None,
    }
}

/// The calls that may have written this value to the key.
fn writes<'c>(
    calls: &'c [Call<(u32, Ask), Answer>],
    key: u32,
    value: &'c Value,
) -> impl Iterator<Item = &'c Call<(u32, Ask), Answer>> {
    let of_key = calls.iter().filter(move |call| call.input.0 == key);
    of_key.filter(move |call| match &call.input.1 {
        Ask::Put(put) => put == value,
        Ask::CompareAndSet { new, .. } => {
            new == value && call.output != Some(Answer::Compared(false))
        }
        Ask::Get | Ask::Append(_) => false,
    })
}

impl Sequential for Map<'_> {
    type State = Held;
    type Input = (u32, Ask);
    type Output = Answer;
    type Part = u32;

    fn part(&self, (key, _): &Self::Input) -> u32 {
        *key
    }

    fn initial(&self, key: &u32) -> Held {
        self.held(*key, self.absent.clone())
    }

    fn step(
        &self,
        state: &Held,
        (key, ask): &Self::Input,
        output: Option<&Answer>,
    ) -> impl IntoIterator<Item = Held> {
        let has = |value: &Value| matches!(state, Held::Value(held) if held == value);
        match (ask, output) {
            (Ask::Get, Some(Answer::Got(value))) => has(value).then(|| state.clone()),
            (Ask::Get, _) => Some(state.clone()),
            (Ask::Put(value), _) => Some(self.held(*key, value.clone())),
            (Ask::Append(more), _) => Some(match state {
                Held::Unseen => Held::Unseen,
                Held::Value(value) => {
                    let before = value.as_deref().unwrap_or_default();
                    self.held(*key, Some(Arc::from([before, more].concat())))
                }
            }),
            (Ask::CompareAndSet { old, new }, answer) => {
                let matches = has(old);
                if matches!(answer, Some(Answer::Compared(told)) if *told != matches) {
                    return None;
                }
                Some(if matches {
                    self.held(*key, new.clone())
                } else {
                    state.clone()
                })
            }
        }
    }

    fn only_reads(&self, (_, ask): &Self::Input, output: Option<&Answer>) -> bool {
        *ask == Ask::Get || output == Some(&Answer::Compared(false))
    }

    fn states_after(&self, (key, ask): &Self::Input, output: Option<&Answer>) -> Option<Vec<Held>> {
        let after = match (ask, output) {
            (Ask::Put(value), _) | (Ask::Get, Some(Answer::Got(value))) => value,
            (Ask::CompareAndSet { new, .. }, Some(Answer::Compared(true))) => new,
            _ => return None,
        };
        Some(vec![self.held(*key, after.clone())])
    }

    fn order(&self, calls: &[Call<&Self::Input, &Answer>]) -> Option<Vec<usize>> {
        register::order(INITIAL, &acts(calls, &self.absent)?)
    }

    fn suspects(&self, calls: &[Call<&Self::Input, &Answer>], stuck: usize) -> Vec<Vec<usize>> {
        let acts = acts(calls, &self.absent);
        acts.map_or_else(Vec::new, |acts| register::suspects(INITIAL, &acts, stuck))
    }

    fn what_matters(
        &self,
        calls: &[Call<&Self::Input, &Answer>],
        others: Others,
    ) -> Vec<Kept<Answer>> {
        let kept = acts(calls, &self.absent).map(|acts| register::what_matters(&acts, others));
        let kept = kept.unwrap_or_else(|| (0..calls.len()).collect());
        kept.into_iter().map(Kept::as_it_is).collect()
    }

    const LOOKS_AHEAD: bool = true;

    /// What is appended stays at its place until the value is replaced, by one that what is
    /// read begins with.
    fn can_become<'c>(
        &self,
        state: &Held,
        (_, ask): &Self::Input,
        output: Option<&Answer>,
        changes: impl Iterator<Item = (&'c Self::Input, Option<&'c Answer>)>,
    ) -> bool
    where
        Self: 'c,
    {
        let (Ask::Get, Some(Answer::Got(seen))) = (ask, output) else {
            return true;
        };
        let contains = |text: &str| seen.as_ref().is_some_and(|seen| seen.contains(text));
        let begins = |value: &Value| match (value, seen) {
            (None, _) => true,
            (Some(value), Some(seen)) => seen.starts_with(value.as_ref()),
            (Some(_), None) => false,
        };
        if matches!(state, Held::Value(value) if begins(value)) {
            return true;
        }
        // It must be replaced, and what is appended then must be long enough.
        let length = |value: &Value| value.as_ref().map_or(0, |text| text.len());
        let (mut start, mut more) = (None, 0);
        for ((_, ask), output) in changes {
            match ask {
                Ask::Put(value) if begins(value) => start = start.max(Some(length(value))),
                Ask::CompareAndSet { new, .. }
                    if output != Some(&Answer::Compared(false)) && begins(new) =>
                {
                    start = start.max(Some(length(new)));
                }
                Ask::Append(text) if contains(text) => more += text.len(),
                _ => {}
            }
        }
        start.is_some_and(|start| start + more >= length(seen))
    }

    fn heap_bytes(&self, state: &Held) -> usize {
        match state {
            Held::Value(Some(text)) => text.len() + 2 * size_of::<usize>(),
            _ => 0,
        }
    }

    fn show(&self, state: &Held) -> String {
        match state {
            Held::Value(None) => "no value".to_owned(),
            Held::Value(Some(value)) => format!("the value {value:?}"),
            Held::Unseen => "a value that nobody saw".to_owned(),
        }
    }
}

/// The number of the value that a key has at first.
const INITIAL: u32 = 0;

/// The calls as those of a register; none where values are appended to.
fn acts(calls: &[Call<&(u32, Ask), &Answer>], absent: &Value) -> Option<Vec<Act>> {
    let mut numbers: FxHashMap<&Value, u32> = FxHashMap::from_iter([(absent, INITIAL)]);
    let mut acts = Vec::with_capacity(calls.len());
    for call in calls {
        let mut number = |value| {
            let next = numbers.len() as u32;
            *numbers.entry(value).or_insert(next)
        };
        let mut act = Act::default();
        match (&call.input.1, call.output) {
            (Ask::Append(_), _) => return None,
            (Ask::Get, Some(Answer::Got(value))) => act.saw = Some(number(value)),
            (Ask::Get, _) => {}
            (Ask::Put(value), _) => act.writes = Some(number(value)),
            (Ask::CompareAndSet { old, .. }, Some(Answer::Compared(false))) => {
                act.refused = Some(number(old));
            }
            (Ask::CompareAndSet { old, new }, answer) => {
                act.expects = Some(number(old));
                act.saw = answer.and(act.expects);
                act.writes = Some(number(new));
            }
        }
        acts.push(act.at(call));
    }
    Some(acts)
}
