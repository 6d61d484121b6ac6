//! The record of the keys: which terms there were, when each led, what it proclaimed.

use std::borrow::Cow;

use rustc_hash::FxHashMap;

/// Everything that happened to the candidates' keys up to a revision.
#[derive(Default)]
pub(super) struct Record<'h> {
    /// By ascending number.
    terms: Vec<Term<'h>>,
    by_number: FxHashMap<i64, usize>,
    /// The terms that led at some revision, in the order in which they did.
    leaders: Vec<usize>,
    /// Every change up to here is known.
    pub(super) covered: i64,
}

/// One candidacy: a key from its creation to its end.
pub(super) struct Term<'h> {
    /// The revision that created the key.
    pub(super) number: i64,
    /// The values of the key, from the creation on.
    pub(super) values: Vec<Put<'h>>,
    /// The revision from which on it was the smallest; [`i64::MAX`] when it had not
    /// come to that.
    pub(super) leads_from: i64,
    /// The revision that deleted the key; none while it existed.
    pub(super) ended: Option<i64>,
    /// The operation that told of the end.
    pub(super) end_told_by: Option<usize>,
}

/// One value of a key.
pub(super) struct Put<'h> {
    pub(super) revision: i64,
    pub(super) value: Cow<'h, str>,
    /// The operation that told of it.
    pub(super) told_by: usize,
}

/// Who leads at a revision.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct State {
    /// Index of the term, and of its value; none when vacant.
    pub(super) leader: Option<(usize, usize)>,
    /// The state holds from this revision on ...
    pub(super) from: i64,
    /// ... and before this one; [`i64::MAX`] when no end is known.
    pub(super) until: i64,
}

impl Term<'_> {
    /// Where it ended, [`i64::MAX`] when it had not.
    pub(super) fn end(&self) -> i64 {
        self.ended.unwrap_or(i64::MAX)
    }

    pub(super) fn ever_led(&self) -> bool {
        self.leads_from < self.end()
    }

    pub(super) fn led_at(&self, revision: i64) -> bool {
        self.leads_from <= revision && revision < self.end()
    }
}

/// Takes the changes of the keys in the order in which etcd told them.
#[derive(Default)]
pub(super) struct Writer<'h> {
    record: Record<'h>,
    latest: i64,
}

impl<'h> Writer<'h> {
    /// The key that was created at `number` got a value.
    ///
    /// # Errors
    /// What makes no sense about that.
    pub(super) fn put(&mut self, number: i64, put: Put<'h>) -> Result<(), &'static str> {
        self.advance(put.revision)?;
        if let Some(term) = self.record.by_number.get(&number) {
            let term = &mut self.record.terms[*term];
            if number == put.revision {
                return Err("two keys were created at one revision");
            }
            if term.ended.is_some() {
                return Err("the key had been deleted");
            }
            term.values.push(put);
            return Ok(());
        }
        if number != put.revision {
            return Err("the creation of the key was not told");
        }
        let index = self.record.terms.len();
        self.record.by_number.insert(number, index);
        self.record.terms.push(Term {
            number,
            values: vec![put],
            leads_from: i64::MAX,
            ended: None,
            end_told_by: None,
        });
        Ok(())
    }

    /// The key that was created at `number` was deleted.
    ///
    /// # Errors
    /// What makes no sense about that.
    pub(super) fn delete(
        &mut self,
        number: i64,
        revision: i64,
        told_by: usize,
    ) -> Result<(), &'static str> {
        self.advance(revision)?;
        let term = self.record.find(number).ok_or("the key did not exist")?;
        let term = &mut self.record.terms[term];
        if term.ended.is_some() {
            return Err("the key had been deleted before");
        }
        term.ended = Some(revision);
        term.end_told_by = Some(told_by);
        Ok(())
    }

    /// Every change up to `revision` has been told.
    pub(super) fn cover(&mut self, revision: i64) {
        self.record.covered = self.record.covered.max(revision);
    }

    fn advance(&mut self, revision: i64) -> Result<(), &'static str> {
        if revision < self.latest {
            return Err("it is earlier than the change before it");
        }
        self.latest = revision;
        self.cover(revision);
        Ok(())
    }

    /// The record, when all changes are in.
    pub(super) fn finish(self) -> Record<'h> {
        let mut record = self.record;
        record.order();
        record
    }
}

impl<'h> Record<'h> {
    /// Orders the terms and finds out when each led.
    fn order(&mut self) {
        self.terms.sort_by_key(|term| term.number);
        // The revision from which on every older key is gone.
        let mut older_gone = 0;
        for (index, term) in self.terms.iter_mut().enumerate() {
            self.by_number.insert(term.number, index);
            term.leads_from = term.number.max(older_gone);
            older_gone = older_gone.max(term.end());
            if term.ever_led() {
                self.leaders.push(index);
            }
        }
    }

    pub(super) fn find(&self, number: i64) -> Option<usize> {
        self.by_number.get(&number).copied()
    }

    pub(super) fn term(&self, index: usize) -> &Term<'h> {
        &self.terms[index]
    }

    pub(super) fn terms(&self) -> &[Term<'h>] {
        &self.terms
    }

    /// Who led at `revision`.
    pub(super) fn state_at(&self, revision: i64) -> State {
        let later = self
            .leaders
            .partition_point(|term| self.terms[*term].leads_from <= revision);
        let next = self.leaders.get(later);
        let next_leads = next.map_or(i64::MAX, |term| self.terms[*term].leads_from);
        let Some(index) = later.checked_sub(1).map(|place| self.leaders[place]) else {
            return State::vacant(0, next_leads);
        };
        let term = &self.terms[index];
        if revision >= term.end() {
            return State::vacant(term.end(), next_leads);
        }
        let value = term.values.partition_point(|put| put.revision <= revision);
        // It leads from its creation on at the earliest, which is its first value.
        self.state_of(index, value.saturating_sub(1))
    }

    /// The state in which this term led with this value, empty if it never did.
    pub(super) fn state_of(&self, index: usize, value: usize) -> State {
        let term = &self.terms[index];
        let next = term
            .values
            .get(value + 1)
            .map_or(i64::MAX, |put| put.revision);
        State {
            leader: Some((index, value)),
            from: term.leads_from.max(term.values[value].revision),
            until: term.end().min(next),
        }
    }
}

impl State {
    fn vacant(from: i64, until: i64) -> Self {
        Self {
            leader: None,
            from,
            until,
        }
    }

    pub(super) fn is_empty(self) -> bool {
        self.from >= self.until
    }
}
