//! What is asked where it is given what had ended before some event.
//!
//! ```text
//! wait A -> round 7  |------|                 given, as all rounds up to 7
//! wait B, unknown       |------------ ...     may still fill a place: so do all that are asked
//!                         ^ from here on      about, so who is left now is found out once
//! wait A -> round 8           |------|        listed, or not
//! ```
//!
//! Rounds are filled once up to an instant before which nothing is left open that a question may
//! tell; each question goes on from there. So it takes as long as what came after it, however
//! long the history is.

use rustc_hash::FxHashSet;

use super::super::bounds::Bounds;
use super::super::minimal::Known;
use super::super::pool::Pools;
use super::super::value::happened;
use super::{Failure, Latest, Visits, latest_instants};
use crate::history::Outcome;
use crate::search::Others;

/// The history of which that is given, and some that ended later may be known.
pub(super) struct Since<'v, 'o, 'h> {
    visits: &'v Visits<'o, 'h>,
    /// What is given.
    known: Known,
    /// So many rounds have been filled.
    rounds: u64,
    /// Who is left then, of ..
    left: Pools<'v>,
    /// .. these, whose calls and ends no question changes.
    unknown: Vec<(usize, usize)>,
    /// What there is to ask about.
    rest: Vec<usize>,
}

impl<'v, 'o, 'h> Since<'v, 'o, 'h> {
    /// What had ended before this event is given, on this line; what ended by `end` may be
    /// known. None if that is impossible by itself, or it takes too long to tell.
    pub(super) fn of(
        visits: &'v Visits<'o, 'h>,
        event: usize,
        line: u64,
        end: usize,
        bounds: &'v Bounds<'v>,
    ) -> Option<Self> {
        let operations = visits.operations;
        let given = (0..operations.len()).filter(|index| operations[*index].completed < event);
        let given: Vec<usize> = given.collect();
        let others = Others::InTheirTimeSince(line);
        let known = Known::of(operations.len(), &given, others);
        let begun = operations.partition_point(|one| one.invoked < event);
        let told = visits.told(0..begun, &known, None);
        visits.check_all_places(&told.rounds).ok()?;

        let settled = visits.settled_before(event, end);
        let may_be_told = |index: &usize| (event..=end).contains(&operations[*index].completed);
        let later = (0..operations.len()).filter(may_be_told);
        let later = later.filter_map(|index| visits.places[index].map(|place| place.round));
        let limit = later.min().unwrap_or(u64::MAX);
        let is_settled = |((number, _), latest): &((&u64, _), Latest)| {
            **number < limit && latest.instant <= settled
        };
        let each = told.rounds.iter().zip(latest_instants(&told.rounds));
        let each: Vec<_> = each.take_while(is_settled).collect();
        let rounds = each.last().map_or(0, |((number, _), _)| **number);
        let mut unknown = told.unknown;
        unknown.retain(|(call, _)| *call < settled);
        let left = visits.fill_from(Pools::new(&unknown, bounds), 0, each);
        let left = left.ok()?.with(&[], bounds);
        let rest = visits.rest(settled, end, rounds);
        let since = Self {
            visits,
            known,
            rounds,
            left,
            unknown,
            rest,
        };
        since
            .explain(&[], &bounds.of_question())
            .is_ok()
            .then_some(since)
    }

    /// What is given, and these.
    pub(super) fn known(&self, listed: &[usize]) -> Known {
        self.known.and(listed)
    }

    /// Whether there are rounds that explain what is given and what is listed.
    pub(super) fn explain(&self, listed: &[usize], bounds: &Bounds<'_>) -> Result<(), Failure> {
        let rest = self.rest.iter().copied();
        let told = self.visits.told(rest, &self.known(listed), None);
        self.visits.check_all_places(&told.rounds)?;
        let unknown = [&self.unknown[..], &told.unknown].concat();
        let left = self.left.with(&unknown, bounds);
        let each = told.rounds.iter().zip(latest_instants(&told.rounds));
        self.visits.fill_from(left, self.rounds, each).map(|_| ())
    }

    /// How many operations a question looks at.
    pub(super) fn len(&self) -> usize {
        self.rest.len()
    }
}

impl Visits<'_, '_> {
    /// The last event up to an earlier one such that of the waits that were called before it is
    /// given what came of them, or nobody can tell that by `end`, nor when they were gone.
    fn settled_before(&self, event: usize, end: usize) -> usize {
        let closes = || {
            let all = self.operations.iter().zip(&self.leases);
            all.filter(|(one, _)| one.f() == "close" && happened(one))
        };
        let given = closes().filter(|(close, _)| close.completed < event);
        let given: FxHashSet<u64> = given.map(|(_, lease)| *lease).collect();
        let later = closes().filter(|(close, _)| (event..=end).contains(&close.completed));
        let later = later.filter(|(_, lease)| !given.contains(lease));
        let later: FxHashSet<u64> = later.map(|(_, lease)| *lease).collect();
        let waits = self.operations.iter().zip(&self.leases);
        let mut waits = waits.filter(|(one, _)| one.f() == "wait");
        let is_open = |(wait, lease): &(&_, &u64)| {
            let wait: &crate::history::Operation<'_> = wait;
            match wait.outcome() {
                Outcome::Ok | Outcome::Fail => wait.completed >= event,
                Outcome::Info | Outcome::Open => later.contains(*lease),
            }
        };
        let first = waits.find(is_open);
        first.map_or(event, |(wait, _)| wait.invoked.min(event))
    }

    /// The operations that matter to what came after so many rounds, at an instant at which all
    /// that began before was settled; of those that began by `end`.
    fn rest(&self, settled: usize, end: usize, rounds: u64) -> Vec<usize> {
        let operations = self.operations;
        let begun = operations.partition_point(|one| one.invoked <= end);
        let is_asked_about = |index: &usize| {
            let is_of_round = self.places[*index].is_some_and(|place| place.round > rounds);
            let is_wait = operations[*index].f() == "wait";
            is_wait && (is_of_round || operations[*index].invoked >= settled)
        };
        let waits: Vec<usize> = (0..begun).filter(is_asked_about).collect();
        let leases: FxHashSet<u64> = waits.iter().map(|wait| self.leases[*wait]).collect();
        let ends_one = |index: &usize| {
            operations[*index].f() == "close" && leases.contains(&self.leases[*index])
        };
        let mut rest = waits;
        rest.extend((0..begun).filter(ends_one));
        rest.sort_unstable();
        rest
    }
}
