//! Counters: what was added is what is read.
//!
//! # The question
//!
//! Clients `add` to a counter and `read` it. Is there an order of all operations, each at
//! some instant between its invocation and its return, in which every read returns the sum
//! of what was added before?
//!
//! ```text
//! add 1      |-----|
//! add 1        |----------------- ...       no answer: it may count, or not
//! read -> 2            |---|                it did
//! read -> 1                  |---|          and nothing can explain this
//! ```
//!
//! # The answer
//!
//! Counters are independent of each other. The state is one number. Equal additions are in
//! the order of their returns and reads do not branch, so a [search](crate::search) that
//! remembers where it has been takes O(n k) when all add the same, for k additions that
//! overlap, and O(n 2^k) at worst.
//!
//! # Pending operations
//!
//! An addition of unknown outcome may count from any time after its invocation on, or
//! never. That is exact.
//!
//! The twin in `tests/`, which tries all orders, agrees on many small random histories.

use serde::Deserialize;

use crate::anomaly;
use crate::history::{Event, History, HistoryError, Operation};
use crate::keyed::{Keyed, parameters, unknown_operation};
use crate::names::Names;
use crate::object::{self, Object};
use crate::search::{Budget, Call, Failure, NON_LINEARIZABLE, Named, Sequential, nearest};
use crate::verdict::{Kind, Verdict};

/// Decides whether the history is that of counters.
///
/// Operations: `add` with a whole number; `increment` and `decrement`, which are `add` of 1
/// and -1; `read`, whose result is the sum; `add-and-get` and `get-and-add` with a whole
/// number, whose results are the sum after and before. The header's parameters may have
/// `initial`, 0 when left out.
///
/// # Errors
/// When an event is no such operation.
pub fn check(history: &History, budget: &Budget) -> Result<Verdict, HistoryError> {
    object::check::<Counters<'_>>(history, budget)
}

/// What counters there are.
pub(crate) struct Counters<'h> {
    names: Names<'h>,
    initial: i64,
}

#[derive(Deserialize, Default)]
struct Parameters {
    #[serde(default)]
    initial: i64,
}

/// What an operation adds, and whether its result is the sum before that.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Ask {
    Read,
    AddAndGet(i64),
    GetAndAdd(i64),
}

impl Ask {
    fn number(self) -> i64 {
        match self {
            Self::Read => 0,
            Self::AddAndGet(number) | Self::GetAndAdd(number) => number,
        }
    }
}

/// How many operations that told a sum are suspected.
const SUSPECTS_MAX: usize = 32;

const NUMBER: &str = "a whole number";

impl<'h> Object<'h> for Counters<'h> {
    fn of(history: &'h History) -> Result<Self, HistoryError> {
        let Parameters { initial } = parameters(history)?;
        Ok(Self {
            names: Names::default(),
            initial,
        })
    }

    fn call(
        &mut self,
        operation: &Operation<'h>,
    ) -> Result<((u32, Ask), Option<i64>), HistoryError> {
        let event = operation.invoke;
        let mut keyed = Keyed::of(event)?;
        let name = keyed.key.take().unwrap_or_default();
        let number = || keyed.parse::<i64>(event, NUMBER);
        let result = |event: &'h Event| Keyed::of(event)?.parse::<i64>(event, NUMBER);
        let result = || operation.ok().map(result).transpose();
        let (ask, answer) = match event.f() {
            "read" => (Ask::Read, result()?),
            "add" => (Ask::AddAndGet(number()?), None),
            "increment" => (Ask::AddAndGet(1), None),
            "decrement" => (Ask::AddAndGet(-1), None),
            "add-and-get" => (Ask::AddAndGet(number()?), result()?),
            "get-and-add" => (Ask::GetAndAdd(number()?), result()?),
            _ => {
                let known = "add, increment, decrement, read, add-and-get and get-and-add";
                return Err(unknown_operation(event, "counter", known));
            }
        };
        Ok(((self.names.number(name), ask), answer))
    }

    fn named(&self, calls: &[Call<(u32, Ask), i64>], failure: &Failure) -> Named {
        let clause = self.sums_met(calls, failure).map(|(least, most)| {
            if least == most {
                format!("it can only have met the sum {least}")
            } else {
                format!("it can only have met a sum from {least} to {most}")
            }
        });
        Named {
            kind: self.kind(calls, failure),
            clause,
        }
    }

    /// Where nobody subtracts, a sum is too small only when something was not added to.
    fn kind(&self, calls: &[Call<(u32, Ask), i64>], failure: &Failure) -> Kind {
        let refuted = &calls[failure.refuted];
        let (name, ask) = refuted.input;
        let others = || calls.iter().filter(|call| call.input.0 == name);
        let grows = others().all(|call| call.input.1.number() >= 0);
        let before = others().filter(|call| call.returned < Some(refuted.invoked));
        let before = before.filter(|call| call.returned.is_some());
        let least: i64 = before.map(|call| call.input.1.number()).sum();
        let added = match ask {
            Ask::AddAndGet(number) => number,
            Ask::Read | Ask::GetAndAdd(_) => 0,
        };
        match refuted.output {
            Some(sum) if grows && sum < self.initial + least + added => anomaly::LOST_UPDATE,
            _ => NON_LINEARIZABLE,
        }
    }
}

impl Counters<'_> {
    /// The least and the greatest sum that the refuted operation can have met, if it met neither
    /// of these nor one in between: what is listed and had returned before counts, and all else
    /// that had begun may.
    fn sums_met(&self, calls: &[Call<(u32, Ask), i64>], failure: &Failure) -> Option<(i64, i64)> {
        let refuted = &calls[failure.refuted];
        let (name, ask) = refuted.input;
        let met = match ask {
            Ask::Read | Ask::GetAndAdd(_) => refuted.output?,
            Ask::AddAndGet(number) => refuted.output?.checked_sub(number)?,
        };
        let (mut least, mut most) = (self.initial, self.initial);
        for (index, call) in calls.iter().enumerate() {
            let has_begun = refuted.returned.is_none_or(|end| call.invoked <= end);
            if index == failure.refuted || call.input.0 != name || !has_begun {
                continue;
            }
            let is_over = call.returned.is_some_and(|end| end < refuted.invoked);
            let is_certain = is_over && failure.witness.contains(&index);
            let number = call.input.1.number();
            least = least.checked_add(if is_certain { number } else { number.min(0) })?;
            most = most.checked_add(if is_certain { number } else { number.max(0) })?;
        }
        (!(least..=most).contains(&met)).then_some((least, most))
    }
}

impl Sequential for Counters<'_> {
    type State = i64;
    type Input = (u32, Ask);
    type Output = i64;
    type Part = u32;

    fn part(&self, (name, _): &Self::Input) -> u32 {
        *name
    }

    fn initial(&self, _: &u32) -> i64 {
        self.initial
    }

    fn step(
        &self,
        sum: &i64,
        (_, ask): &Self::Input,
        output: Option<&i64>,
    ) -> impl IntoIterator<Item = i64> {
        let (after, result) = match ask {
            Ask::Read => (*sum, *sum),
            Ask::AddAndGet(number) => (sum.wrapping_add(*number), sum.wrapping_add(*number)),
            Ask::GetAndAdd(number) => (sum.wrapping_add(*number), *sum),
        };
        output.is_none_or(|seen| *seen == result).then_some(after)
    }

    fn only_reads(&self, (_, ask): &Self::Input, _: Option<&i64>) -> bool {
        matches!(ask, Ask::Read | Ask::AddAndGet(0) | Ask::GetAndAdd(0))
    }

    const LOOKS_AHEAD: bool = true;

    /// A sum can neither grow by more than all that may be added, nor shrink by more than all
    /// that may be taken away.
    fn can_become<'c>(
        &self,
        sum: &i64,
        _: &Self::Input,
        output: Option<&i64>,
        changes: impl Iterator<Item = (&'c Self::Input, Option<&'c i64>)>,
    ) -> bool
    where
        Self: 'c,
    {
        let Some(seen) = output else {
            return true;
        };
        let change = i128::from(*seen) - i128::from(*sum);
        let (mut least, mut most) = (0_i128, 0_i128);
        for ((_, ask), _) in changes {
            let number = ask.number();
            least += i128::from(number.min(0));
            most += i128::from(number.max(0));
        }
        let (lowest, highest) = (i128::from(*sum) + least, i128::from(*sum) + most);
        if lowest < i128::from(i64::MIN) || highest > i128::from(i64::MAX) {
            // It may have gone round.
            return true;
        }
        (least..=most).contains(&change)
    }

    /// One that saw a sum that all that may have been added does not come to, and two of which
    /// the later one saw less, or too much more.
    fn suspects(&self, calls: &[Call<&Self::Input, &i64>], stuck: usize) -> Vec<Vec<usize>> {
        let tells = |index: &usize| calls[*index].output.is_some();
        let told: Vec<usize> = (0..calls.len()).filter(tells).collect();
        let mut near = nearest(&told, stuck, SUSPECTS_MAX, |index| calls[index].returned);
        let alone = near.iter().map(|index| vec![*index]);
        let mut guesses: Vec<Vec<usize>> = alone.collect();
        near.sort_unstable_by_key(|index| calls[*index].invoked);
        for (place, later) in near.iter().enumerate() {
            let mut before = near[..place].iter().rev();
            let is_before = |other: &&usize| {
                let returned = calls[**other].returned;
                returned.is_some_and(|returned| returned < calls[*later].invoked)
            };
            if let Some(earlier) = before.find(is_before) {
                guesses.push(vec![*earlier, *later]);
            }
        }
        guesses
    }

    fn states_after(&self, (_, ask): &Self::Input, output: Option<&i64>) -> Option<Vec<i64>> {
        let after = match ask {
            Ask::Read | Ask::AddAndGet(_) => *output?,
            Ask::GetAndAdd(number) => output?.wrapping_add(*number),
        };
        Some(vec![after])
    }

    fn show(&self, sum: &i64) -> String {
        format!("the sum {sum}")
    }
}
