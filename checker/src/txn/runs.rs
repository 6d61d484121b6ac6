//! Attempts and the transactions that they belong to.

use rustc_hash::FxHashMap;

use crate::history::{Operation, Outcome};

/// The operation that records one run of a transaction's closure.
pub(super) const ATTEMPT: &str = "attempt";

/// Which attempts each transaction made.
#[derive(Default)]
pub(super) struct Runs {
    /// By attempt: its transaction, and the index of the event from which on it
    /// counts.
    by_attempt: FxHashMap<usize, (usize, usize)>,
    /// By transaction: its last attempt.
    last: FxHashMap<usize, usize>,
}

impl Runs {
    /// An attempt belongs to the transaction of its client that was open when it
    /// began. The first one counts from there: it had read nothing before. Each of the
    /// others counts from the end of the attempt before it: what the failed commit in
    /// between has read serves the new attempt.
    pub(super) fn of(operations: &[Operation<'_>]) -> Self {
        let mut runs = Self::default();
        let mut latest: FxHashMap<u64, usize> = FxHashMap::default();
        for (index, operation) in operations.iter().enumerate() {
            let Some(client) = operation.invoke.client() else {
                continue;
            };
            if operation.invoke.f() != ATTEMPT {
                latest.insert(client, index);
                continue;
            }
            let is_open = |whole: &&usize| operations[**whole].completed > operation.invoked;
            let Some(whole) = latest.get(&client).filter(is_open).copied() else {
                continue;
            };
            let before = runs.last.insert(whole, index);
            let ended = before
                .map(|before| operations[before].completed)
                .filter(|ended| *ended < operation.invoked);
            let from = ended.unwrap_or(operation.invoked);
            runs.by_attempt.insert(index, (whole, from));
        }
        runs
    }

    /// The transaction that an attempt belongs to.
    pub(super) fn transaction_of(&self, attempt: usize) -> Option<usize> {
        Some(self.by_attempt.get(&attempt)?.0)
    }

    /// The index of the event before which an attempt cannot have read anything.
    pub(super) fn begin_of(&self, attempt: usize) -> Option<usize> {
        Some(self.by_attempt.get(&attempt)?.1)
    }

    /// The attempt whose commit may be on its way when nothing is known of the
    /// transaction: its last one, if that had ended. Who commits has ended the attempt
    /// before.
    pub(super) fn committing(
        &self,
        transaction: usize,
        operations: &[Operation<'_>],
    ) -> Option<usize> {
        let last = self.last.get(&transaction).copied()?;
        (operations[last].outcome() == Outcome::Ok).then_some(last)
    }

    /// Whether the history records attempts at all.
    pub(super) fn is_empty(&self) -> bool {
        self.by_attempt.is_empty()
    }
}
