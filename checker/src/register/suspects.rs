//! Which few operations of a register may prove that there is no order, and which cannot
//! matter to them.
//!
//! Where each value is written once, all operations on a value come right after it was
//! written, and those on the next value after all of them. So one value comes before another
//! as soon as any operation on the one returned before any on the other began; and there is
//! no order when each of two values comes before the other (Gibbons and Korach 1997). Four
//! operations show that at most: of either value the first to return and the last to begin.
//!
//! ```text
//! write 1  |-----|                                 1 before 2: this one, ..
//! read -> 2            |-----|                     .. and this one
//! read -> 2               |------|                 2 before 1: this one, ..
//! read -> 1                          |-----|       .. and this one
//! ```

use rustc_hash::{FxHashMap, FxHashSet};

use super::overwritten::Overwritten;

use crate::search::{Call, Others, nearest};

/// An operation, as far as it is known. Values are numbers.
#[derive(Clone, Copy, Default)]
pub(crate) struct Act {
    /// The value that it certainly found.
    pub(crate) saw: Option<u32>,
    /// The value that it certainly did not find.
    pub(crate) refused: Option<u32>,
    /// The value that it leaves, if it took effect, ..
    pub(crate) writes: Option<u32>,
    /// .. and the one that it must find for that, if any.
    pub(crate) expects: Option<u32>,
    pub(crate) invoked: u64,
    pub(crate) returned: Option<u64>,
}

impl Act {
    pub(crate) fn at<I, O>(self, call: &Call<I, O>) -> Self {
        Self {
            invoked: call.invoked,
            returned: call.returned,
            ..self
        }
    }
}

/// How many answers are suspected, those next to where the search was stuck.
const LOOKS_MAX: usize = 64;

/// How many answers are suspected that show something which had been overwritten.
const PLAIN_MAX: usize = 16;

/// Where more than so many wrote it, only near ones are suspected.
const PLAIN_WRITERS_MAX: usize = 64;

/// With how many other values each value that was seen may be in contradiction.
const OTHERS_MAX: usize = 16;

/// The operations on a value that returned.
#[derive(Clone, Copy, Default)]
struct OnValue {
    /// The first to return, and when.
    first: Option<(u64, usize)>,
    /// The last to begin, and when.
    last: Option<(u64, usize)>,
    writers: usize,
}

/// Guesses for a register with this value at first.
pub(crate) fn suspects(initial: u32, calls: &[Act], stuck: usize) -> Vec<Vec<usize>> {
    let mut on: FxHashMap<u32, OnValue> = FxHashMap::default();
    for (index, call) in calls.iter().enumerate() {
        if let Some(value) = call.writes {
            on.entry(value).or_default().writers += 1;
        }
        let Some(returned) = call.returned else {
            continue;
        };
        for value in call.saw.into_iter().chain(call.writes) {
            let on = on.entry(value).or_default();
            on.first = on.first.into_iter().chain([(returned, index)]).min();
            on.last = on.last.into_iter().chain([(call.invoked, index)]).max();
        }
    }
    // It was there before anything else.
    on.entry(initial).or_default().writers += 1;
    let is_initial = |value: u32| value == initial;

    let looks: Vec<usize> = (0..calls.len())
        .filter(|index| calls[*index].returned.is_some() && calls[*index].saw.is_some())
        .collect();
    // Who wrote whatever was there before is the better witness: nothing need have led to it.
    let by_writes = |act: &Act| act.writes.is_some() && act.saw.is_none() && act.expects.is_none();
    let by_writes = Overwritten::by(calls, by_writes);
    let by_any = Overwritten::by(calls, |_| true);
    let proofs = |look: usize, writers_max: usize| {
        let value = calls[look].saw.expect("only those are asked about");
        let by = [&by_writes, &by_any].into_iter();
        by.filter_map(move |by| by.proof(look, value, writers_max))
    };
    let near = |most| nearest(&looks, stuck, most, |index| calls[index].returned);
    // Where it is as plain as that, it need not be near.
    let plain = near(looks.len()).into_iter();
    let plain = plain.flat_map(|look| proofs(look, PLAIN_WRITERS_MAX));
    let mut guesses: Vec<Vec<usize>> = plain.take(PLAIN_MAX).collect();
    let mut values = FxHashSet::default();
    for look in near(LOOKS_MAX) {
        guesses.push(vec![look]);
        guesses.extend(proofs(look, usize::MAX));
        let value = calls[look].saw.expect("only those are asked about");
        let one = on[&value];
        if !values.insert(value) || one.writers > 1 {
            continue;
        }
        let others = on
            .iter()
            .filter(|(other, of)| **other != value && of.writers <= 1);
        let both_first = others.filter_map(|(other_value, other)| {
            let one_first = before(one, *other, is_initial(value))?;
            let other_first = before(*other, one, is_initial(*other_value))?;
            Some(one_first.chain(other_first).collect())
        });
        guesses.extend(both_first.take(OTHERS_MAX));
    }
    guesses.sort_by_key(Vec::len);
    guesses
}

/// The operations that show that one value was there before the other.
fn before(one: OnValue, other: OnValue, is_initial: bool) -> Option<impl Iterator<Item = usize>> {
    let (begun, last) = other.last?;
    let first = if is_initial {
        None
    } else {
        let (returned, first) = one.first?;
        if returned >= begun {
            return None;
        }
        Some(first)
    };
    Some(first.into_iter().chain([last]))
}

/// All but the calls of unknown outcome that can do nothing for those that are known. One can
/// if it writes what somebody saw, or what another one must find to write that. Where
/// somebody found that the register did *not* hold a value, any other value is of use; but
/// those that may be written at any time are none better than another, and no more are needed
/// than there are calls.
pub(crate) fn what_matters(calls: &[Act], others: Others) -> Vec<usize> {
    let mut wanted: FxHashSet<u32> = calls.iter().filter_map(|call| call.saw).collect();
    let refused = calls.iter().filter_map(|call| call.refused);
    let any_does = refused.clone().next().is_some();
    wanted.extend(refused);
    let mut expected: FxHashMap<u32, Vec<u32>> = FxHashMap::default();
    for call in calls {
        if let (Some(expects), Some(writes)) = (call.expects, call.writes) {
            expected.entry(writes).or_default().push(expects);
        }
    }
    let mut left: Vec<u32> = wanted.iter().copied().collect();
    while let Some(value) = left.pop() {
        for expects in expected.get(&value).into_iter().flatten() {
            if wanted.insert(*expects) {
                left.push(*expects);
            }
        }
    }
    let is_wanted = |value: Option<u32>| value.is_some_and(|value| wanted.contains(&value));
    let mut kept = Vec::new();
    let mut spare = Vec::new();
    for (index, call) in calls.iter().enumerate() {
        if call.returned.is_some() || is_wanted(call.writes) {
            kept.push(index);
        } else if any_does && call.writes.is_some() {
            match call.expects {
                Some(_) if is_wanted(call.expects) => kept.push(index),
                // It cannot happen in time for anything.
                Some(_) => {}
                None => spare.push(index),
            }
        }
    }
    if others == Others::AtAnyTime {
        spare.sort_by_key(|index| calls[*index].invoked);
        spare.truncate(kept.len() + 1);
    }
    kept.append(&mut spare);
    kept
}
