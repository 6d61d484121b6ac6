//! What candidates claim: that they lead, what they wrote, that they have gone.

use super::{
    FALSE_LEADER, LEASE_ENDED, REFUSED, SHARED_TERM, Taker, UNGUARDED, WRONG_LEADER, WRONG_VALUE,
};
use crate::history::{Event, Operation, Outcome};

impl<'h> Taker<'_, 'h> {
    pub(super) fn campaign(
        &mut self,
        index: usize,
        operation: &Operation<'h>,
        number: i64,
        value: &str,
        revision: Option<i64>,
    ) {
        let client = operation.invoke.client();
        if let Some(before) = self.holders.insert(number, index)
            && self.election.operations.get(before).invoke.client() != client
        {
            let processes =
                [before, index].map(|index| self.election.operations.get(index).process());
            let sentence = format!(
                "process {} and process {} were both told that they lead with term {number}",
                processes[0], processes[1]
            );
            self.refute(SHARED_TERM, sentence, [before, index]);
        }
        let who = self.who(index);
        let told = || format!("{who} was told that it leads with term {number}");
        let Some(term) = self.find(number) else {
            return self.unknown_term(index, number, FALSE_LEADER, &told());
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
                let sentence = format!("{}, but its value `{value}` is that of term {of}", told());
                self.refute(WRONG_VALUE, sentence, [index]);
            }
            None => self.not_written(index, value, revision),
        }
    }

    /// Refutes the claim to lead with a term that never did.
    fn never_led(&mut self, index: usize, term: usize, told: &dyn Fn() -> String) -> bool {
        let term = self.record.term(term);
        let Some(ended) = term.ended.filter(|_| !term.ever_led()) else {
            return false;
        };
        let state = self.record.state_at(ended);
        let before = state.leader.map(|(leader, _)| self.record.term(leader));
        let mut sentence = format!(
            "{}, but it never did: its key was deleted at revision {ended}",
            told()
        );
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
    fn as_of(&mut self, index: usize, term: usize, revision: i64, told: &dyn Fn() -> String) {
        self.happened(index, revision);
        let term = self.record.term(term);
        // A term that has ended never comes back, also where the record does.
        if revision > self.record.covered && revision < term.end() {
            return self.beyond(revision);
        }
        if term.led_at(revision) {
            return;
        }
        let mut sentence = format!("{} as of revision {revision}, but ", told());
        if revision >= term.end() {
            sentence += &format!("its key had been deleted at revision {}", term.end());
            sentence += LEASE_ENDED;
        } else {
            sentence += &self.describe(self.record.state_at(revision));
        }
        let told_by = term.end_told_by.filter(|_| revision >= term.end());
        self.refute(FALSE_LEADER, sentence, [index].into_iter().chain(told_by));
    }

    pub(super) fn proclaim(
        &mut self,
        index: usize,
        operation: &Operation<'h>,
        number: i64,
        value: &str,
    ) {
        let process = operation.process();
        let outcome = operation.outcome();
        let Some((term, place)) = self.places.get(value).copied() else {
            if outcome == Outcome::Ok {
                let revision = operation.ok().and_then(Event::revision);
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
            || format!("process {process} proclaimed `{value}` as the leader of term {number}");
        if term.number != number {
            let ended = self.find(number).map(|of| self.record.term(of));
            let ended = ended.and_then(|of| of.ended.map(|end| (end, of.end_told_by)));
            let why = ended.map_or_else(String::new, |(end, _)| {
                format!(
                    ": term {number} had ended at revision {end}, and the write did not compare"
                )
            });
            let sentence = format!(
                "{}, but it was written at revision {at} to the key of term {}{why}",
                wrote(),
                term.number
            );
            let witness = [Some(index), Some(put.told_by), ended.and_then(|(_, by)| by)];
            return self.refute(UNGUARDED, sentence, witness.into_iter().flatten());
        }
        if !term.led_at(at) {
            let leader = self.describe(self.record.state_at(at));
            let sentence = format!("{} at revision {at}, but {leader}", wrote());
            return self.refute(UNGUARDED, sentence, [index]);
        }
        if outcome == Outcome::Ok {
            self.happened(index, at);
        }
    }

    pub(super) fn resign(&mut self, index: usize, number: i64) {
        let Some(term) = self.find(number) else {
            return self.unknown_term(index, number, WRONG_LEADER, "somebody resigned");
        };
        match self.record.term(term).ended {
            Some(end) => self.happened(index, end),
            None => self.happened_after_the_record(index),
        }
    }

    pub(super) fn act(&mut self, index: usize, number: i64) {
        let who = self.who(index);
        let told = || format!("{who} acted as the leader of term {number}");
        let Some(term) = self.find(number) else {
            return self.unknown_term(index, number, FALSE_LEADER, &told());
        };
        if !self.never_led(index, term, &told) {
            self.led_within(index, term);
        }
    }

    pub(super) fn write(&mut self, index: usize, number: i64, revision: Option<i64>) {
        let who = self.who(index);
        let told = || format!("a write of {who}, guarded by the key of term {number}, was applied");
        let Some(revision) = revision else {
            return self.gap("a guarded write does not say at which revision".to_owned());
        };
        self.wrote(index, revision);
        if revision > self.record.covered {
            return self.beyond(revision);
        }
        let Some(term) = self.find(number) else {
            return self.unknown_term(index, number, UNGUARDED, &told());
        };
        let term = self.record.term(term);
        if !term.led_at(revision) {
            let leader = self.describe(self.record.state_at(revision));
            let told_by = term.end_told_by.filter(|_| term.end() <= revision);
            let sentence = format!("{} at revision {revision}, but {leader}", told());
            self.refute(UNGUARDED, sentence, [index].into_iter().chain(told_by));
        }
    }
}
