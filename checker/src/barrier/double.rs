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

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use rustc_hash::FxHashMap;

use super::bounds::{self, Bounds};
use super::minimal::{self, Known, More, NEAR_WINDOWS, WORK_MAX, Window};
use super::rounds::{Enter, Failure, Reason, Rounds, Search};
use super::value::{Holder, failures, happened, is_absent, participants, stuck, who_waited};
use crate::history::{History, HistoryError, Operation, Outcome};
use crate::index::number;
use crate::keyed::unknown_operation;
use crate::linearization::Linearization;
use crate::liveness::Deadline;
use crate::search::{Budget, Limit};
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
/// moment of its call. A round is judged by what its own enters and leaves say of
/// their leases, not by those of later rounds. An enter that fails was refused.
///
/// # Errors
/// When an event is no such operation, or the header has no `count`.
pub fn check(history: &History, budget: &Budget) -> Result<Verdict, HistoryError> {
    let operations = history.operations();
    let parties = Parties::of(&operations, participants(history)?)?;
    let all = Known::all(operations.len());
    let clock = budget.clock();
    let bounds = Bounds::of(budget, &clock);
    let rounds = parties.rounds(&all, None);
    let violation = match rounds.one_after_the_other() {
        Ok(_) => None,
        Err(event) => match find_impossible(&parties, &rounds, event, &bounds) {
            Ok(window) => window.map(|window| violation(&parties, &window, &bounds)),
            Err(limit) => {
                let reason = bounds::reason(limit);
                return Ok(Verdict::Unknown { reason });
            }
        },
    };
    let violation = violation
        .or_else(|| find_wrong_refusal(&parties))
        .or_else(|| find_stuck(history, &parties, &bounds));
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
    let rounds = parties.rounds(&Known::all(operations.len()), None);
    let clock = budget.clock();
    if let Ok(found) = rounds.one_after_the_other() {
        return Ok(Linearization::Order(parties.order(&rounds, &found)));
    }
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
    leave_of: Vec<Option<Leave>>,
}

#[derive(Clone, Copy)]
struct Leave {
    operation: u32,
    /// Whether the lease could be relied on when it began.
    alive: bool,
}

impl Leave {
    fn index(self) -> usize {
        self.operation as usize
    }
}

impl<'o, 'h> Parties<'o, 'h> {
    fn of(operations: &'o [Operation<'h>], count: usize) -> Result<Self, HistoryError> {
        let mut inside: FxHashMap<u64, usize> = FxHashMap::default();
        let mut leave_of = vec![None; operations.len()];
        for (index, operation) in operations.iter().enumerate() {
            let holder = Holder::of(operation.invoke)?;
            let lease = match holder.lease {
                Some(lease) => lease,
                None => super::value::lease(operation.invoke)?,
            };
            match operation.invoke.f() {
                // Which enter a leave belongs to does not depend on what came of any.
                "enter" => {
                    inside.insert(lease, index);
                }
                "leave" => {
                    let entered = |enter: &usize| {
                        let enter = &operations[*enter];
                        happened(enter) && enter.completed < operation.invoked
                    };
                    if let Some(enter) = inside.remove(&lease).filter(entered) {
                        let alive = holder.alive;
                        let operation = number(index);
                        leave_of[enter] = Some(Leave { operation, alive });
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
                if let Some(leave) = self.leave_of[enter.operation] {
                    let called = self.operations[leave.index()].invoked;
                    instants.insert(leave.index(), (until.max(called), true));
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

    /// The question of which rounds there were, by the answers that are known;
    /// enters that are open and were invoked before `none_open_before` took part
    /// in none.
    fn rounds(&self, known: &Known, none_open_before: Option<usize>) -> Rounds {
        let all: Vec<usize> = (0..self.operations.len()).collect();
        self.rounds_among(&all, known, none_open_before)
    }

    /// The same if there were no other operations than these, in the order of their invocations.
    fn rounds_among(
        &self,
        among: &[usize],
        known: &Known,
        none_open_before: Option<usize>,
    ) -> Rounds {
        let mut enters = Vec::new();
        let mut unknown = Vec::new();
        for index in among.iter().copied() {
            let operation = &self.operations[index];
            if operation.invoke.f() != "enter" || is_absent(operation, known.counts(index)) {
                continue;
            }
            if happened(operation) && known.counts(index) {
                enters.push(self.enter(index, known));
                continue;
            }
            let is_stuck = none_open_before.is_some_and(|mark| {
                operation.outcome() == Outcome::Open && operation.invoked < mark
            });
            if !is_stuck {
                unknown.push((operation.invoked, known.is_over_by(operation)));
            }
        }
        enters.sort_by_key(|enter| enter.returned);
        Rounds {
            count: self.count,
            enters,
            unknown,
        }
    }

    fn enter(&self, index: usize, known: &Known) -> Enter {
        let operation = &self.operations[index];
        let leave = self.leave_of[index];
        // What a leave says when it begins is known, whatever comes of it.
        let called = self.alive_leave(index).map(|leave| leave.invoked);
        let left = leave.filter(|leave| known.counts(leave.index()));
        Enter {
            operation: index,
            invoked: operation.invoked,
            returned: operation.completed,
            inside_until: called.unwrap_or(operation.completed),
            left: left.map_or(usize::MAX, |leave| {
                self.operations[leave.index()].returned()
            }),
        }
    }

    /// The leave of this enter, if the lease could be relied on when it began.
    fn alive_leave(&self, enter: usize) -> Option<&Operation<'h>> {
        let leave = self.leave_of[enter].filter(|leave| leave.alive)?;
        Some(&self.operations[leave.index()])
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
        let (kind, sentence) = match &failure.reason {
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
                let is_beside = |other: &usize| self.operations[*other].completed > called;
                if before.iter().any(is_beside) && !failure.chosen.contains(before) {
                    sentence += &format!("; {} the round before", self.made(before));
                }
                (EARLY_ENTER, sentence)
            }
            Reason::TooMany { inside } => {
                let sentence = format!(
                    "{} were inside together, each with another of them, but a round has {needed}",
                    self.processes(inside)
                );
                (TOO_MANY, sentence)
            }
            Reason::Overlap { first, inside } => {
                let sentence = format!(
                    "the enter by process {} returned although process {} of the round before {}",
                    self.process(*first),
                    self.process(*inside),
                    self.was_inside(*inside),
                );
                (OVERLAP, sentence)
            }
            Reason::EarlyLeave { left, inside } => {
                let sentence = format!(
                    "the leave by process {} returned although process {} of the same round {}",
                    self.process(*left),
                    self.process(*inside),
                    self.was_inside(*inside),
                );
                (EARLY_LEAVE, sentence)
            }
        };
        (kind, sentence + &self.supposed(&failure.chosen))
    }

    /// How it is known that one was inside.
    fn was_inside(&self, enter: usize) -> String {
        match self.alive_leave(enter) {
            Some(leave) => format!(
                "began to leave only on line {}, with a lease that was alive",
                leave.invoke.line()
            ),
            None => {
                "was told only later that it was inside, with a lease that was alive".to_owned()
            }
        }
    }

    /// Under which suppositions on who made a round something is so.
    fn supposed(&self, chosen: &[Vec<usize>]) -> String {
        let rounds = chosen.iter().map(|enters| self.made(enters) + " a round");
        let rounds: Vec<String> = rounds.collect();
        if rounds.is_empty() {
            return String::new();
        }
        let rounds = rounds.join(", and ");
        format!(", if {rounds}; other rounds explain it no better")
    }

    /// That these made something, with others if they are too few.
    fn made(&self, enters: &[usize]) -> String {
        let line = |enter: &usize| self.operations[*enter].invoke.line();
        let mut lines: Vec<usize> = enters.iter().map(line).collect();
        lines.sort_unstable();
        let lines: Vec<String> = lines.iter().map(usize::to_string).collect();
        let enters = match lines.split_last() {
            Some((last, lines)) if !lines.is_empty() => {
                format!("the enters on lines {} and {last}", lines.join(", "))
            }
            _ => format!("the enter on line {}", lines.concat()),
        };
        if lines.len() < self.count {
            enters + ", with others of unknown outcome, made"
        } else {
            enters + " made"
        }
    }
}

/// The operations next to an event that make the history impossible by themselves, if some do.
/// Before all are searched through those are that are near: what is wrong is mostly seen there.
fn find_impossible(
    parties: &Parties<'_, '_>,
    rounds: &Rounds,
    event: usize,
    bounds: &Bounds<'_>,
) -> Result<Option<Window>, Limit> {
    let operations = parties.operations;
    let is_impossible = |window: &Window| {
        let rounds = parties.rounds_among(&window.among, &window.known(), None);
        matches!(rounds.search(&bounds.of_question()), Search::None(_))
    };
    let mut near = Window::growing(operations, event).take(NEAR_WINDOWS);
    let near = near.find(|window| !window.is_all() && is_impossible(window));
    if near.is_some() {
        return Ok(near);
    }
    match rounds.search(bounds) {
        Search::Found(_) => Ok(None),
        Search::GivenUp(limit) => Err(limit),
        Search::None(failure) => {
            let mut windows = Window::growing(operations, failure.at);
            let window = windows.find(|window| window.is_all() || is_impossible(window));
            Ok(Some(window.unwrap_or_else(|| Window::all(operations))))
        }
    }
}

fn violation(parties: &Parties<'_, '_>, window: &Window, bounds: &Bounds<'_>) -> Violation {
    let work = Cell::new(0);
    let answer = |window: &Window, known: &Known| {
        if work.get() > WORK_MAX && !window.is_all() {
            return Answer::Unknown;
        }
        let bounds = bounds.of_question();
        let rounds = parties.rounds_among(&window.among, known, None);
        let found = rounds.search(&bounds);
        work.set(work.get() + bounds.steps() + window.among.len() as u64 / 8);
        match found {
            Search::Found(_) => Answer::Possible,
            Search::None(_) => Answer::Impossible,
            Search::GivenUp(_) => Answer::Unknown,
        }
    };
    let operations = parties.operations;
    // Each enter that counts needs as many others at most as a round has.
    let more = More {
        operations,
        f: "enter",
        each: parties.count,
    };
    let needed = window.needed(&more, answer);
    // It was found to be so before, and is again.
    let among = window.of_proof(&needed, &more).among;
    let rounds = parties.rounds_among(&among, &needed.known, None);
    let Search::None(failure) = rounds.search(&Bounds::none()) else {
        unreachable!("the answers that are needed are those that cannot be explained");
    };
    let (kind, mut sentence) = parties.describe(&failure);
    let witness: Vec<_> = needed.indices.iter().map(|i| &operations[*i]).collect();
    sentence += &failures(&witness);
    let violation = Violation::new(Class::Safety, kind, sentence, witness);
    let mut violation = needed.judge(violation);
    if let Reason::TooFew { first, .. } = failure.reason {
        let returned = operations[first].completed;
        let waited = who_waited("enter", operations, returned, &needed.indices);
        violation.also.extend(waited);
    }
    violation
}

/// What shows that somebody was refused for no reason.
fn find_wrong_refusal(parties: &Parties<'_, '_>) -> Option<Violation> {
    let operations = parties.operations;
    let all = Known::all(operations.len());
    let refused = &operations[wrongly_refused(parties, &all)?];
    let answer = |known: &Known| match wrongly_refused(parties, known) {
        Some(_) => Answer::Impossible,
        None => Answer::Possible,
    };
    let line = refused.invoke.line();
    let needed = minimal::needed_since(operations, refused.invoked, line, answer);
    let refused = wrongly_refused(parties, &needed.known)?;
    let sentence = format!(
        "the enter by process {} was refused, but there cannot have been a round under way, nor {} before it",
        parties.process(refused),
        count(parties.count as u64, "participant"),
    );
    let witness = needed.indices.iter().map(|index| &operations[*index]);
    let violation = Violation::new(Class::Safety, WRONG_REFUSAL, sentence, witness);
    Some(needed.judge(violation))
}

/// A participant that was refused although at each instant of its enter nobody else
/// can have been there, or fewer had ever come than a round has.
fn wrongly_refused(parties: &Parties<'_, '_>, known: &Known) -> Option<usize> {
    let operations = parties.operations;
    let was_refused = |one: &Operation<'_>| one.outcome() == Outcome::Fail;
    if !operations.iter().any(was_refused) {
        return None;
    }
    let mut changes: Vec<(usize, Change)> = Vec::new();
    let entered = operations.iter().enumerate();
    for (index, operation) in entered.filter(|(_, one)| one.invoke.f() == "enter") {
        changes.push((operation.invoked, Change::Comes));
        let leave = parties.leave_of[index];
        let leave = leave.filter(|leave| known.counts(leave.index()));
        match (operation.outcome(), leave) {
            _ if !known.counts(index) => {}
            (Outcome::Fail, _) => changes.push((operation.completed, Change::Refused(index))),
            (Outcome::Ok, Some(leave)) => {
                let gone = operations[leave.index()].returned();
                changes.push((gone, Change::Gone));
            }
            _ => {}
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
                    return Some(index);
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
    let all = Known::all(parties.operations.len());
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
