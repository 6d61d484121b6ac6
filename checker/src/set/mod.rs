//! Sets: what was added and not removed is inside.
//!
//! # The question
//!
//! Clients `add` elements to a set, `remove` them, ask whether one is inside (`contains`),
//! and `read` the whole. Is there an order of all operations, each at some instant between
//! its invocation and its return, that a set can do?
//!
//! ```text
//! add a      |-----|
//! add b          |-----|
//! read -> a         |-----|                b came after it
//! read -> b                 |-----|        a had been read, and nobody removed it
//! ```
//!
//! # The answer
//!
//! Elements are independent of each other as long as nobody reads the whole: each is
//! checked by itself, and its state is one bit. Where somebody does, the state is the whole
//! set. A [search](crate::search) remembers where it has been: O(n 2^k) at worst for k
//! changes that overlap, since reads do not branch, and each read compares the whole set.
//!
//! # Pending operations
//!
//! A change of unknown outcome may take effect at any time after its invocation, or never;
//! a read of unknown outcome says nothing. All that is exact.
//!
//! # Evidence
//!
//! What is wrong with one look is most often wrong about an element alone, or about two: few
//! operations prove it, however many there are (see `set/suspects.rs`).
//!
//! The twin in `tests/`, which tries all orders, agrees on many small random histories.

mod aspects;
mod elements;
mod step;
mod suspects;
mod view;

use std::borrow::Cow;

use rustc_hash::FxHashSet;
use serde_json::value::RawValue;

use crate::history::{Event, History, HistoryError, Operation};
use crate::keyed::{Keyed, text, unknown_operation, yes_or_no};
use crate::names::Names;
use crate::object::{self, Object};
use crate::search::{Budget, Call, Failure, NON_LINEARIZABLE, Named};
use crate::verdict::Verdict;

pub(crate) use aspects::of_elements;
pub(crate) use elements::Elements;
pub(crate) use step::{Answer, Ask, can_become, changed, kept, show, show_element, whole_act};
pub(crate) use suspects::{Act, Timed, suspects, what_matters};
pub(crate) use view::{Said, WrongView, wrong_view};

/// Decides whether the history is that of sets.
///
/// Operations: `add` and `remove` with an element, whose result may be `false` when it was
/// inside, or not inside, already; `contains` with an element, whose result is `true` or
/// `false`; `read`, whose result is the list of all elements.
///
/// # Errors
/// When an event is no such operation.
pub fn check(history: &History, budget: &Budget) -> Result<Verdict, HistoryError> {
    object::check::<Sets<'_>>(history, budget)
}

/// What sets there are, and what may be in them.
pub(crate) struct Sets<'h> {
    names: Names<'h>,
    elements: Names<'h>,
    /// Sets that somebody reads as a whole.
    read_as_whole: FxHashSet<u32>,
}

impl<'h> Object<'h> for Sets<'h> {
    fn of(history: &'h History) -> Result<Self, HistoryError> {
        let mut sets = Self {
            names: Names::default(),
            elements: Names::default(),
            read_as_whole: FxHashSet::default(),
        };
        for event in history.events() {
            if event.f() == "read" && event.kind() == crate::history::EventKind::Invoke {
                let name = Keyed::of(event)?.key.unwrap_or_default();
                let name = sets.names.number(name);
                sets.read_as_whole.insert(name);
            }
        }
        Ok(sets)
    }

    fn call(
        &mut self,
        operation: &Operation<'h>,
    ) -> Result<((u32, Ask), Option<Answer>), HistoryError> {
        let event = operation.invoke;
        let mut keyed = Keyed::of(event)?;
        let name = self.names.number(keyed.key.take().unwrap_or_default());
        let mut element = || {
            let text = keyed.text().unwrap_or(Cow::Borrowed("null"));
            self.elements.number(text)
        };
        let ask = match event.f() {
            "add" => Ask::Add(element()),
            "remove" => Ask::Remove(element()),
            "contains" => Ask::Contains(element()),
            "read" => Ask::Read,
            _ => {
                let known = "add, remove, contains and read";
                return Err(unknown_operation(event, "set", known));
            }
        };
        let answer = match operation.ok() {
            Some(ok) if ask == Ask::Read => Some(self.whole(ok)?),
            Some(ok) => {
                let told = Keyed::of(ok)?.value;
                yes_or_no(keyed.value, told, ok)?.map(Answer::Was)
            }
            None => None,
        };
        Ok(((name, ask), answer))
    }

    fn named(&self, calls: &[Call<(u32, Ask), Answer>], failure: &Failure) -> Named {
        let wrong = Self::wrong(calls, failure);
        Named {
            kind: wrong.as_ref().map_or(NON_LINEARIZABLE, |wrong| wrong.kind),
            clause: wrong.and_then(|wrong| wrong.clause(|element| self.elements.text(element))),
        }
    }
}

impl<'h> Sets<'h> {
    /// What the refuted call shows wrongly.
    fn wrong(calls: &[Call<(u32, Ask), Answer>], failure: &Failure) -> Option<WrongView> {
        let set = calls[failure.refuted].input.0;
        wrong_view(calls, failure, |call| {
            let was = match &call.output {
                Some(Answer::Was(was)) => Some(*was),
                _ => None,
            };
            let said = match (call.input.1, &call.output) {
                (Ask::Add(element), _) => Said::Change(element, true, was),
                (Ask::Remove(element), _) => Said::Change(element, false, was),
                (Ask::Contains(element), Some(Answer::Was(was))) => Said::Of(element, *was),
                (Ask::Read, Some(Answer::Whole(whole))) => Said::Whole(whole),
                (Ask::Read, Some(Answer::Twice)) => Said::Twice,
                _ => Said::Nothing,
            };
            (call.input.0 == set).then_some(said)
        })
    }

    /// A list of elements.
    fn whole(&mut self, event: &'h Event) -> Result<Answer, HistoryError> {
        let list = list(event)?;
        Ok(whole(list, |text| self.elements.number(text)))
    }
}

/// What a list of all elements says. One that has an element twice is of no set.
pub(crate) fn whole<'h>(
    list: Vec<Cow<'h, str>>,
    mut number: impl FnMut(Cow<'h, str>) -> u32,
) -> Answer {
    let mut elements = Elements::default();
    for text in list {
        let number = number(text);
        if elements.contains(number) {
            return Answer::Twice;
        }
        elements.toggle(number);
    }
    Answer::Whole(elements)
}

/// The elements of a list that an event has; none if it is null.
pub(crate) fn list(event: &Event) -> Result<Vec<Cow<'_, str>>, HistoryError> {
    let list: Option<Vec<&RawValue>> = Keyed::of(event)?.parse(event, "a list of all elements")?;
    let texts = list.unwrap_or_default().into_iter().map(RawValue::get);
    Ok(texts
        .map(|raw| text(raw).unwrap_or(Cow::Borrowed("null")))
        .collect())
}
