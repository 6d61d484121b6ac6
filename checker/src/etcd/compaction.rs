//! Compacted revisions, and revisions that are still to come.

use super::kinds::{COMPACTED_READ, FALSE_COMPACTED, FALSE_FUTURE, FUTURE_READ};
use super::log::{Call, Entry, Log, Reply};
use super::message::{Refusal, Txn, TxnOp};
use super::order::Order;
use crate::verdict::{Class, Violation};

/// What may have been compacted when.
pub(super) struct Compactions {
    /// The largest revision that anybody had asked to compact before each event.
    asked: Vec<i64>,
    /// The largest that was known to be compacted before each event, and by whom.
    done: Vec<(i64, Option<usize>)>,
    others_from: usize,
}

impl Compactions {
    pub(super) fn of(log: &Log<'_>) -> Self {
        let events = log.times.len();
        let mut asked = vec![0; events + 1];
        let mut done = vec![(0, None); events + 1];
        for (index, entry) in log.entries.iter().enumerate() {
            if let Call::Compact(compact, reply @ (Reply::Done(()) | Reply::Unknown)) = &entry.call
            {
                let operation = &entry.operation;
                asked[operation.invoked + 1] = compact.revision;
                if reply.done().is_some() {
                    done[operation.completed + 1] = (compact.revision, Some(index));
                }
            }
        }
        for place in 1..=events {
            asked[place] = asked[place].max(asked[place - 1]);
            if done[place].0 < done[place - 1].0 {
                done[place] = done[place - 1];
            }
        }
        Compactions {
            asked,
            done,
            others_from: log.others_compact_from,
        }
    }

    /// Whether somebody may have compacted up to this revision, or a later one, by
    /// this event.
    pub(super) fn may_reach(&self, revision: i64, event: usize, order: &Order) -> bool {
        let event = event.min(self.asked.len() - 1);
        let by_others = self.others_from <= event && revision <= order.possible_at(event).0;
        by_others || revision <= self.asked[event]
    }
}

/// Answers about compacted and future revisions that are not true.
pub(super) fn find_wrong(
    log: &Log<'_>,
    order: &Order,
    compactions: &Compactions,
) -> Option<Violation> {
    let wrong = |entry: &Entry<'_>| {
        find_wrong_refusal(log, entry, order, compactions)
            .or_else(|| find_wrong_read(log, entry, compactions))
            .or_else(|| find_wrong_compaction(log, entry, order, compactions))
    };
    log.entries.iter().find_map(wrong)
}

/// The revisions that a request must find uncompacted, and whether all members
/// know as much.
fn revisions(call: &Call<'_>) -> (Vec<i64>, bool) {
    match call {
        Call::Range(range, _) => (range.revision.into_iter().collect(), !range.serializable),
        Call::Txn(txn, _) => (ranges(txn).collect(), true),
        _ => (Vec::new(), true),
    }
}

fn ranges<'a>(txn: &'a Txn<'_>) -> impl Iterator<Item = i64> + 'a {
    let ops = txn.success.iter().chain(&txn.failure);
    ops.filter_map(|op| match op {
        TxnOp::Range(range) => range.revision,
        _ => None,
    })
}

fn refusal(call: &Call<'_>) -> Option<Refusal> {
    match call {
        Call::Range(_, reply) => reply.refusal(),
        Call::Txn(_, reply) => reply.refusal(),
        Call::Compact(_, reply) => reply.refusal(),
        _ => None,
    }
}

fn find_wrong_refusal(
    log: &Log<'_>,
    entry: &Entry<'_>,
    order: &Order,
    compactions: &Compactions,
) -> Option<Violation> {
    let operation = &entry.operation;
    let (asked, is_current) = match &entry.call {
        // A compaction is refused up to the revision that is compacted.
        Call::Compact(compact, _) => (vec![compact.revision - 1], true),
        call => revisions(call),
    };
    let smallest = *asked.iter().min()?;
    let largest = *asked.iter().max()?;
    match refusal(&entry.call)? {
        Refusal::Compacted if !compactions.may_reach(smallest + 1, operation.completed, order) => {
            let sentence = format!(
                "revision {smallest} was said to be compacted, but nobody can have compacted that \
                 far by then"
            );
            Some(Violation::new(
                Class::Safety,
                FALSE_COMPACTED,
                sentence,
                [operation],
            ))
        }
        Refusal::Future if is_current => {
            let (known, teller) = order.known_before(operation.invoked);
            let wanted = match &entry.call {
                Call::Compact(compact, _) => compact.revision,
                _ => largest,
            };
            if wanted > known {
                return None;
            }
            let teller = teller.map(|teller| log.operation(teller));
            let sentence = format!(
                "revision {wanted} was said to lie in the future, but revision {known} was known \
                 before"
            );
            let witness = teller.into_iter().chain([operation]);
            Some(Violation::new(
                Class::Safety,
                FALSE_FUTURE,
                sentence,
                witness,
            ))
        }
        _ => None,
    }
}

fn find_wrong_read(
    log: &Log<'_>,
    entry: &Entry<'_>,
    compactions: &Compactions,
) -> Option<Violation> {
    let is_done = match &entry.call {
        Call::Range(_, reply) => reply.done().is_some(),
        Call::Txn(_, reply) => reply.done().is_some(),
        _ => false,
    };
    if !is_done {
        return None;
    }
    let (asked, is_current) = match &entry.call {
        Call::Txn(txn, Reply::Done(result)) => {
            let ops = txn.branch(result.succeeded).iter();
            let read = ops.filter_map(|op| match op {
                TxnOp::Range(range) => range.revision,
                _ => None,
            });
            (read.collect(), true)
        }
        call => revisions(call),
    };
    let operation = &entry.operation;
    for revision in asked {
        if revision > entry.header() {
            let sentence = format!(
                "revision {revision} was read when the store was at revision {}",
                entry.header()
            );
            return Some(Violation::new(
                Class::Safety,
                FUTURE_READ,
                sentence,
                [operation],
            ));
        }
        let (compacted, by) = compactions.done[operation.invoked];
        if let Some(by) = by.filter(|_| is_current && revision < compacted) {
            let sentence = format!(
                "revision {revision} was read although everything before revision {compacted} \
                 had been compacted"
            );
            let witness = [log.operation(by), operation];
            return Some(Violation::new(
                Class::Safety,
                COMPACTED_READ,
                sentence,
                witness,
            ));
        }
    }
    None
}

/// A compaction of what was compacted, or is still to come.
fn find_wrong_compaction(
    log: &Log<'_>,
    entry: &Entry<'_>,
    order: &Order,
    compactions: &Compactions,
) -> Option<Violation> {
    let Call::Compact(compact, Reply::Done(())) = &entry.call else {
        return None;
    };
    let operation = &entry.operation;
    let (limit, teller) = order.possible_at(operation.completed);
    if let Some(teller) = teller.filter(|_| compact.revision > limit) {
        let sentence = format!(
            "revision {} was compacted, but the store had not come further than {limit}",
            compact.revision
        );
        let witness = [operation, log.operation(teller)];
        return Some(Violation::new(
            Class::Safety,
            FUTURE_READ,
            sentence,
            witness,
        ));
    }
    let (compacted, by) = compactions.done[operation.invoked];
    let by = by.filter(|_| compact.revision <= compacted)?;
    let sentence = format!(
        "revision {} was compacted, but everything before revision {compacted} had been \
         compacted already",
        compact.revision
    );
    let witness = [log.operation(by), operation];
    Some(Violation::new(
        Class::Safety,
        COMPACTED_READ,
        sentence,
        witness,
    ))
}
