//! When revisions happened: bounds by what clients were told, and conflicts between
//! them.

use rustc_hash::FxHashMap;

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

/// What the operations say about the times of revisions.
pub(super) struct Bounds {
    /// For each event the largest revision that had happened by then, as the operation says
    /// that it ended.
    happened: Vec<i64>,
    /// For each operation the smallest revision that had not happened when it was invoked.
    not_yet: Vec<i64>,
    /// The operations of which another one was told so.
    told_by: FxHashMap<usize, usize>,
}

/// What one operation says about the time of a revision.
struct Bound {
    operation: usize,
    revision: i64,
}

impl Bounds {
    /// Nothing is said.
    pub(super) fn none(operations: usize, events: usize) -> Self {
        Self {
            happened: vec![i64::MIN; events],
            not_yet: vec![i64::MAX; operations],
            told_by: FxHashMap::default(),
        }
    }

    /// The revision had happened when the operation completed. If it is still open, that says
    /// nothing.
    pub(super) fn happened(&mut self, operation: &Operation<'_>, revision: i64) {
        if let Some(latest) = self.happened.get_mut(operation.completed) {
            *latest = revision.max(*latest);
        }
    }

    /// The revision had not happened when the operation was invoked.
    pub(super) fn not_yet(&mut self, operation: usize, revision: i64) {
        let earliest = &mut self.not_yet[operation];
        *earliest = revision.min(*earliest);
    }

    /// The same of the first operation of a stream, as a later one was told.
    pub(super) fn not_yet_as_told(&mut self, operation: usize, revision: i64, told_by: usize) {
        self.not_yet(operation, revision);
        if operation != told_by {
            self.told_by.insert(operation, told_by);
        }
    }

    /// Revisions that had not happened when an operation was invoked, by its index.
    pub(super) fn lower(&self) -> impl Iterator<Item = (usize, i64)> {
        let lower = self.not_yet.iter().copied().enumerate();
        lower.filter(|(_, revision)| *revision < i64::MAX)
    }
}

/// The first contradiction, in the order of the events.
pub(super) fn find_conflict(election: &Election<'_>, bounds: &Bounds) -> Option<Violation> {
    let (mut events, mut latest) = (0, (i64::MIN, 0));
    for (index, operation) in election.operations.iter().enumerate() {
        while events < operation.invoked {
            let revision = bounds.happened[events];
            if revision > latest.0 {
                latest = (revision, events);
            }
            events += 1;
        }
        let revision = bounds.not_yet[index];
        if latest.0 >= revision {
            let ends = |operation: Operation<'_>| operation.completed == latest.1;
            let known = Bound {
                operation: election.operations.iter().position(ends)?,
                revision: latest.0,
            };
            let told_by = bounds.told_by.get(&index).copied();
            let late = Bound {
                operation: told_by.unwrap_or(index),
                revision,
            };
            return Some(explain(election, &known, &late, index));
        }
    }
    None
}

/// `known.revision` had happened when `late` said that an earlier one, or the same,
/// had not when this operation was invoked, which is `late` or the first of its stream.
fn explain(election: &Election<'_>, known: &Bound, late: &Bound, asked: usize) -> Violation {
    let (kind, sentence) = match &election.call(late.operation) {
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
        _ if is_told_who_leads(election, late) => {
            let sentence = format!(
                "{}, but what it says was over at revision {}, and that had happened before it \
                 was asked for: {}",
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
                election.operations.get(late.operation).invoke.line(),
                told(election, known),
                line_of_end(election, known),
            );
            (ORDER, sentence)
        }
    };
    let witness = [known.operation, late.operation, asked];
    let witness = witness.map(|operation| election.operations.get(operation));
    let end_of = ended_term(election, late);
    let told_by = end_of.and_then(|term| election.record.term(term).end_told_by);
    let witness = witness
        .into_iter()
        .chain(told_by.map(|operation| election.operations.get(operation)));
    Violation::new(Class::Safety, kind, sentence, witness)
}

/// A leader acted when the end of its term had happened.
fn acted_late(election: &Election<'_>, known: &Bound, late: &Bound, term: i64) -> (Kind, String) {
    let process = election.operations.get(late.operation).process();
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
        election.operations.get(known.operation).completed,
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
    match election.call(bound.operation) {
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
        matches!(call, Call::Resign { term: resigned } if resigned == term)
            && operation.invoked > event
    })
}

/// Whether the bound is about the end of what the operation was told, and not about what it wrote.
fn is_told_who_leads(election: &Election<'_>, bound: &Bound) -> bool {
    match election.call(bound.operation) {
        Call::Leader(_) | Call::Observe { .. } => true,
        Call::Campaign { .. } => ended_term(election, bound).is_some(),
        _ => false,
    }
}

/// The term whose end the bound is about.
fn ended_term(election: &Election<'_>, bound: &Bound) -> Option<usize> {
    let term = match &election.call(bound.operation) {
        Call::Act { term } | Call::Resign { term } => *term,
        Call::Campaign { term, .. } => (*term)?,
        _ => return None,
    };
    let index = election.record.find(term)?;
    let is_end = election.record.term(index).ended == Some(bound.revision);
    is_end.then_some(index)
}

fn line_of_end(election: &Election<'_>, bound: &Bound) -> usize {
    let completion = election.operations.get(bound.operation).completion;
    completion.map_or(0, Event::line)
}

/// What the operation was told, as a sentence without its full stop.
fn told(election: &Election<'_>, bound: &Bound) -> String {
    let operation = election.operations.get(bound.operation);
    let process = operation.process();
    let revision = bound.revision;
    match &election.call(bound.operation) {
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
    let operation = election.operations.get(bound.operation);
    let (process, revision) = (operation.process(), bound.revision);
    match &election.call(bound.operation) {
        Call::Resign { term } => {
            format!("process {process} resigned from term {term}, at revision {revision},")
        }
        _ => format!(
            "{} by process {process} wrote revision {revision}",
            operation.invoke.f()
        ),
    }
}
