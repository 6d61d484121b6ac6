//! What those were told who ask who leads, once or again and again.

use std::borrow::Cow;

use super::super::extract::{Answer, Leader};
use super::super::record::State;
use super::{GOES_BACK, Stream, Taker, WRONG_LEADER, WRONG_VALUE};

impl<'e, 'h> Taker<'e, 'h> {
    /// What an answer says: the state, and the smallest revision that it can be of.
    pub(super) fn answer(
        &mut self,
        index: usize,
        answer: &Answer<'h>,
        revision: Option<i64>,
    ) -> Option<(State, i64)> {
        if let Some(revision) = revision.filter(|revision| *revision > self.record.covered) {
            if !self.has_ended(index, answer, revision) {
                self.beyond(revision);
            }
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

    /// Whether the leader's term has ended, for ever. That is wrong also where the record ends
    /// before.
    fn has_ended(&mut self, index: usize, answer: &Answer<'h>, revision: i64) -> bool {
        let Answer::Leader(leader) = answer else {
            return false;
        };
        let term = self.find(leader.term).map(|term| self.record.term(term));
        let Some((end, told_by)) = term.and_then(|term| Some((term.ended?, term.end_told_by)))
        else {
            return false;
        };
        let sentence = format!(
            "{} was told, as of revision {revision}, {}; but its key had been deleted at revision \
             {end}",
            self.who(index),
            said(answer)
        );
        let witness = [Some(index), told_by].into_iter().flatten();
        self.refute(WRONG_LEADER, sentence, witness);
        true
    }

    /// The state in which this term led with this value.
    fn led_by(&mut self, index: usize, leader: &Leader<'h>) -> Option<State> {
        let who = self.who(index);
        let said = || format!("{who} was told that term {} leads", leader.term);
        let Some(term) = self.find(leader.term) else {
            self.unknown_term(index, leader.term, WRONG_LEADER, &said());
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
                "{} with the value `{}`, which that term never had{}",
                said(),
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
            let sentence = format!(
                "{}, which never did with that value: at revision {when} {leader}",
                said()
            );
            self.refute(WRONG_LEADER, sentence, [index]);
            return None;
        }
        Some(state)
    }

    pub(super) fn observe(
        &mut self,
        index: usize,
        stream: Cow<'h, str>,
        answer: Option<&Answer<'h>>,
        revision: Option<i64>,
    ) {
        let unheard = Stream {
            asked: index,
            told: None,
        };
        let Stream { asked, told } = *self.streams.entry(stream.clone()).or_insert(unheard);
        let Some(answer) = answer else { return };
        let Some((state, position)) = self.answer(index, answer, revision) else {
            return;
        };
        match told {
            // What comes first is no older than the first question.
            None => self
                .claims
                .bounds
                .not_yet_as_told(asked, state.until, index),
            Some((before, told_by))
                if revision.is_some_and(|revision| revision < before) || state.until <= before =>
            {
                let sentence = format!(
                    "observer `{stream}` was told {}, which was over at revision {}, after it had \
                     been told of revision {before}",
                    said(answer),
                    revision.map_or(state.until, |revision| state.until.min(revision + 1)),
                );
                return self.refute(GOES_BACK, sentence, [told_by, index]);
            }
            Some(_) => {}
        }
        if told.is_none_or(|(before, _)| before < position) {
            let told = Some((position, index));
            self.streams.insert(stream, Stream { asked, told });
        }
    }

    fn wrong_as_of(&mut self, index: usize, said: &str, revision: i64) {
        let leader = self.describe(self.record.state_at(revision));
        let who = self.who(index);
        let sentence = format!("{who} was told, as of revision {revision}, {said}; but {leader}");
        self.refute(WRONG_LEADER, sentence, [index]);
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
