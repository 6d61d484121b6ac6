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

mod describe;
mod since;
mod witness;

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;
use serde::Deserialize;

use self::witness::violation;
use super::bounds::{self, Bounds};
use super::minimal::Known;
use super::pool::{Lacks, Pools};
use super::value::{happened, is_absent, lease, participants, stuck};
use crate::history::{History, HistoryError, Json, Operation, Outcome, plain_object, put};
use crate::keyed::unknown_operation;
use crate::linearization::Linearization;
use crate::liveness::Deadline;
use crate::points::Points;
use crate::search::{Budget, Limit};
use crate::verdict::{Kind, Summary, Verdict, Violation};

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
        Err(failure) => Some(violation(&visits, failure, &bounds)),
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

/// What is asked about the rounds of which nobody was told.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Silent {
    /// Somebody must have filled them.
    #[default]
    Filled,
    /// The same, but for those before the first round of which somebody was told.
    FilledBetween,
    /// Nothing; nor that those who filled a round did not fill another one.
    Unasked,
}

/// What some operations tell.
struct Told {
    rounds: BTreeMap<u64, Round>,
    /// From call to end, those of whom nobody knows whether they filled a place.
    unknown: Vec<(usize, usize)>,
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
        self.explain_among(Silent::Filled, all, known, none_open_before, bounds)
    }

    /// The same of these operations.
    fn explain_among(
        &self,
        silent: Silent,
        among: impl Iterator<Item = usize> + Clone,
        known: &Known,
        none_open_before: Option<usize>,
        bounds: &Bounds<'_>,
    ) -> Result<(), Failure> {
        let told = self.told(among, known, none_open_before);
        self.check_all_places(&told.rounds)?;
        self.fill(silent, &told, bounds)
    }

    /// What these tell.
    fn told(
        &self,
        among: impl Iterator<Item = usize> + Clone,
        known: &Known,
        none_open_before: Option<usize>,
    ) -> Told {
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
                let round = rounds.entry(place.round).or_default();
                round.add(index, operation, gone(index));
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
        Told { rounds, unknown }
    }

    /// By lease: the event by which it was gone for certain.
    fn closed(&self, among: impl Iterator<Item = usize>, known: &Known) -> FxHashMap<u64, usize> {
        let mut closed = FxHashMap::default();
        for index in among {
            let operation = &self.operations[index];
            if operation.f() == "close" && happened(operation) && known.counts(index) {
                let gone = closed.entry(self.leases[index]).or_insert(usize::MAX);
                *gone = operation.completed.min(*gone);
            }
        }
        closed
    }

    fn check_all_places(&self, rounds: &BTreeMap<u64, Round>) -> Result<(), Failure> {
        let mut rounds = rounds.iter();
        rounds.try_for_each(|(number, round)| self.check_places(*number, round))
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
    fn fill(&self, silent: Silent, told: &Told, bounds: &Bounds<'_>) -> Result<(), Failure> {
        let rounds = &told.rounds;
        let last = match (silent, rounds.keys().next()) {
            (Silent::FilledBetween, Some(next)) => next.saturating_sub(1),
            _ => 0,
        };
        let pools = Pools::new(&told.unknown, bounds);
        if silent != Silent::Unasked {
            let each = rounds.iter().zip(latest_instants(rounds));
            return self.fill_from(pools, last, each).map(|_| ());
        }
        let pools = pools.keeping(1);
        for ((number, round), latest) in rounds.iter().zip(latest_instants(rounds)) {
            let before = number.saturating_sub(1);
            self.fill_from(pools.clone(), before, [((number, round), latest)])?;
        }
        Ok(())
    }

    /// The same of these rounds, which go on after the `last` one; who is left then.
    fn fill_from<'p, 'r>(
        &self,
        mut pools: Pools<'p>,
        mut last: u64,
        rounds: impl IntoIterator<Item = ((&'r u64, &'r Round), Latest)>,
    ) -> Result<Pools<'p>, Failure> {
        for ((number, round), latest) in rounds {
            let (begins, second) = round.begins.unwrap_or_default();
            let (ends, wait) = round.ends.unwrap_or_default();
            if begins >= ends {
                return Err(Failure::Apart {
                    round: *number,
                    first: wait,
                    second,
                });
            }
            if begins >= latest.instant {
                return Err(Failure::Order {
                    round: latest.round,
                    first: latest.wait,
                    earlier: *number,
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
            // Rounds that nobody was told of.
            for silent in last + 1..*number {
                pools = pools
                    .after(self.count, 1..=latest.instant, 0)
                    .map_err(|lacks| too_few(silent, lacks, latest.wait))?;
            }
            let needed = self.count - round.members.len();
            pools = pools
                .after(needed, begins + 1..=latest.instant, 0)
                .map_err(|lacks| too_few(*number, lacks, wait))?;
            last = *number;
        }
        Ok(pools)
    }
}

/// The last instant at which a round can have been over, which is named by the event that follows
/// it: before any of its answers and before any of a later round.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Latest {
    instant: usize,
    /// The wait that was answered, and of which round.
    wait: usize,
    round: u64,
}

/// For each round the last instant at which it can have been over.
fn latest_instants(rounds: &BTreeMap<u64, Round>) -> Vec<Latest> {
    let mut latest = Latest {
        instant: usize::MAX,
        wait: 0,
        round: 0,
    };
    let mut all: Vec<_> = rounds
        .iter()
        .rev()
        .map(|(number, round)| {
            let (instant, wait) = round.ends.unwrap_or((usize::MAX, 0));
            let round = *number;
            latest = latest.min(Latest {
                instant,
                wait,
                round,
            });
            latest
        })
        .collect();
    all.reverse();
    all
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
