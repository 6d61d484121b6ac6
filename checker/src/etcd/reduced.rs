//! The same history, as if only some answers had come.
//!
//! ```text
//! put a=1    |--| revision 5                    put a=1    |--| revision 5
//! delete a        |--| revision 6          ->   delete a        |--------- ...   unknown
//! range b             |--| absent               (a read that nobody knows of)
//! range a..b               |--| a=1; 6          range a..b               |--| a=1; 6
//! ```
//!
//! What is wrong with it is so whatever came of the requests whose answers were left out. Those
//! that touch no key that the others tell of are left out entirely: what they do shows nowhere,
//! and a revision need not be taken by anything.

use std::collections::BTreeSet;
use std::ops::Range;

use super::log::{Call, Entry, Log, Reply};
use super::message::TxnOp;
use crate::history::HistoryError;
use crate::search::Budget;

/// The history of which only these answers are known, and perhaps one operation was never asked
/// for.
///
/// # Errors
/// When two requests that failed wanted one lease, so that either may have been granted it.
pub(super) fn reduced<'h>(
    log: &Log<'h>,
    known: &BTreeSet<usize>,
    without: Option<usize>,
    budget: Budget,
) -> Result<Log<'h>, HistoryError> {
    let concerned = concerned(log, known);
    let entries = log.entries.iter().enumerate();
    let entries = entries.filter(|(index, _)| Some(*index) != without);
    let entries = entries.filter_map(|(index, entry)| match known.contains(&index) {
        true => Some(entry.clone()),
        false => unknown(log, entry, &concerned),
    });
    let mut entries: Vec<Entry<'h>> = entries.collect();
    let events = renumber(&mut entries);
    let is_before = |event: &usize| *event < log.others_compact_from;
    let others_compact_from = match log.others_compact_from {
        usize::MAX => usize::MAX,
        _ => events.partition_point(is_before),
    };
    let nothing = Log {
        entries,
        budget,
        keys: Vec::new(),
        writers: Default::default(),
        repeated: Default::default(),
        grants: Default::default(),
        granted: Default::default(),
        times: events.iter().map(|event| log.times[*event]).collect(),
        others_compact_from,
        values_repeat: log.values_repeat,
    };
    nothing.understood()
}

/// The keys of which the known answers tell, and those on which it depends what requests do
/// that may have touched these.
pub(super) fn concerned(log: &Log<'_>, known: &BTreeSet<usize>) -> BTreeSet<usize> {
    let of_known = known.iter().flat_map(|entry| touched(log, *entry));
    let mut concerned: BTreeSet<usize> = of_known.flatten().collect();
    loop {
        let before = concerned.len();
        for entry in &log.entries {
            if let Call::Txn(txn, _) = &entry.call
                && writes_any(log, &entry.call, &concerned)
            {
                concerned.extend(txn.compare.iter().map(|compare| log.key(&compare.1)));
            }
        }
        if concerned.len() == before {
            return concerned;
        }
    }
}

/// The keys that an operation reads, compares, writes or watches.
pub(super) fn touched(log: &Log<'_>, entry: usize) -> Vec<Range<usize>> {
    let call = &log.entries[entry].call;
    let mut touched = written(log, call);
    match call {
        Call::Range(range, _) => touched.push(log.span(&range.span)),
        Call::Txn(txn, _) => {
            let compared = txn.compare.iter().map(|compare| log.key(&compare.1));
            touched.extend(compared.map(|key| key..key + 1));
            for op in txn.success.iter().chain(&txn.failure) {
                if let TxnOp::Range(range) = op {
                    touched.push(log.span(&range.span));
                }
            }
        }
        Call::Watch(watch, _) => touched.push(log.span(&watch.span)),
        Call::Notice(notice) => {
            let keys = notice.events.iter().map(|event| log.key(event.key()));
            touched.extend(keys.map(|key| key..key + 1));
        }
        _ => {}
    }
    touched
}

/// The keys that a request may write.
fn written(log: &Log<'_>, call: &Call<'_>) -> Vec<Range<usize>> {
    let one = |key: &str| {
        let key = log.key(key);
        key..key + 1
    };
    match call {
        Call::Put(put, _) => vec![one(&put.key)],
        Call::Delete(delete, _) => vec![log.span(&delete.span)],
        Call::Txn(txn, _) => {
            let ops = txn.success.iter().chain(&txn.failure);
            let written = ops.filter_map(|op| match op {
                TxnOp::Range(_) => None,
                TxnOp::Put(put) => Some(one(&put.key)),
                TxnOp::Delete(delete) => Some(log.span(&delete.span)),
            });
            written.collect()
        }
        _ => Vec::new(),
    }
}

fn writes_any(log: &Log<'_>, call: &Call<'_>, keys: &BTreeSet<usize>) -> bool {
    let written = written(log, call);
    written
        .into_iter()
        .any(|span| keys.range(span).next().is_some())
}

/// The request without its answer; none if it shows nowhere then.
fn unknown<'h>(log: &Log<'h>, entry: &Entry<'h>, concerned: &BTreeSet<usize>) -> Option<Entry<'h>> {
    let call = match &entry.call {
        call @ (Call::Put(..) | Call::Delete(..) | Call::Txn(..))
            if !writes_any(log, call, concerned) =>
        {
            return None;
        }
        Call::Put(put, _) => Call::Put(put.clone(), Reply::Unknown),
        Call::Delete(delete, _) => Call::Delete(delete.clone(), Reply::Unknown),
        Call::Txn(txn, _) => Call::Txn(txn.clone(), Reply::Unknown),
        // A lease is granted once.
        Call::Grant(lease, Reply::Failed | Reply::Refused(_))
            if log.grants.contains_key(&lease.lease) =>
        {
            return None;
        }
        Call::Grant(lease, _) => Call::Grant(lease.clone(), Reply::Unknown),
        Call::Revoke(lease, _) => Call::Revoke(lease.clone(), Reply::Unknown),
        Call::Compact(compact, _) => Call::Compact(compact.clone(), Reply::Unknown),
        _ => return None,
    };
    let operation = entry.operation.of_unknown_outcome();
    Some(Entry { operation, call })
}

/// Lets the events be numbered without gaps; which ones they are in the whole history.
fn renumber(entries: &mut [Entry<'_>]) -> Vec<usize> {
    let ends = entries
        .iter()
        .flat_map(|entry| [entry.operation.invoked, entry.operation.completed]);
    let mut events: Vec<usize> = ends.filter(|event| *event != usize::MAX).collect();
    events.sort_unstable();
    events.dedup();
    for entry in entries {
        let operation = &mut entry.operation;
        for event in [&mut operation.invoked, &mut operation.completed] {
            // That of what never ended stays the greatest.
            *event = events.binary_search(event).unwrap_or(usize::MAX);
        }
    }
    events
}
