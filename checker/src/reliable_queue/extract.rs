//! From events to values and what was done with them.

use std::borrow::Cow;

use rustc_hash::FxHashMap;

use crate::history::{Event, History, HistoryError, Operation, Outcome, Problem, Text};

pub(super) const NEVER: usize = usize::MAX;

/// A queue's history, by value. Instants are indices of events.
pub(super) struct Queue<'h> {
    /// In the order of their invocations.
    pub(super) operations: Vec<Operation<'h>>,
    /// The values that may have been enqueued.
    pub(super) items: Vec<Item<'h>>,
    pub(super) claims: Vec<Claim>,
    /// Claims that found nothing.
    pub(super) empties: Vec<usize>,
    /// Claims without a result, and how many items each may have claimed for a
    /// while: also those that failed, since they may have given back what they had.
    pub(super) vague: Vec<(usize, usize)>,
    /// Lengths that were read.
    pub(super) lengths: Vec<(usize, u64)>,
    /// By operation that claims: how many values it asked for.
    limits: FxHashMap<usize, usize>,
    /// By operation that acknowledges: which value, and the revision of its claim.
    acknowledged: FxHashMap<usize, (usize, i64)>,
    /// A claimed value that nobody enqueued, and the operation.
    pub(super) strangers: Vec<(Cow<'h, str>, usize)>,
}

/// A value and what was done with it.
pub(super) struct Item<'h> {
    pub(super) value: Cow<'h, str>,
    pub(super) enqueue: usize,
    /// Its place within its batch.
    pub(super) place: usize,
    /// Indices of [`Queue::claims`], in the order of the invocations.
    pub(super) claims: Vec<usize>,
    /// Operations that acknowledged it, or may have.
    pub(super) acknowledgements: Vec<usize>,
}

/// A value in the hands of a consumer.
pub(super) struct Claim {
    pub(super) item: usize,
    /// The operation.
    pub(super) claim: usize,
    /// The revision at which it was made.
    pub(super) revision: i64,
    /// The acknowledgement that certainly ended it. A release proves nothing: sent
    /// again after a lost answer, it ends well although the claim had been lost
    /// before.
    pub(super) end: Option<usize>,
}

impl<'h> Queue<'h> {
    pub(super) fn of(history: &'h History) -> Result<Self, HistoryError> {
        let mut queue = Self {
            operations: history.operations(),
            items: Vec::new(),
            claims: Vec::new(),
            empties: Vec::new(),
            vague: Vec::new(),
            lengths: Vec::new(),
            limits: FxHashMap::default(),
            acknowledged: FxHashMap::default(),
            strangers: Vec::new(),
        };
        let by_value = queue.take_enqueues()?;
        let by_claim = queue.take_claims(&by_value)?;
        queue.take_ends(&by_value, &by_claim)?;
        Ok(queue)
    }

    pub(super) fn operation(&self, index: usize) -> &Operation<'h> {
        &self.operations[index]
    }

    /// How many values a claim asked for.
    pub(super) fn limit(&self, operation: usize) -> usize {
        self.limits.get(&operation).copied().unwrap_or(1)
    }

    /// What was to be acknowledged, and the revision of its claim.
    pub(super) fn acknowledged(&self, operation: usize) -> Option<(usize, i64)> {
        self.acknowledged.get(&operation).copied()
    }

    /// What a claim got, and at which revisions.
    pub(super) fn claimed(&self, operation: usize) -> impl Iterator<Item = (usize, i64)> {
        let first = self.claims.partition_point(|claim| claim.claim < operation);
        let claims = self.claims[first..].iter();
        let claims = claims.take_while(move |claim| claim.claim == operation);
        claims.map(|claim| (claim.item, claim.revision))
    }

    /// The value as it is shown to people.
    pub(super) fn show(&self, item: usize) -> String {
        format!("`{}`", self.items[item].value)
    }

    /// The event by which it certainly was in the queue.
    pub(super) fn enqueued(&self, item: usize) -> usize {
        self.operations[self.items[item].enqueue].returned()
    }

    /// The event at which it may first have been claimed, by somebody who got it. Whoever
    /// acknowledges it got it.
    pub(super) fn first_claimed(&self, item: usize) -> usize {
        let claims = self.items[item].claims.iter();
        let invoked = claims.map(|claim| self.operations[self.claims[*claim].claim].invoked);
        let first = invoked.min().unwrap_or(NEVER);
        first.min(self.first_acknowledged(item))
    }

    /// The event at which it may first have been acknowledged.
    pub(super) fn first_acknowledged(&self, item: usize) -> usize {
        let of = self.items[item].acknowledgements.iter();
        let invoked = of.map(|operation| self.operations[*operation].invoked);
        invoked.min().unwrap_or(NEVER)
    }

    /// How many items may have been claimed before this event by claims of which
    /// nobody learned.
    pub(super) fn vaguely_claimed(&self, event: usize) -> usize {
        let before = self.vague.iter();
        before
            .filter(|(operation, _)| self.operations[*operation].invoked < event)
            .fold(0, |sum: usize, (_, number)| sum.saturating_add(*number))
    }

    fn take_enqueues(&mut self) -> Result<FxHashMap<Cow<'h, str>, usize>, HistoryError> {
        let mut by_value: FxHashMap<Cow<'h, str>, usize> = FxHashMap::default();
        for (index, operation) in self.operations.iter().enumerate() {
            match operation.invoke.f() {
                "enqueue" => {}
                "claim" | "acknowledge" | "release" | "length" => continue,
                other => return Err(unknown_operation(operation.invoke, other)),
            }
            let values: Vec<Text<'h>> = parse(operation.invoke, "a list of values")?;
            if operation.outcome() == Outcome::Fail {
                continue;
            }
            for (place, Text(value)) in values.into_iter().enumerate() {
                if let Some(before) = by_value.insert(value.clone(), self.items.len()) {
                    let since = self.operations[self.items[before].enqueue].invoke.line();
                    let value = value.into_owned();
                    let problem = Problem::EnqueuedTwice { value, since };
                    return Err(HistoryError::at(operation.invoke.line(), problem));
                }
                self.items.push(Item {
                    value,
                    enqueue: index,
                    place,
                    claims: Vec::new(),
                    acknowledgements: Vec::new(),
                });
            }
        }
        Ok(by_value)
    }

    /// Returns the claims by value and revision.
    fn take_claims(
        &mut self,
        by_value: &FxHashMap<Cow<'h, str>, usize>,
    ) -> Result<FxHashMap<(usize, i64), usize>, HistoryError> {
        let mut by_claim = FxHashMap::default();
        for (index, operation) in self.operations.iter().enumerate() {
            match operation.invoke.f() {
                "claim" => {}
                "length" => {
                    if let Some(completion) = operation.ok() {
                        let length = parse(completion, "a whole number")?;
                        self.lengths.push((index, length));
                    }
                    continue;
                }
                _ => continue,
            }
            let limit: Option<usize> = parse(operation.invoke, "a whole number or null")?;
            self.limits.insert(index, limit.unwrap_or(1));
            let Some(completion) = operation.ok() else {
                self.vague.push((index, limit.unwrap_or(1)));
                continue;
            };
            let expected = "null or a list of pairs of a value and a revision";
            let claimed: Option<Vec<(Text<'h>, i64)>> = parse(completion, expected)?;
            let Some(claimed) = claimed else {
                self.empties.push(index);
                continue;
            };
            for (Text(value), revision) in claimed {
                let Some(&item) = by_value.get(&value) else {
                    self.strangers.push((value, index));
                    continue;
                };
                by_claim
                    .entry((item, revision))
                    .or_insert(self.claims.len());
                self.items[item].claims.push(self.claims.len());
                self.claims.push(Claim {
                    item,
                    claim: index,
                    revision,
                    end: None,
                });
            }
        }
        Ok(by_claim)
    }

    fn take_ends(
        &mut self,
        by_value: &FxHashMap<Cow<'h, str>, usize>,
        by_claim: &FxHashMap<(usize, i64), usize>,
    ) -> Result<(), HistoryError> {
        for (index, operation) in self.operations.iter().enumerate() {
            let f = operation.invoke.f();
            if f != "acknowledge" && f != "release" {
                continue;
            }
            let expected = "a pair of a value and the revision of its claim";
            let (Text(value), revision): (Text<'h>, i64) = parse(operation.invoke, expected)?;
            let Some(&item) = by_value.get(&value) else {
                continue;
            };
            if operation.outcome() == Outcome::Fail {
                continue;
            }
            if f == "release" {
                continue;
            }
            self.acknowledged.insert(index, (item, revision));
            self.items[item].acknowledgements.push(index);
            if operation.outcome() == Outcome::Ok
                && let Some(claim) = by_claim.get(&(item, revision))
            {
                self.claims[*claim].end = Some(index);
            }
        }
        Ok(())
    }
}

fn parse<'h, T: serde::Deserialize<'h>>(
    event: &'h Event,
    expected: &'static str,
) -> Result<T, HistoryError> {
    let parsed = event.value().parse();
    parsed.map_err(|error| HistoryError::value(event, expected, &error))
}

fn unknown_operation(event: &Event, f: &str) -> HistoryError {
    let problem = Problem::UnknownOperation {
        model: "reliable-queue",
        f: f.to_owned(),
        known: "enqueue, claim, acknowledge, release and length",
    };
    HistoryError::at(event.line(), problem)
}
