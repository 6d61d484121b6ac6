//! What each operation claims, held against the record of the keys.

use std::borrow::Cow;

use rustc_hash::FxHashMap;

use crate::history::{Operation, Outcome};
use crate::verdict::{Class, Kind, Violation};

use super::bounds::Bound;
use super::extract::{Answer, Call, Election, Leader};
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
#[derive(Default)]
pub(super) struct Claims {
    /// When revisions happened.
    pub(super) bounds: Vec<Bound>,
    /// The first claim that the record refutes.
    pub(super) violation: Option<Violation>,
    /// Why a claim could not be held against the record.
    pub(super) gap: Option<String>,
}

impl Claims {
    pub(super) fn of(election: &Election<'_>) -> Self {
        let mut taker = Taker::new(election);
        taker.take_values();
        for (index, operation, call) in election.iter() {
            taker.take(index, operation, call);
        }
        taker.claims
    }
}

/// Where a value stands in the record: index of the term, and of the value.
type Place = (usize, usize);

struct Taker<'e, 'h> {
    election: &'e Election<'h>,
    record: &'e Record<'h>,
    /// Where each value was written first.
    places: FxHashMap<&'e str, Place>,
    /// Which client was told that it leads with a term.
    holders: FxHashMap<i64, usize>,
    /// The revision that each stream of observations has come to, and who told it.
    streams: FxHashMap<&'e str, (i64, usize)>,
    claims: Claims,
}

impl<'e, 'h> Taker<'e, 'h> {
    fn new(election: &'e Election<'h>) -> Self {
        Self {
            election,
            record: &election.record,
            places: FxHashMap::default(),
            holders: FxHashMap::default(),
            streams: FxHashMap::default(),
            claims: Claims::default(),
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

    fn take(&mut self, index: usize, operation: &Operation<'h>, call: &'e Call<'h>) {
        let is_ok = operation.outcome() == Outcome::Ok;
        let revision = operation.ok().and_then(|ok| ok.revision);
        match call {
            Call::Campaign {
                value,
                term: Some(term),
            } => self.campaign(index, operation, *term, value, revision),
            Call::Proclaim { term, value } => self.proclaim(index, operation, *term, value),
            Call::Resign { term } if is_ok => self.resign(index, *term),
            Call::Leader(Some(answer)) => {
                if let Some((state, _)) = self.answer(index, answer, revision) {
                    self.not_yet(index, state.until);
                }
            }
            Call::Observe {
                stream,
                answer: Some(answer),
            } => self.observe(index, stream, answer, revision),
            Call::Act { term } if is_ok => self.act(index, operation, *term),
            Call::Write { term } if is_ok => self.write(index, *term, revision),
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

    fn campaign(
        &mut self,
        index: usize,
        operation: &Operation<'h>,
        number: i64,
        value: &str,
        revision: Option<i64>,
    ) {
        let client = operation.invoke.client;
        if let Some(before) = self.holders.insert(number, index)
            && self.election.operations[before].invoke.client != client
        {
            let processes = [before, index].map(|index| self.election.operations[index].process());
            let sentence = format!(
                "process {} and process {} were both told that they lead with term {number}",
                processes[0], processes[1]
            );
            self.refute(SHARED_TERM, sentence, [before, index]);
        }
        let told = format!(
            "process {} was told that it leads with term {number}",
            operation.process()
        );
        let Some(term) = self.find(number) else {
            return self.unknown_term(index, number, FALSE_LEADER, &told);
        };
        if self.never_led(index, term, &told) {
            return;
        }
        if let Some(revision) = revision {
            self.as_of(index, term, revision, &told);
        }
        self.led_within(index, term);
        match self.places.get(value).copied() {
            Some((of, place)) if of == term => {
                let at = self.record.term(term).values[place].revision;
                self.happened(index, at);
            }
            Some((of, _)) => {
                let of = self.record.term(of).number;
                let sentence = format!("{told}, but its value `{value}` is that of term {of}");
                self.refute(WRONG_VALUE, sentence, [index]);
            }
            None => self.not_written(index, value, revision),
        }
    }

    /// Refutes the claim to lead with a term that never did.
    fn never_led(&mut self, index: usize, term: usize, told: &str) -> bool {
        let term = self.record.term(term);
        let Some(ended) = term.ended.filter(|_| !term.ever_led()) else {
            return false;
        };
        let state = self.record.state_at(ended);
        let before = state.leader.map(|(leader, _)| self.record.term(leader));
        let mut sentence =
            format!("{told}, but it never did: its key was deleted at revision {ended}");
        if let Some(before) = before {
            sentence += &match before.ended {
                Some(end) => format!(", while term {} led until revision {end}", before.number),
                None => format!(", while term {} led to the end", before.number),
            };
        }
        sentence += LEASE_ENDED;
        let told_by = [
            term.end_told_by,
            before.and_then(|before| before.end_told_by),
        ];
        self.refute(
            FALSE_LEADER,
            sentence,
            [Some(index)].into_iter().chain(told_by).flatten(),
        );
        true
    }

    /// The term led as of this revision.
    fn as_of(&mut self, index: usize, term: usize, revision: i64, told: &str) {
        self.happened(index, revision);
        if revision > self.record.covered {
            return self.beyond(revision);
        }
        let term = self.record.term(term);
        if term.led_at(revision) {
            return;
        }
        let mut sentence = format!("{told} as of revision {revision}, but ");
        if revision >= term.end() {
            sentence += &format!("its key had been deleted at revision {}", term.end());
            sentence += LEASE_ENDED;
        } else {
            sentence += &self.describe(self.record.state_at(revision));
        }
        let told_by = term.end_told_by.filter(|_| revision >= term.end());
        self.refute(FALSE_LEADER, sentence, [index].into_iter().chain(told_by));
    }

    fn proclaim(&mut self, index: usize, operation: &Operation<'h>, number: i64, value: &str) {
        let process = operation.process();
        let outcome = operation.outcome();
        let Some((term, place)) = self.places.get(value).copied() else {
            if outcome == Outcome::Ok {
                let revision = operation.ok().and_then(|ok| ok.revision);
                self.not_written(index, value, revision);
            }
            return;
        };
        let term = self.record.term(term);
        let put = &term.values[place];
        let at = put.revision;
        if outcome == Outcome::Fail {
            let sentence = format!(
                "`{value}`, proclaimed by process {process}, was refused and yet written at \
                 revision {at}"
            );
            return self.refute(REFUSED, sentence, [index, put.told_by]);
        }
        let wrote =
            format!("process {process} proclaimed `{value}` as the leader of term {number}");
        if term.number != number {
            let ended = self.find(number).map(|of| self.record.term(of));
            let ended = ended.and_then(|of| of.ended.map(|end| (end, of.end_told_by)));
            let why = ended.map_or_else(String::new, |(end, _)| {
                format!(
                    ": term {number} had ended at revision {end}, and the write did not compare"
                )
            });
            let sentence = format!(
                "{wrote}, but it was written at revision {at} to the key of term {}{why}",
                term.number
            );
            let witness = [Some(index), Some(put.told_by), ended.and_then(|(_, by)| by)];
            return self.refute(UNGUARDED, sentence, witness.into_iter().flatten());
        }
        if !term.led_at(at) {
            let leader = self.describe(self.record.state_at(at));
            let sentence = format!("{wrote} at revision {at}, but {leader}");
            return self.refute(UNGUARDED, sentence, [index]);
        }
        if outcome == Outcome::Ok {
            self.happened(index, at);
        }
    }

    fn resign(&mut self, index: usize, number: i64) {
        let Some(term) = self.find(number) else {
            return self.unknown_term(index, number, WRONG_LEADER, "somebody resigned");
        };
        match self.record.term(term).ended {
            Some(end) => self.happened(index, end),
            None => self.happened_after_the_record(index),
        }
    }

    /// What an answer says: the state, and the smallest revision that it can be of.
    fn answer(
        &mut self,
        index: usize,
        answer: &Answer<'h>,
        revision: Option<i64>,
    ) -> Option<(State, i64)> {
        if let Some(revision) = revision.filter(|revision| *revision > self.record.covered) {
            self.beyond(revision);
            return None;
        }
        let state = match (answer, revision) {
            (Answer::Leader(leader), _) => self.led_by(index, leader)?,
            (Answer::Vacant, Some(revision)) => {
                let state = self.record.state_at(revision);
                if state.leader.is_some() {
                    self.wrong_as_of(index, "that nobody leads", revision);
                    return None;
                }
                state
            }
            (Answer::Vacant, None) => {
                self.gap(
                    "an answer that nobody leads does not say as of which revision".to_owned(),
                );
                return None;
            }
        };
        if let Some(revision) = revision
            && !(state.from <= revision && revision < state.until)
        {
            self.wrong_as_of(index, &said(answer), revision);
            return None;
        }
        let position = revision.unwrap_or(state.from);
        self.happened(index, position);
        Some((state, position))
    }

    /// The state in which this term led with this value.
    fn led_by(&mut self, index: usize, leader: &Leader<'h>) -> Option<State> {
        let said = format!(
            "{} was told that term {} leads",
            self.who(index),
            leader.term
        );
        let Some(term) = self.find(leader.term) else {
            self.unknown_term(index, leader.term, WRONG_LEADER, &said);
            return None;
        };
        let of = self.record.term(term);
        let place = match leader.mod_revision {
            Some(at) if at > self.record.covered => {
                self.beyond(at);
                return None;
            }
            Some(at) => of.values.binary_search_by_key(&at, |put| put.revision).ok(),
            None => {
                let place = self.places.get(leader.value.as_ref());
                place.filter(|(of, _)| *of == term).map(|(_, place)| *place)
            }
        };
        let place = place.filter(|place| of.values[*place].value == leader.value);
        let Some(place) = place else {
            let sentence = format!(
                "{said} with the value `{}`, which that term never had{}",
                leader.value,
                leader
                    .mod_revision
                    .map_or_else(String::new, |at| format!(" since revision {at}"))
            );
            self.refute(WRONG_VALUE, sentence, [index]);
            return None;
        };
        let state = self.record.state_of(term, place);
        if state.is_empty() {
            let when = state.from.min(of.values[place].revision);
            let leader = self.describe(self.record.state_at(when));
            let sentence =
                format!("{said}, which never did with that value: at revision {when} {leader}");
            self.refute(WRONG_LEADER, sentence, [index]);
            return None;
        }
        Some(state)
    }

    fn observe(
        &mut self,
        index: usize,
        stream: &'e str,
        answer: &Answer<'h>,
        revision: Option<i64>,
    ) {
        let Some((state, position)) = self.answer(index, answer, revision) else {
            return;
        };
        let Some((before, told_by)) = self.streams.get(stream).copied() else {
            // What comes first is no older than the question.
            self.not_yet(index, state.until);
            self.streams.insert(stream, (position, index));
            return;
        };
        if revision.is_some_and(|revision| revision < before) || state.until <= before {
            let sentence = format!(
                "observer `{stream}` was told {}, which was over at revision {}, after it had been \
                 told of revision {before}",
                said(answer),
                revision.map_or(state.until, |revision| state.until.min(revision + 1)),
            );
            return self.refute(GOES_BACK, sentence, [told_by, index]);
        }
        self.streams.insert(stream, (before.max(position), index));
    }

    fn act(&mut self, index: usize, operation: &Operation<'h>, number: i64) {
        let told = format!(
            "process {} acted as the leader of term {number}",
            operation.process()
        );
        let Some(term) = self.find(number) else {
            return self.unknown_term(index, number, FALSE_LEADER, &told);
        };
        if !self.never_led(index, term, &told) {
            self.led_within(index, term);
        }
    }

    fn write(&mut self, index: usize, number: i64, revision: Option<i64>) {
        let who = self.who(index);
        let told = format!("a write of {who}, guarded by the key of term {number}, was applied");
        let Some(revision) = revision else {
            return self.gap("a guarded write does not say at which revision".to_owned());
        };
        self.wrote(index, revision);
        if revision > self.record.covered {
            return self.beyond(revision);
        }
        let Some(term) = self.find(number) else {
            return self.unknown_term(index, number, UNGUARDED, &told);
        };
        let term = self.record.term(term);
        if !term.led_at(revision) {
            let leader = self.describe(self.record.state_at(revision));
            let told_by = term.end_told_by.filter(|_| term.end() <= revision);
            let sentence = format!("{told} at revision {revision}, but {leader}");
            self.refute(UNGUARDED, sentence, [index].into_iter().chain(told_by));
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

    fn wrong_as_of(&mut self, index: usize, said: &str, revision: i64) {
        let leader = self.describe(self.record.state_at(revision));
        let who = self.who(index);
        let sentence = format!("{who} was told, as of revision {revision}, {said}; but {leader}");
        self.refute(WRONG_LEADER, sentence, [index]);
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

    fn who(&self, index: usize) -> String {
        format!("process {}", self.election.operations[index].process())
    }

    fn find(&self, number: i64) -> Option<usize> {
        self.record.find(number)
    }

    fn happened(&mut self, index: usize, revision: i64) {
        self.claims.bounds.push(Bound::happened(index, revision));
    }

    fn not_yet(&mut self, index: usize, revision: i64) {
        if revision != i64::MAX {
            self.claims.bounds.push(Bound::not_yet(index, revision));
        }
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
                let witness = witness.into_iter().map(|index| &operations[index]);
                let violation = Violation::new(Class::Safety, kind, sentence, witness);
                self.claims.violation = Some(violation);
            }
            Some(violation) if violation.also.len() < ALSO_MAX => violation.also.push(sentence),
            Some(_) => {}
        }
    }
}

/// `that term 5 leads with `c1-2``.
fn said(answer: &Answer<'_>) -> Cow<'static, str> {
    match answer {
        Answer::Vacant => Cow::Borrowed("that nobody leads"),
        Answer::Leader(leader) => Cow::Owned(format!(
            "that term {} leads with `{}`",
            leader.term, leader.value
        )),
    }
}
