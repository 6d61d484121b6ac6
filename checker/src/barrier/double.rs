//! The double barrier: what participants are told, and which rounds explain it.
//!
//! ```text
//! two participants make a round
//! enter  A  |-----------|                        both are in their enter at one instant:
//! enter  B          |---|                        there the round begins
//! leave  A                 |----------|          and returns when B leaves, too
//! leave  B                         |--|
//! enter  C                                |--|   alone, and yet it returned: early-enter
//! ```
//!
//! An enter is an interval, and so is the time that somebody is certainly inside: from the
//! return of its enter to the call of its leave, or as long as its lease could be relied on. A
//! round needs an instant that is in all of its enters, and no round is inside while another
//! is. The first enter to return must have its companions among those that overlap with it;
//! who is inside together was in one round. So rounds are filled in the order of the first
//! returns (`rounds`), and each choice that was not forced is undone when it leads nowhere.
//! That is complete, since any explanation has such an order of its rounds; what it costs is said
//! [above](super).

use std::collections::{BTreeMap, BTreeSet};

use super::bounds::{self, Bounds};
use super::minimal;
use super::rounds::{Enter, Failure, Reason, Rounds, Search};
use super::value::{Holder, failures, happened, is_absent, participants, stuck};
use crate::history::{History, HistoryError, Operation, Outcome};
use crate::keyed::unknown_operation;
use crate::linearization::Linearization;
use crate::liveness::Deadline;
use crate::search::Budget;
use crate::unsat_core::Answer;
use crate::verdict::{Class, Kind, Summary, Verdict, Violation, count};

const EARLY_ENTER: Kind = Kind {
    name: "early-enter",
    meaning: "an enter returned before enough participants had come",
};
const TOO_MANY: Kind = Kind {
    name: "too-many-inside",
    meaning: "more participants were inside than a round has",
};
const OVERLAP: Kind = Kind {
    name: "overlapping-rounds",
    meaning: "a round began while the one before was not over",
};
const EARLY_LEAVE: Kind = Kind {
    name: "early-leave",
    meaning: "a leave returned while somebody of its round was inside",
};
const WRONG_REFUSAL: Kind = Kind {
    name: "wrong-refusal",
    meaning: "an enter was refused although there was room",
};

/// Decides whether the history is that of a double barrier for as many
/// participants as the header parameter `count` says.
///
/// Operations: `enter` and `leave`, both with the lease of the participant's
/// session, `{"lease": 7}`. An `ok` enter says that the lease could be relied on
/// when it returned; a `leave` whose value has `"alive": true` says so of the
/// moment of its call. An enter that fails was refused.
///
/// # Errors
/// When an event is no such operation, or the header has no `count`.
pub fn check(history: &History, budget: &Budget) -> Result<Verdict, HistoryError> {
    let operations = history.operations();
    let parties = Parties::of(&operations, participants(history)?)?;
    let all = vec![true; operations.len()];
    let clock = budget.clock();
    let bounds = Bounds::of(budget, &clock);
    let failure = match parties.rounds(&all, None).search(&bounds) {
        Search::Found(_) => None,
        Search::None(failure) => Some(failure),
        Search::GivenUp(limit) => {
            let reason = bounds::reason(limit);
            return Ok(Verdict::Unknown { reason });
        }
    };
    let violation = match failure {
        Some(_) => Some(violation(&parties, &bounds)),
        None => find_wrong_refusal(&parties).or_else(|| find_stuck(history, &parties, &bounds)),
    };
    Ok(violation.map_or_else(
        || Verdict::Valid(Summary::of(&operations)),
        Verdict::Violation,
    ))
}

/// In which order rounds were entered and left.
pub(crate) fn linearization(
    history: &History,
    budget: &Budget,
) -> Result<Linearization, HistoryError> {
    let operations = history.operations();
    let parties = Parties::of(&operations, participants(history)?)?;
    let rounds = parties.rounds(&vec![true; operations.len()], None);
    let clock = budget.clock();
    Ok(match rounds.search(&Bounds::of(budget, &clock)) {
        Search::Found(found) => Linearization::Order(parties.order(&rounds, &found)),
        Search::None(_) | Search::GivenUp(_) => Linearization::found(None),
    })
}

/// Who entered and who left.
struct Parties<'o, 'h> {
    operations: &'o [Operation<'h>],
    count: usize,
    /// By the index of an enter that returned, the leave that followed.
    leave_of: BTreeMap<usize, Leave>,
}

#[derive(Clone, Copy)]
struct Leave {
    operation: usize,
    /// Whether the lease could be relied on when it began.
    alive: bool,
}

impl<'o, 'h> Parties<'o, 'h> {
    fn of(operations: &'o [Operation<'h>], count: usize) -> Result<Self, HistoryError> {
        let mut inside: BTreeMap<u64, usize> = BTreeMap::new();
        let mut leave_of = BTreeMap::new();
        for (index, operation) in operations.iter().enumerate() {
            let holder = Holder::of(operation.invoke)?;
            let lease = super::value::lease(operation.invoke)?;
            match operation.invoke.f() {
                "enter" if happened(operation) => {
                    inside.insert(lease, index);
                }
                "enter" => {}
                "leave" => {
                    let enter = inside.get(&lease).copied();
                    let entered = |enter: &usize| operations[*enter].completed < operation.invoked;
                    if let Some(enter) = enter.filter(entered) {
                        inside.remove(&lease);
                        let alive = holder.alive;
                        let leave = Leave {
                            operation: index,
                            alive,
                        };
                        leave_of.insert(enter, leave);
                    }
                }
                _ => {
                    let known = "enter and leave";
                    return Err(unknown_operation(operation.invoke, "double-barrier", known));
                }
            }
        }
        Ok(Self {
            operations,
            count,
            leave_of,
        })
    }

    /// The enters and leaves that are known to have happened: those of a round enter at one
    /// instant, just before the first of them returned, and leave as soon as none of the
    /// others is certainly inside.
    fn order(&self, rounds: &Rounds, found: &[Vec<usize>]) -> Vec<usize> {
        // After which event; what comes just before it is smaller.
        let mut instants: BTreeMap<usize, (usize, bool)> = BTreeMap::new();
        for members in found {
            let members = members.iter().map(|place| &rounds.enters[*place]);
            let begins = members.clone().map(|enter| enter.returned).min();
            let until = members.clone().map(|enter| enter.inside_until).max();
            let (begins, until) = begins.zip(until).expect("a round has members");
            for enter in members {
                instants.insert(enter.operation, (begins, false));
                if let Some(leave) = self.leave_of.get(&enter.operation) {
                    let called = self.operations[leave.operation].invoked;
                    instants.insert(leave.operation, (until.max(called), true));
                }
            }
        }
        let known = (0..self.operations.len()).filter(|index| happened(&self.operations[*index]));
        let mut order: Vec<usize> = known.collect();
        // Who leaves without having been told that it entered waits for nobody.
        let alone = |index: &usize| (self.operations[*index].invoked, true);
        let instant = |index: &usize| {
            let of_round = instants.get(index).copied();
            of_round.unwrap_or_else(|| alone(index))
        };
        order.sort_by_key(instant);
        order
    }

    /// The question of which rounds there were. `counts` says whose answers count;
    /// enters that are open and were invoked before `none_open_before` took part
    /// in none.
    fn rounds(&self, counts: &[bool], none_open_before: Option<usize>) -> Rounds {
        let mut enters = Vec::new();
        let mut unknown = Vec::new();
        let mut spared = Vec::new();
        for (index, operation) in self.operations.iter().enumerate() {
            if operation.invoke.f() != "enter" || is_absent(operation, counts[index]) {
                continue;
            }
            if happened(operation) && counts[index] {
                let leave = self.leave_of.get(&index).filter(|l| counts[l.operation]);
                enters.push(self.enter(index, leave));
                continue;
            }
            if happened(operation) || operation.outcome() == Outcome::Fail {
                spared.push((operation.invoked, operation.completed));
                continue;
            }
            let is_stuck = none_open_before.is_some_and(|mark| {
                operation.outcome() == Outcome::Open && operation.invoked < mark
            });
            if !is_stuck {
                unknown.push(operation.invoked);
            }
        }
        enters.sort_by_key(|enter| enter.returned);
        Rounds {
            count: self.count,
            enters,
            unknown,
            spared,
        }
    }

    fn enter(&self, index: usize, leave: Option<&Leave>) -> Enter {
        let operation = &self.operations[index];
        let leave = leave.map(|leave| (leave, &self.operations[leave.operation]));
        Enter {
            operation: index,
            invoked: operation.invoked,
            returned: operation.completed,
            inside_until: match leave {
                Some((leave, operation)) if leave.alive => operation.invoked,
                _ => operation.completed,
            },
            left: leave.map_or(usize::MAX, |(_, operation)| operation.returned()),
        }
    }

    fn process(&self, operation: usize) -> u64 {
        self.operations[operation].process()
    }

    fn processes(&self, operations: &[usize]) -> String {
        let numbers = operations.iter().map(|index| self.process(*index));
        let numbers: BTreeSet<u64> = numbers.collect();
        let numbers: Vec<String> = numbers.iter().map(u64::to_string).collect();
        match numbers.split_last() {
            Some((last, [])) => format!("process {last}"),
            Some((last, others)) => format!("processes {} and {last}", others.join(", ")),
            None => "nobody".to_owned(),
        }
    }

    fn describe(&self, failure: &Failure) -> (Kind, String) {
        let needed = count(self.count as u64, "participant");
        match &failure.reason {
            Reason::TooFew {
                first,
                come,
                before,
            } => {
                let mut sentence = format!(
                    "the enter by process {} returned, but of the {needed} that its round needs no more than {come} can have come by then",
                    self.process(*first),
                );
                // Who waited at the same time could be taken for one of them.
                let called = self.operations[*first].invoked;
                if before
                    .iter()
                    .any(|other| self.operations[*other].completed > called)
                {
                    sentence += &format!(
                        ", if the round before was that of {}",
                        self.processes(before)
                    );
                }
                (EARLY_ENTER, sentence)
            }
            Reason::TooMany { inside } => {
                let sentence = format!(
                    "{} were inside at the same time, but a round has {needed}",
                    self.processes(inside)
                );
                (TOO_MANY, sentence)
            }
            Reason::Overlap { first, inside } => {
                let sentence = format!(
                    "the enter by process {} returned although {} of the round before had not begun to leave, with a lease that was alive",
                    self.process(*first),
                    self.processes(&[*inside]),
                );
                (OVERLAP, sentence)
            }
            Reason::EarlyLeave { left, inside } => {
                let sentence = format!(
                    "the leave by process {} returned although {}, which was inside with it, had not begun to leave, with a lease that was alive",
                    self.process(*left),
                    self.processes(&[*inside]),
                );
                (EARLY_LEAVE, sentence)
            }
        }
    }
}

fn violation(parties: &Parties<'_, '_>, bounds: &Bounds<'_>) -> Violation {
    let answer = |counts: &[bool]| {
        let rounds = parties.rounds(counts, None);
        match rounds.search(&bounds.of_question()) {
            Search::Found(_) => Answer::Possible,
            Search::None(_) => Answer::Impossible,
            Search::GivenUp(_) => Answer::Unknown,
        }
    };
    let operations = parties.operations;
    let needed = minimal::needed(operations.len(), answer);
    // It was found to be so before, and is again.
    let Search::None(failure) = parties.rounds(&needed.counts, None).search(&Bounds::none()) else {
        unreachable!("the answers that are needed are those that cannot be explained");
    };
    let (kind, mut sentence) = parties.describe(&failure);
    let mut witness: BTreeSet<usize> = needed.indices.iter().copied().collect();
    if let Reason::TooFew { first, .. } = failure.reason {
        // Who had come, whatever became of them.
        witness.extend(parties.present_at(operations[first].completed).take(8));
    }
    let witness: Vec<_> = witness.iter().map(|index| &operations[*index]).collect();
    sentence += &failures(&witness);
    needed.judge(Violation::new(Class::Safety, kind, sentence, witness))
}

impl Parties<'_, '_> {
    /// The enters that had been called and not been answered at this event.
    fn present_at(&self, event: usize) -> impl Iterator<Item = usize> {
        let is_present = move |operation: &Operation<'_>| {
            operation.invoke.f() == "enter"
                && operation.outcome() != Outcome::Fail
                && operation.invoked < event
                && event <= operation.completed
        };
        (0..self.operations.len()).filter(move |index| is_present(&self.operations[*index]))
    }
}

/// A participant that was refused although at each instant of its enter nobody else
/// can have been there, or fewer had ever come than a round has.
fn find_wrong_refusal(parties: &Parties<'_, '_>) -> Option<Violation> {
    let operations = parties.operations;
    let mut changes: Vec<(usize, Change)> = Vec::new();
    for (index, operation) in operations.iter().enumerate() {
        if operation.invoke.f() != "enter" {
            continue;
        }
        changes.push((operation.invoked, Change::Comes));
        let gone = match operation.outcome() {
            Outcome::Fail => operation.completed,
            Outcome::Ok => parties
                .leave_of
                .get(&index)
                .map_or(usize::MAX, |leave| operations[leave.operation].returned()),
            Outcome::Info | Outcome::Open => usize::MAX,
        };
        if operation.outcome() == Outcome::Fail {
            changes.push((gone, Change::Refused(index)));
        } else if gone != usize::MAX {
            changes.push((gone, Change::Gone));
        }
    }
    changes.sort_unstable();
    // Counted with the one that is refused.
    let (mut present, mut come, mut last_full) = (0_usize, 0_usize, None);
    for (event, change) in changes {
        if present > 1 && come > parties.count {
            last_full = Some(event);
        }
        match change {
            Change::Comes => {
                present += 1;
                come += 1;
            }
            Change::Gone => present -= 1,
            Change::Refused(index) => {
                if last_full.is_none_or(|full| full <= operations[index].invoked) {
                    return Some(wrong_refusal(&operations[index], parties.count));
                }
                present -= 1;
            }
        }
    }
    None
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Change {
    Comes,
    Gone,
    Refused(usize),
}

fn wrong_refusal(refused: &Operation<'_>, parties: usize) -> Violation {
    let sentence = format!(
        "the enter by process {} was refused, but there cannot have been a round under way, nor {} before it",
        refused.process(),
        count(parties as u64, "participant"),
    );
    Violation::new(Class::Safety, WRONG_REFUSAL, sentence, [refused])
}

/// Leaves that were not over by the mark; enters whose round had begun; and enters
/// of whom there were enough for a round.
fn find_stuck(
    history: &History,
    parties: &Parties<'_, '_>,
    bounds: &Bounds<'_>,
) -> Option<Violation> {
    let deadline = Deadline::of(history)?;
    let mut overdue = deadline.overdue(parties.operations);
    let waiting = overdue.iter().filter(|op| op.invoke.f() == "enter").count();
    let all = vec![true; parties.operations.len()];
    let without = parties.rounds(&all, Some(deadline.index));
    let without = without.search(&bounds.of_question());
    let why = if waiting >= parties.count {
        ", although enough participants had come"
    } else if matches!(without, Search::None(_)) {
        ", although its round had begun"
    } else {
        overdue.retain(|operation| operation.invoke.f() != "enter");
        ", although everybody had left or was gone"
    };
    stuck(&deadline, &overdue, why, [])
}
