//! Which answers a violation needs.
//!
//! What is wrong is mostly to be seen in what was told shortly before. Where many lost their
//! session that is not so: each of them could have filled a place at any later time, if it were
//! not known that its lease was gone. Then what had ended before some event is given.

use std::cell::Cell;
use std::cmp::Reverse;

use super::super::bounds::Bounds;
use super::super::minimal::{Known, More, NEAR_WINDOWS, Needed, Window};
use super::super::value::{failures, who_waited};
use super::since::Since;
use super::{Failure, Silent, Visits};
use crate::history::{Event, Operation, Outcome};
use crate::search::Others;
use crate::unsat_core::{self, Answer};
use crate::verdict::{Class, Violation};

/// How much work each way to find a witness may take, in steps of the search and operations
/// looked at: no time, so that a history has the same witness everywhere.
const WORK_MAX: u64 = 200_000;

/// So many that ended last are listed at most before what is not needed is left out.
const LISTED_MAX: usize = 1 << 10;

/// All operations are looked at together if they are no more than this.
const WHOLE_MAX: usize = 500;

/// So many events more are given at first, and then twice as many, and so on.
const STEP: usize = 64;

/// So often they are.
const STEPS: u32 = 9;

/// What proves a failure, and what is wrong if nothing else is known.
type Proof = (Needed, Failure);

pub(super) fn violation(
    visits: &Visits<'_, '_>,
    failure: Failure,
    bounds: &Bounds<'_>,
) -> Violation {
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
}

impl<'q, 'o, 'h> Questions<'q, 'o, 'h> {
    fn new(visits: &'q Visits<'o, 'h>, bounds: &'q Bounds<'q>) -> Self {
        Self {
            visits,
            bounds,
            work: Cell::new(0),
            silent: Cell::new(Silent::Unasked),
        }
    }

    /// The answers that alone make the history impossible.
    fn needed(&self, failure: Failure) -> Proof {
        let event = self.visits.shows_at(&failure);
        let near = self.near(event);
        if let Some((needed, _)) = &near
            && needed.is_short()
        {
            return near.expect("it is there");
        }
        self.work.set(0);
        let recent = self.recent(event);
        match (near, recent) {
            (None, Some(recent)) => recent,
            (Some(near), None) => near,
            (Some(near), Some(recent)) => {
                let rank = |(needed, _): &Proof| (!needed.is_least, needed.indices.len());
                let is_better = recent.0.is_short() || rank(&recent) < rank(&near);
                if is_better { recent } else { near }
            }
            (None, None) => (self.all(), failure),
        }
    }

    /// Everything that was told.
    fn all(&self) -> Needed {
        let count = self.visits.operations.len();
        Needed {
            known: Known::all(count),
            indices: (0..count).filter(|index| self.is_over(*index)).collect(),
            is_least: false,
        }
    }

    /// What is next to this event.
    fn near(&self, event: usize) -> Option<Proof> {
        let operations = self.visits.operations;
        let mut windows = Window::growing(operations, event).take(NEAR_WINDOWS);
        let is_impossible = |window: &Window| {
            [Silent::Unasked, Silent::FilledBetween]
                .into_iter()
                .any(|silent| {
                    self.silent.set(silent);
                    self.ask(window, &window.known()) == Answer::Impossible
                })
        };
        // All is too much to leave out one by one, unless it is little.
        let is_whole = |window: &Window| window.is_all() && operations.len() <= WHOLE_MAX;
        let window =
            windows.find(|window| is_whole(window) || !window.is_all() && is_impossible(window))?;
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
            needed.is_least &= self.is_possible_without_any(&needed.indices);
        }
        let among = window.among.iter().copied();
        let silent = self.silent_in(&window);
        let bounds = self.bounds.of_question();
        let explained = (self.visits).explain_among(silent, among, &needed.known, None, &bounds);
        // It was found to be so before, unless the time was over.
        let failure = explained.err()?;
        (!matches!(failure, Failure::GivenUp(_))).then_some((needed, failure))
    }

    /// What is asked about the rounds before a window to see that something is impossible.
    fn silent_in(&self, window: &Window) -> Silent {
        if window.is_all() {
            Silent::Filled
        } else {
            self.silent.get()
        }
    }

    /// Whether the history is impossible as far as this is known, which is nothing of what began
    /// before the window: whatever rounds there were before those of which something is known.
    /// Else it may be possible.
    fn ask(&self, window: &Window, known: &Known) -> Answer {
        if self.work.get() > WORK_MAX {
            return Answer::Unknown;
        }
        let among = window.among.iter().copied();
        let silent = self.silent_in(window);
        self.answer(window.among.len(), |bounds| {
            (self.visits).explain_among(silent, among, known, None, bounds)
        })
    }

    /// The answer to a question that looks at so many operations.
    fn answer(
        &self,
        looked_at: usize,
        explain: impl FnOnce(&Bounds<'_>) -> Result<(), Failure>,
    ) -> Answer {
        let bounds = self.bounds.of_question();
        let explained = explain(&bounds);
        self.work
            .set(self.work.get() + bounds.steps() + looked_at as u64 / 8);
        match explained {
            Ok(()) => Answer::Possible,
            Err(Failure::GivenUp(_)) => Answer::Unknown,
            Err(_) => Answer::Impossible,
        }
    }

    /// Whether the history is possible without any one of these. It is if that is so where more
    /// is known: what had ended before some event, and before any of these.
    fn is_possible_without_any(&self, indices: &[usize]) -> bool {
        let ends = || {
            indices
                .iter()
                .map(|one| self.visits.operations[*one].completed)
        };
        let (Some(first), Some(last)) = (ends().min(), ends().max()) else {
            return true;
        };
        let mut left = indices.to_vec();
        let distances = (0..STEPS).map(|times| STEP << times);
        let events = distances.map(|distance| first.saturating_sub(distance));
        for event in [first].into_iter().chain(events) {
            if self.work.get() > WORK_MAX || left.is_empty() {
                break;
            }
            let Some(since) = Since::of(self.visits, event, 0, last, self.bounds) else {
                continue;
            };
            left.retain(|without| {
                let rest = indices.iter().copied().filter(|index| index != without);
                let rest: Vec<usize> = rest.collect();
                let answer = self.answer(since.len(), |bounds| since.explain(&rest, bounds));
                answer != Answer::Possible
            });
            if event == 0 {
                break;
            }
        }
        left.is_empty()
    }

    /// A few that make it impossible together with all that had ended before some event. One
    /// alone does not say what is in its way, but is better than many.
    fn recent(&self, event: usize) -> Option<Proof> {
        let operations = self.visits.operations;
        let end = self.impossible_by(event)?;
        let completed = |index: &usize| operations[*index].completed;
        let is_told = |index: &usize| self.is_over(*index) && completed(index) <= end;
        let mut ended: Vec<usize> = (0..operations.len()).filter(is_told).collect();
        ended.sort_unstable_by_key(|index| Reverse(completed(index)));
        let places = std::iter::successors(Some(0), |place| Some(place * 2 + 1));
        let mut found: Option<Proof> = None;
        for place in places.take_while(|place| *place < ended.len().min(LISTED_MAX)) {
            if self.work.get() > WORK_MAX || self.bounds.is_over() {
                break;
            }
            let Some(proof) = self.recent_of(&ended[..=place], end) else {
                continue;
            };
            let is_short = proof.0.is_short();
            let says_more = is_short && proof.0.indices.len() > 1;
            if found.is_none() || says_more {
                found = Some(proof);
            }
            if says_more || !is_short {
                break;
            }
        }
        found
    }

    /// As few of these that ended last, by `end`, as make it impossible together with what had
    /// ended before. None if that is so of nothing else.
    fn recent_of(&self, ended: &[usize], end: usize) -> Option<Proof> {
        let since = &self.visits.operations[*ended.last()?];
        let line = since.completion.map_or(0, Event::line);
        let since = Since::of(self.visits, since.completed, line as u64, end, self.bounds)?;
        let mut listed = ended.to_vec();
        listed.sort_unstable();
        let ask = |listed: &[usize]| {
            let is_spent = self.work.get() > WORK_MAX || self.bounds.is_over();
            let explain = |bounds: &Bounds<'_>| since.explain(listed, bounds);
            (!is_spent).then(|| self.answer(since.len(), explain))
        };
        if ask(&listed)? != Answer::Impossible {
            return None;
        }
        let core = unsat_core::core_while(listed, usize::MAX, ask);
        let failure = since
            .explain(&core.things, &self.bounds.of_question())
            .err()?;
        let needed = Needed {
            known: since.known(&core.things),
            indices: core.things,
            is_least: core.is_least,
        };
        (!matches!(failure, Failure::GivenUp(_))).then_some((needed, failure))
    }

    /// An event such that what had ended by then makes the history impossible: mostly this one.
    fn impossible_by(&self, event: usize) -> Option<usize> {
        let operations = self.visits.operations;
        let later = (0..STEPS).map(|times| event.saturating_add(STEP << times));
        let mut ends = [event].into_iter().chain(later).chain([usize::MAX - 1]);
        ends.find(|end| {
            let is_over = |index: &usize| operations[*index].completed <= *end;
            let known: Vec<usize> = (0..operations.len()).filter(is_over).collect();
            let known = Known::of(operations.len(), &known, Others::InTheirTime);
            let explained = self.visits.explain(&known, None, self.bounds);
            matches!(explained, Err(failure) if !matches!(failure, Failure::GivenUp(_)))
        })
    }

    /// Whether something was told of it.
    fn is_over(&self, index: usize) -> bool {
        let outcome = self.visits.operations[index].outcome();
        matches!(outcome, Outcome::Ok | Outcome::Fail)
    }
}

impl Visits<'_, '_> {
    /// The event by which it shows.
    fn shows_at(&self, failure: &Failure) -> usize {
        let completed = |wait: usize| self.operations[wait].completed;
        match *failure {
            Failure::TooFew { first, .. } => completed(first),
            Failure::SamePlace { wait, other } => completed(other.unwrap_or(wait).max(wait)),
            Failure::Apart { first, second, .. } | Failure::Order { first, second, .. } => {
                completed(first.max(second))
            }
            Failure::TooMany { round } => {
                let told = self.places.iter().zip(self.operations);
                let members = told.filter(|(place, _)| place.is_some_and(|at| at.round == round));
                let ends = members.map(|(_, wait): (_, &Operation<'_>)| wait.completed);
                ends.max().unwrap_or(0)
            }
            Failure::GivenUp(_) => 0,
        }
    }
}
