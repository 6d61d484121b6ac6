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

mod explain;
mod suspects;

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
    fn number(self) -> i128 {
        match self {
            Self::Read => 0,
            Self::AddAndGet(number) | Self::GetAndAdd(number) => i128::from(number),
        }
    }

    /// What a sum is after it, and what it tells.
    fn of(self, sum: i128) -> (i128, i128) {
        let after = sum + self.number();
        match self {
            Self::Read | Self::GetAndAdd(_) => (after, sum),
            Self::AddAndGet(_) => (after, after),
        }
    }

    /// The sum before it, of what it told.
    fn met(self, told: i64) -> i128 {
        match self {
            Self::Read | Self::GetAndAdd(_) => i128::from(told),
            Self::AddAndGet(number) => i128::from(told) - i128::from(number),
        }
    }
}

/// How many operations that told a sum are suspected.
const SUSPECTS_MAX: usize = 32;

const NUMBER: &str = "a whole number of 64 bits";

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
        Named {
            kind: self.kind(calls, failure),
            clause: self.clause(calls, failure),
        }
    }

    /// Where nobody subtracts, a sum is too small only when something was not added to.
    fn kind(&self, calls: &[Call<(u32, Ask), i64>], failure: &Failure) -> Kind {
        if self.is_too_small(calls, failure) {
            anomaly::LOST_UPDATE
        } else {
            NON_LINEARIZABLE
        }
    }
}

impl Sequential for Counters<'_> {
    /// Of fewer than 2^32 numbers of 64 bits: it can be told of no more than 64 bits, but be more.
    type State = i128;
    type Input = (u32, Ask);
    type Output = i64;
    type Part = u32;

    fn part(&self, (name, _): &Self::Input) -> u32 {
        *name
    }

    fn initial(&self, _: &u32) -> i128 {
        i128::from(self.initial)
    }

    fn step(
        &self,
        sum: &i128,
        (_, ask): &Self::Input,
        output: Option<&i64>,
    ) -> impl IntoIterator<Item = i128> {
        let (after, result) = ask.of(*sum);
        let is_so = output.is_none_or(|seen| i128::from(*seen) == result);
        is_so.then_some(after)
    }

    fn only_reads(&self, (_, ask): &Self::Input, _: Option<&i64>) -> bool {
        matches!(ask, Ask::Read | Ask::AddAndGet(0) | Ask::GetAndAdd(0))
    }

    const LOOKS_AHEAD: bool = true;

    /// A sum can neither grow by more than all that may be added, nor shrink by more than all
    /// that may be taken away.
    fn can_become<'c>(
        &self,
        sum: &i128,
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
        let change = i128::from(*seen) - *sum;
        let (mut least, mut most) = (0_i128, 0_i128);
        for ((_, ask), _) in changes {
            let number = ask.number();
            least += number.min(0);
            most += number.max(0);
        }
        (least..=most).contains(&change)
    }

    /// Those whose sums cannot be. Else, next to where the search was stuck, one that saw a sum
    /// that all that may have been added does not come to, and two of which the later one saw
    /// less, or too much more.
    fn suspects(&self, calls: &[Call<&Self::Input, &i64>], stuck: usize) -> Vec<Vec<usize>> {
        let tells = |index: &usize| calls[*index].output.is_some();
        let told: Vec<usize> = (0..calls.len()).filter(tells).collect();
        let mut near = nearest(&told, stuck, SUSPECTS_MAX, |index| calls[index].returned);
        let mut guesses = suspects::impossible(calls, i128::from(self.initial));
        guesses.extend(near.iter().map(|index| vec![*index]));
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

    fn states_after(&self, (_, ask): &Self::Input, output: Option<&i64>) -> Option<Vec<i128>> {
        let told = i128::from(*output?);
        let after = match ask {
            Ask::Read | Ask::AddAndGet(_) => told,
            Ask::GetAndAdd(number) => told + i128::from(*number),
        };
        Some(vec![after])
    }

    fn show(&self, sum: &i128) -> String {
        format!("the sum {sum}")
    }
}
