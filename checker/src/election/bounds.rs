//! When revisions happened: bounds by what clients were told, and conflicts between
//! them.

use crate::by_event::by_event;
use crate::history::{Event, Operation};
use crate::verdict::{Class, Kind, Violation};

use super::extract::{Call, Election};

const TWO_LEADERS: Kind = Kind {
    name: "two-leaders",
    meaning: "a candidate was told that it leads while the key of another leader existed",
};
const OUTLIVED_LEASE: Kind = Kind {
    name: "outlived-lease",
    meaning: "a leader acted after its key had gone",
};
const STALE: Kind = Kind {
    name: "stale-answer",
    meaning: "an answer was out of date before the question was asked",
};
const ORDER: Kind = Kind {
    name: "real-time",
    meaning: "revisions and real time contradict each other",
};

/// What one operation says about the time of a revision.
pub(super) struct Bound {
    pub(super) operation: usize,
    pub(super) side: Side,
    pub(super) revision: i64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// The revision had happened when the operation completed.
    HappenedByEnd,
    /// The revision had not happened when the operation was invoked.
    NotYetAtStart,
}

impl Bound {
    pub(super) fn happened(operation: usize, revision: i64) -> Self {
        Self {
            operation,
            side: Side::HappenedByEnd,
            revision,
        }
    }

    pub(super) fn not_yet(operation: usize, revision: i64) -> Self {
        Self {
            operation,
            side: Side::NotYetAtStart,
            revision,
        }
    }

    fn event(&self, operations: &[Operation<'_>]) -> usize {
        let operation = &operations[self.operation];
        match self.side {
            Side::HappenedByEnd => operation.completed,
            Side::NotYetAtStart => operation.invoked,
        }
    }
}

/// The first contradiction, in the order of the events.
pub(super) fn find_conflict(election: &Election<'_>, bounds: &[Bound]) -> Option<Violation> {
    let event = |bound: &Bound| bound.event(&election.operations);
    // Each event is one end of one operation, so equal events do not conflict.
    let in_order = by_event(election.events, bounds.iter().map(event));
    let mut latest: Option<&Bound> = None;
    for bound in in_order.into_iter().map(|index| &bounds[index as usize]) {
        match bound.side {
            Side::HappenedByEnd => {
                if latest.is_none_or(|latest| latest.revision < bound.revision) {
                    latest = Some(bound);
                }
            }
            Side::NotYetAtStart => {
                let known = latest.filter(|latest| latest.revision >= bound.revision);
                if let Some(known) = known {
                    return Some(explain(election, known, bound));
                }
            }
        }
    }
    None
}

/// `known.revision` had happened when `late` said that an earlier one, or the same,
/// had not.
fn explain(election: &Election<'_>, known: &Bound, late: &Bound) -> Violation {
    let (kind, sentence) = match &election.calls[late.operation] {
        Call::Act { term } => acted_late(election, known, late, *term),
        Call::Resign { term } | Call::Write { term } | Call::Proclaim { term, .. }
            if is_grant_of_another(election, known, *term) =>
        {
            let sentence = format!(
                "{}, although the key of term {term} still existed: {} after that",
                told(election, known),
                did(election, late)
            );
            (TWO_LEADERS, sentence)
        }
        Call::Leader(_) | Call::Observe { .. } | Call::Campaign { .. } => {
            let sentence = format!(
                "{}, but what it says was over at revision {}, and that had happened before it \
                 was invoked: {}",
                told(election, late),
                late.revision,
                told(election, known)
            );
            (STALE, sentence)
        }
        _ => {
            let sentence = format!(
                "{}, so revision {} had not happened before line {}; but {} by line {}",
                did(election, late),
                late.revision,
                election.operations[late.operation].invoke.line(),
                told(election, known),
                line_of_end(election, known),
            );
            (ORDER, sentence)
        }
    };
    let witness = [known, late].map(|bound| &election.operations[bound.operation]);
    let end_of = ended_term(election, late);
    let told_by = end_of.and_then(|term| election.record.term(term).end_told_by);
    let witness = witness
        .into_iter()
        .chain(told_by.map(|operation| &election.operations[operation]));
    Violation::new(Class::Safety, kind, sentence, witness)
}

/// A leader acted when the end of its term had happened.
fn acted_late(election: &Election<'_>, known: &Bound, late: &Bound, term: i64) -> (Kind, String) {
    let process = election.operations[late.operation].process();
    let end = late.revision;
    if !is_grant_of_another(election, known, term) {
        let sentence = format!(
            "process {process} acted as the leader of term {term}, but its key had been deleted \
             at revision {end}, and {} before that act: it outlived its lease",
            told(election, known)
        );
        return (OUTLIVED_LEASE, sentence);
    }
    if resigned_after(
        election,
        term,
        election.operations[known.operation].completed,
    ) {
        let sentence = format!(
            "{}, although the key of term {term} still existed: process {process} went on acting \
             as its leader and resigned only later, at revision {end}",
            told(election, known)
        );
        return (TWO_LEADERS, sentence);
    }
    let sentence = format!(
        "process {process} still acted as the leader of term {term} when {}: the lease of term \
         {term} had ended, and its key was deleted at revision {end}, but it went on",
        told(election, known)
    );
    (OUTLIVED_LEASE, sentence)
}

/// Whether the operation was told that a term other than this one leads.
fn is_grant_of_another(election: &Election<'_>, bound: &Bound, term: i64) -> bool {
    match election.calls[bound.operation] {
        Call::Campaign {
            term: Some(other), ..
        }
        | Call::Act { term: other } => other != term,
        _ => false,
    }
}

/// Whether the term's own leader ended it, after this event.
fn resigned_after(election: &Election<'_>, term: i64, event: usize) -> bool {
    election.iter().any(|(_, operation, call)| {
        matches!(call, Call::Resign { term: resigned } if *resigned == term)
            && operation.invoked > event
    })
}

/// The term whose end the bound is about.
fn ended_term(election: &Election<'_>, bound: &Bound) -> Option<usize> {
    let term = match &election.calls[bound.operation] {
        Call::Act { term } | Call::Resign { term } => *term,
        Call::Campaign { term, .. } => (*term)?,
        _ => return None,
    };
    let index = election.record.find(term)?;
    let is_end = election.record.term(index).ended == Some(bound.revision);
    is_end.then_some(index)
}

fn line_of_end(election: &Election<'_>, bound: &Bound) -> usize {
    let completion = election.operations[bound.operation].completion;
    completion.map_or(0, Event::line)
}

/// What the operation was told, as a sentence without its full stop.
fn told(election: &Election<'_>, bound: &Bound) -> String {
    let operation = &election.operations[bound.operation];
    let process = operation.process();
    let revision = bound.revision;
    match &election.calls[bound.operation] {
        Call::Campaign {
            term: Some(term), ..
        } => format!("process {process} was told that it leads with term {term}"),
        Call::Act { term } => format!("process {process} acted as the leader of term {term}"),
        Call::Resign { term } => {
            format!("the resignation of term {term} by process {process} was acknowledged")
        }
        Call::Watch => format!("etcd had told process {process} of revision {revision}"),
        Call::Leader(_) => format!("process {process} asked who leads and was answered"),
        Call::Observe { stream, .. } => format!("observer `{stream}` was told who leads"),
        Call::Campaign { .. }
        | Call::Proclaim { .. }
        | Call::Run
        | Call::Write { .. }
        | Call::Mark => {
            let f = operation.invoke.f();
            format!("{f} by process {process}, at revision {revision}, was acknowledged")
        }
    }
}

/// What the operation did, as a sentence without its full stop.
fn did(election: &Election<'_>, bound: &Bound) -> String {
    let operation = &election.operations[bound.operation];
    let (process, revision) = (operation.process(), bound.revision);
    match &election.calls[bound.operation] {
        Call::Resign { term } => {
            format!("process {process} resigned from term {term}, at revision {revision},")
        }
        _ => format!(
            "{} by process {process} wrote revision {revision}",
            operation.invoke.f()
        ),
    }
}
