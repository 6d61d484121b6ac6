//! Registers: what was written last is read, and may be compared and set.
//!
//! # The question
//!
//! Clients `read` and `write` a register, or one for each key, and compare and set it
//! (`cas`). Is there an order of all operations, each at some instant between its
//! invocation and its return, in which every read returns what was written last?
//!
//! ```text
//! write 1  |-----|
//! write 2            |-----|
//! read -> 1                    |-----|     stale: 2 had replaced 1 before
//! ```
//!
//! # The answer
//!
//! Registers are independent of each other, so each key is checked by itself. Where each value
//! is written once an order is found without a search, if there is one (see `zones`):
//! O(n log n). Otherwise the state is one value, and a [search](crate::search) through the orders of writes that overlap
//! remembers where it has been: O(n 2^k) at worst, for k writes that overlap, since reads
//! and compares that fail do not branch.
//!
//! # Pending operations
//!
//! An operation that failed did not happen. A `write` or `cas` of unknown outcome may take
//! effect at any time after its invocation, or never; a read of unknown outcome says
//! nothing. All that is exact.
//!
//! # Evidence
//!
//! Where each value is written once, two values of which each comes before the other prove
//! that there is no order, and four operations show it (see `suspects`). Where a value is
//! written several times, all who may have written it are needed too.
//!
//! The twin in `tests/`, which tries all orders, agrees on many small random histories.

mod extract;
mod overwritten;
mod suspects;
mod zones;

use crate::history::{History, HistoryError};
use crate::object;
use crate::search::{Budget, Call, Kept, Others, Sequential};
use crate::verdict::Verdict;

pub(crate) use extract::Registers;
pub(crate) use suspects::{Act, suspects, what_matters};
pub(crate) use zones::order;

/// Decides whether the history is that of registers.
///
/// Operations: `write` with a value (string, whole number or null); `read`, whose result
/// is a value; `cas` with `[old, new]`, whose result is `false` if the register did not
/// hold `old`. With several registers, values are objects `{"key": .., "value": ..}`.
///
/// # Errors
/// When an event is no such operation.
pub fn check(history: &History, budget: &Budget) -> Result<Verdict, HistoryError> {
    object::check::<Registers<'_>>(history, budget)
}

/// A register that is asked for something. Values are numbers of texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Ask {
    Read,
    Write(u32),
    CompareAndSet { old: u32, new: u32 },
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Answer {
    Read(u32),
    Compared(bool),
}

impl Sequential for Registers<'_> {
    type State = u32;
    type Input = (u32, Ask);
    type Output = Answer;
    type Part = u32;

    fn part(&self, (key, _): &Self::Input) -> u32 {
        *key
    }

    fn initial(&self, _: &u32) -> u32 {
        self.initial
    }

    fn step(
        &self,
        state: &u32,
        (_, ask): &Self::Input,
        output: Option<&Answer>,
    ) -> impl IntoIterator<Item = u32> {
        match (ask, output) {
            (Ask::Read, Some(Answer::Read(value))) => (value == state).then_some(*state),
            (Ask::Read, _) => Some(*state),
            (Ask::Write(value), _) => Some(*value),
            (Ask::CompareAndSet { old, new }, Some(Answer::Compared(matched))) => {
                let next = if *matched { *new } else { *state };
                (*matched == (old == state)).then_some(next)
            }
            (Ask::CompareAndSet { old, new }, _) => Some(if old == state { *new } else { *state }),
        }
    }

    fn only_reads(&self, (_, ask): &Self::Input, output: Option<&Answer>) -> bool {
        *ask == Ask::Read || output == Some(&Answer::Compared(false))
    }

    fn states_after(&self, (_, ask): &Self::Input, output: Option<&Answer>) -> Option<Vec<u32>> {
        let after = match (ask, output) {
            (Ask::Write(value), _) | (Ask::Read, Some(Answer::Read(value))) => *value,
            (Ask::CompareAndSet { new, .. }, Some(Answer::Compared(true))) => *new,
            _ => return None,
        };
        Some(vec![after])
    }

    const PREFERS: bool = true;

    /// What leaves the value that `next` needs goes first; then what compares with the value that
    /// is there, for it finds that one seldom. Whoever writes can do so at any time.
    fn preference(
        &self,
        state: &u32,
        (input, _): (&Self::Input, Option<&Answer>),
        (next, next_output): (&Self::Input, Option<&Answer>),
    ) -> u8 {
        let needed = match (next.1, next_output) {
            (Ask::Read, Some(Answer::Read(value))) => Some(*value),
            (Ask::CompareAndSet { old, .. }, Some(Answer::Compared(true))) => Some(old),
            _ => None,
        };
        let is_needed = |value| needed == Some(value) && value != *state;
        match input.1 {
            Ask::CompareAndSet { old, new } if old == *state && is_needed(new) => 0,
            Ask::Write(value) if is_needed(value) => 0,
            Ask::CompareAndSet { .. } => 1,
            Ask::Read | Ask::Write(_) => 2,
        }
    }

    fn order(&self, calls: &[Call<&Self::Input, &Answer>]) -> Option<Vec<usize>> {
        order(self.initial, &acts(calls))
    }

    fn suspects(&self, calls: &[Call<&Self::Input, &Answer>], stuck: usize) -> Vec<Vec<usize>> {
        suspects(self.initial, &acts(calls), stuck)
    }

    fn what_matters(
        &self,
        calls: &[Call<&Self::Input, &Answer>],
        others: Others,
    ) -> Vec<Kept<Answer>> {
        let kept = what_matters(&acts(calls), others).into_iter();
        kept.map(Kept::as_it_is).collect()
    }

    fn show(&self, state: &u32) -> String {
        format!("the value {}", self.show_value(*state))
    }
}

fn acts(calls: &[Call<&(u32, Ask), &Answer>]) -> Vec<Act> {
    let act = |call: &Call<&(u32, Ask), &Answer>| {
        let (_, ask) = *call.input;
        let mut act = Act {
            writes: extract::writes(ask, call.output.copied()),
            ..Act::default()
        };
        match (ask, call.output) {
            (Ask::Read, Some(Answer::Read(value))) => act.saw = Some(*value),
            (Ask::CompareAndSet { old, .. }, Some(Answer::Compared(false))) => {
                act.refused = Some(old);
            }
            (Ask::CompareAndSet { old, .. }, answer) => {
                act.expects = Some(old);
                act.saw = answer.map(|_| old);
            }
            _ => {}
        }
        act.at(call)
    };
    calls.iter().map(act).collect()
}
