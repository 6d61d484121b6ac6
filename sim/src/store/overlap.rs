//! No transaction may write a key twice, as far as etcd can tell.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use etcd_client::proto::{PbTxnOpRequest, PbTxnRequestOp};

use super::StoreError;

/// The keys that deletes cover: single ones, and spans that neither touch nor
/// overlap, by their start.
#[derive(Default)]
struct Covered<'a> {
    points: BTreeSet<&'a [u8]>,
    spans: BTreeMap<&'a [u8], &'a [u8]>,
}

impl<'a> Covered<'a> {
    /// Adds the keys of a delete. A span that ends at or before its start is
    /// empty here, and so is one with the end "\0": etcd's check compares that
    /// end as bytes and so lets a put pass beside a delete "from this key on".
    fn delete(&mut self, key: &'a [u8], range_end: &'a [u8]) {
        if range_end.is_empty() {
            self.points.insert(key);
        } else if key < range_end {
            self.span(key, range_end);
        }
    }

    fn span(&mut self, mut start: &'a [u8], mut end: &'a [u8]) {
        if let Some((&before, &its_end)) = self.spans.range(..=start).next_back()
            && its_end >= start
        {
            start = before;
            end = end.max(its_end);
        }
        while let Some((&inside, &its_end)) = self.spans.range(start..=end).next() {
            self.spans.remove(inside);
            end = end.max(its_end);
        }
        self.spans.insert(start, end);
    }

    fn contains(&self, key: &[u8]) -> bool {
        let up_to = (Bound::Unbounded, Bound::Included(key));
        let span = self.spans.range::<[u8], _>(up_to).next_back();
        self.points.contains(key) || span.is_some_and(|(_, &end)| key < end)
    }

    fn merge(&mut self, other: Covered<'a>) {
        self.points.extend(other.points);
        other
            .spans
            .into_iter()
            .for_each(|(start, end)| self.span(start, end));
    }
}

/// What a list of operations may write.
#[derive(Default)]
struct Writes<'a> {
    puts: BTreeSet<&'a [u8]>,
    deletes: Covered<'a>,
}

impl<'a> Writes<'a> {
    fn put(&mut self, key: &'a [u8]) -> Result<(), StoreError> {
        if self.deletes.contains(key) || !self.puts.insert(key) {
            return Err(StoreError::DuplicateKey);
        }
        Ok(())
    }

    /// Adds the two branches of a nested transaction, of which one will run.
    fn branches(&mut self, then: Writes<'a>, otherwise: Writes<'a>) -> Result<(), StoreError> {
        for key in &then.puts {
            self.put(key)?;
        }
        for key in &otherwise.puts {
            if then.puts.contains(key) {
                continue;
            }
            self.put(key)?;
        }
        self.deletes.merge(then.deletes);
        self.deletes.merge(otherwise.deletes);
        Ok(())
    }
}

/// Refuses a list of operations that could put a key twice, or put a key that
/// it also deletes.
///
/// Follows `checkIntervals` (`server/etcdserver/api/v3rpc/key.go`) with what it
/// lets pass: delete beside delete, then beside else, and a delete in a nested
/// transaction behind a put of the same key in an earlier sibling.
pub(super) fn check_overlaps(ops: &[PbTxnRequestOp]) -> Result<(), StoreError> {
    writes(ops).map(drop)
}

fn writes(ops: &[PbTxnRequestOp]) -> Result<Writes<'_>, StoreError> {
    let mut all = Writes::default();
    for op in ops {
        if let Some(PbTxnOpRequest::RequestDeleteRange(delete)) = &op.request {
            all.deletes.delete(&delete.key, &delete.range_end);
        }
    }
    for op in ops {
        if let Some(PbTxnOpRequest::RequestTxn(txn)) = &op.request {
            all.branches(writes(&txn.success)?, writes(&txn.failure)?)?;
        }
    }
    for op in ops {
        if let Some(PbTxnOpRequest::RequestPut(put)) = &op.request {
            all.put(&put.key)?;
        }
    }
    Ok(all)
}
