//! What each operation claims, held against the record of the keys.
//!
//! - `candidates`: what those claim who campaign, lead and resign;
//! - `answers`: what those were told who ask who leads.

mod answers;
mod candidates;

use std::borrow::Cow;
use std::fmt;

use rustc_hash::FxHashMap;

use crate::history::{Event, HistoryError, Operation, Outcome};
use crate::verdict::{Class, Kind, Violation};

use super::bounds::Bounds;
use super::extract::{Call, Election, Reader};
use super::record::{Record, State};

const FALSE_LEADER: Kind = Kind {
    name: "false-leader",
    meaning: "a campaign returned although its candidate did not lead",
};
const SHARED_TERM: Kind = Kind {
    name: "shared-term",
    meaning: "two clients were told that they lead with the same term",
};
const WRONG_LEADER: Kind = Kind {
    name: "wrong-leader",
    meaning: "somebody was called the leader who was not",
};
const WRONG_VALUE: Kind = Kind {
    name: "wrong-value",
    meaning: "a leader has a value that it did not propose",
};
const LOST_PROPOSAL: Kind = Kind {
    name: "lost-proposal",
    meaning: "an acknowledged value was never written",
};
const REFUSED: Kind = Kind {
    name: "refused-write",
    meaning: "a value was written although its writer was told that it was not",
};
const UNGUARDED: Kind = Kind {
    name: "unguarded-write",
    meaning: "a write of a leader took effect while it did not lead",
};
const GOES_BACK: Kind = Kind {
    name: "observer-goes-back",
    meaning: "an observer was told of something older than what it knew",
};

/// Who was told that it leads did not resign before.
const LEASE_ENDED: &str = ". Nobody had resigned it, so its lease had ended while it waited: \
                           who comes back from waiting must look whether its own key is still \
                           there";

/// Everything that the operations claim.
pub(super) struct Claims {
    /// When revisions happened.
    pub(super) bounds: Bounds,
    /// The first claim that the record refutes.
    pub(super) violation: Option<Violation>,
    /// Why a claim could not be held against the record.
    pub(super) gap: Option<String>,
}

impl Claims {
    /// # Errors
    /// When an event is no operation of an election.
    pub(super) fn of(election: &Election<'_>) -> Result<Self, HistoryError> {
        let mut taker = Taker::new(election);
        taker.take_values();
        let mut reader = Reader::default();
        for (index, operation) in election.operations.iter_with_values(|_| true) {
            taker.take(index, &operation, reader.read(&operation)?);
        }
        Ok(taker.claims)
    }
}

/// A process, as sentences call it.
#[derive(Clone, Copy)]
struct Who(u64);

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {}", self.0)
    }
}

/// Where a value stands in the record: index of the term, and of the value.
type Place = (usize, usize);

/// A stream of observations.
#[derive(Clone, Copy)]
struct Stream {
    /// Who asked first.
    asked: usize,
    /// The revision that it has come to, and who was told so.
    told: Option<(i64, usize)>,
}

struct Taker<'e, 'h> {
    election: &'e Election<'h>,
    record: &'e Record<'h>,
    /// Where each value was written first.
    places: FxHashMap<&'e str, Place>,
    /// Which client was told that it leads with a term.
    holders: FxHashMap<i64, usize>,
    streams: FxHashMap<Cow<'h, str>, Stream>,
    claims: Claims,
}

impl<'e, 'h> Taker<'e, 'h> {
    fn new(election: &'e Election<'h>) -> Self {
        Self {
            election,
            record: &election.record,
            places: FxHashMap::with_capacity_and_hasher(
                election.proposers.len(),
                rustc_hash::FxBuildHasher,
            ),
            holders: FxHashMap::default(),
            streams: FxHashMap::default(),
            claims: Claims {
                bounds: Bounds::none(election.operations.len(), election.events),
                violation: None,
                gap: None,
            },
        }
    }

    /// Every value was proposed, and written after that.
    fn take_values(&mut self) {
        let (election, record) = (self.election, self.record);
        for (index, term) in record.terms().iter().enumerate() {
            for (number, put) in term.values.iter().enumerate() {
                self.places.entry(&put.value).or_insert((index, number));
                match election.proposers.get(&put.value) {
                    Some(proposer) => self.not_yet(*proposer, put.revision),
                    None => {
                        let sentence = format!(
                            "the candidate of term {} got the value `{}` at revision {}, which \
                             nobody proposed",
                            term.number, put.value, put.revision
                        );
                        self.refute(WRONG_VALUE, sentence, [put.told_by]);
                    }
                }
            }
        }
    }

    fn take(&mut self, index: usize, operation: &Operation<'h>, call: Call<'h>) {
        let is_ok = operation.outcome() == Outcome::Ok;
        let revision = operation.ok().and_then(Event::revision);
        match call {
            Call::Campaign {
                value,
                term: Some(term),
            } => self.campaign(index, operation, term, &value, revision),
            Call::Proclaim { term, value } => self.proclaim(index, operation, term, &value),
            Call::Resign { term } if is_ok => self.resign(index, term),
            Call::Leader(Some(answer)) => {
                if let Some((state, _)) = self.answer(index, &answer, revision) {
                    self.not_yet(index, state.until);
                }
            }
            Call::Observe { stream, answer } => {
                self.observe(index, stream, answer.as_ref(), revision);
            }
            Call::Act { term } if is_ok => self.act(index, term),
            Call::Write { term } if is_ok => self.write(index, term, revision),
            Call::Mark if is_ok => match revision {
                Some(revision) => self.wrote(index, revision),
                None => self.gap("a mark without a revision says nothing".to_owned()),
            },
            Call::Watch if is_ok => {
                if let Some(revision) = revision {
                    self.happened(index, revision);
                }
            }
            _ => {}
        }
    }

    /// At some instant of the operation the term led.
    fn led_within(&mut self, index: usize, term: usize) {
        let (from, end) = {
            let term = self.record.term(term);
            (term.leads_from, term.end())
        };
        if from == i64::MAX {
            self.happened_after_the_record(index);
        } else {
            self.happened(index, from);
        }
        self.not_yet(index, end);
    }

    fn wrote(&mut self, index: usize, revision: i64) {
        self.not_yet(index, revision);
        self.happened(index, revision);
    }

    /// An acknowledged value that the record does not have.
    fn not_written(&mut self, index: usize, value: &str, revision: Option<i64>) {
        if revision.is_some_and(|revision| revision <= self.record.covered) {
            let sentence = format!(
                "`{value}` of {} was acknowledged, but it was never written under that term",
                self.who(index)
            );
            return self.refute(LOST_PROPOSAL, sentence, [index]);
        }
        self.happened_after_the_record(index);
    }

    /// What the operation was told can only have happened after all that is known.
    fn happened_after_the_record(&mut self, index: usize) {
        let after = self.record.covered + 1;
        self.happened(index, after);
        self.beyond(after);
    }

    fn unknown_term(&mut self, index: usize, number: i64, kind: Kind, told: &str) {
        if number > self.record.covered {
            return self.beyond(number);
        }
        let sentence = format!(
            "{told}, but no candidate has that term: no key of this election was created at revision {number}"
        );
        self.refute(kind, sentence, [index]);
    }

    /// `term 5 (`c1-2`) led then, from revision 7 on`.
    fn describe(&self, state: State) -> String {
        let since = match state.from {
            0 => String::new(),
            from => format!(", since revision {from}"),
        };
        match state.leader {
            None => format!("nobody led then{since}"),
            Some((term, value)) => {
                let term = self.record.term(term);
                format!(
                    "term {} (`{}`) led then{since}",
                    term.number, term.values[value].value
                )
            }
        }
    }

    fn who(&self, index: usize) -> Who {
        Who(self.election.operations.get(index).process())
    }

    fn find(&self, number: i64) -> Option<usize> {
        self.record.find(number)
    }

    fn happened(&mut self, index: usize, revision: i64) {
        let operation = self.election.operations.get(index);
        self.claims.bounds.happened(&operation, revision);
    }

    fn not_yet(&mut self, index: usize, revision: i64) {
        self.claims.bounds.not_yet(index, revision);
    }

    fn beyond(&mut self, revision: i64) {
        self.gap(format!(
            "the record of the keys ends at revision {}, but clients were told of revision {revision}",
            self.record.covered
        ));
    }

    fn gap(&mut self, reason: String) {
        self.claims.gap.get_or_insert(reason);
    }

    fn refute(&mut self, kind: Kind, sentence: String, witness: impl IntoIterator<Item = usize>) {
        /// More than this helps nobody.
        const ALSO_MAX: usize = 4;
        match &mut self.claims.violation {
            None => {
                let operations = &self.election.operations;
                let witness = witness.into_iter().map(|index| operations.get(index));
                let violation = Violation::new(Class::Safety, kind, sentence, witness);
                self.claims.violation = Some(violation);
            }
            Some(violation) if violation.also.len() < ALSO_MAX => violation.also.push(sentence),
            Some(_) => {}
        }
    }
}
