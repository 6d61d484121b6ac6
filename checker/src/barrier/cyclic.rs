//! The cyclic barrier: rounds by number, and who may have filled them.
//!
//! ```text
//! two participants make a round
//! wait A -> round 1, place 1  |-----------|
//! wait B -> round 1, place 2         |-------|      both wait here: round 1 is over
//! wait A -> round 2, place 1                  |---| nobody else came: early-round ...
//! wait C, unknown                         |-- ...   ... unless it was this one
//! ```
//!
//! All waits of a round share an instant, and these instants are in the order of the numbers.
//! With the waits that returned the earliest instant that is left for each round is the best
//! one, since it leaves most to the rounds behind it. Those of unknown outcome can fill one
//! place each: at an instant those that are gone soonest are taken, because whoever stays
//! longer can take their place in any explanation; and all instants are kept at which
//! another choice may be better (`pool`). So if no way is left, there is none; what it costs is
//! said [above](super).

use std::cell::Cell;
use std::collections::BTreeMap;

use rustc_hash::FxHashMap;
use serde::Deserialize;

use super::bounds::{self, Bounds};
use super::minimal::{Known, More, Needed, WORK_MAX, Window};
use super::pool::{Lacks, Pools};
use super::value::{failures, happened, is_absent, lease, participants, stuck, who_waited};
use crate::history::{History, HistoryError, Json, Operation, Outcome, plain_object, put};
use crate::keyed::unknown_operation;
use crate::linearization::Linearization;
use crate::liveness::Deadline;
use crate::points::Points;
use crate::search::{Budget, Limit};
use crate::unsat_core::Answer;
use crate::verdict::{Class, Kind, Summary, Verdict, Violation, count};

/// So many ways to fill rounds are tried where one is enough.
const FEW_WAYS: usize = 64;

const EARLY: Kind = Kind {
    name: "early-round",
    meaning: "a round was over before enough participants had come",
};
const TOO_MANY: Kind = Kind {
    name: "too-many-in-round",
    meaning: "more participants were told that they made a round than it has",
};
const SAME_PLACE: Kind = Kind {
    name: "same-place",
    meaning: "two participants were told the same place in a round, or one that it does not have",
};
const ORDER: Kind = Kind {
    name: "round-order",
    meaning: "a later round was over before an earlier one could be",
};

/// Decides whether the history is that of a cyclic barrier for as many
/// participants as the header parameter `count` says.
///
/// Operations: `wait`, with the lease of the participant's session,
/// `{"lease": 7}`, whose result is `{"round": 3, "index": 0}`; rounds are counted
/// from 1, places from 0. `close`, with the same value: by its return the lease is
/// gone for certain.
///
/// # Errors
/// When an event is no such operation, or the header has no `count`.
pub fn check(history: &History, budget: &Budget) -> Result<Verdict, HistoryError> {
    let operations = history.operations();
    let visits = Visits::of(&operations, participants(history)?)?;
    let all = Known::all(operations.len());
    let clock = budget.clock();
    let bounds = Bounds::of(budget, &clock);
    let violation = match visits.explain(&all, None, &bounds) {
        Err(Failure::GivenUp(limit)) => {
            let reason = bounds::reason(limit);
            return Ok(Verdict::Unknown { reason });
        }
        Err(failure) => Some(violation(&visits, &failure, &bounds)),
        Ok(()) => find_stuck(history, &visits, &bounds),
    };
    Ok(violation.map_or_else(
        || Verdict::Valid(Summary::of(&operations)),
        Verdict::Violation,
    ))
}

/// In which order waits returned, round by round, and leases were given up.
pub(crate) fn linearization(
    history: &History,
    budget: &Budget,
) -> Result<Linearization, HistoryError> {
    let operations = history.operations();
    let visits = Visits::of(&operations, participants(history)?)?;
    let all = Known::all(operations.len());
    let clock = budget.clock();
    let order = visits
        .explain(&all, None, &Bounds::of(budget, &clock))
        .ok()
        .and_then(|()| visits.order());
    Ok(Linearization::found(order))
}

#[derive(Clone, Copy, Deserialize)]
struct Place {
    round: u64,
    index: u64,
}

impl Place {
    /// As almost every program writes it. Of anything else nothing is said here.
    fn plain(json: &Json) -> Option<Self> {
        let (mut round, mut index) = (None, None);
        plain_object(json, |name, scanner| match name {
            "round" => put(&mut round, scanner.number()?),
            "index" => put(&mut index, scanner.number()?),
            _ => None,
        })?;
        Some(Self {
            round: round?,
            index: index?,
        })
    }
}

struct Visits<'o, 'h> {
    operations: &'o [Operation<'h>],
    count: usize,
    /// By operation: what a wait was told.
    places: Vec<Option<Place>>,
    leases: Vec<u64>,
}

/// What cannot be; operations are named by their index.
enum Failure {
    /// Round and the places that nobody can have filled.
    TooFew {
        round: u64,
        missing: usize,
        first: usize,
    },
    /// There were too many ways to tell.
    GivenUp(Limit),
    TooMany {
        round: u64,
    },
    SamePlace {
        wait: usize,
        other: Option<usize>,
    },
    /// The first was over before the second had come.
    Apart {
        round: u64,
        first: usize,
        second: usize,
    },
    Order {
        round: u64,
        first: usize,
        earlier: u64,
        second: usize,
    },
}

/// What is known of a round.
#[derive(Default)]
struct Round {
    members: Vec<usize>,
    /// The last call, and the first event by which it was over.
    begins: Option<(usize, usize)>,
    ends: Option<(usize, usize)>,
}

impl Round {
    /// One who was told that it was of this round, and whose lease was gone by this event.
    fn add(&mut self, index: usize, operation: &Operation<'_>, gone: usize) {
        let over = (operation.completed.min(gone), index);
        self.members.push(index);
        self.begins = self.begins.max(Some((operation.invoked, index)));
        self.ends = Some(self.ends.map_or(over, |ends| ends.min(over)));
    }
}

/// What is known of the rounds before those that are asked about.
#[derive(Clone, Copy, Default)]
struct Before {
    /// So many were over ..
    rounds: u64,
    /// .. at an instant before this event.
    over_by: usize,
    /// What is asked about the rounds of which nobody was told.
    silent: Silent,
}

/// What is asked about the rounds of which nobody was told.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Silent {
    /// Somebody must have filled them.
    #[default]
    Filled,
    /// The same, but only of a few ways that are tried.
    FilledAtOnce,
    /// The same, but for those before the first round of which somebody was told.
    FilledBetween,
    /// Nothing; nor that those who filled a round did not fill another one.
    Unasked,
}

impl<'o, 'h> Visits<'o, 'h> {
    fn of(operations: &'o [Operation<'h>], count: usize) -> Result<Self, HistoryError> {
        let mut places = Vec::with_capacity(operations.len());
        let mut leases = Vec::with_capacity(operations.len());
        for operation in operations {
            let place = match (operation.f(), operation.ok()) {
                ("wait", Some(completion)) => {
                    let json = completion.value();
                    let place = Place::plain(json).map_or_else(|| json.parse(), Ok);
                    let expected = "an object with the whole numbers \"round\" and \"index\"";
                    Some(place.map_err(|e| HistoryError::value(completion, expected, &e))?)
                }
                ("wait" | "close", _) => None,
                _ => {
                    let known = "wait and close";
                    return Err(unknown_operation(operation.invoke, "cyclic-barrier", known));
                }
            };
            places.push(place);
            leases.push(lease(operation.invoke)?);
        }
        Ok(Self {
            operations,
            count,
            places,
            leases,
        })
    }

    /// The waits by their places, each round at the instant at which all of it had come, and
    /// each close behind all waits with its lease.
    fn order(&self) -> Option<Vec<usize>> {
        let told = (0..).zip(&self.places);
        let told = told.filter_map(|(wait, place)| (*place).map(|at| (at.round, at.index, wait)));
        let mut told: Vec<(u64, u64, usize)> = told.collect();
        told.sort_unstable();
        let mut points = Points::default();
        let mut of_lease = BTreeMap::new();
        let mut latest = 0;
        for round in told.chunk_by(|one, other| one.0 == other.0) {
            let begun = round
                .iter()
                .map(|(.., wait)| self.operations[*wait].invoked);
            latest = begun.fold(latest, usize::max);
            for (.., wait) in round {
                points.place(*wait, &self.operations[*wait], latest);
                of_lease.insert(self.leases[*wait], latest);
            }
        }
        for (index, operation) in self.operations.iter().enumerate() {
            if operation.invoke.f() == "close" && happened(operation) {
                let after = of_lease.get(&self.leases[index]).copied();
                points.place(index, operation, after.unwrap_or(0));
            }
        }
        points.in_order(|index| &self.operations[index])
    }

    /// Whether there are rounds that explain every answer that counts. Waits that
    /// are open and were called before `none_open_before` took part in none.
    fn explain(
        &self,
        known: &Known,
        none_open_before: Option<usize>,
        bounds: &Bounds<'_>,
    ) -> Result<(), Failure> {
        let all = 0..self.operations.len();
        self.explain_since(Before::default(), all, known, none_open_before, bounds)
    }

    /// The same of these operations, if the first rounds are over.
    fn explain_since(
        &self,
        before: Before,
        among: impl Iterator<Item = usize> + Clone,
        known: &Known,
        none_open_before: Option<usize>,
        bounds: &Bounds<'_>,
    ) -> Result<(), Failure> {
        let closed = self.closed(among.clone(), known);
        let gone = |index: usize| {
            closed
                .get(&self.leases[index])
                .copied()
                .unwrap_or(usize::MAX)
        };
        let mut rounds: BTreeMap<u64, Round> = BTreeMap::new();
        let mut unknown = Vec::new();
        for index in among {
            let operation = &self.operations[index];
            if operation.f() != "wait" || is_absent(operation, known.counts(index)) {
                continue;
            }
            if let (Some(place), true) = (self.places[index], known.counts(index)) {
                if place.round > before.rounds || before.rounds == 0 {
                    let round = rounds.entry(place.round).or_default();
                    round.add(index, operation, gone(index));
                }
                continue;
            }
            let is_stuck = none_open_before.is_some_and(|mark| {
                operation.outcome() == Outcome::Open && operation.invoked < mark
            });
            if !is_stuck {
                let over = known.is_over_by(operation);
                unknown.push((operation.invoked, gone(index).min(over)));
            }
        }
        for (number, round) in &rounds {
            self.check_places(*number, round)?;
        }
        self.fill(before, &rounds, &unknown, bounds)
    }

    /// By lease: the event by which it was gone for certain.
    fn closed(&self, among: impl Iterator<Item = usize>, known: &Known) -> FxHashMap<u64, usize> {
        let mut closed = FxHashMap::default();
        for index in among {
            let operation = &self.operations[index];
            if operation.f() == "close" && happened(operation) && known.counts(index) {
                closed
                    .entry(self.leases[index])
                    .or_insert(operation.completed);
            }
        }
        closed
    }

    fn check_places(&self, number: u64, round: &Round) -> Result<(), Failure> {
        let mut taken: FxHashMap<u64, usize> = FxHashMap::default();
        for wait in &round.members {
            let place = self.places[*wait].map_or(0, |place| place.index);
            let other = taken.insert(place, *wait);
            if other.is_some() || place >= self.count as u64 || number == 0 {
                return Err(Failure::SamePlace { wait: *wait, other });
            }
        }
        if round.members.len() > self.count {
            return Err(Failure::TooMany { round: number });
        }
        Ok(())
    }

    /// Gives each round its instant and those who fill it, in order.
    fn fill(
        &self,
        before: Before,
        rounds: &BTreeMap<u64, Round>,
        unknown: &[(usize, usize)],
        bounds: &Bounds<'_>,
    ) -> Result<(), Failure> {
        let latest = latest_instants(rounds);
        let most = match before.silent {
            Silent::Filled | Silent::FilledBetween => usize::MAX,
            Silent::FilledAtOnce => FEW_WAYS,
            Silent::Unasked => 1,
        };
        let fresh = Pools::new(unknown, bounds).keeping(most);
        let mut pools = fresh.clone();
        let mut last = before.rounds;
        let first = before.over_by + 1;
        if before.silent == Silent::FilledBetween
            && let Some(next) = rounds.keys().next()
        {
            last = last.max(next.saturating_sub(1));
        }
        for ((number, round), latest) in rounds.iter().zip(latest) {
            let (begins, second) = round.begins.unwrap_or_default();
            let (ends, wait) = round.ends.unwrap_or_default();
            if begins >= ends {
                let round = *number;
                return Err(Failure::Apart {
                    round,
                    first: wait,
                    second,
                });
            }
            if begins >= latest.0 {
                let earlier = *number;
                let (first, round) = (latest.1, latest.2);
                return Err(Failure::Order {
                    round,
                    first,
                    earlier,
                    second,
                });
            }
            let too_few = |round: u64, lacks: Lacks, wait: usize| match lacks {
                Lacks::Budget(limit) => Failure::GivenUp(limit),
                Lacks::Waits(missing) => Failure::TooFew {
                    round,
                    missing,
                    first: wait,
                },
            };
            if before.silent == Silent::Unasked {
                (pools, last) = (fresh.clone(), number.saturating_sub(1));
            }
            // Rounds that nobody was told of.
            for silent in last + 1..*number {
                pools = pools
                    .after(self.count, first..=latest.0, 0)
                    .map_err(|lacks| too_few(silent, lacks, latest.1))?;
            }
            let needed = self.count - round.members.len();
            pools = pools
                .after(needed, first.max(begins + 1)..=latest.0, 0)
                .map_err(|lacks| too_few(*number, lacks, wait))?;
            last = *number;
        }
        Ok(())
    }
}

/// For each round the last instant at which it can have been over: before any of
/// its answers and before any of a later round; with the wait that was answered,
/// and its round. An instant is named by the event that follows it.
fn latest_instants(rounds: &BTreeMap<u64, Round>) -> Vec<(usize, usize, u64)> {
    let mut latest = (usize::MAX, 0, 0);
    let mut all: Vec<_> = rounds
        .iter()
        .rev()
        .map(|(number, round)| {
            let (ends, wait) = round.ends.unwrap_or((usize::MAX, 0));
            latest = latest.min((ends, wait, *number));
            latest
        })
        .collect();
    all.reverse();
    all
}

fn violation(visits: &Visits<'_, '_>, failure: &Failure, bounds: &Bounds<'_>) -> Violation {
    let operations = visits.operations;
    let (needed, failure) = Questions::new(visits, bounds).needed(failure);
    let (kind, mut sentence) = visits.describe(&failure);
    let witness: Vec<_> = needed.indices.iter().map(|i| &operations[*i]).collect();
    sentence += &failures(&witness);
    let violation = Violation::new(Class::Safety, kind, sentence, witness);
    let mut violation = needed.judge(violation);
    if let Failure::TooFew { first, .. } = failure {
        let returned = operations[first].completed;
        violation
            .also
            .extend(who_waited("wait", operations, returned, &needed.indices));
    }
    violation
}

/// What is asked on the way to a witness.
struct Questions<'q, 'o, 'h> {
    visits: &'q Visits<'o, 'h>,
    bounds: &'q Bounds<'q>,
    work: Cell<u64>,
    /// What is asked about silent rounds to see that something is impossible.
    silent: Cell<Silent>,
    /// The rounds before an event that was asked about last.
    before: Cell<Option<(usize, Option<Before>)>>,
}

impl<'q, 'o, 'h> Questions<'q, 'o, 'h> {
    fn new(visits: &'q Visits<'o, 'h>, bounds: &'q Bounds<'q>) -> Self {
        Self {
            visits,
            bounds,
            work: Cell::new(0),
            silent: Cell::new(Silent::Unasked),
            before: Cell::new(None),
        }
    }

    /// The answers that alone make the history impossible. They are mostly next to that by which
    /// this shows.
    fn needed(&self, failure: &Failure) -> (Needed, Failure) {
        let operations = self.visits.operations;
        let mut windows = Window::growing(operations, self.visits.shows_at(failure));
        let is_impossible = |window: &Window| {
            [Silent::Unasked, Silent::FilledBetween]
                .into_iter()
                .any(|silent| {
                    self.silent.set(silent);
                    self.ask(window, &window.known()) == Answer::Impossible
                })
        };
        let window = windows.find(|window| window.is_all() || is_impossible(window));
        let window = window.unwrap_or_else(|| Window::all(operations));
        self.work.set(0);
        // Each wait that counts is of a round, which needs no more than this.
        let more = More {
            operations,
            f: "wait",
            each: self.visits.count,
        };
        let mut needed = window.needed(&more, |window, known| self.ask(window, known));
        let window = window.of_proof(&needed, &more);
        if !window.is_all() {
            needed.is_least &= self.is_possible_without_any(&window, &needed);
        }
        // It was found to be so before, and is again.
        let (before, among) = (self.before_all(&window), window.among.iter().copied());
        let none = Bounds::none();
        let explained = self
            .visits
            .explain_since(before, among, &needed.known, None, &none);
        let Err(failure) = explained else {
            unreachable!("the answers that are needed are those that cannot be explained");
        };
        (needed, failure)
    }

    /// What is asked about the rounds before a window to see that something is impossible.
    fn before_all(&self, window: &Window) -> Before {
        let silent = if window.is_all() {
            Silent::Filled
        } else {
            self.silent.get()
        };
        Before {
            silent,
            ..Before::default()
        }
    }

    /// Whether the history is impossible as far as this is known, which is nothing of what began
    /// before the window: whatever rounds there were before those of which something is known.
    /// Else it may be possible.
    fn ask(&self, window: &Window, known: &Known) -> Answer {
        if self.work.get() > WORK_MAX && !window.is_all() {
            return Answer::Unknown;
        }
        self.explain(self.before_all(window), window.among.iter().copied(), known)
    }

    /// Whether the history is possible without any one of the answers that are needed. It is if
    /// that is so when all is known of the rounds before.
    fn is_possible_without_any(&self, window: &Window, needed: &Needed) -> bool {
        let operations = self.visits.operations;
        needed.indices.iter().all(|without| {
            let mut rest = needed.indices.clone();
            rest.retain(|index| index != without);
            if self.work.get() > WORK_MAX {
                return false;
            }
            let known = Known::of(operations.len(), &rest, needed.known.others());
            let first = rest
                .first()
                .map_or(window.start, |first| operations[*first].invoked);
            let before = self.before(first.max(window.start)).unwrap_or_default();
            let before = Before {
                silent: Silent::FilledAtOnce,
                ..before
            };
            let is_later = |index: &usize| !self.visits.is_of(*index, before);
            let later = window.among.iter().copied().filter(is_later);
            self.explain(before, later, &known) == Answer::Possible
        })
    }

    fn explain(
        &self,
        before: Before,
        among: impl Iterator<Item = usize> + Clone,
        known: &Known,
    ) -> Answer {
        let bounds = self.bounds.of_question();
        let looked_at = among.size_hint().1.unwrap_or(0) as u64 / 8;
        let explained = self
            .visits
            .explain_since(before, among, known, None, &bounds);
        self.work.set(self.work.get() + bounds.steps() + looked_at);
        match explained {
            Ok(()) => Answer::Possible,
            Err(Failure::GivenUp(_)) => Answer::Unknown,
            Err(_) => Answer::Impossible,
        }
    }

    /// The rounds that began before an event, of which everybody was told, if nothing is wrong
    /// with them.
    fn before(&self, event: usize) -> Option<Before> {
        if let Some((known, before)) = self.before.get()
            && known == event
        {
            return before;
        }
        let visits = self.visits;
        let before = visits.rounds_before(event);
        let all = Known::all(visits.operations.len());
        let before = before.filter(|before| {
            let of_them =
                (0..visits.operations.len()).filter(|index| visits.is_of(*index, *before));
            self.explain(Before::default(), of_them, &all) == Answer::Possible
        });
        self.before.set(Some((event, before)));
        before
    }
}

impl Visits<'_, '_> {
    /// The event by which it shows.
    fn shows_at(&self, failure: &Failure) -> usize {
        let wait = match *failure {
            Failure::TooFew { first, .. } => first,
            Failure::SamePlace { wait, other } => other.unwrap_or(wait).max(wait),
            Failure::Apart { first, second, .. } | Failure::Order { first, second, .. } => {
                first.max(second)
            }
            Failure::TooMany { .. } | Failure::GivenUp(_) => return 0,
        };
        self.operations[wait].completed
    }

    /// Whether the wait is known to be of one of these rounds.
    fn is_of(&self, wait: usize, before: Before) -> bool {
        self.places[wait].is_some_and(|place| place.round <= before.rounds)
    }

    /// The first rounds, as many as began before an event and of which everybody was told.
    fn rounds_before(&self, event: usize) -> Option<Before> {
        let mut told: FxHashMap<u64, (usize, usize)> = FxHashMap::default();
        let end = self.operations.partition_point(|one| one.invoked < event);
        for (place, operation) in self.places.iter().zip(self.operations).take(end) {
            if let Some(place) = place {
                let (times, begun) = told.entry(place.round).or_default();
                *times += 1;
                *begun = operation.invoked.max(*begun);
            }
        }
        let mut before = Before::default();
        while let Some((times, begun)) = told.remove(&(before.rounds + 1))
            && times == self.count
        {
            before.rounds += 1;
            before.over_by = before.over_by.max(begun);
        }
        (before.rounds > 0).then_some(before)
    }

    fn describe(&self, failure: &Failure) -> (Kind, String) {
        let process = |index: usize| self.operations[index].process();
        let parties = count(self.count as u64, "participant");
        match *failure {
            Failure::TooFew {
                round,
                missing,
                first,
            } => {
                let sentence = format!(
                    "round {round} needs {parties}, but of these {} cannot have been waiting when the wait by process {} returned",
                    missing.max(1),
                    process(first),
                );
                (EARLY, sentence)
            }
            Failure::GivenUp(_) => unreachable!("a violation is what cannot be explained"),
            Failure::TooMany { round } => {
                let sentence =
                    format!("more than {parties} were told that they made round {round}");
                (TOO_MANY, sentence)
            }
            Failure::SamePlace { wait, other } => {
                let Some(place) = self.places[wait] else {
                    unreachable!("only waits that were answered have a place")
                };
                let sentence = match other {
                    Some(other) => format!(
                        "processes {} and {} were both told place {} of round {}",
                        process(other),
                        process(wait),
                        place.index,
                        place.round
                    ),
                    None => format!(
                        "process {} was told place {} of round {}; there are {parties} and rounds are counted from 1",
                        process(wait),
                        place.index,
                        place.round
                    ),
                };
                (SAME_PLACE, sentence)
            }
            Failure::Apart {
                round,
                first,
                second,
            } => {
                let sentence = format!(
                    "process {} had returned from round {round}, or its session had been closed, before process {}, which was told the same round, began to wait",
                    process(first),
                    process(second)
                );
                (EARLY, sentence)
            }
            Failure::Order {
                round,
                first,
                earlier,
                second,
            } => {
                let sentence = format!(
                    "round {round} was over when process {} returned, but round {earlier} cannot have been: process {}, which was told that one, came later",
                    process(first),
                    process(second)
                );
                (ORDER, sentence)
            }
        }
    }
}

/// Waits whose round was over, and waits of whom there were enough for one.
fn find_stuck(
    history: &History,
    visits: &Visits<'_, '_>,
    bounds: &Bounds<'_>,
) -> Option<Violation> {
    let deadline = Deadline::of(history)?;
    let mut overdue = deadline.overdue(visits.operations);
    let waiting = overdue.iter().filter(|op| op.invoke.f() == "wait").count();
    let all = Known::all(visits.operations.len());
    let why = if waiting >= visits.count {
        ", although enough participants had come"
    } else if !matches!(
        visits.explain(&all, Some(deadline.index), &bounds.of_question()),
        Ok(()) | Err(Failure::GivenUp(_))
    ) {
        ", although its round was over"
    } else {
        overdue.retain(|operation| operation.invoke.f() != "wait");
        ""
    };
    stuck(&deadline, &overdue, why, [])
}
