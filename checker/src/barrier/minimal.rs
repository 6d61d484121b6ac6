//! Which answers a violation needs, and what it leaves open of the others.

use std::cell::Cell;

use crate::history::{Operation, Outcome};
use crate::search::{Others, given};
use crate::unsat_core::{self, Answer};
use crate::verdict::{MAY_BE_FEWER, Violation};

/// More operations than this nobody likes to read.
const MANY: usize = 8;

/// So many windows around what looks wrong are searched through before all is.
pub(super) const NEAR_WINDOWS: usize = 4;

/// So many operations are few enough to be read, if they prove it whatever the others did.
pub(super) const FEW: usize = 4;

/// How much work it may take to leave out what is not needed, in steps of the search and
/// operations looked at: no time, so that a history has the same witness everywhere.
pub(super) const WORK_MAX: u64 = 2_000_000;

/// So many events before and after the answer that nothing explains are looked at first.
const NEAR: usize = 512;

/// How many operations may be looked at in all to find those few: no time, so that a history
/// has the same witness everywhere.
const LOOKED_AT_MAX: usize = 4_000_000;

/// Which answers count, and what may have become of the operations whose answers do not.
#[derive(Clone)]
pub(super) struct Known {
    counts: Vec<bool>,
    others: Others,
}

impl Known {
    /// All of so many.
    pub(super) fn all(count: usize) -> Self {
        Self {
            counts: vec![true; count],
            others: Others::AtAnyTime,
        }
    }

    pub(super) fn of(count: usize, indices: &[usize], others: Others) -> Self {
        let mut counts = vec![false; count];
        for index in indices {
            counts[*index] = true;
        }
        Self { counts, others }
    }

    /// The same, and these.
    pub(super) fn and(&self, indices: &[usize]) -> Self {
        let mut known = self.clone();
        for index in indices {
            known.counts[*index] = true;
        }
        known
    }

    /// Whether the answer of this one counts.
    pub(super) fn counts(&self, index: usize) -> bool {
        self.counts[index]
    }

    /// The event by which it was over, if nothing else is known of it: never, if it may still
    /// happen.
    pub(super) fn is_over_by(&self, operation: &Operation<'_>) -> usize {
        match operation.outcome() {
            Outcome::Ok | Outcome::Fail if self.others_are_in_time() => operation.completed,
            _ => usize::MAX,
        }
    }

    /// What may have become of the operations whose answers do not count.
    pub(super) fn others(&self) -> Others {
        self.others
    }

    /// Whether those whose answers do not count took effect before they returned, if at all.
    pub(super) fn others_are_in_time(&self) -> bool {
        self.others != Others::AtAnyTime
    }
}

/// The answers that alone make a history impossible.
pub(super) struct Needed {
    pub(super) known: Known,
    /// The indices of those that count.
    pub(super) indices: Vec<usize>,
    pub(super) is_least: bool,
}

/// Of so many answers, as few as make the history impossible: those that do it whatever the
/// others did at any time, if these are no more than a few, or than those that do it if the
/// others took effect in their time. Knowing less must never make a possible history impossible.
pub(super) fn needed(count: usize, answer: impl Fn(&Known) -> Answer) -> Needed {
    let ask = |others, indices: &[usize]| answer(&Known::of(count, indices, others));
    let core = unsat_core::core((0..count).collect(), usize::MAX, |indices| {
        ask(Others::InTheirTime, indices)
    });
    let most = core.things.len().max(FEW);
    let found = few(count, &core.things, most, |indices| {
        ask(Others::AtAnyTime, indices)
    });
    let (others, indices, is_least) = match found {
        Some(found) => (Others::AtAnyTime, found, true),
        None => (Others::InTheirTime, core.things, core.is_least),
    };
    Needed {
        known: Known::of(count, &indices, others),
        indices,
        is_least,
    }
}

/// What began before a window and may take effect in it, if it may do so at any time.
pub(super) struct More<'o, 'h> {
    pub(super) operations: &'o [Operation<'h>],
    /// What they are called.
    pub(super) f: &'static str,
    /// With so many for each answer that counts, it makes no difference how many more there are.
    pub(super) each: usize,
}

/// The operations next to an event.
#[derive(Clone)]
pub(super) struct Window {
    /// Those that went on in it, or may have, in the order of their invocations.
    pub(super) among: Vec<usize>,
    /// Of these those that began and were over in it.
    whole: Vec<usize>,
    /// How many operations there are at all.
    count: usize,
}

impl Window {
    /// All operations.
    pub(super) fn all(operations: &[Operation<'_>]) -> Self {
        Self {
            among: (0..operations.len()).collect(),
            whole: (0..operations.len()).collect(),
            count: operations.len(),
        }
    }

    /// Those that went on so many events before or after this one.
    fn around(operations: &[Operation<'_>], event: usize, distance: usize) -> Self {
        let start = event.saturating_sub(distance);
        let end = event.saturating_add(distance);
        let last = operations.last().map_or(0, |last| last.invoked);
        if start == 0 && end > last {
            return Self::all(operations);
        }
        let begun = operations.partition_point(|one| one.invoked <= end);
        let goes_on = |index: &usize| may_go_on_at(&operations[*index], start);
        let among: Vec<usize> = (0..begun).filter(goes_on).collect();
        let is_whole = |index: &usize| {
            let one = &operations[*index];
            start <= one.invoked && (one.completed <= end || one.completed == usize::MAX)
        };
        let whole = among.iter().copied().filter(is_whole).collect();
        Self {
            among,
            whole,
            count: operations.len(),
        }
    }

    /// Windows that become larger and larger, up to all operations.
    pub(super) fn growing(
        operations: &[Operation<'_>],
        event: usize,
    ) -> impl Iterator<Item = Self> {
        let distances = std::iter::successors(Some(NEAR), |distance| distance.checked_mul(2));
        let mut is_over = false;
        let windows = distances.map(move |distance| Self::around(operations, event, distance));
        windows.take_while(move |window| !std::mem::replace(&mut is_over, window.is_all()))
    }

    /// Whether it is all that there is.
    pub(super) fn is_all(&self) -> bool {
        self.among.len() == self.count
    }

    /// All that was over in it, and nothing else.
    pub(super) fn known(&self) -> Known {
        Known::of(self.count, &self.whole, Others::InTheirTime)
    }

    /// The same with so many more of these operations that had begun before, for each of so many
    /// whose answers count.
    fn and_before(&self, more: &More<'_, '_>, answers: usize) -> Self {
        let is_more = |index: &usize| {
            self.among.binary_search(index).is_err() && more.operations[*index].f() == more.f
        };
        let first = self.whole.first().copied().unwrap_or(self.count);
        let before = (0..first).rev().filter(is_more);
        let before = before.take(more.each * (answers + 1));
        let mut among: Vec<usize> = before.chain(self.among.iter().copied()).collect();
        among.sort_unstable();
        Self {
            among,
            whole: self.whole.clone(),
            ..*self
        }
    }

    /// Those that need be looked at to see that these answers make the history impossible.
    pub(super) fn of_proof(&self, needed: &Needed, more: &More<'_, '_>) -> Self {
        if needed.known.others_are_in_time() || self.is_all() {
            return self.clone();
        }
        self.and_before(more, needed.indices.len())
    }

    /// As [`needed`], of those in the window, which are known to make the history impossible.
    pub(super) fn needed(
        &self,
        more: &More<'_, '_>,
        answer: impl Fn(&Self, &Known) -> Answer,
    ) -> Needed {
        if self.is_all() {
            return needed(self.count, |known| answer(self, known));
        }
        let core = unsat_core::core(self.whole.clone(), usize::MAX, |indices| {
            answer(self, &Known::of(self.count, indices, Others::InTheirTime))
        });
        let most = core.things.len().max(FEW);
        let wider = self.and_before(more, most);
        let others = self.whole.iter().rev().copied();
        let others = others.filter(|index| !core.things.contains(index));
        let order = core.things.iter().copied().chain(others).collect();
        let found = few_of(order, most, |indices| {
            answer(&wider, &Known::of(self.count, indices, Others::AtAnyTime))
        });
        match found {
            Some(found) => Needed {
                known: Known::of(self.count, &found, Others::AtAnyTime),
                indices: found,
                is_least: true,
            },
            None => Needed {
                known: Known::of(self.count, &core.things, Others::InTheirTime),
                indices: core.things,
                is_least: core.is_least,
            },
        }
    }
}

/// Whether it may have taken effect at an event or later, if it did so in its time.
fn may_go_on_at(operation: &Operation<'_>, event: usize) -> bool {
    match operation.outcome() {
        Outcome::Ok | Outcome::Fail => operation.completed >= event,
        Outcome::Info | Outcome::Open => true,
    }
}

/// The same where it makes no difference when the others took effect. If it takes more than a
/// few, those that were over before this event are given, which is on this line.
pub(super) fn needed_since(
    operations: &[Operation<'_>],
    event: usize,
    line: usize,
    answer: impl Fn(&Known) -> Answer,
) -> Needed {
    let count = operations.len();
    let at_any_time = |indices: &[usize]| answer(&Known::of(count, indices, Others::AtAnyTime));
    if let Some(indices) = few(count, &[], FEW, at_any_time) {
        return Needed {
            known: Known::of(count, &indices, Others::AtAnyTime),
            indices,
            is_least: true,
        };
    }
    let others = Others::InTheirTimeSince(line as u64);
    let is_given = |index: &usize| operations[*index].completed < event;
    let (given, rest): (Vec<usize>, Vec<usize>) = (0..count).partition(is_given);
    let known = |indices: &[usize]| Known::of(count, &[&given, indices].concat(), others);
    let core = unsat_core::core(rest, unsat_core::ONE_BY_ONE_MAX, |indices| {
        answer(&known(indices))
    });
    Needed {
        known: known(&core.things),
        indices: core.things,
        is_least: core.is_least,
    }
}

/// At most so many answers of `count` that make it impossible whatever the others did at any
/// time; rather these.
fn few(
    count: usize,
    rather: &[usize],
    most: usize,
    answer: impl Fn(&[usize]) -> Answer,
) -> Option<Vec<usize>> {
    let asked = Cell::new(0);
    few_of(nearest(count, rather), most, |indices| {
        asked.set(asked.get() + count);
        if asked.get() > LOOKED_AT_MAX {
            return Answer::Unknown;
        }
        answer(indices)
    })
}

/// These, then those next to the last of them: the ones before it first.
fn nearest(count: usize, first: &[usize]) -> Vec<usize> {
    let last = first.iter().max().map_or(count, |last| last + 1);
    let others = (0..last).rev().chain(last..count);
    let others = others.filter(|index| !first.contains(index));
    first.iter().copied().chain(others).collect()
}

/// At most so many that make it impossible, in order, and of which none can be left out; rather
/// those that come first here. None if there are none, or it would take too long to tell.
pub(super) fn few_of(
    mut order: Vec<usize>,
    most: usize,
    answer: impl Fn(&[usize]) -> Answer,
) -> Option<Vec<usize>> {
    let is_unknown = Cell::new(false);
    let is_impossible = |indices: &[usize]| {
        let answer = answer(indices);
        is_unknown.set(is_unknown.get() || answer == Answer::Unknown);
        answer == Answer::Impossible || is_unknown.get()
    };
    let mut found: Vec<usize> = Vec::new();
    while !is_impossible(&found) {
        if found.len() == most {
            return None;
        }
        // Without the last of the shortest beginning that does, there would be a way.
        let with = |length: usize| [&found, &order[..length]].concat();
        let length = unsat_core::smallest(order.len(), |length| is_impossible(&with(length)));
        let last = length.checked_sub(1)?;
        found.push(order[last]);
        order.truncate(last);
    }
    found.sort_unstable();
    (!is_unknown.get()).then_some(found)
}

impl Needed {
    /// Whether people can read it, and nothing is too much.
    pub(super) fn is_short(&self) -> bool {
        self.is_least && self.indices.len() <= MANY
    }

    /// The violation, saying what it leaves open of the others, and whether fewer operations
    /// may prove it.
    pub(super) fn judge(&self, mut violation: Violation) -> Violation {
        violation.others = self.known.others;
        if self.known.others != Others::AtAnyTime {
            let is_alone = violation.witness.len() == 1;
            violation.sentence = given(is_alone, violation.others) + &violation.sentence;
        }
        if !self.is_least {
            violation.also.push(MAY_BE_FEWER.to_owned());
        }
        violation
    }
}
