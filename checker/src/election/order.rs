//! In which order candidates led, wrote and resigned, and others saw them lead.
//!
//! Each revision is given the earliest event behind which it can have happened (see
//! [the proof](super)). An operation that changes something takes effect with its revision; one
//! that only looks does so as early as it can, at a revision at which its answer holds.

use rustc_hash::{FxHashMap, FxHashSet};

use crate::history::{Event, Outcome};
use crate::linearization::Linearization;
use crate::points::Points;

use super::bounds::Bounds;
use super::extract::{Answer, Call, Election};
use super::record::State;

/// The order of an election in which nothing is wrong or left open, from the bounds that its
/// operations give.
pub(super) fn of(election: &Election<'_>, bounds: &Bounds) -> Linearization {
    const LATE: &str = "an operation took effect only after it had returned";
    let mut order = Order {
        election,
        happened: Happened::of(election, bounds),
        places: FxHashMap::default(),
        steps: Vec::with_capacity(election.operations.len()),
    };
    order.take_values();
    order.take_operations();
    order.steps.sort_unstable();
    let mut points = Points::default();
    for step in &order.steps {
        let operation = election.operations.get(step.operation);
        points.place(step.operation, &operation, step.point);
    }
    let found = points.in_order(|index| election.operations.get(index));
    found.map_or(Linearization::none(LATE), Linearization::Order)
}

/// When each revision happened, at the earliest.
struct Happened {
    /// Revisions and events, both ascending: from each revision on, nothing can have happened
    /// before that event.
    from: Vec<(i64, usize)>,
}

impl Happened {
    fn of(election: &Election<'_>, bounds: &Bounds) -> Self {
        let lower = bounds.lower();
        let mut from: Vec<(i64, usize)> = lower
            .map(|(index, revision)| (revision, election.operations.get(index).invoked))
            .collect();
        from.sort_unstable();
        let mut latest = 0;
        for (_, event) in &mut from {
            latest = latest.max(*event);
            *event = latest;
        }
        Self { from }
    }

    /// The event right after which the revision happened.
    fn behind(&self, revision: i64) -> usize {
        let later = self.from.partition_point(|(from, _)| *from <= revision);
        later.checked_sub(1).map_or(0, |index| self.from[index].1)
    }

    /// The first revision that had not happened before this event, if there is one.
    fn next_at(&self, event: usize) -> Option<i64> {
        let next = self.from.partition_point(|(_, behind)| *behind < event);
        self.from.get(next).map(|(revision, _)| *revision)
    }
}

/// An operation where it takes effect. At one point the revisions come one after the other.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Step {
    point: usize,
    revision: i64,
    what: What,
    operation: usize,
}

/// What comes first at a revision.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Resigns,
    Leads,
    Writes,
    Looks,
}

struct Order<'e, 'h> {
    election: &'e Election<'h>,
    happened: Happened,
    /// The term of each value, and where it stands among those of that term.
    places: FxHashMap<&'e str, (usize, usize)>,
    steps: Vec<Step>,
}

impl Order<'_, '_> {
    /// What campaigned and what was proclaimed, told or not.
    fn take_values(&mut self) {
        let (election, record) = (self.election, &self.election.record);
        for (number, term) in record.terms().iter().enumerate() {
            for (place, put) in term.values.iter().enumerate() {
                self.places.insert(&put.value, (number, place));
                let Some(proposer) = election.proposers.get(&put.value).copied() else {
                    continue;
                };
                let leads_from = term.leads_from.max(put.revision);
                let is_refused = election.operations.get(proposer).outcome() == Outcome::Fail;
                match election.call(proposer) {
                    Call::Campaign { .. } if term.ever_led() && !is_refused => {
                        let first = [What::Writes, What::Leads][usize::from(place == 0)];
                        self.change(proposer, leads_from, first);
                    }
                    Call::Proclaim { .. } => self.change(proposer, put.revision, What::Writes),
                    _ => {}
                }
            }
        }
    }

    fn take_operations(&mut self) {
        let mut resigned = FxHashSet::default();
        for (index, operation, call) in self.election.iter() {
            let revision = operation.ok().and_then(Event::revision);
            let is_ok = operation.outcome() == Outcome::Ok;
            match call {
                Call::Resign { term } if operation.outcome() != Outcome::Fail => {
                    let is_first = !resigned.contains(&term);
                    if is_first && self.resigns(index, term) {
                        resigned.insert(term);
                    } else if is_ok {
                        self.look(index, 0);
                    }
                }
                Call::Act { term } if is_ok => {
                    if let Some(term) = self.election.record.find(term) {
                        self.look(index, self.election.record.term(term).leads_from);
                    }
                }
                Call::Write { .. } | Call::Mark if is_ok => {
                    if let Some(revision) = revision {
                        self.change(index, revision, What::Writes);
                    }
                }
                Call::Leader(Some(answer)) => {
                    if let Some(state) = self.told(&answer, revision) {
                        self.look(index, state.from.max(revision.unwrap_or(0)));
                    }
                }
                _ => {}
            }
        }
    }

    /// Whether it was this that ended the term: its lease may have ended before.
    fn resigns(&mut self, index: usize, term: i64) -> bool {
        let record = &self.election.record;
        let term = record.find(term).map(|term| record.term(term));
        let Some(end) = term.and_then(|term| term.ended.filter(|_| term.ever_led())) else {
            return false;
        };
        let invoked = self.election.operations.get(index).invoked;
        let is_its = invoked <= self.happened.behind(end);
        if is_its {
            self.change(index, end, What::Resigns);
        }
        is_its
    }

    /// The state that an answer tells of.
    fn told(&self, answer: &Answer<'_>, revision: Option<i64>) -> Option<State> {
        let record = &self.election.record;
        match answer {
            Answer::Vacant => Some(record.state_at(revision?)),
            Answer::Leader(leader) => {
                let place = match leader.mod_revision {
                    Some(at) => {
                        let term = record.find(leader.term)?;
                        let puts = &record.term(term).values;
                        let place = puts.binary_search_by_key(&at, |put| put.revision);
                        (term, place.ok()?)
                    }
                    None => self.places.get(leader.value.as_ref()).copied()?,
                };
                Some(record.state_of(place.0, place.1))
            }
        }
    }

    fn change(&mut self, operation: usize, revision: i64, what: What) {
        let point = self.happened.behind(revision);
        self.steps.push(Step {
            point,
            revision,
            what,
            operation,
        });
    }

    /// Takes effect as early as it can, at a revision not before `from`.
    fn look(&mut self, operation: usize, from: i64) {
        let invoked = self.election.operations.get(operation).invoked;
        let point = invoked.max(self.happened.behind(from));
        let before = self
            .happened
            .next_at(point)
            .map_or(i64::MAX, |next| next - 1);
        // What holds from `from` on still did when it was invoked.
        let revision = if point == invoked {
            from.max(before)
        } else {
            from
        };
        self.steps.push(Step {
            point,
            revision,
            what: What::Looks,
            operation,
        });
    }
}
